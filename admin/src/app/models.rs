//! Models of a domain: what it offers, and where that is served.
//!
//! Deployments belong to superadmins. A domain's own people move its models among the deployments that a superadmin has given the
//! domain (its default, or that of one of its models or routes); any other one does not exist for them, or else whoever guesses
//! a name could use another tenant's endpoints and their credentials.

use cube_wire::record::MODEL_NAME_LEN_MAX;
use cube_wire::{DomainId, Operation};

use super::authorize::{authorize, rights};
use super::{App, AppError, Asker, Principal, Via};
use crate::clock::Moment;
use crate::store::models::{self, ModelFilter, ModelRow};
use crate::store::{Connection, Listed, Page, WriteTx, deployments};

/// Most models of a domain: a change of its default deployment is one generation with a line for each of them.
const MODELS_MAX: i64 = 10_000;

/// A model that is to be.
#[derive(Clone, Debug, Default)]
pub struct NewModel {
    /// See [`ModelRow`].
    pub name: String,
    /// See [`ModelRow`].
    pub deployment: Option<String>,
    /// See [`ModelRow`].
    pub upstream_model: Option<String>,
}

/// What of a model can be changed; `None` stays as it is.
#[derive(Clone, Debug, Default)]
pub struct ModelChange {
    /// Where it is served from now on; `Some(None)`: where the domain's default is.
    pub deployment: Option<Option<String>>,
    /// What the deployment calls it from now on; `Some(None)`: the same.
    pub upstream_model: Option<Option<String>>,
}

impl App {
    /// Adds a model.
    ///
    /// # Errors
    /// [`AppError::NotFound`] for the domain and the deployment; [`AppError::Forbidden`], [`AppError::Invalid`], [`AppError::Conflict`].
    pub async fn create_model(
        &self,
        principal: &Principal,
        asker: &Asker,
        domain: DomainId,
        new: NewModel,
    ) -> Result<ModelRow, AppError> {
        let mut tx = self.store.begin().await?;
        let rights = rights(tx.connection(), principal, domain).await?;
        rights.demand_on(Operation::LlmCreate, &new.name)?;
        check_model_name("name", &new.name)?;
        check_upstream(new.upstream_model.as_deref())?;
        check_deployment(&mut tx, principal, domain, new.deployment.as_deref()).await?;
        if models::count(tx.connection(), domain).await? >= MODELS_MAX {
            return Err(AppError::Conflict(format!("a domain has at most {MODELS_MAX} models")));
        }
        let now = Moment::now();
        let model = ModelRow {
            domain,
            name: new.name,
            deployment: new.deployment,
            served_by: None,
            upstream_model: new.upstream_model,
            created_at: now,
            updated_at: now,
        };
        models::insert(&mut tx, &model).await?;
        tx.audit(principal.did_in(asker, domain, "model.create", "model", &model.name));
        committed(tx, domain, &model.name).await
    }

    /// Models of the domain that the principal may read.
    ///
    /// # Errors
    /// [`AppError::NotFound`], [`AppError::Forbidden`].
    pub async fn list_models(
        &self,
        principal: &Principal,
        domain: DomainId,
        part: Option<String>,
        page: Page,
    ) -> Result<Listed<ModelRow>, AppError> {
        let mut connection = self.store.read().await?;
        let among = readable(&mut connection, principal, domain).await?;
        Ok(models::list(&mut connection, domain, &ModelFilter { part, among }, page).await?)
    }

    /// The same, model after model: those that come after the name `after`, `limit` at most.
    ///
    /// # Errors
    /// [`AppError::NotFound`], [`AppError::Forbidden`].
    pub async fn list_models_after(
        &self,
        principal: &Principal,
        domain: DomainId,
        part: Option<String>,
        after: Option<&str>,
        limit: i64,
    ) -> Result<Vec<ModelRow>, AppError> {
        let mut connection = self.store.read().await?;
        let among = readable(&mut connection, principal, domain).await?;
        let filter = ModelFilter { part, among };
        Ok(models::list_after(&mut connection, domain, &filter, after, limit).await?)
    }

    /// One model.
    ///
    /// # Errors
    /// [`AppError::NotFound`], [`AppError::Forbidden`].
    pub async fn view_model(
        &self,
        principal: &Principal,
        domain: DomainId,
        name: &str,
    ) -> Result<ModelRow, AppError> {
        let mut connection = self.store.read().await?;
        rights(&mut connection, principal, domain).await?.demand_on(Operation::LlmRead, name)?;
        models::find(&mut connection, domain, name).await?.ok_or(NOT_FOUND)
    }

    /// Changes where a model is served and what it is called there.
    ///
    /// # Errors
    /// [`AppError::NotFound`], also for the deployment; [`AppError::Forbidden`], [`AppError::Invalid`].
    pub async fn change_model(
        &self,
        principal: &Principal,
        asker: &Asker,
        domain: DomainId,
        name: &str,
        change: ModelChange,
    ) -> Result<ModelRow, AppError> {
        let mut tx = self.store.begin().await?;
        rights(tx.connection(), principal, domain).await?.demand_on(Operation::LlmUpdate, name)?;
        let mut model = models::find(tx.connection(), domain, name).await?.ok_or(NOT_FOUND)?;
        if let Some(deployment) = change.deployment {
            check_deployment(&mut tx, principal, domain, deployment.as_deref()).await?;
            model.deployment = deployment;
        }
        if let Some(upstream_model) = change.upstream_model {
            check_upstream(upstream_model.as_deref())?;
            model.upstream_model = upstream_model;
        }
        model.updated_at = Moment::now();
        models::replace(&mut tx, &model).await?;
        tx.audit(principal.did_in(asker, domain, "model.update", "model", name));
        committed(tx, domain, name).await
    }

    /// Deletes a model. Scopes that name it stay and hold for the next model of this name.
    ///
    /// # Errors
    /// [`AppError::NotFound`], [`AppError::Forbidden`].
    pub async fn delete_model(
        &self,
        principal: &Principal,
        asker: &Asker,
        domain: DomainId,
        name: &str,
    ) -> Result<(), AppError> {
        let mut tx = self.store.begin().await?;
        rights(tx.connection(), principal, domain).await?.demand_on(Operation::LlmDelete, name)?;
        if !models::delete(&mut tx, domain, name).await? {
            return Err(NOT_FOUND);
        }
        tx.audit(principal.did_in(asker, domain, "model.delete", "model", name));
        tx.commit().await?;
        Ok(())
    }

    /// Says where the domain's models are served that name no deployment; `None`: nowhere.
    ///
    /// # Errors
    /// [`AppError::NotFound`], also for the deployment; [`AppError::Forbidden`].
    pub async fn set_default_deployment(
        &self,
        principal: &Principal,
        asker: &Asker,
        domain: DomainId,
        deployment: Option<&str>,
    ) -> Result<(), AppError> {
        let mut tx = self.store.begin().await?;
        authorize(tx.connection(), principal, domain, Operation::LlmUpdate).await?;
        check_deployment(&mut tx, principal, domain, deployment).await?;
        models::set_default(&mut tx, domain, deployment, Moment::now()).await?;
        tx.audit(principal.did_in(asker, domain, "domain.default_deployment", "domain", domain));
        tx.commit().await?;
        Ok(())
    }
}

const NOT_FOUND: AppError = AppError::NotFound("model");
/// What a scope says that means every model; therefore no model is called so.
const ANY_MODEL: &str = "*";

/// The models that the principal may read by name; `None`: all of the domain.
async fn readable(
    connection: &mut Connection,
    principal: &Principal,
    domain: DomainId,
) -> Result<Option<Vec<String>>, AppError> {
    let rights = rights(connection, principal, domain).await?;
    if rights.allows_on(Operation::LlmRead, ANY_MODEL) {
        return Ok(None);
    }
    let mut names = principal.scoped_models(domain, Operation::LlmRead);
    names.retain(|name| rights.allows_on(Operation::LlmRead, name));
    if names.is_empty() { Err(rights.refusal()) } else { Ok(Some(names)) }
}

async fn committed(mut tx: WriteTx, domain: DomainId, name: &str) -> Result<ModelRow, AppError> {
    let model = models::find(tx.connection(), domain, name).await?;
    tx.commit().await?;
    model.ok_or(NOT_FOUND)
}

/// Refuses deployments that are not there, or not for this principal to give to this domain.
async fn check_deployment(
    tx: &mut WriteTx,
    principal: &Principal,
    domain: DomainId,
    name: Option<&str>,
) -> Result<(), AppError> {
    let Some(name) = name else { return Ok(()) };
    let found = deployments::find(tx.connection(), name).await?;
    // A key that is for some domains acts as those domains' own people do.
    let limited = matches!(&principal.via, Via::ApiKey { rights, .. } if rights.domains.is_some());
    let given =
        (principal.superadmin && !limited) || models::domain_uses(tx.connection(), domain, name).await?;
    match found {
        Some(found) if given && !found.implicit && principal.allows_deployment(name) => Ok(()),
        Some(_) | None => Err(AppError::NotFound("deployment")),
    }
}

fn check_upstream(name: Option<&str>) -> Result<(), AppError> {
    name.map_or(Ok(()), |name| check_model_name("upstream_model", name))
}

fn check_model_name(field: &'static str, name: &str) -> Result<(), AppError> {
    if name.is_empty() || name.len() > MODEL_NAME_LEN_MAX || name.chars().any(char::is_control) {
        let why = format!("1 to {MODEL_NAME_LEN_MAX} bytes without control characters");
        return Err(AppError::invalid(field, why));
    }
    // The last two could not be written in a path.
    if matches!(name, ANY_MODEL | "." | "..") {
        return Err(AppError::invalid(field, "this name means something else"));
    }
    Ok(())
}
