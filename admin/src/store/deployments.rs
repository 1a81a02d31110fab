//! Deployments: endpoints that serve the same models. Proxies call them clusters.

use cube_wire::record::Dialect;
use cube_wire::{ClusterId, Key};

use super::{Listed, Page, StoreError, WriteTx, like_pattern, to_json};
use crate::clock::Moment;
use crate::store::sql::{Connection, QueryBuilder, Row, query, query_scalar};

/// A deployment as stored.
#[derive(Clone, Debug)]
pub struct DeploymentRow {
    /// Unique; never changes, because credentials are sealed for it.
    pub name: String,
    /// What people should know of it.
    pub description: String,
    /// What its endpoints speak.
    pub dialect: Dialect,
    /// How long its endpoints may take.
    pub timeouts: Timeouts,
    /// Made for a route's `target_url`; not shown among deployments.
    pub implicit: bool,
    /// At least one.
    pub endpoints: Vec<EndpointRow>,
    /// Since when.
    pub created_at: Moment,
    /// Last change.
    pub updated_at: Moment,
}

/// How long endpoints may take, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Until a connection is open.
    pub connect_ms: i64,
    /// Until the head of the answer is there.
    pub head_ms: i64,
    /// Between two reads of an answer.
    pub idle_ms: i64,
    /// For a whole exchange that is no stream; 0: any time.
    pub total_ms: i64,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect_ms: 3_000, head_ms: 600_000, idle_ms: 300_000, total_ms: 3_600_000 }
    }
}

/// One address of a deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointRow {
    /// Unique in its deployment.
    pub url: String,
    /// Its share of the requests.
    pub weight: u32,
    /// What it wants to see.
    pub credential: Option<SealedCredential>,
}

/// A header field that authenticates us, sealed for the deployment and the field's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedCredential {
    /// The field's name, lower case.
    pub header: String,
    /// Its value, sealed.
    pub sealed: String,
}

const UNIQUE: &[(&str, &str)] = &[("deployments.name", "name")];

/// Adds a deployment.
///
/// # Errors
/// [`StoreError::Taken`] for the name.
pub async fn insert(tx: &mut WriteTx, deployment: &DeploymentRow) -> Result<(), StoreError> {
    query(
        "INSERT INTO deployments (name, description, dialect, connect_timeout_ms, head_timeout_ms, idle_timeout_ms,
         total_timeout_ms, implicit, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(&deployment.name)
    .bind(&deployment.description)
    .bind(dialect_text(deployment.dialect))
    .bind(deployment.timeouts.connect_ms)
    .bind(deployment.timeouts.head_ms)
    .bind(deployment.timeouts.idle_ms)
    .bind(deployment.timeouts.total_ms)
    .bind(deployment.implicit)
    .bind(deployment.created_at)
    .bind(deployment.updated_at)
    .execute(tx.connection())
    .await
    .map_err(|error| StoreError::taken(error, UNIQUE))?;
    put_endpoints(tx, deployment).await
}

/// Replaces all of the deployment that has this name but when it was made.
///
/// # Errors
/// The database failed.
pub async fn replace(tx: &mut WriteTx, deployment: &DeploymentRow) -> Result<(), StoreError> {
    query(
        "UPDATE deployments SET description = ?, dialect = ?, connect_timeout_ms = ?, head_timeout_ms = ?,
         idle_timeout_ms = ?, total_timeout_ms = ?, updated_at = ? WHERE name = ?",
    )
    .bind(&deployment.description)
    .bind(dialect_text(deployment.dialect))
    .bind(deployment.timeouts.connect_ms)
    .bind(deployment.timeouts.head_ms)
    .bind(deployment.timeouts.idle_ms)
    .bind(deployment.timeouts.total_ms)
    .bind(deployment.updated_at)
    .bind(&deployment.name)
    .execute(tx.connection())
    .await?;
    query("DELETE FROM endpoints WHERE deployment = ?")
        .bind(&deployment.name)
        .execute(tx.connection())
        .await?;
    put_endpoints(tx, deployment).await
}

async fn put_endpoints(tx: &mut WriteTx, deployment: &DeploymentRow) -> Result<(), StoreError> {
    for (position, endpoint) in (0_i64..).zip(&deployment.endpoints) {
        let credential = endpoint.credential.as_ref();
        query(
            "INSERT INTO endpoints (deployment, position, url, weight, credential_header, credential_sealed)
             VALUES (?, ?, ?, ?, ?, ?)",
        )
        .bind(&deployment.name)
        .bind(position)
        .bind(&endpoint.url)
        .bind(endpoint.weight)
        .bind(credential.map(|credential| &credential.header))
        .bind(credential.map(|credential| &credential.sealed))
        .execute(tx.connection())
        .await?;
    }
    tx.touch(key(&deployment.name));
    Ok(())
}

/// The deployment with this name, an implicit one too.
///
/// # Errors
/// The database failed.
pub async fn find(connection: &mut Connection, name: &str) -> Result<Option<DeploymentRow>, StoreError> {
    let row = query("SELECT * FROM deployments WHERE name = ?").bind(name);
    let Some(row) = row.fetch_optional(&mut *connection).await? else { return Ok(None) };
    Ok(Some(row_of(&row, endpoints(connection, name).await?)))
}

/// Deployments whose name has `part` in it, by name; implicit ones are left out.
///
/// * `only`: none but these.
///
/// # Errors
/// The database failed.
pub async fn list(
    connection: &mut Connection,
    part: Option<&str>,
    only: Option<&[String]>,
    page: Page,
) -> Result<Listed<DeploymentRow>, StoreError> {
    let mut count = QueryBuilder::new("SELECT COUNT(*)");
    push_filter(&mut count, part, only);
    let total = count.build_query_scalar().fetch_one(&mut *connection).await?;
    let mut query = QueryBuilder::new("SELECT *");
    push_filter(&mut query, part, only);
    query.push(" ORDER BY name LIMIT ").push_bind(page.limit);
    query.push(" OFFSET ").push_bind(page.offset);
    Ok(Listed { total, rows: with_endpoints(connection, query).await? })
}

/// The same, deployment after deployment: those that come after the name `after`, `limit` at most.
///
/// # Errors
/// The database failed.
pub async fn list_after(
    connection: &mut Connection,
    part: Option<&str>,
    only: Option<&[String]>,
    after: Option<&str>,
    limit: i64,
) -> Result<Vec<DeploymentRow>, StoreError> {
    let mut query = QueryBuilder::new("SELECT *");
    push_filter(&mut query, part, only);
    if let Some(after) = after {
        query.push(" AND name > ").push_bind(after);
    }
    query.push(" ORDER BY name LIMIT ").push_bind(limit);
    with_endpoints(connection, query).await
}

fn push_filter(query: &mut QueryBuilder, part: Option<&str>, only: Option<&[String]>) {
    query.push(" FROM deployments WHERE implicit = FALSE");
    if let Some(part) = part {
        query.push(" AND name LIKE ").push_bind(like_pattern(part)).push(" ESCAPE '\\'");
    }
    if let Some(only) = only {
        query.push(" AND name IN (SELECT value FROM json_each(").push_bind(to_json(only)).push("))");
    }
}

async fn with_endpoints(
    connection: &mut Connection,
    mut query: QueryBuilder,
) -> Result<Vec<DeploymentRow>, StoreError> {
    let found = query.build().fetch_all(&mut *connection).await?;
    let mut rows = Vec::with_capacity(found.len());
    for row in found {
        let endpoints = endpoints(connection, &row.get::<String>("name")).await?;
        rows.push(row_of(&row, endpoints));
    }
    Ok(rows)
}

/// Deletes a deployment that nothing names.
///
/// # Errors
/// [`StoreError::InUse`].
pub async fn delete(tx: &mut WriteTx, name: &str) -> Result<(), StoreError> {
    let used_by: Option<&str> = query_scalar(
        "SELECT CASE WHEN EXISTS (SELECT 1 FROM models WHERE deployment = ?1) THEN 'models'
         WHEN EXISTS (SELECT 1 FROM domains WHERE default_deployment = ?1) THEN 'domains'
         WHEN EXISTS (SELECT 1 FROM routes WHERE deployment = ?1) THEN 'routes' END",
    )
    .bind(name)
    .fetch_one(tx.connection())
    .await
    .map(|found: Option<String>| {
        found.map(|what| match &*what {
            "models" => "models",
            "domains" => "domains",
            _ => "routes",
        })
    })?;
    if let Some(what) = used_by {
        return Err(StoreError::InUse(what));
    }
    query("DELETE FROM deployments WHERE name = ?").bind(name).execute(tx.connection()).await?;
    tx.touch(key(name));
    Ok(())
}

fn key(name: &str) -> Key {
    Key::Cluster(ClusterId::from(name))
}

/// A dialect as stored and as the API calls it.
#[must_use]
pub const fn dialect_text(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Openai => "openai",
        Dialect::Ollama => "ollama",
    }
}

async fn endpoints(connection: &mut Connection, name: &str) -> Result<Vec<EndpointRow>, StoreError> {
    let rows = query("SELECT * FROM endpoints WHERE deployment = ? ORDER BY position").bind(name);
    let rows = rows.fetch_all(connection).await?;
    let endpoint = |row: &Row| {
        let header: Option<String> = row.get("credential_header");
        let sealed: Option<String> = row.get("credential_sealed");
        let credential = header.zip(sealed).map(|(header, sealed)| SealedCredential { header, sealed });
        EndpointRow { url: row.get("url"), weight: row.get("weight"), credential }
    };
    Ok(rows.iter().map(endpoint).collect())
}

fn row_of(row: &Row, endpoints: Vec<EndpointRow>) -> DeploymentRow {
    DeploymentRow {
        name: row.get("name"),
        description: row.get("description"),
        dialect: match &*row.get::<String>("dialect") {
            "ollama" => Dialect::Ollama,
            _ => Dialect::Openai,
        },
        timeouts: Timeouts {
            connect_ms: row.get("connect_timeout_ms"),
            head_ms: row.get("head_timeout_ms"),
            idle_ms: row.get("idle_timeout_ms"),
            total_ms: row.get("total_timeout_ms"),
        },
        implicit: row.get("implicit"),
        endpoints,
        created_at: row.get("created_at"),
        updated_at: row.get("updated_at"),
    }
}
