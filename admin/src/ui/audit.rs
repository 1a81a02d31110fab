//! The audit log: who did what, and every proxied request's outcome; filtered, in pages, and to take away.

use askama::Template;
use axum::Router;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use cube_wire::{DomainId, UserId};
use uuid::Uuid;

use super::error::{UiError, UiResult};
use super::form::Form;
use super::frame::{Frame, Section, show};
use super::list::Asked;
use super::people;
use super::permissions::domain_choices;
use super::shell::Member;
use super::view::{Badge, Choice, When, stamp};
use crate::app::{App, AppError};
use crate::clock::{Moment, parse_moment};
use crate::http::exported_audit;
use crate::store::audit::{Action, AuditFilter, Credential, Cursor, Event, Kind, What};

pub(super) fn routes() -> Router<App> {
    Router::new().route("/ui/audit", get(view)).route("/ui/audit/export", post(export))
}

/// Events of one page.
const EVENTS: i64 = 50;

struct Row {
    when: When,
    who: String,
    /// How that was shown.
    shown_by: &'static str,
    what: String,
    on: String,
    outcome: Badge,
    status: String,
    client_ip: String,
    request_id: String,
    details: String,
}

#[derive(Template)]
#[template(path = "audit.html")]
struct Audit {
    frame: Frame,
    form: Form,
    domains: Vec<Choice>,
    rows: Vec<Row>,
    next: Option<String>,
    newest: bool,
    /// Whether the visitor may take this domain's log away.
    exportable: bool,
    domain: String,
}

/// What the address or a form asks for.
fn filter_of(value: impl Fn(&str) -> String, form: &mut Form) -> AuditFilter {
    let day = |name: &str| parse_moment(&format!("{}T00:00:00Z", value(name)));
    let mut filter = AuditFilter {
        kind: match &*value("kind") {
            "actions" => Some(Kind::Action),
            "requests" => Some(Kind::Request),
            _ => None,
        },
        from: day("from"),
        // The last day is part of it.
        to: day("to").map(|day| Moment(day.0 + 86_400_000)),
        ..AuditFilter::default()
    };
    for (name, place) in [("user", &mut filter.user), ("pat", &mut filter.pat)] {
        let text = value(name);
        if !text.is_empty() {
            *place = text.parse().ok();
            if place.is_none() {
                form.wrong(name, "Not an id.");
            }
        }
    }
    if let Some((at, tie)) = value("after").split_once('.')
        && let Ok(at) = at.parse()
    {
        filter.after = Some(Cursor { at: Moment(at), tie: tie.to_owned() });
    }
    filter
}

async fn view(member: Member, asked: Asked) -> UiResult {
    let mut form = Form::default();
    for name in ["domain", "kind", "user", "pat", "from", "to"] {
        form.set(name, asked.value(name));
    }
    let filter = filter_of(|name| asked.value(name).to_owned(), &mut form);
    let mut domains = domain_choices(&member).await?;
    if member.who().superadmin {
        domains.insert(0, Choice::new("", "Everything"));
    }
    let mut domain = asked.parsed::<Uuid>("domain");
    if domain.is_none() && !member.who().superadmin {
        // Others see the log of a domain, the first one to begin with.
        domain = domains.first().and_then(|choice| choice.value.parse().ok());
        let Some(_) = domain else {
            return Err(AppError::Forbidden("only for administrators of a domain").into());
        };
    }
    let wrong = !form.faults().is_empty();
    let events = match wrong {
        true => Vec::new(),
        false => member.app.list_audit(member.who(), domain.map(DomainId), filter, EVENTS).await?,
    };
    let next = events.last().filter(|_| events.len() as i64 == EVENTS).map(|event| {
        let after = format!("{}.{}", event.cursor.at.0, event.cursor.tie);
        asked.with(&[("after", &after)])
    });
    let users = events.iter().filter_map(|event| match &event.what {
        What::Action(action) => action.user.map(UserId),
        What::Request { record, .. } => record.user,
    });
    let names = people::names_of(&member, users.collect::<Vec<_>>().into_iter()).await?;
    let name_of = |id: Option<Uuid>| {
        id.map(|id| names.get(&UserId(id)).cloned().unwrap_or_else(|| id.to_string())).unwrap_or_default()
    };
    let exportable = match domain {
        None => false,
        Some(id) => {
            let standing = member.app.standing(member.who(), DomainId(id)).await?;
            standing.allowed.contains(cube_wire::Operation::AuditLogExport)
        }
    };
    let domain = domain.map(|id| id.to_string()).unwrap_or_default();
    form.set("domain", domain.clone());
    Ok(show(&Audit {
        frame: member.frame(Section::Audit, "Audit"),
        rows: events.into_iter().map(|event| row_of(event, name_of)).collect(),
        form,
        domains,
        next,
        newest: asked.written("after").is_none(),
        exportable,
        domain,
    }))
}

fn row_of(event: Event, name_of: impl Fn(Option<Uuid>) -> String) -> Row {
    let at = event.cursor.at;
    let when = When { text: stamp(at, "%-d %b %Y, %H:%M:%S UTC"), ..When::new(at) };
    match event.what {
        What::Action(action) => of_action(when, name_of(action.user), action),
        What::Request { node, record } => {
            let status = record.status;
            let shown_by = in_words(Credential::of_request(&record));
            let took = format!("{} ms", record.duration_us / 1000);
            let tokens = match (record.prompt_tokens, record.completion_tokens) {
                (Some(prompt), Some(completion)) => format!(", {prompt} + {completion} tokens"),
                _ => String::new(),
            };
            let error = record.error.map(|error| format!(", {error}")).unwrap_or_default();
            Row {
                when,
                who: name_of(record.user.map(|id| id.0)),
                shown_by,
                what: format!("{} {}", record.method, record.path),
                on: record.model.unwrap_or_default(),
                outcome: match status {
                    200..=399 => Badge { tone: "good", text: "Request" },
                    499 => Badge { tone: "quiet", text: "Request" },
                    _ => Badge { tone: "bad", text: "Request" },
                },
                status: if status == 0 { "no answer".to_owned() } else { status.to_string() },
                client_ip: record.client_ip.unwrap_or_default(),
                request_id: record.request_id,
                details: format!("{} on {node}: {}{tokens}{error}", took, record.ending),
            }
        }
    }
}

const fn in_words(credential: Option<Credential>) -> &'static str {
    match credential {
        None => "",
        Some(Credential::Password) => "with a password",
        Some(Credential::Login) => "signed in",
        Some(Credential::Pat) => "with a PAT",
        Some(Credential::ApiKey) => "with an API key",
        Some(Credential::ExternalToken) => "by the identity provider",
        Some(Credential::Local) => "on the machine itself",
    }
}

fn of_action(when: When, who: String, action: Box<Action>) -> Row {
    let good = action.outcome == "ok";
    let empty = action.details.as_object().is_some_and(serde_json::Map::is_empty);
    Row {
        when,
        who,
        shown_by: in_words(action.credential),
        what: action.action,
        on: format!("{} {}", action.entity_type, action.entity_id),
        outcome: Badge { tone: if good { "good" } else { "bad" }, text: "Action" },
        status: action.outcome,
        client_ip: action.client_ip.unwrap_or_default(),
        request_id: action.request_id,
        details: if empty { String::new() } else { action.details.to_string() },
    }
}

/// All of a domain's events as NDJSON, as the API exports them. A POST: that somebody took it away is an event of its own.
async fn export(member: Member, mut form: Form) -> UiResult {
    let sent = form.clone();
    let mut filter = filter_of(|name| sent.text(name), &mut form);
    let domain = sent.text("domain").parse::<Uuid>().map_err(|_| AppError::NotFound("domain"))?;
    if let Some(fault) = form.faults().first() {
        return Err(UiError::from(AppError::invalid("filter", fault.text)));
    }
    filter.after = None;
    member.app.begin_audit_export(member.who(), &member.asker, DomainId(domain)).await?;
    filter.domain = Some(domain);
    let body = exported_audit(member.app.clone(), filter);
    Ok(download("application/x-ndjson", "audit.ndjson", body))
}

/// A file for the browser to store.
pub(super) fn download(media_type: &'static str, name: &str, body: axum::body::Body) -> Response {
    let headers = [
        (header::CONTENT_TYPE, media_type.to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"cube-{name}\"")),
    ];
    (headers, body).into_response()
}
