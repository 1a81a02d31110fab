//! `/users`: accounts.

use axum::Json as Body;
use axum::extract::State;
use axum::http::StatusCode;
use cube_wire::UserId;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::extract::{Caller, Json, Paging, Path, Query};
use super::paging::{EitherPaging, Place, Way};
use super::{ApiResult, Errors};
use crate::app::users::NewUser;
use crate::app::{App, AppError};
use crate::clock::Moment;
use crate::store::Cursor;
use crate::store::users::{UserChange, UserFilter, UserRow};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(create, list))
        .routes(routes!(search))
        .routes(routes!(profile))
        .routes(routes!(change_secret))
        .routes(routes!(view, change, delete))
        .routes(routes!(change_username))
        .routes(routes!(change_tags))
        .routes(routes!(change_email))
        .routes(routes!(change_picture))
        .routes(routes!(change_role))
        .routes(routes!(reset_secret))
        .routes(routes!(enable))
        .routes(routes!(disable))
        .routes(routes!(list_v1))
        .routes(routes!(view_v1))
}

/// An account.
#[derive(Serialize, ToSchema)]
struct User {
    id: Uuid,
    first_name: String,
    last_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    credentials: Username,
    tags: Vec<String>,
    #[schema(value_type = Object)]
    metadata: serde_json::Value,
    #[schema(example = "enabled")]
    status: &'static str,
    /// `user` or `admin`.
    #[schema(example = "user")]
    role: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    profile_picture: Option<String>,
    created_at: Moment,
    updated_at: Moment,
}

#[derive(Serialize, ToSchema)]
struct Username {
    username: String,
}

impl From<UserRow> for User {
    fn from(row: UserRow) -> Self {
        Self {
            id: row.id.0,
            first_name: row.first_name,
            last_name: row.last_name,
            email: row.email,
            credentials: Username { username: row.username },
            tags: row.tags,
            metadata: row.metadata,
            status: if row.enabled { "enabled" } else { "disabled" },
            role: if row.superadmin { "admin" } else { "user" },
            profile_picture: row.profile_picture,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

#[derive(Deserialize, ToSchema)]
struct CreateUser {
    #[serde(default)]
    first_name: String,
    #[serde(default)]
    last_name: String,
    #[schema(pattern = "^[^@\\s]+@[^@\\s.]+(\\.[^@\\s.]+)*$")]
    email: Option<String>,
    credentials: NewCredentials,
    #[serde(default)]
    tags: Vec<String>,
    #[schema(value_type = Option<Object>)]
    metadata: Option<serde_json::Value>,
    /// `user` (the default) or `admin`.
    role: Option<RoleName>,
}

#[derive(Deserialize, ToSchema)]
struct NewCredentials {
    #[schema(pattern = "^[a-zA-Z0-9][a-zA-Z0-9_-]{0,31}$")]
    username: String,
    /// The password. Without one the user cannot log in.
    #[schema(format = Password, min_length = 8)]
    secret: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum RoleName {
    User,
    Admin,
}

/// Add a user
#[utoipa::path(post, path = "/users", tag = "users", request_body = CreateUser,
    responses((status = 201, body = User), Errors))]
async fn create(
    State(app): State<App>,
    caller: Caller,
    Json(user): Json<CreateUser>,
) -> ApiResult<(StatusCode, Body<User>)> {
    let new = NewUser {
        username: user.credentials.username,
        password: user.credentials.secret,
        email: user.email,
        first_name: user.first_name,
        last_name: user.last_name,
        tags: user.tags,
        metadata: user.metadata,
        superadmin: user.role == Some(RoleName::Admin),
    };
    let row = app.create_user(&caller.principal, &caller.asker, new).await?;
    Ok((StatusCode::CREATED, Body(row.into())))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Filter {
    /// Part of the username.
    username: Option<String>,
    /// Part of the e-mail address.
    email: Option<String>,
    /// Part of the first name.
    first_name: Option<String>,
    /// Part of the last name.
    last_name: Option<String>,
    /// A label.
    tag: Option<String>,
    /// An identifier.
    id: Option<Uuid>,
    /// `enabled` (the default), `disabled` or `all`.
    #[param(inline)]
    status: Option<StatusFilter>,
}

#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum StatusFilter {
    Enabled,
    Disabled,
    All,
}

impl From<Filter> for UserFilter {
    fn from(filter: Filter) -> Self {
        Self {
            username: filter.username,
            email: filter.email,
            first_name: filter.first_name,
            last_name: filter.last_name,
            tag: filter.tag,
            id: filter.id.map(UserId),
            enabled: match filter.status.unwrap_or(StatusFilter::Enabled) {
                StatusFilter::Enabled => Some(true),
                StatusFilter::Disabled => Some(false),
                StatusFilter::All => None,
            },
            seen_by: None,
        }
    }
}

/// Part of the list of users.
#[derive(Serialize, ToSchema)]
struct UserPage {
    total: i64,
    offset: i64,
    limit: i64,
    users: Vec<User>,
}

/// Users that the caller may see
#[utoipa::path(get, path = "/users", tag = "users", params(Filter, Paging),
    responses((status = 200, body = UserPage), Errors))]
async fn list(
    State(app): State<App>,
    caller: Caller,
    Query(filter): Query<Filter>,
    Query(paging): Query<Paging>,
) -> ApiResult<Body<UserPage>> {
    let page = paging.page()?;
    let listed = app.list_users(&caller.principal, filter.into(), page).await?;
    let users = listed.rows.into_iter().map(User::from).collect();
    Ok(Body(UserPage { total: listed.total, offset: page.offset, limit: page.limit, users }))
}

/// Part of the list of users, as `/api/v1` writes lists.
#[derive(Serialize, ToSchema)]
struct UserList {
    #[serde(flatten)]
    place: Place,
    users: Vec<User>,
}

/// Users that the caller may see
#[utoipa::path(get, path = "/api/v1/users", tag = "users", operation_id = "list_users_v1", params(Filter, EitherPaging),
    responses((status = 200, body = UserList), Errors))]
async fn list_v1(
    State(app): State<App>,
    caller: Caller,
    Query(filter): Query<Filter>,
    Query(paging): Query<EitherPaging>,
) -> ApiResult<Body<UserList>> {
    let (rows, place) = match paging.way()? {
        Way::Offset(page) => {
            Place::by_offset(page, app.list_users(&caller.principal, filter.into(), page).await?)
        }
        Way::Cursor(paging) => {
            let (after, rows) = (paging.after(Cursor::of_text)?, paging.rows()?);
            let rows = app.list_users_after(&caller.principal, filter.into(), after, rows).await?;
            paging.place(rows, |user| user.cursor().to_string())
        }
    };
    Ok(Body(UserList { place, users: rows.into_iter().map(User::from).collect() }))
}

/// One user
#[utoipa::path(get, path = "/api/v1/users/{id}", tag = "users", operation_id = "view_user_v1",
    params(("id" = Uuid, Path)), responses((status = 200, body = User), Errors))]
async fn view_v1(state: State<App>, caller: Caller, path: Path<Uuid>) -> ApiResult<Body<User>> {
    view(state, caller, path).await
}

/// The same as the list, under the name that Cube gave it
#[utoipa::path(get, path = "/users/search", tag = "users", params(Filter, Paging),
    responses((status = 200, body = UserPage), Errors))]
async fn search(
    state: State<App>,
    caller: Caller,
    filter: Query<Filter>,
    paging: Query<Paging>,
) -> ApiResult<Body<UserPage>> {
    list(state, caller, filter, paging).await
}

/// The caller's own account
#[utoipa::path(get, path = "/users/profile", tag = "users", responses((status = 200, body = User), Errors))]
async fn profile(State(app): State<App>, caller: Caller) -> ApiResult<Body<User>> {
    Ok(Body(app.view_user(&caller.principal, caller.principal.user).await?.into()))
}

/// One user
#[utoipa::path(get, path = "/users/{id}", tag = "users", params(("id" = Uuid, Path)),
    responses((status = 200, body = User), Errors))]
async fn view(State(app): State<App>, caller: Caller, Path(id): Path<Uuid>) -> ApiResult<Body<User>> {
    Ok(Body(app.view_user(&caller.principal, UserId(id)).await?.into()))
}

#[derive(Deserialize, ToSchema)]
struct ChangeUser {
    first_name: Option<String>,
    last_name: Option<String>,
    tags: Option<Vec<String>>,
    #[schema(value_type = Option<Object>)]
    metadata: Option<serde_json::Value>,
}

/// Change names, labels or metadata
#[utoipa::path(patch, path = "/users/{id}", tag = "users", params(("id" = Uuid, Path)), request_body = ChangeUser,
    responses((status = 200, body = User), Errors))]
async fn change(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<Uuid>,
    Json(change): Json<ChangeUser>,
) -> ApiResult<Body<User>> {
    let change = UserChange {
        first_name: change.first_name,
        last_name: change.last_name,
        tags: change.tags,
        metadata: change.metadata,
        ..UserChange::default()
    };
    apply(&app, &caller, id, "user.update", change).await
}

async fn apply(
    app: &App,
    caller: &Caller,
    id: Uuid,
    action: &'static str,
    change: UserChange,
) -> ApiResult<Body<User>> {
    Ok(Body(app.change_user(&caller.principal, &caller.asker, UserId(id), action, change).await?.into()))
}

#[derive(Deserialize, ToSchema)]
struct ChangeUsername {
    username: String,
}

/// Change the username
#[utoipa::path(patch, path = "/users/{id}/username", tag = "users", params(("id" = Uuid, Path)),
    request_body = ChangeUsername, responses((status = 200, body = User), Errors))]
async fn change_username(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<Uuid>,
    Json(change): Json<ChangeUsername>,
) -> ApiResult<Body<User>> {
    let change = UserChange { username: Some(change.username), ..UserChange::default() };
    apply(&app, &caller, id, "user.username", change).await
}

#[derive(Deserialize, ToSchema)]
struct ChangeTags {
    tags: Vec<String>,
}

/// Change the labels
#[utoipa::path(patch, path = "/users/{id}/tags", tag = "users", params(("id" = Uuid, Path)),
    request_body = ChangeTags, responses((status = 200, body = User), Errors))]
async fn change_tags(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<Uuid>,
    Json(change): Json<ChangeTags>,
) -> ApiResult<Body<User>> {
    let change = UserChange { tags: Some(change.tags), ..UserChange::default() };
    apply(&app, &caller, id, "user.tags", change).await
}

#[derive(Deserialize, ToSchema)]
struct ChangeEmail {
    #[schema(pattern = "^[^@\\s]+@[^@\\s.]+(\\.[^@\\s.]+)*$")]
    email: String,
}

/// Change the e-mail address
#[utoipa::path(patch, path = "/users/{id}/email", tag = "users", params(("id" = Uuid, Path)),
    request_body = ChangeEmail, responses((status = 200, body = User), Errors))]
async fn change_email(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<Uuid>,
    Json(change): Json<ChangeEmail>,
) -> ApiResult<Body<User>> {
    let change = UserChange { email: Some(change.email), ..UserChange::default() };
    apply(&app, &caller, id, "user.email", change).await
}

#[derive(Deserialize, ToSchema)]
struct ChangePicture {
    profile_picture: String,
}

/// Change the picture's address
#[utoipa::path(patch, path = "/users/{id}/picture", tag = "users", params(("id" = Uuid, Path)),
    request_body = ChangePicture, responses((status = 200, body = User), Errors))]
async fn change_picture(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<Uuid>,
    Json(change): Json<ChangePicture>,
) -> ApiResult<Body<User>> {
    let change = UserChange { profile_picture: Some(change.profile_picture), ..UserChange::default() };
    apply(&app, &caller, id, "user.picture", change).await
}

#[derive(Deserialize, ToSchema)]
struct ChangeRole {
    role: RoleName,
}

/// Make a user a superadmin, or no longer one
#[utoipa::path(patch, path = "/users/{id}/role", tag = "users", params(("id" = Uuid, Path)),
    request_body = ChangeRole, responses((status = 200, body = User), Errors))]
async fn change_role(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<Uuid>,
    Json(change): Json<ChangeRole>,
) -> ApiResult<Body<User>> {
    // Whoever could do this with a PAT could make the PAT's owner anything.
    caller.principal.without_pat()?;
    let change = UserChange { superadmin: Some(change.role == RoleName::Admin), ..UserChange::default() };
    apply(&app, &caller, id, "user.role", change).await
}

#[derive(Deserialize, ToSchema)]
struct ChangeSecret {
    #[schema(format = Password)]
    old_secret: String,
    #[schema(format = Password, min_length = 8)]
    new_secret: String,
}

/// Change one's own password; all logins end
#[utoipa::path(patch, path = "/users/secret", tag = "users", request_body = ChangeSecret,
    responses((status = 200, body = User), Errors))]
async fn change_secret(
    State(app): State<App>,
    caller: Caller,
    Json(change): Json<ChangeSecret>,
) -> ApiResult<Body<User>> {
    let Caller { principal, asker } = &caller;
    Ok(Body(app.change_password(principal, asker, change.old_secret, change.new_secret).await?.into()))
}

#[derive(Deserialize, ToSchema)]
struct ResetSecret {
    #[schema(format = Password, min_length = 8)]
    new_secret: String,
}

/// Set a user's password (superadmins); all of the user's logins end
#[utoipa::path(patch, path = "/users/{id}/secret", tag = "users", params(("id" = Uuid, Path)),
    request_body = ResetSecret, responses((status = 200, body = User), Errors))]
async fn reset_secret(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<Uuid>,
    Json(reset): Json<ResetSecret>,
) -> ApiResult<Body<User>> {
    Ok(Body(app.reset_password(&caller.principal, &caller.asker, UserId(id), reset.new_secret).await?.into()))
}

/// Enable a user
#[utoipa::path(post, path = "/users/{id}/enable", tag = "users", params(("id" = Uuid, Path)),
    responses((status = 200, body = User), Errors))]
async fn enable(State(app): State<App>, caller: Caller, Path(id): Path<Uuid>) -> ApiResult<Body<User>> {
    let change = UserChange { enabled: Some(true), ..UserChange::default() };
    apply(&app, &caller, id, "user.enable", change).await
}

/// Disable a user: logins end, PATs stop on every proxy
#[utoipa::path(post, path = "/users/{id}/disable", tag = "users", params(("id" = Uuid, Path)),
    responses((status = 200, body = User), Errors))]
async fn disable(State(app): State<App>, caller: Caller, Path(id): Path<Uuid>) -> ApiResult<Body<User>> {
    let change = UserChange { enabled: Some(false), ..UserChange::default() };
    apply(&app, &caller, id, "user.disable", change).await
}

/// Delete a user with all PATs
#[utoipa::path(delete, path = "/users/{id}", tag = "users", params(("id" = Uuid, Path)),
    responses((status = 204), Errors))]
async fn delete(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<Uuid>,
) -> Result<StatusCode, super::ApiError> {
    if id == caller.principal.user.0 {
        return Err(AppError::Conflict("nobody deletes the account that is logged in".to_owned()).into());
    }
    app.delete_user(&caller.principal, &caller.asker, UserId(id)).await?;
    Ok(StatusCode::NO_CONTENT)
}
