//! What the control thread knows, and what its tasks share. One thread, so `Cell`s.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, TryRecvError};
use std::time::{Duration, Instant};

use super::access_log::AccessLog;
use super::certificates::Certificates;
use super::event::Event;
use super::feed::{FeedEvent, FromFeed, How, NodeNews, Running};
use super::load::{Loaded, drop_elsewhere, load, look_up_again};
use super::names::SystemResolver;
use super::process::unix_s;
use crate::cores::{CoreHandle, CoreMessage, Reply};
use crate::meter::CoreReport;
use crate::settings::Settings;
use crate::tables::{Addressed as _, Neighbours, Tables};

/// How long a core may take to report before its figures are left out. It is long for a core, short for a scraper.
const REPORT_PATIENCE: Duration = Duration::from_millis(500);
/// How often the answers of cores are looked for: they come some 20 µs after the question.
const REPORT_POLL: Duration = Duration::from_millis(1);
/// How often it is looked whether a core has tables now.
const ADOPTION_POLL: Duration = Duration::from_millis(10);

/// Who is told what happens.
pub(super) type Tell = Box<dyn FnMut(&Event)>;

/// All of it.
pub(super) struct State {
    pub(super) settings: Arc<Settings>,
    pub(super) cores: Vec<CoreHandle>,
    pub(super) access_log: Option<AccessLog>,
    pub(super) feed: Option<Running>,
    pub(super) certificates: Certificates,
    pub(super) started_unix_s: u64,
    /// The publication that each core has adopted last, by number; the cores write them.
    adopted: Arc<[AtomicU64]>,
    /// Publications so far.
    serial: Cell<u64>,
    /// What is published is not decided with: it is older than the settings allow.
    pub(super) stale: Cell<bool>,
    pub(super) published: RefCell<Option<Published>>,
    /// Tables that were in force before. A core may still be using them, and must not be the one that drops them.
    retired: RefCell<Vec<Arc<Tables>>>,
    pub(super) last_refusal: RefCell<Option<LastRefusal>>,
    pub(super) loads_published: Cell<u64>,
    pub(super) loads_refused: Cell<u64>,
    resolver: Cell<SystemResolver>,
    /// The servers that the settings name, as the cores know them, and what was found of their names.
    neighbours: RefCell<Arc<Neighbours>>,
    /// `None` while they are being looked up.
    neighbours_resolver: Cell<Option<SystemResolver>>,
    /// Every core has adopted some tables.
    pub(super) ready: Cell<bool>,
    pub(super) draining: Cell<bool>,
    tell: RefCell<Tell>,
}

/// The tables in force.
pub(super) struct Published {
    pub(super) tables: Arc<Tables>,
    /// Of the feed; empty for a file.
    pub(super) epoch: Arc<str>,
    pub(super) since: Instant,
    pub(super) unix_s: u64,
}

/// The last tables that were refused, for people who ask why nothing changed. Cleared by the next good one.
pub(super) struct LastRefusal {
    pub(super) unix_s: u64,
    pub(super) reason: String,
}

impl State {
    pub(super) fn new(
        settings: Arc<Settings>,
        cores: Vec<CoreHandle>,
        access_log: Option<AccessLog>,
        feed: Option<Running>,
        certificates: Certificates,
        tell: Tell,
    ) -> Self {
        let adopted = cores.iter().map(|_| AtomicU64::new(0)).collect();
        Self {
            cores,
            access_log,
            feed,
            certificates,
            adopted,
            serial: Cell::new(0),
            stale: Cell::new(false),
            started_unix_s: unix_s(),
            published: RefCell::default(),
            retired: RefCell::default(),
            last_refusal: RefCell::default(),
            loads_published: Cell::new(0),
            loads_refused: Cell::new(0),
            resolver: Cell::default(),
            neighbours: RefCell::new(Arc::new(settings.neighbours())),
            neighbours_resolver: Cell::new(Some(SystemResolver::default())),
            settings,
            ready: Cell::new(false),
            draining: Cell::new(false),
            tell: RefCell::new(tell),
        }
    }

    pub(super) fn tell(&self, event: &Event) {
        (self.tell.borrow_mut())(event);
    }

    /// Whether there is anything to decide with tables: a proxy that only has a passthrough listener to serve is ready without them.
    pub(super) fn wants_tables(&self) -> bool {
        let Settings { tables, admin, passthrough, .. } = &*self.settings;
        tables.file.is_some() || admin.feed.is_some() || passthrough.is_none()
    }

    /// Number of the tables published last; 0: there are none, or they are those of a database in which nothing has happened.
    pub(super) fn generation(&self) -> u64 {
        self.published.borrow().as_ref().map_or(0, |published| published.tables.generation())
    }

    /// Loads the tables file and publishes it, or keeps what is in force.
    pub(super) async fn load(self: &Rc<Self>) {
        let Some(path) = &self.settings.tables.file else {
            if self.feed.is_none() {
                self.tell(&Event::NoTables);
            }
            return;
        };
        let asked = Instant::now();
        let generation = self.generation() + 1;
        let (loaded, resolver) = load(path, generation, self.resolver.take()).await;
        self.resolver.set(resolver);
        match loaded {
            Loaded::Tables(tables) => {
                let tables = Arc::new(*tables);
                let event = published(&tables, asked);
                self.publish(tables, Arc::default());
                self.tell(&event);
            }
            Loaded::Refused(error) => {
                self.note_refusal(error.to_string());
                self.tell(&Event::Refused { error, generation: self.generation() });
            }
            Loaded::Failed => {
                self.loads_refused.set(self.loads_refused.get() + 1);
                self.tell(&Event::LoadFailed);
            }
        }
    }

    /// Looks up the names in the tables of a file again; those of the feed are looked up where its tables are made.
    pub(super) async fn look_up_names(self: &Rc<Self>) {
        let Some(tables) = self.published.borrow().as_ref().map(|now| Arc::clone(&now.tables)) else {
            return;
        };
        let (changed, resolver) = look_up_again(tables, self.resolver.take()).await;
        self.resolver.set(resolver);
        if let Some(tables) = changed {
            let generation = tables.generation();
            self.publish(Arc::new(tables), Arc::default());
            self.tell(&Event::Resolved { generation });
        }
    }

    /// Looks the names of the servers in the settings up again, and tells the cores if they have moved.
    pub(super) async fn look_around(&self) {
        let neighbours = Arc::clone(&self.neighbours.borrow());
        if neighbours.host_names().is_empty() {
            return;
        }
        let Some(resolver) = self.neighbours_resolver.take() else { return };
        let (moved, resolver) = look_up_again(neighbours, resolver).await;
        self.neighbours_resolver.set(Some(resolver));
        let Some(moved) = moved.map(Arc::new) else { return };
        for core in &self.cores {
            // A core that has ended takes the process along.
            let _ = core.send(CoreMessage::Neighbours(Arc::clone(&moved)));
        }
        self.neighbours.replace(moved);
        self.tell(&Event::Moved);
    }

    /// Does what the feed's reader wants.
    pub(super) fn obey(self: &Rc<Self>, message: FromFeed) {
        match message {
            FromFeed::Tables { tables, epoch, asked, how } => {
                let event = match how {
                    // A transaction is no news for the log: there may be hundreds a second.
                    How::Delta => None,
                    How::LastGood | How::Snapshot => Some(published(&tables, asked)),
                    How::Addresses => Some(Event::Resolved { generation: tables.generation() }),
                };
                // What lay on the disk for too long is not decided with for a moment either.
                if self.published.borrow().is_none() && self.is_too_old() {
                    self.stale.set(true);
                    self.tell(&Event::Feed(FeedEvent::Stale));
                }
                self.publish(tables, epoch);
                self.look_at_age();
                event.iter().for_each(|event| self.tell(event));
            }
            FromFeed::Refused { reason } => {
                self.note_refusal(reason.clone());
                self.report(NodeNews::Refused { reason: reason.clone() });
                let generation = self.published.borrow().as_ref().map(|now| now.tables.generation());
                self.tell(&Event::FeedRefused { reason, generation });
            }
            FromFeed::Told(event) => self.tell(&Event::Feed(event)),
        }
    }

    fn note_refusal(&self, reason: String) {
        self.loads_refused.set(self.loads_refused.get() + 1);
        self.last_refusal.replace(Some(LastRefusal { unix_s: unix_s(), reason }));
    }

    /// Tells the thread that reports to admin, if there is one.
    pub(super) fn report(&self, news: NodeNews) {
        if let Some(feed) = &self.feed {
            // It ends with the process.
            let _ = feed.news.send(news);
        }
    }

    /// Hands tables to every core. Adoption is waited for beside this: a core that is stuck must not keep the next tables, and
    /// the revocations in them, from the others.
    fn publish(self: &Rc<Self>, tables: Arc<Tables>, epoch: Arc<str>) {
        if self.stale.get() {
            self.have_adopted(&Arc::new(Tables::empty()), &epoch);
        } else {
            self.have_adopted(&tables, &epoch);
        }
        let published = Published { tables, epoch, since: Instant::now(), unix_s: unix_s() };
        if let Some(before) = self.published.replace(Some(published)) {
            self.retired.borrow_mut().push(before.tables);
        }
        self.last_refusal.replace(None);
        self.loads_published.set(self.loads_published.get() + 1);
        if !self.ready.get() {
            monoio::spawn(Rc::clone(self).await_readiness());
        }
    }

    /// Tells every core to decide with these tables. Each says so as soon as it does.
    fn have_adopted(&self, tables: &Arc<Tables>, epoch: &Arc<str>) {
        let (serial, generation) = (self.serial.get() + 1, tables.generation());
        self.serial.set(serial);
        self.report(NodeNews::Published { serial, epoch: Arc::clone(epoch), generation });
        for core in &self.cores {
            let (adopted, news) =
                (Arc::clone(&self.adopted), self.feed.as_ref().map(|feed| feed.news.clone()));
            let reply = Reply::new(move |core: usize| {
                if let Some(of_core) = adopted.get(core) {
                    of_core.store(serial, Ordering::Relaxed);
                }
                if let Some(news) = news {
                    let _ = news.send(NodeNews::Adopted { core, serial, generation });
                }
            });
            // A core that has ended takes the process with it; there is nothing to do here.
            let _ = core.send(CoreMessage::Adopt(Arc::clone(tables), reply));
        }
    }

    /// Takes the tables out of force when the feed has not confirmed them for too long, and puts them back when it has.
    pub(super) fn look_at_age(&self) {
        let stale = self.is_too_old();
        if stale == self.stale.get() {
            return;
        }
        let published = self.published.borrow();
        let Some(Published { tables, epoch, .. }) = &*published else { return };
        self.stale.set(stale);
        if stale {
            // With tables that know nothing every request gets 503.
            self.have_adopted(&Arc::new(Tables::empty()), epoch);
            self.tell(&Event::Feed(FeedEvent::Stale));
        } else {
            self.have_adopted(tables, epoch);
            self.tell(&Event::Feed(FeedEvent::Fresh));
        }
    }

    fn is_too_old(&self) -> bool {
        let (Some(most), Some(feed)) = (self.settings.admin.staleness_max, &self.feed) else { return false };
        feed.figures.age().is_some_and(|age| age > most)
    }

    /// Waits until every core has tables, whichever.
    async fn await_readiness(self: Rc<Self>) {
        while !self.adopted.iter().all(|serial| serial.load(Ordering::Relaxed) > 0) {
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

/// What is told of tables that came whole.
fn published(tables: &Tables, asked: Instant) -> Event {
    Event::Published {
        generation: tables.generation(),
        counts: tables.counts(),
        took: asked.elapsed(),
        unresolved: tables.unresolved().map(|(_, endpoint)| endpoint.url.clone()).collect(),
    }
}
