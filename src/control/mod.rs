//! Control: everything that no request waits for, on a thread of its own.
//!
//! | file | does |
//! |---|---|
//! | `certificates` | reads certificates again when their files change |
//! | [`instance`] | keeps a second instance from sharing the address by mistake |
//! | `load` | tables file → compiled tables, on a loading thread |
//! | [`feed`] | tables from cube-admin, and reports and usage to it, on threads of their own |
//! | `names` | names of endpoints → addresses |
//! | `state` | publishes tables to every core, waits for adoption, asks cores for figures |
//! | `ops` | the ops listener; `answers`: `/livez`, `/readyz`, `/tables`, `/metrics` |
//! | `metrics` | figures of all cores → exposition text |
//! | `access_log` | records → JSON lines, on a writing thread |
//! | `signals`, `drain` | SIGHUP loads again; SIGTERM and SIGINT drain and end |
//! | [`event`] | what is told to whoever runs this |
//!
//! # Promises
//! * Tables that do not compile are refused whole, with every problem; the last good ones stay in force.
//! * The ops listener answers while tables are compiled, while a core is stuck and while the process drains.
//! * Nothing here can slow a stream: cores are asked, never locked.

mod access_line;
mod access_log;
mod answers;
mod certificates;
mod drain;
pub mod event;
pub mod feed;
pub mod instance;
mod load;
mod metrics;
mod names;
mod ops;
mod process;
mod signals;
mod state;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use monoio::{LegacyDriver, RuntimeBuilder};

use crate::cores::{CoreHandle, Inbox, inbox};
use crate::record::{Readers, RecordSender};
use crate::settings::Settings;
use crate::tls::{Terms, TermsMaker, TlsError};
use access_log::AccessLog;
use answers::Ops;
use certificates::Certificates;
pub use event::{Ended, Event};
use feed::{FeedError, FromFeed, Prepared};
use instance::{Instance, InstanceError};
use names::LOOK_UP_EVERY;
use signals::{SignalStream, Signals};
use state::State;

/// Batches of records that wait for the access log, per core: 2,048 records, about 0.7 MiB, a second of a busy core.
const BATCHES_PER_CORE: usize = 32;
/// The same for usage, which is not sampled: 65,536 records a core, about 22 MiB, for a disk that stalls.
const USAGE_BATCHES_PER_CORE: usize = 1024;
/// How long the end waits for usage to be sent.
const USAGE_PATIENCE: Duration = Duration::from_secs(2);
/// How long the end waits for the access log.
const LOG_PATIENCE: Duration = Duration::from_secs(2);
/// How often tables that were replaced are looked at: does a core still use them?
const RETIRED_POLL: Duration = Duration::from_secs(1);

/// Why the control thread could not start.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The address is another instance's, or not ours.
    #[error(transparent)]
    Instance(#[from] InstanceError),
    /// The ops address cannot be bound.
    #[error("ops.address {address}: {error}")]
    Ops {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// The access log cannot be opened.
    #[error("access_log.path: {0}")]
    AccessLog(#[source] io::Error),
    /// The feed cannot be set up.
    #[error(transparent)]
    Feed(#[from] FeedError),
    /// A certificate or a key cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Signals or the runtime could not be set up.
    #[error("control thread: {0}")]
    Runtime(#[source] io::Error),
}

/// What the process holds before its cores start: its place, its ops address, its signals.
pub struct Control {
    settings: Arc<Settings>,
    instance: Instance,
    listener: TcpListener,
    address: SocketAddr,
    signals: Signals,
    access_log: Option<AccessLog>,
    feed: Option<Prepared>,
    certificates: Certificates,
    terms: Arc<Terms>,
    /// What was noticed before there was anybody to tell.
    noticed: Vec<Event>,
}

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Control").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Control {
    /// Claims all that. Call it before anything is bound or spawned, so that a second instance fails without a trace.
    ///
    /// # Errors
    /// See [`ControlError`].
    pub fn prepare(settings: Arc<Settings>) -> Result<Self, ControlError> {
        Self::prepare_with(settings, Signals::catch)
    }

    fn prepare_with(
        settings: Arc<Settings>,
        signals: impl FnOnce() -> io::Result<Signals>,
    ) -> Result<Self, ControlError> {
        let instance = Instance::claim(&settings)?;
        let address = settings.ops.address;
        let listener = ops::bind(address, settings.process.allow_second_instance)
            .map_err(|error| ControlError::Ops { address, error })?;
        let address = listener.local_addr().map_err(ControlError::Runtime)?;
        let (certificates, terms, noticed) = Certificates::load(TermsMaker::new(&settings))?;
        let feed = settings.admin.feed.as_ref().map(|feed| Prepared::new(&settings, feed)).transpose()?;
        let signals = signals().map_err(ControlError::Runtime)?;
        Ok(Self {
            settings,
            instance,
            listener,
            address,
            signals,
            access_log: None,
            feed,
            certificates,
            terms,
            noticed,
        })
    }

    /// The ops address; tells the port that port 0 became.
    #[must_use]
    pub const fn ops_address(&self) -> SocketAddr {
        self.address
    }

    /// What the cores shake hands with until they are told otherwise.
    #[must_use]
    pub fn terms(&self) -> Arc<Terms> {
        Arc::clone(&self.terms)
    }

    /// One record sender for each core. Without an access log and without a feed they are closed, and records cost nothing.
    ///
    /// # Errors
    /// [`ControlError::AccessLog`], [`ControlError::Feed`].
    pub fn record_senders(&mut self, cores: usize) -> Result<Vec<RecordSender>, ControlError> {
        let mut readers = Readers::default();
        let log = &self.settings.access_log;
        if let Some(sink) = &log.sink {
            let records = readers.log(cores * BATCHES_PER_CORE, log.sample, log.sample_failures);
            self.access_log = Some(AccessLog::start(sink, records).map_err(ControlError::AccessLog)?);
        }
        if let Some(feed) = &mut self.feed {
            feed.start_usage(readers.usage(cores * USAGE_BATCHES_PER_CORE))?;
        }
        Ok(readers.senders(cores))
    }

    /// Runs until the process has been told to end and has drained; returns how that went. The caller exits then.
    ///
    /// * `cores`: the handles of all cores, by number.
    /// * `data`: where they listen.
    /// * `tell`: called for each [`Event`], on this thread.
    ///
    /// # Errors
    /// [`ControlError::Runtime`], before anything was published.
    pub fn run(
        self,
        cores: Vec<CoreHandle>,
        data: SocketAddr,
        tell: impl FnMut(&Event) + 'static,
    ) -> Result<Ended, ControlError> {
        // epoll: this thread has little to do, and must answer where io_uring is forbidden, too.
        let mut runtime =
            RuntimeBuilder::<LegacyDriver>::new().enable_timer().build().map_err(ControlError::Runtime)?;
        let Self {
            settings,
            instance: _instance,
            listener,
            signals,
            access_log,
            feed,
            certificates,
            noticed,
            ..
        } = self;
        let (door, from_feed) = inbox().map_err(ControlError::Runtime)?;
        let feed = feed
            .map(|feed| feed.start(door, cores.clone(), data.to_string()))
            .transpose()
            .map_err(ControlError::Runtime)?;
        let state = Rc::new(State::new(settings, cores, access_log, feed, certificates, Box::new(tell)));
        noticed.iter().for_each(|event| state.tell(event));
        let ended = runtime
            .block_on(live(Rc::clone(&state), listener, signals, from_feed))
            .map_err(ControlError::Runtime)?;
        if let Some(feed) = &state.feed {
            feed.stop_usage(USAGE_PATIENCE);
        }
        if let Some(access_log) = &state.access_log {
            access_log.stop(LOG_PATIENCE);
        }
        Ok(ended)
    }
}

/// The control thread's life.
async fn live(
    state: Rc<State>,
    listener: TcpListener,
    signals: Signals,
    from_feed: Inbox<FromFeed>,
) -> io::Result<Ended> {
    let listener = monoio::net::TcpListener::from_std(listener)?;
    let (mut reload, mut end) = (SignalStream::new(signals.reload)?, SignalStream::new(signals.end)?);
    monoio::spawn(ops::serve(listener, Rc::new(Ops(Rc::clone(&state)))));

    let loading = Rc::clone(&state);
    monoio::spawn(async move {
        loading.load().await;
        loop {
            let asked = monoio::select! {
                () = reload.next() => true,
                () = monoio::time::sleep(LOOK_UP_EVERY) => false,
            };
            if asked {
                if let Some(access_log) = &loading.access_log {
                    access_log.reopen();
                }
                loading.load_certificates().await;
                loading.load().await;
            } else if loading.feed.is_none() {
                loading.look_up_names().await;
            }
            // Beside it: the next reload does not wait for a slow name server.
            let looking = Rc::clone(&loading);
            monoio::spawn(async move { looking.look_around().await });
        }
    });
    let fed = Rc::clone(&state);
    let from_feed = from_feed.open()?;
    monoio::spawn(async move {
        loop {
            for message in from_feed.messages().await {
                fed.obey(message);
            }
        }
    });
    let looking = Rc::clone(&state);
    monoio::spawn(async move {
        loop {
            monoio::time::sleep(certificates::LOOK_EVERY).await;
            looking.look_at_certificates().await;
        }
    });
    let retiring = Rc::clone(&state);
    monoio::spawn(async move {
        loop {
            monoio::time::sleep(RETIRED_POLL).await;
            retiring.drop_retired();
            retiring.look_at_age();
        }
    });

    end.next().await;
    let ended = state.drain(&mut end).await;
    if state.access_log.is_some() || state.feed.is_some() {
        state.last_records().await;
    }
    state.tell(&Event::Ended(ended));
    Ok(ended)
}

#[cfg(test)]
mod tests;
