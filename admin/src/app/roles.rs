//! Roles of a domain: who may do what there, and who may say so.
//!
//! Whoever may manage roles can give any action, also ones of its own lack: `manage_role` is an administrator's right. The built-in
//! role `admin` stays as it is and always has a member, so that no domain is left without anybody who can open it.

use cube_wire::record::shown;
use cube_wire::{DomainId, Operation, OperationName, UserId};

use super::authorize::{authorize, rights};
use super::domains::{check_name, new_role_id};
use super::{App, AppError, Asker, Principal};
use crate::clock::Moment;
use crate::store::roles::{self, Member, RoleRow};
use crate::store::{Connection, Listed, Page, WriteTx, users};

/// Most roles of a domain.
const ROLES_MAX: i64 = 1_000;
/// Most members of a role: a change of its actions is one generation with a line for each of them.
const MEMBERS_MAX: i64 = 10_000;
/// Most actions of one request, and of a role.
const ACTIONS_MAX: usize = 256;
/// Longest name of a role and of an action, in bytes.
const ROLE_NAME_LEN_MAX: usize = 200;
const ACTION_LEN_MAX: usize = 64;

/// A role that is to be.
#[derive(Clone, Debug, Default)]
pub struct NewRole {
    /// Unique in its domain.
    pub name: String,
    /// What its members may do.
    pub actions: Vec<String>,
    /// Who has it.
    pub members: Vec<UserId>,
}

/// Which role of which domain.
#[derive(Clone, Copy, Debug)]
pub struct RolePlace<'a> {
    /// The domain.
    pub domain: DomainId,
    /// The role's identifier.
    pub role: &'a str,
}

impl App {
    /// Makes a role.
    ///
    /// # Errors
    /// [`AppError::NotFound`] for the domain and for members; [`AppError::Forbidden`], [`AppError::Invalid`], [`AppError::Conflict`].
    pub async fn create_role(
        &self,
        principal: &Principal,
        asker: &Asker,
        domain: DomainId,
        new: NewRole,
    ) -> Result<RoleRow, AppError> {
        let mut tx = self.store.begin().await?;
        let rights = rights(tx.connection(), principal, domain).await?;
        rights.demand(Operation::ManageRole)?;
        if !new.members.is_empty() {
            rights.demand(Operation::AddRoleUsers)?;
        }
        check_role_name(&new.name)?;
        let actions = check_actions("optional_actions", &new.actions)?;
        if roles::count(tx.connection(), domain).await? >= ROLES_MAX {
            return Err(AppError::Conflict(format!("a domain has at most {ROLES_MAX} roles")));
        }
        let (now, by) = (Moment::now(), Some(principal.user));
        let role = RoleRow {
            id: new_role_id(),
            domain,
            name: new.name,
            builtin: false,
            created_by: by,
            created_at: now,
            updated_by: by,
            updated_at: now,
        };
        roles::insert(&mut tx, &role, &actions).await?;
        add_members(&mut tx, &role, &new.members).await?;
        tx.audit(principal.did_in(asker, domain, "role.create", "role", &role.id));
        tx.commit().await?;
        Ok(role)
    }

    /// The roles of a domain.
    ///
    /// # Errors
    /// [`AppError::NotFound`], [`AppError::Forbidden`].
    pub async fn list_roles(
        &self,
        principal: &Principal,
        domain: DomainId,
        name: Option<&str>,
        page: Page,
    ) -> Result<Listed<RoleRow>, AppError> {
        let mut connection = self.store.read().await?;
        authorize(&mut connection, principal, domain, Operation::ViewRoleUsers).await?;
        Ok(roles::list(&mut connection, domain, name, page).await?)
    }

    /// A role and its actions.
    ///
    /// # Errors
    /// [`AppError::NotFound`], [`AppError::Forbidden`].
    pub async fn view_role(
        &self,
        principal: &Principal,
        place: RolePlace<'_>,
    ) -> Result<(RoleRow, Vec<String>), AppError> {
        let mut connection = self.store.read().await?;
        let role = find(&mut connection, principal, place, Operation::ViewRoleUsers).await?;
        let actions = roles::actions(&mut connection, &role).await?;
        Ok((role, actions))
    }

    /// Gives a role another name.
    ///
    /// # Errors
    /// [`AppError::NotFound`], [`AppError::Forbidden`], [`AppError::Invalid`]; [`AppError::Conflict`] for a name that is taken and for the
    /// built-in role.
    pub async fn rename_role(
        &self,
        principal: &Principal,
        asker: &Asker,
        place: RolePlace<'_>,
        name: &str,
    ) -> Result<RoleRow, AppError> {
        let mut tx = self.store.begin().await?;
        let role = find_own(&mut tx, principal, place).await?;
        check_role_name(name)?;
        roles::rename(&mut tx, &role, name, principal.user, Moment::now()).await?;
        tx.audit(principal.did_in(asker, place.domain, "role.rename", "role", &role.id));
        let role = roles::find(tx.connection(), place.domain, place.role).await?;
        tx.commit().await?;
        role.ok_or(AppError::NotFound("role"))
    }

    /// Deletes a role.
    ///
    /// # Errors
    /// [`AppError::NotFound`], [`AppError::Forbidden`]; [`AppError::Conflict`] for the built-in role.
    pub async fn delete_role(
        &self,
        principal: &Principal,
        asker: &Asker,
        place: RolePlace<'_>,
    ) -> Result<(), AppError> {
        let mut tx = self.store.begin().await?;
        let role = find_own(&mut tx, principal, place).await?;
        roles::delete(&mut tx, &role).await?;
        tx.audit(principal.did_in(asker, place.domain, "role.delete", "role", &role.id));
        tx.commit().await?;
        Ok(())
    }

    /// Lets a role's members do more; returns all that they may do then.
    ///
    /// # Errors
    /// [`AppError::NotFound`], [`AppError::Forbidden`], [`AppError::Invalid`]; [`AppError::Conflict`] for the built-in role.
    pub async fn add_role_actions(
        &self,
        principal: &Principal,
        asker: &Asker,
        place: RolePlace<'_>,
        actions: &[String],
    ) -> Result<Vec<String>, AppError> {
        let mut tx = self.store.begin().await?;
        let role = find_own(&mut tx, principal, place).await?;
        let actions = check_actions("actions", actions)?;
        if actions.is_empty() {
            return Err(AppError::invalid("actions", "at least one"));
        }
        roles::add_actions(&mut tx, &role, &actions).await?;
        let all = roles::actions(tx.connection(), &role).await?;
        if all.len() > ACTIONS_MAX {
            return Err(AppError::Conflict(format!("a role has at most {ACTIONS_MAX} actions")));
        }
        tx.audit(principal.did_in(asker, place.domain, "role.actions.add", "role", &role.id));
        tx.commit().await?;
        Ok(all)
    }

    /// Lets a role's members do less; `None`: nothing any more. What they could not do anyway is left out.
    ///
    /// # Errors
    /// [`AppError::NotFound`], [`AppError::Forbidden`], [`AppError::Invalid`]; [`AppError::Conflict`] for the built-in role.
    pub async fn remove_role_actions(
        &self,
        principal: &Principal,
        asker: &Asker,
        place: RolePlace<'_>,
        actions: Option<&[String]>,
    ) -> Result<(), AppError> {
        let mut tx = self.store.begin().await?;
        let role = find_own(&mut tx, principal, place).await?;
        if let Some(actions) = actions
            && check_actions("actions", actions)?.is_empty()
        {
            return Err(AppError::invalid("actions", "at least one"));
        }
        roles::remove_actions(&mut tx, &role, actions).await?;
        tx.audit(principal.did_in(asker, place.domain, "role.actions.remove", "role", &role.id));
        tx.commit().await?;
        Ok(())
    }

    /// A role's members.
    ///
    /// # Errors
    /// [`AppError::NotFound`], [`AppError::Forbidden`].
    pub async fn role_members(
        &self,
        principal: &Principal,
        place: RolePlace<'_>,
        page: Page,
    ) -> Result<Listed<UserId>, AppError> {
        let mut connection = self.store.read().await?;
        let role = find(&mut connection, principal, place, Operation::ViewRoleUsers).await?;
        Ok(roles::members(&mut connection, &role, page).await?)
    }

    /// Gives a role to users; those who have it already keep it.
    ///
    /// # Errors
    /// [`AppError::NotFound`], also for users who are not there; [`AppError::Forbidden`], [`AppError::Invalid`], [`AppError::Conflict`].
    pub async fn add_role_members(
        &self,
        principal: &Principal,
        asker: &Asker,
        place: RolePlace<'_>,
        members: &[UserId],
    ) -> Result<(), AppError> {
        let mut tx = self.store.begin().await?;
        let role = find(tx.connection(), principal, place, Operation::AddRoleUsers).await?;
        at_least_one(members)?;
        add_members(&mut tx, &role, members).await?;
        tx.audit(principal.did_in(asker, place.domain, "role.members.add", "role", &role.id));
        tx.commit().await?;
        Ok(())
    }

    /// Takes a role from users; `None`: from all who have it. Those who do not have it are left out.
    ///
    /// # Errors
    /// [`AppError::NotFound`], [`AppError::Forbidden`], [`AppError::Invalid`]; [`AppError::Conflict`] if the built-in role would be left
    /// without a member.
    pub async fn remove_role_members(
        &self,
        principal: &Principal,
        asker: &Asker,
        place: RolePlace<'_>,
        members: Option<&[UserId]>,
    ) -> Result<(), AppError> {
        let mut tx = self.store.begin().await?;
        let role = find(tx.connection(), principal, place, Operation::RemoveRoleUsers).await?;
        match members {
            None => roles::remove_all_members(&mut tx, &role).await?,
            Some(members) => {
                at_least_one(members)?;
                for member in members {
                    roles::remove_member(&mut tx, &role, *member).await?;
                }
            }
        }
        if role.builtin {
            leave_an_admin(&mut tx, place.domain).await?;
        }
        tx.audit(principal.did_in(asker, place.domain, "role.members.remove", "role", &role.id));
        tx.commit().await?;
        Ok(())
    }

    /// Everybody who has a role in the domain, each role with its actions.
    ///
    /// # Errors
    /// [`AppError::NotFound`], [`AppError::Forbidden`].
    pub async fn domain_members(
        &self,
        principal: &Principal,
        domain: DomainId,
        page: Page,
    ) -> Result<Listed<Member>, AppError> {
        let mut connection = self.store.read().await?;
        authorize(&mut connection, principal, domain, Operation::ViewRoleUsers).await?;
        Ok(roles::domain_members(&mut connection, domain, page).await?)
    }

    /// Takes every role of the domain from these users.
    ///
    /// # Errors
    /// [`AppError::NotFound`], [`AppError::Forbidden`], [`AppError::Invalid`]; [`AppError::Conflict`] if the built-in role would be left
    /// without a member.
    pub async fn remove_from_domain(
        &self,
        principal: &Principal,
        asker: &Asker,
        domain: DomainId,
        members: &[UserId],
    ) -> Result<(), AppError> {
        let mut tx = self.store.begin().await?;
        authorize(tx.connection(), principal, domain, Operation::RemoveRoleUsers).await?;
        at_least_one(members)?;
        let admins = admin_count(&mut tx, domain).await?;
        for member in members {
            if roles::remove_from_domain(&mut tx, domain, *member).await? {
                tx.audit(principal.did_in(asker, domain, "domain.member.remove", "user", member));
            }
        }
        // There may have been none: administrators' accounts can be deleted.
        if admins > 0 {
            leave_an_admin(&mut tx, domain).await?;
        }
        tx.commit().await?;
        Ok(())
    }
}

async fn find(
    connection: &mut Connection,
    principal: &Principal,
    place: RolePlace<'_>,
    operation: Operation,
) -> Result<RoleRow, AppError> {
    authorize(connection, principal, place.domain, operation).await?;
    roles::find(connection, place.domain, place.role).await?.ok_or(AppError::NotFound("role"))
}

/// A role that the domain made itself, for whoever may change it.
async fn find_own(
    tx: &mut WriteTx,
    principal: &Principal,
    place: RolePlace<'_>,
) -> Result<RoleRow, AppError> {
    let role = find(tx.connection(), principal, place, Operation::ManageRole).await?;
    if role.builtin {
        return Err(AppError::Conflict("the built-in role stays as it is".to_owned()));
    }
    Ok(role)
}

pub(super) async fn add_members(
    tx: &mut WriteTx,
    role: &RoleRow,
    members: &[UserId],
) -> Result<(), AppError> {
    for member in members {
        users::find(tx.connection(), *member).await?.ok_or(AppError::NotFound("user"))?;
        roles::add_member(tx, role, *member).await?;
    }
    if roles::member_count(tx.connection(), role).await? > MEMBERS_MAX {
        return Err(AppError::Conflict(format!("a role has at most {MEMBERS_MAX} members")));
    }
    Ok(())
}

/// Refuses to go on if nobody has the built-in role any more.
async fn leave_an_admin(tx: &mut WriteTx, domain: DomainId) -> Result<(), AppError> {
    if admin_count(tx, domain).await? == 0 {
        return Err(AppError::Conflict("this is the domain's last administrator".to_owned()));
    }
    Ok(())
}

async fn admin_count(tx: &mut WriteTx, domain: DomainId) -> Result<i64, AppError> {
    let admin = roles::builtin(tx.connection(), domain).await?.ok_or(AppError::NotFound("role"))?;
    Ok(roles::member_count(tx.connection(), &admin).await?)
}

fn at_least_one(members: &[UserId]) -> Result<(), AppError> {
    if members.is_empty() { Err(AppError::invalid("members", "at least one")) } else { Ok(()) }
}

fn check_role_name(name: &str) -> Result<(), AppError> {
    if name.len() > ROLE_NAME_LEN_MAX {
        return Err(AppError::invalid("role_name", format!("at most {ROLE_NAME_LEN_MAX} bytes")));
    }
    check_name("role_name", name)
}

/// Actions that a role can hold: ours, and the families that Cube kept and that never act.
fn check_actions<'a>(field: &'static str, actions: &'a [String]) -> Result<Vec<&'a str>, AppError> {
    if actions.len() > ACTIONS_MAX {
        return Err(AppError::invalid(field, format!("at most {ACTIONS_MAX}")));
    }
    let known = |action: &str| {
        action.len() <= ACTION_LEN_MAX
            && action.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
            && OperationName::from(action).is_known()
    };
    match actions.iter().find(|action| !known(action)) {
        Some(unknown) => Err(AppError::invalid(field, format!("there is no action `{}`", shown(unknown)))),
        None => Ok(actions.iter().map(String::as_str).collect()),
    }
}
