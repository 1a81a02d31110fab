//! The life of the process: it says when it serves, it ends without losing streams, and there is only one.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::requests::chat_stream;
use crate::support::{
    Connection, DELTA, Launch, PATIENCE, Proxy, STREAM_HEAD, Tenant, Upstream, World, chat, chunk, get,
    json_answer, start,
};

/// A proxy with one stream in the middle of its answer.
fn streaming(deadline_s: f64) -> (Upstream, Tenant, Proxy, Connection, Connection) {
    let upstream = Upstream::bind();
    let (world, tenant) = World::serving(&upstream.url());
    let proxy = Proxy::with(&world, |settings| {
        settings.set("drain.min_s", 0.3).set("drain.deadline_s", deadline_s);
    });
    let mut caller = proxy.connect();
    caller.send(chat_stream(&tenant.pat));
    let mut connection = upstream.accept();
    connection.request();
    connection.send(STREAM_HEAD);
    connection.send(chunk(DELTA));
    caller.take_through(DELTA.as_bytes());
    (upstream, tenant, proxy, caller, connection)
}

fn wait_until_not_ready(proxy: &Proxy) {
    let until = Instant::now() + PATIENCE;
    while proxy.ops("/readyz").status() != 503 {
        assert!(Instant::now() < until, "ready while draining");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_stream_ends_by_itself_while_the_proxy_drains() {
    for signal in [Signal::TERM, Signal::INT] {
        let (_upstream, tenant, mut proxy, mut caller, mut connection) = streaming(600.0);
        let mut idle = proxy.connect();
        idle.send(get("/proxy/acme/v1/models", &tenant.pat.line()));
        assert_eq!(idle.response().field("connection"), None);
        proxy.signal(signal);
        wait_until_not_ready(&proxy);
        assert_eq!(proxy.ops("/livez").status(), 200);
        // Far longer than anything that does not wait for streams.
        for _ in 0..20 {
            connection.send(chunk(DELTA));
            caller.take_through(DELTA.as_bytes());
            std::thread::sleep(Duration::from_millis(25));
        }
        assert!(proxy.is_running());
        connection.send("0\r\n\r\n");
        caller.take_through(b"0\r\n\r\n");
        caller.wait_for_end();
        // An idle connection is closed, at the latest after one more request, which says so.
        if idle.offer(get("/proxy/acme/v1/models", &tenant.pat.line())) {
            let (bytes, _) = idle.rest();
            let text = String::from_utf8_lossy(&bytes).to_ascii_lowercase();
            assert!(text.is_empty() || text.contains("connection: close\r\n"), "{text}");
        }
        assert!(proxy.wait_for_exit().success());
    }
}

#[test]
fn a_stream_that_does_not_end_is_cut_at_the_deadline() {
    let (_upstream, _tenant, mut proxy, mut caller, mut connection) = streaming(0.6);
    proxy.signal(Signal::TERM);
    let (rest, _) = caller.rest();
    assert!(!rest.ends_with(b"0\r\n\r\n"), "a cut stream may not look whole");
    connection.wait_for_end();
    assert!(proxy.wait_for_exit().success());
    assert_eq!(proxy.record()["ending"], "drained");
}

#[test]
fn requests_during_a_drain_are_served_and_told_to_go() {
    let upstream = Upstream::bind();
    let (world, tenant) = World::serving(&upstream.url());
    upstream.answer(|_| json_answer("{}"));
    let mut proxy = Proxy::with(&world, |settings| {
        settings.set("drain.min_s", 2.5).set("drain.deadline_s", 60);
    });
    proxy.signal(Signal::TERM);
    wait_until_not_ready(&proxy);
    // A load balancer needs a moment to see the readiness: until then nobody is turned away.
    let answer = proxy.ask(chat(&tenant.pat));
    assert_eq!((answer.status(), answer.field("connection")), (200, Some("close")));
    assert!(proxy.wait_for_exit().success());
    assert_eq!(proxy.records(1).len(), 1, "records are written before the end");
}

#[test]
fn an_idle_proxy_ends_soon_after_its_minimum() {
    let (world, _) = World::serving("http://127.0.0.1:9");
    let mut proxy = Proxy::with(&world, |settings| {
        settings.set("drain.min_s", 0.1).set("drain.deadline_s", 600);
    });
    let _idle = proxy.connect();
    proxy.signal(Signal::TERM);
    assert!(proxy.wait_for_exit().success());
}

/// Ports are shared between cores by SO_REUSEPORT, so the kernel would let a second instance steal half the callers. Two
/// guards: the address itself, and a lock for instances that have not bound it yet.
#[test]
fn a_second_instance_on_the_same_address_is_refused() {
    let (world, _) = World::serving("http://127.0.0.1:9");
    let first = Proxy::of(&world);
    let mut second = Launch::of(&world);
    second.settings.set("listener.address", first.data.to_string());
    let refusal = |launch: &Launch| {
        let output = launch.command().output().unwrap();
        assert!(!output.status.success() && output.stdout.is_empty());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let said = refusal(&second);
    assert!(said.contains(&first.data.to_string()), "{said}");

    let lock = std::fs::File::create(second.dir.join("lock")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let said = refusal(&second);
    assert!(said.contains("another instance"), "{said}");

    // The file that a crash leaves behind is no lock: the address decides again.
    drop(lock);
    let said = refusal(&second);
    assert!(!said.contains("another instance") && said.contains(&first.data.to_string()), "{said}");
    assert_eq!(first.ask(get("/health", "")).status(), 200);

    second.settings.set("process.allow_second_instance", true);
    let second = second.start();
    assert_eq!(second.data, first.data);
}

#[test]
fn wrong_settings_are_all_named_and_nothing_starts() {
    let (world, _) = World::serving("http://127.0.0.1:9");
    let mut launch = Launch::of(&world);
    launch.settings.set("limits.fields_max", 0).set("timeouts.head_s", -1).set("limits.no_such_key", 1);
    let output = launch.command().output().unwrap();
    assert!(!output.status.success() && output.stdout.is_empty());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("no_such_key"), "{said}");
}

#[test]
fn the_ops_listener_answers_what_it_knows_and_nothing_else() {
    let (_upstream, tenant, proxy) = start();
    for path in ["/metrics", "/livez", "/readyz", "/tables"] {
        assert_eq!(proxy.ops(path).status(), 200, "{path}");
    }
    for path in ["/", "/debug", "/metrics/../x", "/proxy/acme/v1/models"] {
        assert!([400, 404].contains(&proxy.ops(path).status()), "{path}");
    }
    // Nothing of it is on the data listener, and nothing of that here.
    for path in ["/metrics", "/readyz", "/tables"] {
        assert_eq!(proxy.ask(get(path, &tenant.pat.line())).status(), 404, "{path}");
    }
    let tables = proxy.ops("/tables").json();
    assert!(tables["generation"].is_u64(), "{tables}");
    let mut operator = Connection::to(proxy.ops);
    operator.send("GET /livez HTTP/1.1\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n");
    assert_eq!(operator.last_response().status(), 400);
}

/// Someone scrapes slowly, or never reads: nobody waits for them.
#[test]
fn a_stuck_operator_holds_up_nobody() {
    let (_upstream, tenant, proxy) = start();
    let stuck: Vec<Connection> = (0..20)
        .map(|n| {
            let mut operator = Connection::to(proxy.ops);
            operator.send(if n % 2 == 0 { "GET /metr" } else { "GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n" });
            operator
        })
        .collect();
    assert_eq!(proxy.ops("/livez").status(), 200);
    assert_eq!(proxy.ask(get("/proxy/acme/v1/models", &tenant.pat.line())).status(), 200);
    drop(stuck);
}

#[test]
fn metrics_say_what_runs() {
    let (world, tenant) = World::serving("http://127.0.0.1:9");
    let proxy = Proxy::with(&world, |settings| {
        settings.set("cores.count", 2);
    });
    assert_eq!(proxy.ask(get("/proxy/acme/v1/models", &tenant.pat.line())).status(), 200);
    let metrics = proxy.metrics();
    assert!(metrics.sum("cube_proxy_tables_generation", &[]) > 0.0, "{metrics}");
    assert!(metrics.text().contains("driver=\""), "{metrics}");
    assert!(metrics.text().ends_with("# EOF\n"), "{metrics}");
}

/// Linked at most once and never shown: no PAT is in any log, metric or table page.
#[test]
fn no_pat_is_ever_written_down() {
    let upstream = Upstream::bind();
    let (world, tenant) = World::serving(&upstream.url());
    upstream.answer(|_| json_answer("{}"));
    let mut proxy = Proxy::of(&world);
    let secret = tenant.pat.secret.clone();
    for request in
        [chat(&tenant.pat), chat(&tenant.pat).replace("/acme/", "/nowhere/"), format!("{secret}\r\n\r\n")]
    {
        proxy.ask(request);
    }
    proxy.records(3);
    let tail = &secret[secret.len() - 20..];
    for (what, text) in [
        ("access log", proxy.access_log()),
        ("metrics", proxy.metrics().text().to_owned()),
        ("tables", proxy.ops("/tables").text()),
        ("log", proxy.log_so_far().join("\n")),
    ] {
        assert!(!text.contains(tail), "{what}: {text}");
    }
}
