//! Handshakes: rustls's state machine over leased buffers, until there are keys.
//!
//! rustls is given one record at a time, so that what the peer sends behind its last handshake record is left for
//! [`Traffic`](super::traffic::Traffic): rustls never sees data.

use std::fmt;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, UnbufferedStatus};
use rustls::{ClientConfig, ExtractedSecrets, HandshakeKind, ProtocolVersion, ServerConfig};

use super::record::{HEADER_BYTES, PLAIN_BYTES_MAX};
use super::traffic::Kernel;
use crate::buf::{BufferPool, Lease};

/// Type of the records that a handshake begins with.
const HANDSHAKE: u8 = 22;

/// Why there is no TLS on a connection.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeFault {
    /// The peer was gone before it was done.
    #[error("the peer ended the connection during the handshake")]
    Closed,
    /// What the system said.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The first bytes are a request in plain HTTP. Nothing was answered yet.
    #[error("plain HTTP, where TLS was expected")]
    PlainHttp,
    /// What rustls said; the peer has been sent the alert that goes with it.
    #[error("{0}")]
    Tls(#[from] rustls::Error),
    /// The peer's messages are longer than any handshake.
    #[error("a handshake that is too long")]
    TooLong,
}

/// What both sides have agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// TLS 1.2 or 1.3.
    pub version: ProtocolVersion,
    /// An earlier session went on: no certificate was shown.
    pub resumed: bool,
}

/// Who we are in a handshake.
enum Side {
    Server(Box<UnbufferedServerConnection>),
    Client(Box<UnbufferedClientConnection>),
}

/// A handshake under way.
pub(in crate::socket) struct Handshake {
    side: Side,
    buffers: Rc<BufferPool>,
    /// What has arrived; the first `shown` bytes have been shown to rustls.
    pub(in crate::socket) incoming: Lease,
    shown: usize,
    answered: bool,
    /// What is to be sent.
    pub(in crate::socket) outgoing: Lease,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::socket) enum Next {
    /// The peer's turn.
    Hear,
    /// There are keys.
    Done,
}

enum Step {
    Again,
    Blocked,
    Done,
}

impl Handshake {
    /// # Errors
    /// The configuration allows no handshake.
    pub(in crate::socket) fn accept(
        config: Arc<ServerConfig>,
        buffers: &Rc<BufferPool>,
    ) -> Result<Self, HandshakeFault> {
        let side = UnbufferedServerConnection::new(config)?;
        Ok(Self::new(Side::Server(Box::new(side)), buffers))
    }

    /// # Errors
    /// The configuration allows no handshake.
    pub(in crate::socket) fn connect(
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
        buffers: &Rc<BufferPool>,
    ) -> Result<Self, HandshakeFault> {
        let side = UnbufferedClientConnection::new(config, name)?;
        Ok(Self::new(Side::Client(Box::new(side)), buffers))
    }

    fn new(side: Side, buffers: &Rc<BufferPool>) -> Self {
        let (incoming, outgoing) = (buffers.record(), buffers.record());
        Self { side, buffers: Rc::clone(buffers), incoming, shown: 0, answered: false, outgoing }
    }

    /// Makes room for more to arrive.
    ///
    /// # Errors
    /// [`HandshakeFault::TooLong`].
    pub(in crate::socket) fn make_room(&mut self) -> Result<(), HandshakeFault> {
        if self.incoming.room() > 0 {
            return Ok(());
        }
        let mut larger = self.buffers.large();
        if larger.capacity() <= self.incoming.len() {
            return Err(HandshakeFault::TooLong);
        }
        larger.extend_from_slice(&self.incoming);
        self.incoming = larger;
        Ok(())
    }

    /// Whether the next step takes a processor's time: a server's answer to a whole greeting.
    pub(in crate::socket) fn is_costly(&self) -> bool {
        matches!(self.side, Side::Server(_)) && !self.answered && shown_next(&self.incoming[self.shown..]) > 0
    }

    /// Whether the peer speaks HTTP: every method begins with a capital letter, and no TLS record does.
    pub(in crate::socket) fn is_plain_http(&self) -> bool {
        matches!(self.side, Side::Server(_)) && self.incoming.first().is_some_and(u8::is_ascii_uppercase)
    }

    /// Goes as far as what has arrived allows. `outgoing` is to be sent afterwards, also after an error.
    ///
    /// # Errors
    /// [`HandshakeFault::Tls`], with the alert in `outgoing`.
    pub(in crate::socket) fn advance(&mut self) -> Result<Next, HandshakeFault> {
        loop {
            match self.step() {
                Ok(Step::Again) => self.answered = true,
                Ok(Step::Done) => return Ok(Next::Done),
                Ok(Step::Blocked) => {
                    let more = shown_next(&self.incoming[self.shown..]);
                    if more == 0 {
                        return Ok(Next::Hear);
                    }
                    self.shown += more;
                }
                Err(error) => {
                    // The alert. What is wrong must not be looked at again: rustls would want to say it twice.
                    while self.has_words() && matches!(self.step(), Ok(Step::Again)) {}
                    return Err(error);
                }
            }
        }
    }

    fn has_words(&self) -> bool {
        match &self.side {
            Side::Server(side) => side.wants_write(),
            Side::Client(side) => side.wants_write(),
        }
    }

    fn step(&mut self) -> Result<Step, HandshakeFault> {
        let shown = &mut self.incoming[..self.shown];
        let (step, discard) = match &mut self.side {
            Side::Server(side) => step(side.process_tls_records(shown), &mut self.outgoing, &self.buffers),
            Side::Client(side) => step(side.process_tls_records(shown), &mut self.outgoing, &self.buffers),
        };
        self.incoming.drain(..discard);
        self.shown -= discard;
        step
    }

    /// What was agreed, the keys, and what has arrived behind the handshake.
    ///
    /// # Errors
    /// The handshake is not done.
    pub(super) fn finish(self) -> Result<(Agreed, ExtractedSecrets, Kernel, Lease, Lease), HandshakeFault> {
        let Self { side, incoming, outgoing, .. } = self;
        let (kind, secrets, kernel, version) = match side {
            Side::Server(side) => {
                let kind = side.handshake_kind();
                let (secrets, kernel) = side.dangerous_into_kernel_connection()?;
                let version = kernel.protocol_version();
                (kind, secrets, Kernel::Server(kernel), version)
            }
            Side::Client(side) => {
                let kind = side.handshake_kind();
                let (secrets, kernel) = side.dangerous_into_kernel_connection()?;
                let version = kernel.protocol_version();
                (kind, secrets, Kernel::Client(kernel), version)
            }
        };
        let agreed = Agreed { version, resumed: kind == Some(HandshakeKind::Resumed) };
        Ok((agreed, secrets, kernel, incoming, outgoing))
    }
}

/// How much of `bytes` rustls is shown next: one record, or everything if no record begins like that, so that rustls says why.
fn shown_next(bytes: &[u8]) -> usize {
    let Some([kind, major, _, high, low]) = bytes.first_chunk::<HEADER_BYTES>() else { return 0 };
    let len = usize::from(u16::from_be_bytes([*high, *low]));
    if !(20..=24).contains(kind)
        || *major != 3
        || len > PLAIN_BYTES_MAX + 2048
        || (len == 0 && *kind == HANDSHAKE)
    {
        return bytes.len();
    }
    if bytes.len() < HEADER_BYTES + len { 0 } else { HEADER_BYTES + len }
}

/// One step of either side, and how many of the bytes shown it has used up.
fn step<Data>(
    status: UnbufferedStatus<'_, '_, Data>,
    outgoing: &mut Lease,
    buffers: &Rc<BufferPool>,
) -> (Result<Step, HandshakeFault>, usize) {
    let discard = status.discard;
    let step = match status.state {
        Err(error) => Err(error.into()),
        Ok(ConnectionState::EncodeTlsData(mut data)) => {
            let start = outgoing.len();
            let mut encoded = data.encode(&mut []);
            if let Err(EncodeError::InsufficientSize(needed)) = &encoded {
                let end = start + needed.required_size;
                if end > outgoing.capacity() {
                    // A long chain of certificates.
                    let mut larger = buffers.large();
                    larger.extend_from_slice(outgoing);
                    *outgoing = larger;
                }
                outgoing.resize(end, 0);
                encoded = data.encode(&mut outgoing[start..]);
            }
            match encoded {
                Ok(_) => Ok(Step::Again),
                Err(_) => Err(HandshakeFault::TooLong),
            }
        }
        Ok(ConnectionState::TransmitTlsData(sent)) => {
            sent.done();
            Ok(Step::Again)
        }
        Ok(ConnectionState::BlockedHandshake) => Ok(Step::Blocked),
        Ok(ConnectionState::WriteTraffic(_)) => Ok(Step::Done),
        // Its last word instead of a handshake.
        Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => Err(HandshakeFault::Closed),
        // Data cannot be read before there are keys for it, and early data is not offered.
        Ok(_) => Err(HandshakeFault::Tls(rustls::Error::HandshakeNotComplete)),
    };
    (step, discard)
}

impl fmt::Debug for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handshake").finish_non_exhaustive()
    }
}
