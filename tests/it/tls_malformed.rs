//! What is no TLS, or TLS of the wrong kind: the right alert, a count, and a proxy that goes on.

use std::io::Read as _;
use std::thread;

use rustls::version::{TLS12, TLS13};

use crate::support::tls::{Authority, BOTH, serving_tls, serving_tls_with};
use crate::support::{Connection, End, Proxy, Tenant, Upstream, World, chat, json_answer};

const HANDSHAKE_FAILURE: u8 = 40;
const DECODE_ERROR: u8 = 50;
const PROTOCOL_VERSION: u8 = 70;
const BAD_RECORD_MAC: u8 = 20;
const RECORD_OVERFLOW: u8 = 22;
const UNEXPECTED_MESSAGE: u8 = 10;

fn start() -> (Tenant, Authority, Proxy) {
    let upstream = Upstream::bind();
    let (world, tenant) = World::serving(&upstream.url());
    upstream.answer(|_| json_answer("{}"));
    let (authority, proxy) = serving_tls(&world);
    (tenant, authority, proxy)
}

fn raw(proxy: &Proxy) -> Connection {
    Connection::to(proxy.https.unwrap())
}

/// A ClientHello of TLS `version`, with these suites and extensions.
fn hello(version: [u8; 2], suites: &[u16], extensions: &[u8]) -> Vec<u8> {
    let mut body = version.to_vec();
    body.extend([7; 32]);
    body.push(0);
    body.extend(u16::try_from(suites.len() * 2).unwrap().to_be_bytes());
    suites.iter().for_each(|suite| body.extend(suite.to_be_bytes()));
    body.extend([1, 0]);
    body.extend(u16::try_from(extensions.len()).unwrap().to_be_bytes());
    body.extend(extensions);
    let mut message = vec![1, 0];
    message.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
    message.extend(body);
    record(22, &message)
}

fn record(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut record = vec![kind, 3, 1];
    record.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
    record.extend(body);
    record
}

/// signature_algorithms, supported_groups and, for TLS 1.3, supported_versions and key_share.
fn extensions(group: u16) -> Vec<u8> {
    let mut all = vec![0, 13, 0, 4, 0, 2, 4, 3];
    all.extend([0, 10, 0, 4, 0, 2]);
    all.extend(group.to_be_bytes());
    all
}

/// What the proxy says in the clear before it closes: an alert, alone.
fn alert_of(caller: &mut Connection) -> u8 {
    let (said, _) = caller.rest();
    assert!(said.len() == 7 && said[..3] == [21, 3, 3] && said[5] == 2, "{said:x?}");
    said[6]
}

#[test]
fn what_is_no_tls_is_told_so_in_tls_and_counted() {
    let (tenant, authority, proxy) = start();
    let rows: [(&str, Vec<u8>, u8, &str); 8] = [
        ("TLS 1.0", hello([3, 1], &[0xc009, 0xc013], &extensions(29)), PROTOCOL_VERSION, "version"),
        ("TLS 1.1", hello([3, 2], &[0xc009, 0xc013], &extensions(29)), PROTOCOL_VERSION, "version"),
        (
            "no cipher in common",
            hello([3, 3], &[0x002f, 0xc013], &extensions(29)),
            HANDSHAKE_FAILURE,
            "incompatible",
        ),
        (
            "no group in common",
            hello([3, 3], &[0xc02b], &extensions(0x0100)),
            HANDSHAKE_FAILURE,
            "incompatible",
        ),
        ("garbage", vec![0xff; 300], DECODE_ERROR, "malformed"),
        ("SSL 2", vec![0x80, 0x2e, 1, 3, 1, 0, 0x15, 0, 0, 0, 0x10], DECODE_ERROR, "malformed"),
        (
            "a record that is too long",
            [&[22, 3, 1, 0xff, 0xff][..], &[0; 100]].concat(),
            DECODE_ERROR,
            "malformed",
        ),
        ("data before a handshake", record(23, &[0; 40]), UNEXPECTED_MESSAGE, "malformed"),
    ];
    for (name, sent, alert, outcome) in rows {
        let label = format!("outcome=\"{outcome}\"");
        let count = |proxy: &Proxy| proxy.metrics().sum("cube_proxy_tls_handshakes_total", &[&label]);
        let before = count(&proxy);
        let mut caller = raw(&proxy);
        caller.send(sent);
        assert_eq!(alert_of(&mut caller), alert, "{name}");
        proxy.wait_for_metrics(name, |_| count(&proxy) > before);
    }
    // An honest caller is served all the same.
    let mut caller = proxy.connect_tls(&authority.client(BOTH));
    caller.send(chat(&tenant.pat));
    assert_eq!(caller.response().status(), 200);
}

#[test]
fn plain_http_on_the_tls_port_is_told_so_and_not_read() {
    let (tenant, _, proxy) = start();
    for request in [chat(&tenant.pat), "GET / HTTP/1.1\r\n".to_owned(), "X".repeat(40_000)] {
        let mut caller = raw(&proxy);
        caller.offer(&request);
        let answer = caller.last_response();
        assert_eq!(answer.status(), 400);
        assert!(answer.mentions("https://") && !answer.mentions(&tenant.pat.secret), "{}", answer.text());
    }
    let metrics = proxy.wait_for_metrics("they are counted", |metrics| {
        metrics.sum("cube_proxy_tls_handshakes_total", &["outcome=\"plain_http\""]) == 3.0
    });
    assert_eq!(metrics.sum("cube_proxy_pat_checks_total", &[]), 0.0, "a credential was looked at");
    assert!(proxy.records_so_far().is_empty());
}

/// Goal: bytes of strangers end in an alert or a close, never in a panic, a wait without end, or an answer. Method: a real first
/// flight, cut at every byte, and with any one byte flipped.
#[test]
fn a_first_flight_that_is_cut_or_damaged_anywhere_is_closed() {
    let upstream = Upstream::bind();
    let (world, tenant) = World::serving(&upstream.url());
    upstream.answer(|_| json_answer("{}"));
    let (authority, mut proxy) = serving_tls(&world);
    let mut first = Vec::new();
    let config = authority.client(BOTH);
    crate::support::tls::client(&config, "localhost").write_tls(&mut first).unwrap();
    for cut in (0..first.len()).step_by(3) {
        let mut caller = raw(&proxy);
        caller.send(&first[..cut]);
        caller.finish_sending();
        let (said, _) = caller.rest();
        assert!(said.is_empty(), "cut at {cut}: {said:x?}");
    }
    for at in (0..first.len()).step_by(2) {
        let mut damaged = first.clone();
        damaged[at] ^= 0x41;
        let mut caller = raw(&proxy);
        caller.send(&damaged);
        caller.finish_sending();
        caller.rest();
    }
    assert!(proxy.is_running());
    let mut caller = proxy.connect_tls(&config);
    caller.send(chat(&tenant.pat));
    assert_eq!(caller.response().status(), 200);
    assert_eq!(proxy.metrics().sum("cube_proxy_panics_total", &[]), 0.0);
}

/// After the handshake: what a broken or hostile peer sends is answered with a sealed alert and the end.
#[test]
fn records_that_are_damaged_too_long_or_of_the_wrong_kind_end_the_connection_with_an_alert() {
    let (tenant, authority, proxy) = start();
    for versions in [&[&TLS13], &[&TLS12]] {
        let config = authority.client(versions);
        let sealed_request = |caller: &mut Connection| {
            caller.shake_hands().unwrap();
            caller.seal(chat(&tenant.pat))
        };
        type Damage = fn(Vec<u8>) -> Vec<u8>;
        let rows: [(&str, Damage, &str); 5] = [
            (
                "a flipped bit",
                |mut sealed| {
                    sealed[20] ^= 1;
                    sealed
                },
                "BadRecordMac",
            ),
            ("too long", |_| [&[23, 3, 3, 0x60, 0][..], &[0; 64]].concat(), "RecordOverflow"),
            ("an unknown kind", |_| vec![99, 3, 3, 0, 1, 0], "DecodeError"),
            ("shorter than a tag", |_| vec![23, 3, 3, 0, 3, 1, 2, 3], "BadRecordMac"),
            ("the same record twice", |sealed| sealed.repeat(2), "BadRecordMac"),
        ];
        for (name, damage, alert) in rows {
            let mut caller = proxy.connect_tls(&config);
            let sealed = sealed_request(&mut caller);
            caller.send_sealed(&damage(sealed));
            let error = loop {
                match caller.read_or_error() {
                    Ok(()) => {}
                    Err(error) => break error.to_string(),
                }
            };
            assert!(error.contains(alert), "{name}: {error}");
        }
    }
    let _ = (BAD_RECORD_MAC, RECORD_OVERFLOW);
}

#[test]
fn new_keys_are_taken_and_asked_for_and_a_flood_of_them_is_not() {
    let (tenant, authority, proxy) = start();
    let mut caller = proxy.connect_tls(&authority.client(&[&TLS13]));
    for _ in 0..5 {
        caller.send(chat(&tenant.pat));
        assert_eq!(caller.response().status(), 200);
        // Asks for ours as well: the next answer comes under another key.
        let rustls::Connection::Client(tls) = caller.tls() else { panic!("a caller") };
        tls.refresh_traffic_keys().unwrap();
    }
    let flood = (0..40).try_for_each(|_| {
        let rustls::Connection::Client(tls) = caller.tls() else { panic!("a caller") };
        tls.refresh_traffic_keys().unwrap();
        let mut sealed = Vec::new();
        while tls.wants_write() {
            tls.write_tls(&mut sealed).unwrap();
        }
        if caller.offer_sealed(&sealed) { Ok(()) } else { Err(()) }
    });
    let error = caller.read_or_error().expect_err("the end").to_string();
    assert!(error.contains("UnexpectedMessage") || error.contains("reset") || flood.is_err(), "{error}");
}

#[test]
fn a_handshake_that_never_ends_is_ended_and_does_not_keep_others_out() {
    let upstream = Upstream::bind();
    let (world, tenant) = World::serving(&upstream.url());
    upstream.answer(|_| json_answer("{}"));
    let (authority, proxy) = serving_tls_with(&world, |launch, _| {
        launch.settings.set("timeouts.handshake_s", 0.5).set("limits.handshakes_max", 20);
    });
    // For half a second there is no room for a twenty-first, unless a busy machine lets the first go before the last has come.
    let mut half_open: Vec<_> = (0..60)
        .map(|_| {
            let mut caller = raw(&proxy);
            caller.offer([22, 3, 1]);
            caller
        })
        .collect();
    for caller in &mut half_open {
        assert_ne!(caller.wait_for_end(), End::Cut);
    }
    let (timeout, shed) = (["outcome=\"timeout\""], ["reason=\"handshakes\""]);
    let metrics = proxy.wait_for_metrics("they are counted", |metrics| {
        metrics.sum("cube_proxy_tls_handshakes_total", &timeout)
            + metrics.sum("cube_proxy_sheds_total", &shed)
            == 60.0
    });
    assert!(metrics.sum("cube_proxy_tls_handshakes_total", &timeout) >= 20.0, "{metrics}");
    assert!(metrics.sum("cube_proxy_sheds_total", &shed) >= 1.0, "{metrics}");
    let mut caller = proxy.connect_tls(&authority.client(BOTH));
    caller.send(chat(&tenant.pat));
    assert_eq!(caller.response().status(), 200);
}

/// Goal: a flood of handshakes leaves streams their turns. Method: beside a stream of events, several threads shake hands as fast as
/// they can; every event has to arrive long before the time that a queue of all those handshakes would take.
#[test]
fn a_flood_of_handshakes_does_not_starve_a_running_stream() {
    let upstream = Upstream::bind();
    let (world, tenant) = World::serving(&upstream.url());
    let (authority, proxy) = serving_tls_with(&world, |launch, _| {
        // The last of the crowd may have to wait long for its turn.
        launch.settings.set("timeouts.handshake_s", 300);
    });
    let mut caller = proxy.connect_tls(&authority.client(BOTH));
    caller.send(crate::support::requests::chat_stream(&tenant.pat));
    let mut connection = upstream.accept();
    connection.request();
    connection.send(crate::support::STREAM_HEAD);
    caller.head();
    let mut hello = Vec::new();
    crate::support::tls::client(&authority.client(BOTH), "localhost").write_tls(&mut hello).unwrap();
    let mut crowd: Vec<_> = (0..150).map(|_| raw(&proxy)).collect();
    let pushing = thread::spawn(move || {
        for caller in &mut crowd {
            caller.offer(&hello);
        }
        let mut answers = 0;
        for caller in &mut crowd {
            answers += usize::from(caller.stream().read(&mut [0; 5]).is_ok_and(|read| read > 0));
        }
        answers
    });
    for _ in 0..50 {
        connection.send(crate::support::chunk(crate::support::DELTA));
        caller.take_through(b"\n\n\r\n");
    }
    assert_eq!(pushing.join().unwrap(), 150, "the crowd is served as well");
}
