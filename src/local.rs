//! Local: everything that one core owns. Nothing in here is shared with another thread; most of it is a `Cell`.
//!
//! The path borrows it for the length of a connection. No borrow of a `RefCell` lives across an await.

use std::cell::{Cell, RefCell};
use std::ops::{Deref, DerefMut};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::buf::BufferPool;
use crate::callback::{Decisions, Flights, Verdict};
use crate::clock::{Clock, Deadlines};
use crate::cores::{Addresses, Driver, Load, Rates, Turnstile};
use crate::http1::{RequestHead, ResponseHead};
use crate::meter::{CoreReport, Meter, family};
use crate::peek::JsonPeek;
use crate::record::RecordSender;
use crate::settings::Settings;
use crate::tables::{Neighbours, Rules, Tables, Verifier};
use crate::tls::Terms;
use crate::upstream::{Upstreams, balance::next_random};

/// Free scratches that a core keeps.
const SCRATCH_KEPT_MAX: usize = 64;

/// One core's belongings.
pub struct Local {
    /// Number of the core among its siblings, from 0; a metric label.
    pub core: usize,
    /// What its runtime runs on.
    pub driver: Driver,
    /// The program's settings; the same for its whole life.
    pub settings: Arc<Settings>,
    /// Time.
    pub clock: Clock,
    /// What waits until when.
    pub deadlines: Rc<Deadlines>,
    /// Buffers.
    pub buffers: Rc<BufferPool>,
    /// Connections to model servers.
    pub upstreams: Upstreams,
    /// Counters.
    pub meter: Meter,
    /// Where finished records go.
    pub records: RefCell<RecordSender>,
    /// What it shares with its siblings.
    pub shared: Shared,
    /// Decisions of the authentication callback that still hold.
    pub decisions: RefCell<Decisions>,
    /// Calls of the authentication callback that are under way.
    pub flights: Flights<Verdict>,
    /// Answers close their connections; see [`crate::cores`].
    pub draining: Cell<bool>,
    /// Whatever still waits is ended.
    pub cutting: Cell<bool>,
    /// Idle connections are closed, nothing new is accepted.
    pub closing: Cell<bool>,
    /// Request body bytes held in memory until their model is known, over all requests.
    pub held_bytes: Cell<usize>,
    /// TLS handshakes of callers in progress.
    pub handshakes: Cell<usize>,
    /// Through which their costly steps go.
    pub turnstile: Turnstile,
    /// `None` only before the core runs.
    terms: RefCell<Option<Rc<Terms>>>,
    neighbours: RefCell<Rc<Neighbours>>,
    tables: RefCell<Rc<Adopted>>,
    verifier: RefCell<Verifier>,
    random: Cell<u64>,
    #[expect(clippy::vec_box, reason = "leases are moved about; a scratch is 6 KiB")]
    scratches: RefCell<Vec<Box<Scratch>>>,
}

/// What all cores share. Nothing on the path of a request with a PAT touches it.
#[derive(Clone, Debug)]
pub struct Shared {
    /// Open connections of callers that the process takes.
    pub connections_max: u64,
    /// How full each core is; a core writes its own entry only.
    pub load: Load,
    /// How many connections each address has.
    pub addresses: Addresses,
    /// How often each credential of a passthrough listener may ask.
    pub rates: Option<Rates>,
}

/// The tables that this core decides with. A request counts its own core's `Rc`; the `Arc` behind it, whose count all cores share,
/// is touched once per adoption.
#[derive(Debug)]
pub struct Adopted {
    tables: Arc<Tables>,
    /// This core's copy of the tables' rules, kept for as long as they stay the same.
    rules: Rc<Rules>,
}

impl Adopted {
    fn first(tables: Arc<Tables>) -> Self {
        let rules = Rc::new(Rules::clone(tables.rules()));
        Self { tables, rules }
    }

    fn next(&self, tables: Arc<Tables>) -> Self {
        if Arc::ptr_eq(self.tables.rules(), tables.rules()) {
            return Self { tables, rules: Rc::clone(&self.rules) };
        }
        Self::first(tables)
    }

    /// The rules that send requests elsewhere.
    #[must_use]
    pub fn rules(&self) -> &Rules {
        &self.rules
    }
}

impl Deref for Adopted {
    type Target = Tables;
    fn deref(&self) -> &Tables {
        &self.tables
    }
}

impl Local {
    /// A core's belongings before its first request, with tables that know nothing.
    #[must_use]
    pub fn new(
        core: usize,
        driver: Driver,
        settings: Arc<Settings>,
        shared: Shared,
        records: RecordSender,
    ) -> Self {
        let upstreams = Upstreams::new(settings.upstream.idle_per_endpoint, settings.upstream.idle_timeout);
        let verifier = Verifier::new(settings.limits.pat_cache_entries);
        let callback = settings.passthrough.as_ref().and_then(|at| at.callback.as_ref());
        let decisions = callback.map_or_else(
            || Decisions::new(Duration::ZERO, Duration::ZERO, 0),
            |callback| {
                Decisions::new(callback.cache_ttl, callback.refusal_cache_ttl, callback.cache_entries_max)
            },
        );
        Self {
            core,
            driver,
            clock: Clock::new(),
            deadlines: Deadlines::new(),
            buffers: BufferPool::new(),
            upstreams,
            meter: Meter::new(settings.ops.series_max),
            records: RefCell::new(records),
            shared,
            decisions: RefCell::new(decisions),
            flights: Flights::default(),
            draining: Cell::new(false),
            cutting: Cell::new(false),
            closing: Cell::new(false),
            held_bytes: Cell::new(0),
            handshakes: Cell::new(0),
            turnstile: Turnstile::new(),
            terms: RefCell::default(),
            neighbours: RefCell::new(Rc::new(settings.neighbours())),
            tables: RefCell::new(Rc::new(Adopted::first(Arc::new(Tables::empty())))),
            verifier: RefCell::new(verifier),
            random: Cell::new(seed(core)),
            scratches: RefCell::default(),
            settings,
        }
    }

    /// The tables of now. Hold them for one request, not longer.
    #[must_use]
    pub fn tables(&self) -> Rc<Adopted> {
        Rc::clone(&self.tables.borrow())
    }

    /// Decides with `tables` from the next request on.
    pub fn adopt(&self, tables: Arc<Tables>) {
        self.meter.adopted(tables.generation());
        let next = self.tables.borrow().next(tables);
        *self.tables.borrow_mut() = Rc::new(next);
    }

    /// What handshakes are made with now.
    #[must_use]
    pub fn terms(&self) -> Rc<Terms> {
        Rc::clone(self.terms.borrow().as_ref().expect("a core is given terms before it runs"))
    }

    /// Shakes hands on `terms` from the next handshake on.
    pub fn adopt_terms(&self, terms: &Terms) {
        *self.terms.borrow_mut() = Some(Rc::new(terms.of_one_core()));
    }

    /// The servers that the settings name, where they are now. Hold them for one request, not longer.
    #[must_use]
    pub fn neighbours(&self) -> Rc<Neighbours> {
        Rc::clone(&self.neighbours.borrow())
    }

    /// Looks for them there from the next request on.
    pub fn adopt_neighbours(&self, neighbours: &Neighbours) {
        *self.neighbours.borrow_mut() = Rc::new(neighbours.clone());
    }

    /// This core's verification cache.
    pub fn verifier(&self) -> impl DerefMut<Target = Verifier> + '_ {
        self.verifier.borrow_mut()
    }

    /// A copy of this core's figures.
    #[must_use]
    pub fn report(&self) -> CoreReport {
        let mut report = self.meter.report(self.core, self.driver.name());
        let verifier = self.verifier.borrow();
        report.add_by(&family::PAT_CHECKS, "result", "hit", verifier.hits());
        report.add_by(&family::PAT_CHECKS, "result", "miss", verifier.misses());
        report.add_by(&family::UPSTREAM_CONNECTIONS, "state", "active", self.upstreams.active() as u64);
        report.add_by(&family::UPSTREAM_CONNECTIONS, "state", "idle", self.upstreams.idle() as u64);
        report.add(&family::POOL_STALE, self.upstreams.stale());
        report
    }

    /// 64 random bits; good enough to spread load and to name requests, of no use for secrets.
    #[must_use]
    pub fn random(&self) -> u64 {
        self.random.set(next_random(self.random.get()));
        self.random.get().wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Parsers' working space for one request.
    #[must_use]
    pub fn scratch(&self) -> ScratchLease<'_> {
        let scratch = self.scratches.borrow_mut().pop().unwrap_or_default();
        ScratchLease { scratch: Some(scratch), local: self }
    }
}

/// Starts a core's sequence somewhere else each time, so that request ids of two runs do not collide.
fn seed(core: usize) -> u64 {
    let mut bytes = [0_u8; 8];
    // Without the system's random numbers the sequence still differs by core, which is all that balancing needs.
    let _ = getrandom::fill(&mut bytes);
    u64::from_ne_bytes(bytes) ^ (core as u64 + 1) | 1
}

/// What the parsers of one request need and no stream does: about 6 KiB, leased until the answer's head is sent.
#[derive(Default)]
pub struct Scratch {
    /// The caller's request head.
    pub request: RequestHead,
    /// The upstream's response head.
    pub response: ResponseHead,
    /// What a JSON body says at its top level.
    pub json: JsonPeek,
}

/// A [`Scratch`] on loan from its core.
pub struct ScratchLease<'a> {
    /// `None` once given back.
    scratch: Option<Box<Scratch>>,
    local: &'a Local,
}

impl ScratchLease<'_> {
    /// Gives it back early: the request has become a stream, which parses nothing. Using it afterwards panics.
    pub fn give_back(&mut self) {
        let mut free = self.local.scratches.borrow_mut();
        if let Some(scratch) = self.scratch.take()
            && free.len() < SCRATCH_KEPT_MAX
        {
            free.push(scratch);
        }
    }
}

impl Deref for ScratchLease<'_> {
    type Target = Scratch;
    fn deref(&self) -> &Scratch {
        self.scratch.as_ref().expect("not used after it was given back")
    }
}

impl DerefMut for ScratchLease<'_> {
    fn deref_mut(&mut self) -> &mut Scratch {
        self.scratch.as_mut().expect("not used after it was given back")
    }
}

impl Drop for ScratchLease<'_> {
    fn drop(&mut self) {
        self.give_back();
    }
}
