//! From a revocation to the first request that is refused, on every connection.

use super::rig::{PATIENCE, Poller, Rig};
use super::{Options, start_load, times};
use crate::histogram::Histogram;
use crate::world::{Api, new_pat};
use anyhow::{Result, bail};
use serde_json::{Value, json};
use std::sync::Barrier;
use std::time::{Duration, Instant};

/// Between two questions of one connection, so that polling is no load of its own.
const POLL: Duration = Duration::from_micros(500);

/// Revokes PATs and measures; all must be refused everywhere, and stay so.
pub(super) fn run(
    options: &Options,
    rounds: usize,
    connections: usize,
    streams: usize,
    within_ms: Option<u64>,
) -> Result<(Value, bool)> {
    let rig = Rig::start(options)?;
    let api = rig.api()?;
    let load = start_load(&rig, streams)?;
    let mut pollers = (0..connections).map(|_| rig.poller()).collect::<Result<Vec<_>>>()?;
    let (mut since_commit, mut since_asked) = (Histogram::default(), Histogram::default());
    let (mut waited, mut pending) = (Histogram::default(), 0_u64);
    for round in 0..rounds {
        let (id, secret) = new_pat(&api, &format!("propagation {round}"), "1h", &rig.all_scopes())?;
        await_everywhere(&mut pollers, &secret, 200)?;
        // Every fourth revocation waits for the fleet: then no connection may take the PAT after the answer.
        let wait = round % 4 == 3;
        let measured = revoke_and_poll(&api, &mut pollers, &id, &secret, wait)?;
        if wait {
            waited.record(nanos(measured.answered));
            pending += u64::from(measured.pending);
            if !measured.pending && measured.last_taken > measured.answered {
                bail!("a PAT was taken after the fleet was said to refuse it");
            }
        } else {
            since_commit.record(nanos(measured.last_refused.saturating_sub(measured.answered)));
            since_asked.record(nanos(measured.last_refused));
        }
        api.call("DELETE", &format!("/pats/{id}"), None)?;
    }
    let report = load.stop()?;
    let intact = report.lost == 0 && report.duplicated == 0 && report.reordered == 0 && report.failed == 0;
    let counts = rig_counts(&rig)?;
    let in_time = within_ms.is_none_or(|ms| since_commit.quantile_ns(0.99) <= ms * 1_000_000);
    let held = intact && pending == 0 && in_time;
    Ok((
        json!({
            "pats": counts, "connections": connections, "streams": streams,
            "revoked_until_refused_everywhere_ms": times(&since_asked),
            "answered_until_refused_everywhere_ms": times(&since_commit),
            "revoked_until_answered_with_wait_ms": times(&waited),
            "waits_with_pending_nodes": pending,
            "events_beside_it": report.events, "streams_failed": report.failed, "events_lost": report.lost,
        }),
        held,
    ))
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn rig_counts(rig: &Rig) -> Result<Value> {
    let ops = rig.addresses.ops;
    let tables = crate::fetch::get(ops, &ops.to_string(), "/tables", "")?.json()?;
    Ok(tables["counts"]["pats"].clone())
}

fn await_everywhere(pollers: &mut [Poller], pat: &str, status: u16) -> Result<()> {
    let start = Instant::now();
    for poller in pollers {
        while poller.status(pat)? != status {
            if start.elapsed() > PATIENCE {
                bail!("a PAT is not {status} everywhere");
            }
            std::thread::sleep(POLL);
        }
    }
    Ok(())
}

/// All times since just before the revocation was sent.
struct Measured {
    answered: Duration,
    /// When the last connection was refused first.
    last_refused: Duration,
    /// When the last request was sent that was not refused.
    last_taken: Duration,
    /// Whether admin named nodes that had not adopted it yet.
    pending: bool,
}

fn revoke_and_poll(api: &Api, pollers: &mut [Poller], id: &str, pat: &str, wait: bool) -> Result<Measured> {
    let ready = &Barrier::new(pollers.len() + 1);
    std::thread::scope(|scope| {
        let polling: Vec<_> = pollers
            .iter_mut()
            .map(|poller| {
                scope.spawn(move || {
                    ready.wait();
                    let start = Instant::now();
                    let mut taken = start;
                    loop {
                        let sent = Instant::now();
                        match poller.status(pat)? {
                            401 => break,
                            200 if start.elapsed() < PATIENCE => taken = sent,
                            status => bail!("{status} while a PAT was being revoked"),
                        }
                        std::thread::sleep(POLL);
                    }
                    let refused = Instant::now();
                    // Refused once is refused for good.
                    for _ in 0..3 {
                        if poller.status(pat)? != 401 {
                            bail!("a revoked PAT was taken again");
                        }
                    }
                    Ok((taken, refused))
                })
            })
            .collect();
        ready.wait();
        let start = Instant::now();
        let pending = revoke(api, id, wait)?;
        let answered = start.elapsed();
        let (mut last_refused, mut last_taken) = (Duration::ZERO, Duration::ZERO);
        for poller in polling {
            let (taken, refused) = poller.join().map_err(|_| anyhow::anyhow!("a poller panicked"))??;
            last_refused = last_refused.max(refused.saturating_duration_since(start));
            last_taken = last_taken.max(taken.saturating_duration_since(start));
        }
        Ok(Measured { answered, last_refused, last_taken, pending })
    })
}

/// Revokes; whether nodes were named that had not adopted it.
fn revoke(api: &Api, id: &str, wait: bool) -> Result<bool> {
    let prefer = if wait { "prefer: wait=5\r\n" } else { "" };
    let answer = api.call_with("PATCH", &format!("/pats/{id}/secret/revoke"), prefer, None)?;
    if answer.status != 204 && answer.status != 200 {
        bail!("revoking: status {}", answer.status);
    }
    if wait && answer.field("preference-applied").is_none() {
        bail!("admin did not wait");
    }
    Ok(answer.field("x-cube-pending-nodes").is_some())
}
