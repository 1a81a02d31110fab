//! JSON lines: finds the objects in a stream that has one a line, cut anywhere.

use memchr::memchr;

use super::counts::{Counts, Walk};
use super::hits::DoneHits;

#[derive(Clone, Debug)]
pub(super) struct JsonLines {
    /// A line was begun and not ended.
    in_line: bool,
    /// The line being read is not blank.
    has_text: bool,
    pub(super) done: bool,
    pub(super) lines: u64,
}

impl JsonLines {
    pub(super) fn new() -> Self {
        Self { in_line: false, has_text: false, done: false, lines: 0 }
    }

    /// Reads on. Between lines `walk` is always new. Counts are believed when their line says
    /// `"done":true`.
    pub(super) fn feed(&mut self, bytes: &[u8], walk: &mut Walk, found: &mut Counts) {
        let mut hits = DoneHits::new(bytes);
        let mut at = 0;
        while at < bytes.len() {
            let end = memchr(b'\n', &bytes[at..]).map(|length| at + length);
            let part = &bytes[at..end.unwrap_or(bytes.len())];
            self.has_text |= !part.trim_ascii().is_empty();
            let whole = !self.in_line && end.is_some();
            let read = !whole || hits.next_from(at).is_some_and(|hit| hit < at + part.len());
            if read {
                walk.feed(part, found);
                self.done |= walk.done();
            }
            self.in_line = end.is_none();
            let Some(end) = end else { return };
            if read {
                walk.restart();
            }
            self.lines += u64::from(std::mem::take(&mut self.has_text));
            at = end + 1;
        }
    }
}
