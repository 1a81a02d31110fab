//! `/audit` and `/domains/{id}/audit`: what was done, and what went through the proxies.

use axum::Json as Body;
use axum::body::{Body as AnyBody, Bytes};
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use cube_wire::DomainId;
use cube_wire::feed::UsageRecord;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::extract::{Caller, Path, Query};
use super::paging::{CursorPaging, PageInfo};
use super::pieces::Pieces;
use super::usage::moment;
use super::{ApiResult, Errors};
use crate::app::audit::EVENTS_MAX;
use crate::app::{App, AppError};
use crate::clock::Moment;
use crate::store::audit::{Action, AuditFilter, Credential, Cursor, Event, Kind, What};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list_all))
        .routes(routes!(list))
        .routes(routes!(export))
        .routes(routes!(list_by_cursor))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Wanted {
    /// Only `action`s (management) or only `request`s (through the proxies).
    #[param(inline)]
    kind: Option<KindName>,
    /// From this time on (RFC 3339).
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<String>,
    /// Before this time (RFC 3339).
    #[param(value_type = Option<String>, format = DateTime)]
    to: Option<String>,
    /// By this user.
    user: Option<Uuid>,
    /// With this PAT.
    pat: Option<Uuid>,
}

/// Which part of the log is wanted.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Place {
    /// Where the last page ended: its `next`.
    #[param(pattern = "^[0-9]{1,18}\\..+$")]
    cursor: Option<String>,
    /// Events to return: 1 to 1000.
    #[serde(default = "default_limit")]
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: u32,
}

const fn default_limit() -> u32 {
    100
}

#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum KindName {
    Action,
    Request,
}

impl Wanted {
    fn filter(&self, after: Option<Cursor>) -> Result<AuditFilter, AppError> {
        Ok(AuditFilter {
            domain: None,
            kind: self.kind.map(|kind| match kind {
                KindName::Action => Kind::Action,
                KindName::Request => Kind::Request,
            }),
            from: moment("from", self.from.as_deref())?,
            to: moment("to", self.to.as_deref())?,
            user: self.user,
            pat: self.pat,
            after,
        })
    }
}

impl Place {
    fn after(&self) -> Result<Option<Cursor>, AppError> {
        let read = |text| cursor_of_text(text).ok_or_else(|| AppError::invalid("cursor", "not one of ours"));
        self.cursor.as_deref().map(read).transpose()
    }

    fn limit(&self) -> Result<i64, AppError> {
        let limit = i64::from(self.limit);
        if (1..=EVENTS_MAX).contains(&limit) {
            Ok(limit)
        } else {
            Err(AppError::invalid("limit", "1 to 1000"))
        }
    }
}

fn cursor_of_text(text: &str) -> Option<Cursor> {
    let (at, tie) = text.split_once('.')?;
    Some(Cursor { at: Moment(at.parse().ok()?), tie: tie.to_owned() })
}

fn text_of_cursor(cursor: &Cursor) -> String {
    format!("{}.{}", cursor.at.0, cursor.tie)
}

/// Part of the audit log, newest first.
#[derive(Serialize, ToSchema)]
struct AuditPage {
    events: Vec<EventBody>,
    /// The next page's `cursor`; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// An event; fields that do not apply are absent. Names are those of Cube's audit log.
#[derive(Serialize, ToSchema)]
struct EventBody {
    timestamp: Moment,
    /// `management_action` or `llm_request`.
    event_type: &'static str,
    request_id: String,
    session: Session,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_ip: Option<String>,
    #[serde(flatten)]
    #[schema(value_type = Object)]
    details: Details,
}

#[derive(Serialize, ToSchema)]
struct Session {
    #[serde(rename = "UserID", skip_serializing_if = "Option::is_none")]
    user: Option<Uuid>,
    /// What showed who that is: `password`, `login`, `pat`, `api_key`, `external_token` or `local` (a shell on cube-admin's machine).
    #[serde(rename = "Credential", skip_serializing_if = "Option::is_none")]
    credential: Option<&'static str>,
    #[serde(rename = "PatID", skip_serializing_if = "Option::is_none")]
    pat: Option<Uuid>,
    #[serde(rename = "ApiKeyID", skip_serializing_if = "Option::is_none")]
    key: Option<Uuid>,
    #[serde(rename = "DomainID", skip_serializing_if = "Option::is_none")]
    domain: Option<Uuid>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Details {
    Action {
        action: String,
        entity_type: String,
        entity_id: String,
        outcome: String,
        #[serde(skip_serializing_if = "serde_json::Value::is_null")]
        details: serde_json::Value,
    },
    Request(Box<RequestDetails>),
}

#[derive(Serialize)]
struct RequestDetails {
    node: String,
    method: String,
    path: String,
    endpoint: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    operation: Option<String>,
    status_code: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_code: Option<String>,
    ending: String,
    duration_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_byte_ms: Option<u64>,
    request_size: u64,
    response_size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    input_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_tokens: Option<u64>,
    estimated: bool,
}

impl From<Event> for EventBody {
    fn from(event: Event) -> Self {
        let timestamp = event.cursor.at;
        match event.what {
            What::Action(action) => of_action(timestamp, *action),
            What::Request { node, record } => of_request(timestamp, node, *record),
        }
    }
}

fn of_action(timestamp: Moment, action: Action) -> EventBody {
    EventBody {
        timestamp,
        event_type: "management_action",
        request_id: action.request_id,
        session: Session {
            user: action.user,
            credential: action.credential.map(Credential::name),
            pat: action.pat,
            key: action.key,
            domain: action.domain,
        },
        client_ip: action.client_ip,
        details: Details::Action {
            action: action.action,
            entity_type: action.entity_type,
            entity_id: action.entity_id,
            outcome: action.outcome,
            details: action.details,
        },
    }
}

fn of_request(timestamp: Moment, node: String, record: UsageRecord) -> EventBody {
    let credential = Credential::of_request(&record).map(Credential::name);
    EventBody {
        timestamp,
        event_type: "llm_request",
        request_id: record.request_id,
        session: Session {
            user: record.user.map(|id| id.0),
            credential,
            pat: record.pat.map(|id| id.0),
            key: None,
            domain: record.domain.map(|id| id.0),
        },
        client_ip: record.client_ip,
        details: Details::Request(Box::new(RequestDetails {
            node,
            endpoint: format!("{} {}", record.method, record.path),
            method: record.method,
            path: record.path,
            operation: record.operation,
            status_code: record.status,
            error_code: record.error,
            ending: record.ending,
            duration_ms: record.duration_us / 1000,
            first_byte_ms: record.first_byte_us.map(|us| us / 1000),
            request_size: record.bytes_in,
            response_size: record.bytes_out,
            model: record.model,
            upstream: record.endpoint,
            input_tokens: record.prompt_tokens,
            output_tokens: record.completion_tokens,
            estimated: record.estimated,
        })),
    }
}

async fn page(
    app: &App,
    caller: &Caller,
    domain: Option<DomainId>,
    wanted: &Wanted,
    place: &Place,
) -> ApiResult<Body<AuditPage>> {
    let limit = place.limit()?;
    let filter = wanted.filter(place.after()?)?;
    let events = app.list_audit(&caller.principal, domain, filter, limit).await?;
    let full = i64::try_from(events.len()).is_ok_and(|count| count == limit);
    let next = events.last().filter(|_| full).map(|event| text_of_cursor(&event.cursor));
    Ok(Body(AuditPage { events: events.into_iter().map(EventBody::from).collect(), next }))
}

/// Everything that was done, and every request (superadmins)
#[utoipa::path(get, path = "/audit", tag = "audit", params(Wanted, Place),
    responses((status = 200, body = AuditPage), Errors))]
async fn list_all(
    State(app): State<App>,
    caller: Caller,
    Query(wanted): Query<Wanted>,
    Query(place): Query<Place>,
) -> ApiResult<Body<AuditPage>> {
    page(&app, &caller, None, &wanted, &place).await
}

/// What was done in a domain, and its requests (`audit_log_read`)
#[utoipa::path(get, path = "/domains/{id}/audit", tag = "audit", params(("id" = Uuid, Path), Wanted, Place),
    responses((status = 200, body = AuditPage), Errors))]
async fn list(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<Uuid>,
    Query(wanted): Query<Wanted>,
    Query(place): Query<Place>,
) -> ApiResult<Body<AuditPage>> {
    page(&app, &caller, Some(DomainId(id)), &wanted, &place).await
}

/// Pieces of an export that wait for a reader who is slow.
const PIECES: usize = 2;

/// All of a domain's events as NDJSON, newest first (`audit_log_export`)
#[utoipa::path(get, path = "/domains/{id}/audit/export", tag = "audit", params(("id" = Uuid, Path), Wanted, Place),
    responses((status = 200, description = "One event a line", content_type = "application/x-ndjson", body = String), Errors))]
async fn export(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<Uuid>,
    Query(wanted): Query<Wanted>,
    Query(place): Query<Place>,
) -> ApiResult<Response> {
    // Pages are ours to choose here, but a number that cannot be one is still a mistake.
    place.limit()?;
    let mut filter = wanted.filter(place.after()?)?;
    app.begin_audit_export(&caller.principal, &caller.asker, DomainId(id)).await?;
    filter.domain = Some(id);
    let media_type = [(header::CONTENT_TYPE, "application/x-ndjson")];
    Ok((media_type, exported(app, filter)).into_response())
}

/// All events of an export that was begun, a line each, made while they are sent.
pub(crate) fn exported(app: App, mut filter: AuditFilter) -> AnyBody {
    let (sender, receiver) = mpsc::channel(PIECES);
    tokio::spawn(async move {
        loop {
            let events = match app.next_of_export(&filter).await {
                Ok(events) if events.is_empty() => return,
                Ok(events) => events,
                Err(error) => {
                    tracing::error!(%error, "an export broke off");
                    let _ = sender.send(Err(std::io::Error::other("the export broke off"))).await;
                    return;
                }
            };
            filter.after = events.last().map(|event| event.cursor.clone());
            let piece: String = events.into_iter().map(line).collect();
            if sender.send(Ok(Bytes::from(piece))).await.is_err() {
                return;
            }
        }
    });
    AnyBody::from_stream(Pieces(receiver))
}

fn line(event: Event) -> String {
    let mut line = serde_json::to_string(&EventBody::from(event)).unwrap_or_default();
    line.push('\n');
    line
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Where {
    /// In this domain; absent: everywhere (superadmins).
    domain: Option<Uuid>,
}

/// Part of the audit log, newest first.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct AuditItems {
    items: Vec<EventBody>,
    page_info: PageInfo,
}

/// The audit log by cursor: of a domain (`audit_log_read`), or of everything (superadmins)
#[utoipa::path(get, path = "/api/v1/audit", tag = "audit", operation_id = "audit_by_cursor",
    params(Where, Wanted, CursorPaging), responses((status = 200, body = AuditItems), Errors))]
async fn list_by_cursor(
    State(app): State<App>,
    caller: Caller,
    Query(Where { domain }): Query<Where>,
    Query(wanted): Query<Wanted>,
    Query(paging): Query<CursorPaging>,
) -> ApiResult<Body<AuditItems>> {
    let rows = paging.rows()?;
    let filter = wanted.filter(paging.after(cursor_of_text)?)?;
    let events = app.list_audit(&caller.principal, domain.map(DomainId), filter, rows).await?;
    let (events, page_info) = paging.cut(events, |event| text_of_cursor(&event.cursor));
    Ok(Body(AuditItems { items: events.into_iter().map(EventBody::from).collect(), page_info }))
}
