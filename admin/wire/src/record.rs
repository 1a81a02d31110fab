//! One line of a snapshot: a JSON object whose `kind` says which record it is.
//!
//! The same lines are the feed from admin, the last good snapshot on a proxy's disk, and a file written by hand
//! (`config/tables.example.ndjson`). Unknown fields are ignored, so that a newer admin can feed an older proxy; an
//! unknown kind is an error, unless the line says `"optional":true`, because a kind that is not understood may be the
//! one that forbids something.
//!
//! Records name each other by identifier and may come in any order. What a name refers to, and whether it exists, is
//! found when tables are compiled, not here.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{ClusterId, DomainId, OperationName, PatDigest, PatId, UserId};

/// What a scope's `entity_id` says when it means every entity of its type in the domain.
pub const ANY_ENTITY: &str = "*";

/// One line of a snapshot.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Record {
    /// The optional first line.
    Snapshot(SnapshotRecord),
    /// Interchangeable endpoints.
    Cluster(ClusterRecord),
    /// An administrative domain of users.
    Domain(DomainRecord),
    /// A model that a domain offers, and where it is served.
    Model(ModelRecord),
    /// An owner of PATs.
    User(UserRecord),
    /// What a user may do in a domain.
    Grant(GrantRecord),
    /// A Personal Access Token, without its secret.
    Pat(PatRecord),
}

/// Where a snapshot comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotRecord {
    /// Generations grow within one epoch; a database restored from a backup begins another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<String>,
    /// The number of this snapshot in its epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
}

/// Endpoints that serve the same models, and how they are spoken to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClusterRecord {
    /// Its name, chosen by an operator.
    pub id: ClusterId,
    /// The wire format that its endpoints speak.
    pub dialect: Dialect,
    /// At least one.
    pub endpoints: Vec<EndpointRecord>,
    /// Milliseconds until a connection must be open. Not 0.
    #[serde(default = "default_connect_timeout_ms")]
    pub connect_timeout_ms: u64,
    /// Milliseconds until the head of the answer must be there. Not 0.
    #[serde(default = "default_head_timeout_ms")]
    pub head_timeout_ms: u64,
    /// Milliseconds that may pass between two reads of an answer. Not 0.
    #[serde(default = "default_idle_timeout_ms")]
    pub idle_timeout_ms: u64,
    /// Milliseconds that a whole exchange may take; 0 means no limit. Streams are never limited by it.
    #[serde(default = "default_total_timeout_ms")]
    pub total_timeout_ms: u64,
}

const fn default_connect_timeout_ms() -> u64 {
    3_000
}
const fn default_head_timeout_ms() -> u64 {
    600_000
}
const fn default_idle_timeout_ms() -> u64 {
    300_000
}
const fn default_total_timeout_ms() -> u64 {
    3_600_000
}

/// A provider's wire format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dialect {
    /// OpenAI's HTTP API: vLLM, llama.cpp and most others.
    Openai,
    /// Ollama's native API.
    Ollama,
}

/// One address of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointRecord {
    /// `http://host:port[/base]`.
    pub url: String,
    /// Its share of the cluster's requests relative to the other endpoints. Not 0.
    #[serde(default = "default_weight", skip_serializing_if = "is_default_weight")]
    pub weight: u32,
    /// What the endpoint wants to see instead of the caller's PAT.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<CredentialRecord>,
}

const fn default_weight() -> u32 {
    1
}
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
const fn is_default_weight(weight: &u32) -> bool {
    *weight == default_weight()
}

/// One header field that authenticates us to an endpoint.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CredentialRecord {
    /// Field name.
    #[serde(default = "default_credential_header")]
    pub header: String,
    /// Field value, whole: `Bearer …` where the endpoint wants that.
    pub value: String,
}

fn default_credential_header() -> String {
    "authorization".to_owned()
}

impl fmt::Debug for CredentialRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CredentialRecord").field("header", &self.header).finish_non_exhaustive()
    }
}

/// A domain of users, and whether it is open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainRecord {
    /// Its identifier; always works as the `{domain}` of a path.
    pub id: DomainId,
    /// Another name for paths, see [`alias_is_valid`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
    /// What people call it. The proxy does not use it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Who may enter.
    pub status: DomainStatus,
}

/// Who may enter a domain. (The spelling `freezed` is SuperMQ's.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DomainStatus {
    /// Its members.
    Enabled,
    /// Its administrators.
    Disabled,
    /// Superadmins.
    Freezed,
}

/// Whether `alias` can be a domain's name in paths: a letter, then at most 35 letters, digits, `-` or `_`, with neither
/// `--` nor `__` in it, and nothing that could be read as a UUID.
///
/// Source: SuperMQ's domain routes, `^[a-zA-Z][a-zA-Z0-9_-]{0,35}$` without `__` and `--`.
#[must_use]
pub fn alias_is_valid(alias: &str) -> bool {
    let bytes = alias.as_bytes();
    bytes.len() <= ALIAS_LEN_MAX
        && bytes.first().is_some_and(u8::is_ascii_alphabetic)
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        && !alias.contains("--")
        && !alias.contains("__")
        && uuid::Uuid::try_parse(alias).is_err()
}

/// Longest alias of a domain, in bytes.
pub const ALIAS_LEN_MAX: usize = 36;

/// A model that a domain offers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelRecord {
    /// The domain that offers it.
    pub domain: DomainId,
    /// The name that callers write; at most 256 bytes, no control characters.
    pub name: String,
    /// The cluster that serves it.
    pub cluster: ClusterId,
    /// The name that the cluster knows it by, where that is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream_model: Option<String>,
    /// Unix seconds, shown in lists of models.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<u64>,
}

/// Longest name of a model, in bytes.
pub const MODEL_NAME_LEN_MAX: usize = 256;

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
    /// What it may do, at most. Empty: nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<ScopeRecord>,
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

/// What a record is about: two records with equal keys are two versions of one thing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// A cluster.
    Cluster(ClusterId),
    /// A domain.
    Domain(DomainId),
    /// A model of a domain, by the name that callers write.
    Model(DomainId, Box<str>),
    /// A user.
    User(UserId),
    /// All that one user may do in one domain.
    Grant(UserId, DomainId),
    /// A PAT.
    Pat(PatId),
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cluster(id) => write!(f, "cluster `{id}`"),
            Self::Domain(id) => write!(f, "domain {id}"),
            Self::Model(domain, name) => write!(f, "model `{name}` of domain {domain}"),
            Self::User(id) => write!(f, "user {id}"),
            Self::Grant(user, domain) => write!(f, "grant of user {user} in domain {domain}"),
            Self::Pat(id) => write!(f, "pat {id}"),
        }
    }
}

/// Why a line is not a record.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Longer than [`crate::read::LINE_BYTES_MAX`].
    #[error("longer than {} bytes", crate::read::LINE_BYTES_MAX)]
    TooLong,
    /// Bytes that are not text.
    #[error(transparent)]
    NotText(#[from] std::str::Utf8Error),
    /// Not JSON, a field is missing, or a value is of the wrong form.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    /// No `kind`.
    #[error("no `kind`")]
    NoKind,
    /// A kind that this version does not know, on a line that is not marked optional.
    #[error("unknown kind `{0}`; mark the line \"optional\":true if it may be left out")]
    UnknownKind(String),
    /// The reader failed. The iteration ends here.
    #[error("cannot read: {0}")]
    Read(#[from] std::io::Error),
}

/// How the line of a PAT begins when we have written it.
const PAT_FRONT: &str = r#"{"kind":"pat","#;

/// The fields that say how to read the rest of a line.
#[derive(Deserialize)]
struct Heading<'line> {
    #[serde(borrow, default)]
    kind: Cow<'line, str>,
    #[serde(default)]
    optional: bool,
}

impl Record {
    /// Reads one line. `None`: a kind that we do not know, and that the line says we need not.
    ///
    /// # Errors
    /// [`RecordError`]; never `TooLong` or `Read`.
    ///
    /// # Cost
    /// Lines are read twice, once for the heading; those of PATs as we write them (a snapshot has a million) once.
    pub fn from_line(line: &[u8]) -> Result<Option<Self>, RecordError> {
        let line = std::str::from_utf8(line)?;
        if let Some(rest) = line.strip_prefix(PAT_FRONT)
            // It says its kind once and hides nothing in an escape, so the rest cannot say another.
            && memchr::memmem::find(rest.as_bytes(), br#""kind""#).is_none()
            && memchr::memchr(b'\\', rest.as_bytes()).is_none()
        {
            return Ok(Some(Self::Pat(serde_json::from_str(line)?)));
        }
        let heading: Heading<'_> = serde_json::from_str(line)?;
        Ok(Some(match &*heading.kind {
            "snapshot" => Self::Snapshot(serde_json::from_str(line)?),
            "cluster" => Self::Cluster(serde_json::from_str(line)?),
            "domain" => Self::Domain(serde_json::from_str(line)?),
            "model" => Self::Model(serde_json::from_str(line)?),
            "user" => Self::User(serde_json::from_str(line)?),
            "grant" => Self::Grant(serde_json::from_str(line)?),
            "pat" => Self::Pat(serde_json::from_str(line)?),
            "" => return Err(RecordError::NoKind),
            _ if heading.optional => return Ok(None),
            unknown => return Err(RecordError::UnknownKind(unknown.to_owned())),
        }))
    }

    /// The record as one line of JSON, without the line's end.
    #[must_use]
    pub fn to_line(&self) -> String {
        serde_json::to_string(self).expect("records have only string keys and finite numbers")
    }

    /// What the record is about. The snapshot's heading is about nothing.
    #[must_use]
    pub fn key(&self) -> Option<Key> {
        Some(match self {
            Self::Snapshot(_) => return None,
            Self::Cluster(record) => Key::Cluster(record.id.clone()),
            Self::Domain(record) => Key::Domain(record.id),
            Self::Model(record) => Key::Model(record.domain, record.name.as_str().into()),
            Self::User(record) => Key::User(record.id),
            Self::Grant(record) => Key::Grant(record.user, record.domain),
            Self::Pat(record) => Key::Pat(record.id),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOMAIN: &str =
        r#"{"kind":"domain","id":"00000000-0000-0000-0000-000000000001","status":"enabled"}"#;

    #[test]
    fn a_record_is_written_as_it_is_read() {
        let lines = [
            r#"{"kind":"snapshot","generation":7}"#,
            r#"{"kind":"cluster","id":"gpu","dialect":"openai","endpoints":[{"url":"http://h:1"},{"url":"http://h:2/x","weight":3,"credential":{"header":"x-key","value":"s"}}],"connect_timeout_ms":1,"head_timeout_ms":2,"idle_timeout_ms":3,"total_timeout_ms":0}"#,
            r#"{"kind":"domain","id":"00000000-0000-0000-0000-000000000001","alias":"demo","status":"freezed"}"#,
            r#"{"kind":"model","domain":"00000000-0000-0000-0000-000000000001","name":"m","cluster":"gpu","upstream_model":"n","created":5}"#,
            r#"{"kind":"user","id":"00000000-0000-0000-0000-000000000002","status":"disabled","superadmin":true}"#,
            r#"{"kind":"grant","user":"00000000-0000-0000-0000-000000000002","domain":"00000000-0000-0000-0000-000000000001","operations":["llm_read","client_read"]}"#,
            r#"{"kind":"pat","id":"00000000-0000-0000-0000-000000000003","user":"00000000-0000-0000-0000-000000000002","digest":"sha256:0000000000000000000000000000000000000000000000000000000000000000","expires_at":9,"not_before":1,"revoked":true,"full_access":true,"scopes":[{"entity_type":"models","domain_id":"00000000-0000-0000-0000-000000000001","entity_id":"*","operation":"llm_read"}]}"#,
        ];
        for line in lines {
            let record = Record::from_line(line.as_bytes()).unwrap().unwrap();
            assert_eq!(record.to_line(), line);
        }
    }

    #[test]
    fn unknown_fields_are_ignored_and_field_order_does_not_matter() {
        let reordered = br#"{"later":{"x":[1]},"status":"enabled","id":"00000000-0000-0000-0000-000000000001","kind":"domain"}"#;
        assert_eq!(Record::from_line(reordered).unwrap(), Record::from_line(DOMAIN.as_bytes()).unwrap());
    }

    #[test]
    fn an_unknown_kind_is_an_error_unless_the_line_says_it_may_be_left_out() {
        assert!(
            matches!(Record::from_line(br#"{"kind":"quota"}"#), Err(RecordError::UnknownKind(kind)) if kind == "quota")
        );
        assert!(matches!(Record::from_line(br#"{"kind":"quota","optional":true}"#), Ok(None)));
        assert!(matches!(Record::from_line(b"{}"), Err(RecordError::NoKind)));
    }

    #[test]
    fn a_line_that_says_two_things_is_an_error() {
        for line in [
            r#"{"kind":"user","kind":"pat","id":"00000000-0000-0000-0000-000000000002","status":"disabled"}"#,
            r#"{"kind":"user","id":"00000000-0000-0000-0000-000000000002","status":"disabled","status":"enabled"}"#,
            r#"{"kind":"snapshot"} {"kind":"snapshot"}"#,
            r#"{"kind":"pat","id":"00000000-0000-0000-0000-000000000002","user":"00000000-0000-0000-0000-000000000002","digest":"sha256:0000000000000000000000000000000000000000000000000000000000000000","kind":"pat"}"#,
            r#"{"kind":"pat","id":"00000000-0000-0000-0000-000000000002","user":"00000000-0000-0000-0000-000000000002","digest":"sha256:0000000000000000000000000000000000000000000000000000000000000000","k\u0069nd":"user"}"#,
        ] {
            assert!(Record::from_line(line.as_bytes()).is_err(), "{line}");
        }
    }

    #[test]
    fn aliases_follow_the_route_syntax_and_never_look_like_a_uuid() {
        for good in ["a", "demo", "Team-1_x", &"a".repeat(36)] {
            assert!(alias_is_valid(good), "{good}");
        }
        for bad in [
            "",
            "1a",
            "-a",
            "a--b",
            "a__b",
            "a.b",
            "a/b",
            "ä",
            "a b",
            &"a".repeat(37),
            "abcdef01-2345-6789-abcd-ef0123456789",
            "abcdef0123456789abcdef0123456789",
        ] {
            assert!(!alias_is_valid(bad), "{bad}");
        }
    }

    #[test]
    fn debug_output_does_not_show_an_endpoints_credential() {
        let credential = CredentialRecord { header: "authorization".into(), value: "Bearer hidden".into() };
        assert!(!format!("{credential:?}").contains("hidden"));
    }
}
