//! [`AppError`] → status and body. The one place that knows both.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::{IntoResponses, ToSchema};

use crate::app::AppError;

/// What every error looks like. `message` and `error` are the same text: the two eras of the API that we implement read one each.
#[derive(Debug, Serialize, ToSchema)]
pub struct ErrorBody {
    /// What is wrong, for people.
    pub message: String,
    /// The same.
    pub error: String,
    /// What is wrong, for programs.
    pub code: String,
}

/// Why an entrypoint did not do what was asked.
#[derive(Debug)]
pub enum ApiError {
    /// The rules say no.
    App(AppError),
    /// A credential came and is not good; why is for the log.
    BadCredential {
        /// What is wrong with it.
        what: &'static str,
    },
    /// The request itself is not one.
    Malformed {
        /// Status to answer with.
        status: StatusCode,
        /// A stable word.
        code: &'static str,
        /// What is wrong.
        message: String,
    },
}

/// When to try again if somebody whom we need does not answer, in seconds.
const RETRY_UNAVAILABLE_S: u64 = 5;

/// What an entrypoint returns.
pub type ApiResult<T> = Result<T, ApiError>;

impl<E: Into<AppError>> From<E> for ApiError {
    fn from(error: E) -> Self {
        Self::App(error.into())
    }
}

impl ApiError {
    /// The `WWW-Authenticate` of RFC 6750 §3: without a reason if no credential came, so that nobody learns more than that one is needed.
    pub(super) fn challenge(&self) -> Option<HeaderValue> {
        match self {
            Self::App(AppError::Unauthenticated { .. }) => {
                Some(HeaderValue::from_static("Bearer realm=\"cube\""))
            }
            Self::BadCredential { .. } => {
                Some(HeaderValue::from_static("Bearer realm=\"cube\", error=\"invalid_token\""))
            }
            Self::App(AppError::InsufficientScope { needed }) => {
                let text = format!("Bearer realm=\"cube\", error=\"insufficient_scope\", scope=\"{needed}\"");
                HeaderValue::from_str(&text).ok()
            }
            Self::App(_) | Self::Malformed { .. } => None,
        }
    }

    pub(crate) fn malformed(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self::Malformed { status, code, message: message.into() }
    }
}

pub(crate) const fn status_of(error: &AppError) -> StatusCode {
    match error {
        AppError::Unauthenticated { .. } => StatusCode::UNAUTHORIZED,
        AppError::Forbidden(_) | AppError::InsufficientScope { .. } => StatusCode::FORBIDDEN,
        AppError::NotFound(_) => StatusCode::NOT_FOUND,
        AppError::Invalid { .. } => StatusCode::BAD_REQUEST,
        AppError::Conflict(_) => StatusCode::CONFLICT,
        AppError::Unprocessable(_) => StatusCode::UNPROCESSABLE_ENTITY,
        AppError::Throttled { .. } => StatusCode::TOO_MANY_REQUESTS,
        AppError::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        AppError::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl ApiError {
    /// Status, code and text.
    pub(super) fn parts(&self) -> (StatusCode, &'static str, String) {
        match self {
            Self::App(error) => (status_of(error), error.code(), error.to_string()),
            Self::BadCredential { what } => {
                let error = AppError::Unauthenticated { what };
                (status_of(&error), error.code(), error.to_string())
            }
            Self::Malformed { status, code, message } => (*status, *code, message.clone()),
        }
    }

    fn retry_after_s(&self) -> Option<u64> {
        match self {
            Self::App(AppError::Throttled { retry_after_s }) => Some(*retry_after_s),
            Self::App(AppError::Unavailable(_)) => Some(RETRY_UNAVAILABLE_S),
            Self::App(_) | Self::BadCredential { .. } | Self::Malformed { .. } => None,
        }
    }

    /// Tells our log what its reader has to know.
    pub(super) fn log(&self) {
        match self {
            Self::App(AppError::Unauthenticated { what }) | Self::BadCredential { what } => {
                tracing::debug!(what, "unauthenticated");
            }
            Self::App(AppError::Internal(source)) => {
                tracing::error!(error = %chain(&**source), "internal error")
            }
            Self::App(_) | Self::Malformed { .. } => {}
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, code, message) = self.parts();
        self.log();
        let body = ErrorBody { error: message.clone(), message, code: code.to_owned() };
        let mut response = (status, Json(body)).into_response();
        if let Some(challenge) = self.challenge() {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        if let Some(retry_after_s) = self.retry_after_s() {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(retry_after_s));
        }
        response
    }
}

/// An error with what caused it, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// The errors that any entrypoint may answer with, for the API's description.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "describes answers; never made")]
pub enum Errors {
    /// A value, the body or a parameter is wrong.
    #[response(status = 400)]
    BadRequest(#[to_schema] ErrorBody),
    /// No credential, or one that is not good.
    #[response(status = 401)]
    Unauthorized(#[to_schema] ErrorBody),
    /// Not allowed.
    #[response(status = 403)]
    Forbidden(#[to_schema] ErrorBody),
    /// It does not exist, or is not for the caller to know of.
    #[response(status = 404)]
    NotFound(#[to_schema] ErrorBody),
    /// It contradicts what is there.
    #[response(status = 409)]
    Conflict(#[to_schema] ErrorBody),
    /// The body is larger than 1 MiB.
    #[response(status = 413)]
    TooLarge(#[to_schema] ErrorBody),
    /// The body is not `application/json`.
    #[response(status = 415)]
    UnsupportedMediaType(#[to_schema] ErrorBody),
    /// Well-formed, and cannot be done.
    #[response(status = 422)]
    Unprocessable(#[to_schema] ErrorBody),
    /// Too often; see `Retry-After`.
    #[response(status = 429)]
    TooManyRequests(#[to_schema] ErrorBody),
    /// The identity provider that it takes does not answer; see `Retry-After`.
    #[response(status = 503)]
    Unavailable(#[to_schema] ErrorBody),
}
