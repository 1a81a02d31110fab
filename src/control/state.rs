//! What the control thread knows, and what its tasks share. One thread, so `Cell`s.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{self, TryRecvError};
use std::time::{Duration, Instant};

use super::access_log::AccessLog;
use super::event::Event;
use super::load::{Loaded, SystemResolver, drop_elsewhere, load};
use super::process::unix_s;
use crate::cores::{CoreHandle, CoreMessage};
use crate::meter::CoreReport;
use crate::settings::Settings;
use crate::tables::Tables;

/// How long a core may take to report before its figures are left out. It is long for a core, short for a scraper.
const REPORT_PATIENCE: Duration = Duration::from_millis(500);
/// How often the answers of cores are looked for: they come some 20 µs after the question.
const REPORT_POLL: Duration = Duration::from_millis(1);
/// How often a core that has no tables yet is asked again.
const ADOPTION_POLL: Duration = Duration::from_millis(10);

/// Who is told what happens.
pub(super) type Tell = Box<dyn FnMut(&Event)>;

/// All of it.
pub(super) struct State {
    pub(super) settings: Arc<Settings>,
    pub(super) cores: Vec<CoreHandle>,
    pub(super) access_log: Option<AccessLog>,
    pub(super) started_unix_s: u64,
    pub(super) published: RefCell<Option<Published>>,
    /// Tables that were in force before. A core may still be using them, and must not be the one that drops them.
    retired: RefCell<Vec<Arc<Tables>>>,
    pub(super) last_refusal: RefCell<Option<LastRefusal>>,
    pub(super) loads_published: Cell<u64>,
    pub(super) loads_refused: Cell<u64>,
    resolver: Cell<SystemResolver>,
    /// Every core has adopted some tables.
    pub(super) ready: Cell<bool>,
    pub(super) draining: Cell<bool>,
    tell: RefCell<Tell>,
}

/// The tables in force.
pub(super) struct Published {
    pub(super) tables: Arc<Tables>,
    pub(super) since: Instant,
    pub(super) unix_s: u64,
}

/// The last file that was refused, for people who ask why nothing changed. Cleared by the next good one.
pub(super) struct LastRefusal {
    pub(super) unix_s: u64,
    pub(super) reason: String,
}

impl State {
    pub(super) fn new(
        settings: Arc<Settings>,
        cores: Vec<CoreHandle>,
        access_log: Option<AccessLog>,
        tell: Tell,
    ) -> Self {
        Self {
            settings,
            cores,
            access_log,
            started_unix_s: unix_s(),
            published: RefCell::default(),
            retired: RefCell::default(),
            last_refusal: RefCell::default(),
            loads_published: Cell::new(0),
            loads_refused: Cell::new(0),
            resolver: Cell::default(),
            ready: Cell::new(false),
            draining: Cell::new(false),
            tell: RefCell::new(tell),
        }
    }

    pub(super) fn tell(&self, event: &Event) {
        (self.tell.borrow_mut())(event);
    }

    /// Number of the tables in force; 0: there are none.
    pub(super) fn generation(&self) -> u64 {
        self.published.borrow().as_ref().map_or(0, |published| published.tables.generation())
    }

    /// Loads the tables file and publishes it, or keeps what is in force.
    pub(super) async fn load(self: &Rc<Self>) {
        let Some(path) = &self.settings.tables.file else {
            self.tell(&Event::NoTables);
            return;
        };
        let asked = Instant::now();
        let generation = self.generation() + 1;
        let (loaded, resolver) = load(path, generation, self.resolver.take()).await;
        self.resolver.set(resolver);
        match loaded {
            Loaded::Tables(tables) => self.publish(Arc::new(*tables), asked),
            Loaded::Refused(error) => {
                self.loads_refused.set(self.loads_refused.get() + 1);
                let reason = error.to_string();
                self.last_refusal.replace(Some(LastRefusal { unix_s: unix_s(), reason }));
                self.tell(&Event::Refused { error, generation: self.generation() });
            }
            Loaded::Failed => {
                self.loads_refused.set(self.loads_refused.get() + 1);
                self.tell(&Event::LoadFailed);
            }
        }
    }

    /// Hands tables to every core. Adoption is waited for beside this: a core that is stuck must not keep the next tables, and
    /// the revocations in them, from the others.
    fn publish(self: &Rc<Self>, tables: Arc<Tables>, asked: Instant) {
        for core in &self.cores {
            // A core that has ended takes the process with it; there is nothing to do here.
            let _ = core.send(CoreMessage::Adopt(Arc::clone(&tables)));
        }
        let event = Event::Published {
            generation: tables.generation(),
            counts: tables.counts(),
            took: asked.elapsed(),
            unresolved: tables.unresolved().map(|(_, endpoint)| endpoint.url.clone()).collect(),
        };
        let published = Published { tables, since: Instant::now(), unix_s: unix_s() };
        if let Some(before) = self.published.replace(Some(published)) {
            self.retired.borrow_mut().push(before.tables);
        }
        self.last_refusal.replace(None);
        self.loads_published.set(self.loads_published.get() + 1);
        self.tell(&event);
        if !self.ready.get() {
            monoio::spawn(Rc::clone(self).await_readiness());
        }
    }

    /// Waits until every core has tables, whichever.
    async fn await_readiness(self: Rc<Self>) {
        let has_tables =
            |report: &Option<CoreReport>| report.as_ref().is_some_and(|report| report.generation > 0);
        while !self.reports().await.iter().all(has_tables) {
            monoio::time::sleep(ADOPTION_POLL).await;
        }
        if !self.ready.replace(true) {
            self.tell(&Event::Ready);
        }
    }

    /// Every core's figures, by number; `None` for a core that does not answer.
    pub(super) async fn reports(&self) -> Vec<Option<CoreReport>> {
        let (sender, receiver) = mpsc::channel();
        for core in &self.cores {
            let _ = core.send(CoreMessage::Report(sender.clone()));
        }
        drop(sender);
        let mut reports: Vec<_> = self.cores.iter().map(|_| None).collect();
        let deadline = Instant::now() + REPORT_PATIENCE;
        let mut missing = reports.len();
        while missing > 0 && Instant::now() < deadline {
            match receiver.try_recv() {
                Ok(report) => {
                    let slot = reports.get_mut(report.core).expect("cores are numbered as their handles are");
                    missing -= usize::from(slot.replace(report).is_none());
                }
                Err(TryRecvError::Empty) => monoio::time::sleep(REPORT_POLL).await,
                Err(TryRecvError::Disconnected) => break,
            }
        }
        reports
    }

    /// Drops tables that no core uses any more; a million PATs take a while, so elsewhere.
    pub(super) fn drop_retired(&self) {
        let unused = self
            .retired
            .borrow_mut()
            .extract_if(.., |tables| Arc::strong_count(tables) == 1)
            .collect::<Vec<_>>();
        if !unused.is_empty() {
            drop_elsewhere(unused);
        }
    }
}
