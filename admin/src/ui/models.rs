//! Models of a domain: what callers name, where it is served, and what it is called there.

use askama::Template;
use axum::Router;
use axum::extract::Path;
use axum::routing::{get, post};

use super::confirm::Confirm;
use super::domains::Place;
use super::error::{UiResult, go};
use super::form::Form;
use super::frame::{Frame, Section, page, show};
use super::list::{Asked, Pager};
use super::shell::Member;
use crate::app::App;
use crate::app::models::{ModelChange, NewModel};
use crate::store::Page;

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/ui/domains/{id}/models", get(list).post(create))
        .route("/ui/domains/{id}/models/default", post(set_default))
        // Names of models have slashes: they stand in the query.
        .route("/ui/domains/{id}/models/edit", get(ask_edit).post(edit))
        .route("/ui/domains/{id}/models/delete", get(ask_delete).post(delete))
}

struct Row {
    name: String,
    /// The name as a part of an address.
    query: String,
    served_by: Option<String>,
    by_default: bool,
    upstream_model: Option<String>,
}

#[derive(Template)]
#[template(path = "models.html")]
struct Models {
    frame: Frame,
    place: Place,
    form: Form,
    default: Form,
    rows: Vec<Row>,
    part: String,
    deployments: Vec<String>,
    pager: Pager,
}

fn in_query(name: &str) -> String {
    form_urlencoded::byte_serialize(name.as_bytes()).collect()
}

/// Names of deployments to choose from; only superadmins see them.
pub(super) async fn deployment_names(member: &Member) -> UiResult<Vec<String>> {
    if !member.who().superadmin {
        return Ok(Vec::new());
    }
    let listed = member.app.list_deployments(member.who(), None, Page { offset: 0, limit: 200 }).await?;
    Ok(listed.rows.into_iter().map(|row| row.name).collect())
}

async fn models(
    member: &Member,
    id: &str,
    asked: &Asked,
    (form, default): (Form, Option<Form>),
) -> UiResult<Models> {
    let (place, domain) = Place::of(member, id, "models").await?;
    let part = asked.written("name").map(str::to_owned);
    let listed = member.app.list_models(member.who(), domain.id, part.clone(), asked.page()).await?;
    let rows = listed.rows.into_iter().map(|row| Row {
        query: in_query(&row.name),
        name: row.name,
        by_default: row.deployment.is_none(),
        served_by: row.served_by,
        upstream_model: row.upstream_model,
    });
    let rows = rows.collect();
    Ok(Models {
        frame: member.frame(Section::Domains, format!("Models of {}", place.name)),
        place,
        form,
        default: default.unwrap_or_else(|| {
            Form::of([("default_deployment", domain.default_deployment.unwrap_or_default())])
        }),
        rows,
        part: part.unwrap_or_default(),
        deployments: deployment_names(member).await?,
        pager: asked.pager(listed.total),
    })
}

async fn list(member: Member, Path(id): Path<String>, asked: Asked) -> UiResult {
    Ok(show(&models(&member, &id, &asked, (Form::default(), None)).await?))
}

async fn create(member: Member, Path(id): Path<String>, asked: Asked, mut form: Form) -> UiResult {
    let (_, domain) = Place::of(&member, &id, "models").await?;
    let new = NewModel {
        name: form.text("name"),
        deployment: form.written("deployment"),
        upstream_model: form.written("upstream_model"),
    };
    match member.app.create_model(member.who(), &member.asker, domain.id, new).await {
        Ok(_) => Ok(go(&format!("/ui/domains/{id}/models?done=created"))),
        Err(error) => {
            let status = form.fail(error)?;
            Ok(page(status, &models(&member, &id, &asked, (form, None)).await?))
        }
    }
}

async fn set_default(member: Member, Path(id): Path<String>, asked: Asked, mut form: Form) -> UiResult {
    let (_, domain) = Place::of(&member, &id, "models").await?;
    let name = form.written("default_deployment");
    let done = member.app.set_default_deployment(member.who(), &member.asker, domain.id, name.as_deref());
    match done.await {
        Ok(()) => Ok(go(&format!("/ui/domains/{id}/models?done=saved"))),
        Err(error) => {
            let status = form.fail(error)?;
            Ok(page(status, &models(&member, &id, &asked, (Form::default(), Some(form))).await?))
        }
    }
}

#[derive(Template)]
#[template(path = "model_edit.html")]
struct ModelEdit {
    frame: Frame,
    place: Place,
    form: Form,
    name: String,
    query: String,
    deployments: Vec<String>,
}

async fn editing(member: &Member, place: Place, name: String, form: Form) -> UiResult<ModelEdit> {
    Ok(ModelEdit {
        frame: member.frame(Section::Domains, name.clone()),
        place,
        form,
        query: in_query(&name),
        name,
        deployments: deployment_names(member).await?,
    })
}

async fn ask_edit(member: Member, Path(id): Path<String>, asked: Asked) -> UiResult {
    let (place, domain) = Place::of(&member, &id, "models").await?;
    let row = member.app.view_model(member.who(), domain.id, asked.value("name")).await?;
    let form = Form::of([
        ("deployment", row.deployment.unwrap_or_default()),
        ("upstream_model", row.upstream_model.unwrap_or_default()),
    ]);
    Ok(show(&editing(&member, place, row.name, form).await?))
}

async fn edit(member: Member, Path(id): Path<String>, asked: Asked, mut form: Form) -> UiResult {
    let (place, domain) = Place::of(&member, &id, "models").await?;
    let name = asked.value("name").to_owned();
    let change = ModelChange {
        deployment: Some(form.written("deployment")),
        upstream_model: Some(form.written("upstream_model")),
    };
    match member.app.change_model(member.who(), &member.asker, domain.id, &name, change).await {
        Ok(_) => Ok(go(&format!("/ui/domains/{id}/models?done=saved"))),
        Err(error) => {
            let status = form.fail(error)?;
            Ok(page(status, &editing(&member, place, name, form).await?))
        }
    }
}

async fn ask_delete(member: Member, Path(id): Path<String>, asked: Asked) -> UiResult {
    let (place, domain) = Place::of(&member, &id, "models").await?;
    let row = member.app.view_model(member.who(), domain.id, asked.value("name")).await?;
    Ok(Confirm {
        frame: member.frame(Section::Domains, format!("Delete the model “{}”?", row.name)),
        effects: vec![
            format!("Requests for it below /proxy/{} are answered 404, within moments.", place.path),
            "Scopes of PATs that name it stay, and hold for the next model of this name.".to_owned(),
        ],
        action: format!("/ui/domains/{id}/models/delete?name={}", in_query(&row.name)),
        button: "Delete model",
        back: format!("/ui/domains/{id}/models"),
        hidden: Vec::new(),
    }
    .ask())
}

async fn delete(member: Member, Path(id): Path<String>, asked: Asked) -> UiResult {
    let (_, domain) = Place::of(&member, &id, "models").await?;
    member.app.delete_model(member.who(), &member.asker, domain.id, asked.value("name")).await?;
    Ok(go(&format!("/ui/domains/{id}/models?done=deleted")))
}
