//! Which members of a request body we act on, and how alike a key must be to count as one.

use super::PeekError;
use super::text::unescape_in_place;

/// A member of the outermost object, or of `stream_options`, by its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Member {
    Other,
    Model,
    Stream,
    StreamOptions,
    MaxTokens,
    MaxCompletionTokens,
    /// Only inside `stream_options`.
    IncludeUsage,
}

/// Longest key as it can be written that may still be one of ours: every character of the longest
/// (`max_completion_tokens`) as a six byte escape.
pub(super) const KEY_RAW_MAX: usize = 6 * b"max_completion_tokens".len();

const TOP: [(&[u8], Member); 5] = [
    (b"model", Member::Model),
    (b"stream", Member::Stream),
    (b"stream_options", Member::StreamOptions),
    (b"max_tokens", Member::MaxTokens),
    (b"max_completion_tokens", Member::MaxCompletionTokens),
];
const OPTIONS: [(&[u8], Member); 1] = [(b"include_usage", Member::IncludeUsage)];

/// Where a key stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Top,
    StreamOptions,
}

impl Member {
    /// One bit each, to notice the second one.
    pub(super) fn bit(self) -> u8 {
        1 << self as u8
    }

    /// Reads a key as it was written between its quotes.
    ///
    /// # Errors
    /// * [`PeekError::Malformed`]: text that cannot be unescaped, or is not UTF-8.
    /// * [`PeekError::AmbiguousKey`]: one of ours but for the case. Go's `encoding/json` (Ollama)
    ///   would take `"Model"` for `model`, others would not.
    #[inline]
    pub(super) fn read(raw: &[u8], place: Place) -> Result<Self, PeekError> {
        if raw.len() > KEY_RAW_MAX {
            return Ok(Self::Other);
        }
        if raw.iter().fold(true, |plain, &byte| plain & PLAIN[usize::from(byte)]) {
            return Ok(Self::exactly(raw, place));
        }
        Self::read_odd(raw, place)
    }

    #[inline]
    fn exactly(key: &[u8], place: Place) -> Self {
        match (place, key) {
            (Place::Top, b"model") => Self::Model,
            (Place::Top, b"stream") => Self::Stream,
            (Place::Top, b"stream_options") => Self::StreamOptions,
            (Place::Top, b"max_tokens") => Self::MaxTokens,
            (Place::Top, b"max_completion_tokens") => Self::MaxCompletionTokens,
            (Place::StreamOptions, b"include_usage") => Self::IncludeUsage,
            (Place::Top | Place::StreamOptions, _) => Self::Other,
        }
    }

    #[cold]
    fn read_odd(raw: &[u8], place: Place) -> Result<Self, PeekError> {
        let mut said = [0; KEY_RAW_MAX];
        let said = &mut said[..raw.len()];
        said.copy_from_slice(raw);
        let length = unescape_in_place(said).map_err(|_| PeekError::Malformed)?;
        let said = &said[..length];
        let exact = Self::exactly(said, place);
        let known: &[(&[u8], Self)] = match place {
            Place::Top => &TOP,
            Place::StreamOptions => &OPTIONS,
        };
        if exact == Self::Other && known.iter().any(|(name, _)| folds_to(said, name)) {
            return Err(PeekError::AmbiguousKey);
        }
        Ok(exact)
    }
}

/// Bytes that neither need unescaping nor fold to another.
static PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = b' ';
    while byte < 0x80 {
        plain[byte as usize] = byte != b'\\' && !byte.is_ascii_uppercase();
        byte += 1;
    }
    plain
};

/// Whether `said` (UTF-8) is `name` (lower-case ASCII) when case does not count. Two letters outside
/// ASCII fold into it: U+017F to `s` and U+212A to `k`.
fn folds_to(said: &[u8], name: &[u8]) -> bool {
    let Ok(said) = std::str::from_utf8(said) else { return false };
    let folded = said.chars().map(|letter| match letter {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        _ => letter.to_ascii_lowercase(),
    });
    folded.eq(name.iter().map(|&byte| char::from(byte)))
}
