//! Bytes on their way to a peer: what waits, how fast it may leave.

use super::connection::Waits;
use super::stats::{Counters, add};
use rustix::fd::AsFd;
use rustix::io::Errno;
use rustix::net::{SendFlags, send};
use std::rc::Rc;

/// What a flush came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flushed {
    /// All is written; `wrote` tells whether this call wrote any of it.
    All { wrote: bool },
    /// Some is left until then.
    Part(Waits),
    /// The connection is broken.
    Broken,
}

/// What waits to be written on one connection.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// Appended to freely; `sent` of it are gone.
    pub(super) bytes: Vec<u8>,
    sent: usize,
    /// Written after `bytes`, without being copied.
    large: Option<(Rc<[u8]>, usize)>,
    /// Most bytes per write and the time between two.
    pub(super) throttle: Option<(usize, u64)>,
}

impl Outbox {
    /// Writes `body` after what waits.
    pub(super) fn append_large(&mut self, body: Rc<[u8]>) {
        self.large = Some((body, 0));
    }

    /// Writes what waits, as far as the socket and the throttle allow.
    pub(super) fn flush(&mut self, socket: impl AsFd, now: u64, counters: &Counters) -> Flushed {
        let mut wrote = false;
        loop {
            let pending = match &self.large {
                _ if self.sent < self.bytes.len() => &self.bytes[self.sent..],
                Some((body, at)) => &body[*at..],
                None => &[],
            };
            if pending.is_empty() {
                break;
            }
            if let Some((_, gap)) = self.throttle
                && wrote
            {
                return Flushed::Part(if gap == 0 { Waits::Turn } else { Waits::Until(now + gap) });
            }
            let limit = self.throttle.map_or(pending.len(), |(bytes, _)| bytes.min(pending.len()));
            let more = self.sent < self.bytes.len() && self.large.is_some();
            let flags = if more { SendFlags::NOSIGNAL | SendFlags::MORE } else { SendFlags::NOSIGNAL };
            match send(&socket, &pending[..limit], flags) {
                Ok(sent) => self.advance(sent, counters),
                Err(Errno::AGAIN) => return Flushed::Part(Waits::Room),
                Err(Errno::INTR) => continue,
                Err(_) => return Flushed::Broken,
            }
            wrote = true;
        }
        self.bytes.clear();
        self.sent = 0;
        self.large = None;
        Flushed::All { wrote }
    }

    fn advance(&mut self, sent: usize, counters: &Counters) {
        add(&counters.bytes_out, sent as u64);
        if self.sent < self.bytes.len() {
            self.sent += sent;
        } else if let Some((_, at)) = &mut self.large {
            *at += sent;
        }
    }
}
