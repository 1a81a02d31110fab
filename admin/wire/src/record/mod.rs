//! One line of a snapshot: a JSON object whose `kind` says which record it is.
//!
//! The same lines are the feed from admin, the last good snapshot on a proxy's disk, and a file written by hand
//! (`config/tables.example.ndjson`). Unknown fields are ignored, so that a newer admin can feed an older proxy; an
//! unknown kind is an error, unless the line says `"optional":true`, because a kind that is not understood may be the
//! one that forbids something.
//!
//! Records name each other by identifier and may come in any order. What a name refers to, and whether it exists, is
//! found when tables are compiled, not here.

mod people;
mod routes;
mod topology;

use std::borrow::Cow;
use std::fmt;
use std::sync::LazyLock;

use memchr::memmem::Finder;
use serde::{Deserialize, Serialize};

pub use people::{
    ANY_ENTITY, EntityType, GrantRecord, KeyRecord, PatRecord, PreviousSecret, ScopeRecord, UserRecord,
    UserStatus,
};
pub use routes::{Condition, Matcher, RouteRecord};
pub use topology::{
    ALIAS_LEN_MAX, ClusterRecord, CredentialRecord, Dialect, DomainRecord, DomainStatus, EndpointRecord,
    MODEL_NAME_LEN_MAX, ModelRecord, alias_is_valid,
};

use crate::{ClusterId, DomainId, PatId, UserId};

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
    /// A public key of admin's access tokens.
    Key(KeyRecord),
    /// A rule that sends requests elsewhere than their model's cluster.
    Route(RouteRecord),
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

/// What a record is about: two records with equal keys are two versions of one thing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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
    /// A key of access tokens, by its `kid`.
    Key(Box<str>),
    /// A routing rule, by its name.
    Route(Box<str>),
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cluster(id) => write!(f, "cluster `{}`", shown(id.as_str())),
            Self::Domain(id) => write!(f, "domain {id}"),
            Self::Model(domain, name) => write!(f, "model `{}` of domain {domain}", shown(name)),
            Self::User(id) => write!(f, "user {id}"),
            Self::Grant(user, domain) => write!(f, "grant of user {user} in domain {domain}"),
            Self::Pat(id) => write!(f, "pat {id}"),
            Self::Key(id) => write!(f, "key `{}`", shown(id)),
            Self::Route(name) => write!(f, "route `{}`", shown(name)),
        }
    }
}

/// Why a line is not a record.
///
/// Texts repeat names of fields and kinds, never values: somebody may have put a credential in the wrong place, and
/// these texts end up in logs.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Longer than [`crate::read::LINE_BYTES_MAX`].
    #[error("longer than {} bytes", crate::read::LINE_BYTES_MAX)]
    TooLong,
    /// Bytes that are not text.
    #[error("not UTF-8 text")]
    NotText,
    /// Not JSON, a field is missing, or a value is of the wrong form.
    #[error("{}", without_values(.0))]
    Json(serde_json::Error),
    /// No `kind`.
    #[error("no `kind`")]
    NoKind,
    /// A kind that this version does not know, on a line that is not marked optional.
    #[error("unknown kind `{}`; mark the line \"optional\":true if it may be left out", shown(.0))]
    UnknownKind(String),
    /// The reader failed. The iteration ends here.
    #[error("cannot read: {0}")]
    Read(std::io::Error),
}

impl From<serde_json::Error> for RecordError {
    fn from(error: serde_json::Error) -> Self {
        Self::Json(error)
    }
}

/// What serde says, without the value that it did not expect, and with the column alone: the line is always 1.
fn without_values(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let text = text.rfind(" at line ").map_or(&*text, |at| &text[..at]);
    // "invalid type: string \"…\", expected …", "unknown variant `…`, expected …": only what was expected.
    let text = text.rfind(", expected ").map_or(text, |at| &text[at + 2..]);
    format!("{text} (column {})", error.column())
}

/// Text from a record, fit to be shown in one line of a log: short, and without control characters.
#[must_use]
pub fn shown(text: &str) -> String {
    const CHARS_MAX: usize = 80;
    let mut shown: String = text.chars().take(CHARS_MAX).flat_map(char::escape_debug).collect();
    if text.chars().nth(CHARS_MAX).is_some() {
        shown.push('…');
    }
    shown
}

/// How the line of a PAT begins when we have written it.
const PAT_FRONT: &str = r#"{"kind":"pat","#;
/// Finds a second `kind`. Made once: that costs as much as a search.
static KIND: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(br#""kind""#));

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
        let line = std::str::from_utf8(line).map_err(|_| RecordError::NotText)?;
        if let Some(rest) = line.strip_prefix(PAT_FRONT)
            // It says its kind once and hides nothing in an escape, so the rest cannot say another.
            && KIND.find(rest.as_bytes()).is_none()
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
            "key" => Self::Key(serde_json::from_str(line)?),
            "route" => Self::Route(serde_json::from_str(line)?),
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
            Self::Key(record) => Key::Key(record.id.as_str().into()),
            Self::Route(record) => Key::Route(record.name.as_str().into()),
        })
    }
}

#[cfg(test)]
mod tests;
