//! What changes of a PAT later: its scopes, and its secret.

use askama::Template;
use axum::Router;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::routing::{get, post};
use uuid::Uuid;

use super::adoption;
use super::duration::{Durations, duration_of};
use super::error::UiResult;
use super::form::Form;
use super::frame::{Frame, Section, page, show};
use super::pat_new::secret_page;
use super::pats::find;
use super::scope_editor::{self, ScopeEditor, Step};
use super::shell::Member;
use super::view::Choice;
use crate::app::App;
use crate::app::scopes::NewScope;
use crate::store::Page;
use crate::store::pats::PatRow;
use crate::store::tx::noting_generation;

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/ui/pats/{id}/scopes", get(ask_scopes).post(add_scopes))
        .route("/ui/pats/{id}/scopes/remove", post(remove_scopes))
        .route("/ui/pats/{id}/rotate", get(ask_rotate).post(rotate))
}

#[derive(Template)]
#[template(path = "pat_scopes.html")]
struct PatScopes {
    frame: Frame,
    form: Form,
    id: String,
    name: String,
    editor: ScopeEditor,
}

async fn editing(member: &Member, row: &PatRow, form: Form) -> UiResult<PatScopes> {
    let editor = ScopeEditor::of(member, &form).await?;
    let frame = member.frame(Section::Pats, "Add scopes");
    Ok(PatScopes { frame, form, id: row.id.to_string(), name: row.name.clone(), editor })
}

async fn ask_scopes(member: Member, Path(id): Path<String>) -> UiResult {
    let row = find(&member, &id).await?;
    Ok(show(&editing(&member, &row, Form::default()).await?))
}

async fn add_scopes(member: Member, Path(id): Path<String>, mut form: Form) -> UiResult {
    let row = find(&member, &id).await?;
    if scope_editor::step(&mut form) == Step::Again {
        return Ok(show(&editing(&member, &row, form).await?));
    }
    let scopes = scope_editor::scopes_of(&form);
    if scopes.is_empty() {
        form.wrong("scope", "There is nothing to add yet. Tick operations and press Add scope first.");
        return Ok(page(StatusCode::BAD_REQUEST, &editing(&member, &row, form).await?));
    }
    let adding = member.app.add_scopes(member.who(), &member.asker, row.id, scopes);
    let (added, generation) = noting_generation(adding).await;
    match added {
        Ok(()) => Ok(super::error::go(&adoption::target("scopes", generation, row.id.0))),
        Err(error) => {
            let status = form.fail(error)?;
            Ok(page(status, &editing(&member, &row, form).await?))
        }
    }
}

async fn remove_scopes(member: Member, Path(id): Path<String>, form: Form) -> UiResult {
    let row = find(&member, &id).await?;
    let ids: Vec<Uuid> = form.all("scope").filter_map(|id| id.parse().ok()).collect();
    if ids.is_empty() {
        return Ok(super::error::go(&format!("/ui/pats/{id}")));
    }
    let removing = member.app.remove_scopes(member.who(), &member.asker, row.id, &ids);
    let (removed, generation) = noting_generation(removing).await;
    removed?;
    Ok(super::error::go(&adoption::target("scopes", generation, row.id.0)))
}

#[derive(Template)]
#[template(path = "pat_rotate.html")]
struct Rotate {
    frame: Frame,
    form: Form,
    id: String,
    name: String,
    durations: Durations,
    graces: Vec<Choice>,
}

fn rotating(member: &Member, row: &PatRow, form: Form) -> Rotate {
    let grace_max = member.app.settings.pats.grace_max.as_secs();
    let presets = [
        ("0", 0, "None: it ends at once"),
        ("15m", 900, "15 minutes"),
        ("1h", 3600, "1 hour"),
        ("1d", 86_400, "1 day"),
    ];
    let presets = presets.iter().chain(&[("7d", 604_800, "7 days")]);
    let graces = presets.filter(|(_, seconds, _)| *seconds <= grace_max);
    Rotate {
        frame: member.frame(Section::Pats, format!("Rotate “{}”", row.name)),
        form,
        id: row.id.to_string(),
        name: row.name.clone(),
        durations: Durations::up_to(member.app.settings.pats.lifetime_max),
        graces: graces.map(|(value, _, label)| Choice::new(*value, *label)).collect(),
    }
}

async fn ask_rotate(member: Member, Path(id): Path<String>) -> UiResult {
    let row = find(&member, &id).await?;
    let form = Form::of([("duration", "30d".to_owned()), ("grace", "1h".to_owned())]);
    Ok(show(&rotating(&member, &row, form)))
}

async fn rotate(member: Member, Path(id): Path<String>, mut form: Form) -> UiResult {
    let row = find(&member, &id).await?;
    let Some(duration) = duration_of(&mut form) else {
        return Ok(page(StatusCode::BAD_REQUEST, &rotating(&member, &row, form)));
    };
    let grace = form.written("grace");
    let (who, asker) = (member.who(), &member.asker);
    match member.app.reset_pat(who, asker, row.id, &duration, grace.as_deref()).await {
        Ok(issued) => {
            // Enough of them for a line to try it with.
            let kept = member.app.list_scopes(who, row.id, Page { offset: 0, limit: 100 }).await?;
            let kept = kept.rows.into_iter().map(|scope| NewScope {
                entity_type: scope.entity_type,
                domain: scope.domain,
                entity_id: scope.entity_id,
                operation: scope.operation,
            });
            secret_page(&member, StatusCode::OK, issued, &kept.collect::<Vec<_>>()).await
        }
        Err(error) => {
            let status = form.fail(error)?;
            Ok(page(status, &rotating(&member, &row, form)))
        }
    }
}
