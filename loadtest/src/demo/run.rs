//! Starts the processes, waits until the proxy is ready, prints, and waits for the end.

use super::build::programs;
use super::{Line, Options, Refused};
use crate::fetch::{self, Origin};
use crate::launch::{Child, Launch, Output};
use crate::tables::Service;
use crate::world::{self, Addresses, Api, Cast, Programs, State, ready_line};
use anyhow::{Context as _, Result, bail};
use cube_wire::record::Dialect;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// The domain's name in paths.
const ALIAS: &str = "demo";
/// The model if nothing else says one.
const DEFAULT_MODEL: &str = "demo-model";
/// Longest wait for the proxy to become ready.
const READY_PATIENCE: Duration = Duration::from_secs(20);

/// Runs the demo until a signal ends it, or one of its processes does.
///
/// # Errors
/// Something does not build, start or become ready, or ends by itself; the text says what.
pub fn run(options: &Options) -> Result<()> {
    // From here on signals are kept for the end, so that the state directory is always removed.
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    let programs = programs(options)?;
    let state = State::open(options.state.as_deref())?;
    let ended = serve(options, &programs, &state, &mut signals);
    state.discard();
    ended
}

fn serve(
    options: &Options,
    programs: &Programs,
    state: &State,
    signals: &mut signal_hook::iterator::Signals,
) -> Result<()> {
    let mut children = Vec::new();
    let upstream = match &options.upstream {
        Some(url) => url.trim_end_matches('/').trim_end_matches("/v1").to_owned(),
        None => {
            let (child, address) = start_mock(options, &programs.mock)?;
            children.push(child);
            format!("http://{address}")
        }
    };
    let service = service(options, upstream)?;
    let addresses = addresses(options)?;
    // Before anything listens: the address for HTTPS has to be apart from the others.
    let (https, tls) = certificates(options, &programs.proxy, state, &addresses)?;
    let (child, cast) = start_admin(options, &programs.admin, state, &service, &addresses)?;
    let admin_pid = child.id();
    children.insert(0, child);
    let settings = state.write_proxy_settings(&addresses, options.cores, &tls)?;
    // The demo prints what matters; what the proxy logs is in its directory, and is shown if it fails.
    let child = world::start_proxy(&programs.proxy, state, &settings)?;
    let proxy_pid = child.id();
    children.insert(0, child);
    if let Err(error) = wait_until_ready(&mut children, &addresses, &service, &cast, signals) {
        let log = std::fs::read_to_string(state.directory.join("proxy.log")).unwrap_or_default();
        return Err(error).with_context(|| format!("cube-proxy is not ready; it says:\n{log}"));
    }
    let pids = [proxy_pid, admin_pid];
    print(options, &line(state, &service, &addresses, https, cast, pids))?;
    let ended = wait_for_end(&mut children, signals);
    for child in &mut children {
        child.stop(Duration::from_secs(3));
    }
    ended
}

/// The addresses to listen on, no two of them the same.
fn addresses(options: &Options) -> Result<Addresses> {
    let data = address(options.port, 8080, "cube-proxy", options.json)?;
    let ops = address_apart(options.ops_port, 9464, "its ops listener", &[data], options.json)?;
    let admin = address_apart(options.admin_port, 8081, "cube-admin", &[data, ops], options.json)?;
    // Nobody but the proxy needs to know this one.
    let feed = address_apart(Some(0), 0, "the feed", &[data, ops, admin], options.json)?;
    let given = [data, ops, admin, feed];
    let admin_ops =
        address_apart(options.admin_ops_port, 9465, "cube-admin's ops listener", &given, options.json)?;
    Ok(Addresses { data, ops, admin, feed, admin_ops })
}

/// Has the proxy make a certificate for localhost. Returns where it will serve with it, and what its settings say of it.
fn certificates(
    options: &Options,
    proxy: &Path,
    state: &State,
    addresses: &Addresses,
) -> Result<(SocketAddr, String)> {
    let Addresses { data, ops, admin, feed, admin_ops } = addresses;
    let given = [*data, *ops, *admin, *feed, *admin_ops];
    let https = address_apart(options.https_port, 8443, "HTTPS", &given, options.json)?;
    let directory = std::path::absolute(state.directory.join("tls"))?;
    let made = Command::new(proxy).arg("dev-cert").arg("--dir").arg(&directory).output();
    let made = made.with_context(|| format!("cannot start {}", proxy.display()))?;
    if !made.status.success() {
        bail!("cube-proxy dev-cert: {}", String::from_utf8_lossy(&made.stderr));
    }
    // What it prints is a piece of settings, whose last section is [tls].
    Ok((https, format!("{}address = \"{https}\"\n", String::from_utf8(made.stdout)?)))
}

/// Starts cube-admin and fills it, or brings what it kept up to date.
fn start_admin(
    options: &Options,
    program: &Path,
    state: &State,
    service: &Service,
    addresses: &Addresses,
) -> Result<(Child, Cast)> {
    let settings = state.write_admin_settings(addresses, "")?;
    let known = state.cast()?;
    let password = match &known {
        Some(cast) => cast.password.clone(),
        None => {
            let password = crate::tables::random_text()?;
            world::create_superadmin(program, &settings, &password)?;
            password
        }
    };
    let child = world::start_admin(program, state, &settings)?;
    let url = format!("http://{}", addresses.admin);
    let api = Api::log_in(&url, world::ADMIN, &password)?;
    let cast = match known {
        Some(cast) => {
            world::refresh(&api, &cast, service)?;
            cast
        }
        None => {
            if !options.json {
                eprintln!("filling cube-admin through its API");
            }
            let cast = world::seed(&api, &url, password, service)?;
            state.remember(&cast)?;
            cast
        }
    };
    Ok((child, cast))
}

fn start_mock(options: &Options, mock: &Path) -> Result<(Child, SocketAddr)> {
    let model = options.model.as_deref().unwrap_or(DEFAULT_MODEL);
    let pace = options.pace_us.to_string();
    let mut child = Launch::new(mock)
        .arguments(["--port", "0", "--pace-us", &pace, "--model", model])
        .output(Output::Piped)
        .start()?;
    let address = mock_address(&mut child)?;
    Ok((child, address))
}

/// The address in the one line that a mock prints once it listens.
///
/// # Errors
/// It ends without one.
pub(crate) fn mock_address(child: &mut Child) -> Result<SocketAddr> {
    Ok(ready_line(child)?["address"].as_str().context("the mock names no address")?.parse()?)
}

/// What is served: the models that are asked for, or those that the upstream says it has.
fn service(options: &Options, upstream: String) -> Result<Service> {
    let models = match &options.model {
        Some(model) => vec![model.clone()],
        None => {
            let listed = upstream_models(&upstream, options.upstream_authorization.as_deref());
            if let Err(error) = &listed
                && !options.json
            {
                eprintln!("{upstream} does not list its models ({error:#}); offering {DEFAULT_MODEL}");
            }
            listed.unwrap_or_else(|_| vec![DEFAULT_MODEL.to_owned()])
        }
    };
    Ok(Service {
        alias: ALIAS.to_owned(),
        // Checked here, so that a typing error is told at once.
        upstream: Origin::parse(&upstream).map(|_| upstream)?,
        credential: options.upstream_authorization.clone(),
        dialect: Dialect::Openai,
        models,
    })
}

fn upstream_models(upstream: &str, authorization: Option<&str>) -> Result<Vec<String>> {
    let origin = Origin::parse(upstream)?;
    let fields = authorization.map_or_else(String::new, |value| format!("authorization: {value}\r\n"));
    let path = format!("{}/v1/models", origin.base);
    let answer = fetch::get(origin.address()?, &origin.authority, &path, &fields)?;
    if answer.status != 200 {
        bail!("status {}", answer.status);
    }
    let json = answer.json()?;
    let data = json["data"].as_array().context("no list")?;
    let names: Vec<String> = data.iter().filter_map(|model| Some(model["id"].as_str()?.to_owned())).collect();
    if names.is_empty() {
        bail!("the list is empty");
    }
    Ok(names)
}

/// The address to listen on: the wanted port, or the default one if it is free, or any free one.
fn address(wanted: Option<u16>, default: u16, what: &str, quiet: bool) -> Result<SocketAddr> {
    let on = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).and_then(|bound| bound.local_addr());
    match wanted {
        Some(port) => on(port).with_context(|| format!("port {port} is taken")),
        None => on(default).or_else(|_| {
            let free = on(0).context("no port is free")?;
            if !quiet {
                eprintln!("port {default} is taken; {what} listens on {} instead", free.port());
            }
            Ok(free)
        }),
    }
}

/// As [`address`], and none of those that are already given away but not yet bound.
fn address_apart(
    wanted: Option<u16>,
    default: u16,
    what: &str,
    others: &[SocketAddr],
    quiet: bool,
) -> Result<SocketAddr> {
    let hold =
        |other: &SocketAddr| TcpListener::bind(other).with_context(|| format!("{other} was taken meanwhile"));
    let held = others.iter().map(hold).collect::<Result<Vec<_>>>()?;
    let address = address(wanted, default, what, quiet);
    drop(held);
    address
}

/// Waits until the proxy has adopted what admin was filled with: the PAT works, and those that are to be refused are.
fn wait_until_ready(
    children: &mut [Child],
    addresses: &Addresses,
    service: &Service,
    cast: &Cast,
    signals: &mut signal_hook::iterator::Signals,
) -> Result<()> {
    let start = Instant::now();
    loop {
        let pats = [(&cast.pat, 200), (&cast.revoked, 401), (&cast.expired, 401)];
        let last = match pats.into_iter().find_map(|(pat, status)| not_yet(addresses, service, pat, status)) {
            None => return Ok(()),
            Some(last) => last,
        };
        fail_if_ended(children)?;
        if signals.pending().next().is_some() {
            bail!("interrupted");
        }
        if start.elapsed() > READY_PATIENCE {
            bail!("{last}");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// What is wrong if a PAT does not have this status yet.
fn not_yet(addresses: &Addresses, service: &Service, pat: &str, status: u16) -> Option<String> {
    let path = format!("/proxy/{}/v1/models", service.alias);
    let fields = format!("authorization: Bearer {pat}\r\n");
    match fetch::get(addresses.data, &addresses.data.to_string(), &path, &fields) {
        Ok(answer) if answer.status == status => None,
        Ok(answer) => Some(format!("{path} says {} and not {status}", answer.status)),
        Err(error) => Some(format!("{error:#}")),
    }
}

fn wait_for_end(children: &mut [Child], signals: &mut signal_hook::iterator::Signals) -> Result<()> {
    loop {
        if signals.pending().next().is_some() {
            return Ok(());
        }
        fail_if_ended(children)?;
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn fail_if_ended(children: &mut [Child]) -> Result<()> {
    for child in children {
        if let Some(status) = child.ended()? {
            bail!("{} ended: {status}", child.name());
        }
    }
    Ok(())
}

fn line(
    state: &State,
    service: &Service,
    addresses: &Addresses,
    https: SocketAddr,
    cast: Cast,
    pids: [u32; 2],
) -> Line {
    let [proxy_pid, admin_pid] = pids;
    Line {
        origin: format!("http://{}", addresses.data),
        https: format!("https://localhost:{}", https.port()),
        ca: state.directory.join("tls/ca.pem"),
        ops: format!("http://{}", addresses.ops),
        admin: format!("http://{}", addresses.admin),
        admin_ops: format!("http://{}", addresses.admin_ops),
        user: world::ADMIN.to_owned(),
        password: cast.password,
        domain: service.alias.clone(),
        model: service.models[0].clone(),
        models: service.models.clone(),
        pat: cast.pat,
        refused: Refused {
            revoked: cast.revoked,
            expired: cast.expired,
            wrong_scope: cast.wrong_scope,
            wrong_domain: cast.wrong_domain,
        },
        upstream: service.upstream.clone(),
        state: state.directory.clone(),
        proxy_pid,
        admin_pid,
    }
}

fn print(options: &Options, line: &Line) -> Result<()> {
    let mut out = std::io::stdout();
    if options.json {
        writeln!(out, "{}", serde_json::to_string(line)?)?;
    } else {
        let Line {
            origin, https, ops, admin, admin_ops, user, password, domain, model, pat, upstream, ..
        } = line;
        let (state, ca) = (line.state.display(), line.ca.display());
        let model = serde_json::to_string(model)?;
        writeln!(
            out,
            "cube-proxy {origin} → {upstream}\ncube-admin {admin}\npages      {origin}/ui/, user {user}, password {password}\nmetrics    {ops}/metrics, {admin_ops}/metrics\n\
             state      {state}\n\n\
             Stream a completion through it (Ctrl-C here ends the demo):\n\n\
             curl -N {origin}/proxy/{domain}/v1/chat/completions \\\n  \
             -H 'Authorization: Bearer {pat}' \\\n  -H 'Content-Type: application/json' \\\n  \
             -d '{{\"model\":{model},\"stream\":true,\"messages\":[{{\"role\":\"user\",\"content\":\"Hello\"}}]}}'\n\n\
             The same proxy with TLS (its authority, for --cacert and SSL_CERT_FILE: {ca}):\n\n\
             curl -k {https}/proxy/{domain}/v1/models -H 'Authorization: Bearer {pat}'\n"
        )?;
    }
    out.flush()?;
    Ok(())
}
