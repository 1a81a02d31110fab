//! Deployments.

use crate::support::{Server, json, text};

const SECRET: &str = "Bearer sk-0123456789";

#[test]
fn a_deployment_lives_from_creation_to_deletion_and_never_shows_its_credential() {
    let server = Server::start();
    let call = |method: &str, path: &str, body: Option<_>| {
        server.admin_call(method, &format!("/api/v1/deployments{path}"), body.as_ref())
    };
    let new = json!({ "name": "gpu/a b:1", "dialect": "ollama", "endpoints": [
        { "url": "http://gpu-1:8000/v1", "weight": 3, "credential": { "value": SECRET } },
        { "url": "http://[::1]:1", "credential": { "header": "X-Api-Key", "value": SECRET } } ] });
    let created = call("POST", "", Some(new.clone())).expect(201);
    assert!(!created.to_string().contains("sk-"), "{created}");
    let endpoints = &created["endpoints"];
    assert_eq!((&endpoints[0]["credential_set"], &endpoints[0]["weight"]), (&json!(true), &json!(3)));
    assert_eq!(endpoints[1]["credential_header"], "x-api-key");
    assert_eq!(created["head_timeout_ms"], 600_000);
    call("POST", "", Some(new)).expect_error(409);
    let path = "/gpu%2Fa%20b%3A1";
    assert_eq!(call("GET", path, None).expect(200), created);
    assert_eq!(call("GET", "?name=GPU", None).expect(200)["deployments"], json!([created]));

    // A credential stays with its URL, goes with `null`, and does not move to another URL.
    let change = json!({ "description": "d", "total_timeout_ms": 0, "endpoints": [
        { "url": "http://[::1]:1", "credential": null }, { "url": "http://gpu-1:8000/v1" },
        { "url": "http://gpu-1:8000/other" } ] });
    let changed = call("PATCH", path, Some(change)).expect(200);
    let set: Vec<_> = (0..3).map(|at| changed["endpoints"][at]["credential_set"].clone()).collect();
    assert_eq!(set, [json!(false), json!(true), json!(false)]);
    assert_eq!((text(&changed, "description"), &changed["dialect"]), ("d".to_owned(), &json!("ollama")));
    let again = call("PATCH", path, Some(json!({ "connect_timeout_ms": 5 }))).expect(200);
    assert_eq!((&again["endpoints"], &again["connect_timeout_ms"]), (&changed["endpoints"], &json!(5)));

    call("DELETE", path, None).expect(204);
    call("GET", path, None).expect_error(404);
    call("DELETE", path, None).expect_error(404);
}

#[test]
fn what_a_proxy_would_refuse_is_refused() {
    let server = Server::start();
    let post = |body| server.admin_call("POST", "/api/v1/deployments", Some(&body));
    let endpoint = |endpoint| json!({ "name": "d", "endpoints": [endpoint] });
    for body in [
        json!({}),
        json!({ "name": "d" }),
        json!({ "name": "d", "endpoints": [] }),
        endpoint(json!({ "url": "h:1" })),
        endpoint(json!({ "url": "http://u:p@h" })),
        endpoint(json!({ "url": "http://h/../x" })),
        endpoint(json!({ "url": "http://h", "weight": 0 })),
        endpoint(json!({ "url": "http://h", "credential": { "header": "host", "value": "x" } })),
        endpoint(json!({ "url": "http://h", "credential": { "value": "a\r\nb: c" } })),
        endpoint(json!({ "url": "http://h", "credential": { "value": " " } })),
        json!({ "name": "d", "endpoints": [{ "url": "http://h" }, { "url": "http://h" }] }),
        json!({ "name": "d", "dialect": "latin", "endpoints": [{ "url": "http://h" }] }),
        json!({ "name": "d", "idle_timeout_ms": 0, "endpoints": [{ "url": "http://h" }] }),
        json!({ "name": "d", "idle_timeout_ms": -1, "endpoints": [{ "url": "http://h" }] }),
        json!({ "name": "", "endpoints": [{ "url": "http://h" }] }),
        json!({ "name": "a\nb", "endpoints": [{ "url": "http://h" }] }),
        json!({ "name": "..", "endpoints": [{ "url": "http://h" }] }),
        json!({ "name": "route:x", "endpoints": [{ "url": "http://h" }] }),
        json!({ "name": "x".repeat(129), "endpoints": [{ "url": "http://h" }] }),
    ] {
        let answer = post(body);
        answer.expect_error(400);
        assert!(!answer.text.contains("a\\r\\nb"), "{}", answer.text);
    }
    post(endpoint(json!({ "url": "https://h" }))).expect(201);
}

#[test]
fn deployments_are_for_superadmins_and_stay_while_they_are_used() {
    let server = Server::start();
    let (_, ada) = server.add_user("ada");
    server.add_deployment("gpu");
    let domain = server.add_domain(&ada, "d");
    for (method, path, body) in [
        ("POST", "", Some(json!({ "name": "x", "endpoints": [{ "url": "http://h" }] }))),
        ("GET", "", None),
        ("GET", "/gpu", None),
        ("PATCH", "/gpu", Some(json!({}))),
        ("DELETE", "/gpu", None),
    ] {
        let path = format!("/api/v1/deployments{path}");
        server.call(method, &path, &ada, body.as_ref()).expect_error(403);
        server.call(method, &path, "", body.as_ref()).expect_error(401);
    }
    let delete = || server.admin_call("DELETE", "/api/v1/deployments/gpu", None);
    let models = format!("/api/v1/domains/{domain}/models");
    server.admin_call("POST", &models, Some(&json!({ "name": "m", "deployment": "gpu" }))).expect(201);
    delete().expect_error(409);
    server.admin_call("DELETE", &format!("{models}/m"), None).expect(204);
    let default = format!("/api/v1/domains/{domain}/default-deployment");
    server.admin_call("PUT", &default, Some(&json!({ "deployment": "gpu" }))).expect(200);
    delete().expect_error(409);
    server.admin_call("DELETE", &default, None).expect(204);
    let route = json!({ "name": "r", "deployment": "gpu", "default_rule": true });
    server.admin_call("POST", "/api/routes", Some(&route)).expect(201);
    delete().expect_error(409);
    server.admin_call("DELETE", "/api/routes/r", None).expect(200);
    delete().expect(204);
}
