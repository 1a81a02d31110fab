//! `/api/routes`: rules that send requests elsewhere than their model's deployment.

use axum::Json as Body;
use axum::extract::State;
use axum::http::StatusCode;
use cube_wire::DomainId;
use cube_wire::record::{Condition, Matcher};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::extract::{Caller, Json, Paging, Path, Query};
use super::{ApiResult, Errors};
use crate::app::routes::NewRoute;
use crate::app::{App, AppError};
use crate::clock::Moment;
use crate::store::routes::RouteRow;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(create, list)).routes(routes!(view, replace, delete))
}

/// A rule.
#[derive(Serialize, ToSchema)]
struct Route {
    name: String,
    /// Where requests go, if not to a deployment.
    #[serde(skip_serializing_if = "Option::is_none")]
    target_url: Option<String>,
    /// Where requests go, if not to a URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    deployment: Option<String>,
    /// Whose requests it sees; absent: everybody's.
    #[serde(skip_serializing_if = "Option::is_none")]
    domain_id: Option<Uuid>,
    matchers: Vec<RouteMatcher>,
    priority: u16,
    default_rule: bool,
    strip_prefix: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    operation: Option<String>,
    event_type: String,
    enabled: bool,
    /// Attested TLS to the target; there is none yet.
    atls: bool,
    created_at: Moment,
    updated_at: Moment,
}

/// One condition of a rule.
#[derive(Serialize, Deserialize, ToSchema)]
struct RouteMatcher {
    condition: ConditionName,
    /// The name of the header, query parameter or (dotted) body field.
    #[serde(default)]
    #[schema(max_length = 256)]
    field: String,
    /// The whole value, or a regular expression that has to match anywhere in it.
    #[schema(min_length = 1, max_length = 4096)]
    pattern: String,
    #[serde(default)]
    is_regex: bool,
}

/// What is looked at.
#[derive(Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum ConditionName {
    Path,
    Method,
    Header,
    QueryParam,
    BodyField,
    BodyRegex,
}

impl From<RouteMatcher> for Matcher {
    fn from(matcher: RouteMatcher) -> Self {
        let condition = match matcher.condition {
            ConditionName::Path => Condition::Path,
            ConditionName::Method => Condition::Method,
            ConditionName::Header => Condition::Header,
            ConditionName::QueryParam => Condition::QueryParam,
            ConditionName::BodyField => Condition::BodyField,
            ConditionName::BodyRegex => Condition::BodyRegex,
        };
        Self { condition, field: matcher.field, pattern: matcher.pattern, is_regex: matcher.is_regex }
    }
}

impl From<Matcher> for RouteMatcher {
    fn from(matcher: Matcher) -> Self {
        let condition = match matcher.condition {
            Condition::Path => ConditionName::Path,
            Condition::Method => ConditionName::Method,
            Condition::Header => ConditionName::Header,
            Condition::QueryParam => ConditionName::QueryParam,
            Condition::BodyField => ConditionName::BodyField,
            Condition::BodyRegex => ConditionName::BodyRegex,
        };
        Self { condition, field: matcher.field, pattern: matcher.pattern, is_regex: matcher.is_regex }
    }
}

impl From<RouteRow> for Route {
    fn from(row: RouteRow) -> Self {
        Self {
            name: row.name,
            deployment: row.target_url.is_none().then_some(row.deployment),
            target_url: row.target_url,
            domain_id: row.domain.map(|id| id.0),
            matchers: row.matchers.into_iter().map(RouteMatcher::from).collect(),
            priority: row.priority,
            default_rule: row.default_rule,
            strip_prefix: row.strip_prefix,
            operation: row.operation,
            event_type: row.event_type,
            enabled: row.enabled,
            atls: false,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

/// All of a rule.
#[derive(Deserialize, ToSchema)]
struct RouteFields {
    /// 1 to 255 letters, digits, `-` or `_`. When a rule is replaced it may be left out.
    #[serde(default)]
    #[schema(max_length = 255)]
    name: String,
    /// `http://host[:port][/base]`; either this or `deployment`.
    #[schema(max_length = 1024)]
    target_url: Option<String>,
    deployment: Option<String>,
    domain_id: Option<Uuid>,
    #[serde(default)]
    #[schema(max_items = 32)]
    matchers: Vec<RouteMatcher>,
    #[serde(default)]
    #[schema(maximum = 1000)]
    priority: u16,
    #[serde(default)]
    default_rule: bool,
    #[serde(default)]
    #[schema(max_length = 1024)]
    strip_prefix: String,
    /// What callers need where the path is not one of the model API's.
    operation: Option<String>,
    /// Sent to callers as `X-Event-Type`; `llm_request` if absent.
    #[schema(max_length = 255)]
    event_type: Option<String>,
    /// `true` if absent.
    enabled: Option<bool>,
    /// Only `false`: there is no attested TLS yet.
    atls: Option<bool>,
}

impl RouteFields {
    fn into_new(self) -> Result<NewRoute, AppError> {
        // To take `true` and send requests in the clear would be worse than to refuse.
        if self.atls == Some(true) {
            return Err(AppError::invalid("atls", "attested TLS is not supported yet"));
        }
        Ok(NewRoute {
            name: self.name,
            domain: self.domain_id.map(DomainId),
            target_url: self.target_url.filter(|url| !url.is_empty()),
            deployment: self.deployment.filter(|name| !name.is_empty()),
            matchers: self.matchers.into_iter().map(Matcher::from).collect(),
            priority: self.priority,
            default_rule: self.default_rule,
            strip_prefix: self.strip_prefix,
            operation: self.operation.filter(|name| !name.is_empty()),
            event_type: self.event_type.unwrap_or_else(|| "llm_request".to_owned()),
            enabled: self.enabled.unwrap_or(true),
        })
    }
}

/// Add a rule (superadmins)
#[utoipa::path(post, path = "/api/routes", tag = "routes", operation_id = "create_route",
    request_body = RouteFields, responses((status = 201, body = Route), Errors))]
async fn create(
    State(app): State<App>,
    caller: Caller,
    Json(route): Json<RouteFields>,
) -> ApiResult<(StatusCode, Body<Route>)> {
    let row = app.create_route(&caller.principal, &caller.asker, route.into_new()?).await?;
    Ok((StatusCode::CREATED, Body(row.into())))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Filter {
    /// Part of the name.
    name: Option<String>,
    /// Only those of this domain.
    domain_id: Option<Uuid>,
}

/// Part of the list of rules.
#[derive(Serialize, ToSchema)]
struct RoutePage {
    total: i64,
    offset: i64,
    limit: i64,
    routes: Vec<Route>,
}

/// Rules, higher priorities first, equal ones by name (superadmins)
#[utoipa::path(get, path = "/api/routes", tag = "routes", operation_id = "list_routes", params(Filter, Paging),
    responses((status = 200, body = RoutePage), Errors))]
async fn list(
    State(app): State<App>,
    caller: Caller,
    Query(filter): Query<Filter>,
    Query(paging): Query<Paging>,
) -> ApiResult<Body<RoutePage>> {
    let page = paging.page()?;
    let domain = filter.domain_id.map(DomainId);
    let listed = app.list_routes(&caller.principal, filter.name.as_deref(), domain, page).await?;
    let routes = listed.rows.into_iter().map(Route::from).collect();
    Ok(Body(RoutePage { total: listed.total, offset: page.offset, limit: page.limit, routes }))
}

/// One rule (superadmins)
#[utoipa::path(get, path = "/api/routes/{name}", tag = "routes", operation_id = "view_route",
    params(("name" = String, Path)), responses((status = 200, body = Route), Errors))]
async fn view(State(app): State<App>, caller: Caller, Path(name): Path<String>) -> ApiResult<Body<Route>> {
    Ok(Body(app.view_route(&caller.principal, &name).await?.into()))
}

/// Replace all of a rule, its name too (superadmins)
#[utoipa::path(put, path = "/api/routes/{name}", tag = "routes", operation_id = "replace_route",
    params(("name" = String, Path)), request_body = RouteFields, responses((status = 200, body = Route), Errors))]
async fn replace(
    State(app): State<App>,
    caller: Caller,
    Path(name): Path<String>,
    Json(route): Json<RouteFields>,
) -> ApiResult<Body<Route>> {
    let mut new = route.into_new()?;
    if new.name.is_empty() {
        new.name.clone_from(&name);
    }
    Ok(Body(app.replace_route(&caller.principal, &caller.asker, &name, new).await?.into()))
}

/// What was done.
#[derive(Serialize, ToSchema)]
struct Done {
    #[schema(example = "route deleted successfully")]
    message: &'static str,
}

/// Delete a rule (superadmins)
#[utoipa::path(delete, path = "/api/routes/{name}", tag = "routes", operation_id = "delete_route",
    params(("name" = String, Path)), responses((status = 200, body = Done), Errors))]
async fn delete(State(app): State<App>, caller: Caller, Path(name): Path<String>) -> ApiResult<Body<Done>> {
    app.delete_route(&caller.principal, &caller.asker, &name).await?;
    Ok(Body(Done { message: "route deleted successfully" }))
}
