//! The soak: minutes of everything at once, then the books must balance.
//!
//! Paced and flat-out streams (some left by their callers, some cut upstream), JSON on kept and on new connections, PATs that
//! are refused, bytes that are no HTTP, tables read again every half second (some of them broken, which the proxy must refuse
//! whole). Afterwards: no event lost, every request recorded exactly once and with the right ending, nothing still open,
//! no panic, memory flat, a clean end on SIGTERM.

mod books;
mod hazards;

use crate::bench::peers::{Kind, Peer, Running};
use crate::bench::process;
use crate::load::{Load, Mode, Report};
use crate::mock::{self, Mock};
use crate::{launch, load};
use anyhow::{Context as _, Result};
use books::Books;
use rustix::process::Signal;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Between two readings of the tables.
const RELOAD_EVERY: Duration = Duration::from_millis(500);
/// How long what runs gets to end.
const GRACE_S: f64 = 20.0;

/// The soak's flags.
#[derive(Clone, Debug, clap::Parser)]
#[command(
    name = "cube-soak",
    version,
    about = "Everything at once for a while; then the books must balance."
)]
pub struct Options {
    /// How long.
    #[arg(long, default_value_t = 20.0)]
    pub seconds: f64,
    /// Directory of cube-proxy; without it that of this program.
    #[arg(long, value_name = "DIR")]
    pub bin_dir: Option<PathBuf>,
    /// Seed of what is random.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Shrinks or grows the numbers of callers.
    #[arg(long, default_value_t = 1.0)]
    pub scale: f64,
    /// Keep the proxy's settings, tables, log and access log in this directory.
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
    /// File for the whole result as JSON.
    #[arg(long)]
    pub json: Option<PathBuf>,
}

/// One thing that must hold.
#[derive(Clone, Debug, Serialize)]
struct Check {
    what: &'static str,
    holds: bool,
    seen: String,
}

#[derive(Debug, Serialize)]
struct Outcome {
    seconds: f64,
    checks: Vec<Check>,
    pss_kib: Vec<u64>,
    loads: Vec<(&'static str, Report)>,
}

/// Runs it and prints what held. Gives whether all of it did.
///
/// # Errors
/// The proxy does not start, or ends before it is told to.
pub fn run(options: &Options) -> Result<bool> {
    launch::raise_descriptor_limit()?;
    let directory = options
        .keep
        .clone()
        .unwrap_or_else(|| std::env::temp_dir().join(format!("cube-soak-{}", std::process::id())));
    std::fs::create_dir_all(&directory)?;
    let directory = std::path::absolute(directory)?;
    let outcome = soak(options, &directory);
    if options.keep.is_none() {
        // What cannot be removed lies in the system's temporary directory.
        let _ = std::fs::remove_dir_all(&directory);
    }
    let outcome = outcome?;
    for (name, report) in &outcome.loads {
        println!(
            "{name:16} {:8} completed {:7} left {:6} cut {:6} failed {:4} events {:9} lost {}",
            report.started,
            report.completed,
            report.left,
            report.cut_as_asked,
            report.failed,
            report.events,
            report.lost
        );
        for (kind, count) in &report.errors {
            println!("{:16} {count} × {kind}", "");
        }
    }
    for check in &outcome.checks {
        println!("{} {}: {}", if check.holds { "ok  " } else { "FAIL" }, check.what, check.seen);
    }
    if let Some(file) = &options.json {
        std::fs::write(file, serde_json::to_vec_pretty(&outcome)?)?;
    }
    let failed = outcome.checks.iter().filter(|check| !check.holds).count();
    println!("{} passed, {failed} failed", outcome.checks.len() - failed);
    Ok(failed == 0)
}

fn soak(options: &Options, directory: &Path) -> Result<Outcome> {
    let beside = std::env::current_exe()?.parent().context("our own program has no directory")?.to_owned();
    let program = options.bin_dir.clone().unwrap_or(beside).join("cube-proxy");
    let access_log = directory.join("access.log");
    // JSON's strings are TOML's basic strings.
    let path = serde_json::to_string(access_log.to_str().context("the directory is not UTF-8")?)?;
    let extra = format!("[access_log]\npath = {path}\n");
    let mock = Mock::start(&mock::Options::default())?;
    let peer = Peer { name: "cube".to_owned(), kind: Kind::Cube { program, extra } };
    let mut proxy = peer.start(mock.address(), None, directory)?;
    let tables_file = directory.join("cube").join("tables.ndjson");

    let start = Instant::now();
    let loads = start_loads(options, &proxy)?;
    let hazards = hazards::Hazards::start(&proxy)?;
    let pss_kib = reload_until(&mut proxy, &tables_file, start, options.seconds)?;
    let refused = hazards.stop()?;
    let mut reports = Vec::new();
    for (name, load) in loads {
        reports.push((name, load.stop()?));
    }
    let books = Books::read(&mut proxy, &mock, &access_log)?;
    let checks = books.checks(&reports, refused, &pss_kib, start.elapsed());
    Ok(Outcome { seconds: start.elapsed().as_secs_f64(), checks, pss_kib, loads: reports })
}

fn start_loads(options: &Options, proxy: &Running) -> Result<Vec<(&'static str, Load)>> {
    let mut loads = Vec::new();
    let mut start = |name, concurrency: f64, change: &dyn Fn(&mut load::Options)| -> Result<()> {
        let mut load = load::Options::against(&proxy.origin);
        load.pat.clone_from(&proxy.pat);
        load.duration_s = options.seconds * 10.0 + 60.0;
        load.grace_s = GRACE_S;
        load.timeout_s = GRACE_S;
        load.seed = options.seed;
        load.concurrency = (concurrency * options.scale).ceil() as usize;
        change(&mut load);
        loads.push((name, Load::start(load)?));
        Ok(())
    };
    start("paced streams", 100.0, &|load| {
        load.events = 100;
        load.pace_us = 5_000;
        load.ramp_s = 1.0;
        load.leave_share = 0.2;
        load.cut_share = 0.1;
    })?;
    start("fast streams", 8.0, &|load| {
        load.events = 500;
        load.include_usage = true;
        load.leave_share = 0.1;
    })?;
    start("ollama streams", 8.0, &|load| {
        load.path = "/api/chat".to_owned();
        load.pace_us = 1_000;
    })?;
    start("odd framing", 4.0, &|load| {
        load.events = 50;
        load.fields = vec!["x-mock-chunk-bytes: 7".to_owned(), "x-mock-write-bytes: 11".to_owned()];
    })?;
    start("json", 8.0, &|load| {
        load.mode = Mode::Json;
        load.rate = 400.0;
    })?;
    start("large json", 2.0, &|load| {
        load.mode = Mode::Json;
        load.body_bytes = Some(300_000);
        load.prompt_bytes = 300_000;
        load.rate = 20.0;
    })?;
    start("new connections", 4.0, &|load| {
        load.mode = Mode::NewConnection;
        load.rate = 100.0;
    })?;
    Ok(loads)
}

/// Has the tables read again and again, every fourth time broken ones, and watches the proxy's memory.
fn reload_until(proxy: &mut Running, tables_file: &Path, start: Instant, seconds: f64) -> Result<Vec<u64>> {
    let good = std::fs::read(tables_file)?;
    let broken = [&good[..], b"{\"kind\":\"model\",\"domain\":\"no uuid\"}\n"].concat();
    let mut pss_kib = Vec::new();
    let mut turn = 0_u32;
    while start.elapsed().as_secs_f64() < seconds {
        std::thread::sleep(RELOAD_EVERY);
        turn += 1;
        std::fs::write(tables_file, if turn.is_multiple_of(4) { &broken } else { &good })?;
        let child = proxy.child_mut()?;
        if let Some(status) = child.ended()? {
            anyhow::bail!("cube-proxy ended under load: {status}");
        }
        child.signal(Signal::HUP);
        pss_kib.push(process::pss_bytes(&proxy.family)? / 1024);
    }
    std::fs::write(tables_file, &good)?;
    Ok(pss_kib)
}
