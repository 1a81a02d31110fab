//! Runs the exchanges: begins them when they are due, feeds them what arrives, counts how they end.

use super::check::Expected;
use super::connection::{Connection, Plan, Progress};
use super::requests::Requests;
use super::tally::{Outcome, Report, Tally};
use super::wire::{Trust, Wire};
use super::{Live, Mode, Options};
use crate::clock::now_ns;
use crate::fetch::Origin;
use crate::poller::{Interest, Poller, Ready};
use anyhow::{Context as _, Result};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with, sockopt};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

const READ_BYTES: usize = 256 * 1024;
const BATCH: usize = 256;
/// How often time-outs, the end and other threads' wishes are looked at.
const LOOK_NS: u64 = 10_000_000;
/// How long a caller that leaves before the answer waits: long enough for the request to have reached the mock.
const UNANSWERED_NS: u64 = 50_000_000;

pub(super) struct Engine {
    address: SocketAddr,
    /// With TLS.
    trust: Option<Trust>,
    mode: Mode,
    expected: Expected,
    requests: Requests,
    /// Each request's outcome is remembered.
    named: bool,
    requests_left: u64,
    timeout_ns: u64,
    grace_ns: u64,
    duration_ns: u64,
    /// Time between two begins of one slot; 0: at once.
    every_ns: u64,
    start: u64,
    stopping: bool,
    poller: Poller,
    slots: Vec<Connection>,
    /// Slots that begin later.
    due: BinaryHeap<Reverse<(u64, usize)>>,
    busy: u64,
    tally: Tally,
    live: Arc<Live>,
    scratch: Vec<u8>,
}

impl Engine {
    pub(super) fn new(
        options: &Options,
        origin: &Origin,
        address: SocketAddr,
        live: Arc<Live>,
    ) -> Result<Self> {
        let streams = options.mode == Mode::Stream;
        let ndjson = options.path.starts_with("/api/");
        // No event is expected of an answer that is no stream, and it is not looked into.
        let events = if streams { options.events } else { 0 };
        let expected = Expected {
            events: (!streams || !options.unnumbered).then_some(events),
            usage: options.include_usage,
            ndjson,
        };
        let start = now_ns();
        let slots = options.concurrency.max(1);
        let every = if options.rate > 0.0 { slots as f64 / options.rate * 1e9 } else { 0.0 };
        let spread = if options.ramp_s > 0.0 { options.ramp_s * 1e9 } else { every };
        let due =
            (0..slots).map(|slot| Reverse((start + (spread * slot as f64 / slots as f64) as u64, slot)));
        let trust = if origin.is_tls {
            let ca = options.ca.as_deref().context("an https origin needs --ca")?;
            Some(Trust::new(ca, origin.host(), options.full_handshakes)?)
        } else {
            None
        };
        Ok(Self {
            address,
            trust,
            mode: options.mode,
            expected,
            requests: Requests::new(options, origin),
            named: options.request_ids.is_some(),
            requests_left: if options.requests == 0 { u64::MAX } else { options.requests },
            timeout_ns: (options.timeout_s * 1e9) as u64,
            grace_ns: (options.grace_s * 1e9) as u64,
            duration_ns: (options.duration_s * 1e9) as u64,
            every_ns: every as u64,
            start,
            stopping: false,
            poller: Poller::new(BATCH)?,
            due: due.collect(),
            slots: (0..slots).map(|_| Connection::new()).collect(),
            busy: 0,
            tally: Tally::default(),
            live,
            scratch: vec![0; READ_BYTES],
        })
    }

    pub(super) fn run(mut self) -> Result<Report> {
        let mut ready: Vec<Ready> = Vec::with_capacity(BATCH);
        let mut look = self.start;
        let mut stopped_at = None;
        loop {
            let now = now_ns();
            if now >= look {
                look = now + LOOK_NS;
                self.look(now);
            }
            if self.stopping {
                let since = *stopped_at.get_or_insert(now);
                if self.busy == 0 || now > since + self.grace_ns {
                    break;
                }
            }
            while let Some(Reverse((due, slot))) = self.due.peek().copied() {
                if due > now || self.stopping {
                    break;
                }
                self.due.pop();
                self.begin(slot, now);
            }
            let next =
                self.due.peek().map_or(look, |Reverse((due, _))| if self.stopping { look } else { *due });
            ready.clear();
            ready.extend(self.poller.wait(Some(next.min(look).saturating_sub(now_ns())))?);
            for ready in &ready {
                self.ready(*ready);
            }
            self.live.completed.store(self.tally.completed, Relaxed);
            self.live.events.store(self.tally.events, Relaxed);
        }
        self.tally.unfinished = self.busy;
        let ended = stopped_at.unwrap_or_else(now_ns);
        Ok(self.tally.report((ended - self.start).max(1) as f64 / 1e9))
    }

    /// Looks at what is not urgent.
    fn look(&mut self, now: u64) {
        if self.live.stop.load(Relaxed)
            || now > self.start + self.duration_ns
            || (self.requests_left == 0 && self.busy == 0)
        {
            self.stopping = true;
        }
        if self.live.clear_times.swap(false, Relaxed) {
            self.tally.clear_times();
        }
        let running = self.slots.iter().filter(|slot| slot.answering).count();
        self.live.running.store(running as u64, Relaxed);
        for slot in 0..self.slots.len() {
            let connection = &self.slots[slot];
            if connection.busy() && now > connection.begun + self.timeout_ns {
                self.finish(slot, Progress::Failed("timeout"), now);
            } else if connection.plan == Plan::LeaveUnanswered
                && connection.waiting()
                && now > connection.begun + UNANSWERED_NS
            {
                self.finish(slot, Progress::Left, now);
            }
        }
    }

    /// Begins the next exchange of `slot`.
    fn begin(&mut self, slot: usize, now: u64) {
        if self.requests_left == 0 || self.stopping {
            return;
        }
        self.requests_left -= 1;
        let number = self.tally.started;
        let (plan, request) = self.requests.next(number);
        if self.slots[slot].wire.is_none()
            && let Err(errno) = self.connect(slot)
        {
            self.tally.started += 1;
            self.tally.error(&format!("connect: {errno}"));
            self.outcome(number, Outcome::Failed);
            // Not at once: a server that refuses would be asked without end.
            self.due.push(Reverse((now + LOOK_NS, slot)));
            return;
        }
        self.tally.started += 1;
        self.outcome(number, Outcome::Unfinished);
        self.busy += 1;
        let connection = &mut self.slots[slot];
        connection.begin(number, request, plan, now);
        connection.send(now);
        self.watch(slot);
    }

    /// Remembers how a named request ended. It is first remembered, as unfinished, when it begins: in the order of numbers.
    fn outcome(&mut self, number: u64, outcome: Outcome) {
        if !self.named {
            return;
        }
        match usize::try_from(number).ok().and_then(|number| self.tally.outcomes.get_mut(number)) {
            Some(known) => *known = outcome,
            None => self.tally.outcomes.push(outcome),
        }
    }

    fn connect(&mut self, slot: usize) -> Result<(), Errno> {
        let family = if self.address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = socket_with(family, SocketType::STREAM, flags, None)?;
        sockopt::set_tcp_nodelay(&socket, true)?;
        match connect(&socket, &self.address) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(errno) => return Err(errno),
        }
        // A peer that refuses shows as a broken socket.
        self.poller.add(&socket, slot as u64, Interest::ReadWrite).map_err(|_| Errno::NOMEM)?;
        self.slots[slot].interest = Interest::ReadWrite;
        self.slots[slot].wire = Some(match &self.trust {
            Some(trust) => trust.wrap(socket)?,
            None => Wire::Plain(socket),
        });
        self.tally.connections += 1;
        Ok(())
    }

    fn watch(&mut self, slot: usize) {
        let connection = &mut self.slots[slot];
        let interest = connection.wanted();
        if let Some(wire) = &connection.wire
            && interest != connection.interest
        {
            connection.interest = interest;
            // It was added when it was opened; if this fails the exchange times out and says so.
            let _ = self.poller.modify(wire, slot as u64, interest);
        }
    }

    fn ready(&mut self, ready: Ready) {
        let slot = usize::try_from(ready.key).expect("a slot number");
        let now = now_ns();
        let connection = &mut self.slots[slot];
        let Some(wire) = &mut connection.wire else { return };
        if ready.writable {
            wire.flush();
            connection.send(now);
            self.watch(slot);
        }
        if !ready.readable {
            return;
        }
        let connection = &mut self.slots[slot];
        let Some(wire) = &mut connection.wire else { return };
        let received = wire.receive(&mut self.scratch[..]);
        if let Some(kind) = wire.handshake() {
            self.tally.handshake(kind);
            // The request has waited for it.
            connection.send(now);
        }
        let progress = match received {
            Ok(0) => self.lost(slot, false, now),
            Ok(bytes) => {
                self.tally.reads += 1;
                connection.receive(self.expected, &self.scratch[..bytes], now, &mut self.tally)
            }
            Err(Errno::AGAIN | Errno::INTR) => Progress::Going,
            Err(Errno::CONNREFUSED) => Progress::Failed("connect: refused"),
            Err(Errno::PROTO) => Progress::Failed("tls"),
            Err(_) => self.lost(slot, true, now),
        };
        self.watch(slot);
        self.finish(slot, progress, now);
    }

    /// The peer has ended the connection. An idle one is simply opened anew next time.
    fn lost(&mut self, slot: usize, reset: bool, now: u64) -> Progress {
        let connection = &mut self.slots[slot];
        let progress = connection.ended(self.expected, reset, now, &mut self.tally);
        connection.wire = None;
        progress
    }

    fn finish(&mut self, slot: usize, progress: Progress, now: u64) {
        let mut keep = false;
        let outcome = match progress {
            Progress::Going => return,
            Progress::Complete { .. } => Outcome::Completed,
            Progress::Left if self.slots[slot].plan == Plan::LeaveUnanswered => Outcome::LeftUnanswered,
            Progress::Left => Outcome::Left,
            Progress::CutAsAsked => Outcome::CutAsAsked,
            Progress::Failed(_) | Progress::Status(_) => Outcome::Failed,
        };
        if self.slots[slot].busy() {
            self.outcome(self.slots[slot].number, outcome);
        }
        match progress {
            Progress::Going => return,
            Progress::Complete { reusable } => {
                self.tally.completed += 1;
                keep = reusable && self.mode != Mode::NewConnection;
            }
            Progress::Left => self.tally.left += 1,
            Progress::CutAsAsked => self.tally.cut_as_asked += 1,
            Progress::Failed(kind) => self.tally.error(kind),
            Progress::Status(status) => self.tally.error(&format!("status {status}")),
        }
        let connection = &mut self.slots[slot];
        if connection.busy() {
            self.busy -= 1;
        }
        connection.end();
        if !keep {
            connection.wire = None;
        }
        let failed = matches!(progress, Progress::Failed(_) | Progress::Status(_));
        if self.every_ns > 0 {
            let next = (connection.begun + self.every_ns).max(now);
            self.due.push(Reverse((next, slot)));
        } else if failed {
            self.due.push(Reverse((now + LOOK_NS, slot)));
        } else {
            self.begin(slot, now);
        }
    }
}
