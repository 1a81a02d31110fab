//! The load client against the mock: right streams pass, every kind of wrong one is told by its name.
#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

use cube_loadtest::load::{Load, Mode, Options, Outcome, Report};
use cube_loadtest::mock::Mock;
use std::collections::BTreeMap;

fn mock() -> Mock {
    Mock::start(&cube_loadtest::mock::Options::default()).unwrap()
}

fn run(mock: &Mock, change: impl FnOnce(&mut Options)) -> Report {
    let mut options = Options::against(&format!("http://{}", mock.address()));
    options.concurrency = 8;
    options.requests = 40;
    options.events = 50;
    options.duration_s = 20.0;
    change(&mut options);
    let report = Load::start(options).unwrap().wait().unwrap();
    let ends = report.completed + report.left + report.cut_as_asked + report.failed + report.unfinished;
    assert_eq!(report.started, ends, "every exchange ends in exactly one way: {report:?}");
    report
}

#[test]
fn every_event_of_every_stream_is_counted_once_and_timed() {
    let report = run(&mock(), |options| options.include_usage = true);
    assert!(report.is_clean(), "{report:?}");
    assert_eq!((report.completed, report.events, report.connections), (40, 2000, 8));
    assert_eq!(report.one_way_us.count, 2000);
    assert_eq!(report.gap_us.count, 40 * 49);
    assert!(report.first_byte_us.p50 > 0.0 && report.one_way_us.max < 5e6);
}

#[test]
fn paths_of_ollama_and_answers_of_any_framing_are_understood() {
    let mock = mock();
    let ollama = run(&mock, |options| options.path = "/api/chat".to_owned());
    assert!(ollama.is_clean() && ollama.events == 2000, "{ollama:?}");
    for framing in ["length", "close"] {
        let report = run(&mock, |options| options.fields.push(format!("x-mock-framing: {framing}")));
        assert!(report.is_clean() && report.events == 2000, "{framing}: {report:?}");
    }
    for field in ["x-mock-chunk-bytes: 1", "x-mock-write-bytes: 100"] {
        let report = run(&mock, |options| options.fields.push(field.to_owned()));
        assert!(report.is_clean() && report.events == 2000, "{field}: {report:?}");
    }
}

#[test]
fn json_runs_on_kept_alive_connections_or_on_new_ones() {
    let mock = mock();
    let kept = run(&mock, |options| {
        options.mode = Mode::Json;
        options.body_bytes = Some(204_800);
    });
    assert!(kept.is_clean(), "{kept:?}");
    assert_eq!((kept.completed, kept.connections, kept.bytes), (40, 8, 40 * 204_800));
    let new = run(&mock, |options| options.mode = Mode::NewConnection);
    assert!(new.is_clean(), "{new:?}");
    assert_eq!((new.completed, new.connections), (40, 40));
}

#[test]
fn each_fault_is_told_by_its_name() {
    let mock = mock();
    for (field, kind) in [
        ("x-mock-fault: cut-after-events=7", "cut_in_body"),
        ("x-mock-fault: cut-mid-chunk=7", "cut_in_body"),
        ("x-mock-fault: reset-after-events=7", "reset_in_body"),
        ("x-mock-fault: bad-chunk=7", "bad_chunk"),
        ("x-mock-fault: error-event=7", "error_event"),
        ("x-mock-fault: close", "closed_before_head"),
        ("x-mock-fault: reset", "reset_before_head"),
        ("x-mock-fault: silent", "timeout"),
        ("x-mock-status: 503", "status 503"),
        ("x-mock-events: 20", "events_missing"),
        ("x-mock-echo: 1", "no_done"),
    ] {
        let report = run(&mock, |options| {
            options.fields.push(field.to_owned());
            options.requests = 8;
            options.timeout_s = 0.3;
        });
        assert_eq!(report.errors, BTreeMap::from([(kind.to_owned(), 8)]), "{field}: {report:?}");
    }
}

#[test]
fn streams_that_are_left_or_cut_on_purpose_are_no_failures() {
    let mock = mock();
    let report = run(&mock, |options| {
        options.requests = 400;
        options.leave_share = 0.3;
        options.cut_share = 0.3;
        options.pace_us = 200;
        options.concurrency = 40;
    });
    assert!(report.is_clean(), "{report:?}");
    assert!(report.left > 50 && report.cut_as_asked > 50 && report.completed > 50, "{report:?}");
    assert_eq!(report.left + report.cut_as_asked + report.completed, 400);
}

#[test]
fn named_requests_are_remembered_one_by_one_and_some_leave_before_the_answer() {
    let mock = mock();
    let report = run(&mock, |options| {
        options.requests = 200;
        options.leave_share = 0.2;
        options.cut_share = 0.2;
        options.leave_unanswered_share = 0.2;
        options.concurrency = 40;
        options.request_ids = Some("name".to_owned());
    });
    assert!(report.is_clean(), "{report:?}");
    let count = |of| report.outcomes.iter().filter(|outcome| **outcome == of).count() as u64;
    assert_eq!(report.outcomes.len(), 200);
    assert_eq!(
        (count(Outcome::Completed), count(Outcome::CutAsAsked)),
        (report.completed, report.cut_as_asked)
    );
    let unanswered = count(Outcome::LeftUnanswered);
    assert_eq!(count(Outcome::Left) + unanswered, report.left);
    assert!(unanswered > 10, "{report:?}");
    // Our side of a connection is closed before the mock sees it.
    let start = std::time::Instant::now();
    while mock.stats().cancelled_before_head < unanswered && start.elapsed().as_secs() < 5 {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert_eq!(mock.stats().cancelled_before_head, unanswered);
}

#[test]
fn a_rate_is_kept_and_a_stopped_load_reports_what_it_saw() {
    let mock = mock();
    let start = std::time::Instant::now();
    let report = run(&mock, |options| {
        options.mode = Mode::Json;
        options.rate = 100.0;
        options.requests = 50;
    });
    assert!(report.is_clean() && start.elapsed().as_secs_f64() > 0.4, "{report:?}");

    let mut options = Options::against(&format!("http://{}", mock.address()));
    options.pace_us = 1000;
    options.events = 1_000_000;
    options.grace_s = 0.0;
    let load = Load::start(options).unwrap();
    while load.progress().events < 100 || load.progress().running < 64 {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let report = load.stop().unwrap();
    assert!(report.unfinished == 64 && report.is_clean(), "{report:?}");
}
