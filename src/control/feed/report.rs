//! What the node says of itself: at least once a second, and as soon as every core has adopted what was published, because somebody in
//! front of admin may be waiting for just that (`Prefer: wait`).

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use cube_wire::feed::{CoreAdoption, NodeReport};

use super::backoff::Backoff;
use super::client::{Admin, Poster};
use crate::control::process::unix_ms;
use crate::cores::{CoreHandle, CoreMessage, Pulse, Reply};

/// Reports without news. Less than a second: the way takes some of it.
const EVERY: Duration = Duration::from_millis(800);
/// How long the cores have to say how they are. What a core said before counts if it does not.
const PULSE_PATIENCE: Duration = Duration::from_millis(20);

/// What the thread is told.
pub(in crate::control) enum NodeNews {
    /// Tables were published: all cores were told to adopt number `serial`.
    Published { serial: u64, epoch: Arc<str>, generation: u64 },
    /// A core has adopted number `serial`.
    Adopted { core: usize, serial: u64, generation: u64 },
    /// A core says how it is.
    Pulse(Pulse),
    /// A snapshot or delta was refused.
    Refused { reason: String },
    /// The process has been told to end.
    Draining,
}

/// The thread's belongings.
pub(super) struct Reporter {
    admin: Arc<Admin>,
    cores: Vec<CoreHandle>,
    /// What is said.
    report: NodeReport,
    /// The publication that each core has adopted.
    adopted: Vec<u64>,
    published: u64,
    /// The first publication of the epoch: what a core adopted before is of another one.
    epoch_began: u64,
    /// All cores have adopted `published`, and admin knows.
    settled: bool,
    backoff: Backoff,
}

impl Reporter {
    pub(super) fn new(
        admin: Arc<Admin>,
        cores: Vec<CoreHandle>,
        node: String,
        boot: String,
        address: String,
        backoff: Backoff,
    ) -> Self {
        let report = NodeReport {
            node,
            boot,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_ms: unix_ms(),
            address,
            cores: vec![CoreAdoption::default(); cores.len()],
            ..NodeReport::default()
        };
        let adopted = vec![0; cores.len()];
        Self { admin, cores, report, adopted, published: 0, epoch_began: 0, settled: true, backoff }
    }

    /// Starts the thread; it ends with the process.
    pub(super) fn start(self) -> io::Result<Sender<NodeNews>> {
        let (sender, news) = channel();
        let for_pulses = sender.clone();
        std::thread::Builder::new().name("report".to_owned()).spawn(move || self.run(&news, &for_pulses))?;
        Ok(sender)
    }

    fn run(mut self, news: &Receiver<NodeNews>, for_pulses: &Sender<NodeNews>) {
        let mut poster = Poster::new();
        let mut due = Instant::now();
        let mut quiet_until = due;
        loop {
            // After a failure admin is left alone for a while, whatever the news.
            let wake = if self.is_news() { quiet_until } else { due.max(quiet_until) };
            match news.recv_timeout(wake.saturating_duration_since(Instant::now())) {
                Ok(first) => {
                    self.learn(first);
                    news.try_iter().for_each(|more| self.learn(more));
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            let now = Instant::now();
            if now < quiet_until || (now < due && !self.is_news()) {
                continue;
            }
            if now >= due {
                self.take_pulses(news, for_pulses);
            }
            let told = self.is_news();
            let body = serde_json::to_vec(&self.report).expect("strings and numbers");
            due = Instant::now() + EVERY;
            match poster.post(&self.admin, "/feed/v1/node", "application/json", &body) {
                Ok(200..300) => {
                    self.settled |= told;
                    self.backoff.reset();
                }
                Ok(_) | Err(_) => quiet_until = Instant::now() + self.backoff.next(super::backoff::random()),
            }
        }
    }

    /// Whether every core has adopted what was published, and admin does not know yet.
    fn is_news(&self) -> bool {
        !self.settled && self.adopted.iter().all(|serial| *serial == self.published)
    }

    fn learn(&mut self, news: NodeNews) {
        match news {
            NodeNews::Published { serial, epoch, generation } => {
                if *epoch != *self.report.epoch {
                    self.epoch_began = serial;
                    self.report.epoch = epoch.to_string();
                    self.report.cores.iter_mut().for_each(|core| core.generation = 0);
                }
                self.published = serial;
                self.report.generation = generation;
                self.report.refused.clear();
                self.settled = false;
            }
            NodeNews::Adopted { core, serial, generation } => {
                if let Some(adopted) = self.adopted.get_mut(core) {
                    *adopted = serial;
                    if serial >= self.epoch_began {
                        self.report.cores[core].generation = generation;
                    }
                }
            }
            NodeNews::Pulse(Pulse { core, driver, inflight }) => {
                if let Some(core) = self.report.cores.get_mut(core) {
                    driver.clone_into(&mut core.driver);
                    core.inflight = inflight;
                }
            }
            NodeNews::Refused { reason } => self.report.refused = reason,
            NodeNews::Draining => self.report.draining = true,
        }
    }

    fn take_pulses(&mut self, news: &Receiver<NodeNews>, for_pulses: &Sender<NodeNews>) {
        let mut missing = self.cores.len();
        for core in &self.cores {
            let reply = for_pulses.clone();
            // A core that is gone takes the process with it.
            let _ = core.send(CoreMessage::Pulse(Reply::new(move |pulse| {
                let _ = reply.send(NodeNews::Pulse(pulse));
            })));
        }
        let deadline = Instant::now() + PULSE_PATIENCE;
        while missing > 0
            && let Ok(heard) = news.recv_timeout(deadline.saturating_duration_since(Instant::now()))
        {
            missing -= usize::from(matches!(heard, NodeNews::Pulse(_)));
            self.learn(heard);
        }
    }
}

#[cfg(test)]
mod tests {
    use cube_wire::seal::FleetKey;

    use super::*;
    use crate::settings::Trust;

    fn reporter() -> Reporter {
        let key = FleetKey::generate().expect("randomness");
        let admin = Admin::new("http://127.0.0.1:1".parse().expect("an origin"), Trust::default(), &key);
        let admin = admin.expect("nothing to read");
        let doors = (0..2).map(|_| crate::cores::inbox().expect("descriptors").0).collect();
        let backoff = Backoff::new(Duration::ZERO, Duration::ZERO);
        Reporter::new(Arc::new(admin), doors, "n".into(), "b".into(), "a".into(), backoff)
    }

    fn published(serial: u64, epoch: &str, generation: u64) -> NodeNews {
        NodeNews::Published { serial, epoch: epoch.into(), generation }
    }

    #[test]
    fn it_is_news_when_the_last_core_has_adopted_and_not_before() {
        let mut reporter = reporter();
        assert!(!reporter.is_news());
        reporter.learn(published(1, "e", 7));
        reporter.learn(NodeNews::Adopted { core: 0, serial: 1, generation: 7 });
        assert!(!reporter.is_news());
        assert_eq!(reporter.report.adopted(), 0);
        reporter.learn(NodeNews::Adopted { core: 1, serial: 1, generation: 7 });
        assert!(reporter.is_news());
        assert_eq!(reporter.report.adopted(), 7);
    }

    /// What a core holds of another epoch must not look like a high generation of this one.
    #[test]
    fn in_another_epoch_cores_begin_with_nothing() {
        let mut reporter = reporter();
        reporter.learn(published(1, "old", 50));
        for core in 0..2 {
            reporter.learn(NodeNews::Adopted { core, serial: 1, generation: 50 });
        }
        reporter.learn(published(2, "new", 3));
        assert_eq!(reporter.report.adopted(), 0);
        reporter.learn(NodeNews::Adopted { core: 0, serial: 1, generation: 50 });
        assert_eq!(reporter.report.cores[0].generation, 0, "late news of the old epoch");
        for core in 0..2 {
            reporter.learn(NodeNews::Adopted { core, serial: 2, generation: 3 });
        }
        assert_eq!(reporter.report.adopted(), 3);
    }
}
