//! Idle connections, and the count of busy ones, per address.
//!
//! # Promises
//! * A connection is kept only when its owner says that the exchange was complete and clean ([`Link::keep`]); dropping a
//!   [`Link`] in any other way closes it. So no caller can ever receive the rest of another's answer.
//! * A kept connection has a poll armed. If the endpoint closes it or sends something unasked, the poll completes, and the
//!   connection is thrown away at the next look instead of being used.
//! * The newest idle connection is used first; the oldest time out.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use ahash::AHashMap;

use super::eject::Standing;
use crate::clock::Moment;
use crate::socket::Socket;

#[derive(Debug)]
struct Idle {
    socket: Socket,
    since: Moment,
}

/// What one core knows of one address.
#[derive(Debug, Default)]
struct Far {
    idle: RefCell<Vec<Idle>>,
    in_flight: Cell<u32>,
    standing: Cell<Standing>,
}

/// One core's upstream connections.
#[derive(Debug)]
pub struct Upstreams {
    by_address: RefCell<AHashMap<SocketAddr, Rc<Far>>>,
    idle_per_endpoint_max: usize,
    idle_timeout: Duration,
    stale: Cell<u64>,
    idle: Cell<usize>,
    active: Rc<Cell<usize>>,
}

impl Upstreams {
    /// No connections yet.
    #[must_use]
    pub fn new(idle_per_endpoint_max: usize, idle_timeout: Duration) -> Self {
        Self {
            by_address: RefCell::default(),
            idle_per_endpoint_max,
            idle_timeout,
            stale: Cell::new(0),
            idle: Cell::new(0),
            active: Rc::default(),
        }
    }

    /// Requests in flight to `address` on this core.
    #[must_use]
    pub fn in_flight(&self, address: SocketAddr) -> u32 {
        self.by_address.borrow().get(&address).map_or(0, |far| far.in_flight.get())
    }

    /// Whether `address` is set aside at `now`.
    #[must_use]
    pub fn is_aside(&self, address: SocketAddr, now: Moment) -> bool {
        self.by_address.borrow().get(&address).is_some_and(|far| far.standing.get().is_aside(now))
    }

    /// Idle connections kept.
    #[must_use]
    pub fn idle(&self) -> usize {
        self.idle.get()
    }

    /// Connections in use.
    #[must_use]
    pub fn active(&self) -> usize {
        self.active.get()
    }

    /// Kept connections so far that were found closed, or talking out of turn, when they were to be used.
    #[must_use]
    pub fn stale(&self) -> u64 {
        self.stale.get()
    }

    /// A kept connection to `address` that is still good, if there is one.
    #[must_use]
    pub fn reuse(&self, address: SocketAddr) -> Option<Link> {
        let far = Rc::clone(self.by_address.borrow().get(&address)?);
        loop {
            let idle = far.idle.borrow_mut().pop()?;
            self.idle.set(self.idle.get() - 1);
            if idle.socket.is_quiet() {
                return Some(Link::new(idle.socket, far, &self.active, true));
            }
            self.stale.set(self.stale.get() + 1);
        }
    }

    /// Opens a connection to `address`.
    ///
    /// # Errors
    /// What `connect(2)` reports.
    pub async fn open(&self, address: SocketAddr) -> io::Result<Link> {
        let far = self.far(address);
        let socket = Socket::connect(address).await?;
        Ok(Link::new(socket, far, &self.active, false))
    }

    /// Notes that `address` failed before it answered. Returns whether that sets it aside.
    pub fn failed(&self, address: SocketAddr, now: Moment) -> bool {
        let far = self.far(address);
        let standing = far.standing.get().after_failure(now);
        far.standing.set(standing);
        standing.is_aside(now)
    }

    /// Closes what has been idle for too long and forgets addresses that nothing refers to any more.
    pub fn sweep(&self, now: Moment) {
        self.by_address.borrow_mut().retain(|_, far| {
            let mut idle = far.idle.borrow_mut();
            let before = idle.len();
            idle.retain(|i| now.since(i.since) < self.idle_timeout && i.socket.is_quiet());
            self.idle.set(self.idle.get() - (before - idle.len()));
            !idle.is_empty() || Rc::strong_count(far) > 1 || far.standing.get().is_aside(now)
        });
    }

    fn far(&self, address: SocketAddr) -> Rc<Far> {
        Rc::clone(self.by_address.borrow_mut().entry(address).or_default())
    }

    fn keep(&self, mut link: Link, now: Moment) {
        let Some(socket) = link.socket.take() else { return };
        let far = &link.far;
        far.standing.set(far.standing.get().after_success());
        let mut idle = far.idle.borrow_mut();
        // The look arms the poll that tells later whether the connection has gone stale.
        if idle.len() < self.idle_per_endpoint_max && socket.is_quiet() {
            idle.push(Idle { socket, since: now });
            self.idle.set(self.idle.get() + 1);
        }
    }
}

/// A connection in use: counted as in flight until it is kept or dropped.
#[derive(Debug)]
pub struct Link {
    /// `None` only after [`Link::keep`] has taken it.
    socket: Option<Socket>,
    far: Rc<Far>,
    /// The core's count of links.
    active: Rc<Cell<usize>>,
    reused: bool,
}

impl Link {
    fn new(socket: Socket, far: Rc<Far>, active: &Rc<Cell<usize>>, reused: bool) -> Self {
        far.in_flight.set(far.in_flight.get() + 1);
        active.set(active.get() + 1);
        Self { socket: Some(socket), far, active: Rc::clone(active), reused }
    }

    /// The connection.
    #[must_use]
    pub fn socket(&self) -> &Socket {
        self.socket.as_ref().expect("only keep takes it, and keep consumes the link")
    }

    /// Whether an earlier exchange has used it: then a failure before the first byte may only mean that it went stale.
    #[must_use]
    pub const fn reused(&self) -> bool {
        self.reused
    }

    /// The endpoint answered; its failures are forgotten.
    pub fn answered(&self) {
        self.far.standing.set(self.far.standing.get().after_success());
    }

    /// Gives the connection back after a complete, clean exchange. Everything else is a drop, which closes it.
    pub fn keep(self, upstreams: &Upstreams, now: Moment) {
        upstreams.keep(self, now);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.far.in_flight.set(self.far.in_flight.get() - 1);
        self.active.set(self.active.get() - 1);
    }
}
