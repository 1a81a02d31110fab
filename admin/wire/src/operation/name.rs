//! Names of operations, ours and others.

use std::fmt;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Operation;

/// The name of an operation as a scope or a role carries it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum OperationName {
    /// One of ours: it acts.
    Acting(Operation),
    /// Any other name. Whether it is accepted depends on the entity it is for ([`Self::is_known`]).
    Stored(Box<str>),
}

/// Name families of entities that the SuperMQ era had and cube has not. Kept so that imported rows stay valid.
const STORED_FAMILIES: [&str; 7] =
    ["client_", "channel_", "group_", "role_", "dashboard_", "message_", "alarm_"];

/// Single names of the same kind.
const STORED_NAMES: [&str; 12] = [
    "create_clients",
    "list_clients",
    "create_channels",
    "list_channels",
    "create_groups",
    "list_groups",
    "create",
    "freeze",
    "list_invitation",
    "view_invitation",
    "accept_invitation",
    "reject_invitation",
];

impl OperationName {
    /// The name as an operation, if it acts.
    #[must_use]
    pub const fn acting(&self) -> Option<Operation> {
        match self {
            Self::Acting(operation) => Some(*operation),
            Self::Stored(_) => None,
        }
    }

    /// Whether a scope or a role on a *domain* may carry this name: ours, or of a known family that never acts.
    #[must_use]
    pub fn is_known(&self) -> bool {
        match self {
            Self::Acting(_) => true,
            Self::Stored(name) => {
                STORED_NAMES.contains(&&**name)
                    || STORED_FAMILIES
                        .iter()
                        .any(|family| name.len() > family.len() && name.starts_with(family))
            }
        }
    }

    /// The name as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Acting(operation) => operation.name(),
            Self::Stored(name) => name,
        }
    }
}

impl From<&str> for OperationName {
    fn from(name: &str) -> Self {
        Operation::from_name(name).map_or_else(|| Self::Stored(name.into()), Self::Acting)
    }
}

impl From<Operation> for OperationName {
    fn from(operation: Operation) -> Self {
        Self::Acting(operation)
    }
}

impl fmt::Display for OperationName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for OperationName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for OperationName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Name;
        impl Visitor<'_> for Name {
            type Value = OperationName;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of an operation")
            }
            fn visit_str<E: de::Error>(self, name: &str) -> Result<OperationName, E> {
                Ok(name.into())
            }
        }
        deserializer.deserialize_str(Name)
    }
}
