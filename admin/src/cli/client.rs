//! One request at a time to the API, and the file with the login.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

const DEFAULT_API: &str = "http://127.0.0.1:8081";
/// Longest wait for an answer; `Prefer: wait` takes up to 50 s of it.
const PATIENCE: Duration = Duration::from_secs(70);

/// What a login leaves on the disk.
#[derive(Debug, Serialize, Deserialize)]
struct Credentials {
    api: String,
    access_token: String,
    refresh_token: String,
}

/// A caller of the API.
#[derive(Debug)]
pub(super) struct Client {
    agent: ureq::Agent,
    api: String,
    token: Option<String>,
    /// Where the login is.
    file: PathBuf,
    login: Option<Credentials>,
    /// For how long a change waits for proxies.
    pub(super) wait: Option<String>,
}

/// An answer, good or not.
struct Answer {
    status: u16,
    pending: Option<String>,
    body: Value,
}

impl Client {
    pub(super) fn new(
        file: Option<PathBuf>,
        api: Option<String>,
        token: Option<String>,
        ca: Option<&Path>,
    ) -> anyhow::Result<Self> {
        let file = file.map_or_else(default_file, Ok)?;
        let login: Option<Credentials> = match std::fs::read_to_string(&file) {
            Ok(text) => Some(serde_json::from_str(&text).with_context(|| file.display().to_string())?),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(error).with_context(|| file.display().to_string()),
        };
        let of_login = login.as_ref().map(|login| login.api.clone());
        let api = api.or(of_login.clone()).unwrap_or_else(|| DEFAULT_API.to_owned());
        let api = api.trim_end_matches('/').to_owned();
        // A login's tokens go to the API that gave them and to no other.
        let login = login.filter(|login| login.api == api);
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(PATIENCE))
            .tls_config(TlsConfig::builder().root_certs(roots(ca)?).build())
            // A DELETE or GET may then say that its body is empty.
            .allow_non_standard_methods(true);
        Ok(Self { agent: config.build().into(), api, token, file, login, wait: None })
    }

    pub(super) fn api(&self) -> &str {
        &self.api
    }

    /// Logs in and keeps the tokens; returns where.
    pub(super) fn log_in(&mut self, username: &str, password: &str) -> anyhow::Result<PathBuf> {
        let login = json!({ "username": username, "password": password, "description": "cube-admin login" });
        let answer = self.request("POST", "/users/tokens/issue", "", Some(&login))?;
        self.keep(good(answer)?)?;
        Ok(self.file.clone())
    }

    /// Calls the API; with the login's tokens, renewed if they are over, unless there is another token.
    pub(super) fn call(&mut self, method: &str, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        let own = self.login.as_ref().map(|login| login.access_token.clone());
        let Some(token) = self.token.clone().or(own) else {
            bail!("no credential: `cube-admin login`, --token or CUBE_ADMIN_TOKEN");
        };
        let answer = self.request(method, path, &token, body)?;
        let answer = if answer.status == 401 && self.token.is_none() {
            let refresh = self.login.as_ref().map(|login| login.refresh_token.clone()).unwrap_or_default();
            let renewed = self.request("POST", "/users/tokens/refresh", &refresh, None)?;
            self.keep(good(renewed).context("the login is over; `cube-admin login` again")?)?;
            let token = self.login.as_ref().map(|login| login.access_token.clone()).unwrap_or_default();
            self.request(method, path, &token, body)?
        } else {
            answer
        };
        if let Some(pending) = &answer.pending {
            eprintln!("not in force in time on: {pending}");
        }
        good(answer)
    }

    fn request(&self, method: &str, path: &str, token: &str, body: Option<&Value>) -> anyhow::Result<Answer> {
        let url = format!("{}{path}", self.api);
        let mut request = ureq::http::Request::builder().method(method).uri(&url);
        if !token.is_empty() {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        if let Some(seconds) = &self.wait {
            request = request.header("prefer", format!("wait={seconds}"));
        }
        let request = request.body(body.map(Value::to_string).unwrap_or_default())?;
        let mut response = self.agent.run(request).with_context(|| format!("{method} {url}"))?;
        let pending = response.headers().get("x-cube-pending-nodes").and_then(|value| value.to_str().ok());
        let pending = pending.map(str::to_owned);
        let text = response.body_mut().with_config().limit(64 << 20).read_to_string()?;
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        Ok(Answer { status: response.status().as_u16(), pending, body })
    }

    fn keep(&mut self, tokens: Value) -> anyhow::Result<()> {
        let token = |name: &str| tokens[name].as_str().map(str::to_owned).context("the API gave no tokens");
        let login = Credentials {
            api: self.api.clone(),
            access_token: token("access_token")?,
            refresh_token: token("refresh_token")?,
        };
        write_secret(&self.file, &serde_json::to_string(&login)?)
            .with_context(|| self.file.display().to_string())?;
        self.login = Some(login);
        Ok(())
    }
}

fn good(answer: Answer) -> anyhow::Result<Value> {
    if (200..300).contains(&answer.status) {
        return Ok(answer.body);
    }
    let message = answer.body["message"].as_str().unwrap_or("not an answer of cube-admin");
    bail!("{} {message}", answer.status)
}

fn default_file() -> anyhow::Result<PathBuf> {
    let config = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from);
    let config = config.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".config")));
    Ok(config.context("neither HOME nor --credentials is set")?.join("cube-admin").join("credentials.json"))
}

/// Replaces the file at once, readable for its owner alone from the first moment.
fn write_secret(file: &Path, text: &str) -> std::io::Result<()> {
    if let Some(directory) = file.parent() {
        std::fs::create_dir_all(directory)?;
    }
    let fresh = file.with_extension("new");
    let _ = std::fs::remove_file(&fresh);
    let mut made = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
    writeln!(made, "{text}")?;
    std::fs::rename(fresh, file)
}

/// By whom the API's certificate may be signed: those whom the system trusts, or those in a file.
fn roots(ca: Option<&Path>) -> anyhow::Result<RootCerts> {
    let Some(path) = ca else {
        let trusted = rustls_native_certs::load_native_certs().certs;
        let trusted = trusted.iter().map(|certificate| Certificate::from_der(certificate).to_owned());
        return Ok(RootCerts::from(trusted.collect::<Vec<_>>()));
    };
    let text = std::fs::read(path).with_context(|| path.display().to_string())?;
    let mut certificates = Vec::new();
    for item in parse_pem(&text) {
        if let PemItem::Certificate(certificate) = item.with_context(|| path.display().to_string())? {
            certificates.push(certificate);
        }
    }
    anyhow::ensure!(!certificates.is_empty(), "{}: no certificate in it", path.display());
    Ok(RootCerts::from(certificates))
}
