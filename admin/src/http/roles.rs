//! `/domains/{id}/roles`: who may do what in a domain.

use axum::Json as Body;
use axum::extract::State;
use axum::http::StatusCode;
use cube_wire::{DomainId, Operation, UserId};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::extract::{Caller, Json, Paging, Path, Query};
use super::{ApiResult, Errors};
use crate::app::App;
use crate::app::roles::{NewRole, RolePlace};
use crate::clock::Moment;
use crate::store::roles::RoleRow;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(available_actions))
        .routes(routes!(create, list, remove_from_domain))
        .routes(routes!(domain_members))
        .routes(routes!(view, rename, delete))
        .routes(routes!(add_actions, list_actions))
        .routes(routes!(remove_actions))
        .routes(routes!(remove_all_actions))
        .routes(routes!(add_members, list_members))
        .routes(routes!(remove_members))
        .routes(routes!(remove_all_members))
}

/// A role of a domain.
#[derive(Serialize, ToSchema)]
struct Role {
    #[schema(example = "domain_3aa2aa87f29b455daa681e874804f786")]
    id: String,
    name: String,
    /// The domain.
    entity_id: Uuid,
    /// The role `admin` that every domain has: holds every action and stays as it is.
    builtin: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_by: Option<Uuid>,
    created_at: Moment,
    #[serde(skip_serializing_if = "Option::is_none")]
    updated_by: Option<Uuid>,
    updated_at: Moment,
    /// What its members may do; not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    actions: Option<Vec<String>>,
}

impl From<RoleRow> for Role {
    fn from(row: RoleRow) -> Self {
        Self {
            id: row.id,
            name: row.name,
            entity_id: row.domain.0,
            builtin: row.builtin,
            created_by: row.created_by.map(|id| id.0),
            created_at: row.created_at,
            updated_by: row.updated_by.map(|id| id.0),
            updated_at: row.updated_at,
            actions: None,
        }
    }
}

fn place((domain, role): &(Uuid, String)) -> RolePlace<'_> {
    RolePlace { domain: DomainId(*domain), role }
}

#[derive(Serialize, ToSchema)]
struct AvailableActions {
    available_actions: Vec<&'static str>,
}

/// The actions that a role can hold
#[utoipa::path(get, path = "/domains/roles/available-actions", tag = "roles", operation_id = "available_actions",
    responses((status = 200, body = AvailableActions), Errors))]
async fn available_actions(_: Caller) -> Body<AvailableActions> {
    let names = Operation::ALL.iter().map(|operation| operation.name()).collect();
    Body(AvailableActions { available_actions: names })
}

#[derive(Deserialize, ToSchema)]
struct CreateRole {
    #[schema(min_length = 1, max_length = 200)]
    role_name: String,
    #[serde(default)]
    optional_actions: Vec<String>,
    #[serde(default)]
    optional_members: Vec<Uuid>,
}

/// Make a role
#[utoipa::path(post, path = "/domains/{id}/roles", tag = "roles", operation_id = "create_role",
    params(("id" = Uuid, Path)), request_body = CreateRole, responses((status = 201, body = Role), Errors))]
async fn create(
    State(app): State<App>,
    caller: Caller,
    Path(domain): Path<Uuid>,
    Json(role): Json<CreateRole>,
) -> ApiResult<(StatusCode, Body<Role>)> {
    let mut actions = role.optional_actions.clone();
    actions.sort_unstable();
    actions.dedup();
    let new = NewRole {
        name: role.role_name,
        actions: role.optional_actions,
        members: role.optional_members.into_iter().map(UserId).collect(),
    };
    let row = app.create_role(&caller.principal, &caller.asker, DomainId(domain), new).await?;
    Ok((StatusCode::CREATED, Body(Role { actions: Some(actions), ..row.into() })))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Filter {
    /// Part of the name.
    name: Option<String>,
}

/// Part of the list of roles.
#[derive(Serialize, ToSchema)]
struct RolePage {
    total: i64,
    offset: i64,
    limit: i64,
    roles: Vec<Role>,
}

/// The roles of a domain
#[utoipa::path(get, path = "/domains/{id}/roles", tag = "roles", operation_id = "list_roles",
    params(("id" = Uuid, Path), Filter, Paging), responses((status = 200, body = RolePage), Errors))]
async fn list(
    State(app): State<App>,
    caller: Caller,
    Path(domain): Path<Uuid>,
    Query(filter): Query<Filter>,
    Query(paging): Query<Paging>,
) -> ApiResult<Body<RolePage>> {
    let page = paging.page()?;
    let listed = app.list_roles(&caller.principal, DomainId(domain), filter.name.as_deref(), page).await?;
    let roles = listed.rows.into_iter().map(Role::from).collect();
    Ok(Body(RolePage { total: listed.total, offset: page.offset, limit: page.limit, roles }))
}

/// One role
#[utoipa::path(get, path = "/domains/{id}/roles/{role_id}", tag = "roles", operation_id = "view_role",
    params(("id" = Uuid, Path), ("role_id" = String, Path)), responses((status = 200, body = Role), Errors))]
async fn view(
    State(app): State<App>,
    caller: Caller,
    Path(at): Path<(Uuid, String)>,
) -> ApiResult<Body<Role>> {
    let (row, actions) = app.view_role(&caller.principal, place(&at)).await?;
    Ok(Body(Role { actions: Some(actions), ..row.into() }))
}

#[derive(Deserialize, ToSchema)]
struct RenameRole {
    #[schema(min_length = 1, max_length = 200)]
    name: String,
}

/// Give a role another name
#[utoipa::path(put, path = "/domains/{id}/roles/{role_id}", tag = "roles", operation_id = "rename_role",
    params(("id" = Uuid, Path), ("role_id" = String, Path)), request_body = RenameRole,
    responses((status = 200, body = Role), Errors))]
async fn rename(
    State(app): State<App>,
    caller: Caller,
    Path(at): Path<(Uuid, String)>,
    Json(role): Json<RenameRole>,
) -> ApiResult<Body<Role>> {
    Ok(Body(app.rename_role(&caller.principal, &caller.asker, place(&at), &role.name).await?.into()))
}

/// Delete a role
#[utoipa::path(delete, path = "/domains/{id}/roles/{role_id}", tag = "roles", operation_id = "delete_role",
    params(("id" = Uuid, Path), ("role_id" = String, Path)), responses((status = 204), Errors))]
async fn delete(
    State(app): State<App>,
    caller: Caller,
    Path(at): Path<(Uuid, String)>,
) -> ApiResult<StatusCode> {
    app.delete_role(&caller.principal, &caller.asker, place(&at)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Actions of a role.
#[derive(Serialize, Deserialize, ToSchema)]
struct Actions {
    actions: Vec<String>,
}

/// Let a role's members do more
#[utoipa::path(post, path = "/domains/{id}/roles/{role_id}/actions", tag = "roles",
    operation_id = "add_role_actions", params(("id" = Uuid, Path), ("role_id" = String, Path)),
    request_body = Actions, responses((status = 200, body = Actions), Errors))]
async fn add_actions(
    State(app): State<App>,
    caller: Caller,
    Path(at): Path<(Uuid, String)>,
    Json(body): Json<Actions>,
) -> ApiResult<Body<Actions>> {
    let actions = app.add_role_actions(&caller.principal, &caller.asker, place(&at), &body.actions).await?;
    Ok(Body(Actions { actions }))
}

/// What a role's members may do
#[utoipa::path(get, path = "/domains/{id}/roles/{role_id}/actions", tag = "roles",
    operation_id = "list_role_actions", params(("id" = Uuid, Path), ("role_id" = String, Path)),
    responses((status = 200, body = Actions), Errors))]
async fn list_actions(
    State(app): State<App>,
    caller: Caller,
    Path(at): Path<(Uuid, String)>,
) -> ApiResult<Body<Actions>> {
    let (_, actions) = app.view_role(&caller.principal, place(&at)).await?;
    Ok(Body(Actions { actions }))
}

/// Let a role's members do less
#[utoipa::path(post, path = "/domains/{id}/roles/{role_id}/actions/delete", tag = "roles",
    operation_id = "remove_role_actions", params(("id" = Uuid, Path), ("role_id" = String, Path)),
    request_body = Actions, responses((status = 204), Errors))]
async fn remove_actions(
    State(app): State<App>,
    caller: Caller,
    Path(at): Path<(Uuid, String)>,
    Json(body): Json<Actions>,
) -> ApiResult<StatusCode> {
    let Caller { principal, asker } = &caller;
    app.remove_role_actions(principal, asker, place(&at), Some(&body.actions)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Let a role's members do nothing
#[utoipa::path(post, path = "/domains/{id}/roles/{role_id}/actions/delete-all", tag = "roles",
    operation_id = "remove_all_role_actions", params(("id" = Uuid, Path), ("role_id" = String, Path)),
    responses((status = 204), Errors))]
async fn remove_all_actions(
    State(app): State<App>,
    caller: Caller,
    Path(at): Path<(Uuid, String)>,
) -> ApiResult<StatusCode> {
    app.remove_role_actions(&caller.principal, &caller.asker, place(&at), None).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Members of a role.
#[derive(Serialize, Deserialize, ToSchema)]
struct Members {
    members: Vec<Uuid>,
}

impl Members {
    fn ids(&self) -> Vec<UserId> {
        self.members.iter().copied().map(UserId).collect()
    }
}

/// Give a role to users
#[utoipa::path(post, path = "/domains/{id}/roles/{role_id}/members", tag = "roles",
    operation_id = "add_role_members", params(("id" = Uuid, Path), ("role_id" = String, Path)),
    request_body = Members, responses((status = 200, body = Members), Errors))]
async fn add_members(
    State(app): State<App>,
    caller: Caller,
    Path(at): Path<(Uuid, String)>,
    Json(body): Json<Members>,
) -> ApiResult<Body<Members>> {
    app.add_role_members(&caller.principal, &caller.asker, place(&at), &body.ids()).await?;
    Ok(Body(body))
}

/// Part of the list of a role's members.
#[derive(Serialize, ToSchema)]
struct RoleMemberPage {
    total: i64,
    offset: i64,
    limit: i64,
    members: Vec<Uuid>,
}

/// A role's members
#[utoipa::path(get, path = "/domains/{id}/roles/{role_id}/members", tag = "roles",
    operation_id = "list_role_members", params(("id" = Uuid, Path), ("role_id" = String, Path), Paging),
    responses((status = 200, body = RoleMemberPage), Errors))]
async fn list_members(
    State(app): State<App>,
    caller: Caller,
    Path(at): Path<(Uuid, String)>,
    Query(paging): Query<Paging>,
) -> ApiResult<Body<RoleMemberPage>> {
    let page = paging.page()?;
    let listed = app.role_members(&caller.principal, place(&at), page).await?;
    let members = listed.rows.into_iter().map(|user| user.0).collect();
    Ok(Body(RoleMemberPage { total: listed.total, offset: page.offset, limit: page.limit, members }))
}

/// Take a role from users
#[utoipa::path(post, path = "/domains/{id}/roles/{role_id}/members/delete", tag = "roles",
    operation_id = "remove_role_members", params(("id" = Uuid, Path), ("role_id" = String, Path)),
    request_body = Members, responses((status = 204), Errors))]
async fn remove_members(
    State(app): State<App>,
    caller: Caller,
    Path(at): Path<(Uuid, String)>,
    Json(body): Json<Members>,
) -> ApiResult<StatusCode> {
    let Caller { principal, asker } = &caller;
    app.remove_role_members(principal, asker, place(&at), Some(&body.ids())).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Take a role from everybody
#[utoipa::path(post, path = "/domains/{id}/roles/{role_id}/members/delete-all", tag = "roles",
    operation_id = "remove_all_role_members", params(("id" = Uuid, Path), ("role_id" = String, Path)),
    responses((status = 204), Errors))]
async fn remove_all_members(
    State(app): State<App>,
    caller: Caller,
    Path(at): Path<(Uuid, String)>,
) -> ApiResult<StatusCode> {
    app.remove_role_members(&caller.principal, &caller.asker, place(&at), None).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A member of a domain.
#[derive(Serialize, ToSchema)]
struct DomainMember {
    member_id: Uuid,
    roles: Vec<MemberRole>,
}

/// A role that a member has.
#[derive(Serialize, ToSchema)]
struct MemberRole {
    role_id: String,
    role_name: String,
}

/// Part of the list of a domain's members.
#[derive(Serialize, ToSchema)]
struct DomainMemberPage {
    total: i64,
    offset: i64,
    limit: i64,
    members: Vec<DomainMember>,
}

/// Everybody who has a role in the domain
#[utoipa::path(get, path = "/domains/{id}/roles/members", tag = "roles", operation_id = "list_domain_members",
    params(("id" = Uuid, Path), Paging), responses((status = 200, body = DomainMemberPage), Errors))]
async fn domain_members(
    State(app): State<App>,
    caller: Caller,
    Path(domain): Path<Uuid>,
    Query(paging): Query<Paging>,
) -> ApiResult<Body<DomainMemberPage>> {
    let page = paging.page()?;
    let listed = app.domain_members(&caller.principal, DomainId(domain), page).await?;
    let role = |row: RoleRow| MemberRole { role_id: row.id, role_name: row.name };
    let members = listed.rows.into_iter().map(|member| DomainMember {
        member_id: member.user.0,
        roles: member.roles.into_iter().map(role).collect(),
    });
    let members = members.collect();
    Ok(Body(DomainMemberPage { total: listed.total, offset: page.offset, limit: page.limit, members }))
}

#[derive(Deserialize, ToSchema)]
struct MemberIds {
    #[schema(min_items = 1)]
    member_ids: Vec<Uuid>,
}

/// Take every role of the domain from users
#[utoipa::path(delete, path = "/domains/{id}/roles", tag = "roles", operation_id = "remove_domain_members",
    params(("id" = Uuid, Path)), request_body = MemberIds, responses((status = 204), Errors))]
async fn remove_from_domain(
    State(app): State<App>,
    caller: Caller,
    Path(domain): Path<Uuid>,
    Json(body): Json<MemberIds>,
) -> ApiResult<StatusCode> {
    let members: Vec<_> = body.member_ids.into_iter().map(UserId).collect();
    app.remove_from_domain(&caller.principal, &caller.asker, DomainId(domain), &members).await?;
    Ok(StatusCode::NO_CONTENT)
}
