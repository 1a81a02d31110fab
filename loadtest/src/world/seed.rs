//! What a new world is filled with, through cube-admin's API as any other client would: a domain with a member and a stranger, a
//! deployment with its models, and a PAT for each way of being refused.

use super::api::{Api, text};
use crate::tables::{MEMBER, Service};
use anyhow::{Result, bail};
use cube_wire::Operation;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The deployment's name.
const DEPLOYMENT: &str = "upstream";
/// How long the PAT lives that is there to be expired.
const SHORT_LIFE: &str = "1s";

/// Who and what a filled world has. Holds secrets: written only to files of mode 0600.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Cast {
    /// The superadmin's password.
    pub(crate) password: String,
    /// The domain's identifier.
    pub(crate) domain: String,
    /// That of the domain in which the member has no right.
    pub(crate) other_domain: String,
    /// May use the domain's models.
    pub(crate) pat: String,
    /// Revoked.
    pub(crate) revoked: String,
    /// Expired.
    pub(crate) expired: String,
    /// For embeddings only.
    pub(crate) wrong_scope: String,
    /// Of a user with rights only in the other domain.
    pub(crate) wrong_domain: String,
}

/// Fills a new world.
pub(crate) fn seed(api: &Api, url: &str, password: String, service: &Service) -> Result<Cast> {
    offer_deployment(api, service)?;
    let domain = new_domain(api, &service.alias)?;
    let other_domain = new_domain(api, &format!("{}-other", service.alias))?;
    for domain in [&domain, &other_domain] {
        offer_models(api, domain, service)?;
    }
    let member = new_member(api, url, "member", &domain)?;
    let stranger = new_member(api, url, "stranger", &other_domain)?;
    let all = scopes(&domain, &MEMBER);
    let revoked = new_pat(&member, "revoked", "30d", &all)?;
    member.call("PATCH", &format!("/pats/{}/secret/revoke", revoked.0), None)?;
    Ok(Cast {
        pat: new_pat(&member, "works", "30d", &all)?.1,
        revoked: revoked.1,
        expired: new_pat(&member, "expired", SHORT_LIFE, &all)?.1,
        wrong_scope: new_pat(
            &member,
            "embeddings only",
            "30d",
            &scopes(&domain, &[Operation::LlmEmbeddings]),
        )?
        .1,
        wrong_domain: new_pat(&stranger, "stranger", "30d", &scopes(&other_domain, &MEMBER))?.1,
        password,
        domain,
        other_domain,
    })
}

/// Brings a kept world up to date with the model server of this run.
pub(crate) fn refresh(api: &Api, cast: &Cast, service: &Service) -> Result<()> {
    offer_deployment(api, service)?;
    for domain in [&cast.domain, &cast.other_domain] {
        offer_models(api, domain, service)?;
    }
    Ok(())
}

/// Makes the deployment, or points it at this run's model server.
fn offer_deployment(api: &Api, service: &Service) -> Result<()> {
    let credential =
        service.credential.as_ref().map(|value| json!({ "header": "authorization", "value": value }));
    let mut endpoint = json!({ "url": service.upstream });
    if let Some(credential) = credential {
        endpoint["credential"] = credential;
    }
    let deployment = json!({ "name": DEPLOYMENT, "dialect": "openai", "endpoints": [endpoint] });
    let path = format!("/api/v1/deployments/{DEPLOYMENT}");
    match api.try_call("GET", &path, None)?.0 {
        404 => api.call("POST", "/api/v1/deployments", Some(&deployment))?,
        _ => api.call("PATCH", &path, Some(&deployment))?,
    };
    Ok(())
}

fn offer_models(api: &Api, domain: &str, service: &Service) -> Result<()> {
    for name in &service.models {
        let model = json!({ "name": name, "deployment": DEPLOYMENT });
        match api.try_call("POST", &format!("/api/v1/domains/{domain}/models"), Some(&model))? {
            // Of an earlier run.
            (200..=299 | 409, _) => {}
            (status, answer) => bail!("model {name}: status {status}: {answer}"),
        }
    }
    Ok(())
}

fn new_domain(api: &Api, alias: &str) -> Result<String> {
    let domain = api.call("POST", "/domains", Some(&json!({ "name": alias, "route": alias })))?;
    Ok(text(&domain, "id")?.to_owned())
}

/// A user with a role that may use the domain's models and manage nothing; logged in.
fn new_member(api: &Api, url: &str, username: &str, domain: &str) -> Result<Api> {
    let password = crate::tables::random_text()?;
    let user = json!({ "credentials": { "username": username, "secret": password } });
    let user = api.call("POST", "/users", Some(&user))?;
    let actions: Vec<_> = MEMBER.iter().map(|operation| operation.name()).collect();
    let role = json!({ "role_name": "member", "optional_actions": actions, "optional_members": [text(&user, "id")?] });
    api.call("POST", &format!("/domains/{domain}/roles"), Some(&role))?;
    Api::log_in(url, username, &password)
}

/// Scopes on a domain, as the API takes them.
pub(crate) fn scopes(domain: &str, operations: &[Operation]) -> Value {
    let scope = |operation: &Operation| json!({ "entity_type": "domains", "domain_id": domain, "entity_id": domain, "operation": operation.name() });
    operations.iter().map(scope).collect()
}

/// Identifier and secret of a new PAT.
pub(crate) fn new_pat(owner: &Api, name: &str, duration: &str, scopes: &Value) -> Result<(String, String)> {
    let pat = json!({ "name": name, "duration": duration, "scopes": scopes });
    let pat = owner.call("POST", "/pats", Some(&pat))?;
    Ok((text(&pat, "id")?.to_owned(), text(&pat, "secret")?.to_owned()))
}
