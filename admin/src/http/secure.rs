//! `/api/v1` and `/api/scim/v2` are for HTTPS: their credentials are worth too much to cross a network in the clear.
//!
//! A request is fine if it came over TLS (to us, or to a trusted proxy that says so in `X-Forwarded-Proto`), or if its caller is on this
//! machine. Any other one is refused before its credential is looked at; whoever sent it should end that credential.

use axum::extract::{ConnectInfo, Request, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::Response;

use super::extract::{client_ip, is_trusted, peer};
use super::{ApiError, scim};
use crate::app::App;
use crate::listener::Peer;

const PATHS: [&str; 2] = ["/api/v1", scim::BASE];

pub(super) async fn demand_https(State(app): State<App>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    if is_for_https(parts.uri.path()) && !came_securely(&parts, &app) {
        let error = ApiError::malformed(StatusCode::FORBIDDEN, "https_required", "HTTPS is required");
        return scim::in_family(parts.uri.path(), error);
    }
    next.run(Request::from_parts(parts, body)).await
}

fn is_for_https(path: &str) -> bool {
    let below =
        |prefix: &str| path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    PATHS.into_iter().any(below)
}

/// Whether the request came over TLS, or from this machine.
fn came_securely(parts: &Parts, app: &App) -> bool {
    came_over_https(parts, app)
        || client_ip(parts, app).is_some_and(|client| client.to_canonical().is_loopback())
}

/// Whether the caller's own connection was one over TLS.
pub(super) fn came_over_https(parts: &Parts, app: &App) -> bool {
    parts.extensions.get::<ConnectInfo<Peer>>().is_some_and(|ConnectInfo(peer)| peer.over_tls)
        || peer(parts).is_some_and(|peer| is_trusted(app, peer) && forwarded_over_https(parts))
}

/// Every hop that says something says `https`.
fn forwarded_over_https(parts: &Parts) -> bool {
    let values = parts.headers.get_all("x-forwarded-proto").iter();
    let mut hops =
        values.flat_map(|value| value.to_str().unwrap_or("?").split(',')).map(str::trim).peekable();
    hops.peek().is_some() && hops.all(|hop| hop.eq_ignore_ascii_case("https"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn https_is_for_the_two_families_and_for_nothing_that_only_looks_like_them() {
        for path in ["/api/v1", "/api/v1/users", "/api/scim/v2/Users", "/api/v1//x"] {
            assert!(is_for_https(path), "{path}");
        }
        for path in ["/", "/api/v10", "/api/routes", "/api/scim/v1/Users", "/users/api/v1"] {
            assert!(!is_for_https(path), "{path}");
        }
    }

    #[test]
    fn one_hop_without_https_is_one_too_many() {
        let said = |values: &[&str]| {
            let mut request = axum::http::Request::new(());
            for value in values {
                request.headers_mut().append("x-forwarded-proto", value.parse().unwrap());
            }
            forwarded_over_https(&request.into_parts().0)
        };
        assert!(said(&["https"]) && said(&["HTTPS, https"]) && said(&["https", "https"]));
        assert!(
            !said(&[])
                && !said(&[""])
                && !said(&["http"])
                && !said(&["https, http"])
                && !said(&["https", "http"])
        );
    }
}
