//! Where io_uring is not to be had, the proxy serves by epoll. Containers forbid it in different ways: all three calls,
//! or only some, with either errno.

use std::collections::BTreeMap;
use std::thread;

use rustix::io::Errno;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch, apply_filter};

use crate::support::requests::chat_stream;
use crate::support::{Launch, Proxy, STREAM_HEAD, Upstream, World, chat, chunk, json_answer};

const IO_URING_SETUP: i64 = 425;
const IO_URING_ENTER: i64 = 426;
const IO_URING_REGISTER: i64 = 427;

/// Starts the proxy where these calls fail with this error. The filter is put on a thread and inherited by what it
/// starts; the test itself goes on without it.
fn start_without(launch: Launch, calls: &'static [i64], errno: Errno) -> Proxy {
    let child = thread::spawn(move || {
        let rules: BTreeMap<i64, Vec<_>> = calls.iter().map(|&call| (call, Vec::new())).collect();
        let action = SeccompAction::Errno(errno.raw_os_error().unsigned_abs());
        let arch = TargetArch::try_from(std::env::consts::ARCH).expect("an architecture with seccomp");
        let filter = SeccompFilter::new(rules, SeccompAction::Allow, action, arch).unwrap();
        let program: BpfProgram = filter.try_into().unwrap();
        let mut command = launch.command();
        apply_filter(&program).unwrap();
        let child = command.spawn().unwrap();
        (launch, child)
    });
    let (launch, child) = child.join().unwrap();
    Proxy::adopt(launch, child)
}

fn expect_to_serve(upstream: &Upstream, proxy: &Proxy, request: &str, stream: &str) {
    let mut caller = proxy.connect();
    for _ in 0..3 {
        caller.send(request);
        let mut connection = upstream.accept();
        connection.request();
        connection.send("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}");
        assert_eq!(caller.response().text(), "{}");
    }
    caller.send(stream);
    let mut connection = upstream.accept();
    connection.request();
    connection.send(STREAM_HEAD);
    for _ in 0..5 {
        connection.send(chunk("data: {}\n\n"));
        caller.take_through(b"data: {}\n\n");
    }
    drop(caller);
    connection.wait_for_end();
}

#[test]
fn the_proxy_serves_by_epoll_where_io_uring_is_blocked() {
    let blocked: [(&[i64], Errno); 4] = [
        (&[IO_URING_SETUP, IO_URING_ENTER, IO_URING_REGISTER], Errno::PERM),
        (&[IO_URING_SETUP, IO_URING_ENTER, IO_URING_REGISTER], Errno::NOSYS),
        (&[IO_URING_ENTER], Errno::PERM),
        (&[IO_URING_ENTER], Errno::NOSYS),
    ];
    for (calls, errno) in blocked {
        let upstream = Upstream::bind();
        let (world, tenant) = World::serving(&upstream.url());
        let mut launch = Launch::of(&world);
        launch.settings.set("cores.count", 2);
        let proxy = start_without(launch, calls, errno);
        expect_to_serve(&upstream, &proxy, &chat(&tenant.pat), &chat_stream(&tenant.pat));
        let metrics = proxy.metrics();
        assert!(metrics.text().contains("driver=\"epoll\""), "{calls:?} {errno}: {metrics}");
        assert!(!metrics.text().contains("driver=\"uring"), "{calls:?} {errno}: {metrics}");
    }
}

#[test]
fn every_driver_that_can_be_chosen_serves() {
    for driver in ["auto", "uring_defer", "uring_coop", "uring", "epoll"] {
        let upstream = Upstream::bind();
        let (world, tenant) = World::serving(&upstream.url());
        let proxy = Proxy::with(&world, |settings| {
            settings.set("cores.driver", driver);
        });
        expect_to_serve(&upstream, &proxy, &chat(&tenant.pat), &chat_stream(&tenant.pat));
    }
}

/// Few long connections must not pile up on one core.
#[test]
fn connections_spread_over_the_cores() {
    let upstream = Upstream::bind();
    let (world, tenant) = World::serving(&upstream.url());
    upstream.answer(|_| json_answer("{}"));
    let proxy = Proxy::with(&world, |settings| {
        settings.set("cores.count", 2);
    });
    let callers: Vec<_> = (0..32)
        .map(|_| {
            let mut caller = proxy.connect();
            caller.send(chat(&tenant.pat));
            assert_eq!(caller.response().status(), 200);
            caller
        })
        .collect();
    let metrics = proxy.wait_for_metrics("32 connections", |metrics| {
        metrics.sum("cube_proxy_open_connections", &[]) >= 32.0
    });
    for core in ["core=\"0\"", "core=\"1\""] {
        let share = metrics.sum("cube_proxy_open_connections", &[core]);
        assert!(share >= 8.0, "{core} has {share} of 32:\n{metrics}");
    }
    drop(callers);
}
