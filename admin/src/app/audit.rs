//! The audit log: every management action, and every proxied request's outcome, to those who may read it.

use cube_wire::{DomainId, Operation};

use super::{App, AppError, Asker, Principal, authorize};
use crate::store::audit::{self, AuditFilter, Event};

/// Events of one page at most.
pub const EVENTS_MAX: i64 = 1_000;

impl App {
    /// Events that match, newest first: of one domain for whoever may read its audit log, of all for superadmins.
    ///
    /// # Errors
    /// [`AppError::Forbidden`], [`AppError::NotFound`].
    pub async fn list_audit(
        &self,
        principal: &Principal,
        domain: Option<DomainId>,
        mut filter: AuditFilter,
        limit: i64,
    ) -> Result<Vec<Event>, AppError> {
        let mut connection = self.store.read().await?;
        match domain {
            Some(domain) => {
                authorize::authorize(&mut connection, principal, domain, Operation::AuditLogRead).await?;
            }
            None => principal.as_superadmin()?,
        }
        filter.domain = domain.map(|id| id.0);
        Ok(audit::list(&mut connection, &filter, limit.clamp(1, EVENTS_MAX)).await?)
    }

    /// Whether the principal may take a domain's audit log away; that it did is itself an event.
    ///
    /// # Errors
    /// [`AppError::Forbidden`], [`AppError::NotFound`].
    pub async fn begin_audit_export(
        &self,
        principal: &Principal,
        asker: &Asker,
        domain: DomainId,
    ) -> Result<(), AppError> {
        let mut tx = self.store.begin().await?;
        authorize::authorize(tx.connection(), principal, domain, Operation::AuditLogExport).await?;
        let mut entry = principal.did(asker, "audit.export", "domain", domain);
        entry.domain = Some(domain);
        tx.audit(entry);
        tx.commit().await?;
        Ok(())
    }

    /// The next events of an export that was begun, oldest last.
    ///
    /// # Errors
    /// The database failed.
    pub async fn next_of_export(&self, filter: &AuditFilter) -> Result<Vec<Event>, AppError> {
        Ok(audit::list(&mut self.store.read().await?, filter, EVENTS_MAX).await?)
    }
}
