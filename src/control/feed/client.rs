//! HTTP/1.1 towards cube-admin: blocking, on threads that serve nobody. One connection for the feed, which stays open, and one for each
//! of the things that are posted, kept alive between posts.

use std::io::{self, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use cube_wire::feed::{NODE_AUTH_HEADER, SILENCE_MAX_MS};
use cube_wire::seal::FleetKey;
use http::Method;
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

use super::lines::Body;
use crate::http1::write::{Framing, HeadWriter};
use crate::http1::{HeadError, HeadLimits, Parsed, ResponseBody, ResponseHead};
use crate::settings::{Origin, Trust};
use crate::tls::{TlsError, client_terms};

const CONNECT: Duration = Duration::from_secs(3);
/// A read or write that takes longer has nobody at its other end.
const SILENCE_MAX: Duration = Duration::from_millis(SILENCE_MAX_MS);
/// What is read of an answer that nobody looks at, so that its connection can be used again.
const ANSWER_BYTES_MAX: u64 = 64 << 10;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("the answer is no HTTP: {0}")]
    Head(HeadError),
    /// Of the feed, which has only one good answer.
    #[error("status {0}{hint}", hint = hint(*.0))]
    Status(u16),
}

const fn hint(status: u16) -> &'static str {
    match status {
        401 | 403 => ": another fleet key, or none",
        _ => "",
    }
}

/// Where admin is and what we show it. Has no `Debug`: the credential must not end up in a log.
pub(super) struct Admin {
    origin: Origin,
    trust: Trust,
    bearer: String,
}

impl Admin {
    /// # Errors
    /// A certificate that is needed cannot be used.
    pub(super) fn new(origin: Origin, trust: Trust, key: &FleetKey) -> Result<Self, TlsError> {
        if origin.tls {
            client_terms(&trust)?;
        }
        let bearer = format!("Bearer {}", key.node_token());
        Ok(Self { origin, trust, bearer })
    }

    pub(super) const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Connects to the first address of its name that answers. Names are looked up each time: admin may have moved.
    fn connect(&self) -> io::Result<Stream> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in (self.origin.host.as_str(), self.origin.port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, CONNECT) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    stream.set_read_timeout(Some(SILENCE_MAX))?;
                    stream.set_write_timeout(Some(SILENCE_MAX))?;
                    return self.seal(stream);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// The files are read each time: a certificate that was renewed is shown with the next connection.
    fn seal(&self, stream: TcpStream) -> io::Result<Stream> {
        if !self.origin.tls {
            return Ok(Stream::Plain(stream));
        }
        let config = client_terms(&self.trust).map_err(io::Error::other)?;
        let name = ServerName::try_from(self.origin.host.clone()).map_err(io::Error::other)?;
        let tls = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(tls, stream);
        // Now, not with the first write: then the reason of a failure is its own.
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Stream::Tls(Box::new(stream)))
    }

    /// Asks for the feed; leaves the connection at the first byte of its body.
    ///
    /// # Errors
    /// Anything but status 200. A later read that waits for longer than the feed may be silent is an error as well.
    pub(super) fn open_feed(&self, target: &str) -> Result<BufReader<Body<Stream>>, ClientError> {
        let mut stream = self.connect()?;
        let mut request = Vec::with_capacity(512);
        HeadWriter::request(
            &mut request,
            &Method::GET,
            &[target.as_bytes()],
            self.origin.authority().as_bytes(),
        )
        .field(NODE_AUTH_HEADER, self.bearer.as_bytes())
        .field("accept", b"application/x-ndjson")
        .end(Framing::None);
        stream.write_all(&request)?;
        stream.flush()?;
        let answer = read_head(&mut stream)?;
        if answer.status != 200 {
            return Err(ClientError::Status(answer.status));
        }
        Ok(BufReader::with_capacity(64 << 10, Body::new(stream, answer.body, &answer.begun)))
    }
}

/// A connection to admin.
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

/// A connection for posts.
pub(super) struct Poster {
    connection: Option<Stream>,
}

impl Poster {
    pub(super) const fn new() -> Self {
        Self { connection: None }
    }

    /// Posts `body` and returns the status. What is posted here is harmless when it arrives twice, so a kept connection that turns out
    /// to be closed is replaced without asking whether the request went out.
    ///
    /// # Errors
    /// No answer. The connection is closed then.
    pub(super) fn post(
        &mut self,
        admin: &Admin,
        target: &str,
        content_type: &str,
        body: &[u8],
    ) -> Result<u16, ClientError> {
        let mut request = Vec::with_capacity(512 + body.len());
        HeadWriter::request(
            &mut request,
            &Method::POST,
            &[target.as_bytes()],
            admin.origin.authority().as_bytes(),
        )
        .field(NODE_AUTH_HEADER, admin.bearer.as_bytes())
        .field("content-type", content_type.as_bytes())
        .end(Framing::Length(body.len() as u64));
        request.extend_from_slice(body);
        if let Some(kept) = self.connection.take()
            && let Ok(status) = self.exchange(kept, &request)
        {
            return Ok(status);
        }
        self.exchange(admin.connect()?, &request)
    }

    fn exchange(&mut self, mut stream: Stream, request: &[u8]) -> Result<u16, ClientError> {
        stream.write_all(request)?;
        stream.flush()?;
        let answer = read_head(&mut stream)?;
        if answer.keep_alive {
            let mut body = Body::new(stream, answer.body, &answer.begun);
            let drained = io::copy(&mut (&mut body).take(ANSWER_BYTES_MAX), &mut io::sink());
            if drained.is_ok_and(|bytes| bytes < ANSWER_BYTES_MAX) {
                self.connection = Some(body.into_reader());
            }
        }
        Ok(answer.status)
    }
}

struct Answer {
    status: u16,
    body: ResponseBody,
    keep_alive: bool,
    /// What was read behind the head.
    begun: Vec<u8>,
}

/// Reads up to the end of the final head.
fn read_head(stream: &mut Stream) -> Result<Answer, ClientError> {
    let (mut head, mut bytes) = (ResponseHead::new(), Vec::new());
    let mut block = [0; 4 << 10];
    loop {
        let read = stream.read(&mut block)?;
        if read == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        bytes.extend_from_slice(&block[..read]);
        while let Parsed::Complete { len } =
            head.parse(&bytes, &HeadLimits::default(), false).map_err(ClientError::Head)?
        {
            bytes.drain(..len);
            if head.status >= 200 {
                let ResponseHead { status, body, keep_alive, .. } = head;
                return Ok(Answer { status, body, keep_alive, begun: bytes });
            }
        }
    }
}
