//! Certificates: which one is shown, how they are exchanged, who is asked for one.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rcgen::date_time_ymd;
use rustix::process::Signal;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, HandshakeKind};

use crate::support::requests::chat_stream;
use crate::support::tls::{Authority, BOTH, Pair, client, serving_tls, serving_tls_with};
use crate::support::{
    Connection, DELTA, DONE, Launch, PATIENCE, Proxy, STREAM_HEAD, Upstream, World, chat, chunk, json_answer,
};

/// The certificate that is shown to who asks for `name`.
fn shown(proxy: &Proxy, config: &Arc<ClientConfig>, name: &str) -> Vec<u8> {
    let connection = Connection::to(proxy.https.unwrap());
    let mut connection = connection.over(client(config, name).into());
    let tls = connection.shake_hands().expect("a handshake");
    tls.peer_certificates().expect("a certificate")[0].to_vec()
}

fn first_of(pair: &Pair) -> Vec<u8> {
    pair.read().0[0].to_vec()
}

#[test]
fn the_certificate_that_has_the_name_is_shown_else_the_first() {
    let (world, _) = World::serving("http://127.0.0.1:1");
    let mut pairs = Vec::new();
    let (authority, proxy) = serving_tls_with(&world, |launch, authority| {
        pairs = vec![
            authority.issue(&launch.dir, "one", &["localhost", "one.example"]),
            authority.issue(&launch.dir, "two", &["two.example", "*.two.example"]),
        ];
        let entries = pairs.iter().map(Pair::entry).collect::<Vec<_>>();
        launch.settings.set("tls.certificates", toml::Value::Array(entries));
    });
    let config = authority.client(BOTH);
    for (name, index) in [("localhost", 0), ("one.example", 0), ("two.example", 1), ("a.two.example", 1)] {
        assert_eq!(shown(&proxy, &config, name), first_of(&pairs[index]), "{name}");
    }
    // Somebody else's name: the first is shown, and the caller judges.
    let mut stranger = Connection::to(proxy.https.unwrap()).over(client(&config, "other.example").into());
    assert!(stranger.shake_hands().is_err());
    proxy.wait_for_metrics("the caller's alert is counted", |metrics| {
        metrics.sum("cube_proxy_tls_handshakes_total", &["outcome=\"alert\""]) >= 1.0
    });
}

#[test]
fn a_session_goes_on_on_any_core_and_after_the_certificate_was_exchanged() {
    let upstream = Upstream::bind();
    let (world, tenant) = World::serving(&upstream.url());
    let _seen = upstream.answer(|_| json_answer("{}"));
    let (authority, proxy) = serving_tls_with(&world, |launch, _| {
        launch.settings.set("cores.count", 3);
    });
    for versions in [&[&TLS13], &[&TLS12]] {
        let config = authority.client(versions);
        let ask = || {
            let mut caller = proxy.connect_tls(&config);
            caller.send(chat(&tenant.pat));
            assert_eq!(caller.response().status(), 200);
            caller.tls().handshake_kind().unwrap()
        };
        assert_eq!(ask(), HandshakeKind::Full);
        for _ in 0..20 {
            assert_eq!(ask(), HandshakeKind::Resumed);
        }
        authority.issue(&proxy.launch().dir, "proxy", &["localhost"]);
        let before = reloads(&proxy, "published");
        proxy.signal(Signal::HUP);
        proxy.wait_for_metrics("the certificate is exchanged", |_| reloads(&proxy, "published") > before);
        assert_eq!(ask(), HandshakeKind::Resumed);
    }
    let metrics = proxy.metrics();
    let connections: Vec<f64> = (0..3)
        .map(|core| metrics.sum("cube_proxy_connections_total", &[&format!("core=\"{core}\"")]))
        .collect();
    assert!(connections.iter().all(|count| *count > 0.0), "not on every core: {connections:?}");
}

fn reloads(proxy: &Proxy, outcome: &str) -> u64 {
    let label = format!("outcome=\"{outcome}\"");
    proxy.metrics().sum("cube_proxy_tls_reloads_total", &[&label]) as u64
}

/// Goal: streams live on while the certificate changes, and who comes next sees the new one. Method: 200 streams, a new certificate
/// written without a signal, then an event to each stream.
#[test]
fn a_new_certificate_is_shown_without_losing_one_of_200_streams() {
    let upstream = Upstream::bind();
    let (world, tenant) = World::serving(&upstream.url());
    let (authority, proxy) = serving_tls(&world);
    // No tickets, so that every handshake shows a certificate.
    let mut config = ClientConfig::clone(&authority.client(BOTH));
    config.resumption = rustls::client::Resumption::disabled();
    let config = Arc::new(config);
    let before = shown(&proxy, &config, "localhost");
    let mut streams: Vec<(Connection, Connection)> = (0..200)
        .map(|_| {
            let mut caller = proxy.connect_tls(&config);
            caller.send(chat_stream(&tenant.pat));
            let mut connection = upstream.accept();
            connection.request();
            connection.send([STREAM_HEAD, &chunk(DELTA)].concat());
            caller.take_through(b"\n\n\r\n");
            (caller, connection)
        })
        .collect();
    let pair = authority.issue(&proxy.launch().dir, "proxy", &["localhost"]);
    let patience = Instant::now() + PATIENCE;
    while shown(&proxy, &config, "localhost") == before {
        assert!(Instant::now() < patience, "the new certificate is not shown");
        thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(shown(&proxy, &config, "localhost"), first_of(&pair));
    for (caller, connection) in &mut streams {
        connection.send([&chunk(DELTA)[..], &chunk(DONE), b"0\r\n\r\n"].concat());
        caller.take_through(b"0\r\n\r\n");
    }
    let records = proxy.records(200);
    assert!(records.iter().all(|record| record["ending"] == "complete"));
}

#[test]
fn broken_files_leave_the_certificate_in_force_and_say_why() {
    let (world, _) = World::serving("http://127.0.0.1:1");
    let (authority, mut proxy) = serving_tls(&world);
    let config = authority.client(BOTH);
    let before = shown(&proxy, &config, "localhost");
    let dir = proxy.launch().dir.clone();
    let (chain, key) = (dir.join("proxy.pem"), dir.join("proxy.key"));
    let (good_chain, good_key) = (fs::read(&chain).unwrap(), fs::read(&key).unwrap());
    let other = authority.issue(&dir, "other", &["localhost"]);
    let expired = authority.issue_with(&dir, "expired", &["localhost"], |params| {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
    });
    let rows: [(&str, Vec<u8>, Vec<u8>); 5] = [
        ("no certificate in it", b"".to_vec(), good_key.clone()),
        ("not the key of the certificate", good_chain.clone(), fs::read(&other.key).unwrap()),
        ("no private key in it", good_chain.clone(), b"nonsense".to_vec()),
        ("expired", fs::read(&expired.chain).unwrap(), fs::read(&expired.key).unwrap()),
        ("not a PEM file", good_chain[..good_chain.len() / 2].to_vec(), good_key.clone()),
    ];
    for (number, (reason, bad_chain, bad_key)) in rows.into_iter().enumerate() {
        fs::write(&chain, bad_chain).unwrap();
        fs::write(&key, bad_key).unwrap();
        proxy.signal(Signal::HUP);
        proxy.wait_for_metrics("it is refused", |_| reloads(&proxy, "refused") > number as u64);
        let line = proxy.wait_for_log(reason);
        assert!(line.contains("certificates: refused, those in force stay: "), "{line}");
        assert_eq!(shown(&proxy, &config, "localhost"), before, "{reason}");
    }
    fs::write(&chain, good_chain).unwrap();
    fs::write(&key, good_key).unwrap();
    proxy.wait_for_metrics("the good ones are read again", |_| reloads(&proxy, "published") > 0);
}

#[test]
fn who_shows_no_certificate_or_a_wrong_one_is_turned_away_where_one_is_asked_for() {
    let upstream = Upstream::bind();
    let (world, tenant) = World::serving(&upstream.url());
    let _seen = upstream.answer(|_| json_answer("{}"));
    let mut callers = None;
    let (authority, proxy) = serving_tls_with(&world, |launch, _| {
        let authority = Authority::new();
        let path = authority.write(&launch.dir, "callers.pem");
        launch.settings.set("tls.client_ca", path.display().to_string());
        callers = Some(authority);
    });
    let callers = callers.unwrap();
    let dir = proxy.launch().dir.clone();
    let of_another = Authority::new();
    let good = callers.issue(&dir, "caller", &["caller"]);
    let wrong = of_another.issue(&dir, "stranger", &["caller"]);
    let expired = callers.issue_with(&dir, "late", &["caller"], |params| {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
    });
    let mut caller = proxy.connect_tls(&authority.client_with(&good));
    caller.send(chat(&tenant.pat));
    assert_eq!(caller.response().status(), 200);
    let refused = [
        ("none", authority.client(BOTH)),
        ("wrong", authority.client_with(&wrong)),
        ("late", authority.client_with(&expired)),
    ];
    for (name, config) in refused {
        let mut caller = proxy.connect_tls(&config);
        // In TLS 1.3 the caller learns of it only after its own last message.
        let error = caller.shake_hands().map(|_| ()).and_then(|()| caller.read_or_error());
        let error = error.expect_err(name).to_string();
        assert!(
            error.contains("CertificateRequired")
                || error.contains("UnknownCA")
                || error.contains("CertificateExpired"),
            "{name}: {error}"
        );
    }
    let metrics = proxy.wait_for_metrics("all three are counted", |metrics| {
        metrics.sum("cube_proxy_tls_handshakes_total", &["outcome=\"certificate\""]) >= 3.0
    });
    assert!(metrics.has("cube_proxy_tls_certificate_expiry_timestamp_seconds"));
}

fn check(launch: &Launch) -> Output {
    // Writes the settings.
    launch.command();
    let config = launch.dir.join("proxy.toml");
    Command::new(env!("CARGO_BIN_EXE_cube-proxy"))
        .args([Path::new("check"), Path::new("--config"), &config])
        .output()
        .unwrap()
}

#[test]
fn check_fails_on_files_that_cannot_be_used_and_warns_of_keys_that_all_can_read() {
    let (world, _) = World::serving("http://127.0.0.1:1");
    let mut launch = Launch::of(&world);
    let authority = Authority::new();
    let pair = authority.issue(&launch.dir, "proxy", &["localhost"]);
    launch.settings.set("tls.certificates", toml::Value::Array(vec![pair.entry()]));
    let said = check(&launch);
    assert!(said.status.success(), "{said:?}");
    assert!(!String::from_utf8_lossy(&said.stdout).contains("warning"), "{said:?}");

    fs::set_permissions(&pair.key, fs::Permissions::from_mode(0o644)).unwrap();
    let said = check(&launch);
    assert!(said.status.success(), "{said:?}");
    assert!(String::from_utf8_lossy(&said.stdout).contains("everybody on this machine can read the key"));

    let other = authority.issue(&launch.dir, "other", &["localhost"]);
    fs::copy(&other.key, &pair.key).unwrap();
    let said = check(&launch);
    assert!(!said.status.success());
    assert!(String::from_utf8_lossy(&said.stderr).contains("not the key of the certificate"), "{said:?}");

    let expired = |params: &mut rcgen::CertificateParams| {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
    };
    authority.issue_with(&launch.dir, "proxy", &["localhost"], expired);
    let said = check(&launch);
    assert!(!said.status.success());
    assert!(String::from_utf8_lossy(&said.stderr).contains("expired"), "{said:?}");
    fs::remove_dir_all(&launch.dir).unwrap();
}

#[test]
fn a_plain_listener_beyond_loopback_must_be_asked_for() {
    let (world, _) = World::serving("http://127.0.0.1:1");
    let mut launch = Launch::of(&world);
    launch.settings.set("listener.address", "0.0.0.0:0");
    let said = launch.command().output().unwrap();
    assert!(!said.status.success());
    assert!(String::from_utf8_lossy(&said.stderr).contains("plain_beyond_loopback"), "{said:?}");
    launch.settings.set("listener.plain_beyond_loopback", true);
    drop(launch.start());
}
