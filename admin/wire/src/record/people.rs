//! Who may do what: users, grants, PATs and their scopes.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{DomainId, OperationName, PatDigest, PatId, UserId};

/// What a scope's `entity_id` says when it means every entity of its type in the domain.
pub const ANY_ENTITY: &str = "*";

/// An owner of PATs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserRecord {
    /// Its identifier.
    pub id: UserId,
    /// What people call it. The proxy does not use it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// A disabled user's PATs authenticate nobody.
    pub status: UserStatus,
    /// Acts in every domain whatever its roles there. PATs of such a user are still narrowed by their scopes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub superadmin: bool,
}

/// Whether a user's PATs authenticate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UserStatus {
    /// They do.
    Enabled,
    /// They do not.
    Disabled,
}

/// What a user may do in a domain. Several for one pair unite: a user may hold several roles.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantRecord {
    /// Who.
    pub user: UserId,
    /// Where.
    pub domain: DomainId,
    /// The actions of the role.
    pub operations: Vec<OperationName>,
}

/// A Personal Access Token, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PatRecord {
    /// Its identifier, as in the PAT itself.
    pub id: PatId,
    /// Its owner, as in the PAT itself.
    pub user: UserId,
    /// What its owner calls it. The proxy does not use it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// SHA-256 of the whole PAT.
    pub digest: PatDigest,
    /// Unix seconds from which it is refused; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<u64>,
    /// Unix seconds before which it is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<u64>,
    /// Refused from now on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub revoked: bool,
    /// Acts as its owner, whatever the scopes say.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub full_access: bool,
    /// Address ranges (`192.0.2.0/24`, `2001:db8::/32`) that its requests may come from. Empty: from anywhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cidrs: Vec<String>,
    /// The secret that it had before its last reset, while that is still good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<PreviousSecret>,
    /// What it may do, at most. Empty: nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<ScopeRecord>,
}

/// A secret that was replaced and stays valid for a while, so that callers can change over without an outage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreviousSecret {
    /// SHA-256 of the whole PAT as it was.
    pub digest: PatDigest,
    /// Unix seconds from which it is refused. The PAT's own end and its revocation hold for it too.
    pub until: u64,
}

/// A public key against which cube-admin's access tokens (JWTs) are verified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRecord {
    /// The `kid` of its tokens.
    pub id: String,
    /// The Ed25519 public key: 32 bytes, base64url without padding (the JWK's `x`, RFC 8037).
    pub public_key: String,
}

/// One thing that a PAT may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScopeRecord {
    /// What `entity_id` names.
    pub entity_type: EntityType,
    /// The domain in which it lies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain_id: Option<DomainId>,
    /// The entity, or `*` for all of its type in the domain.
    pub entity_id: String,
    /// What may be done with it.
    pub operation: OperationName,
}

/// What kind of thing a scope is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum EntityType {
    /// The domain as a whole; `entity_id` is the domain's.
    Domains,
    /// One model of the domain; `entity_id` is its name.
    Models,
    /// Anything else. Such scopes are kept by admin and never act on the proxy.
    Other(Box<str>),
}

impl EntityType {
    /// The name as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Domains => "domains",
            Self::Models => "models",
            Self::Other(name) => name,
        }
    }
}

impl From<&str> for EntityType {
    fn from(name: &str) -> Self {
        match name {
            "domains" => Self::Domains,
            "models" => Self::Models,
            other => Self::Other(other.into()),
        }
    }
}

impl Serialize for EntityType {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for EntityType {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Name;
        impl serde::de::Visitor<'_> for Name {
            type Value = EntityType;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an entity type")
            }
            fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<EntityType, E> {
                Ok(name.into())
            }
        }
        deserializer.deserialize_str(Name)
    }
}
