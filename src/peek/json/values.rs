//! Strings, numbers and literals of a JSON body: what can be cut by the end of a segment.

use std::ops::Range;

use super::{JsonPeek, State};
use crate::peek::member::{KEY_RAW_MAX, Member, Place};
use crate::peek::text::{closing_quote, unescape_in_place};
use crate::peek::{NAME_BYTES_MAX, PeekError};

/// The `key_length` of a key that is too long to be one of ours.
const KEY_TOO_LONG: u8 = u8::MAX;
const _: () = assert!(KEY_RAW_MAX < KEY_TOO_LONG as usize);

impl JsonPeek {
    #[inline]
    pub(super) fn skip_text(&mut self, segment: &[u8], at: usize) -> usize {
        let Some(quote) = closing_quote(segment, at, &mut self.escaped) else {
            self.state = State::Text;
            return segment.len();
        };
        self.end_value(segment, quote + 1)
    }

    /// Says that the value ended before `next`; takes what nearly always follows with it (a comma, the
    /// next key's quote), and returns where it stopped.
    #[inline]
    fn end_value(&mut self, segment: &[u8], next: usize) -> usize {
        self.member = Member::Other;
        self.state = State::AfterValue;
        if segment.get(next) != Some(&b',') {
            return next;
        }
        self.state = self.after_comma();
        let next = next + 1;
        let space = usize::from(segment.get(next) == Some(&b' '));
        if self.state != State::Key || segment.get(next + space) != Some(&b'"') {
            return next;
        }
        self.begin_key();
        next + space + 1
    }

    /// Where the key being read stands, if it can be one of ours there.
    fn place(&self) -> Option<Place> {
        match self.depth {
            1 => Some(Place::Top),
            2 if self.in_options => Some(Place::StreamOptions),
            _ => None,
        }
    }

    #[inline]
    pub(super) fn read_key(&mut self, segment: &[u8], at: usize) -> Result<usize, PeekError> {
        let end = closing_quote(segment, at, &mut self.escaped);
        if let Some(place) = self.place() {
            self.read_member(&segment[at..end.unwrap_or(segment.len())], end.is_some(), place)?;
        }
        let Some(quote) = end else { return Ok(segment.len()) };
        match &segment[quote + 1..] {
            // What nearly always follows, without a turn of the loop.
            [b':', b'"', ..] if self.member == Member::Other => Ok(self.skip_text(segment, quote + 3)),
            [b':', b' ', b'"', ..] if self.member == Member::Other => Ok(self.skip_text(segment, quote + 4)),
            [b':', ..] => {
                self.state = State::Value;
                Ok(quote + 2)
            }
            _ => {
                self.state = State::Colon;
                Ok(quote + 1)
            }
        }
    }

    /// Takes a part of a key that may be one of ours, the last part if `ended`.
    fn read_member(&mut self, part: &[u8], ended: bool, place: Place) -> Result<(), PeekError> {
        if ended && self.key_length == 0 {
            self.member = Member::read(part, place)?;
        } else {
            self.keep_key(part);
            if ended && self.key_length != KEY_TOO_LONG {
                self.member = Member::read(&self.key[..usize::from(self.key_length)], place)?;
            }
        }
        if self.member != Member::Other {
            if self.seen & self.member.bit() != 0 {
                return Err(PeekError::DuplicateKey);
            }
            self.seen |= self.member.bit();
        }
        Ok(())
    }

    fn keep_key(&mut self, part: &[u8]) {
        let kept = usize::from(self.key_length);
        match self.key.get_mut(kept..kept + part.len()) {
            Some(room) => {
                room.copy_from_slice(part);
                self.key_length += part.len() as u8;
            }
            None => self.key_length = KEY_TOO_LONG,
        }
    }

    pub(super) fn read_model(&mut self, segment: &[u8], at: usize) -> Result<usize, PeekError> {
        let end = closing_quote(segment, at, &mut self.escaped);
        let part = &segment[at..end.unwrap_or(segment.len())];
        let kept = usize::from(self.model_length);
        let room = self.model.get_mut(kept..kept + part.len()).ok_or(PeekError::ModelTooLong)?;
        room.copy_from_slice(part);
        let length = kept + part.len();
        self.model_length = length as u16;
        let Some(quote) = end else { return Ok(segment.len()) };
        let length = unescape_in_place(&mut self.model[..length]).map_err(|_| PeekError::Malformed)?;
        if length > NAME_BYTES_MAX {
            return Err(PeekError::ModelTooLong);
        }
        self.model_length = length as u16;
        self.model_span = Some(self.value_start..self.at + quote as u64 + 1);
        Ok(self.end_value(segment, quote + 1))
    }

    pub(super) fn read_number(&mut self, segment: &[u8], at: usize) -> Result<usize, PeekError> {
        let end = at + self.number.read(&segment[at..]);
        let wanted = match self.member {
            Member::MaxTokens => Some(&mut self.max_tokens),
            Member::MaxCompletionTokens => Some(&mut self.max_completion_tokens),
            Member::Other | Member::Model | Member::Stream | Member::StreamOptions | Member::IncludeUsage => {
                None
            }
        };
        if let Some(wanted) = wanted {
            self.plain.push(&segment[at..end]);
            *wanted = self.plain.0;
        }
        if end == segment.len() {
            return Ok(end);
        }
        if !self.number.is_whole() {
            return Err(PeekError::Malformed);
        }
        Ok(self.end_value(segment, end))
    }

    /// * `rest`: the literal without its first letter, which was just read.
    pub(super) fn begin_literal(&mut self, rest: &'static [u8], says: Option<bool>) {
        self.literal = rest;
        self.says = says;
        self.state = State::Literal;
    }

    pub(super) fn read_literal(&mut self, segment: &[u8], at: usize) -> Result<usize, PeekError> {
        let rest = &segment[at..];
        let length = rest.len().min(self.literal.len());
        if rest[..length] != self.literal[..length] {
            return Err(PeekError::Malformed);
        }
        self.literal = &self.literal[length..];
        if self.literal.is_empty() {
            self.take_literal(self.value_start..self.at + (at + length) as u64);
            return Ok(self.end_value(segment, at + length));
        }
        Ok(at + length)
    }

    fn take_literal(&mut self, span: Range<u64>) {
        match self.member {
            Member::Stream => self.stream = self.says,
            Member::IncludeUsage => {
                self.include_usage = self.says;
                self.include_usage_span = Some(span);
            }
            Member::StreamOptions => self.options_span = Some(span),
            Member::Other | Member::Model | Member::MaxTokens | Member::MaxCompletionTokens => {}
        }
    }
}
