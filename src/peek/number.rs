//! JSON numbers, byte by byte: their grammar, and the value of those that are plain integers.

/// A number that was begun; feed it bytes until [`Number::step`] says that the byte is not part of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Number {
    part: Part,
    value: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
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
    /// What stands here while no number is being read.
    pub(super) const ZERO: Self = Self { part: Part::Zero, value: Some(0) };

    /// Begins with the first byte of a value; `None` if no number starts like that.
    pub(super) fn begin(first: u8) -> Option<Self> {
        match first {
            b'-' => Some(Self { part: Part::Minus, value: None }),
            b'0' => Some(Self { part: Part::Zero, value: Some(0) }),
            b'1'..=b'9' => Some(Self { part: Part::Digits, value: Some(u64::from(first - b'0')) }),
            _ => None,
        }
    }

    /// Takes the next byte; `false`: the number ended before it.
    #[inline]
    pub(super) fn step(&mut self, byte: u8) -> bool {
        let part = match (self.part, byte) {
            (Part::Digits, b'0'..=b'9') => {
                let digit = u64::from(byte - b'0');
                self.value = self.value.and_then(|value| value.checked_mul(10)?.checked_add(digit));
                return true;
            }
            (Part::Minus, b'0') => Part::Zero,
            (Part::Minus, b'1'..=b'9') => Part::Digits,
            (Part::Zero | Part::Digits, b'.') => Part::Point,
            (Part::Point | Part::Fraction, b'0'..=b'9') => Part::Fraction,
            (Part::Zero | Part::Digits | Part::Fraction, b'e' | b'E') => Part::Exponent,
            (Part::Exponent, b'+' | b'-') => Part::ExponentSign,
            (Part::Exponent | Part::ExponentSign | Part::ExponentDigits, b'0'..=b'9') => Part::ExponentDigits,
            _ => return false,
        };
        self.part = part;
        self.value = None;
        true
    }

    /// Whether the number may end here.
    pub(super) fn is_whole(self) -> bool {
        match self.part {
            Part::Zero | Part::Digits | Part::Fraction | Part::ExponentDigits => true,
            Part::Minus | Part::Point | Part::Exponent | Part::ExponentSign => false,
        }
    }

    /// The value, if it was written as a plain integer that fits: no sign, point or exponent.
    pub(super) fn plain(self) -> Option<u64> {
        self.value
    }
}
