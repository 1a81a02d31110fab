//! A tables file for one domain: what the demo and the side-by-side runs start the proxy with.
//!
//! The identifiers and secrets are fresh random ones, so two runs never share a PAT.

use anyhow::{Context as _, Result};
use cube_wire::pat::mint;
use cube_wire::record::{
    ClusterRecord, CredentialRecord, Dialect, DomainRecord, DomainStatus, EndpointRecord, EntityType,
    GrantRecord, ModelRecord, PatRecord, Record, ScopeRecord, UserRecord, UserStatus,
};
use cube_wire::{ClusterId, DomainId, Operation, PatDigest, PatId, PatIds, UserId};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A PAT and where it belongs. Holds the secret: never logged, written only to files of mode 0600.
#[derive(Clone, Serialize, Deserialize)]
pub struct Minted {
    /// Its owner.
    pub user: UserId,
    /// Its identifier.
    pub id: PatId,
    /// The whole PAT.
    pub secret: String,
}

impl std::fmt::Debug for Minted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Minted").field("user", &self.user).field("id", &self.id).finish_non_exhaustive()
    }
}

impl Minted {
    /// A new PAT of `user`.
    ///
    /// # Errors
    /// The operating system has no random numbers.
    pub fn new(user: UserId) -> Result<Self> {
        let id = PatId::from_bytes(random()?);
        let secret = mint(PatIds { user, pat: id }, &random()?);
        Ok(Self { user, id, secret: secret.expose().to_owned() })
    }

    fn record(&self, name: &str, scopes: Vec<ScopeRecord>) -> PatRecord {
        PatRecord {
            id: self.id,
            user: self.user,
            name: Some(name.to_owned()),
            digest: PatDigest(Sha256::digest(self.secret.as_bytes()).into()),
            expires_at: None,
            not_before: None,
            revoked: false,
            full_access: false,
            cidrs: Vec::new(),
            previous: None,
            scopes,
        }
    }
}

/// Who is in the tables: one domain, a user who may use its models, a stranger, and a PAT for each way of being refused.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct People {
    /// The domain.
    pub domain: DomainId,
    /// A domain in which `user` has no right.
    pub other_domain: DomainId,
    /// May do everything with the models of `domain`.
    pub user: UserId,
    /// Scoped to that.
    pub pat: Minted,
    /// The same scopes, revoked: 401.
    pub revoked: Minted,
    /// The same scopes, expired: 401.
    pub expired: Minted,
    /// Scoped to embeddings only: 403 for anything else.
    pub wrong_scope: Minted,
    /// A user of `other_domain` only: 404 in `domain`.
    pub stranger: Minted,
}

impl People {
    /// A new cast.
    ///
    /// # Errors
    /// The operating system has no random numbers.
    pub fn new() -> Result<Self> {
        let user = UserId::from_bytes(random()?);
        let stranger = UserId::from_bytes(random()?);
        Ok(Self {
            domain: DomainId::from_bytes(random()?),
            other_domain: DomainId::from_bytes(random()?),
            user,
            pat: Minted::new(user)?,
            revoked: Minted::new(user)?,
            expired: Minted::new(user)?,
            wrong_scope: Minted::new(user)?,
            stranger: Minted::new(stranger)?,
        })
    }
}

/// What is served in the domain, and where from.
#[derive(Clone, Debug)]
pub struct Service {
    /// The domain's name in paths.
    pub alias: String,
    /// `http://host:port[/base]`.
    pub upstream: String,
    /// The value of the upstream's `Authorization` field.
    pub credential: Option<String>,
    /// The upstream's wire format.
    pub dialect: Dialect,
    /// Names of models, the same for callers and upstream.
    pub models: Vec<String>,
}

/// What a member may do: everything that uses a model, nothing that manages one.
pub const MEMBER: [Operation; 12] = [
    Operation::Read,
    Operation::LlmRead,
    Operation::LlmChatCompletions,
    Operation::LlmCompletions,
    Operation::LlmEmbeddings,
    Operation::LlmTranscription,
    Operation::LlmTranslation,
    Operation::LlmUtility,
    Operation::LlmPooling,
    Operation::LlmClassification,
    Operation::LlmScoring,
    Operation::LlmRerank,
];

/// The records, in an order in which a person would read them.
#[must_use]
pub fn records(people: &People, service: &Service) -> Vec<Record> {
    let domain = |id, alias: &str| {
        Record::Domain(DomainRecord {
            id,
            alias: Some(alias.to_owned()),
            name: None,
            status: DomainStatus::Enabled,
            default_cluster: None,
        })
    };
    let cluster = ClusterId::from("upstream");
    let mut records = vec![cluster_record(&cluster, service), domain(people.domain, &service.alias)];
    records.push(domain(people.other_domain, &format!("{}-other", service.alias)));
    for name in &service.models {
        for domain in [people.domain, people.other_domain] {
            records.push(Record::Model(ModelRecord {
                domain,
                name: name.clone(),
                cluster: cluster.clone(),
                upstream_model: None,
                created: None,
            }));
        }
    }
    for (user, name, domain) in
        [(people.user, "member", people.domain), (people.stranger.user, "stranger", people.other_domain)]
    {
        let status = UserStatus::Enabled;
        records.push(Record::User(UserRecord {
            id: user,
            name: Some(name.to_owned()),
            status,
            superadmin: false,
        }));
        let operations = MEMBER.map(Into::into).to_vec();
        records.push(Record::Grant(GrantRecord { user, domain, operations }));
    }
    records.extend(pats(people).map(Record::Pat));
    records
}

fn cluster_record(id: &ClusterId, service: &Service) -> Record {
    let credential = service.credential.as_ref().map(|value| CredentialRecord {
        header: "authorization".to_owned(),
        value: value.clone(),
        sealed: String::new(),
    });
    Record::Cluster(ClusterRecord {
        id: id.clone(),
        dialect: service.dialect,
        endpoints: vec![EndpointRecord { url: service.upstream.clone(), weight: 1, credential }],
        connect_timeout_ms: 3_000,
        head_timeout_ms: 600_000,
        idle_timeout_ms: 300_000,
        total_timeout_ms: 3_600_000,
    })
}

fn pats(people: &People) -> impl Iterator<Item = PatRecord> {
    let scopes = |domain: DomainId, operations: &[Operation]| -> Vec<ScopeRecord> {
        let scope = |operation: &Operation| ScopeRecord {
            entity_type: EntityType::Domains,
            domain_id: Some(domain),
            entity_id: domain.to_string(),
            operation: (*operation).into(),
        };
        operations.iter().map(scope).collect()
    };
    let all = scopes(people.domain, &MEMBER);
    let hour_ago = SystemTime::now() - Duration::from_secs(3_600);
    let expired_at = hour_ago.duration_since(UNIX_EPOCH).map_or(1, |since| since.as_secs());
    [
        people.pat.record("works", all.clone()),
        PatRecord { revoked: true, ..people.revoked.record("revoked", all.clone()) },
        PatRecord { expires_at: Some(expired_at), ..people.expired.record("expired", all) },
        people.wrong_scope.record("embeddings only", scopes(people.domain, &[Operation::LlmEmbeddings])),
        people.stranger.record("stranger", scopes(people.other_domain, &MEMBER)),
    ]
    .into_iter()
}

/// Writes `records` as a tables file that only its owner may read.
///
/// # Errors
/// The file cannot be written.
pub fn write(path: &Path, records: &[Record]) -> Result<()> {
    let mut text = Vec::new();
    for record in records {
        serde_json::to_writer(&mut text, record)?;
        text.push(b'\n');
    }
    write_private(path, &text)
}

/// Writes a file that only its owner may read.
///
/// # Errors
/// The file cannot be written.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut options = std::fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    file.write_all(bytes)?;
    Ok(())
}

/// A random text for a password: 43 characters that no shell and no JSON changes.
///
/// # Errors
/// The operating system has no random numbers.
pub fn random_text() -> Result<String> {
    Ok(cube_wire::base64url::encode(&random::<32>()?))
}

fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).context("the operating system gives no random numbers")?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_read_back_as_the_record_that_was_written() {
        let people = People::new().unwrap();
        let service = Service {
            alias: "demo".to_owned(),
            upstream: "http://127.0.0.1:9".to_owned(),
            credential: None,
            dialect: Dialect::Openai,
            models: vec!["demo-model".to_owned()],
        };
        let records = records(&people, &service);
        let text: Vec<String> = records.iter().map(|record| serde_json::to_string(record).unwrap()).collect();
        let lines = text.join("\n");
        assert!(!lines.contains(&people.pat.secret));
        let read: Vec<Record> =
            cube_wire::read_records(lines.as_bytes()).map(|(_, record)| record.unwrap()).collect();
        assert_eq!(read, records);
        let ids = cube_wire::pat::parse(people.pat.secret.as_bytes()).unwrap();
        assert_eq!((ids.user, ids.pat), (people.user, people.pat.id));
    }
}
