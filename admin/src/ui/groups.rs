//! Groups of an identity provider, for superadmins: which there are, who is in them, which roles of domains they bring; and how to connect
//! a provider. Who is in a group is the provider's to say, so that nothing here changes it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use askama::Template;
use axum::Router;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::routing::{get, post};
use cube_wire::{DomainId, UserId};
use uuid::Uuid;

use super::confirm::Confirm;
use super::error::{UiResult, go};
use super::form::Form;
use super::frame::{Frame, Section, page, show};
use super::list::{Asked, Pager};
use super::people;
use super::permissions::domain_choices;
use super::shell::Member;
use super::view::{Choice, When, count_of};
use crate::app::{App, AppError};
use crate::http::SCIM_BASE;
use crate::store::Page;
use crate::store::scim::groups::{GroupRow, GroupSummary, MappingRow};

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/ui/groups", get(list))
        .route("/ui/groups/{id}", get(view))
        .route("/ui/groups/{id}/mappings", post(map))
        .route("/ui/groups/{id}/mappings/{mapping}/remove", get(ask_unmap).post(unmap))
}

/// Mappings of one group that are shown.
const MAPPINGS_MAX: i64 = 500;

/// Where an identity provider finds us: as the settings say, else as this browser did.
pub(super) fn address(member: &Member) -> String {
    let configured = member.app.settings.public_url.as_ref().map(ToString::to_string);
    format!("{}{SCIM_BASE}", configured.unwrap_or_else(|| member.origin.url()))
}

struct Row {
    id: Uuid,
    name: String,
    external_id: String,
    members: String,
    roles: String,
    updated: When,
}

fn row_of(group: GroupSummary) -> Row {
    Row {
        id: group.row.id,
        name: group.row.display_name,
        external_id: group.row.external_id.unwrap_or_default(),
        members: count_of(group.members, "member", "members"),
        roles: count_of(group.roles, "role", "roles"),
        updated: When::new(group.row.updated_at),
    }
}

#[derive(Template)]
#[template(path = "groups.html")]
struct Groups {
    frame: Frame,
    name: String,
    rows: Vec<Row>,
    pager: Pager,
    address: String,
}

async fn list(member: Member, asked: Asked) -> UiResult {
    let part = asked.written("name");
    let listed = member.app.browse_groups(member.who(), part, asked.page()).await?;
    Ok(show(&Groups {
        frame: member.frame(Section::Groups, "Groups"),
        name: asked.value("name").to_owned(),
        pager: asked.pager(listed.total),
        rows: listed.rows.into_iter().map(row_of).collect(),
        address: address(&member),
    }))
}

/// A role that a group brings.
struct Mapping {
    id: Uuid,
    domain: Uuid,
    domain_name: String,
    role: String,
    role_name: String,
    since: When,
}

#[derive(Template)]
#[template(path = "group.html")]
struct Group {
    frame: Frame,
    form: Form,
    id: Uuid,
    name: String,
    external_id: String,
    created: When,
    /// Identifier and name of each.
    members: Vec<(UserId, String)>,
    pager: Pager,
    mappings: Vec<Mapping>,
    domains: Vec<Choice>,
    roles: Vec<Choice>,
}

/// The group of a path: what is no identifier names nothing.
async fn find(member: &Member, id: &str, part: Page) -> UiResult<(GroupRow, crate::store::Listed<UserId>)> {
    // Not found is for those who may look: to others every group is refused alike.
    member.operator()?;
    let id = id.parse::<Uuid>().map_err(|_| AppError::NotFound("group"))?;
    Ok(member.app.view_group(member.who(), id, part).await?)
}

async fn mappings_of(member: &Member, group: Uuid) -> UiResult<Vec<Mapping>> {
    let all = Page { offset: 0, limit: MAPPINGS_MAX };
    let listed = member.app.list_group_mappings(member.who(), Some(group), all).await?;
    let mut names: HashMap<DomainId, String> = HashMap::new();
    let mut mappings = Vec::new();
    for row in listed.rows {
        if let Entry::Vacant(unnamed) = names.entry(row.domain) {
            unnamed.insert(member.app.view_domain(member.who(), row.domain).await?.name);
        }
        mappings.push(Mapping {
            id: row.id,
            domain: row.domain.0,
            domain_name: names.get(&row.domain).cloned().unwrap_or_default(),
            role: row.role,
            role_name: row.role_name,
            since: When::new(row.created_at),
        });
    }
    Ok(mappings)
}

async fn group(member: &Member, id: &str, asked: &Asked, mut form: Form) -> UiResult<Group> {
    let (row, listed) = find(member, id, asked.page()).await?;
    let members = people::named(member, listed.rows, |user| *user).await?;
    let domains = domain_choices(member).await?;
    // The roles are those of the domain that is chosen, the first one to begin with.
    let chosen = form.written("domain").or_else(|| domains.first().map(|choice| choice.value.clone()));
    form.set("domain", chosen.clone().unwrap_or_default());
    let roles = match chosen.and_then(|id| id.parse().ok()) {
        None => Vec::new(),
        Some(domain) => {
            let all = Page { offset: 0, limit: 200 };
            let listed = member.app.list_roles(member.who(), DomainId(domain), None, all).await?;
            let named = listed.rows.into_iter().map(|role| Choice::new(role.id, role.name));
            // Nobody is to give away the first role of a list by leaving it as it was.
            std::iter::once(Choice::new("", "Choose a role…")).chain(named).collect()
        }
    };
    Ok(Group {
        frame: member.frame(Section::Groups, row.display_name.clone()),
        form,
        members,
        pager: asked.pager(listed.total),
        mappings: mappings_of(member, row.id).await?,
        domains,
        roles,
        id: row.id,
        created: When::new(row.created_at),
        external_id: row.external_id.unwrap_or_default(),
        name: row.display_name,
    })
}

async fn view(member: Member, Path(id): Path<String>, asked: Asked) -> UiResult {
    Ok(show(&group(&member, &id, &asked, Form::default()).await?))
}

async fn map(member: Member, Path(id): Path<String>, asked: Asked, mut form: Form) -> UiResult {
    let (row, _) = find(&member, &id, Page { offset: 0, limit: 0 }).await?;
    if form.value("step") == "choose" {
        return Ok(show(&group(&member, &id, &asked, form).await?));
    }
    let Ok(domain) = form.value("domain").parse().map(DomainId) else {
        form.clear("domain");
        form.wrong("domain", "Choose a domain.");
        return Ok(page(StatusCode::BAD_REQUEST, &group(&member, &id, &asked, form).await?));
    };
    match member.app.map_group(member.who(), &member.asker, row.id, domain, form.value("role")).await {
        Ok(_) => Ok(go(&format!("/ui/groups/{id}?done=saved"))),
        Err(AppError::NotFound("role")) => {
            let chosen = form.written("role").is_some();
            form.wrong("role", if chosen { "This domain has no such role." } else { "Choose a role." });
            // Roles can only be listed of a domain that is there.
            if member.app.view_domain(member.who(), domain).await.is_err() {
                form.clear("domain");
            }
            Ok(page(StatusCode::NOT_FOUND, &group(&member, &id, &asked, form).await?))
        }
        Err(error) => {
            let taken = matches!(error, AppError::Conflict(_));
            let error =
                if taken { AppError::invalid("role", "the group brings this role already") } else { error };
            let status = form.fail(error)?;
            Ok(page(status, &group(&member, &id, &asked, form).await?))
        }
    }
}

/// A mapping of this group.
async fn mapping_of(member: &Member, group: &GroupRow, id: &str) -> UiResult<MappingRow> {
    let all = Page { offset: 0, limit: MAPPINGS_MAX };
    let listed = member.app.list_group_mappings(member.who(), Some(group.id), all).await?;
    let found = listed.rows.into_iter().find(|row| row.id.to_string() == id);
    Ok(found.ok_or(AppError::NotFound("group mapping"))?)
}

async fn ask_unmap(member: Member, Path((id, mapping)): Path<(String, String)>) -> UiResult {
    let (row, members) = find(&member, &id, Page { offset: 0, limit: 0 }).await?;
    let mapped = mapping_of(&member, &row, &mapping).await?;
    let domain = member.app.view_domain(member.who(), mapped.domain).await?.name;
    let people = count_of(members.total, "member loses", "members lose");
    Ok(Confirm {
        frame: member.frame(Section::Groups, format!("Take “{}” from “{}”?", mapped.role_name, row.display_name)),
        effects: vec![
            format!(
                "{people} the role “{}” in “{domain}”, but for those to whom somebody gave it and those in another group that brings it.",
                mapped.role_name
            ),
            "Their PATs can do there only what their other roles allow, within moments.".to_owned(),
            "The group and who is in it stay as they are.".to_owned(),
        ],
        action: format!("/ui/groups/{id}/mappings/{mapping}/remove"),
        button: "Take role from group",
        back: format!("/ui/groups/{id}"),
        hidden: Vec::new(),
    }
    .ask())
}

async fn unmap(member: Member, Path((id, mapping)): Path<(String, String)>) -> UiResult {
    let (row, _) = find(&member, &id, Page { offset: 0, limit: 0 }).await?;
    let mapped = mapping_of(&member, &row, &mapping).await?;
    member.app.unmap_group(member.who(), &member.asker, mapped.id).await?;
    Ok(go(&format!("/ui/groups/{id}?done=saved")))
}
