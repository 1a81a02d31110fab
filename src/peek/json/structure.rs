//! What stands between the strings, numbers and literals of a JSON body, and how they nest.

use super::{Cut, JsonPeek, Next};
use crate::peek::member::Member;
use crate::peek::number::{Number, Plain};
use crate::peek::text::closing_quote;
use crate::peek::{DEPTH_MAX, PeekError};

impl JsonPeek {
    /// Reads one segment. Its common tokens are handled here in one piece (`benches/peek.rs`, short and
    /// short turns); a token that the segment's end cuts is noted in `cut` and finished by the next call.
    pub(super) fn read(&mut self, segment: &[u8]) -> Result<(), PeekError> {
        let mut at = self.resume(segment)?;
        let mut next = self.next;
        while let Some(&byte) = segment.get(at) {
            at += 1;
            next = if byte == b'"' && matches!(next, Next::Key | Next::FirstKey) {
                at = self.key(segment, at)?;
                take(b':', segment, &mut at, Next::Value, Next::Colon)
            } else if matches!(next, Next::Value | Next::FirstItem)
                && self.member == Member::Other
                && byte == b'"'
            {
                at = self.skip_text(segment, at);
                take(b',', segment, &mut at, self.after_comma(), Next::AfterValue)
            } else if byte == b',' && next == Next::AfterValue {
                self.after_comma()
            } else if byte == b':' && next == Next::Colon {
                Next::Value
            } else if matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
                next
            } else {
                self.other(next, byte, segment, &mut at)?
            };
        }
        self.next = next;
        Ok(())
    }

    /// Takes the rest of a token that the segment before cut; returns where it ends.
    fn resume(&mut self, segment: &[u8]) -> Result<usize, PeekError> {
        match self.cut {
            Cut::None => Ok(0),
            Cut::Key => self.key(segment, 0),
            Cut::Text => Ok(self.skip_text(segment, 0)),
            Cut::Model => self.read_model(segment, 0),
            Cut::Number => self.read_number(segment, 0),
            Cut::Literal => self.read_literal(segment, 0),
        }
    }

    /// * `at`: behind the opening quote, or in the key. Returns the index behind it.
    #[inline]
    fn key(&mut self, segment: &[u8], at: usize) -> Result<usize, PeekError> {
        let end = closing_quote(segment, at, &mut self.escaped);
        if self.reads_keys {
            self.read_key(&segment[at..end.unwrap_or(segment.len())], end.is_some())?;
        }
        Ok(self.behind(end, Cut::Key, segment))
    }

    #[inline]
    fn skip_text(&mut self, segment: &[u8], at: usize) -> usize {
        let end = closing_quote(segment, at, &mut self.escaped);
        self.behind(end, Cut::Text, segment)
    }

    /// The index behind a string that ends with a quote at `end`, or is cut.
    #[inline]
    pub(super) fn behind(&mut self, end: Option<usize>, cut: Cut, segment: &[u8]) -> usize {
        self.cut = if end.is_some() { Cut::None } else { cut };
        end.map_or(segment.len(), |quote| quote + 1)
    }

    #[inline]
    fn after_comma(&self) -> Next {
        if self.nesting & 1 == 1 { Next::Key } else { Next::Value }
    }

    /// Takes a byte that is no space and begins or ends something less common than a string.
    ///
    /// * `at`: index behind the byte; in the end, behind what was taken.
    fn other(&mut self, next: Next, byte: u8, segment: &[u8], at: &mut usize) -> Result<Next, PeekError> {
        let offset = self.at + *at as u64 - 1;
        let in_object = self.nesting & 1 == 1;
        match (next, byte) {
            (Next::FirstKey, b'}') | (Next::FirstItem, b']') => Ok(self.close(offset)),
            (Next::AfterValue, b'}') if in_object => Ok(self.close(offset)),
            (Next::AfterValue, b']') if !in_object => Ok(self.close(offset)),
            (Next::Value | Next::FirstItem, _) => self.value(byte, offset, segment, at),
            (Next::Start, b'{') => self.open(true, offset),
            (Next::Start, b'[' | b'"' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n') => {
                Err(PeekError::NotAnObject)
            }
            _ => Err(PeekError::Malformed),
        }
    }

    fn value(&mut self, byte: u8, offset: u64, segment: &[u8], at: &mut usize) -> Result<Next, PeekError> {
        if self.member != Member::Other {
            self.value_start = offset;
            self.check_type(byte)?;
        }
        match byte {
            b'{' => return self.open(true, offset),
            b'[' => return self.open(false, offset),
            b'"' if self.member == Member::Model => *at = self.read_model(segment, *at)?,
            b'"' => *at = self.skip_text(segment, *at),
            b't' | b'f' | b'n' => {
                (self.says, self.literal) = match byte {
                    b't' => (Some(true), &b"rue"[..]),
                    b'f' => (Some(false), &b"alse"[..]),
                    _ => (None, &b"ull"[..]),
                };
                *at = self.read_literal(segment, *at)?;
            }
            b'1'..=b'9' if self.member == Member::Other && skip_integer(segment, at) => {}
            _ => {
                self.number = Number::begin(byte).ok_or(PeekError::Malformed)?;
                self.plain = Plain::ZERO;
                *at = self.read_number(segment, *at)?;
            }
        }
        Ok(Next::AfterValue)
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

    fn open(&mut self, object: bool, offset: u64) -> Result<Next, PeekError> {
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
        self.note_depth();
        Ok(if object { Next::FirstKey } else { Next::FirstItem })
    }

    fn close(&mut self, offset: u64) -> Next {
        self.depth -= 1;
        self.nesting >>= 1;
        if self.depth == 0 {
            self.close_at = offset;
            return Next::Nothing;
        }
        if self.depth == 1 && self.in_options {
            self.in_options = false;
            self.options_span = Some(self.options_start..offset + 1);
        }
        self.note_depth();
        Next::AfterValue
    }

    fn note_depth(&mut self) {
        self.reads_keys = self.depth == 1 || self.depth == 2 && self.in_options;
    }
}

/// What comes next: `taken` if `byte` follows at once and is taken, else `left`.
#[inline]
fn take(byte: u8, segment: &[u8], at: &mut usize, taken: Next, left: Next) -> Next {
    if segment.get(*at) != Some(&byte) {
        return left;
    }
    *at += 1;
    taken
}

/// Passes the rest of a number that is nothing but digits; `false` if it is more, or may be cut.
fn skip_integer(segment: &[u8], at: &mut usize) -> bool {
    let end = *at + segment[*at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let whole = matches!(segment.get(end), Some(b',' | b']' | b'}' | b' ' | b'\n'));
    if whole {
        *at = end;
    }
    whole
}
