//! Keys of access tokens.

use cube_wire::Key;

use super::{StoreError, WriteTx};
use crate::clock::Moment;
use crate::store::sql::{Connection, Row, query, query_scalar};

/// A stored key.
#[derive(Clone, Debug)]
pub struct SigningKeyRow {
    /// Its `kid`.
    pub id: String,
    /// base64url.
    pub public_key: String,
    /// PKCS#8 in base64url, sealed with the fleet key.
    pub private_key_sealed: String,
    /// New tokens are signed with it; older keys only verify.
    pub active: bool,
    /// Since when it is there.
    pub created_at: Moment,
    /// When it stops verifying.
    pub retires_at: Option<Moment>,
}

/// All keys, the active one first.
///
/// # Errors
/// The database failed.
pub async fn all(connection: &mut Connection) -> Result<Vec<SigningKeyRow>, StoreError> {
    let rows = query("SELECT * FROM signing_keys ORDER BY state, created_at DESC").fetch_all(connection);
    let rows = rows.await?;
    let key = |row: &Row| SigningKeyRow {
        id: row.get("id"),
        public_key: row.get("public_key"),
        private_key_sealed: row.get("private_key_sealed"),
        active: row.get::<String>("state") == "active",
        created_at: row.get("created_at"),
        retires_at: row.get("retires_at"),
    };
    Ok(rows.iter().map(key).collect())
}

/// Makes `key` the active one; those before it verify until `retires_at`.
///
/// # Errors
/// The database failed.
pub async fn activate(
    tx: &mut WriteTx,
    key: &SigningKeyRow,
    now: Moment,
    retires_at: Moment,
) -> Result<(), StoreError> {
    query("UPDATE signing_keys SET state = 'retiring', retires_at = ? WHERE state = 'active'")
        .bind(retires_at)
        .execute(tx.connection())
        .await?;
    query(
        "INSERT INTO signing_keys (id, public_key, private_key_sealed, state, created_at) VALUES (?, ?, ?, 'active', ?)",
    )
    .bind(&key.id)
    .bind(&key.public_key)
    .bind(&key.private_key_sealed)
    .bind(now)
    .execute(tx.connection())
    .await?;
    tx.touch(Key::Key(key.id.as_str().into()));
    Ok(())
}

/// Removes the keys whose time is over; returns how many.
///
/// # Errors
/// The database failed.
pub async fn remove_retired(tx: &mut WriteTx, now: Moment) -> Result<usize, StoreError> {
    let gone: Vec<String> = query_scalar("DELETE FROM signing_keys WHERE retires_at <= ? RETURNING id")
        .bind(now)
        .fetch_all(tx.connection())
        .await?;
    for id in &gone {
        tx.touch(Key::Key(id.as_str().into()));
    }
    Ok(gone.len())
}
