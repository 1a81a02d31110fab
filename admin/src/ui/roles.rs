//! Roles of a domain: which there are, what each lets its members do, and who has it.

use std::collections::BTreeSet;

use askama::Template;
use axum::Router;
use axum::extract::Path;
use axum::routing::{get, post};
use cube_wire::{Operation, UserId};

use super::confirm::Confirm;
use super::domains::Place;
use super::error::{UiResult, go};
use super::form::Form;
use super::frame::{Frame, Section, page, show};
use super::list::{Asked, Pager};
use super::people;
use super::scope_editor::Tick;
use super::shell::Member;
use super::view::{When, operation_help, operation_label};
use crate::app::App;
use crate::app::roles::{NewRole, RolePlace};
use crate::store::domains::DomainRow;
use crate::store::roles::RoleRow;

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/ui/domains/{id}/roles", get(list).post(create))
        .route("/ui/domains/{id}/roles/{role}", get(view).post(save))
        .route("/ui/domains/{id}/roles/{role}/members", post(add_member))
        .route("/ui/domains/{id}/roles/{role}/members/remove", post(remove_member))
        .route("/ui/domains/{id}/roles/{role}/delete", get(ask_delete).post(delete))
}

struct Row {
    id: String,
    name: String,
    builtin: bool,
    created: When,
}

#[derive(Template)]
#[template(path = "roles.html")]
struct Roles {
    frame: Frame,
    place: Place,
    form: Form,
    rows: Vec<Row>,
    groups: Vec<(&'static str, Vec<Tick>)>,
    pager: Pager,
}

/// Every action, in groups, with those ticked that `on` says.
fn ticks(on: impl Fn(&str) -> bool) -> Vec<(&'static str, Vec<Tick>)> {
    let group = |wanted: &dyn Fn(&str) -> bool| {
        let names = Operation::ALL.iter().map(|operation| operation.name()).filter(|name| wanted(name));
        let tick = |name: &str| Tick {
            name: name.to_owned(),
            label: operation_label(name),
            help: operation_help(name),
            on: on(name),
        };
        names.map(tick).collect()
    };
    vec![
        ("Models", group(&|name| name.starts_with("llm_"))),
        ("Domain", group(&|name| !name.starts_with("llm_") && !name.starts_with("audit_log_"))),
        ("Audit log", group(&|name| name.starts_with("audit_log_"))),
    ]
}

async fn roles(member: &Member, id: &str, asked: &Asked, form: Form) -> UiResult<Roles> {
    let (place, row) = Place::of(member, id, "roles").await?;
    let listed = member.app.list_roles(member.who(), row.id, None, asked.page()).await?;
    let rows = listed.rows.into_iter().map(|row| Row {
        id: row.id,
        name: row.name,
        builtin: row.builtin,
        created: When::new(row.created_at),
    });
    Ok(Roles {
        frame: member.frame(Section::Domains, format!("Roles of {}", place.name)),
        place,
        groups: ticks(|name| form.has("action", name)),
        form,
        rows: rows.collect(),
        pager: asked.pager(listed.total),
    })
}

async fn list(member: Member, Path(id): Path<String>, asked: Asked) -> UiResult {
    Ok(show(&roles(&member, &id, &asked, Form::default()).await?))
}

async fn create(member: Member, Path(id): Path<String>, asked: Asked, mut form: Form) -> UiResult {
    let (_, row) = Place::of(&member, &id, "roles").await?;
    let actions = form.all("action").map(str::to_owned).collect();
    let new = NewRole { name: form.text("role_name"), actions, members: Vec::new() };
    match member.app.create_role(member.who(), &member.asker, row.id, new).await {
        Ok(role) => Ok(go(&format!("/ui/domains/{id}/roles/{}?done=created", role.id))),
        Err(error) => {
            let status = form.fail(error)?;
            Ok(page(status, &roles(&member, &id, &asked, form).await?))
        }
    }
}

#[derive(Template)]
#[template(path = "role.html")]
struct RolePage {
    frame: Frame,
    place: Place,
    form: Form,
    adding: Form,
    id: String,
    name: String,
    builtin: bool,
    groups: Vec<(&'static str, Vec<Tick>)>,
    /// Actions that nothing of ours acts on, kept as they are.
    kept: Vec<String>,
    /// Identifier and name.
    members: Vec<(String, String)>,
    /// The visitor may not see who has it.
    members_hidden: bool,
    pager: Pager,
}

async fn found(
    member: &Member,
    (id, role): (&str, &str),
) -> UiResult<(Place, DomainRow, RoleRow, Vec<String>)> {
    let (place, domain) = Place::of(member, id, "roles").await?;
    let (row, actions) = member.app.view_role(member.who(), RolePlace { domain: domain.id, role }).await?;
    Ok((place, domain, row, actions))
}

async fn role_page(
    member: &Member,
    at: (&str, &str),
    asked: &Asked,
    (form, adding): (Option<Form>, Form),
) -> UiResult<RolePage> {
    let (place, domain, row, actions) = found(member, at).await?;
    let role = RolePlace { domain: domain.id, role: &row.id };
    let listed = match member.app.role_members(member.who(), role, asked.page()).await {
        Ok(listed) => Some(listed),
        Err(crate::app::AppError::Forbidden(_)) => None,
        Err(error) => return Err(error.into()),
    };
    let members_hidden = listed.is_none();
    let (users, total) = listed.map_or((Vec::new(), 0), |listed| (listed.rows, listed.total));
    let members = people::named(member, users, |user| *user).await?;
    let form = form.unwrap_or_else(|| Form::of([("name", row.name.clone())]));
    Ok(RolePage {
        frame: member.frame(Section::Domains, row.name.clone()),
        place,
        form,
        adding,
        groups: ticks(|name| actions.iter().any(|action| action == name)),
        kept: actions.into_iter().filter(|action| Operation::from_name(action).is_none()).collect(),
        id: row.id,
        name: row.name,
        builtin: row.builtin,
        members: members.into_iter().map(|(user, name)| (user.to_string(), name)).collect(),
        members_hidden,
        pager: asked.pager(total),
    })
}

async fn view(member: Member, Path((id, role)): Path<(String, String)>, asked: Asked) -> UiResult {
    Ok(show(&role_page(&member, (&id, &role), &asked, (None, Form::default())).await?))
}

async fn save(
    member: Member,
    Path((id, role)): Path<(String, String)>,
    asked: Asked,
    mut form: Form,
) -> UiResult {
    let (_, domain, row, actions) = found(&member, (&id, &role)).await?;
    let (app, who, asker) = (&member.app, member.who(), &member.asker);
    let place = RolePlace { domain: domain.id, role: &row.id };
    let wanted: BTreeSet<&str> = form.all("action").collect();
    let more: Vec<String> = wanted
        .iter()
        .filter(|name| !actions.iter().any(|had| had == *name))
        .map(|&name| name.to_owned())
        .collect();
    let acting = actions.iter().filter(|name| Operation::from_name(name).is_some());
    let less: Vec<String> = acting.filter(|name| !wanted.contains(name.as_str())).cloned().collect();
    let name = form.text("name");
    let saved = async {
        if name != row.name {
            app.rename_role(who, asker, place, &name).await?;
        }
        if !more.is_empty() {
            app.add_role_actions(who, asker, place, &more).await?;
        }
        if !less.is_empty() {
            app.remove_role_actions(who, asker, place, Some(&less)).await?;
        }
        Ok(())
    };
    match saved.await {
        Ok(()) => Ok(go(&format!("/ui/domains/{id}/roles/{role}?done=saved"))),
        Err(error) => {
            let status = form.fail(error)?;
            Ok(page(status, &role_page(&member, (&id, &role), &asked, (Some(form), Form::default())).await?))
        }
    }
}

async fn add_member(
    member: Member,
    Path((id, role)): Path<(String, String)>,
    asked: Asked,
    mut form: Form,
) -> UiResult {
    let (_, domain, row, _) = found(&member, (&id, &role)).await?;
    let added = async {
        let user = people::find(&member, &form.text("user")).await?;
        let place = RolePlace { domain: domain.id, role: &row.id };
        member.app.add_role_members(member.who(), &member.asker, place, &[user]).await
    };
    match added.await {
        Ok(()) => Ok(go(&format!("/ui/domains/{id}/roles/{role}?done=saved"))),
        Err(error) => {
            let status = form.fail(error)?;
            Ok(page(status, &role_page(&member, (&id, &role), &asked, (None, form)).await?))
        }
    }
}

async fn remove_member(member: Member, Path((id, role)): Path<(String, String)>, form: Form) -> UiResult {
    let (_, domain, row, _) = found(&member, (&id, &role)).await?;
    let users: Vec<UserId> = form.all("user").filter_map(|id| id.parse().ok().map(UserId)).collect();
    let place = RolePlace { domain: domain.id, role: &row.id };
    member.app.remove_role_members(member.who(), &member.asker, place, Some(&users)).await?;
    Ok(go(&format!("/ui/domains/{id}/roles/{role}?done=saved")))
}

async fn ask_delete(member: Member, Path((id, role)): Path<(String, String)>) -> UiResult {
    let (_, _, row, _) = found(&member, (&id, &role)).await?;
    Ok(Confirm {
        frame: member.frame(Section::Domains, format!("Delete the role “{}”?", row.name)),
        effects: vec![
            "Its members can no longer do what it let them do, within moments.".to_owned(),
            "Open invitations to it are taken back.".to_owned(),
        ],
        action: format!("/ui/domains/{id}/roles/{role}/delete"),
        button: "Delete role",
        back: format!("/ui/domains/{id}/roles/{role}"),
        hidden: Vec::new(),
    }
    .ask())
}

async fn delete(member: Member, Path((id, role)): Path<(String, String)>) -> UiResult {
    let (_, domain, row, _) = found(&member, (&id, &role)).await?;
    let place = RolePlace { domain: domain.id, role: &row.id };
    member.app.delete_role(member.who(), &member.asker, place).await?;
    Ok(go(&format!("/ui/domains/{id}/roles?done=deleted")))
}
