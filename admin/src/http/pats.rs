//! `/pats`: the caller's own PATs.

use axum::Json as Body;
use axum::extract::State;
use axum::http::{HeaderName, StatusCode, header};
use cube_wire::PatId;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::extract::{Caller, Json, Paging, Path, Query};
use super::scopes::ScopeWanted;
use super::{ApiResult, Errors};
use crate::app::App;
use crate::app::pats::{Issued, NewPat};
use crate::clock::Moment;
use crate::store::pats::{PatFilter, PatRow, PatStatus};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(create, list, clear))
        .routes(routes!(view, delete))
        .routes(routes!(rename))
        .routes(routes!(describe))
        .routes(routes!(reset))
        .routes(routes!(revoke))
}

/// A Personal Access Token. Its secret is shown when it is made, and never again.
#[derive(Serialize, ToSchema)]
struct Pat {
    id: Uuid,
    user_id: Uuid,
    name: String,
    description: String,
    /// The PAT in plain text: only in the answers of creation and reset.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
    full_access: bool,
    cidrs: Vec<String>,
    issued_at: Moment,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Moment>,
    updated_at: Moment,
    /// To the minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_used_at: Option<Moment>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked_at: Option<Moment>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    revoked: bool,
    /// Until when the secret before the last reset is good too.
    #[serde(skip_serializing_if = "Option::is_none")]
    old_secret_until: Option<Moment>,
    status: Status,
}

#[derive(Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Status {
    Active,
    Revoked,
    Expired,
}

impl From<PatRow> for Pat {
    fn from(row: PatRow) -> Self {
        let now = Moment::now();
        let status = match row.status(now) {
            PatStatus::Active => Status::Active,
            PatStatus::Revoked => Status::Revoked,
            PatStatus::Expired => Status::Expired,
        };
        Self {
            id: row.id.0,
            user_id: row.user.0,
            name: row.name,
            description: row.description,
            secret: None,
            full_access: row.full_access,
            cidrs: row.cidrs,
            issued_at: row.issued_at,
            expires_at: row.expires_at,
            updated_at: row.updated_at,
            last_used_at: row.last_used_at,
            revoked_at: row.revoked_at,
            revoked: row.revoked_at.is_some(),
            old_secret_until: row.previous_until.filter(|until| *until > now),
            status,
        }
    }
}

impl From<Issued> for Pat {
    fn from(issued: Issued) -> Self {
        Self { secret: Some(issued.secret.expose().to_owned()), ..issued.row.into() }
    }
}

/// Nobody on the way keeps a copy of an answer with a secret.
const NO_STORE: [(HeaderName, &str); 1] = [(header::CACHE_CONTROL, "no-store")];

#[derive(Deserialize, ToSchema)]
struct CreatePat {
    /// Unique among the caller's PATs.
    #[schema(min_length = 1, max_length = 254)]
    name: String,
    #[serde(default)]
    #[schema(max_length = 254)]
    description: String,
    /// How long it is good: Go's syntax and `d`, `w`, `y`.
    #[schema(example = "30d")]
    duration: String,
    /// What it may do; without any it can do nothing until some are added.
    #[serde(default)]
    scopes: Vec<ScopeWanted>,
    /// Address ranges that its requests may come from; none: from anywhere.
    #[serde(default)]
    #[schema(max_items = 64)]
    cidrs: Vec<String>,
    /// Acts as its owner, without scopes.
    #[serde(default)]
    full_access: bool,
}

/// Make a PAT; the answer is the only one that shows its secret
#[utoipa::path(post, path = "/pats", tag = "pats", operation_id = "create_pat", request_body = CreatePat,
    responses((status = 201, body = Pat), Errors))]
async fn create(
    State(app): State<App>,
    caller: Caller,
    Json(pat): Json<CreatePat>,
) -> ApiResult<(StatusCode, [(HeaderName, &'static str); 1], Body<Pat>)> {
    let new = NewPat {
        name: pat.name,
        description: pat.description,
        duration: pat.duration,
        scopes: pat.scopes.into_iter().map(Into::into).collect(),
        cidrs: pat.cidrs,
        full_access: pat.full_access,
    };
    let issued = app.create_pat(&caller.principal, &caller.asker, new).await?;
    Ok((StatusCode::CREATED, NO_STORE, Body(issued.into())))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Filter {
    /// Part of the name, in any case.
    name: Option<String>,
    /// An identifier.
    id: Option<Uuid>,
    /// `active` (the default), `revoked`, `expired` or `all`.
    #[param(inline)]
    status: Option<StatusFilter>,
}

#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum StatusFilter {
    Active,
    Revoked,
    Expired,
    All,
}

impl From<Filter> for PatFilter {
    fn from(filter: Filter) -> Self {
        let status = match filter.status.unwrap_or(StatusFilter::Active) {
            StatusFilter::Active => Some(PatStatus::Active),
            StatusFilter::Revoked => Some(PatStatus::Revoked),
            StatusFilter::Expired => Some(PatStatus::Expired),
            StatusFilter::All => None,
        };
        Self { name: filter.name, id: filter.id.map(PatId), status }
    }
}

/// Part of the list of PATs.
#[derive(Serialize, ToSchema)]
struct PatPage {
    total: i64,
    offset: i64,
    limit: i64,
    pats: Vec<Pat>,
}

/// The caller's PATs, newest first
#[utoipa::path(get, path = "/pats", tag = "pats", operation_id = "list_pats", params(Filter, Paging),
    responses((status = 200, body = PatPage), Errors))]
async fn list(
    State(app): State<App>,
    caller: Caller,
    Query(filter): Query<Filter>,
    Query(paging): Query<Paging>,
) -> ApiResult<Body<PatPage>> {
    let page = paging.page()?;
    let listed = app.list_pats(&caller.principal, &filter.into(), page).await?;
    let pats = listed.rows.into_iter().map(Pat::from).collect();
    Ok(Body(PatPage { total: listed.total, offset: page.offset, limit: page.limit, pats }))
}

/// Delete all of the caller's PATs
#[utoipa::path(delete, path = "/pats", tag = "pats", operation_id = "clear_pats", responses((status = 200), Errors))]
async fn clear(State(app): State<App>, caller: Caller) -> ApiResult<StatusCode> {
    app.clear_pats(&caller.principal, &caller.asker).await?;
    Ok(StatusCode::OK)
}

/// One PAT
#[utoipa::path(get, path = "/pats/{id}", tag = "pats", operation_id = "view_pat", params(("id" = Uuid, Path)),
    responses((status = 200, body = Pat), Errors))]
async fn view(State(app): State<App>, caller: Caller, Path(id): Path<Uuid>) -> ApiResult<Body<Pat>> {
    Ok(Body(app.view_pat(&caller.principal, PatId(id)).await?.into()))
}

/// Delete a PAT
#[utoipa::path(delete, path = "/pats/{id}", tag = "pats", operation_id = "delete_pat", params(("id" = Uuid, Path)),
    responses((status = 204), Errors))]
async fn delete(State(app): State<App>, caller: Caller, Path(id): Path<Uuid>) -> ApiResult<StatusCode> {
    app.delete_pat(&caller.principal, &caller.asker, PatId(id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize, ToSchema)]
struct RenamePat {
    #[schema(min_length = 1, max_length = 254)]
    name: String,
}

/// Rename a PAT
#[utoipa::path(patch, path = "/pats/{id}/name", tag = "pats", operation_id = "rename_pat", params(("id" = Uuid, Path)),
    request_body = RenamePat, responses((status = 202, body = Pat), Errors))]
async fn rename(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<Uuid>,
    Json(change): Json<RenamePat>,
) -> ApiResult<(StatusCode, Body<Pat>)> {
    let Caller { principal, asker } = &caller;
    let row = app.describe_pat(principal, asker, PatId(id), Some(&change.name), None).await?;
    Ok((StatusCode::ACCEPTED, Body(row.into())))
}

#[derive(Deserialize, ToSchema)]
struct DescribePat {
    #[schema(min_length = 1, max_length = 254)]
    description: String,
}

/// Change what is said of a PAT
#[utoipa::path(patch, path = "/pats/{id}/description", tag = "pats", operation_id = "describe_pat", params(("id" = Uuid, Path)),
    request_body = DescribePat, responses((status = 202, body = Pat), Errors))]
async fn describe(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<Uuid>,
    Json(change): Json<DescribePat>,
) -> ApiResult<(StatusCode, Body<Pat>)> {
    let Caller { principal, asker } = &caller;
    let row = app.describe_pat(principal, asker, PatId(id), None, Some(&change.description)).await?;
    Ok((StatusCode::ACCEPTED, Body(row.into())))
}

#[derive(Deserialize, ToSchema)]
struct ResetSecret {
    /// How long the new secret is good.
    #[schema(example = "30d")]
    duration: String,
    /// For how long the old secret stays good beside it; absent: it ends at once.
    #[schema(example = "1h")]
    grace: Option<String>,
}

/// Give a PAT another secret and end; takes a revocation back
#[utoipa::path(patch, path = "/pats/{id}/secret/reset", tag = "pats", operation_id = "reset_pat_secret", params(("id" = Uuid, Path)),
    request_body = ResetSecret, responses((status = 200, body = Pat), Errors))]
async fn reset(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<Uuid>,
    Json(reset): Json<ResetSecret>,
) -> ApiResult<([(HeaderName, &'static str); 1], Body<Pat>)> {
    let Caller { principal, asker } = &caller;
    let issued = app.reset_pat(principal, asker, PatId(id), &reset.duration, reset.grace.as_deref()).await?;
    Ok((NO_STORE, Body(issued.into())))
}

/// End a PAT; it stays in the list
#[utoipa::path(patch, path = "/pats/{id}/secret/revoke", tag = "pats", operation_id = "revoke_pat", params(("id" = Uuid, Path)),
    responses((status = 204), Errors))]
async fn revoke(State(app): State<App>, caller: Caller, Path(id): Path<Uuid>) -> ApiResult<StatusCode> {
    app.revoke_pat(&caller.principal, &caller.asker, PatId(id)).await?;
    Ok(StatusCode::NO_CONTENT)
}
