//! Rows → the records that proxies get, by their keys.

use cube_wire::record::{
    ClusterRecord, CredentialRecord, Dialect, DomainRecord, DomainStatus, EndpointRecord, GrantRecord,
    KeyRecord, Matcher, ModelRecord, PatRecord, PreviousSecret, RouteRecord, ScopeRecord, UserRecord,
    UserStatus,
};
use cube_wire::{ClusterId, DomainId, Key, OperationName, PatDigest, PatId, Record, UserId};
use uuid::Uuid;

use super::{StoreError, from_json};
use crate::clock::Moment;
use crate::store::sql::{Connection, Row, query, query_scalar};

/// What proxies are to know of `key`; `None`: there is no such thing (any more).
///
/// # Errors
/// The database failed, or a row is damaged.
pub async fn record(connection: &mut Connection, key: &Key) -> Result<Option<Record>, StoreError> {
    Ok(match key {
        Key::Cluster(id) => cluster(connection, id).await?.map(Record::Cluster),
        Key::Domain(id) => domain(connection, *id).await?.map(Record::Domain),
        Key::Model(domain, name) => model(connection, *domain, name).await?.map(Record::Model),
        Key::User(id) => user(connection, *id).await?.map(Record::User),
        Key::Grant(user, domain) => grant(connection, *user, *domain).await?.map(Record::Grant),
        Key::Pat(id) => pat(connection, *id).await?.map(Record::Pat),
        Key::Key(id) => signing_key(connection, id).await?.map(Record::Key),
        Key::Route(name) => route(connection, name).await?.map(Record::Route),
    })
}

/// The keys of all that there may be a record of. Some have none: a route that is switched off, a model that goes nowhere.
///
/// # Errors
/// The database failed.
pub async fn every_key(connection: &mut Connection) -> Result<Vec<Key>, StoreError> {
    let mut keys = Vec::new();
    for (rows, key) in EVERY {
        keys.extend(query(rows).fetch_all(connection).await?.iter().map(key));
    }
    Ok(keys)
}

type KeyOf = fn(&Row) -> Key;

/// What there may be records of: where they are, and their keys.
const EVERY: [(&str, KeyOf); 8] = [
    ("SELECT id FROM signing_keys", |row| Key::Key(row.get::<String>("id").into())),
    ("SELECT name FROM deployments", |row| Key::Cluster(text(row, "name"))),
    ("SELECT id FROM users", |row| Key::User(UserId(row.get("id")))),
    ("SELECT id FROM domains", |row| Key::Domain(DomainId(row.get("id")))),
    ("SELECT domain_id, name FROM models", |row| {
        Key::Model(DomainId(row.get("domain_id")), row.get::<String>("name").into())
    }),
    ("SELECT DISTINCT m.user_id, r.domain_id FROM role_members m JOIN roles r ON r.id = m.role_id", |row| {
        Key::Grant(UserId(row.get("user_id")), DomainId(row.get("domain_id")))
    }),
    ("SELECT name FROM routes", |row| Key::Route(row.get::<String>("name").into())),
    ("SELECT id FROM pats", |row| Key::Pat(PatId(row.get("id")))),
];

/// A text that is more than a text.
fn text<T: for<'t> From<&'t str>>(row: &Row, column: &str) -> T {
    T::from(&row.get::<String>(column))
}

fn optional_text<T: for<'t> From<&'t str>>(row: &Row, column: &str) -> Option<T> {
    row.get::<Option<String>>(column).map(|text| T::from(&text))
}

async fn signing_key(connection: &mut Connection, id: &str) -> Result<Option<KeyRecord>, StoreError> {
    let row = query("SELECT id, public_key FROM signing_keys WHERE id = ?").bind(id);
    Ok(row.fetch_optional(connection).await?.map(|row| key_of(&row)))
}

fn key_of(row: &Row) -> KeyRecord {
    KeyRecord { id: row.get("id"), public_key: row.get("public_key") }
}

async fn user(connection: &mut Connection, id: UserId) -> Result<Option<UserRecord>, StoreError> {
    let row = query("SELECT id, username, status, superadmin FROM users WHERE id = ?").bind(id.0);
    Ok(row.fetch_optional(connection).await?.map(|row| user_of(&row)))
}

fn user_of(row: &Row) -> UserRecord {
    UserRecord {
        id: UserId(row.get("id")),
        name: Some(row.get("username")),
        status: match &*row.get::<String>("status") {
            "enabled" => UserStatus::Enabled,
            _ => UserStatus::Disabled,
        },
        superadmin: row.get("superadmin"),
    }
}

async fn domain(connection: &mut Connection, id: DomainId) -> Result<Option<DomainRecord>, StoreError> {
    let row =
        query("SELECT id, name, alias, status, default_deployment FROM domains WHERE id = ?").bind(id.0);
    Ok(row.fetch_optional(connection).await?.map(|row| domain_of(&row)))
}

fn domain_of(row: &Row) -> DomainRecord {
    DomainRecord {
        id: DomainId(row.get("id")),
        alias: row.get("alias"),
        name: Some(row.get("name")),
        status: match &*row.get::<String>("status") {
            "enabled" => DomainStatus::Enabled,
            "disabled" => DomainStatus::Disabled,
            _ => DomainStatus::Freezed,
        },
        default_cluster: optional_text(row, "default_deployment"),
    }
}

async fn cluster(connection: &mut Connection, id: &ClusterId) -> Result<Option<ClusterRecord>, StoreError> {
    let row = query("SELECT * FROM deployments WHERE name = ?").bind(id.as_str());
    let Some(row) = row.fetch_optional(&mut *connection).await? else { return Ok(None) };
    let endpoints = query("SELECT * FROM endpoints WHERE deployment = ? ORDER BY position").bind(id.as_str());
    let endpoints = endpoints.fetch_all(connection).await?;
    Ok(Some(cluster_of(&row, &endpoints)))
}

fn cluster_of(row: &Row, endpoints: &[Row]) -> ClusterRecord {
    let ms = |name: &str| u64::try_from(row.get::<i64>(name)).unwrap_or(0);
    ClusterRecord {
        id: text(row, "name"),
        dialect: match &*row.get::<String>("dialect") {
            "ollama" => Dialect::Ollama,
            _ => Dialect::Openai,
        },
        endpoints: endpoints.iter().map(endpoint_of).collect(),
        connect_timeout_ms: ms("connect_timeout_ms"),
        head_timeout_ms: ms("head_timeout_ms"),
        idle_timeout_ms: ms("idle_timeout_ms"),
        total_timeout_ms: ms("total_timeout_ms"),
    }
}

fn endpoint_of(row: &Row) -> EndpointRecord {
    let header: Option<String> = row.get("credential_header");
    let sealed: Option<String> = row.get("credential_sealed");
    EndpointRecord {
        url: row.get("url"),
        weight: row.get("weight"),
        credential: header.zip(sealed).map(|(header, sealed)| CredentialRecord {
            header,
            value: String::new(),
            sealed,
        }),
    }
}

/// A model without a deployment goes to its domain's default one. One that goes nowhere is no model yet.
async fn model(
    connection: &mut Connection,
    domain: DomainId,
    name: &str,
) -> Result<Option<ModelRecord>, StoreError> {
    let row = query(
        "SELECT m.domain_id, m.name, m.upstream_model, m.created_at, COALESCE(m.deployment, d.default_deployment) AS deployment \
         FROM models m JOIN domains d ON d.id = m.domain_id \
         WHERE COALESCE(m.deployment, d.default_deployment) IS NOT NULL AND m.domain_id = ? AND m.name = ?",
    );
    Ok(row.bind(domain.0).bind(name).fetch_optional(connection).await?.map(|row| model_of(&row)))
}

fn model_of(row: &Row) -> ModelRecord {
    ModelRecord {
        domain: DomainId(row.get("domain_id")),
        name: row.get("name"),
        cluster: text(row, "deployment"),
        upstream_model: row.get("upstream_model"),
        created: Some(row.get::<Moment>("created_at").unix_s()),
    }
}

async fn grant(
    connection: &mut Connection,
    user: UserId,
    domain: DomainId,
) -> Result<Option<GrantRecord>, StoreError> {
    let actions: Vec<String> = query_scalar(
        "SELECT DISTINCT a.action FROM role_members m JOIN roles r ON r.id = m.role_id \
         JOIN role_actions a ON a.role_id = r.id WHERE m.user_id = ? AND r.domain_id = ? ORDER BY a.action",
    )
    .bind(user.0)
    .bind(domain.0)
    .fetch_all(connection)
    .await?;
    Ok(grant_of(user, domain, actions))
}

fn grant_of(user: UserId, domain: DomainId, actions: Vec<String>) -> Option<GrantRecord> {
    let operations: Vec<_> = actions.iter().map(|action| OperationName::from(action.as_str())).collect();
    (!operations.is_empty()).then_some(GrantRecord { user, domain, operations })
}

async fn pat(connection: &mut Connection, id: PatId) -> Result<Option<PatRecord>, StoreError> {
    let row = query("SELECT * FROM pats WHERE id = ?").bind(id.0);
    let Some(row) = row.fetch_optional(&mut *connection).await? else { return Ok(None) };
    let scopes = query("SELECT * FROM scopes WHERE pat_id = ? ORDER BY id").bind(id.0);
    let scopes = scopes.fetch_all(connection).await?;
    Ok(Some(pat_of(&row, scopes.iter().map(scope_of).collect())?))
}

fn pat_of(row: &Row, scopes: Vec<ScopeRecord>) -> Result<PatRecord, StoreError> {
    let digest = |bytes: &[u8]| {
        let bytes =
            bytes.try_into().map_err(|_| StoreError::Damaged("a digest of another length".to_owned()))?;
        Ok::<_, StoreError>(PatDigest(bytes))
    };
    let previous =
        row.get::<Option<Vec<u8>>>("previous_digest").zip(row.get::<Option<Moment>>("previous_until"));
    let cidrs: String = row.get("cidrs");
    Ok(PatRecord {
        id: PatId(row.get("id")),
        user: UserId(row.get("user_id")),
        name: Some(row.get("name")),
        digest: digest(&row.get::<Vec<u8>>("digest"))?,
        expires_at: row.get::<Option<Moment>>("expires_at").map(Moment::unix_s),
        not_before: None,
        revoked: row.get::<Option<Moment>>("revoked_at").is_some(),
        full_access: row.get("full_access"),
        cidrs: if cidrs == "[]" { Vec::new() } else { from_json(&cidrs)? },
        previous: match previous {
            Some((bytes, until)) => Some(PreviousSecret { digest: digest(&bytes)?, until: until.unix_s() }),
            None => None,
        },
        scopes,
    })
}

fn scope_of(row: &Row) -> ScopeRecord {
    ScopeRecord {
        entity_type: text(row, "entity_type"),
        domain_id: row.get::<Option<Uuid>>("domain_id").map(DomainId),
        entity_id: row.get("entity_id"),
        operation: text(row, "operation"),
    }
}

async fn route(connection: &mut Connection, name: &str) -> Result<Option<RouteRecord>, StoreError> {
    let row = query("SELECT * FROM routes WHERE name = ? AND enabled = TRUE").bind(name);
    row.fetch_optional(connection).await?.map(|row| route_of(&row)).transpose()
}

fn route_of(row: &Row) -> Result<RouteRecord, StoreError> {
    let matchers: Vec<Matcher> = from_json(&row.get::<String>("matchers"))?;
    Ok(RouteRecord {
        name: row.get("name"),
        domain: row.get::<Option<Uuid>>("domain_id").map(DomainId),
        priority: row.get("priority"),
        default_rule: row.get("default_rule"),
        matchers,
        cluster: text(row, "deployment"),
        strip_prefix: row.get("strip_prefix"),
        operation: optional_text(row, "operation"),
        event_type: row.get("event_type"),
    })
}
