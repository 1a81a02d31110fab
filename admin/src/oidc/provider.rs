//! The issuer: what it says of itself, and its keys, fetched when they are first needed and kept.
//!
//! # Promises
//! * Only URLs that [`OidcSettings::allows`] are asked. Nothing that a caller sends decides where we connect to.
//! * A token with an unknown `kid` makes us look for new keys, but a flood of them not more often than [`REFRESHES_MAX`] times, then once
//!   in [`REFRESH_EVERY`]. Tokens with known keys never wait for that.
//! * Keys are renewed after [`FRESH`], beside the requests that need them. An issuer that is away costs nothing until its keys are
//!   [`STALE_MAX`] old: from then on a key that it may have withdrawn meanwhile is not believed any more.
//! * An issuer that failed is left alone for [`REST`].

use std::io;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use serde::Deserialize;
use tokio::sync::{Mutex, OwnedMutexGuard, Semaphore};

use super::fetch::{Fetcher, IssuerFault};
use super::keys::{PublicKey, parse_set};
use crate::settings::OidcSettings;

/// How long keys and the issuer's description are believed without another look.
const FRESH: Duration = Duration::from_secs(3600);
/// How long they are believed while the issuer cannot be reached.
const STALE_MAX: Duration = Duration::from_secs(24 * 3600);
/// Searches for unknown keys that may follow each other at once.
const REFRESHES_MAX: u32 = 3;
/// How often another one may.
const REFRESH_EVERY: Duration = Duration::from_secs(30);
/// How long an issuer that failed is left alone.
const REST: Duration = Duration::from_secs(2);
/// Codes that are being exchanged at once.
const EXCHANGES_MAX: usize = 16;

/// What the issuer says of itself (OpenID Connect Discovery §3).
#[derive(Clone, Debug, Deserialize)]
pub struct Description {
    issuer: String,
    jwks_uri: String,
    /// Where users are sent to.
    pub authorization_endpoint: Option<String>,
    /// Where codes are exchanged.
    pub token_endpoint: Option<String>,
    /// What it knows of a user.
    pub userinfo_endpoint: Option<String>,
    /// Where users are sent to who want to be signed out there.
    pub end_session_endpoint: Option<String>,
    /// How clients may show their secret.
    pub token_endpoint_auth_methods_supported: Option<Vec<String>>,
    /// Whether it names itself when it sends a user back (RFC 9207).
    #[serde(default)]
    pub authorization_response_iss_parameter_supported: bool,
}

/// What is known of the issuer.
#[derive(Clone, Debug)]
pub struct Known {
    /// What it says of itself.
    pub description: Arc<Description>,
    /// Its keys.
    pub keys: Arc<Vec<PublicKey>>,
    at: Instant,
}

/// The issuer of the settings.
#[derive(Debug)]
pub struct Provider {
    /// How it is set.
    pub settings: OidcSettings,
    pub(super) fetcher: Fetcher,
    pub(super) secret: Option<Secret>,
    /// A turn for each code that is being exchanged.
    pub(super) exchanges: Semaphore,
    known: RwLock<Option<Known>>,
    /// Whoever has it fetches.
    turn: Arc<Mutex<Turn>>,
}

/// Our secret at the issuer.
pub(super) struct Secret(pub(super) String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[derive(Debug)]
struct Turn {
    /// Searches for unknown keys that are left.
    left: u32,
    counted: Instant,
    failed: Option<Instant>,
}

impl Turn {
    fn take(&mut self, now: Instant) -> bool {
        let periods = now.duration_since(self.counted).as_secs() / REFRESH_EVERY.as_secs();
        if periods > 0 {
            let more = u32::try_from(periods).unwrap_or(u32::MAX);
            self.left = self.left.saturating_add(more).min(REFRESHES_MAX);
            self.counted = now;
        }
        let taken = self.left > 0;
        self.left = self.left.saturating_sub(1);
        taken
    }

    fn rests(&self) -> bool {
        self.failed.is_some_and(|failed| failed.elapsed() < REST)
    }
}

impl Provider {
    /// Reads the files that the settings name. Asks nobody yet: an issuer that is away keeps nothing from starting.
    ///
    /// # Errors
    /// A file cannot be read, or is not what it should be.
    pub fn new(settings: OidcSettings) -> io::Result<Self> {
        let file = settings.client.as_ref().and_then(|client| client.secret_file.as_ref());
        let secret = file.map(|path| {
            let wrong = |error: String| {
                io::Error::other(format!("oidc.client_secret_file {}: {error}", path.display()))
            };
            let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
            let text = text.trim();
            if text.is_empty() { Err(wrong("empty".to_owned())) } else { Ok(Secret(text.to_owned())) }
        });
        let turn = Turn { left: REFRESHES_MAX, counted: Instant::now(), failed: None };
        Ok(Self {
            fetcher: Fetcher::new(settings.ca_file.as_deref())?,
            secret: secret.transpose()?,
            settings,
            exchanges: Semaphore::new(EXCHANGES_MAX),
            known: RwLock::new(None),
            turn: Arc::new(Mutex::new(turn)),
        })
    }

    /// What is known of the issuer already, however old it is.
    #[must_use]
    pub fn known(&self) -> Option<Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What is known of the issuer; asks if nothing is.
    ///
    /// # Errors
    /// [`IssuerFault`].
    pub async fn current(self: &Arc<Self>) -> Result<Known, IssuerFault> {
        let usable = |known: &Known| known.at.elapsed() < STALE_MAX;
        if let Some(known) = self.known().filter(usable) {
            if known.at.elapsed() >= FRESH {
                self.renew_aside();
            }
            return Ok(known);
        }
        let mut turn = Arc::clone(&self.turn).lock_owned().await;
        // Whoever had the turn before has asked.
        match self.known().filter(usable) {
            Some(known) => Ok(known),
            None if turn.rests() => Err(IssuerFault::Resting),
            None => self.fetch(&mut turn).await,
        }
    }

    /// Asks anew, and lets nobody wait for it.
    fn renew_aside(self: &Arc<Self>) {
        let Ok(mut turn) = Arc::clone(&self.turn).try_lock_owned() else { return };
        let fresh = self.known().is_some_and(|known| known.at.elapsed() < FRESH);
        if fresh || turn.rests() {
            return;
        }
        let provider = Arc::clone(self);
        tokio::spawn(async move {
            if let Err(error) = provider.fetch(&mut turn).await {
                tracing::warn!(%error, "the issuer's keys could not be renewed; the known ones stay");
            }
        });
    }

    /// Looks for newer keys than these, which have not the one that is needed. `None`: there are none, or that was looked for too often.
    pub async fn newer_than(self: &Arc<Self>, seen: &Known) -> Option<Known> {
        let mut turn = Arc::clone(&self.turn).lock_owned().await;
        if let Some(known) = self.known().filter(|known| !Arc::ptr_eq(&known.keys, &seen.keys)) {
            return Some(known);
        }
        if turn.rests() || !turn.take(Instant::now()) {
            return None;
        }
        let found = self.fetch(&mut turn).await;
        found.inspect_err(|error| tracing::warn!(%error, "no newer keys of the issuer")).ok()
    }

    async fn fetch(&self, turn: &mut OwnedMutexGuard<Turn>) -> Result<Known, IssuerFault> {
        let fetched = self.ask().await;
        turn.failed = fetched.is_err().then(Instant::now);
        let known = fetched?;
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = Some(known.clone());
        Ok(known)
    }

    async fn ask(&self) -> Result<Known, IssuerFault> {
        let issuer = &self.settings.issuer;
        let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        let mut description: Description = self.fetcher.document(&url, None).await?;
        // Somebody else's description would make us believe somebody else's keys.
        if description.issuer != *issuer {
            return Err(IssuerFault::Nonsense(format!("{url}: another `issuer`")));
        }
        // What some do without is left out; it is missed, by its name, by whoever needs it.
        for endpoint in [
            &mut description.authorization_endpoint,
            &mut description.token_endpoint,
            &mut description.userinfo_endpoint,
            &mut description.end_session_endpoint,
        ] {
            if let Some(elsewhere) = endpoint.take_if(|url| !self.settings.allows(url)) {
                tracing::warn!(
                    endpoint = elsewhere,
                    "the issuer's endpoint is at no place that oidc.hosts allows"
                );
            }
        }
        let url = &description.jwks_uri;
        if !self.settings.allows(url) {
            return Err(IssuerFault::Elsewhere(url.clone()));
        }
        let set: Box<serde_json::value::RawValue> = self.fetcher.document(url, None).await?;
        let keys = parse_set(set.get().as_bytes()).ok_or_else(|| IssuerFault::Nonsense(url.clone()))?;
        Ok(Known { description: Arc::new(description), keys: Arc::new(keys), at: Instant::now() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_unknown_keys_is_looked_up_seldom() {
        let start = Instant::now();
        let mut turn = Turn { left: REFRESHES_MAX, counted: start, failed: None };
        let taken = |turn: &mut Turn, at: Duration| (0..100).filter(|_| turn.take(start + at)).count();
        assert_eq!(taken(&mut turn, Duration::ZERO), REFRESHES_MAX as usize);
        assert_eq!(taken(&mut turn, REFRESH_EVERY), 1);
        assert_eq!(taken(&mut turn, REFRESH_EVERY * 100), REFRESHES_MAX as usize);
    }
}
