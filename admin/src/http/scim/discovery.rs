//! What this service can do: `/ServiceProviderConfig`, `/Schemas`, `/ResourceTypes`; and what it cannot.

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::any;
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{By, Id, Query};
use super::{BASE, Resource, ScimErrors, ScimFailure, ScimResult, list, response};
use crate::app::scim::{COUNT_MAX, Found};
use crate::app::{App, AppError};
use crate::http::extract::BODY_BYTES_MAX;
use crate::scim::patch::OPERATIONS_MAX;
use crate::scim::schema::{GROUPS, SCHEMAS, USERS};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(config))
        .routes(routes!(schemas))
        .routes(routes!(schema))
        .routes(routes!(resource_types))
        .routes(routes!(resource_type))
        .route(&format!("{BASE}/Me"), any(not_here))
        .route(&format!("{BASE}/Bulk"), any(not_here))
        .route(&format!("{BASE}/.search"), any(not_here))
}

/// These lists are too short to be searched (RFC 7644 §4).
#[derive(Deserialize)]
struct NoFilter {
    filter: Option<String>,
}

impl NoFilter {
    fn check(&self) -> Result<(), AppError> {
        match self.filter {
            Some(_) => Err(AppError::Forbidden("these lists are not filtered")),
            None => Ok(()),
        }
    }
}

fn all(resources: Vec<Value>) -> Found {
    let total = i64::try_from(resources.len()).unwrap_or(0);
    Found { total, start_index: 1, resources }
}

/// What the service can do
#[utoipa::path(get, path = "/api/scim/v2/ServiceProviderConfig", tag = "scim", operation_id = "scim_config",
    responses((status = 200, body = Resource, content_type = "application/scim+json"), ScimErrors))]
async fn config(State(_app): State<App>, By(provisioner): By, Query(query): Query<NoFilter>) -> ScimResult {
    query.check()?;
    let body = json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"],
        "patch": { "supported": true },
        "bulk": { "supported": false, "maxOperations": OPERATIONS_MAX, "maxPayloadSize": BODY_BYTES_MAX },
        "filter": { "supported": true, "maxResults": COUNT_MAX },
        "changePassword": { "supported": false },
        "sort": { "supported": true },
        "etag": { "supported": true },
        "authenticationSchemes": [{
            "type": "oauthbearertoken",
            "name": "API key",
            "description": "An API key with the scope `scim`: `Authorization: Bearer cak_…`, or `Api-Key cak_…`.",
            "specUri": "https://www.rfc-editor.org/info/rfc6750",
            "primary": true,
        }],
        "meta": {
            "resourceType": "ServiceProviderConfig",
            "location": format!("{}/ServiceProviderConfig", provisioner.base),
        },
    });
    Ok(response(StatusCode::OK, body))
}

/// Which attributes there are
#[utoipa::path(get, path = "/api/scim/v2/Schemas", tag = "scim", operation_id = "scim_schemas",
    responses((status = 200, body = Resource, content_type = "application/scim+json"), ScimErrors))]
async fn schemas(State(_app): State<App>, By(provisioner): By, Query(query): Query<NoFilter>) -> ScimResult {
    query.check()?;
    let schemas = SCHEMAS.iter().map(|schema| schema.described(&provisioner.base));
    Ok(list(all(schemas.collect())))
}

/// The attributes of one schema
#[utoipa::path(get, path = "/api/scim/v2/Schemas/{id}", tag = "scim", operation_id = "scim_schema",
    params(("id" = String, Path)),
    responses((status = 200, body = Resource, content_type = "application/scim+json"), ScimErrors))]
async fn schema(State(_app): State<App>, By(provisioner): By, Id(id): Id) -> ScimResult {
    let found = SCHEMAS.iter().find(|schema| schema.id.eq_ignore_ascii_case(&id));
    let found = found.ok_or(AppError::NotFound("Schema"))?;
    Ok(response(StatusCode::OK, found.described(&provisioner.base)))
}

/// Which kinds of resources there are
#[utoipa::path(get, path = "/api/scim/v2/ResourceTypes", tag = "scim", operation_id = "scim_resource_types",
    responses((status = 200, body = Resource, content_type = "application/scim+json"), ScimErrors))]
async fn resource_types(
    State(_app): State<App>,
    By(provisioner): By,
    Query(query): Query<NoFilter>,
) -> ScimResult {
    query.check()?;
    Ok(list(all([&USERS, &GROUPS].map(|kind| kind.described(&provisioner.base)).to_vec())))
}

/// One kind of resources
#[utoipa::path(get, path = "/api/scim/v2/ResourceTypes/{id}", tag = "scim", operation_id = "scim_resource_type",
    params(("id" = String, Path)),
    responses((status = 200, body = Resource, content_type = "application/scim+json"), ScimErrors))]
async fn resource_type(State(_app): State<App>, By(provisioner): By, Id(id): Id) -> ScimResult {
    let found = [&USERS, &GROUPS].into_iter().find(|kind| kind.name == id);
    let found = found.ok_or(AppError::NotFound("ResourceType"))?;
    Ok(response(StatusCode::OK, found.described(&provisioner.base)))
}

/// `/Me` (a key is nobody), `/Bulk` (one request, one change) and `/.search` over everything: not described, because they never succeed.
async fn not_here(By(_by): By) -> ScimFailure {
    ScimFailure::NotImplemented
}
