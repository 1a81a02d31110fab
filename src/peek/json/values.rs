//! Keys, the model's name, numbers and literals of a JSON body: whole, or cut by the end of a segment.

use std::ops::Range;

use super::{Cut, JsonPeek};
use crate::peek::PeekError;
use crate::peek::member::{KEY_RAW_MAX, Member, Place};
use crate::peek::text::{closing_quote, unescape_in_place};

/// The `key_length` of a key that is too long to be one of ours.
const KEY_TOO_LONG: u8 = u8::MAX;
const _: () = assert!(KEY_RAW_MAX < KEY_TOO_LONG as usize);

impl JsonPeek {
    /// Takes a part of a key that may be one of ours, the last part if `ended`.
    pub(super) fn read_key(&mut self, part: &[u8], ended: bool) -> Result<(), PeekError> {
        let place = if self.in_options { Place::StreamOptions } else { Place::Top };
        match place {
            Place::Top => self.is_empty = false,
            Place::StreamOptions => self.options_are_empty = false,
        }
        if self.cut == Cut::None {
            self.key_length = 0;
            if ended {
                self.member = Member::read(part, place)?;
                return self.note_member();
            }
        }
        self.keep_key(part);
        if ended {
            let kept = self.key.get(..usize::from(self.key_length));
            self.member = kept.map_or(Ok(Member::Other), |key| Member::read(key, place))?;
            return self.note_member();
        }
        Ok(())
    }

    fn note_member(&mut self) -> Result<(), PeekError> {
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
        let mut length = kept + part.len();
        if let Some(quote) = end {
            length = unescape_in_place(&mut self.model[..length]).map_err(|_| PeekError::Malformed)?;
            self.model_span = Some(self.value_start..self.at + quote as u64 + 1);
        }
        self.model_length = length as u16;
        Ok(self.behind(end, Cut::Model, segment))
    }

    /// * `at`: behind the first byte, or where the rest of a cut number begins.
    pub(super) fn read_number(&mut self, segment: &[u8], at: usize) -> Result<usize, PeekError> {
        let end = at + self.number.read(&segment[at..]);
        if self.member != Member::Other {
            let first = if self.cut == Cut::None { at - 1 } else { at };
            self.take_digits(&segment[first..end]);
        }
        self.cut = Cut::Number;
        if end < segment.len() {
            self.cut = Cut::None;
            if !self.number.is_whole() {
                return Err(PeekError::Malformed);
            }
        }
        Ok(end)
    }

    fn take_digits(&mut self, digits: &[u8]) {
        self.plain.push(digits);
        match self.member {
            Member::MaxTokens => self.max_tokens = self.plain.0,
            Member::MaxCompletionTokens => self.max_completion_tokens = self.plain.0,
            Member::Other | Member::Model | Member::Stream | Member::StreamOptions | Member::IncludeUsage => {
            }
        }
    }

    /// * `at`: where the rest of the literal begins.
    pub(super) fn read_literal(&mut self, segment: &[u8], at: usize) -> Result<usize, PeekError> {
        let rest = &segment[at..];
        let length = rest.len().min(self.literal.len());
        if rest[..length] != self.literal[..length] {
            return Err(PeekError::Malformed);
        }
        self.literal = &self.literal[length..];
        self.cut = Cut::Literal;
        if self.literal.is_empty() {
            self.cut = Cut::None;
            self.take_literal(self.value_start..self.at + (at + length) as u64);
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
