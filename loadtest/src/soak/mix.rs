//! The callers: seven kinds at once, each with its own names for its requests.

use super::Options;
use super::ledger::Expected;
use super::setup::{ALIAS, MODEL, Setup};
use crate::load::{self, Load, Mode, Outcome, Report};
use anyhow::Result;

/// Events of a paced stream, 30 ms apart: it takes 1.5 s.
const EVENTS: u32 = 50;
const PACE_US: u64 = 30_000;
const FLAT_OUT_EVENTS: u32 = 400;

const FLAT_OUT: &str = "flat-out";
const JSON: &str = "json";
const NEW_CONNECTIONS: &str = "new-connections";

/// Starts them. Names are prefixes of request names.
pub(super) fn start(setup: &Setup, options: &Options) -> Result<Vec<(&'static str, Load)>> {
    let of_streams = |share: f64| ((options.streams as f64 * share).round() as usize).max(1);
    let mut callers: Vec<(&'static str, load::Options)> = Vec::new();
    let mut add = |name: &'static str, change: &dyn Fn(&mut load::Options)| {
        let mut caller = load::Options::against(&format!("http://{}/proxy/{ALIAS}", setup.address));
        caller.pat = Some(setup.people.pat.secret.clone());
        caller.model = MODEL.to_owned();
        caller.request_ids = Some(name.to_owned());
        caller.duration_s = options.seconds;
        caller.seed = options.seed.wrapping_add(callers.len() as u64);
        caller.events = EVENTS;
        caller.pace_us = PACE_US;
        caller.ramp_s = 1.0;
        caller.timeout_s = 30.0;
        caller.grace_s = 30.0;
        change(&mut caller);
        callers.push((name, caller));
    };
    add("usage", &|caller| {
        caller.concurrency = of_streams(0.35);
        caller.include_usage = true;
    });
    // The proxy asks for usage by itself, and keeps the event from the caller.
    add("plain", &|caller| caller.concurrency = of_streams(0.2));
    add("ndjson", &|caller| {
        caller.concurrency = of_streams(0.05);
        caller.path = "/api/chat".to_owned();
    });
    add("hazards", &|caller| {
        caller.concurrency = of_streams(0.4);
        caller.include_usage = true;
        caller.leave_share = 0.3;
        caller.cut_share = 0.25;
        caller.leave_unanswered_share = 0.15;
    });
    add(FLAT_OUT, &|caller| {
        caller.concurrency = 4;
        caller.rate = 10.0;
        caller.events = FLAT_OUT_EVENTS;
        caller.pace_us = 0;
    });
    add(JSON, &|caller| {
        caller.mode = Mode::Json;
        caller.concurrency = 8;
        caller.rate = 100.0;
        caller.body_bytes = Some(4_000);
        // Larger than a socket buffer of the path's first read, so that uploads come in pieces.
        caller.prompt_bytes = 40_000;
    });
    add(NEW_CONNECTIONS, &|caller| {
        caller.mode = Mode::NewConnection;
        caller.concurrency = 8;
        caller.rate = 50.0;
    });
    callers.into_iter().map(|(name, caller)| Ok((name, Load::start(caller)?))).collect()
}

/// What the access log has to say of each request of the callers of this name.
pub(super) fn expected(name: &str, report: &Report) -> Vec<Expected> {
    // The mock says one token per event.
    let completion_tokens = match name {
        JSON | NEW_CONNECTIONS => None,
        FLAT_OUT => Some(u64::from(FLAT_OUT_EVENTS)),
        _ => Some(u64::from(EVENTS)),
    };
    let expected = report.outcomes.iter().map(|outcome| match outcome {
        Outcome::Completed => Expected::Complete { completion_tokens },
        Outcome::Left => Expected::Left,
        Outcome::LeftUnanswered => Expected::LeftUnanswered,
        Outcome::CutAsAsked => Expected::Cut,
        Outcome::Failed | Outcome::Unfinished => Expected::Any,
    });
    expected.collect()
}
