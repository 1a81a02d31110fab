//! Response heads: bytes from an upstream → [`ResponseHead`]. As strict as towards callers: what is
//! ambiguous here could poison the answer of the connection's next user.

use super::Known;
use super::field::{Field, Fields};
use super::framing::{self, BodyLength, ResponseBody};
use super::head::{
    HeadError, HeadLimits, Line, Parsed, Stage, VERSION, Walk, begins_like, text_line_end, version,
    walk_fields, walk_first_line,
};

/// One HTTP/1.x response head. Reusable scratch, like [`super::RequestHead`].
#[derive(Clone, Debug)]
pub struct ResponseHead {
    /// 100 to 599. Below 200 it is interim: parse the next head from where this one ends.
    pub status: u16,
    /// HTTP/1.1; else HTTP/1.0.
    pub http11: bool,
    /// The body that follows.
    pub body: ResponseBody,
    /// Whether upstream lets the connection be used again after this message. False whenever the body ends by
    /// closing.
    pub keep_alive: bool,
    fields: Fields,
    walk: Walk,
}

const _: () = assert!(size_of::<ResponseHead>() <= 2048);

impl Default for ResponseHead {
    fn default() -> Self {
        Self::new()
    }
}

impl ResponseHead {
    /// An empty scratch.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            status: 0,
            http11: true,
            body: ResponseBody::None,
            keep_alive: false,
            fields: Fields::new(),
            walk: Walk::new(),
        }
    }

    /// Forgets everything. Needed only where a head is abandoned half-way.
    pub fn reset(&mut self) {
        self.fields.clear();
        self.walk = Walk::new();
        self.body = ResponseBody::None;
        self.keep_alive = false;
    }

    /// Parses one response head from the front of `buf`; the contract is that of
    /// [`super::RequestHead::parse`], without leading empty lines.
    ///
    /// * `request_was_head`: the request was HEAD, so no body follows whatever the fields say.
    ///
    /// An empty reason phrase is legal (RFC 9112 §4), and so, by custom, is a missing one with its space. On
    /// 1xx, 204, 304 and answers to HEAD a single valid Content-Length is tolerated and means nothing for the
    /// framing (RFC 9112 §6.3, rule 1); with Transfer-Encoding beside it the head is refused even there.
    ///
    /// # Errors
    /// See [`HeadError`]: the upstream is at fault. Answer 502 and close its connection.
    ///
    /// # Source
    /// RFC 9112 §4, §6.3, §9.3.
    pub fn parse(
        &mut self,
        buf: &[u8],
        limits: &HeadLimits,
        request_was_head: bool,
    ) -> Result<Parsed, HeadError> {
        if self.walk.stage == Stage::Ended {
            self.reset();
        }
        let verdict = self.advance(buf, limits, request_was_head);
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

    fn advance(
        &mut self,
        buf: &[u8],
        limits: &HeadLimits,
        request_was_head: bool,
    ) -> Result<Parsed, HeadError> {
        if self.walk.stage == Stage::FirstLine {
            let Some(line) = walk_first_line(&mut self.walk, buf, limits, |bytes, _| status_line(bytes))?
            else {
                return Ok(Parsed::Partial);
            };
            self.status = line.status;
            self.http11 = line.http11;
            self.walk.stage = Stage::Fields;
        }
        let Some(said) = walk_fields(&mut self.walk, &mut self.fields, buf, limits, self.http11)? else {
            return Ok(Parsed::Partial);
        };
        let without_body = request_was_head || matches!(self.status, 100..200 | 204 | 304);
        self.body = match said {
            _ if without_body => ResponseBody::None,
            BodyLength::None => ResponseBody::UntilClose,
            BodyLength::Length(bytes) => ResponseBody::Length(bytes),
            BodyLength::Chunked => ResponseBody::Chunked,
        };
        let kept = framing::keep_alive(&mut self.fields, buf, self.http11)?;
        self.keep_alive = kept && self.body != ResponseBody::UntilClose;
        Ok(Parsed::Complete { len: self.walk.line })
    }
}

struct StatusLine {
    status: u16,
    http11: bool,
}

/// ` 200`, behind the version.
const STATUS: &[u8] = b" 000";

fn status_line(bytes: &[u8]) -> Line<(usize, StatusLine)> {
    let Some(http11) = version(bytes)? else { return Ok(None) };
    let reason = VERSION + STATUS.len();
    begins_like(&bytes[VERSION..], STATUS)?;
    let Some(digits) = bytes.get(VERSION + 1..reason) else { return Ok(None) };
    let status = digits.iter().fold(0, |status, digit| status * 10 + u16::from(digit - b'0'));
    if !(100..600).contains(&status) {
        return Err(HeadError::Malformed);
    }
    match bytes.get(reason) {
        None => Ok(None),
        Some(b' ' | b'\r') => {
            let end = text_line_end(bytes, reason)?;
            Ok(end.map(|end| (end + 2, StatusLine { status, http11 })))
        }
        Some(_) => Err(HeadError::Malformed),
    }
}
