//! Models of domains, and the deployment of those that name none.

use cube_wire::{DomainId, Key};

use super::{Listed, Page, StoreError, WriteTx, changed, like_pattern};
use crate::clock::Moment;
use crate::store::sql::{Connection, QueryBuilder, Row, query, query_scalar};

/// A model as stored.
#[derive(Clone, Debug)]
pub struct ModelRow {
    /// The domain that offers it.
    pub domain: DomainId,
    /// What callers write; unique in its domain.
    pub name: String,
    /// Where it is served; `None`: where the domain's default is.
    pub deployment: Option<String>,
    /// Where it is served in the end; `None`: nowhere, and proxies do not know it.
    pub served_by: Option<String>,
    /// What the deployment calls it, if that is another name.
    pub upstream_model: Option<String>,
    /// Since when.
    pub created_at: Moment,
    /// Last change.
    pub updated_at: Moment,
}

/// Which models of a domain are wanted.
#[derive(Clone, Debug, Default)]
pub struct ModelFilter {
    /// Part of the name, in any case.
    pub part: Option<String>,
    /// Only these.
    pub among: Option<Vec<String>>,
}

const UNIQUE: &[(&str, &str)] = &[("models.domain_id, models.name", "name")];
const SELECT: &str = "SELECT m.*, COALESCE(m.deployment, d.default_deployment) AS served_by \
     FROM models m JOIN domains d ON d.id = m.domain_id WHERE m.domain_id = ";

/// Adds a model.
///
/// # Errors
/// [`StoreError::Taken`] for the name.
pub async fn insert(tx: &mut WriteTx, model: &ModelRow) -> Result<(), StoreError> {
    query(
        "INSERT INTO models (domain_id, name, deployment, upstream_model, created_at, updated_at)
         VALUES (?, ?, ?, ?, ?, ?)",
    )
    .bind(model.domain.0)
    .bind(&model.name)
    .bind(&model.deployment)
    .bind(&model.upstream_model)
    .bind(model.created_at)
    .bind(model.updated_at)
    .execute(tx.connection())
    .await
    .map_err(|error| StoreError::taken(error, UNIQUE))?;
    tx.touch(Key::Model(model.domain, model.name.as_str().into()));
    Ok(())
}

/// A model of the domain.
///
/// # Errors
/// The database failed.
pub async fn find(
    connection: &mut Connection,
    domain: DomainId,
    name: &str,
) -> Result<Option<ModelRow>, StoreError> {
    let mut query = QueryBuilder::new(SELECT);
    query.push_bind(domain.0).push(" AND m.name = ").push_bind(name);
    Ok(query.build().fetch_optional(connection).await?.map(|row| row_of(&row)))
}

/// Models of the domain that match, by name.
///
/// # Errors
/// The database failed.
pub async fn list(
    connection: &mut Connection,
    domain: DomainId,
    filter: &ModelFilter,
    page: Page,
) -> Result<Listed<ModelRow>, StoreError> {
    let mut count = QueryBuilder::new("SELECT COUNT(*) FROM models m WHERE m.domain_id = ");
    push_filter(&mut count, domain, filter);
    let total = count.build_query_scalar().fetch_one(&mut *connection).await?;
    let mut query = QueryBuilder::new(SELECT);
    push_filter(&mut query, domain, filter);
    query.push(" ORDER BY m.name LIMIT ").push_bind(page.limit);
    query.push(" OFFSET ").push_bind(page.offset);
    let rows = query.build().fetch_all(connection).await?;
    Ok(Listed { total, rows: rows.iter().map(row_of).collect() })
}

/// The same, model after model: those that come after the name `after`, `limit` at most.
///
/// # Errors
/// The database failed.
pub async fn list_after(
    connection: &mut Connection,
    domain: DomainId,
    filter: &ModelFilter,
    after: Option<&str>,
    limit: i64,
) -> Result<Vec<ModelRow>, StoreError> {
    let mut query = QueryBuilder::new(SELECT);
    push_filter(&mut query, domain, filter);
    if let Some(after) = after {
        query.push(" AND m.name > ").push_bind(after);
    }
    query.push(" ORDER BY m.name LIMIT ").push_bind(limit);
    Ok(query.build().fetch_all(connection).await?.iter().map(row_of).collect())
}

fn push_filter(query: &mut QueryBuilder, domain: DomainId, filter: &ModelFilter) {
    query.push_bind(domain.0);
    if let Some(part) = &filter.part {
        query.push(" AND m.name LIKE ").push_bind(like_pattern(part)).push(" ESCAPE '\\'");
    }
    if let Some(among) = &filter.among {
        query.push(" AND m.name IN ").push_list(among);
    }
}

/// How many models a domain has.
///
/// # Errors
/// The database failed.
pub async fn count(connection: &mut Connection, domain: DomainId) -> Result<i64, StoreError> {
    let count = query_scalar("SELECT COUNT(*) FROM models WHERE domain_id = ?").bind(domain.0);
    Ok(count.fetch_one(connection).await?)
}

/// Replaces where a model is served and what it is called there.
///
/// # Errors
/// The database failed.
pub async fn replace(tx: &mut WriteTx, model: &ModelRow) -> Result<(), StoreError> {
    query(
        "UPDATE models SET deployment = ?, upstream_model = ?, updated_at = ? WHERE domain_id = ? AND name = ?",
    )
    .bind(&model.deployment)
    .bind(&model.upstream_model)
    .bind(model.updated_at)
    .bind(model.domain.0)
    .bind(&model.name)
    .execute(tx.connection())
    .await?;
    tx.touch(Key::Model(model.domain, model.name.as_str().into()));
    Ok(())
}

/// Deletes a model; whether there was one.
///
/// # Errors
/// The database failed.
pub async fn delete(tx: &mut WriteTx, domain: DomainId, name: &str) -> Result<bool, StoreError> {
    let result = query("DELETE FROM models WHERE domain_id = ? AND name = ?")
        .bind(domain.0)
        .bind(name)
        .execute(tx.connection())
        .await?;
    tx.touch(Key::Model(domain, name.into()));
    Ok(changed(result))
}

/// Says where the domain's models are served that name no deployment.
///
/// # Errors
/// The database failed.
pub async fn set_default(
    tx: &mut WriteTx,
    domain: DomainId,
    deployment: Option<&str>,
    now: Moment,
) -> Result<(), StoreError> {
    query("UPDATE domains SET default_deployment = ?, updated_at = ? WHERE id = ?")
        .bind(deployment)
        .bind(now)
        .bind(domain.0)
        .execute(tx.connection())
        .await?;
    tx.touch(Key::Domain(domain));
    let moved: Vec<String> =
        query_scalar("SELECT name FROM models WHERE domain_id = ? AND deployment IS NULL")
            .bind(domain.0)
            .fetch_all(tx.connection())
            .await?;
    for name in moved {
        tx.touch(Key::Model(domain, name.into()));
    }
    Ok(())
}

/// Whether the domain, one of its models or one of its routes names this deployment.
///
/// # Errors
/// The database failed.
pub async fn domain_uses(
    connection: &mut Connection,
    domain: DomainId,
    deployment: &str,
) -> Result<bool, StoreError> {
    let found = query_scalar(
        "SELECT EXISTS (SELECT 1 FROM domains WHERE id = ?1 AND default_deployment = ?2)
         OR EXISTS (SELECT 1 FROM models WHERE domain_id = ?1 AND deployment = ?2)
         OR EXISTS (SELECT 1 FROM routes WHERE domain_id = ?1 AND deployment = ?2)",
    );
    Ok(found.bind(domain.0).bind(deployment).fetch_one(connection).await?)
}

fn row_of(row: &Row) -> ModelRow {
    ModelRow {
        domain: DomainId(row.get("domain_id")),
        name: row.get("name"),
        deployment: row.get("deployment"),
        served_by: row.get("served_by"),
        upstream_model: row.get("upstream_model"),
        created_at: row.get("created_at"),
        updated_at: row.get("updated_at"),
    }
}
