//! TLS inside a [`Socket`](super::Socket): the same reads and writes, with records in between. The relay does not know.
//!
//! | file | holds |
//! |---|---|
//! | `handshake` | rustls's state machine, until there are keys |
//! | `traffic` | what records mean: data, alerts, new keys, tickets |
//! | `record` | one record sealed or opened in place |
//! | `fault` | why it is over, and what the peer is told |
//!
//! # Promises
//! * A connection on which nothing moves holds no buffer. What it keeps is two keys and what new ones are made from.
//! * No allocation per record, and one copy of the data in each direction.
//! * What [`Tls::try_send`] says was sent is in the kernel, as on a plain socket. When the kernel does not take a whole record,
//!   the rest waits here, and the caller, who was told 0, comes back with the same bytes: they are not sealed twice.
//! * An end is clean only if the peer said so (`close_notify`); a connection that just ends is an error, so that a body
//!   without length cannot be cut by somebody in between.

mod fault;
mod handshake;
mod record;
mod traffic;

use std::fmt;
use std::io;
use std::ops::Range;
use std::rc::Rc;

pub use handshake::{Agreed, HandshakeFault};

use super::readiness::ReadyFd;
use super::{recv_some, send_some};
use crate::buf::{BufferPool, LARGE_BYTES, Lease, RECORD_BYTES};
use fault::Fault;
pub(in crate::socket) use handshake::{Handshake, Next};
use record::OVERHEAD_BYTES_MAX;
use traffic::{Taken, Traffic};

/// An established connection.
pub(super) struct Tls {
    traffic: Traffic,
    buffers: Rc<BufferPool>,
    /// What has arrived and was not given away: opened data, then records.
    incoming: Option<Lease>,
    /// The opened data at hand.
    data: Range<usize>,
    /// Where the records begin that were not opened.
    records: usize,
    /// Sealed and not taken by the kernel.
    outgoing: Option<Lease>,
    outgoing_sent: usize,
    /// How much data is in `outgoing`; the caller was not told of it.
    promised: usize,
    /// The peer's last word was heard.
    ended: bool,
    /// Our last word was said.
    said_end: bool,
    fault: Option<Fault>,
}

impl Tls {
    /// Takes over after a handshake whose own messages have been sent.
    ///
    /// # Errors
    /// The handshake is not done, or agreed on a cipher that we do not have.
    pub(super) fn new(
        handshake: Handshake,
        buffers: &Rc<BufferPool>,
    ) -> Result<(Self, Agreed), HandshakeFault> {
        let (agreed, secrets, kernel, incoming, _sent) = handshake.finish()?;
        let traffic = Traffic::new(secrets, kernel).map_err(io::Error::from)?;
        let tls = Self {
            traffic,
            buffers: Rc::clone(buffers),
            incoming: (!incoming.is_empty()).then_some(incoming),
            data: 0..0,
            records: 0,
            outgoing: None,
            outgoing_sent: 0,
            promised: 0,
            ended: false,
            said_end: false,
            fault: None,
        };
        Ok((tls, agreed))
    }

    /// Whether the next read has something to say without asking the kernel.
    pub(super) fn has_news(&self) -> bool {
        !self.data.is_empty() || self.ended || self.fault.is_some() || self.has_record()
    }

    fn has_record(&self) -> bool {
        let arrived = self.incoming.as_ref().map_or(&[][..], |incoming| &incoming[self.records..]);
        !matches!(self.traffic.whole_record(arrived), Ok(None))
    }

    /// See [`super::Socket::try_recv`].
    pub(super) fn try_recv(&mut self, ready: &ReadyFd, into: &mut Vec<u8>) -> io::Result<Option<usize>> {
        let before = into.len();
        let result = self.recv(ready, into);
        self.give_back();
        let received = into.len() - before;
        match result {
            // What came before the end, or the error, is said first.
            _ if received > 0 => Ok(Some(received)),
            Ok(Heard::End) => Ok(Some(0)),
            Ok(Heard::Nothing) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn recv(&mut self, ready: &ReadyFd, into: &mut Vec<u8>) -> io::Result<Heard> {
        let before = into.len();
        loop {
            self.hand_over(into);
            if into.len() == into.capacity() {
                return Ok(Heard::Nothing);
            }
            match self.open_next(ready) {
                Ok(Some(Taken::Data(_) | Taken::Nothing)) => continue,
                Ok(Some(Taken::End)) => return Ok(Heard::End),
                Ok(None) => {}
                Err(fault) => return Err(self.fail(ready, fault)),
            }
            if into.len() > before && !ready.seems_readable() {
                return Ok(Heard::Nothing);
            }
            let large = into.capacity() - into.len() >= LARGE_BYTES / 2;
            match self.arrive(ready, large)? {
                Some(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Some(_) => {}
                None => return Ok(Heard::Nothing),
            }
        }
    }

    /// Whether nothing has arrived that a reader would hear of. Tickets and new keys are taken in on the way.
    pub(super) fn is_quiet(&mut self, ready: &ReadyFd, mut readable: impl FnMut() -> bool) -> bool {
        loop {
            if !self.data.is_empty() {
                return false;
            }
            match self.open_next(ready) {
                Ok(Some(Taken::Nothing)) => continue,
                Ok(None) => {}
                Ok(Some(Taken::Data(_) | Taken::End)) | Err(_) => return false,
            }
            self.give_back();
            if !readable() {
                return true;
            }
            match self.arrive(ready, false) {
                Ok(Some(0)) | Err(_) => return false,
                Ok(_) => {}
            }
        }
    }

    /// Opens the next record, if it is there whole.
    fn open_next(&mut self, ready: &ReadyFd) -> Result<Option<Taken>, Fault> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        if self.ended {
            return Ok(Some(Taken::End));
        }
        debug_assert!(self.data.is_empty(), "opened data is given away first");
        let Some(incoming) = &mut self.incoming else { return Ok(None) };
        let Some(len) = self.traffic.whole_record(&incoming[self.records..])? else { return Ok(None) };
        let start = self.records;
        self.records += len;
        let taken = self.traffic.take(&mut incoming[start..start + len])?;
        match &taken {
            Taken::Data(at) => self.data = start + at.start..start + at.end,
            Taken::Nothing => self.answer(ready),
            Taken::End => self.ended = true,
        }
        Ok(Some(taken))
    }

    /// Moves opened data to the reader.
    fn hand_over(&mut self, into: &mut Vec<u8>) {
        if let Some(incoming) = &self.incoming {
            let count = self.data.len().min(into.capacity() - into.len());
            into.extend_from_slice(&incoming[self.data.start..self.data.start + count]);
            self.data.start += count;
        }
    }

    /// Receives more behind the records that have arrived.
    fn arrive(&mut self, ready: &ReadyFd, large: bool) -> io::Result<Option<usize>> {
        let buffers = &self.buffers;
        let incoming = self.incoming.get_or_insert_with(|| {
            self.records = 0;
            if large { buffers.large() } else { buffers.record() }
        });
        if self.records > 0 {
            incoming.drain(..self.records);
            (self.records, self.data) = (0, 0..0);
        }
        recv_some(ready, incoming)
    }

    /// Gives the buffer back when all in it is used up.
    fn give_back(&mut self) {
        let used_up = self.data.is_empty()
            && self.incoming.as_ref().is_some_and(|incoming| incoming.len() == self.records);
        if used_up {
            self.incoming = None;
            (self.records, self.data) = (0, 0..0);
        }
    }

    /// See [`super::Socket::try_send`].
    pub(super) fn try_send(&mut self, ready: &ReadyFd, first: &[u8], second: &[u8]) -> io::Result<usize> {
        if let Some(fault) = self.fault {
            return Err(fault.into());
        }
        if self.said_end {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if !self.flush(ready)? {
            return Ok(0);
        }
        let total = first.len() + second.len();
        let mut sent = std::mem::take(&mut self.promised).min(total);
        while sent < total {
            let (a, b) = if sent < first.len() {
                (&first[sent..], second)
            } else {
                (&[][..], &second[sent - first.len()..])
            };
            let out = self.outgoing.insert(if total - sent + 3 * OVERHEAD_BYTES_MAX <= RECORD_BYTES {
                self.buffers.record()
            } else {
                self.buffers.large()
            });
            let sealed = self.traffic.seal(a, b, out)?;
            if self.flush(ready)? {
                sent += sealed;
            } else {
                self.promised = sealed;
                break;
            }
        }
        Ok(sent)
    }

    /// Sends what is sealed; whether all of it went.
    fn flush(&mut self, ready: &ReadyFd) -> io::Result<bool> {
        let Some(out) = &self.outgoing else { return Ok(true) };
        while self.outgoing_sent < out.len() {
            match send_some(ready, &out[self.outgoing_sent..], &[])? {
                0 => return Ok(false),
                count => self.outgoing_sent += count,
            }
        }
        self.outgoing = None;
        self.outgoing_sent = 0;
        Ok(true)
    }

    /// Says our last word, as far as it goes at once. No more data can be sent.
    pub(super) fn say_end(&mut self, ready: &ReadyFd) {
        if !std::mem::replace(&mut self.said_end, true) && self.fault.is_none() {
            self.speak(ready, |traffic, out| traffic.say_end(None, out));
        }
    }

    /// Answers what must not wait for our next data.
    fn answer(&mut self, ready: &ReadyFd) {
        if self.traffic.answers_now() {
            self.speak(ready, |traffic, out| traffic.answer(out));
        }
    }

    fn fail(&mut self, ready: &ReadyFd, fault: Fault) -> io::Error {
        if self.fault.replace(fault).is_none() && !self.said_end {
            self.speak(ready, |traffic, out| traffic.say_end(Some(fault), out));
        }
        fault.into()
    }

    /// Puts words behind what is sealed already and sends what goes at once.
    fn speak(&mut self, ready: &ReadyFd, words: impl FnOnce(&mut Traffic, &mut Vec<u8>)) {
        let buffers = &self.buffers;
        words(&mut self.traffic, self.outgoing.get_or_insert_with(|| buffers.record()));
        // What does not go is sent before the next data, or is no loss.
        let _ = self.flush(ready);
    }
}

/// What a read found besides data.
enum Heard {
    Nothing,
    End,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("ended", &self.ended).field("fault", &self.fault).finish_non_exhaustive()
    }
}
