//! Certificates while the process runs: their files are looked at every second and on SIGHUP, and what they hold is published to
//! every core as a whole. Connections go on with what they were made with.

use std::cell::{Cell, RefCell};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::event::Event;
use super::load::on_thread;
use super::state::State;
use crate::cores::CoreMessage;
use crate::tls::{Loaded, Shown, Terms, TermsMaker, TlsError};

/// How often the files are looked at.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What tells that a file is another one: its inode, size and time of change.
type Stamp = Option<(u64, u64, i64, i64)>;

/// What is in force, and where it came from.
pub(super) struct Certificates {
    /// Taken along by the thread that reads.
    maker: Cell<Option<TermsMaker>>,
    pub(super) shown: RefCell<Vec<Shown>>,
    /// As the files were when they were read last.
    read: RefCell<Vec<Stamp>>,
    /// As they were a moment ago: a change is read once nobody is writing any more.
    before: RefCell<Vec<Stamp>>,
    pub(super) published: Cell<u64>,
    pub(super) refused: Cell<u64>,
}

impl Certificates {
    /// The first reading, before the cores start. Returns with it what the cores are given, and the warnings.
    ///
    /// # Errors
    /// A file is wrong.
    pub(super) fn load(mut maker: TermsMaker) -> Result<(Self, Arc<Terms>, Vec<Event>), TlsError> {
        let stamps = stamps(&maker);
        let Loaded { terms, shown, warnings } = maker.load(false)?;
        let events = warnings.into_iter().map(Event::CertificateWarning).collect();
        let certificates = Self {
            maker: Cell::new(Some(maker)),
            shown: RefCell::new(shown),
            read: RefCell::new(stamps.clone()),
            before: RefCell::new(stamps),
            published: Cell::new(0),
            refused: Cell::new(0),
        };
        Ok((certificates, terms, events))
    }

    /// Whether the files have changed since they were read, and stood still since the last look.
    fn have_changed(&self) -> bool {
        let Some(maker) = self.maker.take() else { return false };
        let now = stamps(&maker);
        self.maker.set(Some(maker));
        let quiet = *self.before.borrow() == now;
        let changed = *self.read.borrow() != now;
        *self.before.borrow_mut() = now;
        quiet && changed
    }
}

fn stamps(maker: &TermsMaker) -> Vec<Stamp> {
    maker.files().map(stamp).collect()
}

fn stamp(path: &Path) -> Stamp {
    // Through links: certificate managers exchange the link, not the file.
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.ino(), metadata.size(), metadata.mtime(), metadata.mtime_nsec()))
}

impl State {
    /// Reads the files again if they have changed.
    pub(super) async fn look_at_certificates(&self) {
        if self.certificates.have_changed() {
            self.load_certificates().await;
        }
    }

    /// Reads the files again and publishes what they hold, or says what is wrong and leaves in force what is.
    pub(super) async fn load_certificates(&self) {
        let certificates = &self.certificates;
        let Some(maker) = certificates.maker.take() else { return };
        if maker.files().next().is_none() {
            certificates.maker.set(Some(maker));
            return;
        }
        // Files may lie on a disk that does not answer.
        let result = on_thread(move || {
            let mut maker = maker;
            let stamps = stamps(&maker);
            (maker.load(true), stamps, maker)
        });
        // The thread panicked, or there is none: what is in force stays, and nothing is read any more.
        let Some((loaded, stamps, maker)) = result.await else {
            self.tell(&Event::LoadFailed);
            return;
        };
        certificates.maker.set(Some(maker));
        *certificates.read.borrow_mut() = stamps;
        match loaded {
            Ok(Loaded { terms, shown, warnings }) => {
                for core in &self.cores {
                    // A core that has ended takes the process with it.
                    let _ = core.send(CoreMessage::Terms(Arc::clone(&terms)));
                }
                certificates.published.set(certificates.published.get() + 1);
                for warning in warnings {
                    self.tell(&Event::CertificateWarning(warning));
                }
                self.tell(&Event::Certificates { shown: shown.clone() });
                *certificates.shown.borrow_mut() = shown;
            }
            Err(error) => {
                certificates.refused.set(certificates.refused.get() + 1);
                self.tell(&Event::CertificatesRefused { error });
            }
        }
    }
}
