//! The control thread against cores that only obey, over its real ops listener.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::Instant;

use serde_json::Value;

use super::*;
use crate::cores::{CoreMessage, Inbox, Pulse, inbox};
use crate::meter::Meter;
use crate::record::{Ending, RequestRecord};
use crate::settings::AccessLogSink;
use crate::tables::{NoResolver, lone_cluster};

const GOOD: &str = r#"{"kind":"cluster","id":"c","dialect":"openai","endpoints":[{"url":"http://127.0.0.1:9"}]}
{"kind":"domain","id":"11111111-1111-1111-1111-111111111111","status":"enabled"}
{"kind":"model","domain":"11111111-1111-1111-1111-111111111111","name":"m","cluster":"c"}
"#;
const BAD: &str = r#"{"kind":"model","domain":"11111111-1111-1111-1111-111111111111","name":"m","cluster":"no"}
{"kind":"nonsense"}
"#;

/// What a test sees and changes of one core.
#[derive(Debug, Default)]
struct Seen {
    open_connections: AtomicU64,
    drains: AtomicU64,
    stops: AtomicU64,
    cuts: AtomicU64,
    stuck: AtomicBool,
    /// Where cube-admin is, as the core was told.
    admin_at: OnceLock<Vec<SocketAddr>>,
}

/// A core that does as it is told.
fn obey(core: usize, inbox: Inbox, seen: &Seen) {
    let meter = Meter::new(10);
    let mut runtime = RuntimeBuilder::<LegacyDriver>::new().enable_timer().build().expect("epoll");
    runtime.block_on(async {
        let inbox = inbox.open().expect("descriptors");
        loop {
            for message in inbox.messages().await {
                while seen.stuck.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(5));
                }
                match message {
                    CoreMessage::Adopt(tables, adopted) => {
                        meter.adopted(tables.generation());
                        adopted.send(core);
                    }
                    CoreMessage::Pulse(reply) => reply.send(Pulse { core, driver: "epoll", inflight: 0 }),
                    CoreMessage::Report(reply) => {
                        meter.open_connections.set(seen.open_connections.load(Ordering::Relaxed));
                        let _ = reply.send(meter.report(core, "epoll"));
                    }
                    CoreMessage::Drain => drop(seen.drains.fetch_add(1, Ordering::Relaxed)),
                    CoreMessage::StopAccepting => drop(seen.stops.fetch_add(1, Ordering::Relaxed)),
                    CoreMessage::Cut => drop(seen.cuts.fetch_add(1, Ordering::Relaxed)),
                    CoreMessage::Neighbours(neighbours) => {
                        let admin = neighbours.admin.as_ref().expect("the settings name it");
                        let _ = seen.admin_at.set(admin.endpoints[0].addrs.to_vec());
                    }
                    // No test of this folder has certificates.
                    CoreMessage::Terms(_) => panic!("there is nothing to shake hands with"),
                    CoreMessage::Connection(..) => panic!("the control thread has no connections to give"),
                }
            }
        }
    });
}

/// A running control thread and its surroundings.
struct Bench {
    address: SocketAddr,
    hangup: UnixStream,
    terminate: UnixStream,
    cores: Vec<Arc<Seen>>,
    events: Receiver<String>,
    control: JoinHandle<Ended>,
    tables: PathBuf,
}

fn scratch_file(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("cube-proxy-control-{}-{name}", std::process::id()))
}

impl Bench {
    /// `name`: of the test, for its files. `prepare`: what it wants set. Two cores.
    fn start(
        name: &str,
        tables: Option<&str>,
        prepare: impl FnOnce(&mut Settings),
    ) -> (Self, Vec<RecordSender>) {
        let path = scratch_file(&format!("{name}.ndjson"));
        let _ = std::fs::remove_file(&path);
        if let Some(text) = tables {
            std::fs::write(&path, text).expect("a writable place");
        }
        let mut settings = Settings::default();
        settings.listener.address.set_port(0);
        settings.ops.address.set_port(0);
        settings.tables.file = Some(path.clone());
        settings.drain.min = Duration::ZERO;
        prepare(&mut settings);

        // The real signals are the whole program's; each test has its own.
        let pair = || UnixStream::pair().expect("descriptors");
        let ((hangup, reload), (terminate, end)) = (pair(), pair());
        for stream in [&reload, &end] {
            stream.set_nonblocking(true).expect("an option");
        }
        let mut control =
            Control::prepare_with(Arc::new(settings), || Ok(Signals { reload, end })).expect("free ports");
        let address = control.ops_address();
        let senders = control.record_senders(2).expect("a writable place");

        let cores: Vec<Arc<Seen>> = (0..2).map(|_| Arc::default()).collect();
        let handles = cores.iter().enumerate().map(|(core, seen)| {
            let (handle, inbox) = inbox().expect("descriptors");
            let seen = Arc::clone(seen);
            std::thread::spawn(move || obey(core, inbox, &seen));
            handle
        });
        let handles = handles.collect();
        let (told, events) = channel();
        let control = std::thread::spawn(move || {
            let tell = move |event: &Event| drop(told.send(event.to_string()));
            control.run(handles, SocketAddr::from(([127, 0, 0, 1], 0)), tell).expect("epoll")
        });
        (Self { address, hangup, terminate, cores, events, control, tables: path }, senders)
    }

    /// Status and body of one ops path.
    fn get(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("an option");
        write!(stream, "GET {path} HTTP/1.0\r\nhost: x\r\n\r\n").expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        (head[9..12].parse().expect("a status"), body.to_owned())
    }

    fn tables(&self) -> Value {
        let (status, body) = self.get("/tables");
        assert_eq!(status, 200);
        serde_json::from_str(&body).expect("JSON")
    }

    #[track_caller]
    fn until_told(&self, part: &str) -> String {
        let deadline = Instant::now() + Duration::from_secs(10);
        let mut told = Vec::new();
        while let Ok(event) = self.events.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            if event.contains(part) {
                return event;
            }
            told.push(event);
        }
        panic!("{part:?} is not among {told:?}")
    }

    fn publish(&mut self, text: &str) {
        std::fs::write(&self.tables, text).expect("our file");
        self.hangup.write_all(b"X").expect("it lives");
    }

    fn terminate(&mut self) {
        self.terminate.write_all(b"X").expect("it lives");
    }

    fn end(mut self) -> Ended {
        self.terminate();
        let _ = std::fs::remove_file(&self.tables);
        self.control.join().expect("no panic")
    }
}

#[test]
fn the_proxy_is_ready_once_every_core_has_tables() {
    let (bench, _) = Bench::start("ready", Some(GOOD), |_| ());
    assert_eq!(bench.get("/livez").0, 200);
    let published = bench.until_told("published");
    assert!(published.contains("generation 1") && published.contains("1 models"), "{published}");
    bench.until_told("ready");
    assert_eq!(bench.get("/readyz"), (200, "ready\n".to_owned()));

    let tables = bench.tables();
    assert_eq!(tables["generation"], 1);
    assert_eq!(tables["counts"]["models"], 1);
    assert_eq!(tables["last_refusal"], Value::Null);
    for core in 0..2 {
        let told = &tables["cores"][core];
        assert_eq!((&told["core"], &told["generation"]), (&Value::from(core), &Value::from(1)));
        assert_eq!(told["driver"], "epoll");
    }
    let (status, metrics) = bench.get("/metrics");
    assert_eq!(status, 200);
    for line in [
        "cube_proxy_ready 1",
        "cube_proxy_draining 0",
        "cube_proxy_tables_generation 1",
        "cube_proxy_tables_entries{kind=\"model\"} 1",
        "cube_proxy_tables_loads_total{outcome=\"published\"} 1",
        "cube_proxy_core_tables_generation{core=\"1\"} 1",
        "cube_proxy_core_info{driver=\"epoll\",core=\"0\"} 1",
        "# EOF",
    ] {
        assert!(metrics.lines().any(|told| told == line), "{line} is not in\n{metrics}");
    }
    assert_eq!(bench.get("/elsewhere").0, 404);
    assert_eq!(bench.end(), Ended::Drained);
}

#[test]
fn a_proxy_that_never_had_tables_is_not_ready_and_becomes_so() {
    let (mut bench, _) = Bench::start("never", None, |_| ());
    assert!(bench.until_told("refused").contains("there are no others"));
    assert_eq!(bench.get("/readyz"), (503, "no tables\n".to_owned()));
    assert_eq!(bench.tables()["generation"], 0);
    bench.publish(GOOD);
    bench.until_told("ready");
    assert_eq!(bench.get("/readyz").0, 200);
    bench.end();
}

#[test]
fn tables_that_do_not_compile_are_refused_whole_and_the_last_good_ones_stay() {
    let (mut bench, _) = Bench::start("refused", Some(GOOD), |_| ());
    bench.until_told("ready");
    bench.publish(BAD);
    let refused = bench.until_told("refused");
    assert!(refused.contains("generation 1 stays in force"), "{refused}");
    assert!(refused.contains("line 1: ") && refused.contains("line 2: "), "every problem: {refused}");

    assert_eq!(bench.get("/readyz").0, 200);
    let tables = bench.tables();
    assert_eq!(
        (&tables["generation"], &tables["cores"][0]["generation"]),
        (&Value::from(1), &Value::from(1))
    );
    assert!(tables["last_refusal"]["reason"].as_str().expect("a reason").contains("line 2: "));
    assert!(bench.get("/metrics").1.contains("cube_proxy_tables_loads_total{outcome=\"refused\"} 1\n"));

    bench.publish(GOOD);
    assert!(bench.until_told("published").contains("generation 2"));
    assert_eq!(bench.tables()["last_refusal"], Value::Null);
    bench.end();
}

/// Goal: one stuck core costs its own figures, nothing else. Method: a core whose thread stands still.
#[test]
fn a_stuck_core_keeps_neither_the_listener_nor_new_tables_from_the_others() {
    let (mut bench, _) = Bench::start("stuck", Some(GOOD), |_| ());
    bench.until_told("ready");
    bench.cores[1].stuck.store(true, Ordering::Relaxed);
    for generation in 2..4 {
        bench.publish(GOOD);
        bench.until_told(&format!("generation {generation} "));
    }
    let cores = &bench.tables()["cores"];
    assert_eq!((&cores[0]["generation"], &cores[1]["answers"]), (&Value::from(3), &Value::from(false)));
    assert!(bench.get("/metrics").1.contains("cube_proxy_core_tables_generation{core=\"0\"} 3\n"));
    assert_eq!(bench.get("/livez").0, 200);
    bench.cores[1].stuck.store(false, Ordering::Relaxed);
    assert_eq!(bench.end(), Ended::Drained);
}

#[test]
fn the_end_waits_for_connections_and_says_no_meanwhile() {
    let (mut bench, _) = Bench::start("drain", Some(GOOD), |settings| {
        settings.drain.min = Duration::from_millis(300);
    });
    bench.until_told("ready");
    bench.cores[1].open_connections.store(1, Ordering::Relaxed);
    bench.terminate();
    bench.until_told("draining: 1 connections");
    assert_eq!(bench.get("/readyz"), (503, "draining\n".to_owned()));
    assert_eq!(bench.get("/livez").0, 200);
    assert!(bench.get("/metrics").1.contains("cube_proxy_draining 1\n"));
    let told = |count: fn(&Seen) -> &AtomicU64| {
        bench.cores.iter().map(|seen| count(seen).load(Ordering::Relaxed)).sum::<u64>()
    };
    assert_eq!((told(|seen| &seen.drains), told(|seen| &seen.stops)), (2, 0), "drain.min is not over");

    let deadline = Instant::now() + Duration::from_secs(10);
    while told(|seen| &seen.stops) < 2 {
        assert!(Instant::now() < deadline, "nobody was told to stop accepting");
        std::thread::sleep(Duration::from_millis(10));
    }
    std::thread::sleep(Duration::from_millis(150));
    assert!(!bench.control.is_finished(), "a connection is open");
    bench.cores[1].open_connections.store(0, Ordering::Relaxed);
    bench.until_told("every connection had ended");
    assert_eq!(bench.control.join().expect("no panic"), Ended::Drained);
    let _ = std::fs::remove_file(&bench.tables);
}

#[test]
fn what_is_open_at_the_deadline_or_at_a_second_signal_is_cut() {
    let deadline = |settings: &mut Settings| settings.drain.deadline = Duration::from_millis(100);
    let (bench, _) = Bench::start("deadline", Some(GOOD), deadline);
    bench.until_told("ready");
    bench.cores[0].open_connections.store(3, Ordering::Relaxed);
    assert_eq!(bench.end(), Ended::Cut { connections: 3 });

    let (mut bench, _) = Bench::start("twice", Some(GOOD), |_| ());
    bench.until_told("ready");
    bench.cores[0].open_connections.store(2, Ordering::Relaxed);
    bench.terminate();
    bench.until_told("draining");
    assert_eq!(bench.end(), Ended::Cut { connections: 2 });
}

#[test]
fn records_sent_before_the_end_are_in_the_access_log() {
    let path = scratch_file("access.log");
    let _ = std::fs::remove_file(&path);
    let sink = AccessLogSink::File(path.clone());
    let (bench, mut senders) =
        Bench::start("access", Some(GOOD), |settings| settings.access_log.sink = Some(sink));
    bench.until_told("ready");
    let meter = Meter::new(1);
    for sender in &mut senders {
        sender.push(
            RequestRecord { status: 200, ending: Ending::Complete, ..RequestRecord::default() },
            &meter,
        );
        sender.flush(&meter);
    }
    assert!(bench.get("/metrics").1.contains("cube_proxy_access_log_lines_lost_total 0\n"));
    assert_eq!(bench.end(), Ended::Drained);
    assert_eq!(std::fs::read_to_string(&path).expect("the log").lines().count(), 2);
    std::fs::remove_file(path).expect("our file");
}

#[test]
fn an_ops_address_that_is_taken_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let mut settings = Settings::default();
    settings.listener.address.set_port(0);
    settings.ops.address = taken.local_addr().expect("bound");
    let signals = || Err(io::ErrorKind::Other.into());
    let error = Control::prepare_with(Arc::new(settings), signals).expect_err("it is taken");
    assert!(error.to_string().starts_with("ops.address 127.0.0.1:"), "{error}");
}

#[test]
fn cores_are_told_where_a_server_of_the_settings_is_once_its_name_is_known() {
    let nowhere = lone_cluster("admin", "http://localhost:8081", &mut NoResolver).expect("a URL");
    assert!(nowhere.endpoints[0].addrs.is_empty());
    let (mut bench, _) = Bench::start("moves", Some(GOOD), |settings| {
        settings.listener.admin_origin = Some(Arc::new(nowhere))
    });
    bench.until_told("ready");
    bench.publish(GOOD);
    bench.until_told("other addresses");
    let is_there = |seen: &Seen| {
        let at = |address: &SocketAddr| address.ip().is_loopback() && address.port() == 8081;
        seen.admin_at.get().is_some_and(|addresses| !addresses.is_empty() && addresses.iter().all(at))
    };
    let deadline = Instant::now() + Duration::from_secs(10);
    while !bench.cores.iter().all(|seen| is_there(seen)) {
        assert!(Instant::now() < deadline, "{:?}", bench.cores);
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(bench.end(), Ended::Drained);
}
