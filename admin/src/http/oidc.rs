//! `/users/{id}/oidc`: who a user is to the external issuer.

use axum::Json as Body;
use axum::extract::State;
use axum::http::StatusCode;
use cube_wire::UserId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::extract::{Caller, Json, Path};
use super::{ApiResult, Errors};
use crate::app::App;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(view, set, remove))
}

#[derive(Serialize, ToSchema)]
struct Link {
    /// The issuer that the settings name.
    issuer: String,
    /// What it calls the user.
    subject: String,
}

#[derive(Deserialize, ToSchema)]
struct NewLink {
    /// What the issuer calls the user: the `sub` of its tokens.
    #[schema(min_length = 1, max_length = 255)]
    subject: String,
}

/// Who a user is at the identity provider (superadmins, with a login)
#[utoipa::path(get, path = "/users/{id}/oidc", tag = "users", operation_id = "view_user_link", params(("id" = Uuid, Path)),
    responses((status = 200, body = Link), Errors))]
async fn view(State(app): State<App>, caller: Caller, Path(id): Path<Uuid>) -> ApiResult<Body<Link>> {
    let (issuer, subject) = app.view_link(&caller.principal, UserId(id)).await?;
    Ok(Body(Link { issuer, subject }))
}

/// Say who a user is at the identity provider (superadmins, with a login)
#[utoipa::path(put, path = "/users/{id}/oidc", tag = "users", operation_id = "set_user_link", params(("id" = Uuid, Path)),
    request_body = NewLink, responses((status = 204), Errors))]
async fn set(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<Uuid>,
    Json(link): Json<NewLink>,
) -> ApiResult<StatusCode> {
    app.set_link(&caller.principal, &caller.asker, UserId(id), &link.subject).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Forget who a user is at the identity provider (superadmins, with a login)
#[utoipa::path(delete, path = "/users/{id}/oidc", tag = "users", operation_id = "remove_user_link", params(("id" = Uuid, Path)),
    responses((status = 204), Errors))]
async fn remove(State(app): State<App>, caller: Caller, Path(id): Path<Uuid>) -> ApiResult<StatusCode> {
    app.remove_link(&caller.principal, &caller.asker, UserId(id)).await?;
    Ok(StatusCode::NO_CONTENT)
}
