//! Nodes: which proxies there are, what they have adopted, and waiting until they have.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cube_wire::feed::NodeReport;
use tokio::sync::watch;
use tokio::time::Instant;

use super::{App, AppError, Asker, Principal};
use crate::clock::Moment;
use crate::store::nodes::{self, NodeRow};
use crate::store::{Store, feed};

/// A node that has said nothing for this long is not connected. Nodes report once a second.
const CONNECTED_WITHIN: Duration = Duration::from_secs(3);
/// How often what a node says all the time is written down. Other replicas read it, so where there may be some it is written each time.
const WRITTEN_EVERY: Duration = Duration::from_secs(30);

/// What nodes said last. Cloned handles share it.
#[derive(Clone, Debug)]
pub struct Nodes {
    known: Arc<Mutex<BTreeMap<String, Known>>>,
    /// Counts reports, so that whoever waits for an adoption looks again.
    reports: watch::Sender<u64>,
}

#[derive(Clone, Debug)]
struct Known {
    report: NodeReport,
    first_seen: Moment,
    last_seen: Moment,
    heard: Instant,
    written: Option<Instant>,
}

/// A node, as the API shows it.
#[derive(Clone, Debug)]
pub struct Node {
    /// What it said last.
    pub report: NodeReport,
    /// Since when it is known.
    pub first_seen: Moment,
    /// When it said that.
    pub last_seen: Moment,
    /// Whether that is recent.
    pub connected: bool,
    /// Generations that it has yet to adopt; `None` if it holds another epoch.
    pub lag: Option<u64>,
}

/// Whether a text can name a node or one of its boots.
#[must_use]
pub fn node_name_is_valid(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

impl Nodes {
    /// Nodes that were known when admin ran last.
    ///
    /// # Errors
    /// The database failed.
    pub async fn load(store: &Store) -> Result<Self, AppError> {
        let nodes = Self { known: Arc::default(), reports: watch::Sender::new(0) };
        nodes.look_at_all(store).await?;
        Ok(nodes)
    }

    /// Looks what other replicas have written of all nodes.
    ///
    /// # Errors
    /// The database failed.
    pub async fn look_at_all(&self, store: &Store) -> Result<(), AppError> {
        let rows = nodes::all(&mut store.read().await?).await?;
        let long_ago = Instant::now().checked_sub(CONNECTED_WITHIN).unwrap_or_else(Instant::now);
        rows.into_iter().for_each(|row| self.learn(row, long_ago));
        Ok(())
    }

    /// Looks what another replica has just written of a node, or that it has forgotten it.
    ///
    /// # Errors
    /// The database failed.
    pub async fn look_at(&self, store: &Store, name: &str) -> Result<(), AppError> {
        match nodes::find(&mut store.read().await?, name).await? {
            Some(row) => self.learn(row, Instant::now()),
            None => {
                self.lock().remove(name);
            }
        }
        self.reports.send_modify(|count| *count += 1);
        Ok(())
    }

    /// What this replica was told itself later than that is newer. By whose clock, though? A node that it has not heard for a while talks to
    /// another replica now, and what that one writes is newer whatever its clock says.
    fn learn(&self, row: NodeRow, heard: Instant) {
        let mut nodes = self.lock();
        let is_newer =
            |known: &Known| known.last_seen < row.last_seen || known.heard.elapsed() >= CONNECTED_WITHIN;
        if nodes.get(&row.name).is_none_or(is_newer) {
            let NodeRow { name, first_seen, last_seen, report } = row;
            nodes.insert(name, Known { report, first_seen, last_seen, heard, written: None });
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A node has said how it is.
    ///
    /// # Errors
    /// The database failed.
    pub async fn report(&self, store: &Store, report: NodeReport) -> Result<(), AppError> {
        let (now, moment) = (Instant::now(), Moment::now());
        let to_write = {
            let mut nodes = self.lock();
            let before = nodes.get(&report.node);
            let first_seen = before.map_or(moment, |known| known.first_seen);
            let due = before.is_none_or(|known| {
                store.has_replicas()
                    || known.report.boot != report.boot
                    || known.written.is_none_or(|written| now.duration_since(written) >= WRITTEN_EVERY)
            });
            let written = if due { Some(now) } else { before.and_then(|known| known.written) };
            let known = Known { report: report.clone(), first_seen, last_seen: moment, heard: now, written };
            nodes.insert(report.node.clone(), known);
            due.then_some(NodeRow { name: report.node.clone(), first_seen, last_seen: moment, report })
        };
        self.reports.send_modify(|count| *count += 1);
        match to_write {
            Some(row) => Ok(store.write_node(&row).await?),
            None => Ok(()),
        }
    }

    fn all(&self) -> Vec<Known> {
        self.lock().values().cloned().collect()
    }

    /// Names of connected nodes that have not adopted this generation of this epoch everywhere.
    fn pending(&self, epoch: &str, generation: u64) -> Vec<String> {
        let pending = self.all().into_iter().filter(|known| {
            let adopted = known.report.epoch == epoch && known.report.adopted() >= generation;
            known.heard.elapsed() < CONNECTED_WITHIN && !adopted
        });
        pending.map(|known| known.report.node).collect()
    }
}

impl App {
    /// Every node that was ever seen.
    ///
    /// # Errors
    /// [`AppError::Forbidden`].
    pub async fn list_nodes(&self, principal: &Principal) -> Result<Vec<Node>, AppError> {
        principal.as_superadmin()?;
        Ok(self.nodes_at(&feed::state(&mut self.store.read().await?).await?))
    }

    /// The same, for whoever may see it and knows how far the feed is.
    pub(crate) fn nodes_at(&self, now: &feed::FeedState) -> Vec<Node> {
        let shown = self.nodes.all().into_iter().map(|known| Node {
            connected: known.heard.elapsed() < CONNECTED_WITHIN,
            lag: (known.report.epoch == now.epoch)
                .then(|| now.generation.saturating_sub(known.report.adopted())),
            report: known.report,
            first_seen: known.first_seen,
            last_seen: known.last_seen,
        });
        shown.collect()
    }

    /// Forgets a node that is gone.
    ///
    /// # Errors
    /// [`AppError::NotFound`]; [`AppError::Conflict`] for one that is connected.
    pub async fn forget_node(
        &self,
        principal: &Principal,
        asker: &Asker,
        name: &str,
    ) -> Result<(), AppError> {
        principal.as_superadmin()?;
        {
            let mut nodes = self.nodes.lock();
            let known = nodes.get(name).ok_or(AppError::NotFound("node"))?;
            if known.heard.elapsed() < CONNECTED_WITHIN {
                return Err(AppError::Conflict("the node is connected".to_owned()));
            }
            nodes.remove(name);
        }
        let mut tx = self.store.begin().await?;
        nodes::delete(&mut tx, name).await?;
        tx.audit(principal.did(asker, "node.forget", "node", name));
        tx.commit().await?;
        Ok(())
    }

    /// Waits until every connected node has adopted `generation` on all of its cores, but no longer than `patience`. Returns the names of
    /// those that have not.
    ///
    /// # Errors
    /// The database failed.
    pub async fn wait_for_adoption(
        &self,
        generation: u64,
        patience: Duration,
    ) -> Result<Vec<String>, AppError> {
        let epoch = feed::state(&mut self.store.read().await?).await?.epoch;
        let deadline = Instant::now() + patience;
        let mut reports = self.nodes.reports.subscribe();
        loop {
            let pending = self.nodes.pending(&epoch, generation);
            if pending.is_empty() || Instant::now() >= deadline {
                return Ok(pending);
            }
            // Looks again now and then without news, too: a node that died is not waited for.
            let next_look = deadline.min(Instant::now() + Duration::from_secs(1));
            let _ = tokio::time::timeout_at(next_look, reports.changed()).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: a node that went over to another replica is known by what that one writes, though its clock is a minute behind ours.
    #[test]
    fn what_another_replica_writes_is_newer_than_what_a_node_told_us_before_it_left() {
        let report = |generation| NodeReport { node: "n".to_owned(), generation, ..NodeReport::default() };
        let row = |last_seen, generation| NodeRow {
            name: "n".to_owned(),
            first_seen: Moment(0),
            last_seen: Moment(last_seen),
            report: report(generation),
        };
        let nodes = Nodes { known: Arc::default(), reports: watch::Sender::new(0) };
        let generation = || nodes.all()[0].report.generation;
        let now = Instant::now();
        nodes.learn(row(60_000, 7), now);
        nodes.learn(row(59_999, 6), now);
        assert_eq!(generation(), 7, "it talks to us, and this is older");
        nodes.learn(row(60_001, 8), now);
        assert_eq!(generation(), 8);
        nodes.learn(row(60_002, 9), now.checked_sub(CONNECTED_WITHIN).expect("the machine runs for seconds"));
        nodes.learn(row(2, 10), now);
        assert_eq!(generation(), 10);
    }

    #[test]
    fn names_of_nodes_are_short_and_harmless() {
        for good in ["a", "proxy-1.eu_west", &"x".repeat(64)] {
            assert!(node_name_is_valid(good));
        }
        for bad in ["", "a b", "a/b", "ä", "a\n", &"x".repeat(65)] {
            assert!(!node_name_is_valid(bad), "{bad}");
        }
    }
}
