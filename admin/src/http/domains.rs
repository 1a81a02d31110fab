//! `/domains`: domains.

use axum::Json as Body;
use axum::extract::State;
use axum::http::StatusCode;
use cube_wire::DomainId;
use cube_wire::record::DomainStatus;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::extract::{Caller, Json, Paging, Path, Query};
use super::{ApiResult, Errors};
use crate::app::App;
use crate::app::domains::{NewDomain, Standing};
use crate::clock::Moment;
use crate::store::domains::{DomainChange, DomainFilter, DomainRow, status_text};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(create, list))
        .routes(routes!(view, change, delete))
        .routes(routes!(enable))
        .routes(routes!(disable))
        .routes(routes!(freeze))
}

/// A domain.
#[derive(Serialize, ToSchema)]
struct Domain {
    id: Uuid,
    name: String,
    /// Its other name in paths.
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<String>,
    tags: Vec<String>,
    #[schema(value_type = Object)]
    metadata: serde_json::Value,
    /// `enabled`, `disabled` or `freezed`.
    #[schema(example = "enabled")]
    status: &'static str,
    /// Where models are served that name no deployment.
    #[serde(skip_serializing_if = "Option::is_none")]
    default_deployment: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_by: Option<Uuid>,
    created_at: Moment,
    #[serde(skip_serializing_if = "Option::is_none")]
    updated_by: Option<Uuid>,
    updated_at: Moment,
    /// The caller's roles, if asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    roles: Option<Vec<OwnRole>>,
    /// What the caller may do here with this credential, if asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    actions: Option<Vec<&'static str>>,
}

/// A role that the caller has.
#[derive(Serialize, ToSchema)]
struct OwnRole {
    role_id: String,
    role_name: String,
    actions: Vec<String>,
}

impl From<DomainRow> for Domain {
    fn from(row: DomainRow) -> Self {
        Self {
            id: row.id.0,
            name: row.name,
            route: row.alias,
            tags: row.tags,
            metadata: row.metadata,
            status: status_text(row.status),
            default_deployment: row.default_deployment,
            created_by: row.created_by.map(|id| id.0),
            created_at: row.created_at,
            updated_by: row.updated_by.map(|id| id.0),
            updated_at: row.updated_at,
            roles: None,
            actions: None,
        }
    }
}

impl Domain {
    fn with(self, standing: Standing) -> Self {
        let own = |(role, actions): (crate::store::roles::RoleRow, _)| OwnRole {
            role_id: role.id,
            role_name: role.name,
            actions,
        };
        Self {
            roles: Some(standing.roles.into_iter().map(own).collect()),
            actions: Some(standing.allowed.iter().map(|operation| operation.name()).collect()),
            ..self
        }
    }
}

#[derive(Deserialize, ToSchema)]
struct CreateDomain {
    #[schema(min_length = 1, max_length = 254)]
    name: String,
    /// Its other name in paths; unique.
    #[schema(pattern = "^[a-zA-Z][a-zA-Z0-9_-]{0,35}$")]
    route: Option<String>,
    #[serde(default)]
    tags: Vec<String>,
    #[schema(value_type = Option<Object>)]
    metadata: Option<serde_json::Value>,
    /// Only superadmins choose one.
    id: Option<Uuid>,
}

/// Make a domain; the caller gets its built-in role `admin`
#[utoipa::path(post, path = "/domains", tag = "domains", operation_id = "create_domain", request_body = CreateDomain,
    responses((status = 201, body = Domain), Errors))]
async fn create(
    State(app): State<App>,
    caller: Caller,
    Json(domain): Json<CreateDomain>,
) -> ApiResult<(StatusCode, Body<Domain>)> {
    let new = NewDomain {
        id: domain.id.map(DomainId),
        name: domain.name,
        alias: domain.route,
        tags: domain.tags,
        metadata: domain.metadata,
    };
    let row = app.create_domain(&caller.principal, &caller.asker, new).await?;
    Ok((StatusCode::CREATED, Body(row.into())))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Filter {
    /// Part of the name.
    name: Option<String>,
    /// A label.
    tag: Option<String>,
    /// An identifier.
    id: Option<Uuid>,
    /// `enabled` (the default), `disabled`, `freezed`, `deleted` (there are none) or `all`.
    #[param(inline)]
    status: Option<StatusFilter>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum StatusFilter {
    Enabled,
    Disabled,
    Freezed,
    Deleted,
    All,
}

/// Part of the list of domains.
#[derive(Serialize, ToSchema)]
struct DomainPage {
    total: i64,
    offset: i64,
    limit: i64,
    domains: Vec<Domain>,
}

/// Domains in which the caller may do something
#[utoipa::path(get, path = "/domains", tag = "domains", operation_id = "list_domains", params(Filter, Paging),
    responses((status = 200, body = DomainPage), Errors))]
async fn list(
    State(app): State<App>,
    caller: Caller,
    Query(filter): Query<Filter>,
    Query(paging): Query<Paging>,
) -> ApiResult<Body<DomainPage>> {
    let page = paging.page()?;
    let status = match filter.status.unwrap_or(StatusFilter::Enabled) {
        StatusFilter::Enabled => Some(DomainStatus::Enabled),
        StatusFilter::Disabled => Some(DomainStatus::Disabled),
        StatusFilter::Freezed => Some(DomainStatus::Freezed),
        StatusFilter::All => None,
        // What is deleted is gone.
        StatusFilter::Deleted => {
            let (offset, limit) = (page.offset, page.limit);
            return Ok(Body(DomainPage { total: 0, offset, limit, domains: Vec::new() }));
        }
    };
    let filter = DomainFilter {
        name: filter.name,
        tag: filter.tag,
        id: filter.id.map(DomainId),
        status,
        ..DomainFilter::default()
    };
    let listed = app.list_domains(&caller.principal, filter, page).await?;
    let domains = listed.rows.into_iter().map(Domain::from).collect();
    Ok(Body(DomainPage { total: listed.total, offset: page.offset, limit: page.limit, domains }))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct WithRoles {
    /// Whether to show the caller's roles and actions; `?roles` alone does.
    roles: Option<String>,
}

/// One domain
#[utoipa::path(get, path = "/domains/{id}", tag = "domains", operation_id = "view_domain",
    params(("id" = Uuid, Path), WithRoles), responses((status = 200, body = Domain), Errors))]
async fn view(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<Uuid>,
    Query(with): Query<WithRoles>,
) -> ApiResult<Body<Domain>> {
    let id = DomainId(id);
    let domain = Domain::from(app.view_domain(&caller.principal, id).await?);
    Ok(Body(match with.roles.as_deref() {
        None | Some("false") => domain,
        Some(_) => domain.with(app.standing(&caller.principal, id).await?),
    }))
}

#[derive(Deserialize, ToSchema)]
struct ChangeDomain {
    #[schema(min_length = 1, max_length = 254)]
    name: Option<String>,
    #[schema(pattern = "^[a-zA-Z][a-zA-Z0-9_-]{0,35}$")]
    route: Option<String>,
    tags: Option<Vec<String>>,
    #[schema(value_type = Option<Object>)]
    metadata: Option<serde_json::Value>,
}

/// Change names, labels or metadata
#[utoipa::path(patch, path = "/domains/{id}", tag = "domains", operation_id = "change_domain",
    params(("id" = Uuid, Path)), request_body = ChangeDomain, responses((status = 200, body = Domain), Errors))]
async fn change(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<Uuid>,
    Json(change): Json<ChangeDomain>,
) -> ApiResult<Body<Domain>> {
    let change = DomainChange {
        name: change.name,
        alias: change.route,
        tags: change.tags,
        metadata: change.metadata,
        status: None,
    };
    Ok(Body(app.change_domain(&caller.principal, &caller.asker, DomainId(id), change).await?.into()))
}

/// Let the domain's members in
#[utoipa::path(post, path = "/domains/{id}/enable", tag = "domains", operation_id = "enable_domain",
    params(("id" = Uuid, Path)), responses((status = 200), Errors))]
async fn enable(State(app): State<App>, caller: Caller, Path(id): Path<Uuid>) -> ApiResult<()> {
    Ok(app.set_domain_status(&caller.principal, &caller.asker, DomainId(id), DomainStatus::Enabled).await?)
}

/// Let only the domain's administrators in
#[utoipa::path(post, path = "/domains/{id}/disable", tag = "domains", operation_id = "disable_domain",
    params(("id" = Uuid, Path)), responses((status = 200), Errors))]
async fn disable(State(app): State<App>, caller: Caller, Path(id): Path<Uuid>) -> ApiResult<()> {
    Ok(app.set_domain_status(&caller.principal, &caller.asker, DomainId(id), DomainStatus::Disabled).await?)
}

/// Let only superadmins in (superadmins)
#[utoipa::path(post, path = "/domains/{id}/freeze", tag = "domains", operation_id = "freeze_domain",
    params(("id" = Uuid, Path)), responses((status = 200), Errors))]
async fn freeze(State(app): State<App>, caller: Caller, Path(id): Path<Uuid>) -> ApiResult<()> {
    Ok(app.set_domain_status(&caller.principal, &caller.asker, DomainId(id), DomainStatus::Freezed).await?)
}

/// Delete a domain with everything in it
#[utoipa::path(delete, path = "/domains/{id}", tag = "domains", operation_id = "delete_domain",
    params(("id" = Uuid, Path)), responses((status = 204), Errors))]
async fn delete(State(app): State<App>, caller: Caller, Path(id): Path<Uuid>) -> ApiResult<StatusCode> {
    app.delete_domain(&caller.principal, &caller.asker, DomainId(id)).await?;
    Ok(StatusCode::NO_CONTENT)
}
