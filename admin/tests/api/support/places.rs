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

    /// Makes a role with these actions and members in a domain, as the superadmin; returns its identifier.
    #[track_caller]
    pub(crate) fn add_role(&self, domain: &str, name: &str, actions: &[&str], members: &[&str]) -> String {
        let role = json!({ "role_name": name, "optional_actions": actions, "optional_members": members });
        let role = self.admin_call("POST", &format!("/domains/{domain}/roles"), Some(&role)).expect(201);
        text(&role, "id")
    }

    /// Makes a deployment of one endpoint, as the superadmin.
    #[track_caller]
    pub(crate) fn add_deployment(&self, name: &str) {
        let deployment = json!({ "name": name, "endpoints": [{ "url": "http://127.0.0.1:1" }] });
        self.admin_call("POST", "/api/v1/deployments", Some(&deployment)).expect(201);
    }
}

/// A member of an object that is a text.
#[track_caller]
pub(crate) fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_else(|| panic!("no {name} in {value}")).to_owned()
}
