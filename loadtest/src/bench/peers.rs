//! What is measured: cube-proxy, the peers with configurations that suit them, a relay that looks at nothing, and nothing
//! in between. All do the same: pass requests to one upstream over kept-alive connections, log nothing, buffer nothing.

use super::certificate::Certificate;
use super::process;
use crate::fetch;
use crate::launch::{Child, Launch, Output};
use crate::tables::{self, People, Service};
use anyhow::{Context as _, Result, bail};
use cube_wire::record::Dialect;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Longest wait for a peer to answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// A kind of peer and what it needs.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    Direct,
    Relay {
        program: PathBuf,
    },
    Nginx,
    Haproxy,
    /// Our proxy, governed: a PAT with scopes is checked, the model is read, usage is recorded.
    Cube {
        program: PathBuf,
        extra: String,
    },
    /// Our proxy as a passthrough listener: what the callback costs, and what remembering its decisions saves.
    Passthrough {
        program: PathBuf,
        section: String,
    },
}

/// Something to measure, by the name that the table shows.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub(super) name: String,
    pub(super) kind: Kind,
}

/// A peer that runs.
#[derive(Debug)]
pub(super) struct Running {
    /// Base URL of its requests.
    pub(super) origin: String,
    pub(super) tls: Option<OverTls>,
    pub(super) pat: Option<String>,
    /// Its processes; empty when nothing is in between.
    pub(super) family: Vec<u32>,
    // Held so that it is stopped when the run is over.
    _child: Option<Child>,
}

/// The same, over TLS.
#[derive(Clone, Debug)]
pub(super) struct OverTls {
    pub(super) origin: String,
    /// What callers have to believe.
    pub(super) ca: PathBuf,
}

impl Peer {
    /// Whether it also listens for TLS.
    pub(super) const fn speaks_tls(&self) -> bool {
        matches!(self.kind, Kind::Nginx | Kind::Haproxy | Kind::Cube { .. })
    }

    /// Starts it on `cpu` in front of `upstream`, with its files in `directory`, and waits until it answers.
    ///
    /// `large`: for answers of hundreds of KiB, for which the peers are given the buffers that suit them best. Everywhere else
    /// they pass on what comes as it comes.
    pub(super) fn start(
        &self,
        upstream: SocketAddr,
        certificate: &Certificate,
        cpu: Option<usize>,
        directory: &Path,
        large: bool,
    ) -> Result<Running> {
        let directory = directory.join(&self.name);
        std::fs::create_dir_all(&directory)?;
        let log = directory.join("log");
        let [address, secure, ops] = free_addresses()?;
        let mut origin = format!("http://{address}");
        let mut pat = None;
        let launch = match &self.kind {
            Kind::Direct => {
                let origin = format!("http://{upstream}");
                return Ok(Running { origin, tls: None, pat: None, family: Vec::new(), _child: None });
            }
            Kind::Relay { program } => Launch::new(program).arguments([
                "--upstream",
                &upstream.to_string(),
                "--port",
                &address.port().to_string(),
            ]),
            Kind::Nginx => {
                let file = directory.join("nginx.conf");
                std::fs::write(&file, nginx([address, secure], certificate, upstream, &directory, large))?;
                Launch::new(program_in_path("nginx")?).arguments([Path::new("-c"), &file])
            }
            Kind::Haproxy => {
                let file = directory.join("haproxy.cfg");
                std::fs::write(&file, haproxy([address, secure], certificate, upstream, large))?;
                Launch::new(program_in_path("haproxy")?).arguments([Path::new("-db"), Path::new("-f"), &file])
            }
            Kind::Cube { program, extra } => {
                let people = People::new()?;
                let file = directory.join("proxy.toml");
                let tables_file = directory.join("tables.ndjson");
                tables::write(&tables_file, &tables::records(&people, &service(upstream)))?;
                std::fs::write(
                    &file,
                    cube(address, ops, &tables_file, &format!("{}{extra}", tls(secure, certificate)))?,
                )?;
                origin = format!("http://{address}/proxy/bench");
                pat = Some(people.pat.secret);
                Launch::new(program).arguments([Path::new("--config"), &file])
            }
            Kind::Passthrough { program, section } => {
                let [listener, ..] = free_addresses()?;
                let file = directory.join("proxy.toml");
                let section = section.replace("@callback", &format!("http://{upstream}/verify"));
                let passthrough = format!(
                    "[passthrough]\naddress = \"{address}\"\norigins = [\"http://{upstream}\"]\n{section}"
                );
                let tables_file = directory.join("tables.ndjson");
                tables::write(&tables_file, &tables::records(&People::new()?, &service(upstream)))?;
                std::fs::write(&file, cube(listener, ops, &tables_file, &passthrough)?)?;
                pat = Some("a-credential".to_owned());
                Launch::new(program).arguments([Path::new("--config"), &file])
            }
        };
        let mut child = launch.on_cpu(cpu).output(Output::File(log.clone())).start()?;
        wait_until_it_answers(&mut child, address, &origin, pat.as_deref()).with_context(|| {
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            format!("{} does not answer; it says:\n{said}", self.name)
        })?;
        let tls = self.speaks_tls().then(|| OverTls {
            origin: origin.replacen(&format!("http://{address}"), &format!("https://{secure}"), 1),
            ca: certificate.chain.clone(),
        });
        Ok(Running { origin, tls, pat, family: process::family(child.id())?, _child: Some(child) })
    }

    /// Its version, as it tells it.
    pub(super) fn version(&self) -> String {
        let (program, argument) = match &self.kind {
            Kind::Direct => return String::new(),
            Kind::Relay { program } | Kind::Cube { program, .. } | Kind::Passthrough { program, .. } => {
                (program.clone(), "--version")
            }
            Kind::Nginx => ("nginx".into(), "-v"),
            Kind::Haproxy => ("haproxy".into(), "-v"),
        };
        let Ok(output) = std::process::Command::new(program).arg(argument).output() else {
            return String::new();
        };
        let text = [output.stdout, output.stderr].concat();
        String::from_utf8_lossy(&text).lines().next().unwrap_or("").trim().to_owned()
    }
}

fn service(upstream: SocketAddr) -> Service {
    Service {
        alias: "bench".to_owned(),
        upstream: format!("http://{upstream}"),
        credential: None,
        dialect: Dialect::Openai,
        models: vec!["demo-model".to_owned()],
    }
}

/// Polls with a real request, so that a peer counts as started when it can do its work.
fn wait_until_it_answers(
    child: &mut Child,
    address: SocketAddr,
    origin: &str,
    pat: Option<&str>,
) -> Result<()> {
    let base = fetch::Origin::parse(origin)?.base;
    let path = format!("{base}/v1/chat/completions");
    let fields = pat.map_or_else(String::new, |pat| format!("authorization: Bearer {pat}\r\n"));
    let body = r#"{"model":"demo-model","messages":[]}"#;
    let start = Instant::now();
    loop {
        let last = match fetch::post(address, &address.to_string(), &path, &fields, body) {
            Ok(answer) if answer.status == 200 => return Ok(()),
            Ok(answer) => format!("status {}: {}", answer.status, String::from_utf8_lossy(&answer.body)),
            Err(error) => format!("{error:#}"),
        };
        if let Some(status) = child.ended()? {
            bail!("it ended: {status}");
        }
        if start.elapsed() > PATIENCE {
            bail!("{last}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Three different addresses that nobody listens on.
fn free_addresses() -> Result<[SocketAddr; 3]> {
    let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let (one, two, three) = (bind()?, bind()?, bind()?);
    Ok([one.local_addr()?, two.local_addr()?, three.local_addr()?])
}

/// The path of `name`, also where only root looks for programs.
fn program_in_path(name: &str) -> Result<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    let mut places =
        path.split(':').chain(["/usr/sbin", "/usr/local/sbin"]).map(|place| Path::new(place).join(name));
    places.find(|program| program.is_file()).with_context(|| format!("{name} is not installed"))
}

/// Whether a peer that comes as a package is there.
pub(super) fn is_installed(name: &str) -> bool {
    program_in_path(name).is_ok()
}

fn nginx(
    [address, secure]: [SocketAddr; 2],
    certificate: &Certificate,
    upstream: SocketAddr,
    directory: &Path,
    large: bool,
) -> String {
    let directory = directory.display();
    let (chain, key) = (certificate.chain.display(), certificate.key.display());
    let buffers = if large {
        "proxy_buffering on; proxy_buffers 8 64k; proxy_buffer_size 64k; proxy_busy_buffers_size 256k; proxy_max_temp_file_size 0;"
    } else {
        "proxy_buffering off;"
    };
    format!(
        "daemon off;
user root;
worker_processes 1;
pid {directory}/pid;
error_log {directory}/error.log crit;
events {{ worker_connections 16384; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    keepalive_timeout 3600s;
    keepalive_requests 1000000000;
    tcp_nodelay on;
    upstream model_server {{
        server {upstream};
        keepalive 4096;
        keepalive_timeout 3600s;
        keepalive_requests 1000000000;
    }}
    server {{
        listen {address} backlog=4096;
        listen {secure} ssl backlog=4096;
        ssl_certificate {chain};
        ssl_certificate_key {key};
        ssl_protocols TLSv1.2 TLSv1.3;
        client_max_body_size 0;
        location / {{
            proxy_pass http://model_server;
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
            {buffers}
            proxy_request_buffering off;
            proxy_read_timeout 3600s;
        }}
    }}
}}
"
    )
}

fn haproxy(
    [address, secure]: [SocketAddr; 2],
    certificate: &Certificate,
    upstream: SocketAddr,
    large: bool,
) -> String {
    let both = certificate.both.display();
    let buffers = if large { "tune.bufsize 65536" } else { "" };
    format!(
        "global
    nbthread 1
    maxconn 8000
    {buffers}
defaults
    mode http
    timeout connect 5s
    timeout client 3600s
    timeout server 3600s
    timeout http-keep-alive 3600s
    option http-keep-alive
    option http-no-delay
    option abortonclose
    http-reuse always
    retries 0
frontend callers
    bind {address} backlog 4096
    bind {secure} backlog 4096 ssl crt {both} ssl-min-ver TLSv1.2
    default_backend model_server
backend model_server
    server one {upstream} maxconn 8000 pool-max-conn -1
"
    )
}

/// The section that has cube-proxy listen for TLS as well. JSON's strings are TOML's basic strings.
fn tls(address: SocketAddr, certificate: &Certificate) -> String {
    let quoted = |path: &Path| serde_json::Value::from(path.to_string_lossy()).to_string();
    let (chain, key) = (quoted(&certificate.chain), quoted(&certificate.key));
    format!("[tls]\naddress = \"{address}\"\ncertificates = [{{ chain = {chain}, key = {key} }}]\n\n")
}

fn cube(address: SocketAddr, ops: SocketAddr, tables_file: &Path, extra: &str) -> Result<String> {
    // JSON's strings are TOML's basic strings.
    let file = serde_json::to_string(tables_file.to_str().context("the directory is not UTF-8")?)?;
    Ok(format!(
        "[listener]\naddress = \"{address}\"\n\n[ops]\naddress = \"{ops}\"\n\n[tables]\nfile = {file}\n\n[drain]\nmin_s = 0.0\ndeadline_s = 1.0\n\n[process]\nallow_second_instance = true\n\n{extra}\n"
    ))
}
