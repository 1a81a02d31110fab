//! `/api/scim/v2/Users`.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Body, By, Conditions, Id, Query};
use super::{AttributesQuery, ListQuery, Resource, ScimErrors, ScimResult, SearchRequest, list, one};
use crate::app::App;
use crate::app::scim::names_version;
use crate::scim::schema::USERS;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(create, search))
        .routes(routes!(view, replace, change, delete))
        .routes(routes!(search_by_body))
}

/// A user as a provider writes it; `/Schemas` says what else it may have.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[allow(dead_code, reason = "describes a body; read as JSON")]
struct NewUser {
    /// `urn:ietf:params:scim:schemas:core:2.0:User`
    schemas: Option<Vec<String>>,
    #[schema(min_length = 1, max_length = 254)]
    user_name: String,
    external_id: Option<String>,
    display_name: Option<String>,
    active: Option<bool>,
}

/// A PATCH of a user (RFC 7644 §3.5.2).
#[derive(Deserialize, ToSchema)]
#[allow(dead_code, reason = "describes a body; read as JSON")]
struct UserPatch {
    /// `urn:ietf:params:scim:api:messages:2.0:PatchOp`
    schemas: Vec<String>,
    #[serde(rename = "Operations")]
    operations: Vec<UserOperation>,
}

/// One change; all of a PATCH happen, or none.
#[derive(Deserialize, ToSchema)]
#[allow(dead_code, reason = "describes a body; read as JSON")]
struct UserOperation {
    /// `add`, `replace` or `remove`, in any case.
    op: String,
    /// What to change; without it `value` is an object.
    path: Option<String>,
    #[schema(value_type = Object)]
    value: Option<Value>,
}

/// Add a user
#[utoipa::path(post, path = "/api/scim/v2/Users", tag = "scim", operation_id = "scim_create_user",
    params(AttributesQuery),
    request_body(content((NewUser = "application/scim+json"), (NewUser = "application/json"))),
    responses((status = 201, body = Resource, content_type = "application/scim+json"), ScimErrors))]
async fn create(
    State(app): State<App>,
    By(provisioner): By,
    Query(query): Query<AttributesQuery>,
    Body(body): Body<Value>,
) -> ScimResult {
    let wanted = query.read(&USERS)?;
    let (created, version) = app.scim_create_user(&provisioner, &body, &wanted).await?;
    Ok(one(StatusCode::CREATED, created, &version))
}

/// Users that fit a filter, with paging and sorting
#[utoipa::path(get, path = "/api/scim/v2/Users", tag = "scim", operation_id = "scim_list_users",
    params(ListQuery),
    responses((status = 200, body = Resource, content_type = "application/scim+json"), ScimErrors))]
async fn search(State(app): State<App>, By(provisioner): By, Query(query): Query<ListQuery>) -> ScimResult {
    let (wish, wanted) = query.read(&USERS)?;
    Ok(list(app.scim_list_users(&provisioner, &wish, &wanted).await?))
}

/// The same, with the filter in the body
#[utoipa::path(post, path = "/api/scim/v2/Users/.search", tag = "scim", operation_id = "scim_search_users",
    request_body(content((SearchRequest = "application/scim+json"), (SearchRequest = "application/json"))),
    responses((status = 200, body = Resource, content_type = "application/scim+json"), ScimErrors))]
async fn search_by_body(
    State(app): State<App>,
    By(provisioner): By,
    Body(request): Body<SearchRequest>,
) -> ScimResult {
    let (wish, wanted) = ListQuery::from(request).read(&USERS)?;
    Ok(list(app.scim_list_users(&provisioner, &wish, &wanted).await?))
}

/// One user
#[utoipa::path(get, path = "/api/scim/v2/Users/{id}", tag = "scim", operation_id = "scim_view_user",
    params(("id" = String, Path), AttributesQuery),
    responses((status = 200, body = Resource, content_type = "application/scim+json"),
        (status = 304, description = "As `If-None-Match` says."), ScimErrors))]
async fn view(
    State(app): State<App>,
    By(provisioner): By,
    Id(id): Id,
    conditions: Conditions,
    Query(query): Query<AttributesQuery>,
) -> ScimResult {
    let wanted = query.read(&USERS)?;
    let (found, version) = app.scim_view_user(&provisioner, &id, &wanted).await?;
    if conditions.if_none_match.is_some_and(|etags| names_version(&etags, &version)) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, version)]).into_response());
    }
    Ok(one(StatusCode::OK, found, &version))
}

/// Replace a user
#[utoipa::path(put, path = "/api/scim/v2/Users/{id}", tag = "scim", operation_id = "scim_replace_user",
    params(("id" = String, Path), AttributesQuery),
    request_body(content((NewUser = "application/scim+json"), (NewUser = "application/json"))),
    responses((status = 200, body = Resource, content_type = "application/scim+json"), ScimErrors))]
async fn replace(
    State(app): State<App>,
    By(provisioner): By,
    Id(id): Id,
    conditions: Conditions,
    Query(query): Query<AttributesQuery>,
    Body(body): Body<Value>,
) -> ScimResult {
    let wanted = query.read(&USERS)?;
    let if_match = conditions.if_match.as_deref();
    let (after, version) = app.scim_replace_user(&provisioner, &id, if_match, &body, &wanted).await?;
    Ok(one(StatusCode::OK, after, &version))
}

/// Change a user: all of it or nothing
#[utoipa::path(patch, path = "/api/scim/v2/Users/{id}", tag = "scim", operation_id = "scim_change_user",
    params(("id" = String, Path), AttributesQuery),
    request_body(content((UserPatch = "application/scim+json"), (UserPatch = "application/json"))),
    responses((status = 200, body = Resource, content_type = "application/scim+json"), ScimErrors))]
async fn change(
    State(app): State<App>,
    By(provisioner): By,
    Id(id): Id,
    conditions: Conditions,
    Query(query): Query<AttributesQuery>,
    Body(body): Body<Value>,
) -> ScimResult {
    let wanted = query.read(&USERS)?;
    let if_match = conditions.if_match.as_deref();
    let (after, version) = app.scim_patch_user(&provisioner, &id, if_match, &body, &wanted).await?;
    Ok(one(StatusCode::OK, after, &version))
}

/// Delete a user with all PATs and roles
#[utoipa::path(delete, path = "/api/scim/v2/Users/{id}", tag = "scim", operation_id = "scim_delete_user",
    params(("id" = String, Path)), responses((status = 204), ScimErrors))]
async fn delete(
    State(app): State<App>,
    By(provisioner): By,
    Id(id): Id,
    conditions: Conditions,
) -> ScimResult<Response> {
    app.scim_delete_user(&provisioner, &id, conditions.if_match.as_deref()).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
