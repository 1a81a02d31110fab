//! Who is calling. Every credential that does not hold is answered by the same 401.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;

use crate::support::{Message, Pat, Proxy, Upstream, World, chat, get, start};

fn now_unix_s() -> u64 {
    now_unix_ms() / 1000
}

fn now_unix_ms() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// An answer without what may differ between two equal ones.
fn without_its_id(answer: &Message) -> (String, Vec<(String, String)>, String) {
    let own = ["x-request-id", "date"];
    let fields = answer.fields.iter().filter(|(name, _)| !own.contains(&name.as_str())).cloned().collect();
    (answer.start.clone(), fields, answer.text())
}

/// `secret` with its character at `at` changed into another of the alphabet.
fn with_typo(secret: &str, at: usize) -> String {
    let mut bytes = secret.as_bytes().to_vec();
    bytes[at] = if bytes[at] == b'a' { b'b' } else { b'a' };
    String::from_utf8(bytes).unwrap()
}

#[test]
fn every_credential_that_does_not_hold_gets_the_same_401() {
    let upstream = Upstream::bind();
    let (mut world, tenant) = World::serving(&upstream.url());
    let unknown = Pat::mint(tenant.user);
    let other_secret = Pat::mint(tenant.user);
    let mut with = |change: (&str, serde_json::Value)| {
        let pat = Pat::mint(tenant.user);
        let mut record = pat.record();
        record[change.0] = change.1;
        world.put(record);
        pat
    };
    let expired = with(("expires_at", json!(now_unix_s() - 1)));
    let expired_long_ago = with(("expires_at", json!(1)));
    let not_yet = with(("not_before", json!(now_unix_s() + 3600)));
    let revoked = with(("revoked", json!(true)));
    // The ids are those of a PAT in force, the digest is another's.
    let mut record = other_secret.record();
    record["digest"] = unknown.record()["digest"].clone();
    world.put(record);
    let disabled = world.tenant("disabled").pat;
    world.record("user", disabled.user)["status"] = json!("disabled");
    let proxy = Proxy::of(&world);

    let good = tenant.pat.secret.as_str();
    let bearer = |secret: &str| format!("authorization: Bearer {secret}\r\n");
    let mut presented: Vec<String> =
        ["pat", "pat_", "pat__", "pat_x_y_z", "pat_a_b", "PAT_", "eyJh.eyJz.sig", "\u{e4}"]
            .map(bearer)
            .into();
    for pat in [&unknown, &other_secret, &expired, &expired_long_ago, &not_yet, &revoked, &disabled] {
        presented.push(pat.line());
    }
    presented.extend((0..good.len()).map(|at| bearer(&with_typo(good, at))));
    presented.push(bearer(&good[..good.len() - 1]));
    presented.push(bearer(&format!("{good}a")));
    presented.push(bearer(&format!("{good}, Bearer {good}")));
    presented.push(bearer(&format!("{good} {good}")));
    presented.push(bearer(&format!("\"{good}\"")));
    presented.push(bearer(&"pat_".repeat(1900)));
    presented.push(bearer(&"a".repeat(149)));

    let reference = proxy.ask(get("/proxy/acme/v1/models", &bearer("nonsense")));
    assert_eq!(reference.status(), 401);
    assert!(reference.field("www-authenticate").unwrap().starts_with("Bearer"), "{:?}", reference.fields);
    let body = reference.json();
    assert!(body["error"]["message"].is_string() && body["message"].is_string(), "{body}");

    let mut caller = proxy.connect();
    for line in presented {
        // On one connection: a 401 is no reason to close it.
        caller.send(get("/proxy/acme/v1/models", &line));
        let answer = caller.response();
        assert_eq!(without_its_id(&answer), without_its_id(&reference), "{line}");
    }
    caller.send(get("/proxy/acme/v1/models", &tenant.pat.line()));
    assert_eq!(caller.response().status(), 200);
}

/// What is no bearer credential at all may be told so, but it is a 401 with a challenge all the same.
#[test]
fn without_a_bearer_credential_a_request_is_401_with_a_challenge() {
    let (_upstream, tenant, proxy) = start();
    let good = tenant.pat.secret.as_str();
    let mut caller = proxy.connect();
    for line in [
        String::new(),
        "authorization:\r\n".into(),
        "authorization: Bearer\r\n".into(),
        "authorization: Bearer  \r\n".into(),
        format!("authorization: {good}\r\n"),
        format!("authorization: Basic {good}\r\n"),
        format!("authorization: Bearer\t{good}\r\n"),
        format!("authorization: BearerX {good}\r\n"),
        format!("cookie: authorization={good}\r\n"),
    ] {
        caller.send(get("/proxy/acme/v1/models", &line));
        let answer = caller.response();
        assert_eq!(answer.status(), 401, "{line}");
        assert!(answer.field("www-authenticate").unwrap().starts_with("Bearer"), "{line}");
    }
}

/// With a body on its way, too; and whether or not the domain exists.
#[test]
fn a_bad_credential_is_refused_before_the_body_is_looked_at() {
    let (upstream, tenant, proxy) = start();
    let bad = Pat::mint(tenant.user);
    let mut caller = proxy.connect();
    caller.send(chat(&bad));
    let known = caller.response();
    assert_eq!(known.status(), 401);
    // The body that followed was drained, not parsed: the connection is in step.
    caller.send(chat(&bad).replace("/proxy/acme/", "/proxy/nowhere/"));
    assert_eq!(without_its_id(&caller.response()), without_its_id(&known));

    // Only the head: nothing waits for the body.
    let request = chat(&bad);
    let mut caller = proxy.connect();
    caller.send(&request[..request.find("\r\n\r\n").unwrap() + 4]);
    assert_eq!(caller.response().status(), 401);
    assert!(upstream.try_accept().is_none());
}

#[test]
fn two_authorization_fields_are_refused() {
    let (_upstream, tenant, proxy) = start();
    let twice = format!("{}{}", tenant.pat.line(), tenant.pat.line());
    let status = proxy.ask(get("/proxy/acme/v1/models", &twice)).status();
    assert!([400, 401].contains(&status), "{status}");
}

/// RFC 9110 §11.1: the scheme's case does not matter, one or more spaces follow it.
#[test]
fn the_scheme_is_read_in_any_case_and_with_any_number_of_spaces() {
    let (_upstream, tenant, proxy) = start();
    for scheme in ["Bearer ", "bearer ", "BEARER ", "bEaReR ", "Bearer   "] {
        let line = format!("Authorization: {scheme}{}\r\n", tenant.pat.secret);
        assert_eq!(proxy.ask(get("/proxy/acme/v1/models", &line)).status(), 200, "{scheme:?}");
    }
}

#[test]
fn authorization_wins_over_x_api_key() {
    let (_upstream, tenant, proxy) = start();
    let good = &tenant.pat.secret;
    let bad = Pat::mint(tenant.user).secret;
    let both = |bearer: &str, key: &str| format!("authorization: Bearer {bearer}\r\nx-api-key: {key}\r\n");
    assert_eq!(proxy.ask(get("/proxy/acme/v1/models", &both(good, &bad))).status(), 200);
    assert_eq!(proxy.ask(get("/proxy/acme/v1/models", &both(&bad, good))).status(), 401);
}

/// Goal: expiry is absolute and never moved by use. Method: a PAT that expires a moment from now, used all the
/// time on one connection until it is refused.
#[test]
fn a_pat_expires_while_it_is_in_use() {
    let (mut world, tenant) = World::serving("http://127.0.0.1:9");
    let expires_at = now_unix_s() + 2;
    world.record("pat", tenant.pat.id)["expires_at"] = json!(expires_at);
    let proxy = Proxy::of(&world);
    let mut caller = proxy.connect();
    loop {
        let before = now_unix_s();
        caller.send(get("/proxy/acme/v1/models", &tenant.pat.line()));
        let status = caller.response().status();
        if status == 401 {
            // The proxy's clock is as exact as its milliseconds.
            assert!(now_unix_ms() + 5 >= expires_at * 1000, "refused before its time");
            break;
        }
        assert_eq!(status, 200);
        assert!(before <= expires_at + 1, "served after its time");
    }
}

/// What the command prints is what the tables take.
#[test]
fn a_pat_minted_on_the_command_line_works() {
    let (mut world, tenant) = World::serving("http://127.0.0.1:9");
    let scope = format!("llm_read@{}", tenant.domain);
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_cube-proxy"))
        .args(["pat", "new", "--json", "--user", &tenant.user.to_string(), "--scope", &scope])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let minted: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    world.put(minted["record"].clone());
    let proxy = Proxy::of(&world);
    let line = format!("authorization: Bearer {}\r\n", minted["pat"].as_str().unwrap());
    assert_eq!(proxy.ask(get("/proxy/acme/v1/models", &line)).status(), 200);
}

/// A PAT that names addresses is refused from anywhere else like any bad one; the address is the peer's, or what a trusted
/// peer says, and only the last entry of that, because callers write the others.
#[test]
fn a_pat_bound_to_addresses_works_from_there_only() {
    let (mut world, tenant) = World::serving("http://127.0.0.1:9");
    world.record("pat", tenant.pat.id)["cidrs"] = json!(["203.0.113.0/24"]);
    let path = "/proxy/acme/v1/models";
    let from = |fields: &str| get(path, &format!("{}{fields}", tenant.pat.line()));

    let direct = Proxy::of(&world);
    let reference = direct.ask(get(path, "authorization: Bearer nonsense\r\n"));
    for fields in ["", "x-forwarded-for: 203.0.113.7\r\n"] {
        let answer = direct.ask(from(fields));
        assert_eq!(without_its_id(&answer), without_its_id(&reference), "{fields}");
    }
    assert_eq!(direct.records(3)[1]["code"], "pat_address");

    let behind = Proxy::with(&world, |settings| {
        settings.set("trusted_proxies.cidrs", toml::Value::Array(vec!["127.0.0.0/8".into()]));
    });
    let mut caller = behind.connect();
    for (fields, status) in [
        ("x-forwarded-for: 203.0.113.7\r\n", 200),
        ("x-forwarded-for: 198.51.100.1\r\n", 401),
        ("x-forwarded-for: 198.51.100.1, 203.0.113.7\r\n", 200),
        ("x-forwarded-for: 203.0.113.7, 198.51.100.1\r\n", 401),
        ("x-forwarded-for: 203.0.113.7\r\nx-forwarded-for: 198.51.100.1\r\n", 401),
        ("", 401),
    ] {
        // Twice: a remembered PAT is as good as a new one.
        for _ in 0..2 {
            caller.send(from(fields));
            assert_eq!(caller.response().status(), status, "{fields}");
        }
    }
}

/// After a reset both secrets work for a while, and a revocation ends both.
#[test]
fn a_former_secret_works_until_its_time() {
    let (mut world, tenant) = World::serving("http://127.0.0.1:9");
    let new = tenant.pat.with_new_secret();
    let until = now_unix_s() + 3600;
    world.record("pat", tenant.pat.id)["previous"] = json!({"digest": tenant.pat.digest, "until": until});
    world.record("pat", tenant.pat.id)["digest"] = json!(new.digest);
    let proxy = Proxy::of(&world);
    let ask = |pat: &Pat| proxy.ask(get("/proxy/acme/v1/models", &pat.line())).status();
    assert_eq!((ask(&tenant.pat), ask(&new)), (200, 200));
    world.record("pat", tenant.pat.id)["previous"]["until"] = json!(now_unix_s());
    proxy.adopt_tables(&world);
    assert_eq!((ask(&tenant.pat), ask(&new)), (401, 200));
    world.record("pat", tenant.pat.id)["previous"]["until"] = json!(until);
    world.record("pat", tenant.pat.id)["revoked"] = json!(true);
    proxy.adopt_tables(&world);
    assert_eq!((ask(&tenant.pat), ask(&new)), (401, 401));
}

/// The key of an access token, its record, and what presents a token of this user.
struct Signer {
    key: cube_wire::jwt::SigningKey,
}

impl Signer {
    fn new() -> Self {
        Self { key: cube_wire::jwt::SigningKey::generate("k1".to_owned()).unwrap().0 }
    }

    fn record(&self) -> serde_json::Value {
        json!({"kind": "key", "id": "k1", "public_key": cube_wire::base64url::encode(self.key.public_key())})
    }

    fn line(&self, user: uuid::Uuid, usage: cube_wire::jwt::Use, expires_at: u64) -> String {
        let jwt = self.key.sign(&cube_wire::jwt::Claims {
            iss: cube_wire::jwt::ISSUER.to_owned(),
            sub: cube_wire::UserId::from_bytes(user.into_bytes()),
            usage,
            iat: 1,
            exp: expires_at,
            jti: "login".to_owned(),
        });
        format!("authorization: Bearer {jwt}\r\n")
    }
}

/// Goal: a browser's access token is taken where a PAT is, acts as its owner, and ends with its key or its owner at the next
/// request. Method: one connection, so that the core remembers it.
#[test]
fn an_access_token_is_taken_where_a_pat_is() {
    use cube_wire::jwt::Use;
    let upstream = Upstream::bind();
    let (mut world, tenant) = World::serving(&upstream.url());
    let seen = upstream.answer(|_| crate::support::json_answer("{}"));
    let signer = Signer::new();
    world.put(signer.record());
    let proxy = Proxy::of(&world);
    let good = signer.line(tenant.user, Use::Access, now_unix_s() + 600);
    let reference = proxy.ask(get("/proxy/acme/v1/models", "authorization: Bearer nonsense\r\n"));
    let mut caller = proxy.connect();
    let mut ask = |line: &str| {
        caller.send(chat(&tenant.pat).replace(&tenant.pat.line(), line));
        caller.response()
    };
    for _ in 0..2 {
        assert_eq!(ask(&good).status(), 200);
        assert_eq!(seen.recv().unwrap().field("authorization"), None, "it stays here");
    }
    for bad in [
        signer.line(tenant.user, Use::Refresh, now_unix_s() + 600),
        signer.line(tenant.user, Use::Access, now_unix_s() - 1),
        signer.line(uuid::Uuid::from_u128(7), Use::Access, now_unix_s() + 600),
        Signer::new().line(tenant.user, Use::Access, now_unix_s() + 600),
    ] {
        assert_eq!(without_its_id(&ask(&bad)), without_its_id(&reference));
    }
    let record = &proxy.records(7)[1];
    assert_eq!((&record["user"], record.get("pat")), (&json!(tenant.user), None), "{record}");

    let mut changed = world.clone();
    changed.record("user", tenant.user)["status"] = json!("disabled");
    proxy.adopt_tables(&changed);
    assert_eq!(ask(&good).status(), 401);
    proxy.adopt_tables(&world);
    assert_eq!(ask(&good).status(), 200);
    world.records.retain(|record| record["kind"] != "key");
    proxy.adopt_tables(&world);
    assert_eq!(ask(&good).status(), 401);
}
