//! `Prefer: wait=SECONDS` (RFC 7240) on anything that changes something: the answer comes when every connected proxy has the change in
//! force on all of its cores, or when the time is over.
//!
//! The change is made either way. `Preference-Applied: wait=…` says that we waited; `X-Cube-Generation` is the generation that carries
//! the change (absent if proxies need not hear of it), and `X-Cube-Pending-Nodes` names the nodes that had not adopted it in time
//! (absent if all had).

use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::Response;

use crate::app::App;
use crate::store::tx::noting_generation;

const PREFER: HeaderName = HeaderName::from_static("prefer");
const APPLIED: HeaderName = HeaderName::from_static("preference-applied");
const GENERATION: HeaderName = HeaderName::from_static("x-cube-generation");
const PENDING: HeaderName = HeaderName::from_static("x-cube-pending-nodes");
/// Longest wait, in seconds: below what proxies on the way wait for an answer.
const WAIT_S_MAX: u64 = 50;

pub(super) async fn wait_for_nodes(State(app): State<App>, request: Request, next: Next) -> Response {
    let changes = !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    let Some(wait_s) = wished_wait_s(request.headers()).filter(|_| changes) else {
        return next.run(request).await;
    };
    let (mut response, generation) = noting_generation(next.run(request)).await;
    if !response.status().is_success() {
        return response;
    }
    let pending = match generation {
        None => Vec::new(),
        Some(generation) => match app.wait_for_adoption(generation, Duration::from_secs(wait_s)).await {
            Ok(pending) => pending,
            Err(error) => {
                // What was asked for is done: only the preference is not met.
                tracing::error!(%error, "cannot tell which nodes have adopted a change");
                return response;
            }
        },
    };
    let headers = response.headers_mut();
    if let Ok(applied) = HeaderValue::from_str(&format!("wait={wait_s}")) {
        headers.insert(APPLIED, applied);
    }
    if let Some(generation) = generation {
        headers.insert(GENERATION, HeaderValue::from(generation));
    }
    if !pending.is_empty()
        && let Ok(names) = HeaderValue::from_str(&pending.join(", "))
    {
        headers.insert(PENDING, names);
    }
    response
}

/// The seconds of the first `wait` preference; what is not understood is passed over, as the RFC wants it.
fn wished_wait_s(headers: &HeaderMap) -> Option<u64> {
    let values = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
    let mut preferences = values.flat_map(|value| value.split([',', ';']));
    let seconds = preferences.find_map(|preference| {
        let (name, value) = preference.split_once('=')?;
        name.trim().eq_ignore_ascii_case("wait").then(|| value.trim().trim_matches('"'))
    })?;
    Some(seconds.parse::<u64>().ok()?.min(WAIT_S_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_is_read_among_other_preferences_and_has_a_limit() {
        for (text, seconds) in [
            ("wait=5", Some(5)),
            ("respond-async, Wait = \"10\"", Some(10)),
            ("return=minimal; foo, wait=7", Some(7)),
            ("wait=100000", Some(WAIT_S_MAX)),
            ("wait", None),
            ("wait=-1", None),
            ("awaited=3", None),
            ("", None),
        ] {
            let headers = HeaderMap::from_iter([(PREFER, HeaderValue::from_str(text).unwrap())]);
            assert_eq!(wished_wait_s(&headers), seconds, "{text}");
        }
        assert_eq!(wished_wait_s(&HeaderMap::new()), None);
    }
}
