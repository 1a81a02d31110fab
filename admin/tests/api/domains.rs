//! Domains.

use crate::support::{Server, json, text};

#[test]
fn a_domain_lives_from_creation_to_deletion() {
    let server = Server::start();
    let (ada, token) = server.add_user("ada");
    let new = json!({ "name": "Research", "route": "research", "tags": ["a"], "metadata": { "k": 1 } });
    let domain = server.call("POST", "/domains", &token, Some(&new)).expect(201);
    assert_eq!((domain["route"].as_str(), domain["status"].as_str()), (Some("research"), Some("enabled")));
    assert_eq!(domain["created_by"].as_str(), Some(&*ada));
    let path = format!("/domains/{}", text(&domain, "id"));
    assert_eq!(server.call("GET", &path, &token, None).expect(200), domain);

    let standing = server.call("GET", &format!("{path}?roles"), &token, None).expect(200);
    assert_eq!(standing["roles"][0]["role_name"].as_str(), Some("admin"));
    let actions = standing["actions"].as_array().expect("actions");
    assert!(actions.contains(&json!("llm_chat_completions")) && actions.contains(&json!("audit_log_read")));

    let change = json!({ "name": "R", "tags": [], "route": "r-and-d", "unknown": 1 });
    let changed = server.call("PATCH", &path, &token, Some(&change)).expect(200);
    assert_eq!((changed["name"].as_str(), changed["route"].as_str()), (Some("R"), Some("r-and-d")));
    assert_eq!(changed["metadata"], json!({ "k": 1 }));
    server.call("DELETE", &path, &token, None).expect(204);
    server.call("GET", &path, &token, None).expect_error(404);
    server.call("DELETE", &path, &token, None).expect_error(404);
    server.call("POST", "/domains", &token, Some(&new)).expect(201);
}

#[test]
fn a_domain_does_not_exist_for_whoever_has_no_right_in_it() {
    let server = Server::start();
    let (_, ada) = server.add_user("ada");
    let (_, bob) = server.add_user("bob");
    let (own, other) = (server.add_domain(&ada, "ada's"), server.add_domain(&bob, "bob's"));
    let path = format!("/domains/{other}");
    for (method, part) in [
        ("GET", ""),
        ("GET", "?roles"),
        ("PATCH", ""),
        ("DELETE", ""),
        ("POST", "/enable"),
        ("POST", "/disable"),
        ("POST", "/freeze"),
    ] {
        let body = (method == "PATCH").then(|| json!({ "name": "x" }));
        let call =
            |credential: &str| server.call(method, &format!("{path}{part}"), credential, body.as_ref());
        assert_eq!(call(&ada).expect_error(404), "not_found", "{method} {part}");
        call("").expect_error(401);
    }
    let seen = server.call("GET", "/domains?status=all", &ada, None).expect(200);
    assert_eq!((seen["total"].as_i64(), text(&seen["domains"][0], "id")), (Some(1), own));
    server.admin_call("GET", &path, None).expect(200);
}

#[test]
fn each_action_opens_its_entrypoint_and_no_other() {
    let server = Server::start();
    let (_, owner) = server.add_user("owner");
    let domain = server.add_domain(&owner, "d");
    let path = format!("/domains/{domain}");
    let entrypoints = [
        ("read", "GET", ""),
        ("update", "PATCH", ""),
        ("enable", "POST", "/enable"),
        ("disable", "POST", "/disable"),
        ("freeze", "POST", "/freeze"),
    ];
    for action in ["read", "update", "enable", "llm_read"] {
        let (id, token) = server.add_user(&format!("with_{action}"));
        server.add_role(&domain, action, &[action], &[&id]);
        for (needs, method, part) in entrypoints {
            let body = (method == "PATCH").then(|| json!({ "name": "x" }));
            let answer = server.call(method, &format!("{path}{part}"), &token, body.as_ref());
            let expected = if needs == action { 200 } else { 403 };
            assert_eq!(answer.status, expected, "{action}: {method} {part}: {}", answer.text);
        }
        server.call("DELETE", &path, &token, None).expect_error(403);
    }
    let (id, token) = server.add_user("with_delete");
    server.add_role(&domain, "delete", &["delete"], &[&id]);
    server.call("DELETE", &path, &token, None).expect(204);
}

#[test]
fn a_disabled_domain_lets_administrators_in_and_a_frozen_one_superadmins() {
    let server = Server::start();
    let (_, admin) = server.add_user("ada");
    let (reader_id, reader) = server.add_user("reader");
    let domain = server.add_domain(&admin, "d");
    server.add_role(&domain, "reader", &["read", "disable"], &[&reader_id]);
    let path = format!("/domains/{domain}");
    let reads = |token: &str| server.call("GET", &path, token, None).status;
    assert_eq!((reads(&admin), reads(&reader), reads(&server.admin)), (200, 200, 200));
    server.call("POST", &format!("{path}/disable"), &reader, None).expect(200);
    assert_eq!((reads(&admin), reads(&reader), reads(&server.admin)), (200, 403, 200));
    server.call("POST", &format!("{path}/freeze"), &admin, None).expect_error(403);
    server.admin_call("POST", &format!("{path}/freeze"), None).expect(200);
    assert_eq!((reads(&admin), reads(&reader), reads(&server.admin)), (403, 403, 200));
    server.call("POST", &format!("{path}/enable"), &admin, None).expect_error(403);
    assert_eq!(server.admin_call("GET", "/domains?status=freezed", None).expect(200)["total"], 1);
    server.admin_call("POST", &format!("{path}/enable"), None).expect(200);
    assert_eq!((reads(&admin), reads(&reader)), (200, 200));
}

#[test]
fn domains_are_filtered_and_checked() {
    let server = Server::start();
    let (_, ada) = server.add_user("ada");
    for name in ["alpha", "beta", "alphabet"] {
        server.add_domain(&ada, name);
    }
    let total = |query: &str| {
        server.call("GET", &format!("/domains?{query}"), &ada, None).expect(200)["total"].clone()
    };
    assert_eq!((total("name=ALPHA"), total("limit=1"), total("tag=x")), (json!(2), json!(3), json!(0)));
    assert_eq!((total("status=disabled"), total("status=deleted")), (json!(0), json!(0)));
    server.call("GET", "/domains?status=gone", &ada, None).expect_error(400);
    server.call("GET", "/domains?limit=101", &ada, None).expect_error(400);
    server.call("POST", "/domains", &ada, Some(&json!({ "name": "x", "route": "taken" }))).expect(201);
    for (body, status) in [
        (json!({}), 400),
        (json!({ "name": " " }), 400),
        (json!({ "name": "x", "route": "a--b" }), 400),
        (json!({ "name": "x", "route": "0a" }), 400),
        (json!({ "name": "x", "route": "TAKEN" }), 409),
        (json!({ "name": "x", "metadata": [] }), 400),
        (json!({ "name": "x", "tags": ["\u{7}"] }), 400),
        (json!({ "name": "x", "id": "3aa2aa87-f29b-455d-aa68-1e874804f786" }), 403),
    ] {
        server.call("POST", "/domains", &ada, Some(&body)).expect_error(status);
    }
    let new = json!({ "name": "x", "id": "3aa2aa87-f29b-455d-aa68-1e874804f786" });
    server.admin_call("POST", "/domains", Some(&new)).expect(201);
    server.admin_call("POST", "/domains", Some(&new)).expect_error(409);
    server.call("GET", "/domains/not-a-uuid", &ada, None).expect_error(404);
}
