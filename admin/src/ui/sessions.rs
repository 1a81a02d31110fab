//! Where one is signed in, and ending that.

use askama::Template;
use axum::Router;
use axum::extract::Path;
use axum::http::header;
use axum::http::request::Parts;
use axum::response::Response;
use axum::routing::{get, post};

use super::error::{UiResult, go};
use super::frame::{Frame, Section, show};
use super::shell::Member;
use super::view::When;
use crate::app::App;

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/ui/sessions", get(list))
        .route("/ui/sessions/end-others", post(end_others))
        .route("/ui/sessions/{id}/end", post(end))
}

struct Row {
    id: String,
    what: String,
    issued: When,
    expires: When,
    own: bool,
}

#[derive(Template)]
#[template(path = "sessions.html")]
struct Sessions {
    frame: Frame,
    rows: Vec<Row>,
}

async fn list(member: Member) -> UiResult {
    let rows = member.app.list_logins(member.who()).await?.into_iter().map(|login| Row {
        own: login.id == member.session.login.id,
        id: login.id,
        what: if login.description.is_empty() { "A program".to_owned() } else { login.description },
        issued: When::new(login.issued_at),
        expires: When::new(login.expires_at),
    });
    let rows = rows.collect();
    Ok(show(&Sessions { frame: member.frame(Section::Sessions, "Sessions"), rows }))
}

async fn end(member: Member, Path(id): Path<String>) -> UiResult {
    member.app.end_login(member.who(), &member.asker, &id).await?;
    if id != member.session.login.id {
        return Ok(go("/ui/sessions?done=session-ended"));
    }
    let mut response: Response = go("/ui/sign-in?done=signed-out");
    response.headers_mut().append(header::SET_COOKIE, member.session_cookie(None));
    Ok(response)
}

async fn end_others(member: Member) -> UiResult {
    member.app.end_other_logins(&member.session, &member.asker).await?;
    Ok(go("/ui/sessions?done=sessions-ended"))
}

/// What a session is called in the list: browser and system, in our words. Nothing of what the browser says is kept.
pub(super) fn browser_of(parts: &Parts) -> String {
    let agent = parts.headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or("");
    let first = |names: &[(&'static str, &'static str)], other: &'static str| {
        names.iter().find(|(sign, _)| agent.contains(sign)).map_or(other, |(_, name)| *name)
    };
    let browsers = [
        ("Edg/", "Edge"),
        ("OPR/", "Opera"),
        ("Firefox/", "Firefox"),
        ("Chrome/", "Chrome"),
        ("Safari/", "Safari"),
    ];
    let systems = [
        ("Android", "Android"),
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("Windows", "Windows"),
        ("Mac OS X", "macOS"),
        ("Linux", "Linux"),
    ];
    format!("{} on {}", first(&browsers, "A browser"), first(&systems, "an unknown system"))
}
