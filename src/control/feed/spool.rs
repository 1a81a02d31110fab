//! Usage on disk until admin has it: segments of lines, `usage-<boot>-<number>.ndjson`, oldest first.
//!
//! # Promises
//! * A line is here before it is sent, and goes only when admin has said that it is stored for good. Lines may be sent again after
//!   a restart; their boot and number say that they are the same.
//! * Bounded: what finds no room, or no disk, is dropped and counted; what is here already stays.
//! * A process that is killed loses what its cores had not handed over and what lay in the channel (see [`crate::record`]); of
//!   what is here, nothing. A machine that stops may lose the last second.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;

use super::Figures;

/// A segment is closed at this size, so that what is sent can go while more comes.
const SEGMENT_BYTES: u64 = 4 << 20;
/// Lines of one batch, and their bytes.
pub(super) const BATCH_LINES_MAX: usize = 1_000;
const BATCH_BYTES_MAX: usize = 1 << 20;

/// One file of lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) path: PathBuf,
    pub(super) boot: String,
    number: u64,
    /// Whole lines that are in it.
    pub(super) bytes: u64,
    /// Nothing will be added.
    pub(super) closed: bool,
}

fn path_of(state_dir: &Path, boot: &str, number: u64) -> PathBuf {
    state_dir.join(format!("usage-{boot}-{number:08}.ndjson"))
}

fn parse_name(name: &str) -> Option<(String, u64)> {
    let (boot, number) = name.strip_prefix("usage-")?.strip_suffix(".ndjson")?.rsplit_once('-')?;
    let is_boot = boot.len() == 32 && boot.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_boot.then_some((boot.to_owned(), number.parse().ok()?))
}

/// What earlier boots have left, oldest first; a line that they did not finish is not counted.
pub(super) fn left_over(state_dir: &Path) -> io::Result<Vec<Segment>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(state_dir)? {
        let entry = entry?;
        let Some((boot, number)) = entry.file_name().to_str().and_then(parse_name) else { continue };
        let path = entry.path();
        let modified = entry.metadata()?.modified()?;
        let bytes = whole_lines(&path)?;
        found.push((modified, Segment { path, boot, number, bytes, closed: true }));
    }
    found.sort_by(|(one_at, one), (other_at, other)| {
        // Within a boot the number counts; between boots the time of the last write.
        let within = (one.boot == other.boot).then(|| one.number.cmp(&other.number));
        within.unwrap_or_else(|| one_at.cmp(other_at))
    });
    Ok(found.into_iter().map(|(_, segment)| segment).collect())
}

/// Bytes up to the last line's end.
fn whole_lines(path: &Path) -> io::Result<u64> {
    let mut file = File::open(path)?;
    let mut end = file.metadata()?.len();
    let mut block = vec![0; 64 << 10];
    while end > 0 {
        let start = end.saturating_sub(block.len() as u64);
        let part = &mut block[..usize::try_from(end - start).expect("a block fits")];
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(part)?;
        if let Some(at) = memchr::memrchr(b'\n', part) {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

/// The end at which lines come in.
pub(super) struct Spool {
    state_dir: PathBuf,
    boot: String,
    bytes_max: u64,
    figures: Arc<Figures>,
    /// Told of each segment whenever it has grown or was closed.
    written: Sender<Segment>,
    open: Option<(File, Segment)>,
    next: u64,
    unsynced: bool,
}

impl Spool {
    pub(super) fn new(
        state_dir: &Path,
        boot: &str,
        bytes_max: u64,
        figures: Arc<Figures>,
        written: Sender<Segment>,
    ) -> Self {
        let (state_dir, boot) = (state_dir.to_owned(), boot.to_owned());
        Self { state_dir, boot, bytes_max, figures, written, open: None, next: 0, unsynced: false }
    }

    /// Adds whole lines, all or none of them. `false`: none; there is no room or the disk says no.
    pub(super) fn append(&mut self, lines: &[u8]) -> bool {
        let bytes = lines.len() as u64;
        if self.figures.spool_bytes.load(Ordering::Relaxed) + bytes > self.bytes_max {
            return false;
        }
        if self.open.is_none() {
            self.open = self.begin().ok();
        }
        let Some((file, segment)) = &mut self.open else { return false };
        if file.write_all(lines).is_err() {
            // Half a line would spoil the next one.
            let whole = file.set_len(segment.bytes).and_then(|()| file.seek(SeekFrom::End(0)).map(drop));
            if whole.is_err() {
                self.close();
            }
            return false;
        }
        segment.bytes += bytes;
        self.unsynced = true;
        self.figures.spool_bytes.fetch_add(bytes, Ordering::Relaxed);
        if segment.bytes >= SEGMENT_BYTES {
            self.close();
        } else {
            // The shipper ends with the process.
            let _ = self.written.send(segment.clone());
        }
        true
    }

    fn begin(&mut self) -> io::Result<(File, Segment)> {
        let number = self.next;
        let path = path_of(&self.state_dir, &self.boot, number);
        let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(&path)?;
        self.next += 1;
        Ok((file, Segment { path, boot: self.boot.clone(), number, bytes: 0, closed: false }))
    }

    /// Ends the segment; the next line begins another.
    pub(super) fn close(&mut self) {
        self.sync();
        if let Some((_, segment)) = self.open.take() {
            let _ = self.written.send(Segment { closed: true, ..segment });
        }
    }

    /// Makes what was written safe from a machine that stops.
    pub(super) fn sync(&mut self) {
        if let Some((file, _)) = &self.open
            && std::mem::take(&mut self.unsynced)
        {
            // What the disk refuses now it will refuse again; the lines are in memory and will be sent from there.
            let _ = file.sync_data();
        }
    }
}

/// The end at which lines go out: one segment being read.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) segment: Segment,
    file: File,
    /// Lines before this have been acknowledged.
    done: u64,
}

impl Outgoing {
    pub(super) fn open(segment: Segment) -> io::Result<Self> {
        Ok(Self { file: File::open(&segment.path)?, segment, done: 0 })
    }

    /// The next lines: at most `lines_max`, and 1 MiB unless one line alone is longer. Empty: everything is acknowledged.
    pub(super) fn batch(&mut self, lines_max: usize) -> io::Result<Vec<u8>> {
        let left = usize::try_from(self.segment.bytes - self.done).unwrap_or(usize::MAX);
        let mut batch = vec![0; left.min(BATCH_BYTES_MAX)];
        self.file.seek(SeekFrom::Start(self.done))?;
        self.file.read_exact(&mut batch)?;
        let ends = memchr::memchr_iter(b'\n', &batch).take(lines_max);
        let end = ends.last().map_or(0, |at| at + 1);
        if end == 0 && !batch.is_empty() {
            return Err(io::Error::other("a line without end"));
        }
        batch.truncate(end);
        Ok(batch)
    }

    /// That many bytes of the last batch are admin's now, or are given up.
    pub(super) fn acknowledged(&mut self, bytes: usize) {
        self.done += bytes as u64;
    }

    /// Whether nothing is left, and nothing will be added.
    pub(super) fn is_over(&self) -> bool {
        self.segment.closed && self.done >= self.segment.bytes
    }

    /// Bytes that are not acknowledged.
    pub(super) const fn left(&self) -> u64 {
        self.segment.bytes.saturating_sub(self.done)
    }

    /// Takes the file away.
    pub(super) fn remove(self) {
        // One that cannot be removed is sent again after the next start, which is harmless.
        let _ = fs::remove_file(&self.segment.path);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("cube-proxy-spool-{}-{name}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            fs::create_dir_all(&path).expect("a writable place");
            Self(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    const BOOT: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn lines_come_out_as_they_went_in_and_a_torn_one_never() {
        let scratch = Scratch::new("lines");
        let (written, news) = channel();
        let mut spool = Spool::new(&scratch.0, BOOT, 1 << 20, Arc::default(), written);
        assert!(spool.append(b"1\n2\n") && spool.append(b"3\n"));
        let segment = news.try_iter().last().expect("told");
        let mut outgoing = Outgoing::open(segment.clone()).expect("a file");
        assert_eq!(outgoing.batch(2).expect("read"), b"1\n2\n");
        assert_eq!(outgoing.batch(2).expect("read"), b"1\n2\n", "not acknowledged");
        outgoing.acknowledged(4);
        assert_eq!(outgoing.batch(2).expect("read"), b"3\n");
        outgoing.acknowledged(2);
        assert_eq!(outgoing.batch(2).expect("read"), b"");
        assert!(!outgoing.is_over(), "more may come");

        // As a killed process leaves it.
        let mut torn = OpenOptions::new().append(true).open(&segment.path).expect("our file");
        torn.write_all(b"4\n{\"to").expect("written");
        let left = left_over(&scratch.0).expect("a directory");
        assert_eq!((left.len(), left[0].bytes, left[0].boot.as_str()), (1, 8, BOOT));
        let mut outgoing = Outgoing::open(left[0].clone()).expect("a file");
        assert_eq!(outgoing.batch(1000).expect("read"), b"1\n2\n3\n4\n");
        outgoing.acknowledged(8);
        assert!(outgoing.is_over());
        outgoing.remove();
        assert!(left_over(&scratch.0).expect("a directory").is_empty());
        let mode = std::os::unix::fs::PermissionsExt::mode(&torn.metadata().expect("open").permissions());
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_full_spool_takes_nothing_more_and_keeps_what_it_has() {
        let scratch = Scratch::new("full");
        let figures = Arc::<Figures>::default();
        let (written, news) = channel();
        let mut spool = Spool::new(&scratch.0, BOOT, 10, Arc::clone(&figures), written);
        assert!(spool.append(b"12345678\n"));
        assert!(!spool.append(b"1\n"));
        assert!(spool.append(b"\n"));
        figures.spool_bytes.store(0, Ordering::Relaxed);
        assert!(spool.append(b"1\n"), "there is room again");
        assert_eq!(news.try_iter().last().expect("told").bytes, 12);
    }

    #[test]
    fn segments_of_earlier_boots_come_in_their_order_and_other_files_are_left_alone() {
        let scratch = Scratch::new("order");
        let other = "f".repeat(32);
        for (boot, number) in [(BOOT, 10), (BOOT, 9), (other.as_str(), 0)] {
            fs::write(path_of(&scratch.0, boot, number), "x\n").expect("written");
        }
        for name in ["tables.feed", "usage-x-1.ndjson", "usage-", "lock"] {
            fs::write(scratch.0.join(name), "x\n").expect("written");
        }
        let left = left_over(&scratch.0).expect("a directory");
        let numbers: Vec<_> =
            left.iter().filter(|segment| segment.boot == BOOT).map(|segment| segment.number).collect();
        assert_eq!((left.len(), numbers), (3, vec![9, 10]));
    }

    #[test]
    fn where_nothing_can_be_written_nothing_is_taken() {
        let (written, _news) = channel();
        let mut spool = Spool::new(Path::new("/does/not/exist"), BOOT, 100, Arc::default(), written);
        assert!(!spool.append(b"1\n"));
    }
}
