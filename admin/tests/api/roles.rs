//! Roles of domains.

use crate::support::{Server, json, text};

#[test]
fn a_role_lives_from_creation_to_deletion() {
    let server = Server::start();
    let (_, token) = server.add_user("ada");
    let (bob, bob_token) = server.add_user("bob");
    let domain = server.add_domain(&token, "d");
    let roles = format!("/domains/{domain}/roles");
    let call = |method: &str, path: &str, body: Option<_>| server.call(method, path, &token, body.as_ref());

    let new = json!({ "role_name": "chatters", "optional_actions": ["llm_read", "llm_chat_completions", "llm_read"] });
    let role = call("POST", &roles, Some(new.clone())).expect(201);
    assert_eq!((text(&role, "name"), text(&role, "entity_id")), ("chatters".to_owned(), domain.clone()));
    assert!(text(&role, "id").starts_with("domain_"));
    assert_eq!(role["actions"], json!(["llm_chat_completions", "llm_read"]));
    call("POST", &roles, Some(new)).expect_error(409);
    let path = format!("{roles}/{}", text(&role, "id"));
    assert_eq!(call("GET", &path, None).expect(200), role);

    let added = call("POST", &format!("{path}/actions"), Some(json!({ "actions": ["read"] }))).expect(200);
    assert_eq!(added["actions"], json!(["llm_chat_completions", "llm_read", "read"]));
    call("POST", &format!("{path}/actions/delete"), Some(json!({ "actions": ["llm_read"] }))).expect(204);
    let actions = call("GET", &format!("{path}/actions"), None).expect(200);
    assert_eq!(actions["actions"], json!(["llm_chat_completions", "read"]));

    let reads = || server.call("GET", &format!("/domains/{domain}"), &bob_token, None).status;
    assert_eq!(reads(), 404);
    let members = json!({ "members": [bob] });
    assert_eq!(call("POST", &format!("{path}/members"), Some(members.clone())).expect(200), members);
    assert_eq!(reads(), 200);
    let page = call("GET", &format!("{path}/members"), None).expect(200);
    assert_eq!((&page["total"], &page["members"]), (&json!(1), &json!([bob])));
    call("POST", &format!("{path}/actions/delete-all"), None).expect(204);
    assert_eq!(reads(), 404);
    call("POST", &format!("{path}/actions"), Some(json!({ "actions": ["read"] }))).expect(200);
    call("POST", &format!("{path}/members/delete"), Some(members.clone())).expect(204);
    assert_eq!(reads(), 404);
    call("POST", &format!("{path}/members"), Some(members)).expect(200);
    call("POST", &format!("{path}/members/delete-all"), None).expect(204);
    assert_eq!(reads(), 404);

    let renamed = call("PUT", &path, Some(json!({ "name": "talkers" }))).expect(200);
    assert_eq!(text(&renamed, "name"), "talkers");
    let listed = call("GET", &format!("{roles}?name=TALK"), None).expect(200);
    assert_eq!((&listed["total"], &listed["roles"][0]["id"]), (&json!(1), &role["id"]));
    call("DELETE", &path, None).expect(204);
    call("GET", &path, None).expect_error(404);
}

#[test]
fn the_built_in_role_stays_and_always_has_a_member() {
    let server = Server::start();
    let (ada, token) = server.add_user("ada");
    let (bob, _) = server.add_user("bob");
    let domain = server.add_domain(&token, "d");
    let call = |method: &str, part: &str, body: Option<_>| {
        server.call(method, &format!("/domains/{domain}/roles{part}"), &token, body.as_ref())
    };
    let admin = call("GET", "", None).expect(200)["roles"][0].clone();
    assert_eq!((text(&admin, "name"), &admin["builtin"]), ("admin".to_owned(), &json!(true)));
    let id = format!("/{}", text(&admin, "id"));
    call("PUT", &id, Some(json!({ "name": "x" }))).expect_error(409);
    call("DELETE", &id, None).expect_error(409);
    call("POST", &format!("{id}/actions"), Some(json!({ "actions": ["read"] }))).expect_error(409);
    call("POST", &format!("{id}/actions/delete-all"), None).expect_error(409);
    let only = json!({ "members": [ada] });
    call("POST", &format!("{id}/members/delete"), Some(only.clone())).expect_error(409);
    call("POST", &format!("{id}/members/delete-all"), None).expect_error(409);
    call("DELETE", "", Some(json!({ "member_ids": [ada] }))).expect_error(409);
    // All of a refused request is refused.
    assert_eq!(call("GET", &format!("{id}/members"), None).expect(200)["members"], json!([ada]));
    call("POST", &format!("{id}/members"), Some(json!({ "members": [bob] }))).expect(200);
    call("POST", &format!("{id}/members/delete"), Some(only)).expect(204);
    call("GET", "", None).expect_error(404);
}

#[test]
fn members_are_listed_with_their_roles_and_can_be_taken_out_of_all() {
    let server = Server::start();
    let (ada, token) = server.add_user("ada");
    let (bob, bob_token) = server.add_user("bob");
    let domain = server.add_domain(&token, "d");
    server.add_role(&domain, "one", &["read"], &[&bob]);
    server.add_role(&domain, "two", &["update"], &[&bob, &ada]);
    let path = format!("/domains/{domain}/roles");
    let members = server.call("GET", &format!("{path}/members"), &token, None).expect(200);
    assert_eq!(members["total"], 2);
    let of_bob =
        members["members"].as_array().unwrap().iter().find(|member| member["member_id"] == json!(bob));
    let names: Vec<_> =
        of_bob.unwrap()["roles"].as_array().unwrap().iter().map(|role| text(role, "role_name")).collect();
    assert_eq!(names, ["one", "two"]);
    let first = server.call("GET", &format!("{path}/members?limit=1"), &token, None).expect(200);
    assert_eq!((&first["total"], first["members"].as_array().unwrap().len()), (&json!(2), 1));
    server.call("DELETE", &path, &token, Some(&json!({ "member_ids": [bob] }))).expect(204);
    server.call("GET", &format!("/domains/{domain}"), &bob_token, None).expect_error(404);
    server.call("GET", &format!("/domains/{domain}"), &token, None).expect(200);
}

#[test]
fn role_entrypoints_need_their_rights_and_stay_in_their_domain() {
    let server = Server::start();
    let (_, ada) = server.add_user("ada");
    let (bob, bob_token) = server.add_user("bob");
    let (own, other) = (server.add_domain(&ada, "a"), server.add_domain(&bob_token, "b"));
    let role = server.add_role(&own, "r", &["read"], &[]);
    let (members, ids) = (json!({ "members": [bob] }), json!({ "member_ids": [bob] }));
    let actions = json!({ "actions": ["read"] });
    let entrypoints = [
        ("manage_role", "POST", String::new(), Some(json!({ "role_name": "x" }))),
        ("view_role_users", "GET", String::new(), None),
        ("remove_role_users", "DELETE", String::new(), Some(ids)),
        ("view_role_users", "GET", "/members".to_owned(), None),
        ("view_role_users", "GET", format!("/{role}"), None),
        ("manage_role", "PUT", format!("/{role}"), Some(json!({ "name": "y" }))),
        ("manage_role", "POST", format!("/{role}/actions"), Some(actions.clone())),
        ("view_role_users", "GET", format!("/{role}/actions"), None),
        ("manage_role", "POST", format!("/{role}/actions/delete"), Some(actions)),
        ("manage_role", "POST", format!("/{role}/actions/delete-all"), None),
        ("add_role_users", "POST", format!("/{role}/members"), Some(members.clone())),
        ("view_role_users", "GET", format!("/{role}/members"), None),
        ("remove_role_users", "POST", format!("/{role}/members/delete"), Some(members)),
        ("remove_role_users", "POST", format!("/{role}/members/delete-all"), None),
        ("manage_role", "DELETE", format!("/{role}"), None),
    ];
    for (_, method, part, body) in &entrypoints {
        let path = format!("/domains/{own}/roles{part}");
        server.call(method, &path, &bob_token, body.as_ref()).expect_error(404);
        server.call(method, &path, "", body.as_ref()).expect_error(401);
        // A role is found in its own domain only.
        if part.starts_with("/domain_") {
            let path = format!("/domains/{other}/roles{part}");
            server.call(method, &path, &bob_token, body.as_ref()).expect_error(404);
        }
    }
    for action in ["view_role_users", "add_role_users", "remove_role_users", "manage_role"] {
        let (id, token) = server.add_user(&format!("with_{action}"));
        server.add_role(&own, action, &[action], &[&id]);
        for (needs, method, part, body) in &entrypoints {
            let answer = server.call(method, &format!("/domains/{own}/roles{part}"), &token, body.as_ref());
            let allowed = (200..300).contains(&answer.status);
            assert_eq!(allowed, *needs == action, "{action}: {method} {part}: {answer:?}");
            assert!(allowed || answer.status == 403, "{action}: {method} {part}: {answer:?}");
        }
    }
}

#[test]
fn what_a_role_cannot_hold_is_refused() {
    let server = Server::start();
    let (_, token) = server.add_user("ada");
    let domain = server.add_domain(&token, "d");
    let available = server.call("GET", "/domains/roles/available-actions", &token, None).expect(200);
    let available = available["available_actions"].as_array().expect("a list").clone();
    assert!(available.contains(&json!("llm_rerank")) && available.contains(&json!("audit_log_export")));
    let path = format!("/domains/{domain}/roles");
    let nobody = "3aa2aa87-f29b-455d-aa68-1e874804f786";
    for (body, status) in [
        (json!({}), 400),
        (json!({ "role_name": "" }), 400),
        (json!({ "role_name": "x".repeat(201) }), 400),
        (json!({ "role_name": "x", "optional_actions": ["fly"] }), 400),
        (json!({ "role_name": "x", "optional_actions": ["client_\u{0}"] }), 400),
        (json!({ "role_name": "x", "optional_members": ["bob"] }), 400),
        (json!({ "role_name": "x", "optional_members": [nobody] }), 404),
        (json!({ "role_name": "admin" }), 409),
        (json!({ "role_name": "x", "optional_actions": ["client_read"] }), 201),
    ] {
        let answer = server.call("POST", &path, &token, Some(&body));
        assert_eq!(answer.status, status, "{body}: {}", answer.text);
    }
    let role = format!("{path}/{}", server.add_role(&domain, "r", &[], &[]));
    for (part, body, status) in [
        ("/actions", json!({ "actions": [] }), 400),
        ("/actions", json!({ "actions": ["fly"] }), 400),
        ("/actions/delete", json!({}), 400),
        ("/members", json!({ "members": [] }), 400),
        ("/members", json!({ "members": [nobody] }), 404),
        ("/members/delete", json!({ "members": [nobody] }), 204),
    ] {
        assert_eq!(
            server.call("POST", &format!("{role}{part}"), &token, Some(&body)).status,
            status,
            "{part} {body}"
        );
    }
    server.call("GET", &format!("{path}/domain_none"), &token, None).expect_error(404);
}
