//! What a load run has seen, and the report made of it.

use crate::histogram::{Histogram, Percentiles};
use rustls::HandshakeKind;
use serde::Serialize;
use std::collections::BTreeMap;

/// How one exchange ended, for whoever compares it with what others saw of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Complete and right.
    Completed,
    /// Left on purpose, in the middle of the answer.
    Left,
    /// Left on purpose, before the answer.
    LeftUnanswered,
    /// Cut, as the mock was told to.
    CutAsAsked,
    /// Wrong.
    Failed,
    /// Running when the run was over.
    Unfinished,
}

/// Counts of one run, kept by the thread that runs it.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    pub(super) started: u64,
    /// Exchanges that ended as they should.
    pub(super) completed: u64,
    /// Streams that we left on purpose.
    pub(super) left: u64,
    /// Streams that were to be cut upstream and were seen cut.
    pub(super) cut_as_asked: u64,
    /// Still running when the run was over.
    pub(super) unfinished: u64,
    pub(super) connections: u64,
    /// TLS handshakes: full ones, and those that took up an earlier session.
    pub(super) full_handshakes: u64,
    pub(super) resumed_handshakes: u64,
    pub(super) events: u64,
    pub(super) bytes: u64,
    pub(super) reads: u64,
    pub(super) lost: u64,
    pub(super) duplicated: u64,
    pub(super) reordered: u64,
    pub(super) errors: BTreeMap<String, u64>,
    /// One per request if they are named, in the order of their numbers.
    pub(super) outcomes: Vec<Outcome>,
    pub(super) first_byte: Histogram,
    pub(super) first_event: Histogram,
    pub(super) gap: Histogram,
    pub(super) one_way: Histogram,
    pub(super) latency: Histogram,
}

impl Tally {
    pub(super) fn error(&mut self, kind: &str) {
        match self.errors.get_mut(kind) {
            Some(count) => *count += 1,
            None => {
                self.errors.insert(kind.to_owned(), 1);
            }
        }
    }

    pub(super) fn handshake(&mut self, kind: HandshakeKind) {
        match kind {
            HandshakeKind::Resumed => self.resumed_handshakes += 1,
            HandshakeKind::Full | HandshakeKind::FullWithHelloRetryRequest => self.full_handshakes += 1,
        }
    }

    /// Starts the times anew; counts go on.
    pub(super) fn clear_times(&mut self) {
        for histogram in
            [&mut self.first_byte, &mut self.first_event, &mut self.gap, &mut self.one_way, &mut self.latency]
        {
            histogram.clear();
        }
    }

    pub(super) fn report(&self, seconds: f64) -> Report {
        let failed = self.errors.values().sum();
        Report {
            seconds,
            started: self.started,
            completed: self.completed,
            left: self.left,
            cut_as_asked: self.cut_as_asked,
            unfinished: self.unfinished,
            failed,
            connections: self.connections,
            full_handshakes: self.full_handshakes,
            resumed_handshakes: self.resumed_handshakes,
            events: self.events,
            bytes: self.bytes,
            reads: self.reads,
            lost: self.lost,
            duplicated: self.duplicated,
            reordered: self.reordered,
            errors: self.errors.clone(),
            outcomes: self.outcomes.clone(),
            requests_per_s: self.completed as f64 / seconds,
            events_per_s: self.events as f64 / seconds,
            first_byte_us: self.first_byte.percentiles(),
            first_event_us: self.first_event.percentiles(),
            gap_us: self.gap.percentiles(),
            one_way_us: self.one_way.percentiles(),
            latency_us: self.latency.percentiles(),
        }
    }
}

/// The result of a run. Every exchange that was started is in exactly one of `completed`, `left`, `cut_as_asked`, `failed`
/// and `unfinished`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// How long it ran.
    pub seconds: f64,
    /// Requests begun.
    pub started: u64,
    /// Answers that were complete and right.
    pub completed: u64,
    /// Streams that we left on purpose.
    pub left: u64,
    /// Streams that the mock was told to cut, and that were seen cut.
    pub cut_as_asked: u64,
    /// Running when the run was over.
    pub unfinished: u64,
    /// Everything else; `errors` says why.
    pub failed: u64,
    /// Connections opened.
    pub connections: u64,
    /// Full TLS handshakes.
    pub full_handshakes: u64,
    /// TLS handshakes that took up an earlier session.
    pub resumed_handshakes: u64,
    /// Content events received.
    pub events: u64,
    /// Body bytes received, framing not counted.
    pub bytes: u64,
    /// Reads that gave bytes.
    pub reads: u64,
    /// Events whose number never came in its place.
    pub lost: u64,
    /// Events that came twice in a row.
    pub duplicated: u64,
    /// Events that came after a later one.
    pub reordered: u64,
    /// Failures by kind.
    pub errors: BTreeMap<String, u64>,
    /// How each request ended, by its number, if requests were named.
    #[serde(skip)]
    pub outcomes: Vec<Outcome>,
    /// Completed answers per second.
    pub requests_per_s: f64,
    /// Content events per second.
    pub events_per_s: f64,
    /// From the request's last byte to the answer's first.
    pub first_byte_us: Percentiles,
    /// From the request's last byte to the first content event.
    pub first_event_us: Percentiles,
    /// Between two content events of a stream.
    pub gap_us: Percentiles,
    /// From the mock's stamp to our read.
    pub one_way_us: Percentiles,
    /// From the request's last byte to the answer's last.
    pub latency_us: Percentiles,
}

impl Report {
    /// Nothing was lost, doubled, reordered or failed.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.failed == 0 && self.lost == 0 && self.duplicated == 0 && self.reordered == 0
    }
}
