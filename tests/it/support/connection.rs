//! One TCP connection in the hands of a test, from either end: any bytes out, with any cuts; everything that
//! comes in kept with the time it came.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::kernel::{is_quiet_at, unacknowledged_at, unread_at};
use super::message::{Framing, Message, unchunk, unchunk_cut};

/// How long a test waits for something that must happen. Far above what anything takes: a test that fails by it
/// is stuck, not slow.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// How long a test watches for something that must *not* happen.
pub(crate) const GLANCE: Duration = Duration::from_millis(150);

/// How the other side ended the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// A FIN.
    Closed,
    /// A RST.
    Reset,
    /// With TLS: a FIN without a last word before it, as somebody in between could send it.
    Cut,
}

/// One read: when it returned, and how many bytes it brought.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    pub(crate) at: Instant,
    pub(crate) len: usize,
}

/// A caller of the proxy, or the proxy's connection at an upstream.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    /// With TLS, what the bytes go through.
    tls: Option<Box<rustls::Connection>>,
    /// Bytes that came and were not asked for yet.
    pending: Vec<u8>,
    /// Every read so far, in order.
    pub(crate) arrivals: Vec<Arrival>,
    end: Option<End>,
    /// This end's address and the other's, for as long as the test needs them: a closed socket forgets.
    between: (SocketAddr, SocketAddr),
}

impl Connection {
    pub(crate) fn to(address: SocketAddr) -> Self {
        Self::from(TcpStream::connect(address).expect("the proxy accepts"))
    }

    pub(crate) fn from(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        let between = (stream.local_addr().unwrap(), stream.peer_addr().unwrap());
        Self { stream, tls: None, pending: Vec::new(), arrivals: Vec::new(), end: None, between }
    }

    /// Connects with TLS, and asks for `localhost`.
    pub(crate) fn to_tls(address: SocketAddr, config: &Arc<rustls::ClientConfig>) -> Self {
        Self::to(address).over(super::tls::client(config, "localhost").into())
    }

    /// From here on, the bytes go through TLS. The handshake is made with the first of them.
    pub(crate) fn over(mut self, tls: rustls::Connection) -> Self {
        self.tls = Some(Box::new(tls));
        self
    }

    /// Shakes hands now, or says why not.
    pub(crate) fn shake_hands(&mut self) -> std::io::Result<&rustls::Connection> {
        let tls = self.tls.as_mut().expect("a TLS connection");
        while tls.is_handshaking() {
            tls.complete_io(&mut self.stream)?;
        }
        Ok(tls)
    }

    /// The TLS of this connection.
    pub(crate) fn tls(&mut self) -> &mut rustls::Connection {
        self.tls.as_mut().expect("a TLS connection")
    }

    /// The records that carry `bytes`, not sent.
    pub(crate) fn seal(&mut self, bytes: impl AsRef<[u8]>) -> Vec<u8> {
        let tls = self.tls();
        let mut sealed = Vec::new();
        tls.writer().write_all(bytes.as_ref()).unwrap();
        while tls.wants_write() {
            tls.write_tls(&mut sealed).unwrap();
        }
        sealed
    }

    /// Sends bytes past TLS, as they are.
    pub(crate) fn send_sealed(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the other side takes the bytes");
    }

    /// The same for what may not be taken any more.
    pub(crate) fn offer_sealed(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// Reads once; what came is thrown away.
    pub(crate) fn read_or_error(&mut self) -> std::io::Result<()> {
        self.read(&mut [0; 1024]).map(|_| ())
    }

    fn write_all(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        if self.tls.is_none() {
            return self.stream.write_all(bytes);
        }
        self.shake_hands()?;
        let tls = self.tls.as_mut().expect("looked at above");
        tls.set_buffer_limit(None);
        tls.writer().write_all(bytes)?;
        while tls.wants_write() {
            tls.write_tls(&mut self.stream)?;
        }
        Ok(())
    }

    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let Some(tls) = &mut self.tls else { return self.stream.read(buffer) };
        loop {
            match tls.reader().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                read => return read,
            }
            while tls.wants_write() {
                tls.write_tls(&mut self.stream)?;
            }
            tls.read_tls(&mut self.stream)?;
            if let Err(error) = tls.process_new_packets() {
                let _ = tls.write_tls(&mut self.stream);
                return Err(std::io::Error::new(ErrorKind::InvalidData, error));
            }
        }
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.write_all(bytes.as_ref()).expect("the other side takes the bytes");
    }

    /// Sends what the other side may refuse to take because it has already closed. Whether it took all.
    pub(crate) fn offer(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.write_all(bytes.as_ref()).is_ok()
    }

    /// Sends `bytes` in two writes that the other side reads apart.
    pub(crate) fn send_cut(&mut self, bytes: impl AsRef<[u8]>, cut: usize) {
        let bytes = bytes.as_ref();
        self.send(&bytes[..cut]);
        self.wait_until_taken();
        self.send(&bytes[cut..]);
    }

    /// Waits until the other side, a process on this machine, has read all that was sent; gives up quietly after
    /// a while, because a peer may have a good reason not to read.
    pub(crate) fn wait_until_taken(&self) {
        let patience = Instant::now() + GLANCE;
        let (here, there) = self.between;
        while Instant::now() < patience && unread_at(there, here).is_some_and(|unread| unread > 0) {
            thread::yield_now();
        }
    }

    /// The same, for a peer that has no reason not to read, however busy the machine is, and for more bytes than its window
    /// holds: those that are kept back here have not been read either.
    pub(crate) fn wait_until_read(&self) {
        // In this order: what is acknowledged has come, so that nothing comes after the second answer.
        self.wait_until_come();
        let patience = Instant::now() + PATIENCE;
        while self.unread() > 0 {
            assert!(Instant::now() < patience, "it is not read");
            thread::yield_now();
        }
    }

    /// Waits until all that was sent lies before the other side, read or not.
    pub(crate) fn wait_until_come(&self) {
        let patience = Instant::now() + PATIENCE;
        let (here, there) = self.between;
        while unacknowledged_at(here, there).is_some_and(|kept| kept > 0) {
            assert!(Instant::now() < patience, "it does not come");
            thread::yield_now();
        }
    }

    /// Bytes that lie before the other side and that it has not read; 0 if it has closed.
    pub(crate) fn unread(&self) -> u32 {
        let (here, there) = self.between;
        unread_at(there, here).unwrap_or(0)
    }

    /// Whether the other side has read all that was sent.
    pub(crate) fn is_read(&self) -> bool {
        let (here, there) = self.between;
        unacknowledged_at(here, there) == Some(0) && unread_at(there, here) == Some(0)
    }

    /// Whether the other side has read all that was sent before this time is over.
    pub(crate) fn is_read_within(&self, time: Duration) -> bool {
        let until = Instant::now() + time;
        while !self.is_read() {
            if Instant::now() >= until {
                return false;
            }
            thread::yield_now();
        }
        true
    }

    /// Parts with the connection, and waits until the other side's kernel knows: its process may have heard of it or not.
    pub(crate) fn part<T>(self, parting: impl FnOnce(Self) -> T) -> T {
        let patience = Instant::now() + PATIENCE;
        let (here, there) = self.between;
        let parted = parting(self);
        while is_quiet_at(there, here) {
            assert!(Instant::now() < patience, "the other side has not been told");
            thread::yield_now();
        }
        parted
    }

    /// No more bytes from here; the other direction stays open.
    pub(crate) fn finish_sending(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            let _ = tls.write_tls(&mut self.stream);
        }
        // The other side may have reset the connection already; then there is nothing to finish.
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Closes with a RST instead of a FIN.
    pub(crate) fn reset(self) {
        rustix::net::sockopt::set_socket_linger(&self.stream, Some(Duration::ZERO)).unwrap();
    }

    /// Sends up to `total` bytes until the other side takes no more for a glance; how many it took.
    pub(crate) fn send_until_stuck(&mut self, total: usize) -> usize {
        self.stream.set_write_timeout(Some(GLANCE)).unwrap();
        let block = vec![b'x'; 64 * 1024];
        let mut sent = 0;
        while sent < total {
            match self.stream.write(&block[..block.len().min(total - sent)]) {
                Ok(len) => sent += len,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break,
                Err(error) => panic!("after {sent} bytes: {error}"),
            }
        }
        self.stream.set_write_timeout(Some(PATIENCE)).unwrap();
        sent
    }

    /// Whether all that came was taken.
    pub(crate) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Whether what came and was not taken yet ends with `tail`.
    pub(crate) fn pending_ends_with(&self, tail: &[u8]) -> bool {
        self.pending.ends_with(tail)
    }

    /// Forgets what is pending but its last `keep` bytes; how many were forgotten.
    pub(crate) fn discard_all_but(&mut self, keep: usize) -> usize {
        let len = self.pending.len().saturating_sub(keep);
        self.pending.drain(..len).count()
    }

    /// Reads once. Whether bytes came: `false` when the other side ended the connection.
    pub(crate) fn read_some(&mut self) -> bool {
        if self.end.is_some() {
            return false;
        }
        let mut buffer = vec![0; 64 * 1024];
        match self.read(&mut buffer) {
            Ok(0) => self.end = Some(End::Closed),
            Ok(len) => {
                self.arrivals.push(Arrival { at: Instant::now(), len });
                self.pending.extend_from_slice(&buffer[..len]);
            }
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {
                self.end = Some(End::Reset);
            }
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => self.end = Some(End::Cut),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => panic!("nothing came: {error}; so far {}", self.so_far()),
        }
        self.end.is_none()
    }

    /// Reads until `len` bytes are pending and takes them.
    pub(crate) fn take(&mut self, len: usize) -> Vec<u8> {
        while self.pending.len() < len {
            assert!(self.read_some(), "ended early ({:?}): {}", self.end, self.so_far());
        }
        self.pending.drain(..len).collect()
    }

    /// Reads until `needle` has come, and takes all up to and including it.
    pub(crate) fn take_through(&mut self, needle: &[u8]) -> Vec<u8> {
        self.try_take_through(needle)
            .unwrap_or_else(|end| panic!("{end:?} before {:?}: {}", needle.escape_ascii(), self.so_far()))
    }

    fn try_take_through(&mut self, needle: &[u8]) -> Result<Vec<u8>, End> {
        let mut searched = 0_usize;
        loop {
            let from = searched.saturating_sub(needle.len());
            if let Some(at) = self.pending[from..].windows(needle.len()).position(|window| window == needle) {
                return Ok(self.pending.drain(..from + at + needle.len()).collect());
            }
            searched = self.pending.len();
            if !self.read_some() {
                return Err(self.end.expect("read_some said that it ended"));
            }
        }
    }

    /// One head, up to and including its blank line.
    pub(crate) fn head(&mut self) -> Message {
        Message::from_head(self.take_through(b"\r\n\r\n"))
    }

    /// One whole request, for the upstream's side.
    pub(crate) fn request(&mut self) -> Message {
        let mut message = self.head();
        let framing = message.request_framing();
        self.body_into(&mut message, framing);
        message
    }

    /// One whole answer to a GET or POST, for the caller's side; a 1xx counts as one.
    pub(crate) fn response(&mut self) -> Message {
        self.response_to("POST")
    }

    pub(crate) fn response_to(&mut self, method: &str) -> Message {
        let mut message = self.head();
        let framing = message.response_framing(method);
        self.body_into(&mut message, framing);
        message
    }

    /// The status of the next answer, or how the connection ends without one.
    pub(crate) fn status_or_end(&mut self) -> Result<u16, End> {
        self.try_take_through(b"\r\n\r\n").map(|head| Message::from_head(head).status())
    }

    /// An answer that must come as a whole and be followed by the end of the connection.
    pub(crate) fn last_response(&mut self) -> Message {
        let message = self.response();
        let (rest, _) = self.rest();
        assert_eq!(rest.escape_ascii().to_string(), "", "bytes after the last answer");
        message
    }

    /// An answer that must be cut before its end: what of it came. A clean end is a fault.
    pub(crate) fn cut_response(&mut self) -> Message {
        let mut message = self.head();
        let framing = message.response_framing("POST");
        let (rest, end) = self.rest();
        match framing {
            Framing::Chunked => {
                assert!(unchunk(&rest).is_none(), "a clean end: {}", rest.escape_ascii());
                message.body = unchunk_cut(&rest);
            }
            Framing::Length(length) => {
                assert!(rest.len() < length, "all {length} bytes came");
                message.body.clone_from(&rest);
            }
            Framing::UntilClose => {
                assert_eq!(end, End::Reset, "a close-delimited body may not end with FIN when it was cut");
                message.body.clone_from(&rest);
            }
            Framing::None => panic!("no body to cut: {:?}", message.start),
        }
        message.framed = rest;
        message
    }

    /// All that comes until the other side ends the connection, and how it ends it.
    pub(crate) fn rest(&mut self) -> (Vec<u8>, End) {
        while self.read_some() {}
        (std::mem::take(&mut self.pending), self.end.expect("read_some said that it ended"))
    }

    /// Waits until the other side ends the connection.
    pub(crate) fn wait_for_end(&mut self) -> End {
        self.rest().1
    }

    /// Fails when anything comes, or the connection ends, within a glance.
    pub(crate) fn expect_silence(&mut self) {
        assert!(self.pending.is_empty(), "already here: {}", self.so_far());
        self.stream.set_read_timeout(Some(GLANCE)).unwrap();
        let mut byte = [0];
        let came = self.stream.peek(&mut byte);
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let error = came.expect_err("silence");
        assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
    }

    /// The raw socket, for tests that need both directions at once.
    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    fn body_into(&mut self, message: &mut Message, framing: Framing) {
        match framing {
            Framing::None => {}
            Framing::Length(length) => {
                message.framed = self.take(length);
                message.body.clone_from(&message.framed);
            }
            Framing::Chunked => {
                let (body, used) = self.chunked();
                message.body = body;
                message.framed = self.pending.drain(..used).collect();
            }
            Framing::UntilClose => {
                let (rest, end) = self.rest();
                assert_eq!(end, End::Closed, "a close-delimited body ends with FIN");
                message.framed = rest;
                message.body.clone_from(&message.framed);
            }
        }
    }

    fn chunked(&mut self) -> (Vec<u8>, usize) {
        loop {
            // Only what ends like a whole body is worth taking apart: trying each read would cost a square.
            let may_be_whole = self.pending.len() < 64 * 1024 || self.pending.ends_with(b"\r\n\r\n");
            if may_be_whole && let Some(whole) = unchunk(&self.pending) {
                return whole;
            }
            assert!(self.read_some(), "cut ({:?}) in a chunked body: {}", self.end, self.so_far());
        }
    }

    fn so_far(&self) -> String {
        let shown = &self.pending[..self.pending.len().min(2048)];
        format!("{} bytes: {}", self.pending.len(), shown.escape_ascii())
    }
}
