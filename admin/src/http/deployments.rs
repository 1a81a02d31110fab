//! `/api/v1/deployments`: where models are served.

use axum::Json as Body;
use axum::extract::State;
use axum::http::StatusCode;
use cube_wire::record::Dialect;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Caller, Json, Path, Query, present};
use super::paging::{EitherPaging, Place, Way};
use super::{ApiResult, Errors};
use crate::app::App;
use crate::app::deployments::{CredentialChange, DeploymentChange, EndpointChange};
use crate::clock::Moment;
use crate::store::deployments::{DeploymentRow, EndpointRow, dialect_text};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(create, list)).routes(routes!(view, change, delete))
}

/// Endpoints that serve the same models.
#[derive(Serialize, ToSchema)]
struct Deployment {
    name: String,
    description: String,
    /// `openai` or `ollama`.
    #[schema(example = "openai")]
    dialect: &'static str,
    endpoints: Vec<Endpoint>,
    connect_timeout_ms: i64,
    head_timeout_ms: i64,
    idle_timeout_ms: i64,
    total_timeout_ms: i64,
    created_at: Moment,
    updated_at: Moment,
}

/// One address of a deployment.
#[derive(Serialize, ToSchema)]
struct Endpoint {
    #[schema(example = "http://gpu-1:8000/v1")]
    url: String,
    weight: u32,
    /// Whether it has a credential, which is never shown.
    credential_set: bool,
    /// The credential's header field.
    #[serde(skip_serializing_if = "Option::is_none")]
    credential_header: Option<String>,
}

impl From<DeploymentRow> for Deployment {
    fn from(row: DeploymentRow) -> Self {
        let endpoint = |endpoint: EndpointRow| Endpoint {
            url: endpoint.url,
            weight: endpoint.weight,
            credential_set: endpoint.credential.is_some(),
            credential_header: endpoint.credential.map(|credential| credential.header),
        };
        Self {
            name: row.name,
            description: row.description,
            dialect: dialect_text(row.dialect),
            endpoints: row.endpoints.into_iter().map(endpoint).collect(),
            connect_timeout_ms: row.timeouts.connect_ms,
            head_timeout_ms: row.timeouts.head_ms,
            idle_timeout_ms: row.timeouts.idle_ms,
            total_timeout_ms: row.timeouts.total_ms,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum DialectName {
    Openai,
    Ollama,
}

/// What is to be of a deployment; what is absent stays as it is.
#[derive(Deserialize, ToSchema)]
struct DeploymentFields {
    #[schema(max_length = 254)]
    description: Option<String>,
    /// `openai` (the default) or `ollama`.
    dialect: Option<DialectName>,
    /// All of them. An endpoint whose URL stays keeps its credential unless another one, or `null`, is given.
    #[schema(min_items = 1, max_items = 256)]
    endpoints: Option<Vec<EndpointFields>>,
    #[schema(minimum = 1, maximum = 604_800_000)]
    connect_timeout_ms: Option<u64>,
    #[schema(minimum = 1, maximum = 604_800_000)]
    head_timeout_ms: Option<u64>,
    #[schema(minimum = 1, maximum = 604_800_000)]
    idle_timeout_ms: Option<u64>,
    /// 0: any time.
    #[schema(minimum = 0, maximum = 604_800_000)]
    total_timeout_ms: Option<u64>,
}

#[derive(Deserialize, ToSchema)]
struct EndpointFields {
    /// `http://host[:port][/base]`.
    #[schema(max_length = 1024)]
    url: String,
    #[schema(minimum = 1, maximum = 1000)]
    weight: Option<u32>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<CredentialFields>)]
    credential: Option<Option<CredentialFields>>,
}

/// A header field that authenticates the proxy to the endpoint.
#[derive(Deserialize, ToSchema)]
struct CredentialFields {
    /// The field's name; `authorization` if absent.
    header: Option<String>,
    /// The field's whole value: `Bearer …` where the endpoint wants that.
    #[schema(format = Password)]
    value: String,
}

impl From<DeploymentFields> for DeploymentChange {
    fn from(fields: DeploymentFields) -> Self {
        let endpoint = |endpoint: EndpointFields| EndpointChange {
            url: endpoint.url,
            weight: endpoint.weight,
            credential: match endpoint.credential {
                None => CredentialChange::Keep,
                Some(None) => CredentialChange::Remove,
                Some(Some(credential)) => CredentialChange::Set {
                    header: credential.header.unwrap_or_else(|| "authorization".to_owned()),
                    value: credential.value,
                },
            },
        };
        Self {
            description: fields.description,
            dialect: fields.dialect.map(|dialect| match dialect {
                DialectName::Openai => Dialect::Openai,
                DialectName::Ollama => Dialect::Ollama,
            }),
            endpoints: fields.endpoints.map(|endpoints| endpoints.into_iter().map(endpoint).collect()),
            connect_timeout_ms: fields.connect_timeout_ms,
            head_timeout_ms: fields.head_timeout_ms,
            idle_timeout_ms: fields.idle_timeout_ms,
            total_timeout_ms: fields.total_timeout_ms,
        }
    }
}

#[derive(Deserialize, ToSchema)]
struct CreateDeployment {
    #[schema(min_length = 1, max_length = 128)]
    name: String,
    #[serde(flatten)]
    fields: DeploymentFields,
}

/// Add a deployment (superadmins)
#[utoipa::path(post, path = "/api/v1/deployments", tag = "deployments", operation_id = "create_deployment",
    request_body = CreateDeployment, responses((status = 201, body = Deployment), Errors))]
async fn create(
    State(app): State<App>,
    caller: Caller,
    Json(new): Json<CreateDeployment>,
) -> ApiResult<(StatusCode, Body<Deployment>)> {
    let Caller { principal, asker } = &caller;
    let row = app.create_deployment(principal, asker, &new.name, new.fields.into()).await?;
    Ok((StatusCode::CREATED, Body(row.into())))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Filter {
    /// Part of the name.
    name: Option<String>,
}

/// Part of the list of deployments.
#[derive(Serialize, ToSchema)]
struct DeploymentPage {
    #[serde(flatten)]
    place: Place,
    deployments: Vec<Deployment>,
}

/// Deployments by name (superadmins)
#[utoipa::path(get, path = "/api/v1/deployments", tag = "deployments", operation_id = "list_deployments",
    params(Filter, EitherPaging), responses((status = 200, body = DeploymentPage), Errors))]
async fn list(
    State(app): State<App>,
    caller: Caller,
    Query(filter): Query<Filter>,
    Query(paging): Query<EitherPaging>,
) -> ApiResult<Body<DeploymentPage>> {
    let part = filter.name.as_deref();
    let (rows, place) = match paging.way()? {
        Way::Offset(page) => {
            Place::by_offset(page, app.list_deployments(&caller.principal, part, page).await?)
        }
        Way::Cursor(paging) => {
            let (after, rows) = (paging.after(Some)?, paging.rows()?);
            let rows = app.list_deployments_after(&caller.principal, part, after, rows).await?;
            paging.place(rows, |deployment| deployment.name.clone())
        }
    };
    Ok(Body(DeploymentPage { place, deployments: rows.into_iter().map(Deployment::from).collect() }))
}

/// One deployment (superadmins)
#[utoipa::path(get, path = "/api/v1/deployments/{name}", tag = "deployments", operation_id = "view_deployment",
    params(("name" = String, Path)), responses((status = 200, body = Deployment), Errors))]
async fn view(
    State(app): State<App>,
    caller: Caller,
    Path(name): Path<String>,
) -> ApiResult<Body<Deployment>> {
    Ok(Body(app.view_deployment(&caller.principal, &name).await?.into()))
}

/// Change a deployment (superadmins)
#[utoipa::path(patch, path = "/api/v1/deployments/{name}", tag = "deployments",
    operation_id = "change_deployment", params(("name" = String, Path)), request_body = DeploymentFields,
    responses((status = 200, body = Deployment), Errors))]
async fn change(
    State(app): State<App>,
    caller: Caller,
    Path(name): Path<String>,
    Json(fields): Json<DeploymentFields>,
) -> ApiResult<Body<Deployment>> {
    let Caller { principal, asker } = &caller;
    Ok(Body(app.change_deployment(principal, asker, &name, fields.into()).await?.into()))
}

/// Delete a deployment that nothing names (superadmins)
#[utoipa::path(delete, path = "/api/v1/deployments/{name}", tag = "deployments",
    operation_id = "delete_deployment", params(("name" = String, Path)), responses((status = 204), Errors))]
async fn delete(State(app): State<App>, caller: Caller, Path(name): Path<String>) -> ApiResult<StatusCode> {
    app.delete_deployment(&caller.principal, &caller.asker, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}
