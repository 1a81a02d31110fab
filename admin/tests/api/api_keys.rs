//! API keys, and what `/api/v1` asks of credentials.

use crate::support::{Answer, Server, Value, json, text};

const KEYS: &str = "/api/v1/api-keys";

/// Makes a key as the superadmin; the whole answer.
#[track_caller]
fn make(server: &Server, name: &str, body: &Value) -> Value {
    let mut key = json!({ "name": name, "duration": "1h" });
    for (name, value) in body.as_object().expect("an object") {
        key[name] = value.clone();
    }
    server.admin_call("POST", KEYS, Some(&key)).expect(201)
}

/// The plain text of a new key with these scopes.
#[track_caller]
fn key(server: &Server, name: &str, scopes: &[&str]) -> String {
    text(&make(server, name, &json!({ "scopes": scopes })), "token")
}

#[track_caller]
fn expect_challenge(answer: &Answer, status: u16, challenge: &str) {
    answer.expect_error(status);
    assert_eq!(answer.header("www-authenticate"), Some(challenge));
}

#[test]
fn a_key_is_shown_once_and_only_its_digest_is_kept() {
    let server = Server::start();
    let made = make(&server, "ci", &json!({ "scopes": ["deployments:write", "usage:read"] }));
    let token = text(&made, "token");
    assert_eq!((token.len(), &token[..4]), (76, "cak_"));
    let path = format!("{KEYS}/{}", text(&made, "id"));
    let seen = server.admin_call("GET", &path, None).expect(200);
    assert_eq!(seen["token"], Value::Null);
    assert_eq!(seen["scopes"], json!(["deployments:write", "usage:read"]));
    assert_eq!(seen["status"], "active");
    let list = server.admin_call("GET", KEYS, None);
    assert!(!list.text.contains(&token[27..]), "{}", list.text);
    server.call("GET", "/api/v1/deployments", &token, None).expect(200);
    let state = server.whole_state();
    assert!(
        !state.windows(43).any(|window| window == &token.as_bytes()[27..70]),
        "the secret is in the state"
    );
}

#[test]
fn a_key_works_until_it_is_deleted_and_its_last_use_is_noted() {
    let server = Server::start();
    let made = make(&server, "ci", &json!({ "scopes": ["deployments:read"] }));
    let (token, path) = (text(&made, "token"), format!("{KEYS}/{}", text(&made, "id")));
    assert_eq!(made["last_used_at"], Value::Null);
    server.call("GET", "/api/v1/deployments", &token, None).expect(200);
    assert!(server.admin_call("GET", &path, None).expect(200)["last_used_at"].is_string());
    server.admin_call("DELETE", &path, None).expect(204);
    let refused = server.call("GET", "/api/v1/deployments", &token, None);
    expect_challenge(&refused, 401, "Bearer realm=\"cube\", error=\"invalid_token\"");
    server.admin_call("GET", &path, None).expect_error(404);
    server.admin_call("DELETE", &path, None).expect_error(404);
}

/// Missing, malformed, unknown, expired, deleted: the same answer, whatever is wrong.
#[test]
fn every_credential_that_does_not_hold_gets_the_same_401() {
    let server = Server::start();
    let good = key(&server, "good", &["deployments:read"]);
    let short = make(&server, "short", &json!({ "duration": "1s", "scopes": ["deployments:read"] }));
    let mut typo = good.clone();
    typo.replace_range(40..41, if &good[40..41] == "a" { "b" } else { "a" });
    // Another secret with a checksum that fits: only the digest tells.
    let id = cube_wire::api_key::parse(good.as_bytes()).expect("a key");
    let forged = cube_wire::api_key::mint(id, &[1; 32]).expose().to_owned();
    let unknown = cube_wire::api_key::mint(uuid::Uuid::new_v4(), &[1; 32]).expose().to_owned();
    std::thread::sleep(std::time::Duration::from_millis(2_100));
    let body = |authorization: &str| {
        let answer = server.raw("GET", "/api/v1/deployments", &[("authorization", authorization)], b"");
        (answer.status, answer.header("www-authenticate").unwrap_or_default().to_owned(), answer.json())
    };
    let missing = server.raw("GET", "/api/v1/deployments", &[], b"");
    expect_challenge(&missing, 401, "Bearer realm=\"cube\"");
    let expected = (401, "Bearer realm=\"cube\", error=\"invalid_token\"".to_owned(), missing.json());
    for credential in [&*text(&short, "token"), &typo, &forged, &unknown, "cak_", "x", &good[..75]] {
        assert_eq!(body(&format!("Bearer {credential}")), expected, "{credential}");
    }
    for scheme in ["Api-Key", "Basic", "Token"] {
        let (status, challenge, _) = body(&format!("{scheme} {good}"));
        assert_eq!((status, &*challenge), (401, "Bearer realm=\"cube\""), "{scheme}");
    }
    assert_eq!(body(&good).0, 401, "a key without a scheme");
    assert_eq!(body(&format!("bearer {good}")).0, 200, "the scheme's case does not matter");
}

#[test]
fn a_key_opens_what_its_scopes_name_and_nothing_beside() {
    let server = Server::start();
    let (ada, _) = server.add_user("ada");
    let domain = server.add_domain(&server.admin, "alpha");
    server.add_deployment("gpu");
    let models = format!("/api/v1/domains/{domain}/models");
    let entrypoints = [
        ("GET", "/api/v1/deployments".to_owned(), "deployments:read"),
        ("GET", "/api/v1/deployments/gpu".to_owned(), "deployments:read"),
        ("PATCH", "/api/v1/deployments/gpu".to_owned(), "deployments:write"),
        ("GET", models.clone(), "models:read"),
        ("POST", models, "models:write"),
        ("PUT", format!("/api/v1/domains/{domain}/default-deployment"), "models:write"),
        ("GET", "/api/v1/usage".to_owned(), "usage:read"),
        ("GET", "/api/v1/audit".to_owned(), "audit:read"),
        ("GET", "/api/v1/nodes".to_owned(), "nodes:read"),
        ("DELETE", "/api/v1/nodes/none".to_owned(), "nodes:write"),
        ("GET", "/api/v1/users".to_owned(), "users:read"),
        ("GET", format!("/api/v1/users/{ada}"), "users:read"),
    ];
    let all = [
        "deployments:read",
        "deployments:write",
        "models:read",
        "models:write",
        "usage:read",
        "audit:read",
        "nodes:read",
        "nodes:write",
        "users:read",
        "scim",
    ];
    for scope in all {
        let token = key(&server, scope, &[scope]);
        for (method, path, needed) in &entrypoints {
            let body = (*method != "GET" && *method != "DELETE")
                .then(|| json!({ "name": "m", "deployment": "gpu" }));
            let answer = server.call(method, path, &token, body.as_ref());
            let includes = scope.strip_suffix("write").map(|family| format!("{family}read"));
            if scope == *needed || includes.as_deref() == Some(*needed) {
                assert!(
                    [200, 201, 204, 404].contains(&answer.status),
                    "{scope} {method} {path}: {}",
                    answer.text
                );
            } else {
                let challenge =
                    format!("Bearer realm=\"cube\", error=\"insufficient_scope\", scope=\"{needed}\"");
                expect_challenge(&answer, 403, &challenge);
            }
        }
    }
}

#[test]
fn a_key_manages_no_credentials_and_is_for_nothing_but_the_management_api() {
    let server = Server::start();
    let all = [
        "deployments:write",
        "models:write",
        "usage:read",
        "audit:read",
        "nodes:write",
        "users:read",
        "scim",
    ];
    let token = key(&server, "all", &all);
    let more = json!({ "name": "more", "duration": "1h", "scopes": ["scim"] });
    for (method, path, body) in [
        ("POST", KEYS, Some(&more)),
        ("GET", KEYS, None),
        ("GET", "/pats", None),
        ("GET", "/users", None),
        ("GET", "/domains", None),
        ("GET", "/audit", None),
        ("GET", "/api/routes", None),
    ] {
        assert_eq!(server.call(method, path, &token, body).expect_error(403), "forbidden", "{method} {path}");
    }
}

#[test]
fn only_superadmins_with_a_login_manage_keys() {
    let server = Server::start();
    let (_, ada) = server.add_user("ada");
    let body = json!({ "name": "x", "duration": "1h", "scopes": ["usage:read"] });
    let pat = json!({ "name": "p", "duration": "1h", "full_access": true });
    let pat = text(&server.admin_call("POST", "/pats", Some(&pat)).expect(201), "secret");
    for credential in [&ada, &pat] {
        server.call("POST", KEYS, credential, Some(&body)).expect_error(403);
        server.call("GET", KEYS, credential, None).expect_error(403);
    }
    server.call("POST", KEYS, "", Some(&body)).expect_error(401);
    for (body, status) in [
        (json!({ "name": "x", "duration": "1h", "scopes": [] }), 400),
        (json!({ "name": "x", "duration": "1h", "scopes": ["everything"] }), 400),
        (json!({ "name": " ", "duration": "1h", "scopes": ["scim"] }), 400),
        (json!({ "name": "x", "scopes": ["scim"] }), 400),
        (json!({ "name": "x", "duration": "400d", "scopes": ["scim"] }), 400),
        (json!({ "name": "x", "duration": "soon", "scopes": ["scim"] }), 400),
        (json!({ "name": "x", "duration": "1h", "scopes": ["models:read"], "domains": [] }), 400),
        (
            json!({ "name": "x", "duration": "1h", "scopes": ["models:read"], "domains": [uuid::Uuid::nil()] }),
            404,
        ),
        (json!({ "name": "x", "duration": "1h", "scopes": ["scim"], "domains": [uuid::Uuid::nil()] }), 400),
        (json!({ "name": "x", "duration": "1h", "scopes": ["scim"], "deployments": ["gpu"] }), 400),
    ] {
        server.admin_call("POST", KEYS, Some(&body)).expect_error(status);
    }
    make(&server, "x", &json!({ "scopes": ["scim"] }));
    server.admin_call("POST", KEYS, Some(&body)).expect_error(409);
}

#[test]
fn a_key_that_is_limited_to_domains_or_deployments_sees_no_others() {
    let server = Server::start();
    let [alpha, beta] = ["alpha", "beta"].map(|name| server.add_domain(&server.admin, name));
    ["one", "two"].iter().for_each(|name| server.add_deployment(name));
    let scopes = json!(["models:write", "usage:read", "audit:read"]);
    let made = make(&server, "alpha", &json!({ "scopes": scopes, "domains": [alpha] }));
    let token = text(&made, "token");
    let get = |path: &str| server.call("GET", path, &token, None).status;
    assert_eq!(get(&format!("/api/v1/domains/{alpha}/models")), 200);
    assert_eq!(get(&format!("/api/v1/domains/{beta}/models")), 404);
    assert_eq!(get(&format!("/api/v1/usage?domain={alpha}")), 200);
    assert_eq!(get(&format!("/api/v1/usage?domain={beta}")), 404);
    assert_eq!(get("/api/v1/usage"), 403);
    assert_eq!(get(&format!("/api/v1/audit?domain={alpha}")), 200);
    assert_eq!(get(&format!("/api/v1/audit?domain={beta}")), 404);
    assert_eq!(get("/api/v1/audit"), 403);
    // A deployment that the domain was not given does not exist for those who are in it.
    let model = json!({ "name": "m", "deployment": "one" });
    server.call("POST", &format!("/api/v1/domains/{alpha}/models"), &token, Some(&model)).expect_error(404);

    let made = make(
        &server,
        "one",
        &json!({ "scopes": ["deployments:write", "models:write"], "deployments": ["one"] }),
    );
    let token = text(&made, "token");
    let call = |method: &str, path: &str, body: Option<&Value>| server.call(method, path, &token, body);
    let listed = call("GET", "/api/v1/deployments", None).expect(200);
    assert_eq!(listed["pagination"]["total"], 1);
    assert_eq!(listed["deployments"][0]["name"], "one");
    call("GET", "/api/v1/deployments/one", None).expect(200);
    call("GET", "/api/v1/deployments/two", None).expect_error(404);
    call("DELETE", "/api/v1/deployments/two", None).expect_error(404);
    let third = json!({ "name": "three", "endpoints": [{ "url": "http://127.0.0.1:1" }] });
    call("POST", "/api/v1/deployments", Some(&third)).expect_error(403);
    let models = format!("/api/v1/domains/{alpha}/models");
    call("POST", &models, Some(&json!({ "name": "m", "deployment": "two" }))).expect_error(404);
    call("POST", &models, Some(&json!({ "name": "m", "deployment": "one" }))).expect(201);
}

#[test]
fn a_key_ends_with_the_power_of_the_superadmin_who_made_it() {
    let server = Server::start();
    let (ada, _) = server.add_user("ada");
    let role = |role: &str| {
        server.admin_call("PATCH", &format!("/users/{ada}/role"), Some(&json!({ "role": role }))).expect(200);
    };
    role("admin");
    let login = server.log_in("ada", "password of ada");
    let body = json!({ "name": "ada's", "duration": "1h", "scopes": ["usage:read"] });
    let token = text(&server.call("POST", KEYS, &login, Some(&body)).expect(201), "token");
    let status = || server.call("GET", "/api/v1/usage", &token, None).status;
    assert_eq!(status(), 200);
    role("user");
    assert_eq!(status(), 401);
    role("admin");
    assert_eq!(status(), 200);
    server.admin_call("POST", &format!("/users/{ada}/disable"), None).expect(200);
    assert_eq!(status(), 401);
    server.admin_call("DELETE", &format!("/users/{ada}"), None).expect(204);
    assert_eq!(status(), 401);
    assert_eq!(server.admin_call("GET", KEYS, None).expect(200)["items"], json!([]));
}

#[test]
fn what_is_done_with_a_key_names_the_key_in_the_audit_log() {
    let server = Server::start();
    let made = make(&server, "ci", &json!({ "scopes": ["deployments:write"] }));
    let deployment = json!({ "name": "gpu", "endpoints": [{ "url": "http://127.0.0.1:1" }] });
    server.call("POST", "/api/v1/deployments", &text(&made, "token"), Some(&deployment)).expect(201);
    let log = server.admin_call("GET", "/api/v1/audit?kind=action&first=2", None).expect(200);
    assert_eq!(log["items"][0]["action"], "deployment.create");
    assert_eq!(log["items"][0]["session"]["ApiKeyID"], made["id"]);
    assert_eq!(log["items"][1]["action"], "api_key.create");
    assert_eq!(log["items"][1]["session"]["ApiKeyID"], Value::Null);
}

/// Goal: no row is on two pages or on none. Method: pages of two, of five keys, with another key made between two pages.
#[test]
fn keys_and_the_audit_log_are_paged_by_cursor() {
    let server = Server::start();
    for name in ["a", "b", "c", "d", "e"] {
        key(&server, name, &["usage:read"]);
    }
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let page = server.admin_call("GET", &format!("{KEYS}?first=2{after}"), None).expect(200);
        let items = page["items"].as_array().expect("items").iter();
        seen.extend(items.map(|key| text(key, "name")));
        if seen.len() == 2 {
            key(&server, "late", &["usage:read"]);
        }
        let info = &page["pageInfo"];
        if info["hasNextPage"] == false {
            break;
        }
        after = format!("&after={}", text(info, "endCursor"));
    }
    assert_eq!(seen, ["e", "d", "c", "b", "a"]);
    let log = server.admin_call("GET", "/api/v1/audit?first=3", None).expect(200);
    let next = format!("/api/v1/audit?first=3&after={}", text(&log["pageInfo"], "endCursor"));
    let next = server.admin_call("GET", &next, None).expect(200);
    assert_eq!(
        (log["items"].as_array().map(Vec::len), next["items"].as_array().map(Vec::len)),
        (Some(3), Some(3))
    );
    assert_ne!(log["items"][2], next["items"][0]);
    for query in ["first=0", "first=101", "first=x", "after=x"] {
        server.admin_call("GET", &format!("{KEYS}?{query}"), None).expect_error(400);
        server.admin_call("GET", &format!("/api/v1/audit?{query}"), None).expect_error(400);
    }
}

/// Goal: no credential of these families crosses a network in the clear. Method: the trusted proxy that every test is says from where
/// its own caller is, and how that one came.
#[test]
fn a_request_that_crossed_a_network_without_https_is_refused_unread() {
    let server = Server::start();
    let token = key(&server, "ci", &["usage:read"]);
    let bearer = format!("Bearer {token}");
    let get = |path: &str, authorization: &str, more: &[(&str, &str)]| {
        let headers: Vec<_> =
            [("authorization", authorization)].into_iter().chain(more.iter().copied()).collect();
        server.raw("GET", path, &headers, b"")
    };
    let far = ("x-forwarded-for", "203.0.113.9");
    for proto in [&[][..], &[("x-forwarded-proto", "http")], &[("x-forwarded-proto", "https, http")]] {
        let headers: Vec<_> = proto.iter().copied().chain([far]).collect();
        // Good and bad credentials alike: nothing looks at them.
        for authorization in [&*bearer, "Bearer x"] {
            let answer = get("/api/v1/usage", authorization, &headers);
            assert_eq!(answer.expect_error(403), "https_required");
            assert_eq!(answer.json()["error"], "HTTPS is required");
        }
        get("/api/scim/v2/Users", &bearer, &headers).expect(403);
        // Other families are as they were.
        get("/users", "Bearer x", &headers).expect_error(401);
    }
    get("/api/v1/usage", &bearer, &[far, ("x-forwarded-proto", "https")]).expect(200);
    get("/api/v1/usage", &bearer, &[("x-forwarded-for", "127.0.0.1"), ("x-forwarded-proto", "http")])
        .expect(200);
    get("/api/v1/usage", &bearer, &[]).expect(200);
    let untrusting = Server::start_with("[trusted_proxies]\ncidrs = []\n");
    let answer = untrusting.raw("GET", "/api/v1/usage", &[("x-forwarded-proto", "https"), far], b"");
    answer.expect_error(401);
}
