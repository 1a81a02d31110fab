//! API keys: what scripts and identity providers show to `/api/v1` and `/api/scim/v2`. Superadmins make and end them, with a login.
//!
//! A key acts for the superadmin who made it, narrowed by its scopes: it is not good any more once that one is disabled, deleted or no
//! superadmin any more. No key manages keys, PATs or logins.

use std::time::Duration;

use cube_wire::lifetime::parse_lifetime;
use cube_wire::{api_key, pat};
use serde_json::json;
use subtle::ConstantTimeEq as _;
use uuid::Uuid;

use super::users::check_text;
use super::{App, AppError, Asker, Principal, Via};
use crate::clock::Moment;
use crate::secrets;
use crate::store::Cursor;
use crate::store::api_keys::{self, ApiKeyRights, ApiKeyRow, ApiScope};
use crate::store::{AuditEntry, domains, users};

/// How exactly it is known when a key was last used.
const USE_GRANULARITY: Duration = Duration::from_secs(60);
/// Most keys.
const KEYS_MAX: i64 = 1_000;
/// Most domains or deployments that a key names.
const LIMITS_MAX: usize = 256;

/// A key that is to be.
#[derive(Clone, Debug)]
pub struct NewApiKey {
    /// See [`ApiKeyRow`].
    pub name: String,
    /// How long it is to be good: `720h`, `30d`.
    pub duration: String,
    /// What it may do.
    pub rights: ApiKeyRights,
}

/// A key and its plain text, which is shown now and never again.
#[derive(Debug)]
pub struct IssuedApiKey {
    /// The key.
    pub row: ApiKeyRow,
    /// Its plain text.
    pub secret: api_key::ApiKeySecret,
}

impl App {
    /// Makes a key.
    ///
    /// # Errors
    /// [`AppError::Forbidden`] for all but superadmins with a login; [`AppError::Invalid`], [`AppError::NotFound`] for a domain;
    /// [`AppError::Conflict`].
    pub async fn create_api_key(
        &self,
        principal: &Principal,
        asker: &Asker,
        new: NewApiKey,
    ) -> Result<IssuedApiKey, AppError> {
        may_manage(principal)?;
        if new.name.trim().is_empty() {
            return Err(AppError::invalid("name", "must not be empty"));
        }
        check_text("name", &new.name)?;
        let rights = checked(new.rights)?;
        let lifetime = parse_lifetime(&new.duration)
            .map_err(|error| AppError::invalid("duration", error.to_string()))?;
        if lifetime > self.settings.api_keys.lifetime_max {
            let days = self.settings.api_keys.lifetime_max.as_secs() / 86_400;
            return Err(AppError::invalid("duration", format!("at most {days}d")));
        }
        let now = Moment::now();
        let row = ApiKeyRow {
            id: Uuid::new_v4(),
            name: new.name,
            rights,
            created_by: principal.user,
            created_at: now,
            expires_at: now.after(lifetime).ceil_to_second(),
            last_used_at: None,
        };
        let random = secrets::random().map_err(|error| AppError::internal(error.to_string()))?;
        let secret = api_key::mint(row.id, &random);
        let mut tx = self.store.begin().await?;
        for domain in row.rights.domains.iter().flatten() {
            domains::status(tx.connection(), *domain).await?.ok_or(AppError::NotFound("domain"))?;
        }
        if api_keys::count(tx.connection()).await? >= KEYS_MAX {
            return Err(AppError::Conflict(format!("there are at most {KEYS_MAX} keys; delete some first")));
        }
        api_keys::insert(&mut tx, &row, secrets::pat_digest(secret.as_bytes())).await?;
        let scopes: Vec<&str> = row.rights.scopes.iter().map(|scope| scope.name()).collect();
        let details = json!({ "name": row.name, "scopes": scopes, "expires_at": row.expires_at });
        tx.audit(AuditEntry { details, ..principal.did(asker, "api_key.create", "api_key", row.id) });
        tx.commit().await?;
        Ok(IssuedApiKey { row, secret })
    }

    /// Keys, newest first.
    ///
    /// # Errors
    /// [`AppError::Forbidden`].
    pub async fn list_api_keys(
        &self,
        principal: &Principal,
        after: Option<Cursor>,
        limit: i64,
    ) -> Result<Vec<ApiKeyRow>, AppError> {
        may_manage(principal)?;
        Ok(api_keys::list(&mut self.store.read().await?, after, limit).await?)
    }

    /// One key.
    ///
    /// # Errors
    /// [`AppError::Forbidden`], [`AppError::NotFound`].
    pub async fn view_api_key(&self, principal: &Principal, id: Uuid) -> Result<ApiKeyRow, AppError> {
        may_manage(principal)?;
        let found = api_keys::find(&mut self.store.read().await?, id).await?;
        found.map(|(row, _)| row).ok_or(NO_KEY)
    }

    /// Ends a key: the next request with it is refused.
    ///
    /// # Errors
    /// [`AppError::Forbidden`], [`AppError::NotFound`].
    pub async fn delete_api_key(
        &self,
        principal: &Principal,
        asker: &Asker,
        id: Uuid,
    ) -> Result<(), AppError> {
        may_manage(principal)?;
        let mut tx = self.store.begin().await?;
        let (row, _) = api_keys::find(tx.connection(), id).await?.ok_or(NO_KEY)?;
        api_keys::delete(&mut tx, id).await?;
        let details = json!({ "name": row.name });
        tx.audit(AuditEntry { details, ..principal.did(asker, "api_key.delete", "api_key", id) });
        tx.commit().await?;
        Ok(())
    }

    /// Who shows this API key.
    ///
    /// # Errors
    /// [`AppError::Unauthenticated`].
    pub(super) async fn authenticate_api_key(&self, credential: &str) -> Result<Principal, AppError> {
        let no = |what| AppError::Unauthenticated { what };
        let id = api_key::parse(credential.as_bytes())
            .map_err(|_: pat::PatSyntax| no("not the form of an API key"))?;
        let mut connection = self.store.read().await?;
        let (key, digest) = api_keys::find(&mut connection, id).await?.ok_or(no("no such API key"))?;
        let shown = secrets::pat_digest(credential.as_bytes());
        if !bool::from(shown.0.ct_eq(&digest.0)) {
            return Err(no("an API key with another secret"));
        }
        let now = Moment::now();
        if key.expires_at <= now {
            return Err(no("an expired API key"));
        }
        let user = users::find(&mut connection, key.created_by).await?.ok_or(no("no such user"))?;
        if !user.enabled || !user.superadmin {
            return Err(no("an API key of somebody who is no superadmin any more"));
        }
        drop(connection);
        if key.last_used_at.is_none_or(|last| now >= last.after(USE_GRANULARITY)) {
            let mut tx = self.store.begin().await?;
            api_keys::note_use(&mut tx, id, now).await?;
            tx.commit().await?;
        }
        Ok(Principal { user: user.id, superadmin: true, via: Via::ApiKey { id, rights: key.rights } })
    }
}

const NO_KEY: AppError = AppError::NotFound("API key");

/// Whoever could make keys with a key could make one that may do more.
fn may_manage(principal: &Principal) -> Result<(), AppError> {
    principal.without_pat()?;
    principal.as_superadmin()
}

fn checked(mut rights: ApiKeyRights) -> Result<ApiKeyRights, AppError> {
    rights.scopes.sort_unstable();
    rights.scopes.dedup();
    if rights.scopes.is_empty() {
        return Err(AppError::invalid("scopes", "at least one"));
    }
    if let Some(domains) = &mut rights.domains {
        domains.sort_unstable();
        domains.dedup();
        if !(1..=LIMITS_MAX).contains(&domains.len()) {
            return Err(AppError::invalid("domains", format!("1 to {LIMITS_MAX}; without the member: all")));
        }
        if let Some(scope) = rights.scopes.iter().find(|scope| !scope.is_in_domains()) {
            let why = format!("`{}` is in no domain; make another key for it", scope.name());
            return Err(AppError::invalid("domains", why));
        }
    }
    if let Some(deployments) = &mut rights.deployments {
        deployments.sort_unstable();
        deployments.dedup();
        if !(1..=LIMITS_MAX).contains(&deployments.len()) {
            return Err(AppError::invalid(
                "deployments",
                format!("1 to {LIMITS_MAX}; without the member: all"),
            ));
        }
        deployments.iter().try_for_each(|name| check_text("deployments", name))?;
        let about =
            |scope: &ApiScope| scope.covers(ApiScope::DeploymentsRead) || scope.covers(ApiScope::ModelsRead);
        if !rights.scopes.iter().any(about) {
            return Err(AppError::invalid("deployments", "no scope of this key is about deployments"));
        }
    }
    Ok(rights)
}
