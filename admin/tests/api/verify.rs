//! `/auth/verify`: what other proxies' callbacks are answered.

use crate::pats::make;
use crate::support::{Answer, Server, Value, json};

const RULES: &str = r#"
[[auth_verify.rules]]
methods = ["GET", "HEAD"]
path = "/templates/**"
operation = "llm_read"
domain = "sandboxes"
[[auth_verify.rules]]
path = "/templates/**"
operation = "llm_delete"
domain = "sandboxes"
[[auth_verify.rules]]
methods = ["GET"]
path = "/sandboxes/*"
"#;

/// A server with rules, and a user with every right in the domain `sandboxes`.
struct Place {
    server: Server,
    ada: String,
    domain: String,
}

impl Place {
    fn new() -> Self {
        let server = Server::start_with(RULES);
        let (_, ada) = server.add_user("ada");
        let body = json!({ "name": "sandboxes", "route": "sandboxes" });
        let domain = server.call("POST", "/domains", &ada, Some(&body)).expect(201);
        let domain = domain["id"].as_str().expect("an id").to_owned();
        Self { server, ada, domain }
    }

    /// A PAT of ada's with these operations on the domain.
    fn pat(&self, operations: &[&str]) -> String {
        let scopes: Vec<Value> = operations
            .iter()
            .map(|operation| {
                json!({ "entity_type": "domains", "domain_id": self.domain, "entity_id": self.domain,
                        "operation": operation })
            })
            .collect();
        self.pat_with(&scopes)
    }

    fn pat_with(&self, scopes: &[Value]) -> String {
        let name = format!("pat {}", uuid::Uuid::new_v4());
        make(&self.server, &self.ada, &json!({ "name": name, "duration": "1h", "scopes": scopes })).1
    }

    fn ask(&self, headers: &[(&str, &str)]) -> Answer {
        self.server.raw("POST", "/auth/verify", headers, b"")
    }

    /// As cube-proxy and the Cube API Server ask, with an API key.
    fn status(&self, credential: &str, method: &str, path: &str) -> u16 {
        self.ask(&[("x-api-key", credential), ("x-request-path", path), ("x-request-method", method)]).status
    }
}

#[test]
fn the_path_and_the_method_decide_together() {
    let place = Place::new();
    let (reader, all) = (place.pat(&["llm_read"]), place.pat(&["llm_read", "llm_delete"]));
    let nothing = place.pat(&["llm_rerank"]);
    for (method, path, of_reader, of_all, of_nothing) in [
        ("GET", "/templates/my-tmpl", 200, 200, 403),
        ("HEAD", "/templates/my-tmpl", 200, 200, 403),
        ("DELETE", "/templates/my-tmpl", 403, 200, 403),
        ("PATCH", "/templates/my-tmpl", 403, 200, 403),
        ("GET", "/templates", 200, 200, 403),
        ("GET", "/templates/a/b/c/", 200, 200, 403),
        ("GET", "/%74emplates/x", 200, 200, 403),
        // Any good credential; nothing but GET, and no more than one segment.
        ("GET", "/sandboxes/1", 200, 200, 200),
        ("DELETE", "/sandboxes/1", 403, 403, 403),
        ("GET", "/sandboxes", 403, 403, 403),
        ("GET", "/sandboxes/1/logs", 403, 403, 403),
        // No rule, no right.
        ("GET", "/", 403, 403, 403),
        ("GET", "/nodes", 403, 403, 403),
        ("get", "/templates/x", 403, 403, 403),
        ("NONSENSE", "/sandboxes/1", 403, 403, 403),
        // What another server might read as another path.
        ("GET", "/sandboxes/../templates", 403, 403, 403),
        ("GET", "/templates//x", 403, 403, 403),
        ("GET", "/templates/%2e%2e/x", 403, 403, 403),
        ("GET", "/sandboxes/a%2Fb", 403, 403, 403),
        ("GET", "/templates;x", 403, 403, 403),
    ] {
        let seen = [&reader, &all, &nothing].map(|pat| place.status(pat, method, path));
        assert_eq!(seen, [of_reader, of_all, of_nothing], "{method} {path}");
    }
}

/// The table and the rights of the proxies themselves.
#[test]
fn below_proxy_the_rights_in_the_domain_decide() {
    let place = Place::new();
    let on_model = json!({ "entity_type": "models", "domain_id": place.domain, "entity_id": "org/tiny",
                           "operation": "llm_read" });
    let (chat, model) = (place.pat(&["llm_chat_completions"]), place.pat_with(&[on_model]));
    let login = &place.ada;
    let by_id = format!("/proxy/{}/v1/chat/completions", place.domain);
    for (method, path, of_chat, of_model, of_login) in [
        ("POST", "/proxy/sandboxes/v1/chat/completions", 200, 403, 200),
        ("POST", &*by_id, 200, 403, 200),
        ("GET", "/proxy/sandboxes/v1/chat/completions", 403, 403, 403),
        ("GET", "/proxy/sandboxes/v1/models", 403, 403, 200),
        ("GET", "/proxy/sandboxes/v1/models/org/tiny", 403, 200, 200),
        ("GET", "/proxy/sandboxes/v1/models/org%2Ftiny", 403, 200, 200),
        ("GET", "/proxy/sandboxes/v1/models/other", 403, 403, 200),
        // Only for superadmins.
        ("POST", "/proxy/sandboxes/api/pull", 403, 403, 403),
        ("DELETE", "/proxy/sandboxes/v1/models/org/tiny", 403, 403, 403),
        ("POST", "/proxy/sandboxes/v1/nonsense", 403, 403, 403),
        ("POST", "/proxy/Sandboxes/v1/chat/completions", 403, 403, 403),
        ("POST", "/proxy/elsewhere/v1/chat/completions", 403, 403, 403),
        ("POST", "/proxy/sandboxes", 403, 403, 403),
        ("POST", "/proxy", 403, 403, 403),
        ("POST", "/Proxy/sandboxes/v1/chat/completions", 403, 403, 403),
        ("POST", "/proxy/sandboxes/v1/ch%61t/completions", 403, 403, 403),
        ("POST", "/proxy/x/../sandboxes/v1/chat/completions", 403, 403, 403),
    ] {
        let seen = [&chat, &model, login].map(|credential| place.status(credential, method, path));
        assert_eq!(seen, [of_chat, of_model, of_login], "{method} {path}");
    }
    let admin = &place.server.admin;
    assert_eq!(place.status(admin, "POST", "/proxy/sandboxes/api/pull"), 200);
    // Somebody else's domain looks like none.
    let (_, other) = place.server.add_user("bob");
    assert_eq!(place.status(&other, "POST", "/proxy/sandboxes/v1/chat/completions"), 403);
}

#[test]
fn a_credential_that_is_not_good_is_401_and_what_is_revoked_stops_at_once() {
    let place = Place::new();
    let named = [("x-request-path", "/sandboxes/1"), ("x-request-method", "GET")];
    let missing = place.ask(&named);
    missing.expect_error(401);
    assert_eq!(missing.header("www-authenticate"), Some("Bearer realm=\"cube\""));
    for credential in ["nonsense", "pat_x_y", ""] {
        assert_eq!(place.status(credential, "GET", "/sandboxes/1"), 401, "{credential}");
    }
    let body = json!({ "name": "short", "duration": "1h", "scopes": [] });
    let (id, secret) = make(&place.server, &place.ada, &body);
    assert_eq!(place.status(&secret, "GET", "/sandboxes/1"), 200);
    place.server.call("PATCH", &format!("/pats/{id}/secret/revoke"), &place.ada, None).expect(204);
    assert_eq!(place.status(&secret, "GET", "/sandboxes/1"), 401);
    // Keys of the management API open nothing here.
    let key = json!({ "name": "ci", "duration": "1h", "scopes": ["deployments:read"] });
    let key = place.server.admin_call("POST", "/api/v1/api-keys", Some(&key)).expect(201);
    assert_eq!(place.status(key["token"].as_str().expect("a token"), "GET", "/sandboxes/1"), 403);
}

#[test]
fn bearer_wins_over_the_api_key_and_the_answer_names_the_user() {
    let place = Place::new();
    let pat = place.pat(&["llm_read"]);
    let bearer = format!("Bearer {pat}");
    let named = [("x-request-path", "/templates/a"), ("x-request-method", "GET")];
    let ask = |more: &[(&str, &str)]| place.ask(&[&named[..], more].concat());
    let answer = ask(&[("authorization", &bearer), ("x-api-key", "nonsense")]);
    assert_eq!(answer.status, 200, "{}", answer.text);
    let user = place.server.call("GET", "/users/profile", &place.ada, None).expect(200);
    assert_eq!(answer.header("x-user-id"), user["id"].as_str());
    assert_eq!(ask(&[("authorization", "Bearer nonsense"), ("x-api-key", &pat)]).status, 401);
    assert_eq!(ask(&[("authorization", "Basic eDp5"), ("x-api-key", &pat)]).status, 200);
}

/// nginx and Traefik call path and method otherwise, Envoy puts them into the request itself.
#[test]
fn each_proxy_asks_in_its_own_words_and_never_in_two() {
    let place = Place::new();
    let pat = place.pat(&["llm_read"]);
    let key = ("x-api-key", &*pat);
    for (path, method) in [
        ("x-request-path", "x-request-method"),
        ("x-original-uri", "x-original-method"),
        ("x-forwarded-uri", "x-forwarded-method"),
    ] {
        for http_method in ["POST", "GET"] {
            let ask = |of_path: &str, of_method: &str| {
                let headers = [key, (path, of_path), (method, of_method)];
                place.server.raw(http_method, "/auth/verify", &headers, b"").status
            };
            assert_eq!(ask("/templates/a?x=/y", "GET"), 200, "{path}");
            assert_eq!(ask("/templates/a?x=/y", "DELETE"), 403, "{path}");
        }
        // Half of a pair is a proxy that is not set up.
        place.ask(&[key, (path, "/templates/a")]).expect_error(400);
        place.ask(&[key, (method, "GET")]).expect_error(400);
    }
    place.ask(&[key]).expect_error(400);
    // What a caller adds to what its proxy says does not help it.
    let of_proxy = [key, ("x-original-uri", "/templates/a"), ("x-original-method", "DELETE")];
    for more in [
        &[("x-request-path", "/sandboxes/1"), ("x-request-method", "GET")][..],
        &[("x-request-method", "GET")],
        &[("x-forwarded-uri", "/sandboxes/1")],
        &[("x-original-method", "GET")],
        &[("x-original-uri", "/sandboxes/1")],
    ] {
        assert_eq!(place.ask(&[&of_proxy[..], more].concat()).status, 403, "{more:?}");
    }
    let below = |method: &str, path: &str, more: &[(&str, &str)]| {
        let headers = [&[key], more].concat();
        place.server.raw(method, &format!("/auth/verify{path}"), &headers, b"").status
    };
    assert_eq!(below("GET", "/templates/a?x=1", &[]), 200);
    assert_eq!(below("DELETE", "/templates/a", &[]), 403);
    assert_eq!(below("GET", "/%74emplates/a", &[]), 200);
    assert_eq!(below("DELETE", "/templates/a", &[("x-request-method", "GET")]), 403);
}

/// It says of any credential what it opens, so not everybody may ask.
#[test]
fn only_those_may_ask_whom_the_settings_name() {
    let server = Server::start_with("[auth_verify]\nallow_from = [\"10.0.0.0/8\"]\n");
    let named = [("x-request-path", "/a"), ("x-request-method", "GET"), ("x-forwarded-for", "10.1.2.3")];
    for path in ["/auth/verify", "/auth/verify/a"] {
        let answer = server.raw("POST", path, &named, b"");
        assert_eq!(answer.expect_error(403), "forbidden", "{}", answer.text);
    }
}
