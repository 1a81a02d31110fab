//! Who is in a domain, with which roles; and taking somebody out.

use askama::Template;
use axum::Router;
use axum::extract::Path;
use axum::routing::get;
use cube_wire::UserId;
use uuid::Uuid;

use super::confirm::Confirm;
use super::domains::Place;
use super::error::{UiResult, go};
use super::form::Form;
use super::frame::{Frame, Section, page, show};
use super::list::{Asked, Pager};
use super::people;
use super::shell::Member;
use super::view::Choice;
use crate::app::roles::RolePlace;
use crate::app::{App, AppError};
use crate::store::Page;
use crate::store::roles::Member as InDomain;

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/ui/domains/{id}/members", get(list).post(add))
        .route("/ui/domains/{id}/members/{user}/remove", get(ask_remove).post(remove))
}

struct Row {
    user: String,
    name: String,
    /// Identifier and name of each.
    roles: Vec<(String, String)>,
}

#[derive(Template)]
#[template(path = "members.html")]
struct Members {
    frame: Frame,
    place: Place,
    form: Form,
    rows: Vec<Row>,
    roles: Vec<Choice>,
    pager: Pager,
}

/// The roles of a domain to choose from; none for those who may not see them.
pub(super) async fn role_choices(member: &Member, place: &Place) -> UiResult<Vec<Choice>> {
    let all = Page { offset: 0, limit: 200 };
    let domain = cube_wire::DomainId(place.id.parse().unwrap_or_default());
    match member.app.list_roles(member.who(), domain, None, all).await {
        Ok(listed) => Ok(listed.rows.into_iter().map(|row| Choice::new(row.id, row.name)).collect()),
        Err(AppError::Forbidden(_)) => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

async fn members(member: &Member, id: &str, asked: &Asked, form: Form) -> UiResult<Members> {
    let (place, row) = Place::of(member, id, "members").await?;
    let listed = member.app.domain_members(member.who(), row.id, asked.page()).await?;
    let named = people::named(member, listed.rows, |row| row.user).await?;
    let row_of = |(row, name): (InDomain, String)| Row {
        name,
        user: row.user.to_string(),
        roles: row.roles.into_iter().map(|role| (role.id, role.name)).collect(),
    };
    Ok(Members {
        frame: member.frame(Section::Domains, format!("Members of {}", place.name)),
        roles: role_choices(member, &place).await?,
        place,
        form,
        rows: named.into_iter().map(row_of).collect(),
        pager: asked.pager(listed.total),
    })
}

async fn list(member: Member, Path(id): Path<String>, asked: Asked) -> UiResult {
    Ok(show(&members(&member, &id, &asked, Form::default()).await?))
}

async fn add(member: Member, Path(id): Path<String>, asked: Asked, mut form: Form) -> UiResult {
    let (_, row) = Place::of(&member, &id, "members").await?;
    let role = form.text("role");
    let added = async {
        let user = people::find(&member, &form.text("user")).await?;
        let place = RolePlace { domain: row.id, role: &role };
        member.app.add_role_members(member.who(), &member.asker, place, &[user]).await
    };
    match added.await {
        Ok(()) => Ok(go(&format!("/ui/domains/{id}/members?done=saved"))),
        Err(error) => {
            let status = form.fail(error)?;
            Ok(page(status, &members(&member, &id, &asked, form).await?))
        }
    }
}

fn user_of(text: &str) -> UiResult<UserId> {
    Ok(text.parse::<Uuid>().map(UserId).map_err(|_| AppError::NotFound("user"))?)
}

async fn ask_remove(member: Member, Path((id, user)): Path<(String, String)>) -> UiResult {
    let (place, _) = Place::of(&member, &id, "members").await?;
    let user_id = user_of(&user)?;
    let name = people::name(&member, user_id).await?;
    Ok(Confirm {
        frame: member.frame(Section::Domains, format!("Take {name} out of “{}”?", place.name)),
        effects: vec![
            "They lose every role that they have in this domain.".to_owned(),
            "Their PATs can do nothing here any more, within moments. Scopes stay, for the case that they come back.".to_owned(),
        ],
        action: format!("/ui/domains/{id}/members/{user}/remove"),
        button: "Take out",
        back: format!("/ui/domains/{id}/members"),
        hidden: Vec::new(),
    }
    .ask())
}

async fn remove(member: Member, Path((id, user)): Path<(String, String)>) -> UiResult {
    let (_, row) = Place::of(&member, &id, "members").await?;
    let user = user_of(&user)?;
    member.app.remove_from_domain(member.who(), &member.asker, row.id, &[user]).await?;
    Ok(go(&format!("/ui/domains/{id}/members?done=saved")))
}
