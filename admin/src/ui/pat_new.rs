//! Create a Personal Access Token: name, duration, addresses, scopes; and the one page that shows its secret.

use askama::Template;
use axum::Router;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;

use super::duration::{Durations, duration_of};
use super::error::UiResult;
use super::form::Form;
use super::frame::{Frame, Section, page, show};
use super::scope_editor::{self, ScopeEditor, Step};
use super::shell::Member;
use super::view::When;
use crate::app::App;
use crate::app::pats::{Issued, NewPat};
use crate::app::scopes::NewScope;
use crate::store::Page;
use crate::store::domains::DomainFilter;

pub(super) fn routes() -> Router<App> {
    Router::new().route("/ui/pats/new", get(ask).post(create))
}

#[derive(Template)]
#[template(path = "pat_new.html")]
struct PatNew {
    frame: Frame,
    form: Form,
    durations: Durations,
    editor: ScopeEditor,
}

/// The page that shows a secret. It is an answer to a POST and at no address of its own.
#[derive(Template)]
#[template(path = "pat_secret.html")]
struct Secret {
    frame: Frame,
    id: String,
    name: String,
    secret: String,
    curl: Option<String>,
    /// Where nobody can say where the proxies are.
    no_origin: bool,
    expires: Option<When>,
    old_secret_until: Option<When>,
    scopeless: bool,
}

async fn ask(member: Member) -> UiResult {
    let form = Form::of([("duration", "30d".to_owned()), ("access", "scoped".to_owned())]);
    Ok(show(&editing(&member, form).await?))
}

async fn editing(member: &Member, form: Form) -> UiResult<PatNew> {
    let durations = Durations::up_to(member.app.settings.pats.lifetime_max);
    let editor = ScopeEditor::of(member, &form).await?;
    let frame = member.frame(Section::Pats, "Create Personal Access Token");
    Ok(PatNew { frame, form, durations, editor })
}

async fn create(member: Member, mut form: Form) -> UiResult {
    if scope_editor::step(&mut form) == Step::Again {
        return Ok(show(&editing(&member, form).await?));
    }
    let scopes = scope_editor::scopes_of(&form);
    let full_access = form.value("access") == "full";
    if form.text("name").is_empty() {
        form.wrong("name", "Give the PAT a name that tells you later what it is for.");
    }
    let Some(duration) = duration_of(&mut form).filter(|_| form.error("name").is_none()) else {
        return Ok(page(StatusCode::BAD_REQUEST, &editing(&member, form).await?));
    };
    let cidrs = form.value("cidrs").split(['\n', ',', ' ']).map(str::trim).filter(|text| !text.is_empty());
    let new = NewPat {
        name: form.text("name"),
        description: form.text("description"),
        duration,
        scopes: if full_access { Vec::new() } else { scopes.clone() },
        cidrs: cidrs.map(str::to_owned).collect(),
        full_access,
    };
    match member.app.create_pat(member.who(), &member.asker, new).await {
        Ok(issued) => secret_page(&member, StatusCode::CREATED, issued, &scopes).await,
        Err(error) => {
            let status = form.fail(error)?;
            Ok(page(status, &editing(&member, form).await?))
        }
    }
}

/// Shows a secret, once.
pub(super) async fn secret_page(
    member: &Member,
    status: StatusCode,
    issued: Issued,
    scopes: &[NewScope],
) -> UiResult<Response> {
    let secret = issued.secret.expose().to_owned();
    let call = call_for(member, &issued, scopes).await?;
    let origin = member.origin.proxy.clone();
    let curl = call.map(|call| {
        let origin = origin.as_deref().unwrap_or("https://<cube>");
        format!("curl {origin}/proxy/{call} \\\n  -H \"Authorization: Bearer {secret}\"")
    });
    let row = issued.row;
    Ok(page(
        status,
        &Secret {
            frame: member.frame(Section::Pats, "Copy your PAT now"),
            id: row.id.to_string(),
            name: row.name,
            no_origin: origin.is_none() && curl.is_some(),
            curl,
            expires: When::maybe(row.expires_at),
            old_secret_until: When::maybe(row.previous_until),
            scopeless: !row.full_access && scopes.is_empty(),
            secret,
        },
    ))
}

/// What to call first with this PAT: the path below `/proxy/`, and what belongs to it.
async fn call_for(member: &Member, issued: &Issued, scopes: &[NewScope]) -> UiResult<Option<String>> {
    let usable =
        |operation: &str| scopes.iter().find(|scope| scope.operation == operation && scope.domain.is_some());
    let (scope, reads) = match (usable("llm_read"), usable("llm_chat_completions")) {
        (Some(scope), _) => (Some(scope), true),
        (None, scope) => (scope, false),
    };
    let domain = match scope.and_then(|scope| scope.domain) {
        Some(id) => member.app.view_domain(member.who(), id).await.ok(),
        None if issued.row.full_access => {
            let first = Page { offset: 0, limit: 1 };
            let listed = member.app.list_domains(member.who(), DomainFilter::default(), first).await?;
            listed.rows.into_iter().next()
        }
        None => None,
    };
    let place = match (domain, scope) {
        (Some(domain), _) => domain.alias.unwrap_or_else(|| domain.id.to_string()),
        (None, Some(NewScope { domain: Some(id), .. })) => id.to_string(),
        (None, _) => return Ok(None),
    };
    if reads || issued.row.full_access {
        return Ok(Some(format!("{place}/v1/models")));
    }
    let model = scope.filter(|scope| scope.entity_type == "models" && scope.entity_id != "*");
    let model = model.map_or("<model>", |scope| &scope.entity_id);
    // Between single quotes of a shell nothing but a single quote ends the text.
    let body = serde_json::json!({ "model": model, "messages": [{ "role": "user", "content": "Hello" }] });
    let body = body.to_string().replace('\'', "'\\''");
    Ok(Some(format!(
        "{place}/v1/chat/completions \\\n  -H \"Content-Type: application/json\" \\\n  -d '{body}'"
    )))
}
