//! Signing in at the external issuer: authorization code with PKCE, `state` and `nonce`.
//!
//! What a sign-in has begun with is kept by the browser, sealed, so that nobody can fill our memory with sign-ins, and only the browser
//! that began one can end it.

use cube_wire::{UserId, base64url};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::{no, unavailable, verified_email};
use crate::app::logins::TokenPair;
use crate::app::scim::users::username_for;
use crate::app::{App, AppError, Asker};
use crate::clock::Moment;
use crate::figures::{Login, Way};
use crate::oidc::exchange::Binding;
use crate::oidc::fetch::IssuerFault;
use crate::oidc::provider::{Known, Provider};
use crate::oidc::token::{Claims, Purpose};
use crate::secrets;
use crate::settings::OidcClient;
use crate::store::audit::Credential;
use crate::store::scim::users::{ScimUserRow, insert, name_is_taken};
use crate::store::users::{UserRow, find};
use crate::store::{AuditEntry, StoreError, WriteTx, oidc};

/// How long a sign-in may take at the issuer, in seconds.
pub const ATTEMPT_S: u32 = 600;
/// What a sealed sign-in is bound to.
const SEALED_FOR: (&str, &str) = ("cube-admin sign-in", "oidc");
/// Longest name that is taken over, in characters.
const NAME_LEN_MAX: usize = 60;
/// Longest code that is passed on, in bytes.
const CODE_LEN_MAX: usize = 4096;

/// A sign-in that has begun.
#[derive(Debug)]
pub struct Begun {
    /// Where the browser is to go.
    pub url: String,
    /// What the browser keeps until it is back: for us alone.
    pub sealed: String,
}

/// What a browser brings back from the issuer.
#[derive(Clone, Copy, Debug)]
pub struct Came<'c> {
    /// What it kept meanwhile.
    pub sealed: &'c str,
    /// What we sent along.
    pub state: &'c str,
    /// What tokens are given for.
    pub code: &'c str,
    /// Who sent it back, if that is said (RFC 9207).
    pub issuer: Option<&'c str>,
}

/// A sign-in that has worked.
#[derive(Debug)]
pub struct SignedIn {
    /// The tokens of a login like any other.
    pub pair: TokenPair,
    /// Where the browser wanted to go.
    pub next: String,
}

/// What has to be the same when the browser is back.
#[derive(Deserialize, Serialize)]
struct Attempt {
    state: String,
    nonce: String,
    verifier: String,
    until: u64,
    next: String,
}

impl App {
    /// What the button for signing in at the issuer says; `None`: there is none.
    #[must_use]
    pub fn sign_in_name(&self) -> Option<&str> {
        self.client().ok().map(|client| client.name.as_str())
    }

    fn client(&self) -> Result<&OidcClient, AppError> {
        self.provider()?.settings.client.as_ref().ok_or(super::NO_ISSUER)
    }

    /// Begins to sign somebody in.
    ///
    /// * `next`: where to go afterwards; the caller has checked it.
    ///
    /// # Errors
    /// [`AppError::NotFound`] if nobody signs in elsewhere; [`AppError::Unavailable`] if the issuer does not answer.
    pub async fn begin_sign_in(&self, next: &str) -> Result<Begun, AppError> {
        let (provider, client) = (self.provider()?, self.client()?);
        let known = provider.current().await.map_err(unavailable)?;
        let random = || {
            let bytes = secrets::random().map_err(|error| AppError::internal(error.to_string()))?;
            Ok::<_, AppError>(base64url::encode(&bytes))
        };
        let attempt = Attempt {
            state: random()?,
            nonce: random()?,
            verifier: random()?,
            until: Moment::now().unix_s() + u64::from(ATTEMPT_S),
            next: next.to_owned(),
        };
        let challenge = base64url::encode(&Sha256::digest(&attempt.verifier));
        let binding = Binding { state: &attempt.state, nonce: &attempt.nonce, challenge: &challenge };
        let url = provider.sign_in_url(&known.description, client, binding).map_err(unavailable)?;
        let text = serde_json::to_string(&attempt).map_err(AppError::internal)?;
        let sealed = self.fleet_key.seal(SEALED_FOR.0, SEALED_FOR.1, &text).map_err(AppError::internal)?;
        Ok(Begun { url, sealed })
    }

    /// Whether there is a place to be signed out at the issuer as well, as far as is known: nobody is asked for it.
    #[must_use]
    pub fn signs_out_elsewhere(&self) -> bool {
        let known = self.oidc.as_ref().and_then(|provider| provider.known());
        known.is_some_and(|known| known.description.end_session_endpoint.is_some())
    }

    /// Where a browser goes to be signed out at the issuer as well; `None`: there is no such place.
    pub async fn sign_out_url(&self) -> Option<String> {
        let (provider, client) = (self.provider().ok()?, self.client().ok()?);
        let known = provider.current().await.ok()?;
        provider.sign_out_url(&known.description, client)
    }

    /// Signs somebody in who is back from the issuer.
    ///
    /// # Errors
    /// [`AppError::Unauthenticated`], the same for every reason; [`AppError::Unavailable`] if the issuer does not answer.
    pub async fn finish_sign_in(
        &self,
        asker: &Asker,
        came: Came<'_>,
        description: &str,
    ) -> Result<SignedIn, AppError> {
        let ended = self.come_back(asker, came, description).await;
        let outcome = match &ended {
            Ok(_) => Login::Accepted,
            Err(AppError::Unauthenticated { .. }) => Login::Refused,
            Err(_) => Login::Failed,
        };
        self.figures.login(Way::Issuer, outcome);
        ended
    }

    async fn come_back(
        &self,
        asker: &Asker,
        came: Came<'_>,
        description: &str,
    ) -> Result<SignedIn, AppError> {
        let (provider, client) = (self.provider()?, self.client()?);
        let attempt = self.attempt(came)?;
        let known = provider.current().await.map_err(unavailable)?;
        let names_itself = known.description.authorization_response_iss_parameter_supported;
        let issuer = &provider.settings.issuer;
        if came.issuer.map_or(names_itself, |said| said != issuer) {
            return Err(no("an answer of another issuer's"));
        }
        let exchanged = provider
            .exchange(&known.description, client, came.code, &attempt.verifier)
            .await
            .map_err(of_code)?;
        let access_token = exchanged.access_token.as_deref();
        let purpose = Purpose::SignIn { client: &client.id, nonce: &attempt.nonce, access_token };
        let claims = self.verified(provider, known.clone(), &exchanged.id_token, purpose).await?;
        let linked = oidc::linked(&mut self.store.read().await?, issuer, &claims.subject).await?;
        let user = match linked {
            Some(user) => user,
            None => {
                let said = self.all_claims(provider, &known, &claims, access_token).await?;
                self.adopt_or_make(asker, &claims.subject, &said).await?
            }
        };
        if !user.enabled {
            self.note_failed_login(asker, Some(user.id)).await?;
            return Err(no("a disabled user"));
        }
        let pair = self.new_login(asker, &user, Credential::ExternalToken, description).await?;
        Ok(SignedIn { pair, next: attempt.next })
    }

    /// The sign-in that this browser has begun, if that is what comes back.
    fn attempt(&self, came: Came<'_>) -> Result<Attempt, AppError> {
        let opened = self.fleet_key.open(SEALED_FOR.0, SEALED_FOR.1, came.sealed);
        let opened = opened.map_err(|_| no("a sign-in that is not ours"))?;
        let attempt: Attempt = serde_json::from_str(&opened).map_err(AppError::internal)?;
        let same = bool::from(attempt.state.as_bytes().ct_eq(came.state.as_bytes()));
        if !same || Moment::now().unix_s() >= attempt.until {
            return Err(no("another sign-in, or one that took too long"));
        }
        match (1..=CODE_LEN_MAX).contains(&came.code.len()) {
            true => Ok(attempt),
            false => Err(no("no code")),
        }
    }

    /// What the ID token says of the user, and where it says nothing of an address, what the issuer says elsewhere.
    async fn all_claims(
        &self,
        provider: &Provider,
        known: &Known,
        claims: &Claims,
        access_token: Option<&str>,
    ) -> Result<Map<String, Value>, AppError> {
        let mut said = claims.all.clone();
        if let Some(access_token) = access_token.filter(|_| !said.contains_key("email")) {
            let more = provider.user_info(&known.description, access_token, &claims.subject).await;
            said.extend(more.map_err(unavailable)?);
        }
        Ok(said)
    }

    async fn adopt_or_make(
        &self,
        asker: &Asker,
        subject: &str,
        said: &Map<String, Value>,
    ) -> Result<UserRow, AppError> {
        let unknown = || no("nobody whom we know");
        let email = verified_email(said).ok_or_else(unknown)?;
        let mut tx = self.store.begin().await?;
        if let Some(user) = self.adopt(&mut tx, asker, subject, email).await? {
            tx.commit().await?;
            return Ok(user);
        }
        if !self.provider()?.settings.create_users {
            drop(tx);
            self.note_failed_login(asker, None).await?;
            return Err(unknown());
        }
        let name = |claim: &str| said.get(claim).and_then(Value::as_str).unwrap_or_default();
        let names = (name("given_name"), name("family_name"));
        let user = make_for_sign_in(&mut tx, asker, email, names).await?;
        self.note_link(&mut tx, asker, user.id, subject).await?;
        tx.commit().await?;
        Ok(user)
    }
}

/// Adds a user who signs in for the first time.
///
/// # Errors
/// [`AppError::Unauthenticated`] if the address or a name cannot be this user's: another one has it.
async fn make_for_sign_in(
    tx: &mut WriteTx,
    asker: &Asker,
    email: &str,
    (first_name, last_name): (&str, &str),
) -> Result<UserRow, AppError> {
    let now = Moment::now();
    let short = |text: &str| text.chars().filter(|letter| !letter.is_control()).take(NAME_LEN_MAX).collect();
    let user = ScimUserRow {
        id: UserId(uuid::Uuid::new_v4()),
        user_name: email.to_owned(),
        external_id: None,
        first_name: short(first_name),
        last_name: short(last_name),
        email: Some(email.to_owned()),
        enabled: true,
        more: Map::new(),
        created_at: now,
        updated_at: now,
    };
    if name_is_taken(tx.connection(), email).await? {
        return Err(no("the address is somebody's name"));
    }
    let username = username_for(tx, &user).await?;
    insert(tx, &user, &username).await.map_err(|error| match error {
        StoreError::Taken(_) => no("the address is somebody else's"),
        error @ (StoreError::InUse(_)
        | StoreError::Gone
        | StoreError::Unstorable
        | StoreError::Database(_)
        | StoreError::Damaged(_)
        | StoreError::Migrate(_)) => error.into(),
    })?;
    tx.audit(AuditEntry {
        actor_user: Some(user.id),
        credential: Some(Credential::ExternalToken),
        action: "user.create",
        entity_type: "user",
        entity_id: user.id.to_string(),
        outcome: "ok",
        request_id: asker.request_id.clone(),
        client_ip: asker.client_ip.clone(),
        details: json!({ "username": username, "by": "sign-in" }),
        ..AuditEntry::default()
    });
    find(tx.connection(), user.id).await?.ok_or(AppError::NotFound("user"))
}

fn of_code(fault: IssuerFault) -> AppError {
    match fault {
        IssuerFault::Refused(why) => {
            tracing::info!(why, "the issuer refused a code");
            no("the issuer refused the code")
        }
        fault @ (IssuerFault::Unreachable { .. }
        | IssuerFault::Resting
        | IssuerFault::Nonsense(_)
        | IssuerFault::Elsewhere(_)) => unavailable(fault),
    }
}
