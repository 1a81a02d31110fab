//! What has to hold at the end of a soak, each with what was seen.

use super::ledger::Books;
use super::reload::Reloads;
use super::setup::Settled;
use super::watch::{Sample, Trend};
use crate::load::Report;
use crate::mock::Stats;
use serde::Serialize;
use serde_json::{Value, json};

/// Share of the run, from its start, in which memory may grow: pools, caches and the allocator fill.
const WARM_UP: f64 = 0.25;
/// The second half's memory may be above the first half's by so many KiB …
const GROWTH_KIB_MAX: f64 = 2048.0;
/// … or so large a share of it, whichever is more.
const GROWTH_SHARE_MAX: f64 = 0.05;

/// One thing that has to hold.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// What.
    pub check: &'static str,
    /// Whether it does.
    pub held: bool,
    /// What was seen.
    pub saw: Value,
}

/// The result of a soak.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// Everything holds.
    pub held: bool,
    /// How long callers began requests.
    pub seconds: f64,
    /// What has to hold.
    pub checks: Vec<Check>,
    /// What the callers saw, by kind.
    pub callers: Value,
    /// What was recorded, loaded and used.
    pub figures: Value,
}

/// What was seen by everyone.
pub(super) struct Evidence {
    pub(super) seconds: f64,
    pub(super) before: Sample,
    pub(super) samples: Vec<Sample>,
    pub(super) settled: Settled,
    pub(super) ended: Option<std::process::ExitStatus>,
    pub(super) reports: Vec<(&'static str, Report)>,
    pub(super) reloads: Reloads,
    pub(super) books: Books,
    pub(super) mock: Stats,
    pub(super) output: String,
}

impl Evidence {
    pub(super) fn judge(self) -> Summary {
        let mut checks = Vec::new();
        self.judge_streams(&mut checks);
        self.judge_records(&mut checks);
        self.judge_end(&mut checks);
        self.judge_memory(&mut checks);
        self.judge_reloads(&mut checks);
        Summary {
            held: checks.iter().all(|check| check.held),
            seconds: self.seconds,
            checks,
            callers: self.reports.iter().map(|(name, report)| ((*name).to_owned(), seen(report))).collect(),
            figures: self.figures(),
        }
    }

    fn judge_streams(&self, checks: &mut Vec<Check>) {
        let sum = |of: fn(&Report) -> u64| self.reports.iter().map(|(_, report)| of(report)).sum::<u64>();
        let [lost, duplicated, reordered] =
            [sum(|report| report.lost), sum(|report| report.duplicated), sum(|report| report.reordered)];
        checks.push(Check {
            check: "no event is lost, doubled or out of order, and no request fails",
            held: self.reports.iter().all(|(_, report)| report.is_clean() && report.unfinished == 0),
            saw: json!({
                "events": sum(|report| report.events), "lost": lost, "duplicated": duplicated, "reordered": reordered,
                "failed": sum(|report| report.failed), "unfinished": sum(|report| report.unfinished),
            }),
        });
        let [completed, left, cut] =
            [sum(|report| report.completed), sum(|report| report.left), sum(|report| report.cut_as_asked)];
        checks.push(Check {
            check: "requests completed, were left and were cut; what was cut looked cut",
            held: completed > 0
                && left > 0
                && cut > 0
                && self.reports.iter().all(|(_, report)| !report.errors.contains_key("cut_looks_complete")),
            saw: json!({ "completed": completed, "left": left, "cut": cut }),
        });
    }

    fn judge_records(&self, checks: &mut Vec<Check>) {
        let books = &self.books;
        checks.push(Check {
            check: "every request is recorded exactly once",
            held: books.missing + books.doubled + books.strange == 0 && books.lines == books.requests,
            saw: json!({
                "requests": books.requests, "lines": books.lines, "missing": books.missing,
                "doubled": books.doubled, "strange": books.strange,
            }),
        });
        checks.push(Check {
            check: "every record has the ending that its caller saw, and the usage that the model server told",
            held: books.inconsistent == 0,
            saw: json!({
                "inconsistent": books.inconsistent, "left_when_whole": books.left_when_whole, "faults": books.faults,
            }),
        });
        let metrics = &self.settled.metrics;
        let counted = metrics.sum("cube_proxy_requests_total", "");
        let by_ending = books.endings.iter().all(|(ending, lines)| {
            let name = serde_json::to_value(ending).unwrap_or_default();
            let label = format!("ending={name}");
            metrics.sum("cube_proxy_requests_total", &label) == *lines as f64
        });
        checks.push(Check {
            check: "the metrics count what was recorded, ending by ending",
            held: by_ending && counted == books.lines as f64,
            saw: json!({ "counted": counted, "lines": books.lines }),
        });
        let dropped = metrics.sum("cube_proxy_records_dropped_total", "");
        let unwritten = metrics.sum("cube_proxy_access_log_lines_lost_total", "");
        checks.push(Check {
            check: "no record is dropped, no line lost",
            held: dropped + unwritten == 0.0,
            saw: json!({ "records_dropped": dropped, "lines_lost": unwritten }),
        });
        let read = self.mock.requests;
        checks.push(Check {
            check: "the model server read each request that was sent, once",
            // What was left before its answer may have been taken back before it was read.
            held: (books.sent - books.sent_unanswered..=books.sent).contains(&read),
            saw: json!({ "read": read, "sent": books.sent, "left_unanswered": books.sent_unanswered }),
        });
    }

    fn judge_end(&self, checks: &mut Vec<Check>) {
        let metrics = &self.settled.metrics;
        let gauge = |name: &str, label: &str| metrics.sum(name, label);
        checks.push(Check {
            check: "nothing is under way when the callers are gone",
            held: self.settled.busy() == 0 && self.mock.connections_open == 0 && self.mock.streams_open == 0,
            saw: json!({
                "inflight_requests": gauge("cube_proxy_inflight_requests", ""),
                "active_streams": gauge("cube_proxy_active_streams", ""),
                "open_connections": gauge("cube_proxy_open_connections", ""),
                "upstream_active": gauge("cube_proxy_upstream_connections", "state=\"active\""),
                "upstream_idle": gauge("cube_proxy_upstream_connections", "state=\"idle\""),
                "model_server_connections": self.mock.connections_open,
                "model_server_streams": self.mock.streams_open,
            }),
        });
        let panics = metrics.sum("cube_proxy_panics_total", "");
        let said = self.output.lines().filter(|line| line.contains("panicked")).count();
        checks.push(Check {
            check: "nothing panics, and the proxy ends when told to",
            held: panics == 0.0 && said == 0 && self.ended.is_some_and(|status| status.success()),
            saw: json!({
                "panics": panics, "said": said,
                "ended": self.ended.map_or_else(|| "not".to_owned(), |status| status.to_string()),
            }),
        });
    }

    fn judge_memory(&self, checks: &mut Vec<Check>) {
        let memory = self.trend(|sample| sample.rss_kib as f64);
        let bound = GROWTH_KIB_MAX.max(memory.first_half * GROWTH_SHARE_MAX);
        checks.push(Check {
            check: "memory is flat",
            held: memory.growth() <= bound,
            saw: json!({ "growth_kib": round(memory.growth()), "bound_kib": round(bound), "per_minute_kib": round(memory.per_minute) }),
        });
        let descriptors = self.trend(|sample| sample.descriptors as f64);
        let bound = (descriptors.first_half * GROWTH_SHARE_MAX).max(16.0);
        let (before, after) = (self.before.descriptors, self.settled.sample.descriptors);
        checks.push(Check {
            check: "descriptors are flat, and at the end as many as before",
            held: descriptors.growth() <= bound && after <= before,
            saw: json!({ "growth": round(descriptors.growth()), "bound": round(bound), "before": before, "after": after }),
        });
    }

    fn judge_reloads(&self, checks: &mut Vec<Check>) {
        let reloads = &self.reloads;
        let metrics = &self.settled.metrics;
        let published = metrics.sum("cube_proxy_tables_loads_total", "outcome=\"published\"");
        let refused = metrics.sum("cube_proxy_tables_loads_total", "outcome=\"refused\"");
        let adopted = reloads.adoption_ms.len() as u64;
        checks.push(Check {
            check: "every core adopts every generation, and decides with it",
            held: reloads.sent > 0
                && adopted == reloads.sent
                // One more: the tables of the start.
                && published == (reloads.sent + 1) as f64
                && refused == 0.0
                && reloads.wrong.is_empty(),
            saw: json!({
                "reloads": reloads.sent, "adopted": adopted, "published": published, "refused": refused,
                "probes": reloads.probes.len(), "wrong_answers": reloads.wrong.iter().take(10).collect::<Vec<_>>(),
            }),
        });
    }

    /// Of the time of full load after the warm-up.
    fn trend(&self, of: impl Fn(&Sample) -> f64) -> Trend {
        let warm = self.samples.iter().filter(|sample| sample.at_s >= self.seconds * WARM_UP);
        Trend::of(&warm.map(|sample| (sample.at_s, of(sample))).collect::<Vec<_>>())
    }

    fn figures(&self) -> Value {
        let mut adoption = self.reloads.adoption_ms.clone();
        adoption.sort_by(f64::total_cmp);
        let adoption_at = |share: f64| {
            adoption.get(((adoption.len() as f64 * share) as usize).min(adoption.len().saturating_sub(1)))
        };
        json!({
            "endings": self.books.endings,
            "memory_kib": self.trend(|sample| sample.rss_kib as f64),
            "memory_before_kib": self.before.rss_kib,
            "memory_after_kib": self.settled.sample.rss_kib,
            "descriptors": self.trend(|sample| sample.descriptors as f64),
            "adoption_ms": { "p50": adoption_at(0.5), "p99": adoption_at(0.99), "max": adoption.last() },
            "proxy_cpu_s": self.settled.metrics.sum("process_cpu_seconds_total", ""),
            "handovers": self.settled.metrics.sum("cube_proxy_connection_handovers_total", ""),
            "pool_stale": self.settled.metrics.sum("cube_proxy_pool_stale_total", ""),
            "model_server": self.mock,
        })
    }
}

/// A caller's report without what is judged elsewhere.
fn seen(report: &Report) -> Value {
    json!({
        "started": report.started, "completed": report.completed, "left": report.left, "cut": report.cut_as_asked,
        "failed": report.failed, "errors": report.errors, "connections": report.connections, "events": report.events,
        "first_event_us": { "p50": report.first_event_us.p50, "p99": report.first_event_us.p99 },
        "one_way_us": { "p50": report.one_way_us.p50, "p99": report.one_way_us.p99 },
    })
}

fn round(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}
