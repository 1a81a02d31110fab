//! Domains: who may make, see, change, close and delete one.

use cube_wire::record::{DomainStatus, alias_is_valid};
use cube_wire::{DomainId, Operation, OperationSet};

use super::authorize::{authorize, rights};
use super::users::{check_labels, check_text};
use super::{App, AppError, Asker, Principal};
use crate::clock::Moment;
use crate::store::domains::{self, DomainChange, DomainFilter, DomainRow};
use crate::store::roles::{self, RoleRow};
use crate::store::{AuditEntry, Listed, Page};

/// A domain that is to be.
#[derive(Clone, Debug, Default)]
pub struct NewDomain {
    /// Only superadmins choose identifiers: what is kept of a deleted domain (its audit log) must not be had by taking its name.
    pub id: Option<DomainId>,
    /// See [`DomainRow`].
    pub name: String,
    /// See [`DomainRow`].
    pub alias: Option<String>,
    /// See [`DomainRow`].
    pub tags: Vec<String>,
    /// See [`DomainRow`].
    pub metadata: Option<serde_json::Value>,
}

/// What the caller is in a domain.
#[derive(Clone, Debug)]
pub struct Standing {
    /// The caller's roles, each with its actions.
    pub roles: Vec<(RoleRow, Vec<String>)>,
    /// What the caller may do with the credential that was shown, now.
    pub allowed: OperationSet,
}

impl Principal {
    /// An audit entry of something that this principal did in a domain.
    #[must_use]
    pub fn did_in(
        &self,
        asker: &Asker,
        domain: DomainId,
        action: &'static str,
        entity_type: &'static str,
        entity_id: impl ToString,
    ) -> AuditEntry {
        AuditEntry { domain: Some(domain), ..self.did(asker, action, entity_type, entity_id) }
    }
}

impl App {
    /// Makes a domain; whoever makes it has its built-in role `admin`, which holds every action.
    ///
    /// # Errors
    /// [`AppError::Forbidden`] for a PAT that is narrowed by scopes; [`AppError::Invalid`]; [`AppError::Conflict`] for an alias that is
    /// taken.
    pub async fn create_domain(
        &self,
        principal: &Principal,
        asker: &Asker,
        new: NewDomain,
    ) -> Result<DomainRow, AppError> {
        principal.as_owner()?;
        if let Some(id) = new.id {
            principal.as_superadmin()?;
            if id.0.is_nil() {
                return Err(AppError::invalid("id", "not the nil UUID"));
            }
        }
        check_name("name", &new.name)?;
        check_alias(new.alias.as_deref())?;
        check_labels(Some(&new.tags), new.metadata.as_ref())?;
        let now = Moment::now();
        let by = Some(principal.user);
        let domain = DomainRow {
            id: new.id.unwrap_or_else(|| DomainId(uuid::Uuid::new_v4())),
            name: new.name,
            alias: new.alias,
            status: DomainStatus::Enabled,
            tags: new.tags,
            metadata: new.metadata.unwrap_or_else(|| serde_json::json!({})),
            default_deployment: None,
            created_by: by,
            created_at: now,
            updated_by: by,
            updated_at: now,
        };
        let mut tx = self.store.begin().await?;
        domains::insert(&mut tx, &domain).await?;
        let admin = RoleRow {
            id: new_role_id(),
            domain: domain.id,
            name: BUILTIN_ROLE.to_owned(),
            builtin: true,
            created_by: by,
            created_at: now,
            updated_by: by,
            updated_at: now,
        };
        let actions: Vec<_> = Operation::ALL.iter().map(|operation| operation.name()).collect();
        roles::insert(&mut tx, &admin, &actions).await?;
        roles::add_member(&mut tx, &admin, principal.user).await?;
        tx.audit(principal.did_in(asker, domain.id, "domain.create", "domain", domain.id));
        tx.commit().await?;
        Ok(domain)
    }

    /// Domains in which the principal may do something; all of them for a superadmin.
    ///
    /// # Errors
    /// The database failed.
    pub async fn list_domains(
        &self,
        principal: &Principal,
        mut filter: DomainFilter,
        page: Page,
    ) -> Result<Listed<DomainRow>, AppError> {
        filter.member = (!principal.superadmin).then_some(principal.user);
        filter.among = principal.scoped_domains();
        Ok(domains::list(&mut self.store.read().await?, &filter, page).await?)
    }

    /// One domain.
    ///
    /// # Errors
    /// [`AppError::NotFound`], [`AppError::Forbidden`].
    pub async fn view_domain(&self, principal: &Principal, id: DomainId) -> Result<DomainRow, AppError> {
        let mut connection = self.store.read().await?;
        authorize(&mut connection, principal, id, Operation::Read).await?;
        domains::find(&mut connection, id).await?.ok_or(AppError::NotFound("domain"))
    }

    /// What the principal is in a domain.
    ///
    /// # Errors
    /// [`AppError::NotFound`].
    pub async fn standing(&self, principal: &Principal, id: DomainId) -> Result<Standing, AppError> {
        let mut connection = self.store.read().await?;
        let allowed = rights(&mut connection, principal, id).await?.all();
        let mut own = Vec::new();
        for role in roles::of_user(&mut connection, id, principal.user).await? {
            let actions = roles::actions(&mut connection, &role).await?;
            own.push((role, actions));
        }
        Ok(Standing { roles: own, allowed })
    }

    /// Changes a domain's names and labels.
    ///
    /// # Errors
    /// [`AppError::NotFound`], [`AppError::Forbidden`], [`AppError::Invalid`], [`AppError::Conflict`].
    pub async fn change_domain(
        &self,
        principal: &Principal,
        asker: &Asker,
        id: DomainId,
        change: DomainChange,
    ) -> Result<DomainRow, AppError> {
        let mut tx = self.store.begin().await?;
        authorize(tx.connection(), principal, id, Operation::Update).await?;
        if let Some(name) = &change.name {
            check_name("name", name)?;
        }
        check_alias(change.alias.as_deref())?;
        check_labels(change.tags.as_deref(), change.metadata.as_ref())?;
        // The status has entrypoints, and rights, of its own.
        let change = DomainChange { status: None, ..change };
        domains::update(&mut tx, id, &change, principal.user, Moment::now()).await?;
        tx.audit(principal.did_in(asker, id, "domain.update", "domain", id));
        let row = domains::find(tx.connection(), id).await?.ok_or(AppError::NotFound("domain"))?;
        tx.commit().await?;
        Ok(row)
    }

    /// Says who may enter a domain. Only superadmins freeze one, or let it thaw.
    ///
    /// # Errors
    /// [`AppError::NotFound`], [`AppError::Forbidden`].
    pub async fn set_domain_status(
        &self,
        principal: &Principal,
        asker: &Asker,
        id: DomainId,
        status: DomainStatus,
    ) -> Result<(), AppError> {
        let mut tx = self.store.begin().await?;
        let rights = rights(tx.connection(), principal, id).await?;
        let action = match status {
            DomainStatus::Enabled => {
                rights.demand(Operation::Enable)?;
                "domain.enable"
            }
            DomainStatus::Disabled => {
                rights.demand(Operation::Disable)?;
                "domain.disable"
            }
            DomainStatus::Freezed => {
                principal.as_superadmin()?;
                "domain.freeze"
            }
        };
        let change = DomainChange { status: Some(status), ..DomainChange::default() };
        domains::update(&mut tx, id, &change, principal.user, Moment::now()).await?;
        tx.audit(principal.did_in(asker, id, action, "domain", id));
        tx.commit().await?;
        Ok(())
    }

    /// Deletes a domain with everything in it. PATs lose the scopes that they have there and stay otherwise.
    ///
    /// # Errors
    /// [`AppError::NotFound`], [`AppError::Forbidden`].
    pub async fn delete_domain(
        &self,
        principal: &Principal,
        asker: &Asker,
        id: DomainId,
    ) -> Result<(), AppError> {
        let mut tx = self.store.begin().await?;
        authorize(tx.connection(), principal, id, Operation::Delete).await?;
        domains::delete(&mut tx, id).await?;
        tx.audit(principal.did_in(asker, id, "domain.delete", "domain", id));
        tx.commit().await?;
        Ok(())
    }
}

/// The role that every domain has from the beginning.
pub const BUILTIN_ROLE: &str = "admin";

/// Identifiers of roles begin as they did in SuperMQ.
pub(super) fn new_role_id() -> String {
    format!("domain_{}", uuid::Uuid::new_v4().simple())
}

/// A text that must not be empty.
pub(super) fn check_name(field: &'static str, name: &str) -> Result<(), AppError> {
    if name.trim().is_empty() {
        return Err(AppError::invalid(field, "must not be empty"));
    }
    check_text(field, name)
}

fn check_alias(alias: Option<&str>) -> Result<(), AppError> {
    if alias.is_none_or(alias_is_valid) {
        return Ok(());
    }
    let why = "a letter, then at most 35 letters, digits, - or _, with neither -- nor __, and no UUID";
    Err(AppError::invalid("route", why))
}
