//! cube-proxy: arguments → settings → control thread and cores → wait for signals.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser as _;
use cube_proxy::cli::Command;
use cube_proxy::control::feed::FeedEvent;
use cube_proxy::control::{Control, Event};
use cube_proxy::cores::{self, CoreHandle, CoreStart, Driver, Load, PassedOver};
use cube_proxy::settings::{Overrides, Settings};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Streaming proxy for inference traffic: verifies, authorizes, routes and relays, one thread per core.
///
/// SIGHUP reads the tables again and reopens the access log. SIGTERM drains: readiness says no, answers close their connections,
/// streams end by themselves or at the deadline.
#[derive(Debug, clap::Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Arguments {
    /// The settings file [default: the built-in settings]
    #[arg(long, value_name = "FILE", env = "CUBE_PROXY_CONFIG")]
    config: Option<PathBuf>,
    /// The tables file, instead of the one that the settings name
    #[arg(long, value_name = "FILE", env = "CUBE_PROXY_TABLES")]
    tables: Option<PathBuf>,
    #[command(flatten)]
    overrides: Overrides,
    #[command(subcommand)]
    command: Option<Command>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match &arguments.command {
        Some(command) => command.run(&mut io::stdout(), &mut io::stderr()).map_err(|error| error.to_string()),
        None => serve(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Serves until a signal ends it.
fn serve(arguments: &Arguments) -> Result<(), String> {
    let mut settings = Settings::load_with(arguments.config.as_deref(), &arguments.overrides)
        .map_err(|error| error.to_string())?;
    if arguments.tables.is_some() {
        if settings.admin.feed.is_some() {
            return Err("--tables: tables come from admin.feed; leave one of the two out".to_owned());
        }
        settings.tables.file.clone_from(&arguments.tables);
    }
    if !settings.process.huge_pages {
        // Before anything big is allocated. A kernel without the switch has nothing to switch off.
        let _ = rustix::thread::disable_transparent_huge_pages(true);
    }
    let settings = Arc::new(settings);
    let mut control = Control::prepare(Arc::clone(&settings)).map_err(|error| error.to_string())?;
    let (addresses, handles) = start_cores(&settings, &mut control)?;
    let address = addresses.data;
    let more = [("https", addresses.https), ("passthrough", addresses.passthrough)];
    let more: String =
        more.iter().filter_map(|(name, at)| Some(format!(r#""{name}":"{}","#, (*at)?))).collect();
    let ready = format!(
        r#"{{"event":"ready","data":"{address}",{more}"ops":"{}","cores":{}}}"#,
        control.ops_address(),
        handles.len()
    );
    let mut told = false;
    let log = move |event: &Event| {
        eprintln!("{event}");
        // Whether with tables or, for want of them, with 503 to everything.
        let serves = matches!(
            event,
            Event::Ready
                | Event::Refused { .. }
                | Event::LoadFailed
                | Event::NoTables
                | Event::FeedRefused { generation: None, .. }
                | Event::Feed(FeedEvent::Lost { serving: false, .. })
        );
        if serves && !std::mem::replace(&mut told, true) {
            // For scripts that start the proxy; nobody may be reading.
            let _ = writeln!(io::stdout(), "{ready}");
        }
    };
    let ended = control.run(handles, address, log).map_err(|error| error.to_string())?;
    // Not a return: the runtimes of the cores must not be torn down with operations in flight.
    let _ = ended;
    std::process::exit(0);
}

/// Where the cores listen.
struct Addresses {
    data: SocketAddr,
    passthrough: Option<SocketAddr>,
    https: Option<SocketAddr>,
}

/// Binds one core's listener. The first turns port 0 into the port that the others share.
fn listen(address: &mut SocketAddr) -> Result<OwnedFd, String> {
    let listener = cores::bind(*address).map_err(|error| format!("cannot listen on {address}: {error}"))?;
    *address = cores::bound_address(&listener).map_err(|error| format!("cannot listen: {error}"))?;
    Ok(listener)
}

/// Binds the listeners and starts a thread for each core.
fn start_cores(
    settings: &Arc<Settings>,
    control: &mut Control,
) -> Result<(Addresses, Vec<CoreHandle>), String> {
    let cpus = cores::allowed_cpus();
    let count = settings.cores.count.map_or(cpus.len(), std::num::NonZero::get);
    let connections_max =
        settings.limits.connections_max.map_or_else(connections_by_descriptors, |max| max.get() as u64);
    let load = Load::new(count);
    let present = cores::Addresses::new(settings.limits.connections_per_address_max);
    let callback = settings.passthrough.as_ref().and_then(|passthrough| passthrough.callback.as_ref());
    let rates = callback.and_then(|callback| cores::Rates::new(callback.rate_per_s));
    let mut doors = Vec::with_capacity(count);
    for _ in 0..count {
        doors.push(cores::inbox().map_err(|error| format!("cannot make an inbox: {error}"))?);
    }
    let (handles, inboxes): (Vec<_>, Vec<_>) = doors.into_iter().unzip();
    let senders = control.record_senders(count).map_err(|error| error.to_string())?;
    let mut at = Addresses {
        data: settings.listener.address,
        passthrough: settings.passthrough.as_ref().map(|passthrough| passthrough.address),
        https: settings.tls.is_on().then_some(settings.tls.address),
    };
    let mut starts = Vec::with_capacity(count);
    for (core, (inbox, records)) in inboxes.into_iter().zip(senders).enumerate() {
        let listener = listen(&mut at.data)?;
        let passthrough = at.passthrough.as_mut().map(listen).transpose()?;
        let tls_listener = at.https.as_mut().map(listen).transpose()?;
        starts.push(CoreStart {
            core,
            cpu: settings.cores.pin.then(|| cpus[core % cpus.len()]),
            listener,
            passthrough,
            tls_listener,
            terms: control.terms(),
            inbox,
            siblings: handles.clone(),
            settings: Arc::clone(settings),
            connections_max,
            load: load.clone(),
            addresses: present.clone(),
            rates: rates.clone(),
            records,
        });
    }
    for start in starts {
        cores::spawn(start, log_driver).map_err(|error| format!("cannot start a core: {error}"))?;
    }
    Ok((at, handles))
}

fn log_driver(core: usize, driver: Driver, passed_over: &[PassedOver]) {
    for reason in passed_over {
        eprintln!("core {core}: cannot use {reason}");
    }
    eprintln!("core {core}: runs on {}", driver.name());
}

/// Raises the soft limit of descriptors to the hard one and leaves each connection two: one for itself, one upstream.
fn connections_by_descriptors() -> u64 {
    /// For listeners, rings, logs and the control thread.
    const RESERVED: u64 = 128;
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let descriptors = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    (descriptors.unwrap_or(1 << 20).saturating_sub(RESERVED) / 2).max(1)
}
