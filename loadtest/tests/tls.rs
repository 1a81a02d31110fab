//! The load client over TLS, against the mock behind a front that speaks TLS.
#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

use cube_loadtest::load::{Load, Mode, Options, Report};
use cube_loadtest::mock::Mock;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;

/// A front that ends TLS, its address, and the file to believe it by.
struct Front {
    address: SocketAddr,
    ca: PathBuf,
    _directory: Directory,
}

struct Directory(PathBuf);

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Front {
    fn start(name: &str, upstream: SocketAddr) -> Self {
        let directory =
            Directory(std::env::temp_dir().join(format!("cube-load-tls-{name}-{}", std::process::id())));
        std::fs::create_dir_all(&directory.0).unwrap();
        let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
        let ca = directory.0.join("ca.pem");
        std::fs::write(&ca, made.cert.pem()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], made.signing_key.into())
            .unwrap();
        config.send_tls13_tickets = 2;
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                let session = ServerConnection::new(Arc::clone(&config)).unwrap();
                let caller = StreamOwned::new(session, socket.unwrap());
                std::thread::spawn(move || serve(caller, upstream));
            }
        });
        Self { address, ca, _directory: directory }
    }
}

/// Carries one request after another to the mock. The load's requests fit into one record; its chunked answers end with their last chunk.
fn serve(mut caller: StreamOwned<ServerConnection, TcpStream>, upstream: SocketAddr) -> Option<()> {
    let mut upstream = TcpStream::connect(upstream).ok()?;
    let mut buffer = vec![0; 64 << 10];
    loop {
        let len = caller.read(&mut buffer).ok().filter(|len| *len > 0)?;
        upstream.write_all(&buffer[..len]).ok()?;
        let mut tail = Vec::new();
        while !tail.ends_with(b"\r\n0\r\n\r\n") {
            let len = upstream.read(&mut buffer).ok().filter(|len| *len > 0)?;
            caller.write_all(&buffer[..len]).ok()?;
            tail.extend_from_slice(&buffer[..len]);
            tail.drain(..tail.len().saturating_sub(16));
        }
    }
}

fn run(front: &Front, change: impl FnOnce(&mut Options)) -> Report {
    let mut options = Options::against(&format!("https://{}", front.address));
    options.ca = Some(front.ca.clone());
    options.concurrency = 4;
    options.requests = 40;
    options.events = 50;
    options.fields.push("x-mock-framing: chunked".to_owned());
    change(&mut options);
    Load::start(options).unwrap().wait().unwrap()
}

#[test]
fn events_over_tls_are_checked_like_others() {
    let mock = Mock::start(&cube_loadtest::mock::Options::default()).unwrap();
    let front = Front::start("events", mock.address());
    let report = run(&front, |options| options.events = 2_000);
    assert!(report.is_clean(), "{report:?}");
    assert_eq!((report.completed, report.events, report.full_handshakes), (40, 80_000, 4));
}

#[test]
fn sessions_are_resumed_unless_that_is_forbidden() {
    let mock = Mock::start(&cube_loadtest::mock::Options::default()).unwrap();
    let front = Front::start("sessions", mock.address());
    let report = run(&front, |options| options.mode = Mode::NewConnection);
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(report.full_handshakes + report.resumed_handshakes, 40, "{report:?}");
    assert!(report.resumed_handshakes >= 30, "{report:?}");

    let full = run(&front, |options| {
        options.mode = Mode::NewConnection;
        options.full_handshakes = true;
    });
    assert_eq!((full.full_handshakes, full.resumed_handshakes), (40, 0), "{full:?}");
}

#[test]
fn a_server_that_is_not_believed_is_told_as_that() {
    let mock = Mock::start(&cube_loadtest::mock::Options::default()).unwrap();
    let (front, other) = (Front::start("one", mock.address()), Front::start("other", mock.address()));
    let report = run(&front, |options| {
        options.ca = Some(other.ca.clone());
        options.requests = 4;
    });
    assert_eq!((report.completed, report.errors.get("tls")), (0, Some(&4)), "{report:?}");

    let mut options = Options::against(&format!("https://{}", front.address));
    options.ca = None;
    assert!(Load::start(options).unwrap().wait().is_err());
}
