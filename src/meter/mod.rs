//! Meter: what one core counts. The exporter asks each core for a copy and adds them up.
//!
//! Cores share nothing, so these are `Cell`s, not atomics. Everything that is counted has a [`Family`] in [`family`], which
//! is the one list of metric names; a new counter is a field here, a family there, and a line in [`Meter::report`].
//!
//! # Cost
//! Per relayed chunk two additions in one cache line. Per request some ten additions, two of them behind one map look-up. A
//! report copies everything, some microseconds; it is made when somebody scrapes.

mod cells;
pub mod family;
mod label;
mod report;
mod series;

use std::cell::{Cell, RefCell};

pub use cells::{Counter, Gauge, Histogram, HistogramReport, Tally};
pub use family::{Family, Kind, Unit};
pub(crate) use label::closed_label;
pub use label::{
    AttemptOutcome, CallOutcome, CancelPhase, DecisionSource, HandshakeOutcome, Label, RetryReason,
    ShedReason, StatusClass, TlsVersion,
};
pub use report::{CoreReport, LabelValue, Labels, Sample, Value};

use crate::record::{Ending, RequestRecord};
use series::SeriesSet;

/// One core's figures, grouped by how often they are touched.
#[derive(Debug)]
#[repr(C, align(64))] // The first group is one cache line, and no other core's figures are in it.
pub struct Meter {
    // Touched for every relayed chunk.
    /// Body bytes written to callers.
    pub relayed_down_bytes: Counter,
    /// Writes of body bytes to callers.
    pub relayed_down_chunks: Counter,
    /// Body bytes written to upstreams.
    pub relayed_up_bytes: Counter,

    // Touched when something starts or ends.
    /// Requests whose head has arrived and whose answer has not ended.
    pub inflight_requests: Gauge,
    /// Answers that are being streamed.
    pub active_streams: Gauge,
    /// Connections of callers that are open.
    pub open_connections: Gauge,
    /// Connections of callers so far.
    pub connections: Counter,

    // Touched about once per request.
    endings: Tally<Ending, 9>,
    series: SeriesSet,
    /// From the end of a request's head to its being sent upstream, nanoseconds.
    pub overhead_request: Histogram<14>,
    /// From an upstream's head to its being sent to the caller, nanoseconds.
    pub overhead_response: Histogram<14>,
    /// Attempts at endpoints.
    pub attempts: Tally<AttemptOutcome, 9>,
    estimated: Counter,

    // Touched when something goes wrong, or once per tick.
    /// Pairs of code and count: few, found by comparing pointers first.
    refusals: RefCell<Vec<(&'static str, u64)>>,
    /// Attempts after the first.
    pub retries: Tally<RetryReason, 3>,
    /// Callers that went away.
    pub cancelled: Tally<CancelPhase, 2>,
    /// Turned away for want of room.
    /// Calls of the authentication callback.
    pub callback_calls: Tally<CallOutcome, 5>,
    /// Decisions by where they came from.
    pub callback_decisions: Tally<DecisionSource, 3>,
    /// How long calls took, nanoseconds.
    pub callback_duration: Histogram<25>,
    pub sheds: Tally<ShedReason, 5>,
    /// TLS handshakes with callers.
    pub handshakes_down: Tally<HandshakeOutcome, 11>,
    /// TLS handshakes with endpoints.
    pub handshakes_up: Tally<HandshakeOutcome, 11>,
    /// TLS connections with callers.
    pub tls_versions: Tally<TlsVersion, 2>,
    /// Endpoints set aside.
    pub ejections: Counter,
    /// Connections given to another core.
    pub handovers: Counter,
    /// Connection tasks that panicked.
    pub panics: Counter,
    /// Records of the access log's sample that found no room.
    pub records_dropped: Counter,
    /// Records that found no room on their way to the usage spool.
    pub usage_dropped: Counter,
    /// How much later than asked the ticker ran, nanoseconds.
    pub loop_delay: Histogram<10>,
    generation: Cell<u64>,
}

const _: () =
    assert!(std::mem::offset_of!(Meter, connections) < 64, "what every chunk touches is one cache line");

impl Meter {
    /// A core's figures at its start.
    ///
    /// * `series_max`: combinations of domain, model, operation and outcome with figures of their own; see `ops.series_max`.
    #[must_use]
    pub fn new(series_max: usize) -> Self {
        Self {
            relayed_down_bytes: Counter::default(),
            relayed_down_chunks: Counter::default(),
            relayed_up_bytes: Counter::default(),
            inflight_requests: Gauge::default(),
            active_streams: Gauge::default(),
            open_connections: Gauge::default(),
            connections: Counter::default(),
            endings: Tally::default(),
            series: SeriesSet::new(series_max),
            overhead_request: Histogram::new(&family::OVERHEAD_BOUNDS),
            overhead_response: Histogram::new(&family::OVERHEAD_BOUNDS),
            attempts: Tally::default(),
            estimated: Counter::default(),
            refusals: RefCell::default(),
            retries: Tally::default(),
            cancelled: Tally::default(),
            sheds: Tally::default(),
            callback_calls: Tally::default(),
            callback_decisions: Tally::default(),
            callback_duration: Histogram::new(&family::FIRST_TOKEN_BOUNDS),
            handshakes_down: Tally::default(),
            handshakes_up: Tally::default(),
            tls_versions: Tally::default(),
            ejections: Counter::default(),
            handovers: Counter::default(),
            panics: Counter::default(),
            records_dropped: Counter::default(),
            usage_dropped: Counter::default(),
            loop_delay: Histogram::new(&family::LOOP_DELAY_BOUNDS),
            generation: Cell::new(0),
        }
    }

    /// Counts a request that has ended: by ending, and with its durations and tokens under its model.
    pub fn request_ended(&self, record: &RequestRecord) {
        self.endings.bump(record.ending);
        self.series.observe(record);
        if record.estimated {
            self.estimated.bump();
        }
    }

    /// Counts an answer that we made instead of an upstream; `code` is that of the answer.
    pub fn refused(&self, code: &'static str) {
        let mut refusals = self.refusals.borrow_mut();
        let found = refusals.iter_mut().find(|(known, _)| std::ptr::eq(*known, code) || *known == code);
        match found {
            Some((_, count)) => *count += 1,
            None => refusals.push((code, 1)),
        }
    }

    /// The core decides with tables of this generation from now on.
    pub fn adopted(&self, generation: u64) {
        self.generation.set(generation);
    }

    /// A copy of everything.
    ///
    /// * `core`, `driver`: whose figures these are.
    #[must_use]
    pub fn report(&self, core: usize, driver: &'static str) -> CoreReport {
        let (generation, open_connections) = (self.generation.get(), self.open_connections.get());
        let mut report = CoreReport { core, driver, generation, open_connections, samples: Vec::new() };
        report.add_by(&family::CORE, "driver", driver, 1);
        report.add(&family::CORE_GENERATION, generation);

        report.add_by(&family::RELAYED_BYTES, "direction", "down", self.relayed_down_bytes.get());
        report.add_by(&family::RELAYED_BYTES, "direction", "up", self.relayed_up_bytes.get());
        report.add(&family::RELAYED_CHUNKS, self.relayed_down_chunks.get());
        report.add(&family::INFLIGHT_REQUESTS, self.inflight_requests.get());
        report.add(&family::ACTIVE_STREAMS, self.active_streams.get());
        report.add(&family::OPEN_CONNECTIONS, open_connections);
        report.add(&family::CONNECTIONS, self.connections.get());

        add_tally(&mut report, &family::REQUESTS, "ending", &self.endings);
        self.series.report(&mut report);
        let phase = |name: &'static str| vec![("phase", name.into())];
        report.add_histogram(&family::OVERHEAD, phase("request"), self.overhead_request.report());
        report.add_histogram(&family::OVERHEAD, phase("response"), self.overhead_response.report());
        add_tally(&mut report, &family::UPSTREAM_ATTEMPTS, "outcome", &self.attempts);
        report.add(&family::TOKENS_ESTIMATED, self.estimated.get());

        for (code, count) in self.refusals.borrow().iter() {
            report.add_by(&family::REFUSALS, "code", *code, *count);
        }
        add_tally(&mut report, &family::RETRIES, "reason", &self.retries);
        add_tally(&mut report, &family::CLIENT_CANCELLED, "phase", &self.cancelled);
        add_tally(&mut report, &family::SHEDS, "reason", &self.sheds);
        add_tally(&mut report, &family::CALLBACK_CALLS, "outcome", &self.callback_calls);
        add_tally(&mut report, &family::CALLBACK_DECISIONS, "source", &self.callback_decisions);
        report.add_histogram(&family::CALLBACK_DURATION, Vec::new(), self.callback_duration.report());
        for (side, tally) in [("downstream", &self.handshakes_down), ("upstream", &self.handshakes_up)] {
            for (outcome, count) in tally.iter() {
                let labels = vec![("side", side.into()), ("outcome", outcome.name().into())];
                report.add_with(&family::TLS_HANDSHAKES, labels, count);
            }
        }
        add_tally(&mut report, &family::TLS_CONNECTIONS, "version", &self.tls_versions);
        report.add(&family::EJECTIONS, self.ejections.get());
        report.add(&family::HANDOVERS, self.handovers.get());
        report.add(&family::PANICS, self.panics.get());
        report.add(&family::RECORDS_DROPPED, self.records_dropped.get());
        report.add_by(&family::USAGE_DROPPED, "reason", "channel_full", self.usage_dropped.get());
        report.add_histogram(&family::LOOP_DELAY, Vec::new(), self.loop_delay.report());
        report
    }
}

fn add_tally<L: Label, const N: usize>(
    report: &mut CoreReport,
    family: &'static Family,
    label: &'static str,
    tally: &Tally<L, N>,
) {
    for (value, count) in tally.iter() {
        report.add_by(family, label, value.name(), count);
    }
}

#[cfg(test)]
mod tests;
