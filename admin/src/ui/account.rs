//! One's own account: names, password, colours.

use askama::Template;
use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::Response;
use axum::routing::{get, post};

use super::error::{UiResult, go};
use super::form::Form;
use super::frame::{Frame, Section, Theme, page, show};
use super::origin::{local_target, set_cookie};
use super::shell::{Member, THEME_COOKIE, Visit};
use crate::app::{App, AppError};
use crate::http::status_of;
use crate::store::users::UserChange;

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/ui/account", get(view).post(save))
        .route("/ui/account/password", post(change_password))
        .route("/ui/theme", post(choose_theme))
}

#[derive(Template)]
#[template(path = "account.html")]
struct Account {
    frame: Frame,
    user_id: String,
    form: Form,
    password: Form,
}

fn account(member: &Member, form: Option<Form>, password: Form) -> Account {
    let user = &member.session.user;
    let form = form.unwrap_or_else(|| {
        Form::of([
            ("first_name", user.first_name.clone()),
            ("last_name", user.last_name.clone()),
            ("email", user.email.clone().unwrap_or_default()),
        ])
    });
    Account { frame: member.frame(Section::Account, "Profile"), user_id: user.id.to_string(), form, password }
}

async fn view(member: Member) -> Response {
    show(&account(&member, None, Form::default()))
}

async fn save(member: Member, mut form: Form) -> UiResult {
    let change = UserChange {
        first_name: Some(form.text("first_name")),
        last_name: Some(form.text("last_name")),
        email: form.written("email"),
        ..UserChange::default()
    };
    let user = member.who().user;
    match member.app.change_user(member.who(), &member.asker, user, "user.update", change).await {
        Ok(_) => Ok(go("/ui/account?done=saved")),
        Err(error) => {
            let status = form.fail(error)?;
            Ok(page(status, &account(&member, Some(form), Form::default())))
        }
    }
}

async fn change_password(member: Member, form: Form) -> UiResult {
    let (old, new) = (form.value("old").to_owned(), form.value("password").to_owned());
    // Passwords are never sent back.
    let mut shown = Form::default();
    if new != form.value("again") {
        shown.wrong("again", "The two passwords are not the same.");
        return Ok(page(StatusCode::BAD_REQUEST, &account(&member, None, shown)));
    }
    match member.app.change_password(member.who(), &member.asker, old, new).await {
        Ok(_) => {
            let mut response = go("/ui/sign-in?done=password");
            response.headers_mut().append(header::SET_COOKIE, member.session_cookie(None));
            Ok(response)
        }
        Err(error @ AppError::Unauthenticated { .. }) => {
            shown.wrong("old", "This is not your current password.");
            Ok(page(status_of(&error), &account(&member, None, shown)))
        }
        Err(error) => {
            let status = shown.fail(error)?;
            Ok(page(status, &account(&member, None, shown)))
        }
    }
}

/// A year.
const THEME_MAX_AGE_S: u32 = 365 * 24 * 3600;

async fn choose_theme(visit: Visit, form: Form) -> Response {
    let theme = Theme::from_name(form.value("theme"));
    let mut response = go(local_target(form.value("target")).unwrap_or("/ui/"));
    let cookie = set_cookie(THEME_COOKIE, theme.name(), visit.origin.secure, Some(THEME_MAX_AGE_S));
    response.headers_mut().append(header::SET_COOKIE, cookie);
    response
}
