//! JSON numbers: their grammar, resumable at any byte.

/// A number that was begun, by the part of it that the last byte belonged to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Number {
    Minus,
    Zero,
    Digits,
    Point,
    Fraction,
    Exponent,
    ExponentSign,
    ExponentDigits,
}

impl Number {
    /// Begins with the first byte of a value; `None` if no number starts like that.
    pub(super) fn begin(first: u8) -> Option<Self> {
        match first {
            b'-' => Some(Self::Minus),
            b'0' => Some(Self::Zero),
            b'1'..=b'9' => Some(Self::Digits),
            _ => None,
        }
    }

    /// Takes the front of `bytes` that belongs to the number; returns how long it is.
    #[inline]
    pub(super) fn read(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        loop {
            if self.takes_digits() {
                at += bytes[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
            }
            match bytes.get(at) {
                Some(&byte) if byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-') => {
                    let Some(part) = self.step(byte) else { return at };
                    *self = part;
                }
                Some(_) | None => return at,
            }
            at += 1;
        }
    }

    /// Whether any digit goes on with the same part.
    fn takes_digits(self) -> bool {
        matches!(self, Self::Digits | Self::Fraction | Self::ExponentDigits)
    }

    /// The part that `byte` begins; `None`: it is not part of the number.
    fn step(self, byte: u8) -> Option<Self> {
        match (self, byte) {
            (Self::Minus, b'0') => Some(Self::Zero),
            (Self::Minus, b'1'..=b'9') => Some(Self::Digits),
            (Self::Zero | Self::Digits, b'.') => Some(Self::Point),
            (Self::Point, b'0'..=b'9') => Some(Self::Fraction),
            (Self::Zero | Self::Digits | Self::Fraction, b'e' | b'E') => Some(Self::Exponent),
            (Self::Exponent, b'+' | b'-') => Some(Self::ExponentSign),
            (Self::Exponent | Self::ExponentSign, b'0'..=b'9') => Some(Self::ExponentDigits),
            _ => None,
        }
    }

    /// Whether the number may end here.
    pub(super) fn is_whole(self) -> bool {
        match self {
            Self::Zero | Self::Digits | Self::Fraction | Self::ExponentDigits => true,
            Self::Minus | Self::Point | Self::Exponent | Self::ExponentSign => false,
        }
    }
}

/// The value of a number whose bytes come in pieces: `None` once it is not a plain integer that fits
/// (no sign, point or exponent).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plain(pub(super) Option<u64>);

impl Plain {
    pub(super) const ZERO: Self = Self(Some(0));

    pub(super) fn push(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            let digit = byte.is_ascii_digit().then(|| u64::from(byte & 15));
            self.0 = self.0.zip(digit).and_then(|(value, digit)| value.checked_mul(10)?.checked_add(digit));
        }
    }
}
