//! `/api/v1/domains/{id}/models`: what a domain offers. Names of models are one segment of the path, percent-encoded (`a%2Fb`).

use axum::Json as Body;
use axum::extract::State;
use axum::http::StatusCode;
use cube_wire::DomainId;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::extract::{Caller, Json, Path, Query, present};
use super::paging::{EitherPaging, Place, Way};
use super::{ApiResult, Errors};
use crate::app::App;
use crate::app::models::{ModelChange, NewModel};
use crate::clock::Moment;
use crate::store::models::ModelRow;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(create, list))
        .routes(routes!(view, change, delete))
        .routes(routes!(set_default, clear_default))
}

/// A model that a domain offers.
#[derive(Serialize, ToSchema)]
struct Model {
    domain_id: Uuid,
    #[schema(example = "meta-llama/Llama-3.1-8B")]
    name: String,
    /// Where it is served; absent: where the domain's default is.
    #[serde(skip_serializing_if = "Option::is_none")]
    deployment: Option<String>,
    /// Where it is served in the end; absent: nowhere, so that callers do not see it.
    #[serde(skip_serializing_if = "Option::is_none")]
    served_by: Option<String>,
    /// What the deployment calls it, if that is another name.
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream_model: Option<String>,
    created_at: Moment,
    updated_at: Moment,
}

impl From<ModelRow> for Model {
    fn from(row: ModelRow) -> Self {
        Self {
            domain_id: row.domain.0,
            name: row.name,
            deployment: row.deployment,
            served_by: row.served_by,
            upstream_model: row.upstream_model,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

#[derive(Deserialize, ToSchema)]
struct CreateModel {
    #[schema(min_length = 1, max_length = 256)]
    name: String,
    /// Absent: the domain's default.
    deployment: Option<String>,
    /// Absent: the same as `name`.
    #[schema(min_length = 1, max_length = 256)]
    upstream_model: Option<String>,
}

/// Add a model
#[utoipa::path(post, path = "/api/v1/domains/{id}/models", tag = "models", operation_id = "create_model",
    params(("id" = Uuid, Path)), request_body = CreateModel, responses((status = 201, body = Model), Errors))]
async fn create(
    State(app): State<App>,
    caller: Caller,
    Path(domain): Path<Uuid>,
    Json(model): Json<CreateModel>,
) -> ApiResult<(StatusCode, Body<Model>)> {
    let new =
        NewModel { name: model.name, deployment: model.deployment, upstream_model: model.upstream_model };
    let row = app.create_model(&caller.principal, &caller.asker, DomainId(domain), new).await?;
    Ok((StatusCode::CREATED, Body(row.into())))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Filter {
    /// Part of the name.
    name: Option<String>,
}

/// Part of the list of models.
#[derive(Serialize, ToSchema)]
struct ModelPage {
    #[serde(flatten)]
    place: Place,
    models: Vec<Model>,
}

/// Models of a domain by name
#[utoipa::path(get, path = "/api/v1/domains/{id}/models", tag = "models", operation_id = "list_models",
    params(("id" = Uuid, Path), Filter, EitherPaging), responses((status = 200, body = ModelPage), Errors))]
async fn list(
    State(app): State<App>,
    caller: Caller,
    Path(domain): Path<Uuid>,
    Query(filter): Query<Filter>,
    Query(paging): Query<EitherPaging>,
) -> ApiResult<Body<ModelPage>> {
    let (domain, part) = (DomainId(domain), filter.name);
    let (rows, place) = match paging.way()? {
        Way::Offset(page) => {
            Place::by_offset(page, app.list_models(&caller.principal, domain, part, page).await?)
        }
        Way::Cursor(paging) => {
            let (after, rows) = (paging.after(Some)?, paging.rows()?);
            let rows = app.list_models_after(&caller.principal, domain, part, after, rows).await?;
            paging.place(rows, |model| model.name.clone())
        }
    };
    Ok(Body(ModelPage { place, models: rows.into_iter().map(Model::from).collect() }))
}

/// One model
#[utoipa::path(get, path = "/api/v1/domains/{id}/models/{name}", tag = "models", operation_id = "view_model",
    params(("id" = Uuid, Path), ("name" = String, Path)), responses((status = 200, body = Model), Errors))]
async fn view(
    State(app): State<App>,
    caller: Caller,
    Path((domain, name)): Path<(Uuid, String)>,
) -> ApiResult<Body<Model>> {
    Ok(Body(app.view_model(&caller.principal, DomainId(domain), &name).await?.into()))
}

/// What is to be of a model; what is absent stays as it is.
#[derive(Deserialize, ToSchema)]
struct ChangeModel {
    /// `null`: the domain's default.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    deployment: Option<Option<String>>,
    /// `null`: the same as its name.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 256)]
    upstream_model: Option<Option<String>>,
}

/// Change where a model is served
#[utoipa::path(patch, path = "/api/v1/domains/{id}/models/{name}", tag = "models", operation_id = "change_model",
    params(("id" = Uuid, Path), ("name" = String, Path)), request_body = ChangeModel,
    responses((status = 200, body = Model), Errors))]
async fn change(
    State(app): State<App>,
    caller: Caller,
    Path((domain, name)): Path<(Uuid, String)>,
    Json(change): Json<ChangeModel>,
) -> ApiResult<Body<Model>> {
    let change = ModelChange { deployment: change.deployment, upstream_model: change.upstream_model };
    let Caller { principal, asker } = &caller;
    Ok(Body(app.change_model(principal, asker, DomainId(domain), &name, change).await?.into()))
}

/// Delete a model
#[utoipa::path(delete, path = "/api/v1/domains/{id}/models/{name}", tag = "models",
    operation_id = "delete_model", params(("id" = Uuid, Path), ("name" = String, Path)),
    responses((status = 204), Errors))]
async fn delete(
    State(app): State<App>,
    caller: Caller,
    Path((domain, name)): Path<(Uuid, String)>,
) -> ApiResult<StatusCode> {
    app.delete_model(&caller.principal, &caller.asker, DomainId(domain), &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A deployment by its name.
#[derive(Serialize, Deserialize, ToSchema)]
struct DefaultDeployment {
    deployment: String,
}

/// Say where the domain's models are served that name no deployment
#[utoipa::path(put, path = "/api/v1/domains/{id}/default-deployment", tag = "models",
    operation_id = "set_default_deployment", params(("id" = Uuid, Path)), request_body = DefaultDeployment,
    responses((status = 200, body = DefaultDeployment), Errors))]
async fn set_default(
    State(app): State<App>,
    caller: Caller,
    Path(domain): Path<Uuid>,
    Json(body): Json<DefaultDeployment>,
) -> ApiResult<Body<DefaultDeployment>> {
    let Caller { principal, asker } = &caller;
    app.set_default_deployment(principal, asker, DomainId(domain), Some(&body.deployment)).await?;
    Ok(Body(body))
}

/// Serve only those of the domain's models that name a deployment
#[utoipa::path(delete, path = "/api/v1/domains/{id}/default-deployment", tag = "models",
    operation_id = "clear_default_deployment", params(("id" = Uuid, Path)), responses((status = 204), Errors))]
async fn clear_default(
    State(app): State<App>,
    caller: Caller,
    Path(domain): Path<Uuid>,
) -> ApiResult<StatusCode> {
    app.set_default_deployment(&caller.principal, &caller.asker, DomainId(domain), None).await?;
    Ok(StatusCode::NO_CONTENT)
}
