//! The audit log says how whoever acted was known.

use super::issuer::{Issuer, Key};
use super::{add_linked, newest, settings};
use crate::support::{ADMIN, Browser, Server, Value, json, post_to_feed, text};

/// Goal: of each entry one can tell what was shown. Method: one change by each kind of credential, told apart by the model's name, and a
/// request by a PAT and one by an access token; looked for in the API, in the export and on the page.
#[test]
fn the_audit_log_says_what_showed_who_acts() {
    let issuer = Issuer::start(Key::ed25519());
    let server = Server::start_with(&settings(&issuer, ""));
    let ada = add_linked(&server, "ada", "ada-at-issuer");
    let domain = server.add_domain(&server.admin, "lab");
    let of_ada = server.log_in("ada", "password of ada");
    let pat = json!({ "name": "p", "duration": "1h", "full_access": true });
    let pat = text(&server.call("POST", "/pats", &of_ada, Some(&pat)).expect(201), "secret");
    let key = json!({ "name": "k", "duration": "1h", "scopes": ["models:write"] });
    let key = text(&server.call("POST", "/api/v1/api-keys", &of_ada, Some(&key)).expect(201), "token");
    let external = issuer.access(&json!({ "scope": "models:write" }));
    let credentials = [("login", &of_ada), ("pat", &pat), ("api_key", &key), ("external_token", &external)];
    server.add_deployment("gpu");
    for (name, credential) in credentials {
        let model = json!({ "name": name, "deployment": "gpu" });
        let path = format!("/api/v1/domains/{domain}/models");
        server.call("POST", &path, credential, Some(&model)).expect(201);
    }
    let request = |seq: u64, pat: Value| {
        let record = json!({ "seq": seq, "request_id": format!("request-{seq}"), "at_ms": 1_767_225_600_000_u64, "method": "GET",
            "path": "/v1/models", "domain": domain, "user": ada, "pat": pat, "status": 200, "ending": "complete", "bytes_in": 1,
            "bytes_out": 1, "duration_us": 1 });
        format!("{record}\n")
    };
    let requests = request(1, json!(uuid::Uuid::new_v4())) + &request(2, Value::Null);
    assert_eq!(post_to_feed(&server, "/feed/v1/usage?node=n&boot=b", &requests).status, 204);

    let check = |events: &[Value]| {
        for (name, _) in credentials {
            let made = |event: &&Value| {
                event["action"] == "model.create"
                    && event["entity_id"].as_str().is_some_and(|id| id.contains(name))
            };
            let event = events.iter().find(made).unwrap_or_else(|| panic!("no model by {name}: {events:?}"));
            let session = &event["session"];
            assert_eq!((&session["UserID"], &session["Credential"]), (&json!(ada), &json!(name)), "{event}");
            assert_eq!(session.get("PatID").is_some(), name == "pat", "{event}");
            assert_eq!(session.get("ApiKeyID").is_some(), name == "api_key", "{event}");
        }
        for (request, by) in [("request-1", "pat"), ("request-2", "login")] {
            let event = events.iter().find(|event| event["request_id"] == request).expect("the request");
            assert_eq!(event["session"]["Credential"], by, "{event}");
        }
    };
    let log = server.admin_call("GET", &format!("/api/v1/audit?domain={domain}&first=100"), None).expect(200);
    check(log["items"].as_array().expect("items"));
    let log = server.admin_call("GET", &format!("/domains/{domain}/audit"), None).expect(200);
    check(log["events"].as_array().expect("events"));
    let exported = server.admin_call("GET", &format!("/domains/{domain}/audit/export"), None);
    let lines = exported.text.lines().map(|line| serde_json::from_str(line).expect("JSON"));
    check(&lines.collect::<Vec<Value>>());
    let mut browser = Browser::signed_in(&server, ADMIN.0, ADMIN.1);
    let page = browser.get(&format!("/ui/audit?domain={domain}&kind=actions")).text;
    for words in ["signed in", "with a PAT", "with an API key", "by the identity provider"] {
        assert!(page.contains(&format!("<span class=\"sub\">{words}</span>")), "{words}: {page}");
    }
    let login = newest(&server, "login");
    assert_eq!(login["session"]["Credential"], "password", "{login}");
    let log = server.admin_call("GET", "/audit?kind=action", None).expect(200);
    let mut oldest = log["events"].as_array().expect("events").iter().rev();
    let local = oldest.find(|event| event["action"] == "user.create").expect("the first superadmin");
    assert_eq!(local["session"]["Credential"], "local", "made in a shell: {local}");
}

/// Whoever comes with an address that the issuer has verified is linked by the way; the log says by which request.
#[test]
fn a_link_that_a_token_makes_is_noted_with_its_request() {
    let issuer = Issuer::start(Key::ed25519());
    let server = Server::start_with(&settings(&issuer, ""));
    let (ann, _) = server.add_user("ann");
    let email = json!({ "email": "ann@example.org" });
    server.admin_call("PATCH", &format!("/users/{ann}/email"), Some(&email)).expect(200);
    let claims =
        json!({ "sub": "s1", "scope": "usage:read", "email": "ann@example.org", "email_verified": true });
    let authorization = format!("Bearer {}", issuer.access(&claims));
    let headers = [("authorization", &*authorization), ("x-request-id", "the-first-one")];
    server.raw("GET", "/api/v1/usage", &headers, b"").expect(200);
    let entry = newest(&server, "user.link");
    assert_eq!(
        (&entry["session"]["Credential"], &entry["request_id"]),
        (&json!("external_token"), &json!("the-first-one")),
        "{entry}"
    );
    assert!(entry["client_ip"].is_string(), "{entry}");
}
