//! One turn of the operator: rotates the access log, writes other tables, sends SIGHUP, waits until every core decides with
//! them, and asks a core whether it really does.

use super::ledger::{self, Expected, Ledger};
use super::setup::{ALIAS, GUEST_MODEL, MODEL, Setup};
use crate::fetch;
use anyhow::{Context as _, Result};
use rustix::process::Signal;
use std::time::{Duration, Instant};

/// Prefix of the probes' request names.
pub(super) const PROBES: &str = "probe";
/// Longest wait for every core to adopt.
const ADOPTION_PATIENCE: Duration = Duration::from_secs(5);

/// What came of all turns.
#[derive(Clone, Debug, Default)]
pub(super) struct Reloads {
    /// Turns, so SIGHUPs.
    pub(super) sent: u64,
    /// From the signal until every core had adopted, for each turn in which they did.
    pub(super) adoption_ms: Vec<f64>,
    /// Probes that were not answered as the tables of that moment say.
    pub(super) wrong: Vec<String>,
    /// What the access log has to say of the probes.
    pub(super) probes: Vec<Expected>,
    generation: u64,
}

impl Reloads {
    pub(super) fn turn(&mut self, setup: &mut Setup, ledger: &mut Ledger) -> Result<()> {
        if self.generation == 0 {
            self.generation = adopted(setup)?.context("ready, and not every core has tables")?;
        }
        // What was rotated away in the last turn is complete by now: its file was left at that turn's signal.
        ledger.read_rotated(&setup.directory)?;
        let log = setup.directory.join(ledger::LOG);
        if log.exists() {
            std::fs::rename(&log, setup.directory.join(ledger::ROTATED)).context("cannot rotate the log")?;
        }
        let guests = self.sent % 2 == 1;
        setup.write_tables(guests)?;
        self.sent += 1;
        let signalled = Instant::now();
        setup.proxy.signal(Signal::HUP);
        while signalled.elapsed() < ADOPTION_PATIENCE {
            if adopted(setup)?.is_some_and(|generation| generation > self.generation) {
                self.generation += 1;
                self.adoption_ms.push(signalled.elapsed().as_secs_f64() * 1e3);
                self.probe(setup, guests);
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// The PAT and the model that come and go: they are there, or they are not, and at once.
    fn probe(&mut self, setup: &Setup, guests: bool) {
        let host = setup.address.to_string();
        let mut probe = |what: &str, wanted: u16, ask: &dyn Fn(&str) -> Result<fetch::Answer>| {
            let number = self.probes.len();
            self.probes.push(if wanted == 200 { Expected::Answered } else { Expected::Refused });
            match ask(&format!("x-request-id: {PROBES}-{number}\r\n")) {
                Ok(answer) if answer.status == wanted => {}
                Ok(answer) => self.wrong.push(format!("{what}: {} instead of {wanted}", answer.status)),
                Err(error) => self.wrong.push(format!("{what}: {error:#}")),
            }
        };
        probe("guest PAT", if guests { 200 } else { 401 }, &|id| {
            let path = format!("/proxy/{ALIAS}/v1/embeddings");
            let fields = format!("{id}authorization: Bearer {}\r\n", setup.people.wrong_scope.secret);
            let body = format!("{{\"model\":\"{MODEL}\",\"input\":\"x\"}}");
            fetch::post(setup.address, &host, &path, &fields, &body)
        });
        probe("guest model", if guests { 200 } else { 404 }, &|id| {
            let path = format!("/proxy/{ALIAS}/v1/models/{GUEST_MODEL}");
            let fields = format!("{id}authorization: Bearer {}\r\n", setup.people.pat.secret);
            fetch::get(setup.address, &host, &path, &fields)
        });
    }
}

/// The generation that every core decides with, if it is the published one.
fn adopted(setup: &Setup) -> Result<Option<u64>> {
    let tables = setup.ask("/tables")?.json()?;
    let published = tables["generation"].as_u64().context("/tables says no generation")?;
    let cores = tables["cores"].as_array().context("/tables lists no cores")?;
    let all = cores.iter().all(|core| core["generation"].as_u64() == Some(published));
    Ok(all.then_some(published))
}
