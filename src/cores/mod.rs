//! Cores: where it runs. One pinned thread per CPU, one runtime each, nothing shared on the path.
//!
//! | file | holds |
//! |---|---|
//! | [`addresses`] | how many connections each address has |
//! | [`driver`] | which I/O driver a core can really use |
//! | [`fence`] | a panic ends a connection, not a core |
//! | [`mod@inbox`] | the one door between threads |
//! | [`rates`] | how often each credential of a passthrough listener may ask |
//! | [`load`] | how full each core is: the one thing that cores tell each other without being asked |
//! | [`turnstile`] | a few handshakes per turn |
//! | this file | spawning and pinning; one core's loop; drain |
//!
//! # Drain
//! [`CoreMessage::Drain`]: every answer from now on closes its connection. [`CoreMessage::StopAccepting`], after the grace for load
//! balancers: the listener closes, idle connections close. Streams end by themselves; [`CoreMessage::Cut`], at the deadline, expires
//! whatever still waits, so that even a request that is cut leaves its record before the process exits.

pub mod addresses;
pub mod driver;
pub mod fence;
pub mod inbox;
pub mod load;
pub mod rates;
pub mod turnstile;

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;

use rustix::net::{AddressFamily, SocketFlags, SocketType};

pub use addresses::{Addresses, Presence};
pub use driver::{Driver, PassedOver};
pub use fence::{Panicked, fenced};
pub use inbox::{CoreEnded, CoreHandle, CoreMessage, Door, Inbox, Over, Pulse, Reply, Via, inbox};
pub use load::Load;
pub use rates::Rates;
pub use turnstile::Turnstile;

use crate::clock::TICK;
use crate::local::{Local, Shared};
use crate::path::accept;
use crate::record::RecordSender;
use crate::settings::{Paths, Settings};
use crate::socket::ReadyFd;
use crate::tls::Terms;

/// Connections that wait to be accepted, per core.
const BACKLOG: i32 = 4096;

/// What a core needs to start.
#[derive(Debug)]
pub struct CoreStart {
    /// Its number, from 0.
    pub core: usize,
    /// The CPU it stays on, if it is pinned.
    pub cpu: Option<usize>,
    /// Its listener, bound with `SO_REUSEPORT`.
    pub listener: OwnedFd,
    /// The same for any path, if there is such a listener.
    pub passthrough: Option<OwnedFd>,
    /// The same for TLS, if it listens for that.
    pub tls_listener: Option<OwnedFd>,
    /// What it shakes hands with.
    pub terms: Arc<Terms>,
    /// Its inbox.
    pub inbox: Inbox,
    /// The handles of all cores, itself included, by number.
    pub siblings: Vec<CoreHandle>,
    /// The program's settings.
    pub settings: Arc<Settings>,
    /// Open connections that the process takes.
    pub connections_max: u64,
    /// How full each core is.
    pub load: Load,
    /// How many connections each address has, all cores together.
    pub addresses: Addresses,
    /// How often each credential of a passthrough listener may ask, all cores together.
    pub rates: Option<Rates>,
    /// Where finished records go.
    pub records: RecordSender,
}

/// Binds a listener for one core.
///
/// # Errors
/// The address is taken by somebody who does not share it, or is not ours to bind.
pub fn bind(address: SocketAddr) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    rustix::net::sockopt::set_socket_reuseaddr(&socket, true)?;
    rustix::net::sockopt::set_socket_reuseport(&socket, true)?;
    // Accepted sockets inherit it, which saves each a system call of its own.
    rustix::net::sockopt::set_tcp_nodelay(&socket, true)?;
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket)
}

/// The address that a listener was given; tells the port that port 0 became.
///
/// # Errors
/// The descriptor is no bound socket.
pub fn bound_address(listener: &OwnedFd) -> io::Result<SocketAddr> {
    let address = rustix::net::getsockname(listener)?;
    SocketAddr::try_from(address).map_err(|_| io::ErrorKind::AddrNotAvailable.into())
}

/// The CPUs that this process may run on, as a container or `taskset` limits them.
#[must_use]
pub fn allowed_cpus() -> Vec<usize> {
    let Ok(set) = rustix::thread::sched_getaffinity(None) else { return vec![0] };
    (0..rustix::thread::CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu)).collect()
}

/// Starts a core on a thread of its own. `log`: called once, on that thread, with the driver it runs on and those it could not
/// use. If the thread ever ends while the process lives, the process exits: half a proxy is worse than a restart.
///
/// # Errors
/// The thread could not be made.
pub fn spawn(
    start: CoreStart,
    log: impl FnOnce(usize, Driver, &[PassedOver]) + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(format!("core-{}", start.core)).spawn(move || {
        let _exit = ExitWithCore;
        let core = start.core;
        if let Some(cpu) = start.cpu {
            pin_to(cpu);
        }
        let (driver, passed_over) = Driver::probe(start.settings.cores.driver);
        log(core, driver, &passed_over);
        if let Err(error) = driver.run(run(start, driver)) {
            eprintln!("core {core}: the runtime could not be built on {}: {error}", driver.name());
        }
    })
}

/// A core that is not on its own CPU is slower, not wrong: a failure is no reason not to start.
fn pin_to(cpu: usize) {
    let mut set = rustix::thread::CpuSet::new();
    set.set(cpu);
    let _ = rustix::thread::sched_setaffinity(None, &set);
}

struct ExitWithCore;

impl Drop for ExitWithCore {
    fn drop(&mut self) {
        eprintln!("a core has ended; the process ends with it");
        std::process::exit(70);
    }
}

/// One core's life.
async fn run(start: CoreStart, driver: Driver) {
    let CoreStart {
        core,
        listener,
        passthrough,
        tls_listener,
        terms,
        inbox,
        siblings,
        settings,
        connections_max,
        load,
        addresses,
        rates,
        records,
        ..
    } = start;
    let shared = Shared { connections_max, load, addresses, rates };
    let local = Rc::new(Local::new(core, driver, Arc::clone(&settings), shared, records));
    local.adopt_terms(&terms);
    let crossing =
        if settings.passthrough.as_ref().is_some_and(|it| it.tls) { Over::Tls } else { Over::Plain };
    let passthrough = passthrough.map(ReadyFd::new).transpose();
    let tls_listener = tls_listener.map(ReadyFd::new).transpose();
    let (Ok(listener), Ok(passthrough), Ok(tls_listener), Ok(inbox)) =
        (ReadyFd::new(listener), passthrough, tls_listener, inbox.open())
    else {
        eprintln!("core {core}: out of descriptors");
        return;
    };
    monoio::spawn(tick(Rc::clone(&local)));
    let siblings: Rc<[CoreHandle]> = siblings.into();
    let listeners = [
        (Some(listener), Via { paths: Paths::Domain, over: Over::Plain }),
        (tls_listener, Via { paths: Paths::Domain, over: Over::Tls }),
        (passthrough, Via { paths: Paths::Passthrough, over: crossing }),
    ];
    for (listener, via) in listeners {
        let Some(listener) = listener else { continue };
        monoio::spawn(accept::accept(Rc::clone(&local), listener, via, Rc::clone(&siblings)));
    }
    let turning = Rc::clone(&local);
    monoio::spawn(async move { turning.turnstile.turn().await });
    loop {
        for message in inbox.messages().await {
            obey(&local, message);
        }
    }
}

fn obey(local: &Rc<Local>, message: CoreMessage) {
    match message {
        CoreMessage::Adopt(tables, adopted) => {
            local.adopt(tables);
            adopted.send(local.core);
        }
        CoreMessage::Pulse(reply) => reply.send(Pulse {
            core: local.core,
            driver: local.driver.name(),
            inflight: local.meter.inflight_requests.get(),
        }),
        CoreMessage::Connection(fd, peer, via) => accept::adopt(local, fd, peer, via),
        CoreMessage::Terms(terms) => local.adopt_terms(&terms),
        CoreMessage::Neighbours(neighbours) => local.adopt_neighbours(&neighbours),
        CoreMessage::Report(reply) => {
            // Whoever is told that nothing is open any more has the records of what was.
            local.records.borrow_mut().flush(&local.meter);
            // Whoever asked may have given up waiting.
            let _ = reply.send(local.report());
        }
        CoreMessage::Drain => local.draining.set(true),
        CoreMessage::StopAccepting => {
            local.draining.set(true);
            local.closing.set(true);
            local.deadlines.nudge();
        }
        CoreMessage::Cut => {
            local.cutting.set(true);
            local.deadlines.expire_all();
        }
    }
}

/// The core's heartbeat: fires deadlines, follows the wall clock, sends records, sweeps idle connections, and measures by its own
/// lateness how long the core's turns are.
async fn tick(local: Rc<Local>) {
    let mut due = local.clock.read().after(TICK);
    loop {
        monoio::time::sleep(TICK).await;
        local.clock.follow_wall_clock();
        let now = local.clock.now();
        local.meter.loop_delay.observe(u64::try_from(now.since(due).as_nanos()).unwrap_or(u64::MAX));
        due = now.after(TICK);
        local.deadlines.fire(now);
        local.upstreams.sweep(now);
        local.records.borrow_mut().flush(&local.meter);
    }
}
