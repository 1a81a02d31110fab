//! Usage on its way to cube-admin: every record, at least once, whatever happens to either side.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use crate::support::feed::{Feed, spawn, state_dir};
use crate::support::requests::chat_path;
use crate::support::{PATIENCE, Proxy, Tenant, Upstream, World, chat, json_answer, post};

fn world() -> (World, Tenant) {
    let upstream = Upstream::bind();
    let made = World::serving(&upstream.url());
    upstream.answer(|_| json_answer(r#"{"choices":[],"usage":{"prompt_tokens":11,"completion_tokens":5}}"#));
    made
}

/// Numbers of the records of `boot` that came, until there are `count`; a number that comes again is one number.
fn numbers(feed: &Feed, boot: Option<&str>, count: usize) -> BTreeSet<u64> {
    let until = Instant::now() + PATIENCE;
    let mut seen = BTreeSet::new();
    while seen.len() < count {
        assert!(Instant::now() < until, "{seen:?}");
        for posted in feed.posted_so_far() {
            if boot.is_none_or(|boot| boot == posted.boot) {
                seen.extend(posted.records.iter().map(|record| record.seq));
            }
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    seen
}

#[test]
fn every_request_becomes_one_usage_record_beside_a_sampled_access_log() {
    let feed = Feed::bind();
    let (world, tenant) = world();
    let mut launch = feed.launch();
    launch.settings.set("access_log.sample", 0.0);
    let (proxy, _answering) = feed.start_with(launch, &world);
    let request =
        post(&chat_path(), &format!("{}x-request-id: r-1\r\n", tenant.pat.line()), "{\"model\":\"tiny\"}");
    assert_eq!(proxy.ask(request).status(), 200);
    assert_eq!(proxy.ask(chat(&tenant.pat).replace("pat_", "pot_")).status(), 401);
    let mut records = Vec::new();
    while records.len() < 2 {
        let posted = feed.posted();
        assert_eq!(posted.boot.len(), 32);
        records.extend(posted.records);
    }
    records.sort_by_key(|record| record.seq);
    assert_eq!(records.iter().map(|record| record.seq).collect::<Vec<_>>(), [1, 2]);
    let good = records.iter().find(|record| record.status == 200).unwrap();
    assert_eq!((good.request_id.as_str(), good.ending.as_str()), ("r-1", "complete"));
    assert_eq!((good.prompt_tokens, good.completion_tokens), (Some(11), Some(5)));
    assert_eq!(good.pat.unwrap().to_string(), tenant.pat.id.to_string());
    assert_eq!((good.model.as_deref(), good.cluster.as_deref()), (Some("tiny"), Some("main")));
    assert_eq!((good.method.as_str(), good.path.as_str()), ("POST", "/v1/chat/completions"));
    let refused = records.iter().find(|record| record.status == 401).unwrap();
    assert_eq!((refused.ending.as_str(), refused.pat), ("refused", None));
    // The log's own sample: failures only.
    let logged = proxy.records(1);
    assert_eq!(logged[0]["status"], json!(401));
    let sent = |metrics: &crate::support::metrics::Metrics| metrics.sum("cube_proxy_usage_sent_total", &[]);
    let metrics = proxy.wait_for_metrics("both are acknowledged", |metrics| sent(metrics) == 2.0);
    assert_eq!(metrics.sum("cube_proxy_usage_spooled_total", &[]), 2.0);
    assert_eq!(metrics.sum("cube_proxy_usage_dropped_total", &[]), 0.0);
    assert_eq!(metrics.sum("cube_proxy_usage_spool_bytes", &[]), 0.0);
}

#[test]
fn what_is_not_acknowledged_is_sent_until_it_is() {
    let feed = Feed::bind();
    let (world, tenant) = world();
    feed.answer_usage_with(503);
    let (proxy, _answering) = feed.start(&world);
    for _ in 0..5 {
        assert_eq!(proxy.ask(chat(&tenant.pat)).status(), 200);
    }
    assert_eq!(numbers(&feed, None, 5), (1..=5).collect());
    // The same ones again, and nothing counts as sent.
    assert!(feed.posted().records.iter().any(|record| record.seq == 1));
    assert_eq!(proxy.metrics().sum("cube_proxy_usage_sent_total", &[]), 0.0);
    feed.answer_usage_with(204);
    proxy.wait_for_metrics("sent", |metrics| metrics.sum("cube_proxy_usage_sent_total", &[]) == 5.0);
}

#[test]
fn usage_that_admin_never_takes_does_not_keep_the_rest() {
    let feed = Feed::bind();
    let (world, tenant) = world();
    feed.answer_usage_with(422);
    let (proxy, _answering) = feed.start(&world);
    for _ in 0..3 {
        proxy.ask(chat(&tenant.pat));
    }
    let refused = ["reason=\"refused\""];
    proxy.wait_for_metrics("given up", |metrics| {
        metrics.sum("cube_proxy_usage_dropped_total", &refused) == 3.0
    });
    feed.answer_usage_with(204);
    proxy.ask(chat(&tenant.pat));
    proxy.wait_for_metrics("sent", |metrics| metrics.sum("cube_proxy_usage_sent_total", &[]) == 1.0);
}

/// Goal: what was answered is accounted for, though both sides fail. Method: admin takes nothing, the proxy is killed, twice; then
/// admin takes everything, each boot under its own name.
#[test]
fn what_a_killed_proxy_had_spooled_is_sent_by_the_next_one_under_its_own_boot() {
    let feed = Feed::bind();
    let (world, tenant) = world();
    feed.answer_usage_with(503);
    let (mut proxy, _answering) = feed.start(&world);
    let mut boots = Vec::new();
    for _ in 0..2 {
        boots.push(feed.report("a boot", |report| !boots.contains(&report.boot)).boot);
        for _ in 0..3 {
            assert_eq!(proxy.ask(chat(&tenant.pat)).status(), 200);
        }
        let spooled =
            |metrics: &crate::support::metrics::Metrics| metrics.sum("cube_proxy_usage_spooled_total", &[]);
        proxy.wait_for_metrics("spooled", |metrics| spooled(metrics) == 3.0);
        let launch = proxy.kill();
        let child = spawn(&launch);
        proxy = Proxy::adopt(launch, child);
    }
    assert_ne!(boots[0], boots[1]);
    feed.posted_so_far();
    feed.answer_usage_with(204);
    let mut seen: Vec<BTreeSet<u64>> = vec![BTreeSet::new(); 2];
    let until = Instant::now() + PATIENCE;
    while seen.iter().any(|numbers| numbers.len() < 3) {
        assert!(Instant::now() < until, "{seen:?}");
        for posted in feed.posted_so_far() {
            let boot = boots.iter().position(|boot| *boot == posted.boot).expect("a boot that we know");
            seen[boot].extend(posted.records.iter().map(|record| record.seq));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(seen, vec![(1..=3).collect::<BTreeSet<u64>>(); 2]);
    // What was sent is gone from the disk.
    let dir = state_dir(proxy.launch());
    let until = Instant::now() + PATIENCE;
    let left = || {
        fs::read_dir(&dir)
            .unwrap()
            .flatten()
            .filter(|entry| {
                boots.iter().any(|boot| entry.file_name().to_string_lossy().contains(boot.as_str()))
            })
            .count()
    };
    while left() > 0 {
        assert!(Instant::now() < until, "{} files are left", left());
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_proxy_that_ends_sends_what_it_has_before_it_goes() {
    let feed = Feed::bind();
    let (world, tenant) = world();
    let (mut proxy, _answering) = feed.start(&world);
    for _ in 0..4 {
        assert_eq!(proxy.ask(chat(&tenant.pat)).status(), 200);
    }
    proxy.signal(Signal::TERM);
    feed.report("the drain", |report| report.draining);
    assert!(proxy.wait_for_exit().success());
    assert_eq!(numbers(&feed, None, 4), (1..=4).collect());
    let left = fs::read_dir(state_dir(proxy.launch())).unwrap().flatten();
    assert!(!left.into_iter().any(|entry| entry.file_name().to_string_lossy().starts_with("usage-")));
}
