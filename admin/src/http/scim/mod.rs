//! `/api/scim/v2`: SCIM 2.0 (RFC 7644) for identity providers. Bodies and errors are SCIM's; `Bearer` and `Api-Key` are both accepted.

mod discovery;
mod extract;
mod groups;
mod mappings;
mod resources;
mod users;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, IntoResponses, ToSchema};
use utoipa_axum::router::OpenApiRouter;

use super::ApiError;
use crate::app::App;
use crate::app::scim::resources::One;
use crate::app::scim::{Found, ScimFault, Wish};
use crate::scim::resource::Wanted;
use crate::scim::schema::ResourceType;
use crate::scim::{ScimError, ScimType};

/// Where everything of this is.
pub(crate) const BASE: &str = "/api/scim/v2";
const MEDIA_TYPE: &str = "application/scim+json";
const ERROR: &str = "urn:ietf:params:scim:api:messages:2.0:Error";
const LIST_RESPONSE: &str = "urn:ietf:params:scim:api:messages:2.0:ListResponse";

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .merge(users::routes())
        .merge(groups::routes())
        .merge(discovery::routes())
        .merge(mappings::routes())
}

/// Why a SCIM request was not done, as an answer.
#[derive(Debug)]
pub(super) enum ScimFailure {
    Fault(ScimFault),
    Request(ApiError),
    /// Nothing of ours does this.
    NotImplemented,
}

type ScimResult<T = Response> = Result<T, ScimFailure>;

impl<E: Into<ScimFault>> From<E> for ScimFailure {
    fn from(error: E) -> Self {
        Self::Fault(error.into())
    }
}

impl ScimFailure {
    fn syntax(detail: impl Into<String>) -> Self {
        Self::Fault(ScimError::new(ScimType::InvalidSyntax, detail).into())
    }
}

/// An error as SCIM writes it (RFC 7644 §3.12): the status is a text.
pub(super) fn error_response(status: StatusCode, scim_type: Option<&str>, detail: &str) -> Response {
    let mut body = json!({ "schemas": [ERROR], "status": status.as_u16().to_string(), "detail": detail });
    if let Some(scim_type) = scim_type {
        body["scimType"] = scim_type.into();
    }
    response(status, body)
}

fn response(status: StatusCode, body: Value) -> Response {
    let mut response = (status, Json(body)).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    response
}

impl IntoResponse for ScimFailure {
    fn into_response(self) -> Response {
        let error = match self {
            Self::Fault(ScimFault::Scim(error)) => {
                let status = match error.kind {
                    ScimType::Uniqueness => StatusCode::CONFLICT,
                    ScimType::InvalidFilter
                    | ScimType::TooMany
                    | ScimType::Mutability
                    | ScimType::InvalidSyntax
                    | ScimType::InvalidPath
                    | ScimType::NoTarget
                    | ScimType::InvalidValue => StatusCode::BAD_REQUEST,
                };
                return error_response(status, Some(error.kind.name()), &error.detail);
            }
            Self::Fault(ScimFault::Changed) => {
                let detail = "the resource is not any more as you have seen it";
                return error_response(StatusCode::PRECONDITION_FAILED, None, detail);
            }
            Self::NotImplemented => {
                return error_response(StatusCode::NOT_IMPLEMENTED, None, "not implemented");
            }
            Self::Fault(ScimFault::App(error)) => ApiError::App(error),
            Self::Request(error) => error,
        };
        error.log();
        let (status, _, message) = error.parts();
        let mut response = error_response(status, None, &message);
        if let Some(challenge) = error.challenge() {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

/// Whether a path is one of SCIM's, so that errors have its form.
pub(super) fn is_below(path: &str) -> bool {
    path.strip_prefix(BASE).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// An error that is made where no entrypoint was reached, in the form of its family.
pub(super) fn in_family(path: &str, error: ApiError) -> Response {
    if is_below(path) { ScimFailure::Request(error).into_response() } else { error.into_response() }
}

/// One resource, with its ETag.
fn one(status: StatusCode, One { resource, version }: One) -> Response {
    let location = resource.pointer("/meta/location").and_then(Value::as_str).map(str::to_owned);
    let mut response = response(status, resource);
    let headers = response.headers_mut();
    if let Ok(etag) = HeaderValue::from_str(&version) {
        headers.insert(header::ETAG, etag);
    }
    if let Some(location) = location.and_then(|location| HeaderValue::from_str(&location).ok()) {
        headers.insert(header::LOCATION, location);
    }
    response
}

fn list(found: Found) -> Response {
    let body = json!({
        "schemas": [LIST_RESPONSE],
        "totalResults": found.total,
        "startIndex": found.start_index,
        "itemsPerPage": found.resources.len(),
        "Resources": found.resources,
    });
    response(StatusCode::OK, body)
}

/// Which resources are wanted, and what of them.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// A filter (RFC 7644 §3.4.2.2): `userName eq "ada@example.org"`. At most 4096 bytes, 32 brackets within each other, 256 conditions.
    #[param(max_length = 4096)]
    filter: Option<String>,
    /// The first resource, counted from 1; less is 1.
    #[param(value_type = Option<i64>)]
    start_index: Option<String>,
    /// Resources to return; 0 gives totals only, at most 200 are returned.
    #[param(value_type = Option<i64>)]
    count: Option<String>,
    /// An attribute to sort by.
    sort_by: Option<String>,
    /// `ascending` (the default) or `descending`.
    #[param(value_type = Option<SortOrder>)]
    sort_order: Option<String>,
    /// The only attributes to return, with commas between them.
    attributes: Option<String>,
    /// Attributes to leave out, with commas between them.
    excluded_attributes: Option<String>,
}

/// How to sort.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[allow(dead_code, reason = "describes a parameter; never made")]
enum SortOrder {
    Ascending,
    Descending,
}

impl ListQuery {
    fn read(&self, kind: &'static ResourceType) -> ScimResult<(Wish, Wanted)> {
        let number = |name: &str, text: &Option<String>| match text.as_deref().map(str::parse::<i64>) {
            None => Ok(None),
            Some(Ok(number)) => Ok(Some(number.clamp(i64::from(i32::MIN), i64::from(i32::MAX)))),
            Some(Err(_)) => Err(ScimError::new(ScimType::InvalidValue, format!("`{name}` is no integer"))),
        };
        let descending = match self.sort_order.as_deref() {
            None => false,
            Some(order) if order.eq_ignore_ascii_case("ascending") => false,
            Some(order) if order.eq_ignore_ascii_case("descending") => true,
            Some(_) => {
                let text = "`sortOrder` is ascending or descending";
                return Err(ScimError::new(ScimType::InvalidValue, text).into());
            }
        };
        let wish = Wish {
            filter: self.filter.clone().filter(|filter| !filter.is_empty()),
            sort_by: self.sort_by.clone().filter(|by| !by.is_empty()),
            descending,
            start_index: number("startIndex", &self.start_index)?,
            count: number("count", &self.count)?,
        };
        let wanted = Wanted::read(kind, self.attributes.as_deref(), self.excluded_attributes.as_deref())?;
        Ok((wish, wanted))
    }
}

/// Which attributes are wanted of one resource.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
struct AttributesQuery {
    /// The only attributes to return, with commas between them.
    attributes: Option<String>,
    /// Attributes to leave out, with commas between them.
    excluded_attributes: Option<String>,
}

impl AttributesQuery {
    fn read(&self, kind: &'static ResourceType) -> ScimResult<Wanted> {
        Ok(Wanted::read(kind, self.attributes.as_deref(), self.excluded_attributes.as_deref())?)
    }
}

/// A search as a body (RFC 7644 §3.4.3).
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
struct SearchRequest {
    #[schema(max_length = 4096)]
    filter: Option<String>,
    start_index: Option<i64>,
    count: Option<i64>,
    sort_by: Option<String>,
    #[schema(value_type = Option<SortOrder>)]
    sort_order: Option<String>,
    attributes: Option<Vec<String>>,
    excluded_attributes: Option<Vec<String>>,
}

impl From<SearchRequest> for ListQuery {
    fn from(search: SearchRequest) -> Self {
        Self {
            filter: search.filter,
            start_index: search.start_index.map(|number| number.to_string()),
            count: search.count.map(|number| number.to_string()),
            sort_by: search.sort_by,
            sort_order: search.sort_order,
            attributes: search.attributes.map(|names| names.join(",")),
            excluded_attributes: search.excluded_attributes.map(|names| names.join(",")),
        }
    }
}

/// Any resource, or a list of them.
#[derive(Serialize, ToSchema)]
#[schema(value_type = Object)]
struct Resource(Value);

/// An error as SCIM writes it.
#[derive(Serialize, ToSchema)]
struct ErrorMessage {
    schemas: Vec<String>,
    /// The status, as a text.
    #[schema(pattern = "^[45][0-9]{2}$")]
    status: String,
    /// What is wrong, for programs (RFC 7644 table 9).
    #[serde(rename = "scimType", skip_serializing_if = "Option::is_none")]
    scim_type: Option<String>,
    /// What is wrong, for people.
    detail: String,
}

/// The errors that entrypoints of SCIM may answer with, for the API's description.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "describes answers; never made")]
enum ScimErrors {
    /// A filter, a path, a value or the body is wrong; `scimType` says which.
    #[response(status = 400, content_type = "application/scim+json")]
    BadRequest(#[to_schema] ErrorMessage),
    /// No credential, or one that is not good.
    #[response(status = 401, content_type = "application/scim+json")]
    Unauthorized(#[to_schema] ErrorMessage),
    /// Not allowed.
    #[response(status = 403, content_type = "application/scim+json")]
    Forbidden(#[to_schema] ErrorMessage),
    /// There is no such resource.
    #[response(status = 404, content_type = "application/scim+json")]
    NotFound(#[to_schema] ErrorMessage),
    /// Another resource has this value, or the last superadmin would go.
    #[response(status = 409, content_type = "application/scim+json")]
    Conflict(#[to_schema] ErrorMessage),
    /// The resource has changed since.
    #[response(status = 412, content_type = "application/scim+json")]
    PreconditionFailed(#[to_schema] ErrorMessage),
    /// The body is larger than 1 MiB.
    #[response(status = 413, content_type = "application/scim+json")]
    TooLarge(#[to_schema] ErrorMessage),
    /// The body is neither `application/scim+json` nor `application/json`.
    #[response(status = 415, content_type = "application/scim+json")]
    UnsupportedMediaType(#[to_schema] ErrorMessage),
}
