//! What browsers refused to do on our pages: they report it, and whoever runs the fleet sees it. There should be nothing.
//!
//! Anybody can send a report, so few and short ones are kept, in memory, and none is logged.

use std::collections::VecDeque;
use std::sync::{LazyLock, Mutex, PoisonError};

use askama::Template;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::StatusCode;
use axum::routing::{get, post};

use super::error::UiResult;
use super::frame::{Frame, Section, show};
use super::shell::Member;
use super::view::When;
use crate::app::App;
use crate::clock::Moment;

/// Reports that are kept; older ones go.
const REPORTS_MAX: usize = 64;
/// Longest report, in bytes.
const REPORT_BYTES_MAX: usize = 4 * 1024;

static REPORTS: LazyLock<Mutex<VecDeque<(Moment, String)>>> = LazyLock::new(Mutex::default);

/// Where browsers report to. No session and no form: browsers send neither.
pub(super) fn endpoint() -> Router<App> {
    Router::new().route("/ui/csp-report", post(take))
}

pub(super) fn pages() -> Router<App> {
    Router::new().route("/ui/reports", get(list))
}

async fn take(body: Body) -> StatusCode {
    let Ok(bytes) = to_bytes(body, REPORT_BYTES_MAX).await else { return StatusCode::PAYLOAD_TOO_LARGE };
    let Ok(report) = serde_json::from_slice::<serde_json::Value>(&bytes) else {
        return StatusCode::BAD_REQUEST;
    };
    let mut reports = REPORTS.lock().unwrap_or_else(PoisonError::into_inner);
    if reports.len() == REPORTS_MAX {
        reports.pop_front();
    }
    reports.push_back((Moment::now(), report.to_string()));
    StatusCode::NO_CONTENT
}

#[derive(Template)]
#[template(path = "reports.html")]
struct Reports {
    frame: Frame,
    reports: Vec<(When, String)>,
}

async fn list(member: Member) -> UiResult {
    member.operator()?;
    let kept = REPORTS.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let reports = kept.into_iter().rev().map(|(at, text)| (When::new(at), text)).collect();
    Ok(show(&Reports { frame: member.frame(Section::Reports, "Browser reports"), reports }))
}
