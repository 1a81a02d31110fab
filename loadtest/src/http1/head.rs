//! Message heads: where they end, their first line, their fields.

use memchr::{memchr, memmem};

/// Length of the head at the front of `bytes`, blank line included, once it is all there.
#[must_use]
pub fn head_end(bytes: &[u8]) -> Option<usize> {
    memmem::find(bytes, b"\r\n\r\n").map(|at| at + 4)
}

/// The first line of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestLine<'a> {
    /// As sent; methods are case sensitive.
    pub method: &'a [u8],
    /// Without the query.
    pub path: &'a [u8],
    /// Whether the caller speaks HTTP/1.1 rather than 1.0.
    pub http11: bool,
}

/// Splits the first line of `head`; `None` if it is no request line.
#[must_use]
pub fn request_line(head: &[u8]) -> Option<RequestLine<'_>> {
    let line = &head[..memchr(b'\r', head)?];
    let mut parts = line.split(|byte| *byte == b' ');
    let (method, target, version) = (parts.next()?, parts.next()?, parts.next()?);
    let path = &target[..memchr(b'?', target).unwrap_or(target.len())];
    let http11 = version == b"HTTP/1.1";
    (parts.next().is_none() && (http11 || version == b"HTTP/1.0")).then_some(RequestLine {
        method,
        path,
        http11,
    })
}

/// The first line of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusLine {
    /// Three digits.
    pub status: u16,
    /// Whether the server speaks HTTP/1.1 rather than 1.0.
    pub http11: bool,
}

/// Reads the first line of `head`; `None` if it is no status line.
#[must_use]
pub fn status_line(head: &[u8]) -> Option<StatusLine> {
    let http11 = head.starts_with(b"HTTP/1.1 ");
    if !http11 && !head.starts_with(b"HTTP/1.0 ") {
        return None;
    }
    let digits = head.get(9..12)?;
    let status = digits
        .iter()
        .try_fold(0_u16, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + u16::from(digit - b'0')))?;
    Some(StatusLine { status, http11 })
}

/// Iterates over the fields of a head as (name, value) with the value's white space trimmed.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// The fields of `head`: everything between its first line and its blank line.
    #[must_use]
    pub fn of(head: &'a [u8]) -> Self {
        let first = memmem::find(head, b"\r\n").map_or(head.len(), |at| at + 2);
        Self { rest: &head[first..] }
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let end = memchr(b'\r', self.rest)?;
            let line = &self.rest[..end];
            self.rest = self.rest.get(end + 2..)?;
            if line.is_empty() {
                return None;
            }
            if let Some(colon) = memchr(b':', line) {
                return Some((&line[..colon], line[colon + 1..].trim_ascii()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_head_gives_its_line_and_its_trimmed_fields() {
        let head = b"POST /v1/x?y=1 HTTP/1.1\r\nHost: a\r\nX-Mock-Events:  7 \r\n\r\n";
        assert_eq!(head_end(head), Some(head.len()));
        assert_eq!(request_line(head), Some(RequestLine { method: b"POST", path: b"/v1/x", http11: true }));
        let fields: Vec<_> = Fields::of(head).collect();
        assert_eq!(fields, [(&b"Host"[..], &b"a"[..]), (&b"X-Mock-Events"[..], &b"7"[..])]);
    }

    #[test]
    fn a_status_line_needs_three_digits() {
        assert_eq!(
            status_line(b"HTTP/1.0 404 Not Found\r\n\r\n"),
            Some(StatusLine { status: 404, http11: false })
        );
        assert_eq!(status_line(b"HTTP/1.1 2x0 \r\n\r\n"), None);
    }
}
