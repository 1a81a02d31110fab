//! HTTPS on both listeners, and certificates of the fleet's own.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use cube_wire::feed::NodeReport;
use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig};

use crate::ops::Scrape;
use crate::support::{ADMIN, Server, json, node_token};

/// Has a certificate issued by the authority of a state directory.
fn issue(server: &Server, authority: &str, what: &str, name: &str, into: &Path) {
    let state = server.state().join(authority);
    let mut command = Command::new(env!("CARGO_BIN_EXE_cube-admin"));
    command.arg(what).arg(name).arg("--dir").arg(into).arg("--state").arg(state);
    assert!(command.output().expect("it runs").status.success());
}

/// The server, restarted with TLS on both listeners; and where the files are.
fn with_tls(more: &str) -> (Server, PathBuf) {
    let mut server = Server::start();
    let files = server.state().join("tls");
    issue(&server, "ca", "feed-cert", "127.0.0.1", &files);
    let (chain, key) = (files.join("127.0.0.1.pem"), files.join("127.0.0.1.key"));
    let section = |name: &str| format!("[{name}.tls]\nchain = {chain:?}\nkey = {key:?}\n");
    let config = server.state().join("admin.toml");
    let mut text = std::fs::read_to_string(&config).expect("settings");
    text += &format!("{}{}{more}", section("api"), section("feed"));
    std::fs::write(&config, text).expect("settings");
    server.kill_and_restart();
    assert!(server.api.starts_with("https://") && server.feed.starts_with("https://"));
    (server, files)
}

fn agent(ca: &Path, identity: Option<(&Path, &Path)>) -> ureq::Agent {
    let read = |path: &Path| std::fs::read(path).expect("a file");
    let root = Certificate::from_pem(&read(ca)).expect("a certificate").to_owned();
    let identity = identity.map(|(chain, key)| {
        let certificate = Certificate::from_pem(&read(chain)).expect("a certificate").to_owned();
        let key = PrivateKey::from_pem(&read(key)).expect("a key").to_owned();
        ClientCert::new_with_certs(&[certificate], key)
    });
    let tls = TlsConfig::builder().root_certs(RootCerts::from(vec![root])).client_cert(identity).build();
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(30)))
        .tls_config(tls)
        .build()
        .into()
}

#[test]
fn the_api_speaks_https_and_says_so_to_whoever_does_not() {
    let (server, files) = with_tls("");
    let ca = files.join("fleet-ca.pem");
    let login = json!({ "username": ADMIN.0, "password": ADMIN.1 });
    let url = format!("{}/users/tokens/issue", server.api);
    assert_eq!(agent(&ca, None).post(&url).send_json(&login).expect("an answer").status(), 201);

    issue(&server, "other", "feed-cert", "127.0.0.1", &server.state().join("other"));
    let stranger = agent(&server.state().join("other").join("fleet-ca.pem"), None);
    assert!(stranger.post(&url).send_json(&login).is_err(), "nobody vouches for it");

    let address = server.api.trim_start_matches("https://");
    let mut plain = TcpStream::connect(address).expect("it listens");
    plain.write_all(b"GET /users HTTP/1.1\r\nhost: x\r\nauthorization: Bearer secret\r\n\r\n").expect("sent");
    let mut answer = String::new();
    plain.read_to_string(&mut answer).expect("an answer and an end");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 400 ") && body.contains("https_required"), "{answer}");
    assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{answer}");

    // Others' half-open handshakes are in nobody's way.
    let half_open: Vec<_> = (0..100).map(|_| TcpStream::connect(address).expect("it listens")).collect();
    assert_eq!(agent(&ca, None).post(&url).send_json(&login).expect("an answer").status(), 201);
    drop(half_open);
}

#[test]
fn replaced_certificates_are_used_and_broken_ones_are_not() {
    let (server, files) = with_tls("");
    let url = format!("{}/openapi.json", server.api);
    let kept = files.with_file_name("first-ca.pem");
    std::fs::copy(files.join("fleet-ca.pem"), &kept).expect("a copy");
    let first = agent(&kept, None);
    assert_eq!(first.get(&url).call().expect("an answer").status(), 200);

    let key = files.join("127.0.0.1.key");
    let good = std::fs::read(&key).expect("a key");
    std::fs::write(&key, "no key").expect("written");
    let refused = |listener: &str| {
        let name = format!(r#"cube_admin_tls_files_refused{{listener="{listener}"}}"#);
        Scrape::of(&server).figure(&name)
    };
    let wait_until = |what: &str, holds: &dyn Fn() -> bool| {
        let patience = Instant::now() + Duration::from_secs(30);
        while !holds() {
            assert!(Instant::now() < patience, "{what}");
            std::thread::sleep(Duration::from_millis(100));
        }
    };
    wait_until("broken files are refused", &|| refused("api") >= 1.0 && refused("feed") >= 1.0);
    assert_eq!(agent(&kept, None).get(&url).call().expect("an answer").status(), 200, "the old ones stay");
    let told = Scrape::of(&server);
    for listener in ["api", "feed"] {
        let of = |name: &str| told.figure(&format!(r#"{name}{{listener="{listener}"}}"#));
        let expiry =
            UNIX_EPOCH + Duration::from_secs_f64(of("cube_admin_tls_certificate_expiry_timestamp_seconds"));
        assert!(expiry > SystemTime::now(), "{listener}: {expiry:?}");
    }
    std::fs::write(&key, good).expect("written");

    issue(&server, "other", "feed-cert", "127.0.0.1", &files);
    let second = files.join("fleet-ca.pem");
    wait_until("the new certificate is used", &|| agent(&second, None).get(&url).call().is_ok());
    assert!(agent(&kept, None).get(&url).call().is_err(), "new connections get the new one");
    wait_until("nothing is refused any more", &|| refused("api") == 0.0);
}

#[test]
fn a_node_needs_a_certificate_of_its_own_where_certificates_are_asked_for() {
    let (mut server, files) = with_tls("");
    let ca = files.join("fleet-ca.pem");
    let config = server.state().join("admin.toml");
    let text = std::fs::read_to_string(&config).expect("settings");
    std::fs::write(&config, format!("{text}client_ca = {ca:?}\n")).expect("settings");
    server.kill_and_restart();
    for node in ["node-1", "node_2"] {
        issue(&server, "ca", "node-cert", node, &files);
    }
    let identity = |name: &str| (files.join(format!("{name}.pem")), files.join(format!("{name}.key")));
    let report = |agent: &ureq::Agent, node: &str| {
        let report = NodeReport { node: node.to_owned(), ..NodeReport::default() };
        let url = format!("{}/feed/v1/node", server.feed);
        let request = agent.post(&url).header("authorization", format!("Bearer {}", node_token(&server)));
        request.send_json(&report).map(|answer| answer.status().as_u16())
    };
    for own in ["node-1", "node_2"] {
        let (chain, key) = identity(own);
        let agent = agent(&ca, Some((&chain, &key)));
        assert_eq!(report(&agent, own).expect("an answer"), 204);
        assert_eq!(report(&agent, "node-3").expect("an answer"), 403);
    }
    assert!(report(&agent(&ca, None), "node-1").is_err(), "no certificate, no connection");

    issue(&server, "other", "node-cert", "node-1", &server.state().join("other"));
    let other = server.state().join("other");
    let (chain, key) = (other.join("node-1.pem"), other.join("node-1.key"));
    assert!(report(&agent(&ca, Some((&chain, &key))), "node-1").is_err(), "signed by somebody else");
}

#[test]
fn the_command_line_checks_whom_it_speaks_to() {
    let (server, files) = with_tls("");
    let run = |ca: Option<&Path>| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cube-admin"));
        command
            .args(["login", ADMIN.0])
            .env("CUBE_ADMIN_API", &server.api)
            .env("CUBE_ADMIN_PASSWORD", ADMIN.1);
        command.env("CUBE_ADMIN_CREDENTIALS", files.join("credentials.json")).env_remove("CUBE_ADMIN_CA");
        if let Some(ca) = ca {
            command.arg("--ca").arg(ca);
        }
        command.output().expect("it runs").status.success()
    };
    assert!(run(Some(&files.join("fleet-ca.pem"))));
    assert!(!run(None), "the system trusts nobody of ours");
}
