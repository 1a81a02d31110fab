//! Whether a token (RFC 7519) is the issuer's, for us, and good now.
//!
//! The head's `alg` chooses nothing: it has to be on the list and to be what the key is for. What is not verified is not returned.

use cube_wire::base64url;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::keys::{Algorithm, PublicKey};

/// Longest token that is looked at, in bytes.
pub const TOKEN_LEN_MAX: usize = 16 << 10;
/// Longest `sub`, in bytes (OpenID Connect Core §2).
pub const SUBJECT_LEN_MAX: usize = 255;

/// What a token has to be.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'e> {
    /// Who made it.
    pub issuer: &'e str,
    /// How it may be signed.
    pub algorithms: &'e [Algorithm],
    /// How far our clocks may be apart, in seconds.
    pub skew_s: u64,
    /// Unix seconds.
    pub now: u64,
    /// For what.
    pub purpose: Purpose<'e>,
}

/// What a token is for.
#[derive(Clone, Copy, Debug)]
pub enum Purpose<'e> {
    /// Requests to our API (RFC 9068).
    Access {
        /// It names one of them.
        audiences: &'e [String],
    },
    /// Telling us who has signed in (OpenID Connect Core §3.1.3.7).
    SignIn {
        /// What we are called.
        client: &'e str,
        /// What we said when we asked for it.
        nonce: &'e str,
        /// What came beside it.
        access_token: Option<&'e str>,
    },
}

/// What a token says, verified.
#[derive(Clone, Debug)]
pub struct Claims {
    /// Who, to the issuer.
    pub subject: String,
    /// Everything.
    pub all: Map<String, Value>,
}

impl Claims {
    /// A text that it says.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.all.get(name).and_then(Value::as_str)
    }

    /// The words of `scope` (RFC 9068 §2.2.3), or of `scp`, as some issuers have it.
    #[must_use]
    pub fn scopes(&self) -> Vec<&str> {
        let said = ["scope", "scp"].into_iter().filter_map(|name| self.all.get(name));
        let mut scopes = Vec::new();
        for value in said {
            scopes.extend(texts(value).into_iter().flat_map(str::split_ascii_whitespace));
        }
        scopes
    }
}

/// Why a token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    /// Not three parts of base64url with JSON, too long, or with what we must understand and do not.
    #[error("not a token")]
    Malformed,
    /// An algorithm that is not on the list, or not the key's.
    #[error("an algorithm that is not taken")]
    Algorithm,
    /// No key has its `kid`: the issuer may have new ones.
    #[error("signed with an unknown key")]
    UnknownKey,
    /// The signature does not hold.
    #[error("a signature that does not hold")]
    Signature,
    /// From somebody else.
    #[error("another issuer's")]
    Issuer,
    /// For somebody else.
    #[error("for another audience")]
    Audience,
    /// Over, or without an end.
    #[error("expired")]
    Expired,
    /// Not begun.
    #[error("not good yet")]
    NotYet,
    /// A token for something else: an ID token where an access token is wanted, or the other way round.
    #[error("for another purpose")]
    Purpose,
    /// Not the answer to what we asked.
    #[error("another nonce")]
    Nonce,
    /// Not the one that came with this access token.
    #[error("not of the access token beside it")]
    Hash,
    /// Without a subject.
    #[error("about nobody")]
    Subject,
}

#[derive(Deserialize)]
struct Head {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    /// Extensions that must be understood; we understand none (RFC 7515 §4.1.11).
    crit: Option<Value>,
}

/// Who a token says made it, unverified: to tell our own from others'. `None`: not the form of a token.
#[must_use]
pub fn claimed_issuer(token: &str) -> Option<String> {
    if token.len() > TOKEN_LEN_MAX || token.bytes().filter(|byte| *byte == b'.').count() != 2 {
        return None;
    }
    let claims: Map<String, Value> = json_of(token.split('.').nth(1)?).ok()?;
    claims.get("iss").and_then(Value::as_str).map(str::to_owned)
}

/// Verifies a token.
///
/// # Errors
/// [`TokenFault`]; to callers all of them are one 401.
pub fn verify(token: &str, keys: &[PublicKey], expected: Expected<'_>) -> Result<Claims, TokenFault> {
    if token.len() > TOKEN_LEN_MAX {
        return Err(TokenFault::Malformed);
    }
    let mut parts = token.split('.');
    let (Some(head), Some(claims), Some(signature), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(TokenFault::Malformed);
    };
    let signed = &token.as_bytes()[..head.len() + 1 + claims.len()];
    let head: Head = json_of(head)?;
    if head.crit.is_some() {
        return Err(TokenFault::Malformed);
    }
    let algorithm = Algorithm::from_name(&head.alg).filter(|known| expected.algorithms.contains(known));
    let algorithm = algorithm.ok_or(TokenFault::Algorithm)?;
    let signature = base64url::decode(signature.as_bytes()).ok_or(TokenFault::Malformed)?;
    check_signature(keys, head.kid.as_deref(), algorithm, signed, &signature)?;
    let all = json_of(claims)?;
    check_times_and_issuer(&all, expected)?;
    match expected.purpose {
        Purpose::Access { audiences } => check_access(&all, head.typ.as_deref(), audiences)?,
        Purpose::SignIn { client, nonce, access_token } => {
            check_sign_in(&all, head.typ.as_deref(), client, nonce)?;
            let said = all.get("at_hash");
            let hash = access_token.map(|token| Value::String(algorithm.half_hash(token)));
            if said.is_some() && hash.is_some() && said != hash.as_ref() {
                return Err(TokenFault::Hash);
            }
        }
    }
    let subject = all.get("sub").and_then(Value::as_str);
    let subject = subject.filter(|subject| !subject.is_empty() && subject.len() <= SUBJECT_LEN_MAX);
    let subject = subject.ok_or(TokenFault::Subject)?.to_owned();
    Ok(Claims { subject, all })
}

/// A named key has to be the one; without a name any that fits may be.
fn check_signature(
    keys: &[PublicKey],
    id: Option<&str>,
    algorithm: Algorithm,
    signed: &[u8],
    signature: &[u8],
) -> Result<(), TokenFault> {
    let named: Vec<_> = keys.iter().filter(|key| id.is_none() || key.id.as_deref() == id).collect();
    if named.is_empty() {
        return Err(TokenFault::UnknownKey);
    }
    let mut fitting = named.into_iter().filter(|key| key.is_for(algorithm)).peekable();
    if fitting.peek().is_none() {
        return Err(TokenFault::Algorithm);
    }
    match (fitting.any(|key| key.verifies(algorithm, signed, signature)), id) {
        (true, _) => Ok(()),
        (false, Some(_)) => Err(TokenFault::Signature),
        (false, None) => Err(TokenFault::UnknownKey),
    }
}

fn check_times_and_issuer(all: &Map<String, Value>, expected: Expected<'_>) -> Result<(), TokenFault> {
    if all.get("iss").and_then(Value::as_str) != Some(expected.issuer) {
        return Err(TokenFault::Issuer);
    }
    // Seconds, with or without a fraction (RFC 7519 §2).
    let seconds = |name: &str| all.get(name).map(Value::as_f64);
    let (now, skew) = (expected.now as f64, expected.skew_s as f64);
    match seconds("exp") {
        Some(Some(end)) if now < end + skew => {}
        Some(_) | None => return Err(TokenFault::Expired),
    }
    for name in ["nbf", "iat"] {
        match seconds(name) {
            Some(Some(begin)) if begin <= now + skew => {}
            None => {}
            Some(_) => return Err(TokenFault::NotYet),
        }
    }
    Ok(())
}

/// An access token says so in `typ` (RFC 9068 §2.1), or, with issuers from before that, says nothing that only other tokens say.
fn check_access(
    all: &Map<String, Value>,
    media_type: Option<&str>,
    audiences: &[String],
) -> Result<(), TokenFault> {
    let named = all.get("aud").map(texts).unwrap_or_default();
    if !named.iter().any(|name| audiences.iter().any(|own| own == name)) {
        return Err(TokenFault::Audience);
    }
    let media_type = media_type.map(str::to_ascii_lowercase);
    match media_type.as_deref() {
        Some("at+jwt" | "application/at+jwt") => return Ok(()),
        Some("jwt") | None => {}
        Some(_) => return Err(TokenFault::Purpose),
    }
    let of_others = ["nonce", "at_hash", "c_hash", "events"].iter().any(|name| all.contains_key(*name));
    // Keycloak's and Cognito's words for it.
    let says = |name: &str, expected: &str| {
        all.get(name).is_none_or(|said| said.as_str().is_some_and(|said| said.eq_ignore_ascii_case(expected)))
    };
    if of_others || !says("typ", "Bearer") || !says("token_use", "access") {
        return Err(TokenFault::Purpose);
    }
    Ok(())
}

fn check_sign_in(
    all: &Map<String, Value>,
    media_type: Option<&str>,
    client: &str,
    nonce: &str,
) -> Result<(), TokenFault> {
    let named = all.get("aud").map(texts).unwrap_or_default();
    if !named.contains(&client) {
        return Err(TokenFault::Audience);
    }
    // One for several says which of them asked.
    match all.get("azp") {
        Some(asked) if asked.as_str() != Some(client) => return Err(TokenFault::Audience),
        None if named.len() > 1 => return Err(TokenFault::Audience),
        Some(_) | None => {}
    }
    if media_type.is_some_and(|media_type| !media_type.eq_ignore_ascii_case("jwt")) {
        return Err(TokenFault::Purpose);
    }
    match all.get("nonce").and_then(Value::as_str) {
        Some(said) if said == nonce => Ok(()),
        Some(_) | None => Err(TokenFault::Nonce),
    }
}

/// One text, or several.
fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::String(one) => vec![one],
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => Vec::new(),
    }
}

fn json_of<T: serde::de::DeserializeOwned>(part: &str) -> Result<T, TokenFault> {
    let bytes = base64url::decode(part.as_bytes()).ok_or(TokenFault::Malformed)?;
    serde_json::from_slice(&bytes).map_err(|_| TokenFault::Malformed)
}

#[cfg(test)]
mod tests;
