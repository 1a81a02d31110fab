//! Signing in at an external issuer: what must not work.

use super::issuer::{Issuer, Key, answer, now};
use super::sign_in::{add_ada, leave, let_in, settings, whole_way};
use crate::support::{Answer, Browser, Server, Value, json, request};

/// Nobody is signed in, the page says why in our words, and the attempt is over.
#[track_caller]
fn refused(browser: &Browser<'_>, answer: &Answer, status: u16) {
    assert_eq!(answer.status, status, "{}", answer.text);
    assert!(answer.text.contains("This was not done yet"), "{}", answer.text);
    assert!(answer.text.contains("Sign in with"), "one can try again");
    assert_eq!((browser.session(), &*browser.cookie("cube_attempt")), ("", ""));
}

#[test]
fn what_comes_back_belongs_to_the_browser_that_went_there_and_is_good_once() {
    let issuer = Issuer::start(Key::ed25519());
    let server = Server::start_with(&settings(&issuer, ""));
    add_ada(&server);

    let mut browser = Browser::new(&server);
    let back = let_in(&leave(&mut browser, ""));
    let (before, _) = back.split_once("state=").expect("a state");
    for wrong in [
        format!("{before}state=x"),
        before.to_owned(),
        back.replace("code=", "cod="),
        back.replace("/callback?", "/callback?x&"),
    ] {
        let mut other = Browser::new(&server);
        other.plant("cube_attempt", &browser.cookie("cube_attempt"));
        let answer = other.get(&wrong);
        match wrong.contains("?x&") {
            // What else the address says does not matter.
            true => assert_eq!(answer.status, 303),
            false => refused(&other, &answer, 401),
        }
    }
    assert_eq!(issuer.asked("/token"), 1, "a wrong state is not worth a question");

    // Another browser's way back: a victim who is to be signed in as somebody else.
    let mut attacker = Browser::new(&server);
    let back = let_in(&leave(&mut attacker, ""));
    let mut victim = Browser::new(&server);
    let answer = victim.get(&back);
    refused(&victim, &answer, 401);
    leave(&mut victim, "");
    let answer = victim.get(&back);
    refused(&victim, &answer, 401);

    // The same code again, with all that belonged to it.
    let attempt = attacker.cookie("cube_attempt");
    assert_eq!(attacker.get(&back).status, 303);
    let mut again = Browser::new(&server);
    again.plant("cube_attempt", &attempt);
    let answer = again.get(&back);
    refused(&again, &answer, 401);
    assert!(!answer.text.contains("invalid_grant"), "the issuer's words are not ours");

    // A cookie that we have not sealed.
    let mut forger = Browser::new(&server);
    for forged in ["x", "", &attempt[1..], &format!("{attempt}AA")] {
        forger.plant("cube_attempt", forged);
        let answer = forger.get(&back);
        refused(&forger, &answer, 401);
    }
}

/// Goal: the scripted issuer holds what our sign-in relies on: a code is worth nothing without what its challenge was made of.
#[test]
fn a_code_without_its_verifier_is_worth_nothing() {
    let issuer = Issuer::start(Key::ed25519());
    let server = Server::start_with(&settings(&issuer, ""));
    add_ada(&server);
    let back = let_in(&leave(&mut Browser::new(&server), ""));
    let code = crate::support::between(&back, "code=", "&");
    let form = format!("grant_type=authorization_code&code={code}&client_id=cube-ui");
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    let answer = request(&format!("{}/token", issuer.url), "POST", &headers, form.as_bytes());
    assert_eq!(answer.status, 400);
}

#[test]
fn an_id_token_that_does_not_hold_signs_nobody_in() {
    let issuer = Issuer::start(Key::rsa());
    let server = Server::start_with(&settings(&issuer, ""));
    add_ada(&server);
    for (what, said) in [
        ("another nonce", json!({ "nonce": "x" })),
        ("no nonce", json!({ "nonce": null })),
        ("another client", json!({ "aud": "other" })),
        ("several clients", json!({ "aud": ["cube-ui", "other"] })),
        ("asked by another", json!({ "azp": "other" })),
        ("another issuer", json!({ "iss": "https://other.example" })),
        ("expired", json!({ "exp": now() - 61 })),
        ("another access token", json!({ "at_hash": "77QmUPtjPfzWtF2AnpK9RQ" })),
        ("nobody", json!({ "sub": null })),
        ("an unverified address", json!({ "email_verified": false })),
        ("an address of nobody", json!({ "email": "eve@example.org" })),
    ] {
        issuer.script().identity = said;
        let mut browser = Browser::new(&server);
        let answer = whole_way(&mut browser, "");
        assert_eq!(answer.status, 401, "{what}");
        refused(&browser, &answer, 401);
    }
    let hash = cube_admin::oidc::keys::Algorithm::Rs256.half_hash("issuers-own");
    issuer.script().identity = json!({ "at_hash": hash, "azp": "cube-ui" });
    assert_eq!(whole_way(&mut Browser::new(&server), "").status, 303);
}

#[test]
fn a_disabled_user_is_not_signed_in_and_it_is_noted() {
    let issuer = Issuer::start(Key::ed25519());
    let server = Server::start_with(&settings(&issuer, ""));
    let ada = add_ada(&server);
    assert_eq!(whole_way(&mut Browser::new(&server), "").status, 303);
    server.admin_call("POST", &format!("/users/{ada}/disable"), None).expect(200);
    let mut browser = Browser::new(&server);
    let answer = whole_way(&mut browser, "");
    refused(&browser, &answer, 401);
    let noted = super::newest(&server, "login");
    assert_eq!(
        (&noted["outcome"], noted["entity_id"].as_str().is_some()),
        (&json!("unauthenticated"), true),
        "{noted}"
    );
}

#[test]
fn an_issuer_s_refusal_is_said_in_our_words() {
    let issuer = Issuer::start(Key::ed25519());
    let server = Server::start_with(&settings(&issuer, ""));
    let mut browser = Browser::new(&server);
    leave(&mut browser, "");
    let answer = browser
        .get("/ui/oidc/callback?error=access_denied&error_description=%3Cscript%3Ealert(1)%3C/script%3E");
    refused(&browser, &answer, 401);
    assert!(!answer.text.contains("alert(1)") && !answer.text.contains("access_denied"), "{}", answer.text);
}

#[test]
fn an_issuer_that_fails_is_said_to_fail() {
    let issuer = Issuer::start(Key::ed25519());
    let server = Server::start_with(&settings(&issuer, ""));
    add_ada(&server);
    for (what, instead) in [
        ("an error", answer("500 Internal Server Error", "", "{}")),
        ("no tokens", answer("200 OK", "", "{}")),
        ("no JSON", answer("200 OK", "", "<html>")),
        ("elsewhere", answer("302 Found", "location: http://127.0.0.1:9/\r\n", "")),
    ] {
        issuer.script().instead.insert("/token".to_owned(), instead);
        let mut browser = Browser::new(&server);
        let answer = whole_way(&mut browser, "");
        assert_eq!(answer.status, 503, "{what}");
        refused(&browser, &answer, 503);
    }
    drop(issuer);
    let never = Issuer::start(Key::ed25519());
    let server = Server::start_with(&settings(&never, ""));
    drop(never);
    let mut browser = Browser::new(&server);
    let answer = browser.get("/ui/oidc/begin");
    refused(&browser, &answer, 503);
}

/// Goal: tokens and codes go to no place that the settings do not name. Method: another server that would take them.
#[test]
fn an_endpoint_at_another_place_is_not_used_and_the_rest_goes_on() {
    let elsewhere = Issuer::start(Key::ed25519());
    let issuer = Issuer::start(Key::ed25519());
    let server = Server::start_with(&settings(&issuer, "create_users = true"));
    add_ada(&server);
    let at = |path: &str| format!("{}{path}", elsewhere.url);
    issuer.script().description =
        json!({ "userinfo_endpoint": at("/userinfo"), "end_session_endpoint": at("/logout") });
    assert_eq!(whole_way(&mut Browser::new(&server), "").status, 303);
    assert_eq!(Browser::new(&server).get("/ui/oidc/sign-out").header("location"), Some("/ui/sign-in"));
    issuer.script().identity = json!({ "sub": "other", "email": null });
    assert_eq!(whole_way(&mut Browser::new(&server), "").status, 401, "nothing more is known of this one");

    for name in ["token_endpoint", "authorization_endpoint"] {
        let issuer = Issuer::start(Key::ed25519());
        issuer.script().description = json!({ name: at("/x") });
        let server = Server::start_with(&settings(&issuer, ""));
        let mut browser = Browser::new(&server);
        let begun = browser.get("/ui/oidc/begin");
        let answer = match begun.header("location") {
            Some(there) => browser.get(&let_in(there)),
            None => begun,
        };
        refused(&browser, &answer, 503);
    }
    assert_eq!(elsewhere.script().asked.len(), 0);
}

/// RFC 9207: who sent a browser back is said, where an issuer says so, and has to be the one to whom it went.
#[test]
fn an_answer_names_the_issuer_that_was_asked() {
    let issuer = Issuer::start(Key::ed25519());
    let server = Server::start_with(&settings(&issuer, ""));
    add_ada(&server);
    let come = |more: &str| {
        let mut browser = Browser::new(&server);
        let back = let_in(&leave(&mut browser, ""));
        browser.get(&format!("{back}{more}")).status
    };
    let own: String = form_urlencoded::byte_serialize(issuer.url.as_bytes()).collect();
    assert_eq!(come("&iss=https%3A%2F%2Fother.example"), 401);
    assert_eq!((come(&format!("&iss={own}")), come("")), (303, 303));

    let strict = Issuer::start(Key::ed25519());
    strict.script().description = json!({ "authorization_response_iss_parameter_supported": true });
    let server = Server::start_with(&settings(&strict, ""));
    add_ada(&server);
    assert_eq!(whole_way(&mut Browser::new(&server), "").status, 401, "it promised to say so");
    assert_eq!(Value::Null, super::newest(&server, "user.link"));
}
