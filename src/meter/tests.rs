//! What a core counts, seen through its report.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use cube_wire::{DomainId, Operation};

use super::*;

fn finished(series: u64, model: &str) -> RequestRecord {
    RequestRecord {
        operation: Some(Operation::LlmChatCompletions),
        domain: Some(DomainId::from_bytes([7; 16])),
        model: Some(Arc::from(model)),
        series,
        status: 200,
        ending: Ending::Complete,
        duration: Duration::from_millis(1_100),
        ..RequestRecord::default()
    }
}

/// `label=value` pairs of every figure of a family, with its value.
fn figures(report: &CoreReport, family: &'static Family) -> Vec<(String, Value)> {
    report
        .samples
        .iter()
        .filter(|sample| sample.family == family)
        .map(|sample| {
            let labels: Vec<_> =
                sample.labels.iter().map(|(key, value)| format!("{key}={}", value.as_str())).collect();
            (labels.join(","), sample.value.clone())
        })
        .collect()
}

fn observations(report: &CoreReport, family: &'static Family) -> Vec<(String, u64)> {
    figures(report, family)
        .into_iter()
        .map(|(labels, value)| match value {
            Value::Histogram(histogram) => (labels, histogram.count()),
            Value::Number(number) => (labels, number),
        })
        .collect()
}

const DOMAIN: &str = "07070707-0707-0707-0707-070707070707";

#[test]
fn a_stream_is_counted_with_its_first_byte_its_pace_and_its_tokens() {
    let meter = Meter::new(10);
    meter.request_ended(&RequestRecord {
        stream: true,
        first_byte: Some(Duration::from_millis(100)),
        prompt_tokens: Some(20),
        completion_tokens: Some(11),
        ..finished(1, "llama")
    });
    let report = meter.report(0, "epoll");

    let model = format!("domain={DOMAIN},model=llama,operation=llm_chat_completions");
    assert_eq!(
        observations(&report, &family::REQUEST_DURATION),
        [(format!("{model},status_class=2xx,error="), 1)]
    );
    assert_eq!(observations(&report, &family::TIME_TO_FIRST_TOKEN), [(model.clone(), 1)]);
    assert_eq!(
        observations(&report, &family::TOKEN_USAGE),
        [(format!("{model},token_type=input"), 1), (format!("{model},token_type=output"), 1)]
    );
    // One second for the ten tokens after the first.
    let [(_, Value::Histogram(pace))] = &figures(&report, &family::TIME_PER_OUTPUT_TOKEN)[..] else {
        panic!("one histogram")
    };
    assert!((pace.sum - 100e6).abs() < 1.0, "100 ms per token, not {} ns", pace.sum);
}

#[test]
fn an_answer_that_is_not_streamed_or_has_one_token_has_no_pace() {
    let meter = Meter::new(10);
    let first_byte = Some(Duration::from_millis(100));
    meter.request_ended(&RequestRecord { first_byte, completion_tokens: Some(50), ..finished(1, "a") });
    for completion_tokens in [None, Some(0), Some(1)] {
        let stream = true;
        meter.request_ended(&RequestRecord { stream, first_byte, completion_tokens, ..finished(1, "a") });
    }
    let report = meter.report(0, "epoll");
    assert!(figures(&report, &family::TIME_PER_OUTPUT_TOKEN).is_empty());
    assert_eq!(observations(&report, &family::TIME_TO_FIRST_TOKEN)[0].1, 3);
}

#[test]
fn a_cut_stream_is_an_error_of_its_own_although_its_status_was_200() {
    let meter = Meter::new(10);
    meter.request_ended(&finished(1, "a"));
    meter.request_ended(&RequestRecord { ending: Ending::UpstreamCut, ..finished(1, "a") });
    let report = meter.report(0, "epoll");
    let durations = observations(&report, &family::REQUEST_DURATION);
    assert_eq!(durations.len(), 2);
    assert!(durations[1].0.ends_with("status_class=2xx,error=upstream_cut"), "{durations:?}");
    let endings = observations(&report, &family::REQUESTS);
    assert!(endings.contains(&("ending=complete".to_owned(), 1)));
    assert!(endings.contains(&("ending=upstream_cut".to_owned(), 1)));
}

/// Goal: no number of models makes the exposition grow without bound, and no request is lost from it. Method: 1,000 models
/// against a limit of 5.
#[test]
fn models_beyond_the_limit_are_counted_under_other() {
    let meter = Meter::new(5);
    for series in 1..=1_000 {
        meter.request_ended(&finished(series, &format!("m{series}")));
    }
    meter.request_ended(&finished(3, "m3"));
    meter.request_ended(&RequestRecord { status: 502, ending: Ending::UpstreamFailed, ..finished(3, "m3") });
    let durations = observations(&meter.report(0, "epoll"), &family::REQUEST_DURATION);
    assert_eq!(durations.iter().map(|(_, count)| count).sum::<u64>(), 1_002);
    let other: Vec<_> = durations.iter().filter(|(labels, _)| labels.contains("model=_other")).collect();
    assert_eq!(other.len(), 2, "one line per outcome");
    assert_eq!(other.iter().map(|(_, count)| count).sum::<u64>(), 996);
    assert_eq!(durations.len(), 5 + 2);
    assert!(durations.iter().any(|(labels, count)| labels.contains("model=m3,") && *count == 2));
}

#[test]
fn requests_without_a_model_are_kept_apart_by_domain_and_strangers_share_one_line() {
    let meter = Meter::new(10);
    for byte in [1, 2] {
        let domain = Some(DomainId::from_bytes([[byte; 8], [0; 8]].concat().try_into().expect("16 bytes")));
        meter.request_ended(&RequestRecord { domain, ..RequestRecord::default() });
    }
    for _ in 0..3 {
        meter.request_ended(&RequestRecord {
            status: 401,
            ending: Ending::Refused,
            ..RequestRecord::default()
        });
    }
    let durations = observations(&meter.report(0, "epoll"), &family::REQUEST_DURATION);
    assert_eq!(durations.len(), 3);
    let strangers = ("domain=,model=,operation=,status_class=4xx,error=refused".to_owned(), 3);
    assert!(durations.contains(&strangers), "{durations:?}");
}

#[test]
fn refusals_are_counted_by_code() {
    let meter = Meter::new(1);
    let other_copy: &'static str = String::from("not_found").leak();
    for code in ["not_found", "invalid_credential", "not_found", other_copy] {
        meter.refused(code);
    }
    let refusals = observations(&meter.report(0, "epoll"), &family::REFUSALS);
    assert_eq!(refusals, [("code=not_found".to_owned(), 3), ("code=invalid_credential".to_owned(), 1)]);
}

#[test]
fn a_report_names_the_core_its_driver_and_the_generation_it_adopted() {
    let meter = Meter::new(1);
    assert_eq!(meter.report(3, "uring").generation, 0);
    meter.adopted(42);
    meter.open_connections.up();
    let report = meter.report(3, "uring");
    assert_eq!((report.core, report.driver, report.generation, report.open_connections), (3, "uring", 42, 1));
    assert_eq!(figures(&report, &family::CORE), [("driver=uring".to_owned(), Value::Number(1))]);
}

#[test]
fn names_are_unique_and_within_the_exposition_formats_grammar() {
    let names: BTreeSet<_> = family::ALL.iter().map(|family| family.name).collect();
    assert_eq!(names.len(), family::ALL.len());
    for family in family::ALL {
        assert!(family.name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{}", family.name);
        assert!(!family.name.ends_with("_total"), "{}: the encoder adds it", family.name);
        assert!(!family.help.ends_with('.'), "{}: the encoder adds it", family.name);
        let seconds = family.unit == Unit::Nanoseconds;
        assert!(!seconds || family.name.ends_with("_seconds"), "{}", family.name);
    }
    for class in StatusClass::ALL {
        assert_eq!(StatusClass::ALL[class.index()], *class);
    }
}
