//! PATs, without their scopes ([`super::scopes`]). Every function but the last acts for one owner: another user's PAT is not there.

use cube_wire::{Key, PatDigest, PatId, UserId};
use uuid::Uuid;

use super::{Listed, Page, StoreError, WriteTx, changed, from_json, like_pattern, to_json};
use crate::clock::Moment;
use crate::store::sql::{Connection, QueryBuilder, Row, query, query_scalar};

/// A PAT as stored, without its digests.
#[derive(Clone, Debug)]
pub struct PatRow {
    /// Which.
    pub id: PatId,
    /// Its owner.
    pub user: UserId,
    /// Unique for its owner.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// Acts as its owner, whatever its scopes.
    pub full_access: bool,
    /// Where its requests may come from; empty: from anywhere.
    pub cidrs: Vec<String>,
    /// When it, not its newest secret, was made.
    pub issued_at: Moment,
    /// Until when it is good.
    pub expires_at: Option<Moment>,
    /// Last change.
    pub updated_at: Moment,
    /// Roughly when it was last shown to anybody.
    pub last_used_at: Option<Moment>,
    /// Since when it is refused.
    pub revoked_at: Option<Moment>,
    /// Until when the secret before the last reset is good too.
    pub previous_until: Option<Moment>,
}

/// Whether a PAT is good, and if not, why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatStatus {
    /// It is good.
    Active,
    /// Its owner ended it.
    Revoked,
    /// Its time is over.
    Expired,
}

impl PatRow {
    /// Whether it is good at `now`. What is both revoked and expired counts as revoked.
    #[must_use]
    pub fn status(&self, now: Moment) -> PatStatus {
        match (self.revoked_at, self.expires_at) {
            (Some(_), _) => PatStatus::Revoked,
            (None, Some(end)) if end <= now => PatStatus::Expired,
            (None, _) => PatStatus::Active,
        }
    }
}

/// Which PATs of a user are wanted.
#[derive(Clone, Debug, Default)]
pub struct PatFilter {
    /// Part of the name, in any case.
    pub name: Option<String>,
    /// This one.
    pub id: Option<PatId>,
    /// Only those that are this at the moment of the list.
    pub status: Option<PatStatus>,
}

const UNIQUE: &[(&str, &str)] = &[("pats.name", "name")];

/// Adds a PAT.
///
/// # Errors
/// [`StoreError::Taken`] for its name.
pub async fn insert(tx: &mut WriteTx, pat: &PatRow, digest: PatDigest) -> Result<(), StoreError> {
    query(
        "INSERT INTO pats (id, user_id, name, description, digest, full_access, cidrs, issued_at, expires_at, updated_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(pat.id.0)
    .bind(pat.user.0)
    .bind(&pat.name)
    .bind(&pat.description)
    .bind(&digest.0[..])
    .bind(pat.full_access)
    .bind(to_json(&pat.cidrs))
    .bind(pat.issued_at)
    .bind(pat.expires_at)
    .bind(pat.updated_at)
    .execute(tx.connection())
    .await
    .map_err(|error| StoreError::taken(error, UNIQUE))?;
    tx.touch(Key::Pat(pat.id));
    Ok(())
}

/// How many PATs a user has, good or not.
///
/// # Errors
/// The database failed.
pub async fn count(connection: &mut Connection, user: UserId) -> Result<i64, StoreError> {
    let count = query_scalar("SELECT COUNT(*) FROM pats WHERE user_id = ?").bind(user.0);
    Ok(count.fetch_one(connection).await?)
}

/// How many PATs there are. Cost: one row, however many they are.
///
/// # Errors
/// The database failed.
pub async fn count_all(connection: &mut Connection) -> Result<i64, StoreError> {
    let count = query_scalar("SELECT value FROM totals WHERE name = 'pats'");
    Ok(count.fetch_one(connection).await?)
}

/// A PAT of this user.
///
/// # Errors
/// The database failed.
pub async fn find(
    connection: &mut Connection,
    user: UserId,
    id: PatId,
) -> Result<Option<PatRow>, StoreError> {
    let row = query("SELECT * FROM pats WHERE id = ? AND user_id = ?").bind(id.0).bind(user.0);
    row.fetch_optional(connection).await?.as_ref().map(row_of).transpose()
}

/// The user's PATs that match, newest first.
///
/// # Errors
/// The database failed.
pub async fn list(
    connection: &mut Connection,
    user: UserId,
    filter: &PatFilter,
    page: Page,
    now: Moment,
) -> Result<Listed<PatRow>, StoreError> {
    let mut count = QueryBuilder::new("SELECT COUNT(*) FROM pats WHERE user_id = ");
    push_filter(&mut count, user, filter, now);
    let total = count.build_query_scalar().fetch_one(&mut *connection).await?;
    let mut query = QueryBuilder::new("SELECT * FROM pats WHERE user_id = ");
    push_filter(&mut query, user, filter, now);
    query.push(" ORDER BY issued_at DESC, id LIMIT ").push_bind(page.limit);
    query.push(" OFFSET ").push_bind(page.offset);
    let rows = query.build().fetch_all(connection).await?;
    Ok(Listed { total, rows: rows.iter().map(row_of).collect::<Result<_, _>>()? })
}

fn push_filter(query: &mut QueryBuilder, user: UserId, filter: &PatFilter, now: Moment) {
    query.push_bind(user.0);
    if let Some(id) = filter.id {
        query.push(" AND id = ").push_bind(id.0);
    }
    if let Some(name) = &filter.name {
        query.push(" AND name LIKE ").push_bind(like_pattern(name)).push(" ESCAPE '\\'");
    }
    match filter.status {
        None => {}
        Some(PatStatus::Revoked) => {
            query.push(" AND revoked_at IS NOT NULL");
        }
        Some(PatStatus::Active) => {
            query.push(" AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > ");
            query.push_bind(now).push(")");
        }
        Some(PatStatus::Expired) => {
            query.push(" AND revoked_at IS NULL AND expires_at <= ").push_bind(now);
        }
    }
}

/// Changes what a PAT is called, or what is said of it; whether there is such a PAT.
///
/// # Errors
/// [`StoreError::Taken`] for its name.
pub async fn describe(
    tx: &mut WriteTx,
    user: UserId,
    id: PatId,
    (name, description): (Option<&str>, Option<&str>),
    now: Moment,
) -> Result<bool, StoreError> {
    let result = query(
        "UPDATE pats SET name = COALESCE(?, name), description = COALESCE(?, description), updated_at = ?
         WHERE id = ? AND user_id = ?",
    );
    let result = result.bind(name).bind(description).bind(now).bind(id.0).bind(user.0);
    let result = result.execute(tx.connection()).await.map_err(|error| StoreError::taken(error, UNIQUE))?;
    tx.touch(Key::Pat(id));
    Ok(changed(result))
}

/// Gives a PAT another secret and end, and takes a revocation back; whether there is such a PAT.
///
/// * `previous_until`: until when the secret that it has now stays good.
///
/// # Errors
/// The database failed.
pub async fn replace_secret(
    tx: &mut WriteTx,
    user: UserId,
    id: PatId,
    digest: PatDigest,
    (expires_at, previous_until): (Moment, Option<Moment>),
    now: Moment,
) -> Result<bool, StoreError> {
    let result = query(
        "UPDATE pats SET previous_digest = CASE WHEN ?1 IS NULL THEN NULL ELSE digest END, previous_until = ?1,
         digest = ?2, expires_at = ?3, revoked_at = NULL, updated_at = ?4 WHERE id = ?5 AND user_id = ?6",
    );
    let result = result.bind(previous_until).bind(&digest.0[..]).bind(expires_at).bind(now);
    let result = result.bind(id.0).bind(user.0).execute(tx.connection()).await?;
    tx.touch(Key::Pat(id));
    Ok(changed(result))
}

/// Ends a PAT, and the secret before its last reset; whether there is such a PAT. The first revocation's time stays.
///
/// # Errors
/// The database failed.
pub async fn revoke(tx: &mut WriteTx, user: UserId, id: PatId, now: Moment) -> Result<bool, StoreError> {
    let result = query(
        "UPDATE pats SET revoked_at = COALESCE(revoked_at, ?1), updated_at = ?1, previous_digest = NULL,
         previous_until = NULL WHERE id = ?2 AND user_id = ?3",
    );
    let result = result.bind(now).bind(id.0).bind(user.0).execute(tx.connection()).await?;
    tx.touch(Key::Pat(id));
    Ok(changed(result))
}

/// Deletes a PAT with its scopes; whether there was one.
///
/// # Errors
/// The database failed.
pub async fn delete(tx: &mut WriteTx, user: UserId, id: PatId) -> Result<bool, StoreError> {
    let result = query("DELETE FROM pats WHERE id = ? AND user_id = ?").bind(id.0).bind(user.0);
    let result = result.execute(tx.connection()).await?;
    tx.touch(Key::Pat(id));
    Ok(changed(result))
}

/// Deletes all PATs of a user with their scopes; how many there were.
///
/// # Errors
/// The database failed.
pub async fn clear(tx: &mut WriteTx, user: UserId) -> Result<usize, StoreError> {
    let ids: Vec<Uuid> = query_scalar("DELETE FROM pats WHERE user_id = ? RETURNING id")
        .bind(user.0)
        .fetch_all(tx.connection())
        .await?;
    for &id in &ids {
        tx.touch(Key::Pat(PatId(id)));
    }
    Ok(ids.len())
}

/// When a PAT was last shown, as far as is known.
///
/// # Errors
/// The database failed.
pub async fn last_used(connection: &mut Connection, id: PatId) -> Result<Option<Moment>, StoreError> {
    let last = query_scalar("SELECT last_used_at FROM pats WHERE id = ?").bind(id.0);
    Ok(last.fetch_optional(connection).await?.flatten())
}

/// Notes that a PAT was shown. Proxies need not hear of it.
///
/// # Errors
/// The database failed.
pub async fn note_use(tx: &mut WriteTx, id: PatId, at: Moment) -> Result<(), StoreError> {
    query("UPDATE pats SET last_used_at = ?1 WHERE id = ?2 AND (last_used_at IS NULL OR last_used_at < ?1)")
        .bind(at)
        .bind(id.0)
        .execute(tx.connection())
        .await?;
    Ok(())
}

fn row_of(row: &Row) -> Result<PatRow, StoreError> {
    Ok(PatRow {
        id: PatId(row.get("id")),
        user: UserId(row.get("user_id")),
        name: row.get("name"),
        description: row.get("description"),
        full_access: row.get("full_access"),
        cidrs: from_json(&row.get::<String>("cidrs"))?,
        issued_at: row.get("issued_at"),
        expires_at: row.get("expires_at"),
        updated_at: row.get("updated_at"),
        last_used_at: row.get("last_used_at"),
        revoked_at: row.get("revoked_at"),
        previous_until: row.get("previous_until"),
    })
}
