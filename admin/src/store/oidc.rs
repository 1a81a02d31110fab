//! Who a user is to an external issuer.

use cube_wire::UserId;
use uuid::Uuid;

use super::users::{UserRow, find};
use super::{StoreError, WriteTx, changed};
use crate::clock::Moment;
use crate::store::sql::{Connection, query, query_scalar};

/// The user whom the issuer calls `subject`.
///
/// # Errors
/// The database failed.
pub async fn linked(
    connection: &mut Connection,
    issuer: &str,
    subject: &str,
) -> Result<Option<UserRow>, StoreError> {
    let id = query_scalar("SELECT user_id FROM oidc_links WHERE issuer = ? AND subject = ?")
        .bind(issuer)
        .bind(subject);
    let id: Option<Uuid> = id.fetch_optional(&mut *connection).await?;
    match id {
        Some(id) => find(connection, UserId(id)).await,
        None => Ok(None),
    }
}

/// The user with this e-mail address, unless the issuer knows that user as somebody already: addresses are given to others, who are
/// not whoever had them before.
///
/// # Errors
/// The database failed.
pub async fn with_email(
    connection: &mut Connection,
    issuer: &str,
    email: &str,
) -> Result<Option<UserRow>, StoreError> {
    let id = query_scalar(
        "SELECT id FROM users WHERE email = ? AND id NOT IN (SELECT user_id FROM oidc_links WHERE issuer = ?)",
    );
    let id: Option<Uuid> = id.bind(email).bind(issuer).fetch_optional(&mut *connection).await?;
    match id {
        Some(id) => find(connection, UserId(id)).await,
        None => Ok(None),
    }
}

/// What the issuer calls a user.
///
/// # Errors
/// The database failed.
pub async fn subject(
    connection: &mut Connection,
    issuer: &str,
    user: UserId,
) -> Result<Option<String>, StoreError> {
    let subject = query_scalar("SELECT subject FROM oidc_links WHERE issuer = ? AND user_id = ?")
        .bind(issuer)
        .bind(user.0);
    Ok(subject.fetch_optional(connection).await?)
}

/// Remembers whom the issuer calls `subject`, instead of what the user was called before.
///
/// # Errors
/// [`StoreError::Taken`]: somebody else is called so. [`StoreError::Gone`]: there is no such user.
pub async fn link(
    tx: &mut WriteTx,
    (issuer, subject): (&str, &str),
    user: UserId,
    now: Moment,
) -> Result<(), StoreError> {
    unlink(tx, issuer, user).await?;
    query("INSERT INTO oidc_links (issuer, subject, user_id, created_at) VALUES (?, ?, ?, ?)")
        .bind(issuer)
        .bind(subject)
        .bind(user.0)
        .bind(now)
        .execute(tx.connection())
        .await
        .map_err(|error| StoreError::taken(error, &[("oidc_links.subject", "subject")]))?;
    Ok(())
}

/// Forgets what the issuer calls a user; whether that was known.
///
/// # Errors
/// The database failed.
pub async fn unlink(tx: &mut WriteTx, issuer: &str, user: UserId) -> Result<bool, StoreError> {
    let result = query("DELETE FROM oidc_links WHERE issuer = ? AND user_id = ?")
        .bind(issuer)
        .bind(user.0)
        .execute(tx.connection())
        .await?;
    Ok(changed(result))
}
