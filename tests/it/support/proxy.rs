//! Starts the real binary with generated settings and tables, and reads what it leaves.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::connection::{Connection, PATIENCE};
use super::message::Message;
use super::metrics::Metrics;
use super::upstream::Upstream;
use super::world::{Tenant, World};

/// `proxy.toml` under construction. Every test shares these: ports of the kernel's choice, one core, every
/// request in the access log.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    table: toml::Table,
}

impl Settings {
    /// Sets `section.key`.
    pub(crate) fn set(&mut self, key: &str, value: impl Into<toml::Value>) -> &mut Self {
        let (section, key) = key.split_once('.').expect("section.key");
        let section = self.table.entry(section).or_insert_with(|| toml::Table::new().into());
        section.as_table_mut().expect("a section").insert(key.to_owned(), value.into());
        self
    }

    /// Leaves `section.key` out.
    pub(crate) fn unset(&mut self, key: &str) -> &mut Self {
        let (section, key) = key.split_once('.').expect("section.key");
        if let Some(section) = self.table.get_mut(section) {
            section.as_table_mut().expect("a section").remove(key);
        }
        self
    }
}

/// What a test starts: the directory with its files, and how it is run.
#[derive(Clone, Debug)]
pub(crate) struct Launch {
    pub(crate) dir: PathBuf,
    pub(crate) settings: Settings,
}

impl Launch {
    pub(crate) fn of(world: &World) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let dir =
            PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("it-{}-{number}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let mut settings = Settings { table: toml::Table::new() };
        settings
            .set("listener.address", "127.0.0.1:0")
            .set("ops.address", "127.0.0.1:0")
            .set("cores.count", 1)
            // Tests run side by side: one pinned core each would put all of them on one CPU.
            .set("cores.pin", false)
            .set("tables.file", dir.join("tables.ndjson").display().to_string())
            .set("access_log.path", dir.join("access.log").display().to_string())
            .set("access_log.sample", 1.0)
            .set("process.lock_file", dir.join("lock").display().to_string());
        let launch = Self { dir, settings };
        launch.write_tables(&world.lines());
        launch
    }

    pub(crate) fn write_tables(&self, lines: &str) {
        fs::write(self.dir.join("tables.ndjson"), lines).unwrap();
    }

    /// The command, with its settings written.
    pub(crate) fn command(&self) -> Command {
        let file = self.dir.join("proxy.toml");
        fs::write(&file, self.settings.table.to_string()).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_cube-proxy"));
        command.arg("--config").arg(file).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Starts the proxy and waits until it serves.
    pub(crate) fn start(self) -> Proxy {
        let child = self.command().spawn().expect("the binary starts");
        Proxy::adopt(self, child)
    }
}

/// What most tests begin with: an upstream, the smallest useful world over it, and a proxy of that.
pub(crate) fn start() -> (Upstream, Tenant, Proxy) {
    let upstream = Upstream::bind();
    let (world, tenant) = World::serving(&upstream.url());
    let proxy = Proxy::of(&world);
    (upstream, tenant, proxy)
}

/// One exchange: what the upstream was asked, and what the caller got.
pub(crate) fn exchange(
    upstream: &Upstream,
    proxy: &Proxy,
    request: &str,
    answer: &[u8],
) -> (Message, Message) {
    let mut caller = proxy.connect();
    caller.send(request);
    let mut connection = upstream.accept();
    let saw = connection.request();
    connection.send(answer);
    let got = caller.response();
    drop(connection);
    (saw, got)
}

/// A running proxy; killed when dropped.
#[derive(Debug)]
pub(crate) struct Proxy {
    child: Child,
    launch: Launch,
    /// Where it takes requests.
    pub(crate) data: SocketAddr,
    /// Where it takes requests of any path, if it does.
    pub(crate) passthrough: Option<SocketAddr>,
    /// Where it takes requests inside TLS.
    pub(crate) https: Option<SocketAddr>,
    /// Where it answers operators.
    pub(crate) ops: SocketAddr,
    log: Receiver<String>,
    logged: Vec<String>,
    /// Another proxy will be started in the same directory.
    keep_files: bool,
}

impl Proxy {
    pub(crate) fn of(world: &World) -> Self {
        Launch::of(world).start()
    }

    pub(crate) fn with(world: &World, change: impl FnOnce(&mut Settings)) -> Self {
        let mut launch = Launch::of(world);
        change(&mut launch.settings);
        launch.start()
    }

    /// Waits until `child` serves.
    pub(crate) fn adopt(launch: Launch, mut child: Child) -> Self {
        let out = lines_of(child.stdout.take().expect("piped"));
        let log = lines_of(child.stderr.take().expect("piped"));
        let until = Instant::now() + PATIENCE;
        let mut said = Vec::new();
        let ready = loop {
            match out.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) => match serde_json::from_str::<Value>(&line) {
                    Ok(value) if value["event"] == "ready" => break value,
                    _ => said.push(line),
                },
                Err(_) => {
                    let _ = child.kill();
                    said.extend(log.iter());
                    panic!("the proxy is not ready: {said:#?}");
                }
            }
        };
        let address = |key: &str| ready[key].as_str().expect(key).parse().expect(key);
        Self {
            data: address("data"),
            passthrough: ready.get("passthrough").map(|_| address("passthrough")),
            https: ready["https"].as_str().map(|address| address.parse().expect("https")),
            ops: address("ops"),
            child,
            launch,
            log,
            logged: Vec::new(),
            keep_files: false,
        }
    }

    pub(crate) fn connect(&self) -> Connection {
        Connection::to(self.data)
    }

    /// A caller of the passthrough listener.
    pub(crate) fn cross(&self) -> Connection {
        Connection::to(self.passthrough.expect("the settings have such a listener"))
    }

    /// Connects with TLS, and asks for `localhost`.
    pub(crate) fn connect_tls(&self, config: &std::sync::Arc<rustls::ClientConfig>) -> Connection {
        Connection::to_tls(self.https.expect("a TLS listener"), config)
    }

    /// Sends one request on a connection of its own and reads the answer.
    pub(crate) fn ask(&self, request: impl AsRef<[u8]>) -> Message {
        let mut caller = self.connect();
        caller.send(request);
        caller.response()
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("the proxy runs");
    }

    /// Kills it, as the kernel would for want of memory, and gives back what it was started with.
    pub(crate) fn kill(mut self) -> Launch {
        self.keep_files = true;
        self.launch.clone()
    }

    /// What it was started with.
    pub(crate) const fn launch(&self) -> &Launch {
        &self.launch
    }

    /// Waits until it has exited by itself.
    pub(crate) fn wait_for_exit(&mut self) -> ExitStatus {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < until, "the proxy did not exit");
            thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Asks the ops listener.
    pub(crate) fn ops(&self, path: &str) -> Message {
        let mut operator = Connection::to(self.ops);
        operator.send(format!("GET {path} HTTP/1.1\r\nhost: ops\r\nconnection: close\r\n\r\n"));
        operator.response()
    }

    /// A scrape in which every core is. One that does not run for half a second is left out of a scrape, on a busy machine,
    /// and what it has counted looks as if it had not happened.
    pub(crate) fn metrics(&self) -> Metrics {
        let cores = self.launch.settings.table["cores"]["count"].as_integer().expect("every test sets it");
        let until = Instant::now() + PATIENCE;
        loop {
            let answer = self.ops("/metrics");
            assert_eq!(answer.status(), 200, "{}", answer.text());
            let metrics = Metrics::parse(&answer.text());
            if (0..cores)
                .all(|core| metrics.has_series(&format!("cube_proxy_open_connections{{core=\"{core}\"}}")))
            {
                return metrics;
            }
            assert!(Instant::now() < until, "a core does not report:\n{metrics}");
        }
    }

    /// Waits until a scrape satisfies `holds`. Numbers settle a moment after the last byte of an answer.
    pub(crate) fn wait_for_metrics(&self, what: &str, holds: impl Fn(&Metrics) -> bool) -> Metrics {
        let until = Instant::now() + PATIENCE;
        loop {
            let metrics = self.metrics();
            if holds(&metrics) {
                return metrics;
            }
            assert!(Instant::now() < until, "{what} never held:\n{metrics}");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until the access log has `count` records; more are a fault.
    pub(crate) fn records(&self, count: usize) -> Vec<Value> {
        let until = Instant::now() + PATIENCE;
        loop {
            let records = self.records_so_far();
            if records.len() >= count {
                assert_eq!(records.len(), count, "{records:#?}");
                return records;
            }
            assert!(Instant::now() < until, "{} of {count} records came: {records:#?}", records.len());
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// The one record of a proxy that served one request.
    pub(crate) fn record(&self) -> Value {
        self.records(1).remove(0)
    }

    pub(crate) fn records_so_far(&self) -> Vec<Value> {
        let log = fs::read_to_string(self.launch.dir.join("access.log")).unwrap_or_default();
        // The last line may still be on its way.
        let whole = log.rfind('\n').map_or("", |end| &log[..end]);
        whole.lines().map(|line| serde_json::from_str(line).expect("a record is JSON")).collect()
    }

    /// Writes new tables and tells the proxy. They are in force once `wait_for_generation` returns.
    pub(crate) fn publish(&self, world: &World) {
        self.publish_lines(&world.lines());
    }

    pub(crate) fn publish_lines(&self, lines: &str) {
        self.launch.write_tables(lines);
        self.signal(Signal::HUP);
    }

    /// The generation that every core has adopted.
    pub(crate) fn generation(&self) -> u64 {
        let tables = self.ops("/tables").json();
        tables["generation"].as_u64().unwrap_or_else(|| panic!("no generation in {tables}"))
    }

    /// Publishes and waits until the new generation is in force.
    pub(crate) fn adopt_tables(&self, world: &World) {
        let before = self.generation();
        self.publish(world);
        let until = Instant::now() + PATIENCE;
        while self.generation() <= before {
            assert!(Instant::now() < until, "the new tables are not in force");
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits for a line on stderr that contains `needle`.
    pub(crate) fn wait_for_log(&mut self, needle: &str) -> String {
        let until = Instant::now() + PATIENCE;
        if let Some(line) = self.logged.iter().find(|line| line.contains(needle)) {
            return line.clone();
        }
        loop {
            match self.log.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    self.logged.push(line.clone());
                    if line.contains(needle) {
                        return line;
                    }
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    panic!("{needle:?} was not logged: {:#?}", self.logged)
                }
            }
        }
    }

    /// Everything on stderr so far.
    pub(crate) fn log_so_far(&mut self) -> &[String] {
        self.logged.extend(self.log.try_iter());
        &self.logged
    }

    pub(crate) fn access_log(&self) -> String {
        fs::read_to_string(self.launch.dir.join("access.log")).unwrap_or_default()
    }

    /// Resident memory of the process.
    pub(crate) fn resident_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a running process has one");
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let died = self.child.try_wait().ok().flatten();
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.logged.extend(self.log.iter());
        if thread::panicking() {
            eprintln!("proxy in {}: exited {died:?}; its log:", self.launch.dir.display());
            self.logged.iter().for_each(|line| eprintln!("  {line}"));
        } else {
            // Whatever else a test shows, no task of the proxy may have panicked on the way.
            let panicked = self.logged.iter().any(|line| line.contains("panicked"));
            assert!(!panicked, "{:#?}", self.logged);
            // Files of a failed test stay for whoever looks into it.
            if !self.keep_files {
                let _ = fs::remove_dir_all(&self.launch.dir);
            }
        }
    }
}

/// The lines of `pipe` as they come. Always drained: a full pipe would stop the proxy's logging thread.
fn lines_of(pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = channel();
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            // Nobody may be listening any more; the pipe still has to be drained.
            let _ = sender.send(line);
        }
    });
    lines
}
