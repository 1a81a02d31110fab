//! One HTTP message as a test sees it. Deliberately not the proxy's parser: a fault shared by both would be
//! invisible. It is naive, and panics on anything it does not know.

use serde_json::Value;

/// A head and what followed it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Message {
    /// Request line or status line, without its line end.
    pub(crate) start: String,
    /// Names in lower case, values trimmed, in the order of the wire.
    pub(crate) fields: Vec<(String, String)>,
    /// The head as it was on the wire, blank line included.
    pub(crate) head: Vec<u8>,
    /// The payload: chunk framing removed.
    pub(crate) body: Vec<u8>,
    /// The body as it was on the wire, framing included.
    pub(crate) framed: Vec<u8>,
}

/// How long a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    None,
    Length(usize),
    Chunked,
    UntilClose,
}

impl Message {
    /// Takes a whole head (blank line included) apart.
    pub(crate) fn from_head(head: Vec<u8>) -> Self {
        let text = String::from_utf8_lossy(&head).into_owned();
        let mut lines = text.trim_end_matches("\r\n").split("\r\n");
        let start = lines.next().unwrap_or_default().to_owned();
        let fields = lines
            .map(|line| {
                let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("no colon in {line:?}"));
                (name.to_ascii_lowercase(), value.trim().to_owned())
            })
            .collect();
        Self { start, fields, head, ..Self::default() }
    }

    /// The only value of field `name` (lower case); `None` when it is absent. Two are a fault.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut values = self.fields.iter().filter(|(have, _)| have == name);
        let value = values.next()?;
        assert!(values.next().is_none(), "{name} is there more than once in {:?}", self.fields);
        Some(&value.1)
    }

    pub(crate) fn status(&self) -> u16 {
        let code = self.start.split(' ').nth(1).unwrap_or_default();
        code.parse().unwrap_or_else(|_| panic!("not a status line: {:?}", self.start))
    }

    /// The request target.
    pub(crate) fn target(&self) -> &str {
        self.start.split(' ').nth(1).unwrap_or_default()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The body as text, for messages of failed assertions.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Whether `needle` occurs anywhere in the message, head or body, as it was on the wire.
    pub(crate) fn mentions(&self, needle: &str) -> bool {
        [&self.head, &self.framed].iter().any(|part| holds(part, needle.as_bytes()))
    }

    pub(crate) fn request_framing(&self) -> Framing {
        self.stated_framing().unwrap_or(Framing::None)
    }

    /// RFC 9112 §6.3, for the answer to a request of `method`.
    pub(crate) fn response_framing(&self, method: &str) -> Framing {
        let status = self.status();
        if method == "HEAD" || status < 200 || status == 204 || status == 304 {
            return Framing::None;
        }
        self.stated_framing().unwrap_or(Framing::UntilClose)
    }

    fn stated_framing(&self) -> Option<Framing> {
        let length = self.field("content-length");
        match self.field("transfer-encoding") {
            Some("chunked") => {
                assert_eq!(length, None, "a length beside chunked");
                Some(Framing::Chunked)
            }
            Some(other) => panic!("transfer-encoding: {other}"),
            None => Some(Framing::Length(length?.parse().expect("a content-length of digits"))),
        }
    }
}

/// Whether `needle` occurs in `haystack`.
pub(crate) fn holds(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

/// Payload of a whole chunked body at the front of `bytes`, and how many bytes it takes; `None` while some are
/// missing. Extensions and trailers are skipped.
pub(crate) fn unchunk(bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
    let mut payload = Vec::new();
    let mut at = 0;
    loop {
        let line = line_end(&bytes[at..])?;
        let size = std::str::from_utf8(&bytes[at..at + line - 2]).expect("a chunk size line of text");
        let size = size.split(';').next().unwrap_or_default();
        let size = usize::from_str_radix(size, 16).unwrap_or_else(|_| panic!("chunk size {size:?}"));
        at += line;
        if size == 0 {
            break;
        }
        payload.extend_from_slice(bytes.get(at..at + size)?);
        assert!(bytes.get(at + size..at + size + 2)? == b"\r\n", "a chunk ends with CRLF");
        at += size + 2;
    }
    loop {
        let line = line_end(&bytes[at..])?;
        at += line;
        if line == 2 {
            return Some((payload, at));
        }
    }
}

/// Like [`unchunk`] for a body that was cut: the payload of what is there.
pub(crate) fn unchunk_cut(bytes: &[u8]) -> Vec<u8> {
    let mut payload = Vec::new();
    let mut at = 0;
    while let Some(line) = line_end(&bytes[at..]) {
        let size = String::from_utf8_lossy(&bytes[at..at + line - 2]).into_owned();
        let size =
            usize::from_str_radix(size.split(';').next().unwrap_or_default(), 16).expect("a chunk size");
        at += line;
        let end = bytes.len().min(at + size);
        payload.extend_from_slice(&bytes[at..end]);
        at = bytes.len().min(end + 2);
    }
    payload
}

/// One chunk, framed.
pub(crate) fn chunk(payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    [format!("{:x}\r\n", payload.len()).as_bytes(), payload, b"\r\n"].concat()
}

/// A whole chunked body: one chunk for each payload, and the last chunk.
pub(crate) fn chunked<P: AsRef<[u8]>>(payloads: &[P]) -> Vec<u8> {
    let mut body: Vec<u8> = payloads.iter().flat_map(chunk).collect();
    body.extend_from_slice(b"0\r\n\r\n");
    body
}

/// Bytes up to and including the first CRLF.
fn line_end(bytes: &[u8]) -> Option<usize> {
    bytes.windows(2).position(|pair| pair == b"\r\n").map(|at| at + 2)
}
