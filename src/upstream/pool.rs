//! Idle connections, and the count of busy ones, per destination.
//!
//! # Promises
//! * A connection is kept only when its owner says that the exchange was complete and clean ([`Link::keep`]); dropping a
//!   [`Link`] in any other way closes it. So no caller can ever receive the rest of another's answer.
//! * A kept connection has a poll armed. If the endpoint closes it or sends something unasked, the poll completes, and the
//!   connection is thrown away at the next look instead of being used.
//! * A request that may not be sent twice gets none but a warm one ([`Kept::Warm`]).
//! * The newest idle connection is used first; the oldest time out.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ahash::AHashMap;
use rustls::ClientConfig;

use super::eject::Standing;
use crate::buf::BufferPool;
use crate::clock::Moment;
use crate::socket::{Agreed, HandshakeFault, Socket};
use crate::tls::Identity;

/// How long a kept connection stays warm. Servers close one that is idle after 2 s (gunicorn), 5 s (uvicorn, Node.js, Apache) or more:
/// with half of the shortest, and the way to them and back, whoever is asked has not begun to think of it.
pub const WARM_FOR: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Idle {
    socket: Socket,
    /// When its server had nothing more to say, or earlier.
    since: Moment,
}

/// Which kept connections will do for a request. None can be known to be open: the server may close it while the request is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// Any on which nothing has come, as far as was heard: the request can be sent again.
    Any,
    /// One that is idle for less than [`WARM_FOR`], and a read of which finds nothing: the request is sent once.
    Warm,
    /// None: a new one is opened.
    None,
}

/// Where a connection goes to: an address, and whom it was proved to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Destination {
    /// The address.
    pub address: SocketAddr,
    /// [`Identity::digest`]; 0 for plain HTTP. A connection that was made for one name is never used for another.
    pub identity: u128,
}

impl Destination {
    /// `identity`: whom the server at `address` must prove to be, if anybody.
    #[must_use]
    pub fn new(address: SocketAddr, identity: Option<&Identity>) -> Self {
        Self { address, identity: identity.map_or(0, Identity::digest) }
    }
}

/// Why a connection could not be opened.
#[derive(Debug)]
pub enum OpenFault {
    /// What `connect(2)` reports.
    Connect(io::Error),
    /// There was somebody, and no agreement with them.
    Handshake(HandshakeFault),
}

/// What one core knows of one destination.
#[derive(Debug, Default)]
struct Far {
    idle: RefCell<Vec<Idle>>,
    in_flight: Cell<u32>,
    standing: Cell<Standing>,
}

/// One core's upstream connections.
#[derive(Debug)]
pub struct Upstreams {
    by_destination: RefCell<AHashMap<Destination, Rc<Far>>>,
    idle_per_endpoint_max: usize,
    idle_timeout: Duration,
    warm_for: Duration,
    stale: Cell<u64>,
    idle: Cell<usize>,
    active: Rc<Cell<usize>>,
}

impl Upstreams {
    /// No connections yet.
    #[must_use]
    pub fn new(idle_per_endpoint_max: usize, idle_timeout: Duration) -> Self {
        Self {
            by_destination: RefCell::default(),
            idle_per_endpoint_max,
            idle_timeout,
            warm_for: WARM_FOR.min(idle_timeout),
            stale: Cell::new(0),
            idle: Cell::new(0),
            active: Rc::default(),
        }
    }

    /// Requests in flight to `to` on this core.
    #[must_use]
    pub fn in_flight(&self, to: Destination) -> u32 {
        self.by_destination.borrow().get(&to).map_or(0, |far| far.in_flight.get())
    }

    /// Whether `to` is set aside at `now`.
    #[must_use]
    pub fn is_aside(&self, to: Destination, now: Moment) -> bool {
        self.by_destination.borrow().get(&to).is_some_and(|far| far.standing.get().is_aside(now))
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

    /// A kept connection to `to` that will do at `now`, if there is one.
    #[must_use]
    pub fn reuse(&self, to: Destination, kept: Kept, now: Moment) -> Option<Link> {
        let far = Rc::clone(self.by_destination.borrow().get(&to)?);
        loop {
            // One that is not warm stays, for a request that takes any.
            let idle = far.idle.borrow_mut().pop_if(|newest| match kept {
                Kept::Any => true,
                Kept::Warm => now.since(newest.since) < self.warm_for,
                Kept::None => false,
            })?;
            self.idle.set(self.idle.get() - 1);
            let is_quiet = match kept {
                Kept::Any | Kept::None => idle.socket.is_quiet(),
                Kept::Warm => idle.socket.is_quiet_now(),
            };
            if is_quiet {
                return Some(Link::new(idle.socket, far, &self.active, true));
            }
            self.stale.set(self.stale.get() + 1);
        }
    }

    /// Opens a connection to `to`, and has `identity` proved on `terms` if there is one.
    ///
    /// Returns with it what a handshake agreed on.
    ///
    /// # Errors
    /// [`OpenFault`]. A connection that was to be sealed is never plain instead.
    pub async fn open(
        &self,
        to: Destination,
        identity: Option<&Identity>,
        terms: &Arc<ClientConfig>,
        buffers: &Rc<BufferPool>,
    ) -> Result<(Link, Option<Agreed>), OpenFault> {
        let far = self.far(to);
        let mut socket = Socket::connect(to.address).await.map_err(OpenFault::Connect)?;
        let mut agreed = None;
        if let Some(identity) = identity {
            // Boxed: a plain connection must not carry the state of a handshake.
            let shaking = Box::pin(socket.connect_tls(Arc::clone(terms), identity.name().clone(), buffers));
            agreed = Some(shaking.await.map_err(OpenFault::Handshake)?);
        }
        Ok((Link::new(socket, far, &self.active, false), agreed))
    }

    /// Notes that `to` failed before it answered. Returns whether that sets it aside.
    pub fn failed(&self, to: Destination, now: Moment) -> bool {
        let far = self.far(to);
        let standing = far.standing.get().after_failure(now);
        far.standing.set(standing);
        standing.is_aside(now)
    }

    /// Closes what has been idle for too long and forgets destinations that nothing refers to any more.
    pub fn sweep(&self, now: Moment) {
        self.by_destination.borrow_mut().retain(|_, far| {
            let mut idle = far.idle.borrow_mut();
            let before = idle.len();
            idle.retain(|i| now.since(i.since) < self.idle_timeout && i.socket.is_quiet());
            self.idle.set(self.idle.get() - (before - idle.len()));
            !idle.is_empty() || Rc::strong_count(far) > 1 || far.standing.get().is_aside(now)
        });
    }

    fn far(&self, to: Destination) -> Rc<Far> {
        Rc::clone(self.by_destination.borrow_mut().entry(to).or_default())
    }

    fn keep(&self, mut link: Link, since: Moment) {
        let Some(socket) = link.socket.take() else { return };
        let far = &link.far;
        far.standing.set(far.standing.get().after_success());
        let mut idle = far.idle.borrow_mut();
        // The look arms the poll that tells later whether the connection has gone stale.
        if idle.len() < self.idle_per_endpoint_max && socket.is_quiet() {
            idle.push(Idle { socket, since });
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
    ///
    /// * `since`: a moment after which the last of the answer was sent. Its server counts from then, however long the caller took.
    pub fn keep(self, upstreams: &Upstreams, since: Moment) {
        upstreams.keep(self, since);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.far.in_flight.set(self.far.in_flight.get() - 1);
        self.active.set(self.active.get() - 1);
    }
}
