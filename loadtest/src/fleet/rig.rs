//! Admin, proxy and model server on fixed ports, each of which can be killed and started again.

use super::Options;
use crate::launch::Child;
use crate::mock::{self, Mock};
use crate::tables::{MEMBER, Service};
use crate::world::{self, Addresses, Api, Cast, Programs, State, scopes};
use anyhow::{Context as _, Result, bail};
use cube_wire::record::Dialect;
use rustix::process::Signal;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Longest wait for a program that was started, and for a change to arrive.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
const MODEL: &str = "demo-model";
/// Not the default limits: one user makes very many PATs here.
const MORE_SETTINGS: &str = "\n[pats]\nper_user_max = 1000000\n\n[login]\nattempts_max = 1000000\n";

/// The running world.
pub(super) struct Rig {
    programs: Programs,
    state: State,
    pub(super) addresses: Addresses,
    admin_settings: PathBuf,
    proxy_settings: PathBuf,
    admin: Option<Child>,
    proxy: Option<Child>,
    /// Lives as long as the rig: the model server.
    _mock: Mock,
    pub(super) cast: Cast,
}

impl Rig {
    /// Starts all of it.
    pub(super) fn start(options: &Options) -> Result<Self> {
        let programs = Programs::in_directory(&options.bin_dir);
        let mock = Mock::start(&mock::Options { models: vec![MODEL.to_owned()], ..Default::default() })?;
        let service = Service {
            alias: "demo".to_owned(),
            upstream: format!("http://{}", mock.address()),
            credential: None,
            dialect: Dialect::Openai,
            models: vec![MODEL.to_owned()],
        };
        let state = State::open(options.state.as_deref())?;
        let addresses = free_addresses()?;
        let admin_settings = state.write_admin_settings(&addresses, MORE_SETTINGS)?;
        let proxy_settings = state.write_proxy_settings(&addresses, Some(options.cores), "")?;
        let known = state.cast()?;
        let password = match &known {
            Some(cast) => cast.password.clone(),
            None => {
                let password = crate::tables::random_text()?;
                world::create_superadmin(&programs.admin, &admin_settings, &password)?;
                password
            }
        };
        let admin = world::start_admin(&programs.admin, &state, &admin_settings)?;
        let url = format!("http://{}", addresses.admin);
        let api = Api::log_in(&url, world::ADMIN, &password)?;
        let cast = match known {
            Some(cast) => {
                world::refresh(&api, &cast, &service)?;
                cast
            }
            None => {
                let cast = world::seed(&api, &url, password, &service)?;
                state.remember(&cast)?;
                cast
            }
        };
        let mut rig = Self {
            programs,
            state,
            addresses,
            admin_settings,
            proxy_settings,
            admin: Some(admin),
            proxy: None,
            _mock: mock,
            cast,
        };
        rig.start_proxy()?;
        Ok(rig)
    }

    /// The superadmin's API, newly logged in.
    pub(super) fn api(&self) -> Result<Api> {
        self.api_of(world::ADMIN, &self.cast.password)
    }

    /// Somebody's API.
    pub(super) fn api_of(&self, username: &str, password: &str) -> Result<Api> {
        Api::log_in(&format!("http://{}", self.addresses.admin), username, password)
    }

    /// Everything in the domain.
    pub(super) fn all_scopes(&self) -> serde_json::Value {
        scopes(&self.cast.domain, &MEMBER)
    }

    /// Ends admin without a word.
    pub(super) fn kill_admin(&mut self) {
        kill(&mut self.admin);
    }

    /// Starts admin again, on the same ports.
    pub(super) fn start_admin(&mut self) -> Result<()> {
        self.admin = Some(world::start_admin(&self.programs.admin, &self.state, &self.admin_settings)?);
        Ok(())
    }

    /// Ends the proxy without a word.
    pub(super) fn kill_proxy(&mut self) {
        kill(&mut self.proxy);
    }

    /// Starts the proxy again and waits until it serves.
    pub(super) fn start_proxy(&mut self) -> Result<()> {
        self.proxy = Some(world::start_proxy(&self.programs.proxy, &self.state, &self.proxy_settings)?);
        let start = Instant::now();
        let pat = self.cast.pat.clone();
        while self.poller().and_then(|mut poller| poller.status(&pat)).ok() != Some(200) {
            if start.elapsed() > PATIENCE {
                let log = std::fs::read_to_string(self.state.directory.join("proxy.log")).unwrap_or_default();
                bail!("cube-proxy does not serve; it says:\n{log}");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// A connection that asks the proxy what a PAT is worth.
    pub(super) fn poller(&self) -> Result<Poller> {
        Poller::open(self.addresses.data)
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.kill_proxy();
        self.kill_admin();
        self.state.discard();
    }
}

fn kill(child: &mut Option<Child>) {
    if let Some(mut child) = child.take() {
        child.signal(Signal::KILL);
        // Reaped at once; it cannot refuse.
        child.stop(Duration::from_secs(5));
    }
}

/// Ports that nobody uses, below those that the kernel gives to outgoing connections: a program that is killed has to find its own again.
fn free_addresses() -> Result<Addresses> {
    const FIRST: u16 = 20_000;
    const COUNT: u16 = 10_000;
    let start = u16::try_from(std::process::id() * 5 % u32::from(COUNT)).unwrap_or(0);
    let ports = (0..COUNT).map(|step| FIRST + (start + step) % COUNT);
    let mut bound = ports.filter_map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok());
    let mut next = || bound.next().context("no port is free");
    // All held at once, so that they differ.
    let held = [next()?, next()?, next()?, next()?, next()?];
    let [data, ops, admin, feed, admin_ops] = [0, 1, 2, 3, 4].map(|at: usize| held[at].local_addr());
    Ok(Addresses { data: data?, ops: ops?, admin: admin?, feed: feed?, admin_ops: admin_ops? })
}

/// One kept-alive connection to the proxy, and so to one of its cores. When the proxy ends it after an answer (it takes only so many
/// requests on one), another is opened.
pub(super) struct Poller {
    address: SocketAddr,
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Poller {
    pub(super) fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&address, Duration::from_secs(2))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        Ok(Self { address, stream, buffer: Vec::with_capacity(4096) })
    }

    /// The status that the domain's list of models has for a PAT.
    pub(super) fn status(&mut self, pat: &str) -> Result<u16> {
        let request = format!(
            "GET /proxy/demo/v1/models HTTP/1.1\r\nhost: proxy\r\nauthorization: Bearer {pat}\r\n\r\n"
        );
        self.exchange(request.as_bytes())
    }

    /// A short chat; its status, once the whole answer is there.
    pub(super) fn chat(&mut self, pat: &str) -> Result<u16> {
        let body = format!(r#"{{"model":"{MODEL}","messages":[{{"role":"user","content":"hi"}}]}}"#);
        let length = body.len();
        let request = format!(
            "POST /proxy/demo/v1/chat/completions HTTP/1.1\r\nhost: proxy\r\nauthorization: Bearer {pat}\r\n\
             content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        self.exchange(request.as_bytes())
    }

    fn exchange(&mut self, request: &[u8]) -> Result<u16> {
        self.stream.write_all(request)?;
        self.buffer.clear();
        let mut piece = [0; 4096];
        loop {
            let read = self.stream.read(&mut piece)?;
            if read == 0 {
                bail!("the proxy closed the connection");
            }
            self.buffer.extend_from_slice(&piece[..read]);
            if let Some((status, ends)) = whole_answer(&self.buffer) {
                if ends {
                    *self = Self::open(self.address)?;
                }
                return Ok(status);
            }
        }
    }
}

/// The status, and whether the connection ends with it, once all of the answer's stated length is there.
fn whole_answer(bytes: &[u8]) -> Option<(u16, bool)> {
    let end = crate::http1::head_end(bytes)?;
    let head = &bytes[..end];
    let field = |wanted: &[u8]| {
        let found = crate::http1::Fields::of(head).find(|(name, _)| name.eq_ignore_ascii_case(wanted));
        std::str::from_utf8(found?.1).ok().map(str::trim)
    };
    let length: usize = field(b"content-length")?.parse().ok()?;
    let ends = field(b"connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
    (bytes.len() >= end + length).then_some((crate::http1::status_line(head)?.status, ends))
}
