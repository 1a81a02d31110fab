//! What the proxy uses and says of itself: memory and descriptors from the kernel, gauges and counters from `/metrics`.

use anyhow::{Context as _, Result};
use serde::Serialize;

/// The proxy at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Sample {
    /// Seconds since the start.
    pub(super) at_s: f64,
    /// Resident memory.
    pub(super) rss_kib: u64,
    /// Open file descriptors.
    pub(super) descriptors: u64,
}

/// Looks at a process.
///
/// # Errors
/// It has ended, or may not be looked at.
pub(super) fn sample(process: u32, at_s: f64) -> Result<Sample> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))
        .with_context(|| format!("process {process} has ended"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let rss_kib =
        line.split_ascii_whitespace().next().and_then(|kib| kib.parse().ok()).context("no number")?;
    let descriptors = std::fs::read_dir(format!("/proc/{process}/fd"))?.count() as u64;
    Ok(Sample { at_s, rss_kib, descriptors })
}

/// How something that was measured over time went: its two halves after a warm-up, and the line through it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Trend {
    /// Mean of the first half.
    pub(super) first_half: f64,
    /// Mean of the second half.
    pub(super) second_half: f64,
    /// The largest value.
    pub(super) max: f64,
    /// Least squares: by how much it grows per minute.
    pub(super) per_minute: f64,
}

impl Trend {
    /// Of (seconds, value) in order of time; those of the warm-up left out by the caller.
    pub(super) fn of(points: &[(f64, f64)]) -> Self {
        let mean = |points: &[(f64, f64)], of: fn(&(f64, f64)) -> f64| {
            points.iter().map(of).sum::<f64>() / points.len().max(1) as f64
        };
        let (first, second) = points.split_at(points.len() / 2);
        let (mean_at, mean_value) = (mean(points, |point| point.0), mean(points, |point| point.1));
        let (mut covariance, mut variance) = (0.0, 0.0);
        for (at, value) in points {
            covariance += (at - mean_at) * (value - mean_value);
            variance += (at - mean_at).powi(2);
        }
        Self {
            first_half: mean(first, |point| point.1),
            second_half: mean(second, |point| point.1),
            max: points.iter().map(|point| point.1).fold(0.0, f64::max),
            per_minute: if variance > 0.0 { covariance / variance * 60.0 } else { 0.0 },
        }
    }

    /// By how much the second half is above the first.
    pub(super) fn growth(&self) -> f64 {
        self.second_half - self.first_half
    }
}

/// One scrape of `/metrics`.
#[derive(Clone, Debug, Default)]
pub(super) struct Metrics {
    /// Name, labels as written, value.
    figures: Vec<(String, String, f64)>,
}

impl Metrics {
    /// Reads the text format: `name{labels} value`, comments skipped. Label values of ours hold no spaces.
    pub(super) fn parse(text: &[u8]) -> Result<Self> {
        let text = std::str::from_utf8(text).context("metrics are text")?;
        let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        let figures = lines.map(|line| {
            let (series, value) = line.rsplit_once(' ').with_context(|| format!("no value: {line}"))?;
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let value = value.parse().with_context(|| format!("no number: {line}"))?;
            Ok((name.to_owned(), labels.trim_end_matches('}').to_owned(), value))
        });
        Ok(Self { figures: figures.collect::<Result<_>>()? })
    }

    /// The sum of all figures of this name that have this label (`name="value"`; empty: any).
    pub(super) fn sum(&self, name: &str, label: &str) -> f64 {
        let figures = self.figures.iter().filter(|(of, labels, _)| of == name && labels.contains(label));
        figures.map(|(_, _, value)| value).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trend_tells_growth_from_a_level_with_noise() {
        let level: Vec<_> = (0..100).map(|at| (f64::from(at), 1000.0 + f64::from(at % 2))).collect();
        let trend = Trend::of(&level);
        assert!(trend.growth().abs() < 1e-9 && trend.per_minute.abs() < 0.1, "{trend:?}");
        let growing: Vec<_> = (0..100).map(|at| (f64::from(at), 1000.0 + 2.0 * f64::from(at))).collect();
        let trend = Trend::of(&growing);
        assert!(
            (trend.per_minute - 120.0).abs() < 1e-6 && (trend.growth() - 100.0).abs() < 1e-9,
            "{trend:?}"
        );
        assert_eq!(Trend::of(&[]), Trend::default());
    }

    #[test]
    fn figures_are_summed_by_name_and_label() {
        let text =
            "# TYPE a gauge\na{core=\"0\",state=\"idle\"} 2\na{core=\"1\",state=\"active\"} 3\nab 7\n# EOF\n";
        let metrics = Metrics::parse(text.as_bytes()).unwrap();
        assert_eq!(metrics.sum("a", ""), 5.0);
        assert_eq!(metrics.sum("a", "state=\"active\""), 3.0);
        assert_eq!((metrics.sum("ab", ""), metrics.sum("none", "")), (7.0, 0.0));
        assert!(Metrics::parse(b"a b\n").is_err());
    }

    #[test]
    fn a_process_that_runs_has_memory_and_descriptors() {
        let sample = sample(std::process::id(), 1.0).unwrap();
        assert!(sample.rss_kib > 100 && sample.descriptors >= 3, "{sample:?}");
    }
}
