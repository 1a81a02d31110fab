//! JSON bodies: which model, whether to stream, and where in the bytes that was said.

mod structure;
mod values;

use std::ops::Range;

use super::member::{KEY_RAW_MAX, Member};
use super::number::{Number, Plain};
use super::{NAME_BYTES_MAX, PeekError};

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
    // Touched for every token.
    /// Offset in the body of the next segment's first byte.
    at: u64,
    /// One bit per open array or object, the innermost lowest: 1 is an object.
    nesting: u128,
    depth: u32,
    next: Next,
    /// The token that the segment before cut.
    cut: Cut,
    /// The member whose value comes next or is being read.
    member: Member,
    /// Keys of the innermost object may be ours.
    reads_keys: bool,
    /// Inside a string: the segment before ended with a backslash that escapes.
    escaped: bool,
    fault: Option<PeekError>,

    // Touched for members that we read.
    /// Inside the object that is the value of `stream_options`.
    in_options: bool,
    options_are_object: bool,
    options_are_empty: bool,
    is_empty: bool,
    /// Bits of the members seen ([`Member::bit`]).
    seen: u8,
    number: Number,
    /// What the literal being read says, and what must still come of it.
    says: Option<bool>,
    literal: &'static [u8],
    /// The value of the number being read.
    plain: Plain,
    /// Where the value being read began.
    value_start: u64,
    options_start: u64,
    close_at: u64,
    stream: Option<bool>,
    include_usage: Option<bool>,
    max_tokens: Option<u64>,
    max_completion_tokens: Option<u64>,
    model_span: Option<Range<u64>>,
    options_span: Option<Range<u64>>,
    include_usage_span: Option<Range<u64>>,
    key_length: u8,
    /// How much of `model` is the name, or its beginning as it is written.
    model_length: u16,
    /// A key that a segment's end cut, as far as it came.
    key: [u8; KEY_RAW_MAX],
    model: [u8; NAME_BYTES_MAX],
}

/// What may come between tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Start,
    /// A key, or `}`: behind `{`.
    FirstKey,
    Key,
    Colon,
    Value,
    /// A value, or `]`: behind `[`.
    FirstItem,
    /// A comma, or what closes.
    AfterValue,
    Nothing,
}

/// What kind of token a segment's end cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    None,
    Key,
    Text,
    Model,
    Number,
    Literal,
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
            nesting: 0,
            depth: 0,
            next: Next::Start,
            cut: Cut::None,
            member: Member::Other,
            reads_keys: false,
            escaped: false,
            fault: None,
            in_options: false,
            options_are_object: false,
            options_are_empty: true,
            is_empty: true,
            seen: 0,
            number: Number::Zero,
            says: None,
            literal: b"",
            plain: Plain::ZERO,
            value_start: 0,
            options_start: 0,
            close_at: 0,
            stream: None,
            include_usage: None,
            max_tokens: None,
            max_completion_tokens: None,
            model_span: None,
            options_span: None,
            include_usage_span: None,
            key_length: 0,
            model_length: 0,
            key: [0; KEY_RAW_MAX],
            model: [0; NAME_BYTES_MAX],
        }
    }

    /// Makes ready for another body: as good as new, and a fifth of the work. What a key and a name were kept in stays as it is,
    /// for only as much of it counts as their lengths say.
    pub fn restart(&mut self) {
        let Self {
            at,
            nesting,
            depth,
            next,
            cut,
            member,
            reads_keys,
            escaped,
            fault,
            in_options,
            options_are_object,
            options_are_empty,
            is_empty,
            seen,
            number,
            says,
            literal,
            plain,
            value_start,
            options_start,
            close_at,
            stream,
            include_usage,
            max_tokens,
            max_completion_tokens,
            model_span,
            options_span,
            include_usage_span,
            key_length,
            model_length,
            // Named like all others, so that a field that is added cannot be forgotten here.
            key: _,
            model: _,
        } = self;
        (*at, *nesting, *depth, *next, *cut) = (0, 0, 0, Next::Start, Cut::None);
        (*member, *reads_keys, *escaped, *fault) = (Member::Other, false, false, None);
        (*in_options, *options_are_object, *options_are_empty, *is_empty) = (false, false, true, true);
        (*seen, *number, *says, *literal, *plain) = (0, Number::Zero, None, b"", Plain::ZERO);
        (*value_start, *options_start, *close_at) = (0, 0, 0);
        (*stream, *include_usage, *max_tokens, *max_completion_tokens) = (None, None, None, None);
        (*model_span, *options_span, *include_usage_span) = (None, None, None);
        (*key_length, *model_length) = (0, 0);
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
        if self.fault.is_none() && self.next != Next::Nothing {
            self.fault = Some(PeekError::Truncated);
        }
        self.fault.map_or(Ok(()), Err)
    }

    /// Whether the outermost object was closed and nothing was wrong with it.
    #[must_use]
    pub fn complete(&self) -> bool {
        self.next == Next::Nothing && self.fault.is_none()
    }

    /// What [`JsonPeek::feed`] or [`JsonPeek::finish`] found wrong.
    #[must_use]
    pub fn fault(&self) -> Option<PeekError> {
        self.fault
    }

    /// The model's name, unescaped UTF-8. At most [`NAME_BYTES_MAX`] bytes, as it is written.
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
        (self.next == Next::Nothing).then_some(self.close_at)
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
}
