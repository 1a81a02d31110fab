//! `/api/v1/usage`: what requests add up to.

use axum::Json as Body;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::extract::{Caller, Query};
use super::paging::{EitherPaging, Place, Way};
use super::{ApiResult, Errors};
use crate::app::{App, AppError};
use crate::clock::{Moment, parse_moment};
use crate::store::usage::{Group, GroupBy, Sum, UsageFilter};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(report))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Wanted {
    /// By what to group; `day` by default.
    #[param(inline)]
    group_by: Option<GroupName>,
    /// From the hour with this time on (RFC 3339).
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<String>,
    /// Before this time (RFC 3339).
    #[param(value_type = Option<String>, format = DateTime)]
    to: Option<String>,
    /// In this domain.
    domain: Option<Uuid>,
    /// Of this user.
    user: Option<Uuid>,
    /// With this PAT.
    pat: Option<Uuid>,
    /// For this model.
    model: Option<String>,
}

#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum GroupName {
    Hour,
    Day,
    Domain,
    User,
    Pat,
    Model,
}

impl GroupName {
    const fn word(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Domain => "domain",
            Self::User => "user",
            Self::Pat => "pat",
            Self::Model => "model",
        }
    }
}

impl From<GroupName> for GroupBy {
    fn from(name: GroupName) -> Self {
        match name {
            GroupName::Hour => Self::Hour,
            GroupName::Day => Self::Day,
            GroupName::Domain => Self::Domain,
            GroupName::User => Self::User,
            GroupName::Pat => Self::Pat,
            GroupName::Model => Self::Model,
        }
    }
}

/// Part of a report. By offset the largest groups come first (times in order); by cursor groups come in their own order.
#[derive(Serialize, ToSchema)]
struct UsagePage {
    #[serde(flatten)]
    place: Place,
    usage: Vec<Row>,
}

/// What some requests add up to.
#[derive(Serialize, ToSchema)]
struct Row {
    /// The time, identifier or model of the group; absent for requests that have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<String>,
    requests: i64,
    /// Requests that ended with a status of 400 and more, or none.
    errors: i64,
    prompt_tokens: i64,
    completion_tokens: i64,
    /// Requests whose completion tokens were counted from events, because the model server did not say.
    estimated: i64,
    bytes_in: i64,
    bytes_out: i64,
    /// Mean time to the first byte, in milliseconds; absent if no answer had one.
    #[serde(skip_serializing_if = "Option::is_none")]
    first_byte_ms: Option<f64>,
    /// Mean duration, in milliseconds.
    duration_ms: f64,
}

impl From<(Group, Sum)> for Row {
    fn from((group, sum): (Group, Sum)) -> Self {
        #[allow(clippy::cast_precision_loss, reason = "means for people")]
        let mean_ms = |total_us: i64, count: i64| total_us as f64 / 1000.0 / count.max(1) as f64;
        Self {
            group: Some(text_of_group(&group)).filter(|text| !text.is_empty()),
            requests: sum.requests,
            errors: sum.errors,
            prompt_tokens: sum.prompt_tokens,
            completion_tokens: sum.completion_tokens,
            estimated: sum.estimated,
            bytes_in: sum.bytes_in,
            bytes_out: sum.bytes_out,
            first_byte_ms: (sum.first_bytes > 0).then(|| mean_ms(sum.first_byte_us, sum.first_bytes)),
            duration_ms: mean_ms(sum.duration_us, sum.requests),
        }
    }
}

/// A time of a query.
pub(super) fn moment(field: &'static str, text: Option<&str>) -> Result<Option<Moment>, AppError> {
    let parse = |text| {
        parse_moment(text).ok_or_else(|| AppError::invalid(field, "not a time like 2026-01-31T12:00:00Z"))
    };
    text.map(parse).transpose()
}

/// A group in words; empty for requests that have none.
fn text_of_group(group: &Group) -> String {
    match group {
        Group::Time(moment) => moment.to_string(),
        Group::Id(id) => id.map(|id| id.to_string()).unwrap_or_default(),
        Group::Model(model) => model.clone(),
    }
}

/// Where a page ends: says what it was grouped by, so that it fits no other report.
fn text_of_cursor(by: GroupName, group: &Group) -> String {
    format!("{}.{}", by.word(), text_of_group(group))
}

fn cursor_of_text(by: GroupName, text: &str) -> Option<Group> {
    let (word, group) = text.split_once('.')?;
    if word != by.word() {
        return None;
    }
    match by {
        GroupName::Hour | GroupName::Day => parse_moment(group).map(Group::Time),
        GroupName::Domain | GroupName::User | GroupName::Pat if group.is_empty() => Some(Group::Id(None)),
        GroupName::Domain | GroupName::User | GroupName::Pat => {
            group.parse().ok().map(|id| Group::Id(Some(id)))
        }
        GroupName::Model => Some(Group::Model(group.to_owned())),
    }
}

/// What requests add up to: of a domain whose audit log the caller may read, of everything for superadmins, else the caller's own
#[utoipa::path(get, path = "/api/v1/usage", tag = "usage", params(Wanted, EitherPaging),
    responses((status = 200, body = UsagePage), Errors))]
async fn report(
    State(app): State<App>,
    caller: Caller,
    Query(wanted): Query<Wanted>,
    Query(paging): Query<EitherPaging>,
) -> ApiResult<Body<UsagePage>> {
    let filter = UsageFilter {
        from: moment("from", wanted.from.as_deref())?,
        to: moment("to", wanted.to.as_deref())?,
        domain: wanted.domain,
        user: wanted.user,
        pat: wanted.pat,
        model: wanted.model,
        in_domains: false,
    };
    let by = wanted.group_by.unwrap_or(GroupName::Day);
    let (rows, place) = match paging.way()? {
        Way::Offset(page) => {
            Place::by_offset(page, app.report_usage(&caller.principal, by.into(), filter, page).await?)
        }
        Way::Cursor(paging) => {
            let (after, rows) = (paging.after(|text| cursor_of_text(by, text))?, paging.rows()?);
            let report = app.report_usage_after(&caller.principal, by.into(), filter, after.as_ref(), rows);
            paging.place(report.await?, |(group, _)| text_of_cursor(by, group))
        }
    };
    Ok(Body(UsagePage { place, usage: rows.into_iter().map(Row::from).collect() }))
}
