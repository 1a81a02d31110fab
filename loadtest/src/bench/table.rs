//! From samples to a table: medians per row and peer, and how cube-proxy compares with the best peer.

use super::measure::Sample;
use super::rows::Row;
use serde::Serialize;
use std::fmt::Write as _;

/// One cell: the median over the rounds, and their range.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Cell {
    pub(super) row: Row,
    pub(super) peer: String,
    pub(super) median: f64,
    pub(super) least: f64,
    pub(super) most: f64,
    /// Against the best of the real peers (not the relay, not direct); per round, then the median.
    pub(super) ratio_to_best: Option<f64>,
    /// Units per second, median.
    pub(super) units_per_s: f64,
    /// Exchanges that failed, events lost, doubled or out of order, over all rounds.
    pub(super) faults: u64,
    /// µs at p50 and p99, median: one-way delay for streams, whole answers otherwise.
    pub(super) delay_us: (f64, f64),
}

/// Names that the ratios are against.
pub(super) const REAL_PEERS: [&str; 2] = ["nginx", "haproxy"];

/// All cells, rows and peers in the order of their first sample.
pub(super) fn cells(samples: &[Sample]) -> Vec<Cell> {
    let mut keys: Vec<(Row, &str)> = Vec::new();
    for sample in samples {
        if !keys.contains(&(sample.row, &sample.peer)) {
            keys.push((sample.row, &sample.peer));
        }
    }
    keys.iter().map(|(row, peer)| cell(samples, *row, peer)).collect()
}

fn cell(samples: &[Sample], row: Row, peer: &str) -> Cell {
    let of = |peer: &str| {
        samples.iter().filter(move |sample| sample.row == row && sample.peer == peer).collect::<Vec<_>>()
    };
    let mine = of(peer);
    let values: Vec<f64> = mine.iter().map(|sample| sample.value).collect();
    let ratios: Vec<f64> = mine
        .iter()
        .filter_map(|sample| {
            let others = REAL_PEERS.iter().flat_map(|name| of(name));
            let best = others.filter(|other| other.round == sample.round).map(|other| other.value);
            best.reduce(f64::min).map(|best| sample.value / best)
        })
        .collect();
    let delay = |pick: fn(&crate::histogram::Percentiles) -> f64| {
        let times = mine.iter().map(|sample| {
            let report = &sample.report;
            pick(if report.one_way_us.count > 0 && row != Row::L2 {
                &report.one_way_us
            } else if row == Row::L2 {
                &report.first_event_us
            } else {
                &report.latency_us
            })
        });
        median(&times.collect::<Vec<_>>())
    };
    let faults = mine.iter().map(|sample| {
        let report = &sample.report;
        report.failed + report.lost + report.duplicated + report.reordered
    });
    Cell {
        row,
        peer: peer.to_owned(),
        median: median(&values),
        least: values.iter().copied().fold(f64::INFINITY, f64::min),
        most: values.iter().copied().fold(0.0, f64::max),
        ratio_to_best: (!ratios.is_empty()).then(|| median(&ratios)),
        units_per_s: median(
            &mine.iter().map(|sample| sample.units as f64 / sample.seconds).collect::<Vec<_>>(),
        ),
        faults: faults.sum(),
        delay_us: (delay(|times| times.p50), delay(|times| times.p99)),
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => sorted[odd / 2],
        even => f64::midpoint(sorted[even / 2 - 1], sorted[even / 2]),
    }
}

/// The cells as Markdown: one line per row, one column per peer; below it, delays and rates.
pub(super) fn markdown(cells: &[Cell], peers: &[String]) -> String {
    let mut text = String::from("| row |");
    for peer in peers {
        let _ = write!(text, " {peer} |");
    }
    text.push_str(" against the best peer |\n|---|");
    text.push_str(&"---|".repeat(peers.len() + 1));
    text.push('\n');
    for row in Row::ALL {
        let of = |peer: &String| cells.iter().find(|cell| cell.row == row && cell.peer == *peer);
        if peers.iter().all(|peer| of(peer).is_none()) {
            continue;
        }
        let _ = write!(text, "| {row:?} {} |", row.title());
        for peer in peers {
            match of(peer) {
                Some(cell) => {
                    let fault =
                        if cell.faults > 0 { format!(" ({} faults!)", cell.faults) } else { String::new() };
                    let _ = write!(text, " {:.2} ({:.2}–{:.2}){fault} |", cell.median, cell.least, cell.most);
                }
                None => text.push_str(" |"),
            }
        }
        let ours = peers.iter().filter(|peer| is_ours(peer)).filter_map(|peer| {
            let ratio = of(peer)?.ratio_to_best?;
            Some(format!("{peer} {ratio:.2} ×"))
        });
        let _ = writeln!(text, " {} |", ours.collect::<Vec<_>>().join(", "));
    }
    text.push_str("\n| row | peer | units/s | delay p50 µs | p99 µs |\n|---|---|---|---|---|\n");
    for cell in cells.iter().filter(|cell| !cell.row.is_memory()) {
        let (p50, p99) = cell.delay_us;
        let _ = writeln!(
            text,
            "| {:?} | {} | {:.0} | {p50:.0} | {p99:.0} |",
            cell.row, cell.peer, cell.units_per_s
        );
    }
    text
}

fn is_ours(peer: &str) -> bool {
    !REAL_PEERS.contains(&peer) && peer != "relay" && peer != "direct"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Report;

    fn sample(peer: &str, round: usize, value: f64) -> Sample {
        Sample {
            row: Row::S1,
            peer: peer.to_owned(),
            round,
            value,
            units: 10,
            seconds: 2.0,
            cpu_s: 0.0,
            core_busy_s: 0.0,
            pss_kib: None,
            report: Report::default(),
        }
    }

    #[test]
    fn ratios_are_taken_within_a_round_against_its_best_peer() {
        let samples = [
            sample("nginx", 0, 10.0),
            sample("haproxy", 0, 8.0),
            sample("cube", 0, 4.0),
            sample("nginx", 1, 20.0),
            sample("haproxy", 1, 30.0),
            sample("cube", 1, 16.0),
            sample("nginx", 2, 10.0),
            sample("haproxy", 2, 10.0),
            sample("cube", 2, 6.0),
        ];
        let cells = cells(&samples);
        assert_eq!((cells[2].median, cells[2].least, cells[2].most), (6.0, 4.0, 16.0));
        assert_eq!(cells[2].ratio_to_best, Some(0.6));
        let text = markdown(&cells, &["nginx".to_owned(), "haproxy".to_owned(), "cube".to_owned()]);
        assert!(text.contains("| S1 ") && text.contains("cube 0.60 ×"), "{text}");
    }
}
