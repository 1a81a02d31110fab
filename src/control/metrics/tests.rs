//! The exposition, read back by a small parser of its own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cube_wire::{DomainId, Operation};

use super::Exposition;
use crate::meter::{AttemptOutcome, Family, Meter, family};
use crate::record::{Ending, RequestRecord};

/// What a scraper understands of a text: the type of each family, and each line's value.
#[derive(Debug, Default)]
struct Scrape {
    types: BTreeMap<String, String>,
    lines: BTreeMap<String, f64>,
}

impl Scrape {
    /// Reads a text, and checks what the format asks of it: help and type before the lines, no line twice, the end marked.
    fn read(text: &str) -> Self {
        let mut scrape = Self::default();
        let mut family = String::new();
        let body = text.strip_suffix("# EOF\n").expect("the end is marked");
        for line in body.lines() {
            if let Some(comment) = line.strip_prefix("# ") {
                let mut words = comment.splitn(3, ' ');
                let (kind, name, rest) =
                    (words.next(), words.next().expect("a name"), words.next().expect("a text"));
                if kind == Some("TYPE") {
                    assert!(scrape.types.insert(name.to_owned(), rest.to_owned()).is_none(), "{name} twice");
                    family = name.to_owned();
                } else {
                    assert!(kind == Some("HELP") && rest.ends_with('.') && !rest.ends_with(".."), "{line}");
                }
                continue;
            }
            let (series, value) = line.rsplit_once(' ').expect("a value");
            let name = series.split('{').next().expect("a name");
            let suffix = name.strip_prefix(&family).expect("lines follow their type");
            let allowed: &[&str] = match scrape.types[&family].as_str() {
                "counter" => &["_total"],
                "gauge" => &[""],
                "histogram" => &["_bucket", "_sum", "_count"],
                other => panic!("{other}"),
            };
            assert!(allowed.contains(&suffix), "{line}");
            assert!(series.matches('"').count() % 2 == 0, "{line}");
            let value = value.parse().expect("a number");
            assert!(scrape.lines.insert(series.to_owned(), value).is_none(), "{series} twice");
        }
        scrape
    }

    #[track_caller]
    fn value(&self, series: &str) -> f64 {
        *self.lines.get(series).unwrap_or_else(|| panic!("{series} is not among {:#?}", self.lines))
    }
}

fn scrape_of(meters: &[Meter]) -> Scrape {
    let mut exposition = Exposition::default();
    for (core, meter) in meters.iter().enumerate() {
        exposition.add_core(meter.report(core, "epoll"));
    }
    Scrape::read(&exposition.render())
}

fn stream(tokens: u64) -> RequestRecord {
    RequestRecord {
        operation: Some(Operation::LlmChatCompletions),
        domain: Some(DomainId::from_bytes([0xab; 16])),
        model: Some(Arc::from("llama \"3\"\\\n")),
        series: 9,
        status: 200,
        ending: Ending::Complete,
        stream: true,
        first_byte: Some(Duration::from_millis(30)),
        duration: Duration::from_millis(1_530),
        completion_tokens: Some(tokens),
        ..RequestRecord::default()
    }
}

#[test]
fn figures_of_all_cores_are_added_up_and_only_gauges_of_a_core_stay_apart() {
    let meters = [Meter::new(10), Meter::new(10)];
    for meter in &meters {
        meter.relayed_down_bytes.add(100);
        meter.open_connections.up();
        meter.refused("not_found");
        meter.attempts.bump(AttemptOutcome::ConnectTimeout);
        meter.loop_delay.observe(300_000);
    }
    meters[1].open_connections.up();
    let scrape = scrape_of(&meters);
    for (series, value) in [
        ("cube_proxy_relayed_bytes_total{direction=\"down\"}", 200.0),
        ("cube_proxy_open_connections{core=\"0\"}", 1.0),
        ("cube_proxy_open_connections{core=\"1\"}", 2.0),
        ("cube_proxy_refusals_total{code=\"not_found\"}", 2.0),
        ("cube_proxy_upstream_attempts_total{outcome=\"connect_timeout\"}", 2.0),
        ("cube_proxy_upstream_attempts_total{outcome=\"answered\"}", 0.0),
        ("cube_proxy_core_info{driver=\"epoll\",core=\"1\"}", 1.0),
        ("cube_proxy_core_loop_delay_seconds_count{core=\"1\"}", 1.0),
        ("cube_proxy_core_loop_delay_seconds_bucket{le=\"0.00025\",core=\"1\"}", 0.0),
        ("cube_proxy_core_loop_delay_seconds_bucket{le=\"0.0005\",core=\"1\"}", 1.0),
    ] {
        assert!((scrape.value(series) - value).abs() < 1e-9, "{series}: {}", scrape.value(series));
    }
}

#[test]
fn durations_are_exported_in_seconds_and_buckets_accumulate() {
    let meters = [Meter::new(10), Meter::new(10)];
    meters[0].request_ended(&stream(16));
    meters[1].request_ended(&stream(16));
    let scrape = scrape_of(&meters);
    // The model's quote, backslash and line end arrive escaped.
    let model = "domain=\"abababab-abab-abab-abab-abababababab\",model=\"llama \\\"3\\\"\\\\\\n\",\
                 operation=\"llm_chat_completions\"";
    let duration = "gen_ai_server_request_duration_seconds";
    let outcome = format!("{model},status_class=\"2xx\",error=\"\"");
    assert!((scrape.value(&format!("{duration}_sum{{{outcome}}}")) - 3.06).abs() < 1e-9);
    for (bound, count) in [("1.28", 0.0), ("2.56", 2.0), ("640.0", 2.0), ("+Inf", 2.0)] {
        let series = format!("{duration}_bucket{{le=\"{bound}\",{outcome}}}");
        assert!((scrape.value(&series) - count).abs() < 1e-9, "{series}");
    }
    let first = "gen_ai_server_time_to_first_token_seconds";
    assert!((scrape.value(&format!("{first}_bucket{{le=\"0.04\",{model}}}")) - 2.0).abs() < 1e-9);
    // 1.5 s for 15 tokens.
    let pace = "gen_ai_server_time_per_output_token_seconds";
    assert!((scrape.value(&format!("{pace}_sum{{{model}}}")) - 0.2).abs() < 1e-9);
    let usage = format!("gen_ai_client_token_usage_bucket{{le=\"16.0\",{model},token_type=\"output\"}}");
    assert!((scrape.value(&usage) - 2.0).abs() < 1e-9);
}

#[test]
fn every_family_of_the_control_thread_can_be_written() {
    let mut exposition = Exposition::default();
    let own: Vec<&Family> = family::ALL.iter().copied().filter(|family| !family.per_core).collect();
    for family in &own {
        exposition.add(family, 1);
    }
    exposition.add_by(&family::TABLES_LOADS, "outcome", "published", 2);
    let text = exposition.render();
    assert!(text.contains("process_cpu_seconds_total 1e-9\n"), "{text}");
    assert!(text.contains("cube_proxy_tables_generation 1\n"), "{text}");
    assert!(text.contains("cube_proxy_tables_loads_total{outcome=\"published\"} 2\n"), "{text}");
}

#[test]
fn a_proxy_that_did_nothing_yet_has_its_counters_at_zero() {
    let scrape = scrape_of(&[Meter::new(10)]);
    assert!(scrape.value("cube_proxy_panics_total{core=\"0\"}") < 1e-9);
    assert!(scrape.value("cube_proxy_requests_total{ending=\"complete\"}") < 1e-9);
    assert!(!scrape.types.contains_key("gen_ai_client_token_usage"), "no histogram without an observation");
}
