//! Signing in at the external issuer: a link there, and the way back. No form leads there: the policy of our pages lets none out.

use axum::Router;
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::response::Response;
use axum::routing::get;

use super::error::{UiError, UiResult, go};
use super::form::Form;
use super::list::Asked;
use super::origin::{cookie, local_target, set_cookie};
use super::shell::Visit;
use super::sign_in::SignIn;
use crate::app::oidc::{ATTEMPT_S, Came};
use crate::app::{App, AppError};
use crate::http::status_of;
use crate::oidc::CALLBACK_PATH;

/// What the browser keeps while it is at the issuer.
const ATTEMPT_COOKIE: &str = "cube_attempt";

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/ui/oidc/begin", get(begin))
        .route(CALLBACK_PATH, get(come_back))
        .route("/ui/oidc/sign-out", get(sign_out))
}

/// The page for signing in, with what went wrong in our own words: the issuer's might be anybody's, who made up the address.
fn again(visit: &Visit, status: StatusCode, why: &str) -> Response {
    let mut form = Form::default();
    form.problem = Some(why.to_owned());
    // Nothing of the address that the browser came with stands in the page.
    let mut visit = visit.clone();
    visit.target = "/ui/sign-in".to_owned();
    let mut response = SignIn::page(&visit, status, form);
    forget(&visit, &mut response);
    response
}

fn forget(visit: &Visit, response: &mut Response) {
    let none = set_cookie(ATTEMPT_COOKIE, "", visit.origin.secure, Some(0));
    response.headers_mut().append(header::SET_COOKIE, none);
}

/// What is left to tell a visitor; the rest is for the log.
fn failed(visit: &Visit, error: AppError) -> UiResult {
    let status = status_of(&error);
    match error {
        AppError::Unauthenticated { what } => {
            tracing::info!(what, "nobody was signed in at the external issuer");
            let why = "That account opens nothing here, or the sign-in took too long or was begun in another browser. \
                       Try again, or ask whoever runs Cube.";
            Ok(again(visit, status, why))
        }
        AppError::Unavailable(_) => Ok(again(
            visit,
            status,
            "The identity provider does not answer as it should. Try again in a while.",
        )),
        error @ (AppError::Forbidden(_)
        | AppError::InsufficientScope { .. }
        | AppError::NotFound(_)
        | AppError::Invalid { .. }
        | AppError::Conflict(_)
        | AppError::Unprocessable(_)
        | AppError::Throttled { .. }
        | AppError::Internal(_)) => Err(UiError::from(error)),
    }
}

async fn begin(visit: Visit, asked: Asked) -> UiResult {
    let next = local_target(asked.value("next")).unwrap_or("/ui/");
    match visit.app.begin_sign_in(next).await {
        Ok(begun) => {
            let kept = set_cookie(ATTEMPT_COOKIE, &begun.sealed, visit.origin.secure, Some(ATTEMPT_S));
            let mut response = go(&begun.url);
            response.headers_mut().append(header::SET_COOKIE, kept);
            Ok(response)
        }
        Err(error) => failed(&visit, error),
    }
}

async fn come_back(visit: Visit, asked: Asked, request: Request) -> UiResult {
    if asked.written("error").is_some() {
        let why = "The identity provider let nobody in. Try again, or sign in with your password.";
        return Ok(again(&visit, StatusCode::UNAUTHORIZED, why));
    }
    let (parts, _) = request.into_parts();
    let sealed = cookie(&parts, ATTEMPT_COOKIE, visit.origin.secure).unwrap_or_default();
    let came = Came {
        sealed: &sealed,
        state: asked.value("state"),
        code: asked.value("code"),
        issuer: asked.written("iss"),
    };
    let signed_in = match visit.app.finish_sign_in(&visit.asker, came, &visit.browser).await {
        Ok(signed_in) => signed_in,
        Err(error) => return failed(&visit, error),
    };
    let (held, _until) = visit.app.begin_session(&signed_in.pair).await?;
    let mut response = go(local_target(&signed_in.next).unwrap_or("/ui/"));
    response.headers_mut().append(header::SET_COOKIE, visit.session_cookie(Some(&held)));
    forget(&visit, &mut response);
    Ok(response)
}

/// On to the issuer, to be signed out there as well.
async fn sign_out(visit: Visit) -> Response {
    go(visit.app.sign_out_url().await.as_deref().unwrap_or("/ui/sign-in"))
}
