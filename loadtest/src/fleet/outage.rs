//! The proxy without admin: it goes on, starts again, and catches up.

use super::rig::{PATIENCE, Rig};
use super::{Options, start_load};
use crate::world::new_pat;
use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Streams that run while admin is away.
const STREAMS: usize = 32;
/// How long admin is away.
const AWAY: Duration = Duration::from_secs(3);

/// Takes admin away under running streams, then both, then brings admin back.
pub(super) fn run(options: &Options) -> Result<(Value, bool)> {
    let mut rig = Rig::start(options)?;
    let api = rig.api()?;
    let load = start_load(&rig, STREAMS)?;
    let mut poller = rig.poller()?;
    let pat = rig.cast.pat.clone();

    // Killed and started again under streams.
    std::thread::sleep(Duration::from_secs(1));
    rig.kill_admin();
    let start = Instant::now();
    let mut served = 0_u64;
    while start.elapsed() < AWAY {
        match poller.status(&pat)? {
            200 => served += 1,
            status => bail!("{status} while admin is away"),
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    rig.start_admin()?;
    let (id, secret) = new_pat(&api, &format!("after {}", std::process::id()), "1h", &rig.all_scopes())?;
    let back_in_force = until(&rig, &secret, 200)?;
    let report = load.stop()?;

    // The proxy starts without admin, from what it remembers, and catches up by deltas.
    rig.kill_admin();
    rig.kill_proxy();
    let start = Instant::now();
    rig.start_proxy()?;
    let started_alone = start.elapsed();
    let known = rig.poller()?.status(&secret)?;
    rig.start_admin()?;
    api.call("PATCH", &format!("/pats/{id}/secret/revoke"), None)?;
    let caught_up = until(&rig, &secret, 401)?;
    let (snapshots, deltas) = (feed_counter(&rig, "snapshots")?, feed_counter(&rig, "deltas")?);

    let intact = report.failed == 0 && report.lost == 0 && report.duplicated == 0 && report.reordered == 0;
    let held = intact && known == 200 && snapshots == 0 && deltas > 0;
    Ok((
        json!({
            "served_while_admin_was_away": served, "streams_failed": report.failed, "events": report.events,
            "events_lost": report.lost, "new_pat_in_force_after_admin_is_back_ms": millis(back_in_force),
            "started_without_admin_ms": millis(started_alone), "pat_known_without_admin": known == 200,
            "revocation_in_force_after_admin_is_back_ms": millis(caught_up),
            "snapshots_since_that_start": snapshots, "deltas_since_that_start": deltas,
        }),
        held,
    ))
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Waits until the proxy says so of a PAT; how long that took.
fn until(rig: &Rig, pat: &str, status: u16) -> Result<Duration> {
    let start = Instant::now();
    let mut poller = rig.poller()?;
    while poller.status(pat)? != status {
        if start.elapsed() > PATIENCE {
            bail!("a PAT does not become {status}");
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(start.elapsed())
}

/// What the proxy has adopted from the feed since it started.
fn feed_counter(rig: &Rig, what: &str) -> Result<u64> {
    let ops = rig.addresses.ops;
    let metrics = crate::fetch::get(ops, &ops.to_string(), "/metrics", "")?;
    let text = String::from_utf8(metrics.body)?;
    let name = format!("cube_proxy_feed_{what}_total{{outcome=\"adopted\"}} ");
    let line =
        text.lines().find_map(|line| line.strip_prefix(&name)).with_context(|| format!("no {name}"))?;
    Ok(line.trim().parse()?)
}
