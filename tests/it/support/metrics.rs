//! A scrape of `/metrics`, taken apart.

use std::fmt;

/// Samples of the Prometheus text format.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    text: String,
}

impl Metrics {
    pub(crate) fn parse(text: &str) -> Self {
        Self { text: text.to_owned() }
    }

    /// Sum of all series of `name` whose labels contain every one of `labels` (`key="value"`). 0 when none does.
    pub(crate) fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        let samples = self.text.lines().filter(|line| !line.starts_with('#'));
        let of_name = samples.filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            let (have, rest) = series.split_once('{').unwrap_or((series, ""));
            (have == name && labels.iter().all(|label| rest.contains(label))).then_some(value)
        });
        of_name.map(|value| value.parse::<f64>().expect("a number")).sum()
    }

    /// Whether any series of that name is there.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.text.lines().any(|line| line.split(['{', ' ']).next() == Some(name))
    }

    /// Whether this very series is there.
    pub(crate) fn has_series(&self, series: &str) -> bool {
        self.text.lines().any(|line| line.rsplit_once(' ').is_some_and(|(found, _)| found == series))
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
