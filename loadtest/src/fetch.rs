//! One request on one connection, for set-up work: readiness, lists of models, counters.

use crate::http1::{ChunkDecoder, ChunkStep, Fields, head_end, status_line};
use anyhow::{Context as _, Result, bail};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::time::Duration;

/// Longest wait for a connection, for a read, for a write.
const PATIENCE: Duration = Duration::from_secs(5);

/// An `http://host:port[/base]` or `https://…` taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// `host:port`.
    pub authority: String,
    /// Empty, or a path that starts with `/` and does not end with one.
    pub base: String,
    /// Over TLS.
    pub is_tls: bool,
}

impl Origin {
    /// Reads a URL.
    ///
    /// # Errors
    /// It is no `http` URL.
    pub fn parse(url: &str) -> Result<Self> {
        let origin = Self::parse_any(url)?;
        if origin.is_tls {
            bail!("{url}: only http:// URLs are understood");
        }
        Ok(origin)
    }

    /// Reads a URL that may say `https`.
    ///
    /// # Errors
    /// It is neither an `http` nor an `https` URL.
    pub fn parse_any(url: &str) -> Result<Self> {
        let (rest, is_tls) = match (url.strip_prefix("http://"), url.strip_prefix("https://")) {
            (Some(rest), _) => (rest, false),
            (None, Some(rest)) => (rest, true),
            (None, None) => bail!("{url}: only http:// and https:// URLs are understood"),
        };
        let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        if authority.is_empty() {
            bail!("{url}: no host");
        }
        let default = if is_tls { ":443" } else { ":80" };
        let port =
            if authority.rsplit(']').next().is_some_and(|end| end.contains(':')) { "" } else { default };
        let authority = format!("{authority}{port}");
        Ok(Self { authority, base: path.trim_end_matches('/').to_owned(), is_tls })
    }

    /// Its host, without the port.
    #[must_use]
    pub fn host(&self) -> &str {
        let host = self.authority.rsplit_once(':').map_or(&*self.authority, |(host, _)| host);
        host.trim_start_matches('[').trim_end_matches(']')
    }

    /// The first address of its host.
    ///
    /// # Errors
    /// The host is not known.
    pub fn address(&self) -> Result<SocketAddr> {
        let mut addresses =
            self.authority.to_socket_addrs().with_context(|| format!("{}: unknown host", self.authority))?;
        addresses.next().with_context(|| format!("{}: no address", self.authority))
    }
}

/// A complete answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its head, as it came.
    pub head: Vec<u8>,
    /// Its body, unframed.
    pub body: Vec<u8>,
}

impl Answer {
    /// A field of its head; the name in any case.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        let found = Fields::of(&self.head).find(|(found, _)| found.eq_ignore_ascii_case(name.as_bytes()));
        std::str::from_utf8(found?.1).ok()
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// It is none.
    pub fn json(&self) -> Result<serde_json::Value> {
        Ok(serde_json::from_slice(&self.body)?)
    }
}

/// Sends `GET path` with further field lines (each with its CRLF) and reads the answer.
///
/// # Errors
/// No connection, no answer within 5 s, or no HTTP.
pub fn get(address: SocketAddr, host: &str, path: &str, fields: &str) -> Result<Answer> {
    let head = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{fields}\r\n");
    send(address, head.as_bytes())
}

/// Sends the JSON `body` by POST and reads the answer.
///
/// # Errors
/// As [`get`].
pub fn post(address: SocketAddr, host: &str, path: &str, fields: &str, body: &str) -> Result<Answer> {
    call("POST", address, host, path, fields, Some(body))
}

/// Sends a request of any method, with the JSON `body` if there is one, and reads the answer.
///
/// # Errors
/// As [`get`].
pub fn call(
    method: &str,
    address: SocketAddr,
    host: &str,
    path: &str,
    fields: &str,
    body: Option<&str>,
) -> Result<Answer> {
    let content = body.map_or_else(String::new, |body| {
        format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len())
    });
    let body = body.unwrap_or_default();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{content}{fields}\r\n{body}"
    );
    send(address, request.as_bytes())
}

fn send(address: SocketAddr, request: &[u8]) -> Result<Answer> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)
        .with_context(|| format!("cannot connect to {address}"))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(request)?;
    let mut bytes = Vec::new();
    // The server closes: we asked for it. A reset after the answer loses nothing that we need.
    if let Err(error) = stream.read_to_end(&mut bytes)
        && bytes.is_empty()
    {
        return Err(error).with_context(|| format!("no answer from {address}"));
    }
    read(&bytes).with_context(|| format!("{address} answers no HTTP"))
}

fn read(bytes: &[u8]) -> Option<Answer> {
    let end = head_end(bytes)?;
    let (head, body) = bytes.split_at(end);
    let chunked = Fields::of(head).any(|(name, value)| {
        name.eq_ignore_ascii_case(b"transfer-encoding") && value.eq_ignore_ascii_case(b"chunked")
    });
    let body = if chunked { unchunk(body)? } else { body.to_vec() };
    Some(Answer { status: status_line(head)?.status, head: head.to_vec(), body })
}

fn unchunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let (mut decoder, mut body) = (ChunkDecoder::default(), Vec::new());
    loop {
        match decoder.step(rest).ok()? {
            ChunkStep::Payload { payload } => {
                body.extend_from_slice(payload);
                rest = &rest[payload.len()..];
            }
            ChunkStep::Framing { taken } => rest = &rest[taken..],
            ChunkStep::End { .. } => return Some(body),
            ChunkStep::NeedMore => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mock::{Mock, Options};

    #[test]
    fn an_origin_has_a_port_and_a_base_without_a_slash_at_its_end() {
        let origin = |url| Origin::parse(url).map(|origin| (origin.authority, origin.base)).ok();
        let some = |authority: &str, base: &str| Some((authority.to_owned(), base.to_owned()));
        assert_eq!(origin("http://a:1/b/"), some("a:1", "/b"));
        assert_eq!(origin("http://a"), some("a:80", ""));
        assert_eq!(origin("http://[::1]"), some("[::1]:80", ""));
        assert_eq!(origin("https://a"), None);
    }

    #[test]
    fn answers_of_either_framing_are_read_whole() {
        let mock = Mock::start(&Options::default()).unwrap();
        let plain = get(mock.address(), "x", "/v1/models", "").unwrap();
        let chunked = get(mock.address(), "x", "/v1/models", "x-mock-framing: chunked\r\n").unwrap();
        assert_eq!((plain.status, &plain.body), (chunked.status, &chunked.body));
        assert_eq!(chunked.field("Transfer-Encoding"), Some("chunked"));
        assert_eq!(plain.json().unwrap()["data"][0]["id"], "demo-model");
    }
}
