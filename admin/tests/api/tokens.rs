//! Logging in and out.

use crate::support::{Server, json};

#[test]
fn a_login_gives_tokens_that_work_and_a_wrong_password_gives_none() {
    let server = Server::start();
    let (_, ada) = server.add_user("ada");
    assert_eq!(
        server.call("GET", "/users/profile", &ada, None).expect(200)["credentials"]["username"],
        "ada"
    );
    for (username, password) in [("ada", "wrong password"), ("nobody", "password of ada"), ("ada", "")] {
        let login = json!({ "username": username, "password": password });
        let answer = server.call("POST", "/users/tokens/issue", "", Some(&login));
        assert_eq!(answer.expect_error(401), "unauthenticated");
        assert!(answer.header("www-authenticate").is_some_and(|value| value.starts_with("Bearer")));
    }
}

#[test]
fn an_access_token_ends_when_it_said_it_would() {
    let server = Server::start_with("[login]\naccess_lifetime_s = 1\n");
    let (login, other) = (server.admin.clone(), Server::start());
    assert_eq!(other.call("GET", "/users/profile", &other.admin, None).status, 200);
    std::thread::sleep(std::time::Duration::from_millis(2_100));
    server.call("GET", "/users/profile", &login, None).expect_error(401);
    other.call("GET", "/users/profile", &other.admin, None).expect(200);
}

#[test]
fn guessing_is_slowed_down_for_the_name_and_says_when_to_come_back() {
    let server = Server::start_with("[login]\nattempts_max = 3\n");
    server.add_user("ada");
    let wrong = json!({ "username": "ada", "password": "wrong password" });
    for _ in 0..3 {
        server.call("POST", "/users/tokens/issue", "", Some(&wrong)).expect_error(401);
    }
    let right = json!({ "username": "ada", "password": "password of ada" });
    let answer = server.call("POST", "/users/tokens/issue", "", Some(&right));
    assert_eq!(answer.expect_error(429), "throttled");
    assert!(answer.header("retry-after").and_then(|value| value.parse::<u64>().ok()).is_some_and(|s| s > 0));
}

#[test]
fn a_refresh_token_is_good_once_and_using_it_again_ends_the_login() {
    let server = Server::start();
    let login = json!({ "username": "admin", "password": "correct horse battery", "description": "laptop" });
    let first = server.call("POST", "/users/tokens/issue", "", Some(&login)).expect(201);
    let token = |pair: &serde_json::Value, name: &str| pair[name].as_str().expect("a token").to_owned();
    let old = token(&first, "refresh_token");
    let second = server.call("POST", "/users/tokens/refresh", &old, None).expect(201);
    let access = token(&second, "access_token");
    server.call("GET", "/users/profile", &access, None).expect(200);
    // An access token is no refresh token, and the other way round.
    server.call("POST", "/users/tokens/refresh", &access, None).expect_error(401);
    server.call("GET", "/users/profile", &token(&second, "refresh_token"), None).expect_error(401);

    server.call("POST", "/users/tokens/refresh", &old, None).expect_error(401);
    server.call("POST", "/users/tokens/refresh", &token(&second, "refresh_token"), None).expect_error(401);
    server.call("GET", "/users/profile", &access, None).expect_error(401);
}

#[test]
fn logins_are_listed_and_ended() {
    let server = Server::start();
    let login = json!({ "username": "admin", "password": "correct horse battery", "description": "laptop" });
    let pair = server.call("POST", "/users/tokens/issue", "", Some(&login)).expect(201);
    let refresh = pair["refresh_token"].as_str().expect("a token");
    let listed = server.admin_call("GET", "/users/tokens/refresh-tokens", None).expect(200);
    let laptop =
        listed["refresh_tokens"].as_array().expect("a list").iter().find(|t| t["description"] == "laptop");
    let id = laptop.expect("the new login")["id"].clone();
    server.admin_call("POST", "/users/tokens/revoke", Some(&json!({ "token_id": id }))).expect(204);
    server.call("POST", "/users/tokens/refresh", refresh, None).expect_error(401);
    server.admin_call("POST", "/users/tokens/revoke", Some(&json!({ "token_id": id }))).expect_error(404);
}

#[test]
fn the_published_keys_outlive_a_restart() {
    let mut server = Server::start();
    let before = server.call("GET", "/keys/.well-known/jwks.json", "", None).expect(200);
    assert_eq!(before["keys"][0]["alg"], "EdDSA");
    server.kill_and_restart();
    assert_eq!(server.call("GET", "/keys/.well-known/jwks.json", "", None).expect(200), before);
    server.admin_call("GET", "/users/profile", None).expect(200);
}
