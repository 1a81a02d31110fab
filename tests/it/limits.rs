//! Everything a stranger can send is bounded, in bytes and in time; each bound has its status.

use std::process::Stdio;
use std::time::Instant;

use crate::support::requests::{chat_body, chat_path};
use crate::support::{Launch, PATIENCE, Proxy, Upstream, World, chat, chunk, get, json_answer, post, start};

/// The status of the only answer to `request`, sent on a connection that must then be closed.
fn refusal(proxy: &Proxy, request: impl AsRef<[u8]>) -> u16 {
    let mut caller = proxy.connect();
    caller.offer(request);
    let (bytes, end) = caller.rest();
    let text = String::from_utf8_lossy(&bytes);
    let status = text.split(' ').nth(1).and_then(|code| code.parse().ok());
    status.unwrap_or_else(|| panic!("no answer, then {end:?}: {text:?}"))
}

#[test]
fn a_head_within_the_limits_is_served_and_one_beyond_is_refused() {
    let (_upstream, tenant, proxy) = start();
    let models = |fields: &str| get("/proxy/acme/v1/models", &format!("{}{fields}", tenant.pat.line()));
    // Host and Authorization are two of the 90.
    let many = |count: usize| (0..count - 2).map(|n| format!("x-{n}: {n}\r\n")).collect::<String>();
    let value = |len: usize| format!("x-long: {}\r\n", "v".repeat(len));

    assert_eq!(proxy.ask(models(&many(90))).status(), 200);
    assert_eq!(refusal(&proxy, models(&many(91))), 431);
    assert_eq!(refusal(&proxy, models(&many(97))), 431);
    assert_eq!(refusal(&proxy, models(&many(2000))), 431);
    assert_eq!(proxy.ask(models(&value(8000))).status(), 200);
    assert_eq!(refusal(&proxy, models(&value(9000))), 431);
    assert_eq!(refusal(&proxy, models(&value(1 << 20))), 431);
    assert_eq!(refusal(&proxy, models(&(value(7000) + &value(7000) + &value(7000)))), 431);
    for len in [65_534, 65_535, 65_536, 65_537] {
        assert_eq!(refusal(&proxy, models(&format!("{}: 1\r\n", "n".repeat(len)))), 431, "name of {len}");
    }
    assert_eq!(proxy.ask(models("")).status(), 200, "it still serves");
}

#[test]
fn a_request_line_beyond_its_limit_is_414() {
    let (_upstream, tenant, proxy) = start();
    let long = |len: usize| get(&format!("/proxy/acme/v1/models?{}", "q".repeat(len)), &tenant.pat.line());
    assert_eq!(proxy.ask(long(8000)).status(), 200);
    assert_eq!(refusal(&proxy, long(9000)), 414);
    assert_eq!(refusal(&proxy, long(70 << 10)), 414);
    // No space comes at all.
    assert_eq!(refusal(&proxy, "G".repeat(70 << 10)) / 100, 4);
}

#[test]
fn a_body_beyond_its_limit_is_413_whether_its_length_is_stated_or_not() {
    let upstream = Upstream::bind();
    let (world, tenant) = World::serving(&upstream.url());
    let proxy = Proxy::with(&world, |settings| {
        settings.set("limits.body_bytes_max", 100_000).set("limits.audio_body_bytes_max", 200_000);
    });
    let auth = tenant.pat.line();
    let stated = |path: &str, len: usize| {
        format!("POST {path} HTTP/1.1\r\nhost: a\r\n{auth}content-length: {len}\r\n\r\n")
    };
    assert_eq!(refusal(&proxy, stated(&chat_path(), 100_001)), 413);
    let audio = "/proxy/acme/v1/audio/transcriptions";
    assert_eq!(refusal(&proxy, stated(audio, 200_001)), 413);

    let head =
        format!("POST {} HTTP/1.1\r\nhost: a\r\n{auth}transfer-encoding: chunked\r\n\r\n", chat_path());
    let mut wire = head.into_bytes();
    wire.extend(chunk(r#"{"model":"tiny","messages":[{"role":"user","content":""#));
    (0..12).for_each(|_| wire.extend(chunk("x".repeat(10_000))));
    assert_eq!(refusal(&proxy, wire), 413);

    upstream.answer(|_| json_answer("{}"));
    assert_eq!(proxy.ask(chat(&tenant.pat)).status(), 200, "it still serves");
}

#[test]
fn a_head_that_does_not_come_in_time_is_408() {
    let (world, tenant) = World::serving("http://127.0.0.1:9");
    let proxy = Proxy::with(&world, |settings| {
        settings.set("timeouts.head_s", 0.3);
    });
    let request = get("/proxy/acme/v1/models", &tenant.pat.line());
    let mut caller = proxy.connect();
    caller.send(&request[..request.len() - 2]);
    assert_eq!(caller.last_response().status(), 408);

    // The second head of a kept-alive connection has the same deadline, from its first byte.
    let mut caller = proxy.connect();
    caller.send(&request);
    assert_eq!(caller.response().status(), 200);
    caller.send(&request[..10]);
    assert_eq!(caller.last_response().status(), 408);
}

/// A byte now and then does not help: the deadline is for the whole head.
#[test]
fn a_trickled_head_is_408_in_the_same_time() {
    let (world, _) = World::serving("http://127.0.0.1:9");
    let proxy = Proxy::with(&world, |settings| {
        settings.set("timeouts.head_s", 0.3);
    });
    let mut caller = proxy.connect();
    let mut sent = 0;
    // 4,000 bytes at 5 ms each would be 20 s.
    while sent < 4000 && caller.offer(b"G") {
        sent += 1;
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert!(sent < 4000, "nobody hung up");
}

#[test]
fn a_body_that_stops_coming_is_408() {
    let upstream = Upstream::bind();
    let (world, tenant) = World::serving(&upstream.url());
    let proxy = Proxy::with(&world, |settings| {
        settings.set("timeouts.body_idle_s", 0.3);
    });
    let request = chat(&tenant.pat);
    let mut caller = proxy.connect();
    caller.send(&request[..request.len() - 5]);
    assert_eq!(caller.last_response().status(), 408);
}

#[test]
fn an_idle_connection_is_closed_without_a_word() {
    let (world, tenant) = World::serving("http://127.0.0.1:9");
    let proxy = Proxy::with(&world, |settings| {
        settings.set("timeouts.keep_alive_s", 1.0).set("timeouts.head_s", 1.0);
    });
    let mut fresh = proxy.connect();
    let (bytes, _) = fresh.rest();
    assert!(bytes.is_empty(), "{}", bytes.escape_ascii());

    let mut used = proxy.connect();
    used.send(get("/proxy/acme/v1/models", &tenant.pat.line()));
    assert_eq!(used.response().status(), 200);
    let (bytes, _) = used.rest();
    assert!(bytes.is_empty(), "{}", bytes.escape_ascii());
}

#[test]
fn a_connection_is_closed_after_its_last_allowed_request() {
    let (world, tenant) = World::serving("http://127.0.0.1:9");
    let proxy = Proxy::with(&world, |settings| {
        settings.set("limits.requests_per_connection_max", 3);
    });
    let mut caller = proxy.connect();
    for _ in 0..2 {
        caller.send(get("/proxy/acme/v1/models", &tenant.pat.line()));
        assert_eq!(caller.response().field("connection"), None);
    }
    caller.send(get("/proxy/acme/v1/models", &tenant.pat.line()));
    assert_eq!(caller.last_response().field("connection"), Some("close"));
}

/// Connections beyond the limit are shed, not queued; those that are there go on.
#[test]
fn connections_beyond_the_limit_are_shed() {
    let (world, tenant) = World::serving("http://127.0.0.1:9");
    let proxy = Proxy::with(&world, |settings| {
        settings.set("limits.connections_max", 4);
    });
    let request = get("/proxy/acme/v1/models", &tenant.pat.line());
    let mut kept: Vec<_> = (0..4)
        .map(|_| {
            let mut caller = proxy.connect();
            caller.send(&request);
            assert_eq!(caller.response().status(), 200);
            caller
        })
        .collect();
    let mut shed = proxy.connect();
    shed.offer(&request);
    let (bytes, _) = shed.rest();
    assert!(bytes.is_empty() || bytes.starts_with(b"HTTP/1.1 503 "), "{}", bytes.escape_ascii());
    for caller in &mut kept {
        caller.send(&request);
        assert_eq!(caller.response().status(), 200);
    }
    drop(kept.pop());
    proxy.wait_for_metrics("a place", |metrics| metrics.sum("cube_proxy_open_connections", &[]) < 4.0);
    assert_eq!(proxy.ask(&request).status(), 200);
}

/// An address of this machine that is not loopback, if it has one. Nothing is sent.
fn outer_address() -> Option<std::net::IpAddr> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    Some(socket.local_addr().ok()?.ip()).filter(|address| !address.is_loopback() && !address.is_unspecified())
}

/// One address may not take all places. Loopback and trusted proxies stand for others and are not counted.
#[test]
fn connections_of_one_address_beyond_its_share_are_shed() {
    let (world, tenant) = World::serving("http://127.0.0.1:9");
    let request = get("/proxy/acme/v1/models", &tenant.pat.line());
    let Some(address) = outer_address() else {
        eprintln!("this machine has no address but loopback: nothing to count");
        return;
    };
    for trusted in [false, true] {
        let proxy = Proxy::with(&world, |settings| {
            settings.set("listener.address", "0.0.0.0:0").set("listener.plain_beyond_loopback", true);
            settings.set("limits.connections_per_address_max", 3).set("cores.count", 2);
            if trusted {
                settings.set("trusted_proxies.cidrs", vec![format!("{address}/32")]);
            }
        });
        let connect = |address: std::net::IpAddr| {
            let mut caller = crate::support::Connection::to((address, proxy.data.port()).into());
            caller.offer(&request);
            caller
        };
        let mut kept: Vec<_> = (0..3).map(|_| connect(address)).collect();
        for caller in &mut kept {
            assert_eq!(caller.response().status(), 200);
        }
        let mut fourth = connect(address);
        if trusted {
            assert_eq!(fourth.response().status(), 200);
            continue;
        }
        let (bytes, _) = fourth.rest();
        assert!(bytes.is_empty() || bytes.starts_with(b"HTTP/1.1 429 "), "{}", bytes.escape_ascii());
        let sheds = proxy.wait_for_metrics("a shed", |metrics| {
            metrics.sum("cube_proxy_sheds_total", &["reason=\"address\""]) >= 1.0
        });
        assert!(sheds.has("cube_proxy_sheds_total"));
        let others: Vec<_> = (0..10).map(|_| connect(std::net::Ipv4Addr::LOCALHOST.into())).collect();
        for mut other in others {
            assert_eq!(other.response().status(), 200, "loopback is nobody's address");
        }
        drop(kept.pop());
        proxy.wait_for_metrics("a place", |metrics| metrics.sum("cube_proxy_open_connections", &[]) < 3.0);
        assert_eq!(connect(address).response().status(), 200);
    }
}

/// A caller that reads nothing is let go, and so is its upstream.
#[test]
fn a_caller_that_stops_reading_is_cut_after_the_write_stall_time() {
    let upstream = Upstream::bind();
    let (world, tenant) = World::serving(&upstream.url());
    let proxy = Proxy::with(&world, |settings| {
        settings.set("timeouts.write_stall_s", 0.5);
    });
    let mut caller = proxy.connect();
    caller.send(chat(&tenant.pat));
    let mut connection = upstream.accept();
    connection.request();
    connection
        .send("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1000000000\r\n\r\n");
    let mut sent = 0_u64;
    while connection.offer(vec![b'x'; 256 * 1024]) {
        sent += 256 * 1024;
    }
    assert!(sent < 100 << 20, "{sent} bytes went somewhere");
    assert_eq!(proxy.record()["ending"], "caller_timeout");
}

#[test]
fn a_long_prompt_is_not_too_large_by_default() {
    let (upstream, tenant, proxy) = start();
    let requests = upstream.answer(|_| json_answer("{}"));
    let body = chat_body("false").replace("hi", &"word ".repeat(1 << 20));
    assert_eq!(proxy.ask(post(&chat_path(), &tenant.pat.line(), &body)).status(), 200);
    assert_eq!(requests.recv().unwrap().text(), body);
}

/// A name that does not come early enough is not looked for for ever.
#[test]
fn a_model_beyond_what_is_held_is_413() {
    let upstream = Upstream::bind();
    let (world, tenant) = World::serving(&upstream.url());
    upstream.answer(|_| json_answer("{}"));
    let proxy = Proxy::with(&world, |settings| {
        settings.set("limits.hold_bytes_max", 2 << 20);
    });
    let late = |len: usize| format!(r#"{{"messages":[{{"content":"{}"}}],"model":"tiny"}}"#, "x".repeat(len));
    let ask = |len: usize| post(&chat_path(), &tenant.pat.line(), &late(len));
    assert_eq!(proxy.ask(ask(1 << 20)).status(), 200);
    assert_eq!(refusal(&proxy, ask(3 << 20)), 413);
    // Where the name is known, the rest passes unheld.
    let early = format!(r#"{{"model":"tiny","messages":[{{"content":"{}"}}]}}"#, "x".repeat(8 << 20));
    assert_eq!(proxy.ask(post(&chat_path(), &tenant.pat.line(), &early)).status(), 200);
}

/// What all callers together may have held: one more is turned away, those that are held go on, and room comes back.
#[test]
fn held_bodies_beyond_what_a_core_may_hold_are_503() {
    let upstream = Upstream::bind();
    let (world, tenant) = World::serving(&upstream.url());
    upstream.answer(|_| json_answer("{}"));
    let proxy = Proxy::with(&world, |settings| {
        settings.set("limits.hold_bytes_max", 2 << 20).set("limits.held_bytes_max", 4 << 20);
    });
    let body = format!(r#"{{"messages":[{{"content":"{}"}}],"model":"tiny"}}"#, "x".repeat(1_500_000));
    let request = post(&chat_path(), &tenant.pat.line(), &body);
    let mut holding: Vec<_> = (0..2)
        .map(|_| {
            let mut caller = proxy.connect();
            caller.send(&request[..request.len() - 20]);
            caller.wait_until_read();
            caller
        })
        .collect();
    let mut third = proxy.connect();
    third.offer(&request);
    let (answer, _) = third.rest();
    assert!(answer.starts_with(b"HTTP/1.1 503 "), "{}", answer.escape_ascii());
    for caller in &mut holding {
        caller.send(&request[request.len() - 20..]);
        assert_eq!(caller.response().status(), 200);
    }
    assert_eq!(proxy.ask(&request).status(), 200);
}

#[test]
fn an_upload_beyond_its_total_time_is_408() {
    let (world, tenant) = World::serving("http://127.0.0.1:9");
    let proxy = Proxy::with(&world, |settings| {
        settings.set("timeouts.upload_total_s", 0.5);
    });
    let mut caller = proxy.connect();
    let request = chat(&tenant.pat);
    caller.send(&request[..request.len() - 5]);
    let mut sent = 0;
    // A byte now and then keeps no upload alive: 4,000 at 5 ms each would be 20 s.
    while sent < 4000 && caller.offer(b" ") {
        sent += 1;
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert!(sent < 4000, "nobody hung up");
}

/// Out of descriptors: what is open goes on, what comes is shed or waits, and nothing is left of it afterwards.
#[test]
fn a_proxy_without_descriptors_left_recovers() {
    let upstream = Upstream::bind();
    let (world, tenant) = World::serving(&upstream.url());
    let mut launch = Launch::of(&world);
    // Far more than there are descriptors for, so that accepting itself fails.
    launch.settings.set("limits.connections_max", 10_000);
    let mut limited = std::process::Command::new("sh");
    let command = launch.command();
    limited
        .arg("-c")
        .arg("ulimit -n 96 && exec \"$0\" \"$@\"")
        .arg(command.get_program())
        .args(command.get_args());
    limited.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let proxy = Proxy::adopt(launch, limited.spawn().unwrap());
    let mut first = proxy.connect();
    let request = get("/proxy/acme/v1/models", &tenant.pat.line());
    first.send(&request);
    assert_eq!(first.response().status(), 200);
    let crowd: Vec<_> = (0..200)
        .map(|_| {
            let mut caller = proxy.connect();
            caller.offer(&request);
            caller
        })
        .collect();
    first.send(&request);
    assert_eq!(first.response().status(), 200);
    drop(crowd);
    // Those of the crowd that were never accepted still stand in front of whoever comes next.
    let until = Instant::now() + PATIENCE;
    while proxy.ask(&request).status() != 200 {
        assert!(Instant::now() < until, "it does not recover");
    }
    upstream.answer(|_| json_answer("{}"));
    let answer = proxy.ask(chat(&tenant.pat));
    assert_eq!(answer.status(), 200, "{}", answer.text());
}
