//! What is left when the load is over: metrics, access log, the mock's counters; and whether they agree with the callers.

use super::Check;
use crate::bench::peers::Running;
use crate::fetch;
use crate::load::Report;
use crate::mock::{Mock, Stats};
use anyhow::{Context as _, Result};
use rustix::process::Signal;
use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::time::{Duration, Instant};

/// Path of the requests that the callers sent; others are hazards.
const PATHS: [&str; 2] = ["/v1/chat/completions", "/api/chat"];

#[derive(Debug)]
pub(super) struct Books {
    metrics: String,
    upstream: Stats,
    /// Lines of the access log by ending, refused ones by code.
    endings: BTreeMap<String, u64>,
    ids_twice: u64,
    lines: u64,
    ended_well: bool,
    ended_after: Duration,
}

impl Books {
    /// Waits until nothing runs any more, reads the metrics, ends the proxy, reads its log.
    pub(super) fn read(proxy: &mut Running, mock: &Mock, access_log: &Path) -> Result<Self> {
        let ops = proxy.ops.context("our proxy has an ops listener")?;
        let start = Instant::now();
        let metrics = loop {
            let answer = fetch::get(ops, &ops.to_string(), "/metrics", "")?;
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            let quiet = sum(&text, "cube_proxy_inflight_requests") == 0.0 && mock.stats().streams_open == 0;
            if quiet || start.elapsed() > Duration::from_secs(10) {
                break text;
            }
            std::thread::sleep(Duration::from_millis(50));
        };
        let upstream = mock.stats();
        let child = proxy.child_mut()?;
        child.signal(Signal::TERM);
        let start = Instant::now();
        let status = loop {
            let status = child.ended()?;
            if status.is_some() || start.elapsed() > Duration::from_secs(15) {
                break status;
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        let ended_after = start.elapsed();
        let text = std::fs::read_to_string(access_log).context("no access log")?;
        let (mut endings, mut ids, mut lines, mut ids_twice) = (BTreeMap::new(), HashSet::new(), 0, 0);
        for line in text.lines() {
            let line: serde_json::Value = serde_json::from_str(line).context("a line of the access log")?;
            let id = line["request_id"].as_str().context("a line without an id")?;
            // What was no HTTP has no id.
            ids_twice += u64::from(!id.is_empty() && !ids.insert(id.to_owned()));
            let path = line["path"].as_str().unwrap_or("");
            if !PATHS.iter().any(|known| path.ends_with(known)) {
                continue;
            }
            if line["code"] == "not_ready" {
                // How the start was noticed.
                continue;
            }
            lines += 1;
            let ending = line["ending"].as_str().unwrap_or("?");
            let ending = match line["code"].as_str() {
                Some(code) if ending == "refused" => format!("refused {code}"),
                Some(_) | None => ending.to_owned(),
            };
            *endings.entry(ending).or_default() += 1;
        }
        let ended_well = status.is_some_and(|status| status.success());
        Ok(Self { metrics, upstream, endings, ids_twice, lines, ended_well, ended_after })
    }

    pub(super) fn checks(
        &self,
        loads: &[(&'static str, Report)],
        refused: u64,
        pss_kib: &[u64],
        ran: Duration,
    ) -> Vec<Check> {
        let total = |pick: fn(&Report) -> u64| -> u64 { loads.iter().map(|(_, report)| pick(report)).sum() };
        let started = total(|report| report.started);
        let (completed, left) = (total(|report| report.completed), total(|report| report.left));
        let cut = total(|report| report.cut_as_asked);
        let unclean: Vec<_> =
            loads.iter().filter(|(_, report)| !report.is_clean()).map(|(name, _)| *name).collect();
        let unfinished = total(|report| report.unfinished);
        let ending = |name: &str| self.endings.get(name).copied().unwrap_or(0);
        let refusals: u64 = self
            .endings
            .iter()
            .filter(|(name, _)| name.starts_with("refused "))
            .map(|(_, count)| count)
            .sum();
        let (complete, gone) = (ending("complete"), ending("caller_gone"));
        let check = |what, holds, seen| Check { what, holds, seen };
        // And the one request by which the start was noticed.
        let expected = started + refused + 1;
        let open = ["active_streams", "inflight_requests", "open_connections"]
            .map(|name| sum(&self.metrics, &format!("cube_proxy_{name}")));
        let mut checks = vec![
            check(
                "every exchange was right",
                unclean.is_empty() && unfinished == 0,
                format!("{started} exchanges, not clean: {unclean:?}, unfinished {unfinished}"),
            ),
            check(
                "every request is recorded exactly once",
                self.lines == expected && self.ids_twice == 0,
                format!("{} lines for {expected} requests, {} ids twice", self.lines, self.ids_twice),
            ),
            check(
                "what callers completed or left is recorded as that",
                complete + gone == completed + left + 1 && gone <= left,
                format!(
                    "complete {complete}, caller_gone {gone}; callers: completed {completed}, left {left}"
                ),
            ),
            check(
                "what upstream cut is recorded as that",
                ending("upstream_cut") == cut,
                format!("{} of {cut}", ending("upstream_cut")),
            ),
            check(
                "what was refused is recorded as that",
                refusals == refused,
                format!("{refusals} of {refused}: {:?}", self.endings),
            ),
            check(
                "no record was dropped",
                sum(&self.metrics, "cube_proxy_records_dropped_total") == 0.0,
                String::new(),
            ),
            check("no core panicked", sum(&self.metrics, "cube_proxy_panics_total") == 0.0, String::new()),
            check(
                "nothing is still open",
                open[..2] == [0.0, 0.0],
                format!("streams, requests, connections: {open:?}"),
            ),
            check(
                "upstream saw every caller leave",
                self.upstream.streams_open == 0,
                format!("{:?}", self.upstream),
            ),
            check(
                "tables were read again and broken ones refused",
                reloads(&self.metrics),
                lines_of(&self.metrics, "cube_proxy_tables_loads_total"),
            ),
            check("it ends well when told to", self.ended_well, format!("after {:?}", self.ended_after)),
        ];
        checks.push(memory(pss_kib, ran));
        checks
    }
}

/// The last third's memory against the middle third's: growth after a warm-up is a leak.
fn memory(pss_kib: &[u64], ran: Duration) -> Check {
    let third = pss_kib.len() / 3;
    let most = |part: &[u64]| part.iter().copied().max().unwrap_or(0);
    let (middle, last) = (most(&pss_kib[third..2 * third]), most(&pss_kib[2 * third..]));
    let holds = last <= middle + middle / 10 + 4 * 1024;
    let seen =
        format!("KiB at most: {middle} in the middle third, {last} in the last, of {} s", ran.as_secs());
    Check { what: "memory stays flat", holds, seen }
}

fn reloads(metrics: &str) -> bool {
    let lines = lines_of(metrics, "cube_proxy_tables_loads_total");
    lines.lines().filter(|line| !line.ends_with(" 0")).count() >= 2
}

fn lines_of(metrics: &str, name: &str) -> String {
    metrics.lines().filter(|line| line.starts_with(name)).collect::<Vec<_>>().join("\n")
}

/// The sum of a metric's samples over all labels.
fn sum(metrics: &str, name: &str) -> f64 {
    let samples = metrics.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        let value =
            rest.strip_prefix(' ').or_else(|| rest.starts_with('{').then(|| rest.rsplit(' ').next())?)?;
        value.parse::<f64>().ok()
    });
    samples.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_summed_over_its_labels_and_over_no_other_metric() {
        let text = "# HELP a x\na{core=\"0\"} 1\na{core=\"1\"} 2\na_total 7\nab 9\n";
        assert_eq!(sum(text, "a"), 3.0);
        assert_eq!(sum(text, "a_total"), 7.0);
    }

    #[test]
    fn memory_that_grows_by_the_third_is_told() {
        let flat: Vec<u64> = vec![20_000; 30];
        assert!(memory(&flat, Duration::from_secs(1)).holds);
        let leak: Vec<u64> = (0..30).map(|turn| 20_000 + turn * 1_000).collect();
        assert!(!memory(&leak, Duration::from_secs(1)).holds);
    }
}
