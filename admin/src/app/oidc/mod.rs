//! Tokens and sign-ins of the external issuer: who that is here, and what comes of it.
//!
//! A user is found by the link that an earlier sign-in, or a superadmin, made; else, where the settings allow it, by an e-mail address
//! that the issuer says it has verified. A superadmin is never found by an address alone: whoever can write addresses at the issuer would
//! be one too.

mod sign_in;

use std::sync::Arc;

use cube_wire::UserId;
use serde_json::{Map, Value, json};

use super::users::email_is_valid;
use super::{App, AppError, Asker, Principal, Via};
use crate::clock::Moment;
use crate::oidc::fetch::IssuerFault;
use crate::oidc::provider::{Known, Provider};
use crate::oidc::token::{self, Claims, Expected, Purpose, SUBJECT_LEN_MAX, TokenFault, verify};
use crate::store::api_keys::{ApiKeyRights, ApiScope};
use crate::store::audit::Credential;
use crate::store::users::UserRow;
use crate::store::{AuditEntry, WriteTx, oidc, users};
pub use sign_in::{ATTEMPT_S, Begun, Came, SignedIn};

const NO_ISSUER: AppError = AppError::NotFound("issuer");

fn no(what: &'static str) -> AppError {
    AppError::Unauthenticated { what }
}

/// The address that the issuer has verified, if it says so.
fn verified_email(claims: &Map<String, Value>) -> Option<&str> {
    // OpenID Connect Core §5.1 has a boolean; some issuers write it as a text.
    let verified = claims.get("email_verified").is_some_and(|said| *said == true || *said == "true");
    claims.get("email").and_then(Value::as_str).filter(|email| verified && email_is_valid(email))
}

fn unavailable(fault: IssuerFault) -> AppError {
    tracing::warn!(error = %fault, "the external issuer does not help");
    AppError::Unavailable("the identity provider does not answer as it should")
}

impl App {
    fn provider(&self) -> Result<&Arc<Provider>, AppError> {
        self.oidc.as_ref().ok_or(NO_ISSUER)
    }

    /// Whether a credential is a token that names the external issuer. Says nothing about whether it is good.
    pub(super) fn names_issuer(&self, credential: &str) -> bool {
        let Some(provider) = &self.oidc else { return false };
        token::claimed_issuer(credential).is_some_and(|claimed| claimed == provider.settings.issuer)
    }

    /// Who shows this access token of the external issuer's: the user, narrowed to the token's scopes as by an API key.
    ///
    /// # Errors
    /// [`AppError::Unauthenticated`]; [`AppError::Unavailable`] if the issuer's keys are not known and cannot be had.
    pub(super) async fn authenticate_external(
        &self,
        credential: &str,
        asker: &Asker,
    ) -> Result<Principal, AppError> {
        let provider = self.provider().map_err(|_| no("no issuer is set"))?;
        let known = provider.current().await.map_err(unavailable)?;
        let purpose = Purpose::Access { audiences: &provider.settings.audiences };
        let claims = self.verified(provider, known, credential, purpose).await?;
        let issuer = &provider.settings.issuer;
        let linked = oidc::linked(&mut self.store.read().await?, issuer, &claims.subject).await?;
        let user = match (linked, verified_email(&claims.all)) {
            (Some(user), _) => Some(user),
            (None, Some(email)) => {
                let mut tx = self.store.begin().await?;
                let found = self.adopt(&mut tx, asker, &claims.subject, email).await?;
                tx.commit().await?;
                found
            }
            (None, None) => None,
        };
        let user = user.ok_or(no("nobody whom we know"))?;
        if !user.enabled {
            return Err(no("a disabled user"));
        }
        let mut scopes: Vec<ApiScope> = claims.scopes().into_iter().filter_map(ApiScope::from_name).collect();
        scopes.sort_unstable();
        scopes.dedup();
        let rights = ApiKeyRights { scopes, domains: None, deployments: None };
        Ok(Principal { user: user.id, superadmin: user.superadmin, via: Via::External { rights } })
    }

    /// Finds the user of a verified address who has no link yet, and makes one.
    async fn adopt(
        &self,
        tx: &mut WriteTx,
        asker: &Asker,
        subject: &str,
        email: &str,
    ) -> Result<Option<UserRow>, AppError> {
        let settings = &self.provider()?.settings;
        if !settings.match_email {
            return Ok(None);
        }
        let found = oidc::with_email(tx.connection(), &settings.issuer, email).await?;
        let Some(user) = found.filter(|user| user.enabled && !user.superadmin) else { return Ok(None) };
        self.note_link(tx, asker, user.id, subject).await?;
        Ok(Some(user))
    }

    async fn note_link(
        &self,
        tx: &mut WriteTx,
        asker: &Asker,
        user: UserId,
        subject: &str,
    ) -> Result<(), AppError> {
        let issuer = &self.provider()?.settings.issuer;
        oidc::link(tx, (issuer, subject), user, Moment::now()).await?;
        tx.audit(AuditEntry {
            actor_user: Some(user),
            credential: Some(Credential::ExternalToken),
            action: "user.link",
            entity_type: "user",
            entity_id: user.to_string(),
            outcome: "ok",
            request_id: asker.request_id.clone(),
            client_ip: asker.client_ip.clone(),
            details: json!({ "issuer": issuer, "subject": subject }),
            ..AuditEntry::default()
        });
        Ok(())
    }

    /// What a token says, if it is good; with newer keys of the issuer's if its own is not among the known ones.
    async fn verified(
        &self,
        provider: &Arc<Provider>,
        known: Known,
        token: &str,
        purpose: Purpose<'_>,
    ) -> Result<Claims, AppError> {
        let settings = &provider.settings;
        let expected = Expected {
            issuer: &settings.issuer,
            algorithms: &settings.algorithms,
            skew_s: settings.clock_skew.as_secs(),
            now: Moment::now().unix_s(),
            purpose,
        };
        let mut verdict = verify(token, &known.keys, expected);
        if matches!(verdict, Err(TokenFault::UnknownKey))
            && let Some(newer) = provider.newer_than(&known).await
        {
            verdict = verify(token, &newer.keys, expected);
        }
        verdict.map_err(|fault| {
            tracing::debug!(%fault, "a token of the external issuer was refused");
            no("not a good token of the external issuer")
        })
    }

    /// The external issuer; `None`: the settings name none.
    #[must_use]
    pub fn issuer(&self) -> Option<&str> {
        self.oidc.as_ref().map(|provider| provider.settings.issuer.as_str())
    }

    /// Whether users are found there by verified e-mail addresses too.
    #[must_use]
    pub fn links_by_email(&self) -> bool {
        self.oidc.as_ref().is_some_and(|provider| provider.settings.match_email)
    }

    /// What the external issuer calls a user; `None`: nothing yet. For superadmins with a login.
    ///
    /// # Errors
    /// [`AppError::Forbidden`], [`AppError::NotFound`].
    pub async fn view_link(&self, principal: &Principal, id: UserId) -> Result<(String, String), AppError> {
        let issuer = self.linker(principal)?;
        let mut connection = self.store.read().await?;
        let subject = oidc::subject(&mut connection, issuer, id).await?;
        Ok((issuer.to_owned(), subject.ok_or(AppError::NotFound("link"))?))
    }

    /// Says what the external issuer calls a user: the only way for a superadmin to sign in there. For superadmins with a login.
    ///
    /// # Errors
    /// [`AppError::Forbidden`], [`AppError::NotFound`], [`AppError::Invalid`]; [`AppError::Conflict`] if somebody else is called so.
    pub async fn set_link(
        &self,
        principal: &Principal,
        asker: &Asker,
        id: UserId,
        subject: &str,
    ) -> Result<(), AppError> {
        let issuer = self.linker(principal)?;
        if subject.is_empty() || subject.len() > SUBJECT_LEN_MAX || subject.chars().any(char::is_control) {
            let why = format!("1 to {SUBJECT_LEN_MAX} bytes without control characters");
            return Err(AppError::invalid("subject", why));
        }
        let mut tx = self.store.begin().await?;
        users::find(tx.connection(), id).await?.ok_or(AppError::NotFound("user"))?;
        oidc::link(&mut tx, (issuer, subject), id, Moment::now()).await?;
        let details = json!({ "issuer": issuer, "subject": subject });
        tx.audit(AuditEntry { details, ..principal.did(asker, "user.link", "user", id) });
        tx.commit().await?;
        Ok(())
    }

    /// Forgets what the external issuer calls a user. For superadmins with a login.
    ///
    /// # Errors
    /// [`AppError::Forbidden`], [`AppError::NotFound`].
    pub async fn remove_link(
        &self,
        principal: &Principal,
        asker: &Asker,
        id: UserId,
    ) -> Result<(), AppError> {
        let issuer = self.linker(principal)?;
        let mut tx = self.store.begin().await?;
        if !oidc::unlink(&mut tx, issuer, id).await? {
            return Err(AppError::NotFound("link"));
        }
        tx.audit(principal.did(asker, "user.unlink", "user", id));
        tx.commit().await?;
        Ok(())
    }

    /// The issuer, for whoever may say who is who there.
    fn linker(&self, principal: &Principal) -> Result<&str, AppError> {
        principal.without_pat()?;
        principal.as_superadmin()?;
        Ok(&self.provider()?.settings.issuer)
    }
}
