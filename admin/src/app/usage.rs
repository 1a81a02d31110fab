//! Reports of usage: what requests add up to.

use cube_wire::{DomainId, Operation};

use super::authorize::authorize;
use super::{App, AppError, Principal, Via};
use crate::store::usage::{self, Group, GroupBy, Sum, UsageFilter};
use crate::store::{Connection, Listed, Page};

impl App {
    /// What requests add up to, the largest group first. Superadmins see everything; others a domain in which they may read the audit
    /// log, or what they did themselves.
    ///
    /// # Errors
    /// [`AppError::Forbidden`], [`AppError::NotFound`].
    pub async fn report_usage(
        &self,
        principal: &Principal,
        group_by: GroupBy,
        filter: UsageFilter,
        page: Page,
    ) -> Result<Listed<(Group, Sum)>, AppError> {
        let mut connection = self.store.read().await?;
        let filter = visible(&mut connection, principal, filter).await?;
        Ok(usage::report(&mut connection, group_by, &filter, page).await?)
    }

    /// The same, group after group: those that come after `after`, `limit` at most.
    ///
    /// # Errors
    /// [`AppError::Forbidden`], [`AppError::NotFound`].
    pub async fn report_usage_after(
        &self,
        principal: &Principal,
        group_by: GroupBy,
        filter: UsageFilter,
        after: Option<&Group>,
        limit: i64,
    ) -> Result<Vec<(Group, Sum)>, AppError> {
        let mut connection = self.store.read().await?;
        let filter = visible(&mut connection, principal, filter).await?;
        Ok(usage::report_after(&mut connection, group_by, &filter, after, limit).await?)
    }
}

/// What of a report this principal may see.
async fn visible(
    connection: &mut Connection,
    principal: &Principal,
    mut filter: UsageFilter,
) -> Result<UsageFilter, AppError> {
    if principal.as_superadmin().is_ok() {
        return Ok(filter);
    }
    match filter.domain {
        Some(domain) => {
            authorize(connection, principal, DomainId(domain), Operation::AuditLogRead).await?;
        }
        None if matches!(principal.via, Via::ApiKey { .. }) => {
            return Err(AppError::Forbidden("name one of the domains that the API key is for"));
        }
        None => {
            if filter.user.is_some_and(|user| user != principal.user.0) {
                return Err(AppError::Forbidden("name a domain, or leave `user` out for your own"));
            }
            filter.user = Some(principal.user.0);
        }
    }
    Ok(filter)
}
