//! What entrypoints take: JSON, queries, identifiers, and who asks. Every refusal has our body and the documented status.

use std::net::IpAddr;

use axum::body::to_bytes;
use axum::extract::{ConnectInfo, FromRequest, FromRequestParts, MatchedPath, Request};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, header};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use utoipa::IntoParams;

use super::error::ApiError;
use super::paging::page_of;
use crate::app::{App, AppError, Asker, Principal};
use crate::listener::Peer;
use crate::store::Page;
use crate::store::api_keys::ApiScope;

/// Longest body of a request, in bytes.
pub const BODY_BYTES_MAX: usize = 1 << 20;

/// A JSON body: `application/json`, at most 1 MiB, at most 128 deep (serde_json's own limit). Unknown members are ignored.
#[derive(Debug)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, ApiError> {
        let media_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let essence = media_type.and_then(|value| value.split(';').next()).unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case("application/json") {
            let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            return Err(ApiError::malformed(status, "unsupported_media_type", "unsupported content type"));
        }
        let bytes = to_bytes(request.into_body(), BODY_BYTES_MAX).await.map_err(|_| {
            let message = "the body is larger than 1 MiB, or broke off";
            ApiError::malformed(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message)
        })?;
        serde_json::from_slice(&bytes).map(Self).map_err(|error| {
            ApiError::malformed(StatusCode::BAD_REQUEST, "body_invalid", format!("request body: {error}"))
        })
    }
}

/// Query parameters. Unknown ones are ignored.
#[derive(Debug)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        axum::extract::Query::try_from_uri(&parts.uri).map(|axum::extract::Query(query)| Self(query)).map_err(
            |error| {
                let message = format!("invalid query parameters: {error}");
                ApiError::malformed(StatusCode::BAD_REQUEST, "query_invalid", message)
            },
        )
    }
}

/// A segment of the path (or several, as a tuple). What cannot be an identifier names nothing: 404.
#[derive(Debug)]
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let path = axum::extract::Path::<T>::from_request_parts(parts, state).await;
        path.map(|axum::extract::Path(path)| Self(path)).map_err(|_| AppError::NotFound("entity").into())
    }
}

/// Which part of a list is wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Paging {
    /// Rows to skip.
    #[serde(default)]
    #[param(maximum = 2_147_483_647)]
    pub offset: u32,
    /// Rows to return: 1 to 100.
    #[serde(default = "default_limit")]
    #[param(minimum = 1, maximum = 100, default = 10)]
    pub limit: u32,
}

const fn default_limit() -> u32 {
    10
}

impl Paging {
    /// Checks the limits.
    ///
    /// # Errors
    /// [`AppError::Invalid`].
    pub fn page(&self) -> Result<Page, AppError> {
        page_of(self.offset, self.limit)
    }
}

/// Who asks, with a good credential: an access token (ours, or the external issuer's), a PAT or an API key in `Authorization: Bearer …`.
#[derive(Debug)]
pub struct Caller {
    /// Who.
    pub principal: Principal,
    /// From where.
    pub asker: Asker,
}

impl FromRequestParts<App> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let credential = bearer(parts)?.to_owned();
        Self::with(&credential, parts, app).await
    }
}

impl Caller {
    /// Whoever shows this credential, if it is one for the entrypoint.
    pub(super) async fn with(credential: &str, parts: &Parts, app: &App) -> Result<Self, ApiError> {
        let asker = asker(parts, app);
        let principal = match app.authenticate(credential, client_ip(parts, app), &asker).await {
            Err(AppError::Unauthenticated { what }) => return Err(ApiError::BadCredential { what }),
            result => result?,
        };
        if principal.narrowed().is_some() {
            let path = parts.extensions.get::<MatchedPath>().map_or("", MatchedPath::as_str);
            match key_scope_for(&parts.method, path) {
                Some(needed) => principal.demand_key_scope(needed)?,
                None => return Err(AppError::Forbidden("not for API keys and external access tokens").into()),
            }
        }
        Ok(Self { principal, asker })
    }
}

/// The scope that an API key, or an access token of the external issuer, needs for an entrypoint; `None`: none may use it. What is not
/// named here is closed to them.
fn key_scope_for(method: &Method, path: &str) -> Option<ApiScope> {
    let reads = matches!(*method, Method::GET | Method::HEAD);
    let either = |read, write| Some(if reads { read } else { write });
    let rest = match path.strip_prefix("/api/v1/") {
        Some(rest) => rest,
        None => return path.starts_with("/api/scim/v2/").then_some(ApiScope::Scim),
    };
    match rest.split('/').next()? {
        "deployments" => either(ApiScope::DeploymentsRead, ApiScope::DeploymentsWrite),
        "domains" => either(ApiScope::ModelsRead, ApiScope::ModelsWrite),
        "nodes" => either(ApiScope::NodesRead, ApiScope::NodesWrite),
        "usage" => reads.then_some(ApiScope::UsageRead),
        "audit" => reads.then_some(ApiScope::AuditRead),
        "users" => reads.then_some(ApiScope::UsersRead),
        _ => None,
    }
}

/// The surroundings of a request that needs no credential.
#[derive(Debug)]
pub struct Anyone(pub Asker);

impl FromRequestParts<App> for Anyone {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        Ok(Self(asker(parts, app)))
    }
}

/// The credential of `Authorization: Bearer …`; the scheme's case does not matter (RFC 9110 §11.1).
///
/// # Errors
/// [`AppError::Unauthenticated`].
pub fn bearer(parts: &Parts) -> Result<&str, AppError> {
    let no = AppError::Unauthenticated { what: "no bearer credential" };
    let mut values = parts.headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return Err(no) };
    let Some((scheme, credential)) = value.to_str().ok().and_then(|value| value.split_once(' ')) else {
        return Err(no);
    };
    let credential = credential.trim_matches(' ');
    let good = scheme.eq_ignore_ascii_case("bearer") && !credential.is_empty();
    if good { Ok(credential) } else { Err(no) }
}

/// A request's name, as the middleware gave it.
#[derive(Clone, Debug)]
pub struct RequestId(pub String);

pub(crate) fn asker(parts: &Parts, app: &App) -> Asker {
    Asker {
        request_id: parts.extensions.get::<RequestId>().map(|id| id.0.clone()).unwrap_or_default(),
        client_ip: client_ip(parts, app).map(|address| address.to_string()),
    }
}

pub(super) fn peer(parts: &Parts) -> Option<IpAddr> {
    parts.extensions.get::<ConnectInfo<Peer>>().map(|ConnectInfo(peer)| peer.address.ip().to_canonical())
}

pub(super) fn is_trusted(app: &App, address: IpAddr) -> bool {
    app.settings.trusted_proxies.iter().any(|range| range.contains(address))
}

/// Whether what the peer says of its own peer (`X-Forwarded-…`) is believed.
pub(crate) fn peer_is_trusted(parts: &Parts, app: &App) -> bool {
    peer(parts).is_some_and(|peer| is_trusted(app, peer))
}

/// The caller's address: the peer, or what a trusted proxy says of its own peer (the last address that no trusted proxy added).
pub(super) fn client_ip(parts: &Parts, app: &App) -> Option<IpAddr> {
    let peer = peer(parts)?;
    let trusted = |address: IpAddr| is_trusted(app, address);
    if !trusted(peer) {
        return Some(peer);
    }
    let forwarded = parts.headers.get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok());
    let addresses: Vec<IpAddr> = forwarded
        .flat_map(|value| value.split(','))
        .filter_map(|address| address.trim().parse().ok())
        .collect();
    Some(addresses.iter().rev().copied().find(|&address| !trusted(address)).unwrap_or(peer))
}

/// A member that may be absent (`None`), `null` (`Some(None)`) or a value.
///
/// # Errors
/// The value is of the wrong form.
pub fn present<'de, T: Deserialize<'de>, D: serde::Deserializer<'de>>(
    member: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(member).map(Some)
}
