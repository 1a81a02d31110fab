//! What a core tells the control thread when it is asked for its figures: plain data that may travel.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::sync::Arc;

use super::{Family, HistogramReport, StatusClass};

/// The labels of one figure, in the order in which they are written.
pub type Labels = Vec<(&'static str, LabelValue)>;

/// A label's value. Equal and ordered as text, wherever the text comes from.
#[derive(Clone, Debug)]
pub enum LabelValue {
    /// Known when the program was compiled, or made for this report.
    Text(Cow<'static, str>),
    /// A name from the tables.
    Shared(Arc<str>),
}

impl LabelValue {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Shared(text) => text,
        }
    }
}

impl PartialEq for LabelValue {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for LabelValue {}

impl Ord for LabelValue {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl PartialOrd for LabelValue {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl From<&'static str> for LabelValue {
    fn from(text: &'static str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<String> for LabelValue {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

impl From<Arc<str>> for LabelValue {
    fn from(text: Arc<str>) -> Self {
        Self::Shared(text)
    }
}

/// A figure's value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A counter or gauge.
    Number(u64),
    /// A histogram.
    Histogram(HistogramReport),
}

/// One figure.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Its name, kind and unit.
    pub family: &'static Family,
    /// What it is split by.
    pub labels: Labels,
    /// Its value.
    pub value: Value,
}

/// One core's figures at one moment.
#[derive(Clone, Debug)]
pub struct CoreReport {
    /// The core's number.
    pub core: usize,
    /// Name of the I/O driver it runs on.
    pub driver: &'static str,
    /// Generation of the tables it decides with; 0: it has none.
    pub generation: u64,
    /// Open connections of callers, which a drain waits for.
    pub open_connections: u64,
    /// All figures.
    pub samples: Vec<Sample>,
}

impl CoreReport {
    /// Adds a figure without labels.
    pub fn add(&mut self, family: &'static Family, value: u64) {
        self.samples.push(Sample { family, labels: Vec::new(), value: Value::Number(value) });
    }

    /// Adds a figure with one label.
    pub fn add_by(
        &mut self,
        family: &'static Family,
        label: &'static str,
        of: impl Into<LabelValue>,
        value: u64,
    ) {
        let labels = vec![(label, of.into())];
        self.samples.push(Sample { family, labels, value: Value::Number(value) });
    }

    /// Adds a figure with several labels.
    pub fn add_with(&mut self, family: &'static Family, labels: Labels, value: u64) {
        self.samples.push(Sample { family, labels, value: Value::Number(value) });
    }

    /// Adds a histogram; one that saw nothing is left out.
    pub fn add_histogram(&mut self, family: &'static Family, labels: Labels, histogram: HistogramReport) {
        if histogram.count() > 0 {
            self.samples.push(Sample { family, labels, value: Value::Histogram(histogram) });
        }
    }
}

/// The labels that all figures about a model have.
pub(super) fn model_labels(domain: &Arc<str>, model: &Arc<str>, operation: &'static str) -> Labels {
    vec![("domain", domain.clone().into()), ("model", model.clone().into()), ("operation", operation.into())]
}

/// Those, and how the request ended.
pub(super) fn outcome_labels(mut labels: Labels, class: StatusClass, error: &'static str) -> Labels {
    use super::Label;
    labels.push(("status_class", class.name().into()));
    labels.push(("error", error.into()));
    labels
}
