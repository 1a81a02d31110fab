//! Where models are served and in which domains: clusters, domains, models.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{ClusterId, DomainId};

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
    /// Field value, whole: `Bearer …` where the endpoint wants that. Empty if it is sealed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub value: String,
    /// The value as the feed carries it, and as it lies on disks: see [`crate::seal`]. Tables are compiled from records whose
    /// credentials have been opened.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub sealed: String,
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
    /// Where operations that name no model go. Absent: to the cluster of the first model that the caller may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_cluster: Option<ClusterId>,
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
