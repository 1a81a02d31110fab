//! Logins: a password for a pair of tokens, the refresh token for a new pair; and who shows which credential.
//!
//! Access tokens are short-lived JWTs that proxies verify by themselves; a refresh token is good while its login is in the database.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use cube_wire::cidr::Cidr;
use cube_wire::jwt::{self, Claims, ISSUER, JwtFault, PUBLIC_KEY_LEN, SigningKey, Use};
use cube_wire::record::ScopeRecord;
use cube_wire::seal::FleetKey;
use cube_wire::{UserId, api_key, base64url, pat};
use subtle::ConstantTimeEq as _;

use super::throttle::Who;
use super::{App, AppError, Asker, Principal, Via};
use crate::clock::Moment;
use crate::figures::{Login, Way};
use crate::secrets;
use crate::settings::Settings;
use crate::store::audit::Credential;
use crate::store::keys::SigningKeyRow;
use crate::store::logins::LoginRow;
use crate::store::users::UserRow;
use crate::store::{AuditEntry, Store, derive, keys, logins, users};

/// The pair of tokens that a login gives.
#[derive(Clone, Debug)]
pub struct TokenPair {
    /// For requests.
    pub access: String,
    /// For the next pair.
    pub refresh: String,
}

/// The signing keys. Cloned handles share them; a rotation replaces them all at once.
#[derive(Clone, Debug)]
pub struct Keys {
    inner: Arc<RwLock<Arc<KeyRing>>>,
}

#[derive(Debug)]
struct KeyRing {
    active: SigningKey,
    /// Every key that verifies, the active one first: `kid`, public key.
    verifying: Vec<(String, [u8; PUBLIC_KEY_LEN])>,
}

/// What the sealed private keys are bound to.
const SEALED_FOR: &str = "cube-admin signing key";

impl Keys {
    /// Reads the keys; makes the first one.
    ///
    /// # Errors
    /// The database failed, or its keys are sealed with another fleet key.
    pub async fn load(store: &Store, fleet_key: &FleetKey, settings: &Settings) -> Result<Self, AppError> {
        let rows = keys::all(&mut store.read().await?).await?;
        if !rows.iter().any(|row| row.active) {
            rotate_if(store, fleet_key, settings, |active| active.is_none()).await?;
        }
        let rows = keys::all(&mut store.read().await?).await?;
        Ok(Self { inner: Arc::new(RwLock::new(Arc::new(KeyRing::new(&rows, fleet_key)?))) })
    }

    /// Makes a new active key. Tokens of the old one stay good for as long as they live.
    ///
    /// # Errors
    /// The database failed.
    pub async fn rotate(&self, app: &App) -> Result<(), AppError> {
        rotate_if(&app.store, &app.fleet_key, &app.settings, |_| true).await?;
        self.reload(app).await
    }

    /// Rotates if the active key was made before `before`.
    ///
    /// # Errors
    /// The database failed.
    pub async fn rotate_if_due(&self, app: &App, before: Moment) -> Result<(), AppError> {
        let rows = keys::all(&mut app.store.read().await?).await?;
        let is_due = |active: Option<&SigningKeyRow>| active.is_none_or(|key| key.created_at < before);
        if is_due(rows.iter().find(|row| row.active)) {
            rotate_if(&app.store, &app.fleet_key, &app.settings, is_due).await?;
            self.reload(app).await?;
        }
        Ok(())
    }

    /// Removes keys whose time is over.
    ///
    /// # Errors
    /// The database failed.
    pub async fn remove_retired(&self, app: &App) -> Result<(), AppError> {
        let mut tx = app.store.begin().await?;
        if keys::remove_retired(&mut tx, Moment::now()).await? > 0 {
            tx.commit().await?;
            self.reload(app).await?;
        }
        Ok(())
    }

    /// Reads them again: another replica changed them.
    ///
    /// # Errors
    /// As [`Keys::load`].
    pub async fn reload(&self, app: &App) -> Result<(), AppError> {
        let rows = keys::all(&mut app.store.read().await?).await?;
        let ring = Arc::new(KeyRing::new(&rows, &app.fleet_key)?);
        *self.inner.write().unwrap_or_else(PoisonError::into_inner) = ring;
        Ok(())
    }

    fn ring(&self) -> Arc<KeyRing> {
        Arc::clone(&self.inner.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// `kid` and public key of every key that verifies.
    #[must_use]
    pub fn public(&self) -> Vec<(String, String)> {
        let ring = self.ring();
        ring.verifying.iter().map(|(id, key)| (id.clone(), base64url::encode(key))).collect()
    }

    pub(super) fn sign(&self, claims: &Claims) -> String {
        self.ring().active.sign(claims)
    }

    pub(super) fn verify(&self, credential: &[u8], usage: Use, now: u64) -> Result<Claims, JwtFault> {
        let ring = self.ring();
        jwt::verify(credential, usage, now, |kid| {
            ring.verifying.iter().find(|(id, _)| id == kid).map(|(_, key)| key)
        })
    }
}

impl KeyRing {
    fn new(rows: &[SigningKeyRow], fleet_key: &FleetKey) -> Result<Self, AppError> {
        let active = rows.iter().find(|row| row.active).ok_or_else(|| AppError::internal("no active key"))?;
        let opened = fleet_key.open(SEALED_FOR, &active.id, &active.private_key_sealed);
        let opened = opened.map_err(AppError::internal)?;
        let pkcs8 = base64url::decode(opened.as_bytes())
            .ok_or_else(|| AppError::internal("a damaged signing key"))?;
        let signing = SigningKey::from_pkcs8(active.id.clone(), &pkcs8);
        let public = |row: &SigningKeyRow| {
            let key = base64url::decode(row.public_key.as_bytes())?.try_into().ok()?;
            Some((row.id.clone(), key))
        };
        Ok(Self {
            active: signing.map_err(|error| AppError::internal(error.to_string()))?,
            verifying: rows.iter().filter_map(public).collect(),
        })
    }
}

/// Makes a new active key if the present one is such that one is wanted: another replica may have just made it.
async fn rotate_if(
    store: &Store,
    fleet_key: &FleetKey,
    settings: &Settings,
    is_wanted: impl Fn(Option<&SigningKeyRow>) -> bool,
) -> Result<(), AppError> {
    let now = Moment::now();
    let id = uuid::Uuid::now_v7().simple().to_string();
    let (key, pkcs8) =
        SigningKey::generate(id.clone()).map_err(|error| AppError::internal(error.to_string()))?;
    let sealed = fleet_key.seal(SEALED_FOR, &id, &base64url::encode(&pkcs8)).map_err(AppError::internal)?;
    let row = SigningKeyRow {
        id: id.clone(),
        public_key: base64url::encode(key.public_key()),
        private_key_sealed: sealed,
        active: true,
        created_at: now,
        retires_at: None,
    };
    let mut tx = store.begin().await?;
    if !is_wanted(keys::all(tx.connection()).await?.iter().find(|row| row.active)) {
        return Ok(());
    }
    keys::activate(&mut tx, &row, now, now.after(settings.login.refresh_lifetime)).await?;
    tx.audit(AuditEntry {
        action: "signing_key.rotate",
        entity_type: "signing_key",
        entity_id: id,
        outcome: "ok",
        ..AuditEntry::default()
    });
    tx.commit().await?;
    Ok(())
}

impl App {
    /// A login with username (or e-mail address) and password.
    ///
    /// # Errors
    /// [`AppError::Unauthenticated`], the same for every reason; [`AppError::Throttled`].
    pub async fn log_in(
        &self,
        asker: &Asker,
        login: &str,
        password: String,
        description: &str,
    ) -> Result<TokenPair, AppError> {
        let (name, address) = (Who::of(login), Who::of(asker.client_ip.as_deref().unwrap_or_default()));
        for who in [name, address] {
            self.logins.may_try(who, Instant::now()).map_err(|retry_after_s| {
                self.figures.login(Way::Password, Login::Throttled);
                AppError::Throttled { retry_after_s }
            })?;
        }
        let found = users::find_by_login(&mut self.store.read().await?, login).await?;
        let (user, hash) = found.map_or((None, None), |(user, hash)| (Some(user), hash));
        let holds = on_blocking_thread(move || secrets::password_holds(&password, hash.as_deref())).await?;
        match user {
            Some(user) if holds && user.enabled => {
                self.note_attempt(name, true).await?;
                self.figures.login(Way::Password, Login::Accepted);
                self.new_login(asker, &user, Credential::Password, description).await
            }
            user => {
                self.figures.login(Way::Password, Login::Refused);
                self.note_attempt(name, false).await?;
                // Whoever tries many names comes from somewhere.
                self.note_attempt(address, false).await?;
                self.note_failed_login(asker, user.map(|user| user.id)).await?;
                Err(AppError::Unauthenticated { what: "wrong username or password" })
            }
        }
    }

    /// Notes how an attempt ended, here and at the other replicas.
    pub(super) async fn note_attempt(&self, who: Who, succeeded: bool) -> Result<(), AppError> {
        self.heard_of_attempt(who, succeeded);
        Ok(self.store.tell_attempt(&who.to_string(), succeeded).await?)
    }

    /// Notes how an attempt ended.
    pub(super) fn heard_of_attempt(&self, who: Who, succeeded: bool) {
        match succeeded {
            true => self.logins.succeeded(who),
            false => self.logins.failed(who, Instant::now()),
        }
    }

    pub(super) async fn note_failed_login(
        &self,
        asker: &Asker,
        user: Option<UserId>,
    ) -> Result<(), AppError> {
        let mut tx = self.store.begin().await?;
        tx.audit(AuditEntry {
            action: "login",
            entity_type: "user",
            entity_id: user.map(|id| id.to_string()).unwrap_or_default(),
            outcome: "unauthenticated",
            request_id: asker.request_id.clone(),
            client_ip: asker.client_ip.clone(),
            ..AuditEntry::default()
        });
        tx.commit().await?;
        Ok(())
    }

    /// A login for somebody who has shown `credential`.
    pub(super) async fn new_login(
        &self,
        asker: &Asker,
        user: &UserRow,
        credential: Credential,
        description: &str,
    ) -> Result<TokenPair, AppError> {
        let now = Moment::now();
        let login = LoginRow {
            id: uuid::Uuid::new_v4().simple().to_string(),
            user: user.id,
            description: description.to_owned(),
            issued_at: now,
            expires_at: now.after(self.settings.login.refresh_lifetime),
            refreshes: 0,
            revoked_at: None,
        };
        let mut tx = self.store.begin().await?;
        logins::insert(&mut tx, &login).await?;
        let principal = Principal {
            user: user.id,
            superadmin: user.superadmin,
            via: Via::Login { login: login.id.clone() },
        };
        let credential = Some(credential);
        tx.audit(AuditEntry { credential, ..principal.did(asker, "login", "user", user.id) });
        tx.commit().await?;
        Ok(self.pair_for(&login, now))
    }

    fn pair_for(&self, login: &LoginRow, now: Moment) -> TokenPair {
        let claims = |usage, exp: Moment, jti: String| Claims {
            iss: ISSUER.to_owned(),
            sub: login.user,
            usage,
            iat: now.unix_s(),
            exp: exp.unix_s(),
            jti,
        };
        let access_until = now.after(self.settings.login.access_lifetime).min(login.expires_at);
        TokenPair {
            access: self.keys.sign(&claims(Use::Access, access_until, login.id.clone())),
            refresh: self.keys.sign(&claims(
                Use::Refresh,
                login.expires_at,
                format!("{}.{}", login.id, login.refreshes),
            )),
        }
    }

    /// A new pair for the newest refresh token of a login. An older one that comes back was copied: it ends the login.
    ///
    /// # Errors
    /// [`AppError::Unauthenticated`].
    pub async fn refresh(&self, asker: &Asker, refresh: &str) -> Result<TokenPair, AppError> {
        let no = |what| AppError::Unauthenticated { what };
        let now = Moment::now();
        let claims = self.keys.verify(refresh.as_bytes(), Use::Refresh, now.unix_s());
        let claims = claims.map_err(|_| no("not a good refresh token"))?;
        let (id, count) = claims.jti.split_once('.').ok_or(no("not a good refresh token"))?;
        let mut tx = self.store.begin().await?;
        let mut login = logins::find(tx.connection(), id).await?.ok_or(no("no such login"))?;
        let user = users::find(tx.connection(), claims.sub).await?.ok_or(no("no such user"))?;
        if login.revoked_at.is_some() || login.user != user.id || !user.enabled {
            return Err(no("a login that has ended"));
        }
        let principal = Principal {
            user: user.id,
            superadmin: user.superadmin,
            via: Via::Login { login: login.id.clone() },
        };
        if count != login.refreshes.to_string() {
            logins::revoke(&mut tx, user.id, &login.id, now).await?;
            tx.audit(AuditEntry { outcome: "reused", ..principal.did(asker, "login.refresh", "login", id) });
            tx.commit().await?;
            return Err(no("a refresh token that was used before"));
        }
        logins::count_refresh(&mut tx, id).await?;
        tx.audit(principal.did(asker, "login.refresh", "login", id));
        tx.commit().await?;
        login.refreshes += 1;
        Ok(self.pair_for(&login, now))
    }

    /// The user's logins that are good.
    ///
    /// # Errors
    /// [`AppError::Forbidden`] for a PAT.
    pub async fn list_logins(&self, principal: &Principal) -> Result<Vec<LoginRow>, AppError> {
        principal.without_pat()?;
        Ok(logins::of_user(&mut self.store.read().await?, principal.user, Moment::now()).await?)
    }

    /// Ends one of the user's logins. Its access token stays good for what is left of its short life.
    ///
    /// # Errors
    /// [`AppError::NotFound`].
    pub async fn end_login(&self, principal: &Principal, asker: &Asker, id: &str) -> Result<(), AppError> {
        principal.without_pat()?;
        let mut tx = self.store.begin().await?;
        if !logins::revoke(&mut tx, principal.user, id, Moment::now()).await? {
            return Err(AppError::NotFound("refresh token"));
        }
        tx.audit(principal.did(asker, "login.revoke", "login", id));
        tx.commit().await?;
        Ok(())
    }

    /// Who shows this credential: an access token (ours, or the external issuer's), an API key or a PAT.
    ///
    /// # Errors
    /// [`AppError::Unauthenticated`]; [`AppError::Unavailable`] for a token of an issuer that cannot be asked.
    pub async fn authenticate(
        &self,
        credential: &str,
        client_ip: Option<std::net::IpAddr>,
        asker: &Asker,
    ) -> Result<Principal, AppError> {
        if self.names_issuer(credential) {
            return self.authenticate_external(credential, asker).await;
        }
        if jwt::looks_like_jwt(credential.as_bytes()) {
            return self.authenticate_login(credential).await;
        }
        if credential.starts_with(api_key::PREFIX) {
            return self.authenticate_api_key(credential).await;
        }
        self.authenticate_pat(credential, client_ip).await
    }

    async fn authenticate_login(&self, credential: &str) -> Result<Principal, AppError> {
        let no = |what| AppError::Unauthenticated { what };
        let claims = self.keys.verify(credential.as_bytes(), Use::Access, Moment::now().unix_s());
        let claims = claims.map_err(|_| no("not a good access token"))?;
        let mut connection = self.store.read().await?;
        let user = users::find(&mut connection, claims.sub).await?.ok_or(no("no such user"))?;
        // Here a login's end counts at once; proxies wait for the access token's.
        let login = logins::find(&mut connection, &claims.jti).await?.ok_or(no("no such login"))?;
        if !user.enabled || login.revoked_at.is_some() || login.user != user.id {
            return Err(no("a login that has ended"));
        }
        Ok(Principal { user: user.id, superadmin: user.superadmin, via: Via::Login { login: claims.jti } })
    }

    async fn authenticate_pat(
        &self,
        credential: &str,
        client_ip: Option<std::net::IpAddr>,
    ) -> Result<Principal, AppError> {
        let no = |what| AppError::Unauthenticated { what };
        let ids = pat::parse(credential.as_bytes()).map_err(|_| no("neither a token nor a PAT"))?;
        let mut connection = self.store.read().await?;
        let key = cube_wire::Key::Pat(ids.pat);
        let Some(cube_wire::Record::Pat(found)) = derive::record(&mut connection, &key).await? else {
            return Err(no("no such PAT"));
        };
        let now = Moment::now().unix_s();
        let digest = secrets::pat_digest(credential.as_bytes());
        let current = bool::from(digest.0.ct_eq(&found.digest.0));
        let previous = found
            .previous
            .as_ref()
            .is_some_and(|previous| bool::from(digest.0.ct_eq(&previous.digest.0)) && now < previous.until);
        let expired = found.expires_at.is_some_and(|end| end <= now);
        if found.user != ids.user || !(current || previous) || found.revoked || expired {
            return Err(no("a PAT that is not good"));
        }
        if !address_allowed(&found.cidrs, client_ip) {
            return Err(no("a PAT from an address that it is not for"));
        }
        let user = users::find(&mut connection, ids.user).await?.ok_or(no("no such user"))?;
        if !user.enabled {
            return Err(no("a PAT of a disabled user"));
        }
        drop(connection);
        self.note_use(ids.pat).await?;
        let scopes: Vec<ScopeRecord> = found.scopes;
        let via = Via::Pat { id: ids.pat, full_access: found.full_access, scopes };
        Ok(Principal { user: user.id, superadmin: user.superadmin, via })
    }
}

/// Whether a PAT that is for `cidrs` may come from `address`.
fn address_allowed(cidrs: &[String], address: Option<std::net::IpAddr>) -> bool {
    cidrs.is_empty()
        || address.is_some_and(|address| {
            cidrs.iter().filter_map(|cidr| cidr.parse::<Cidr>().ok()).any(|cidr| cidr.contains(address))
        })
}

/// Runs what takes long and cannot wait.
///
/// # Errors
/// It panicked.
pub async fn on_blocking_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, AppError> {
    tokio::task::spawn_blocking(work).await.map_err(AppError::internal)
}
