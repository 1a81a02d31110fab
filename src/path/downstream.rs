//! The caller's side of one connection: its socket, what was read and not yet used, and its deadline.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::buf::{BufferPool, Lease};
use crate::clock::{Moment, Watch};
use crate::local::Local;
use crate::operations::Family;
use crate::settings::Paths;
use crate::socket::Socket;

const FORWARDED_FOR: &[u8] = b"x-forwarded-for: ";
const FORWARDED_PROTO: &[u8] = b"\r\nx-forwarded-proto: ";
const HTTP: &[u8] = b"http";
const HTTPS: &[u8] = b"https";

/// One admitted connection.
pub(crate) struct Downstream {
    pub(crate) socket: Socket,
    pub(crate) peer: SocketAddr,
    /// What the listener serves that it came to.
    pub(crate) paths: Paths,
    /// What every request upstream says of the caller: its address in `x-forwarded-for`, how it speaks to us in `x-forwarded-proto`.
    forwarded_lines: Box<[u8]>,
    /// Length of the address in it.
    peer_text_len: usize,
    /// The connection's one deadline; every stage sets its own.
    pub(crate) watch: Watch,
    /// Requests read so far.
    pub(crate) requests: u32,
    /// The caller sends nothing any more, by its own word, and all that it sent has been read.
    pub(crate) last: bool,
    /// The caller has ended its side or reset: there is nobody to answer.
    pub(crate) gone: bool,
    unread: Unread,
}

/// Bytes received and not yet consumed. Holds a buffer only while there are some.
struct Unread {
    lease: Option<Lease>,
    start: usize,
    pool: Rc<BufferPool>,
}

/// What one read from the caller brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// That many more bytes.
    Bytes(usize),
    /// The caller has ended its side, or the connection is broken.
    End,
    /// No room: the caller sends ahead of its answers faster than we take it.
    Full,
}

impl Downstream {
    pub(crate) fn new(local: &Local, socket: Socket, peer: SocketAddr, paths: Paths) -> Self {
        let unread = Unread { lease: None, start: 0, pool: Rc::clone(&local.buffers) };
        let peer_text = peer.ip().to_string();
        let scheme = if socket.is_tls() { HTTPS } else { HTTP };
        let lines = [FORWARDED_FOR, peer_text.as_bytes(), FORWARDED_PROTO, scheme, b"\r\n"];
        Self {
            socket,
            peer,
            paths,
            forwarded_lines: lines.concat().into(),
            peer_text_len: peer_text.len(),
            watch: local.deadlines.watch(),
            requests: 0,
            last: false,
            gone: false,
            unread,
        }
    }

    /// The form of our own answers to a request whose path says nothing about it.
    pub(crate) const fn family(&self) -> Family {
        match self.paths {
            Paths::Domain => Family::Plain,
            Paths::Passthrough => Family::Coded,
        }
    }

    /// `x-forwarded-for` and `x-forwarded-proto`, as whole lines.
    pub(crate) fn forwarded_lines(&self) -> &[u8] {
        &self.forwarded_lines
    }

    /// The peer's address as text.
    pub(crate) fn peer_text(&self) -> &[u8] {
        &self.forwarded_lines[FORWARDED_FOR.len()..][..self.peer_text_len]
    }

    /// How the caller speaks to us.
    pub(crate) const fn scheme(&self) -> &'static [u8] {
        if self.socket.is_tls() { HTTPS } else { HTTP }
    }

    /// What has been received and not consumed.
    pub(crate) fn unread(&self) -> &[u8] {
        self.unread.lease.as_ref().map_or(&[], |lease| &lease[self.unread.start..])
    }

    /// Marks the first `count` unread bytes as used; gives the buffer back when that was all.
    pub(crate) fn consume(&mut self, count: usize) {
        debug_assert!(count <= self.unread().len(), "only what was received can be consumed");
        self.unread.start += count;
        if self.unread().is_empty() {
            self.unread.lease = None;
            self.unread.start = 0;
        }
    }

    /// Hands over the buffer with everything unread in it, from its first byte.
    pub(crate) fn take_unread(&mut self) -> Lease {
        let mut lease = self.unread.lease.take().unwrap_or_else(|| self.unread.pool.small());
        lease.drain(..self.unread.start);
        self.unread.start = 0;
        lease
    }

    /// Puts bytes that were read too far (the start of the next request) behind the unread ones.
    pub(crate) fn push_unread(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.unread.open().extend_from_slice(bytes);
        }
    }

    /// Receives once into the unread buffer; pending when nothing has arrived.
    pub(crate) fn poll_hear(&mut self, cx: &mut Context<'_>) -> Poll<Heard> {
        loop {
            if self.socket.poll_readable(cx).is_pending() {
                self.unread.close_if_empty();
                return Poll::Pending;
            }
            let lease = self.unread.open();
            if lease.room() == 0 {
                return Poll::Ready(Heard::Full);
            }
            match self.socket.try_recv(lease) {
                Ok(Some(0)) | Err(_) => {
                    self.gone = true;
                    return Poll::Ready(Heard::End);
                }
                Ok(Some(count)) => return Poll::Ready(Heard::Bytes(count)),
                Ok(None) => {}
            }
        }
    }

    /// Receives straight into `buffer` (a large body); the unread bytes must have been used up before.
    pub(crate) fn poll_hear_into(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut Vec<u8>,
    ) -> Poll<io::Result<usize>> {
        debug_assert!(self.unread().is_empty(), "bytes would change places");
        loop {
            if self.socket.poll_readable(cx).is_pending() {
                return Poll::Pending;
            }
            match self.socket.try_recv(buffer) {
                Ok(Some(count)) => return Poll::Ready(Ok(count)),
                Ok(None) => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Whether a close would find nothing unread, now or later: then it ends the connection and does not reset it.
    pub(crate) fn is_quiet(&self) -> bool {
        self.last && self.unread().is_empty() && self.socket.is_quiet()
    }

    /// Sends all of `first` and `second` to the caller, or says that it cannot be done before `deadline`.
    pub(crate) async fn tell(&mut self, first: &[u8], second: &[u8], deadline: Moment) -> Result<(), Gone> {
        let total = first.len() + second.len();
        let mut sent = 0;
        loop {
            let (a, b) = after(first, second, sent);
            match self.socket.try_send(a, b) {
                Ok(count) => sent += count,
                Err(_) => {
                    self.gone = true;
                    return Err(Gone);
                }
            }
            if sent == total {
                return Ok(());
            }
            self.watch.set(deadline);
            if self.watch.race(self.socket.writable()).await.is_err() {
                self.gone = true;
                return Err(Gone);
            }
        }
    }
}

impl Unread {
    /// The buffer, leased if there was none, its consumed front closed up when no room is left behind.
    fn open(&mut self) -> &mut Lease {
        let lease = self.lease.get_or_insert_with(|| self.pool.small());
        if self.start > 0 && lease.room() == 0 {
            lease.drain(..self.start);
            self.start = 0;
        }
        lease
    }

    fn close_if_empty(&mut self) {
        if self.lease.as_ref().is_some_and(|lease| lease.len() == self.start) {
            self.lease = None;
            self.start = 0;
        }
    }
}

/// The caller cannot be reached any more: it hung up, or took nothing for too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gone;

/// What is left of two slices after `sent` bytes of the two together.
pub(crate) fn after<'a>(first: &'a [u8], second: &'a [u8], sent: usize) -> (&'a [u8], &'a [u8]) {
    if sent < first.len() { (&first[sent..], second) } else { (&[], &second[sent - first.len()..]) }
}
