//! Scopes of PATs. Whose PAT it is, the caller has checked.

use cube_wire::record::ANY_ENTITY;
use cube_wire::{DomainId, Key, PatId};
use uuid::Uuid;

use super::{Listed, Page, StoreError, WriteTx, changed};
use crate::store::sql::{Connection, Query, Row, query, query_scalar};

/// A scope as stored.
#[derive(Clone, Debug)]
pub struct ScopeRow {
    /// Which.
    pub id: Uuid,
    /// Of which PAT.
    pub pat: PatId,
    /// What `entity_id` names: `domains`, `models`, …
    pub entity_type: String,
    /// In which domain.
    pub domain: Option<DomainId>,
    /// Which one, or `*`.
    pub entity_id: String,
    /// What may be done with it.
    pub operation: String,
}

/// Adds a scope; whether the PAT did not have it.
///
/// # Errors
/// The database failed.
pub async fn insert(tx: &mut WriteTx, scope: &ScopeRow) -> Result<bool, StoreError> {
    let result = query(
        "INSERT INTO scopes (pat_id, id, entity_type, domain_id, entity_id, operation) VALUES (?, ?, ?, ?, ?, ?)
         ON CONFLICT DO NOTHING",
    )
    .bind(scope.pat.0)
    .bind(scope.id)
    .bind(&scope.entity_type)
    .bind(scope.domain.map(|id| id.0))
    .bind(&scope.entity_id)
    .bind(&scope.operation)
    .execute(tx.connection())
    .await?;
    tx.touch(Key::Pat(scope.pat));
    Ok(changed(result))
}

/// The conditions of the unique index, up to the entity.
macro_rules! alike {
    ($front:literal, $rest:literal) => {
        concat!(
            $front,
            " FROM scopes WHERE pat_id = ? AND entity_type = ? AND COALESCE(domain_id, x'') = ? AND operation = ? ",
            $rest
        )
    };
}

fn bind_alike(sql: &'static str, scope: &ScopeRow) -> Query {
    let domain = scope.domain.map(|id| id.as_bytes().to_vec()).unwrap_or_default();
    let query = query(sql).bind(scope.pat.0).bind(&scope.entity_type);
    query.bind(domain).bind(&scope.operation)
}

/// Removes the scopes that differ from this one in nothing but the entity.
///
/// # Errors
/// The database failed.
pub async fn remove_alike(tx: &mut WriteTx, scope: &ScopeRow) -> Result<(), StoreError> {
    let query = bind_alike(alike!("DELETE", "AND entity_id <> ?"), scope).bind(ANY_ENTITY);
    query.execute(tx.connection()).await?;
    tx.touch(Key::Pat(scope.pat));
    Ok(())
}

/// Whether the PAT has this scope for `*`.
///
/// # Errors
/// The database failed.
pub async fn is_covered(connection: &mut Connection, scope: &ScopeRow) -> Result<bool, StoreError> {
    let query = bind_alike(alike!("SELECT 1", "AND entity_id = ?"), scope).bind(ANY_ENTITY);
    Ok(query.fetch_optional(connection).await?.is_some())
}

/// How many scopes a PAT has.
///
/// # Errors
/// The database failed.
pub async fn count(connection: &mut Connection, pat: PatId) -> Result<i64, StoreError> {
    let count = query_scalar("SELECT COUNT(*) FROM scopes WHERE pat_id = ?").bind(pat.0);
    Ok(count.fetch_one(connection).await?)
}

/// A PAT's scopes, in the order in which they were added.
///
/// # Errors
/// The database failed.
pub async fn list(
    connection: &mut Connection,
    pat: PatId,
    page: Page,
) -> Result<Listed<ScopeRow>, StoreError> {
    let total = count(connection, pat).await?;
    let rows = query("SELECT * FROM scopes WHERE pat_id = ? ORDER BY id LIMIT ? OFFSET ?");
    let rows = rows.bind(pat.0).bind(page.limit).bind(page.offset).fetch_all(connection).await?;
    Ok(Listed { total, rows: rows.iter().map(row_of).collect() })
}

/// Removes some of a PAT's scopes; how many of them it had.
///
/// # Errors
/// The database failed.
pub async fn remove(tx: &mut WriteTx, pat: PatId, ids: &[Uuid]) -> Result<u64, StoreError> {
    let mut removed = 0;
    for id in ids {
        let query = query("DELETE FROM scopes WHERE pat_id = ? AND id = ?").bind(pat.0).bind(*id);
        removed += query.execute(tx.connection()).await?;
    }
    tx.touch(Key::Pat(pat));
    Ok(removed)
}

/// Removes all scopes of a PAT; how many it had.
///
/// # Errors
/// The database failed.
pub async fn clear(tx: &mut WriteTx, pat: PatId) -> Result<u64, StoreError> {
    let query = query("DELETE FROM scopes WHERE pat_id = ?").bind(pat.0);
    let result = query.execute(tx.connection()).await?;
    tx.touch(Key::Pat(pat));
    Ok(result)
}

fn row_of(row: &Row) -> ScopeRow {
    ScopeRow {
        id: row.get("id"),
        pat: PatId(row.get("pat_id")),
        entity_type: row.get("entity_type"),
        domain: row.get::<Option<Uuid>>("domain_id").map(DomainId),
        entity_id: row.get("entity_id"),
        operation: row.get("operation"),
    }
}
