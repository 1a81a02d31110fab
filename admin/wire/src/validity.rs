//! From when to when a certificate holds: the one thing in it that rustls knows and does not say. Both programs export it.

/// Both ends, included, in Unix seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// The first second.
    pub not_before: u64,
    /// The last.
    pub not_after: u64,
}

const SEQUENCE: u8 = 0x30;
const EXPLICIT_VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

impl Validity {
    /// Reads it out of a certificate. `None`: that is none. Times before 1970 count as 1970.
    ///
    /// # Source
    /// RFC 5280 §4.1: `Certificate { tbs { [0] version, serial, signature, issuer, validity { notBefore, notAfter }, … } … }`.
    #[must_use]
    pub fn of(certificate: &[u8]) -> Option<Self> {
        let mut rest = certificate;
        let mut certificate = tagged(&mut rest, SEQUENCE)?;
        let mut tbs = tagged(&mut certificate, SEQUENCE)?;
        if tbs.first() == Some(&EXPLICIT_VERSION) {
            element(&mut tbs)?;
        }
        for _serial_signature_issuer in 0..3 {
            element(&mut tbs)?;
        }
        let mut validity = tagged(&mut tbs, SEQUENCE)?;
        Some(Self { not_before: time(&mut validity)?, not_after: time(&mut validity)? })
    }
}

/// Takes the first element off `bytes`: its tag and its content (DER, definite lengths only).
fn element<'a>(bytes: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let (&[tag, first], mut rest) = bytes.split_first_chunk::<2>()?;
    let mut len = usize::from(first);
    if first >= 0x80 {
        let (digits, after) = rest.split_at_checked(usize::from(first & 0x7f))?;
        if digits.is_empty() || digits.len() > 4 {
            return None;
        }
        len = digits.iter().fold(0, |len, digit| len << 8 | usize::from(*digit));
        rest = after;
    }
    let (content, rest) = rest.split_at_checked(len)?;
    *bytes = rest;
    Some((tag, content))
}

fn tagged<'a>(bytes: &mut &'a [u8], wanted: u8) -> Option<&'a [u8]> {
    element(bytes).filter(|(tag, _)| *tag == wanted).map(|(_, content)| content)
}

/// `YYMMDDhhmmssZ`, or `YYYYMMDDhhmmssZ` (RFC 5280 §4.1.2.5).
fn time(bytes: &mut &[u8]) -> Option<u64> {
    let (tag, content) = element(bytes)?;
    let digits = content.strip_suffix(b"Z")?;
    let pair = |at: usize| -> Option<u64> {
        let pair = digits.get(at..at + 2)?;
        pair.iter()
            .all(u8::is_ascii_digit)
            .then(|| u64::from(pair[0] - b'0') * 10 + u64::from(pair[1] - b'0'))
    };
    let (year, at) = match tag {
        UTC_TIME => {
            let year = pair(0)?;
            (if year < 50 { 2000 + year } else { 1900 + year }, 2)
        }
        GENERALIZED_TIME => (pair(0)? * 100 + pair(2)?, 4),
        _ => return None,
    };
    let (month, day) = (pair(at)?, pair(at + 2)?);
    let (hour, minute, second) = (pair(at + 4)?, pair(at + 6)?, pair(at + 8)?);
    if digits.len() != at + 10 || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    Some(days_since_1970(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second)
}

/// Days of the Gregorian calendar, by years that begin in March, so that a leap day is the last of its year.
fn days_since_1970(year: u64, month: u64, day: u64) -> u64 {
    let year = year - u64::from(month <= 2);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = 365 * year + year / 4 - year / 100 + year / 400 + day_of_year;
    days.saturating_sub(719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(not_before: (i32, u8, u8), not_after: (i32, u8, u8)) -> Vec<u8> {
        let mut params = rcgen::CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(not_before.0, not_before.1, not_before.2);
        params.not_after = rcgen::date_time_ymd(not_after.0, not_after.1, not_after.2);
        let key = rcgen::KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn the_dates_of_a_certificate_are_read_whichever_way_they_are_written() {
        for (from, to, not_before, not_after) in [
            ((1970, 1, 1), (1970, 1, 2), 0, 86_400),
            ((2024, 2, 29), (2024, 3, 1), 1_709_164_800, 1_709_251_200),
            ((1999, 12, 31), (2049, 12, 31), 946_598_400, 2_524_521_600),
            // From 2050 on the other form is used.
            ((2000, 3, 1), (2100, 3, 1), 951_868_800, 4_107_542_400),
        ] {
            let read = Validity::of(&certificate(from, to));
            assert_eq!(read, Some(Validity { not_before, not_after }), "{from:?}..{to:?}");
        }
    }

    /// Goal: bytes from a file never panic. Method: a certificate, cut anywhere and with any byte replaced.
    #[test]
    fn what_is_no_certificate_has_no_dates_and_does_no_harm() {
        let whole = certificate((2020, 1, 1), (2030, 1, 1));
        for cut in 0..whole.len() {
            if cut < 100 {
                assert_eq!(Validity::of(&whole[..cut]), None);
            }
            for byte in [0, 0x30, 0x80, 0x84, 0xff] {
                let mut damaged = whole.clone();
                damaged[cut] = byte;
                let _ = Validity::of(&damaged);
            }
        }
    }
}
