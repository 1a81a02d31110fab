//! Signing in at an external issuer: the whole way there and back.

use std::collections::HashMap;

use super::issuer::{Issuer, Key};
use super::link;
use crate::support::{Answer, Browser, Server, between, json, request, text};

/// Where the issuer believes our pages to be.
const ORIGIN: &str = "http://127.0.0.1:9";

/// What the settings say of an issuer where people sign in.
pub(super) fn settings(issuer: &Issuer, more: &str) -> String {
    let url = &issuer.url;
    format!(
        "[oidc]\nissuer = \"{url}\"\nclient_id = \"cube-ui\"\nredirect_origin = \"{ORIGIN}\"\nname = \"Acme <ID>\"\n{more}\n"
    )
}

/// A user whose address is `ada@example.org`.
pub(super) fn add_ada(server: &Server) -> String {
    let (id, _) = server.add_user("ada");
    let email = json!({ "email": "ada@example.org" });
    server.admin_call("PATCH", &format!("/users/{id}/email"), Some(&email)).expect(200);
    id
}

/// Goes to the issuer; returns the address to which it was sent.
#[track_caller]
pub(super) fn leave(browser: &mut Browser<'_>, next: &str) -> String {
    let next: String = form_urlencoded::byte_serialize(next.as_bytes()).collect();
    let away = browser.get(&format!("/ui/oidc/begin?next={next}"));
    assert_eq!(away.status, 303, "{}", away.text);
    away.header("location").expect("a place to go").to_owned()
}

/// Is let in there; returns the way back, without our origin.
#[track_caller]
pub(super) fn let_in(there: &str) -> String {
    let back = request(there, "GET", &[], b"");
    assert_eq!(back.status, 302, "{}", back.text);
    let location = back.header("location").expect("a way back");
    location.strip_prefix(ORIGIN).unwrap_or_else(|| panic!("not ours: {location}")).to_owned()
}

/// There and back.
#[track_caller]
pub(super) fn whole_way(browser: &mut Browser<'_>, next: &str) -> Answer {
    let back = let_in(&leave(browser, next));
    browser.get(&back)
}

fn query_of(url: &str) -> HashMap<String, String> {
    let (_, query) = url.split_once('?').expect("a query");
    form_urlencoded::parse(query.as_bytes()).into_owned().collect()
}

#[test]
fn one_signs_in_at_the_issuer_and_has_a_session_like_any_other() {
    let issuer = Issuer::start(Key::rsa());
    let server = Server::start_with(&settings(&issuer, ""));
    let ada = add_ada(&server);
    let mut browser = Browser::new(&server);
    let page = browser.get("/ui/sign-in?next=%2Fui%2Fpats").text;
    assert!(page.contains("Sign in with Acme &#60;ID&#62;"), "{page}");
    assert_eq!(between(&page, "id=\"elsewhere\" href=\"", "\""), "/ui/oidc/begin?next=%2Fui%2Fpats");

    let away = browser.get("/ui/oidc/begin?next=%2Fui%2Fpats");
    let kept = away.header("set-cookie").expect("an attempt");
    assert!(
        kept.starts_with("cube_attempt=") && kept.ends_with("; HttpOnly; SameSite=Lax; Max-Age=600"),
        "{kept}"
    );
    let there = away.header("location").expect("a place to go").to_owned();
    let asked = query_of(&there);
    for (name, value) in [
        ("response_type", "code"),
        ("client_id", "cube-ui"),
        ("redirect_uri", "http://127.0.0.1:9/ui/oidc/callback"),
        ("scope", "openid email profile"),
        ("code_challenge_method", "S256"),
        ("theme", "plain"),
    ] {
        assert_eq!(asked.get(name).map(String::as_str), Some(value), "{there}");
    }
    assert!(["state", "nonce", "code_challenge"].iter().all(|name| asked[*name].len() == 43), "{there}");
    assert_ne!(asked["state"], asked["nonce"]);
    let hidden = browser.cookie("cube_attempt");
    assert!(!hidden.contains(&asked["nonce"]) && !hidden.contains(&asked["state"]), "sealed");

    let back = let_in(&there);
    let home = browser.get(&back);
    assert_eq!((home.status, home.header("location")), (303, Some("/ui/pats")), "{}", home.text);
    assert_eq!(browser.cookie("cube_attempt"), "", "it is over");
    assert!(browser.get("/ui/account").text.contains("ada@example.org"));
    let (form, authorization) = issuer.script().posted.clone().expect("a code was exchanged");
    assert_eq!((form["client_id"].as_str(), &*authorization), ("cube-ui", ""), "a public client");
    assert_eq!(form["code_verifier"].len(), 43);
    let seen = server.admin_call("GET", &format!("/users/{ada}/oidc"), None).expect(200);
    assert_eq!(text(&seen, "subject"), "ada-at-issuer");

    // It is in the list of sessions, ends like any other, and there is a way to sign out at the issuer as well.
    assert!(browser.get("/ui/sessions").text.contains("This one"));
    let out = browser.fill("/ui/", "/ui/sign-out", &[]);
    let page = browser.get(out.header("location").expect("a page")).text;
    assert!(page.contains("href=\"/ui/oidc/sign-out\""), "{page}");
    let gone = browser.get("/ui/oidc/sign-out");
    let location = gone.header("location").expect("a place to go");
    assert_eq!(location, format!("{}/logout?client_id=cube-ui", issuer.url));

    // The address may change: who is linked is known by the subject. No page and no log has seen a code or a token.
    issuer.script().identity = json!({ "email": "ada@elsewhere.org", "email_verified": false });
    assert_eq!(whole_way(&mut browser, "").status, 303);
    let state = String::from_utf8_lossy(&server.whole_state()).into_owned();
    assert!(!state.contains(&form["code"]) && !state.contains("issuers-own"));
}

#[test]
fn a_confidential_client_shows_its_secret_and_nobody_else_sees_it() {
    let file = std::env::temp_dir().join(format!("cube-oidc-secret-{}", uuid::Uuid::new_v4()));
    std::fs::write(&file, "not-for-you:é\n").expect("a file");
    let issuer = Issuer::start(Key::p256());
    let server = Server::start_with(&settings(&issuer, &format!("client_secret_file = {file:?}")));
    add_ada(&server);
    assert_eq!(whole_way(&mut Browser::new(&server), "").status, 303);
    let (form, authorization) = issuer.script().posted.clone().expect("a code was exchanged");
    // Both halves are form-encoded first (RFC 6749 §2.3.1): `cube-ui:not-for-you%3A%C3%A9`.
    assert_eq!(authorization, "Basic Y3ViZS11aTpub3QtZm9yLXlvdSUzQSVDMyVBOQ==");
    assert!(!form.contains_key("client_secret") && !form.contains_key("client_id"));
    let state = String::from_utf8_lossy(&server.whole_state()).into_owned();
    assert!(!state.contains("not-for-you"), "neither stored nor logged");

    let issuer = Issuer::start(Key::p256());
    issuer.script().description = json!({ "token_endpoint_auth_methods_supported": ["client_secret_post"] });
    let server = Server::start_with(&settings(&issuer, &format!("client_secret_file = {file:?}")));
    add_ada(&server);
    assert_eq!(whole_way(&mut Browser::new(&server), "").status, 303);
    let (form, authorization) = issuer.script().posted.clone().expect("a code was exchanged");
    assert_eq!((form["client_secret"].as_str(), &*authorization), ("not-for-you:é", ""));
    std::fs::remove_file(file).expect("it was there");
}

#[test]
fn nobody_is_led_away_and_no_session_is_fixed() {
    let issuer = Issuer::start(Key::ed25519());
    let server = Server::start_with(&settings(&issuer, ""));
    add_ada(&server);
    for next in [
        "//evil.example",
        "https://evil.example/ui/",
        "/ui//evil.example",
        "/\\evil",
        "/users",
        "javascript:x",
    ] {
        let home = whole_way(&mut Browser::new(&server), next);
        assert_eq!((home.status, home.header("location")), (303, Some("/ui/")), "{next}");
    }
    // What a browser had before as a session, somebody else's even, is not what it has afterwards.
    let mut browser = Browser::new(&server);
    browser.plant("cube_session", "fixed");
    assert_eq!(whole_way(&mut browser, "").status, 303);
    let first = browser.session().to_owned();
    assert_ne!(first, "fixed");
    assert_eq!(whole_way(&mut browser, "").status, 303);
    assert_ne!(browser.session(), first);
}

#[test]
fn whoever_has_a_verified_address_becomes_a_user_where_the_settings_say_so() {
    let issuer = Issuer::start(Key::ed25519());
    let server = Server::start_with(&settings(&issuer, "create_users = true"));
    // The ID token says nothing of an address: the issuer is asked.
    issuer.script().identity = json!({ "sub": "new", "email": null, "email_verified": null });
    issuer.script().user_info = json!({ "sub": "new", "email": "grace@example.org", "email_verified": true,
        "given_name": "Grace", "family_name": "Hopper\u{7}" });
    let mut browser = Browser::new(&server);
    assert_eq!(whole_way(&mut browser, "").status, 303);
    assert!(browser.get("/ui/account").text.contains("Grace"));
    let users = server.admin_call("GET", "/users?email=grace", None).expect(200);
    assert_eq!((&users["total"], &users["users"][0]["last_name"]), (&json!(1), &json!("Hopper")), "{users}");
    assert_eq!(browser.get("/ui/nodes").status, 403, "without any right");
    // The second time it is the same one.
    assert_eq!(whole_way(&mut Browser::new(&server), "").status, 303);
    assert_eq!(server.admin_call("GET", "/users?email=grace", None).expect(200)["total"], 1);
    // What the issuer says of somebody else is not believed.
    issuer.script().identity = json!({ "sub": "newer", "email": null });
    assert_eq!(whole_way(&mut Browser::new(&server), "").status, 503);
    issuer.script().user_info = json!({ "sub": "newer", "email": "x@example.org", "email_verified": false });
    assert_eq!(whole_way(&mut Browser::new(&server), "").status, 401);
    // An address that is somebody's is never a second user's.
    issuer.script().user_info =
        json!({ "sub": "newer", "email": "GRACE@example.org", "email_verified": true });
    assert_eq!(whole_way(&mut Browser::new(&server), "").status, 401);
}

#[test]
fn a_superadmin_signs_in_once_another_one_has_said_who_that_is() {
    let issuer = Issuer::start(Key::ed25519());
    let server = Server::start_with(&settings(&issuer, ""));
    let ada = add_ada(&server);
    server.admin_call("PATCH", &format!("/users/{ada}/role"), Some(&json!({ "role": "admin" }))).expect(200);
    assert_eq!(whole_way(&mut Browser::new(&server), "").status, 401, "an address is not enough");
    link(&server, &ada, "ada-at-issuer");
    let mut browser = Browser::new(&server);
    assert_eq!(whole_way(&mut browser, "").status, 303);
    assert_eq!(browser.get("/ui/nodes").status, 200);
}

#[test]
fn without_a_client_there_is_no_button() {
    let issuer = Issuer::start(Key::ed25519());
    let server = Server::start_with(&super::settings(&issuer, ""));
    let mut browser = Browser::new(&server);
    assert!(!browser.get("/ui/sign-in").text.contains("Sign in with"));
    assert_eq!(browser.get("/ui/oidc/begin").status, 404);
    assert_eq!(browser.get("/ui/oidc/callback?code=x&state=x").status, 404);
}
