//! The external issuer: `[oidc]`.

use std::path::PathBuf;
use std::time::Duration;

use http::Uri;
use serde::Deserialize;

use super::Problems;
use crate::oidc::keys::Algorithm;

/// The external issuer, for whoever has an account there.
#[derive(Clone, Debug)]
pub struct OidcSettings {
    /// Its name, which is its address too: compared to the letter with what it says of itself.
    pub issuer: String,
    /// What `aud` of an access token has to name one of; empty: access tokens are not taken.
    pub audiences: Vec<String>,
    /// What we are there; `None`: nobody signs in there.
    pub client: Option<OidcClient>,
    /// How tokens may be signed.
    pub algorithms: Vec<Algorithm>,
    /// How far its clock and ours may be apart.
    pub clock_skew: Duration,
    /// Whether an address that the issuer has verified finds a user who has no link yet.
    pub match_email: bool,
    /// Whether whoever signs in with a verified address that nobody has becomes a user.
    pub create_users: bool,
    /// `host[:port]` at which its endpoints may be besides its own.
    pub hosts: Vec<String>,
    /// Who has certified it, in PEM; `None`: whom the system trusts.
    pub ca_file: Option<PathBuf>,
}

/// What we are to the issuer.
#[derive(Clone, Debug)]
pub struct OidcClient {
    /// What we are called.
    pub id: String,
    /// A file with our secret; `None`: a public client, with PKCE alone.
    pub secret_file: Option<PathBuf>,
    /// What we ask for.
    pub scopes: Vec<String>,
    /// What the button calls the issuer.
    pub name: String,
    /// Where browsers reach our pages: `https://host[:port]`.
    pub origin: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct OidcSection {
    issuer: String,
    audiences: Vec<String>,
    client_id: String,
    client_secret_file: String,
    scopes: Option<Vec<String>>,
    name: String,
    redirect_origin: Option<String>,
    algorithms: Option<Vec<String>>,
    clock_skew_s: Option<u64>,
    match_email: Option<bool>,
    create_users: bool,
    hosts: Vec<String>,
    ca_file: String,
}

const CLOCK_SKEW_S: u64 = 60;
const CLOCK_SKEW_S_MAX: u64 = 600;
const SCOPES: [&str; 3] = ["openid", "email", "profile"];

impl OidcSection {
    pub(super) fn check(self, public_url: Option<&str>, problems: &mut Problems) -> Option<OidcSettings> {
        if self.issuer.is_empty() {
            if !self.audiences.is_empty() || !self.client_id.is_empty() {
                problems.0.push("oidc.issuer: missing".to_owned());
            }
            return None;
        }
        if !is_issuer(&self.issuer) {
            let why = "is not https://host[:port][/path], nor http:// on this machine";
            problems.0.push(format!("oidc.issuer: `{}` {why}", self.issuer));
        }
        if self.audiences.is_empty() && self.client_id.is_empty() {
            problems.0.push(
                "oidc: without `audiences` and without `client_id` the issuer is for nothing".to_owned(),
            );
        }
        if self.audiences.contains(&self.client_id) {
            let why = "is `client_id`: ID tokens, which any page of ours may have, would open the API";
            problems.0.push(format!("oidc.audiences: `{}` {why}", self.client_id));
        }
        let skew_s = self.clock_skew_s.unwrap_or(CLOCK_SKEW_S);
        if skew_s > CLOCK_SKEW_S_MAX {
            problems.0.push(format!("oidc.clock_skew_s: at most {CLOCK_SKEW_S_MAX}"));
        }
        Some(OidcSettings {
            client: client(&self, public_url, problems),
            algorithms: algorithms(self.algorithms, problems),
            issuer: self.issuer,
            audiences: self.audiences,
            clock_skew: Duration::from_secs(skew_s),
            match_email: self.match_email.unwrap_or(true),
            create_users: self.create_users,
            hosts: self.hosts,
            ca_file: path(&self.ca_file),
        })
    }
}

fn path(text: &str) -> Option<PathBuf> {
    (!text.is_empty()).then(|| PathBuf::from(text))
}

fn algorithms(names: Option<Vec<String>>, problems: &mut Problems) -> Vec<Algorithm> {
    let Some(names) = names else { return Algorithm::USUAL.to_vec() };
    if names.is_empty() {
        problems.0.push("oidc.algorithms: without one no token is good".to_owned());
    }
    let mut algorithms = Vec::new();
    for name in &names {
        match Algorithm::from_name(name) {
            Some(algorithm) => algorithms.push(algorithm),
            None => {
                let known = Algorithm::ALL.map(Algorithm::name).join(", ");
                problems.0.push(format!("oidc.algorithms: `{name}` is none of {known}"));
            }
        }
    }
    algorithms
}

fn client(section: &OidcSection, public_url: Option<&str>, problems: &mut Problems) -> Option<OidcClient> {
    if section.client_id.is_empty() {
        return None;
    }
    let origin = problems.origin("oidc.redirect_origin", section.redirect_origin.clone());
    let origin = origin.or_else(|| public_url.map(str::to_owned)).unwrap_or_else(|| {
        problems.0.push(
            "oidc.client_id: needs oidc.redirect_origin or public.url, where the issuer sends browsers back to"
                .to_owned(),
        );
        String::new()
    });
    if origin.starts_with("http://") && !is_issuer(&origin) {
        problems.0.push(format!("oidc.redirect_origin: `{origin}` needs https://: codes come back there"));
    }
    let scopes: Vec<String> = section.scopes.clone().unwrap_or_else(|| SCOPES.map(str::to_owned).to_vec());
    let harmless = |scope: &String| !scope.is_empty() && scope.bytes().all(|byte| byte.is_ascii_graphic());
    if !scopes.iter().any(|scope| scope == "openid") || !scopes.iter().all(harmless) {
        problems.0.push("oidc.scopes: words, and `openid` is one of them".to_owned());
    }
    let host = place_of(&section.issuer).map(|(_, authority)| authority).unwrap_or_default();
    Some(OidcClient {
        id: section.client_id.clone(),
        secret_file: path(&section.client_secret_file),
        scopes,
        name: if section.name.is_empty() { host } else { section.name.clone() },
        origin,
    })
}

impl OidcSettings {
    /// Whether a URL that the issuer names may be used: with the issuer's scheme, at its `host[:port]` or one that the settings name;
    /// without TLS only on this machine.
    #[must_use]
    pub fn allows(&self, url: &str) -> bool {
        let (Some((scheme, authority)), Some((own_scheme, own))) = (place_of(url), place_of(&self.issuer))
        else {
            return false;
        };
        let named = |allowed: &String| allowed.eq_ignore_ascii_case(&authority);
        let encrypted_or_here = scheme == "https" || is_issuer(url.split('?').next().unwrap_or_default());
        scheme == own_scheme
            && encrypted_or_here
            && (authority.eq_ignore_ascii_case(&own) || self.hosts.iter().any(named))
    }
}

/// Scheme and `host[:port]`; `None`: no URL for us.
fn place_of(url: &str) -> Option<(String, String)> {
    let uri: Uri = url.parse().ok()?;
    let authority = uri.authority()?.as_str();
    let plain = !authority.contains('@') && !url.contains('#');
    plain.then(|| (uri.scheme_str().unwrap_or_default().to_owned(), authority.to_owned()))
}

fn is_issuer(text: &str) -> bool {
    let Some((scheme, authority)) = place_of(text) else { return false };
    let host = authority.rsplit_once(':').map_or(&*authority, |(host, port)| {
        if port.bytes().all(|byte| byte.is_ascii_digit()) { host } else { &authority }
    });
    let here = matches!(host, "127.0.0.1" | "[::1]" | "localhost");
    !text.contains('?') && (scheme == "https" || (scheme == "http" && here))
}

#[cfg(test)]
mod tests {
    use super::OidcSettings;
    use crate::settings::{Settings, SettingsError};

    fn oidc(text: &str) -> Result<OidcSettings, Vec<String>> {
        let text = format!("[public]\nurl = \"https://cube.example.org\"\n[oidc]\n{text}");
        match Settings::from_toml(&text) {
            Ok(settings) => Ok(settings.oidc.expect("an issuer")),
            Err(SettingsError::Values(problems)) => Err(problems),
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn an_issuer_is_on_https_or_on_this_machine() {
        let of = |issuer: &str| oidc(&format!("issuer = \"{issuer}\"\naudiences = [\"a\"]"));
        for good in [
            "https://id.example.org",
            "https://id.example.org/realms/x",
            "http://127.0.0.1:8080",
            "http://localhost",
            "http://[::1]:80/x",
        ] {
            assert!(of(good).is_ok(), "{good}");
        }
        for bad in [
            "http://id.example.org",
            "ftp://x",
            "https://a@b",
            "https://a?b",
            "https://a#b",
            "id.example.org",
            "http://10.0.0.1",
            "http://127.0.0.1.evil.example",
            "http://localhost@evil.example",
        ] {
            assert_eq!(of(bad).map_err(|problems| problems.len()).err(), Some(1), "{bad}");
        }
    }

    #[test]
    fn what_would_let_wrong_tokens_in_is_refused_by_name() {
        let issuer = "issuer = \"https://id.example.org\"\n";
        for (text, why) in [
            ("audiences = ['a']\nalgorithms = ['none']", "oidc.algorithms: `none`"),
            ("audiences = ['a']\nalgorithms = ['HS256']", "oidc.algorithms: `HS256`"),
            ("audiences = ['a']\nalgorithms = []", "oidc.algorithms"),
            ("audiences = ['a']\nclock_skew_s = 601", "oidc.clock_skew_s"),
            ("audiences = ['a']\nclient_id = 'a'", "oidc.audiences: `a` is `client_id`"),
            ("", "oidc: without"),
            ("client_id = 'c'\nscopes = ['email']", "oidc.scopes"),
            ("client_id = 'c'\nscopes = ['openid', 'a b']", "oidc.scopes"),
            ("client_id = 'c'\nredirect_origin = 'http://cube.example.org'", "oidc.redirect_origin"),
            ("client_id = 'c'\nredirect_origin = 'https://cube.example.org/x'", "oidc.redirect_origin"),
        ] {
            let problems = oidc(&format!("{issuer}{text}")).expect_err(text);
            assert!(problems.iter().any(|problem| problem.starts_with(why)), "{text}: {problems:?}");
        }
        assert!(Settings::from_toml("[oidc]\naudiences = ['a']").is_err(), "no issuer");
        let alone = "[oidc]\nissuer = 'https://x'\nclient_id = 'c'";
        assert!(Settings::from_toml(alone).is_err(), "nowhere to come back to");
        assert!(Settings::default().oidc.is_none());
    }

    #[test]
    fn an_issuer_s_endpoints_are_at_its_own_place_or_one_that_is_named() {
        let settings =
            oidc("issuer = \"https://id.example.org\"\naudiences = [\"a\"]\nhosts = [\"keys.example.org\"]");
        let settings = settings.unwrap();
        for good in
            ["https://id.example.org/keys", "https://ID.example.org/x", "https://keys.example.org/x?y"]
        {
            assert!(settings.allows(good), "{good}");
        }
        for bad in [
            "http://id.example.org/",
            "https://169.254.169.254/",
            "https://id.example.org:444/",
            "https://id.example.org.evil/",
            "https://x@id.example.org/",
            "file:///etc/passwd",
            "/keys",
            "",
        ] {
            assert!(!settings.allows(bad), "{bad}");
        }
        let local =
            oidc("issuer = \"http://127.0.0.1:1\"\naudiences = [\"a\"]\nhosts = [\"10.0.0.1\"]").unwrap();
        assert!(local.allows("http://127.0.0.1:1/keys") && !local.allows("http://10.0.0.1/keys"));
    }
}
