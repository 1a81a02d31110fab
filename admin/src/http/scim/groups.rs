//! `/api/scim/v2/Groups`.

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
use crate::store::scim::groups::GroupRow as Group;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(create, search))
        .routes(routes!(view, replace, change, delete))
        .routes(routes!(search_by_body))
}

/// A group as a provider writes it.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[allow(dead_code, reason = "describes a body; read as JSON")]
struct NewGroup {
    /// `urn:ietf:params:scim:schemas:core:2.0:Group`
    schemas: Option<Vec<String>>,
    #[schema(min_length = 1, max_length = 254)]
    display_name: String,
    external_id: Option<String>,
    members: Option<Vec<Member>>,
}

/// A user in a group.
#[derive(Deserialize, ToSchema)]
#[allow(dead_code, reason = "describes a body; read as JSON")]
struct Member {
    /// The user's `id`.
    value: String,
}

/// A PATCH of a group (RFC 7644 §3.5.2).
#[derive(Deserialize, ToSchema)]
#[allow(dead_code, reason = "describes a body; read as JSON")]
struct GroupPatch {
    /// `urn:ietf:params:scim:api:messages:2.0:PatchOp`
    schemas: Vec<String>,
    #[serde(rename = "Operations")]
    operations: Vec<GroupOperation>,
}

/// One change; all of a PATCH happen, or none.
#[derive(Deserialize, ToSchema)]
#[allow(dead_code, reason = "describes a body; read as JSON")]
struct GroupOperation {
    /// `add`, `replace` or `remove`, in any case.
    op: String,
    /// What to change; without it `value` is an object.
    path: Option<String>,
    #[schema(value_type = Object)]
    value: Option<Value>,
}

/// Add a group
#[utoipa::path(post, path = "/api/scim/v2/Groups", tag = "scim", operation_id = "scim_create_group",
    params(AttributesQuery),
    request_body(content((NewGroup = "application/scim+json"), (NewGroup = "application/json"))),
    responses((status = 201, body = Resource, content_type = "application/scim+json"), ScimErrors))]
async fn create(
    resources: Resources,
    Query(query): Query<AttributesQuery>,
    Body(body): Body<Value>,
) -> ScimResult {
    resources.create::<Group>(&query, &body).await
}

/// Groups that fit a filter, with paging and sorting
#[utoipa::path(get, path = "/api/scim/v2/Groups", tag = "scim", operation_id = "scim_list_groups",
    params(ListQuery),
    responses((status = 200, body = Resource, content_type = "application/scim+json"), ScimErrors))]
async fn search(resources: Resources, Query(query): Query<ListQuery>) -> ScimResult {
    resources.list::<Group>(&query).await
}

/// The same, with the filter in the body
#[utoipa::path(post, path = "/api/scim/v2/Groups/.search", tag = "scim", operation_id = "scim_search_groups",
    request_body(content((SearchRequest = "application/scim+json"), (SearchRequest = "application/json"))),
    responses((status = 200, body = Resource, content_type = "application/scim+json"), ScimErrors))]
async fn search_by_body(resources: Resources, Body(search): Body<SearchRequest>) -> ScimResult {
    resources.list::<Group>(&search.into()).await
}

/// One group
#[utoipa::path(get, path = "/api/scim/v2/Groups/{id}", tag = "scim", operation_id = "scim_view_group",
    params(("id" = String, Path), AttributesQuery),
    responses((status = 200, body = Resource, content_type = "application/scim+json"),
        (status = 304, description = "As `If-None-Match` says."), ScimErrors))]
async fn view(resource: OneResource, Query(query): Query<AttributesQuery>) -> ScimResult {
    resource.view::<Group>(&query).await
}

/// Replace a group
#[utoipa::path(put, path = "/api/scim/v2/Groups/{id}", tag = "scim", operation_id = "scim_replace_group",
    params(("id" = String, Path), AttributesQuery),
    request_body(content((NewGroup = "application/scim+json"), (NewGroup = "application/json"))),
    responses((status = 200, body = Resource, content_type = "application/scim+json"), ScimErrors))]
async fn replace(
    resource: OneResource,
    Query(query): Query<AttributesQuery>,
    Body(body): Body<Value>,
) -> ScimResult {
    resource.change::<Group>(&query, Edit::Replace(&body)).await
}

/// Change a group: all of it or nothing
#[utoipa::path(patch, path = "/api/scim/v2/Groups/{id}", tag = "scim", operation_id = "scim_change_group",
    params(("id" = String, Path), AttributesQuery),
    request_body(content((GroupPatch = "application/scim+json"), (GroupPatch = "application/json"))),
    responses((status = 200, body = Resource, content_type = "application/scim+json"), ScimErrors))]
async fn change(
    resource: OneResource,
    Query(query): Query<AttributesQuery>,
    Body(body): Body<Value>,
) -> ScimResult {
    resource.change::<Group>(&query, Edit::Patch(&body)).await
}

/// Delete a group; its members stay, without the roles that they had by it
#[utoipa::path(delete, path = "/api/scim/v2/Groups/{id}", tag = "scim", operation_id = "scim_delete_group",
    params(("id" = String, Path)), responses((status = 204), ScimErrors))]
async fn delete(resource: OneResource) -> ScimResult {
    resource.delete::<Group>().await
}
