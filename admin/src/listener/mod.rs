//! Listeners: a bound address whose connections are in the clear, or over TLS.
//!
//! Handshakes go on beside each other, a bounded number of them and each for a bounded time; accepting waits while there are too many, so
//! a flood of half-open ones delays new connections and nothing else. Whoever speaks plain HTTP to a TLS address is told so before a byte
//! of the request is looked at, and whatever credential it holds is worth ending.
//!
//! | file | holds |
//! |---|---|
//! | `files` | PEM files → what handshakes run on, read again when they change |
//! | [`issue`] | certificates of the fleet's own authority |

mod files;
pub mod issue;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::IncomingStream;
use rustls::ServerConfig;
use rustls::client::verify_server_name;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::ParsedCertificate;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;

pub use files::{Terms, TlsFiles, TlsProblem};

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Handshakes at the same time.
const HANDSHAKES_MAX: usize = 256;
/// How long accepting pauses when the process is out of descriptors.
const PAUSE: Duration = Duration::from_millis(200);
/// First byte of a TLS connection: a handshake record (RFC 8446 §5.1).
const HANDSHAKE_RECORD: u8 = 0x16;
const PLAIN_HTTP: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: 92\r\nconnection: close\r\n\r\n\
{\"code\":\"https_required\",\"error\":\"this address speaks HTTPS\",\"message\":\"use https:// here\"}\n";

/// A connection: over TLS, or in the clear.
pub type Stream = Either<Box<TlsStream<TcpStream>>, TcpStream>;

/// Whose connection it is.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its address.
    pub address: SocketAddr,
    /// It is encrypted.
    pub over_tls: bool,
    /// What it proved to be, where that is asked for.
    certificate: Option<CertificateDer<'static>>,
}

impl Peer {
    /// Whether it may act for the node of this name: a certificate is for one node, and names it.
    #[must_use]
    pub fn may_be_node(&self, name: &str) -> bool {
        let Some(certificate) = &self.certificate else { return true };
        let (Ok(parsed), Ok(name)) = (ParsedCertificate::try_from(certificate), ServerName::try_from(name))
        else {
            return false;
        };
        verify_server_name(&parsed, &name).is_ok()
    }
}

impl Connected<IncomingStream<'_, Listener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Listener>) -> Self {
        stream.remote_addr().clone()
    }
}

/// A bound address.
pub struct Listener {
    tcp: TcpListener,
    tls: Option<Handshakes>,
}

/// Handshakes in progress, and those that have succeeded.
struct Handshakes {
    terms: watch::Receiver<Terms>,
    room: Arc<Semaphore>,
    sender: mpsc::Sender<(Stream, Peer)>,
    done: mpsc::Receiver<(Stream, Peer)>,
}

impl Listener {
    /// Binds an address.
    ///
    /// * `tls`: what handshakes run on, if there are any.
    ///
    /// # Errors
    /// It cannot be bound.
    pub async fn bind(address: SocketAddr, tls: Option<watch::Receiver<Terms>>) -> io::Result<Self> {
        let tcp = TcpListener::bind(address).await?;
        let tls = tls.map(|terms| {
            let (sender, done) = mpsc::channel(HANDSHAKES_MAX);
            Handshakes { terms, room: Arc::new(Semaphore::new(HANDSHAKES_MAX)), sender, done }
        });
        Ok(Self { tcp, tls })
    }

    /// Its address as a URL.
    ///
    /// # Errors
    /// The system does not say.
    pub fn url(&self) -> io::Result<String> {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        Ok(format!("{scheme}://{}", self.tcp.local_addr()?))
    }
}

impl axum::serve::Listener for Listener {
    type Io = Stream;
    type Addr = Peer;

    async fn accept(&mut self) -> (Stream, Peer) {
        let Some(handshakes) = &mut self.tls else {
            let (stream, address) = accept(&self.tcp).await;
            return (Either::Right(stream), Peer { address, over_tls: false, certificate: None });
        };
        loop {
            let room = Arc::clone(&handshakes.room);
            let next = async {
                let permit = room.acquire_owned().await.expect("it is never closed");
                (accept(&self.tcp).await, permit)
            };
            tokio::select! {
                connection = handshakes.done.recv() => return connection.expect("one sender is here"),
                ((stream, address), permit) = next => {
                    let config = Arc::clone(&handshakes.terms.borrow().config);
                    tokio::spawn(shake_hands(stream, address, config, handshakes.sender.clone(), permit));
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<Peer> {
        Ok(Peer { address: self.tcp.local_addr()?, over_tls: self.tls.is_some(), certificate: None })
    }
}

async fn accept(tcp: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match tcp.accept().await {
            Ok((stream, address)) => {
                // A change is one small piece that must not wait for the acknowledgement of the piece before.
                let _ = stream.set_nodelay(true);
                return (stream, address);
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn shake_hands(
    stream: TcpStream,
    address: SocketAddr,
    config: Arc<ServerConfig>,
    done: mpsc::Sender<(Stream, Peer)>,
    _permit: OwnedSemaphorePermit,
) {
    let handshake = async {
        let mut first = [0];
        if stream.peek(&mut first).await? == 1 && first[0] != HANDSHAKE_RECORD {
            let mut stream = stream;
            stream.write_all(PLAIN_HTTP).await?;
            stream.shutdown().await?;
            return Err(io::Error::other("not TLS"));
        }
        TlsAcceptor::from(config).accept(stream).await
    };
    let stream = match tokio::time::timeout(HANDSHAKE, handshake).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%address, %error, "handshake failed"),
        Err(_) => return tracing::debug!(%address, "handshake took too long"),
    };
    let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first).cloned();
    let peer = Peer { address, over_tls: true, certificate };
    // Only a process that ends has nobody left to take it.
    let _ = done.send((Either::Left(Box::new(stream)), peer)).await;
}
