//! A model server that does as it is told: OpenAI, Anthropic and Ollama paths, streams of numbered events, any pace, any
//! fault. It is made to cost little per event, so that it is never what a load test measures.
//!
//! One thread, one epoll, no locks; `threads` of them share the port (`SO_REUSEPORT`). Files in the order of a request:
//! `server` (sockets and timers) → `connection` (bytes) → `request` (what is asked) → `answer` (what is told) →
//! `dialect`, `bodies`, `events`; `upload` and `outbox` are bytes that are on their way. What may be asked for is in [`Script`], what may go wrong in [`Fault`].
//!
//! # Cost
//! One `send` per write and one `recv` per request; the rest is below a microsecond.

mod answer;
mod bodies;
mod connection;
mod dialect;
mod events;
mod fault;
mod outbox;
mod request;
mod script;
mod server;
mod stats;
mod upload;

pub use events::STAMP_BYTES;
pub use fault::{Fault, FaultKind};
pub use script::{Framing, Script};
pub use stats::Stats;

use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::OwnedFd;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};
use server::Server;
use stats::Counters;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread::JoinHandle;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4096;

/// What a mock is started with.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1")]
    pub host: std::net::IpAddr,
    /// Port to listen on; 0: any free one.
    #[arg(long, default_value_t = 0)]
    pub port: u16,
    /// Threads that serve.
    #[arg(long, default_value_t = 1)]
    pub threads: usize,
    /// Names of the models it claims to have; any name is answered.
    #[arg(long = "model", default_values_t = ["demo-model".to_owned()])]
    pub models: Vec<String>,
    /// How answers are made where a request does not say.
    #[command(flatten)]
    pub script: Script,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            host: Ipv4Addr::LOCALHOST.into(),
            port: 0,
            threads: 1,
            models: vec!["demo-model".to_owned()],
            script: Script::default(),
        }
    }
}

/// A running mock; dropping it stops it.
#[derive(Debug)]
pub struct Mock {
    address: SocketAddr,
    stop: OwnedFd,
    counters: Arc<[Counters]>,
    threads: Vec<JoinHandle<io::Result<()>>>,
}

impl Mock {
    /// Binds and starts serving.
    ///
    /// # Errors
    /// The address is taken, or a thread or descriptor cannot be had.
    pub fn start(options: &Options) -> io::Result<Self> {
        let threads = options.threads.max(1);
        let stop = eventfd(0, EventfdFlags::CLOEXEC)?;
        let counters: Arc<[Counters]> = (0..threads).map(|_| Counters::default()).collect();
        let mut address = SocketAddr::new(options.host, options.port);
        let mut handles = Vec::new();
        for thread in 0..threads {
            let listener = listener(address)?;
            address = rustix::net::getsockname(&listener)?.try_into()?;
            let stop = stop.try_clone()?;
            let (script, models, counters) =
                (options.script.clone(), options.models.clone(), Arc::clone(&counters));
            let spawned = std::thread::Builder::new()
                .name(format!("mock-{thread}"))
                .spawn(move || Server::new(listener, &stop, script, &models, counters, thread)?.run());
            handles.push(spawned?);
        }
        Ok(Self { address, stop, counters, threads: handles })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it has seen so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats::sum(&self.counters)
    }

    /// Serves until the process ends or a thread fails.
    ///
    /// # Errors
    /// What made a thread fail.
    pub fn wait(mut self) -> io::Result<()> {
        for thread in self.threads.drain(..) {
            thread.join().map_err(|_| io::Error::other("a mock thread panicked"))??;
        }
        Ok(())
    }
}

impl Drop for Mock {
    fn drop(&mut self) {
        // One write wakes every thread: none reads it away.
        let _ = rustix::io::write(&self.stop, &1_u64.to_ne_bytes());
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn listener(address: SocketAddr) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(family, SocketType::STREAM, flags, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    sockopt::set_socket_reuseport(&socket, true)?;
    bind(&socket, &address)?;
    listen(&socket, BACKLOG)?;
    Ok(socket)
}
