//! Connections to an upstream are used again only when nothing of the last exchange is left on them.

use std::sync::mpsc::channel;
use std::thread::sleep;
use std::time::Duration;

use serde_json::json;

use crate::support::requests::{chat_body, chat_path, chat_stream};
use crate::support::{
    Connection, Nobody, Proxy, STREAM_HEAD, Upstream, World, chat, chunk, json_answer, post, start,
};

#[test]
fn a_finished_exchange_leaves_its_connection_to_the_next() {
    let (upstream, tenant, proxy) = start();
    let mut connection = None;
    for n in 0..5 {
        // Each caller on a connection of its own: the pool is the core's, not the caller's.
        let mut caller = proxy.connect();
        caller.send(chat(&tenant.pat));
        let connection = connection.get_or_insert_with(|| upstream.accept());
        connection.request();
        connection.send(json_answer(&n.to_string()));
        assert_eq!(caller.response().text(), n.to_string());
    }
    assert!(upstream.try_accept().is_none());
}

/// Goal: bytes after an answer are nobody's. Method: a canary behind every kind of answer; the next caller must be
/// served from a fresh connection and never see it, whether the canary comes with the answer or later.
#[test]
fn bytes_after_an_answer_never_reach_another_caller() {
    let canary = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\ncanary";
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n";
    let answers = [String::from_utf8(json_answer("{}")).unwrap(), chunked.to_owned()];
    for (n, answer) in answers.iter().enumerate() {
        for late in [false, true] {
            let (upstream, tenant, proxy) = start();
            let mut caller = proxy.connect();
            caller.send(chat(&tenant.pat));
            let mut poisoned = upstream.accept();
            poisoned.request();
            if late {
                poisoned.send(answer);
                assert_eq!(caller.response().text(), "{}");
                poisoned.offer(canary);
            } else {
                poisoned.send(format!("{answer}{canary}"));
                assert_eq!(caller.response().text(), "{}");
            }
            poisoned.wait_for_end();
            for mut next in [caller, proxy.connect()] {
                next.send(chat(&tenant.pat));
                let mut fresh = upstream.accept();
                fresh.request();
                fresh.send(json_answer("{\"fresh\":1}"));
                assert_eq!(next.response().text(), "{\"fresh\":1}", "answer {n}, late {late}");
                drop(fresh);
            }
        }
    }
}

#[test]
fn a_connection_that_says_close_or_1_0_is_not_used_again() {
    for answer in [
        "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\nConnection: x, Close\r\ncontent-length: 2\r\n\r\n{}",
        "HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\n{}",
    ] {
        let (upstream, tenant, proxy) = start();
        let mut caller = proxy.connect();
        for _ in 0..2 {
            caller.send(chat(&tenant.pat));
            let mut connection = upstream.accept();
            connection.request();
            connection.send(answer);
            let got = caller.response();
            assert_eq!((got.text().as_str(), got.field("connection")), ("{}", None), "{answer:?}");
            connection.wait_for_end();
        }
    }
}

#[test]
fn a_connection_that_its_server_closed_while_idle_is_replaced_without_a_word() {
    let (upstream, tenant, proxy) = start();
    let mut caller = proxy.connect();
    for n in 0..10 {
        caller.send(chat(&tenant.pat));
        let mut connection = upstream.accept();
        connection.request();
        connection.send(json_answer("{}"));
        assert_eq!(caller.response().status(), 200, "request {n}");
        if n % 2 == 0 { drop(connection) } else { connection.reset() }
    }
}

/// The race that no check avoids: the server closes while the request is on its way. The connection was used
/// before and not a byte came back, so the request is sent once more, on a fresh one.
#[test]
fn a_reused_connection_that_dies_with_the_request_is_retried_once() {
    let (upstream, tenant, proxy) = start();
    let mut caller = proxy.connect();
    for reset in [false, true] {
        caller.send(chat(&tenant.pat));
        let mut connection = upstream.accept();
        connection.request();
        connection.send(json_answer("{\"n\":1}"));
        assert_eq!(caller.response().status(), 200);

        caller.send(chat(&tenant.pat));
        connection.request();
        if reset {
            connection.reset()
        } else {
            drop(connection)
        }
        let mut second = upstream.accept();
        let request = second.request();
        assert_eq!(request.text(), chat_body("false"));
        second.send("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 7\r\n\r\n{\"n\":2}");
        assert_eq!(caller.response().text(), "{\"n\":2}");
    }
    assert!(upstream.try_accept().is_none());
}

/// D9. Once a byte of an answer came, or the connection was fresh, the request may have been executed.
#[test]
fn a_request_that_may_have_been_executed_is_never_sent_twice() {
    let (upstream, tenant, proxy) = start();
    let mut caller = proxy.connect();
    // Fresh.
    caller.send(chat(&tenant.pat));
    let mut connection = upstream.accept();
    connection.request();
    drop(connection);
    assert_eq!(caller.response().status(), 502);
    assert!(upstream.try_accept().is_none());
    // Reused, but it had begun to answer.
    caller.send(chat(&tenant.pat));
    let mut connection = upstream.accept();
    connection.request();
    connection.send(json_answer("{}"));
    assert_eq!(caller.response().status(), 200);
    caller.send(chat(&tenant.pat));
    connection.request();
    connection.send("HTTP/1.1 ");
    connection.wait_until_taken();
    drop(connection);
    assert_eq!(caller.response().status(), 502);
    assert!(upstream.try_accept().is_none());
}

/// The same for a body that is too large to be held: it cannot be sent again, so it goes out where that will hardly be needed.
#[test]
fn a_body_that_is_not_held_is_sent_once_and_on_no_connection_that_has_cooled() {
    let (upstream, tenant, proxy) = start();
    let padding = "x".repeat(2 * 1024 * 1024);
    let large =
        chat_body("false").replacen('}', &format!("}},{{\"role\":\"user\",\"content\":\"{padding}\"}}"), 1);
    let mut caller = proxy.connect();
    caller.send(chat(&tenant.pat));
    let mut kept = upstream.accept();
    kept.request();
    kept.send(json_answer("{}"));
    assert_eq!(caller.response().status(), 200);
    sleep(Duration::from_millis(1100));
    caller.send(post(&chat_path(), &tenant.pat.line(), &large));
    let mut new = upstream.accept();
    assert_eq!(new.request().text(), large);
    new.send(json_answer("{}"));
    assert_eq!(caller.response().status(), 200);
    drop(new);
    caller.send(chat(&tenant.pat));
    kept.request();
    kept.send(json_answer("{}"));
    assert_eq!(caller.response().status(), 200);
}

/// Nothing was sent to the endpoint that could not be reached, so the next may have the request.
#[test]
fn an_endpoint_that_cannot_be_reached_is_passed_over() {
    let dead = [(); 2].map(|()| Nobody::bind());
    let upstream = Upstream::bind();
    let (mut world, tenant) = World::serving(&upstream.url());
    world.record("cluster", "main")["endpoints"] =
        json!([{"url": dead[0].url()}, {"url": upstream.url()}, {"url": dead[1].url()}]);
    let requests = upstream.answer(|_| json_answer("{}"));
    let proxy = Proxy::with(&world, |settings| {
        settings.set("upstream.attempts_max", 3);
    });
    for n in 0..20 {
        let answer = proxy.ask(chat(&tenant.pat));
        assert_eq!(answer.status(), 200, "request {n}: {}", answer.text());
    }
    assert_eq!(requests.try_iter().count(), 20);
}

/// A cancelled stream's connection holds the rest of that stream.
#[test]
fn a_connection_whose_caller_left_is_not_used_again() {
    let (upstream, tenant, proxy) = start();
    let mut caller = proxy.connect();
    caller.send(chat_stream(&tenant.pat));
    let mut connection = upstream.accept();
    connection.request();
    connection.send(STREAM_HEAD);
    connection.send(chunk("data: 1\n\n"));
    caller.take_through(b"\n\n");
    drop(caller);
    connection.wait_for_end();
    let mut next = proxy.connect();
    next.send(chat(&tenant.pat));
    let mut fresh = upstream.accept();
    fresh.request();
    fresh.send(json_answer("{}"));
    assert_eq!(next.response().text(), "{}");
}

/// The nonce canary: many callers at once, each must get its own answer, with aborts in between.
#[test]
fn every_caller_gets_the_answer_to_its_own_request() {
    let upstream = Upstream::bind();
    let (world, tenant) = World::serving(&upstream.url());
    upstream.play(|number, mut connection| {
        let mut served = 0;
        while connection.read_some() {
            let nonce = connection.request().json()["nonce"].to_string();
            served += 1;
            let mut answer = json_answer(&nonce);
            if (number + served) % 7 == 0 {
                answer.extend_from_slice(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\ncanary");
            }
            if !connection.offer(answer) || (number + served) % 11 == 0 {
                return;
            }
        }
    });
    let proxy = Proxy::with(&world, |settings| {
        settings.set("cores.count", 2);
    });
    let (failed, failures) = channel();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (failed, pat, address) = (failed.clone(), &tenant.pat, proxy.data);
            scope.spawn(move || {
                let mut caller = Connection::to(address);
                for n in 0..100 {
                    let nonce = thread * 1000 + n;
                    let body = chat_body("false").replacen('{', &format!("{{\"nonce\":{nonce},"), 1);
                    caller.send(post(&chat_path(), &pat.line(), &body));
                    if n % 13 == 0 {
                        caller = Connection::to(address);
                        continue;
                    }
                    let answer = caller.response();
                    // The scripted closes can leave a fresh connection without an answer; never with another's.
                    if answer.status() == 200 && answer.text() != nonce.to_string() {
                        failed.send(format!("{nonce} got {}", answer.text())).unwrap();
                    }
                }
            });
        }
    });
    drop(failed);
    assert_eq!(failures.iter().collect::<Vec<_>>(), Vec::<String>::new());
}
