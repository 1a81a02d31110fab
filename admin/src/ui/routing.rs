//! Routing rules, for superadmins.

use askama::Template;
use axum::Router;
use axum::extract::Path;
use axum::routing::get;
use cube_wire::record::{Condition, Matcher};
use cube_wire::{DomainId, Operation};
use uuid::Uuid;

use super::confirm::Confirm;
use super::error::{UiResult, go};
use super::form::Form;
use super::frame::{Frame, Section, page, show};
use super::list::{Asked, Pager};
use super::models::deployment_names;
use super::permissions::domain_choices;
use super::shell::Member;
use super::view::{Choice, operation_label};
use crate::app::explain::describe_condition;
use crate::app::routes::NewRoute;
use crate::app::{App, AppError};
use crate::store::routes::RouteRow;

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/ui/routes", get(list))
        .route("/ui/routes/new", get(ask_new).post(create))
        .route("/ui/routes/rule/{name}", get(ask_edit).post(edit))
        .route("/ui/routes/rule/{name}/delete", get(ask_delete).post(delete))
}

const CONDITIONS: [(Condition, &str, &str); 6] = [
    (Condition::Path, "path", "Path"),
    (Condition::Method, "method", "Method"),
    (Condition::Header, "header", "Header"),
    (Condition::QueryParam, "query_param", "Query parameter"),
    (Condition::BodyField, "body_field", "Body field"),
    (Condition::BodyRegex, "body_regex", "Body"),
];

struct Row {
    name: String,
    domain: String,
    priority: u16,
    is_default: bool,
    enabled: bool,
    conditions: Vec<String>,
    to: String,
}

#[derive(Template)]
#[template(path = "routes.html")]
struct Routes {
    frame: Frame,
    part: String,
    rows: Vec<Row>,
    pager: Pager,
}

async fn list(member: Member, asked: Asked) -> UiResult {
    let part = asked.written("name");
    let listed = member.app.list_routes(member.who(), part, None, asked.page()).await?;
    let domains = domain_choices(&member).await?;
    let rows = listed.rows.into_iter().map(|row| {
        let id = row.domain.map(|id| id.to_string());
        let name = id.as_ref().and_then(|id| domains.iter().find(|choice| choice.value == *id));
        Row {
            domain: name.map(|choice| choice.label.clone()).or(id).unwrap_or_default(),
            priority: row.priority,
            is_default: row.default_rule,
            enabled: row.enabled,
            conditions: row.matchers.iter().map(describe_condition).collect(),
            to: row.target_url.unwrap_or(row.deployment),
            name: row.name,
        }
    });
    Ok(show(&Routes {
        frame: member.frame(Section::Routes, "Routes"),
        part: part.unwrap_or_default().to_owned(),
        rows: rows.collect(),
        pager: asked.pager(listed.total),
    }))
}

/// One condition in the form.
struct Line {
    condition: String,
    field: String,
    pattern: String,
    kind: String,
}

#[derive(Template)]
#[template(path = "route_edit.html")]
struct Edit {
    frame: Frame,
    form: Form,
    /// `None`: a new one.
    name: Option<String>,
    lines: Vec<Line>,
    conditions: Vec<Choice>,
    domains: Vec<Choice>,
    operations: Vec<Choice>,
    deployments: Vec<String>,
}

fn nth(form: &Form, name: &str, at: usize) -> String {
    form.all(name).nth(at).unwrap_or_default().trim().to_owned()
}

async fn editing(member: &Member, form: Form, name: Option<String>) -> UiResult<Edit> {
    let lines = (0..form.all("condition").count()).map(|at| Line {
        condition: nth(&form, "condition", at),
        field: nth(&form, "field", at),
        pattern: nth(&form, "pattern", at),
        kind: nth(&form, "kind", at),
    });
    let lines = lines.collect();
    let none = |label: &str| std::iter::once(Choice::new("", label));
    let operations = Operation::ALL.iter().map(|operation| operation.name());
    let operations = operations.map(|name| Choice::new(name, operation_label(name)));
    Ok(Edit {
        frame: member.frame(Section::Routes, name.as_deref().unwrap_or("New route")),
        form,
        name,
        lines,
        conditions: CONDITIONS.iter().map(|(_, value, label)| Choice::new(*value, *label)).collect(),
        domains: none("Every domain").chain(domain_choices(member).await?).collect(),
        operations: none("None: it opens no path of its own").chain(operations).collect(),
        deployments: deployment_names(member).await?,
    })
}

fn form_of(row: &RouteRow) -> Form {
    let mut form = Form::of([
        ("name", row.name.clone()),
        ("domain", row.domain.map(|id| id.to_string()).unwrap_or_default()),
        ("target_url", row.target_url.clone().unwrap_or_default()),
        ("deployment", if row.target_url.is_some() { String::new() } else { row.deployment.clone() }),
        ("priority", row.priority.to_string()),
        ("strip_prefix", row.strip_prefix.clone()),
        ("operation", row.operation.clone().unwrap_or_default()),
        ("event_type", row.event_type.clone()),
    ]);
    for (name, on) in [("default_rule", row.default_rule), ("enabled", row.enabled)] {
        if on {
            form.push(name, "yes");
        }
    }
    for matcher in &row.matchers {
        let condition = CONDITIONS.iter().find(|(condition, ..)| *condition == matcher.condition);
        form.push("condition", condition.map_or("", |(_, value, _)| value));
        form.push("field", &*matcher.field);
        form.push("pattern", &*matcher.pattern);
        form.push("kind", if matcher.is_regex { "regex" } else { "exact" });
    }
    form
}

fn add_line(form: &mut Form) {
    for (name, value) in [("condition", "path"), ("field", ""), ("pattern", ""), ("kind", "exact")] {
        form.push(name, value);
    }
}

/// Does a step of the form; whether it was one.
fn stepped(form: &mut Form) -> bool {
    let step = form.value("step").to_owned();
    if step == "more" {
        add_line(form);
        return true;
    }
    let Some(at) = step.strip_prefix("less-").and_then(|at| at.parse().ok()) else { return false };
    for name in ["condition", "field", "pattern", "kind"] {
        form.remove(name, at);
    }
    true
}

fn route_of(form: &Form) -> Result<NewRoute, AppError> {
    let domain = match form.written("domain") {
        None => None,
        Some(text) => Some(DomainId(text.parse::<Uuid>().map_err(|_| AppError::NotFound("domain"))?)),
    };
    let priority = form.text("priority").parse();
    let priority = priority.map_err(|_| AppError::invalid("priority", "a number from 0 to 1000"))?;
    let matchers = (0..form.all("condition").count()).filter_map(|at| {
        let name = nth(form, "condition", at);
        let (condition, ..) = CONDITIONS.iter().find(|(_, value, _)| *value == name)?;
        let pattern = form.all("pattern").nth(at).unwrap_or_default().to_owned();
        let is_regex = nth(form, "kind", at) == "regex";
        Some(Matcher { condition: *condition, field: nth(form, "field", at), pattern, is_regex })
    });
    let default_rule = form.has("default_rule", "yes");
    Ok(NewRoute {
        name: form.text("name"),
        domain,
        target_url: form.written("target_url"),
        deployment: form.written("deployment"),
        matchers: matchers.collect(),
        priority,
        default_rule,
        strip_prefix: form.text("strip_prefix"),
        operation: form.written("operation"),
        event_type: form.text("event_type"),
        enabled: form.has("enabled", "yes"),
    })
}

async fn ask_new(member: Member) -> UiResult {
    member.operator()?;
    let mut form = Form::of([("priority", "100".to_owned()), ("enabled", "yes".to_owned())]);
    add_line(&mut form);
    Ok(show(&editing(&member, form, None).await?))
}

async fn create(member: Member, mut form: Form) -> UiResult {
    member.operator()?;
    if stepped(&mut form) {
        return Ok(show(&editing(&member, form, None).await?));
    }
    let created = async { member.app.create_route(member.who(), &member.asker, route_of(&form)?).await };
    match created.await {
        Ok(_) => Ok(go("/ui/routes?done=created")),
        Err(error) => {
            let status = form.fail(error)?;
            Ok(page(status, &editing(&member, form, None).await?))
        }
    }
}

async fn ask_edit(member: Member, Path(name): Path<String>) -> UiResult {
    let row = member.app.view_route(member.who(), &name).await?;
    Ok(show(&editing(&member, form_of(&row), Some(row.name)).await?))
}

async fn edit(member: Member, Path(name): Path<String>, mut form: Form) -> UiResult {
    let row = member.app.view_route(member.who(), &name).await?;
    if stepped(&mut form) {
        return Ok(show(&editing(&member, form, Some(row.name)).await?));
    }
    let saved =
        async { member.app.replace_route(member.who(), &member.asker, &name, route_of(&form)?).await };
    match saved.await {
        Ok(_) => Ok(go("/ui/routes?done=saved")),
        Err(error) => {
            let status = form.fail(error)?;
            Ok(page(status, &editing(&member, form, Some(row.name)).await?))
        }
    }
}

async fn ask_delete(member: Member, Path(name): Path<String>) -> UiResult {
    let row = member.app.view_route(member.who(), &name).await?;
    Ok(Confirm {
        frame: member.frame(Section::Routes, format!("Delete the route “{}”?", row.name)),
        effects: vec!["Requests that it takes go to the next rule that fits, or to their model’s deployment, within moments.".to_owned()],
        action: format!("/ui/routes/rule/{name}/delete"),
        button: "Delete route",
        back: format!("/ui/routes/rule/{name}"),
        hidden: Vec::new(),
    }
    .ask())
}

async fn delete(member: Member, Path(name): Path<String>) -> UiResult {
    member.app.delete_route(member.who(), &member.asker, &name).await?;
    Ok(go("/ui/routes?done=deleted"))
}
