//! What the program runs on: [`Settings`], plain data with every default filled in and every value checked.
//!
//! `file` is what an operator may write; the step from there to here reports *all* problems at once, each with its key.
//! Nothing here says who may do what: routes, users and credentials come in tables ([`crate::tables`]).
//!
//! Keys carry their unit (`_s`: seconds, fractions allowed; `_bytes`). Every limit is finite and none is zero, so the rest of
//! the program compares without asking. The defaults are the documented ones of `config/proxy.toml`; a test keeps the two
//! together.

mod file;
mod origin;
mod passthrough;
mod problem;
mod tls;

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use cube_wire::Cidr;
pub use origin::Origin;
pub use passthrough::{Callback, Passthrough, Paths};
pub use problem::{Problem, SettingsError};
pub use tls::{KeyPair, Tls, Trust};

use crate::http1::HeadLimits;
use crate::tables::{ClusterEntry, Neighbours};

/// Everything an operator can choose.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// Where callers connect.
    pub listener: Listener,
    /// Where callers of the other kind connect, if there is such a place.
    pub passthrough: Option<Arc<Passthrough>>,
    /// Where callers connect with TLS.
    pub tls: Tls,
    /// Where operators look: metrics and health.
    pub ops: Ops,
    /// Threads of the data path.
    pub cores: Cores,
    /// Where tables come from, if it is a file.
    pub tables: TablesSource,
    /// cube-admin: where tables come from and usage goes to, if it is not a file.
    pub admin: Admin,
    /// Sizes and counts above which a request or connection is refused.
    pub limits: Limits,
    /// How long the proxy waits, for callers. What it grants an upstream is in that cluster's record.
    pub timeouts: Timeouts,
    /// How the process ends.
    pub drain: Drain,
    /// Counting of prompt and completion tokens.
    pub metering: Metering,
    /// One JSON line per request, or not.
    pub access_log: AccessLog,
    /// Connections to model servers.
    pub upstream: Upstream,
    /// The process itself.
    pub process: Process,
    /// Peers whose `X-Forwarded-*` are believed.
    pub trusted_proxies: Vec<Cidr>,
}

/// `[listener]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Every core binds it (`SO_REUSEPORT`). Port 0 takes a free one.
    pub address: SocketAddr,
    /// It may be an address that other machines reach, although credentials then cross a network in the clear.
    pub plain_beyond_loopback: bool,
    /// cube-admin, to which everything is passed on that is not inference. `None`: that is 404. With the addresses of when
    /// the settings were read; requests go by [`Neighbours`].
    pub admin_origin: Option<Arc<ClusterEntry>>,
}

/// `[ops]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ops {
    /// `/metrics`, `/livez`, `/readyz`, `/tables`. No credential is asked: keep it on loopback or a private network.
    pub address: SocketAddr,
    /// Label combinations (domain × model × operation × status class) that one core keeps figures for. What comes after is
    /// counted under `_other`.
    pub series_max: usize,
}

/// `[cores]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cores {
    /// Threads. `None`: one per CPU that this process may run on.
    pub count: Option<NonZeroUsize>,
    /// How a core talks to the kernel.
    pub driver: DriverChoice,
    /// Each core stays on one CPU.
    pub pin: bool,
}

/// The best I/O driver that a core may try for; what the kernel refuses is passed over for the next one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DriverChoice {
    /// The best there is.
    #[default]
    Auto,
    /// io_uring with `SINGLE_ISSUER | DEFER_TASKRUN`.
    UringDefer,
    /// io_uring with `COOP_TASKRUN | TASKRUN_FLAG`.
    UringCoop,
    /// io_uring with default flags.
    Uring,
    /// epoll.
    Epoll,
}

/// `[tables]`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TablesSource {
    /// NDJSON records (`cube-wire`), read at start and on SIGHUP. `None`, and no feed either: the proxy answers 503 to everything.
    pub file: Option<PathBuf>,
}

/// `[admin]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// The feed. `None`: tables come from a file, and usage stays in the access log.
    pub feed: Option<Feed>,
    /// What this node is called there: `[a-zA-Z0-9_.-]{1,64}`. `None`: the machine's name.
    pub node: Option<String>,
    /// The longest wait before the first attempt at connecting again; it doubles with each failure. Waits are drawn at random below.
    pub reconnect_min: Duration,
    /// The most that it doubles to.
    pub reconnect_max: Duration,
    /// Tables that the feed has not confirmed for so long are not decided with any more (503). `None`: they are, however old.
    pub staleness_max: Option<Duration>,
}

/// The part of `[admin]` that there is only with a feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feed {
    /// Where cube-admin serves its proxies.
    pub origin: Origin,
    /// The secret that the fleet shares (`cube_wire::seal::FleetKey`).
    pub fleet_key_file: PathBuf,
    /// Where the last good tables and unsent usage lie. Of this instance alone.
    pub state_dir: PathBuf,
    /// Whom it must be certified by if the origin is https, and what we show it.
    pub trust: Trust,
}

/// `[limits]`. What exceeds one of them is refused with the status named here; none is zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Request and response heads (431, 414).
    pub head: HeadLimits,
    /// A request body (413).
    pub body_bytes_max: u64,
    /// A request body of the audio operations (413).
    pub audio_body_bytes_max: u64,
    /// How much of one request's body is held in memory while its model name is looked for (413).
    pub hold_bytes_max: usize,
    /// The same, all requests of one core together (503).
    pub held_bytes_max: usize,
    /// Open downstream connections of the process. `None`: half of the file descriptors, since each may need one upstream.
    pub connections_max: Option<NonZeroUsize>,
    /// Open downstream connections of one address (429, close): of one IPv4 address, or one /64 of IPv6. Loopback and trusted
    /// proxies have no such limit, because others stand behind them.
    pub connections_per_address_max: u32,
    /// Requests on one downstream connection; the last is answered with `Connection: close`.
    pub requests_per_connection_max: u32,
    /// TLS handshakes of callers in progress on one core (close).
    pub handshakes_max: usize,
    /// Verified PATs that one core remembers.
    pub pat_cache_entries: usize,
}

/// `[timeouts]`. None is zero but the one that says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// From a connection to the end of its TLS handshake (close).
    pub handshake: Duration,
    /// From a request's first byte to the end of its head (408, close).
    pub head: Duration,
    /// A kept-alive connection without a request (close).
    pub keep_alive: Duration,
    /// Between two reads of a request body (408, close).
    pub body_idle: Duration,
    /// A request body slower than this, over its whole upload so far, is refused (408, close). Bytes per second.
    pub body_rate_min: u64,
    /// A whole request body (408, close).
    pub upload_total: Duration,
    /// A caller that reads nothing of its answer (close).
    pub write_stall: Duration,
    /// After that long without a byte a caller of server-sent events is sent a comment. Zero: never.
    pub stream_keep_alive: Duration,
}

/// `[drain]`: what SIGTERM and SIGINT start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drain {
    /// For this long new connections are still accepted, while readiness already says no: load balancers look seldom.
    pub min: Duration,
    /// Streams that run longer than this are cut. Counts from the signal, so it includes `min`.
    pub deadline: Duration,
}

/// `[metering]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metering {
    /// Ask upstreams for the usage event of a stream, and keep it from callers that did not ask for it themselves.
    pub include_usage: bool,
}

/// `[access_log]`
#[derive(Clone, Debug, PartialEq)]
pub struct AccessLog {
    /// Where lines go. `None`: nowhere, and a request costs nothing for it.
    pub sink: Option<AccessLogSink>,
    /// Share of the completed requests that is written, 0.0 to 1.0.
    pub sample: f64,
    /// Share of all other requests that is written, 0.0 to 1.0.
    pub sample_failures: f64,
}

/// Where access lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessLogSink {
    /// Standard output.
    Stdout,
    /// Appended to a file, which SIGHUP opens again.
    File(PathBuf),
}

/// `[upstream]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// Idle connections that one core keeps to one endpoint.
    pub idle_per_endpoint: usize,
    /// How long an idle connection is kept: below what servers usually grant (60 s), so that they seldom close first.
    pub idle_timeout: Duration,
    /// What is believed of servers that speak TLS.
    pub trust: Trust,
    /// Connections or endpoints that one request may try before its answer has begun.
    pub attempts_max: u32,
}

/// `[process]`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// Held while the process runs. `None`: a name made from the listener's address, in the runtime directory.
    pub lock_file: Option<PathBuf>,
    /// Start although another instance has the same address: both then share its connections.
    pub allow_second_instance: bool,
    /// Take memory in pages of 2 MiB where the system has them: faster tables of millions of PATs, for 10 to 15 MiB more at rest.
    pub huge_pages: bool,
}

/// What the command line and the environment say, which goes before the file.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
pub struct Overrides {
    /// The authentication callback of the [passthrough] listener, instead of the one that the settings name
    #[arg(long, value_name = "URL", env = "AUTH_CALLBACK_URL")]
    pub auth_callback_url: Option<String>,
}

impl Default for Listener {
    fn default() -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 8080));
        Self { address, plain_beyond_loopback: false, admin_origin: None }
    }
}

impl Default for Ops {
    fn default() -> Self {
        Self { address: SocketAddr::from((Ipv4Addr::LOCALHOST, 9464)), series_max: 1000 }
    }
}

impl Default for Cores {
    fn default() -> Self {
        Self { count: None, driver: DriverChoice::Auto, pin: true }
    }
}

impl Default for Admin {
    fn default() -> Self {
        Self {
            feed: None,
            node: None,
            reconnect_min: Duration::from_millis(100),
            reconnect_max: Duration::from_secs(5),
            staleness_max: None,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head: HeadLimits::default(),
            body_bytes_max: 64 << 20,
            audio_body_bytes_max: 256 << 20,
            hold_bytes_max: 64 << 20,
            held_bytes_max: 256 << 20,
            connections_max: None,
            connections_per_address_max: 200,
            requests_per_connection_max: 10_000,
            handshakes_max: 512,
            pat_cache_entries: 65_536,
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            head: Duration::from_secs(10),
            keep_alive: Duration::from_secs(60),
            body_idle: Duration::from_secs(30),
            body_rate_min: 1024,
            upload_total: Duration::from_secs(600),
            write_stall: Duration::from_secs(60),
            stream_keep_alive: Duration::from_secs(15),
        }
    }
}

impl Default for Drain {
    fn default() -> Self {
        Self { min: Duration::from_secs(1), deadline: Duration::from_secs(30) }
    }
}

impl Default for Metering {
    fn default() -> Self {
        Self { include_usage: true }
    }
}

impl Default for AccessLog {
    fn default() -> Self {
        Self { sink: None, sample: 1.0, sample_failures: 1.0 }
    }
}

impl Default for Upstream {
    fn default() -> Self {
        Self {
            idle_per_endpoint: 1024,
            idle_timeout: Duration::from_secs(30),
            attempts_max: 2,
            trust: Trust::default(),
        }
    }
}

impl Settings {
    /// The servers that the settings name, with the addresses of when they were read.
    #[must_use]
    pub fn neighbours(&self) -> Neighbours {
        let passthrough = self.passthrough.as_ref();
        let callback = passthrough.and_then(|passthrough| passthrough.callback.as_ref());
        Neighbours {
            admin: self.listener.admin_origin.clone(),
            passthrough: passthrough.map(|passthrough| Arc::clone(&passthrough.cluster)),
            callback: callback.map(|callback| Arc::clone(&callback.cluster)),
        }
    }

    /// Whether what `peer` says of the callers behind it is believed.
    #[must_use]
    pub fn trusts(&self, peer: std::net::IpAddr) -> bool {
        self.trusted_proxies.iter().any(|range| range.contains(peer))
    }

    /// Reads, checks and completes a settings file.
    ///
    /// # Errors
    /// The file cannot be read, is not TOML, or says things that do not hold: then every one of them is named.
    pub fn load(path: &Path) -> Result<Self, SettingsError> {
        Self::load_with(Some(path), &Overrides::default())
    }

    /// The same with what was said beside the file. `path`: `None` for the built-in settings.
    ///
    /// # Errors
    /// As [`Settings::load`].
    pub fn load_with(path: Option<&Path>, overrides: &Overrides) -> Result<Self, SettingsError> {
        let text = match path {
            Some(path) => std::fs::read_to_string(path)
                .map_err(|error| SettingsError::Unreadable { path: path.to_owned(), error })?,
            None => String::new(),
        };
        let path = path.unwrap_or(Path::new("(no file)"));
        file::parse(&text, overrides)
            .map_err(|problems| SettingsError::Wrong { path: path.to_owned(), problems })
    }

    /// The same for text that is already in memory.
    ///
    /// # Errors
    /// All problems, in the order of the keys.
    pub fn parse(text: &str) -> Result<Self, Vec<Problem>> {
        file::parse(text, &Overrides::default())
    }

    /// The effective settings as a file that loads to the same settings; what `--check` prints.
    #[must_use]
    pub fn to_toml(&self) -> String {
        file::File::from(self).to_toml()
    }
}

#[cfg(test)]
mod tests;
