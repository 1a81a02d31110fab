//! The passthrough listener and its authentication callback, by the rows C1 to C9 of the contract and by what can go wrong.

mod answers;
mod calls;
mod memory;
mod once;
mod passes;
mod secure;
mod sockets;
mod startup;

use crate::support::{Launch, Message, Proxy, Upstream, World, json_answer};

/// A scripted callback, a scripted API behind the listener, and a proxy between them. Settings may be changed before it starts.
pub(super) struct Place {
    pub(super) callback: Upstream,
    pub(super) api: Upstream,
}

impl Place {
    pub(super) fn new() -> Self {
        Self { callback: Upstream::bind(), api: Upstream::bind() }
    }

    pub(super) fn proxy(&self) -> Proxy {
        self.proxy_with(|_| {})
    }

    pub(super) fn proxy_with(&self, change: impl FnOnce(&mut crate::support::Settings)) -> Proxy {
        let mut launch = open(&self.api);
        launch.settings.set("passthrough.auth_callback_url", format!("{}/verify", self.callback.url()));
        change(&mut launch.settings);
        launch.start()
    }
}

/// A proxy without a callback before `api`, not started yet.
pub(super) fn open(api: &Upstream) -> Launch {
    let mut launch = Launch::of(&World::default());
    launch
        .settings
        .set("passthrough.address", "127.0.0.1:0")
        .set("passthrough.origins", toml::Value::Array(vec![api.url().into()]));
    launch
}

/// A callback's usual yes, as FastAPI gives it.
pub(super) fn yes() -> Vec<u8> {
    json_answer("{}")
}

pub(super) fn says(status: u16) -> Vec<u8> {
    format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n").into_bytes()
}

pub(super) const KEY: &str = "x-api-key: k-1\r\n";

/// Checks one of our own answers: its status and the whole of its body.
pub(super) fn assert_coded(answer: &Message, status: u16, message: &str) {
    assert_eq!(answer.status(), status, "{}", answer.text());
    assert_eq!(answer.text(), format!(r#"{{"code":{status},"message":"{message}"}}"#));
    assert_eq!(answer.field("content-type"), Some("application/json"));
    assert!(answer.field("x-request-id").is_some_and(|id| !id.is_empty()));
}

pub(super) const MISSING: &str =
    "Missing authentication: provide 'Authorization: Bearer <token>' or 'X-API-Key: <key>'";
pub(super) const REJECTED: &str = "Authentication rejected by callback";
