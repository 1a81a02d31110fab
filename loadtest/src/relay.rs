//! A relay that looks at nothing: for every connection one to the upstream, bytes copied both ways. It is the floor that a
//! proxy which does look is measured against (`cube-relay`).

use crate::poller::{Interest, Poller, Ready};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, accept_with, bind, connect, listen, recv,
    send, socket_with, sockopt,
};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};

const LISTENER: u64 = u64::MAX;
const BATCH: usize = 256;
const BACKLOG: i32 = 4096;

/// The relay's flags.
#[derive(Clone, Debug, clap::Parser)]
#[command(
    name = "cube-relay",
    version,
    about = "Copies bytes between callers and one upstream, and looks at none."
)]
pub struct Options {
    /// Where to.
    #[arg(long)]
    pub upstream: SocketAddr,
    /// Port to listen on; 0: any free one.
    #[arg(long, default_value_t = 0)]
    pub port: u16,
    /// Most bytes copied in one step.
    #[arg(long, default_value_t = 256 * 1024)]
    pub step_bytes: usize,
}

/// One direction's end: a socket, and what could not be written to it yet.
#[derive(Debug)]
struct Side {
    socket: OwnedFd,
    pending: Vec<u8>,
    sent: usize,
    interest: Interest,
}

/// A caller's connection and its upstream's. Their keys are `2 * slot` and `2 * slot + 1`.
#[derive(Debug)]
struct Pair {
    sides: [Side; 2],
}

/// A bound relay.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    listener: OwnedFd,
    upstream: SocketAddr,
    scratch: Vec<u8>,
}

impl Relay {
    /// Binds.
    ///
    /// # Errors
    /// The port is taken.
    pub fn bind(options: &Options) -> io::Result<Self> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let listener = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
        sockopt::set_socket_reuseaddr(&listener, true)?;
        bind(&listener, &SocketAddr::from((Ipv4Addr::LOCALHOST, options.port)))?;
        listen(&listener, BACKLOG)?;
        let address = rustix::net::getsockname(&listener)?.try_into()?;
        Ok(Self {
            address,
            listener,
            upstream: options.upstream,
            scratch: vec![0; options.step_bytes.max(1)],
        })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Relays until the process ends.
    ///
    /// # Errors
    /// The poller broke.
    pub fn run(mut self) -> io::Result<()> {
        let mut poller = Poller::new(BATCH)?;
        poller.add(&self.listener, LISTENER, Interest::Read)?;
        let (mut pairs, mut free): (Vec<Option<Pair>>, Vec<usize>) = (Vec::new(), Vec::new());
        let mut ready: Vec<Ready> = Vec::with_capacity(BATCH);
        loop {
            ready.clear();
            ready.extend(poller.wait(None)?);
            // Slots freed in this turn are used again only in the next: a stale readiness finds an empty slot.
            let mut freed = Vec::new();
            for ready in &ready {
                if ready.key == LISTENER {
                    self.accept(&poller, &mut pairs, &mut free)?;
                    continue;
                }
                let slot = usize::try_from(ready.key / 2).expect("a slot number");
                let Some(pair) = &mut pairs[slot] else { continue };
                let from = usize::from(ready.key % 2 == 1);
                if self.step(&poller, pair, slot, from, *ready).is_err() {
                    // Either side's end ends both: a relay that knows no messages cannot do better.
                    pairs[slot] = None;
                    freed.push(slot);
                }
            }
            free.append(&mut freed);
        }
    }

    fn accept(
        &self,
        poller: &Poller,
        pairs: &mut Vec<Option<Pair>>,
        free: &mut Vec<usize>,
    ) -> io::Result<()> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        for _ in 0..BATCH {
            let caller = match accept_with(&self.listener, flags) {
                Ok(caller) => caller,
                Err(Errno::AGAIN) => return Ok(()),
                Err(_) => continue,
            };
            let upstream = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
            for socket in [&caller, &upstream] {
                sockopt::set_tcp_nodelay(socket, true)?;
            }
            match connect(&upstream, &self.upstream) {
                Ok(()) | Err(Errno::INPROGRESS) => {}
                Err(_) => continue,
            }
            let slot = free.pop().unwrap_or_else(|| {
                pairs.push(None);
                pairs.len() - 1
            });
            let sides = [caller, upstream].map(|socket| Side {
                socket,
                pending: Vec::new(),
                sent: 0,
                interest: Interest::Read,
            });
            for (side, end) in sides.iter().enumerate() {
                poller.add(&end.socket, (slot * 2 + side) as u64, Interest::Read)?;
            }
            pairs[slot] = Some(Pair { sides });
        }
        Ok(())
    }

    /// Moves what can be moved. An error ends the pair.
    fn step(
        &mut self,
        poller: &Poller,
        pair: &mut Pair,
        slot: usize,
        from: usize,
        ready: Ready,
    ) -> io::Result<()> {
        let to = 1 - from;
        if ready.writable && !pair.sides[from].pending.is_empty() {
            flush(&mut pair.sides[from])?;
        }
        if ready.readable && pair.sides[to].pending.is_empty() {
            match recv(&pair.sides[from].socket, &mut self.scratch[..], RecvFlags::empty()) {
                Ok((0, _)) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok((bytes, _)) => forward(&mut pair.sides[to], &self.scratch[..bytes])?,
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        for side in 0..2 {
            // Nothing is read from a side while what came from it waits at the other.
            let interest =
                Interest::of(pair.sides[1 - side].pending.is_empty(), !pair.sides[side].pending.is_empty());
            let end = &mut pair.sides[side];
            if interest != end.interest {
                end.interest = interest;
                poller.modify(&end.socket, (slot * 2 + side) as u64, interest)?;
            }
        }
        Ok(())
    }
}

fn forward(side: &mut Side, bytes: &[u8]) -> io::Result<()> {
    let mut sent = 0;
    while sent < bytes.len() {
        match send(&side.socket, &bytes[sent..], SendFlags::NOSIGNAL) {
            Ok(count) => sent += count,
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                side.pending.extend_from_slice(&bytes[sent..]);
                break;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn flush(side: &mut Side) -> io::Result<()> {
    while side.sent < side.pending.len() {
        match send(&side.socket, &side.pending[side.sent..], SendFlags::NOSIGNAL) {
            Ok(count) => side.sent += count,
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
    side.pending = Vec::new();
    side.sent = 0;
    Ok(())
}
