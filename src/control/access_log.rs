//! The access log: one JSON line per record, written by a thread of its own, because a disk or a pipe may stall.
//!
//! Cores hand over batches and never wait ([`crate::record`]). While the writer stalls the channel fills up, and what finds no
//! room is dropped and counted there; what cannot be written is counted here.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::access_line::write_line;
use crate::record::{Batch, Taken};
use crate::settings::AccessLogSink;

/// How often the writer looks for batches. It is not woken, so that handing one over costs a core no system call.
const PAUSE: Duration = Duration::from_millis(25);

/// The running writer, as seen from the control thread.
#[derive(Debug)]
pub(super) struct AccessLog {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Shared {
    reopen: AtomicBool,
    stop: AtomicBool,
    lines_lost: AtomicU64,
}

impl AccessLog {
    /// Opens the sink and starts the writer.
    ///
    /// # Errors
    /// The file cannot be opened, or no thread can be started.
    pub(super) fn start(sink: &AccessLogSink, records: Receiver<Batch>) -> io::Result<Self> {
        let shared = Arc::<Shared>::default();
        let mut writer =
            Writer { out: Out::open(sink)?, buffered_lines: 0, line: Vec::with_capacity(1024), records };
        let for_writer = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || writer.run(&for_writer))?;
        Ok(Self { shared, thread })
    }

    /// Opens the file again, for a log that was rotated away. Happens at the writer's next turn.
    pub(super) fn reopen(&self) {
        self.shared.reopen.store(true, Ordering::Relaxed);
    }

    /// Lines that could not be written.
    pub(super) fn lines_lost(&self) -> u64 {
        self.shared.lines_lost.load(Ordering::Relaxed)
    }

    /// Writes what is still there and ends the writer, waiting for at most `patience`: a sink that stalls keeps nobody from
    /// ending the process.
    pub(super) fn stop(&self, patience: Duration) {
        self.shared.stop.store(true, Ordering::Relaxed);
        let deadline = Instant::now() + patience;
        while !self.thread.is_finished() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

struct Writer {
    out: Out,
    /// Lines that may still be in the buffer.
    buffered_lines: u64,
    line: Vec<u8>,
    records: Receiver<Batch>,
}

impl Writer {
    fn run(&mut self, shared: &Shared) {
        loop {
            // Read before the last look into the channel: what was sent before the word to stop is still written.
            let stop = shared.stop.load(Ordering::Relaxed);
            if shared.reopen.swap(false, Ordering::Relaxed) {
                self.out.reopen();
            }
            let ended = loop {
                match self.records.try_recv() {
                    Ok(batch) => self.write(&batch, shared),
                    Err(error) => break error == TryRecvError::Disconnected,
                }
            };
            match self.out.buffered.flush() {
                Ok(()) => self.buffered_lines = 0,
                Err(_) => self.lose_buffered(shared),
            }
            if stop || ended {
                return;
            }
            std::thread::sleep(PAUSE);
        }
    }

    fn write(&mut self, batch: &[Taken], shared: &Shared) {
        for Taken { record, .. } in batch.iter().filter(|taken| taken.logged) {
            self.line.clear();
            write_line(&mut self.line, record);
            self.buffered_lines += 1;
            if self.out.buffered.write_all(&self.line).is_err() {
                self.lose_buffered(shared);
            }
        }
    }

    /// The sink refused what is in the buffer. At most that many lines are lost; some may have been written.
    fn lose_buffered(&mut self, shared: &Shared) {
        shared.lines_lost.fetch_add(std::mem::take(&mut self.buffered_lines), Ordering::Relaxed);
        self.out.forget_unwritten();
    }
}

/// Where lines go, through a buffer.
struct Out {
    buffered: BufWriter<Box<dyn Write + Send>>,
    /// To open again; `None` for standard output.
    path: Option<PathBuf>,
}

impl Out {
    fn open(sink: &AccessLogSink) -> io::Result<Self> {
        let (unbuffered, path): (Box<dyn Write + Send>, _) = match sink {
            AccessLogSink::Stdout => (Box::new(io::stdout()), None),
            AccessLogSink::File(path) => (Box::new(append_to(path)?), Some(path.clone())),
        };
        Ok(Self { buffered: BufWriter::with_capacity(64 << 10, unbuffered), path })
    }

    /// A file that cannot be opened again leaves the one that is open: lines in the old file are better than none.
    fn reopen(&mut self) {
        let Some(path) = &self.path else { return };
        let _ = self.buffered.flush();
        match append_to(path) {
            Ok(file) => self.buffered = BufWriter::with_capacity(64 << 10, Box::new(file)),
            Err(error) => eprintln!("access log: {}: {error}; the old file stays in use", path.display()),
        }
    }

    /// After a failed write the buffer holds lines that the sink refused. Keeping them would stop all later ones.
    fn forget_unwritten(&mut self) {
        let empty: Box<dyn Write + Send> = Box::new(io::sink());
        let refused = std::mem::replace(&mut self.buffered, BufWriter::new(empty));
        let (unbuffered, _) = refused.into_parts();
        self.buffered = BufWriter::with_capacity(64 << 10, unbuffered);
        // The last line may have been written in part; the next one shall not be glued to it.
        let _ = self.buffered.write_all(b"\n");
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    // Lines name users and models: not for everyone to read.
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meter::Meter;
    use crate::record::{Ending, Readers, RecordSender, RequestRecord};

    fn channel(batches_max: usize) -> (Vec<RecordSender>, Receiver<Batch>) {
        let mut readers = Readers::default();
        let records = readers.log(batches_max, 1.0, 1.0);
        (readers.senders(1), records)
    }

    fn scratch_file(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("cube-proxy-{}-{name}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        path
    }

    fn completed(status: u16) -> RequestRecord {
        RequestRecord { status, ending: Ending::Complete, ..RequestRecord::default() }
    }

    fn statuses(path: &Path) -> Vec<u64> {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let line = |line| serde_json::from_str::<serde_json::Value>(line).expect("a line is JSON");
        text.lines().map(line).map(|line| line["status"].as_u64().expect("a status")).collect()
    }

    fn until(what: &str, mut holds: impl FnMut() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !holds() {
            assert!(Instant::now() < deadline, "{what}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn every_record_that_was_sent_before_the_stop_is_a_line() {
        let path = scratch_file("stop.log");
        let meter = Meter::new(1);
        let (mut senders, records) = channel(8);
        let log = AccessLog::start(&AccessLogSink::File(path.clone()), records).expect("a writable place");
        for status in 200..300 {
            senders[0].push(completed(status), &meter);
        }
        senders[0].flush(&meter);
        log.stop(Duration::from_secs(10));
        assert_eq!(statuses(&path), (200..300).collect::<Vec<u64>>());
        std::fs::remove_file(&path).expect("our file");
    }

    #[test]
    fn a_rotated_file_is_left_and_a_new_one_begun() {
        let path = scratch_file("rotate.log");
        let rotated = scratch_file("rotate.log.1");
        let meter = Meter::new(1);
        let (mut senders, records) = channel(8);
        let log = AccessLog::start(&AccessLogSink::File(path.clone()), records).expect("a writable place");
        senders[0].push(completed(201), &meter);
        senders[0].flush(&meter);
        until("the first line", || statuses(&path) == [201]);
        std::fs::rename(&path, &rotated).expect("our file");
        log.reopen();
        until("the new file", || path.exists());
        senders[0].push(completed(202), &meter);
        senders[0].flush(&meter);
        log.stop(Duration::from_secs(10));
        assert_eq!((statuses(&rotated), statuses(&path)), (vec![201], vec![202]));
        for path in [path, rotated] {
            std::fs::remove_file(path).expect("our file");
        }
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted_and_stop_nothing() {
        let meter = Meter::new(1);
        let (mut senders, records) = channel(64);
        // Every write to it says that no space is left.
        let full = AccessLogSink::File(PathBuf::from("/dev/full"));
        let log = AccessLog::start(&full, records).expect("it can be opened");
        for _ in 0..1_000 {
            senders[0].push(completed(200), &meter);
        }
        senders[0].flush(&meter);
        until("lost lines", || log.lines_lost() == 1_000);
        log.stop(Duration::from_secs(10));
    }

    #[test]
    fn a_place_that_cannot_be_written_is_found_at_the_start() {
        let (_senders, records) = channel(1);
        assert!(
            AccessLog::start(&AccessLogSink::File(PathBuf::from("/does/not/exist/log")), records).is_err()
        );
    }
}
