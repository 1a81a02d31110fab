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

mod readiness;

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::task::{Context, Poll};

use monoio::net::TcpStream;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown};

pub use readiness::ReadyFd;

/// One connected stream.
#[derive(Debug)]
pub struct Socket {
    ready: ReadyFd,
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
        Ok(Self { ready })
    }

    /// Connects to `address`. Give up by dropping the future: the half-open connection is closed.
    ///
    /// # Errors
    /// What `connect(2)` reports: refused, unreachable, out of descriptors.
    pub async fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_addr(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { ready: ReadyFd::from_stream(stream) })
    }

    /// Ready when bytes, an end of stream or an error wait to be read. Stays ready until [`Socket::try_recv`] finds nothing.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
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
        let room = buffer.capacity() - buffer.len();
        debug_assert!(room > 0, "a read of nothing would look like the end of the stream");
        match rustix::net::recv(self.fd(), rustix::buffer::spare_capacity(buffer), RecvFlags::DONTWAIT) {
            Ok((received, _)) => {
                if received < room {
                    // Most likely drained: wait again rather than pay for a call that says so. Nothing can be missed,
                    // because a poll that is armed while bytes wait completes at once.
                    self.ready.consumed_read();
                }
                Ok(Some(received))
            }
            Err(Errno::AGAIN | Errno::INTR) => {
                self.ready.consumed_read();
                Ok(None)
            }
            Err(errno) => Err(errno.into()),
        }
    }

    /// Sends what the kernel takes of `first` followed by `second`, in one call.
    ///
    /// * `Ok(n)`: that many bytes of the two together were taken; 0 when there is no room (wait for [`Socket::writable`]).
    ///
    /// # Errors
    /// What `sendmsg(2)` reports: reset, broken pipe. The connection is of no further use.
    pub fn try_send(&self, first: &[u8], second: &[u8]) -> io::Result<usize> {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let sent = if second.is_empty() {
            rustix::net::send(self.fd(), first, flags)
        } else if first.is_empty() {
            rustix::net::send(self.fd(), second, flags)
        } else {
            let both = [io::IoSlice::new(first), io::IoSlice::new(second)];
            rustix::net::sendmsg(self.fd(), &both, &mut SendAncillaryBuffer::default(), flags)
        };
        match sent {
            Ok(n) => Ok(n),
            Err(Errno::AGAIN | Errno::INTR) => {
                self.ready.consumed_write();
                Ok(0)
            }
            Err(errno) => Err(errno.into()),
        }
    }

    /// Ends our side of the stream (`FIN`); the peer can still be read.
    pub fn shutdown_write(&self) {
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
