//! The feed: tables from cube-admin, and what the node says of itself in return. Blocking threads beside the control thread.
//!
//! | file | does |
//! |---|---|
//! | `reader` | the thread that follows the feed: frames → tables → control thread → disk |
//! | `frames`, `lines` | lines and frames, without a socket |
//! | `end` | why a connection is over |
//! | `compile` | record lines → tables while they arrive; opens sealed credentials |
//! | `last_good` | the tables on disk |
//! | `report` | the thread that says what this node holds and what its cores have adopted |
//! | `usage`, `spool`, `ship` | records → lines on disk → admin |
//! | `event`, `figures` | what is told, what is counted |
//! | `client`, `backoff` | HTTP towards admin; how long to wait after a failure |
//!
//! # Promises
//! * No request waits for admin, nor for any of these threads.
//! * Admin may be away at any time, for any time: the proxy starts and serves with what it has, and catches up.
//! * What has been spooled is sent, at least once; `spool` says what a kill can lose.

mod backoff;
mod client;
mod compile;
mod end;
mod event;
mod figures;
mod frames;
mod last_good;
mod lines;
mod reader;
mod report;
mod ship;
mod spool;
mod usage;

use std::fmt;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::time::{Duration, Instant};

use cube_wire::seal::FleetKey;

use super::instance;
use crate::cores::{CoreHandle, Door};
use crate::record::Batch;
use crate::settings::{self, Settings};
use crate::tables::Tables;
use crate::tls::TlsError;
use backoff::Backoff;
use client::Admin;
pub use event::FeedEvent;
pub(super) use figures::Figures;
use reader::Reader;
pub(super) use report::NodeNews;
use usage::Usage;

/// What the reader says to the control thread.
pub(super) enum FromFeed {
    /// These are to be published.
    Tables { tables: Arc<Tables>, epoch: Arc<str>, asked: Instant, how: How },
    /// Something was refused; what is in force stays.
    Refused { reason: String },
    /// For the log.
    Told(FeedEvent),
}

/// Where tables came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// From the disk, at the start.
    LastGood,
    /// Whole, from admin.
    Snapshot,
    /// By one transaction.
    Delta,
    /// Names have other addresses.
    Addresses,
}

/// Why there is no feed.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// The fleet's key cannot be read, or is none.
    #[error("admin.fleet_key_file: {}: {reason}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The directory of our state cannot be used.
    #[error("admin.state_dir: {}: {error}", path.display())]
    StateDir {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// What admin is to be certified by, or shown, cannot be used.
    #[error("admin: {0}")]
    Tls(#[from] TlsError),
    /// Another instance keeps its state there.
    #[error("admin.state_dir: another instance keeps its state in {}, or {}/lock cannot be locked", .0.display(), .0.display())]
    Locked(PathBuf),
}

/// Reads the fleet's key.
///
/// # Errors
/// [`FeedError::Key`], which shows nothing of it.
pub fn fleet_key(path: &Path) -> Result<FleetKey, FeedError> {
    let wrong = |reason: String| FeedError::Key { path: path.to_owned(), reason };
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    FleetKey::from_text(&text).map_err(|error| wrong(error.to_string()))
}

/// The feed before anything runs: key read, directory claimed.
pub(super) struct Prepared {
    key: Arc<FleetKey>,
    admin: Arc<Admin>,
    state_dir: PathBuf,
    /// Held while the process lives.
    _lock: File,
    pub(super) node: Arc<str>,
    boot: String,
    pub(super) figures: Arc<Figures>,
    backoff: Backoff,
    usage: Option<Usage>,
}

impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prepared").field("node", &self.node).finish_non_exhaustive()
    }
}

impl Prepared {
    /// Claims what the feed needs.
    pub(super) fn new(settings: &Settings, feed: &settings::Feed) -> Result<Self, FeedError> {
        let key = Arc::new(fleet_key(&feed.fleet_key_file)?);
        let state_dir = feed.state_dir.clone();
        let unusable = |error| FeedError::StateDir { path: state_dir.clone(), error };
        DirBuilder::new().recursive(true).mode(0o700).create(&state_dir).map_err(unusable)?;
        let lock =
            instance::lock(&state_dir.join("lock")).map_err(|_| FeedError::Locked(state_dir.clone()))?;
        let node = settings.admin.node.clone().unwrap_or_else(machine_name);
        let mut boot = [0; 16];
        getrandom::fill(&mut boot).map_err(|error| unusable(io::Error::other(error.to_string())))?;
        Ok(Self {
            admin: Arc::new(Admin::new(feed.origin.clone(), feed.trust.clone(), &key)?),
            key,
            state_dir,
            _lock: lock,
            node: node.into(),
            boot: format!("{:032x}", u128::from_ne_bytes(boot)),
            figures: Arc::default(),
            backoff: Backoff::new(settings.admin.reconnect_min, settings.admin.reconnect_max),
            usage: None,
        })
    }

    /// Starts the threads that spool and send usage, before the cores that make it.
    pub(super) fn start_usage(&mut self, records: Receiver<Batch>) -> Result<(), FeedError> {
        let started = Usage::start(
            &self.state_dir,
            &self.boot,
            &self.node,
            Arc::clone(&self.admin),
            Arc::clone(&self.figures),
            self.backoff,
            records,
        );
        let failed = |error| FeedError::StateDir { path: self.state_dir.clone(), error };
        self.usage = Some(started.map_err(failed)?);
        Ok(())
    }

    /// Starts the reader and the reporter.
    ///
    /// * `door`: the control thread's.
    /// * `address`: where the cores listen.
    pub(super) fn start(
        self,
        door: Door<FromFeed>,
        cores: Vec<CoreHandle>,
        address: String,
    ) -> io::Result<Running> {
        let reader = Reader::new(
            Arc::clone(&self.admin),
            Arc::clone(&self.key),
            self.node.to_string(),
            self.state_dir.clone(),
            door,
            Arc::clone(&self.figures),
            self.backoff,
        );
        std::thread::Builder::new().name("feed".to_owned()).spawn(move || reader.run())?;
        let report = report::Reporter::new(
            Arc::clone(&self.admin),
            cores,
            self.node.to_string(),
            self.boot.clone(),
            address,
            self.backoff,
        );
        let news = report.start()?;
        Ok(Running { node: self.node, figures: self.figures, news, usage: self.usage, _lock: self._lock })
    }
}

/// The feed as the control thread has it.
pub(super) struct Running {
    pub(super) node: Arc<str>,
    pub(super) figures: Arc<Figures>,
    /// To the thread that reports.
    pub(super) news: Sender<NodeNews>,
    usage: Option<Usage>,
    _lock: File,
}

impl Running {
    /// Spools what the cores have handed over and tries for at most `patience` to send it.
    pub(super) fn stop_usage(&self, patience: Duration) {
        if let Some(usage) = &self.usage {
            usage.stop(patience);
        }
    }
}

/// What the kernel calls this machine, in the characters of a node's name.
fn machine_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let harmless = |c: char| if c.is_ascii_alphanumeric() || "_.-".contains(c) { c } else { '-' };
    let name: String = name.trim().chars().map(harmless).take(64).collect();
    if name.is_empty() { "cube-proxy".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_has_a_name_that_a_node_can_have() {
        let name = machine_name();
        assert!((1..=64).contains(&name.len()), "{name}");
        assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte)), "{name}");
    }
}
