//! Users, with what an identity provider says of them.

use cube_wire::{Key, UserId};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::Search;
use crate::clock::Moment;
use crate::store::sql::{Connection, Row, query, query_scalar};
use crate::store::{Listed, StoreError, WriteTx, from_json};

/// A user as an identity provider knows it.
#[derive(Clone, Debug)]
pub struct ScimUserRow {
    /// Who.
    pub id: UserId,
    /// The provider's name for the user; for a user of our own the username.
    pub user_name: String,
    /// The provider's identifier.
    pub external_id: Option<String>,
    /// See [`crate::store::users::UserRow`].
    pub first_name: String,
    /// See [`crate::store::users::UserRow`].
    pub last_name: String,
    /// See [`crate::store::users::UserRow`].
    pub email: Option<String>,
    /// See [`crate::store::users::UserRow`].
    pub enabled: bool,
    /// Whatever else the provider said. Of the e-mail addresses the one that is `email` has no value here.
    pub more: Map<String, Value>,
    /// Since when.
    pub created_at: Moment,
    /// Last change.
    pub updated_at: Moment,
}

/// A group that a user is in.
#[derive(Clone, Debug)]
pub struct GroupOfUser {
    /// Which.
    pub id: Uuid,
    /// Its name.
    pub display_name: String,
}

const UNIQUE: &[(&str, &str)] =
    &[("users_by_scim_name", "userName"), ("users.username", "userName"), ("users.email", "emails")];

/// Adds a user.
///
/// # Errors
/// [`StoreError::Taken`] for the name and the address.
pub async fn insert(tx: &mut WriteTx, user: &ScimUserRow, username: &str) -> Result<(), StoreError> {
    query(
        "INSERT INTO users (id, username, email, first_name, last_name, status, created_at, updated_at, scim_user_name,
         external_id, scim) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(user.id.0)
    .bind(username)
    .bind(&user.email)
    .bind(&user.first_name)
    .bind(&user.last_name)
    .bind(if user.enabled { "enabled" } else { "disabled" })
    .bind(user.created_at)
    .bind(user.updated_at)
    .bind(&user.user_name)
    .bind(&user.external_id)
    .bind(json_of(&user.more))
    .execute(tx.connection())
    .await
    .map_err(|error| StoreError::taken(error, UNIQUE))?;
    tx.touch(Key::User(user.id));
    Ok(())
}

/// Replaces what an identity provider says of a user, who is there.
///
/// # Errors
/// [`StoreError::Taken`] for the name and the address.
pub async fn replace(tx: &mut WriteTx, before: &ScimUserRow, user: &ScimUserRow) -> Result<(), StoreError> {
    // A user of our own keeps the username as its name until the provider calls it something else.
    query(
        "UPDATE users SET email = ?1, first_name = ?2, last_name = ?3, status = ?4, updated_at = ?5, external_id = ?6,
         scim = ?7,
         scim_user_name = CASE WHEN ?8 = COALESCE(scim_user_name, username) THEN scim_user_name ELSE ?8 END WHERE id = ?9",
    )
    .bind(&user.email)
    .bind(&user.first_name)
    .bind(&user.last_name)
    .bind(if user.enabled { "enabled" } else { "disabled" })
    .bind(user.updated_at)
    .bind(&user.external_id)
    .bind(json_of(&user.more))
    .bind(&user.user_name)
    .bind(user.id.0)
    .execute(tx.connection())
    .await
    .map_err(|error| StoreError::taken(error, UNIQUE))?;
    if before.enabled != user.enabled {
        tx.touch(Key::User(user.id));
    }
    Ok(())
}

/// The user with this identifier.
///
/// # Errors
/// The database failed.
pub async fn find(connection: &mut Connection, id: UserId) -> Result<Option<ScimUserRow>, StoreError> {
    let row = query("SELECT * FROM users WHERE id = ?").bind(id.0).fetch_optional(connection).await?;
    row.as_ref().map(row_of).transpose()
}

/// Users that fit.
///
/// # Errors
/// The database failed.
pub async fn list(connection: &mut Connection, search: &Search) -> Result<Listed<ScimUserRow>, StoreError> {
    let Listed { total, rows } = search.rows(connection, "users").await?;
    Ok(Listed { total, rows: rows.iter().map(row_of).collect::<Result<_, _>>()? })
}

/// The groups of a user, by name.
///
/// # Errors
/// The database failed.
pub async fn groups_of(connection: &mut Connection, id: UserId) -> Result<Vec<GroupOfUser>, StoreError> {
    let rows = query(
        "SELECT g.id, g.display_name FROM scim_group_members m JOIN scim_groups g ON g.id = m.group_id
         WHERE m.user_id = ? ORDER BY g.display_name",
    );
    let rows = rows.bind(id.0).fetch_all(connection).await?;
    let group = |row: &Row| GroupOfUser { id: row.get("id"), display_name: row.get("display_name") };
    Ok(rows.iter().map(group).collect())
}

/// Whether a username, or a provider's name, is taken.
///
/// # Errors
/// The database failed.
pub async fn name_is_taken(connection: &mut Connection, name: &str) -> Result<bool, StoreError> {
    let taken = query_scalar(
        "SELECT EXISTS (SELECT 1 FROM users WHERE username = ?1)
         OR EXISTS (SELECT 1 FROM users WHERE COALESCE(scim_user_name, username) COLLATE NOCASE = ?1)",
    );
    Ok(taken.bind(name).fetch_one(connection).await?)
}

fn json_of(more: &Map<String, Value>) -> String {
    crate::store::to_json(more)
}

fn row_of(row: &Row) -> Result<ScimUserRow, StoreError> {
    Ok(ScimUserRow {
        id: UserId(row.get("id")),
        user_name: row.get::<Option<String>>("scim_user_name").unwrap_or_else(|| row.get("username")),
        external_id: row.get("external_id"),
        first_name: row.get("first_name"),
        last_name: row.get("last_name"),
        email: row.get("email"),
        enabled: row.get::<String>("status") == "enabled",
        more: from_json(&row.get::<String>("scim"))?,
        created_at: row.get("created_at"),
        updated_at: row.get("updated_at"),
    })
}
