//! The playground: a chat that streams through the proxy, as the visitor. The one page that needs script.
//!
//! The page asks for a short-lived access token and keeps it in memory; prompts and answers go from the browser to the proxy and
//! are never seen here. That takes one origin for both: opened elsewhere than through a proxy, the page leads there.

use askama::Template;
use axum::Json;
use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use cube_wire::{DomainId, Operation};
use uuid::Uuid;

use super::error::UiResult;
use super::frame::{Frame, Section, show};
use super::list::Asked;
use super::shell::Member;
use super::view::Choice;
use crate::app::{App, AppError};
use crate::store::Page;
use crate::store::domains::DomainFilter;

pub(super) fn routes() -> Router<App> {
    Router::new().route("/ui/playground", get(view)).route("/ui/playground/access", post(access))
}

#[derive(Template)]
#[template(path = "playground.html")]
struct Playground {
    frame: Frame,
    domains: Vec<Choice>,
    domain: String,
    /// Alias or identifier: the segment of the path.
    path: String,
    models: Vec<String>,
    may_chat: bool,
    /// Where the page has to be opened; `None`: here is right.
    elsewhere: Option<String>,
    /// Nobody can say where the proxies are.
    nowhere: bool,
}

async fn view(member: Member, asked: Asked) -> UiResult {
    let (app, who) = (&member.app, member.who());
    let all = Page { offset: 0, limit: 200 };
    let mut listed = app.list_domains(who, DomainFilter::default(), all).await?.rows;
    listed.sort_by_key(|row| row.name.to_lowercase());
    let wanted = asked.parsed::<Uuid>("domain").map(DomainId);
    let row = listed.iter().find(|row| Some(row.id) == wanted).or(listed.first());
    let (models, may_chat) = match row {
        None => (Vec::new(), false),
        Some(row) => {
            let may_chat = app.standing(who, row.id).await?.allowed.contains(Operation::LlmChatCompletions);
            let models = match app.list_models(who, row.id, None, all).await {
                Ok(listed) => {
                    let served = listed.rows.into_iter().filter(|model| model.served_by.is_some());
                    served.map(|model| model.name).collect()
                }
                Err(AppError::Forbidden(_)) => Vec::new(),
                Err(error) => return Err(error.into()),
            };
            (models, may_chat)
        }
    };
    let here = member.origin.through_proxy();
    let elsewhere = member.origin.proxy.as_ref().filter(|_| !here);
    Ok(show(&Playground {
        frame: member.frame(Section::Playground, "Playground"),
        domain: row.map(|row| row.id.to_string()).unwrap_or_default(),
        path: row.map(super::domains::path_of).unwrap_or_default(),
        domains: listed.iter().map(|row| Choice::new(row.id.to_string(), &*row.name)).collect(),
        models,
        may_chat,
        elsewhere: elsewhere.map(|origin| format!("{origin}/ui/playground")),
        nowhere: member.origin.proxy.is_none(),
    }))
}

/// An access token for the page, for minutes. A POST with the session's own secret, like everything that gives something away.
async fn access(member: Member) -> Response {
    let (token, until) = member.app.access_of(&member.session);
    Json(serde_json::json!({ "access_token": token, "expires_at": until })).into_response()
}
