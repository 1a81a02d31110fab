//! The load client: many exchanges at once on one thread, every one checked, all of them timed.
//!
//! `requests` (what is sent) → `connection` (one exchange after another on a socket) → `check` (a stream's events) → `tally`
//! (counts and report), run by `engine`, on `wire` (plain or TLS). It costs less per event than the proxy: one `recv` per wake-up, events looked at where
//! they lie.
//!
//! Besides load it plays the hazards of real callers: it leaves streams at random, and asks the mock to cut others, and
//! tells what the proxy made of it.

mod check;
mod connection;
mod engine;
mod requests;
mod tally;
mod wire;

pub use tally::{Outcome, Report};

use crate::fetch::Origin;
use anyhow::Result;
use engine::Engine;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

/// What one exchange is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Mode {
    /// A stream, checked event by event.
    #[default]
    Stream,
    /// A JSON answer on a kept-alive connection.
    Json,
    /// A JSON answer on a connection of its own.
    NewConnection,
}

/// A run's flags.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "cube-stream", version, about = "A load client that checks every event of every stream.")]
pub struct Options {
    /// http://host:port[/base], or https, that the path is appended to: http://127.0.0.1:8080/proxy/demo.
    #[arg(long)]
    pub origin: String,
    /// With https: a PEM file of the certificates that are believed, and no others.
    #[arg(long)]
    pub ca: Option<PathBuf>,
    /// With https: never resume a session.
    #[arg(long)]
    pub full_handshakes: bool,
    /// Path of the requests; paths under /api are NDJSON.
    #[arg(long, default_value = "/v1/chat/completions")]
    pub path: String,
    /// What one exchange is.
    #[arg(long, value_enum, default_value_t)]
    pub mode: Mode,
    /// Exchanges that run at once, each on its own connection.
    #[arg(long, default_value_t = 64)]
    pub concurrency: usize,
    /// Seconds after which none is begun any more.
    #[arg(long, default_value_t = 10.0)]
    pub duration_s: f64,
    /// Seconds over which the first ones are begun, so that paced streams do not march in step.
    #[arg(long, default_value_t = 0.0)]
    pub ramp_s: f64,
    /// Seconds that running ones get to end.
    #[arg(long, default_value_t = 10.0)]
    pub grace_s: f64,
    /// Exchanges in all; 0: as many as the duration allows.
    #[arg(long, default_value_t = 0)]
    pub requests: u64,
    /// Exchanges begun per second in all; 0: the next one as soon as one ends.
    #[arg(long, default_value_t = 0.0)]
    pub rate: f64,
    /// Seconds after which an exchange has failed.
    #[arg(long, default_value_t = 60.0)]
    pub timeout_s: f64,
    /// A PAT, sent as `Authorization: Bearer …`.
    #[arg(long, env = "CUBE_PAT", hide_env_values = true)]
    pub pat: Option<String>,
    /// The model to ask for.
    #[arg(long, default_value = "demo-model")]
    pub model: String,
    /// Bytes of prompt in each request.
    #[arg(long, default_value_t = 30)]
    pub prompt_bytes: usize,
    /// Events per stream.
    #[arg(long, default_value_t = 100)]
    pub events: u32,
    /// The server is no mock: its events have no numbers, count them only.
    #[arg(long)]
    pub unnumbered: bool,
    /// Bytes per event.
    #[arg(long, default_value_t = 220)]
    pub event_bytes: u32,
    /// Microseconds between events; 0: flat out.
    #[arg(long, default_value_t = 0)]
    pub pace_us: u64,
    /// Bytes of a JSON answer.
    #[arg(long)]
    pub body_bytes: Option<u32>,
    /// Ask for usage, and expect it; without this, expect that none comes.
    #[arg(long)]
    pub include_usage: bool,
    /// Further fields, `name: value`; `x-mock-…` ones are for the mock.
    #[arg(long = "field")]
    pub fields: Vec<String>,
    /// Share of streams that we leave after a random number of events.
    #[arg(long, default_value_t = 0.0)]
    pub leave_share: f64,
    /// Share of streams that the mock is told to cut after a random number of events.
    #[arg(long, default_value_t = 0.0)]
    pub cut_share: f64,
    /// Share of streams that the mock is told to keep silent on, and that we leave before anything has come.
    #[arg(long, default_value_t = 0.0)]
    pub leave_unanswered_share: f64,
    /// Name requests PREFIX-0, PREFIX-1, … in `X-Request-Id`, and remember how each ended.
    #[arg(long, value_name = "PREFIX")]
    pub request_ids: Option<String>,
    /// Seed of what is random.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// CPU to run on.
    #[arg(long)]
    pub cpu: Option<usize>,
}

impl Options {
    /// The defaults, against `origin`.
    #[must_use]
    pub fn against(origin: &str) -> Self {
        <Self as clap::Parser>::parse_from(["cube-stream", "--origin", origin])
    }
}

/// What a running load tells about itself at any time.
#[derive(Debug, Default)]
pub(crate) struct Live {
    completed: AtomicU64,
    events: AtomicU64,
    running: AtomicU64,
    stop: AtomicBool,
    clear_times: AtomicBool,
}

/// Counters of a running load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Exchanges that have ended as they should.
    pub completed: u64,
    /// Content events received.
    pub events: u64,
    /// Exchanges whose answer has begun and not ended.
    pub running: u64,
}

/// A load that runs on a thread of its own.
#[derive(Debug)]
pub struct Load {
    live: Arc<Live>,
    thread: Option<JoinHandle<Result<Report>>>,
}

impl Load {
    /// Starts it.
    ///
    /// # Errors
    /// The origin is no `http` or `https` URL, its host is unknown, or the thread cannot be had.
    pub fn start(options: Options) -> Result<Self> {
        let origin = Origin::parse_any(&options.origin)?;
        let address = origin.address()?;
        let live = Arc::new(Live::default());
        let shared = Arc::clone(&live);
        let thread = std::thread::Builder::new().name("load".to_owned()).spawn(move || {
            if let Some(cpu) = options.cpu {
                crate::launch::pin(None, cpu)?;
            }
            Engine::new(&options, &origin, address, shared)?.run()
        })?;
        Ok(Self { live, thread: Some(thread) })
    }

    /// How far it is.
    #[must_use]
    pub fn progress(&self) -> Progress {
        Progress {
            completed: self.live.completed.load(Ordering::Relaxed),
            events: self.live.events.load(Ordering::Relaxed),
            running: self.live.running.load(Ordering::Relaxed),
        }
    }

    /// Forgets the times measured so far, as after a warm-up. Counts go on.
    pub fn clear_times(&self) {
        self.live.clear_times.store(true, Ordering::Relaxed);
    }

    /// Whether it is over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Begins nothing more, gives what runs the grace to end, and reports.
    ///
    /// # Errors
    /// The poller broke, or the CPU is not there.
    pub fn stop(mut self) -> Result<Report> {
        self.live.stop.store(true, Ordering::Relaxed);
        self.join()
    }

    /// Waits until it is over, and reports.
    ///
    /// # Errors
    /// As [`Self::stop`].
    pub fn wait(mut self) -> Result<Report> {
        self.join()
    }

    fn join(&mut self) -> Result<Report> {
        let thread = self.thread.take().expect("joined once: stop and wait take self");
        thread.join().map_err(|_| anyhow::anyhow!("the load thread panicked"))?
    }
}
