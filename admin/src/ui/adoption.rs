//! Is it in force? Waits a moment for every connected proxy to adopt a change, then says so, or names those that have not.

use std::time::Duration;

use askama::Template;
use axum::Router;
use axum::routing::get;
use uuid::Uuid;

use super::error::UiResult;
use super::frame::{Frame, Section, show};
use super::list::Asked;
use super::shell::Member;
use crate::app::App;

/// How long a page waits before it says that it is not yet so. Adoption takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(2);

pub(super) fn routes() -> Router<App> {
    Router::new().route("/ui/in-force", get(view))
}

/// Where to see whether a change of a PAT is in force.
pub(super) fn target(what: &str, generation: Option<u64>, pat: Uuid) -> String {
    let generation = generation.unwrap_or(0);
    format!("/ui/in-force?what={what}&generation={generation}&pat={pat}")
}

#[derive(Template)]
#[template(path = "in_force.html")]
struct InForce {
    frame: Frame,
    /// What was done.
    done: &'static str,
    /// What it means for those who use it, once it is in force.
    meaning: &'static str,
    pending: Vec<String>,
    generation: u64,
    /// The PAT's page, if there still is one.
    pat: Option<Uuid>,
}

async fn view(member: Member, asked: Asked) -> UiResult {
    let (done, meaning) = match asked.value("what") {
        "deleted" => ("The PAT is deleted", "Requests with it are answered 401."),
        "scopes" => ("The scopes are changed", "The next request is decided by the new scopes."),
        _ => ("The PAT is revoked", "Requests with it are answered 401."),
    };
    let generation = asked.parsed("generation").unwrap_or(0);
    let pending = member.app.wait_for_adoption(generation, PATIENCE).await?;
    let pat = asked.parsed("pat").filter(|_| asked.value("what") != "deleted");
    let frame = member.frame(Section::Pats, done);
    Ok(show(&InForce { frame, done, meaning, pending, generation, pat }))
}
