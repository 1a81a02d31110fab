//! Models of domains.

use crate::pats::make;
use crate::support::{Server, json, text};

#[test]
fn a_model_lives_from_creation_to_deletion_whatever_its_name() {
    let server = Server::start();
    server.add_deployment("gpu");
    server.add_deployment("cpu");
    let domain = server.add_domain(&server.admin, "d");
    let call = |method: &str, path: &str, body: Option<_>| {
        server.admin_call(method, &format!("/api/v1/domains/{domain}{path}"), body.as_ref())
    };
    for (name, segment) in [
        ("llama", "llama"),
        ("meta-llama/Llama-3.1:8b", "meta-llama%2FLlama-3.1%3A8b"),
        ("a b?c#d%2F", "a%20b%3Fc%23d%252F"),
        ("größe/模型", "gr%C3%B6%C3%9Fe%2F%E6%A8%A1%E5%9E%8B"),
    ] {
        let new = json!({ "name": name, "deployment": "gpu", "upstream_model": "up" });
        let model = call("POST", "/models", Some(new.clone())).expect(201);
        assert_eq!((text(&model, "name"), text(&model, "served_by")), (name.to_owned(), "gpu".to_owned()));
        call("POST", "/models", Some(new)).expect_error(409);
        let path = format!("/models/{segment}");
        assert_eq!(call("GET", &path, None).expect(200), model);
        let changed = call("PATCH", &path, Some(json!({ "deployment": "cpu" }))).expect(200);
        assert_eq!(
            (text(&changed, "served_by"), text(&changed, "upstream_model")),
            ("cpu".into(), "up".into())
        );
        let change = json!({ "deployment": null, "upstream_model": null });
        let changed = call("PATCH", &path, Some(change)).expect(200);
        assert!(changed["served_by"].is_null() && changed["upstream_model"].is_null(), "{changed}");
        call("DELETE", &path, None).expect(204);
        call("GET", &path, None).expect_error(404);
        call("DELETE", &path, None).expect_error(404);
    }
}

#[test]
fn models_without_a_deployment_are_served_by_the_default_one() {
    let server = Server::start();
    server.add_deployment("gpu");
    let domain = server.add_domain(&server.admin, "d");
    let call = |method: &str, path: &str, body: Option<_>| {
        server.admin_call(method, &format!("/api/v1/domains/{domain}{path}"), body.as_ref())
    };
    assert!(call("POST", "/models", Some(json!({ "name": "m" }))).expect(201)["served_by"].is_null());
    let served_by = || call("GET", "/models/m", None).expect(200)["served_by"].clone();
    let default = json!({ "deployment": "gpu" });
    assert_eq!(call("PUT", "/default-deployment", Some(default.clone())).expect(200), default);
    assert_eq!(served_by(), "gpu");
    let viewed = server.admin_call("GET", &format!("/domains/{domain}"), None).expect(200);
    assert_eq!(viewed["default_deployment"], "gpu");
    call("DELETE", "/default-deployment", None).expect(204);
    assert!(served_by().is_null());
    call("PUT", "/default-deployment", Some(json!({ "deployment": "none" }))).expect_error(404);
    call("PUT", "/default-deployment", Some(json!({}))).expect_error(400);
}

#[test]
fn model_entrypoints_need_their_rights_and_stay_in_their_domain() {
    let server = Server::start();
    let (_, bob) = server.add_user("bob");
    server.add_domain(&bob, "bob's");
    let domain = server.add_domain(&server.admin, "d");
    let base = format!("/api/v1/domains/{domain}");
    server.admin_call("POST", &format!("{base}/models"), Some(&json!({ "name": "m" }))).expect(201);
    let entrypoints = [
        ("llm_read", "GET", "/models", None),
        ("llm_read", "GET", "/models/m", None),
        ("llm_create", "POST", "/models", Some(json!({ "name": "n" }))),
        ("llm_update", "PATCH", "/models/m", Some(json!({ "upstream_model": "u" }))),
        ("llm_update", "DELETE", "/default-deployment", None),
        ("llm_delete", "DELETE", "/models/m", None),
    ];
    for (_, method, part, body) in &entrypoints {
        server.call(method, &format!("{base}{part}"), &bob, body.as_ref()).expect_error(404);
        server.call(method, &format!("{base}{part}"), "", body.as_ref()).expect_error(401);
    }
    for action in ["llm_read", "llm_create", "llm_update", "llm_delete", "llm_chat_completions"] {
        let (id, token) = server.add_user(&format!("with_{action}"));
        server.add_role(&domain, action, &[action], &[&id]);
        for (needs, method, part, body) in &entrypoints {
            let answer = server.call(method, &format!("{base}{part}"), &token, body.as_ref());
            let allowed = (200..300).contains(&answer.status);
            assert_eq!(allowed, *needs == action, "{action}: {method} {part}: {answer:?}");
            assert!(allowed || answer.status == 403, "{action}: {method} {part}: {answer:?}");
        }
    }
}

#[test]
fn a_domain_gets_the_deployments_that_a_superadmin_gives_it_and_no_other() {
    let server = Server::start();
    let (_, ada) = server.add_user("ada");
    let domain = server.add_domain(&ada, "d");
    server.add_deployment("given");
    server.add_deployment("other tenant's");
    let models = format!("/api/v1/domains/{domain}/models");
    let default = format!("/api/v1/domains/{domain}/default-deployment");
    let on = |name: &str, deployment: &str| json!({ "name": name, "deployment": deployment });
    server.call("POST", &models, &ada, Some(&on("m", "given"))).expect_error(404);
    server.call("POST", &models, &ada, Some(&on("m", "none"))).expect_error(404);
    server.admin_call("PUT", &default, Some(&json!({ "deployment": "given" }))).expect(200);
    server.call("POST", &models, &ada, Some(&on("m", "given"))).expect(201);
    server.call("POST", &models, &ada, Some(&on("n", "other tenant's"))).expect_error(404);
    let other = json!({ "deployment": "other tenant's" });
    server.call("PATCH", &format!("{models}/m"), &ada, Some(&other)).expect_error(404);
    server.call("PUT", &default, &ada, Some(&other)).expect_error(404);
}

#[test]
fn what_cannot_be_a_model_is_refused() {
    let server = Server::start();
    let domain = server.add_domain(&server.admin, "d");
    let path = format!("/api/v1/domains/{domain}/models");
    for (body, status) in [
        (json!({}), 400),
        (json!({ "name": "" }), 400),
        (json!({ "name": "*" }), 400),
        (json!({ "name": ".." }), 400),
        (json!({ "name": "a\u{0}" }), 400),
        (json!({ "name": "x".repeat(257) }), 400),
        (json!({ "name": "x", "upstream_model": "" }), 400),
        (json!({ "name": "x", "deployment": "none" }), 404),
        (json!({ "name": "x".repeat(256) }), 201),
    ] {
        let answer = server.admin_call("POST", &path, Some(&body));
        assert_eq!(answer.status, status, "{body}: {}", answer.text);
    }
    let found = server.admin_call("GET", &format!("{path}?name=XxxX"), None).expect(200);
    assert_eq!(found["total"], 1);
    server
        .admin_call("GET", "/api/v1/domains/3aa2aa87-f29b-455d-aa68-1e874804f786/models", None)
        .expect_error(404);
}

#[test]
fn a_pat_reaches_the_models_that_its_scopes_name_and_its_owner_may_use() {
    let server = Server::start();
    let (_, ada) = server.add_user("ada");
    let (domain, other) = (server.add_domain(&ada, "d"), server.add_domain(&ada, "e"));
    let base = format!("/api/v1/domains/{domain}/models");
    for name in ["m", "n"] {
        server.call("POST", &base, &ada, Some(&json!({ "name": name }))).expect(201);
    }
    let pat = |name: &str, entity_type: &str, entity_id: &str, operation: &str| {
        let scope = json!({ "entity_type": entity_type, "domain_id": domain, "entity_id": entity_id,
            "operation": operation });
        make(&server, &ada, &json!({ "name": name, "duration": "1h", "scopes": [scope] })).1
    };
    let (one, any) = (pat("one", "models", "m", "llm_read"), pat("any", "models", "*", "llm_read"));
    let (whole, update) =
        (pat("whole", "domains", "*", "llm_read"), pat("update", "domains", &domain, "llm_update"));
    let total = |pat: &str| server.call("GET", &base, pat, None).expect(200)["total"].clone();
    assert_eq!((total(&one), total(&any), total(&whole)), (json!(1), json!(2), json!(2)));
    server.call("GET", &base, &update, None).expect_error(403);
    server.call("GET", &format!("{base}/m"), &one, None).expect(200);
    server.call("GET", &format!("{base}/n"), &one, None).expect_error(403);
    server.call("PATCH", &format!("{base}/m"), &update, Some(&json!({}))).expect(200);
    server.call("PATCH", &format!("{base}/m"), &whole, Some(&json!({}))).expect_error(403);
    // Its owner's other domain does not exist for it; nor does what no scope can name.
    server.call("GET", &format!("/api/v1/domains/{other}/models"), &whole, None).expect_error(404);
    server.call("GET", &format!("/domains/{domain}"), &whole, None).expect_error(403);
    let seen = server.call("GET", "/domains", &whole, None).expect(200);
    assert_eq!((&seen["total"], text(&seen["domains"][0], "id")), (&json!(1), domain.clone()));
    server.call("POST", "/domains", &whole, Some(&json!({ "name": "x" }))).expect_error(403);
    server.call("GET", "/invitations", &whole, None).expect_error(403);

    let full = make(&server, &ada, &json!({ "name": "full", "duration": "1h", "full_access": true })).1;
    server.call("POST", "/domains", &full, Some(&json!({ "name": "x" }))).expect(201);
    server.call("GET", &format!("/api/v1/domains/{other}/models"), &full, None).expect(200);
}

#[test]
fn a_superadmins_pat_is_narrowed_too() {
    let server = Server::start();
    let (_, ada) = server.add_user("ada");
    let domain = server.add_domain(&ada, "d");
    let scope =
        json!({ "entity_type": "domains", "domain_id": domain, "entity_id": "*", "operation": "read" });
    let pat = make(&server, &server.admin, &json!({ "name": "p", "duration": "1h", "scopes": [scope] })).1;
    server.call("GET", &format!("/domains/{domain}"), &pat, None).expect(200);
    for (method, path) in [
        ("POST", format!("/domains/{domain}/freeze")),
        ("POST", format!("/domains/{domain}/enable")),
        ("DELETE", format!("/domains/{domain}")),
        ("GET", "/api/v1/deployments".to_owned()),
        ("GET", "/api/routes".to_owned()),
    ] {
        server.call(method, &path, &pat, None).expect_error(403);
    }
    // A PAT loses what it may do in a domain with that domain, and nothing else.
    server.admin_call("DELETE", &format!("/domains/{domain}"), None).expect(204);
    server.call("GET", &format!("/domains/{domain}"), &pat, None).expect_error(404);
    server.call("GET", "/users/profile", &pat, None).expect(200);
}
