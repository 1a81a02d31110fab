//! Routing rules.

use crate::support::{Server, Value, json, text};

fn path_rule(name: &str, priority: u16) -> Value {
    let matcher = json!({ "condition": "path", "pattern": "/v1/x" });
    json!({ "name": name, "target_url": "http://h:1/b", "priority": priority, "matchers": [matcher] })
}

#[test]
fn a_rule_lives_from_creation_to_deletion() {
    let server = Server::start();
    server.add_deployment("gpu");
    let call = |method: &str, path: &str, body: Option<_>| {
        server.admin_call(method, &format!("/api/routes{path}"), body.as_ref())
    };
    let domain = server.add_domain(&server.admin, "d");
    let new = json!({ "name": "guard", "target_url": "http://guard:8001/g", "priority": 20, "domain_id": domain,
        "strip_prefix": "/api/chat", "operation": "llm_chat_completions", "atls": false,
        "matchers": [{ "condition": "path", "pattern": "^/api/chat$", "is_regex": true },
                     { "condition": "body_regex", "field": "ignored", "pattern": "hello" },
                     { "condition": "header", "field": "X-Guard", "pattern": "on" }] });
    let route = call("POST", "", Some(new.clone())).expect(201);
    assert_eq!((text(&route, "event_type"), &route["enabled"]), ("llm_request".to_owned(), &json!(true)));
    assert_eq!(
        (&route["matchers"][1]["is_regex"], &route["matchers"][1]["field"]),
        (&json!(true), &json!(""))
    );
    assert!(route["deployment"].is_null());
    call("POST", "", Some(new)).expect_error(409);
    assert_eq!(call("GET", "/guard", None).expect(200), route);
    // The target's own deployment is not one of the operator's.
    assert_eq!(server.admin_call("GET", "/api/v1/deployments", None).expect(200)["total"], 1);
    server.admin_call("GET", "/api/v1/deployments/route%3Aguard", None).expect_error(404);

    let renamed = json!({ "name": "guards", "deployment": "gpu", "default_rule": true, "enabled": false });
    let renamed = call("PUT", "/guard", Some(renamed)).expect(200);
    assert_eq!((text(&renamed, "name"), text(&renamed, "deployment")), ("guards".into(), "gpu".into()));
    assert_eq!((&renamed["matchers"], &renamed["enabled"]), (&json!([]), &json!(false)));
    call("GET", "/guard", None).expect_error(404);
    // Without a name in the body it stays.
    let kept = json!({ "target_url": "http://h:2", "default_rule": true });
    assert_eq!(text(&call("PUT", "/guards", Some(kept)).expect(200), "name"), "guards");
    assert_eq!(
        call("DELETE", "/guards", None).expect(200),
        json!({ "message": "route deleted successfully" })
    );
    call("DELETE", "/guards", None).expect_error(404);
    call("PUT", "/guards", Some(path_rule("guards", 0))).expect_error(404);
}

#[test]
fn rules_are_listed_as_they_are_asked() {
    let server = Server::start();
    for (name, priority) in [("b", 5), ("a", 5), ("low", 0), ("high", 1000)] {
        server.admin_call("POST", "/api/routes", Some(&path_rule(name, priority))).expect(201);
    }
    let page = server.admin_call("GET", "/api/routes", None).expect(200);
    let names: Vec<_> = page["routes"].as_array().unwrap().iter().map(|route| text(route, "name")).collect();
    assert_eq!(names, ["high", "a", "b", "low"]);
    let page = server.admin_call("GET", "/api/routes?limit=1&offset=1", None).expect(200);
    assert_eq!(
        (&page["total"], &page["limit"], text(&page["routes"][0], "name")),
        (&json!(4), &json!(1), "a".into())
    );
    server.admin_call("GET", "/api/routes?limit=0", None).expect_error(400);
}

#[test]
fn there_is_one_default_rule_for_each_domain_and_one_for_all() {
    let server = Server::start();
    let domain = server.add_domain(&server.admin, "d");
    let default = |name: &str, domain: Option<&str>| {
        let rule =
            json!({ "name": name, "target_url": "http://h", "default_rule": true, "domain_id": domain });
        server.admin_call("POST", "/api/routes", Some(&rule))
    };
    default("all", None).expect(201);
    default("all2", None).expect_error(409);
    default("d", Some(&domain)).expect(201);
    default("d2", Some(&domain)).expect_error(409);
    // What was refused left nothing behind.
    server.admin_call("POST", "/api/routes", Some(&path_rule("all2", 0))).expect(201);
    server.admin_call("PUT", "/api/routes/all2", Some(&path_rule("all", 0))).expect_error(409);
    server.admin_call("DELETE", &format!("/domains/{domain}"), None).expect(204);
    server.admin_call("GET", "/api/routes/d", None).expect_error(404);
}

#[test]
fn rules_are_for_superadmins_and_the_system_keeps_its_own() {
    let server = Server::start();
    let (_, ada) = server.add_user("ada");
    server.admin_call("POST", "/api/routes", Some(&path_rule("r", 0))).expect(201);
    for (method, path, body) in [
        ("POST", "", Some(path_rule("x", 0))),
        ("GET", "", None),
        ("GET", "/r", None),
        ("PUT", "/r", Some(path_rule("r", 1))),
        ("DELETE", "/r", None),
        ("GET", "/none", None),
    ] {
        let path = format!("/api/routes{path}");
        server.call(method, &path, &ada, body.as_ref()).expect_error(403);
        server.call(method, &path, "", body.as_ref()).expect_error(401);
    }
    for name in ["attestation", "health"] {
        server.admin_call("POST", "/api/routes", Some(&path_rule(name, 0))).expect_error(403);
        server.admin_call("PUT", "/api/routes/r", Some(&path_rule(name, 0))).expect_error(403);
        server.admin_call("PUT", &format!("/api/routes/{name}"), Some(&path_rule("x", 0))).expect_error(403);
        server.admin_call("DELETE", &format!("/api/routes/{name}"), None).expect_error(403);
    }
}

#[test]
fn what_cannot_be_a_rule_is_refused() {
    let server = Server::start();
    let with = |member: &str, value: Value| {
        let mut rule = path_rule("r", 0);
        rule[member] = value;
        rule
    };
    let matcher = |matcher: Value| with("matchers", json!([matcher]));
    let regex = |pattern: &str| matcher(json!({ "condition": "path", "pattern": pattern, "is_regex": true }));
    for (rule, status) in [
        (json!({}), 400),
        (with("name", json!("a b")), 400),
        (with("name", json!("")), 400),
        (with("name", json!("x".repeat(256))), 400),
        (with("target_url", json!("h:1")), 400),
        (with("target_url", json!("ftp://h")), 400),
        (with("target_url", Value::Null), 400),
        (with("deployment", json!("gpu")), 400),
        (with("priority", json!(1001)), 400),
        (with("priority", json!(-1)), 400),
        (with("matchers", json!([])), 400),
        (with("default_rule", json!(true)), 400),
        (with("strip_prefix", json!("x")), 400),
        (with("strip_prefix", json!("/a%2f")), 400),
        (with("event_type", json!("a\r\nb")), 400),
        (with("operation", json!("fly")), 400),
        (with("atls", json!(true)), 400),
        (with("domain_id", json!("d")), 400),
        (with("domain_id", json!("3aa2aa87-f29b-455d-aa68-1e874804f786")), 404),
        (json!({ "name": "r", "deployment": "none", "default_rule": true }), 404),
        (matcher(json!({ "condition": "moon", "pattern": "x" })), 400),
        (matcher(json!({ "condition": "path", "pattern": "" })), 400),
        (matcher(json!({ "condition": "header", "pattern": "x" })), 400),
        (matcher(json!({ "condition": "body_field", "field": "", "pattern": "x" })), 400),
        (matcher(json!({ "condition": "body_regex", "pattern": "(" })), 400),
        (regex("("), 400),
        (regex(r"(a)\1"), 400),
        (regex(r"((\w{100}){100}){100}"), 400),
        (regex(&"a".repeat(4097)), 400),
        (with("name", json!("x".repeat(255))), 201),
    ] {
        let answer = server.admin_call("POST", "/api/routes", Some(&rule));
        assert_eq!(answer.status, status, "{rule}: {}", answer.text);
    }
}
