//! Accept: listener → admitted connection, or shed.
//!
//! Each core has a listener of its own on the same address (`SO_REUSEPORT`), and the kernel deals connections out by hash. Few
//! long connections can then pile up on one core, so a core that is clearly fuller than the emptiest one hands what it accepts
//! over to that one.
//!
//! Sockets are accepted by plain calls behind a readiness poll: `monoio`'s accept operation leaks the socket when it is
//! cancelled, and accepts without `CLOEXEC`.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use rustix::net::SocketFlags;

use super::{secure, serve_connection};
use crate::cores::{CoreHandle, CoreMessage, Over, Presence, Via, fenced};
use crate::local::Local;
use crate::meter::ShedReason;
use crate::settings::Paths;
use crate::socket::{ReadyFd, Socket};

/// Connections accepted in a row before other work gets its turn.
const ACCEPTS_PER_TURN: usize = 64;
/// How long a core without descriptors waits before it tries again.
const DESCRIPTORS_PAUSE: Duration = Duration::from_millis(50);

/// Accepts until the core closes its listener.
pub(crate) async fn accept(local: Rc<Local>, listener: ReadyFd, via: Via, siblings: Rc<[CoreHandle]>) {
    // Never expires: it is there so that the end of accepting wakes this task like any other.
    let watch = local.deadlines.watch();
    while !local.closing.get() {
        let ready = std::future::poll_fn(|cx| {
            if local.closing.get() || listener.poll_readable(cx).is_ready() {
                return std::task::Poll::Ready(());
            }
            watch.poll_expired(cx).map(|_| ())
        });
        ready.await;
        if local.closing.get() {
            return;
        }
        for _ in 0..ACCEPTS_PER_TURN {
            match rustix::net::acceptfrom_with(listener.fd(), SocketFlags::CLOEXEC) {
                Ok((fd, peer)) => {
                    let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok());
                    let peer = peer.unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0)));
                    admit(&local, fd, peer, via, &siblings);
                }
                Err(rustix::io::Errno::AGAIN) => {
                    listener.consumed_read();
                    break;
                }
                Err(rustix::io::Errno::MFILE | rustix::io::Errno::NFILE | rustix::io::Errno::NOMEM) => {
                    local.meter.sheds.bump(ShedReason::Descriptors);
                    monoio::time::sleep(DESCRIPTORS_PAUSE).await;
                    break;
                }
                // The caller was gone before it was accepted, or a signal came.
                Err(_) => {}
            }
        }
    }
}

/// Serves the connection here, on an emptier core, or not at all.
fn admit(local: &Rc<Local>, fd: OwnedFd, peer: SocketAddr, via: Via, siblings: &[CoreHandle]) {
    if let Some(core) = local.shared.load.emptier_than(local.core) {
        local.meter.handovers.bump();
        // A core that has ended leaves the connection to be closed; the process is ending too.
        let _ = siblings[core].send(CoreMessage::Connection(fd, peer, via));
        return;
    }
    adopt(local, fd, peer, via);
}

/// Serves an accepted connection on this core.
pub(crate) fn adopt(local: &Rc<Local>, fd: OwnedFd, peer: SocketAddr, via: Via) {
    if local.shared.load.total() >= local.shared.connections_max {
        local.meter.sheds.bump(ShedReason::Connections);
        shed(&fd, full(via.paths), via.over);
        return;
    }
    let Ok(presence) = count_address(local, peer) else {
        local.meter.sheds.bump(ShedReason::Address);
        shed(&fd, too_many(via.paths), via.over);
        return;
    };
    let Ok(socket) = Socket::from_accepted(fd) else { return };
    let local = Rc::clone(local);
    local.meter.connections.bump();
    monoio::spawn(async move {
        let open = Open::count(&local);
        if fenced(Box::pin(serve(&local, socket, peer, via))).await.is_err() {
            local.meter.panics.bump();
        }
        drop((open, presence));
    });
}

async fn serve(local: &Local, mut socket: Socket, peer: SocketAddr, via: Via) {
    let open = match via.over {
        Over::Plain => true,
        // Boxed: a connection must not carry the state of a handshake that it is done with.
        Over::Tls => Box::pin(secure::secure(local, &mut socket)).await,
    };
    if open {
        serve_connection(local, socket, peer, via.paths).await;
    }
}

/// The connection among those of its address, unless others stand behind that one.
fn count_address(local: &Local, peer: SocketAddr) -> Result<Option<Presence>, AddressIsFull> {
    let address = peer.ip();
    if address.to_canonical().is_loopback() || local.settings.trusts(address) {
        return Ok(None);
    }
    local.shared.addresses.enter(address).map(Some).ok_or(AddressIsFull)
}

/// An address has as many connections as it may.
struct AddressIsFull;

const fn full(paths: Paths) -> &'static [u8] {
    match paths {
        Paths::Domain => {
            b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
        }
        Paths::Passthrough => {
            b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\n\
              content-type: application/json\r\ncontent-length: 45\r\n\r\n\
              {\"code\":503,\"message\":\"Too many connections\"}"
        }
    }
}

const fn too_many(paths: Paths) -> &'static [u8] {
    match paths {
        Paths::Domain => {
            b"HTTP/1.1 429 Too Many Requests\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
        }
        Paths::Passthrough => {
            b"HTTP/1.1 429 Too Many Requests\r\nretry-after: 1\r\nconnection: close\r\n\
              content-type: application/json\r\ncontent-length: 61\r\n\r\n\
              {\"code\":429,\"message\":\"Too many connections of this address\"}"
        }
    }
}

/// Tells a caller for whom there is no room so, as far as one send goes, and closes.
fn shed(fd: &OwnedFd, answer: &[u8], over: Over) {
    if over == Over::Tls {
        // Saying it would take a handshake, which is what there is no room for.
        return;
    }
    let flags = rustix::net::SendFlags::DONTWAIT | rustix::net::SendFlags::NOSIGNAL;
    // Best effort: it is about to be closed.
    let _ = rustix::net::send(fd, answer, flags);
}

/// Counts a connection as open while it lives.
struct Open<'a>(&'a Local);

impl<'a> Open<'a> {
    fn count(local: &'a Local) -> Self {
        local.meter.open_connections.up();
        local.shared.load.set(local.core, local.meter.open_connections.get());
        Self(local)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.meter.open_connections.down();
        self.0.shared.load.set(self.0.core, self.0.meter.open_connections.get());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_shed_connection_is_told_is_as_long_as_it_says() {
        for paths in [Paths::Domain, Paths::Passthrough] {
            for answer in [full(paths), too_many(paths)] {
                let text = std::str::from_utf8(answer).unwrap();
                let (head, body) = text.split_once("\r\n\r\n").unwrap();
                assert!(head.contains(&format!("content-length: {}", body.len())), "{text}");
            }
        }
    }
}
