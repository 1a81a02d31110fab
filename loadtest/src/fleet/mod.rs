//! The fleet's promises, tried on real programs: how fast a change is in force on every core (`propagation`), what survives when admin
//! and proxy are killed in the middle of changes (`crash`), and how a proxy does without admin (`outage`).

mod crash;
mod outage;
mod propagation;
mod rig;

use crate::histogram::Histogram;
use crate::load::{self, Load};
use rig::Rig;
use std::path::PathBuf;

/// The program's arguments.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "cube-fleet", version, about = "Tries what cube-admin and cube-proxy promise together.")]
pub struct Options {
    /// Directory of the programs.
    #[arg(long, value_name = "DIR")]
    pub bin_dir: PathBuf,
    /// Use this state directory (of a demo, say) instead of a new one.
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// Threads of the proxy.
    #[arg(long, default_value_t = 2)]
    pub cores: usize,
    #[command(subcommand)]
    pub command: Command,
}

/// What to try.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// Revoke PATs, one after the other, and poll the proxy with each until all connections refuse it
    Propagation {
        /// How many.
        #[arg(long, default_value_t = 200)]
        rounds: usize,
        /// Connections that poll: enough that every core has one.
        #[arg(long, default_value_t = 8)]
        connections: usize,
        /// Streams that run beside it.
        #[arg(long, default_value_t = 64)]
        streams: usize,
        /// Fail unless 99 of 100 are in force so soon after the answer; for a quiet machine.
        #[arg(long)]
        within_ms: Option<u64>,
    },
    /// Take admin away under running streams, start the proxy without it, bring it back
    Outage,
    /// Change things and kill admin and proxy at random points
    Crash {
        /// How many changes.
        #[arg(long, default_value_t = 1_000)]
        mutations: usize,
        /// One process is killed after about so many changes.
        #[arg(long, default_value_t = 25)]
        kill_every: usize,
        /// What is random follows from it.
        #[arg(long)]
        seed: Option<u64>,
    },
}

/// Runs what was asked for and returns its report, and whether all promises held.
///
/// # Errors
/// The programs do not start or do not answer.
pub fn run(options: &Options) -> anyhow::Result<(serde_json::Value, bool)> {
    match options.command {
        Command::Propagation { rounds, connections, streams, within_ms } => {
            propagation::run(options, rounds, connections, streams, within_ms)
        }
        Command::Outage => outage::run(options),
        Command::Crash { mutations, kill_every, seed } => crash::run(options, mutations, kill_every, seed),
    }
}

/// Times of a report, in milliseconds.
fn times(histogram: &Histogram) -> serde_json::Value {
    #[allow(clippy::cast_precision_loss, reason = "times for people")]
    let ms = |share: f64| histogram.quantile_ns(share) as f64 / 1e6;
    serde_json::json!({ "p50": ms(0.5), "p90": ms(0.9), "p99": ms(0.99), "max": ms(1.0), "count": histogram.count() })
}

/// Paced streams with the member's PAT, until they are stopped.
fn start_load(rig: &Rig, streams: usize) -> anyhow::Result<Load> {
    let mut options = load::Options::against(&format!("http://{}/proxy/demo", rig.addresses.data));
    options.concurrency = streams.max(1);
    options.duration_s = 3_600.0;
    options.pat = Some(rig.cast.pat.clone());
    options.pace_us = 20_000;
    Load::start(options)
}
