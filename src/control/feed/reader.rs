//! The feed's reader: a thread that holds the newest tables, applies what comes, hands the result to the control thread and has it
//! remembered.
//!
//! # Promises
//! * A frame is in force whole or not at all, and only after its checksum agreed.
//! * Tables only ever follow one another: a delta goes onto the generation that it names, a snapshot never goes back within its epoch.
//!   Whatever does not fit is answered with another connection that asks for a snapshot, and the tables in force stay.
//! * Nothing here waits for the disk once the proxy has its first tables, and for a name server only for names that are new, and not long.

use std::convert::Infallible;
use std::io::{self, BufRead};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Duration, Instant};

use cube_wire::seal::FleetKey;

use super::backoff::Backoff;
use super::client::Admin;
use super::compile::{change, compile, told};
use super::end::{DELTA_BYTES_MAX, FeedEnd};
use super::frames::{FrameError, Frames, Heading, Step};
use super::last_good::{self, LastGood, NotLoaded, Remember, SnapshotFile};
use super::lines::{LineEnd, read_line};
use super::{FeedEvent, Figures, FromFeed, How};
use crate::control::names::{FIRST_PATIENCE, KnownNames, LookUps, PATIENCE, SystemResolver};
use crate::cores::Door;
use crate::tables::{Addressed as _, Problem, Tables};

/// Frames that wait for the disk. When it stalls for longer, the file stops and a snapshot begins it anew.
const REMEMBER_MAX: usize = 1024;
/// Heartbeats of a newer generation than ours before we believe that we have missed it.
const BEHIND_MAX: u32 = 5;
/// How often the file of last good tables is marked as confirmed.
const CONFIRM_EVERY: Duration = Duration::from_secs(10);
/// How often at most another reason of an outage is told.
const TELL_EVERY: Duration = Duration::from_secs(10);
/// How often at most a snapshot is asked for because of the file alone.
const SNAPSHOT_FOR_FILE_EVERY: Duration = Duration::from_secs(600);

/// What is held.
struct Held {
    tables: Arc<Tables>,
    epoch: Arc<str>,
}

/// The thread's belongings.
pub(super) struct Reader {
    admin: Arc<Admin>,
    key: Arc<FleetKey>,
    node: String,
    state_dir: PathBuf,
    door: Door<FromFeed>,
    figures: Arc<Figures>,
    backoff: Backoff,
    held: Option<Held>,
    ask_for_snapshot: bool,
    /// Admin is behind what we hold, and has to be shown it.
    went_back: bool,
    /// What was told of the outage that lasts, and when, so that it is not a line for each attempt.
    told: Option<(String, Instant)>,
    behind: u32,
    remember: Option<SyncSender<Remember>>,
    wants_snapshot: Arc<AtomicBool>,
    asked_for_file: Option<Instant>,
    confirm_due: Instant,
    resolver: SystemResolver,
    look_ups: LookUps,
}

impl Reader {
    pub(super) fn new(
        admin: Arc<Admin>,
        key: Arc<FleetKey>,
        node: String,
        state_dir: PathBuf,
        door: Door<FromFeed>,
        figures: Arc<Figures>,
        backoff: Backoff,
    ) -> Self {
        let now = Instant::now();
        Self {
            admin,
            key,
            node,
            state_dir,
            door,
            figures,
            backoff,
            held: None,
            ask_for_snapshot: false,
            went_back: false,
            told: None,
            behind: 0,
            remember: None,
            wants_snapshot: Arc::default(),
            asked_for_file: None,
            confirm_due: now,
            resolver: SystemResolver::default(),
            look_ups: LookUps::new(),
        }
    }

    /// Loads what was remembered, then follows the feed for ever.
    pub(super) fn run(mut self) {
        self.remember_from_disk();
        loop {
            let Err(end) = self.connect_and_follow();
            self.figures.connected.store(false, Ordering::Relaxed);
            self.ask_for_snapshot |= end.asks_for_a_snapshot();
            self.went_back |= matches!(end, FeedEnd::WentBack { .. });
            let refusals = match &end {
                FeedEnd::WantsSnapshot => continue,
                FeedEnd::SnapshotRefused { .. } | FeedEnd::WentBack { .. } => {
                    Some(&self.figures.snapshots_refused)
                }
                FeedEnd::DeltaRefused { .. } => Some(&self.figures.deltas_refused),
                FeedEnd::Client(_)
                | FeedEnd::Silent
                | FeedEnd::Ended
                | FeedEnd::Frame(_)
                | FeedEnd::Gap { .. }
                | FeedEnd::OtherEpoch(_)
                | FeedEnd::Behind { .. }
                | FeedEnd::TooLarge => None,
            };
            if let Some(refusals) = refusals {
                refusals.fetch_add(1, Ordering::Relaxed);
                let _ = self.door.send(FromFeed::Refused { reason: end.to_string() });
            }
            self.tell_lost(end.to_string());
            self.look_up_names();
            self.backoff.sleep();
        }
    }

    fn tell(&self, event: FeedEvent) {
        // The control thread ends with the process.
        let _ = self.door.send(FromFeed::Told(event));
    }

    /// Tells the beginning of an outage, and later what has changed about it.
    fn tell_lost(&mut self, reason: String) {
        let is_new = match &self.told {
            Some((before, at)) => *before != reason && at.elapsed() > TELL_EVERY,
            None => true,
        };
        if is_new {
            self.told = Some((reason.clone(), Instant::now()));
            self.tell(FeedEvent::Lost { reason, serving: self.held.is_some() });
        }
    }

    fn remember_from_disk(&mut self) {
        last_good::clean(&self.state_dir);
        let asked = Instant::now();
        let loaded = last_good::load(
            &self.state_dir,
            &self.key,
            &mut KnownNames::new(&mut self.resolver, FIRST_PATIENCE),
        );
        match &loaded {
            Ok(_) | Err(NotLoaded::Absent) => {}
            Err(error) => {
                let path = last_good::path_in(&self.state_dir);
                self.tell(FeedEvent::NoLastGood { path, reason: error.to_string() });
            }
        }
        let remembered = loaded.ok();
        let opened = LastGood::new(&self.state_dir, remembered.as_ref(), Arc::clone(&self.wants_snapshot));
        match opened {
            Ok(last_good) => self.start_remembering(last_good),
            Err(error) => self.tell(FeedEvent::NotRemembered { reason: error.to_string() }),
        }
        if let Some(remembered) = remembered {
            self.figures.heard_before(remembered.confirmed.elapsed().unwrap_or_default());
            let epoch = remembered.epoch.as_str().into();
            self.hold(remembered.tables, epoch, asked, How::LastGood);
        }
    }

    fn start_remembering(&mut self, last_good: LastGood) {
        let (sender, news) = sync_channel(REMEMBER_MAX);
        let door = self.door.clone();
        let failed = move |error: io::Error| {
            let _ = door.send(FromFeed::Told(FeedEvent::NotRemembered { reason: error.to_string() }));
        };
        let thread = std::thread::Builder::new().name("last-good".to_owned());
        match thread.spawn(move || last_good.run(&news, failed)) {
            Ok(_) => self.remember = Some(sender),
            Err(error) => self.tell(FeedEvent::NotRemembered { reason: error.to_string() }),
        }
    }

    fn remember(&self, what: Remember) {
        // One that finds no room leaves a gap, at which the file stops.
        if let Some(sender) = &self.remember {
            let _ = sender.try_send(what);
        }
    }

    /// Takes tables over and has them published.
    fn hold(&mut self, tables: Tables, epoch: Arc<str>, asked: Instant, how: How) {
        let tables = Arc::new(tables);
        let _ = self.door.send(FromFeed::Tables {
            tables: Arc::clone(&tables),
            epoch: Arc::clone(&epoch),
            asked,
            how,
        });
        self.held = Some(Held { tables, epoch });
    }

    fn connect_and_follow(&mut self) -> Result<Infallible, FeedEnd> {
        let mut target = format!("/feed/v1/tables?node={}", self.node);
        let wants_snapshot = self.ask_for_snapshot || self.wants_snapshot.load(Ordering::Relaxed);
        if let Some(held) = &self.held
            && (self.went_back || !wants_snapshot)
        {
            let since = held.tables.generation();
            target.push_str(&format!("&epoch={}&since={since}", in_a_query(&held.epoch)));
        }
        let mut feed = self.admin.open_feed(&target)?;
        self.figures.connections.fetch_add(1, Ordering::Relaxed);
        self.behind = 0;
        let (mut frames, mut line) = (Frames::default(), Vec::new());
        loop {
            next_line(&mut feed, &mut line)?;
            match frames.line(&line)? {
                Step::Begin(Heading::Snapshot { epoch, generation }) => {
                    self.snapshot(&mut feed, &mut frames, &mut line, epoch, generation)?;
                }
                Step::Begin(Heading::Delta { epoch, base, generation }) => {
                    self.delta(&mut feed, &mut frames, &mut line, &epoch, base, generation)?;
                }
                Step::Heartbeat { epoch, generation } => self.heartbeat(epoch, generation)?,
                Step::Line | Step::End => return Err(FrameError::Stray.into()),
            }
            if !self.figures.connected.swap(true, Ordering::Relaxed) {
                self.told = None;
                self.tell(FeedEvent::Connected { origin: self.admin.origin().clone() });
            }
        }
    }

    fn snapshot(
        &mut self,
        feed: &mut impl BufRead,
        frames: &mut Frames,
        line: &mut Vec<u8>,
        epoch: String,
        generation: u64,
    ) -> Result<(), FeedEnd> {
        let asked = Instant::now();
        if let Some(held) = &self.held
            && *held.epoch == *epoch
            && generation < held.tables.generation()
        {
            return Err(FeedEnd::WentBack { generation, held: held.tables.generation() });
        }
        let mut file = SnapshotFile::create(&self.state_dir);
        let mut write = |line: &[u8]| {
            if let Ok(file) = &mut file {
                file.line(line);
            }
        };
        write(line);
        let patience = if self.held.is_some() { PATIENCE } else { FIRST_PATIENCE };
        let mut names = KnownNames::new(&mut self.resolver, patience);
        let compiled = compile::<FeedEnd>(generation, &self.key, &mut names, |staging| {
            loop {
                next_line(feed, line)?;
                write(line);
                if !frames.goes_on(line)? {
                    return Ok(());
                }
                staging.line(line);
            }
        })?;
        let tables =
            compiled.map_err(|problems| FeedEnd::SnapshotRefused { generation, reason: told(&problems) })?;
        if let Some(held) = &self.held
            && *held.epoch != *epoch
        {
            let (from, to) = (held.epoch.to_string(), epoch.clone());
            self.tell(FeedEvent::OtherEpoch { from, to });
        }
        let epoch: Arc<str> = epoch.into();
        self.hold(tables, Arc::clone(&epoch), asked, How::Snapshot);
        self.figures.snapshots.fetch_add(1, Ordering::Relaxed);
        self.went_well();
        self.ask_for_snapshot = false;
        self.went_back = false;
        self.wants_snapshot.store(false, Ordering::Relaxed);
        match file.and_then(|file| file.finish(epoch, generation)) {
            Ok(written) => self.remember(Remember::Snapshot(written)),
            Err(error) => self.tell(FeedEvent::NotRemembered { reason: error.to_string() }),
        }
        Ok(())
    }

    fn delta(
        &mut self,
        feed: &mut impl BufRead,
        frames: &mut Frames,
        line: &mut Vec<u8>,
        epoch: &str,
        base: u64,
        generation: u64,
    ) -> Result<(), FeedEnd> {
        let asked = Instant::now();
        let Some(held) = self.held.as_ref().filter(|held| *held.epoch == *epoch) else {
            return Err(FeedEnd::OtherEpoch(epoch.to_owned()));
        };
        let at = held.tables.generation();
        if base != at || generation <= base {
            return Err(FeedEnd::Gap { base, held: at });
        }
        let (tables, epoch) = (Arc::clone(&held.tables), Arc::clone(&held.epoch));
        let (mut lines, mut changes, mut problems) = (Vec::new(), Vec::new(), Vec::new());
        keep(&mut lines, line);
        for number in 1.. {
            next_line(feed, line)?;
            keep(&mut lines, line);
            if !frames.goes_on(line)? {
                break;
            }
            if lines.len() > DELTA_BYTES_MAX {
                return Err(FeedEnd::TooLarge);
            }
            match change(line, &self.key) {
                Ok(change) => changes.extend(change),
                Err(fault) => problems.push(Problem { line: number, fault }),
            }
        }
        let next = if problems.is_empty() {
            tables.with(&changes, generation, &mut KnownNames::new(&mut self.resolver, PATIENCE))
        } else {
            Err(problems)
        };
        let next = next.map_err(|problems| FeedEnd::DeltaRefused { generation, reason: told(&problems) })?;
        self.hold(next, Arc::clone(&epoch), asked, How::Delta);
        self.figures.deltas.fetch_add(1, Ordering::Relaxed);
        self.went_well();
        // What took too long is looked up at once.
        self.look_up_names();
        self.remember(Remember::Delta { epoch, base, generation, lines });
        Ok(())
    }

    fn heartbeat(&mut self, epoch: String, generation: u64) -> Result<(), FeedEnd> {
        let Some(held) = self.held.as_ref().filter(|held| *held.epoch == *epoch) else {
            return Err(FeedEnd::OtherEpoch(epoch));
        };
        let held = held.tables.generation();
        if generation < held {
            return Err(FeedEnd::WentBack { generation, held });
        }
        if generation > held {
            // It may have been announced a moment before it comes.
            self.behind += 1;
            return if self.behind > BEHIND_MAX { Err(FeedEnd::Behind { generation }) } else { Ok(()) };
        }
        self.went_well();
        let now = Instant::now();
        if now >= self.confirm_due {
            self.confirm_due = now + CONFIRM_EVERY;
            self.remember(Remember::Confirmed);
        }
        self.look_up_names();
        let asked_lately = self.asked_for_file.is_some_and(|at| now - at < SNAPSHOT_FOR_FILE_EVERY);
        if self.wants_snapshot.load(Ordering::Relaxed) && !asked_lately {
            self.asked_for_file = Some(now);
            return Err(FeedEnd::WantsSnapshot);
        }
        Ok(())
    }

    fn went_well(&mut self) {
        self.behind = 0;
        self.backoff.reset();
        self.figures.heard_before(Duration::ZERO);
    }

    /// Has the names in the tables looked up from time to time, and takes over what was found.
    fn look_up_names(&mut self) {
        let Some(held) = &self.held else { return };
        if self.look_ups.turn(&mut self.resolver, || held.tables.host_names())
            && let Some(tables) = held.tables.with_addresses(&mut KnownNames::no_others(&mut self.resolver))
        {
            let epoch = Arc::clone(&held.epoch);
            self.hold(tables, epoch, Instant::now(), How::Addresses);
        }
    }
}

/// The feed's next line, whole.
fn next_line(feed: &mut impl BufRead, line: &mut Vec<u8>) -> Result<(), FeedEnd> {
    if read_line(feed, line)? == LineEnd::Whole { Ok(()) } else { Err(FeedEnd::Ended) }
}

fn keep(lines: &mut Vec<u8>, line: &[u8]) {
    lines.extend_from_slice(line);
    lines.push(b'\n');
}

/// Text as a value in a query (RFC 3986 §2.3: everything but unreserved characters is encoded).
fn in_a_query(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_is_written_so_that_it_stays_one_value() {
        assert_eq!(in_a_query("01JD-x_.~"), "01JD-x_.~");
        assert_eq!(in_a_query("a b&c=\r\né"), "a%20b%26c%3D%0D%0A%C3%A9");
    }
}
