//! Rules that send requests elsewhere than their model's deployment.

use cube_wire::record::Matcher;
use cube_wire::{DomainId, Key};
use uuid::Uuid;

use super::{Listed, Page, StoreError, WriteTx, changed, from_json, like_pattern, to_json};
use crate::clock::Moment;
use crate::store::sql::{Connection, Query, QueryBuilder, Row, query, query_scalar};

/// A rule as stored.
#[derive(Clone, Debug)]
pub struct RouteRow {
    /// Unique, in all domains.
    pub name: String,
    /// Whose requests it sees; `None`: everybody's.
    pub domain: Option<DomainId>,
    /// A URL of its own, for which `deployment` was made.
    pub target_url: Option<String>,
    /// Where requests go.
    pub deployment: String,
    /// All of them must hold.
    pub matchers: Vec<Matcher>,
    /// Higher ones are looked at first.
    pub priority: u16,
    /// Takes what no other rule takes.
    pub default_rule: bool,
    /// Taken off the front of the path.
    pub strip_prefix: String,
    /// What callers need for paths that the operation table does not know.
    pub operation: Option<String>,
    /// Sent to the caller.
    pub event_type: String,
    /// Whether proxies know it.
    pub enabled: bool,
    /// Since when.
    pub created_at: Moment,
    /// Last change.
    pub updated_at: Moment,
}

const UNIQUE: &[(&str, &str)] = &[("routes.name", "name"), ("routes_default", "default_rule")];

/// Adds a rule; its deployment must be there.
///
/// # Errors
/// [`StoreError::Taken`] for the name, and for the place of the default rule.
pub async fn insert(tx: &mut WriteTx, route: &RouteRow) -> Result<(), StoreError> {
    let insert = query(
        "INSERT INTO routes (domain_id, target_url, deployment, matchers, priority, default_rule, strip_prefix, operation,
         event_type, enabled, updated_at, name, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    );
    let insert = bind(insert, route).bind(route.created_at).execute(tx.connection()).await;
    insert.map_err(|error| StoreError::taken(error, UNIQUE))?;
    tx.touch(key(&route.name));
    Ok(())
}

/// Replaces all of the rule that is called `name`, its name too.
///
/// # Errors
/// [`StoreError::Taken`] for the name, and for the place of the default rule.
pub async fn replace(tx: &mut WriteTx, name: &str, route: &RouteRow) -> Result<(), StoreError> {
    let update = query(
        "UPDATE routes SET domain_id = ?, target_url = ?, deployment = ?, matchers = ?, priority = ?, default_rule = ?,
         strip_prefix = ?, operation = ?, event_type = ?, enabled = ?, updated_at = ?, name = ? WHERE name = ?",
    );
    let update = bind(update, route).bind(name).execute(tx.connection()).await;
    update.map_err(|error| StoreError::taken(error, UNIQUE))?;
    tx.touch(key(name));
    tx.touch(key(&route.name));
    Ok(())
}

/// The columns that may change, in the order in which both statements have them.
fn bind(query: Query, route: &RouteRow) -> Query {
    query
        .bind(route.domain.map(|id| id.0))
        .bind(&route.target_url)
        .bind(&route.deployment)
        .bind(to_json(&route.matchers))
        .bind(route.priority)
        .bind(route.default_rule)
        .bind(&route.strip_prefix)
        .bind(&route.operation)
        .bind(&route.event_type)
        .bind(route.enabled)
        .bind(route.updated_at)
        .bind(&route.name)
}

/// The rule of this name.
///
/// # Errors
/// The database failed.
pub async fn find(connection: &mut Connection, name: &str) -> Result<Option<RouteRow>, StoreError> {
    let row = query("SELECT * FROM routes WHERE name = ?").bind(name).fetch_optional(connection).await?;
    row.map(|row| row_of(&row)).transpose()
}

/// Rules in the order in which they are asked: higher priorities first, equal ones by name.
///
/// # Errors
/// The database failed.
pub async fn list(
    connection: &mut Connection,
    part: Option<&str>,
    domain: Option<DomainId>,
    page: Page,
) -> Result<Listed<RouteRow>, StoreError> {
    let filter = |query: &mut QueryBuilder| {
        query.push(" FROM routes WHERE TRUE");
        if let Some(part) = part {
            query.push(" AND name LIKE ").push_bind(like_pattern(part)).push(" ESCAPE '\\'");
        }
        if let Some(domain) = domain {
            query.push(" AND domain_id = ").push_bind(domain.0);
        }
    };
    let mut count = QueryBuilder::new("SELECT COUNT(*)");
    filter(&mut count);
    let total = count.build_query_scalar().fetch_one(&mut *connection).await?;
    let mut query = QueryBuilder::new("SELECT *");
    filter(&mut query);
    query.push(" ORDER BY priority DESC, name LIMIT ").push_bind(page.limit);
    query.push(" OFFSET ").push_bind(page.offset);
    let rows = query.build().fetch_all(connection).await?;
    Ok(Listed { total, rows: rows.iter().map(row_of).collect::<Result<_, _>>()? })
}

/// How many rules there are.
///
/// # Errors
/// The database failed.
pub async fn count(connection: &mut Connection) -> Result<i64, StoreError> {
    Ok(query_scalar("SELECT COUNT(*) FROM routes").fetch_one(connection).await?)
}

/// Deletes a rule; whether there was one.
///
/// # Errors
/// The database failed.
pub async fn delete(tx: &mut WriteTx, name: &str) -> Result<bool, StoreError> {
    let result = query("DELETE FROM routes WHERE name = ?").bind(name).execute(tx.connection()).await?;
    tx.touch(key(name));
    Ok(changed(result))
}

fn key(name: &str) -> Key {
    Key::Route(name.into())
}

fn row_of(row: &Row) -> Result<RouteRow, StoreError> {
    Ok(RouteRow {
        name: row.get("name"),
        domain: row.get::<Option<Uuid>>("domain_id").map(DomainId),
        target_url: row.get("target_url"),
        deployment: row.get("deployment"),
        matchers: from_json(&row.get::<String>("matchers"))?,
        priority: row.get("priority"),
        default_rule: row.get("default_rule"),
        strip_prefix: row.get("strip_prefix"),
        operation: row.get("operation"),
        event_type: row.get("event_type"),
        enabled: row.get("enabled"),
        created_at: row.get("created_at"),
        updated_at: row.get("updated_at"),
    })
}
