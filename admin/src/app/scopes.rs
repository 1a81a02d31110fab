//! Scopes: what a PAT may do at most. What it may do in fact is that and what its owner may do.
//!
//! What is stored here compiles on every proxy: a proxy that met an operation or an entity that it cannot place would refuse the
//! whole generation. Entity types that proxies do not act on may say anything.

use std::collections::BTreeSet;

use cube_wire::record::{ANY_ENTITY, MODEL_NAME_LEN_MAX, shown};
use cube_wire::{DomainId, Operation, OperationName, PatId};
use serde_json::json;
use uuid::Uuid;

use super::pats::NO_PAT;
use super::users::check_text;
use super::{App, AppError, Asker, Principal, authorize};
use crate::store::scopes::{self, ScopeRow};
use crate::store::{AuditEntry, Listed, Page, WriteTx, pats};

/// Entity types that are stored and shown, and on which nothing acts.
const STORED_TYPES: [&str; 6] = ["datasets", "groups", "channels", "clients", "dashboards", "messages"];
/// What a scope on users may allow; the management API acts on it.
pub const USER_OPERATIONS: [&str; 5] = ["read", "update", "delete", "enable", "disable"];
/// Longest name of an operation, in bytes.
const OPERATION_LEN_MAX: usize = 50;

/// A scope that is to be.
#[derive(Clone, Debug)]
pub struct NewScope {
    /// See [`ScopeRow`].
    pub entity_type: String,
    /// See [`ScopeRow`].
    pub domain: Option<DomainId>,
    /// See [`ScopeRow`].
    pub entity_id: String,
    /// See [`ScopeRow`].
    pub operation: String,
}

impl App {
    /// Adds scopes to a PAT: all of them or none. One for `*` takes the place of those for single entities.
    ///
    /// # Errors
    /// [`AppError::Forbidden`] for a PAT; [`AppError::NotFound`] for the PAT or a domain that is not there for the principal;
    /// [`AppError::Invalid`]; [`AppError::Unprocessable`] for a scope that the PAT has; [`AppError::Conflict`] for too many.
    pub async fn add_scopes(
        &self,
        principal: &Principal,
        asker: &Asker,
        pat: PatId,
        new: Vec<NewScope>,
    ) -> Result<(), AppError> {
        principal.without_pat()?;
        if new.is_empty() {
            return Err(AppError::invalid("scopes", "must not be empty"));
        }
        let mut tx = self.store.begin().await?;
        let row = pats::find(tx.connection(), principal.user, pat).await?.ok_or(NO_PAT)?;
        if row.full_access {
            return Err(AppError::Conflict("a PAT with full access is not narrowed by scopes".to_owned()));
        }
        let details = json!({ "scopes": new.iter().map(describe).collect::<Vec<_>>() });
        self.put_scopes(&mut tx, principal, pat, new).await?;
        tx.audit(AuditEntry { details, ..principal.did(asker, "pat.scope_add", "pat", pat) });
        tx.commit().await?;
        Ok(())
    }

    /// Adds scopes to a PAT of the principal's within a change.
    pub(super) async fn put_scopes(
        &self,
        tx: &mut WriteTx,
        principal: &Principal,
        pat: PatId,
        new: Vec<NewScope>,
    ) -> Result<(), AppError> {
        let max = self.settings.pats.scopes_max;
        let too_many = || AppError::Conflict(format!("a PAT has at most {max} scopes"));
        if new.len() > max as usize {
            return Err(too_many());
        }
        let mut rows = new.into_iter().map(|scope| checked(scope, pat)).collect::<Result<Vec<_>, _>>()?;
        // So that what one request says does not depend on its order.
        rows.sort_by_key(|row| row.entity_id == ANY_ENTITY);
        let domains: BTreeSet<DomainId> = rows.iter().filter_map(|row| row.domain).collect();
        for domain in domains {
            // Some right, of any kind: a scope narrows what the owner may do later too.
            authorize::rights(tx.connection(), principal, domain).await?;
        }
        for row in rows {
            if row.entity_id == ANY_ENTITY {
                scopes::remove_alike(tx, &row).await?;
            } else if scopes::is_covered(tx.connection(), &row).await? {
                let text = format!("the PAT has a scope for every entity already: {}", shown_scope(&row));
                return Err(AppError::Unprocessable(text));
            }
            if !scopes::insert(tx, &row).await? {
                let text = format!("the PAT has this scope already: {}", shown_scope(&row));
                return Err(AppError::Unprocessable(text));
            }
        }
        match scopes::count(tx.connection(), pat).await? > i64::from(max) {
            true => Err(too_many()),
            false => Ok(()),
        }
    }

    /// A PAT's scopes.
    ///
    /// # Errors
    /// [`AppError::Forbidden`] for a PAT; [`AppError::NotFound`].
    pub async fn list_scopes(
        &self,
        principal: &Principal,
        pat: PatId,
        page: Page,
    ) -> Result<Listed<ScopeRow>, AppError> {
        principal.without_pat()?;
        let mut connection = self.store.read().await?;
        pats::find(&mut connection, principal.user, pat).await?.ok_or(NO_PAT)?;
        Ok(scopes::list(&mut connection, pat, page).await?)
    }

    /// Removes some of a PAT's scopes; identifiers of others are passed over.
    ///
    /// # Errors
    /// [`AppError::Forbidden`] for a PAT; [`AppError::Invalid`]; [`AppError::NotFound`] for the PAT, or if it has none of them.
    pub async fn remove_scopes(
        &self,
        principal: &Principal,
        asker: &Asker,
        pat: PatId,
        ids: &[Uuid],
    ) -> Result<(), AppError> {
        principal.without_pat()?;
        if ids.is_empty() {
            return Err(AppError::invalid("scopes_id", "must not be empty"));
        }
        let mut tx = self.store.begin().await?;
        pats::find(tx.connection(), principal.user, pat).await?.ok_or(NO_PAT)?;
        if scopes::remove(&mut tx, pat, ids).await? == 0 {
            return Err(AppError::NotFound("scope"));
        }
        let details = json!({ "scopes": ids });
        tx.audit(AuditEntry { details, ..principal.did(asker, "pat.scope_remove", "pat", pat) });
        tx.commit().await?;
        Ok(())
    }

    /// Removes all of a PAT's scopes: it can do nothing then.
    ///
    /// # Errors
    /// [`AppError::Forbidden`] for a PAT; [`AppError::NotFound`].
    pub async fn clear_scopes(
        &self,
        principal: &Principal,
        asker: &Asker,
        pat: PatId,
    ) -> Result<(), AppError> {
        principal.without_pat()?;
        let mut tx = self.store.begin().await?;
        pats::find(tx.connection(), principal.user, pat).await?.ok_or(NO_PAT)?;
        let scopes = scopes::clear(&mut tx, pat).await?;
        let details = json!({ "scopes": scopes });
        tx.audit(AuditEntry { details, ..principal.did(asker, "pat.scope_clear", "pat", pat) });
        tx.commit().await?;
        Ok(())
    }
}

fn describe(scope: &NewScope) -> serde_json::Value {
    let NewScope { entity_type, domain, entity_id, operation } = scope;
    json!({ "entity_type": entity_type, "domain_id": domain, "entity_id": entity_id, "operation": operation })
}

fn shown_scope(row: &ScopeRow) -> String {
    format!("{} on {} {}", row.operation, row.entity_type, shown(&row.entity_id))
}

/// The scope as it is stored, if it can be.
fn checked(scope: NewScope, pat: PatId) -> Result<ScopeRow, AppError> {
    let NewScope { entity_type, domain, entity_id, operation } = scope;
    if entity_id.is_empty() {
        return Err(AppError::invalid("entity_id", "must not be empty; `*` is every entity"));
    }
    let entity_id = match &*entity_type {
        "domains" => {
            let domain = domain.ok_or_else(missing_domain)?;
            check_domain_operation(&operation)?;
            domain_entity(domain, entity_id)?
        }
        "models" => {
            domain.ok_or_else(missing_domain)?;
            check_domain_operation(&operation)?;
            if entity_id.len() > MODEL_NAME_LEN_MAX || entity_id.chars().any(char::is_control) {
                return Err(AppError::invalid("entity_id", "not the name of a model"));
            }
            entity_id
        }
        "users" => {
            if domain.is_some() {
                return Err(AppError::invalid("domain_id", "users are in no domain"));
            }
            if !USER_OPERATIONS.contains(&&*operation) {
                let why = format!("not valid for users; valid are {}", USER_OPERATIONS.join(", "));
                return Err(AppError::invalid("operation", why));
            }
            uuid_or_any(entity_id)?
        }
        stored if STORED_TYPES.contains(&stored) => {
            check_text("entity_id", &entity_id)?;
            check_stored_operation(&operation)?;
            entity_id
        }
        other => {
            let valid = ["domains", "models", "users"].iter().chain(&STORED_TYPES).copied();
            let valid = valid.collect::<Vec<_>>().join(", ");
            let why = format!("`{}` is none of {valid}", shown(other));
            return Err(AppError::invalid("entity_type", why));
        }
    };
    Ok(ScopeRow { id: Uuid::now_v7(), pat, entity_type, domain, entity_id, operation })
}

fn missing_domain() -> AppError {
    AppError::invalid("domain_id", "missing")
}

/// A domain's scope names the domain once more, or every entity of it, which is the same.
fn domain_entity(domain: DomainId, entity_id: String) -> Result<String, AppError> {
    let entity_id = uuid_or_any(entity_id)?;
    if entity_id != ANY_ENTITY && entity_id != domain.to_string() {
        return Err(AppError::invalid("entity_id", "must be the domain's identifier or `*`"));
    }
    Ok(entity_id)
}

/// One spelling for each identifier, so that a scope cannot be there twice.
fn uuid_or_any(entity_id: String) -> Result<String, AppError> {
    if entity_id == ANY_ENTITY {
        return Ok(entity_id);
    }
    let id = entity_id.parse::<Uuid>();
    Ok(id.map_err(|_| AppError::invalid("entity_id", "neither an identifier nor `*`"))?.to_string())
}

fn check_domain_operation(name: &str) -> Result<(), AppError> {
    if name.len() <= OPERATION_LEN_MAX && OperationName::from(name).is_known() && is_word(name) {
        return Ok(());
    }
    Err(AppError::invalid("operation", format!("`{}` is no operation; {}", shown(name), hint_for(name))))
}

/// What somebody may have meant who wrote a name that there is not.
fn hint_for(name: &str) -> String {
    let inference = "llm_chat_completions, llm_completions, llm_embeddings";
    match name {
        "execute" | "invoke" | "use" => format!("to use models name what for: {inference}, …"),
        "write" => {
            "to change things name which: update for the domain, llm_create, llm_update, llm_delete for \
                    models"
                .to_owned()
        }
        "chat" | "chat_completions" => "the name is llm_chat_completions".to_owned(),
        other => match other.strip_suffix("_permission").and_then(Operation::from_name) {
            Some(operation) => format!("the name is {operation}"),
            None => {
                let names: Vec<&str> = Operation::ALL.iter().map(|operation| operation.name()).collect();
                format!("valid are {}", names.join(", "))
            }
        },
    }
}

fn check_stored_operation(name: &str) -> Result<(), AppError> {
    if !name.is_empty() && name.len() <= OPERATION_LEN_MAX && is_word(name) {
        return Ok(());
    }
    Err(AppError::invalid("operation", "1 to 50 letters, digits and `_`"))
}

fn is_word(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(entity_type: &str, domain: bool, entity_id: &str, operation: &str) -> Result<String, String> {
        let (entity_type, entity_id) = (entity_type.to_owned(), entity_id.to_owned());
        let domain = domain.then(|| DomainId(Uuid::from_u128(1)));
        let scope = NewScope { entity_type, domain, entity_id, operation: operation.to_owned() };
        let row = checked(scope, PatId(Uuid::nil()));
        row.map(|row| row.entity_id).map_err(|error| error.to_string())
    }

    #[test]
    fn identifiers_have_one_spelling_and_a_domains_scope_names_that_domain() {
        let domain = Uuid::from_u128(1).to_string();
        assert_eq!(check("domains", true, "00000000000000000000000000000001", "read").unwrap(), domain);
        assert_eq!(check("domains", true, "*", "llm_read").unwrap(), "*");
        let other = Uuid::from_u128(2).to_string();
        for (entity_type, in_domain, entity_id) in [
            ("domains", true, &*other),
            ("domains", false, &domain),
            ("models", false, "m"),
            ("domains", true, "x"),
        ] {
            assert!(check(entity_type, in_domain, entity_id, "read").is_err(), "{entity_type} {entity_id}");
        }
        assert!(check("models", true, &"m".repeat(MODEL_NAME_LEN_MAX + 1), "llm_read").is_err());
        assert!(check("users", true, "*", "read").is_err());
        assert!(check("users", false, "*", "create").is_err());
    }

    #[test]
    fn names_of_documents_that_are_no_operations_are_refused_with_the_right_ones() {
        for (name, hint) in [
            ("execute", "llm_chat_completions"),
            ("write", "llm_update"),
            ("llm_read_permission", "the name is llm_read"),
            ("nonsense", "audit_log_export"),
        ] {
            let error = check("models", true, "*", name).unwrap_err();
            assert!(error.starts_with("operation: ") && error.contains(hint), "{error}");
        }
        let error = check("gadgets", true, "*", "read").unwrap_err();
        assert!(error.contains("domains, models, users, datasets"), "{error}");
    }

    /// Goal: a proxy takes every generation. Method: what we accept is what its compiler accepts (`OperationName::is_known`).
    #[test]
    fn every_operation_that_is_accepted_is_known_to_proxies() {
        for name in ["create_clients", "client_view", "role_add", "freeze", "llm_rerank", "dashboard_share"] {
            assert!(check("domains", true, "*", name).is_ok(), "{name}");
            assert!(OperationName::from(name).is_known());
        }
        for name in ["", "client_", "READ", "role_ä", "client_\u{0}", &format!("client_{}", "x".repeat(50))]
        {
            assert!(check("domains", true, "*", name).is_err(), "{name}");
        }
    }
}
