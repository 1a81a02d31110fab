//! What the program runs on, and the file that an operator may write.

mod auth_verify;
mod oidc;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use auth_verify::AuthVerifySection;
pub use auth_verify::{AuthVerify, Needs, PathPattern, VerifyRule};
use cube_wire::cidr::Cidr;
use oidc::OidcSection;
pub use oidc::{OidcClient, OidcSettings};
use serde::Deserialize;

use crate::listener::TlsFiles;
use crate::store::Location;

/// All settings, checked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the API and the UI are served.
    pub api: ListenerSettings,
    /// Where callers see the API, without a slash at its end: what links in answers begin with.
    pub public_url: Option<String>,
    /// Where proxies get their tables.
    pub feed: ListenerSettings,
    /// Where monitoring asks.
    pub ops: SocketAddr,
    /// Database and fleet key.
    pub state_dir: PathBuf,
    /// The database, if it is on a server.
    pub database_server: Option<Location>,
    /// The fleet key's file.
    pub fleet_key_file: PathBuf,
    /// Peers whose `X-Forwarded-For` is believed: the proxies that relay to us.
    pub trusted_proxies: Vec<Cidr>,
    /// Logging in.
    pub login: LoginSettings,
    /// PATs.
    pub pats: PatSettings,
    /// API keys.
    pub api_keys: ApiKeySettings,
    /// Answering the callbacks of other proxies.
    pub auth_verify: AuthVerify,
    /// The external issuer; `None`: there is none.
    pub oidc: Option<OidcSettings>,
    /// How long things are kept.
    pub keep: KeepSettings,
    /// The pages.
    pub ui: UiSettings,
}

/// The pages.
#[derive(Clone, Debug)]
pub struct UiSettings {
    /// Where browsers reach the proxies (`https://host[:port]`); `None`: where the page was opened, if that was through a proxy.
    pub proxy_origin: Option<String>,
    /// Cookies are only for TLS, whatever a trusted peer says of the connection.
    pub secure_cookies: bool,
}

/// One listener.
#[derive(Clone, Debug)]
pub struct ListenerSettings {
    /// Where.
    pub address: SocketAddr,
    /// With what it shakes hands; `None`: it speaks plain HTTP.
    pub tls: Option<TlsFiles>,
}

/// Logging in.
#[derive(Clone, Debug)]
pub struct LoginSettings {
    /// How long an access token is good.
    pub access_lifetime: Duration,
    /// How long a login is good without being used.
    pub refresh_lifetime: Duration,
    /// Failures per name and per address until nothing more is tried.
    pub attempts_max: u32,
    /// For how long.
    pub window: Duration,
    /// How often signing keys are replaced.
    pub key_rotation: Duration,
}

/// PATs.
#[derive(Clone, Debug)]
pub struct PatSettings {
    /// Longest lifetime.
    pub lifetime_max: Duration,
    /// PATs that one user may have.
    pub per_user_max: u32,
    /// PATs that all users together may have.
    pub total_max: u32,
    /// Scopes that one PAT may have.
    pub scopes_max: u32,
    /// Longest time that an old secret stays good after a reset.
    pub grace_max: Duration,
}

/// API keys.
#[derive(Clone, Debug)]
pub struct ApiKeySettings {
    /// Longest lifetime.
    pub lifetime_max: Duration,
}

/// How long things are kept.
#[derive(Clone, Debug)]
pub struct KeepSettings {
    /// Generations in the change log: how far behind a proxy may be and still catch up by deltas.
    pub generations: u64,
    /// Usage records one by one; what they add up to is kept for ever.
    pub usage: Duration,
    /// The audit log.
    pub audit: Duration,
}

/// Why a settings file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// It cannot be read.
    #[error("{0}: {1}")]
    Read(PathBuf, #[source] std::io::Error),
    /// It is not TOML, or has keys that there are not.
    #[error("{0}: {1}")]
    Syntax(PathBuf, #[source] Box<toml::de::Error>),
    /// Values that cannot be, one a line.
    #[error("{}", .0.join("\n"))]
    Values(Vec<String>),
}

/// The file: every key optional, none unknown.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    api: ListenerSection,
    public: PublicSection,
    feed: ListenerSection,
    ops: OpsSection,
    state: StateSection,
    trusted_proxies: TrustedSection,
    login: LoginSection,
    pats: PatSection,
    api_keys: ApiKeySection,
    auth_verify: AuthVerifySection,
    oidc: OidcSection,
    keep: KeepSection,
    ui: UiSection,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct PublicSection {
    url: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct UiSection {
    proxy_origin: Option<String>,
    secure_cookies: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ListenerSection {
    address: Option<String>,
    plain_beyond_loopback: Option<bool>,
    tls: Option<TlsSection>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct OpsSection {
    address: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct TlsSection {
    chain: PathBuf,
    key: PathBuf,
    client_ca: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct StateSection {
    directory: Option<PathBuf>,
    database: Option<String>,
    fleet_key_file: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct TrustedSection {
    cidrs: Option<Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct LoginSection {
    access_lifetime_s: Option<u64>,
    refresh_lifetime_s: Option<u64>,
    attempts_max: Option<u32>,
    window_s: Option<u64>,
    key_rotation_days: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct PatSection {
    lifetime_max_days: Option<u64>,
    per_user_max: Option<u32>,
    total_max: Option<u32>,
    scopes_max: Option<u32>,
    grace_max_s: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ApiKeySection {
    lifetime_max_days: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct KeepSection {
    generations: Option<u64>,
    usage_days: Option<u64>,
    audit_days: Option<u64>,
}

const DAY_S: u64 = 24 * 3600;
/// PATs that a proxy has room for, with a third to spare (`src/tables/shards.rs` of the proxy).
const TOTAL_MAX: u32 = 50_000_000;
/// The same of one PAT's scopes.
const SCOPES_MAX: u32 = 60_000;

impl Settings {
    /// Reads a settings file.
    ///
    /// # Errors
    /// [`SettingsError`], with every wrong value.
    pub fn load(path: &Path) -> Result<Self, SettingsError> {
        let text =
            std::fs::read_to_string(path).map_err(|error| SettingsError::Read(path.to_owned(), error))?;
        Self::from_toml(&text).map_err(|error| match error {
            SettingsError::Syntax(_, error) => SettingsError::Syntax(path.to_owned(), error),
            error @ (SettingsError::Read(..) | SettingsError::Values(_)) => error,
        })
    }

    /// Reads the text of a settings file.
    ///
    /// # Errors
    /// [`SettingsError::Syntax`] and [`SettingsError::Values`].
    pub fn from_toml(text: &str) -> Result<Self, SettingsError> {
        let file: File = toml::from_str(text)
            .map_err(|error| SettingsError::Syntax(PathBuf::from("settings"), Box::new(error)))?;
        let mut problems = Problems::default();
        let directory = file.state.directory.unwrap_or_else(|| PathBuf::from("cube-admin-state"));
        let public_url = problems.origin("public.url", file.public.url);
        let settings = Self {
            api: problems.listener("api", file.api, "127.0.0.1:8081"),
            feed: problems.listener("feed", file.feed, "127.0.0.1:8082"),
            ops: problems.address("ops.address", file.ops.address, "127.0.0.1:9465"),
            fleet_key_file: file.state.fleet_key_file.unwrap_or_else(|| directory.join("fleet.key")),
            state_dir: directory,
            database_server: problems.database("state.database", file.state.database),
            trusted_proxies: problems.cidrs("trusted_proxies.cidrs", file.trusted_proxies.cidrs),
            login: LoginSettings {
                access_lifetime: problems.time(
                    "login.access_lifetime_s",
                    file.login.access_lifetime_s,
                    3600,
                    1,
                ),
                refresh_lifetime: problems.time(
                    "login.refresh_lifetime_s",
                    file.login.refresh_lifetime_s,
                    DAY_S,
                    1,
                ),
                attempts_max: problems.count("login.attempts_max", file.login.attempts_max, 10),
                window: problems.time("login.window_s", file.login.window_s, 300, 1),
                key_rotation: problems.time(
                    "login.key_rotation_days",
                    file.login.key_rotation_days,
                    30,
                    DAY_S,
                ),
            },
            pats: PatSettings {
                lifetime_max: problems.time(
                    "pats.lifetime_max_days",
                    file.pats.lifetime_max_days,
                    366,
                    DAY_S,
                ),
                per_user_max: problems.count("pats.per_user_max", file.pats.per_user_max, 100),
                total_max: problems.count_up_to("pats.total_max", file.pats.total_max, 5_000_000, TOTAL_MAX),
                scopes_max: problems.count_up_to("pats.scopes_max", file.pats.scopes_max, 1000, SCOPES_MAX),
                grace_max: problems.time("pats.grace_max_s", file.pats.grace_max_s, 7 * DAY_S, 1),
            },
            api_keys: ApiKeySettings {
                lifetime_max: problems.time(
                    "api_keys.lifetime_max_days",
                    file.api_keys.lifetime_max_days,
                    366,
                    DAY_S,
                ),
            },
            auth_verify: file.auth_verify.check(&mut problems),
            oidc: file.oidc.check(public_url.as_deref(), &mut problems),
            public_url,
            keep: KeepSettings {
                generations: file.keep.generations.unwrap_or(100_000),
                usage: problems.time("keep.usage_days", file.keep.usage_days, 30, DAY_S),
                audit: problems.time("keep.audit_days", file.keep.audit_days, 400, DAY_S),
            },
            ui: UiSettings {
                proxy_origin: problems.origin("ui.proxy_origin", file.ui.proxy_origin),
                secure_cookies: file.ui.secure_cookies,
            },
        };
        if problems.0.is_empty() { Ok(settings) } else { Err(SettingsError::Values(problems.0)) }
    }

    /// Puts the database and the fleet key into another directory.
    pub fn use_state_dir(&mut self, directory: PathBuf) {
        if self.fleet_key_file == self.state_dir.join("fleet.key") {
            self.fleet_key_file = directory.join("fleet.key");
        }
        self.state_dir = directory;
    }

    /// Puts the database on a server.
    ///
    /// # Errors
    /// Why the URL is none.
    pub fn use_database(&mut self, url: &str) -> Result<(), String> {
        self.database_server = Some(Location::of_url(url)?);
        Ok(())
    }

    /// Where the database is: the server that is named, or a file in the state directory.
    #[must_use]
    pub fn database(&self) -> Location {
        let file = || Location::File(self.state_dir.join("cube-admin.sqlite"));
        self.database_server.clone().unwrap_or_else(file)
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self::from_toml("").expect("the built-in settings are good")
    }
}

/// Everything that is wrong with a file.
#[derive(Default)]
struct Problems(Vec<String>);

impl Problems {
    fn address(&mut self, key: &str, value: Option<String>, default: &str) -> SocketAddr {
        let text = value.unwrap_or_else(|| default.to_owned());
        text.parse().unwrap_or_else(|_| {
            self.0.push(format!("{key}: `{text}` is not an address with a port"));
            SocketAddr::from(([127, 0, 0, 1], 0))
        })
    }

    fn listener(&mut self, name: &str, section: ListenerSection, default: &str) -> ListenerSettings {
        let address = self.address(&format!("{name}.address"), section.address, default);
        let tls = section.tls.map(|TlsSection { chain, key, client_ca }| TlsFiles { chain, key, client_ca });
        if !address.ip().is_loopback() && tls.is_none() && !section.plain_beyond_loopback.unwrap_or(false) {
            self.0.push(format!(
                "{name}.address: {address} can be reached from elsewhere, where credentials need [{name}.tls]; \
                 {name}.plain_beyond_loopback = true if something before it speaks TLS"
            ));
        }
        ListenerSettings { address, tls }
    }

    /// A database on a server; its URL may hold a password, and is not shown.
    fn database(&mut self, key: &str, url: Option<String>) -> Option<Location> {
        let read = Location::of_url(&url?).map_err(|why| self.0.push(format!("{key}: {why}")));
        read.ok()
    }

    /// `scheme://host[:port]` and nothing after it; empty is none.
    fn origin(&mut self, key: &str, value: Option<String>) -> Option<String> {
        let text = value.filter(|text| !text.is_empty())?;
        let authority = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let harmless = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte);
        if !authority.is_some_and(|authority| !authority.is_empty() && authority.bytes().all(harmless)) {
            self.0
                .push(format!("{key}: `{text}` is not http:// or https:// with a host and nothing after it"));
        }
        Some(text)
    }

    /// Address ranges; without a value, this machine.
    fn cidrs(&mut self, key: &str, value: Option<Vec<String>>) -> Vec<Cidr> {
        let texts = value.unwrap_or_else(|| vec!["127.0.0.0/8".to_owned(), "::1/128".to_owned()]);
        let mut cidrs = Vec::new();
        for text in texts {
            match text.parse() {
                Ok(cidr) => cidrs.push(cidr),
                Err(error) => self.0.push(format!("{key}: `{text}` is {error}")),
            }
        }
        cidrs
    }

    fn time(&mut self, key: &str, value: Option<u64>, default: u64, unit_s: u64) -> Duration {
        let value = value.unwrap_or(default);
        if value == 0 || value > 100 * 366 * DAY_S / unit_s {
            self.0.push(format!("{key}: {value} is not a time between 1 and a hundred years"));
        }
        Duration::from_secs(value.saturating_mul(unit_s))
    }

    fn count_up_to(&mut self, key: &str, value: Option<u32>, default: u32, max: u32) -> u32 {
        let value = self.count(key, value, default);
        if value > max {
            self.0.push(format!("{key}: {value} is more than the {max} that proxies take"));
        }
        value
    }

    fn count(&mut self, key: &str, value: Option<u32>, default: u32) -> u32 {
        let value = value.unwrap_or(default);
        if value == 0 {
            self.0.push(format!("{key}: 0 would allow nothing"));
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wrong_value_is_named_and_unknown_keys_are_errors() {
        let text =
            "[api]\naddress = \"x\"\n[login]\nwindow_s = 0\n[trusted_proxies]\ncidrs = [\"10.0.0.1/8\"]";
        let Err(SettingsError::Values(problems)) = Settings::from_toml(text) else { panic!("it is wrong") };
        assert_eq!(problems.len(), 3, "{problems:?}");
        assert!(problems.iter().any(|problem| problem.starts_with("login.window_s")));
        assert!(matches!(Settings::from_toml("[api]\nadress = \"x\""), Err(SettingsError::Syntax(..))));
    }

    #[test]
    fn what_can_be_reached_from_elsewhere_needs_tls_or_a_word() {
        let of = |more: &str| Settings::from_toml(&format!("[feed]\naddress = \"0.0.0.0:8082\"\n{more}"));
        let Err(SettingsError::Values(problems)) = of("") else { panic!("it is in the clear") };
        assert!(problems.len() == 1 && problems[0].contains("[feed.tls]"), "{problems:?}");
        assert!(of("plain_beyond_loopback = true").is_ok());
        let with = of("[feed.tls]\nchain = \"c\"\nkey = \"k\"").unwrap();
        assert!(with.feed.tls.is_some() && with.api.tls.is_none());
    }

    /// The file that operators start from shows the defaults: without its comment marks it changes nothing.
    #[test]
    fn the_example_file_shows_the_defaults() {
        let text = include_str!("../../../config/admin.toml");
        let uncommented: String = text
            .lines()
            .map(|line| line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line))
            .fold(String::new(), |text, line| text + line + "\n");
        let shown = Settings::from_toml(&uncommented).unwrap();
        assert_eq!(format!("{shown:?}"), format!("{:?}", Settings::default()));
        assert!(uncommented.matches(" = ").count() >= 16, "every key is shown");
    }
}
