//! Domains and roles for tests.

use serde_json::{Value, json};

use super::Server;

impl Server {
    /// Makes a domain as whoever has the credential; returns its identifier.
    #[track_caller]
    pub(crate) fn add_domain(&self, credential: &str, name: &str) -> String {
        let domain = self.call("POST", "/domains", credential, Some(&json!({ "name": name }))).expect(201);
        text(&domain, "id")
    }
}

/// A member of an object that is a text.
#[track_caller]
pub(crate) fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_else(|| panic!("no {name} in {value}")).to_owned()
}
