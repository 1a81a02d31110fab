//! What somebody may do in a domain: the same rules by which proxies decide.
//!
//! 1. A user's **role** in a domain is what all roles there let it do, with what that implies. A superadmin's is everything.
//! 2. The domain's **status** is a gate: disabled lets only its administrators through, freezed only superadmins.
//! 3. A PAT's **scopes** narrow that and never widen it, a superadmin's too.
//! 4. To whoever has no right of any kind in a domain, it does not exist.

use cube_wire::record::DomainStatus;
use cube_wire::{DomainId, Operation, OperationSet};

use super::{AppError, Principal};
use crate::store::{Connection, domains, roles};

/// What one principal may do in one domain that it may know of.
#[derive(Clone, Copy, Debug)]
pub struct Rights<'p> {
    principal: &'p Principal,
    domain: DomainId,
    /// What the role allows, after the gate.
    role: OperationSet,
    /// What to say when the gate is why something is not allowed.
    refusal: &'static str,
}

impl Rights<'_> {
    /// Whether `operation` is allowed on the domain as a whole.
    #[must_use]
    pub fn allows(&self, operation: Operation) -> bool {
        self.role.contains(operation) && self.principal.scopes_allow_in(self.domain, operation)
    }

    /// Whether `operation` is allowed on one model of the domain.
    #[must_use]
    pub fn allows_on(&self, operation: Operation, model: &str) -> bool {
        self.allows(operation)
            || (self.role.contains(operation)
                && self.principal.scopes_allow_on_model(self.domain, model, operation))
    }

    /// All that is allowed on the domain as a whole.
    #[must_use]
    pub fn all(&self) -> OperationSet {
        Operation::ALL.iter().copied().filter(|operation| self.allows(*operation)).collect()
    }

    /// Refuses what is not allowed on the domain as a whole.
    ///
    /// # Errors
    /// [`AppError::Forbidden`].
    pub fn demand(&self, operation: Operation) -> Result<(), AppError> {
        if self.allows(operation) { Ok(()) } else { Err(AppError::Forbidden(self.refusal)) }
    }

    /// Refuses what is not allowed on one model.
    ///
    /// # Errors
    /// [`AppError::Forbidden`].
    pub fn demand_on(&self, operation: Operation, model: &str) -> Result<(), AppError> {
        if self.allows_on(operation, model) { Ok(()) } else { Err(AppError::Forbidden(self.refusal)) }
    }

    /// What is answered to whoever may know of the domain and not do this.
    #[must_use]
    pub const fn refusal(&self) -> AppError {
        AppError::Forbidden(self.refusal)
    }
}

/// What `principal` may do in `domain`.
///
/// # Errors
/// [`AppError::NotFound`]: there is no such domain, or the principal has no right of any kind in it.
pub async fn rights<'p>(
    connection: &mut Connection,
    principal: &'p Principal,
    domain: DomainId,
) -> Result<Rights<'p>, AppError> {
    const NOT_FOUND: AppError = AppError::NotFound("domain");
    let status = domains::status(connection, domain).await?.ok_or(NOT_FOUND)?;
    let actions = match principal.superadmin {
        true => Vec::new(),
        false => roles::actions_of_user(connection, domain, principal.user).await?,
    };
    if (actions.is_empty() && !principal.superadmin) || !principal.has_scope_in(domain) {
        return Err(NOT_FOUND);
    }
    let role = match principal.superadmin {
        true => OperationSet::ALL,
        false => {
            let acting = actions.iter().filter_map(|action| Operation::from_name(action));
            acting.collect::<OperationSet>().with_implied()
        }
    };
    let (open, closed) = match status {
        DomainStatus::Enabled => (true, ""),
        DomainStatus::Disabled => (role.contains_all(OperationSet::ADMIN), "the domain is disabled"),
        DomainStatus::Freezed => (principal.superadmin, "the domain is frozen"),
    };
    let refusal = if open { "not allowed in this domain" } else { closed };
    let role = if open { role } else { OperationSet::EMPTY };
    Ok(Rights { principal, domain, role, refusal })
}

/// Refuses what `principal` may not do on `domain` as a whole.
///
/// # Errors
/// [`AppError::NotFound`]: no right of any kind there; [`AppError::Forbidden`]: some, but not this.
pub async fn authorize(
    connection: &mut Connection,
    principal: &Principal,
    domain: DomainId,
    operation: Operation,
) -> Result<(), AppError> {
    rights(connection, principal, domain).await?.demand(operation)
}
