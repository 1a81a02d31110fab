//! Logging in and out: `/users/tokens/*`.

use axum::Json as Body;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Anyone, Caller, Json, bearer};
use super::{ApiResult, Errors};
use crate::app::logins::TokenPair;
use crate::app::{App, AppError};
use crate::clock::Moment;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(issue))
        .routes(routes!(refresh))
        .routes(routes!(revoke))
        .routes(routes!(list))
}

#[derive(Deserialize, ToSchema)]
struct Login {
    /// The username, or the e-mail address.
    #[serde(alias = "identity", alias = "email")]
    username: String,
    #[serde(alias = "secret")]
    #[schema(format = Password)]
    password: String,
    /// What this login is called in the list of logins.
    #[serde(default)]
    description: String,
}

#[derive(Serialize, ToSchema)]
struct Tokens {
    /// For `Authorization: Bearer …`, here and on the proxies.
    access_token: String,
    /// For `POST /users/tokens/refresh`, once.
    refresh_token: String,
    #[schema(example = "Bearer")]
    access_type: &'static str,
}

impl From<TokenPair> for Tokens {
    fn from(pair: TokenPair) -> Self {
        Self { access_token: pair.access, refresh_token: pair.refresh, access_type: "Bearer" }
    }
}

/// Log in
#[utoipa::path(post, path = "/users/tokens/issue", tag = "tokens", security(()), request_body = Login,
    responses((status = 201, body = Tokens), Errors))]
async fn issue(
    State(app): State<App>,
    Anyone(asker): Anyone,
    Json(login): Json<Login>,
) -> ApiResult<(StatusCode, Body<Tokens>)> {
    crate::app::users::check_text("description", &login.description)?;
    let pair = app.log_in(&asker, &login.username, login.password, &login.description).await?;
    Ok((StatusCode::CREATED, Body(pair.into())))
}

/// New tokens for a refresh token, which is the request's credential
#[utoipa::path(post, path = "/users/tokens/refresh", tag = "tokens",
    responses((status = 201, body = Tokens), Errors))]
async fn refresh(
    State(app): State<App>,
    Anyone(asker): Anyone,
    request: axum::extract::Request,
) -> ApiResult<(StatusCode, Body<Tokens>)> {
    let (parts, _) = request.into_parts();
    let pair = app.refresh(&asker, bearer(&parts)?).await?;
    Ok((StatusCode::CREATED, Body(pair.into())))
}

#[derive(Deserialize, ToSchema)]
struct Revoke {
    /// As the list of logins shows it.
    token_id: String,
}

/// End a login
#[utoipa::path(post, path = "/users/tokens/revoke", tag = "tokens", request_body = Revoke,
    responses((status = 204), Errors))]
async fn revoke(State(app): State<App>, caller: Caller, Json(revoke): Json<Revoke>) -> ApiResult<StatusCode> {
    if revoke.token_id.is_empty() {
        return Err(AppError::invalid("token_id", "missing").into());
    }
    app.end_login(&caller.principal, &caller.asker, &revoke.token_id).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Serialize, ToSchema)]
struct RefreshTokens {
    refresh_tokens: Vec<RefreshToken>,
}

#[derive(Serialize, ToSchema)]
struct RefreshToken {
    id: String,
    description: String,
    issued_at: Moment,
    expires_at: Moment,
}

/// The caller's logins
#[utoipa::path(get, path = "/users/tokens/refresh-tokens", tag = "tokens",
    responses((status = 200, body = RefreshTokens), Errors))]
async fn list(State(app): State<App>, caller: Caller) -> ApiResult<Body<RefreshTokens>> {
    let logins = app.list_logins(&caller.principal).await?;
    let shown = logins.into_iter().map(|login| RefreshToken {
        id: login.id,
        description: login.description,
        issued_at: login.issued_at,
        expires_at: login.expires_at,
    });
    Ok(Body(RefreshTokens { refresh_tokens: shown.collect() }))
}
