//! The side-by-side run: what the proxy costs per request and per event, beside peers that do less, in one interleaved run.
//!
//! The peer alone is on one CPU, load and mock share another. What is counted is CPU time of the peer, because throughput on
//! two CPUs measures the load. Machines drift by a quarter within minutes, so rounds interleave the peers, and only ratios
//! within a round are compared.
//!
//! `rows` (what is run) → `peers` (against what) → `measure` (one window) → `table`; `process` reads what the kernel counts.

mod certificate;
mod measure;
mod peers;
mod process;
mod rows;
mod table;

use crate::launch;
use crate::mock::{self, Mock};
use anyhow::{Context as _, Result, bail};
use certificate::Certificate;
use measure::{Sample, Times};
use peers::{Kind, Peer, Running};
use rows::Row;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The run's flags.
#[derive(Clone, Debug, clap::Parser)]
#[command(
    name = "cube-bench",
    version,
    about = "What the proxy costs beside nginx, HAProxy and a relay that looks at nothing."
)]
pub struct Options {
    /// A cube-proxy to measure, `[NAME=]PATH`; several are compared. Without it the one beside this program.
    #[arg(long = "proxy", value_name = "[NAME=]PATH")]
    pub proxies: Vec<String>,
    /// Leave our proxy out.
    #[arg(long)]
    pub no_proxy: bool,
    /// More settings for one of them, `NAME=TOML`: `epoll=[cores]\ndriver="epoll"`.
    #[arg(long = "settings", value_name = "NAME=TOML")]
    pub settings: Vec<String>,
    /// A cube-proxy as a passthrough listener, `NAME=TOML`: its settings, in which @callback is the URL of a callback that lets
    /// everything pass. `cached=auth_callback_url="@callback"\ncache_ttl_s=60`. `NAME@OLD=TOML`: of the build `--proxy OLD=PATH`.
    #[arg(long = "passthrough", value_name = "NAME[@PROXY]=TOML")]
    pub passthroughs: Vec<String>,
    /// What to measure besides: direct, relay, nginx, haproxy.
    #[arg(long, value_delimiter = ',', default_value = "direct,relay,nginx,haproxy")]
    pub peers: Vec<String>,
    /// Rows to run.
    #[arg(long, value_delimiter = ',', value_enum, default_values_t = Row::ALL)]
    rows: Vec<Row>,
    /// Rounds; the peers take turns in each.
    #[arg(long, default_value_t = 5)]
    pub rounds: usize,
    /// Seconds of a window.
    #[arg(long, default_value_t = 3.0)]
    pub seconds: f64,
    /// Seconds before it.
    #[arg(long, default_value_t = 1.0)]
    pub warm_up: f64,
    /// Shrinks the rows of many connections: 0.1 makes 100 of 1,000.
    #[arg(long, default_value_t = 1.0)]
    pub scale: f64,
    /// CPU of the peers.
    #[arg(long, default_value_t = 0)]
    pub proxy_cpu: usize,
    /// CPU of load and mock.
    #[arg(long, default_value_t = 1)]
    pub load_cpu: usize,
    /// File for the table; without it standard output.
    #[arg(long)]
    pub markdown: Option<PathBuf>,
    /// File for all samples and medians, as JSON.
    #[arg(long)]
    pub json: Option<PathBuf>,
}

/// Runs it all and writes the results.
///
/// # Errors
/// A peer is missing, does not start, or does not survive.
pub fn run(options: &Options) -> Result<()> {
    launch::raise_descriptor_limit()?;
    let peers = wanted(options)?;
    let two_cpus = options.proxy_cpu != options.load_cpu
        && launch::pin(None, options.proxy_cpu).is_ok()
        && launch::pin(None, options.load_cpu).is_ok();
    if !two_cpus {
        eprintln!("the peers and the load share a CPU: the figures mean little");
    }
    let directory = std::env::temp_dir().join(format!("cube-bench-{}", std::process::id()));
    std::fs::create_dir_all(&directory)?;
    let samples = run_rows(options, &peers, two_cpus, &directory);
    let kept = std::fs::remove_dir_all(&directory);
    let samples = samples?;
    kept.context("cannot remove the peers' files")?;
    write_results(options, &peers, &samples)
}

fn run_rows(options: &Options, peers: &[Peer], pinned: bool, directory: &Path) -> Result<Vec<Sample>> {
    let times = Times {
        warm_up: Duration::from_secs_f64(options.warm_up),
        window: Duration::from_secs_f64(options.seconds),
        scale: options.scale,
    };
    let mock = Mock::start(&mock::Options::default())?;
    let cpu = pinned.then_some(options.proxy_cpu);
    let certificate = Certificate::create(directory)?;
    let mut samples = Vec::new();
    for row in Row::ALL.into_iter().filter(|row| options.rows.contains(row)) {
        // Memory is measured on fresh processes; everything else on one set that runs all the while, idle in its turns off.
        let memory = row.is_memory();
        let mut running: Vec<Option<Running>> = peers.iter().map(|_| None).collect();
        for round in 0..options.rounds.max(1) {
            for (peer, running) in peers.iter().zip(&mut running) {
                let nothing_to_see = memory && matches!(peer.kind, Kind::Direct);
                if nothing_to_see || (row.is_over_tls() && !peer.speaks_tls()) {
                    continue;
                }
                if running.is_none() {
                    *running =
                        Some(peer.start(mock.address(), &certificate, cpu, directory, row == Row::S5)?);
                }
                let up = running.as_ref().expect("started above");
                let sample = measure::sample(row, &peer.name, up, &mock, times, options.proxy_cpu, round)
                    .with_context(|| format!("{row:?} on {}", peer.name))?;
                eprintln!(
                    "{row:?} round {round} {:10} {:8.2}  {:9.0}/s  failed {}",
                    sample.peer,
                    sample.value,
                    sample.units as f64 / sample.seconds,
                    sample.report.failed
                );
                samples.push(sample);
                if memory {
                    *running = None;
                }
                measure::wait_until_quiet(&mock)
                    .with_context(|| format!("after {row:?} on {}", peer.name))?;
            }
        }
    }
    Ok(samples)
}

fn wanted(options: &Options) -> Result<Vec<Peer>> {
    let beside = std::env::current_exe()?.parent().context("our own program has no directory")?.to_owned();
    let mut peers = Vec::new();
    for name in &options.peers {
        let kind = match name.as_str() {
            "direct" => Kind::Direct,
            "relay" => Kind::Relay { program: beside.join("cube-relay") },
            "nginx" | "haproxy" if !peers::is_installed(name) => {
                eprintln!("{name} is not installed; left out");
                continue;
            }
            "nginx" => Kind::Nginx,
            "haproxy" => Kind::Haproxy,
            _ => bail!("no such peer: {name}"),
        };
        peers.push(Peer { name: name.clone(), kind });
    }
    let default = [format!("cube={}", beside.join("cube-proxy").display())];
    for passthrough in &options.passthroughs {
        let (name, toml) = passthrough.split_once('=').context("--passthrough is NAME=TOML")?;
        let program = match name.split_once('@') {
            None => beside.join("cube-proxy"),
            Some((_, build)) => {
                let mut builds = options.proxies.iter().filter_map(|proxy| proxy.split_once('='));
                let build = builds.find(|(known, _)| *known == build);
                build.with_context(|| format!("--passthrough {name}: no such --proxy"))?.1.into()
            }
        };
        let kind = Kind::Passthrough { program, section: toml.replace("\\n", "\n") };
        peers.push(Peer { name: name.to_owned(), kind });
    }
    if options.no_proxy {
        return Ok(peers);
    }
    let proxies = if options.proxies.is_empty() && beside.join("cube-proxy").is_file() {
        &default[..]
    } else {
        &options.proxies[..]
    };
    for proxy in proxies {
        let (name, path) = proxy.split_once('=').unwrap_or(("cube", proxy));
        let extra = options.settings.iter().filter_map(|setting| setting.split_once('='));
        let extra: Vec<&str> = extra.filter(|(of, _)| *of == name).map(|(_, toml)| toml).collect();
        let extra = extra.join("\n").replace("\\n", "\n");
        peers.push(Peer { name: name.to_owned(), kind: Kind::Cube { program: path.into(), extra } });
    }
    Ok(peers)
}

fn write_results(options: &Options, peers: &[Peer], samples: &[Sample]) -> Result<()> {
    let cells = table::cells(samples);
    let names: Vec<String> = peers.iter().map(|peer| peer.name.clone()).collect();
    let table = table::markdown(&cells, &names);
    match &options.markdown {
        Some(file) => {
            std::fs::write(file, &table).with_context(|| format!("cannot write {}", file.display()))?
        }
        None => println!("{table}"),
    }
    if let Some(file) = &options.json {
        let versions: Vec<_> = peers
            .iter()
            .map(|peer| serde_json::json!({"peer": peer.name, "version": peer.version()}))
            .collect();
        let json = serde_json::json!({
            "machine": machine(),
            "peers": versions,
            "rounds": options.rounds,
            "seconds": options.seconds,
            "cells": cells,
            "samples": samples,
        });
        std::fs::write(file, serde_json::to_vec_pretty(&json)?)
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

fn machine() -> serde_json::Value {
    let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    serde_json::json!({
        "cpu": model.map(|(_, name)| name),
        "cpus": cpus.matches("processor\t").count(),
        "kernel": kernel.trim(),
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[test]
    fn a_passthrough_listener_is_that_of_the_build_it_names() {
        let wanted = |passthrough| {
            let flags = ["cube-bench", "--no-proxy", "--peers", "direct", "--proxy", "old=/there/it-is"];
            wanted(&Options::parse_from(flags.into_iter().chain(["--passthrough", passthrough])))
        };
        let program = |passthrough| {
            let Kind::Passthrough { program, .. } = wanted(passthrough).unwrap().pop().unwrap().kind else {
                panic!("no such listener");
            };
            program.display().to_string()
        };
        assert_eq!(program("open@old=rate_limit_per_s=0"), "/there/it-is");
        assert!(program("open=").ends_with("/cube-proxy"));
        assert!(wanted("open@new=").is_err());
    }
}
