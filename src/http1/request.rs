//! Request heads: bytes from a caller → [`RequestHead`].

use http::Method;

use super::Known;
use super::field::{Field, Fields, Span};
use super::framing::{self, BodyLength};
use super::grammar;
use super::head::{
    HeadError, HeadLimits, Line, Parsed, Stage, VERSION, Walk, begins_like, version, walk_fields,
    walk_first_line,
};

/// Empty lines accepted before the request line. RFC 9112 §2.2 asks for at least one, which old clients send
/// after a body.
const EMPTY_LINES_MAX: u8 = 2;

/// One HTTP/1.x request head. Reusable scratch: parsing fills it in place and allocates nothing.
///
/// Spans point into the buffer that was parsed; keep that buffer's bytes until the head is done with.
#[derive(Clone, Debug)]
pub struct RequestHead {
    /// One of the nine standard methods, never CONNECT.
    pub method: Method,
    /// The request target as sent.
    pub target: Span,
    /// The path in it, undecoded. Empty for an absolute target without one; `*` for `OPTIONS *`.
    pub path: Span,
    /// What follows the first `?`, without it. Empty if there is none.
    pub query: Span,
    /// HTTP/1.1; else HTTP/1.0.
    pub http11: bool,
    /// The body that follows.
    pub body: BodyLength,
    /// Whether the connection may be used again, as far as the caller goes. False also after a body where none
    /// belongs (GET, HEAD, OPTIONS, TRACE): its framing is clear to us, but it is how smuggled requests travel.
    pub keep_alive: bool,
    /// The caller waits for `100 Continue` before it sends the body.
    pub expect_continue: bool,
    fields: Fields,
    walk: Walk,
    empty_lines: u8,
}

// Pooled per core and held for the whole of a request.
const _: () = assert!(size_of::<RequestHead>() <= 2048);

impl Default for RequestHead {
    fn default() -> Self {
        Self::new()
    }
}

impl RequestHead {
    /// An empty scratch.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            method: Method::GET,
            target: Span::EMPTY,
            path: Span::EMPTY,
            query: Span::EMPTY,
            http11: true,
            body: BodyLength::None,
            keep_alive: false,
            expect_continue: false,
            fields: Fields::new(),
            walk: Walk::new(),
            empty_lines: 0,
        }
    }

    /// Forgets everything. Needed only where a head is abandoned half-way: after `Complete` or an error the
    /// next `parse` starts over by itself.
    pub fn reset(&mut self) {
        self.fields.clear();
        self.walk = Walk::new();
        self.empty_lines = 0;
        self.body = BodyLength::None;
        self.keep_alive = false;
        self.expect_continue = false;
    }

    /// Parses one request head from the front of `buf`.
    ///
    /// * `buf`: all bytes read so far of this message, oldest first. Between calls it may grow and move, but the
    ///   bytes that were there stay. No more than `limits.head_bytes_max` of them are looked at.
    /// * Returns [`Parsed::Partial`] until the blank line is there, then [`Parsed::Complete`] with the length of
    ///   the head, up to two leading empty lines included.
    ///
    /// The verdict does not depend on how the bytes were split into reads.
    ///
    /// # Errors
    /// See [`HeadError`] and [`HeadError::status`]; close the connection after the answer. Malformed lines are
    /// found as soon as their bytes are there, without waiting for the blank line.
    ///
    /// # Cost
    /// One pass over the bytes however they arrive, no allocation (`benches/head_parse.rs`).
    ///
    /// # Source
    /// RFC 9112 §2.2, §3, §5, §6.3; RFC 9110 §5, §7.2, §10.1.1.
    pub fn parse(&mut self, buf: &[u8], limits: &HeadLimits) -> Result<Parsed, HeadError> {
        if self.walk.stage == Stage::Ended {
            self.reset();
        }
        let verdict = self.advance(buf, limits);
        if verdict != Ok(Parsed::Partial) {
            self.walk.stage = Stage::Ended;
        }
        verdict
    }

    /// The first field of that kind. For [`Known::Other`] use [`Self::fields`].
    #[must_use]
    pub fn field(&self, known: Known) -> Option<&Field> {
        self.fields.first(known)
    }

    /// All fields in the order sent.
    #[must_use]
    pub fn fields(&self) -> &[Field] {
        self.fields.as_slice()
    }

    fn advance(&mut self, buf: &[u8], limits: &HeadLimits) -> Result<Parsed, HeadError> {
        while self.walk.stage == Stage::FirstLine {
            let may_skip = self.empty_lines < EMPTY_LINES_MAX;
            match walk_first_line(&mut self.walk, buf, limits, |bytes, at| first_line(bytes, at, may_skip))? {
                None => return Ok(Parsed::Partial),
                Some(None) => self.empty_lines += 1,
                Some(Some(line)) => {
                    self.method = line.method;
                    self.http11 = line.http11;
                    self.set_target(line.target, buf)?;
                    self.walk.stage = Stage::Fields;
                }
            }
        }
        let Some(body) = walk_fields(&mut self.walk, &mut self.fields, buf, limits, self.http11)? else {
            return Ok(Parsed::Partial);
        };
        self.body = body;
        self.judge(buf)?;
        Ok(Parsed::Complete { len: self.walk.line })
    }

    /// Splits the target by its form (RFC 9112 §3.2).
    fn set_target(&mut self, target: Span, buf: &[u8]) -> Result<(), HeadError> {
        let bytes = target.of(buf);
        let path_start = match bytes {
            [b'/', ..] => 0,
            b"*" if self.method == Method::OPTIONS => 0,
            _ => {
                let authority = authority_start(bytes).ok_or(HeadError::Malformed)?;
                authority + authority_len(&bytes[authority..])
            }
        };
        // A fragment is never sent (RFC 9110 §4.1), and who cuts a path there authorizes another path than it
        // forwards. In a query it decides nothing.
        let path_end = path_start + grammar::find_path_end(&bytes[path_start..]);
        if bytes.get(path_end) == Some(&b'#') {
            return Err(HeadError::Malformed);
        }
        let query_start = bytes.len().min(path_end + 1);
        let (start, end) = (target.start(), target.end());
        self.target = target;
        self.path = Span::new(start + path_start, start + path_end);
        self.query = Span::new(start + query_start, end);
        Ok(())
    }

    /// All that needs the whole head: Host, connection, expectation. In this order, so that the
    /// verdict on a head with several faults is always the same.
    fn judge(&mut self, buf: &[u8]) -> Result<(), HeadError> {
        if self.fields.repeats_any(framing::SINGLE_IN_REQUEST) {
            return Err(HeadError::RepeatedField);
        }
        self.judge_host(buf)?;
        let has_body = !matches!(self.body, BodyLength::None | BodyLength::Length(0));
        let may_have_body =
            matches!(self.method, Method::POST | Method::PUT | Method::PATCH | Method::DELETE) || !has_body;
        self.keep_alive = framing::keep_alive(&mut self.fields, buf, self.http11)? && may_have_body;
        if let Some(expect) = self.fields.first(Known::Expect) {
            let continues = expect.value.of(buf).eq_ignore_ascii_case(b"100-continue");
            if !continues || self.fields.repeats_any(Known::Expect.bit()) {
                return Err(HeadError::ExpectationFailed);
            }
            // RFC 9110 §10.1.1: ignored in HTTP/1.0, and without a body there is nothing to continue with.
            self.expect_continue = self.http11 && has_body;
        }
        Ok(())
    }

    fn judge_host(&self, buf: &[u8]) -> Result<(), HeadError> {
        let Some(host) = self.fields.first(Known::Host) else {
            return if self.http11 { Err(HeadError::MissingHost) } else { Ok(()) };
        };
        let host = host.value.of(buf);
        if self.fields.repeats_any(Known::Host.bit()) || !is_host(host) {
            return Err(HeadError::InvalidHost);
        }
        // RFC 9112 §3.2.2 says to believe the absolute target. Another host in the field is not an honest client's
        // doing, and our upstream might believe the field.
        let target = self.target.of(buf);
        let Some(start) = authority_start(target) else { return Ok(()) };
        let authority = &target[start..start + authority_len(&target[start..])];
        if authority.eq_ignore_ascii_case(host) { Ok(()) } else { Err(HeadError::InvalidHost) }
    }
}

struct FirstLine {
    method: Method,
    target: Span,
    http11: bool,
}

/// The request line that begins at offset `at`, or an empty line (`None`) where one may be skipped.
fn first_line(bytes: &[u8], at: usize, may_skip: bool) -> Line<(usize, Option<FirstLine>)> {
    match bytes {
        [] => return Ok(None),
        [b'\r'] if may_skip => return Ok(None),
        [b'\r', b'\n', ..] if may_skip => return Ok(Some((2, None))),
        _ => {}
    }
    let method_len = grammar::run(bytes, grammar::NAME);
    match bytes.get(method_len) {
        None => return Ok(None),
        Some(b' ') if method_len > 0 => {}
        Some(_) => return Err(HeadError::Malformed),
    }
    let target_start = method_len + 1;
    let target_end = grammar::find_invisible(bytes, target_start);
    match bytes.get(target_end) {
        None => return Ok(None),
        Some(b' ') if target_end > target_start => {}
        Some(_) => return Err(HeadError::Malformed),
    }
    let Some(http11) = version_line_end(&bytes[target_end + 1..])? else { return Ok(None) };
    let method = method(&bytes[..method_len]).ok_or(HeadError::UnsupportedMethod)?;
    let target = Span::new(at + target_start, at + target_end);
    Ok(Some((target_end + 1 + VERSION_LINE_END, Some(FirstLine { method, target, http11 }))))
}

/// `HTTP/1.1` and CRLF.
const VERSION_LINE_END: usize = 10;

/// Whether the version at the end of a request line is 1.1 (else it is 1.0); `None` if not all is here.
fn version_line_end(bytes: &[u8]) -> Line<bool> {
    if bytes.starts_with(b"HTTP/1.1\r\n") {
        return Ok(Some(true));
    }
    let Some(http11) = version(bytes)? else { return Ok(None) };
    begins_like(&bytes[VERSION..], b"\r\n")?;
    Ok((bytes.len() >= VERSION_LINE_END).then_some(http11))
}

/// A closed list: what we do not know we cannot authorize, and `get` is not GET.
fn method(name: &[u8]) -> Option<Method> {
    Some(match name {
        b"GET" => Method::GET,
        b"POST" => Method::POST,
        b"PUT" => Method::PUT,
        b"DELETE" => Method::DELETE,
        b"HEAD" => Method::HEAD,
        b"OPTIONS" => Method::OPTIONS,
        b"PATCH" => Method::PATCH,
        b"TRACE" => Method::TRACE,
        _ => return None,
    })
}

/// Where the authority of an absolute target begins, if it is one.
fn authority_start(target: &[u8]) -> Option<usize> {
    if target.starts_with(b"/") {
        return None;
    }
    let colon = memchr::memchr(b':', target)?;
    let scheme = &target[..colon];
    let is_http = scheme.eq_ignore_ascii_case(b"http") || scheme.eq_ignore_ascii_case(b"https");
    (is_http && target[colon..].starts_with(b"://")).then_some(colon + 3)
}

/// How many bytes from `bytes` are the authority.
fn authority_len(bytes: &[u8]) -> usize {
    memchr::memchr3(b'/', b'?', b'#', bytes).unwrap_or(bytes.len())
}

/// `uri-host [ ":" port ]`, not empty: we serve no scheme whose URIs have no host (RFC 9110 §7.2).
fn is_host(host: &[u8]) -> bool {
    let name_end = match host {
        [b'[', literal @ ..] => match memchr::memchr(b']', literal) {
            Some(len) if literal[..len].iter().all(|b| b.is_ascii_hexdigit() || matches!(b, b':' | b'.')) => {
                len + 2
            }
            _ => return false,
        },
        name => grammar::run(name, grammar::HOST),
    };
    match &host[name_end..] {
        [] => name_end > 0,
        [b':', port @ ..] => name_end > 0 && port.len() <= 5 && port.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}
