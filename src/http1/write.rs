//! Heads going out, into a buffer that the caller owns and reuses.
//!
//! Every head is built anew: the first line, Host and framing are ours, and the fields that pass are copied in
//! runs of whole lines, as they came. Content-Length and Transfer-Encoding are never copied, so an outgoing
//! head cannot hold both.

use super::Known;
use super::field::Field;

/// The framing fields of an outgoing head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Neither field: no body, or one that ends by closing.
    None,
    /// `content-length: n`.
    Length(u64),
    /// `transfer-encoding: chunked`.
    Chunked,
}

/// Writes one head into a buffer: first line, then fields in any order, then [`HeadWriter::end`].
#[derive(Debug)]
#[must_use = "a head without `end` has no blank line"]
pub struct HeadWriter<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> HeadWriter<'a> {
    /// Begins a request: `POST {target}`, its parts written one after the other (base path, rest, `?`, query),
    /// and `host`.
    pub fn request(out: &'a mut Vec<u8>, method: &http::Method, target: &[&[u8]], host: &[u8]) -> Self {
        out.extend_from_slice(method.as_str().as_bytes());
        out.push(b' ');
        for part in target {
            out.extend_from_slice(part);
        }
        out.extend_from_slice(b" HTTP/1.1\r\nhost: ");
        out.extend_from_slice(host);
        out.extend_from_slice(b"\r\n");
        Self { out }
    }

    /// Begins a response. Our own version, whatever the caller's is (RFC 9112 §2.3).
    pub fn response(out: &'a mut Vec<u8>, status: u16) -> Self {
        out.extend_from_slice(status_line(status));
        Self { out }
    }

    /// Copies the fields that pass: see [`copy_fields`].
    pub fn copy(self, head_bytes: &[u8], fields: &[Field], keep: impl Fn(&Field) -> bool) -> Self {
        copy_fields(self.out, head_bytes, fields, keep);
        self
    }

    /// Adds a field of our own. The value must be one line of text: ours, or checked when it was parsed.
    pub fn field(self, name: &str, value: &[u8]) -> Self {
        debug_assert!(!value.iter().any(|&b| matches!(b, b'\r' | b'\n' | 0)), "one line of text");
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b": ");
        self.out.extend_from_slice(value);
        self.out.extend_from_slice(b"\r\n");
        self
    }

    /// Adds whole lines with their CRLF, as what is the same for many requests is kept.
    pub fn line(self, line: &[u8]) -> Self {
        debug_assert!(line.ends_with(b"\r\n"), "a whole line");
        self.out.extend_from_slice(line);
        self
    }

    /// Writes the framing and the blank line.
    pub fn end(self, framing: Framing) {
        match framing {
            Framing::None => self.out.extend_from_slice(b"\r\n"),
            Framing::Length(bytes) => {
                self.out.extend_from_slice(b"content-length: ");
                write_decimal(self.out, bytes);
                self.out.extend_from_slice(b"\r\n\r\n");
            }
            Framing::Chunked => self.out.extend_from_slice(b"transfer-encoding: chunked\r\n\r\n"),
        }
    }
}

/// Copies the lines of the fields that pass, in order, byte for byte: those that `keep` keeps, without
/// connection-level fields ([`Field::is_hop_by_hop`]) and without Content-Length, which [`HeadWriter::end`]
/// writes.
///
/// * `head_bytes`: the buffer that the head was parsed from.
///
/// # Cost
/// One copy per run of kept lines.
pub fn copy_fields(out: &mut Vec<u8>, head_bytes: &[u8], fields: &[Field], keep: impl Fn(&Field) -> bool) {
    // Lines stand behind each other in the head, so neighbours are one stretch of bytes.
    let (mut start, mut end) = (0, 0);
    for field in fields {
        if field.is_hop_by_hop() || field.known == Known::ContentLength || !keep(field) {
            continue;
        }
        if field.line.start() != end {
            out.extend_from_slice(&head_bytes[start..end]);
            start = field.line.start();
        }
        end = field.line.end();
    }
    out.extend_from_slice(&head_bytes[start..end]);
}

/// Appends `number` in decimal digits.
pub fn write_decimal(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0_u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Room that [`write_chunk_head`] needs before a payload: eight digits and CRLF.
pub const CHUNK_HEADROOM: usize = 10;

/// Writes a chunk's size line so that it ends where the payload begins, and returns where it starts.
///
/// * `headroom`: the [`CHUNK_HEADROOM`] bytes before the payload in the same buffer, so that size, payload and
///   the CRLF behind it go out as one write.
/// * `size`: payload bytes; not 0, which would end the body.
#[must_use]
pub fn write_chunk_head(headroom: &mut [u8; CHUNK_HEADROOM], size: u32) -> usize {
    debug_assert!(size > 0, "an empty chunk ends the body");
    let [digits @ .., cr, lf] = headroom;
    (*cr, *lf) = (b'\r', b'\n');
    let mut at = digits.len();
    let mut left = size;
    while left > 0 {
        at -= 1;
        digits[at] = b"0123456789abcdef"[(left & 15) as usize];
        left >>= 4;
    }
    at
}

/// The status line of a response with its CRLF. Statuses without a registered phrase get an empty one.
///
/// * `status`: 100 to 599; anything else reads as 500.
#[must_use]
pub fn status_line(status: u16) -> &'static [u8] {
    match status {
        100 => b"HTTP/1.1 100 Continue\r\n",
        101 => b"HTTP/1.1 101 Switching Protocols\r\n",
        200 => b"HTTP/1.1 200 OK\r\n",
        201 => b"HTTP/1.1 201 Created\r\n",
        202 => b"HTTP/1.1 202 Accepted\r\n",
        204 => b"HTTP/1.1 204 No Content\r\n",
        206 => b"HTTP/1.1 206 Partial Content\r\n",
        301 => b"HTTP/1.1 301 Moved Permanently\r\n",
        302 => b"HTTP/1.1 302 Found\r\n",
        303 => b"HTTP/1.1 303 See Other\r\n",
        304 => b"HTTP/1.1 304 Not Modified\r\n",
        307 => b"HTTP/1.1 307 Temporary Redirect\r\n",
        308 => b"HTTP/1.1 308 Permanent Redirect\r\n",
        400 => b"HTTP/1.1 400 Bad Request\r\n",
        401 => b"HTTP/1.1 401 Unauthorized\r\n",
        402 => b"HTTP/1.1 402 Payment Required\r\n",
        403 => b"HTTP/1.1 403 Forbidden\r\n",
        404 => b"HTTP/1.1 404 Not Found\r\n",
        405 => b"HTTP/1.1 405 Method Not Allowed\r\n",
        406 => b"HTTP/1.1 406 Not Acceptable\r\n",
        408 => b"HTTP/1.1 408 Request Timeout\r\n",
        409 => b"HTTP/1.1 409 Conflict\r\n",
        410 => b"HTTP/1.1 410 Gone\r\n",
        411 => b"HTTP/1.1 411 Length Required\r\n",
        412 => b"HTTP/1.1 412 Precondition Failed\r\n",
        413 => b"HTTP/1.1 413 Content Too Large\r\n",
        414 => b"HTTP/1.1 414 URI Too Long\r\n",
        415 => b"HTTP/1.1 415 Unsupported Media Type\r\n",
        416 => b"HTTP/1.1 416 Range Not Satisfiable\r\n",
        417 => b"HTTP/1.1 417 Expectation Failed\r\n",
        421 => b"HTTP/1.1 421 Misdirected Request\r\n",
        422 => b"HTTP/1.1 422 Unprocessable Content\r\n",
        424 => b"HTTP/1.1 424 Failed Dependency\r\n",
        429 => b"HTTP/1.1 429 Too Many Requests\r\n",
        431 => b"HTTP/1.1 431 Request Header Fields Too Large\r\n",
        500 => b"HTTP/1.1 500 Internal Server Error\r\n",
        501 => b"HTTP/1.1 501 Not Implemented\r\n",
        502 => b"HTTP/1.1 502 Bad Gateway\r\n",
        503 => b"HTTP/1.1 503 Service Unavailable\r\n",
        504 => b"HTTP/1.1 504 Gateway Timeout\r\n",
        505 => b"HTTP/1.1 505 HTTP Version Not Supported\r\n",
        507 => b"HTTP/1.1 507 Insufficient Storage\r\n",
        _ => BARE.get(usize::from(status).wrapping_sub(100)).map_or(status_line(500), |line| line),
    }
}

/// `HTTP/1.1 nnn ` and CRLF for every status from 100.
static BARE: [[u8; 15]; 500] = bare_status_lines();

const fn bare_status_lines() -> [[u8; 15]; 500] {
    let mut lines = [*b"HTTP/1.1 nnn \r\n"; 500];
    let mut at = 0;
    while at < lines.len() {
        let status = at + 100;
        lines[at][9] = b'0' + (status / 100) as u8;
        lines[at][10] = b'0' + (status / 10 % 10) as u8;
        lines[at][11] = b'0' + (status % 10) as u8;
        at += 1;
    }
    lines
}
