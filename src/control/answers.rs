//! What the ops listener tells: is the process alive, is it ready, what does it decide with, what has it counted.

use std::rc::Rc;

use http::StatusCode;
use serde_json::{Value, json};

use super::metrics::{CONTENT_TYPE, Exposition};
use super::ops::{Answers, Reply};
use super::process;
use super::state::State;
use crate::meter::family;

/// The state, as the listener asks it.
pub(super) struct Ops(pub(super) Rc<State>);

impl Answers for Ops {
    async fn answer(&self, path: &str) -> Reply {
        match path {
            "/livez" => Reply::text(StatusCode::OK, "alive\n"),
            "/readyz" => self.readiness(),
            "/metrics" => self.metrics().await,
            "/tables" => self.tables().await,
            _ => Reply::text(StatusCode::NOT_FOUND, "there are /livez, /readyz, /metrics and /tables\n"),
        }
    }
}

impl Ops {
    fn readiness(&self) -> Reply {
        let not_ready = |reason: &str| Reply::text(StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n"));
        let state = &self.0;
        if state.draining.get() {
            not_ready("draining")
        } else if state.ready.get() {
            Reply::text(StatusCode::OK, "ready\n")
        } else if state.generation() == 0 {
            not_ready("no tables")
        } else {
            not_ready("not every core has adopted the tables")
        }
    }

    async fn metrics(&self) -> Reply {
        let state = &self.0;
        let mut exposition = Exposition::default();
        for report in state.reports().await.into_iter().flatten() {
            exposition.add_core(report);
        }
        exposition.add_by(&family::BUILD, "version", env!("CARGO_PKG_VERSION"), 1);
        exposition.add(&family::DRAINING, u64::from(state.draining.get()));
        exposition.add(&family::READY, u64::from(state.ready.get() && !state.draining.get()));
        exposition.add_by(&family::TABLES_LOADS, "outcome", "published", state.loads_published.get());
        exposition.add_by(&family::TABLES_LOADS, "outcome", "refused", state.loads_refused.get());
        exposition.add(&family::TABLES_GENERATION, state.generation());
        if let Some(published) = &*state.published.borrow() {
            exposition.add(&family::TABLES_AGE, published.since.elapsed().as_secs());
            let counts = published.tables.counts();
            for (kind, count) in [
                ("pat", counts.pats),
                ("user", counts.users),
                ("domain", counts.domains),
                ("model", counts.models),
                ("cluster", counts.clusters),
                ("route", counts.routes),
                ("key", counts.keys),
            ] {
                exposition.add_by(&family::TABLES_ENTRIES, "kind", kind, count as u64);
            }
        }
        if let Some(access_log) = &state.access_log {
            exposition.add(&family::ACCESS_LINES_LOST, access_log.lines_lost());
        }
        process::add_to(&mut exposition, state.started_unix_s);
        Reply { status: StatusCode::OK, content_type: CONTENT_TYPE, body: exposition.render() }
    }

    async fn tables(&self) -> Reply {
        let state = &self.0;
        let cores: Vec<Value> = state
            .reports()
            .await
            .iter()
            .enumerate()
            .map(|(core, report)| match report {
                Some(report) => json!({
                    "core": core,
                    "driver": report.driver,
                    "generation": report.generation,
                    "open_connections": report.open_connections,
                }),
                None => json!({ "core": core, "answers": false }),
            })
            .collect();
        let published = state.published.borrow();
        let last_refusal = state.last_refusal.borrow();
        let body = json!({
            "generation": state.generation(),
            "age_s": published.as_ref().map(|published| published.since.elapsed().as_secs_f64()),
            "published_unix_s": published.as_ref().map(|published| published.unix_s),
            "file": state.settings.tables.file,
            "ready": state.ready.get() && !state.draining.get(),
            "draining": state.draining.get(),
            "counts": published.as_ref().map(|published| {
                let counts = published.tables.counts();
                json!({
                    "pats": counts.pats,
                    "users": counts.users,
                    "domains": counts.domains,
                    "models": counts.models,
                    "clusters": counts.clusters,
                    "routes": counts.routes,
                    "keys": counts.keys,
                })
            }),
            "cores": cores,
            "last_refusal": last_refusal.as_ref().map(|refusal| {
                json!({ "unix_s": refusal.unix_s, "reason": refusal.reason })
            }),
        });
        Reply { status: StatusCode::OK, content_type: "application/json", body: format!("{body:#}\n") }
    }
}
