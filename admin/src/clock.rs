//! The time, as admin stores and shows it: milliseconds of Unix time in the database, RFC 3339 in answers.

use jiff::Timestamp;
use serde::{Serialize, Serializer};

/// A point in time, in milliseconds of Unix time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, utoipa::ToSchema)]
#[schema(value_type = String, format = DateTime, example = "2026-01-31T12:00:00Z")]
pub struct Moment(pub i64);

impl Moment {
    /// Now, by the system's clock.
    #[must_use]
    pub fn now() -> Self {
        Self(Timestamp::now().as_millisecond())
    }

    /// Whole seconds of Unix time, rounded down; 0 before 1970.
    #[must_use]
    pub fn unix_s(self) -> u64 {
        u64::try_from(self.0 / 1000).unwrap_or(0)
    }

    /// The next whole second, or this one if it is whole.
    #[must_use]
    pub const fn ceil_to_second(self) -> Self {
        let rest = self.0.rem_euclid(1000);
        Self(if rest == 0 { self.0 } else { self.0.saturating_add(1000 - rest) })
    }

    /// That much later.
    #[must_use]
    pub fn after(self, time: std::time::Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(time.as_millis()).unwrap_or(i64::MAX)))
    }
}

/// Reads a time as it stands in RFC 3339; `None`: it is none.
#[must_use]
pub fn parse_moment(text: &str) -> Option<Moment> {
    text.parse::<Timestamp>().ok().map(|time| Moment(time.as_millisecond()))
}

impl std::fmt::Display for Moment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match Timestamp::from_millisecond(self.0) {
            Ok(time) => time.fmt(f),
            Err(_) => write!(f, "{} ms", self.0),
        }
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_shown_as_rfc_3339_in_utc() {
        assert_eq!(Moment(0).to_string(), "1970-01-01T00:00:00Z");
        assert_eq!(serde_json::to_string(&Moment(1_500)).unwrap(), "\"1970-01-01T00:00:01.5Z\"");
        assert_eq!(Moment(1_999).unix_s(), 1);
        assert_eq!([Moment(1_001), Moment(2_000)].map(Moment::ceil_to_second), [Moment(2_000); 2]);
        assert_eq!(Moment(i64::MAX).to_string(), "9223372036854775807 ms");
    }
}
