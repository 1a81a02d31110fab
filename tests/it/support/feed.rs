//! cube-admin as its proxies see it, played by the test: the feed by hand, reports and usage collected.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use cube_wire::feed::{Checksum, Frame, NodeReport, UsageRecord};
use cube_wire::seal::FleetKey;
use rustls::ServerConfig;

use super::connection::{Connection, PATIENCE};
use super::message::{Message, chunk};
use super::proxy::{Launch, Proxy};
use super::world::World;

/// The epoch of most tests. Not of harmless characters only: it has to survive a query.
pub(crate) const EPOCH: &str = "e/1";

/// One request for the feed, and its connection, on which the test answers.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) target: String,
    connection: Connection,
}

/// One post of usage.
#[derive(Clone, Debug)]
pub(crate) struct Posted {
    pub(crate) boot: String,
    pub(crate) records: Vec<UsageRecord>,
}

/// The feed's server.
#[derive(Debug)]
pub(crate) struct Feed {
    pub(crate) address: SocketAddr,
    pub(crate) key: FleetKey,
    asked: Receiver<Asked>,
    reports: Receiver<NodeReport>,
    usage: Receiver<Posted>,
    switches: Arc<Switches>,
}

#[derive(Debug)]
struct Switches {
    /// Connections are closed as soon as they come.
    away: AtomicBool,
    /// What a post of usage is answered with.
    usage_status: AtomicU16,
}

impl Feed {
    pub(crate) fn bind() -> Self {
        Self::bind_over(None)
    }

    /// `tls`: what it serves with.
    pub(crate) fn bind_over(tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port for the feed");
        let address = listener.local_addr().unwrap();
        let key = FleetKey::generate().unwrap();
        let bearer = format!("Bearer {}", key.node_token());
        let switches = Arc::new(Switches { away: AtomicBool::new(false), usage_status: AtomicU16::new(204) });
        let ((to_asked, asked), (to_reports, reports), (to_usage, usage)) = (channel(), channel(), channel());
        let for_threads = Arc::clone(&switches);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if for_threads.away.load(Ordering::Relaxed) {
                    continue;
                }
                let (asked, reports, usage) = (to_asked.clone(), to_reports.clone(), to_usage.clone());
                let (bearer, switches) = (bearer.clone(), Arc::clone(&for_threads));
                let mut connection = Connection::from(stream);
                let tls = tls.clone();
                thread::spawn(move || {
                    if let Some(tls) = tls {
                        connection = connection.over(super::tls::server(&tls).into());
                        if connection.shake_hands().is_err() {
                            return;
                        }
                    }
                    serve(connection, &bearer, &switches, &asked, &reports, &usage);
                });
            }
        });
        Self { address, key, asked, reports, usage, switches }
    }

    /// From now on nobody answers, and what is open ends at its next request.
    pub(crate) fn go_away(&self) {
        self.switches.away.store(true, Ordering::Relaxed);
    }

    pub(crate) fn come_back(&self) {
        self.switches.away.store(false, Ordering::Relaxed);
    }

    pub(crate) fn answer_usage_with(&self, status: u16) {
        self.switches.usage_status.store(status, Ordering::Relaxed);
    }

    /// The next request for the feed.
    pub(crate) fn asked(&self) -> Asked {
        self.asked.recv_timeout(PATIENCE).expect("the proxy asks for the feed")
    }

    /// Waits for a report of which `holds` is true.
    pub(crate) fn report(&self, what: &str, holds: impl Fn(&NodeReport) -> bool) -> NodeReport {
        let mut last = None;
        loop {
            match self.reports.recv_timeout(PATIENCE) {
                Ok(report) if holds(&report) => return report,
                Ok(report) => last = Some(report),
                Err(_) => panic!("{what} was never reported; last: {last:#?}"),
            }
        }
    }

    /// Waits until all cores of the node are at `generation`.
    pub(crate) fn adopted(&self, generation: u64) -> NodeReport {
        self.report(&format!("generation {generation}"), |report| report.adopted() == generation)
    }

    pub(crate) fn posted(&self) -> Posted {
        self.usage.recv_timeout(PATIENCE).expect("the proxy posts usage")
    }

    pub(crate) fn posted_so_far(&self) -> Vec<Posted> {
        self.usage.try_iter().collect()
    }

    /// What a proxy of this feed is started with: two cores, hardly any wait between connections.
    pub(crate) fn launch(&self) -> Launch {
        let mut launch = Launch::of(&World::default());
        let file = launch.dir.join("fleet.key");
        std::fs::write(&file, self.key.to_text()).unwrap();
        let state = state_dir(&launch).display().to_string();
        launch
            .settings
            .unset("tables.file")
            .set("cores.count", 2)
            .set("admin.feed", format!("http://{}", self.address))
            .set("admin.fleet_key_file", file.display().to_string())
            .set("admin.state_dir", state)
            .set("admin.node", "node-1")
            .set("admin.reconnect_min_s", 0.001)
            .set("admin.reconnect_max_s", 0.002);
        launch
    }

    /// A proxy that has been given `world` as generation 1, and its feed.
    pub(crate) fn start(&self, world: &World) -> (Proxy, Answering) {
        self.start_with(self.launch(), world)
    }

    pub(crate) fn start_with(&self, launch: Launch, world: &World) -> (Proxy, Answering) {
        let child = spawn(&launch);
        let mut feed = self.asked().answer();
        feed.send(&snapshot(1, world));
        (Proxy::adopt(launch, child), feed)
    }
}

pub(crate) fn state_dir(launch: &Launch) -> PathBuf {
    launch.dir.join("state")
}

pub(crate) fn spawn(launch: &Launch) -> Child {
    launch.command().spawn().expect("the binary starts")
}

fn serve(
    mut connection: Connection,
    bearer: &str,
    switches: &Switches,
    asked: &Sender<Asked>,
    reports: &Sender<NodeReport>,
    usage: &Sender<Posted>,
) {
    while connection.read_some() {
        let request = connection.request();
        if switches.away.load(Ordering::Relaxed) {
            return;
        }
        assert_eq!(request.field("authorization"), Some(bearer), "a node shows what it is");
        let target = request.target().to_owned();
        let status = match target.split('?').next().unwrap_or_default() {
            "/feed/v1/tables" => {
                // The test may have ended.
                let _ = asked.send(Asked { target, connection });
                return;
            }
            "/feed/v1/node" => {
                let _ = reports.send(serde_json::from_slice(&request.body).expect("a report"));
                204
            }
            "/feed/v1/usage" => {
                let _ = usage.send(posted(&target, &request));
                switches.usage_status.load(Ordering::Relaxed)
            }
            other => panic!("the proxy asked for {other}"),
        };
        if !connection.offer(format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n")) {
            return;
        }
    }
}

fn posted(target: &str, request: &Message) -> Posted {
    let (_, boot) = target.split_once("boot=").expect("a boot");
    assert!(target.contains("node=node-1"), "{target}");
    let text = request.text();
    assert!(text.ends_with('\n') && text.lines().count() <= 1000, "whole lines");
    let records = text.lines().map(|line| serde_json::from_str(line).expect("a usage record")).collect();
    Posted { boot: boot.to_owned(), records }
}

impl Asked {
    /// Begins the answer, chunked.
    pub(crate) fn answer(mut self) -> Answering {
        self.connection.send(
            "HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n",
        );
        Answering(self.connection)
    }

    /// Begins the answer with a body that ends when the connection does.
    pub(crate) fn answer_until_close(mut self) -> Connection {
        self.connection.send("HTTP/1.1 200 OK\r\n\r\n");
        self.connection
    }

    pub(crate) fn refuse(mut self, status: u16) {
        self.connection.send(format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n"));
    }
}

/// An answer of the feed that has begun.
#[derive(Debug)]
pub(crate) struct Answering(Connection);

impl Answering {
    pub(crate) fn send(&mut self, bytes: &str) {
        self.0.send(chunk(bytes));
    }

    /// The same to a proxy that may be dead.
    pub(crate) fn offer(&mut self, bytes: &str) -> bool {
        self.0.offer(chunk(bytes))
    }
}

/// A frame: its heading, lines, and an end that agrees.
pub(crate) fn frame(heading: &Frame, lines: &str) -> String {
    let mut sum = Checksum::new();
    lines.lines().for_each(|line| sum.add(line.as_bytes()));
    heading.to_line() + lines + &sum.end().to_line()
}

pub(crate) fn snapshot(generation: u64, world: &World) -> String {
    frame(&Frame::Snapshot { epoch: EPOCH.into(), generation, at_ms: 1 }, &world.lines())
}

pub(crate) fn delta(base: u64, lines: &str) -> String {
    frame(&Frame::Delta { epoch: EPOCH.into(), base, generation: base + 1, at_ms: 1 }, lines)
}

pub(crate) fn heartbeat(generation: u64) -> String {
    Frame::Heartbeat { epoch: EPOCH.into(), generation, at_ms: 1 }.to_line()
}
