//! The head of one part of a form: which field it is, and whether its value can be read as it stands.

use super::params::{Params, is_token};
use crate::peek::PeekError;

/// What a part's head has said so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct PartHead {
    /// `Content-Disposition` came.
    disposed: bool,
    is_model: bool,
    is_file: bool,
    /// The value is in another charset, or in a transfer encoding that some parsers take off.
    encoded: bool,
}

impl PartHead {
    /// Reads one header line, its CRLF left out.
    ///
    /// # Errors
    /// * [`PeekError::Malformed`]: not `name: value`, a second `Content-Disposition`, or one that two
    ///   parsers could read differently.
    /// * [`PeekError::AmbiguousKey`]: a field called `Model`.
    pub(super) fn read_line(&mut self, line: &[u8]) -> Result<(), PeekError> {
        let colon = memchr::memchr(b':', line).ok_or(PeekError::Malformed)?;
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.is_empty() || !name.iter().copied().all(is_token) {
            return Err(PeekError::Malformed);
        }
        if name.eq_ignore_ascii_case(b"content-disposition") {
            return self.read_disposition(value);
        }
        if name.eq_ignore_ascii_case(b"content-transfer-encoding") {
            let plain: [&[u8]; 3] = [b"7bit", b"8bit", b"binary"];
            self.encoded |= !plain.iter().any(|plain| plain.eq_ignore_ascii_case(value));
        } else if name.eq_ignore_ascii_case(b"content-type") {
            let (_, mut params) = Params::split(value);
            while let Some(param) = params.next()? {
                self.encoded |= is_charset(param.name) && !is_utf8(param.value);
            }
        }
        Ok(())
    }

    /// Source: RFC 7578 §4.2. `name*` is forbidden there; some parsers read it, so it is refused.
    fn read_disposition(&mut self, value: &[u8]) -> Result<(), PeekError> {
        let (kind, mut params) = Params::split(value);
        if std::mem::replace(&mut self.disposed, true) || !kind.eq_ignore_ascii_case(b"form-data") {
            return Err(PeekError::Malformed);
        }
        let mut field = None;
        while let Some(param) = params.next()? {
            if param.name.eq_ignore_ascii_case(b"name") {
                if field.replace(param.value).is_some() {
                    return Err(PeekError::Malformed);
                }
            } else if param.name.len() >= 5 && param.name[..5].eq_ignore_ascii_case(b"name*") {
                return Err(PeekError::Malformed);
            } else if param.name.len() >= 8 && param.name[..8].eq_ignore_ascii_case(b"filename") {
                self.is_file = true;
            }
        }
        let field = field.ok_or(PeekError::Malformed)?;
        if field.contains(&b'\\') || field == b"_charset_" {
            // `_charset_` would change how every other field is read (HTML, multipart/form-data).
            return Err(PeekError::Malformed);
        }
        self.is_model = field == b"model";
        if !self.is_model && field.eq_ignore_ascii_case(b"model") {
            return Err(PeekError::AmbiguousKey);
        }
        Ok(())
    }

    /// Says that the head ended; whether the part is the model's name.
    ///
    /// # Errors
    /// * [`PeekError::Malformed`]: no `Content-Disposition`, or a model's name that is encoded.
    /// * [`PeekError::ModelNotText`]: a file called `model`.
    pub(super) fn end(self) -> Result<bool, PeekError> {
        if !self.disposed || self.is_model && self.encoded {
            return Err(PeekError::Malformed);
        }
        if self.is_model && self.is_file {
            return Err(PeekError::ModelNotText);
        }
        Ok(self.is_model)
    }
}

/// Whether a parameter of `Content-Type` says the charset, in any spelling of RFC 2231.
pub(super) fn is_charset(name: &[u8]) -> bool {
    name.len() >= 7 && name[..7].eq_ignore_ascii_case(b"charset")
}

/// Whether a charset says what UTF-8 says.
pub(super) fn is_utf8(charset: &[u8]) -> bool {
    charset.eq_ignore_ascii_case(b"utf-8") || charset.eq_ignore_ascii_case(b"us-ascii")
}
