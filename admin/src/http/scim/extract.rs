//! What entrypoints of SCIM take. The same rules as everywhere, with SCIM's errors.

use axum::body::to_bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use serde::de::DeserializeOwned;

use super::{BASE, ScimFailure};
use crate::app::scim::Provisioner;
use crate::app::{App, AppError};
use crate::http::extract::{BODY_BYTES_MAX, Caller};
use crate::http::{ApiError, secure};

/// Whoever provisions, with a good credential in `Authorization: Bearer …` or `Authorization: Api-Key …`.
pub(super) struct By(pub(super) Provisioner);

impl FromRequestParts<App> for By {
    type Rejection = ScimFailure;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ScimFailure> {
        let credential =
            credential(&parts.headers).map_err(|error| ScimFailure::Request(error.into()))?.to_owned();
        let Caller { principal, asker } =
            Caller::with(&credential, parts, app).await.map_err(ScimFailure::Request)?;
        Ok(Self(Provisioner { principal, asker, base: base_of(parts, app) }))
    }
}

/// Identity providers send `Bearer` (RFC 7644 §2); some paste the whole value of the field, which for a key of Cube's began with `Api-Key`.
fn credential(headers: &HeaderMap) -> Result<&str, AppError> {
    let no = AppError::Unauthenticated { what: "no credential" };
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return Err(no) };
    let split = value.to_str().ok().and_then(|value| value.split_once(' '));
    let Some((scheme, credential)) = split else { return Err(no) };
    let credential = credential.trim_matches(' ');
    let known = ["bearer", "api-key"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
    if known && !credential.is_empty() { Ok(credential) } else { Err(no) }
}

/// Where callers see us: as the settings say, else as they called us.
fn base_of(parts: &Parts, app: &App) -> String {
    if let Some(url) = &app.settings.public_url {
        return format!("{url}{BASE}");
    }
    let harmless =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':' | b'[' | b']' | b'_');
    let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = host.filter(|host| !host.is_empty() && host.bytes().all(harmless)).unwrap_or("localhost");
    let scheme = if secure::came_over_https(parts, app) { "https" } else { "http" };
    format!("{scheme}://{host}{BASE}")
}

/// A body of `application/scim+json` or `application/json`, at most 1 MiB.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = ScimFailure;

    async fn from_request(request: Request, _state: &S) -> Result<Self, ScimFailure> {
        let media_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let essence = media_type.and_then(|value| value.split(';').next()).unwrap_or_default().trim();
        let known = ["application/scim+json", "application/json"];
        if !known.iter().any(|known| essence.eq_ignore_ascii_case(known)) {
            let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            let error = ApiError::malformed(status, "unsupported_media_type", "unsupported content type");
            return Err(ScimFailure::Request(error));
        }
        let bytes = to_bytes(request.into_body(), BODY_BYTES_MAX).await.map_err(|_| {
            let message = "the body is larger than 1 MiB, or broke off";
            ScimFailure::Request(ApiError::malformed(
                StatusCode::PAYLOAD_TOO_LARGE,
                "body_too_large",
                message,
            ))
        })?;
        // serde would take an array for an object's members in their order.
        if bytes.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
            return Err(ScimFailure::syntax("request body: not an object".to_owned()));
        }
        let body = serde_json::from_slice(&bytes);
        body.map(Self).map_err(|error| ScimFailure::syntax(format!("request body: {error}")))
    }
}

/// Query parameters. Unknown ones are passed over.
pub(super) struct Query<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = ScimFailure;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ScimFailure> {
        let query = axum::extract::Query::try_from_uri(&parts.uri);
        query
            .map(|axum::extract::Query(query)| Self(query))
            .map_err(|error| ScimFailure::syntax(format!("invalid query parameters: {error}")))
    }
}

/// A segment of the path.
pub(super) struct Id(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = ScimFailure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ScimFailure> {
        let path = axum::extract::Path::<String>::from_request_parts(parts, state).await;
        path.map(|axum::extract::Path(id)| Self(id)).map_err(|_| AppError::NotFound("resource").into())
    }
}

/// The ETags under which a change may happen, and those that need no answer.
pub(super) struct Conditions {
    pub(super) if_match: Option<String>,
    pub(super) if_none_match: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for Conditions {
    type Rejection = ScimFailure;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ScimFailure> {
        let text = |name: header::HeaderName| {
            let values = parts.headers.get_all(name).iter();
            let values: Vec<&str> = values.filter_map(|value| value.to_str().ok()).collect();
            (!values.is_empty()).then(|| values.join(","))
        };
        Ok(Self { if_match: text(header::IF_MATCH), if_none_match: text(header::IF_NONE_MATCH) })
    }
}
