//! Invitations into domains: at most one for each user and domain.

use cube_wire::{DomainId, UserId};

use super::{Listed, Page, StoreError, WriteTx, changed};
use crate::clock::Moment;
use crate::store::sql::{Connection, QueryBuilder, Row, query};

/// An invitation as stored, with the names that people know.
#[derive(Clone, Debug)]
pub struct InvitationRow {
    /// Into which domain.
    pub domain: DomainId,
    /// That domain's name.
    pub domain_name: String,
    /// Who is invited.
    pub invitee: UserId,
    /// To which role.
    pub role_id: String,
    /// That role's name.
    pub role_name: String,
    /// By whom.
    pub invited_by: UserId,
    /// When.
    pub created_at: Moment,
    /// Last change.
    pub updated_at: Moment,
    /// When it was accepted.
    pub confirmed_at: Option<Moment>,
    /// When it was rejected.
    pub rejected_at: Option<Moment>,
}

/// What became of an invitation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvitationState {
    /// Nothing yet.
    Pending,
    /// It was accepted.
    Accepted,
    /// It was rejected.
    Rejected,
}

/// Which invitations are wanted.
#[derive(Clone, Copy, Debug, Default)]
pub struct InvitationFilter {
    /// Those into this domain.
    pub domain: Option<DomainId>,
    /// Those of this user.
    pub invitee: Option<UserId>,
    /// Those of which this became.
    pub state: Option<InvitationState>,
}

/// Invites a user, or invites the same user anew.
///
/// # Errors
/// The database failed.
pub async fn put(
    tx: &mut WriteTx,
    domain: DomainId,
    invitee: UserId,
    role_id: &str,
    by: UserId,
    now: Moment,
) -> Result<(), StoreError> {
    query(
        "INSERT INTO invitations (domain_id, invitee_user_id, role_id, invited_by, created_at, updated_at)
         VALUES (?, ?, ?, ?, ?, ?)
         ON CONFLICT (domain_id, invitee_user_id) DO UPDATE SET role_id = excluded.role_id,
         invited_by = excluded.invited_by, updated_at = excluded.updated_at, confirmed_at = NULL, rejected_at = NULL",
    )
    .bind(domain.0)
    .bind(invitee.0)
    .bind(role_id)
    .bind(by.0)
    .bind(now)
    .bind(now)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// A user's invitation into a domain.
///
/// # Errors
/// The database failed.
pub async fn find(
    connection: &mut Connection,
    domain: DomainId,
    invitee: UserId,
) -> Result<Option<InvitationRow>, StoreError> {
    let filter = InvitationFilter { domain: Some(domain), invitee: Some(invitee), state: None };
    Ok(list(connection, &filter, Page { offset: 0, limit: 1 }).await?.rows.pop())
}

/// Invitations that match, newest first.
///
/// # Errors
/// The database failed.
pub async fn list(
    connection: &mut Connection,
    filter: &InvitationFilter,
    page: Page,
) -> Result<Listed<InvitationRow>, StoreError> {
    let mut count = QueryBuilder::new("SELECT COUNT(*) FROM invitations i WHERE TRUE");
    push_filter(&mut count, filter);
    let total = count.build_query_scalar().fetch_one(&mut *connection).await?;
    let mut query = QueryBuilder::new(
        "SELECT i.*, d.name AS domain_name, r.name AS role_name FROM invitations i \
         JOIN domains d ON d.id = i.domain_id JOIN roles r ON r.id = i.role_id WHERE TRUE",
    );
    push_filter(&mut query, filter);
    query.push(" ORDER BY i.created_at DESC, i.domain_id, i.invitee_user_id LIMIT ").push_bind(page.limit);
    query.push(" OFFSET ").push_bind(page.offset);
    let rows = query.build().fetch_all(connection).await?;
    Ok(Listed { total, rows: rows.iter().map(row_of).collect() })
}

fn push_filter(query: &mut QueryBuilder, filter: &InvitationFilter) {
    if let Some(domain) = filter.domain {
        query.push(" AND i.domain_id = ").push_bind(domain.0);
    }
    if let Some(invitee) = filter.invitee {
        query.push(" AND i.invitee_user_id = ").push_bind(invitee.0);
    }
    if let Some(state) = filter.state {
        query.push(match state {
            InvitationState::Pending => " AND i.confirmed_at IS NULL AND i.rejected_at IS NULL",
            InvitationState::Accepted => " AND i.confirmed_at IS NOT NULL",
            InvitationState::Rejected => " AND i.rejected_at IS NOT NULL",
        });
    }
}

/// Notes what became of an invitation that is pending.
///
/// # Errors
/// The database failed.
pub async fn settle(
    tx: &mut WriteTx,
    domain: DomainId,
    invitee: UserId,
    accepted: bool,
    now: Moment,
) -> Result<(), StoreError> {
    let column = if accepted { "confirmed_at" } else { "rejected_at" };
    let mut query = QueryBuilder::new("UPDATE invitations SET updated_at = ");
    query.push_bind(now).push(", ").push(column).push(" = ").push_bind(now);
    query.push(" WHERE domain_id = ").push_bind(domain.0);
    query.push(" AND invitee_user_id = ").push_bind(invitee.0);
    query.build().execute(tx.connection()).await?;
    Ok(())
}

/// Takes an invitation back; whether there was one.
///
/// # Errors
/// The database failed.
pub async fn delete(tx: &mut WriteTx, domain: DomainId, invitee: UserId) -> Result<bool, StoreError> {
    let result = query("DELETE FROM invitations WHERE domain_id = ? AND invitee_user_id = ?")
        .bind(domain.0)
        .bind(invitee.0)
        .execute(tx.connection())
        .await?;
    Ok(changed(result))
}

impl InvitationRow {
    /// What became of it.
    #[must_use]
    pub const fn state(&self) -> InvitationState {
        match (self.confirmed_at, self.rejected_at) {
            (Some(_), _) => InvitationState::Accepted,
            (None, Some(_)) => InvitationState::Rejected,
            (None, None) => InvitationState::Pending,
        }
    }
}

fn row_of(row: &Row) -> InvitationRow {
    InvitationRow {
        domain: DomainId(row.get("domain_id")),
        domain_name: row.get("domain_name"),
        invitee: UserId(row.get("invitee_user_id")),
        role_id: row.get("role_id"),
        role_name: row.get("role_name"),
        invited_by: UserId(row.get("invited_by")),
        created_at: row.get("created_at"),
        updated_at: row.get("updated_at"),
        confirmed_at: row.get("confirmed_at"),
        rejected_at: row.get("rejected_at"),
    }
}
