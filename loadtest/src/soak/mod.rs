//! The soak: callers of every kind against the proxy for a while, streams left and cut at random, tables published twice a
//! second, the access log rotated under it; and at the end the books are balanced. What the callers saw, what the mock saw,
//! the access log and the metrics have to agree request by request, and memory and descriptors have to be where they were.
//!
//! `setup` (mock and proxy) → `mix` (the callers) → `reload` (tables, log, probes) beside `watch` (memory, descriptors,
//! gauges) → `ledger` (the access log against the callers) → `checks` (what has to hold).

mod checks;
mod ledger;
mod mix;
mod reload;
mod setup;
mod watch;

use crate::launch;
use crate::load::{Load, Report};
use anyhow::{Context as _, Result, bail};
use checks::Evidence;
use ledger::{Expected, Ledger};
use reload::Reloads;
use setup::Setup;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

pub use checks::{Check, Summary};

/// Between two publications of tables.
const RELOAD_EVERY: Duration = Duration::from_millis(500);
/// Longest wait for gauges and connections to come back to where they were. Idle upstream connections are closed after
/// [`setup::IDLE_TIMEOUT`].
const SETTLE_PATIENCE: Duration = Duration::from_secs(15);
/// Longest wait for the proxy to end, with nothing to drain.
const END_PATIENCE: Duration = Duration::from_secs(10);

/// The run's flags.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "cube-soak", version, about = "Load with faults and reloads, and whether it all adds up.")]
pub struct Options {
    /// How long callers begin new requests.
    #[arg(long, default_value_t = 20.0)]
    pub seconds: f64,
    /// Directory of cube-proxy; without it, this program's own.
    #[arg(long, value_name = "DIR")]
    pub bin_dir: Option<PathBuf>,
    /// Streams that run at once.
    #[arg(long, default_value_t = 200)]
    pub streams: usize,
    /// Cores of the proxy.
    #[arg(long, default_value_t = 2)]
    pub cores: usize,
    /// More settings of `[cores]`, as TOML: `driver = "epoll"`.
    #[arg(long, value_name = "TOML", default_value = "")]
    pub core_settings: String,
    /// Seed of what is random.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Keep the directory of access log, tables and the proxy's output here, instead of a temporary one that is removed.
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
}

/// Runs it.
///
/// # Errors
/// Something is missing, does not start, ends by itself, or the run was interrupted. That something does not hold is no error,
/// but in the summary.
pub fn run(options: &Options) -> Result<Summary> {
    launch::raise_descriptor_limit()?;
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&interrupted))?;
    }
    let temporary = std::env::temp_dir().join(format!("cube-soak-{}", std::process::id()));
    let directory = options.keep.as_ref().map_or(Ok(temporary), std::path::absolute)?;
    setup::make_private(&directory)?;
    let summary = run_in(&directory, options, &interrupted);
    if options.keep.is_none() {
        // What cannot be removed lies in the system's temporary directory, readable only by its owner.
        let _ = std::fs::remove_dir_all(&directory);
    }
    summary
}

fn run_in(directory: &Path, options: &Options, interrupted: &AtomicBool) -> Result<Summary> {
    let mut ledger = Ledger::open(directory, options.keep.is_some())?;
    let mut setup = Setup::start(directory, options)?;
    let start = Instant::now();
    let before = setup.sample(start)?;
    let callers = mix::start(&setup, options)?;
    let mut reloads = Reloads::default();
    let mut samples = Vec::new();
    for turn in 1.. {
        let due = start + RELOAD_EVERY * turn;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        setup.fail_if_ended()?;
        if interrupted.load(Ordering::Relaxed) {
            bail!("interrupted");
        }
        if callers.iter().all(|(_, load)| load.is_over()) {
            break;
        }
        // A turn that comes too late because the last one took long is left out.
        if Instant::now() < due + RELOAD_EVERY {
            reloads.turn(&mut setup, &mut ledger)?;
        }
        // Callers ramp down at the end: what is compared is the time of full load.
        if turn % 2 == 0 && start.elapsed().as_secs_f64() < options.seconds {
            samples.push(setup.sample(start)?);
        }
        if turn % 60 == 0 {
            progress(start, &callers, &samples);
        }
    }
    let mut reports: Vec<(&str, Report)> = Vec::new();
    for (name, load) in callers {
        reports.push((name, load.wait().with_context(|| format!("the callers {name:?}"))?));
    }
    let settled = setup.settle(before.descriptors, SETTLE_PATIENCE)?;
    let ended = setup.end(END_PATIENCE)?;
    ledger.read_rest(directory)?;
    let mut expected: Vec<(&str, Vec<Expected>)> =
        reports.iter().map(|(name, report)| (*name, mix::expected(name, report))).collect();
    expected.push((reload::PROBES, reloads.probes.clone()));
    let books = ledger.balance(&expected);
    let mock = setup.mock.stats();
    let output = setup.output();
    Ok(Evidence {
        seconds: options.seconds,
        before,
        samples,
        settled,
        ended,
        reports,
        reloads,
        books,
        mock,
        output,
    }
    .judge())
}

fn progress(start: Instant, callers: &[(&str, Load)], samples: &[watch::Sample]) {
    let (mut completed, mut running) = (0, 0);
    for (_, load) in callers {
        let progress = load.progress();
        completed += progress.completed;
        running += progress.running;
    }
    let (memory, descriptors) = samples.last().map_or((0, 0), |last| (last.rss_kib, last.descriptors));
    let seconds = start.elapsed().as_secs();
    eprintln!(
        "{seconds:4} s: {completed} completed, {running} running, {memory} KiB, {descriptors} descriptors"
    );
}
