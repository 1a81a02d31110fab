//! JSON bodies: which model, whether to stream, and where in the bytes that was said.

mod values;

use std::ops::Range;

use super::member::{KEY_RAW_MAX, Member};
use super::number::{Number, Plain};
use super::{DEPTH_MAX, NAME_BYTES_MAX, PeekError};

/// Longest model name as it may be written, escapes included.
const NAME_RAW_MAX: usize = 2 * NAME_BYTES_MAX;

/// Reads one JSON request body, segment after segment.
///
/// Only members of the outermost object count (and `include_usage` inside its `stream_options`);
/// text that looks like them anywhere else, in a prompt above all, does not. The grammar of RFC 8259
/// is held everywhere but inside strings that we do not read (see [`super`]).
///
/// The answers are final once [`JsonPeek::finish`] said `Ok`; before that a second `model` may
/// still come and refuse the body.
#[derive(Clone, Debug)]
pub struct JsonPeek {
    /// Offset in the body of the next segment's first byte.
    at: u64,
    state: State,
    /// The member whose value comes next or is being read.
    member: Member,
    /// Inside the object that is the value of `stream_options`.
    in_options: bool,
    /// Inside a string: the segment before ended with a backslash that escapes.
    escaped: bool,
    depth: u32,
    /// One bit per open array or object, the innermost lowest: 1 is an object.
    nesting: u128,
    number: Number,
    /// The value of a number that we want to know.
    plain: Plain,
    /// What must still come of the literal being read, and what it says.
    literal: &'static [u8],
    says: Option<bool>,
    fault: Option<PeekError>,
    /// Bits of the members seen ([`Member::bit`]).
    seen: u8,
    /// Where the value being read began.
    value_start: u64,
    stream: Option<bool>,
    include_usage: Option<bool>,
    max_tokens: Option<u64>,
    max_completion_tokens: Option<u64>,
    model_span: Option<Range<u64>>,
    options_span: Option<Range<u64>>,
    include_usage_span: Option<Range<u64>>,
    options_start: u64,
    options_are_object: bool,
    options_are_empty: bool,
    is_empty: bool,
    close_at: u64,
    key_length: u8,
    model_length: u16,
    /// A key that a segment's end cut, as far as it came.
    key: [u8; KEY_RAW_MAX],
    model: [u8; NAME_RAW_MAX],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Start,
    /// After `{`.
    FirstKey,
    /// After the comma in an object.
    Key,
    KeyText,
    Colon,
    Value,
    /// After `[`.
    FirstItem,
    Text,
    ModelText,
    Number,
    Literal,
    AfterValue,
    Done,
}

impl Default for JsonPeek {
    fn default() -> Self {
        Self::new()
    }
}

impl JsonPeek {
    /// A peek at a body of which nothing was read yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            at: 0,
            state: State::Start,
            member: Member::Other,
            in_options: false,
            escaped: false,
            depth: 0,
            nesting: 0,
            number: Number::Zero,
            plain: Plain::ZERO,
            literal: b"",
            says: None,
            fault: None,
            seen: 0,
            value_start: 0,
            stream: None,
            include_usage: None,
            max_tokens: None,
            max_completion_tokens: None,
            model_span: None,
            options_span: None,
            include_usage_span: None,
            options_start: 0,
            options_are_object: false,
            options_are_empty: true,
            is_empty: true,
            close_at: 0,
            key_length: 0,
            model_length: 0,
            key: [0; KEY_RAW_MAX],
            model: [0; NAME_RAW_MAX],
        }
    }

    /// Reads the body's next segment.
    ///
    /// # Errors
    /// Any [`PeekError`] but `Truncated` and `BadContentType`, as soon as the byte that proves it
    /// is here. It stays: later calls say the same.
    ///
    /// # Cost
    /// One pass, no allocation. `benches/peek.rs`.
    pub fn feed(&mut self, segment: &[u8]) -> Result<(), PeekError> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        let verdict = self.read(segment);
        self.at += segment.len() as u64;
        self.fault = verdict.err();
        verdict
    }

    /// Says that the body ended.
    ///
    /// # Errors
    /// [`PeekError::Truncated`] if the object was not closed, or what [`JsonPeek::feed`] said.
    pub fn finish(&mut self) -> Result<(), PeekError> {
        if self.fault.is_none() && self.state != State::Done {
            self.fault = Some(PeekError::Truncated);
        }
        self.fault.map_or(Ok(()), Err)
    }

    /// Whether the outermost object was closed and nothing was wrong with it.
    #[must_use]
    pub fn complete(&self) -> bool {
        self.state == State::Done && self.fault.is_none()
    }

    /// What [`JsonPeek::feed`] or [`JsonPeek::finish`] found wrong.
    #[must_use]
    pub fn fault(&self) -> Option<PeekError> {
        self.fault
    }

    /// The model's name, unescaped UTF-8, at most [`NAME_BYTES_MAX`] bytes.
    #[must_use]
    pub fn model(&self) -> Option<&[u8]> {
        self.model_span.as_ref().map(|_| &self.model[..usize::from(self.model_length)])
    }

    /// Where in the body the model's name stands, quotes included.
    #[must_use]
    pub fn model_span(&self) -> Option<Range<u64>> {
        self.model_span.clone()
    }

    /// What `stream` says; `None` when it is absent or null.
    #[must_use]
    pub fn stream(&self) -> Option<bool> {
        self.stream
    }

    /// What `stream_options.include_usage` says; `None` when it is absent or null.
    #[must_use]
    pub fn include_usage(&self) -> Option<bool> {
        self.include_usage
    }

    /// Where the value of `stream_options` stands: an object, or null.
    #[must_use]
    pub fn stream_options_span(&self) -> Option<Range<u64>> {
        self.options_span.clone()
    }

    /// Where the value of `stream_options.include_usage` stands: a boolean, or null.
    pub(super) fn include_usage_span(&self) -> Option<Range<u64>> {
        self.include_usage_span.clone()
    }

    /// Offset of the first byte inside the `stream_options` object, and whether nothing is in it.
    pub(super) fn inside_stream_options(&self) -> Option<(u64, bool)> {
        let span = self.options_span.as_ref().filter(|_| self.options_are_object)?;
        Some((span.start + 1, self.options_are_empty))
    }

    /// Offset of the brace that closes the outermost object: where members can be added.
    #[must_use]
    pub fn insert_at(&self) -> Option<u64> {
        (self.state == State::Done).then_some(self.close_at)
    }

    /// Whether the outermost object has no members so far.
    #[must_use]
    pub fn is_empty_object(&self) -> bool {
        self.is_empty
    }

    /// How many tokens the caller lets the model write: `max_completion_tokens`, else `max_tokens`.
    /// `None` when absent or not a plain integer (the upstream judges those).
    #[must_use]
    pub fn max_tokens(&self) -> Option<u64> {
        self.max_completion_tokens.or(self.max_tokens)
    }

    fn read(&mut self, segment: &[u8]) -> Result<(), PeekError> {
        let mut at = 0;
        while let Some(&byte) = segment.get(at) {
            at = match self.state {
                State::KeyText => self.read_key(segment, at)?,
                State::Text => self.skip_text(segment, at),
                State::Value | State::FirstItem if byte == b'"' && self.member == Member::Other => {
                    self.skip_text(segment, at + 1)
                }
                State::ModelText => self.read_model(segment, at)?,
                State::Number => self.read_number(segment, at)?,
                State::Literal => self.read_literal(segment, at)?,
                State::Start
                | State::FirstKey
                | State::Key
                | State::Colon
                | State::Value
                | State::FirstItem
                | State::AfterValue
                | State::Done => {
                    if !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
                        self.read_structure(byte, self.at + at as u64)?;
                    }
                    at + 1
                }
            };
        }
        Ok(())
    }

    /// Takes one byte that is neither whitespace nor inside a string, number or literal.
    #[inline]
    fn read_structure(&mut self, byte: u8, offset: u64) -> Result<(), PeekError> {
        match (self.state, byte) {
            (State::Colon, b':') => self.state = State::Value,
            (State::FirstKey | State::Key, b'"') => self.begin_key(),
            (State::AfterValue, b',') => self.state = self.after_comma(),
            (State::FirstKey, b'}') => self.close(offset),
            (State::AfterValue, b'}') if self.nesting & 1 == 1 => self.close(offset),
            (State::FirstItem, b']') => self.close(offset),
            (State::AfterValue, b']') if self.nesting & 1 == 0 => self.close(offset),
            (State::Value | State::FirstItem, _) => return self.begin_value(byte, offset),
            (State::Start, b'{') => return self.open(true, offset),
            (State::Start, b'[' | b'"' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n') => {
                return Err(PeekError::NotAnObject);
            }
            _ => return Err(PeekError::Malformed),
        }
        Ok(())
    }

    #[inline]
    fn after_comma(&self) -> State {
        if self.nesting & 1 == 1 { State::Key } else { State::Value }
    }

    #[inline]
    fn begin_key(&mut self) {
        if self.depth == 1 {
            self.is_empty = false;
        }
        if self.in_options && self.depth == 2 {
            self.options_are_empty = false;
        }
        self.key_length = 0;
        self.state = State::KeyText;
    }

    fn begin_value(&mut self, byte: u8, offset: u64) -> Result<(), PeekError> {
        if self.member != Member::Other {
            self.value_start = offset;
            self.check_type(byte)?;
        }
        match byte {
            b'"' if self.member == Member::Model => self.state = State::ModelText,
            b'"' => self.state = State::Text,
            b'{' => return self.open(true, offset),
            b'[' => return self.open(false, offset),
            b't' => self.begin_literal(b"rue", Some(true)),
            b'f' => self.begin_literal(b"alse", Some(false)),
            b'n' => self.begin_literal(b"ull", None),
            _ => {
                self.number = Number::begin(byte).ok_or(PeekError::Malformed)?;
                self.plain = Plain::ZERO;
                self.plain.push(&[byte]);
                self.state = State::Number;
            }
        }
        Ok(())
    }

    /// Refuses a member of ours whose value starts like one of another type.
    fn check_type(&self, byte: u8) -> Result<(), PeekError> {
        let fits = match self.member {
            Member::Model if byte != b'"' => return Err(PeekError::ModelNotText),
            Member::Stream | Member::IncludeUsage => matches!(byte, b't' | b'f' | b'n'),
            Member::StreamOptions => matches!(byte, b'{' | b'n'),
            Member::Model | Member::MaxTokens | Member::MaxCompletionTokens | Member::Other => true,
        };
        if fits { Ok(()) } else { Err(PeekError::WrongType) }
    }

    fn open(&mut self, object: bool, offset: u64) -> Result<(), PeekError> {
        if self.depth == DEPTH_MAX {
            return Err(PeekError::TooDeep);
        }
        if self.member == Member::StreamOptions {
            self.in_options = true;
            self.options_are_object = true;
            self.options_start = offset;
        }
        self.member = Member::Other;
        self.depth += 1;
        self.nesting = self.nesting << 1 | u128::from(object);
        self.state = if object { State::FirstKey } else { State::FirstItem };
        Ok(())
    }

    fn close(&mut self, offset: u64) {
        self.depth -= 1;
        self.nesting >>= 1;
        self.state = State::AfterValue;
        if self.depth == 0 {
            self.state = State::Done;
            self.close_at = offset;
        } else if self.depth == 1 && self.in_options {
            self.in_options = false;
            self.options_span = Some(self.options_start..offset + 1);
        }
    }
}
