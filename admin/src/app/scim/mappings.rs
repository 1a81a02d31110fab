//! Which roles of domains the members of a group have. Superadmins say so, and no API key can: it would be a way from provisioning users
//! to ruling domains.

use cube_wire::{DomainId, UserId};
use serde_json::json;
use uuid::Uuid;

use crate::app::{App, AppError, Asker, Principal};
use crate::clock::Moment;
use crate::store::scim::groups::{self, GroupRow, GroupSummary, MappingRow};
use crate::store::{AuditEntry, Cursor, Listed, Page, roles};

const NOT_FOUND: AppError = AppError::NotFound("group mapping");

impl App {
    /// Gives the members of a group a role of a domain, those that it will have too.
    ///
    /// # Errors
    /// [`AppError::Forbidden`]; [`AppError::NotFound`] for the group and the role; [`AppError::Conflict`] if it is so already.
    pub async fn map_group(
        &self,
        principal: &Principal,
        asker: &Asker,
        group: Uuid,
        domain: DomainId,
        role: &str,
    ) -> Result<MappingRow, AppError> {
        may_map(principal)?;
        let mut tx = self.store.begin().await?;
        let group = groups::find(tx.connection(), group).await?.ok_or(AppError::NotFound("group"))?;
        let role = roles::find(tx.connection(), domain, role).await?.ok_or(AppError::NotFound("role"))?;
        let mapping = MappingRow {
            id: Uuid::new_v4(),
            group: group.id,
            group_name: group.display_name,
            domain,
            role: role.id,
            role_name: role.name,
            created_at: Moment::now(),
        };
        groups::map(&mut tx, &mapping, principal.user).await?;
        tx.audit(entry(principal, asker, "group.map", &mapping));
        tx.commit().await?;
        Ok(mapping)
    }

    /// All mappings, or those of one group.
    ///
    /// # Errors
    /// [`AppError::Forbidden`].
    pub async fn list_group_mappings(
        &self,
        principal: &Principal,
        group: Option<Uuid>,
        page: Page,
    ) -> Result<Listed<MappingRow>, AppError> {
        may_map(principal)?;
        Ok(groups::list_mappings(&mut self.store.read().await?, group, page).await?)
    }

    /// All mappings, oldest first: those that come after `after`, `limit` at most.
    ///
    /// # Errors
    /// [`AppError::Forbidden`].
    pub async fn list_group_mappings_after(
        &self,
        principal: &Principal,
        after: Option<Cursor>,
        limit: i64,
    ) -> Result<Vec<MappingRow>, AppError> {
        may_map(principal)?;
        Ok(groups::list_mappings_after(&mut self.store.read().await?, after, limit).await?)
    }

    /// The groups that identity providers have made, by name; only those with `part` in it.
    ///
    /// # Errors
    /// [`AppError::Forbidden`].
    pub async fn browse_groups(
        &self,
        principal: &Principal,
        part: Option<&str>,
        page: Page,
    ) -> Result<Listed<GroupSummary>, AppError> {
        may_map(principal)?;
        Ok(groups::browse(&mut self.store.read().await?, part, page).await?)
    }

    /// One group, and part of its members.
    ///
    /// # Errors
    /// [`AppError::Forbidden`], [`AppError::NotFound`].
    pub async fn view_group(
        &self,
        principal: &Principal,
        id: Uuid,
        page: Page,
    ) -> Result<(GroupRow, Listed<UserId>), AppError> {
        may_map(principal)?;
        let mut connection = self.store.read().await?;
        let group = groups::find(&mut connection, id).await?.ok_or(AppError::NotFound("group"))?;
        let members = groups::list_members(&mut connection, id, page).await?;
        Ok((group, members))
    }

    /// Takes the role from the members of the group again; whoever was given it by somebody keeps it.
    ///
    /// # Errors
    /// [`AppError::Forbidden`], [`AppError::NotFound`].
    pub async fn unmap_group(&self, principal: &Principal, asker: &Asker, id: Uuid) -> Result<(), AppError> {
        may_map(principal)?;
        let mut tx = self.store.begin().await?;
        let mapping = groups::find_mapping(tx.connection(), id).await?.ok_or(NOT_FOUND)?;
        groups::unmap(&mut tx, &mapping).await?;
        tx.audit(entry(principal, asker, "group.unmap", &mapping));
        tx.commit().await?;
        Ok(())
    }
}

fn may_map(principal: &Principal) -> Result<(), AppError> {
    principal.as_owner()?;
    principal.as_superadmin()
}

fn entry(principal: &Principal, asker: &Asker, action: &'static str, mapping: &MappingRow) -> AuditEntry {
    let details = json!({ "group": mapping.group, "displayName": mapping.group_name, "role": mapping.role });
    AuditEntry { details, ..principal.did_in(asker, mapping.domain, action, "group", mapping.group) }
}
