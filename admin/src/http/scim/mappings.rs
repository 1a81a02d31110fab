//! `/api/v1/scim/group-mappings`: which roles of domains the members of a group have.

use axum::Json as Answer;
use axum::extract::State;
use axum::http::StatusCode;
use cube_wire::DomainId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::app::App;
use crate::clock::Moment;
use crate::http::extract::{Caller, Json, Path, Query};
use crate::http::paging::{EitherPaging, Place, Way};
use crate::http::{ApiResult, Errors};
use crate::store::Cursor;
use crate::store::scim::groups::MappingRow;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(create, list)).routes(routes!(delete))
}

/// Members of the group have the role.
#[derive(Serialize, ToSchema)]
struct GroupMapping {
    id: Uuid,
    group_id: Uuid,
    group_name: String,
    domain_id: Uuid,
    role_id: String,
    role_name: String,
    created_at: Moment,
}

impl From<MappingRow> for GroupMapping {
    fn from(row: MappingRow) -> Self {
        Self {
            id: row.id,
            group_id: row.group,
            group_name: row.group_name,
            domain_id: row.domain.0,
            role_id: row.role,
            role_name: row.role_name,
            created_at: row.created_at,
        }
    }
}

#[derive(Deserialize, ToSchema)]
struct CreateGroupMapping {
    /// A group that an identity provider has made: its SCIM `id`.
    group_id: Uuid,
    domain_id: Uuid,
    /// A role of that domain.
    role_id: String,
}

/// Give the members of a group a role of a domain (superadmins)
#[utoipa::path(post, path = "/api/v1/scim/group-mappings", tag = "scim", operation_id = "create_group_mapping",
    request_body = CreateGroupMapping, responses((status = 201, body = GroupMapping), Errors))]
async fn create(
    State(app): State<App>,
    caller: Caller,
    Json(new): Json<CreateGroupMapping>,
) -> ApiResult<(StatusCode, Answer<GroupMapping>)> {
    let Caller { principal, asker } = &caller;
    let row = app.map_group(principal, asker, new.group_id, DomainId(new.domain_id), &new.role_id).await?;
    Ok((StatusCode::CREATED, Answer(row.into())))
}

/// Part of the list of mappings.
#[derive(Serialize, ToSchema)]
struct GroupMappingPage {
    #[serde(flatten)]
    place: Place,
    mappings: Vec<GroupMapping>,
}

/// Which groups have which roles (superadmins)
#[utoipa::path(get, path = "/api/v1/scim/group-mappings", tag = "scim", operation_id = "list_group_mappings",
    params(EitherPaging), responses((status = 200, body = GroupMappingPage), Errors))]
async fn list(
    State(app): State<App>,
    caller: Caller,
    Query(paging): Query<EitherPaging>,
) -> ApiResult<Answer<GroupMappingPage>> {
    let (rows, place) = match paging.way()? {
        Way::Offset(page) => {
            Place::by_offset(page, app.list_group_mappings(&caller.principal, None, page).await?)
        }
        Way::Cursor(paging) => {
            let (after, rows) = (paging.after(Cursor::of_text)?, paging.rows()?);
            let rows = app.list_group_mappings_after(&caller.principal, after, rows).await?;
            paging.place(rows, |mapping| mapping.cursor().to_string())
        }
    };
    Ok(Answer(GroupMappingPage { place, mappings: rows.into_iter().map(GroupMapping::from).collect() }))
}

/// Take a role from the members of a group (superadmins); whoever was given it by somebody keeps it
#[utoipa::path(delete, path = "/api/v1/scim/group-mappings/{id}", tag = "scim",
    operation_id = "delete_group_mapping", params(("id" = Uuid, Path)), responses((status = 204), Errors))]
async fn delete(State(app): State<App>, caller: Caller, Path(id): Path<Uuid>) -> ApiResult<StatusCode> {
    app.unmap_group(&caller.principal, &caller.asker, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
