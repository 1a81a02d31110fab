//! Changes, with admin and proxy killed in the middle of them.
//!
//! What is held at the end, and after each restart:
//! * a change that was acknowledged is in force, in admin and on the proxy; one that was not is so in both or in neither;
//! * two changes of one transaction are never seen apart;
//! * every answered request is in admin's sums once. Only a kill of the proxy may lose some: those whose record was still on a core, and
//!   so not older than [`LOSS_WINDOW`].

#![allow(clippy::disallowed_types, reason = "the ban on locks is the proxy's")]

use super::Options;
use super::rig::{PATIENCE, Rig};
use crate::random::Random;
use crate::world::{Api, new_pat};
use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A record that is older than this when the proxy is killed is not lost. (It leaves its core once a tick of 100 ms, and then goes to the
/// disk.)
const LOSS_WINDOW: Duration = Duration::from_millis(400);
/// Two users' pairs of PATs are made and cleared this often.
const PAIR_EVERY: usize = 10;

/// What a PAT must be worth.
struct Expected {
    secret: String,
    good: bool,
}

/// What happened so far.
#[derive(Default)]
struct Tally {
    acknowledged: u64,
    unknown: u64,
    admin_kills: u64,
    proxy_kills: u64,
    pairs: u64,
}

pub(super) fn run(
    options: &Options,
    mutations: usize,
    kill_every: usize,
    seed: Option<u64>,
) -> Result<(Value, bool)> {
    let seed = seed.unwrap_or_else(|| u64::from(std::process::id()) | 1 << 40);
    eprintln!("seed {seed}");
    let mut rig = Rig::start(options)?;
    let mut random = Random::new(seed);
    let api = rig.api()?;
    let pair_owner = pair_owner(&rig, &api)?;
    let traffic = Traffic::start(rig.addresses.data, rig.cast.pat.clone());
    let before = counted(&rig, &api)?;
    let mut pats: BTreeMap<String, Expected> = BTreeMap::new();
    let mut tally = Tally::default();
    for number in 0..mutations {
        let killing = random.below(kill_every) == 0;
        if number % PAIR_EVERY == PAIR_EVERY - 1 {
            clear_a_pair(&rig, &pair_owner, number, &mut tally)?;
        }
        if killing && random.below(2) == 0 {
            change_and_kill_admin(&mut rig, &api, number, &mut random, &mut pats, &mut tally)?;
        } else {
            change(&rig, &api, number, &mut random, &mut pats, &mut tally)?;
            if killing {
                tally.proxy_kills += 1;
                traffic.proxy_dies();
                rig.kill_proxy();
                rig.start_proxy()?;
            }
        }
    }
    let traffic = traffic.stop();
    let wrong = wrong_pats(&rig, &pats)?;
    let usage = await_usage(&rig, &api, before, &traffic)?;
    let held = wrong.is_empty() && usage.held();
    Ok((
        json!({
            "seed": seed, "mutations": mutations, "acknowledged": tally.acknowledged, "unknown_when_killed": tally.unknown,
            "admin_kills": tally.admin_kills, "proxy_kills": tally.proxy_kills, "pairs_cleared": tally.pairs,
            "pats_checked": pats.len(), "pats_wrong": wrong,
            "requests_answered": traffic.answered, "requests_broken_off": traffic.broken,
            "answered_just_before_a_kill_of_the_proxy": traffic.at_risk, "requests_counted_by_admin": usage.counted,
        }),
        held,
    ))
}

/// A user whose PATs are all cleared now and then.
fn pair_owner(rig: &Rig, api: &Api) -> Result<Api> {
    let password = crate::tables::random_text()?;
    let name = format!("pair-{}", std::process::id());
    let user = json!({ "credentials": { "username": name, "secret": password }, "role": "admin" });
    api.call("POST", "/users", Some(&user))?;
    rig.api_of(&name, &password)
}

/// One change that is acknowledged.
fn change(
    rig: &Rig,
    api: &Api,
    number: usize,
    random: &mut Random,
    pats: &mut BTreeMap<String, Expected>,
    tally: &mut Tally,
) -> Result<()> {
    let victim = pick(random, pats);
    match (random.below(4), victim) {
        (0, Some(id)) => {
            api.call("PATCH", &format!("/pats/{id}/secret/revoke"), None)?;
            pats.get_mut(&id).context("picked from it")?.good = false;
        }
        (1, Some(id)) => {
            let path = format!("/pats/{id}/secret/reset");
            let reset = api.call("PATCH", &path, Some(&json!({ "duration": "1h" })))?;
            let secret = reset["secret"].as_str().context("a new secret")?.to_owned();
            pats.insert(id, Expected { secret, good: true });
        }
        _ => {
            let (id, secret) = new_pat(api, &format!("crash {number}"), "1h", &rig.all_scopes())?;
            pats.insert(id, Expected { secret, good: true });
        }
    }
    tally.acknowledged += 1;
    Ok(())
}

fn pick(random: &mut Random, pats: &BTreeMap<String, Expected>) -> Option<String> {
    let good: Vec<_> = pats.iter().filter(|(_, pat)| pat.good).map(|(id, _)| id).collect();
    (!good.is_empty()).then(|| good[random.below(good.len())].clone())
}

/// A revocation during which admin is killed: afterwards it is done or it is not, and if it was acknowledged it is.
fn change_and_kill_admin(
    rig: &mut Rig,
    api: &Api,
    number: usize,
    random: &mut Random,
    pats: &mut BTreeMap<String, Expected>,
    tally: &mut Tally,
) -> Result<()> {
    let Some(id) = pick(random, pats) else { return change(rig, api, number, random, pats, tally) };
    let path = format!("/pats/{id}/secret/revoke");
    let delay = Duration::from_micros(u64::try_from(random.below(6_000)).unwrap_or(0));
    let acknowledged = std::thread::scope(|scope| {
        let call = scope.spawn(|| api.try_call("PATCH", &path, None).is_ok_and(|(status, _)| status == 204));
        std::thread::sleep(delay);
        rig.kill_admin();
        call.join().unwrap_or(false)
    });
    tally.admin_kills += 1;
    rig.start_admin()?;
    let now = api.call("GET", &format!("/pats/{id}"), None)?;
    let revoked = now["status"] == "revoked";
    if acknowledged {
        tally.acknowledged += 1;
        if !revoked {
            bail!("a revocation that was acknowledged is lost");
        }
    } else {
        tally.unknown += 1;
    }
    pats.get_mut(&id).context("picked from it")?.good = !revoked;
    Ok(())
}

/// Two PATs that go in one transaction: nobody sees one of them gone and the other good afterwards.
fn clear_a_pair(rig: &Rig, owner: &Api, number: usize, tally: &mut Tally) -> Result<()> {
    let pair = ["one", "other"]
        .map(|which| new_pat(owner, &format!("{which} {number}"), "1h", &rig.all_scopes()).map(|pat| pat.1));
    let [one, other] = pair;
    let (one, other) = (one?, other?);
    let mut poller = rig.poller()?;
    let start = Instant::now();
    while poller.status(&one)? != 200 || poller.status(&other)? != 200 {
        if start.elapsed() > PATIENCE {
            bail!("a new pair of PATs does not become good");
        }
    }
    std::thread::scope(|scope| {
        let clearing = scope.spawn(|| owner.call("DELETE", "/pats", None));
        let start = Instant::now();
        for (first, second) in [(&one, &other), (&other, &one)].into_iter().cycle() {
            if poller.status(first)? == 401 {
                // Asked later, on the same core: it must be gone as well.
                if poller.status(second)? != 401 {
                    bail!("half of a transaction is in force");
                }
                break;
            }
            if start.elapsed() > PATIENCE {
                bail!("a cleared pair of PATs stays good");
            }
        }
        clearing.join().map_err(|_| anyhow::anyhow!("clearing panicked"))??;
        tally.pairs += 1;
        Ok(())
    })
}

/// PATs that are not worth what they must be, on any of some connections.
fn wrong_pats(rig: &Rig, pats: &BTreeMap<String, Expected>) -> Result<Vec<String>> {
    let mut pollers = (0..6).map(|_| rig.poller()).collect::<Result<Vec<_>>>()?;
    let mut wrong = Vec::new();
    for (id, pat) in pats {
        let status = if pat.good { 200 } else { 401 };
        for poller in &mut pollers {
            let start = Instant::now();
            while poller.status(&pat.secret)? != status {
                if start.elapsed() > PATIENCE {
                    wrong.push(id.clone());
                    break;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
    Ok(wrong)
}

/// Requests that go on while everything else happens.
struct Traffic {
    stop: Arc<AtomicBool>,
    shared: Arc<Mutex<Answered>>,
    thread: std::thread::JoinHandle<()>,
}

#[derive(Clone, Default)]
struct Answered {
    answered: u64,
    /// Sent, and no whole answer: whether they are counted nobody can know.
    broken: u64,
    /// Answered within the window before a kill of the proxy.
    at_risk: u64,
    /// When the last ones were answered.
    recent: Vec<Instant>,
}

impl Traffic {
    fn start(data: SocketAddr, pat: String) -> Self {
        let (stop, shared) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Answered::default())));
        let (stopped, answered) = (Arc::clone(&stop), Arc::clone(&shared));
        let thread = std::thread::spawn(move || {
            let mut poller = None;
            while !stopped.load(Ordering::Relaxed) {
                let Some(open) = poller.as_mut() else {
                    poller = super::rig::Poller::open(data).ok();
                    std::thread::sleep(Duration::from_millis(1));
                    continue;
                };
                let status = open.chat(&pat);
                let mut answered = answered.lock().unwrap_or_else(PoisonError::into_inner);
                if status.is_ok() {
                    answered.answered += 1;
                    let now = Instant::now();
                    answered.recent.retain(|at| now.duration_since(*at) < LOSS_WINDOW);
                    answered.recent.push(now);
                } else {
                    answered.broken += 1;
                    poller = None;
                }
                drop(answered);
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        Self { stop, shared, thread }
    }

    /// The proxy is about to be killed.
    fn proxy_dies(&self) {
        let mut answered = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        answered.recent.retain(|at| now.duration_since(*at) < LOSS_WINDOW);
        // One more may be answered between now and the kill.
        answered.at_risk += answered.recent.len() as u64 + 1;
        answered.recent.clear();
    }

    fn stop(self) -> Answered {
        self.stop.store(true, Ordering::Relaxed);
        // It cannot panic but by a bug, which the counts would show.
        let _ = self.thread.join();
        self.shared.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// How many requests admin has counted, beside how many there may be.
struct Usage {
    counted: u64,
    least: u64,
    most: u64,
}

impl Usage {
    const fn held(&self) -> bool {
        self.least <= self.counted && self.counted <= self.most
    }
}

/// Chats of the PAT that the traffic uses, as admin has added them up.
fn counted(rig: &Rig, api: &Api) -> Result<u64> {
    let ids = cube_wire::pat::parse(rig.cast.pat.as_bytes()).map_err(|_| anyhow::anyhow!("a PAT of ours"))?;
    let report = api.call("GET", &format!("/api/v1/usage?group_by=model&pat={}", ids.pat), None)?;
    let rows = report["usage"].as_array().context("a report")?;
    // The polls at start name no model.
    Ok(rows.iter().filter(|row| row["group"].is_string()).filter_map(|row| row["requests"].as_u64()).sum())
}

/// Waits until what must have arrived has, and nothing more comes.
fn await_usage(rig: &Rig, api: &Api, before: u64, traffic: &Answered) -> Result<Usage> {
    let start = Instant::now();
    let (mut last, mut unchanged_since) = (0, start);
    loop {
        let counted = counted(rig, api)? - before;
        if counted != last {
            (last, unchanged_since) = (counted, Instant::now());
        }
        let least = traffic.answered.saturating_sub(traffic.at_risk);
        let usage = Usage { counted, least, most: traffic.answered + traffic.broken };
        // What is left in the spool is sent after a wait that doubles up to a few seconds.
        if unchanged_since.elapsed() > Duration::from_secs(12) || start.elapsed() > 8 * PATIENCE {
            return Ok(usage);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}
