//! Domains.

use cube_wire::record::DomainStatus;
use cube_wire::{ClusterId, DomainId, Key, PatId, UserId};
use uuid::Uuid;

use super::{Listed, Page, StoreError, WriteTx, changed, from_json, like_pattern, to_json};
use crate::clock::Moment;
use crate::store::sql::{Connection, QueryBuilder, Row, query, query_scalar};

/// A domain as stored.
#[derive(Clone, Debug)]
pub struct DomainRow {
    /// Which.
    pub id: DomainId,
    /// What people call it; need not be unique.
    pub name: String,
    /// Its other name in paths (`route` in the API); unique, whatever its case.
    pub alias: Option<String>,
    /// Who may enter.
    pub status: DomainStatus,
    /// Labels.
    pub tags: Vec<String>,
    /// Anything, as a JSON object.
    pub metadata: serde_json::Value,
    /// Where its models are served that name no deployment.
    pub default_deployment: Option<String>,
    /// Who made it.
    pub created_by: Option<UserId>,
    /// When.
    pub created_at: Moment,
    /// Who changed it last.
    pub updated_by: Option<UserId>,
    /// When.
    pub updated_at: Moment,
}

/// What of a domain can be changed in one step; `None` stays as it is.
#[derive(Clone, Debug, Default)]
pub struct DomainChange {
    /// New name.
    pub name: Option<String>,
    /// New alias.
    pub alias: Option<String>,
    /// New labels.
    pub tags: Option<Vec<String>>,
    /// New metadata.
    pub metadata: Option<serde_json::Value>,
    /// Who may enter from now on.
    pub status: Option<DomainStatus>,
}

/// Which domains are wanted.
#[derive(Clone, Debug, Default)]
pub struct DomainFilter {
    /// Part of the name, in any case.
    pub name: Option<String>,
    /// A whole label.
    pub tag: Option<String>,
    /// This one.
    pub id: Option<DomainId>,
    /// Only those that are so.
    pub status: Option<DomainStatus>,
    /// Only those in which this user may do something.
    pub member: Option<UserId>,
    /// Only these.
    pub among: Option<Vec<DomainId>>,
}

const UNIQUE: &[(&str, &str)] = &[("domains.alias", "route"), ("domains.id", "id")];

/// Adds a domain.
///
/// # Errors
/// [`StoreError::Taken`] for alias and identifier.
pub async fn insert(tx: &mut WriteTx, domain: &DomainRow) -> Result<(), StoreError> {
    query(
        "INSERT INTO domains (id, name, alias, status, tags, metadata, created_by, created_at, updated_by, updated_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(domain.id.0)
    .bind(&domain.name)
    .bind(&domain.alias)
    .bind(status_text(domain.status))
    .bind(to_json(&domain.tags))
    .bind(domain.metadata.to_string())
    .bind(domain.created_by.map(|id| id.0))
    .bind(domain.created_at)
    .bind(domain.updated_by.map(|id| id.0))
    .bind(domain.updated_at)
    .execute(tx.connection())
    .await
    .map_err(|error| StoreError::taken(error, UNIQUE))?;
    tx.touch(Key::Domain(domain.id));
    Ok(())
}

/// The domain with this identifier.
///
/// # Errors
/// The database failed.
pub async fn find(connection: &mut Connection, id: DomainId) -> Result<Option<DomainRow>, StoreError> {
    let row = query("SELECT * FROM domains WHERE id = ?").bind(id.0).fetch_optional(connection).await?;
    row.map(|row| row_of(&row)).transpose()
}

/// The domain of this identifier or route, as paths of proxies name it: to the letter.
///
/// # Errors
/// The database failed.
pub async fn named(connection: &mut Connection, name: &str) -> Result<Option<DomainId>, StoreError> {
    let query = match uuid::Uuid::parse_str(name) {
        Ok(id) => query_scalar("SELECT id FROM domains WHERE id = ?").bind(id),
        Err(_) => query_scalar("SELECT id FROM domains WHERE alias = ? COLLATE BINARY").bind(name),
    };
    let id: Option<uuid::Uuid> = query.fetch_optional(connection).await?;
    Ok(id.map(DomainId))
}

/// Who may enter; `None`: there is no such domain.
///
/// # Errors
/// The database failed.
pub async fn status(connection: &mut Connection, id: DomainId) -> Result<Option<DomainStatus>, StoreError> {
    let status: Option<String> =
        query_scalar("SELECT status FROM domains WHERE id = ?").bind(id.0).fetch_optional(connection).await?;
    Ok(status.map(|text| status_of(&text)))
}

/// Domains that match, newest first.
///
/// # Errors
/// The database failed.
pub async fn list(
    connection: &mut Connection,
    filter: &DomainFilter,
    page: Page,
) -> Result<Listed<DomainRow>, StoreError> {
    let mut count = QueryBuilder::new("SELECT COUNT(*) FROM domains WHERE TRUE");
    push_filter(&mut count, filter);
    let total = count.build_query_scalar().fetch_one(&mut *connection).await?;
    let mut query = QueryBuilder::new("SELECT * FROM domains WHERE TRUE");
    push_filter(&mut query, filter);
    query.push(" ORDER BY created_at DESC, id LIMIT ").push_bind(page.limit);
    query.push(" OFFSET ").push_bind(page.offset);
    let rows = query.build().fetch_all(connection).await?;
    Ok(Listed { total, rows: rows.iter().map(row_of).collect::<Result<_, _>>()? })
}

fn push_filter(query: &mut QueryBuilder, filter: &DomainFilter) {
    if let Some(part) = &filter.name {
        query.push(" AND name LIKE ").push_bind(like_pattern(part)).push(" ESCAPE '\\'");
    }
    if let Some(tag) = &filter.tag {
        query
            .push(" AND EXISTS (SELECT 1 FROM json_each(tags) WHERE value = ")
            .push_bind(tag.clone())
            .push(")");
    }
    if let Some(id) = filter.id {
        query.push(" AND id = ").push_bind(id.0);
    }
    if let Some(status) = filter.status {
        query.push(" AND status = ").push_bind(status_text(status));
    }
    if let Some(user) = filter.member {
        query.push(
            " AND id IN (SELECT r.domain_id FROM role_members m JOIN roles r ON r.id = m.role_id \
             JOIN role_actions a ON a.role_id = r.id WHERE m.user_id = ",
        );
        query.push_bind(user.0).push(")");
    }
    if let Some(among) = &filter.among {
        query.push(" AND id IN ").push_list(among.iter().map(|id| id.0));
    }
}

/// Changes a domain; whether there is one.
///
/// # Errors
/// [`StoreError::Taken`].
pub async fn update(
    tx: &mut WriteTx,
    id: DomainId,
    change: &DomainChange,
    by: UserId,
    now: Moment,
) -> Result<bool, StoreError> {
    let result = query(
        "UPDATE domains SET name = COALESCE(?, name), alias = COALESCE(?, alias), tags = COALESCE(?, tags),
         metadata = COALESCE(?, metadata), status = COALESCE(?, status), updated_by = ?, updated_at = ? WHERE id = ?",
    )
    .bind(&change.name)
    .bind(&change.alias)
    .bind(change.tags.as_ref().map(to_json))
    .bind(change.metadata.as_ref().map(ToString::to_string))
    .bind(change.status.map(status_text))
    .bind(by.0)
    .bind(now)
    .bind(id.0)
    .execute(tx.connection())
    .await
    .map_err(|error| StoreError::taken(error, UNIQUE))?;
    // What proxies know of a domain.
    if change.name.is_some() || change.alias.is_some() || change.status.is_some() {
        tx.touch(Key::Domain(id));
    }
    Ok(changed(result))
}

/// Deletes a domain with its roles, invitations, models and routes, and the scopes that PATs have in it; whether there was one.
///
/// # Errors
/// The database failed.
pub async fn delete(tx: &mut WriteTx, id: DomainId) -> Result<bool, StoreError> {
    let models: Vec<String> = query_scalar("SELECT name FROM models WHERE domain_id = ?")
        .bind(id.0)
        .fetch_all(tx.connection())
        .await?;
    let members: Vec<Uuid> = query_scalar(
        "SELECT DISTINCT m.user_id FROM role_members m JOIN roles r ON r.id = m.role_id WHERE r.domain_id = ?",
    )
    .bind(id.0)
    .fetch_all(tx.connection())
    .await?;
    let pats: Vec<Uuid> = query_scalar("SELECT DISTINCT pat_id FROM scopes WHERE domain_id = ?")
        .bind(id.0)
        .fetch_all(tx.connection())
        .await?;
    let routes = query("SELECT name, deployment, target_url FROM routes WHERE domain_id = ?")
        .bind(id.0)
        .fetch_all(tx.connection())
        .await?;
    let result = query("DELETE FROM domains WHERE id = ?").bind(id.0).execute(tx.connection()).await?;
    for model in models {
        tx.touch(Key::Model(id, model.into()));
    }
    for member in members {
        tx.touch(Key::Grant(UserId(member), id));
    }
    for pat in pats {
        tx.touch(Key::Pat(PatId(pat)));
    }
    for route in routes {
        tx.touch(Key::Route(route.get::<String>("name").into()));
        // Nothing but its route can name an implicit deployment.
        if route.get::<Option<String>>("target_url").is_some() {
            let deployment: String = route.get("deployment");
            query("DELETE FROM deployments WHERE name = ? AND implicit = TRUE")
                .bind(&deployment)
                .execute(tx.connection())
                .await?;
            tx.touch(Key::Cluster(ClusterId(deployment.into())));
        }
    }
    tx.touch(Key::Domain(id));
    Ok(changed(result))
}

/// A status as stored and as the API calls it.
#[must_use]
pub const fn status_text(status: DomainStatus) -> &'static str {
    match status {
        DomainStatus::Enabled => "enabled",
        DomainStatus::Disabled => "disabled",
        DomainStatus::Freezed => "freezed",
    }
}

fn status_of(text: &str) -> DomainStatus {
    match text {
        "enabled" => DomainStatus::Enabled,
        "disabled" => DomainStatus::Disabled,
        _ => DomainStatus::Freezed,
    }
}

fn row_of(row: &Row) -> Result<DomainRow, StoreError> {
    Ok(DomainRow {
        id: DomainId(row.get("id")),
        name: row.get("name"),
        alias: row.get("alias"),
        status: status_of(&row.get::<String>("status")),
        tags: from_json(&row.get::<String>("tags"))?,
        metadata: from_json(&row.get::<String>("metadata"))?,
        default_deployment: row.get("default_deployment"),
        created_by: row.get::<Option<Uuid>>("created_by").map(UserId),
        created_at: row.get("created_at"),
        updated_by: row.get::<Option<Uuid>>("updated_by").map(UserId),
        updated_at: row.get("updated_at"),
    })
}
