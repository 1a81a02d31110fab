//! One request to the issuer: over after [`PATIENCE`], at most [`ANSWER_BYTES_MAX`] read, no redirect followed.

use std::io;
use std::path::Path;
use std::time::Duration;

use serde::de::DeserializeOwned;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

/// Longest exchange, from the name's look-up to the answer's last byte.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// Longest answer, in bytes.
pub const ANSWER_BYTES_MAX: u64 = 256 << 10;

/// Why the issuer did not help. For the log: callers hear that their credential is not good, or that signing in does not work now.
#[derive(Debug, thiserror::Error)]
pub enum IssuerFault {
    /// No answer, not in time, or too long a one.
    #[error("{url}: {error}")]
    Unreachable {
        /// What was asked.
        url: String,
        /// What happened.
        error: String,
    },
    /// It failed a moment ago and is not asked again yet.
    #[error("it failed a moment ago")]
    Resting,
    /// An answer that is none.
    #[error("{0}: not what OpenID Connect says")]
    Nonsense(String),
    /// It points to where it may not.
    #[error("`{0}` is at no place that the settings allow")]
    Elsewhere(String),
    /// It refused what we asked for.
    #[error("refused: {0}")]
    Refused(String),
}

/// What asks.
#[derive(Clone, Debug)]
pub struct Fetcher {
    agent: ureq::Agent,
}

/// What is asked. Its credential is shown to nobody.
pub enum Asked {
    /// A document, with a bearer's credential if there is one.
    Get {
        /// The user's access token.
        bearer: Option<String>,
    },
    /// A form, with a client's credential if there is one.
    Post {
        /// `application/x-www-form-urlencoded`.
        form: String,
        /// The whole value of `Authorization`.
        authorization: Option<String>,
    },
}

/// What came back.
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// All of its body.
    pub body: Vec<u8>,
}

impl Fetcher {
    /// * `ca`: a file with the authorities that may have certified the issuer; `None`: whom the system trusts.
    ///
    /// # Errors
    /// The file cannot be read, or holds no certificate.
    pub fn new(ca: Option<&Path>) -> io::Result<Self> {
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(PATIENCE))
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .tls_config(TlsConfig::builder().root_certs(roots(ca)?).build())
            .build();
        Ok(Self { agent: agent.into() })
    }

    /// A JSON document.
    ///
    /// # Errors
    /// [`IssuerFault`]; anything but 200 is one.
    pub async fn document<T: DeserializeOwned>(
        &self,
        url: &str,
        bearer: Option<String>,
    ) -> Result<T, IssuerFault> {
        let answer = self.ask(url, Asked::Get { bearer }).await?;
        if answer.status != 200 {
            return Err(IssuerFault::Nonsense(format!("{url}: status {}", answer.status)));
        }
        serde_json::from_slice(&answer.body).map_err(|_| IssuerFault::Nonsense(url.to_owned()))
    }

    /// One request.
    ///
    /// # Errors
    /// [`IssuerFault::Unreachable`].
    pub async fn ask(&self, url: &str, asked: Asked) -> Result<Answer, IssuerFault> {
        let (agent, to) = (self.agent.clone(), url.to_owned());
        let work = move || -> Result<Answer, ureq::Error> {
            let mut response = match asked {
                Asked::Get { bearer } => {
                    let mut request = agent.get(&to).header("accept", "application/json");
                    if let Some(bearer) = bearer {
                        request = request.header("authorization", format!("Bearer {bearer}"));
                    }
                    request.call()?
                }
                Asked::Post { form, authorization } => {
                    let mut request = agent.post(&to).header("accept", "application/json");
                    if let Some(authorization) = authorization {
                        request = request.header("authorization", authorization);
                    }
                    request.content_type("application/x-www-form-urlencoded").send(form)?
                }
            };
            let status = response.status().as_u16();
            let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec()?;
            Ok(Answer { status, body })
        };
        let unreachable = |error: String| IssuerFault::Unreachable { url: url.to_owned(), error };
        let done = tokio::task::spawn_blocking(work).await.map_err(|error| unreachable(error.to_string()))?;
        done.map_err(|error| unreachable(error.to_string()))
    }
}

fn roots(ca: Option<&Path>) -> io::Result<RootCerts> {
    let Some(path) = ca else {
        let trusted = rustls_native_certs::load_native_certs().certs;
        let trusted = trusted.iter().map(|certificate| Certificate::from_der(certificate).to_owned());
        return Ok(RootCerts::from(trusted.collect::<Vec<_>>()));
    };
    let wrong = |error: String| io::Error::other(format!("oidc.ca_file {}: {error}", path.display()));
    let text = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
    let mut certificates = Vec::new();
    for item in parse_pem(&text) {
        if let PemItem::Certificate(certificate) = item.map_err(|error| wrong(error.to_string()))? {
            certificates.push(certificate);
        }
    }
    if certificates.is_empty() {
        return Err(wrong("no certificate in it".to_owned()));
    }
    Ok(RootCerts::from(certificates))
}
