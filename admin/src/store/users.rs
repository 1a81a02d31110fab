//! Users.

use cube_wire::{DomainId, Key, PatId, UserId};
use uuid::Uuid;

use super::{Cursor, Listed, Page, StoreError, WriteTx, changed, from_json, like_pattern, to_json};
use crate::clock::Moment;
use crate::store::sql::{Connection, QueryBuilder, Row, query, query_scalar};

/// A user as stored, without the password's hash.
#[derive(Clone, Debug)]
pub struct UserRow {
    /// Who.
    pub id: UserId,
    /// Unique, whatever its case.
    pub username: String,
    /// Unique, whatever its case.
    pub email: Option<String>,
    /// First name.
    pub first_name: String,
    /// Last name.
    pub last_name: String,
    /// Passes every role in every domain.
    pub superadmin: bool,
    /// Neither logs in nor acts while it is not.
    pub enabled: bool,
    /// Labels.
    pub tags: Vec<String>,
    /// Anything, as a JSON object.
    pub metadata: serde_json::Value,
    /// Where a picture is.
    pub profile_picture: Option<String>,
    /// Since when.
    pub created_at: Moment,
    /// Last change.
    pub updated_at: Moment,
}

/// What of a user can be changed in one step; `None` stays as it is.
#[derive(Clone, Debug, Default)]
pub struct UserChange {
    /// New username.
    pub username: Option<String>,
    /// New e-mail address.
    pub email: Option<String>,
    /// New first name.
    pub first_name: Option<String>,
    /// New last name.
    pub last_name: Option<String>,
    /// New labels.
    pub tags: Option<Vec<String>>,
    /// New metadata.
    pub metadata: Option<serde_json::Value>,
    /// New picture.
    pub profile_picture: Option<String>,
    /// New role.
    pub superadmin: Option<bool>,
    /// Enabled or disabled from now on.
    pub enabled: Option<bool>,
    /// New password's hash.
    pub password_hash: Option<String>,
}

/// Which users are wanted; texts are parts of the value, in any case.
#[derive(Clone, Debug, Default)]
pub struct UserFilter {
    /// Part of the username.
    pub username: Option<String>,
    /// Part of the e-mail address.
    pub email: Option<String>,
    /// Part of the first name.
    pub first_name: Option<String>,
    /// Part of the last name.
    pub last_name: Option<String>,
    /// A whole label.
    pub tag: Option<String>,
    /// This one.
    pub id: Option<UserId>,
    /// Only enabled, or only disabled ones.
    pub enabled: Option<bool>,
    /// Only those that share a domain with this user.
    pub seen_by: Option<UserId>,
}

impl UserRow {
    /// Its place in [`list_after`].
    #[must_use]
    pub const fn cursor(&self) -> Cursor {
        Cursor { at: self.created_at, id: self.id.0 }
    }
}

const UNIQUE: &[(&str, &str)] =
    &[("users.username", "username"), ("users.email", "email"), ("users_by_scim_name", "username")];

/// Adds a user.
///
/// # Errors
/// [`StoreError::Taken`] for username and e-mail address.
pub async fn insert(tx: &mut WriteTx, user: &UserRow, password_hash: Option<&str>) -> Result<(), StoreError> {
    query(
        "INSERT INTO users (id, username, email, first_name, last_name, password_hash, superadmin, status, tags, metadata,
         profile_picture, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(user.id.0)
    .bind(&user.username)
    .bind(&user.email)
    .bind(&user.first_name)
    .bind(&user.last_name)
    .bind(password_hash)
    .bind(user.superadmin)
    .bind(status(user.enabled))
    .bind(to_json(&user.tags))
    .bind(user.metadata.to_string())
    .bind(&user.profile_picture)
    .bind(user.created_at)
    .bind(user.updated_at)
    .execute(tx.connection())
    .await
    .map_err(|error| StoreError::taken(error, UNIQUE))?;
    tx.touch(Key::User(user.id));
    Ok(())
}

/// The user with this identifier.
///
/// # Errors
/// The database failed.
pub async fn find(connection: &mut Connection, id: UserId) -> Result<Option<UserRow>, StoreError> {
    let row = query("SELECT * FROM users WHERE id = ?").bind(id.0).fetch_optional(connection).await?;
    row.as_ref().map(row_of).transpose()
}

/// The user with this username or e-mail address, and the hash of the password.
///
/// # Errors
/// The database failed.
pub async fn find_by_login(
    connection: &mut Connection,
    login: &str,
) -> Result<Option<(UserRow, Option<String>)>, StoreError> {
    let row =
        query("SELECT * FROM users WHERE username = ?1 OR email = ?1 ORDER BY username = ?1 DESC LIMIT 1");
    let row = row.bind(login).fetch_optional(connection).await?;
    row.map(|row| Ok((row_of(&row)?, row.get("password_hash")))).transpose()
}

/// The hash of a user's password.
///
/// # Errors
/// The database failed.
pub async fn password_hash(connection: &mut Connection, id: UserId) -> Result<Option<String>, StoreError> {
    let hash = query_scalar("SELECT password_hash FROM users WHERE id = ?").bind(id.0);
    Ok(hash.fetch_optional(connection).await?.flatten())
}

/// Users that match, newest first.
///
/// # Errors
/// The database failed.
pub async fn list(
    connection: &mut Connection,
    filter: &UserFilter,
    page: Page,
) -> Result<Listed<UserRow>, StoreError> {
    let mut count = QueryBuilder::new("SELECT COUNT(*) FROM users WHERE TRUE");
    push_filter(&mut count, filter);
    let total = count.build_query_scalar().fetch_one(&mut *connection).await?;
    let mut query = QueryBuilder::new("SELECT * FROM users WHERE TRUE");
    push_filter(&mut query, filter);
    query.push(" ORDER BY created_at DESC, id LIMIT ").push_bind(page.limit);
    query.push(" OFFSET ").push_bind(page.offset);
    let rows = query.build().fetch_all(connection).await?;
    Ok(Listed { total, rows: rows.iter().map(row_of).collect::<Result<_, _>>()? })
}

/// The same, user after user: those that come after `after`, `limit` at most.
///
/// # Errors
/// The database failed.
pub async fn list_after(
    connection: &mut Connection,
    filter: &UserFilter,
    after: Option<Cursor>,
    limit: i64,
) -> Result<Vec<UserRow>, StoreError> {
    let mut query = QueryBuilder::new("SELECT * FROM users WHERE TRUE");
    push_filter(&mut query, filter);
    if let Some(Cursor { at, id }) = after {
        query.push(" AND created_at <= ").push_bind(at);
        query.push(" AND (created_at < ").push_bind(at).push(" OR id > ").push_bind(id).push(")");
    }
    query.push(" ORDER BY created_at DESC, id LIMIT ").push_bind(limit);
    query.build().fetch_all(connection).await?.iter().map(row_of).collect()
}

fn push_filter(query: &mut QueryBuilder, filter: &UserFilter) {
    let parts = [
        (" AND username LIKE ", &filter.username),
        (" AND email LIKE ", &filter.email),
        (" AND first_name LIKE ", &filter.first_name),
        (" AND last_name LIKE ", &filter.last_name),
    ];
    for (condition, part) in parts {
        if let Some(part) = part {
            query.push(condition).push_bind(like_pattern(part)).push(" ESCAPE '\\'");
        }
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
    if let Some(enabled) = filter.enabled {
        query.push(" AND status = ").push_bind(status(enabled));
    }
    if let Some(user) = filter.seen_by {
        query.push(" AND (id = ").push_bind(user.0);
        query.push(
            " OR id IN (SELECT other.user_id FROM role_members mine JOIN roles a ON a.id = mine.role_id \
             JOIN roles b ON b.domain_id = a.domain_id JOIN role_members other ON other.role_id = b.id \
             WHERE mine.user_id = ",
        );
        query.push_bind(user.0).push("))");
    }
}

/// Changes a user; whether there is one.
///
/// # Errors
/// [`StoreError::Taken`].
pub async fn update(
    tx: &mut WriteTx,
    id: UserId,
    change: &UserChange,
    now: Moment,
) -> Result<bool, StoreError> {
    let result = query(
        "UPDATE users SET username = COALESCE(?, username), email = COALESCE(?, email),
         first_name = COALESCE(?, first_name), last_name = COALESCE(?, last_name), tags = COALESCE(?, tags),
         metadata = COALESCE(?, metadata), profile_picture = COALESCE(?, profile_picture),
         superadmin = COALESCE(?, superadmin), status = COALESCE(?, status),
         password_hash = COALESCE(?, password_hash), updated_at = ? WHERE id = ?",
    )
    .bind(&change.username)
    .bind(&change.email)
    .bind(&change.first_name)
    .bind(&change.last_name)
    .bind(change.tags.as_ref().map(to_json))
    .bind(change.metadata.as_ref().map(ToString::to_string))
    .bind(&change.profile_picture)
    .bind(change.superadmin)
    .bind(change.enabled.map(status))
    .bind(&change.password_hash)
    .bind(now)
    .bind(id.0)
    .execute(tx.connection())
    .await
    .map_err(|error| StoreError::taken(error, UNIQUE))?;
    // What proxies know of a user.
    if change.username.is_some() || change.superadmin.is_some() || change.enabled.is_some() {
        tx.touch(Key::User(id));
    }
    Ok(changed(result))
}

/// Deletes a user with all PATs, roles and invitations; whether there was one.
///
/// # Errors
/// The database failed.
pub async fn delete(tx: &mut WriteTx, id: UserId) -> Result<bool, StoreError> {
    let pats: Vec<Uuid> =
        query_scalar("SELECT id FROM pats WHERE user_id = ?").bind(id.0).fetch_all(tx.connection()).await?;
    let domains: Vec<Uuid> = query_scalar(
        "SELECT DISTINCT r.domain_id FROM role_members m JOIN roles r ON r.id = m.role_id WHERE m.user_id = ?",
    )
    .bind(id.0)
    .fetch_all(tx.connection())
    .await?;
    query(
        "UPDATE scim_groups SET revision = revision + 1 WHERE id IN
         (SELECT group_id FROM scim_group_members WHERE user_id = ?)",
    )
    .bind(id.0)
    .execute(tx.connection())
    .await?;
    let result = query("DELETE FROM users WHERE id = ?").bind(id.0).execute(tx.connection()).await?;
    for pat in pats {
        tx.touch(Key::Pat(PatId(pat)));
    }
    for domain in domains {
        tx.touch(Key::Grant(id, DomainId(domain)));
    }
    tx.touch(Key::User(id));
    Ok(changed(result))
}

/// Whether there is a superadmin who can log in, besides `except`.
///
/// # Errors
/// The database failed.
pub async fn has_superadmin(connection: &mut Connection, except: Option<UserId>) -> Result<bool, StoreError> {
    let found = query_scalar(
        "SELECT EXISTS (SELECT 1 FROM users WHERE superadmin = TRUE AND status = 'enabled' AND id IS DISTINCT FROM ?)",
    );
    Ok(found.bind(except.map(|id| id.0)).fetch_one(connection).await?)
}

const fn status(enabled: bool) -> &'static str {
    if enabled { "enabled" } else { "disabled" }
}

fn row_of(row: &Row) -> Result<UserRow, StoreError> {
    Ok(UserRow {
        id: UserId(row.get("id")),
        username: row.get("username"),
        email: row.get("email"),
        first_name: row.get("first_name"),
        last_name: row.get("last_name"),
        superadmin: row.get("superadmin"),
        enabled: row.get::<String>("status") == "enabled",
        tags: from_json(&row.get::<String>("tags"))?,
        metadata: from_json(&row.get::<String>("metadata"))?,
        profile_picture: row.get("profile_picture"),
        created_at: row.get("created_at"),
        updated_at: row.get("updated_at"),
    })
}
