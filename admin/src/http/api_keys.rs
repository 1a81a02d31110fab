//! `/api/v1/api-keys`: keys for scripts and identity providers.

use axum::Json as Body;
use axum::extract::State;
use axum::http::{HeaderName, StatusCode, header};
use cube_wire::DomainId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::extract::{Caller, Json, Path, Query};
use super::paging::{CursorPaging, PageInfo};
use super::{ApiResult, Errors};
use crate::app::App;
use crate::app::api_keys::NewApiKey;
use crate::clock::Moment;
use crate::store::Cursor;
use crate::store::api_keys::{ApiKeyRights, ApiKeyRow, ApiScope};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(create, list)).routes(routes!(view, delete))
}

/// An API key. Its plain text is shown when it is made, and never again.
#[derive(Serialize, ToSchema)]
struct ApiKey {
    id: Uuid,
    name: String,
    /// The key in plain text: only in the answer of its creation.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^cak_[A-Za-z0-9_-]{22}_[A-Za-z0-9]{49}$")]
    token: Option<String>,
    scopes: Vec<ApiScope>,
    /// The only domains that it is for; absent: it is not limited.
    #[serde(skip_serializing_if = "Option::is_none")]
    domains: Option<Vec<Uuid>>,
    /// The only deployments that it is for; absent: it is not limited.
    #[serde(skip_serializing_if = "Option::is_none")]
    deployments: Option<Vec<String>>,
    /// The superadmin for whom it acts. It is not good while that one is disabled or no superadmin.
    created_by: Uuid,
    created_at: Moment,
    expires_at: Moment,
    /// To the minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_used_at: Option<Moment>,
    status: Status,
}

#[derive(Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Status {
    Active,
    Expired,
}

impl From<ApiKeyRow> for ApiKey {
    fn from(row: ApiKeyRow) -> Self {
        Self {
            id: row.id,
            name: row.name,
            token: None,
            scopes: row.rights.scopes,
            domains: row.rights.domains.map(|domains| domains.into_iter().map(|id| id.0).collect()),
            deployments: row.rights.deployments,
            created_by: row.created_by.0,
            created_at: row.created_at,
            expires_at: row.expires_at,
            last_used_at: row.last_used_at,
            status: if row.expires_at > Moment::now() { Status::Active } else { Status::Expired },
        }
    }
}

#[derive(Deserialize, ToSchema)]
struct CreateApiKey {
    /// Unique.
    #[schema(min_length = 1, max_length = 254)]
    name: String,
    /// How long it is to be good: `720h`, `30d`, `1y`.
    #[schema(example = "90d")]
    duration: String,
    /// What it is for. Writing includes reading.
    #[schema(min_items = 1)]
    scopes: Vec<ApiScope>,
    /// Only in these domains; absent: in all of them, and outside. Not together with scopes of what is in no domain.
    #[schema(min_items = 1, max_items = 256)]
    domains: Option<Vec<Uuid>>,
    /// Only these deployments; absent: all of them. For `deployments:…` and `models:…`.
    #[schema(min_items = 1, max_items = 256)]
    deployments: Option<Vec<String>>,
}

/// Nobody on the way keeps a copy of an answer with a secret.
const NO_STORE: [(HeaderName, &str); 1] = [(header::CACHE_CONTROL, "no-store")];

/// Make an API key (superadmins, with a login); the answer is the only one that shows it
#[utoipa::path(post, path = "/api/v1/api-keys", tag = "api-keys", operation_id = "create_api_key",
    request_body = CreateApiKey, responses((status = 201, body = ApiKey), Errors))]
async fn create(
    State(app): State<App>,
    caller: Caller,
    Json(new): Json<CreateApiKey>,
) -> ApiResult<(StatusCode, [(HeaderName, &'static str); 1], Body<ApiKey>)> {
    let rights = ApiKeyRights {
        scopes: new.scopes,
        domains: new.domains.map(|domains| domains.into_iter().map(DomainId).collect()),
        deployments: new.deployments,
    };
    let new = NewApiKey { name: new.name, duration: new.duration, rights };
    let issued = app.create_api_key(&caller.principal, &caller.asker, new).await?;
    let token = Some(issued.secret.expose().to_owned());
    Ok((StatusCode::CREATED, NO_STORE, Body(ApiKey { token, ..issued.row.into() })))
}

/// Part of the list of keys.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ApiKeyPage {
    items: Vec<ApiKey>,
    page_info: PageInfo,
}

/// API keys, newest first (superadmins, with a login)
#[utoipa::path(get, path = "/api/v1/api-keys", tag = "api-keys", operation_id = "list_api_keys",
    params(CursorPaging), responses((status = 200, body = ApiKeyPage), Errors))]
async fn list(
    State(app): State<App>,
    caller: Caller,
    Query(paging): Query<CursorPaging>,
) -> ApiResult<Body<ApiKeyPage>> {
    let after = paging.after(Cursor::of_text)?;
    let rows = app.list_api_keys(&caller.principal, after, paging.rows()?).await?;
    let (rows, page_info) = paging.cut(rows, |row| row.cursor().to_string());
    Ok(Body(ApiKeyPage { items: rows.into_iter().map(ApiKey::from).collect(), page_info }))
}

/// One API key (superadmins, with a login)
#[utoipa::path(get, path = "/api/v1/api-keys/{id}", tag = "api-keys", operation_id = "view_api_key",
    params(("id" = Uuid, Path)), responses((status = 200, body = ApiKey), Errors))]
async fn view(State(app): State<App>, caller: Caller, Path(id): Path<Uuid>) -> ApiResult<Body<ApiKey>> {
    Ok(Body(app.view_api_key(&caller.principal, id).await?.into()))
}

/// End an API key (superadmins, with a login): the next request with it is refused
#[utoipa::path(delete, path = "/api/v1/api-keys/{id}", tag = "api-keys", operation_id = "delete_api_key",
    params(("id" = Uuid, Path)), responses((status = 204), Errors))]
async fn delete(State(app): State<App>, caller: Caller, Path(id): Path<Uuid>) -> ApiResult<StatusCode> {
    app.delete_api_key(&caller.principal, &caller.asker, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
