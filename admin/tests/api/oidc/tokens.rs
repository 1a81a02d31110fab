//! Access tokens of an external issuer on `/api/v1`.

use std::sync::Arc;

use cube_wire::base64url;

use super::issuer::{Issuer, Key, claims, now};
use super::{add_linked, link, newest, settings, status};
use crate::support::{Server, Value, json, text};

#[test]
fn a_good_token_of_each_algorithm_opens_what_its_scopes_name() {
    for key in [Key::rsa(), Key::p256(), Key::ed25519()] {
        let algorithm = key.algorithm();
        let issuer = Issuer::start(key);
        let server = Server::start_with(&settings(&issuer, ""));
        add_linked(&server, "ada", "ada-at-issuer");
        assert_eq!(status(&server, &issuer.access(&json!({}))), 200, "{algorithm}");
        // The issuer is asked once, not for each token.
        for _ in 0..5 {
            assert_eq!(status(&server, &issuer.access(&json!({ "scope": "deployments:write" }))), 200);
        }
        assert_eq!((issuer.asked("/keys"), issuer.asked("/.well-known/openid-configuration")), (1, 1));
        // Our own tokens are good as they were.
        assert_eq!(status(&server, &server.admin), 200);
    }
}

/// Goal: one 401 for every token that does not hold, with nothing in it of why.
#[test]
fn every_token_that_does_not_hold_gets_the_same_401() {
    let issuer = Issuer::start(Key::rsa());
    let server = Server::start_with(&settings(&issuer, ""));
    add_linked(&server, "ada", "ada-at-issuer");
    let good = issuer.access(&json!({}));
    assert_eq!(status(&server, &good), 200);
    let of = |changes: Value| issuer.access(&changes);
    let head = |changes: Value| issuer.with_head(&changes, &json!({}));
    let parts: Vec<&str> = good.split('.').collect();
    let part = |value: Value| base64url::encode(value.to_string().as_bytes());
    let unsigned = format!("{}.{}.", part(json!({ "alg": "none", "kid": "k1" })), parts[1]);
    let cut = &good[..good.len() - 8];
    let stranger = {
        let claims = claims(&issuer.url);
        Key::ed25519().token(&json!({ "alg": "EdDSA", "kid": "k1" }), &claims)
    };
    let swapped = format!("{}.{}.{}", parts[0], part(json!({ "iss": issuer.url, "sub": "root" })), parts[2]);
    let cases = [
        ("expired", of(json!({ "exp": now() - 61 }))),
        ("without an end", of(json!({ "exp": null }))),
        ("not yet valid", of(json!({ "nbf": now() + 65 }))),
        ("issued in the future", of(json!({ "iat": now() + 65 }))),
        ("another audience", of(json!({ "aud": "other-api" }))),
        ("no audience", of(json!({ "aud": null }))),
        ("another issuer", of(json!({ "iss": "https://other.example" }))),
        ("nobody", of(json!({ "sub": null }))),
        ("nobody whom we know", of(json!({ "sub": "stranger" }))),
        ("unsigned", unsigned),
        ("a public key as a secret", hmac_with_public_key(&issuer)),
        ("another algorithm of the same key", head(json!({ "alg": "PS256" }))),
        ("signed by somebody else", stranger),
        ("an unknown key", head(json!({ "kid": "k9" }))),
        ("cut", cut.to_owned()),
        ("other claims", swapped),
        (
            "an ID token",
            issuer.with_head(&json!({ "typ": "JWT" }), &json!({ "nonce": "n", "aud": "cube-api" })),
        ),
        ("another kind of token", head(json!({ "typ": "logout+jwt" }))),
        ("an extension", head(json!({ "crit": ["exp"] }))),
        ("too long", of(json!({ "more": "x".repeat(20_000) }))),
    ];
    let missing = server.raw("GET", "/api/v1/deployments", &[], b"");
    for (what, credential) in cases {
        let answer = server.call("GET", "/api/v1/deployments", &credential, None);
        let challenge = answer.header("www-authenticate").unwrap_or_default();
        assert_eq!(
            (answer.status, challenge, answer.json()),
            (401, "Bearer realm=\"cube\", error=\"invalid_token\"", missing.json()),
            "{what}"
        );
    }
    assert_eq!(status(&server, &of(json!({ "exp": now() - 30 }))), 200, "within the skew");
    let log = String::from_utf8_lossy(&server.whole_state()).into_owned();
    assert!(!log.contains(parts[2]), "no token is kept or logged");
}

/// HS256 with what everybody may know: the classic way to have a key of one kind taken for one of another.
fn hmac_with_public_key(issuer: &Issuer) -> String {
    let Key::Rsa(pair) = &*issuer.script().keys[0].1 else { panic!("an RSA key") };
    let secret =
        ring::hmac::Key::new(ring::hmac::HMAC_SHA256, ring::signature::KeyPair::public_key(pair).as_ref());
    let part = |value: Value| base64url::encode(value.to_string().as_bytes());
    let text = format!("{}.{}", part(json!({ "alg": "HS256", "kid": "k1" })), part(claims(&issuer.url)));
    let signature = base64url::encode(ring::hmac::sign(&secret, text.as_bytes()).as_ref());
    format!("{text}.{signature}")
}

#[test]
fn no_token_passes_with_one_byte_changed() {
    let issuer = Issuer::start(Key::p256());
    let server = Server::start_with(&settings(&issuer, ""));
    add_linked(&server, "ada", "ada-at-issuer");
    let good = issuer.access(&json!({}));
    assert_eq!(status(&server, &good), 200);
    for at in (0..good.len()).step_by(7).chain([good.len() - 1]) {
        let mut changed = good.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).expect("ASCII");
        assert_eq!(status(&server, &changed), 401, "byte {at}");
    }
}

#[test]
fn scopes_narrow_and_roles_decide() {
    let issuer = Issuer::start(Key::ed25519());
    let server = Server::start_with(&settings(&issuer, ""));
    add_linked(&server, "ada", "ada-at-issuer");
    let get = |path: &str, changes: Value| server.call("GET", path, &issuer.access(&changes), None);
    for (path, needed) in [
        ("/api/v1/deployments", "deployments:read"),
        ("/api/v1/usage", "usage:read"),
        ("/api/v1/audit", "audit:read"),
        ("/api/v1/nodes", "nodes:read"),
        ("/api/v1/users", "users:read"),
        ("/api/scim/v2/Users", "scim"),
    ] {
        for scopes in
            [json!({ "scope": format!("openid {needed}") }), json!({ "scope": null, "scp": [needed] })]
        {
            assert_eq!(get(path, scopes).status, 200, "{path}");
        }
        let refused = get(path, json!({ "scope": "openid everything DEPLOYMENTS:READ" }));
        assert_eq!(refused.status, 403, "{path}");
        let challenge = format!("Bearer realm=\"cube\", error=\"insufficient_scope\", scope=\"{needed}\"");
        assert_eq!(refused.header("www-authenticate"), Some(&*challenge));
    }
    let all = "deployments:write models:write usage:read audit:read nodes:write users:read scim";
    for path in ["/pats", "/users", "/domains", "/api/v1/api-keys", "/audit", "/users/tokens/refresh-tokens"]
    {
        assert_eq!(get(path, json!({ "scope": all })).expect_error(403), "forbidden", "{path}");
    }
    // Somebody who is no superadmin has what the roles give, whatever the scopes say.
    let (bob, _) = server.add_user("bob");
    link(&server, &bob, "bob-at-issuer");
    let of_bob = json!({ "sub": "bob-at-issuer", "scope": all });
    assert_eq!(get("/api/v1/nodes", of_bob.clone()).status, 403);
    assert_eq!(get("/api/v1/usage", of_bob.clone()).expect(200)["usage"], json!([]));
    let domain = server.add_domain(&server.admin, "alpha");
    let models = format!("/api/v1/domains/{domain}/models");
    assert_eq!(get(&models, of_bob.clone()).status, 404);
    server.add_role(&domain, "readers", &["llm_read"], &[&bob]);
    assert_eq!(get(&models, of_bob).status, 200);
}

#[test]
fn users_are_known_by_their_link_then_by_a_verified_address() {
    let issuer = Issuer::start(Key::ed25519());
    let server = Server::start_with(&settings(&issuer, ""));
    let user = |name: &str| {
        let (id, _) = server.add_user(name);
        let email = json!({ "email": format!("{name}@example.org") });
        server.admin_call("PATCH", &format!("/users/{id}/email"), Some(&email)).expect(200);
        id
    };
    let (ann, root) = (user("ann"), user("root"));
    server.admin_call("PATCH", &format!("/users/{root}/role"), Some(&json!({ "role": "admin" }))).expect(200);
    let usage = |subject: &str, more: Value| {
        let claims = super::issuer::merged(json!({ "sub": subject, "scope": "usage:read" }), &more);
        server.call("GET", "/api/v1/usage", &issuer.access(&claims), None).status
    };
    let email = |name: &str, verified: Value| json!({ "email": name, "email_verified": verified });
    for (why, more) in [
        ("says nothing", json!({})),
        ("not verified", email("ann@example.org", json!(false))),
        ("verified is not said", json!({ "email": "ann@example.org" })),
        ("nearly true", email("ann@example.org", json!(1))),
        ("nobody's", email("eve@example.org", json!(true))),
        ("a superadmin's", email("root@example.org", json!(true))),
        ("a username", email("ann", json!(true))),
    ] {
        assert_eq!(usage("s1", more), 401, "{why}");
    }
    assert_eq!(usage("s1", email("Ann@Example.org", json!(true))), 200);
    let entry = newest(&server, "user.link");
    assert_eq!(text(&entry, "action"), "user.link");
    // From now on it is the subject that counts, and nobody else's address is that user's.
    assert_eq!(usage("s1", json!({})), 200);
    assert_eq!(
        usage("s2", email("ann@example.org", json!(true))),
        401,
        "an address that was given to another"
    );
    let seen = server.admin_call("GET", &format!("/users/{ann}/oidc"), None).expect(200);
    assert_eq!((text(&seen, "issuer"), text(&seen, "subject")), (issuer.url.clone(), "s1".to_owned()));

    link(&server, &root, "s3");
    assert_eq!(usage("s3", json!({})), 200);
    let taken = json!({ "subject": "s1" });
    server.admin_call("PUT", &format!("/users/{root}/oidc"), Some(&taken)).expect_error(409);
    for subject in ["", "a\nb", &"x".repeat(256)] {
        let wrong = json!({ "subject": subject });
        server.admin_call("PUT", &format!("/users/{root}/oidc"), Some(&wrong)).expect_error(400);
    }
    server.admin_call("DELETE", &format!("/users/{root}/oidc"), None).expect(204);
    server.admin_call("DELETE", &format!("/users/{root}/oidc"), None).expect_error(404);
    assert_eq!(usage("s3", json!({})), 401);

    server.admin_call("POST", &format!("/users/{ann}/disable"), None).expect(200);
    assert_eq!(usage("s1", json!({})), 401, "a disabled user");
    server.admin_call("POST", &format!("/users/{ann}/enable"), None).expect(200);
    assert_eq!(usage("s1", json!({})), 200);
    let login = server.log_in("ann", "password of ann");
    server.call("PUT", &format!("/users/{ann}/oidc"), &login, Some(&taken)).expect_error(403);
    server.call("GET", &format!("/users/{ann}/oidc"), &login, None).expect_error(403);
}

#[test]
fn an_address_finds_nobody_where_the_settings_say_so() {
    let issuer = Issuer::start(Key::ed25519());
    let server = Server::start_with(&settings(&issuer, "match_email = false"));
    let (id, _) = server.add_user("ann");
    let email = json!({ "email": "ann@example.org" });
    server.admin_call("PATCH", &format!("/users/{id}/email"), Some(&email)).expect(200);
    let claims = json!({ "email": "ann@example.org", "email_verified": true });
    assert_eq!(status(&server, &issuer.access(&claims)), 401);
}

#[test]
fn a_rotated_key_is_found_and_the_old_one_is_forgotten() {
    let issuer = Issuer::start(Key::rsa());
    let server = Server::start_with(&settings(&issuer, ""));
    add_linked(&server, "ada", "ada-at-issuer");
    let old = issuer.access(&json!({}));
    assert_eq!(status(&server, &old), 200);
    issuer.script().keys = vec![("k2".to_owned(), Arc::new(Key::p256()))];
    assert_eq!(status(&server, &old), 200, "nobody has asked anew");
    assert_eq!(status(&server, &issuer.access(&json!({}))), 200, "the new key is fetched");
    assert_eq!(status(&server, &old), 401, "the old one is gone");
}

#[test]
fn without_an_issuer_there_is_nothing_of_it() {
    let issuer = Issuer::start(Key::ed25519());
    let server = Server::start();
    let (id, _) = server.add_user("ada");
    assert_eq!(status(&server, &issuer.access(&json!({}))), 401);
    let link = json!({ "subject": "s" });
    server.admin_call("PUT", &format!("/users/{id}/oidc"), Some(&link)).expect_error(404);
    assert_eq!(issuer.asked("/keys"), 0);
}
