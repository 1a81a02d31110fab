//! The API over HTTP: entrypoints, one file per capability, and nothing of the rules.
//!
//! Every entrypoint is described where it stands; the description as a whole is served at `/openapi.json` and checked in as
//! `docs/openapi.json`.

mod api_keys;
mod audit;
mod deployments;
mod description;
mod domains;
mod error;
pub mod extract;
mod invitations;
mod keys;
mod models;
mod nodes;
mod oidc;
mod paging;
mod pats;
mod pieces;
mod prefer;
mod roles;
mod routes;
mod scim;
mod scopes;
mod secure;
mod tokens;
mod usage;
mod users;
mod verify;

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;

use crate::app::{App, AppError};
pub(crate) use audit::exported as exported_audit;
pub use error::{ApiError, ApiResult, ErrorBody, Errors};
pub(crate) use error::{chain, status_of};
use extract::RequestId;
pub(crate) use pieces::Pieces;
pub(crate) use scim::BASE as SCIM_BASE;

/// The API's description, without its entrypoints.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "cube-admin",
        description = "Users, domains, roles, Personal Access Tokens, deployments, models and routes.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    modifiers(&BearerSecurity),
    security(("bearer" = []))
)]
struct Description;

struct BearerSecurity;

impl Modify for BearerSecurity {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let components = openapi.components.get_or_insert_with(Default::default);
        components.add_security_scheme("bearer", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
    }
}

/// The routes and their description.
fn described() -> (Router<App>, utoipa::openapi::OpenApi) {
    OpenApiRouter::with_openapi(Description::openapi())
        .merge(users::routes())
        .merge(oidc::routes())
        .merge(tokens::routes())
        .merge(keys::routes())
        .merge(nodes::routes())
        .merge(usage::routes())
        .merge(audit::routes())
        .merge(domains::routes())
        .merge(roles::routes())
        .merge(invitations::routes())
        .merge(pats::routes())
        .merge(scopes::routes())
        .merge(api_keys::routes())
        .merge(scim::routes())
        .merge(deployments::routes())
        .merge(models::routes())
        .merge(routes::routes())
        .merge(verify::routes())
        .split_for_parts()
}

/// The API's description (OpenAPI 3.1).
#[must_use]
pub fn openapi() -> serde_json::Value {
    description::publish(&described().1)
}

/// The whole API.
pub fn router(app: App) -> Router {
    let (router, openapi) = described();
    let description = Json(description::publish(&openapi));
    router
        .route("/openapi.json", get(move || async move { description }))
        .route("/health", get(health))
        .merge(crate::ui::router(&app))
        .merge(verify::below())
        .fallback(nothing_here)
        .layer(middleware::from_fn_with_state(app.clone(), prefer::wait_for_nodes))
        .layer(middleware::from_fn_with_state(app.clone(), secure::demand_https))
        .layer(middleware::from_fn_with_state(app.clone(), name_request))
        .with_state(app)
}

async fn health() -> Response {
    let body = Json(serde_json::json!({ "status": "pass", "version": env!("CARGO_PKG_VERSION") }));
    let media_type = HeaderValue::from_static("application/health+json");
    ([(axum::http::header::CONTENT_TYPE, media_type)], body).into_response()
}

async fn nothing_here(uri: axum::http::Uri) -> Response {
    scim::in_family(uri.path(), AppError::NotFound("path").into())
}

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest name that is taken over from a caller.
const REQUEST_ID_LEN_MAX: usize = 64;

/// Names each request, so that a caller, the log and the audit log can be held together; counts it and writes one line for it.
async fn name_request(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let harmless = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:/+=@".contains(&byte);
    let claimed = request.headers().get(&REQUEST_ID).and_then(|value| value.to_str().ok());
    let claimed =
        claimed.filter(|id| !id.is_empty() && id.len() <= REQUEST_ID_LEN_MAX && id.bytes().all(harmless));
    let id = claimed.map_or_else(|| uuid::Uuid::new_v4().simple().to_string(), str::to_owned);
    request.extensions_mut().insert(RequestId(id.clone()));
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let started = std::time::Instant::now();
    let mut response = next.run(request).await;
    let status = response.status();
    let took = started.elapsed();
    app.figures.answered(&path, status, took);
    let took_ms = took.as_millis();
    tracing::info!(request_id = %id, %method, %path, status = status.as_u16(), took_ms, "request");
    if status == StatusCode::METHOD_NOT_ALLOWED && response.headers().get("content-type").is_none() {
        let allow = response.headers().get("allow").cloned();
        let error = ApiError::malformed(status, "method_not_allowed", "method not allowed");
        response = scim::in_family(&path, error);
        if let Some(allow) = allow {
            response.headers_mut().insert("allow", allow);
        }
    }
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}
