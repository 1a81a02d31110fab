//! Reading a request body: framing, limits and time-outs, whoever wants the bytes.
//!
//! Two readers: `peek` holds the first part to find the model, the upload sends the rest on while the answer already travels.
//! Both use [`BodyReader`], so the framing is judged in one place and a connection never loses count of where the next request
//! begins.

use std::task::{Context, Poll};
use std::time::Duration;

use super::downstream::{Downstream, Heard};
use super::refuse::Refusal;
use crate::clock::Moment;
use crate::http1::{BodyLength, ChunkScanner};
use crate::local::Local;

/// How long a body may be slower than `timeouts.body_rate_min`; after that it only holds a connection and is cut off.
const SLOW_GRACE: Duration = Duration::from_secs(10);

/// Where a body stands.
#[derive(Debug)]
pub(crate) struct BodyReader {
    framing: Framing,
    /// Payload bytes received.
    received: u64,
    /// Most payload bytes taken; the connection's later limits never exceed it.
    bytes_max: u64,
    /// When the first byte was waited for.
    started: Moment,
    /// The caller waits for `100 Continue` before it sends anything.
    continue_owed: bool,
}

#[derive(Debug)]
enum Framing {
    Done,
    Length { left: u64 },
    Chunked(ChunkScanner),
}

/// Why a body could not be read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyFault {
    /// Answer this and close.
    Refused(Refusal),
    /// The caller hung up.
    Gone,
}

impl BodyReader {
    pub(crate) fn new(length: BodyLength, expect_continue: bool, now: Moment) -> Self {
        let framing = match length {
            BodyLength::None | BodyLength::Length(0) => Framing::Done,
            BodyLength::Length(left) => Framing::Length { left },
            BodyLength::Chunked => Framing::Chunked(ChunkScanner::default()),
        };
        let continue_owed = expect_continue && !matches!(framing, Framing::Done);
        Self { framing, received: 0, bytes_max: u64::MAX, started: now, continue_owed }
    }

    /// Sets the limit of the operation that the body belongs to.
    ///
    /// # Errors
    /// The announced length is larger already.
    pub(crate) fn limit(&mut self, bytes_max: u64) -> Result<(), Refusal> {
        self.bytes_max = bytes_max;
        let announced = self.received + self.left().unwrap_or(0);
        if announced > bytes_max { Err(Refusal::BodyTooLarge) } else { Ok(()) }
    }

    /// All of the body was received together with the head.
    pub(crate) fn came_along(&mut self) {
        if let Framing::Length { left } = self.framing {
            self.received = left;
            self.framing = Framing::Done;
            self.continue_owed = false;
        }
    }

    pub(crate) const fn is_done(&self) -> bool {
        matches!(self.framing, Framing::Done)
    }

    /// Whether the caller still waits to be told to go on; true at most once.
    pub(crate) fn take_continue_owed(&mut self) -> bool {
        std::mem::take(&mut self.continue_owed)
    }

    /// Bytes still to come; `None` for a chunked body.
    pub(crate) const fn left(&self) -> Option<u64> {
        match &self.framing {
            Framing::Done => Some(0),
            Framing::Length { left } => Some(*left),
            Framing::Chunked(_) => None,
        }
    }

    /// The moment by which more must have arrived.
    pub(crate) fn deadline(&self, local: &Local) -> Moment {
        let timeouts = &local.settings.timeouts;
        local.clock.now().after(timeouts.body_idle).min(self.started.after(timeouts.upload_total))
    }

    /// Whether the body trickles in more slowly than is allowed.
    fn is_too_slow(&self, local: &Local) -> bool {
        let elapsed = local.clock.now().since(self.started);
        elapsed > SLOW_GRACE && self.received < elapsed.as_secs() * local.settings.timeouts.body_rate_min
    }

    /// Appends payload to `into`, at most its room and never growing it; ready with how much that was once there is some, with
    /// 0 when the body has ended.
    ///
    /// # Errors
    /// [`BodyFault`]: the connection can only be closed.
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        down: &mut Downstream,
        local: &Local,
        into: &mut Vec<u8>,
    ) -> Poll<Result<usize, BodyFault>> {
        loop {
            if self.is_done() {
                return Poll::Ready(Ok(0));
            }
            let taken = self.take_unread(down, into).map_err(BodyFault::Refused)?;
            if taken > 0 || self.is_done() {
                return Poll::Ready(Ok(taken));
            }
            if self.is_too_slow(local) {
                return Poll::Ready(Err(BodyFault::Refused(Refusal::BodyTimeout)));
            }
            let direct = matches!(self.framing, Framing::Length { .. }) && down.unread().is_empty();
            if direct {
                match down.poll_hear_into(cx, into) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Err(BodyFault::Gone)),
                    Poll::Ready(Ok(count)) => {
                        let taken = self.count_length(down, into, count).map_err(BodyFault::Refused)?;
                        return Poll::Ready(Ok(taken));
                    }
                }
            }
            match down.poll_hear(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Heard::Bytes(_)) => {}
                // A full buffer without one payload byte would be framing longer than 16 KiB; the scanner refuses far earlier.
                Poll::Ready(Heard::End | Heard::Full) => return Poll::Ready(Err(BodyFault::Gone)),
            }
        }
    }

    /// Takes what has been received already.
    fn take_unread(&mut self, down: &mut Downstream, into: &mut Vec<u8>) -> Result<usize, Refusal> {
        let room = into.capacity() - into.len();
        debug_assert!(room > 0, "a reader brings room");
        let before = into.len();
        match &mut self.framing {
            Framing::Done => {}
            Framing::Length { left } => {
                let unread = down.unread();
                let count = unread.len().min(room).min(usize::try_from(*left).unwrap_or(usize::MAX));
                into.extend_from_slice(&unread[..count]);
                down.consume(count);
                *left -= count as u64;
                if *left == 0 {
                    self.framing = Framing::Done;
                }
            }
            Framing::Chunked(scanner) => {
                let mut used = 0;
                let unread = down.unread();
                while into.len() < into.capacity() && used < unread.len() && !scanner.is_done() {
                    // The scanner may only be shown what fits, so that no payload byte has to be put back.
                    let most = (into.capacity() - into.len()).min(unread.len() - used);
                    let step = scanner
                        .scan(&unread[used..used + most], |payload| into.extend_from_slice(payload))
                        .map_err(|_| Refusal::BodyMalformed)?;
                    used += step.used;
                }
                let done = scanner.is_done();
                down.consume(used);
                if done {
                    self.framing = Framing::Done;
                }
            }
        }
        let taken = into.len() - before;
        self.count(taken)?;
        Ok(taken)
    }

    /// Counts `count` bytes received straight into `into`; what lies beyond the body goes back as unread.
    fn count_length(
        &mut self,
        down: &mut Downstream,
        into: &mut Vec<u8>,
        count: usize,
    ) -> Result<usize, Refusal> {
        let Framing::Length { left } = &mut self.framing else { return Ok(count) };
        let taken = count.min(usize::try_from(*left).unwrap_or(usize::MAX));
        *left -= taken as u64;
        if *left == 0 {
            self.framing = Framing::Done;
        }
        let beyond = into.len() - (count - taken);
        down.push_unread(&into[beyond..]);
        into.truncate(beyond);
        self.count(taken)?;
        Ok(taken)
    }

    fn count(&mut self, taken: usize) -> Result<(), Refusal> {
        self.received += taken as u64;
        if self.received > self.bytes_max { Err(Refusal::BodyTooLarge) } else { Ok(()) }
    }
}
