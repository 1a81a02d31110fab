//! The feed's server: `/feed/v1/*`, for proxies of the fleet and nobody else. See [`cube_wire::feed`] for what travels.
//!
//! | file | holds |
//! |---|---|
//! | [`tables`] | one stream per node: a snapshot or what it missed, then each change as it is committed |
//! | [`usage`] | finished requests, stored once however often they are told |
//! | this file | the routes, who may use them, and reports of nodes |

mod tables;
mod usage;

use axum::Router;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use cube_wire::feed::NodeReport;
use subtle::ConstantTimeEq as _;

use crate::app::nodes::node_name_is_valid;
use crate::app::{App, AppError};
use crate::http::{ApiError, ApiResult};
use crate::listener::Peer;

/// Longest report of a node, in bytes.
const REPORT_BYTES_MAX: usize = 256 * 1024;
/// Longest batch of usage records, in bytes.
const USAGE_BYTES_MAX: usize = 16 << 20;

/// The feed.
pub fn router(app: App) -> Router {
    Router::new()
        .route("/feed/v1/tables", get(tables::stream))
        .route("/feed/v1/node", post(report).layer(DefaultBodyLimit::max(REPORT_BYTES_MAX)))
        .route("/feed/v1/usage", post(usage::store).layer(DefaultBodyLimit::max(USAGE_BYTES_MAX)))
        .fallback(async || ApiError::from(AppError::NotFound("path")))
        .layer(middleware::from_fn_with_state(app.clone(), only_the_fleet))
        .with_state(app)
}

/// Lets only holders of the fleet key in.
async fn only_the_fleet(State(app): State<App>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let expected = app.fleet_key.node_token();
    let shown = crate::http::extract::bearer(&parts).map(str::as_bytes).unwrap_or_default();
    if !bool::from(shown.ct_eq(expected.as_bytes())) {
        app.figures.feed_refused();
        return ApiError::from(AppError::Unauthenticated { what: "not a node of the fleet" }).into_response();
    }
    next.run(Request::from_parts(parts, body)).await
}

/// Whether it is a node's name, and the caller's own where callers have certificates.
fn check_node(peer: &Peer, node: &str) -> ApiResult<()> {
    if !node_name_is_valid(node) {
        return Err(AppError::invalid("node", "1 to 64 of letters, digits, `.`, `_`, `-`").into());
    }
    if !peer.may_be_node(node) {
        return Err(AppError::Forbidden("the certificate is another node's").into());
    }
    Ok(())
}

/// A node says how it is.
async fn report(
    State(app): State<App>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    body: axum::body::Bytes,
) -> ApiResult<StatusCode> {
    let report: NodeReport = serde_json::from_slice(&body).map_err(|error| {
        ApiError::malformed(StatusCode::BAD_REQUEST, "report_invalid", format!("node report: {error}"))
    })?;
    check_node(&peer, &report.node)?;
    app.nodes.report(&app.store, report).await?;
    Ok(StatusCode::NO_CONTENT)
}
