//! What may be remembered and shared of decisions, and how often a credential may ask.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::{KEY, Place, REJECTED, assert_coded, says, yes};
use crate::support::{Connection, Proxy, get, json_answer};

fn calls(proxy: &Proxy) -> f64 {
    proxy.metrics().sum("cube_proxy_callback_calls_total", &[])
}

fn decisions(proxy: &Proxy, source: &str) -> f64 {
    proxy.metrics().sum("cube_proxy_callback_decisions_total", &[&format!("source=\"{source}\"")])
}

/// Asks on `caller` for `method` and `path` with `fields`; the status.
fn ask(caller: &mut Connection, method: &str, path: &str, fields: &str) -> u16 {
    caller.send(get(path, fields).replace("GET", method));
    caller.response_to(method).status()
}

#[test]
fn by_default_every_request_is_asked_about() {
    let place = Place::new();
    let proxy = place.proxy();
    place.callback.answer(|_| yes());
    place.api.answer(|_| json_answer("{}"));
    let mut caller = proxy.cross();
    for _ in 0..5 {
        assert_eq!(ask(&mut caller, "GET", "/a", KEY), 200);
    }
    assert_eq!((calls(&proxy), decisions(&proxy, "call"), decisions(&proxy, "cache")), (5.0, 5.0, 0.0));
    assert_eq!(proxy.metrics().sum("cube_proxy_callback_duration_seconds_count", &[]), 5.0);
}

#[test]
fn a_decision_that_is_remembered_is_about_one_credential_method_and_path() {
    let place = Place::new();
    let proxy = place.proxy_with(|settings| {
        settings.set("passthrough.cache_ttl_s", 3600);
    });
    let asked = place.callback.answer(|_| yes());
    place.api.answer(|_| json_answer("{}"));
    let mut caller = proxy.cross();
    let questions = [
        ("GET", "/a", "x-api-key: k\r\n"),
        ("DELETE", "/a", "x-api-key: k\r\n"),
        ("GET", "/b", "x-api-key: k\r\n"),
        ("GET", "/a", "x-api-key: l\r\n"),
        ("GET", "/a", "authorization: Bearer k\r\n"),
    ];
    for round in 0..3 {
        for (method, path, fields) in questions {
            assert_eq!(ask(&mut caller, method, path, fields), 200);
            assert_eq!(asked.try_iter().count(), usize::from(round == 0), "{round} {method} {path} {fields}");
        }
    }
    // The query is no part of what was decided, for the callback does not see it.
    assert_eq!(ask(&mut caller, "GET", "/a?x=1", "x-api-key: k\r\n"), 200);
    assert_eq!(asked.try_iter().count(), 0);
    assert_eq!(decisions(&proxy, "cache"), 11.0);
}

#[test]
fn what_is_remembered_is_forgotten_in_time_and_refusals_have_a_time_of_their_own() {
    let place = Place::new();
    let proxy = place.proxy_with(|settings| {
        settings.set("passthrough.cache_ttl_s", 0.4);
    });
    let asked = place
        .callback
        .answer(|request| if request.field("x-api-key") == Some("bad") { says(403) } else { yes() });
    place.api.answer(|_| json_answer("{}"));
    let mut caller = proxy.cross();
    let begun = Instant::now();
    assert_eq!(ask(&mut caller, "GET", "/a", KEY), 200);
    while asked.try_iter().count() < 2 {
        assert_eq!(ask(&mut caller, "GET", "/a", KEY), 200);
        std::thread::sleep(Duration::from_millis(10));
        if begun.elapsed() > Duration::from_millis(400) {
            break;
        }
    }
    std::thread::sleep(Duration::from_millis(450));
    let _ = asked.try_iter().count();
    assert_eq!(ask(&mut caller, "GET", "/a", KEY), 200);
    assert_eq!(asked.try_iter().count(), 1, "asked again");
    for _ in 0..3 {
        assert_eq!(ask(&mut caller, "GET", "/a", "x-api-key: bad\r\n"), 401);
        assert_eq!(asked.try_iter().count(), 1, "a refusal is not remembered unless that is set");
    }

    let place = Place::new();
    let proxy = place.proxy_with(|settings| {
        settings.set("passthrough.refusal_cache_ttl_s", 3600);
    });
    let asked = place.callback.answer(|_| says(401));
    let mut caller = proxy.cross();
    for _ in 0..3 {
        caller.send(get("/a", KEY));
        assert_coded(&caller.response(), 401, REJECTED);
    }
    assert_eq!(asked.try_iter().count(), 1);
}

/// An error is no decision.
#[test]
fn a_failed_call_is_never_remembered() {
    let place = Place::new();
    let proxy = place.proxy_with(|settings| {
        settings.set("passthrough.cache_ttl_s", 3600).set("passthrough.refusal_cache_ttl_s", 3600);
    });
    place.api.answer(|_| json_answer("{}"));
    let mut caller = proxy.cross();
    for _ in 0..2 {
        caller.send(get("/a", KEY));
        let mut callback = place.callback.accept();
        callback.request();
        callback.send("nonsense\r\n\r\n");
        assert_eq!(caller.response().status(), 500);
    }
    caller.send(get("/a", KEY));
    let mut callback = place.callback.accept();
    callback.request();
    callback.send(yes());
    assert_eq!(caller.response().status(), 200);
}

#[test]
fn memory_is_bounded() {
    let place = Place::new();
    let proxy = place.proxy_with(|settings| {
        settings
            .set("passthrough.cache_ttl_s", 3600)
            .set("passthrough.cache_entries_max", 4)
            .set("passthrough.rate_limit_per_s", 0);
    });
    let asked = place.callback.answer(|_| yes());
    place.api.answer(|_| json_answer("{}"));
    let mut caller = proxy.cross();
    for _ in 0..2 {
        for number in 0..50 {
            assert_eq!(ask(&mut caller, "GET", &format!("/{number}"), KEY), 200);
        }
    }
    assert!(asked.try_iter().count() >= 90, "four of fifty can be remembered at most");
}

/// Goal: requests that would ask the same share a call. Method: the callback holds the first call until all of them are there.
#[test]
fn requests_that_ask_the_same_share_one_call() {
    let place = Place::new();
    let proxy = place.proxy_with(|settings| {
        settings.set("passthrough.single_flight", true);
    });
    place.api.answer(|_| json_answer("{}"));
    for (answer, status) in [(yes(), 200), (says(403), 401), (b"nonsense\r\n\r\n".to_vec(), 500)] {
        let before = decisions(&proxy, "shared");
        let mut callers: Vec<_> = (0..8).map(|_| proxy.cross()).collect();
        callers.iter_mut().for_each(|caller| caller.send(get("/same", KEY)));
        let mut callback = place.callback.accept();
        callback.request();
        proxy.wait_for_metrics("all are there", |metrics| {
            metrics.sum("cube_proxy_inflight_requests", &[]) >= 8.0
        });
        callback.send(&answer);
        for caller in &mut callers {
            assert_eq!(caller.response().status(), status);
        }
        assert_eq!(decisions(&proxy, "shared") - before, 7.0, "{status}");
        drop(callback);
    }
    assert!(place.callback.try_accept().is_none());
    // Without a time to remember them, decisions last as long as the call.
    let mut caller = proxy.cross();
    caller.send(get("/same", KEY));
    let mut callback = place.callback.accept();
    callback.request();
    callback.send(yes());
    assert_eq!(caller.response().status(), 200);
}

#[test]
fn one_that_leaves_hands_its_call_on_to_those_who_wait() {
    let place = Place::new();
    let proxy = place.proxy_with(|settings| {
        settings.set("passthrough.single_flight", true);
    });
    place.api.answer(|_| json_answer("{}"));
    let mut first = proxy.cross();
    first.send(get("/same", KEY));
    let mut call = place.callback.accept();
    call.request();
    let mut second = proxy.cross();
    second.send(get("/same", KEY));
    let mut third = proxy.cross();
    third.send(get("/same", KEY));
    proxy
        .wait_for_metrics("all are there", |metrics| metrics.sum("cube_proxy_inflight_requests", &[]) >= 3.0);
    drop(first);
    call.wait_for_end();
    let mut again = place.callback.accept();
    again.request();
    // One who only waits may leave as well.
    drop(third);
    again.send(yes());
    // Which of the two leads now is not said; if it was the one that left, the other asks once more.
    place.callback.answer(|_| yes());
    assert_eq!(second.response().status(), 200);
    proxy.wait_for_metrics("a call was abandoned", |metrics| {
        metrics.sum("cube_proxy_callback_calls_total", &["outcome=\"abandoned\""]) >= 1.0
    });
}

/// C9: per credential that the callback took, all cores together.
#[test]
fn a_credential_that_asks_too_often_is_429_and_others_are_not() {
    let place = Place::new();
    let proxy = place.proxy_with(|settings| {
        settings.set("passthrough.rate_limit_per_s", 5).set("cores.count", 2);
    });
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    place.callback.answer(move |request| {
        counted.fetch_add(1, Ordering::Relaxed);
        if request.field("x-api-key") == Some("bad") { says(403) } else { yes() }
    });
    place.api.answer(|_| json_answer("{}"));
    let mut limited = 0;
    let begun = Instant::now();
    for _ in 0..30 {
        // A connection of its own each time: they are dealt out to both cores.
        let mut caller = proxy.cross();
        caller.send(get("/a", KEY));
        let answer = caller.response();
        if answer.status() == 429 {
            assert_coded(&answer, 429, "Rate limit exceeded. Slow down.");
            assert_eq!(answer.field("retry-after"), Some("1"));
            limited += 1;
        }
    }
    let allowed = 30 - limited;
    let most = 5 + 5 * (begun.elapsed().as_millis() as usize / 1000 + 1);
    assert!((5..=most).contains(&allowed), "{allowed} of 30 in {:?}", begun.elapsed());
    let mut caller = proxy.cross();
    assert_eq!(ask(&mut caller, "GET", "/a", "x-api-key: other\r\n"), 200);
    assert_eq!(
        ask(&mut caller, "GET", "/a", "authorization: Bearer k-1\r\n"),
        200,
        "another kind is another one"
    );
    // Who is refused is refused, and counts nowhere; health is nobody's.
    for _ in 0..10 {
        assert_eq!(ask(&mut caller, "GET", "/a", "x-api-key: bad\r\n"), 401);
        assert_eq!(ask(&mut caller, "GET", "/health", KEY), 200);
    }
    assert!(count.load(Ordering::Relaxed) >= 42, "first the callback, then the limit");
}

#[test]
fn a_limit_of_zero_is_none() {
    let place = Place::new();
    let proxy = place.proxy_with(|settings| {
        settings.set("passthrough.rate_limit_per_s", 0);
    });
    place.callback.answer(|_| yes());
    place.api.answer(|_| json_answer("{}"));
    let mut caller = proxy.cross();
    for _ in 0..150 {
        assert_eq!(ask(&mut caller, "GET", "/a", KEY), 200);
    }
}
