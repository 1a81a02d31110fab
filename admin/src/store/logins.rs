//! Logins: the refresh tokens that are good.

use cube_wire::UserId;

use super::{StoreError, WriteTx, changed};
use crate::clock::Moment;
use crate::store::sql::{Connection, Row, query};

/// A login.
#[derive(Clone, Debug)]
pub struct LoginRow {
    /// The `jti` of its tokens.
    pub id: String,
    /// Who.
    pub user: UserId,
    /// What the user called it.
    pub description: String,
    /// Since when.
    pub issued_at: Moment,
    /// Until when.
    pub expires_at: Moment,
    /// How often its refresh token was used.
    pub refreshes: i64,
    /// Ended early.
    pub revoked_at: Option<Moment>,
}

/// Remembers a login.
///
/// # Errors
/// The database failed.
pub async fn insert(tx: &mut WriteTx, login: &LoginRow) -> Result<(), StoreError> {
    query("INSERT INTO logins (id, user_id, description, issued_at, expires_at) VALUES (?, ?, ?, ?, ?)")
        .bind(&login.id)
        .bind(login.user.0)
        .bind(&login.description)
        .bind(login.issued_at)
        .bind(login.expires_at)
        .execute(tx.connection())
        .await?;
    Ok(())
}

/// The login with this `jti`.
///
/// # Errors
/// The database failed.
pub async fn find(connection: &mut Connection, id: &str) -> Result<Option<LoginRow>, StoreError> {
    let row = query("SELECT * FROM logins WHERE id = ?").bind(id).fetch_optional(connection).await?;
    Ok(row.as_ref().map(row_of))
}

/// Notes that the newest refresh token was used: it is good no more.
///
/// # Errors
/// The database failed.
pub async fn count_refresh(tx: &mut WriteTx, id: &str) -> Result<(), StoreError> {
    let result = query("UPDATE logins SET refreshes = refreshes + 1 WHERE id = ?").bind(id);
    result.execute(tx.connection()).await?;
    Ok(())
}

/// The user's logins that are still good, newest first.
///
/// # Errors
/// The database failed.
pub async fn of_user(
    connection: &mut Connection,
    user: UserId,
    now: Moment,
) -> Result<Vec<LoginRow>, StoreError> {
    let rows = query(
        "SELECT * FROM logins WHERE user_id = ? AND revoked_at IS NULL AND expires_at > ? ORDER BY issued_at DESC",
    );
    let rows = rows.bind(user.0).bind(now).fetch_all(connection).await?;
    Ok(rows.iter().map(row_of).collect())
}

/// Ends one login of the user; whether there was one.
///
/// # Errors
/// The database failed.
pub async fn revoke(tx: &mut WriteTx, user: UserId, id: &str, now: Moment) -> Result<bool, StoreError> {
    let result =
        query("UPDATE logins SET revoked_at = ? WHERE id = ? AND user_id = ? AND revoked_at IS NULL");
    Ok(changed(result.bind(now).bind(id).bind(user.0).execute(tx.connection()).await?))
}

/// Ends all logins of the user: after a change of password, or when the account is disabled.
///
/// # Errors
/// The database failed.
pub async fn revoke_all(tx: &mut WriteTx, user: UserId, now: Moment) -> Result<(), StoreError> {
    let result = query("UPDATE logins SET revoked_at = ? WHERE user_id = ? AND revoked_at IS NULL");
    result.bind(now).bind(user.0).execute(tx.connection()).await?;
    Ok(())
}

/// Forgets logins that are long over.
///
/// # Errors
/// The database failed.
pub async fn prune(tx: &mut WriteTx, before: Moment) -> Result<u64, StoreError> {
    let result = query("DELETE FROM logins WHERE expires_at < ?").bind(before);
    Ok(result.execute(tx.connection()).await?)
}

fn row_of(row: &Row) -> LoginRow {
    LoginRow {
        id: row.get("id"),
        user: UserId(row.get("user_id")),
        description: row.get("description"),
        issued_at: row.get("issued_at"),
        expires_at: row.get("expires_at"),
        refreshes: row.get("refreshes"),
        revoked_at: row.get("revoked_at"),
    }
}
