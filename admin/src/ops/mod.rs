//! The ops listener: what monitoring asks, apart from the API so that nothing of it is ever behind a proxy's public address.
//!
//! | path | says |
//! |---|---|
//! | `/metrics` | figures, in the OpenMetrics text format: what [`crate::figures`] counts, and how things are now (`gauges`) |
//! | `/livez` | 200 while the process answers |
//! | `/readyz` | 200 while the database answers, 503 otherwise |
//!
//! It asks for no credential and tells none: numbers, and the names of nodes.

mod gauges;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::sync::watch;

use crate::app::App;
use crate::listener::Terms;
use crate::store::feed;
use gauges::Gauges;

const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// How long the database may take before we say that it does not answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a listener of ours shakes hands with: `api` or `feed`, and its certificates as they are in use.
pub type Shown = (&'static str, watch::Receiver<Terms>);

struct Ops {
    app: App,
    shown: Vec<Shown>,
    gauges: Gauges,
}

impl Ops {
    fn new(app: App, shown: Vec<Shown>) -> Arc<Self> {
        let gauges = Gauges::register(&mut app.figures.registry());
        Arc::new(Self { app, shown, gauges })
    }
}

/// The whole listener.
///
/// * `shown`: listeners that speak TLS.
pub fn router(app: App, shown: Vec<Shown>) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(async || "alive\n"))
        .route("/readyz", get(ready))
        .fallback(async || (StatusCode::NOT_FOUND, "/metrics, /livez or /readyz\n"))
        .with_state(Ops::new(app, shown))
}

/// Figures that the database has are left as they were if it does not answer; `cube_admin_database_up` says so.
async fn metrics(State(ops): State<Arc<Ops>>) -> Response {
    let state = feed_state(&ops.app).await;
    let sizes = match &state {
        Some(_) => ops.app.store.sizes().await,
        None => Vec::new(),
    };
    // Locked until all is written: another scrape would set gauges between.
    let registry = ops.app.figures.registry();
    ops.gauges.set(&ops.app, &ops.shown, state.as_ref(), &sizes);
    let mut text = String::with_capacity(16 << 10);
    prometheus_client::encoding::text::encode(&mut text, &registry)
        .expect("writing to a String does not fail");
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response()
}

async fn ready(State(ops): State<Arc<Ops>>) -> Response {
    match feed_state(&ops.app).await {
        Some(_) => "ready\n".into_response(),
        None => (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer\n").into_response(),
    }
}

/// Epoch and newest generation as the database has them; `None`: it does not answer.
async fn feed_state(app: &App) -> Option<feed::FeedState> {
    let read = async { feed::state(&mut app.store.read().await?).await };
    match tokio::time::timeout(PATIENCE, read).await {
        Ok(Ok(state)) => Some(state),
        Ok(Err(error)) => {
            tracing::error!(%error, "the database does not answer");
            None
        }
        Err(_) => {
            tracing::error!("the database does not answer in time");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use cube_wire::seal::FleetKey;

    use super::*;
    use crate::settings::Settings;
    use crate::store::scratch::Scratch;

    #[tokio::test]
    async fn a_database_that_does_not_answer_is_told() {
        let scratch = Scratch::new().await;
        let store = scratch.open().await;
        let key = FleetKey::generate().expect("randomness");
        let app = App::new(store, Settings::default().into(), key).await.expect("an empty world");
        let ops = Ops::new(app, Vec::new());
        let page = async || {
            let body = metrics(State(Arc::clone(&ops))).await.into_body();
            let bytes = axum::body::to_bytes(body, 1 << 20).await.expect("a page");
            String::from_utf8(bytes.to_vec()).expect("text")
        };
        assert_eq!(ready(State(Arc::clone(&ops))).await.status(), 200);
        assert!(page().await.contains("\ncube_admin_database_up 1\n"));
        ops.app.store.close().await;
        assert_eq!(ready(State(Arc::clone(&ops))).await.status(), 503);
        assert!(page().await.contains("\ncube_admin_database_up 0\n"));
    }
}
