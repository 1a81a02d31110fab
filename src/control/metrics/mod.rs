//! `/metrics`: the cores' reports and the control thread's own figures, added up and written in the OpenMetrics text format.

use std::collections::BTreeMap;
use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabel, EncodeLabelSet, LabelSetEncoder, MetricEncoder,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::registry::Registry;

use crate::meter::{CoreReport, Family, HistogramReport, Kind, LabelValue, Labels, Sample, Unit, Value};

/// `Content-Type` of [`Exposition::render`].
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All figures of one scrape, by name and labels.
#[derive(Debug, Default)]
pub(super) struct Exposition {
    families: BTreeMap<&'static str, (&'static Family, BTreeMap<Labels, Value>)>,
}

impl Exposition {
    /// Adds one core's figures to those of the others; what is shown per core gets the label `core`.
    pub(super) fn add_core(&mut self, report: CoreReport) {
        for mut sample in report.samples {
            if sample.family.per_core {
                sample.labels.push(("core", LabelValue::from(report.core.to_string())));
            }
            self.add_sample(sample);
        }
    }

    /// Adds a figure of the process as a whole.
    pub(super) fn add(&mut self, family: &'static Family, value: u64) {
        self.add_sample(Sample { family, labels: Vec::new(), value: Value::Number(value) });
    }

    /// The same, with one label.
    pub(super) fn add_by(
        &mut self,
        family: &'static Family,
        label: &'static str,
        of: impl Into<LabelValue>,
        value: u64,
    ) {
        self.add_sample(Sample { family, labels: vec![(label, of.into())], value: Value::Number(value) });
    }

    fn add_sample(&mut self, sample: Sample) {
        let (_, figures) =
            self.families.entry(sample.family.name).or_insert((sample.family, BTreeMap::new()));
        match (figures.get_mut(&sample.labels), sample.value) {
            (Some(Value::Number(sum)), Value::Number(more)) => *sum = sum.wrapping_add(more),
            (Some(Value::Histogram(sum)), Value::Histogram(more)) => sum.merge(&more),
            // One family has one kind, so the mixed cases do not occur.
            (_, value) => {
                figures.insert(sample.labels, value);
            }
        }
    }

    /// The exposition as text.
    pub(super) fn render(self) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self));
        let mut text = String::with_capacity(32 << 10);
        prometheus_client::encoding::text::encode(&mut text, &registry)
            .expect("writing to a String does not fail");
        text
    }
}

impl Collector for Exposition {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for (name, (family, figures)) in &self.families {
            let kind = match family.kind {
                Kind::Counter => MetricType::Counter,
                Kind::Gauge => MetricType::Gauge,
                Kind::Histogram => MetricType::Histogram,
            };
            let help = format!("{}.", family.help);
            let mut metric = encoder.encode_descriptor(name, &help, None, kind)?;
            for (labels, value) in figures {
                if labels.is_empty() {
                    encode_value(&mut metric, family, value)?;
                } else {
                    encode_value(&mut metric.encode_family(&LabelSet(labels))?, family, value)?;
                }
            }
        }
        Ok(())
    }
}

/// No figure of ours carries an exemplar; the encoder wants the type of their labels all the same.
type NoExemplar = Option<&'static Exemplar<[(&'static str, &'static str); 0], f64>>;
type NoExemplars =
    Option<&'static std::collections::HashMap<usize, Exemplar<[(&'static str, &'static str); 0], f64>>>;

fn encode_value(metric: &mut MetricEncoder<'_>, family: &Family, value: &Value) -> fmt::Result {
    match (value, family.kind, family.unit) {
        (Value::Histogram(histogram), _, unit) => encode_histogram(metric, unit, histogram),
        (Value::Number(number), Kind::Gauge, _) => metric.encode_gauge(number),
        (Value::Number(number), Kind::Counter | Kind::Histogram, Unit::One) => {
            metric.encode_counter(number, NoExemplar::None)
        }
        (Value::Number(number), Kind::Counter | Kind::Histogram, Unit::Nanoseconds) => {
            metric.encode_counter(&in_unit(Unit::Nanoseconds, *number), NoExemplar::None)
        }
    }
}

fn encode_histogram(metric: &mut MetricEncoder<'_>, unit: Unit, histogram: &HistogramReport) -> fmt::Result {
    let bounds = histogram.bounds.iter().map(|bound| in_unit(unit, *bound)).chain([f64::INFINITY]);
    let buckets: Vec<_> = bounds.zip(histogram.counts.iter().copied()).collect();
    let sum = match unit {
        Unit::One => histogram.sum,
        Unit::Nanoseconds => histogram.sum / 1e9,
    };
    metric.encode_histogram(sum, histogram.count(), &buckets, NoExemplars::None)
}

#[allow(clippy::cast_precision_loss, reason = "seconds and bounds are exact enough in 53 bits")]
fn in_unit(unit: Unit, value: u64) -> f64 {
    match unit {
        Unit::One => value as f64,
        Unit::Nanoseconds => value as f64 / 1e9,
    }
}

/// Our labels as the encoder wants them.
#[derive(Debug)]
struct LabelSet<'a>(&'a Labels);

impl EncodeLabelSet for LabelSet<'_> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        for (key, value) in self.0 {
            (*key, value.as_str()).encode(encoder.encode_label())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
