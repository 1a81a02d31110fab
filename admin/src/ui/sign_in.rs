//! Signing in and out.

use askama::Template;
use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::Response;
use axum::routing::{get, post};

use super::error::{UiError, UiResult, go};
use super::form::Form;
use super::frame::{Frame, Section, notice, page};
use super::list::Asked;
use super::origin::local_target;
use super::shell::{Member, Visit};
use crate::app::{App, AppError, Via};
use crate::http::status_of;

pub(super) fn routes() -> Router<App> {
    Router::new().route("/ui/sign-in", get(ask).post(sign_in)).route("/ui/sign-out", post(sign_out))
}

#[derive(Template)]
#[template(path = "sign_in.html")]
pub(super) struct SignIn {
    frame: Frame,
    form: Form,
    /// Where else one can sign in: what it is called, and the way there.
    elsewhere: Option<(String, String)>,
    /// Whether one who has just signed out can do so there as well.
    sign_out: bool,
}

impl SignIn {
    pub(super) fn page(visit: &Visit, status: StatusCode, form: Form) -> Response {
        let elsewhere = visit.app.sign_in_name().map(|name| {
            let mut way = form_urlencoded::Serializer::for_suffix("/ui/oidc/begin?".to_owned(), 15);
            if let Some(next) = form.written("next") {
                way.append_pair("next", &next);
            }
            (name.to_owned(), way.finish())
        });
        let frame = visit.frame(Section::Nowhere, "Sign in");
        let sign_out = frame.notice == notice("signed-out") && visit.app.signs_out_elsewhere();
        page(status, &Self { frame, form, elsewhere, sign_out })
    }
}

async fn ask(visit: Visit, asked: Asked) -> Response {
    if visit.session.is_some() {
        return go(local_target(asked.value("next")).unwrap_or("/ui/"));
    }
    let form = Form::of([("next", asked.value("next").to_owned())]);
    SignIn::page(&visit, StatusCode::OK, form)
}

async fn sign_in(visit: Visit, mut form: Form) -> UiResult {
    let password = form.value("password").to_owned();
    form.set("password", "");
    let username = form.text("username");
    for (field, empty, text) in [
        ("username", username.is_empty(), "Enter your username or e-mail address."),
        ("password", password.is_empty(), "Enter your password."),
    ] {
        if empty {
            form.wrong(field, text);
        }
    }
    if username.is_empty() || password.is_empty() {
        return Ok(SignIn::page(&visit, StatusCode::BAD_REQUEST, form));
    }
    let pair = match visit.app.log_in(&visit.asker, &username, password, &visit.browser).await {
        Ok(pair) => pair,
        Err(error @ (AppError::Unauthenticated { .. } | AppError::Throttled { .. })) => {
            let throttled = matches!(error, AppError::Throttled { .. });
            form.problem = Some(match throttled {
                true => super::error::sentence(&error.to_string()),
                false => "Wrong username or password, or an account that is disabled.".to_owned(),
            });
            return Ok(SignIn::page(&visit, status_of(&error), form));
        }
        Err(error) => return Err(error.into()),
    };
    let (held, _until) = visit.app.begin_session(&pair).await?;
    let mut response = go(local_target(form.value("next")).unwrap_or("/ui/"));
    response.headers_mut().append(header::SET_COOKIE, visit.session_cookie(Some(&held)));
    Ok(response)
}

async fn sign_out(member: Member) -> UiResult {
    if let Via::Login { login } = &member.who().via {
        match member.app.end_login(member.who(), &member.asker, login).await {
            // It has ended already: that is what was wanted.
            Ok(()) | Err(AppError::NotFound(_)) => {}
            Err(error) => return Err(UiError::from(error)),
        }
    }
    let mut response = go("/ui/sign-in?done=signed-out");
    response.headers_mut().append(header::SET_COOKIE, member.session_cookie(None));
    Ok(response)
}
