//! Who asks, and how that was shown.

use cube_wire::record::{EntityType, ScopeRecord};
use cube_wire::{DomainId, Operation, PatId, UserId};

use uuid::Uuid;

use super::AppError;
use crate::store::AuditEntry;
use crate::store::api_keys::{ApiKeyRights, ApiScope};
use crate::store::audit::Credential;

/// Somebody who has shown a good credential.
#[derive(Clone, Debug)]
pub struct Principal {
    /// Who.
    pub user: UserId,
    /// Passes every role in every domain. Scopes of a PAT still hold.
    pub superadmin: bool,
    /// With what.
    pub via: Via,
}

/// What was shown.
#[derive(Clone, Debug)]
pub enum Via {
    /// An access token.
    Login {
        /// The login's `jti`.
        login: String,
    },
    /// A PAT.
    Pat {
        /// Which.
        id: PatId,
        /// Acts as its owner.
        full_access: bool,
        /// What it may do, at most.
        scopes: Vec<ScopeRecord>,
    },
    /// An access token of the external issuer.
    External {
        /// What it may do, at most: its scopes, nowhere in particular.
        rights: ApiKeyRights,
    },
    /// An API key.
    ApiKey {
        /// Which.
        id: Uuid,
        /// What it may do, at most.
        rights: ApiKeyRights,
    },
    /// A shell on this machine, with the database in reach.
    Local,
}

impl Via {
    /// As the audit log names it.
    const fn credential(&self) -> Credential {
        match self {
            Self::Login { .. } => Credential::Login,
            Self::Pat { .. } => Credential::Pat,
            Self::External { .. } => Credential::ExternalToken,
            Self::ApiKey { .. } => Credential::ApiKey,
            Self::Local => Credential::Local,
        }
    }
}

/// A request's surroundings, for the audit log.
#[derive(Clone, Debug, Default)]
pub struct Asker {
    /// The request's name.
    pub request_id: String,
    /// The caller's address.
    pub client_ip: Option<String>,
}

impl Principal {
    /// Refuses PATs: what manages credentials must not be done with one.
    ///
    /// # Errors
    /// [`AppError::Forbidden`].
    pub fn without_pat(&self) -> Result<(), AppError> {
        match self.via {
            Via::Login { .. } | Via::Local => Ok(()),
            Via::Pat { .. } => Err(AppError::Forbidden("a PAT cannot manage credentials; log in")),
            Via::ApiKey { .. } => Err(AppError::Forbidden("an API key cannot manage credentials; log in")),
            Via::External { .. } => Err(AppError::Forbidden("log in to manage credentials")),
        }
    }

    /// Whether the credential's scopes let it do `operation` on something of `entity_type` that is in no domain. A login has no scopes.
    #[must_use]
    pub fn scopes_allow(&self, entity_type: &str, entity_id: &str, operation: &str) -> bool {
        self.scopes_hold(entity_type, None, entity_id, operation)
    }

    /// Whether the credential's scopes let it do `operation` on the domain itself. Says nothing about roles.
    #[must_use]
    pub fn scopes_allow_in(&self, domain: DomainId, operation: Operation) -> bool {
        self.scopes_hold("domains", Some(domain), &domain.to_string(), operation.name())
    }

    /// Whether the credential's scopes let it do `operation` on one model of the domain. Says nothing about roles.
    #[must_use]
    pub fn scopes_allow_on_model(&self, domain: DomainId, model: &str, operation: Operation) -> bool {
        self.scopes_hold("models", Some(domain), model, operation.name())
    }

    /// The names of models of the domain on which the credential has a scope for `operation`. Says nothing about roles.
    #[must_use]
    pub fn scoped_models(&self, domain: DomainId, operation: Operation) -> Vec<String> {
        let Via::Pat { scopes, .. } = &self.via else { return Vec::new() };
        let on_model = |scope: &&ScopeRecord| {
            scope.entity_type == EntityType::Models
                && scope.domain_id == Some(domain)
                && scope.operation.as_str() == operation.name()
        };
        scopes.iter().filter(on_model).map(|scope| scope.entity_id.clone()).collect()
    }

    /// Whether the credential has a scope on the domain or on anything in it that acts. A login needs none.
    #[must_use]
    pub fn has_scope_in(&self, domain: DomainId) -> bool {
        self.scoped_domains().is_none_or(|domains| domains.contains(&domain))
    }

    /// The domains in which the credential has a scope that acts; `None`: it is not narrowed.
    #[must_use]
    pub fn scoped_domains(&self) -> Option<Vec<DomainId>> {
        match &self.via {
            Via::Login { .. } | Via::Local | Via::Pat { full_access: true, .. } => None,
            Via::ApiKey { rights, .. } | Via::External { rights } => rights.domains.clone(),
            Via::Pat { scopes, .. } => {
                let acting = scopes
                    .iter()
                    .filter(|scope| matches!(scope.entity_type, EntityType::Domains | EntityType::Models));
                let mut domains: Vec<_> = acting.filter_map(|scope| scope.domain_id).collect();
                domains.sort_unstable();
                domains.dedup();
                Some(domains)
            }
        }
    }

    /// Refuses PATs that are narrowed by scopes: for what no scope can name.
    ///
    /// # Errors
    /// [`AppError::Forbidden`].
    pub fn as_owner(&self) -> Result<(), AppError> {
        if self.narrowed().is_some() {
            return Err(AppError::Forbidden("not for API keys and external access tokens"));
        }
        match self.scoped_domains() {
            None => Ok(()),
            Some(_) => Err(AppError::Forbidden("the PAT's scopes do not allow this")),
        }
    }

    fn scopes_hold(
        &self,
        entity_type: &str,
        domain: Option<DomainId>,
        entity_id: &str,
        operation: &str,
    ) -> bool {
        match &self.via {
            Via::Login { .. } | Via::Local | Via::Pat { full_access: true, .. } => true,
            Via::Pat { scopes, .. } => scopes.iter().any(|scope| {
                scope.entity_type.as_str() == entity_type
                    && (domain.is_none() || scope.domain_id == domain)
                    && (scope.entity_id == "*" || scope.entity_id == entity_id)
                    && scope.operation.as_str() == operation
            }),
            Via::ApiKey { rights, .. } | Via::External { rights } => {
                domain.is_none_or(|domain| in_limit(rights.domains.as_deref(), &domain))
                    && rights.scopes.iter().any(|scope| key_scope_allows(*scope, entity_type, operation))
            }
        }
    }

    /// What an API key or an external access token is narrowed to; nothing for the others.
    #[must_use]
    pub fn narrowed(&self) -> Option<&ApiKeyRights> {
        match &self.via {
            Via::ApiKey { rights, .. } | Via::External { rights } => Some(rights),
            Via::Login { .. } | Via::Local | Via::Pat { .. } => None,
        }
    }

    /// Refuses API keys and external access tokens without this scope. Whoever else may do it is decided by roles.
    ///
    /// # Errors
    /// [`AppError::InsufficientScope`].
    pub fn demand_key_scope(&self, needed: ApiScope) -> Result<(), AppError> {
        match self.narrowed() {
            Some(rights) if !rights.scopes.iter().any(|scope| scope.covers(needed)) => {
                Err(AppError::InsufficientScope { needed: needed.name() })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Whether the credential is not limited to other deployments than this one.
    #[must_use]
    pub fn allows_deployment(&self, name: &str) -> bool {
        self.narrowed().is_none_or(|rights| in_limit(rights.deployments.as_deref(), name))
    }

    /// The only deployments that the credential is for; `None`: all of them.
    #[must_use]
    pub fn only_deployments(&self) -> Option<&[String]> {
        self.narrowed()?.deployments.as_deref()
    }

    /// Refuses everybody but superadmins (with a login, a PAT that acts as its owner, or an API key or external access token that is not
    /// limited to domains).
    ///
    /// # Errors
    /// [`AppError::Forbidden`].
    pub fn as_superadmin(&self) -> Result<(), AppError> {
        let narrowed = match &self.via {
            Via::Login { .. } | Via::Local => false,
            Via::Pat { full_access, .. } => !full_access,
            Via::ApiKey { rights, .. } | Via::External { rights } => rights.domains.is_some(),
        };
        if self.superadmin && !narrowed { Ok(()) } else { Err(AppError::Forbidden("only for superadmins")) }
    }

    /// An audit entry of something that this principal did.
    #[must_use]
    pub fn did(
        &self,
        asker: &Asker,
        action: &'static str,
        entity_type: &'static str,
        entity_id: impl ToString,
    ) -> AuditEntry {
        let (actor_pat, actor_key) = match self.via {
            Via::Pat { id, .. } => (Some(id), None),
            Via::ApiKey { id, .. } => (None, Some(id)),
            Via::Login { .. } | Via::External { .. } | Via::Local => (None, None),
        };
        AuditEntry {
            actor_user: Some(self.user),
            credential: Some(self.via.credential()),
            actor_pat,
            actor_key,
            action,
            entity_type,
            entity_id: entity_id.to_string(),
            outcome: "ok",
            request_id: asker.request_id.clone(),
            client_ip: asker.client_ip.clone(),
            ..AuditEntry::default()
        }
    }
}

fn in_limit<T: PartialEq<U>, U: ?Sized>(limit: Option<&[T]>, one: &U) -> bool {
    limit.is_none_or(|limit| limit.iter().any(|allowed| allowed == one))
}

/// Whether a scope of an API key opens what a PAT would need this scope for.
fn key_scope_allows(scope: ApiScope, entity_type: &str, operation: &str) -> bool {
    let reading = operation == Operation::LlmRead.name();
    let writing = [Operation::LlmCreate, Operation::LlmUpdate, Operation::LlmDelete];
    match entity_type {
        "users" => scope == ApiScope::Scim || (scope == ApiScope::UsersRead && operation == "read"),
        "domains" | "models" if reading => scope.covers(ApiScope::ModelsRead),
        "domains" | "models" if writing.iter().any(|allowed| allowed.name() == operation) => {
            scope == ApiScope::ModelsWrite
        }
        "domains" => {
            operation == Operation::AuditLogRead.name()
                && matches!(scope, ApiScope::AuditRead | ApiScope::UsageRead)
        }
        _ => false,
    }
}
