//! Signing in at the issuer: where a browser is sent to, what the code is good for that it brings back, and what else there is to know
//! of a user.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::fetch::{Asked, IssuerFault};
use super::provider::{Description, Provider};
use crate::settings::OidcClient;

/// What binds an answer of the issuer's to what we asked. All of them are harmless in a URL.
#[derive(Clone, Copy, Debug)]
pub struct Binding<'b> {
    /// Comes back beside the code.
    pub state: &'b str,
    /// Comes back in the ID token.
    pub nonce: &'b str,
    /// SHA-256 of what is shown with the code, in base64url (RFC 7636 §4.2).
    pub challenge: &'b str,
}

/// What a code was good for.
#[derive(Deserialize)]
pub struct Exchanged {
    /// Who has signed in.
    pub id_token: String,
    /// For the issuer's own API.
    pub access_token: Option<String>,
}

/// Where the issuer is to send browsers back to.
fn redirect_uri(client: &OidcClient) -> String {
    format!("{}{}", client.origin, super::CALLBACK_PATH)
}

fn query(pairs: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

fn with_query(endpoint: &str, pairs: &[(&str, &str)]) -> String {
    let glue = if endpoint.contains('?') { '&' } else { '?' };
    format!("{endpoint}{glue}{}", query(pairs))
}

fn lacks(what: &str) -> IssuerFault {
    IssuerFault::Nonsense(format!("no `{what}` in the issuer's description"))
}

impl Provider {
    /// Where a browser goes to sign in.
    ///
    /// # Errors
    /// [`IssuerFault::Nonsense`]: the issuer signs nobody in.
    pub fn sign_in_url(
        &self,
        description: &Description,
        client: &OidcClient,
        binding: Binding<'_>,
    ) -> Result<String, IssuerFault> {
        let endpoint = description.authorization_endpoint.as_deref();
        let endpoint = endpoint.ok_or_else(|| lacks("authorization_endpoint"))?;
        Ok(with_query(
            endpoint,
            &[
                ("response_type", "code"),
                ("client_id", &client.id),
                ("redirect_uri", &redirect_uri(client)),
                ("scope", &client.scopes.join(" ")),
                ("state", binding.state),
                ("nonce", binding.nonce),
                ("code_challenge", binding.challenge),
                ("code_challenge_method", "S256"),
            ],
        ))
    }

    /// Where a browser goes to be signed out there as well; `None`: there is no such place.
    #[must_use]
    pub fn sign_out_url(&self, description: &Description, client: &OidcClient) -> Option<String> {
        let endpoint = description.end_session_endpoint.as_deref()?;
        Some(with_query(endpoint, &[("client_id", &client.id)]))
    }

    /// The tokens for a code (RFC 6749 §4.1.3, RFC 7636 §4.5).
    ///
    /// # Errors
    /// [`IssuerFault::Refused`]: the code is not good; others: the issuer does not answer as it should.
    pub async fn exchange(
        &self,
        description: &Description,
        client: &OidcClient,
        code: &str,
        verifier: &str,
    ) -> Result<Exchanged, IssuerFault> {
        let url = description.token_endpoint.as_deref().ok_or_else(|| lacks("token_endpoint"))?;
        let redirect_uri = redirect_uri(client);
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", &redirect_uri),
            ("code_verifier", verifier),
        ];
        // What every issuer has to take (RFC 6749 §2.3.1), unless it says that it does not.
        let basic = description
            .token_endpoint_auth_methods_supported
            .as_ref()
            .is_none_or(|methods| methods.iter().any(|method| method == "client_secret_basic"));
        let secret = self.secret.as_ref().map(|secret| secret.0.as_str());
        let authorization = secret.filter(|_| basic).map(|secret| basic_credential(&client.id, secret));
        if authorization.is_none() {
            form.push(("client_id", &client.id));
            form.extend(secret.map(|secret| ("client_secret", secret)));
        }
        let _turn = self.exchanges.acquire().await;
        let answer = self.fetcher.ask(url, Asked::Post { form: query(&form), authorization }).await?;
        if answer.status != 200 {
            let error: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
            let text = error["error"].as_str().unwrap_or("no reason");
            return Err(match answer.status {
                400..500 => IssuerFault::Refused(text.chars().take(64).collect()),
                status => IssuerFault::Nonsense(format!("{url}: status {status}")),
            });
        }
        serde_json::from_slice(&answer.body).map_err(|_| IssuerFault::Nonsense(url.to_owned()))
    }

    /// What the issuer says of a user beside the ID token (OpenID Connect Core §5.3); nothing, if it says nothing.
    ///
    /// # Errors
    /// [`IssuerFault`]; also if it speaks of somebody else.
    pub async fn user_info(
        &self,
        description: &Description,
        access_token: &str,
        subject: &str,
    ) -> Result<Map<String, Value>, IssuerFault> {
        let Some(url) = description.userinfo_endpoint.as_deref() else { return Ok(Map::new()) };
        let said: Map<String, Value> = self.fetcher.document(url, Some(access_token.to_owned())).await?;
        match said.get("sub").and_then(Value::as_str) == Some(subject) {
            true => Ok(said),
            false => Err(IssuerFault::Nonsense(format!("{url}: another `sub`"))),
        }
    }
}

/// A client's credential as the Basic scheme has it (RFC 6749 §2.3.1: both parts are form-encoded first; RFC 7617).
fn basic_credential(id: &str, secret: &str) -> String {
    let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let mut text = cube_wire::base64url::encode(format!("{}:{}", encoded(id), encoded(secret)).as_bytes())
        .replace('-', "+")
        .replace('_', "/");
    while !text.len().is_multiple_of(4) {
        text.push('=');
    }
    format!("Basic {text}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_s_secret_travels_as_basic_does() {
        assert_eq!(basic_credential("Aladdin", "opensesame"), "Basic QWxhZGRpbjpvcGVuc2VzYW1l");
        assert_eq!(basic_credential("a:b", "é"), "Basic YSUzQWI6JUMzJUE5");
    }
}
