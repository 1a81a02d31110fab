//! The web UI: pages, server-rendered, for people who never read an API document.
//!
//! A sibling of [`crate::http`]: it turns forms into plain inputs, calls [`crate::app`], and shows what came of it. Templates and
//! assets stand in `admin/ui/` and are part of the program; nothing is loaded from anywhere else.
//!
//! Read [`shell`] first: what every page has around it (session, protection against forged requests, header fields, error pages).
//!
//! # Promises
//! * Pages work without script, but for the playground. Script only saves round trips.
//! * Everything that a user wrote is escaped by the templates, and no page has a line of script or style in it.
//! * A PAT's secret is in one answer, the one to the request that made it.

mod account;
mod adoption;
mod api_keys;
mod assets;
mod audit;
mod chart;
mod confirm;
mod csp;
mod deployments;
mod domains;
mod duration;
mod error;
mod form;
mod frame;
mod groups;
mod home;
mod invitations;
mod links;
mod list;
mod members;
mod models;
mod nodes;
mod oidc;
mod origin;
mod pat_edit;
mod pat_new;
mod pats;
mod people;
mod permissions;
mod playground;
mod roles;
mod route_test;
mod routing;
mod scope_editor;
mod sessions;
mod shell;
mod sign_in;
mod usage;
mod users;
mod view;

use axum::Router;
use axum::middleware;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{any, get};

use crate::app::{App, AppError};
use error::UiError;

/// The pages and what they load.
pub(crate) fn router(app: &App) -> Router<App> {
    let pages = Router::new()
        .route("/ui/", get(home::show_page))
        .merge(sign_in::routes())
        .merge(oidc::routes())
        .merge(account::routes())
        .merge(sessions::routes())
        .merge(pats::routes())
        .merge(pat_new::routes())
        .merge(pat_edit::routes())
        .merge(adoption::routes())
        .merge(domains::routes())
        .merge(members::routes())
        .merge(roles::routes())
        .merge(invitations::routes())
        .merge(models::routes())
        .merge(permissions::routes())
        .merge(deployments::routes())
        .merge(routing::routes())
        .merge(route_test::routes())
        .merge(users::routes())
        .merge(links::routes())
        .merge(groups::routes())
        .merge(api_keys::routes())
        .merge(nodes::routes())
        .merge(audit::routes())
        .merge(usage::routes())
        .merge(playground::routes())
        .merge(csp::pages())
        .route("/ui/{*rest}", any(nothing_here))
        .layer(middleware::from_fn_with_state(app.clone(), shell::around));
    Router::new()
        .route("/", get(front_door))
        .route("/ui", get(|| async { Redirect::permanent("/ui/") }))
        .merge(assets::routes())
        .merge(csp::endpoint())
        .merge(pages)
}

async fn nothing_here() -> UiError {
    AppError::NotFound("page").into()
}

/// Browsers are shown the pages; to programs there is nothing at `/`.
async fn front_door(headers: axum::http::HeaderMap) -> Response {
    let accept = headers.get(axum::http::header::ACCEPT).and_then(|value| value.to_str().ok());
    match accept.is_some_and(|accept| accept.contains("text/html")) {
        true => Redirect::to("/ui/").into_response(),
        false => crate::http::ApiError::from(AppError::NotFound("path")).into_response(),
    }
}
