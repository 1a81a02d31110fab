//! Starts the processes, waits until the proxy is ready, prints, and waits for the end.

use super::build::programs;
use super::state::State;
use super::{Line, Options, Refused};
use crate::fetch::{self, Origin};
use crate::launch::{Child, Launch, Output};
use crate::tables::Service;
use anyhow::{Context as _, Result, bail};
use cube_wire::record::Dialect;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
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
    let state = State::open(options)?;
    let ended = serve(options, &programs.proxy, &programs.mock, &state, &mut signals);
    state.discard();
    ended
}

fn serve(
    options: &Options,
    proxy: &Path,
    mock: &Path,
    state: &State,
    signals: &mut signal_hook::iterator::Signals,
) -> Result<()> {
    let mut children = Vec::new();
    let upstream = match &options.upstream {
        Some(url) => url.trim_end_matches('/').trim_end_matches("/v1").to_owned(),
        None => {
            let (child, address) = start_mock(options, mock)?;
            children.push(child);
            format!("http://{address}")
        }
    };
    let service = service(options, upstream)?;
    let address = address(options.port, 8080, "cube-proxy", options.json)?;
    let ops = address_apart(options.ops_port, 9464, address, options.json)?;
    let settings = state.write(&service, address, ops, options.cores)?;
    // The demo prints what matters; what the proxy logs is in its directory, and is shown if it fails.
    let log = state.directory.join("proxy.log");
    let child = Launch::new(proxy)
        .arguments([Path::new("--config"), settings.as_path()])
        .output(Output::File(log.clone()))
        .start()?;
    let proxy_pid = child.id();
    children.insert(0, child);
    if let Err(error) = wait_until_ready(&mut children, ops, signals) {
        let log = std::fs::read_to_string(&log).unwrap_or_default();
        return Err(error).with_context(|| format!("cube-proxy is not ready; it says:\n{log}"));
    }
    print(options, &line(state, &service, address, ops, proxy_pid))?;
    let ended = wait_for_end(&mut children, signals);
    for child in &mut children {
        child.stop(Duration::from_secs(3));
    }
    ended
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

/// Reads the one line that a mock prints once it listens.
///
/// # Errors
/// It ends without one.
pub(crate) fn mock_address(child: &mut Child) -> Result<SocketAddr> {
    let stdout = child.stdout().context("the mock's output is not ours")?;
    let mut text = String::new();
    BufReader::new(stdout).read_line(&mut text)?;
    let line: serde_json::Value =
        serde_json::from_str(&text).with_context(|| format!("the mock did not start: {text:?}"))?;
    Ok(line["address"].as_str().context("the mock names no address")?.parse()?)
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

/// As [`address`], and never the one that is already given away but not yet bound.
fn address_apart(wanted: Option<u16>, default: u16, other: SocketAddr, quiet: bool) -> Result<SocketAddr> {
    let held = TcpListener::bind(other).with_context(|| format!("{other} was taken meanwhile"))?;
    let address = address(wanted, default, "its ops listener", quiet);
    drop(held);
    address
}

fn wait_until_ready(
    children: &mut [Child],
    ops: SocketAddr,
    signals: &mut signal_hook::iterator::Signals,
) -> Result<()> {
    let start = Instant::now();
    loop {
        let last = match fetch::get(ops, &ops.to_string(), "/readyz", "") {
            Ok(answer) if answer.status == 200 => return Ok(()),
            Ok(answer) => format!("/readyz says {}", answer.status),
            Err(error) => format!("{error:#}"),
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

fn line(state: &State, service: &Service, address: SocketAddr, ops: SocketAddr, proxy_pid: u32) -> Line {
    let people = &state.people;
    Line {
        origin: format!("http://{address}"),
        ops: format!("http://{ops}"),
        domain: service.alias.clone(),
        model: service.models[0].clone(),
        models: service.models.clone(),
        pat: people.pat.secret.clone(),
        refused: Refused {
            revoked: people.revoked.secret.clone(),
            expired: people.expired.secret.clone(),
            wrong_scope: people.wrong_scope.secret.clone(),
            wrong_domain: people.stranger.secret.clone(),
        },
        upstream: service.upstream.clone(),
        state: state.directory.clone(),
        proxy_pid,
    }
}

fn print(options: &Options, line: &Line) -> Result<()> {
    let mut out = std::io::stdout();
    if options.json {
        writeln!(out, "{}", serde_json::to_string(line)?)?;
    } else {
        let Line { origin, ops, domain, model, pat, upstream, state, .. } = line;
        let state = state.display();
        let model = serde_json::to_string(model)?;
        writeln!(
            out,
            "cube-proxy {origin} → {upstream}\nmetrics    {ops}/metrics\nstate      {state}\n\n\
             Stream a completion through it (Ctrl-C here ends the demo):\n\n\
             curl -N {origin}/proxy/{domain}/v1/chat/completions \\\n  \
             -H 'Authorization: Bearer {pat}' \\\n  -H 'Content-Type: application/json' \\\n  \
             -d '{{\"model\":{model},\"stream\":true,\"messages\":[{{\"role\":\"user\",\"content\":\"Hello\"}}]}}'\n"
        )?;
    }
    out.flush()?;
    Ok(())
}
