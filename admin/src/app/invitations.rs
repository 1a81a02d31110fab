//! Invitations: a role that is offered to a user, who may take it or not. Only those concerned see one.

use cube_wire::record::DomainStatus;
use cube_wire::{DomainId, Operation, UserId};

use super::authorize::authorize;
use super::roles::add_members;
use super::{App, AppError, Asker, Principal};
use crate::clock::Moment;
use crate::store::invitations::{self, InvitationFilter, InvitationRow, InvitationState};
use crate::store::{Listed, Page, WriteTx, domains, roles, users};

impl App {
    /// Offers a role to a user. With `resend`, an offer that is pending or was rejected is made anew.
    ///
    /// # Errors
    /// [`AppError::NotFound`] for the domain, the role and the user; [`AppError::Forbidden`]; [`AppError::Conflict`] if the user has the role
    /// or was offered one.
    pub async fn invite(
        &self,
        principal: &Principal,
        asker: &Asker,
        domain: DomainId,
        (invitee, role): (UserId, &str),
        resend: bool,
    ) -> Result<InvitationRow, AppError> {
        let mut tx = self.store.begin().await?;
        authorize(tx.connection(), principal, domain, Operation::SendInvitation).await?;
        let role = roles::find(tx.connection(), domain, role).await?.ok_or(AppError::NotFound("role"))?;
        users::find(tx.connection(), invitee).await?.ok_or(AppError::NotFound("user"))?;
        if roles::has_member(tx.connection(), &role, invitee).await? {
            return Err(AppError::Conflict("the user has this role already".to_owned()));
        }
        let before = invitations::find(tx.connection(), domain, invitee).await?;
        let open = before.is_some_and(|before| before.state() != InvitationState::Accepted);
        if open && !resend {
            return Err(AppError::Conflict("the user is invited already; `resend` does it again".to_owned()));
        }
        invitations::put(&mut tx, domain, invitee, &role.id, principal.user, Moment::now()).await?;
        tx.audit(principal.did_in(asker, domain, "invitation.send", "user", invitee));
        let row = invitations::find(tx.connection(), domain, invitee).await?;
        tx.commit().await?;
        row.ok_or(AppError::NotFound("invitation"))
    }

    /// Invitations into a domain.
    ///
    /// # Errors
    /// [`AppError::NotFound`], [`AppError::Forbidden`].
    pub async fn domain_invitations(
        &self,
        principal: &Principal,
        domain: DomainId,
        state: Option<InvitationState>,
        page: Page,
    ) -> Result<Listed<InvitationRow>, AppError> {
        let mut connection = self.store.read().await?;
        authorize(&mut connection, principal, domain, Operation::ListDomainInvitation).await?;
        let filter = InvitationFilter { domain: Some(domain), invitee: None, state };
        Ok(invitations::list(&mut connection, &filter, page).await?)
    }

    /// The principal's own invitations.
    ///
    /// # Errors
    /// [`AppError::Forbidden`] for a PAT that is narrowed by scopes.
    pub async fn own_invitations(
        &self,
        principal: &Principal,
        state: Option<InvitationState>,
        page: Page,
    ) -> Result<Listed<InvitationRow>, AppError> {
        principal.as_owner()?;
        let filter = InvitationFilter { domain: None, invitee: Some(principal.user), state };
        Ok(invitations::list(&mut self.store.read().await?, &filter, page).await?)
    }

    /// Takes the role that is offered.
    ///
    /// # Errors
    /// [`AppError::NotFound`] without an invitation; [`AppError::Conflict`] if it is settled; [`AppError::Forbidden`] if the domain is closed.
    pub async fn accept_invitation(
        &self,
        principal: &Principal,
        asker: &Asker,
        domain: DomainId,
    ) -> Result<(), AppError> {
        let mut tx = self.store.begin().await?;
        let invitation = pending(&mut tx, principal, domain).await?;
        if domains::status(tx.connection(), domain).await? != Some(DomainStatus::Enabled) {
            return Err(AppError::Forbidden("the domain is closed"));
        }
        let role = roles::find(tx.connection(), domain, &invitation.role_id).await?;
        add_members(&mut tx, &role.ok_or(AppError::NotFound("role"))?, &[principal.user]).await?;
        invitations::settle(&mut tx, domain, principal.user, true, Moment::now()).await?;
        tx.audit(principal.did_in(asker, domain, "invitation.accept", "user", principal.user));
        tx.commit().await?;
        Ok(())
    }

    /// Declines the role that is offered.
    ///
    /// # Errors
    /// [`AppError::NotFound`] without an invitation; [`AppError::Conflict`] if it is settled.
    pub async fn reject_invitation(
        &self,
        principal: &Principal,
        asker: &Asker,
        domain: DomainId,
    ) -> Result<(), AppError> {
        let mut tx = self.store.begin().await?;
        pending(&mut tx, principal, domain).await?;
        invitations::settle(&mut tx, domain, principal.user, false, Moment::now()).await?;
        tx.audit(principal.did_in(asker, domain, "invitation.reject", "user", principal.user));
        tx.commit().await?;
        Ok(())
    }

    /// Takes an invitation back: the invited user may, and whoever may delete invitations in the domain. A role that was taken
    /// stays.
    ///
    /// # Errors
    /// [`AppError::NotFound`], [`AppError::Forbidden`].
    pub async fn delete_invitation(
        &self,
        principal: &Principal,
        asker: &Asker,
        domain: DomainId,
        invitee: UserId,
    ) -> Result<(), AppError> {
        let mut tx = self.store.begin().await?;
        let own = invitee == principal.user && principal.as_owner().is_ok();
        if !own {
            authorize(tx.connection(), principal, domain, Operation::DeleteInvitation).await?;
        }
        if !invitations::delete(&mut tx, domain, invitee).await? {
            return Err(AppError::NotFound("invitation"));
        }
        tx.audit(principal.did_in(asker, domain, "invitation.delete", "user", invitee));
        tx.commit().await?;
        Ok(())
    }
}

async fn pending(
    tx: &mut WriteTx,
    principal: &Principal,
    domain: DomainId,
) -> Result<InvitationRow, AppError> {
    principal.as_owner()?;
    let found = invitations::find(tx.connection(), domain, principal.user).await?;
    let found = found.ok_or(AppError::NotFound("invitation"))?;
    match found.state() {
        InvitationState::Pending => Ok(found),
        InvitationState::Accepted => Err(AppError::Conflict("the invitation was accepted".to_owned())),
        InvitationState::Rejected => Err(AppError::Conflict("the invitation was rejected".to_owned())),
    }
}
