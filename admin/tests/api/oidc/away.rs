//! An issuer that is away, lies, or is asked too much.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use super::issuer::{Issuer, Key, answer};
use super::{add_linked, settings, status};
use crate::support::{Server, json};

const DESCRIPTION: &str = "/.well-known/openid-configuration";

#[test]
fn known_keys_outlive_the_issuer() {
    let issuer = Issuer::start(Key::ed25519());
    let server = Server::start_with(&settings(&issuer, ""));
    add_linked(&server, "ada", "ada-at-issuer");
    let (good, unknown) = (issuer.access(&json!({})), issuer.with_head(&json!({ "kid": "k2" }), &json!({})));
    assert_eq!(status(&server, &good), 200);
    drop(issuer);
    assert_eq!(status(&server, &unknown), 401);
    assert_eq!(status(&server, &good), 200);
}

#[test]
fn an_issuer_that_is_away_at_the_start_is_asked_again_later() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    drop(listener);
    let server = Server::start_with(&format!(
        "[oidc]\nissuer = \"http://{address}/realms/test\"\naudiences = [\"cube-api\"]\n"
    ));
    add_linked(&server, "ada", "ada-at-issuer");
    let issuer = Issuer::on(TcpListener::bind("127.0.0.1:0").expect("a port"), Key::p256());
    let token = issuer.access(&json!({ "iss": format!("http://{address}/realms/test") }));
    let refused = server.call("GET", "/api/v1/deployments", &token, None);
    assert_eq!(refused.expect_error(503), "unavailable");
    assert_eq!(refused.header("retry-after"), Some("5"));
    // Everything else goes on.
    assert_eq!(status(&server, &server.admin), 200);

    let key = Key::p256();
    let issuer = Issuer::on(TcpListener::bind(address).expect("the same port"), key);
    let token = issuer.access(&json!({}));
    let patience = Instant::now() + Duration::from_secs(60);
    while status(&server, &token) != 200 {
        assert!(Instant::now() < patience, "it is not asked again");
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Goal: tokens with made-up keys do not become requests to the issuer. Method: count them there.
#[test]
fn a_flood_of_unknown_keys_is_no_flood_at_the_issuer() {
    let issuer = Issuer::start(Key::ed25519());
    let server = Server::start_with(&settings(&issuer, ""));
    add_linked(&server, "ada", "ada-at-issuer");
    let good = issuer.access(&json!({}));
    assert_eq!(status(&server, &good), 200);
    let tokens: Vec<_> =
        (0..200).map(|n| issuer.with_head(&json!({ "kid": format!("garbage-{n}") }), &json!({}))).collect();
    std::thread::scope(|scope| {
        for part in tokens.chunks(25) {
            scope.spawn(|| part.iter().for_each(|token| assert_eq!(status(&server, token), 401)));
        }
    });
    assert_eq!(status(&server, &good), 200);
    assert!(issuer.asked("/keys") <= 4, "{} times", issuer.asked("/keys"));
    assert!(issuer.asked(DESCRIPTION) <= 4);
}

#[test]
fn an_issuer_that_lies_is_not_believed() {
    let elsewhere = Issuer::start(Key::ed25519());
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let giant = format!("{{\"issuer\":\"{}\"}}", "x".repeat(2 << 20));
    let redirect = format!("location: {}{DESCRIPTION}\r\n", elsewhere.url);
    for (what, path, instead) in [
        ("another `issuer`", DESCRIPTION, None),
        ("keys at another place", DESCRIPTION, None),
        ("keys without TLS elsewhere", DESCRIPTION, None),
        ("a redirection", DESCRIPTION, Some(answer("302 Found", &redirect, ""))),
        ("a redirection to keys", "/keys", Some(answer("307 Temporary Redirect", &redirect, ""))),
        ("a giant description", DESCRIPTION, Some(answer("200 OK", "", &giant))),
        ("giant keys", "/keys", Some(answer("200 OK", "", &giant))),
        ("deep keys", "/keys", Some(answer("200 OK", "", &deep))),
        ("no JSON", DESCRIPTION, Some(answer("200 OK", "", "<html>"))),
        ("no keys", "/keys", Some(answer("200 OK", "", "{}"))),
        ("an error", DESCRIPTION, Some(answer("500 Internal Server Error", "", "{}"))),
        ("half an answer", "/keys", Some(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{".to_vec())),
    ] {
        let issuer = Issuer::start(Key::ed25519());
        match (what, instead) {
            (_, Some(instead)) => drop(issuer.script().instead.insert(path.to_owned(), instead)),
            ("another `issuer`", None) => {
                issuer.script().description = json!({ "issuer": format!("{}/", issuer.url) });
            }
            ("keys at another place", None) => {
                issuer.script().description = json!({ "jwks_uri": format!("{}/keys", elsewhere.url) });
            }
            (_, None) => issuer.script().description = json!({ "jwks_uri": "http://169.254.169.254/keys" }),
        }
        let server = Server::start_with(&settings(&issuer, ""));
        add_linked(&server, "ada", "ada-at-issuer");
        assert_eq!(status(&server, &issuer.access(&json!({}))), 503, "{what}");
    }
    assert_eq!(elsewhere.script().asked.len(), 0, "nobody is sent there");
}

#[test]
fn an_issuer_over_tls_proves_who_it_is_and_leads_nowhere_without_tls() {
    let (issuer, certificate) = Issuer::start_with_tls(Key::ed25519());
    let file = std::env::temp_dir().join(format!("cube-oidc-ca-{}", uuid::Uuid::new_v4()));
    std::fs::write(&file, certificate).expect("a file");
    let trusted = format!("ca_file = {file:?}");
    let of = |more: &str| {
        let server = Server::start_with(&settings(&issuer, more));
        add_linked(&server, "ada", "ada-at-issuer");
        status(&server, &issuer.access(&json!({})))
    };
    assert_eq!(of(&trusted), 200);
    assert_eq!(of(""), 503, "nobody vouches for it");
    // Keys without TLS, were they even at a place that the settings name.
    let plain = Issuer::start(Key::ed25519());
    let place = plain.url.split('/').nth(2).expect("a place").to_owned();
    issuer.script().description = json!({ "jwks_uri": format!("{}/keys", plain.url) });
    assert_eq!(of(&format!("{trusted}\nhosts = [\"{place}\"]")), 503);
    assert_eq!(plain.asked("/keys"), 0);
    // At a place that they name, with TLS, keys may be.
    let (keys, _) = Issuer::start_with_tls(Key::ed25519());
    let place = keys.url.split('/').nth(2).expect("a place").to_owned();
    issuer.script().description = json!({ "jwks_uri": format!("{}/keys", keys.url) });
    assert_eq!(of(&trusted), 503, "not named");
    assert_eq!(of(&format!("{trusted}\nhosts = [\"{place}\"]")), 503, "and nobody vouches for this one");
    std::fs::remove_file(file).expect("it was there");
}

/// An issuer that says nothing is given up after a few seconds, and holds up nobody who does not need it.
#[test]
fn a_slow_issuer_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    let (over, is_over) = std::sync::mpsc::channel::<()>();
    let held = std::thread::spawn(move || {
        let (stream, _) = listener.accept().expect("it is asked");
        // Not a word until the test has ended.
        let _ = is_over.recv();
        drop(stream);
    });
    let issuer = Issuer::start(Key::ed25519());
    let server = Server::start_with(&format!(
        "[oidc]\nissuer = \"http://{address}/realms/test\"\naudiences = [\"cube-api\"]\n"
    ));
    let token = issuer.access(&json!({ "iss": format!("http://{address}/realms/test") }));
    let others = std::thread::scope(|scope| {
        let asked = scope.spawn(|| status(&server, &token));
        let mut others = 0;
        while !asked.is_finished() {
            assert_eq!(status(&server, &server.admin), 200);
            others += 1;
        }
        assert_eq!(asked.join().expect("an answer"), 503);
        others
    });
    assert!(others > 1, "others do not wait");
    drop((server, over));
    held.join().expect("it ends");
}
