//! Sockets: one connected stream of a core, as readiness plus non-blocking system calls.
//!
//! Readiness comes from the core's runtime (`monoio`: one poll operation in the ring, or epoll); the bytes move by `recv` and
//! `send` with `MSG_DONTWAIT`. This is not how `monoio` is usually driven, and it is what this proxy needs:
//!
//! * An idle connection or stream has no buffer posted with the kernel, so memory per stream is a few hundred bytes.
//! * Nothing is lost when a wait is given up: an abandoned readiness poll owns no bytes, while an abandoned ring read may
//!   have received some.
//! * One poll stays armed across waits: the poll that watches a caller for hanging up during a request is the one that
//!   announces its next request, and the poll on a pooled upstream connection announces that it has gone stale.
//!
//! # Cost
//! Per event: one poll entry in the ring, one `recv`, one `send`; no allocation. Per connection: two allocations.
//! `docs/decisions/` compares this with ring reads and writes.

//!
//! A socket may carry TLS ([`tls`]). It is read and written the same way; who relays does not know the difference.

mod readiness;
mod tls;

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use monoio::net::TcpStream;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ServerConfig};

pub use readiness::ReadyFd;
pub use tls::{Agreed, HandshakeFault};

use crate::buf::BufferPool;
use tls::{Handshake, Next, Tls};

/// One connected stream.
#[derive(Debug)]
pub struct Socket {
    ready: ReadyFd,
    /// `None` on a plain connection. No borrow outlives a call.
    tls: Option<Box<RefCell<Tls>>>,
}

impl Socket {
    /// Takes an accepted socket into this core's runtime. Nagle's algorithm is off already: the listener's setting is inherited.
    ///
    /// It starts out ready to be read: a caller mostly sends as soon as it is connected, and then a poll would only say so.
    ///
    /// # Errors
    /// The runtime could not register it (epoll only).
    pub fn from_accepted(fd: OwnedFd) -> io::Result<Self> {
        let ready = ReadyFd::new(fd)?;
        ready.assume_readable();
        Ok(Self { ready, tls: None })
    }

    /// Connects to `address`. Give up by dropping the future: the half-open connection is closed.
    ///
    /// # Errors
    /// What `connect(2)` reports: refused, unreachable, out of descriptors.
    pub async fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_addr(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { ready: ReadyFd::from_stream(stream), tls: None })
    }

    /// Shakes hands as the server: afterwards everything that is read and written is sealed. Give up by dropping the future and the
    /// socket.
    ///
    /// * `turn`: waited for before the step that takes a processor's time (some 100 µs), so that a flood of handshakes can be made
    ///   to queue.
    ///
    /// # Errors
    /// [`HandshakeFault`]; the peer has been told, as far as one send goes. The socket is good for a last plain word only after
    /// [`HandshakeFault::PlainHttp`].
    pub async fn accept_tls(
        &mut self,
        config: Arc<ServerConfig>,
        buffers: &Rc<BufferPool>,
        turn: impl AsyncFn(),
    ) -> Result<Agreed, HandshakeFault> {
        // Nothing is made for a connection that never speaks.
        self.readable().await;
        self.shake_hands(Handshake::accept(config, buffers)?, buffers, turn).await
    }

    /// The same as the client: `name` is whom the certificate must be of, and what is asked for by name (SNI).
    ///
    /// # Errors
    /// [`HandshakeFault`].
    pub async fn connect_tls(
        &mut self,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
        buffers: &Rc<BufferPool>,
    ) -> Result<Agreed, HandshakeFault> {
        self.shake_hands(Handshake::connect(config, name, buffers)?, buffers, async || {}).await
    }

    async fn shake_hands(
        &mut self,
        mut handshake: Handshake,
        buffers: &Rc<BufferPool>,
        turn: impl AsyncFn(),
    ) -> Result<Agreed, HandshakeFault> {
        loop {
            if handshake.is_costly() {
                turn().await;
            }
            let next = handshake.advance();
            let sent = self.send_all(&handshake.outgoing, next.is_err()).await;
            handshake.outgoing.clear();
            if next? == Next::Done {
                sent?;
                let (tls, agreed) = Tls::new(handshake, buffers)?;
                self.tls = Some(Box::new(RefCell::new(tls)));
                return Ok(agreed);
            }
            sent?;
            loop {
                handshake.make_room()?;
                match recv_some(&self.ready, &mut handshake.incoming)? {
                    Some(0) => return Err(HandshakeFault::Closed),
                    Some(_) if handshake.is_plain_http() => return Err(HandshakeFault::PlainHttp),
                    Some(_) => break,
                    None => self.readable().await,
                }
            }
        }
    }

    /// Sends all of `bytes`, unsealed, or what goes at once of a last word.
    async fn send_all(&self, bytes: &[u8], last_word: bool) -> io::Result<()> {
        let mut sent = 0;
        while sent < bytes.len() {
            match send_some(&self.ready, &bytes[sent..], &[])? {
                0 if last_word => break,
                0 => self.writable().await,
                count => sent += count,
            }
        }
        Ok(())
    }

    /// Whether it carries TLS.
    #[must_use]
    pub const fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Whether nothing has arrived: no byte, no end, no error. Arms the poll if it was not, so that it tells later.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let mut readable = || self.ready.poll_readable(&mut cx).is_ready();
        match &self.tls {
            None => !readable(),
            Some(tls) => tls.borrow_mut().is_quiet(&self.ready, readable),
        }
    }

    /// The same by a read, for whoever cannot rely on the poll: it tells only once the core has come round to hear it.
    #[must_use]
    pub fn is_quiet_now(&self) -> bool {
        if self.tls.is_some() {
            self.ready.assume_readable();
            return self.is_quiet();
        }
        let mut byte = [0_u8];
        let flags = RecvFlags::DONTWAIT | RecvFlags::PEEK;
        matches!(rustix::net::recv(self.fd(), &mut byte, flags), Err(Errno::AGAIN))
    }

    /// Ready when bytes, an end of stream or an error wait to be read. Stays ready until [`Socket::try_recv`] finds nothing.
    ///
    /// With TLS also when only a part of a record has come, or one that carries no data: then the read finds nothing.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.tls.as_ref().is_some_and(|tls| tls.borrow().has_news()) {
            return Poll::Ready(());
        }
        self.ready.poll_readable(cx)
    }

    /// Ready when the send buffer may have room. Ask only after [`Socket::try_send`] found none.
    pub fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.ready.poll_writable(cx)
    }

    /// Waits for [`Socket::poll_readable`].
    pub async fn readable(&self) {
        std::future::poll_fn(|cx| self.poll_readable(cx)).await;
    }

    /// Waits for [`Socket::poll_writable`].
    pub async fn writable(&self) {
        std::future::poll_fn(|cx| self.poll_writable(cx)).await;
    }

    /// Appends what has arrived to `buffer`, as much as it has room for and never growing it.
    ///
    /// * `Ok(Some(0))`: the peer has ended its side. (The room must not be zero.)
    /// * `Ok(None)`: nothing has arrived yet; wait for [`Socket::readable`].
    ///
    /// # Errors
    /// What `recv(2)` reports, mostly a reset: the connection is of no further use.
    pub fn try_recv(&self, buffer: &mut Vec<u8>) -> io::Result<Option<usize>> {
        debug_assert!(
            buffer.capacity() > buffer.len(),
            "a read of nothing would look like the end of the stream"
        );
        match &self.tls {
            None => recv_some(&self.ready, buffer),
            Some(tls) => tls.borrow_mut().try_recv(&self.ready, buffer),
        }
    }

    /// Sends what the kernel takes of `first` followed by `second`, in one call.
    ///
    /// * `Ok(n)`: that many bytes of the two together were taken; 0 when there is no room (wait for [`Socket::writable`]). With TLS,
    ///   what comes after must begin with the bytes that were not taken: they may be sealed already.
    ///
    /// # Errors
    /// What `sendmsg(2)` reports: reset, broken pipe. The connection is of no further use.
    pub fn try_send(&self, first: &[u8], second: &[u8]) -> io::Result<usize> {
        match &self.tls {
            None => send_some(&self.ready, first, second),
            Some(tls) => tls.borrow_mut().try_send(&self.ready, first, second),
        }
    }

    /// Ends our side of the stream (`FIN`, with TLS after a `close_notify`); the peer can still be read.
    pub fn shutdown_write(&self) {
        if let Some(tls) = &self.tls {
            tls.borrow_mut().say_end(&self.ready);
        }
        // An error means the peer is gone already, which is what was wanted.
        let _ = rustix::net::shutdown(self.fd(), Shutdown::Write);
    }

    /// Makes the close that follows a reset (`RST`): the peer can tell that the answer was cut, not ended.
    pub fn reset_on_close(&self) {
        // On failure the close is an ordinary one; with chunked or length framing the cut is visible all the same.
        let _ = rustix::net::sockopt::set_socket_linger(self.fd(), Some(std::time::Duration::ZERO));
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.ready.fd()
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.fd().as_raw_fd()
    }
}

/// Receives once into what room `buffer` has.
fn recv_some(ready: &ReadyFd, buffer: &mut Vec<u8>) -> io::Result<Option<usize>> {
    let room = buffer.capacity() - buffer.len();
    match rustix::net::recv(ready.fd(), rustix::buffer::spare_capacity(buffer), RecvFlags::DONTWAIT) {
        Ok((received, _)) => {
            if received < room {
                // Most likely drained: wait again rather than pay for a call that says so. Nothing can be missed, because a
                // poll that is armed while bytes wait completes at once.
                ready.consumed_read();
            }
            Ok(Some(received))
        }
        Err(Errno::AGAIN | Errno::INTR) => {
            ready.consumed_read();
            Ok(None)
        }
        Err(errno) => Err(errno.into()),
    }
}

/// Sends once; 0 when there is no room.
fn send_some(ready: &ReadyFd, first: &[u8], second: &[u8]) -> io::Result<usize> {
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    let sent = if second.is_empty() {
        rustix::net::send(ready.fd(), first, flags)
    } else if first.is_empty() {
        rustix::net::send(ready.fd(), second, flags)
    } else {
        let both = [io::IoSlice::new(first), io::IoSlice::new(second)];
        rustix::net::sendmsg(ready.fd(), &both, &mut SendAncillaryBuffer::default(), flags)
    };
    match sent {
        Ok(n) => Ok(n),
        Err(Errno::AGAIN | Errno::INTR) => {
            ready.consumed_write();
            Ok(0)
        }
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use monoio::{LegacyDriver, RuntimeBuilder};

    use super::*;

    #[test]
    fn a_read_tells_what_the_core_has_not_come_round_to_hear() {
        let mut runtime = RuntimeBuilder::<LegacyDriver>::new().enable_timer().build().expect("epoll");
        runtime.block_on(async {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            for says in [&b""[..], b"x"] {
                let socket = Socket::connect(listener.local_addr().unwrap()).await.unwrap();
                let (mut there, _) = listener.accept().unwrap();
                assert!(socket.is_quiet() && socket.is_quiet_now());
                there.write_all(says).unwrap();
                drop(there);
                assert!(socket.is_quiet(), "nobody has waited since");
                assert!(!socket.is_quiet_now());
                let mut read = Vec::with_capacity(8);
                assert_eq!(socket.try_recv(&mut read).unwrap(), Some(says.len()), "it took nothing");
            }
        });
    }
}
