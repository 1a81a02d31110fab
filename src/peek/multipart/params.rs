//! Parameters of `Content-Type` and `Content-Disposition`: `; name=token` and `; name="text"`.

use crate::peek::PeekError;

/// The parameters behind a header value's first word.
///
/// Parsers disagree about quoting, so what two of them could read differently is refused: a
/// backslash before a quote (an escape, or the end), a `name=` hidden in another parameter's text
/// (some split at every `;`), and junk between parameters.
#[derive(Debug)]
pub(super) struct Params<'a> {
    rest: &'a [u8],
}

/// One parameter, its value without quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Param<'a> {
    pub(super) name: &'a [u8],
    pub(super) value: &'a [u8],
}

impl<'a> Params<'a> {
    /// Splits `header` into its first word and its parameters.
    pub(super) fn split(header: &'a [u8]) -> (&'a [u8], Self) {
        let word = header.iter().position(|&byte| byte == b';').unwrap_or(header.len());
        (header[..word].trim_ascii(), Self { rest: &header[word..] })
    }

    /// The next parameter; `None` after the last.
    ///
    /// # Errors
    /// [`PeekError::Malformed`] as the type says.
    pub(super) fn next(&mut self) -> Result<Option<Param<'a>>, PeekError> {
        let rest = self.rest.trim_ascii();
        let Some(rest) = rest.strip_prefix(b";") else {
            return if rest.is_empty() { Ok(None) } else { Err(PeekError::Malformed) };
        };
        let rest = rest.trim_ascii_start();
        if rest.is_empty() {
            self.rest = rest;
            return Ok(None);
        }
        let length = rest.iter().take_while(|&&byte| is_token(byte)).count();
        let (name, rest) = rest.split_at(length);
        let rest = rest.strip_prefix(b"=").filter(|_| length > 0).ok_or(PeekError::Malformed)?;
        let (value, rest) = match rest.strip_prefix(b"\"") {
            Some(text) => quoted(text)?,
            None => {
                let length =
                    rest.iter().take_while(|&&byte| byte > b' ' && !b";\"\\".contains(&byte)).count();
                rest.split_at(length)
            }
        };
        self.rest = rest;
        Ok(Some(Param { name, value }))
    }
}

/// Splits `text`, which follows an opening quote, at the closing one.
fn quoted(text: &[u8]) -> Result<(&[u8], &[u8]), PeekError> {
    let end = memchr::memchr(b'"', text).ok_or(PeekError::Malformed)?;
    let (value, rest) = (&text[..end], &text[end + 1..]);
    if value.last() == Some(&b'\\') || hides_a_name(value) {
        return Err(PeekError::Malformed);
    }
    Ok((value, rest))
}

/// Whether a parser that splits at every `;` would find a `name` in this text.
fn hides_a_name(text: &[u8]) -> bool {
    text.split(|&byte| byte == b';').skip(1).any(|piece| {
        let piece = piece.trim_ascii_start();
        piece.get(..4).is_some_and(|name| name.eq_ignore_ascii_case(b"name"))
            && matches!(piece[4..].trim_ascii_start().first(), Some(b'=' | b'*'))
    })
}

/// RFC 9110 §5.6.2.
pub(super) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
