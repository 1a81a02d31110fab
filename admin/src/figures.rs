//! What is counted while the program runs; [`crate::ops`] shows it.
//!
//! Names are public: add, never rename. Labels have few values and all of them are ours: nothing that a caller sends becomes one.
//!
//! # Cost
//! An atomic addition or two for each request; a handle's clone shares its counts.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::StatusCode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Metric, Registry};

/// Which part of the API answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surface {
    /// The web pages.
    Pages,
    /// `/api/v1` and `/api/routes`.
    Api,
    /// `/api/scim/v2`.
    Scim,
    /// `/pats`.
    Pats,
    /// `/users`, and logging in.
    Users,
    /// `/domains` and `/invitations`.
    Domains,
    /// `/auth/verify`: other proxies that ask.
    Verify,
    /// Descriptions, health, keys, and paths that there are not.
    Other,
}

impl Surface {
    /// By the first parts of a path.
    #[must_use]
    pub fn of(path: &str) -> Self {
        let mut parts = path.split('/').skip(1);
        match (parts.next().unwrap_or_default(), parts.next()) {
            ("ui", _) => Self::Pages,
            ("api", Some("scim")) => Self::Scim,
            ("api", _) => Self::Api,
            ("pats", _) => Self::Pats,
            ("users", _) => Self::Users,
            ("domains" | "invitations", _) => Self::Domains,
            ("auth", Some("verify")) => Self::Verify,
            _ => Self::Other,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Pages => "pages",
            Self::Api => "api",
            Self::Scim => "scim",
            Self::Pats => "pats",
            Self::Users => "users",
            Self::Domains => "domains",
            Self::Verify => "verify",
            Self::Other => "other",
        }
    }
}

/// Labels: names, each with one of a few values.
type Labels<const N: usize> = [(&'static str, &'static str); N];

/// What becomes of a usage record.
const STORED: (&str, &str) = ("outcome", "stored");
const REPEATED: (&str, &str) = ("outcome", "repeated");
const UNREADABLE: (&str, &str) = ("outcome", "unreadable");

/// How somebody tried to log in.
#[derive(Clone, Copy, Debug)]
pub enum Way {
    /// By name and password.
    Password,
    /// At the external issuer.
    Issuer,
}

/// What became of it.
#[derive(Clone, Copy, Debug)]
pub enum Login {
    /// Logged in.
    Accepted,
    /// Not who they say, or not any more.
    Refused,
    /// Too many failures before it; nothing was tried.
    Throttled,
    /// We, or the issuer, could not do it.
    Failed,
}

/// 1 ms to 33 s, doubling.
fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.0, 16))
}

/// How long changes take: [`crate::store::Store`] counts.
#[derive(Clone, Debug)]
pub struct Changes {
    waited: Histogram,
    took: Histogram,
}

impl Default for Changes {
    fn default() -> Self {
        Self { waited: seconds(), took: seconds() }
    }
}

impl Changes {
    /// A change has begun that had to wait for others.
    pub fn began(&self, waited: Duration) {
        self.waited.observe(waited.as_secs_f64());
    }

    /// A change is on the disk.
    pub fn committed(&self, took: Duration) {
        self.took.observe(took.as_secs_f64());
    }
}

/// All of it.
#[derive(Clone, Debug)]
pub struct Figures {
    /// Everything by its name, to be written out.
    registry: Arc<Mutex<Registry>>,
    requests: Family<Labels<2>, Counter>,
    durations: Family<Labels<1>, Histogram>,
    logins: Family<Labels<2>, Counter>,
    usage: Family<Labels<1>, Counter>,
    feed_streams: Gauge,
    feed_snapshots: Counter,
    feed_refused: Counter,
    upkeep_failures: Counter,
    upkeep_ended: Gauge,
}

impl Figures {
    /// Makes and names everything. All zero but for what the store has counted.
    #[must_use]
    pub fn new(changes: Changes) -> Self {
        let mut registry = Registry::default();
        let own = registry.sub_registry_with_prefix("cube_admin");
        let requests =
            named(own, "requests", "Requests by part of the API and class of status", Family::default());
        let durations = named(
            own,
            "request_duration_seconds",
            "Time from a request's head to its answer's head",
            Family::new_with_constructor(seconds as fn() -> Histogram),
        );
        own.register("change_wait_seconds", "Time that changes waited for those before them", changes.waited);
        own.register(
            "change_duration_seconds",
            "Time from the beginning of a change to its being on the disk",
            changes.took,
        );
        let logins =
            named(own, "logins", "Attempts at logging in, by how and with what result", Family::default());
        let usage: Family<Labels<1>, Counter> = named(
            own,
            "usage_records",
            "Usage records told by proxies: stored, repeated (told before) or unreadable",
            Family::default(),
        );
        for outcome in [STORED, REPEATED, UNREADABLE] {
            // There from the beginning: of a counter that appears with its first count, nobody sees that it grew.
            drop(usage.get_or_create(&[outcome]));
        }
        let feed_streams = named(own, "feed_streams", "Open feeds", Gauge::default());
        let mut count = |name, help| named(own, name, help, Counter::default());
        let feed_snapshots =
            count("feed_snapshots", "Times that a proxy was sent all tables instead of what it had missed");
        let feed_refused = count("feed_refusals", "Requests on the feed's address without the fleet key");
        let upkeep_failures = count("upkeep_failures", "Times that old rows or keys could not be seen to");
        let upkeep_ended = named(
            own,
            "upkeep_last_success_timestamp_seconds",
            "When old rows and keys were last seen to, in Unix time; 0 if not yet",
            Gauge::default(),
        );
        Self {
            registry: Arc::new(Mutex::new(registry)),
            requests,
            durations,
            logins,
            usage,
            feed_streams,
            feed_snapshots,
            feed_refused,
            upkeep_failures,
            upkeep_ended,
        }
    }

    /// Everything by its name: [`crate::ops`] adds to it how things are, and writes it out.
    pub(crate) fn registry(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request was answered.
    pub fn answered(&self, path: &str, status: StatusCode, took: Duration) {
        let surface = ("surface", Surface::of(path).name());
        let status_class = match status.as_u16() / 100 {
            1 => "1xx",
            2 => "2xx",
            3 => "3xx",
            4 => "4xx",
            _ => "5xx",
        };
        self.requests.get_or_create(&[surface, ("status_class", status_class)]).inc();
        self.durations.get_or_create(&[surface]).observe(took.as_secs_f64());
    }

    /// Somebody tried to log in.
    pub fn login(&self, way: Way, outcome: Login) {
        let way = match way {
            Way::Password => "password",
            Way::Issuer => "issuer",
        };
        let outcome = match outcome {
            Login::Accepted => "accepted",
            Login::Refused => "refused",
            Login::Throttled => "throttled",
            Login::Failed => "failed",
        };
        self.logins.get_or_create(&[("way", way), ("outcome", outcome)]).inc();
    }

    /// A proxy told so many records.
    pub fn usage(&self, stored: u64, repeated: u64) {
        self.usage.get_or_create(&[STORED]).inc_by(stored);
        self.usage.get_or_create(&[REPEATED]).inc_by(repeated);
    }

    /// One could not be read, and is lost.
    pub fn usage_unreadable(&self) {
        self.usage.get_or_create(&[UNREADABLE]).inc();
    }

    /// A feed is open for as long as this lives.
    #[must_use]
    pub fn feed_opened(&self) -> OpenFeed {
        self.feed_streams.inc();
        OpenFeed(self.feed_streams.clone())
    }

    /// A proxy is sent everything.
    pub fn feed_snapshot(&self) {
        self.feed_snapshots.inc();
    }

    /// Somebody without the fleet key spoke to the feed.
    pub fn feed_refused(&self) {
        self.feed_refused.inc();
    }

    /// Upkeep ended at this Unix time, or failed.
    pub fn upkeep(&self, ended: Option<i64>) {
        match ended {
            Some(unix_s) => {
                self.upkeep_ended.set(unix_s);
            }
            None => {
                self.upkeep_failures.inc();
            }
        }
    }
}

/// Names a metric; a clone shares its figures.
fn named<M: Metric + Clone>(registry: &mut Registry, name: &str, help: &str, metric: M) -> M {
    registry.register(name, help, metric.clone());
    metric
}

/// An open feed.
#[derive(Debug)]
pub struct OpenFeed(Gauge);

impl Drop for OpenFeed {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_belongs_to_one_of_few_surfaces() {
        for (path, surface) in [
            ("/ui/pats", Surface::Pages),
            ("/api/v1/usage", Surface::Api),
            ("/api/routes/x", Surface::Api),
            ("/api/scim/v2/Users", Surface::Scim),
            ("/pats", Surface::Pats),
            ("/users/tokens/issue", Surface::Users),
            ("/domains/1/roles", Surface::Domains),
            ("/invitations", Surface::Domains),
            ("/auth/verify/x", Surface::Verify),
            ("/auth/other", Surface::Other),
            ("/", Surface::Other),
            ("", Surface::Other),
        ] {
            assert_eq!(Surface::of(path), surface, "{path}");
        }
    }
}
