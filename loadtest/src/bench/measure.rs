//! One row on one peer: load, warm-up, a window, what it cost.

use super::peers::Running;
use super::process;
use super::rows::{Quantity, Row};
use crate::load::{Load, Report};
use crate::mock::Mock;
use anyhow::{Context as _, Result, bail};
use serde::Serialize;
use std::time::{Duration, Instant};

/// How long things take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    pub(super) warm_up: Duration,
    pub(super) window: Duration,
    /// Shrinks the numbers of connections.
    pub(super) scale: f64,
}

/// What one window showed.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Sample {
    pub(super) row: Row,
    pub(super) peer: String,
    pub(super) round: usize,
    /// The quantity of the row: µs of CPU per unit, KiB per connection, or µs of latency at p50.
    pub(super) value: f64,
    /// Units in the window.
    pub(super) units: u64,
    pub(super) seconds: f64,
    /// CPU time of the peer in the window.
    pub(super) cpu_s: f64,
    /// Time that the peer's CPU was not idle, for whatever reason, in steps of 10 ms.
    pub(super) core_busy_s: f64,
    /// Memory of the peer before and with the connections.
    pub(super) pss_kib: Option<(f64, f64)>,
    /// What the load saw, warm-up included; times are of the window alone.
    pub(super) report: Report,
}

impl Sample {
    fn of_memory(row: Row, name: &str, round: usize, kib: f64) -> Self {
        Self {
            row,
            peer: name.to_owned(),
            round,
            value: kib,
            units: 1,
            seconds: 0.0,
            cpu_s: 0.0,
            core_busy_s: 0.0,
            pss_kib: Some((kib, kib)),
            report: Report::default(),
        }
    }
}

/// Measures `row` on `peer`.
pub(super) fn sample(
    row: Row,
    name: &str,
    peer: &Running,
    mock: &Mock,
    times: Times,
    proxy_cpu: usize,
    round: usize,
) -> Result<Sample> {
    let mut options = row.load(times.scale);
    match &peer.tls {
        Some(tls) if row.is_over_tls() => {
            options.origin.clone_from(&tls.origin);
            options.ca = Some(tls.ca.clone());
        }
        Some(_) | None => options.origin.clone_from(&peer.origin),
    }
    options.pat.clone_from(&peer.pat);
    let connections = options.concurrency as u64;
    if row.is_memory() {
        // What starting up took is given back within a second or so.
        std::thread::sleep(times.warm_up + Duration::from_secs(1));
    }
    let before = if peer.family.is_empty() { 0 } else { process::pss_bytes(&peer.family)? };
    if row.quantity() == Quantity::Memory {
        let value = before as f64 / 1024.0;
        return Ok(Sample::of_memory(row, name, round, value));
    }
    let load = Load::start(options)?;
    let holds = row.quantity() == Quantity::MemoryPerConnection;
    if holds {
        wait_until_open(&load, mock, connections, row)?;
    }
    std::thread::sleep(times.warm_up);
    load.clear_times();
    let start = Instant::now();
    let cpu = process::cpu_ns(&peer.family)?;
    let busy = process::busy_ns(proxy_cpu)?;
    let progress = load.progress();
    std::thread::sleep(times.window);
    let cpu = process::cpu_ns(&peer.family)? - cpu;
    let busy = process::busy_ns(proxy_cpu)? - busy;
    let done = load.progress();
    let seconds = start.elapsed().as_secs_f64();
    let with = if peer.family.is_empty() { 0 } else { process::pss_bytes(&peer.family)? };
    let report = load.stop()?;
    if row == Row::H2 && report.resumed_handshakes < report.full_handshakes {
        bail!("{} of {} handshakes resumed a session", report.resumed_handshakes, report.connections);
    }

    let cpu_s = cpu as f64 / 1e9;
    let (units, value) = match row.quantity() {
        Quantity::CpuPerRequest => per_unit(cpu_s, done.completed - progress.completed),
        Quantity::CpuPerEvent => per_unit(cpu_s, done.events - progress.events),
        Quantity::Memory => unreachable!("returned above"),
        Quantity::MemoryPerConnection => {
            (connections, (with as f64 - before as f64) / 1024.0 / connections as f64)
        }
        Quantity::Latency => {
            let times = if row == Row::L2 { report.first_event_us } else { report.latency_us };
            (times.count, times.p50)
        }
    };
    Ok(Sample {
        row,
        peer: name.to_owned(),
        round,
        value,
        units,
        seconds,
        cpu_s,
        core_busy_s: busy as f64 / 1e9,
        pss_kib: holds.then_some((before as f64 / 1024.0, with as f64 / 1024.0)),
        report,
    })
}

fn per_unit(cpu_s: f64, units: u64) -> (u64, f64) {
    (units, cpu_s * 1e6 / units.max(1) as f64)
}

fn wait_until_open(load: &Load, mock: &Mock, connections: u64, row: Row) -> Result<()> {
    let start = Instant::now();
    loop {
        let progress = load.progress();
        let open = if row.holds_streams() { progress.events } else { progress.completed };
        if open >= connections {
            return Ok(());
        }
        if start.elapsed() > Duration::from_secs(60) || load.is_over() {
            bail!("only {open} of {connections} connections came up; the mock has {:?}", mock.stats());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Waits until the mock has no stream left, so that one peer's tail is not in the next one's window.
///
/// # Errors
/// Streams stay open: a peer did not notice that its callers left.
pub(super) fn wait_until_quiet(mock: &Mock) -> Result<()> {
    let start = Instant::now();
    while mock.stats().streams_open > 0 {
        if start.elapsed() > Duration::from_secs(30) {
            return Err(anyhow::anyhow!("{:?}", mock.stats()))
                .context("streams stay open although their callers left");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}
