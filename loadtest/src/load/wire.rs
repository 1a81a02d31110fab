//! The bytes of one connection of the client, plain or over TLS. Never blocks.

use anyhow::{Context as _, Result};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore};
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;

/// Room that has to be left in the caller's buffer before more records are read: what arrives with one read may hold several.
const ROOM_BYTES: usize = 64 * 1024;
/// Servers whose sessions are kept; the load asks one.
const SESSIONS: usize = 8;

/// Whom the client believes, and whom it asks for.
pub(super) struct Trust {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Trust {
    /// * `ca`: a PEM file; the certificates in it are believed and no others.
    /// * `host`: the name that the server has to show.
    /// * `full`: sessions are never resumed.
    ///
    /// # Errors
    /// The file holds no certificates, or the host is no name.
    pub(super) fn new(ca: &Path, host: &str, full: bool) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        let read = || format!("cannot read {}", ca.display());
        for certificate in CertificateDer::pem_file_iter(ca).with_context(read)? {
            roots.add(certificate.with_context(read)?)?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.resumption =
            if full { Resumption::disabled() } else { Resumption::in_memory_sessions(SESSIONS) };
        let name = ServerName::try_from(host.to_owned()).with_context(|| format!("{host} is no name"))?;
        Ok(Self { config: Arc::new(config), name })
    }

    /// Begins TLS on a socket that may still be connecting.
    pub(super) fn wrap(&self, socket: OwnedFd) -> Result<Wire, Errno> {
        let session = ClientConnection::new(Arc::clone(&self.config), self.name.clone());
        let session = session.map_err(|_| Errno::PROTO)?;
        Ok(Wire::Tls(Box::new(Tls { socket, session, is_counted: false })))
    }
}

/// A connection's socket, and what is spoken on it.
#[derive(Debug)]
pub(super) enum Wire {
    Plain(OwnedFd),
    Tls(Box<Tls>),
}

#[derive(Debug)]
pub(super) struct Tls {
    socket: OwnedFd,
    session: ClientConnection,
    is_counted: bool,
}

impl AsFd for Wire {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Plain(socket) => socket.as_fd(),
            Self::Tls(tls) => tls.socket.as_fd(),
        }
    }
}

impl Wire {
    /// Sends the beginning of `bytes`, as far as it is taken.
    ///
    /// # Errors
    /// `AGAIN`: not connected yet, handshake under way, or no room. Anything else: broken.
    pub(super) fn send(&mut self, bytes: &[u8]) -> Result<usize, Errno> {
        match self {
            Self::Plain(socket) => send(socket, bytes, SendFlags::NOSIGNAL),
            Self::Tls(tls) => tls.send(bytes),
        }
    }

    /// Takes what has arrived; 0 at the end.
    ///
    /// # Errors
    /// `AGAIN`: nothing for us yet. `PROTO`: TLS failed. `CONNRESET` also for an end without `close_notify`.
    pub(super) fn receive(&mut self, out: &mut [u8]) -> Result<usize, Errno> {
        match self {
            Self::Plain(socket) => recv(&*socket, out, RecvFlags::empty()).map(|(bytes, _)| bytes),
            Self::Tls(tls) => tls.receive(out),
        }
    }

    /// Whether to be told of room. `is_sending`: part of a request waits.
    pub(super) fn wants_room(&self, is_sending: bool) -> bool {
        match self {
            Self::Plain(_) => is_sending,
            Self::Tls(tls) => tls.session.wants_write() || (is_sending && !tls.session.is_handshaking()),
        }
    }

    /// Sends what TLS has to say by itself.
    pub(super) fn flush(&mut self) {
        if let Self::Tls(tls) = self {
            // A broken socket shows when it is read.
            let _ = tls.flush();
        }
    }

    /// How the handshake went, told once after it.
    pub(super) fn handshake(&mut self) -> Option<HandshakeKind> {
        match self {
            Self::Tls(tls) if !tls.is_counted && !tls.session.is_handshaking() => {
                tls.is_counted = true;
                tls.session.handshake_kind()
            }
            Self::Plain(_) | Self::Tls(_) => None,
        }
    }
}

impl Tls {
    fn flush(&mut self) -> Result<(), Errno> {
        while self.session.wants_write() {
            self.session.write_tls(&mut Socket(&self.socket)).map_err(|error| errno(&error))?;
        }
        Ok(())
    }

    fn send(&mut self, bytes: &[u8]) -> Result<usize, Errno> {
        self.flush()?;
        if self.session.is_handshaking() {
            return Err(Errno::AGAIN);
        }
        let taken = self.session.writer().write(bytes).map_err(|error| errno(&error))?;
        // It is taken; what the socket does not take of it goes when there is room.
        match self.flush() {
            Ok(()) | Err(Errno::AGAIN) => Ok(taken),
            Err(errno) => Err(errno),
        }
    }

    fn receive(&mut self, out: &mut [u8]) -> Result<usize, Errno> {
        let mut filled = 0;
        loop {
            match self.session.reader().read(&mut out[filled..]) {
                Ok(0) => return Ok(filled),
                Ok(bytes) => {
                    filled += bytes;
                    if out.len() - filled < ROOM_BYTES {
                        return Ok(filled);
                    }
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) if filled > 0 => return Ok(filled),
                Err(_) => return Err(Errno::CONNRESET),
            }
            match self.session.read_tls(&mut Socket(&self.socket)) {
                Ok(_) => {}
                Err(_) if filled > 0 => return Ok(filled),
                Err(error) => return Err(errno(&error)),
            }
            let processed = self.session.process_new_packets();
            self.flush().or_else(|errno| if errno == Errno::AGAIN { Ok(()) } else { Err(errno) })?;
            processed.map_err(|_| Errno::PROTO)?;
        }
    }
}

impl Drop for Tls {
    fn drop(&mut self) {
        self.session.send_close_notify();
        let _ = self.flush();
    }
}

fn errno(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::PROTO)
}

/// A socket as rustls reads and writes it.
struct Socket<'a>(&'a OwnedFd);

impl Read for Socket<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        Ok(recv(self.0, out, RecvFlags::empty())?.0)
    }
}

impl Write for Socket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(send(self.0, bytes, SendFlags::NOSIGNAL)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
