//! What went wrong, as a page: rendered by the shell, which knows who looks.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};

use crate::app::AppError;
use crate::http::status_of;

/// Why there is no page.
#[derive(Debug)]
pub(super) enum UiError {
    /// The rules say no.
    App(AppError),
    /// Only for those who are signed in; afterwards they go on to `next`.
    SignIn {
        /// Path and query of a page.
        next: Option<String>,
    },
    /// Something else, in words.
    Said(Shown),
}

/// What an error page says.
#[derive(Clone, Debug)]
pub(super) struct Shown {
    pub(super) status: StatusCode,
    pub(super) title: String,
    pub(super) text: String,
}

/// What a page's handler returns.
pub(super) type UiResult<T = Response> = Result<T, UiError>;

impl<E: Into<AppError>> From<E> for UiError {
    fn from(error: E) -> Self {
        Self::App(error.into())
    }
}

impl UiError {
    pub(super) fn said(status: StatusCode, title: &str, text: &str) -> Self {
        Self::Said(Shown { status, title: title.to_owned(), text: text.to_owned() })
    }

    pub(super) fn internal(what: &'static str) -> Self {
        Self::App(AppError::internal(what))
    }

    /// A request that no page of ours has sent.
    pub(super) fn forged(what: &'static str) -> Self {
        tracing::info!(what, "a form that is not from our pages was refused");
        Self::said(
            StatusCode::FORBIDDEN,
            "This form is not valid any more",
            "It was opened before you signed in or out, or it was not sent from these pages. Nothing was changed. \
             Go back, reload the page and try again.",
        )
    }
}

impl IntoResponse for UiError {
    fn into_response(self) -> Response {
        let shown = match self {
            Self::SignIn { next } => {
                let next = next.filter(|next| next != "/ui/" && super::origin::local_target(next).is_some());
                let query: String = match next {
                    None => String::new(),
                    Some(next) => form_urlencoded::Serializer::for_suffix("?".to_owned(), 1)
                        .append_pair("next", &next)
                        .finish(),
                };
                return Redirect::to(&format!("/ui/sign-in{query}")).into_response();
            }
            Self::Said(shown) => shown,
            Self::App(error) => of_app(&error),
        };
        let mut response = shown.status.into_response();
        response.extensions_mut().insert(shown);
        response
    }
}

fn of_app(error: &AppError) -> Shown {
    let status = status_of(error);
    let (title, text) = match error {
        AppError::NotFound(_) => {
            ("Not found", format!("There is no such thing here, or it is not yours to see ({error})."))
        }
        AppError::Forbidden(_) | AppError::InsufficientScope { .. } => {
            ("Not allowed", sentence(&error.to_string()))
        }
        AppError::Unavailable(_) => ("Not now", sentence(&error.to_string())),
        AppError::Throttled { .. } => ("Too many attempts", sentence(&error.to_string())),
        AppError::Internal(source) => {
            tracing::error!(error = %crate::http::chain(&**source), "internal error");
            ("Something went wrong", "This is our fault. The log of cube-admin says more.".to_owned())
        }
        AppError::Unauthenticated { .. } => ("Sign in again", "Your session has ended.".to_owned()),
        AppError::Invalid { .. } | AppError::Conflict(_) | AppError::Unprocessable(_) => {
            ("This cannot be done", sentence(&error.to_string()))
        }
    };
    Shown { status, title: title.to_owned(), text }
}

/// A message of the API as a sentence on a page.
pub(super) fn sentence(message: &str) -> String {
    let mut letters = message.chars();
    let first = letters.next().map(|letter| letter.to_uppercase().to_string()).unwrap_or_default();
    let rest = letters.as_str();
    let end = if message.ends_with(['.', '!', '?']) { "" } else { "." };
    format!("{first}{rest}{end}")
}

/// Leads on to another page, so that a reload does not send a form again.
pub(super) fn go(target: &str) -> Response {
    let location = HeaderValue::from_str(target).unwrap_or_else(|_| HeaderValue::from_static("/ui/"));
    (StatusCode::SEE_OTHER, [(header::LOCATION, location)]).into_response()
}
