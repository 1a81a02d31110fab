//! The last good tables on disk: a snapshot frame and the deltas since, as they came ([`cube_wire::feed`]).
//!
//! # Promises
//! * Never half a snapshot: it is written under another name, synchronised, renamed.
//! * A delta that broke off at the end of the file is left out: what is before it is a generation that was in force. Any other damage,
//!   and the whole file is refused and set aside.
//! * Nothing secret: credentials lie here as sealed as they came, and the file is its owner's only.
//! * Nobody waits for the disk: tables are published first and remembered then, on a thread of their own. A process that is killed
//!   starts with a generation that it had published, perhaps not with the last one.
//!
//! The file's time of change says when the feed last confirmed what is in it.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Receiver;
use std::time::SystemTime;

use cube_wire::Key;
use cube_wire::seal::FleetKey;

use crate::control::feed::compile::{change, compile, told};
use crate::control::feed::frames::{FrameError, Frames, Heading, Step};
use crate::control::feed::lines::{LineEnd, read_line};
use crate::control::names::KnownNames;
use crate::tables::{Change, Tables};

/// The file, in the state directory.
const NAME: &str = "tables.feed";
/// Where a damaged one goes, for whoever wants to know.
const ASIDE: &str = "tables.feed.damaged";
/// Deltas that are applied together when the file is loaded.
const CHANGES_AT_ONCE: usize = 10_000;
/// Deltas may grow to this, or to the size of the snapshot, before a new snapshot is asked for.
const APPENDED_BYTES: u64 = 64 << 20;

pub(super) fn path_in(state_dir: &Path) -> PathBuf {
    state_dir.join(NAME)
}

/// What the file held.
pub(super) struct Remembered {
    pub(super) tables: Tables,
    pub(super) epoch: String,
    /// When the feed last confirmed it.
    pub(super) confirmed: SystemTime,
    /// Where the last whole frame ends.
    whole_bytes: u64,
    snapshot_bytes: u64,
}

/// Why there are no last good tables.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotLoaded {
    #[error("there is none")]
    Absent,
    #[error("damaged: {0}")]
    Damaged(String),
    /// Whole, and of no use to this version or with this key.
    #[error("{0}")]
    Refused(String),
}

impl From<FrameError> for NotLoaded {
    fn from(error: FrameError) -> Self {
        Self::Damaged(error.to_string())
    }
}

impl From<io::Error> for NotLoaded {
    fn from(error: io::Error) -> Self {
        Self::Refused(error.to_string())
    }
}

/// Loads the file, and sets it aside if it is damaged.
pub(super) fn load(
    state_dir: &Path,
    key: &FleetKey,
    resolver: &mut KnownNames<'_>,
) -> Result<Remembered, NotLoaded> {
    let path = path_in(state_dir);
    let loaded = match File::open(&path) {
        Ok(file) => load_file(&file, key, resolver),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(NotLoaded::Absent),
        Err(error) => Err(error.into()),
    };
    if let Err(NotLoaded::Damaged(_)) = &loaded {
        let _ = fs::rename(&path, state_dir.join(ASIDE));
    }
    loaded
}

fn load_file(file: &File, key: &FleetKey, resolver: &mut KnownNames<'_>) -> Result<Remembered, NotLoaded> {
    let confirmed = file.metadata()?.modified()?;
    let mut lines = Lines { reader: BufReader::with_capacity(1 << 18, file), line: Vec::new(), bytes: 0 };
    let mut frames = Frames::default();
    let not_whole = || NotLoaded::Damaged("the snapshot is not whole".to_owned());
    let first = lines.next()?.ok_or_else(not_whole)?;
    let Step::Begin(Heading::Snapshot { epoch, generation }) = frames.line(first)? else {
        return Err(NotLoaded::Damaged("it does not begin with a snapshot".to_owned()));
    };
    let compiled = compile::<NotLoaded>(generation, key, resolver, |staging| {
        loop {
            let line = lines.next()?.ok_or_else(not_whole)?;
            if !frames.goes_on(line)? {
                return Ok(());
            }
            staging.line(line);
        }
    })?;
    let tables = compiled.map_err(|problems| NotLoaded::Refused(told(&problems)))?;
    let snapshot_bytes = lines.bytes;
    let mut replay = Replay { tables, epoch, pending: Vec::new(), grants: HashSet::new(), generation };
    let mut whole_bytes = snapshot_bytes;
    while replay.delta(&mut lines, &mut frames, key, resolver)? {
        whole_bytes = lines.bytes;
    }
    replay.apply(resolver)?;
    let Replay { tables, epoch, .. } = replay;
    Ok(Remembered { tables, epoch, confirmed, whole_bytes, snapshot_bytes })
}

/// The file's lines, and how far they go.
struct Lines<R> {
    reader: R,
    line: Vec<u8>,
    bytes: u64,
}

impl<R: io::BufRead> Lines<R> {
    /// The next whole line.
    fn next(&mut self) -> io::Result<Option<&[u8]>> {
        let whole = read_line(&mut self.reader, &mut self.line)? == LineEnd::Whole;
        self.bytes += self.line.len() as u64 + 1;
        Ok(whole.then_some(self.line.as_slice()))
    }
}

/// Tables on their way through the deltas of a file.
struct Replay {
    tables: Tables,
    epoch: String,
    /// With `pending` applied.
    generation: u64,
    /// Changes of several deltas, in order.
    pending: Vec<Change>,
    /// Grants in `pending`: within one application those of a pair unite, between deltas the later one replaces.
    grants: HashSet<Key>,
}

impl Replay {
    /// Takes the next delta; `false` if there is no whole one any more.
    fn delta(
        &mut self,
        lines: &mut Lines<impl io::BufRead>,
        frames: &mut Frames,
        key: &FleetKey,
        resolver: &mut KnownNames<'_>,
    ) -> Result<bool, NotLoaded> {
        let Some(first) = lines.next()? else { return Ok(false) };
        let generation = match frames.line(first)? {
            Step::Begin(Heading::Delta { epoch, base, generation })
                if epoch == self.epoch && base == self.generation =>
            {
                generation
            }
            Step::Begin(_) | Step::Line | Step::End | Step::Heartbeat { .. } => {
                return Err(NotLoaded::Damaged("a frame that does not follow the one before".to_owned()));
            }
        };
        // What a line means counts only once the frame is whole.
        let (mut changes, mut fault) = (Vec::new(), None);
        loop {
            let Some(line) = lines.next()? else { return Ok(false) };
            if !frames.goes_on(line)? {
                break;
            }
            match change(line, key) {
                Ok(change) => changes.extend(change),
                Err(wrong) => fault = Some(wrong),
            }
        }
        if let Some(fault) = fault {
            return Err(NotLoaded::Refused(fault.to_string()));
        }
        let grants: HashSet<Key> = changes.iter().filter_map(grant_of).collect();
        if self.pending.len() >= CHANGES_AT_ONCE || !self.grants.is_disjoint(&grants) {
            self.apply(resolver)?;
        }
        self.grants.extend(grants);
        self.pending.append(&mut changes);
        self.generation = generation;
        Ok(true)
    }

    fn apply(&mut self, resolver: &mut KnownNames<'_>) -> Result<(), NotLoaded> {
        let changes = std::mem::take(&mut self.pending);
        self.grants.clear();
        self.tables = self
            .tables
            .with(&changes, self.generation, resolver)
            .map_err(|problems| NotLoaded::Refused(told(&problems)))?;
        Ok(())
    }
}

fn grant_of(change: &Change) -> Option<Key> {
    let key = match change {
        Change::Put(record) => record.key()?,
        Change::Remove(key) => key.clone(),
    };
    matches!(key, Key::Grant(..)).then_some(key)
}

/// A snapshot on its way to the disk, while its lines are read. What goes wrong is told in the end: it is no reason not to use them.
pub(super) struct SnapshotFile {
    path: PathBuf,
    file: BufWriter<File>,
    bytes: u64,
    error: Option<io::Error>,
}

impl SnapshotFile {
    pub(super) fn create(state_dir: &Path) -> io::Result<Self> {
        // A new name each time: the one before may still be waiting for the disk.
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let path = state_dir.join(format!("{NAME}.new-{}", NUMBER.fetch_add(1, Ordering::Relaxed)));
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        Ok(Self { path, file: BufWriter::with_capacity(1 << 18, file), bytes: 0, error: None })
    }

    /// Adds a line, given without its end.
    pub(super) fn line(&mut self, line: &[u8]) {
        if self.error.is_none() {
            let written = self.file.write_all(line).and_then(|()| self.file.write_all(b"\n"));
            self.error = written.err();
            self.bytes += line.len() as u64 + 1;
        }
    }

    /// Hands it to the thread that remembers.
    pub(super) fn finish(self, epoch: Arc<str>, generation: u64) -> io::Result<Written> {
        if let Some(error) = self.error {
            return Err(error);
        }
        let file = self.file.into_inner().map_err(io::IntoInnerError::into_error)?;
        Ok(Written { path: self.path, file, bytes: self.bytes, epoch, generation })
    }
}

/// Throws away what earlier processes left unfinished.
pub(super) fn clean(state_dir: &Path) {
    let unfinished = format!("{NAME}.new-");
    for entry in fs::read_dir(state_dir).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(&unfinished) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// A snapshot in the hands of the system, and perhaps not on the disk.
pub(super) struct Written {
    path: PathBuf,
    file: File,
    bytes: u64,
    epoch: Arc<str>,
    generation: u64,
}

/// What the thread that remembers is told.
pub(super) enum Remember {
    /// Begin anew with this.
    Snapshot(Written),
    /// Add this.
    Delta { epoch: Arc<str>, base: u64, generation: u64, lines: Vec<u8> },
    /// The feed says that what is remembered is what there is.
    Confirmed,
}

/// The file as the thread that remembers has it.
pub(super) struct LastGood {
    state_dir: PathBuf,
    file: Option<Appended>,
    appended_bytes_max: u64,
    /// The file cannot be continued, or has grown too long: a snapshot is wanted.
    wants_snapshot: Arc<AtomicBool>,
}

struct Appended {
    file: File,
    epoch: Arc<str>,
    generation: u64,
    /// Of the snapshot, and of everything.
    snapshot_bytes: u64,
    bytes: u64,
}

impl LastGood {
    /// * `remembered`: what was loaded; its file is continued.
    pub(super) fn new(
        state_dir: &Path,
        remembered: Option<&Remembered>,
        wants_snapshot: Arc<AtomicBool>,
    ) -> io::Result<Self> {
        let mut file = None;
        if let Some(remembered) = remembered {
            let opened = OpenOptions::new().append(true).open(path_in(state_dir))?;
            // A torn tail goes, or what comes next would be glued to it.
            if opened.metadata()?.len() > remembered.whole_bytes {
                opened.set_len(remembered.whole_bytes)?;
                opened.set_modified(remembered.confirmed)?;
            }
            file = Some(Appended {
                file: opened,
                epoch: remembered.epoch.as_str().into(),
                generation: remembered.tables.generation(),
                snapshot_bytes: remembered.snapshot_bytes,
                bytes: remembered.whole_bytes,
            });
        }
        let state_dir = state_dir.to_owned();
        let last_good = Self { state_dir, file, appended_bytes_max: APPENDED_BYTES, wants_snapshot };
        last_good.look_at_size();
        Ok(last_good)
    }

    /// Remembers what comes, until nobody sends any more. `failed`: told what the disk says.
    pub(super) fn run(mut self, news: &Receiver<Remember>, mut failed: impl FnMut(io::Error)) {
        while let Ok(first) = news.recv() {
            // Whatever came meanwhile costs one synchronisation together.
            for remember in std::iter::once(first).chain(news.try_iter()) {
                if let Err(error) = self.take(remember) {
                    self.give_up();
                    failed(error);
                }
            }
            if let Some(appended) = &self.file
                && let Err(error) = appended.file.sync_data()
            {
                self.give_up();
                failed(error);
            }
        }
    }

    /// The file stays as it is: a generation that was in force. What comes next does not continue it.
    fn give_up(&mut self) {
        self.file = None;
        self.wants_snapshot.store(true, Ordering::Relaxed);
    }

    fn take(&mut self, remember: Remember) -> io::Result<()> {
        match (remember, &mut self.file) {
            (Remember::Snapshot(written), _) => self.replace(written),
            (Remember::Delta { epoch, base, generation, lines }, Some(appended))
                if appended.epoch == epoch && appended.generation == base =>
            {
                let before = appended.bytes;
                if let Err(error) = appended.file.write_all(&lines) {
                    let _ = appended.file.set_len(before);
                    return Err(error);
                }
                appended.bytes += lines.len() as u64;
                appended.generation = generation;
                self.look_at_size();
                Ok(())
            }
            // One before it is missing here.
            (Remember::Delta { .. }, _) => {
                self.give_up();
                Ok(())
            }
            (Remember::Confirmed, Some(appended)) => appended.file.set_modified(SystemTime::now()),
            (Remember::Confirmed, None) => Ok(()),
        }
    }

    fn replace(&mut self, written: Written) -> io::Result<()> {
        let Written { path, file, bytes, epoch, generation } = written;
        file.sync_all()?;
        let name = path_in(&self.state_dir);
        fs::rename(&path, &name)?;
        File::open(&self.state_dir)?.sync_all()?;
        let file = OpenOptions::new().append(true).open(&name)?;
        self.file = Some(Appended { file, epoch, generation, snapshot_bytes: bytes, bytes });
        self.wants_snapshot.store(false, Ordering::Relaxed);
        Ok(())
    }

    fn look_at_size(&self) {
        if let Some(appended) = &self.file
            && appended.bytes - appended.snapshot_bytes > appended.snapshot_bytes.max(self.appended_bytes_max)
        {
            self.wants_snapshot.store(true, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests;
