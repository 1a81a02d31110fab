//! Identifiers that are for ever: they name the same thing in every generation and on every machine.
//!
//! Positions inside one compiled snapshot are `…Ix` types of the proxy's tables and never travel.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// Written as a hyphenated lower-case UUID, in JSON and in text; read in either case.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// The identifier made of these 16 bytes (network order, as in a PAT).
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }

            /// The 16 bytes, network order.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::parse_str(text).map(Self)
            }
        }
    };
}

uuid_id! {
    /// A user: the owner of PATs, the holder of grants.
    UserId
}
uuid_id! {
    /// A Personal Access Token, whatever its secret is at the moment.
    PatId
}
uuid_id! {
    /// An administrative domain of users; not a DNS name.
    DomainId
}

/// A cluster of interchangeable endpoints. Operators choose these names, so they are text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClusterId(pub Box<str>);

impl ClusterId {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for ClusterId {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_written_as_a_hyphenated_lower_case_uuid() {
        let id: UserId = serde_json::from_str("\"3AA2AA87-F29B-455D-AA68-1E874804F786\"").unwrap();
        assert_eq!(serde_json::to_string(&id).unwrap(), "\"3aa2aa87-f29b-455d-aa68-1e874804f786\"");
        assert_eq!(id.to_string(), "3aa2aa87-f29b-455d-aa68-1e874804f786");
        assert_eq!(UserId::from_bytes(*id.as_bytes()), id);
    }
}
