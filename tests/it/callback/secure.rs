//! The passthrough listener over TLS: the same answers, the same question to the callback, and nothing for those who speak plain HTTP.

use std::sync::Arc;

use rustls::ClientConfig;

use super::{KEY, Place, yes};
use crate::support::tls::{Authority, BOTH};
use crate::support::{Connection, End, Proxy, get, json_answer};

/// A proxy whose passthrough listener speaks TLS, and what its callers connect with.
fn start(place: &Place) -> (Proxy, Arc<ClientConfig>) {
    let authority = Authority::new();
    let client = authority.client(BOTH);
    let mut launch = super::open(&place.api);
    let pair = authority.issue(&launch.dir, "proxy", &["localhost"]);
    launch
        .settings
        .set("passthrough.address", "0.0.0.0:0")
        .set("passthrough.tls", true)
        .set("passthrough.auth_callback_url", format!("{}/verify", place.callback.url()))
        .set("tls.address", "127.0.0.1:0")
        .set("tls.certificates", toml::Value::Array(vec![pair.entry()]));
    (launch.start(), client)
}

fn cross(proxy: &Proxy, client: &Arc<ClientConfig>) -> Connection {
    let port = proxy.passthrough.expect("the settings have such a listener").port();
    Connection::to_tls(([127, 0, 0, 1], port).into(), client)
}

#[test]
fn a_request_over_tls_is_asked_about_and_passed_on_like_any_other() {
    let place = Place::new();
    let (proxy, client) = start(&place);
    let asked = place.callback.answer(|_| yes());
    let passed = place.api.answer(|_| json_answer(r#"{"sandboxes":[]}"#));
    let mut caller = cross(&proxy, &client);
    for _ in 0..3 {
        caller.send(get("/sandboxes", KEY));
        let answer = caller.response();
        assert_eq!((answer.status(), answer.text().as_str()), (200, r#"{"sandboxes":[]}"#));
        assert_eq!(asked.recv().unwrap().field("x-request-path"), Some("/sandboxes"));
        assert_eq!(passed.recv().unwrap().field("x-forwarded-proto"), Some("https"));
    }
}

#[test]
fn plain_http_is_told_so_and_its_credential_is_not_looked_at() {
    let place = Place::new();
    let (proxy, _client) = start(&place);
    let asked = place.callback.answer(|_| yes());
    let port = proxy.passthrough.expect("the settings have such a listener").port();
    let mut caller = Connection::to(([127, 0, 0, 1], port).into());
    caller.send(get("/sandboxes", KEY));
    let answer = caller.response();
    assert_eq!(answer.status(), 400);
    assert!(answer.text().starts_with("This port speaks TLS"), "{}", answer.text());
    assert_eq!(caller.wait_for_end(), End::Closed);
    assert!(asked.try_recv().is_err(), "the callback was asked");
}
