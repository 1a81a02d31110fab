//! Deployments: where models are served, and what endpoints want to see. Only for superadmins.

use cube_wire::endpoint::{EndpointUrl, check_credential};
use cube_wire::record::Dialect;

use super::users::check_text;
use super::{App, AppError, Asker, Principal};
use crate::clock::Moment;
use crate::store::deployments::{self, DeploymentRow, EndpointRow, SealedCredential, Timeouts};
use crate::store::{Listed, Page};

/// Longest name, in bytes: the proxies' limit.
pub(super) const NAME_LEN_MAX: usize = 128;
/// Names that begin so are those of routes' own deployments.
pub(super) const IMPLICIT_PREFIX: &str = "route:";
/// Most endpoints of a deployment.
const ENDPOINTS_MAX: usize = 256;
/// Longest URL, in bytes; source: Cube's column.
pub(super) const URL_LEN_MAX: usize = 1_024;
/// Longest value of a credential, in bytes.
const CREDENTIAL_LEN_MAX: usize = 8_192;
/// Largest weight.
const WEIGHT_MAX: u32 = 1_000;
/// Longest timeout: a week, in milliseconds.
const TIMEOUT_MAX_MS: u64 = 604_800_000;

/// What is to be of a deployment; `None` stays as it is, or is as usual for a new one.
#[derive(Default)]
pub struct DeploymentChange {
    /// See [`DeploymentRow`].
    pub description: Option<String>,
    /// See [`DeploymentRow`].
    pub dialect: Option<Dialect>,
    /// All of them.
    pub endpoints: Option<Vec<EndpointChange>>,
    /// In milliseconds.
    pub connect_timeout_ms: Option<u64>,
    /// In milliseconds.
    pub head_timeout_ms: Option<u64>,
    /// In milliseconds.
    pub idle_timeout_ms: Option<u64>,
    /// In milliseconds; 0: any time.
    pub total_timeout_ms: Option<u64>,
}

/// What is to be of an endpoint.
pub struct EndpointChange {
    /// `http://host[:port][/base]`.
    pub url: String,
    /// `None`: 1.
    pub weight: Option<u32>,
    /// What it wants to see.
    pub credential: CredentialChange,
}

/// What is to be of an endpoint's credential. Deliberately not `Debug`.
pub enum CredentialChange {
    /// The one that the endpoint with the same URL has. A credential never goes to another URL than the one that it was set for.
    Keep,
    /// None.
    Remove,
    /// This one.
    Set {
        /// Field name.
        header: String,
        /// Field value, whole.
        value: String,
    },
}

impl App {
    /// Adds a deployment.
    ///
    /// # Errors
    /// [`AppError::Forbidden`], [`AppError::Invalid`], [`AppError::Conflict`] for a name that is taken.
    pub async fn create_deployment(
        &self,
        principal: &Principal,
        asker: &Asker,
        name: &str,
        change: DeploymentChange,
    ) -> Result<DeploymentRow, AppError> {
        principal.as_superadmin()?;
        if !principal.allows_deployment(name) {
            return Err(AppError::Forbidden("the API key is for other deployments"));
        }
        check_deployment_name(name)?;
        if change.endpoints.is_none() {
            return Err(AppError::invalid("endpoints", "at least one"));
        }
        let deployment = self.changed(new_deployment(name, false), change)?;
        let mut tx = self.store.begin().await?;
        deployments::insert(&mut tx, &deployment).await?;
        tx.audit(principal.did(asker, "deployment.create", "deployment", name));
        tx.commit().await?;
        Ok(deployment)
    }

    /// Deployments by name.
    ///
    /// # Errors
    /// [`AppError::Forbidden`].
    pub async fn list_deployments(
        &self,
        principal: &Principal,
        part: Option<&str>,
        page: Page,
    ) -> Result<Listed<DeploymentRow>, AppError> {
        principal.as_superadmin()?;
        let only = principal.only_deployments();
        Ok(deployments::list(&mut self.store.read().await?, part, only, page).await?)
    }

    /// The same, deployment after deployment: those that come after the name `after`, `limit` at most.
    ///
    /// # Errors
    /// [`AppError::Forbidden`].
    pub async fn list_deployments_after(
        &self,
        principal: &Principal,
        part: Option<&str>,
        after: Option<&str>,
        limit: i64,
    ) -> Result<Vec<DeploymentRow>, AppError> {
        principal.as_superadmin()?;
        let only = principal.only_deployments();
        Ok(deployments::list_after(&mut self.store.read().await?, part, only, after, limit).await?)
    }

    /// One deployment.
    ///
    /// # Errors
    /// [`AppError::Forbidden`], [`AppError::NotFound`].
    pub async fn view_deployment(
        &self,
        principal: &Principal,
        name: &str,
    ) -> Result<DeploymentRow, AppError> {
        principal.as_superadmin()?;
        explicit(principal, deployments::find(&mut self.store.read().await?, name).await?)
    }

    /// Changes a deployment. Credentials that the change leaves out stay with the endpoints whose URL stays.
    ///
    /// # Errors
    /// [`AppError::Forbidden`], [`AppError::NotFound`], [`AppError::Invalid`].
    pub async fn change_deployment(
        &self,
        principal: &Principal,
        asker: &Asker,
        name: &str,
        change: DeploymentChange,
    ) -> Result<DeploymentRow, AppError> {
        principal.as_superadmin()?;
        let mut tx = self.store.begin().await?;
        let before = explicit(principal, deployments::find(tx.connection(), name).await?)?;
        let deployment = self.changed(before, change)?;
        deployments::replace(&mut tx, &deployment).await?;
        tx.audit(principal.did(asker, "deployment.update", "deployment", name));
        tx.commit().await?;
        Ok(deployment)
    }

    /// Deletes a deployment.
    ///
    /// # Errors
    /// [`AppError::Forbidden`], [`AppError::NotFound`]; [`AppError::Conflict`] while models, domains or routes name it.
    pub async fn delete_deployment(
        &self,
        principal: &Principal,
        asker: &Asker,
        name: &str,
    ) -> Result<(), AppError> {
        principal.as_superadmin()?;
        let mut tx = self.store.begin().await?;
        explicit(principal, deployments::find(tx.connection(), name).await?)?;
        deployments::delete(&mut tx, name).await?;
        tx.audit(principal.did(asker, "deployment.delete", "deployment", name));
        tx.commit().await?;
        Ok(())
    }

    /// What a deployment is after a change, checked and with its credentials sealed.
    fn changed(&self, before: DeploymentRow, change: DeploymentChange) -> Result<DeploymentRow, AppError> {
        let mut after = before;
        if let Some(description) = change.description {
            check_text("description", &description)?;
            after.description = description;
        }
        after.dialect = change.dialect.unwrap_or(after.dialect);
        let timeouts = [
            ("connect_timeout_ms", change.connect_timeout_ms, 1, &mut after.timeouts.connect_ms),
            ("head_timeout_ms", change.head_timeout_ms, 1, &mut after.timeouts.head_ms),
            ("idle_timeout_ms", change.idle_timeout_ms, 1, &mut after.timeouts.idle_ms),
            ("total_timeout_ms", change.total_timeout_ms, 0, &mut after.timeouts.total_ms),
        ];
        for (field, value, min, place) in timeouts {
            let Some(value) = value else { continue };
            if !(min..=TIMEOUT_MAX_MS).contains(&value) {
                return Err(AppError::invalid(field, format!("{min} to {TIMEOUT_MAX_MS}")));
            }
            *place = value.cast_signed();
        }
        if let Some(endpoints) = change.endpoints {
            after.endpoints = self.endpoints(&after, endpoints)?;
        }
        after.updated_at = Moment::now();
        Ok(after)
    }

    fn endpoints(
        &self,
        before: &DeploymentRow,
        changes: Vec<EndpointChange>,
    ) -> Result<Vec<EndpointRow>, AppError> {
        if !(1..=ENDPOINTS_MAX).contains(&changes.len()) {
            return Err(AppError::invalid("endpoints", format!("1 to {ENDPOINTS_MAX}")));
        }
        let mut after: Vec<EndpointRow> = Vec::with_capacity(changes.len());
        for EndpointChange { url, weight, credential } in changes {
            check_url("endpoints.url", &url)?;
            if after.iter().any(|endpoint| endpoint.url == url) {
                return Err(AppError::invalid("endpoints.url", "the same URL twice"));
            }
            let weight = weight.unwrap_or(1);
            if !(1..=WEIGHT_MAX).contains(&weight) {
                return Err(AppError::invalid("endpoints.weight", format!("1 to {WEIGHT_MAX}")));
            }
            let credential = match credential {
                CredentialChange::Remove => None,
                CredentialChange::Set { header, value } => {
                    Some(self.sealed(&before.name, &header, &value)?)
                }
                CredentialChange::Keep => {
                    let same = before.endpoints.iter().find(|endpoint| endpoint.url == url);
                    same.and_then(|endpoint| endpoint.credential.clone())
                }
            };
            after.push(EndpointRow { url, weight, credential });
        }
        Ok(after)
    }

    fn sealed(&self, deployment: &str, header: &str, value: &str) -> Result<SealedCredential, AppError> {
        if value.len() > CREDENTIAL_LEN_MAX || header.len() > NAME_LEN_MAX {
            return Err(AppError::invalid("endpoints.credential", "too long"));
        }
        let (header, value) =
            check_credential(header, value).map_err(|why| AppError::invalid("endpoints.credential", why))?;
        let sealed = self.fleet_key.seal(deployment, &header, value).map_err(AppError::internal)?;
        Ok(SealedCredential { header, sealed })
    }
}

/// A deployment as it begins, without endpoints.
pub(super) fn new_deployment(name: &str, implicit: bool) -> DeploymentRow {
    let now = Moment::now();
    DeploymentRow {
        name: name.to_owned(),
        description: String::new(),
        dialect: Dialect::Openai,
        timeouts: Timeouts::default(),
        implicit,
        endpoints: Vec::new(),
        created_at: now,
        updated_at: now,
    }
}

/// What is not shown is not there.
fn explicit(principal: &Principal, found: Option<DeploymentRow>) -> Result<DeploymentRow, AppError> {
    let shown = |found: &DeploymentRow| !found.implicit && principal.allows_deployment(&found.name);
    found.filter(shown).ok_or(AppError::NotFound("deployment"))
}

pub(super) fn check_url(field: &'static str, url: &str) -> Result<(), AppError> {
    if url.len() > URL_LEN_MAX {
        return Err(AppError::invalid(field, format!("at most {URL_LEN_MAX} bytes")));
    }
    EndpointUrl::parse(url).map(|_| ()).map_err(|why| AppError::invalid(field, why))
}

fn check_deployment_name(name: &str) -> Result<(), AppError> {
    let whole = !name.is_empty() && name.len() <= NAME_LEN_MAX && name.trim() == name;
    if !whole || name.chars().any(char::is_control) {
        let why = format!("1 to {NAME_LEN_MAX} bytes without control characters, and no blanks around them");
        return Err(AppError::invalid("name", why));
    }
    // Such a name could not be written in a path.
    if matches!(name, "." | "..") {
        return Err(AppError::invalid("name", "not a dot segment"));
    }
    if name.starts_with(IMPLICIT_PREFIX) {
        return Err(AppError::invalid("name", format!("`{IMPLICIT_PREFIX}…` is for the targets of routes")));
    }
    Ok(())
}
