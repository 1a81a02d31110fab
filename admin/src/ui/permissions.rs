//! The permission explorer: may this PAT do this operation on this model, and which row says so.

use askama::Template;
use axum::Router;
use axum::routing::get;
use cube_wire::{DomainId, Operation, PatId};
use uuid::Uuid;

use super::error::UiResult;
use super::form::Form;
use super::frame::{Frame, Section, page, show};
use super::list::Asked;
use super::shell::Member;
use super::view::{Choice, operation_label};
use crate::app::App;
use crate::app::explain::{Look, Question, Verdict};
use crate::store::Page;
use crate::store::domains::DomainFilter;
use crate::store::pats::PatFilter;

pub(super) fn routes() -> Router<App> {
    Router::new().route("/ui/permissions", get(view))
}

/// What the page says of a verdict.
struct Said {
    allowed: bool,
    title: &'static str,
    status: &'static str,
    looks: Vec<Look>,
}

#[derive(Template)]
#[template(path = "permissions.html")]
struct Permissions {
    frame: Frame,
    form: Form,
    pats: Vec<Choice>,
    domains: Vec<Choice>,
    operations: Vec<Choice>,
    said: Option<Said>,
}

/// Domains to choose from, by name.
pub(super) async fn domain_choices(member: &Member) -> UiResult<Vec<Choice>> {
    let all = Page { offset: 0, limit: 200 };
    let listed = member.app.list_domains(member.who(), DomainFilter::default(), all).await?;
    let mut choices: Vec<Choice> =
        listed.rows.into_iter().map(|row| Choice::new(row.id.to_string(), row.name)).collect();
    choices.sort_by_key(|choice| choice.label.to_lowercase());
    Ok(choices)
}

async fn view(member: Member, asked: Asked) -> UiResult {
    let mut form = Form::of([
        ("pat", asked.value("pat").to_owned()),
        ("domain", asked.value("domain").to_owned()),
        ("operation", asked.written("operation").unwrap_or("llm_chat_completions").to_owned()),
        ("model", asked.value("model").to_owned()),
    ]);
    let all = Page { offset: 0, limit: 200 };
    let listed = member.app.list_pats(member.who(), &PatFilter::default(), all).await?;
    let pats = listed.rows.into_iter().map(|row| Choice::new(row.id.to_string(), row.name));
    let session = Choice::new("", "No PAT: you, signed in");
    let pats = std::iter::once(session).chain(pats).collect();
    let (said, status) = match question(&asked, &mut form) {
        None => (None, axum::http::StatusCode::OK),
        Some(question) => match member.app.explain_permission(member.who(), &question).await {
            Ok((verdict, looks)) => (Some(said(&verdict, looks)), axum::http::StatusCode::OK),
            Err(error) => (None, form.fail(error)?),
        },
    };
    let operations = Operation::ALL.iter().map(|operation| {
        let name = operation.name();
        Choice::new(name, format!("{} ({name})", operation_label(name)))
    });
    let operations = operations.collect();
    let domains = domain_choices(&member).await?;
    let frame = member.frame(Section::Permissions, "Permissions");
    Ok(page_of(status, &Permissions { frame, form, pats, domains, operations, said }))
}

fn page_of(status: axum::http::StatusCode, template: &Permissions) -> axum::response::Response {
    if status.is_success() { show(template) } else { page(status, template) }
}

/// The question in the address, if there is a whole one.
fn question(asked: &Asked, form: &mut Form) -> Option<Question> {
    asked.written("ask")?;
    let pat = asked.written("pat");
    let (Some(domain), Some(operation)) =
        (asked.parsed::<Uuid>("domain"), Operation::from_name(form.value("operation")))
    else {
        form.wrong("domain", "Choose a domain and an operation.");
        return None;
    };
    let model = asked.written("model").map(str::to_owned);
    // What is no identifier is nobody's PAT.
    let pat = pat.map(|text| PatId(text.parse().unwrap_or_default()));
    Some(Question { pat, domain: DomainId(domain), operation, model })
}

fn said(verdict: &Verdict, looks: Vec<Look>) -> Said {
    let (allowed, title, status) = match verdict {
        Verdict::Allowed => (true, "Allowed", "A proxy lets it through."),
        Verdict::BadCredential => (false, "Refused", "A proxy answers 401: the credential is not good."),
        Verdict::Forbidden => (false, "Refused", "A proxy answers 403: known, and not allowed."),
        Verdict::NotFound => {
            (false, "Refused", "A proxy answers 404: there is nothing there for this caller.")
        }
    };
    Said { allowed, title, status, looks }
}
