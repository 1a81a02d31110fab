//! How things are when `/metrics` is asked for.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry};

use super::Shown;
use crate::app::App;
use crate::app::nodes::Node;
use crate::clock::Moment;
use crate::store::feed::FeedState;

/// A gauge that is never below zero.
type Count = Gauge<u64, AtomicU64>;
type By = Family<[(&'static str, String); 1], Count>;

pub(super) struct Gauges {
    generation: Count,
    database_up: Count,
    database_bytes: By,
    nodes: By,
    node_lag: By,
    node_seen: By,
    certificate_expiry: By,
    certificates_refused: By,
    resident: Count,
    descriptors: Count,
}

impl Gauges {
    /// Makes and names everything. The process is taken to start now.
    pub(super) fn register(registry: &mut Registry) -> Self {
        let mut count = |name, help| named::<Count>(registry, name, help);
        let resident = count("process_resident_memory_bytes", "Resident memory");
        let descriptors = count("process_open_fds", "Open file descriptors");
        count("process_start_time_seconds", "Start of the process in Unix time").set(unix_s());
        let own = registry.sub_registry_with_prefix("cube_admin");
        own.register(
            "build",
            "The version of the program",
            Info::new([("version", env!("CARGO_PKG_VERSION"))]),
        );
        let mut count = |name, help| named::<Count>(own, name, help);
        let generation = count("generation", "The newest generation of tables");
        let database_up = count("database_up", "1 if the database answers within two seconds");
        let mut by = |name, help| named::<By>(own, name, help);
        Self {
            generation,
            database_up,
            resident,
            descriptors,
            database_bytes: by(
                "database_bytes",
                "Size of the database: its file, and what is written but not yet in it (wal)",
            ),
            nodes: by("nodes", "Proxies that were ever seen, by whether they are heard now"),
            node_lag: by("node_lag_generations", "Generations that a connected proxy has yet to adopt"),
            node_seen: by("node_last_seen_timestamp_seconds", "When a proxy was last heard, in Unix time"),
            certificate_expiry: by(
                "tls_certificate_expiry_timestamp_seconds",
                "When the certificate that a listener shows expires, in Unix time",
            ),
            certificates_refused: by(
                "tls_files_refused",
                "Times that changed certificate files could not be used since those in use were read",
            ),
        }
    }

    /// Looks at everything.
    ///
    /// * `state`: what the database says of the feed; `None` if it does not answer.
    /// * `sizes`: bytes that the database takes, by part.
    pub(super) fn set(
        &self,
        app: &App,
        shown: &[Shown],
        state: Option<&FeedState>,
        sizes: &[(&'static str, u64)],
    ) {
        self.database_up.set(state.is_some().into());
        if let Some(state) = state {
            self.generation.set(state.generation);
            self.set_nodes(app.nodes_at(state));
        }
        for (file, bytes) in sizes {
            set(&self.database_bytes, "file", file, *bytes);
        }
        for (listener, terms) in shown {
            let terms = terms.borrow();
            if let Some(expires) = terms.expires {
                set(&self.certificate_expiry, "listener", listener, expires);
            }
            set(&self.certificates_refused, "listener", listener, terms.refused);
        }
        if let Some(bytes) = resident_bytes() {
            self.resident.set(bytes);
        }
        if let Ok(descriptors) = std::fs::read_dir("/proc/self/fd") {
            // One of them is the directory that is being read.
            self.descriptors.set((descriptors.count() as u64).saturating_sub(1));
        }
    }

    fn set_nodes(&self, nodes: Vec<Node>) {
        // Nodes can be forgotten.
        for family in [&self.node_lag, &self.node_seen] {
            family.clear();
        }
        let connected = nodes.iter().filter(|node| node.connected).count();
        set(&self.nodes, "state", "connected", connected as u64);
        set(&self.nodes, "state", "away", (nodes.len() - connected) as u64);
        for node in nodes {
            let name = &node.report.node;
            set(&self.node_seen, "node", name, (node.last_seen.0 / 1000).unsigned_abs());
            if let Some(lag) = node.lag.filter(|_| node.connected) {
                set(&self.node_lag, "node", name, lag);
            }
        }
    }
}

/// A new metric with its name; a clone shares its figures.
fn named<M: Metric + Clone + Default>(registry: &mut Registry, name: &str, help: &str) -> M {
    let metric = M::default();
    registry.register(name, help, metric.clone());
    metric
}

fn set(family: &By, label: &'static str, value: &str, figure: u64) {
    family.get_or_create(&[(label, value.to_owned())]).set(figure);
}

fn unix_s() -> u64 {
    (Moment::now().0 / 1000).unsigned_abs()
}

fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kibibytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = kibibytes.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes << 10)
}
