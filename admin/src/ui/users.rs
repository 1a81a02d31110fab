//! Users, for superadmins: who there is, a new one, and what may be changed of one.

use askama::Template;
use axum::Router;
use axum::extract::Path;
use axum::routing::{get, post};
use cube_wire::UserId;
use uuid::Uuid;

use super::confirm::Confirm;
use super::error::{UiError, UiResult, go};
use super::form::Form;
use super::frame::{Frame, Section, page, show};
use super::links::Link;
use super::list::{Asked, Pager};
use super::shell::Member;
use super::view::{Badge, When, name_of};
use crate::app::users::NewUser;
use crate::app::{App, AppError};
use crate::store::users::{UserChange, UserFilter, UserRow};

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/ui/users", get(list))
        .route("/ui/users/new", get(ask_new).post(create))
        .route("/ui/users/{id}", get(view).post(save))
        .route("/ui/users/{id}/password", post(set_password))
        .route("/ui/users/{id}/status", post(set_status))
        .route("/ui/users/{id}/delete", get(ask_delete).post(delete))
}

struct Row {
    id: String,
    name: String,
    username: String,
    email: String,
    status: Badge,
    superadmin: bool,
    created: When,
}

const fn status_badge(enabled: bool) -> Badge {
    match enabled {
        true => Badge { tone: "good", text: "Enabled" },
        false => Badge { tone: "bad", text: "Disabled" },
    }
}

fn row_of(row: UserRow) -> Row {
    Row {
        id: row.id.to_string(),
        name: name_of(&row),
        status: status_badge(row.enabled),
        superadmin: row.superadmin,
        created: When::new(row.created_at),
        username: row.username,
        email: row.email.unwrap_or_default(),
    }
}

#[derive(Template)]
#[template(path = "users.html")]
struct Users {
    frame: Frame,
    name: String,
    by: String,
    status: String,
    rows: Vec<Row>,
    pager: Pager,
}

async fn list(member: Member, asked: Asked) -> UiResult {
    member.operator()?;
    let text = asked.written("name").map(str::to_owned);
    let by = asked.written("by").unwrap_or("username").to_owned();
    let mut filter = UserFilter::default();
    match &*by {
        "email" => filter.email = text,
        "first_name" => filter.first_name = text,
        "last_name" => filter.last_name = text,
        _ => filter.username = text,
    }
    filter.enabled = match asked.value("status") {
        "enabled" => Some(true),
        "disabled" => Some(false),
        _ => None,
    };
    let listed = member.app.list_users(member.who(), filter, asked.page()).await?;
    Ok(show(&Users {
        frame: member.frame(Section::Users, "Users"),
        name: asked.value("name").to_owned(),
        by,
        status: asked.value("status").to_owned(),
        rows: listed.rows.into_iter().map(row_of).collect(),
        pager: asked.pager(listed.total),
    }))
}

#[derive(Template)]
#[template(path = "user_new.html")]
struct UserNew {
    frame: Frame,
    form: Form,
}

async fn ask_new(member: Member) -> UiResult {
    member.operator()?;
    Ok(show(&UserNew { frame: member.frame(Section::Users, "New user"), form: Form::default() }))
}

async fn create(member: Member, mut form: Form) -> UiResult {
    member.operator()?;
    let new = NewUser {
        username: form.text("username"),
        password: Some(form.value("password").to_owned()).filter(|password| !password.is_empty()),
        email: form.written("email"),
        first_name: form.text("first_name"),
        last_name: form.text("last_name"),
        superadmin: form.has("superadmin", "yes"),
        ..NewUser::default()
    };
    form.clear("password");
    match member.app.create_user(member.who(), &member.asker, new).await {
        Ok(row) => Ok(go(&format!("/ui/users/{}?done=created", row.id))),
        Err(error) => {
            let status = form.fail(taken(error))?;
            Ok(page(status, &UserNew { frame: member.frame(Section::Users, "New user"), form }))
        }
    }
}

/// A name that is taken is wrong with its field.
fn taken(error: AppError) -> AppError {
    let taken = if let AppError::Conflict(text) = &error { text.as_str() } else { "" };
    let field = match taken {
        "username is taken" => "username",
        "email is taken" => "email",
        _ => return error,
    };
    AppError::invalid(field, "somebody else has it")
}

#[derive(Template)]
#[template(path = "user.html")]
pub(super) struct UserPage {
    frame: Frame,
    row: Row,
    form: Form,
    password: Form,
    /// Who the user is at the identity provider; `None`: there is none.
    link: Option<Link>,
    linking: Form,
    enabled: bool,
    own: bool,
}

/// Forms of the page that were sent, and not done.
#[derive(Default)]
pub(super) struct Sent {
    pub(super) account: Option<Form>,
    pub(super) password: Form,
    pub(super) link: Option<Form>,
}

pub(super) async fn find(member: &Member, id: &str) -> UiResult<UserRow> {
    member.operator()?;
    let id = id.parse::<Uuid>().map_err(|_| AppError::NotFound("user"))?;
    Ok(member.app.view_user(member.who(), UserId(id)).await?)
}

pub(super) async fn user_page(member: &Member, row: UserRow, sent: Sent) -> UiResult<UserPage> {
    let link = Link::of(member, row.id).await?;
    let subject = link.as_ref().and_then(|link| link.subject.clone());
    let form = sent.account.unwrap_or_else(|| {
        let mut form = Form::of([
            ("username", row.username.clone()),
            ("email", row.email.clone().unwrap_or_default()),
            ("first_name", row.first_name.clone()),
            ("last_name", row.last_name.clone()),
        ]);
        if row.superadmin {
            form.push("superadmin", "yes");
        }
        form
    });
    Ok(UserPage {
        frame: member.frame(Section::Users, name_of(&row)),
        enabled: row.enabled,
        own: row.id == member.who().user,
        row: row_of(row),
        form,
        password: sent.password,
        link,
        linking: sent.link.unwrap_or_else(|| Form::of([("subject", subject.unwrap_or_default())])),
    })
}

async fn view(member: Member, Path(id): Path<String>) -> UiResult {
    let row = find(&member, &id).await?;
    Ok(show(&user_page(&member, row, Sent::default()).await?))
}

async fn save(member: Member, Path(id): Path<String>, mut form: Form) -> UiResult {
    let row = find(&member, &id).await?;
    let superadmin = form.has("superadmin", "yes");
    let change = UserChange {
        username: Some(form.text("username")).filter(|name| *name != row.username),
        email: form.written("email"),
        first_name: Some(form.text("first_name")),
        last_name: Some(form.text("last_name")),
        superadmin: Some(superadmin).filter(|wanted| *wanted != row.superadmin),
        ..UserChange::default()
    };
    match member.app.change_user(member.who(), &member.asker, row.id, "user.update", change).await {
        Ok(_) => Ok(go(&format!("/ui/users/{id}?done=saved"))),
        Err(error) => {
            let status = form.fail(taken(error))?;
            let sent = Sent { account: Some(form), ..Sent::default() };
            Ok(page(status, &user_page(&member, row, sent).await?))
        }
    }
}

async fn set_password(member: Member, Path(id): Path<String>, form: Form) -> UiResult {
    let row = find(&member, &id).await?;
    let new = form.value("password").to_owned();
    match member.app.reset_password(member.who(), &member.asker, row.id, new).await {
        Ok(_) => Ok(go(&format!("/ui/users/{id}?done=saved"))),
        Err(error) => {
            // The password that was refused is not sent back.
            let mut shown = Form::default();
            let status = shown.fail(error)?;
            let sent = Sent { password: shown, ..Sent::default() };
            Ok(page(status, &user_page(&member, row, sent).await?))
        }
    }
}

async fn set_status(member: Member, Path(id): Path<String>, form: Form) -> UiResult {
    let row = find(&member, &id).await?;
    let enable = match form.value("status") {
        "enable" => true,
        "disable" => false,
        _ => return Err(UiError::from(AppError::invalid("status", "enable or disable"))),
    };
    if !enable && form.value("sure") != "yes" {
        return Ok(Confirm {
            frame: member.frame(Section::Users, format!("Disable {}?", name_of(&row))),
            effects: vec![
                "All their sessions end, and they cannot sign in.".to_owned(),
                "Requests with their PATs are refused with 401, on every proxy, within moments.".to_owned(),
                "Enabling them later brings all of it back but the sessions.".to_owned(),
            ],
            action: format!("/ui/users/{id}/status"),
            button: "Disable user",
            back: format!("/ui/users/{id}"),
            hidden: vec![("status", "disable".to_owned()), ("sure", "yes".to_owned())],
        }
        .ask());
    }
    let change = UserChange { enabled: Some(enable), ..UserChange::default() };
    let action = if enable { "user.enable" } else { "user.disable" };
    member.app.change_user(member.who(), &member.asker, row.id, action, change).await?;
    Ok(go(&format!("/ui/users/{id}?done=saved")))
}

async fn ask_delete(member: Member, Path(id): Path<String>) -> UiResult {
    let row = find(&member, &id).await?;
    Ok(Confirm {
        frame: member.frame(Section::Users, format!("Delete {}?", name_of(&row))),
        effects: vec![
            "The account, its PATs and its roles in all domains are gone for good.".to_owned(),
            "Requests with these PATs are refused with 401, on every proxy, within moments.".to_owned(),
            "Usage and the audit log keep their id.".to_owned(),
        ],
        action: format!("/ui/users/{id}/delete"),
        button: "Delete user",
        back: format!("/ui/users/{id}"),
        hidden: Vec::new(),
    }
    .ask())
}

async fn delete(member: Member, Path(id): Path<String>) -> UiResult {
    let row = find(&member, &id).await?;
    if row.id == member.who().user {
        return Err(AppError::Conflict("nobody deletes the account that is signed in".to_owned()).into());
    }
    member.app.delete_user(member.who(), &member.asker, row.id).await?;
    Ok(go("/ui/users?done=deleted"))
}
