//! The mock, in this process; the proxy, in one of its own, with two tables files to choose from and an access log.

use super::watch::{self, Metrics, Sample};
use super::{Options, ledger};
use crate::fetch;
use crate::launch::{Child, Launch, Output};
use crate::mock::{self, Mock};
use crate::tables::{self, People, Service};
use anyhow::{Context as _, Result, bail};
use cube_wire::record::{Dialect, Record};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The domain's name in paths.
pub(super) const ALIAS: &str = "soak";
/// The model that all callers use.
pub(super) const MODEL: &str = "demo-model";
/// The model that comes and goes.
pub(super) const GUEST_MODEL: &str = "guest-model";
/// After how long the proxy closes idle connections to the mock: some of them during the run, all of them after it.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(2);
/// Longest wait for the proxy to become ready.
const READY_PATIENCE: Duration = Duration::from_secs(20);

/// What runs.
pub(super) struct Setup {
    pub(super) mock: Mock,
    pub(super) proxy: Child,
    pub(super) address: SocketAddr,
    pub(super) ops: SocketAddr,
    pub(super) people: People,
    pub(super) directory: PathBuf,
    /// Everything.
    with_guests: Vec<Record>,
    /// The same without [`GUEST_MODEL`], and without the PAT that is scoped to embeddings.
    without_guests: Vec<Record>,
}

impl Setup {
    pub(super) fn start(directory: &Path, options: &Options) -> Result<Self> {
        let mock = Mock::start(&mock::Options::default())?;
        let people = People::new()?;
        let service = Service {
            alias: ALIAS.to_owned(),
            upstream: format!("http://{}", mock.address()),
            credential: None,
            dialect: Dialect::Openai,
            models: vec![MODEL.to_owned(), GUEST_MODEL.to_owned()],
        };
        let with_guests = tables::records(&people, &service);
        let without_guests =
            with_guests.iter().filter(|record| !is_guest(record, &people)).cloned().collect();
        let beside = std::env::current_exe().context("cannot find our own program")?;
        let beside = beside.parent().context("our own program has no directory")?;
        let program = options.bin_dir.as_deref().unwrap_or(beside).join("cube-proxy");
        if !program.is_file() {
            bail!("{} is not there; build it: cargo build --release -p cube-proxy", program.display());
        }
        let [address, ops] = free_addresses()?;
        let settings = directory.join("proxy.toml");
        std::fs::write(&settings, settings_text(directory, address, ops, options)?)?;
        tables::write(&directory.join("tables.ndjson"), &with_guests)?;
        let proxy = Launch::new(program)
            .arguments([Path::new("--config"), &settings])
            .output(Output::File(directory.join("proxy.log")))
            .start()?;
        let directory = directory.to_owned();
        let mut setup = Self { mock, proxy, address, ops, people, directory, with_guests, without_guests };
        setup.wait_until_ready()?;
        Ok(setup)
    }

    /// Writes the tables file, with guests or without; the proxy does not know of it yet.
    pub(super) fn write_tables(&self, guests: bool) -> Result<()> {
        let records = if guests { &self.with_guests } else { &self.without_guests };
        tables::write(&self.directory.join("tables.ndjson"), records)
    }

    /// Memory and descriptors of the proxy now.
    pub(super) fn sample(&self, start: Instant) -> Result<Sample> {
        watch::sample(self.proxy.id(), start.elapsed().as_secs_f64())
    }

    /// Asks the ops listener.
    pub(super) fn ask(&self, path: &str) -> Result<fetch::Answer> {
        let answer = fetch::get(self.ops, &self.ops.to_string(), path, "")?;
        if answer.status != 200 {
            bail!("{path} says {}: {}", answer.status, String::from_utf8_lossy(&answer.body));
        }
        Ok(answer)
    }

    pub(super) fn metrics(&self) -> Result<Metrics> {
        Metrics::parse(&self.ask("/metrics")?.body)
    }

    pub(super) fn fail_if_ended(&mut self) -> Result<()> {
        if let Some(status) = self.proxy.ended()? {
            bail!("cube-proxy ended: {status}; it says:\n{}", self.output());
        }
        Ok(())
    }

    /// Waits, not for ever, until nothing is under way any more; gives the last look.
    pub(super) fn settle(&self, descriptors: u64, patience: Duration) -> Result<Settled> {
        let start = Instant::now();
        loop {
            let metrics = self.metrics()?;
            let sample = self.sample(start)?;
            let settled = Settled { metrics, sample };
            let quiet =
                settled.busy() == 0 && settled.metrics.sum("cube_proxy_upstream_connections", "") == 0.0;
            if (quiet && sample.descriptors <= descriptors) || start.elapsed() > patience {
                return Ok(settled);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Tells the proxy to end; how it did, if it did.
    pub(super) fn end(&mut self, patience: Duration) -> Result<Option<std::process::ExitStatus>> {
        self.proxy.signal(rustix::process::Signal::TERM);
        let start = Instant::now();
        while start.elapsed() < patience {
            if let Some(status) = self.proxy.ended()? {
                return Ok(Some(status));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(None)
    }

    /// What the proxy wrote.
    pub(super) fn output(&self) -> String {
        std::fs::read_to_string(self.directory.join("proxy.log")).unwrap_or_default()
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let start = Instant::now();
        while let Err(error) = self.ask("/readyz") {
            self.fail_if_ended()?;
            if start.elapsed() > READY_PATIENCE {
                return Err(error)
                    .with_context(|| format!("cube-proxy is not ready; it says:\n{}", self.output()));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

/// The proxy when the callers are gone.
#[derive(Debug)]
pub(super) struct Settled {
    pub(super) metrics: Metrics,
    pub(super) sample: Sample,
}

impl Settled {
    /// Requests, streams and connections that are still under way.
    pub(super) fn busy(&self) -> u64 {
        let gauges =
            ["cube_proxy_inflight_requests", "cube_proxy_active_streams", "cube_proxy_open_connections"];
        let callers: f64 = gauges.iter().map(|gauge| self.metrics.sum(gauge, "")).sum();
        (callers + self.metrics.sum("cube_proxy_upstream_connections", "state=\"active\"")) as u64
    }
}

/// Makes a directory that only its owner may look into.
pub(super) fn make_private(directory: &Path) -> Result<()> {
    std::fs::DirBuilder::new()
        .mode(0o700)
        .recursive(true)
        .create(directory)
        .with_context(|| format!("cannot make {}", directory.display()))
}

fn is_guest(record: &Record, people: &People) -> bool {
    match record {
        Record::Model(model) => model.name == GUEST_MODEL,
        Record::Pat(pat) => pat.id == people.wrong_scope.id,
        Record::Snapshot(_)
        | Record::Cluster(_)
        | Record::Domain(_)
        | Record::User(_)
        | Record::Grant(_)
        | Record::Key(_)
        | Record::Route(_) => false,
    }
}

fn free_addresses() -> Result<[SocketAddr; 2]> {
    // Both held at once, so that they differ.
    let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let (one, other) = (bind()?, bind()?);
    Ok([one.local_addr()?, other.local_addr()?])
}

fn settings_text(
    directory: &Path,
    address: SocketAddr,
    ops: SocketAddr,
    options: &Options,
) -> Result<String> {
    // JSON's strings are TOML's basic strings.
    let path = |name: &str| -> Result<String> {
        let path = directory.join(name);
        Ok(serde_json::to_string(path.to_str().context("the directory is not UTF-8")?)?)
    };
    let (tables, log) = (path("tables.ndjson")?, path(ledger::LOG)?);
    let Options { cores, core_settings, .. } = options;
    let core_settings = core_settings.replace("\\n", "\n");
    let idle_s = IDLE_TIMEOUT.as_secs_f64();
    Ok(format!(
        "[listener]\naddress = \"{address}\"\n\n[ops]\naddress = \"{ops}\"\n\n[cores]\ncount = {cores}\n{core_settings}\n\n\
         [tables]\nfile = {tables}\n\n[access_log]\npath = {log}\nsample = 1.0\nsample_failures = 1.0\n\n\
         [upstream]\nidle_timeout_s = {idle_s:.1}\n\n[drain]\nmin_s = 0.0\ndeadline_s = 2.0\n"
    ))
}
