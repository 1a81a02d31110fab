//! `/invitations` and `/domains/{id}/invitations`: roles that are offered.

use axum::Json as Body;
use axum::extract::State;
use axum::http::StatusCode;
use cube_wire::{DomainId, UserId};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::extract::{Caller, Json, Paging, Path, Query};
use super::{ApiResult, Errors};
use crate::app::App;
use crate::clock::Moment;
use crate::store::invitations::{InvitationRow, InvitationState};
use crate::store::{Listed, Page};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(invite, list_of_domain, delete))
        .routes(routes!(list_own))
        .routes(routes!(accept))
        .routes(routes!(reject))
}

/// A role that is offered to a user.
#[derive(Serialize, ToSchema)]
struct Invitation {
    domain_id: Uuid,
    domain_name: String,
    invitee_user_id: Uuid,
    role_id: String,
    role_name: String,
    invited_by: Uuid,
    created_at: Moment,
    updated_at: Moment,
    #[serde(skip_serializing_if = "Option::is_none")]
    confirmed_at: Option<Moment>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rejected_at: Option<Moment>,
}

impl From<InvitationRow> for Invitation {
    fn from(row: InvitationRow) -> Self {
        Self {
            domain_id: row.domain.0,
            domain_name: row.domain_name,
            invitee_user_id: row.invitee.0,
            role_id: row.role_id,
            role_name: row.role_name,
            invited_by: row.invited_by.0,
            created_at: row.created_at,
            updated_at: row.updated_at,
            confirmed_at: row.confirmed_at,
            rejected_at: row.rejected_at,
        }
    }
}

/// Part of a list of invitations.
#[derive(Serialize, ToSchema)]
struct InvitationPage {
    total: i64,
    offset: i64,
    limit: i64,
    invitations: Vec<Invitation>,
}

impl InvitationPage {
    fn of(listed: Listed<InvitationRow>, page: Page) -> Self {
        let invitations = listed.rows.into_iter().map(Invitation::from).collect();
        Self { total: listed.total, offset: page.offset, limit: page.limit, invitations }
    }
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Filter {
    /// `pending`, `accepted`, `rejected` or `all` (the default).
    #[param(inline)]
    state: Option<StateFilter>,
}

#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum StateFilter {
    Pending,
    Accepted,
    Rejected,
    All,
}

impl Filter {
    const fn state(&self) -> Option<InvitationState> {
        match self.state {
            Some(StateFilter::Pending) => Some(InvitationState::Pending),
            Some(StateFilter::Accepted) => Some(InvitationState::Accepted),
            Some(StateFilter::Rejected) => Some(InvitationState::Rejected),
            Some(StateFilter::All) | None => None,
        }
    }
}

#[derive(Deserialize, ToSchema)]
struct Invite {
    invitee_user_id: Uuid,
    role_id: String,
    /// Offer it again, if the user was invited already.
    #[serde(default)]
    resend: bool,
}

/// Offer a role to a user
#[utoipa::path(post, path = "/domains/{id}/invitations", tag = "invitations", operation_id = "send_invitation",
    params(("id" = Uuid, Path)), request_body = Invite, responses((status = 201, body = Invitation), Errors))]
async fn invite(
    State(app): State<App>,
    caller: Caller,
    Path(domain): Path<Uuid>,
    Json(invite): Json<Invite>,
) -> ApiResult<(StatusCode, Body<Invitation>)> {
    let Caller { principal, asker } = &caller;
    let offer = (UserId(invite.invitee_user_id), &*invite.role_id);
    let row = app.invite(principal, asker, DomainId(domain), offer, invite.resend).await?;
    Ok((StatusCode::CREATED, Body(row.into())))
}

/// Invitations into a domain
#[utoipa::path(get, path = "/domains/{id}/invitations", tag = "invitations",
    operation_id = "list_domain_invitations", params(("id" = Uuid, Path), Filter, Paging),
    responses((status = 200, body = InvitationPage), Errors))]
async fn list_of_domain(
    State(app): State<App>,
    caller: Caller,
    Path(domain): Path<Uuid>,
    Query(filter): Query<Filter>,
    Query(paging): Query<Paging>,
) -> ApiResult<Body<InvitationPage>> {
    let page = paging.page()?;
    let listed = app.domain_invitations(&caller.principal, DomainId(domain), filter.state(), page).await?;
    Ok(Body(InvitationPage::of(listed, page)))
}

#[derive(Deserialize, ToSchema)]
struct InvitedUser {
    user_id: Uuid,
}

/// Take an invitation back
#[utoipa::path(delete, path = "/domains/{id}/invitations", tag = "invitations",
    operation_id = "delete_invitation", params(("id" = Uuid, Path)), request_body = InvitedUser,
    responses((status = 204), Errors))]
async fn delete(
    State(app): State<App>,
    caller: Caller,
    Path(domain): Path<Uuid>,
    Json(of): Json<InvitedUser>,
) -> ApiResult<StatusCode> {
    let Caller { principal, asker } = &caller;
    app.delete_invitation(principal, asker, DomainId(domain), UserId(of.user_id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The caller's own invitations
#[utoipa::path(get, path = "/invitations", tag = "invitations", operation_id = "list_invitations",
    params(Filter, Paging), responses((status = 200, body = InvitationPage), Errors))]
async fn list_own(
    State(app): State<App>,
    caller: Caller,
    Query(filter): Query<Filter>,
    Query(paging): Query<Paging>,
) -> ApiResult<Body<InvitationPage>> {
    let page = paging.page()?;
    let listed = app.own_invitations(&caller.principal, filter.state(), page).await?;
    Ok(Body(InvitationPage::of(listed, page)))
}

#[derive(Deserialize, ToSchema)]
struct IntoDomain {
    domain_id: Uuid,
}

/// Take the role that a domain offers
#[utoipa::path(post, path = "/invitations/accept", tag = "invitations", operation_id = "accept_invitation",
    request_body = IntoDomain, responses((status = 204), Errors))]
async fn accept(
    State(app): State<App>,
    caller: Caller,
    Json(into): Json<IntoDomain>,
) -> ApiResult<StatusCode> {
    app.accept_invitation(&caller.principal, &caller.asker, DomainId(into.domain_id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Decline the role that a domain offers
#[utoipa::path(post, path = "/invitations/reject", tag = "invitations", operation_id = "reject_invitation",
    request_body = IntoDomain, responses((status = 204), Errors))]
async fn reject(
    State(app): State<App>,
    caller: Caller,
    Json(into): Json<IntoDomain>,
) -> ApiResult<StatusCode> {
    app.reject_invitation(&caller.principal, &caller.asker, DomainId(into.domain_id)).await?;
    Ok(StatusCode::NO_CONTENT)
}
