//! `/pats/{id}/scope`: what a PAT may do at most.

use axum::Json as Body;
use axum::extract::State;
use axum::http::StatusCode;
use cube_wire::{DomainId, PatId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::extract::{Caller, Json, Paging, Path, Query};
use super::{ApiResult, Errors};
use crate::app::App;
use crate::app::scopes::NewScope;
use crate::store::scopes::ScopeRow;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list, clear)).routes(routes!(add)).routes(routes!(remove))
}

/// A scope that is to be.
#[derive(Deserialize, ToSchema)]
pub(super) struct ScopeWanted {
    /// Required for `domains` and `models`; `users` are in none.
    domain_id: Option<Uuid>,
    /// `domains`, `models` or `users`; `datasets`, `groups`, `channels`, `clients`, `dashboards` and `messages` are kept, and nothing
    /// acts on them.
    #[schema(example = "models")]
    entity_type: String,
    /// The domain's identifier, the model's name, …; or `*` for all.
    #[schema(example = "*")]
    entity_id: String,
    #[schema(example = "llm_chat_completions")]
    operation: String,
}

impl From<ScopeWanted> for NewScope {
    fn from(wanted: ScopeWanted) -> Self {
        Self {
            entity_type: wanted.entity_type,
            domain: wanted.domain_id.map(DomainId),
            entity_id: wanted.entity_id,
            operation: wanted.operation,
        }
    }
}

/// A scope.
#[derive(Serialize, ToSchema)]
struct Scope {
    id: Uuid,
    pat_id: Uuid,
    #[serde(skip_serializing_if = "Option::is_none")]
    domain_id: Option<Uuid>,
    entity_type: String,
    entity_id: String,
    operation: String,
}

impl From<ScopeRow> for Scope {
    fn from(row: ScopeRow) -> Self {
        Self {
            id: row.id,
            pat_id: row.pat.0,
            domain_id: row.domain.map(|id| id.0),
            entity_type: row.entity_type,
            entity_id: row.entity_id,
            operation: row.operation,
        }
    }
}

/// Part of the list of scopes.
#[derive(Serialize, ToSchema)]
struct ScopePage {
    total: i64,
    offset: i64,
    limit: i64,
    scopes: Vec<Scope>,
}

/// A PAT's scopes
#[utoipa::path(get, path = "/pats/{id}/scope", tag = "pats", operation_id = "list_scopes", params(("id" = Uuid, Path), Paging),
    responses((status = 200, body = ScopePage), Errors))]
async fn list(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<Uuid>,
    Query(paging): Query<Paging>,
) -> ApiResult<Body<ScopePage>> {
    let page = paging.page()?;
    let listed = app.list_scopes(&caller.principal, PatId(id), page).await?;
    let scopes = listed.rows.into_iter().map(Scope::from).collect();
    Ok(Body(ScopePage { total: listed.total, offset: page.offset, limit: page.limit, scopes }))
}

#[derive(Deserialize, ToSchema)]
struct AddScopes {
    #[schema(min_items = 1)]
    scopes: Vec<ScopeWanted>,
}

/// Add scopes, all or none; one for `*` takes the place of those for single entities
#[utoipa::path(patch, path = "/pats/{id}/scope/add", tag = "pats", operation_id = "add_scopes", params(("id" = Uuid, Path)),
    request_body = AddScopes, responses((status = 200), Errors))]
async fn add(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<Uuid>,
    Json(add): Json<AddScopes>,
) -> ApiResult<StatusCode> {
    let scopes = add.scopes.into_iter().map(Into::into).collect();
    app.add_scopes(&caller.principal, &caller.asker, PatId(id), scopes).await?;
    Ok(StatusCode::OK)
}

#[derive(Deserialize, ToSchema)]
struct RemoveScopes {
    /// Identifiers of scopes.
    #[schema(min_items = 1)]
    scopes_id: Vec<Uuid>,
}

/// Remove scopes
#[utoipa::path(patch, path = "/pats/{id}/scope/remove", tag = "pats", operation_id = "remove_scopes", params(("id" = Uuid, Path)),
    request_body = RemoveScopes, responses((status = 200), Errors))]
async fn remove(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<Uuid>,
    Json(remove): Json<RemoveScopes>,
) -> ApiResult<StatusCode> {
    app.remove_scopes(&caller.principal, &caller.asker, PatId(id), &remove.scopes_id).await?;
    Ok(StatusCode::OK)
}

/// Remove all scopes: the PAT can do nothing then
#[utoipa::path(delete, path = "/pats/{id}/scope", tag = "pats", operation_id = "clear_scopes", params(("id" = Uuid, Path)),
    responses((status = 200), Errors))]
async fn clear(State(app): State<App>, caller: Caller, Path(id): Path<Uuid>) -> ApiResult<StatusCode> {
    app.clear_scopes(&caller.principal, &caller.asker, PatId(id)).await?;
    Ok(StatusCode::OK)
}
