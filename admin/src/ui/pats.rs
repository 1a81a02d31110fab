//! Profile → Personal Access Tokens: the list, one PAT, its names, its end.

use askama::Template;
use axum::Router;
use axum::extract::Path;
use axum::response::Response;
use axum::routing::{get, post};
use cube_wire::PatId;
use uuid::Uuid;

use super::adoption;
use super::confirm::Confirm;
use super::error::{UiResult, go};
use super::form::Form;
use super::frame::{Frame, Section, page, show};
use super::list::{Asked, Pager};
use super::scope_editor::type_label;
use super::shell::Member;
use super::view::{Badge, When, count_of, operation_label};
use crate::app::{App, AppError};
use crate::clock::Moment;
use crate::store::Page;
use crate::store::pats::{PatFilter, PatRow, PatStatus};
use crate::store::tx::noting_generation;

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/ui/pats", get(list))
        .route("/ui/pats/{id}", get(view).post(describe))
        .route("/ui/pats/{id}/revoke", get(ask_revoke).post(revoke))
        .route("/ui/pats/{id}/delete", post(delete).get(ask_delete))
}

/// A PAT in the list.
struct Row {
    id: String,
    name: String,
    description: String,
    status: Badge,
    scopes: String,
    last_used: Option<When>,
    expires: Option<When>,
}

#[derive(Template)]
#[template(path = "pats.html")]
struct Pats {
    frame: Frame,
    status: String,
    name: String,
    filtered: bool,
    rows: Vec<Row>,
    pager: Pager,
}

/// What a PAT's state is called.
pub(super) fn status_badge(row: &PatRow, now: Moment) -> Badge {
    match row.status(now) {
        PatStatus::Active => Badge { tone: "good", text: "Active" },
        PatStatus::Revoked => Badge { tone: "bad", text: "Revoked" },
        PatStatus::Expired => Badge { tone: "quiet", text: "Expired" },
    }
}

async fn list(member: Member, asked: Asked) -> UiResult {
    let status = match asked.value("status") {
        "revoked" => Some(PatStatus::Revoked),
        "expired" => Some(PatStatus::Expired),
        "all" => None,
        _ => Some(PatStatus::Active),
    };
    let name = asked.written("name").map(str::to_owned);
    let filtered = name.is_some() || asked.written("status").is_some_and(|status| status != "active");
    let filter = PatFilter { name: name.clone(), id: None, status };
    let listed = member.app.list_pats(member.who(), &filter, asked.page()).await?;
    let now = Moment::now();
    let mut rows = Vec::new();
    for row in listed.rows {
        let scopes = match row.full_access {
            true => "Full access".to_owned(),
            false => {
                let one = Page { offset: 0, limit: 1 };
                let total = member.app.list_scopes(member.who(), row.id, one).await?.total;
                count_of(total, "scope", "scopes")
            }
        };
        rows.push(Row {
            status: status_badge(&row, now),
            id: row.id.to_string(),
            name: row.name,
            description: row.description,
            scopes,
            last_used: When::maybe(row.last_used_at),
            expires: When::maybe(row.expires_at),
        });
    }
    Ok(show(&Pats {
        frame: member.frame(Section::Pats, "Personal Access Tokens"),
        status: asked.written("status").unwrap_or("active").to_owned(),
        name: name.unwrap_or_default(),
        filtered,
        rows,
        pager: asked.pager(listed.total),
    }))
}

/// A scope on a PAT's page.
struct ScopeShown {
    id: String,
    entity_type: String,
    domain: String,
    entity: String,
    operation: String,
}

#[derive(Template)]
#[template(path = "pat.html")]
struct PatPage {
    frame: Frame,
    form: Form,
    id: String,
    name: String,
    status: Badge,
    active: bool,
    full_access: bool,
    cidrs: Vec<String>,
    issued: When,
    expires: Option<When>,
    last_used: Option<When>,
    revoked: Option<When>,
    old_secret_until: Option<When>,
    scopes: Vec<ScopeShown>,
    scopes_total: i64,
}

async fn shown(member: &Member, row: PatRow, form: Option<Form>) -> UiResult<PatPage> {
    let now = Moment::now();
    // A PAT has at most as many scopes as the settings say, a thousand.
    let scopes = member.app.list_scopes(member.who(), row.id, Page { offset: 0, limit: 1000 }).await?;
    let scopes_total = scopes.total;
    let mut names = std::collections::HashMap::new();
    let mut rows = Vec::new();
    for scope in scopes.rows {
        let domain = match scope.domain {
            None => String::new(),
            Some(id) => match names.get(&id) {
                Some(name) => String::clone(name),
                None => {
                    // Whoever has lost the domain still sees that there is a scope.
                    let found = member.app.view_domain(member.who(), id).await;
                    let name = found.map_or_else(|_| id.to_string(), |domain| domain.name);
                    names.insert(id, name.clone());
                    name
                }
            },
        };
        let own = scope.domain.is_some_and(|id| id.to_string() == scope.entity_id);
        rows.push(ScopeShown {
            id: scope.id.to_string(),
            entity_type: type_label(&scope.entity_type),
            domain,
            entity: match &*scope.entity_id {
                "*" => "Every one".to_owned(),
                _ if own => "The domain itself".to_owned(),
                entity => entity.to_owned(),
            },
            operation: operation_label(&scope.operation),
        });
    }
    Ok(PatPage {
        frame: member.frame(Section::Pats, row.name.clone()),
        form: form.unwrap_or_else(|| {
            Form::of([("name", row.name.clone()), ("description", row.description.clone())])
        }),
        id: row.id.to_string(),
        status: status_badge(&row, now),
        active: row.status(now) == PatStatus::Active,
        full_access: row.full_access,
        cidrs: row.cidrs,
        issued: When::new(row.issued_at),
        expires: When::maybe(row.expires_at),
        last_used: When::maybe(row.last_used_at),
        revoked: When::maybe(row.revoked_at),
        old_secret_until: When::maybe(row.previous_until.filter(|until| *until > now)),
        name: row.name,
        scopes: rows,
        scopes_total,
    })
}

async fn view(member: Member, Path(id): Path<String>) -> UiResult {
    let row = find(&member, &id).await?;
    Ok(show(&shown(&member, row, None).await?))
}

/// The PAT of a path: what is no identifier names nothing.
pub(super) async fn find(member: &Member, id: &str) -> UiResult<PatRow> {
    let id = id.parse::<Uuid>().map_err(|_| AppError::NotFound("PAT"))?;
    Ok(member.app.view_pat(member.who(), PatId(id)).await?)
}

async fn describe(member: Member, Path(id): Path<String>, mut form: Form) -> UiResult {
    let row = find(&member, &id).await?;
    let (name, description) = (form.text("name"), form.text("description"));
    let name = Some(&*name).filter(|name| *name != row.name);
    let description = Some(&*description).filter(|text| *text != row.description);
    if name.is_none() && description.is_none() {
        return Ok(go(&format!("/ui/pats/{id}")));
    }
    match member.app.describe_pat(member.who(), &member.asker, row.id, name, description).await {
        Ok(_) => Ok(go(&format!("/ui/pats/{id}?done=saved"))),
        Err(error) => {
            let status = form.fail(error)?;
            Ok(page(status, &shown(&member, row, Some(form)).await?))
        }
    }
}

async fn ask_revoke(member: Member, Path(id): Path<String>) -> UiResult {
    let row = find(&member, &id).await?;
    let mut effects = vec![
        format!("Every request with “{}” is refused with 401, on every proxy, within moments.", row.name),
        "Answers that are streaming now end by themselves.".to_owned(),
        "The PAT stays in your list. Rotating it later gives it another secret and brings it back."
            .to_owned(),
    ];
    if let Some(last) = When::maybe(row.last_used_at) {
        effects.insert(1, format!("It was last used {} ({}).", last.relative, last.text));
    }
    Ok(confirm(&member, format!("Revoke “{}”?", row.name), effects, &id, ("revoke", "Revoke PAT")))
}

async fn revoke(member: Member, Path(id): Path<String>) -> UiResult {
    let row = find(&member, &id).await?;
    let (done, generation) =
        noting_generation(member.app.revoke_pat(member.who(), &member.asker, row.id)).await;
    done?;
    Ok(go(&adoption::target("revoked", generation, row.id.0)))
}

async fn ask_delete(member: Member, Path(id): Path<String>) -> UiResult {
    let row = find(&member, &id).await?;
    let effects = vec![
        format!("“{}” and its scopes are gone for good.", row.name),
        "Every request with it is refused with 401, on every proxy, within moments.".to_owned(),
        "What it was used for stays in usage and in the audit log.".to_owned(),
    ];
    Ok(confirm(&member, format!("Delete “{}”?", row.name), effects, &id, ("delete", "Delete PAT")))
}

async fn delete(member: Member, Path(id): Path<String>) -> UiResult {
    let row = find(&member, &id).await?;
    let (done, generation) =
        noting_generation(member.app.delete_pat(member.who(), &member.asker, row.id)).await;
    done?;
    Ok(go(&adoption::target("deleted", generation, row.id.0)))
}

fn confirm(
    member: &Member,
    title: String,
    effects: Vec<String>,
    id: &str,
    (verb, button): (&str, &'static str),
) -> Response {
    Confirm {
        frame: member.frame(Section::Pats, title),
        effects,
        action: format!("/ui/pats/{id}/{verb}"),
        button,
        back: format!("/ui/pats/{id}"),
        hidden: Vec::new(),
    }
    .ask()
}
