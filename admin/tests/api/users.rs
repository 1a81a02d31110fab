//! Accounts.

use crate::support::{Server, Value, json};

#[test]
fn an_account_lives_from_creation_to_deletion() {
    let server = Server::start();
    let user = json!({ "first_name": "Ada", "email": "ada@example.org", "tags": ["eng"], "metadata": { "a": 1 },
        "credentials": { "username": "ada", "secret": "password of ada" } });
    let ada = server.admin_call("POST", "/users", Some(&user)).expect(201);
    assert_eq!((ada["status"].as_str(), ada["role"].as_str()), (Some("enabled"), Some("user")));
    assert!(!ada.to_string().contains("password"), "{ada}");
    let path = format!("/users/{}", ada["id"].as_str().expect("an id"));
    assert_eq!(server.admin_call("GET", &path, None).expect(200), ada);

    let token = server.log_in("ada@example.org", "password of ada");
    let changed = server.call("PATCH", &path, &token, Some(&json!({ "last_name": "L" }))).expect(200);
    assert_eq!((changed["last_name"].as_str(), changed["first_name"].as_str()), (Some("L"), Some("Ada")));
    for (part, body, field, value) in [
        ("username", json!({ "username": "lovelace" }), "/credentials/username", json!("lovelace")),
        ("tags", json!({ "tags": [] }), "/tags", json!([])),
        ("email", json!({ "email": "l@example.org" }), "/email", json!("l@example.org")),
        (
            "picture",
            json!({ "profile_picture": "https://example.org/p" }),
            "/profile_picture",
            json!("https://example.org/p"),
        ),
    ] {
        let changed = server.call("PATCH", &format!("{path}/{part}"), &token, Some(&body)).expect(200);
        assert_eq!(changed.pointer(field), Some(&value), "{part}");
    }

    server.admin_call("POST", &format!("{path}/disable"), None).expect(200);
    server.call("GET", "/users/profile", &token, None).expect_error(401);
    server.admin_call("POST", &format!("{path}/enable"), None).expect(200);
    let token = server.log_in("lovelace", "password of ada");
    server.admin_call("DELETE", &path, None).expect(204);
    server.call("GET", "/users/profile", &token, None).expect_error(401);
    server.admin_call("GET", &path, None).expect_error(404);
    server.admin_call("DELETE", &path, None).expect_error(404);
}

#[test]
fn users_who_share_no_domain_do_not_see_each_other() {
    let server = Server::start();
    let (ada, ada_token) = server.add_user("ada");
    let (bob, _) = server.add_user("bob");
    let seen = server.call("GET", "/users", &ada_token, None).expect(200);
    assert_eq!((seen["total"].as_i64(), seen["users"][0]["id"].as_str()), (Some(1), Some(&*ada)));
    server.call("GET", &format!("/users/{bob}"), &ada_token, None).expect_error(404);
    for (method, part) in [("PATCH", ""), ("POST", "/disable"), ("DELETE", "")] {
        let body = (method == "PATCH").then(|| json!({ "first_name": "x" }));
        server.call(method, &format!("/users/{bob}{part}"), &ada_token, body.as_ref()).expect_error(404);
    }
    let new = json!({ "credentials": { "username": "eve", "secret": "password of eve" } });
    server.call("POST", "/users", &ada_token, Some(&new)).expect_error(403);
    server
        .call("PATCH", &format!("/users/{ada}/role"), &ada_token, Some(&json!({ "role": "admin" })))
        .expect_error(403);
}

#[test]
fn lists_are_paged_and_filtered() {
    let server = Server::start();
    for name in ["ada", "adam", "bob_x"] {
        server.add_user(name);
    }
    let list = |query: &str| server.admin_call("GET", &format!("/users?{query}"), None).expect(200);
    let names = |page: &Value| -> Vec<String> {
        let users = page["users"].as_array().expect("a list");
        users
            .iter()
            .map(|user| user["credentials"]["username"].as_str().expect("a name").to_owned())
            .collect()
    };
    assert_eq!(names(&list("username=AD")), ["adam", "ada", "admin"]);
    assert_eq!(names(&list("username=b_x")), ["bob_x"]);
    assert!(names(&list("username=b%25x")).is_empty());
    let page = list("limit=2&offset=1");
    assert_eq!((page["total"].as_i64(), names(&page).len()), (Some(4), 2));
    for query in ["limit=0", "limit=101", "limit=x", "offset=-1", "offset=4294967295", "status=gone", "id=x"]
    {
        server.admin_call("GET", &format!("/users?{query}"), None).expect_error(400);
    }
}

#[test]
fn what_cannot_be_is_refused_with_its_reason() {
    let server = Server::start();
    let (ada, _) = server.add_user("ada");
    let new =
        |username: &str, secret: &str| json!({ "credentials": { "username": username, "secret": secret } });
    for (body, status) in [
        (new("a b", "long enough"), 400),
        (new("eve", "short"), 400),
        (new("ADA", "long enough"), 409),
        (json!({}), 400),
        (json!([]), 400),
        (json!({ "credentials": { "username": "eve" }, "email": "x" }), 400),
        (json!({ "credentials": { "username": "eve" }, "metadata": [1] }), 400),
        (json!({ "credentials": { "username": "eve" }, "first_name": "a\u{0}b" }), 400),
        (json!({ "credentials": { "username": "eve" }, "role": "root" }), 400),
    ] {
        server.admin_call("POST", "/users", Some(&body)).expect_error(status);
    }
    let path = format!("/users/{ada}");
    let authorization = format!("Bearer {}", server.admin);
    let raw = |media_type: &str, body: &[u8]| {
        server.raw("PATCH", &path, &[("authorization", &authorization), ("content-type", media_type)], body)
    };
    raw("text/plain", b"{}").expect_error(415);
    raw("application/json", b"{").expect_error(400);
    raw("application/json", "[".repeat(200_000).as_bytes()).expect_error(400);
    raw("application/json", &vec![b' '; (1 << 20) + 1]).expect_error(413);
    raw("application/json; charset=utf-8", b"{}").expect(200);
    server.admin_call("GET", "/users/not-a-uuid", None).expect_error(404);
    server.admin_call("PUT", "/users", None).expect_error(405);
    server.admin_call("GET", "/nothing", None).expect_error(404);
}

#[test]
fn the_last_superadmin_stays() {
    let server = Server::start();
    let admin = server.admin_call("GET", "/users/profile", None).expect(200);
    let path = format!("/users/{}", admin["id"].as_str().expect("an id"));
    server.admin_call("POST", &format!("{path}/disable"), None).expect_error(409);
    server.admin_call("PATCH", &format!("{path}/role"), Some(&json!({ "role": "user" }))).expect_error(409);
    server.admin_call("DELETE", &path, None).expect_error(409);
}

#[test]
fn a_new_password_ends_all_logins() {
    let server = Server::start();
    let (_, token) = server.add_user("ada");
    let change = |old: &str| json!({ "old_secret": old, "new_secret": "another password" });
    server.call("PATCH", "/users/secret", &token, Some(&change("wrong password"))).expect_error(401);
    server.call("PATCH", "/users/secret", &token, Some(&change("password of ada"))).expect(200);
    server.call("GET", "/users/profile", &token, None).expect_error(401);
    server.log_in("ada", "another password");
}
