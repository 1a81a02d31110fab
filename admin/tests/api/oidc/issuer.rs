//! A scripted issuer: a real HTTP server with real keys, which says what a test has it say, and counts what it is asked.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use cube_wire::base64url;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
    RsaKeyPair, RsaPublicKeyComponents,
};
use sha2::{Digest as _, Sha256};

use crate::support::{Value, json};

/// Made for these tests: `openssl genpkey -algorithm RSA | openssl pkcs8 -topk8 -nocrypt -outform DER`.
const RSA: &[u8] = include_bytes!("rsa_2048.pk8");

/// A key that signs.
pub(super) enum Key {
    Rsa(RsaKeyPair),
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl Key {
    pub(super) fn rsa() -> Self {
        Self::Rsa(RsaKeyPair::from_pkcs8(RSA).expect("a key"))
    }

    pub(super) fn p256() -> Self {
        let (curve, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let document = EcdsaKeyPair::generate_pkcs8(curve, &random).expect("a key");
        Self::P256(EcdsaKeyPair::from_pkcs8(curve, document.as_ref(), &random).expect("a key"))
    }

    pub(super) fn ed25519() -> Self {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("a key");
        Self::Ed25519(Ed25519KeyPair::from_pkcs8(document.as_ref()).expect("a key"))
    }

    pub(super) const fn algorithm(&self) -> &'static str {
        match self {
            Self::Rsa(_) => "RS256",
            Self::P256(_) => "ES256",
            Self::Ed25519(_) => "EdDSA",
        }
    }

    fn jwk(&self, id: &str) -> Value {
        let text = |bytes: &[u8]| base64url::encode(bytes);
        match self {
            Self::Rsa(pair) => {
                let public = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public());
                json!({ "kty": "RSA", "kid": id, "use": "sig", "n": text(&public.n), "e": text(&public.e) })
            }
            Self::P256(pair) => {
                let point = pair.public_key().as_ref();
                json!({ "kty": "EC", "crv": "P-256", "kid": id, "x": text(&point[1..33]), "y": text(&point[33..]) })
            }
            Self::Ed25519(pair) => {
                json!({ "kty": "OKP", "crv": "Ed25519", "kid": id, "x": text(pair.public_key().as_ref()) })
            }
        }
    }

    fn sign(&self, text: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, text, &mut signature).expect("signed");
                signature
            }
            Self::P256(pair) => pair.sign(&random, text).expect("signed").as_ref().to_vec(),
            Self::Ed25519(pair) => pair.sign(text).as_ref().to_vec(),
        }
    }

    /// A token with this head (its `alg` and `kid` as they are given) and these claims.
    pub(super) fn token(&self, head: &Value, claims: &Value) -> String {
        let part = |value: &Value| base64url::encode(value.to_string().as_bytes());
        let text = format!("{}.{}", part(head), part(claims));
        let signature = base64url::encode(&self.sign(text.as_bytes()));
        format!("{text}.{signature}")
    }
}

/// What the issuer says and has heard.
#[derive(Default)]
pub(super) struct Script {
    /// Keys by their `kid`.
    pub(super) keys: Vec<(String, Arc<Key>)>,
    /// Instead of parts of the description.
    pub(super) description: Value,
    /// Instead of an answer to this path: a whole HTTP answer.
    pub(super) instead: HashMap<String, Vec<u8>>,
    /// What the next ID token says besides, or instead; `null` takes a claim out.
    pub(super) identity: Value,
    /// What `userinfo` says.
    pub(super) user_info: Value,
    /// Requests by path.
    pub(super) asked: HashMap<String, u32>,
    /// Codes that were given out, with the challenge and nonce that each is for.
    codes: HashMap<String, (String, String)>,
    /// The last form that was posted, and its `Authorization`.
    pub(super) posted: Option<(HashMap<String, String>, String)>,
}

/// A running issuer; it is away when this value goes.
pub(super) struct Issuer {
    pub(super) url: String,
    address: SocketAddr,
    script: Arc<Mutex<Script>>,
    over: Arc<AtomicBool>,
}

impl Issuer {
    /// One with this key, called `k1`.
    pub(super) fn start(key: Key) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").expect("a port"), key)
    }

    /// One without TLS at this place.
    pub(super) fn on(listener: TcpListener, key: Key) -> Self {
        Self::listen(listener, key, None)
    }

    /// One over TLS, and its certificate in PEM.
    pub(super) fn start_with_tls(key: Key) -> (Self, String) {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
        let private = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let tls = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], private.into())
            .expect("they belong together");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        (Self::listen(listener, key, Some(Arc::new(tls))), made.cert.pem())
    }

    fn listen(listener: TcpListener, key: Key, tls: Option<Arc<rustls::ServerConfig>>) -> Self {
        let address = listener.local_addr().expect("bound");
        let scheme = if tls.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{address}/realms/test");
        let keys = vec![("k1".to_owned(), Arc::new(key))];
        let script = Arc::new(Mutex::new(Script { keys, description: json!({}), ..Script::default() }));
        let over = Arc::new(AtomicBool::new(false));
        let (shared, own, told) = (Arc::clone(&script), url.clone(), Arc::clone(&over));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if told.load(Ordering::SeqCst) {
                    return;
                }
                let (shared, own, tls) = (Arc::clone(&shared), own.clone(), tls.clone());
                std::thread::spawn(move || match tls {
                    None => serve(stream, &shared, &own),
                    Some(tls) => {
                        let session = rustls::ServerConnection::new(tls).expect("a session");
                        serve(rustls::StreamOwned::new(session, stream), &shared, &own);
                    }
                });
            }
        });
        Self { url, address, script, over }
    }

    pub(super) fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().expect("nobody panicked")
    }

    /// How often a path was asked for.
    pub(super) fn asked(&self, path: &str) -> u32 {
        self.script().asked.get(path).copied().unwrap_or_default()
    }

    /// An access token of the first key, with these claims instead of the good ones; `null` takes one out.
    pub(super) fn access(&self, changes: &Value) -> String {
        self.with_head(&json!({}), changes)
    }

    pub(super) fn with_head(&self, head: &Value, changes: &Value) -> String {
        let (id, key) = self.script().keys.first().expect("a key").clone();
        let good = json!({ "alg": key.algorithm(), "kid": id, "typ": "at+jwt" });
        key.token(&merged(good, head), &merged(claims(&self.url), changes))
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        // One more connection, for the thread to see that it is over; then nobody listens any more.
        while TcpStream::connect(self.address).is_ok() {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }
}

/// What a good access token says.
pub(super) fn claims(issuer: &str) -> Value {
    let now = now();
    json!({ "iss": issuer, "aud": "cube-api", "sub": "ada-at-issuer", "iat": now, "exp": now + 300,
        "client_id": "cli", "jti": uuid::Uuid::new_v4(), "scope": "openid deployments:read" })
}

pub(super) fn now() -> i64 {
    let since = std::time::UNIX_EPOCH.elapsed().expect("after 1970");
    i64::try_from(since.as_secs()).expect("small")
}

pub(super) fn merged(mut base: Value, changes: &Value) -> Value {
    for (name, value) in changes.as_object().into_iter().flatten() {
        if value.is_null() {
            drop(base.as_object_mut().expect("an object").remove(name));
        } else {
            base[name] = value.clone();
        }
    }
    base
}

/// A whole HTTP answer.
pub(super) fn answer(status: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n{headers}\r\n{body}")
        .into()
}

fn serve(stream: impl Read + Write, script: &Mutex<Script>, url: &str) {
    let mut reader = BufReader::new(stream);
    let mut head = Vec::new();
    let mut length = 0;
    let mut authorization = String::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) <= 2 {
            break;
        }
        let (name, value) = line.split_once(':').unwrap_or((&line, ""));
        match &*name.to_ascii_lowercase() {
            "content-length" => length = value.trim().parse().unwrap_or(0),
            "authorization" => authorization = value.trim().to_owned(),
            _ => {}
        }
        head.push(line);
    }
    let Some(target) = head.first().and_then(|line| line.split(' ').nth(1)).map(str::to_owned) else {
        return;
    };
    let mut body = vec![0; length];
    if reader.read_exact(&mut body).is_err() {
        return;
    }
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let path = path.strip_prefix("/realms/test").unwrap_or(path);
    let mut script = script.lock().expect("nobody panicked");
    *script.asked.entry(path.to_owned()).or_default() += 1;
    let bytes = match script.instead.get(path) {
        Some(bytes) => bytes.clone(),
        None => script.answer(url, path, query, &body, &authorization),
    };
    drop(script);
    // Whoever asked may have hung up: that is what some tests are about.
    let _ = reader.get_mut().write_all(&bytes);
}

fn pairs(text: &[u8]) -> HashMap<String, String> {
    form_urlencoded::parse(text).into_owned().collect()
}

impl Script {
    fn answer(&mut self, url: &str, path: &str, query: &str, body: &[u8], authorization: &str) -> Vec<u8> {
        let fine = |value: Value| answer("200 OK", "content-type: application/json\r\n", &value.to_string());
        match path {
            "/.well-known/openid-configuration" => {
                let description = json!({
                    "issuer": url,
                    "jwks_uri": format!("{url}/keys"),
                    "authorization_endpoint": format!("{url}/authorize?theme=plain"),
                    "token_endpoint": format!("{url}/token"),
                    "userinfo_endpoint": format!("{url}/userinfo"),
                    "end_session_endpoint": format!("{url}/logout"),
                });
                fine(merged(description, &self.description))
            }
            "/keys" => {
                fine(json!({ "keys": self.keys.iter().map(|(id, key)| key.jwk(id)).collect::<Vec<_>>() }))
            }
            "/authorize" => {
                let asked = pairs(query.as_bytes());
                let code = uuid::Uuid::new_v4().simple().to_string();
                let of = |name: &str| asked.get(name).cloned().unwrap_or_default();
                self.codes.insert(code.clone(), (of("code_challenge"), of("nonce")));
                let location =
                    format!("location: {}?code={code}&state={}\r\n", of("redirect_uri"), of("state"));
                answer("302 Found", &location, "")
            }
            "/token" => self.exchange(url, body, authorization),
            "/userinfo" if authorization == "Bearer issuers-own" => fine(self.user_info.clone()),
            _ => answer("404 Not Found", "", ""),
        }
    }

    /// A code is good once, for whoever shows what its challenge was made of.
    fn exchange(&mut self, url: &str, body: &[u8], authorization: &str) -> Vec<u8> {
        let form = pairs(body);
        let of = |name: &str| form.get(name).cloned().unwrap_or_default();
        let challenge = base64url::encode(&Sha256::digest(of("code_verifier")));
        let known = self.codes.remove(&of("code"));
        self.posted = Some((form, authorization.to_owned()));
        let Some((_, nonce)) = known.filter(|(expected, _)| *expected == challenge) else {
            return answer("400 Bad Request", "", r#"{"error":"invalid_grant<script>"}"#);
        };
        let (id, key) = self.keys.first().expect("a key");
        let now = now();
        let good = json!({ "iss": url, "aud": "cube-ui", "sub": "ada-at-issuer", "iat": now, "exp": now + 300,
            "nonce": nonce, "email": "ada@example.org", "email_verified": true });
        let head = json!({ "alg": key.algorithm(), "kid": id });
        let identity = key.token(&head, &merged(good, &self.identity));
        let tokens = json!({ "access_token": "issuers-own", "token_type": "Bearer", "id_token": identity });
        answer("200 OK", "content-type: application/json\r\n", &tokens.to_string())
    }
}
