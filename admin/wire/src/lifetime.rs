//! How long a PAT lives, as people write it: `720h`, `1h30m`, `30d`, `1y`.
//!
//! Go's duration syntax (what Cube's API takes) and the units that Cube's documentation uses and its API refuses.

use std::time::Duration;

/// Longest lifetime, a hundred years: beyond it, leave the expiry out.
const LIFETIME_MAX: Duration = Duration::from_secs(100 * 366 * 24 * 3600);

/// Why a text is not a lifetime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LifetimeError {
    /// Not numbers with units.
    #[error("a lifetime is numbers with units, like `720h`, `1h30m`, `30d` or `1y`")]
    Syntax,
    /// Less than a second: the PAT would be born expired.
    #[error("a lifetime is at least one second")]
    TooShort,
    /// More than a hundred years.
    #[error("a lifetime is at most a hundred years; leave it out for a PAT that does not expire")]
    TooLong,
}

/// Reads a lifetime; whole seconds, rounded down.
///
/// Units: `ns`, `us`, `µs`, `ms`, `s`, `m`, `h`, and `d` (24 h), `w` (7 d), `y` (365 d). Numbers may have a fraction. A
/// bare number is seconds.
///
/// # Errors
/// [`LifetimeError`]. Negative lifetimes are no syntax.
pub fn parse_lifetime(text: &str) -> Result<Duration, LifetimeError> {
    let mut rest = text;
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let number_len = rest.find(|character: char| !character.is_ascii_digit() && character != '.');
        let (number, after) = rest.split_at(number_len.unwrap_or(rest.len()));
        let unit_len = after.find(|character: char| character.is_ascii_digit() || character == '.');
        let (unit, after) = after.split_at(unit_len.unwrap_or(after.len()));
        let scale = match unit {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            // Without a unit only if there is nothing else.
            "" if number.len() == text.len() => 1.0,
            "m" => 60.0,
            "h" => 3_600.0,
            "d" => 86_400.0,
            "w" => 7.0 * 86_400.0,
            "y" => 365.0 * 86_400.0,
            _ => return Err(LifetimeError::Syntax),
        };
        seconds += number.parse::<f64>().map_err(|_| LifetimeError::Syntax)? * scale;
        rest = after;
    }
    match seconds {
        _ if text.is_empty() => Err(LifetimeError::Syntax),
        _ if seconds < 1.0 => Err(LifetimeError::TooShort),
        _ if seconds > LIFETIME_MAX.as_secs_f64() => Err(LifetimeError::TooLong),
        _ => Ok(Duration::from_secs(seconds as u64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_are_read_in_gos_syntax_and_in_days_weeks_and_years() {
        for (text, seconds) in [
            ("24h", 86_400),
            ("1h30m", 5_400),
            ("720h30m", 2_593_800),
            ("30d", 2_592_000),
            ("1y", 31_536_000),
            ("2w", 1_209_600),
            ("1.5h", 5_400),
            ("90s", 90),
            ("1500ms", 1),
            ("3600", 3_600),
        ] {
            assert_eq!(parse_lifetime(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
    }

    #[test]
    fn what_is_no_lifetime_is_refused() {
        for text in ["", "abc", "-1h", "h", "1h30", "1 h", ".", "1.2.3s", "1e9s", "∞", "1M", "NaN"] {
            assert_eq!(parse_lifetime(text), Err(LifetimeError::Syntax), "{text}");
        }
        assert_eq!(parse_lifetime("0"), Err(LifetimeError::TooShort));
        assert_eq!(parse_lifetime("999ms"), Err(LifetimeError::TooShort));
        assert_eq!(parse_lifetime("101y"), Err(LifetimeError::TooLong));
        assert_eq!(parse_lifetime(&"9".repeat(400)), Err(LifetimeError::TooLong));
    }
}
