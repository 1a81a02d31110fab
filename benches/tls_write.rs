//! What does it cost to send one relayed event: as it is, through our own records, through rustls's buffered connection? The three differ
//! in what happens between the bytes and `send(2)`; each event is one call, as in a stream that is read as it is produced. The other side
//! reads and throws away. The figure for decision 10; read the ratios, both sides share the machine.

#![allow(clippy::unwrap_used, reason = "a bench that fails should stop")]

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use cube_proxy::buf::BufferPool;
use cube_proxy::socket::Socket;
use monoio::{LegacyDriver, RuntimeBuilder};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};

/// Events of a chat stream, a read's worth of them, a full record.
const SIZES: [usize; 3] = [220, 1_400, 16_384];

/// What both sides of a handshake need.
struct Sides {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

impl Sides {
    fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        let client = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], made.signing_key.into())
            .unwrap();
        server.enable_secret_extraction = true;
        Self { server: Arc::new(server), client: Arc::new(client) }
    }

    /// The sending end of a connection. The other one shakes hands if it is `secure`, then reads to the end.
    fn connect(&self, secure: bool) -> TcpStream {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut reader = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let config = Arc::clone(&self.client);
        std::thread::spawn(move || {
            if secure {
                let name = ServerName::try_from("localhost").unwrap();
                let mut session = ClientConnection::new(config, name).unwrap();
                while session.is_handshaking() {
                    session.complete_io(&mut reader).unwrap();
                }
            }
            let mut sink = vec![0; 1 << 20];
            while reader.read(&mut sink).is_ok_and(|count| count > 0) {}
        });
        let writer = listener.accept().unwrap().0;
        writer.set_nodelay(true).unwrap();
        writer
    }
}

/// Time of `count` events through [`Socket`], over TLS or not.
fn through_socket(sides: &Sides, secure: bool, event: &[u8], count: u64) -> Duration {
    let stream = sides.connect(secure);
    stream.set_nonblocking(true).unwrap();
    RuntimeBuilder::<LegacyDriver>::new().build().unwrap().block_on(async {
        let mut socket = Socket::from_accepted(stream.into()).unwrap();
        if secure {
            let buffers = BufferPool::new();
            socket.accept_tls(Arc::clone(&sides.server), &buffers, async || {}).await.unwrap();
        }
        let start = Instant::now();
        for _ in 0..count {
            let mut sent = 0;
            while sent < event.len() {
                match socket.try_send(&event[sent..], &[]).unwrap() {
                    0 => socket.writable().await,
                    taken => sent += taken,
                }
            }
        }
        start.elapsed()
    })
}

/// The same through rustls's own buffers.
fn through_rustls(sides: &Sides, event: &[u8], count: u64) -> Duration {
    let mut stream = sides.connect(true);
    let mut session = ServerConnection::new(Arc::clone(&sides.server)).unwrap();
    while session.is_handshaking() {
        session.complete_io(&mut stream).unwrap();
    }
    let start = Instant::now();
    for _ in 0..count {
        session.writer().write_all(event).unwrap();
        while session.wants_write() {
            session.write_tls(&mut stream).unwrap();
        }
    }
    start.elapsed()
}

fn write(criterion: &mut Criterion) {
    let sides = Sides::new();
    let mut group = criterion.benchmark_group("tls_write");
    for size in SIZES {
        let event = vec![b'x'; size];
        group.bench_with_input(BenchmarkId::new("plain", size), &event, |b, event| {
            b.iter_custom(|count| through_socket(&sides, false, event, count));
        });
        group.bench_with_input(BenchmarkId::new("own_records", size), &event, |b, event| {
            b.iter_custom(|count| through_socket(&sides, true, event, count));
        });
        group.bench_with_input(BenchmarkId::new("rustls_buffered", size), &event, |b, event| {
            b.iter_custom(|count| through_rustls(&sides, event, count));
        });
    }
    group.finish();
}

criterion_group!(benches, write);
criterion_main!(benches);
