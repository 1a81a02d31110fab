//! `/api/scim/v2/Users`.

use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Body, Query};
use super::resources::{OneResource, Resources};
use super::{AttributesQuery, ListQuery, Resource, ScimErrors, ScimResult, SearchRequest};
use crate::app::App;
use crate::app::scim::resources::Edit;
use crate::store::scim::users::ScimUserRow as User;

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
    resources: Resources,
    Query(query): Query<AttributesQuery>,
    Body(body): Body<Value>,
) -> ScimResult {
    resources.create::<User>(&query, &body).await
}

/// Users that fit a filter, with paging and sorting
#[utoipa::path(get, path = "/api/scim/v2/Users", tag = "scim", operation_id = "scim_list_users",
    params(ListQuery),
    responses((status = 200, body = Resource, content_type = "application/scim+json"), ScimErrors))]
async fn search(resources: Resources, Query(query): Query<ListQuery>) -> ScimResult {
    resources.list::<User>(&query).await
}

/// The same, with the filter in the body
#[utoipa::path(post, path = "/api/scim/v2/Users/.search", tag = "scim", operation_id = "scim_search_users",
    request_body(content((SearchRequest = "application/scim+json"), (SearchRequest = "application/json"))),
    responses((status = 200, body = Resource, content_type = "application/scim+json"), ScimErrors))]
async fn search_by_body(resources: Resources, Body(search): Body<SearchRequest>) -> ScimResult {
    resources.list::<User>(&search.into()).await
}

/// One user
#[utoipa::path(get, path = "/api/scim/v2/Users/{id}", tag = "scim", operation_id = "scim_view_user",
    params(("id" = String, Path), AttributesQuery),
    responses((status = 200, body = Resource, content_type = "application/scim+json"),
        (status = 304, description = "As `If-None-Match` says."), ScimErrors))]
async fn view(resource: OneResource, Query(query): Query<AttributesQuery>) -> ScimResult {
    resource.view::<User>(&query).await
}

/// Replace a user
#[utoipa::path(put, path = "/api/scim/v2/Users/{id}", tag = "scim", operation_id = "scim_replace_user",
    params(("id" = String, Path), AttributesQuery),
    request_body(content((NewUser = "application/scim+json"), (NewUser = "application/json"))),
    responses((status = 200, body = Resource, content_type = "application/scim+json"), ScimErrors))]
async fn replace(
    resource: OneResource,
    Query(query): Query<AttributesQuery>,
    Body(body): Body<Value>,
) -> ScimResult {
    resource.change::<User>(&query, Edit::Replace(&body)).await
}

/// Change a user: all of it or nothing
#[utoipa::path(patch, path = "/api/scim/v2/Users/{id}", tag = "scim", operation_id = "scim_change_user",
    params(("id" = String, Path), AttributesQuery),
    request_body(content((UserPatch = "application/scim+json"), (UserPatch = "application/json"))),
    responses((status = 200, body = Resource, content_type = "application/scim+json"), ScimErrors))]
async fn change(
    resource: OneResource,
    Query(query): Query<AttributesQuery>,
    Body(body): Body<Value>,
) -> ScimResult {
    resource.change::<User>(&query, Edit::Patch(&body)).await
}

/// Delete a user with all PATs and roles
#[utoipa::path(delete, path = "/api/scim/v2/Users/{id}", tag = "scim", operation_id = "scim_delete_user",
    params(("id" = String, Path)), responses((status = 204), ScimErrors))]
async fn delete(resource: OneResource) -> ScimResult {
    resource.delete::<User>().await
}
