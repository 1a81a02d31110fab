//! Upload: what goes up to the endpoint, and how far it has got.
//!
//! A small request is one `send` of head and body together and never becomes an [`Upload`] that waits. A large one is sent as
//! the endpoint takes it, beside the answer; what the caller has not sent yet is read and passed on in steps of one buffer.

use std::io::Write as _;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::body::BodyFault;
use super::downstream::after;
use super::exchange::Exchange;
use crate::buf::Lease;
use crate::http1::write::CHUNK_HEADROOM;
use crate::http1::write_chunk_head;
use crate::socket::Socket;

/// The body as it goes upstream.
pub(crate) struct Outgoing {
    /// The part that is held; all of it unless `rest`. If `chunked` it is one chunk, with its CRLF and without its size line.
    pub(crate) held: OutgoingBytes,
    /// More follows from the caller, after the held part.
    pub(crate) rest: bool,
    /// Frame the rest in chunks (the caller's own length is not known or no longer true).
    pub(crate) chunked: bool,
}

/// Where the held part of an outgoing body lies.
#[derive(Clone)]
pub(crate) enum OutgoingBytes {
    /// There is none.
    Nothing,
    /// Behind the head in the buffer that both were received in.
    Inline,
    /// In a buffer of its own; shared with the attempts that send it.
    Owned(Rc<Vec<u8>>),
}

impl Outgoing {
    /// Length of the held part.
    pub(crate) fn held_len(&self, ex: &Exchange<'_>) -> usize {
        self.held.bytes(ex).len()
    }

    /// Whether another attempt could send the same again.
    pub(crate) const fn is_replayable(&self) -> bool {
        !self.rest
    }
}

impl OutgoingBytes {
    fn bytes<'a>(&'a self, ex: &'a Exchange<'_>) -> &'a [u8] {
        match self {
            Self::Nothing => &[],
            Self::Inline => ex.inline_body(),
            Self::Owned(bytes) => bytes,
        }
    }
}

/// Bodies up to this size are copied behind the head and sent in one piece.
pub(super) const JOINED_BYTES_MAX: usize = 4096;

/// Why an upload stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UploadFault {
    /// The endpoint takes no more.
    Upstream,
    /// The caller's body is at fault.
    Body(BodyFault),
}

/// A request on its way up.
pub(crate) struct Upload {
    head: Lease,
    held: OutgoingBytes,
    sent: usize,
    rest: bool,
    chunked: bool,
    /// One step of the rest, framed and ready to go.
    step: Option<Lease>,
    step_sent: usize,
    ended: bool,
    abandoned: bool,
}

impl Upload {
    /// Nothing sent yet. The held part is shared, so that another attempt can send it again.
    pub(crate) fn new(ex: &Exchange<'_>, head: Lease, body: &Outgoing) -> Self {
        let mut head = head;
        let mut held = body.held.clone();
        // A small body joins the head: copying it is cheaper than a send of two parts.
        let bytes = held.bytes(ex);
        if body.chunked
            && let Some(size @ 1..) = bytes.len().checked_sub(2)
        {
            // Writing to a Vec cannot fail.
            let _ = write!(&mut *head, "{size:x}\r\n");
        }
        if bytes.len() <= JOINED_BYTES_MAX.min(head.room()) {
            head.extend_from_slice(bytes);
            held = OutgoingBytes::Nothing;
        }
        Self {
            head,
            held,
            sent: 0,
            rest: body.rest,
            chunked: body.chunked,
            step: None,
            step_sent: 0,
            ended: false,
            abandoned: false,
        }
    }

    /// The endpoint takes no more: keep nothing but the fact, so that the connections are not reused.
    pub(crate) const fn abandon(&mut self) {
        self.abandoned = true;
    }

    /// Whether everything has been sent.
    pub(crate) fn is_complete(&self, body: &super::body::BodyReader) -> bool {
        !self.abandoned && self.ended && (!self.rest || body.is_done())
    }

    /// Whether the next byte must come from the caller.
    pub(crate) const fn waits_for_caller(&self) -> bool {
        self.rest && self.step.is_none() && !self.abandoned
    }

    /// Sends as much as can be sent now; ready when all is sent or nothing more can be.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        upstream: &Socket,
        ex: &mut Exchange<'_>,
    ) -> Poll<Result<(), UploadFault>> {
        if self.abandoned {
            return Poll::Pending;
        }
        loop {
            let more_to_send = self.poll_send(cx, upstream, ex)?;
            if more_to_send.is_pending() {
                return Poll::Pending;
            }
            if !self.rest || self.ended {
                self.ended = true;
                return Poll::Ready(Ok(()));
            }
            match self.poll_step(cx, ex) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(fault)) => return Poll::Ready(Err(UploadFault::Body(fault))),
                Poll::Ready(Ok(())) => {}
            }
        }
    }

    /// Sends head, held part and the step at hand.
    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        upstream: &Socket,
        ex: &Exchange<'_>,
    ) -> Result<Poll<()>, UploadFault> {
        loop {
            let held = self.held.bytes(ex);
            let total = self.head.len() + held.len();
            if self.sent < total {
                let (first, second) = after(&self.head, held, self.sent);
                let count = upstream.try_send(first, second).map_err(|_| UploadFault::Upstream)?;
                self.sent += count;
                if count == 0 && upstream.poll_writable(cx).is_pending() {
                    return Ok(Poll::Pending);
                }
                continue;
            }
            let Some(step) = &self.step else { return Ok(Poll::Ready(())) };
            let count = upstream.try_send(&step[self.step_sent..], &[]).map_err(|_| UploadFault::Upstream)?;
            self.step_sent += count;
            if self.step_sent == step.len() {
                self.step = None;
            } else if count == 0 && upstream.poll_writable(cx).is_pending() {
                return Ok(Poll::Pending);
            }
        }
    }

    /// Reads the next step from the caller.
    fn poll_step(&mut self, cx: &mut Context<'_>, ex: &mut Exchange<'_>) -> Poll<Result<(), BodyFault>> {
        let mut step = ex.local.buffers.large();
        let headroom = if self.chunked { CHUNK_HEADROOM } else { 0 };
        step.resize(headroom, 0);
        let read = ex.body.poll_read(cx, ex.down, ex.local, &mut step);
        let count = match read {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Err(fault)) => return Poll::Ready(Err(fault)),
            Poll::Ready(Ok(count)) => count,
        };
        ex.account.received(count);
        if let Err(refusal) = ex.watch_late_keys(&step[headroom..]) {
            return Poll::Ready(Err(BodyFault::Refused(refusal)));
        }
        self.step_sent = 0;
        if self.chunked {
            if count > 0 {
                let head = step.first_chunk_mut().expect("resized to the headroom above");
                let size = u32::try_from(count).expect("a step fits into a buffer");
                self.step_sent = write_chunk_head(head, size);
                step.extend_from_slice(b"\r\n");
            } else {
                step.clear();
            }
            if ex.body.is_done() {
                step.extend_from_slice(b"0\r\n\r\n");
            }
        }
        self.ended = ex.body.is_done();
        self.step = if step.len() > self.step_sent { Some(step) } else { None };
        let deadline = ex.body.deadline(ex.local);
        ex.down.watch.set(deadline);
        Poll::Ready(Ok(()))
    }
}
