//! Deployments: where models are served.

use askama::Template;
use axum::Router;
use axum::routing::get;
use cube_wire::record::Dialect;

use super::confirm::Confirm;
use super::error::{UiResult, go};
use super::form::Form;
use super::frame::{Frame, Section, page, show};
use super::list::{Asked, Pager};
use super::shell::Member;
use crate::app::deployments::{CredentialChange, DeploymentChange, EndpointChange};
use crate::app::{App, AppError};
use crate::store::deployments::DeploymentRow;

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/ui/deployments", get(list))
        .route("/ui/deployments/new", get(ask_new).post(create))
        // Names of deployments may hold anything: they stand in the query.
        .route("/ui/deployments/edit", get(ask_edit).post(edit))
        .route("/ui/deployments/delete", get(ask_delete).post(delete))
}

struct Row {
    name: String,
    query: String,
    description: String,
    dialect: &'static str,
    endpoints: Vec<String>,
}

#[derive(Template)]
#[template(path = "deployments.html")]
struct Deployments {
    frame: Frame,
    part: String,
    rows: Vec<Row>,
    pager: Pager,
}

fn in_query(name: &str) -> String {
    form_urlencoded::byte_serialize(name.as_bytes()).collect()
}

const fn dialect_name(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Openai => "openai",
        Dialect::Ollama => "ollama",
    }
}

async fn list(member: Member, asked: Asked) -> UiResult {
    let part = asked.written("name");
    let listed = member.app.list_deployments(member.who(), part, asked.page()).await?;
    let rows = listed.rows.into_iter().map(|row| Row {
        query: in_query(&row.name),
        name: row.name,
        description: row.description,
        dialect: if row.dialect == Dialect::Openai { "OpenAI" } else { "Ollama" },
        endpoints: row.endpoints.into_iter().map(|endpoint| endpoint.url).collect(),
    });
    Ok(show(&Deployments {
        frame: member.frame(Section::Deployments, "Deployments"),
        part: part.unwrap_or_default().to_owned(),
        rows: rows.collect(),
        pager: asked.pager(listed.total),
    }))
}

/// One endpoint in the form.
#[derive(Default)]
struct Line {
    url: String,
    weight: String,
    /// It has a credential already.
    has_credential: bool,
    credential: String,
    header: String,
}

#[derive(Template)]
#[template(path = "deployment_edit.html")]
struct Edit {
    frame: Frame,
    form: Form,
    /// `None`: a new one.
    name: Option<String>,
    action: String,
    lines: Vec<Line>,
}

/// The endpoints as they stand in the form. Values of credentials are never sent back.
fn lines_of(form: &Form, before: Option<&DeploymentRow>) -> Vec<Line> {
    let nth = |name, at| form.all(name).nth(at).unwrap_or_default().trim().to_owned();
    let has = |url: &str| {
        let endpoints = before.map(|row| &row.endpoints).into_iter().flatten();
        endpoints.filter(|endpoint| endpoint.url == url).find_map(|endpoint| endpoint.credential.as_ref())
    };
    let lines = (0..form.all("url").count()).map(|at| {
        let url = nth("url", at);
        Line {
            has_credential: has(&url).is_some(),
            weight: nth("weight", at),
            credential: nth("credential", at),
            header: nth("header", at),
            url,
        }
    });
    lines.collect()
}

fn form_of(row: &DeploymentRow) -> Form {
    let mut form = Form::of([
        ("description", row.description.clone()),
        ("dialect", dialect_name(row.dialect).to_owned()),
        ("connect_timeout_ms", row.timeouts.connect_ms.to_string()),
        ("head_timeout_ms", row.timeouts.head_ms.to_string()),
        ("idle_timeout_ms", row.timeouts.idle_ms.to_string()),
        ("total_timeout_ms", row.timeouts.total_ms.to_string()),
    ]);
    for endpoint in &row.endpoints {
        form.push("url", &*endpoint.url);
        form.push("weight", endpoint.weight.to_string());
        form.push("credential", if endpoint.credential.is_some() { "keep" } else { "remove" });
        let header = endpoint.credential.as_ref().map(|credential| credential.header.clone());
        form.push("header", header.unwrap_or_else(|| "Authorization".to_owned()));
        form.push("value", "");
    }
    form
}

fn new_form() -> Form {
    let times = crate::store::deployments::Timeouts::default();
    let mut form = Form::of([
        ("dialect", "openai".to_owned()),
        ("connect_timeout_ms", times.connect_ms.to_string()),
        ("head_timeout_ms", times.head_ms.to_string()),
        ("idle_timeout_ms", times.idle_ms.to_string()),
        ("total_timeout_ms", times.total_ms.to_string()),
    ]);
    add_line(&mut form);
    form
}

fn add_line(form: &mut Form) {
    for (name, value) in
        [("url", ""), ("weight", "1"), ("credential", "remove"), ("header", "Authorization"), ("value", "")]
    {
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
    for name in ["url", "weight", "credential", "header", "value"] {
        form.remove(name, at);
    }
    true
}

/// What the form says, checked as far as texts have to become numbers.
fn change_of(form: &Form) -> Result<DeploymentChange, AppError> {
    let number = |field: &'static str| {
        let text = form.text(field);
        text.parse().map_err(|_| AppError::invalid(field, "not a number of milliseconds"))
    };
    let nth = |name, at| form.all(name).nth(at).unwrap_or_default().trim().to_owned();
    let mut endpoints = Vec::new();
    for at in 0..form.all("url").count() {
        let url = nth("url", at);
        if url.is_empty() {
            continue;
        }
        let weight = nth("weight", at).parse();
        let weight = weight.map_err(|_| AppError::invalid("endpoints.weight", "not a whole number"))?;
        let credential = match &*nth("credential", at) {
            "keep" => CredentialChange::Keep,
            "set" => CredentialChange::Set { header: nth("header", at), value: nth("value", at) },
            _ => CredentialChange::Remove,
        };
        endpoints.push(EndpointChange { url, weight: Some(weight), credential });
    }
    Ok(DeploymentChange {
        description: Some(form.text("description")),
        dialect: Some(if form.value("dialect") == "ollama" { Dialect::Ollama } else { Dialect::Openai }),
        endpoints: Some(endpoints),
        connect_timeout_ms: Some(number("connect_timeout_ms")?),
        head_timeout_ms: Some(number("head_timeout_ms")?),
        idle_timeout_ms: Some(number("idle_timeout_ms")?),
        total_timeout_ms: Some(number("total_timeout_ms")?),
    })
}

fn editing(member: &Member, form: Form, before: Option<&DeploymentRow>) -> Edit {
    let name = before.map(|row| row.name.clone());
    Edit {
        frame: member.frame(Section::Deployments, name.as_deref().unwrap_or("New deployment")),
        lines: lines_of(&form, before),
        form,
        action: match &name {
            Some(name) => format!("/ui/deployments/edit?name={}", in_query(name)),
            None => "/ui/deployments/new".to_owned(),
        },
        name,
    }
}

async fn ask_new(member: Member) -> UiResult {
    member.operator()?;
    Ok(show(&editing(&member, new_form(), None)))
}

async fn create(member: Member, mut form: Form) -> UiResult {
    member.operator()?;
    if stepped(&mut form) {
        return Ok(show(&editing(&member, form, None)));
    }
    let name = form.text("name");
    let created = async {
        let change = change_of(&form)?;
        member.app.create_deployment(member.who(), &member.asker, &name, change).await
    };
    match created.await {
        Ok(_) => Ok(go("/ui/deployments?done=created")),
        Err(error) => {
            let status = form.fail(error)?;
            Ok(page(status, &editing(&member, form, None)))
        }
    }
}

async fn ask_edit(member: Member, asked: Asked) -> UiResult {
    let row = member.app.view_deployment(member.who(), asked.value("name")).await?;
    Ok(show(&editing(&member, form_of(&row), Some(&row))))
}

async fn edit(member: Member, asked: Asked, mut form: Form) -> UiResult {
    let row = member.app.view_deployment(member.who(), asked.value("name")).await?;
    if stepped(&mut form) {
        return Ok(show(&editing(&member, form, Some(&row))));
    }
    let saved = async {
        let change = change_of(&form)?;
        member.app.change_deployment(member.who(), &member.asker, &row.name, change).await
    };
    match saved.await {
        Ok(_) => Ok(go("/ui/deployments?done=saved")),
        Err(error) => {
            let status = form.fail(error)?;
            Ok(page(status, &editing(&member, form, Some(&row))))
        }
    }
}

async fn ask_delete(member: Member, asked: Asked) -> UiResult {
    let row = member.app.view_deployment(member.who(), asked.value("name")).await?;
    Ok(Confirm {
        frame: member.frame(Section::Deployments, format!("Delete the deployment “{}”?", row.name)),
        effects: vec![
            "It is only possible while no model, no domain and no route names it.".to_owned(),
            "Its endpoints and their credentials are forgotten.".to_owned(),
        ],
        action: format!("/ui/deployments/delete?name={}", in_query(&row.name)),
        button: "Delete deployment",
        back: "/ui/deployments".to_owned(),
        hidden: Vec::new(),
    }
    .ask())
}

async fn delete(member: Member, asked: Asked) -> UiResult {
    member.app.delete_deployment(member.who(), &member.asker, asked.value("name")).await?;
    Ok(go("/ui/deployments?done=deleted"))
}
