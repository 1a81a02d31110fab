//! What the ops listener tells: is the process alive, is it ready, what does it decide with, what has it counted.

use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::StatusCode;
use serde_json::{Value, json};

use super::feed::Figures;
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
    fn is_ready(&self) -> bool {
        let state = &self.0;
        (state.ready.get() || !state.wants_tables()) && !state.draining.get() && !state.stale.get()
    }

    fn readiness(&self) -> Reply {
        let not_ready = |reason: &str| Reply::text(StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n"));
        let state = &self.0;
        if state.draining.get() {
            not_ready("draining")
        } else if state.stale.get() {
            not_ready("the tables are older than admin.staleness_max_s")
        } else if self.is_ready() {
            Reply::text(StatusCode::OK, "ready\n")
        } else if state.published.borrow().is_none() {
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
        exposition.add(&family::READY, u64::from(self.is_ready()));
        exposition.add_by(&family::TABLES_LOADS, "outcome", "published", state.loads_published.get());
        exposition.add_by(&family::TABLES_LOADS, "outcome", "refused", state.loads_refused.get());
        let certificates = &state.certificates;
        exposition.add_by(&family::TLS_RELOADS, "outcome", "published", certificates.published.get());
        exposition.add_by(&family::TLS_RELOADS, "outcome", "refused", certificates.refused.get());
        for shown in certificates.shown.borrow().iter() {
            let name = shown.chain.display().to_string();
            exposition.add_by(&family::TLS_EXPIRY, "certificate", name, shown.validity.not_after);
        }
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
        if let Some(feed) = &state.feed {
            add_feed(&mut exposition, &feed.figures);
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
            "epoch": published.as_ref().map(|published| &*published.epoch).filter(|epoch| !epoch.is_empty()),
            "stale": state.stale.get(),
            "node": state.feed.as_ref().map(|feed| &*feed.node),
            "feed": state.feed.as_ref().map(|feed| json!({
                "origin": state.settings.admin.feed.as_ref().map(|feed| feed.origin.to_string()),
                "state": if feed.figures.connected.load(Ordering::Relaxed) { "connected" } else { "away" },
                "confirmed_s_ago": feed.figures.age().map(|age| age.as_secs_f64()),
                "usage_spool_bytes": feed.figures.spool_bytes.load(Ordering::Relaxed),
            })),
            "ready": self.is_ready(),
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

fn add_feed(exposition: &mut Exposition, figures: &Figures) {
    let count = |figure: &AtomicU64| figure.load(Ordering::Relaxed);
    exposition.add(&family::FEED_CONNECTED, u64::from(figures.connected.load(Ordering::Relaxed)));
    if let Some(age) = figures.age() {
        exposition.add(&family::FEED_AGE, age.as_secs());
    }
    exposition.add(&family::FEED_CONNECTIONS, count(&figures.connections));
    for (family, outcome, figure) in [
        (&family::FEED_SNAPSHOTS, "adopted", &figures.snapshots),
        (&family::FEED_SNAPSHOTS, "refused", &figures.snapshots_refused),
        (&family::FEED_DELTAS, "adopted", &figures.deltas),
        (&family::FEED_DELTAS, "refused", &figures.deltas_refused),
    ] {
        exposition.add_by(family, "outcome", outcome, count(figure));
    }
    exposition.add(&family::USAGE_SPOOLED, count(&figures.usage_spooled));
    exposition.add(&family::USAGE_SENT, count(&figures.usage_sent));
    exposition.add_by(&family::USAGE_DROPPED, "reason", "spool_full", count(&figures.usage_not_spooled));
    exposition.add_by(&family::USAGE_DROPPED, "reason", "refused", count(&figures.usage_refused));
    exposition.add(&family::USAGE_SPOOL_BYTES, count(&figures.spool_bytes));
}
