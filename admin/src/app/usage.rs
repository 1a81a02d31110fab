//! Reports of usage: what requests add up to.

use cube_wire::{DomainId, Operation};

use super::{App, AppError, Principal, Via};
use crate::store::usage::{self, Group, GroupBy, Sum, UsageFilter};
use crate::store::{Listed, Page};

impl App {
    /// What requests add up to. Superadmins see everything; others a domain in which they may read the audit log, or what they did
    /// themselves.
    ///
    /// # Errors
    /// [`AppError::Forbidden`], [`AppError::NotFound`].
    pub async fn report_usage(
        &self,
        principal: &Principal,
        group_by: GroupBy,
        mut filter: UsageFilter,
        page: Page,
    ) -> Result<Listed<(Group, Sum)>, AppError> {
        let mut connection = self.store.read().await?;
        if principal.as_superadmin().is_err() {
            match filter.domain {
                Some(domain) => {
                    let domain = DomainId(domain);
                    super::authorize::authorize(&mut connection, principal, domain, Operation::AuditLogRead)
                        .await?;
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
        }
        Ok(usage::report(&mut connection, group_by, &filter, page).await?)
    }
}
