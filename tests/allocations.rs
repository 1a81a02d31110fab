//! What the relay allocates, counted: nothing per event, in every way that an event can pass.
//!
//! A real core runs in this process, on its own thread, and only what that thread allocates is counted; the model server and the caller
//! are plain blocking sockets, or rustls over one.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cube_proxy::cli::{Command, DevCert};
use cube_proxy::cores::{self, Addresses, CoreMessage, CoreStart, Load, Reply};
use cube_proxy::record::RecordSender;
use cube_proxy::settings::Settings;
use cube_proxy::tables::{NoResolver, Tables, digest_of};
use cube_proxy::tls::{TermsMaker, certificates, provider};
use cube_wire::pat::mint;
use cube_wire::{DomainId, PatId, PatIds, UserId};

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// What this thread allocates is counted.
    static COUNTS: Cell<bool> = const { Cell::new(false) };
}

fn count() {
    if COUNTS.get() {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
    }
}

#[expect(unsafe_code, reason = "a global allocator is an unsafe trait; it only counts and passes on")]
// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise, passed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promise, passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Events that pass before counting starts, so that buffers and pools are warm.
const WARM_UP: usize = 50;
/// Events that are counted.
const COUNTED: usize = 500;

const EVENT: &str = "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"word \"}}]}\n\n";

struct Proxy {
    address: SocketAddr,
    pat: String,
}

/// Starts one core with one domain `demo`, one model `m` at `upstream`, and a PAT that may chat.
fn start(upstream: SocketAddr, settings: &str) -> Proxy {
    let (user, pat) = (UserId::from_bytes([1; 16]), PatId::from_bytes([2; 16]));
    let domain = DomainId::from_bytes([3; 16]);
    let secret = mint(PatIds { user, pat }, &[7; 32]).expose().to_owned();
    let digest = serde_json::to_string(&digest_of(secret.as_bytes())).expect("a digest is text");
    let lines = format!(
        r#"{{"kind":"cluster","id":"c","dialect":"openai","endpoints":[{{"url":"http://{upstream}"}}]}}
{{"kind":"domain","id":"{domain}","alias":"demo","status":"enabled"}}
{{"kind":"model","domain":"{domain}","name":"m","cluster":"c"}}
{{"kind":"user","id":"{user}","status":"enabled"}}
{{"kind":"grant","user":"{user}","domain":"{domain}","operations":["llm_chat_completions"]}}
{{"kind":"pat","id":"{pat}","user":"{user}","digest":{digest},"full_access":true,"scopes":[]}}
"#
    );
    let file = std::env::temp_dir().join(format!(
        "cube-proxy-allocations-{}-{}.ndjson",
        std::process::id(),
        upstream.port()
    ));
    std::fs::write(&file, lines).expect("a temporary file");
    let tables = Tables::load(&file, 1, &mut NoResolver).unwrap_or_else(|error| panic!("{error}"));
    std::fs::remove_file(&file).expect("it was just written");

    let settings = Settings::parse(settings).expect("settings of this test");
    let terms = TermsMaker::new(&settings).load(false).expect("no files").terms;
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let tls_listener = settings.tls.is_on().then(|| cores::bind(loopback).expect("a free port"));
    let listener = cores::bind(loopback).expect("a free port");
    let address = cores::bound_address(tls_listener.as_ref().unwrap_or(&listener)).expect("it is bound");
    let (handle, inbox) = cores::inbox().expect("descriptors");
    let start = CoreStart {
        core: 0,
        cpu: None,
        listener,
        passthrough: None,
        tls_listener,
        terms,
        inbox,
        siblings: vec![handle.clone()],
        settings: Arc::new(settings),
        connections_max: 100,
        load: Load::new(1),
        addresses: Addresses::new(100),
        rates: None,
        records: RecordSender::closed(),
    };
    // Called on the core's own thread: what the test itself does over TLS is not counted.
    cores::spawn(start, |_, _, _| COUNTS.set(true)).expect("a thread");
    handle.send(CoreMessage::Adopt(Arc::new(tables), Reply::none())).expect("the core lives");
    // Messages are obeyed in order: who has this answer speaks to a core that has tables.
    let (reply, answer) = std::sync::mpsc::channel();
    handle.send(CoreMessage::Report(reply)).expect("the core lives");
    answer.recv().expect("the core answers");
    Proxy { address, pat: secret }
}

trait Stream: Read + Write {}

impl<T: Read + Write> Stream for T {}

/// Certificates of this test, the proxy's settings with them, and what its caller connects with.
struct Tls {
    dir: PathBuf,
    settings: String,
    client: Arc<rustls::ClientConfig>,
}

impl Tls {
    fn make(version: &'static rustls::SupportedProtocolVersion) -> Self {
        let dir = std::env::temp_dir().join(format!("cube-proxy-allocations-tls-{}", std::process::id()));
        let mut settings = Vec::new();
        let command = Command::DevCert(DevCert { dir: dir.clone(), names: Vec::new() });
        command.run(&mut settings, &mut Vec::new()).expect("a certificate");
        let mut roots = rustls::RootCertStore::empty();
        let ca = certificates(&dir.join("ca.pem")).expect("it was just written");
        roots.add(ca[0].clone()).expect("an authority");
        let client =
            rustls::ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[version]);
        let client = client.expect("a version of ring's").with_root_certificates(roots).with_no_client_auth();
        let settings = String::from_utf8(settings).expect("text");
        Self { dir, settings, client: Arc::new(client) }
    }

    fn over(&self, stream: TcpStream) -> impl Stream {
        let name = "localhost".try_into().expect("a name");
        let tls = rustls::ClientConnection::new(Arc::clone(&self.client), name).expect("a configuration");
        rustls::StreamOwned::new(tls, stream)
    }
}

/// How the scripted model server frames its stream.
#[derive(Clone, Copy, Debug)]
enum Framing {
    Chunked,
    UntilClose,
}

/// Serves one request and then one event per byte that comes in through `pace`, so that every event is a read of its own.
fn serve_one(listener: &TcpListener, pace: &mut TcpStream, framing: Framing) {
    let (mut socket, _) = listener.accept().expect("the proxy connects");
    socket.set_nodelay(true).expect("a socket option");
    let mut request = [0_u8; 4096];
    let _ = socket.read(&mut request).expect("a request");
    let head = match framing {
        Framing::Chunked => {
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        }
        Framing::UntilClose => {
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
        }
    };
    socket.write_all(head.as_bytes()).expect("the head");
    let event = match framing {
        Framing::Chunked => format!("{:x}\r\n{EVENT}\r\n", EVENT.len()),
        Framing::UntilClose => EVENT.to_owned(),
    };
    let mut turn = [0_u8; 1];
    while pace.read(&mut turn).expect("the caller paces") == 1 {
        socket.write_all(event.as_bytes()).expect("an event");
    }
}

/// Allocations while [`COUNTED`] events pass one by one.
fn allocations_per_stream(
    settings: &str,
    tls: Option<&Tls>,
    framing: Framing,
    body: &str,
    version: &str,
) -> u64 {
    let upstream = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let proxy = start(upstream.local_addr().expect("bound"), settings);
    let pacer = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let mut turns = TcpStream::connect(pacer.local_addr().expect("bound")).expect("loopback");
    turns.set_nodelay(true).expect("a socket option");
    let (mut pace, _) = pacer.accept().expect("just connected");
    let server = std::thread::spawn(move || serve_one(&upstream, &mut pace, framing));

    let caller = TcpStream::connect(proxy.address).expect("the core listens");
    caller.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket option");
    let mut caller: Box<dyn Stream> = match tls {
        None => Box::new(caller),
        Some(tls) => Box::new(tls.over(caller)),
    };
    let request = format!(
        "POST /proxy/demo/v1/chat/completions {version}\r\nhost: t\r\nauthorization: Bearer {}\r\ncontent-length: {}\r\n\r\n{body}",
        proxy.pat,
        body.len()
    );
    caller.write_all(request.as_bytes()).expect("the request");
    let mut buffer = [0_u8; 16384];
    let mut next_event = |expect_head: bool| {
        turns.write_all(b".").expect("the server waits");
        let mut seen = 0;
        // The head may come by itself, before the first event.
        while seen == 0 || (expect_head && !contains(&buffer[..seen], b"word ")) {
            let read = caller.read(&mut buffer[seen..]).expect("an event within the time-out");
            assert!(read > 0, "the stream goes on");
            seen += read;
        }
        assert!(contains(&buffer[..seen], b"word "), "one event per turn");
    };
    next_event(true);
    for _ in 0..WARM_UP {
        next_event(false);
    }
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    for _ in 0..COUNTED {
        next_event(false);
    }
    let counted = ALLOCATIONS.load(Ordering::Relaxed) - before;
    drop(turns);
    server.join().expect("the server ends with its pacer");
    counted
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

/// One test, so that nothing else of this program allocates meanwhile. The core's ticker runs too: ten times a second it may
/// not allocate either.
#[test]
fn relaying_an_event_allocates_nothing_in_any_framing() {
    let stream = r#"{"model":"m","stream":true,"messages":[]}"#;
    let asked = r#"{"model":"m","stream":true,"stream_options":{"include_usage":true},"messages":[]}"#;
    let cases = [
        ("passed through", "", Framing::Chunked, asked, "HTTP/1.1"),
        ("passed through, usage event to be left out", "", Framing::Chunked, stream, "HTTP/1.1"),
        ("framed anew for a close-delimited upstream", "", Framing::UntilClose, asked, "HTTP/1.1"),
        ("unframed for an HTTP/1.0 caller", "", Framing::Chunked, asked, "HTTP/1.0"),
        ("on epoll", "[cores]\ndriver = \"epoll\"", Framing::Chunked, asked, "HTTP/1.1"),
    ];
    for (name, settings, framing, body, version) in cases {
        let counted = allocations_per_stream(settings, None, framing, body, version);
        assert_eq!(counted, 0, "{name}: {counted} allocations for {COUNTED} events");
    }
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let tls = Tls::make(version);
        let counted = allocations_per_stream(&tls.settings, Some(&tls), Framing::Chunked, asked, "HTTP/1.1");
        let _ = std::fs::remove_dir_all(&tls.dir);
        assert_eq!(counted, 0, "inside TLS {version:?}: {counted} allocations for {COUNTED} events");
    }
    COUNTS.set(true);
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    drop(std::hint::black_box(vec![0_u8; 1]));
    assert!(ALLOCATIONS.load(Ordering::Relaxed) > before, "the counter counts");
}
