//! Figures per domain, model and operation: as many as there are combinations in use, up to a limit.
//!
//! Domains and models are names from the tables, never a caller's text, and still there may be more of them than a metrics
//! store can bear. So a core keeps [`SeriesSet::limit`] histograms of request durations; a request that would need one more is
//! counted under `_other`. A combination that was seen stays until the process ends, even if the tables drop its model: a
//! counter that vanishes and comes back reads as a restart.

use std::cell::RefCell;
use std::sync::Arc;

use ahash::AHashMap;

use super::family::{self, DURATION_BOUNDS, FIRST_TOKEN_BOUNDS, PER_TOKEN_BOUNDS, TOKEN_BOUNDS};
use super::report::{model_labels, outcome_labels};
use super::{CoreReport, Histogram, Label, StatusClass};
use crate::record::{Ending, PASSTHROUGH, RequestRecord};

/// Label of everything beyond the limit.
const OTHER: &str = "_other";

/// Hash of domain and model, and number of the operation.
type Key = (u64, u8);

/// All series of one core.
#[derive(Debug)]
pub(super) struct SeriesSet {
    limit: usize,
    inner: RefCell<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    series: AHashMap<Key, Box<Series>>,
    other: Option<Box<Series>>,
    /// Duration histograms in `series`, each a line of its own in the exposition.
    outcomes: usize,
}

#[derive(Debug)]
struct Series {
    domain: Arc<str>,
    model: Arc<str>,
    operation: &'static str,
    /// Few: a linear search among them beats a map.
    outcomes: Vec<Outcome>,
    first_token: Histogram<25>,
    per_token: Histogram<15>,
    prompt_tokens: Histogram<14>,
    completion_tokens: Histogram<14>,
}

#[derive(Debug)]
struct Outcome {
    class: StatusClass,
    ending: Ending,
    duration: Histogram<17>,
}

impl SeriesSet {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, inner: RefCell::default() }
    }

    /// Counts a request that has ended. Cost: one map look-up; allocates for a combination that is new.
    pub(super) fn observe(&self, record: &RequestRecord) {
        let inner = &mut *self.inner.borrow_mut();
        let class = StatusClass::of(record.status);
        let key = key_of(record);
        let known = inner.series.get(&key).is_some_and(|series| series.has(class, record.ending));
        let series = if known || inner.outcomes < self.limit {
            inner.outcomes += usize::from(!known);
            inner.series.entry(key).or_insert_with(|| Series::of(record))
        } else {
            inner.other.get_or_insert_with(|| Series::new(OTHER.into(), OTHER.into(), OTHER))
        };
        series.observe(record, class);
    }

    pub(super) fn report(&self, report: &mut CoreReport) {
        let inner = self.inner.borrow();
        for series in inner.series.values().chain(&inner.other) {
            series.report(report);
        }
    }
}

/// Without a model the domain keeps requests apart.
fn key_of(record: &RequestRecord) -> Key {
    let domain = record.domain.map_or(0, |domain| {
        let (high, low) = domain.0.as_u64_pair();
        high ^ low
    });
    let series = if record.series == 0 { domain } else { record.series };
    let unnamed = if record.template == PASSTHROUGH { u8::MAX - 1 } else { u8::MAX };
    (series, record.operation.map_or(unnamed, |operation| operation as u8))
}

/// The operation, or what stands for one where there is none.
fn operation_of(record: &RequestRecord) -> &'static str {
    let unnamed = if record.template == PASSTHROUGH { PASSTHROUGH } else { "" };
    record.operation.map_or(unnamed, |operation| operation.name())
}

impl Series {
    fn of(record: &RequestRecord) -> Box<Self> {
        let domain = record.domain.map_or_else(String::new, |domain| domain.to_string());
        let model = record.model.clone().unwrap_or_default();
        Self::new(domain.into(), model, operation_of(record))
    }

    fn new(domain: Arc<str>, model: Arc<str>, operation: &'static str) -> Box<Self> {
        Box::new(Self {
            domain,
            model,
            operation,
            outcomes: Vec::new(),
            first_token: Histogram::new(&FIRST_TOKEN_BOUNDS),
            per_token: Histogram::new(&PER_TOKEN_BOUNDS),
            prompt_tokens: Histogram::new(&TOKEN_BOUNDS),
            completion_tokens: Histogram::new(&TOKEN_BOUNDS),
        })
    }

    fn has(&self, class: StatusClass, ending: Ending) -> bool {
        self.outcomes.iter().any(|outcome| outcome.class == class && outcome.ending == ending)
    }

    fn observe(&mut self, record: &RequestRecord, class: StatusClass) {
        let ending = record.ending;
        let found =
            self.outcomes.iter().position(|outcome| outcome.class == class && outcome.ending == ending);
        let index = found.unwrap_or_else(|| {
            self.outcomes.push(Outcome { class, ending, duration: Histogram::new(&DURATION_BOUNDS) });
            self.outcomes.len() - 1
        });
        self.outcomes[index].duration.observe(nanoseconds(record.duration));

        if let Some(prompt_tokens) = record.prompt_tokens {
            self.prompt_tokens.observe(prompt_tokens);
        }
        if let Some(completion_tokens) = record.completion_tokens {
            self.completion_tokens.observe(completion_tokens);
        }
        let (true, Some(first_byte)) = (record.stream, record.first_byte) else { return };
        self.first_token.observe(nanoseconds(first_byte));
        if let Some(later_tokens @ 1..) = record.completion_tokens.map(|count| count.saturating_sub(1)) {
            let streaming = record.duration.saturating_sub(first_byte);
            self.per_token.observe(nanoseconds(streaming) / later_tokens);
        }
    }

    fn report(&self, report: &mut CoreReport) {
        let labels = || model_labels(&self.domain, &self.model, self.operation);
        for Outcome { class, ending, duration } in &self.outcomes {
            let error = if *ending == Ending::Complete { "" } else { ending.name() };
            let labels = outcome_labels(labels(), *class, error);
            report.add_histogram(&family::REQUEST_DURATION, labels, duration.report());
        }
        report.add_histogram(&family::TIME_TO_FIRST_TOKEN, labels(), self.first_token.report());
        report.add_histogram(&family::TIME_PER_OUTPUT_TOKEN, labels(), self.per_token.report());
        for (kind, histogram) in [("input", &self.prompt_tokens), ("output", &self.completion_tokens)] {
            let mut labels = labels();
            labels.push(("token_type", kind.into()));
            report.add_histogram(&family::TOKEN_USAGE, labels, histogram.report());
        }
    }
}

fn nanoseconds(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
