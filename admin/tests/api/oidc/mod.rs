//! The external issuer: its access tokens on the API, and signing in there. Against a scripted one (`issuer`).

mod audit;
mod away;
mod issuer;
mod links;
mod sign_in;
mod strangers;
mod tokens;

use crate::support::{Server, Value, json};
use issuer::Issuer;

/// What the settings say of an issuer whose access tokens are taken.
fn settings(issuer: &Issuer, more: &str) -> String {
    format!("[oidc]\nissuer = \"{}\"\naudiences = [\"cube-api\"]\n{more}\n", issuer.url)
}

/// A superadmin who is `ada-at-issuer` to the issuer.
fn add_linked(server: &Server, username: &str, subject: &str) -> String {
    let (id, _) = server.add_user(username);
    let role = json!({ "role": "admin" });
    server.admin_call("PATCH", &format!("/users/{id}/role"), Some(&role)).expect(200);
    link(server, &id, subject);
    id
}

fn link(server: &Server, id: &str, subject: &str) {
    let link = json!({ "subject": subject });
    server.admin_call("PUT", &format!("/users/{id}/oidc"), Some(&link)).expect(204);
}

/// The status of a request with this credential, to what the scope `deployments:read` opens.
fn status(server: &Server, credential: &str) -> u16 {
    server.call("GET", "/api/v1/deployments", credential, None).status
}

/// The audit log's newest entry of an action.
fn newest(server: &Server, action: &str) -> Value {
    let path = format!("/api/v1/audit?kind=action&first=50&action={action}");
    let log = server.admin_call("GET", &path, None).expect(200);
    let items = log["items"].as_array().expect("items");
    items.iter().find(|item| item["action"] == action).cloned().unwrap_or(Value::Null)
}
