//! `/auth/verify`: answers the authentication callbacks of other proxies.
//!
//! What is asked about stands in fields, of which proxies have three kinds, or behind `/auth/verify` in the path, as Envoy's ext_authz
//! puts it. Two kinds at once are refused: proxies pass on what their callers send, so a caller could add the kind that its proxy does
//! not set. Who may ask at all, the settings say: this says of any credential what it opens.

use axum::Router;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderName, StatusCode};
use axum::response::{AppendHeaders, IntoResponse, Response};
use axum::routing::any;
use utoipa::{IntoParams, IntoResponses};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Caller, bearer, peer};
use super::{ApiError, ApiResult, Errors};
use crate::app::verify::Deed;
use crate::app::{App, AppError};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(verify)).routes(routes!(verify_by_get))
}

/// The form in which Envoy asks: the request's own method, and its path behind ours. It is any path, so no description holds it.
pub(super) fn below() -> Router<App> {
    Router::new().route("/auth/verify/{*path}", any(verify_below))
}

const BELOW: &str = "/auth/verify";
/// Path and method, as different proxies call them.
const KINDS: [(&str, &str); 3] = [
    ("x-request-path", "x-request-method"),
    ("x-original-uri", "x-original-method"),
    ("x-forwarded-uri", "x-forwarded-method"),
];

/// Somebody who may ask, and the credential that it asks about.
struct Asked {
    caller: Caller,
    parts: Parts,
}

impl Asked {
    async fn of(request: Request, app: &App) -> Result<Self, ApiError> {
        let (parts, _) = request.into_parts();
        let ranges = &app.settings.auth_verify.allow_from;
        if !peer(&parts).is_some_and(|peer| ranges.iter().any(|range| range.contains(peer))) {
            return Err(AppError::Forbidden("not for this address").into());
        }
        // As the callback's documentation has it: an API key counts where there is no bearer credential.
        let credential = match bearer(&parts) {
            Ok(credential) => credential.to_owned(),
            Err(error) => one(&parts, "x-api-key")?.filter(|key| !key.is_empty()).ok_or(error)?.to_owned(),
        };
        let caller = Caller::with(&credential, &parts, app).await?;
        Ok(Self { caller, parts })
    }

    async fn answer(self, app: &App, deed: Deed) -> ApiResult<Response> {
        app.verify(&self.caller.principal, &deed).await?;
        let user = self.caller.principal.user.to_string();
        Ok((StatusCode::OK, AppendHeaders([(HeaderName::from_static("x-user-id"), user)])).into_response())
    }
}

/// The value of a field that may come once.
fn one<'p>(parts: &'p Parts, name: &str) -> Result<Option<&'p str>, ApiError> {
    let mut values = parts.headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| AMBIGUOUS.into()),
        (Some(_), Some(_)) => Err(AMBIGUOUS.into()),
    }
}

/// 403 and not 400, because a proxy's caller may be the cause, and nginx takes nothing else for a no.
const AMBIGUOUS: AppError = AppError::Forbidden("ambiguous");

/// What is asked about.
fn deed(parts: &Parts) -> Result<Deed, ApiError> {
    let mut found = None;
    for (path, method) in KINDS {
        let pair = (one(parts, path)?, one(parts, method)?);
        if pair == (None, None) {
            continue;
        }
        if found.replace(pair).is_some() {
            return Err(AMBIGUOUS.into());
        }
    }
    let Some((Some(target), Some(method))) = found else {
        let kinds = KINDS.map(|(path, method)| format!("{path} and {method}")).join(", or ");
        let message = format!("name what is asked about: {kinds}");
        return Err(ApiError::malformed(StatusCode::BAD_REQUEST, "request_not_named", message));
    };
    let path = target.split('?').next().unwrap_or_default();
    Ok(Deed { method: method.to_owned(), path: path.to_owned() })
}

/// The fields in which proxies ask.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[allow(dead_code, reason = "describes fields; read as they come")]
struct Fields {
    /// The credential, if there is no bearer credential.
    #[param(rename = "X-API-Key")]
    key: Option<String>,
    /// The path that is asked about.
    #[param(rename = "X-Request-Path")]
    request_path: Option<String>,
    /// Its method.
    #[param(rename = "X-Request-Method")]
    request_method: Option<String>,
    /// The same, as nginx calls it; a query is passed over.
    #[param(rename = "X-Original-URI")]
    original_uri: Option<String>,
    /// Its method.
    #[param(rename = "X-Original-Method")]
    original_method: Option<String>,
    /// The same, as Traefik calls it; a query is passed over.
    #[param(rename = "X-Forwarded-Uri")]
    forwarded_uri: Option<String>,
    /// Its method.
    #[param(rename = "X-Forwarded-Method")]
    forwarded_method: Option<String>,
}

#[derive(IntoResponses)]
#[response(status = 200, description = "Yes.", headers(("X-User-Id" = String, description = "Whose credential it is.")))]
#[allow(dead_code, reason = "describes an answer; never made")]
struct Yes;

/// May this credential do that?
///
/// The credential is a PAT or an access token, in `Authorization: Bearer` or `X-API-Key`. Path and method come in one of three pairs:
/// `X-Request-Path` and `X-Request-Method`, `X-Original-URI` and `X-Original-Method`, `X-Forwarded-Uri` and `X-Forwarded-Method`.
/// 200 is yes, 401 a credential that is not good, 403 no.
#[utoipa::path(post, path = "/auth/verify", tag = "auth-verify", params(Fields), responses(Yes, Errors))]
async fn verify(State(app): State<App>, request: Request) -> ApiResult<Response> {
    let asked = Asked::of(request, &app).await?;
    let deed = deed(&asked.parts)?;
    asked.answer(&app, deed).await
}

/// The same, for proxies that ask with GET.
#[utoipa::path(get, path = "/auth/verify", tag = "auth-verify", params(Fields), responses(Yes, Errors))]
async fn verify_by_get(app: State<App>, request: Request) -> ApiResult<Response> {
    verify(app, request).await
}

async fn verify_below(State(app): State<App>, request: Request) -> ApiResult<Response> {
    let asked = Asked::of(request, &app).await?;
    if KINDS
        .iter()
        .any(|(path, method)| [path, method].iter().any(|name| asked.parts.headers.contains_key(**name)))
    {
        return Err(AMBIGUOUS.into());
    }
    let path = asked.parts.uri.path().strip_prefix(BELOW).unwrap_or_default().to_owned();
    let deed = Deed { method: asked.parts.method.as_str().to_owned(), path };
    asked.answer(&app, deed).await
}
