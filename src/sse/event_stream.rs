//! Event stream: finds the data of server-sent events in the bytes of a stream, cut anywhere.
//!
//! Source: WHATWG HTML §9.2.5 and §9.2.6 (lines end with LF, CR or CRLF; a blank line ends the event;
//! only `data` fields matter here). A byte order mark is not expected.

use memchr::memchr2;

use super::counts::{Counts, Walk};
use super::hits::UsageHits;

/// What OpenAI's streams end with, as the whole data of an event.
const DONE: &[u8] = b"[DONE]";

/// The field that counts.
const DATA: &[u8] = b"data:";

#[derive(Clone, Debug)]
pub(super) struct EventStream {
    line: Line,
    /// The byte before was a CR that ended a line: an LF now belongs to it.
    lf_follows: bool,
    /// The event being read has data lines.
    has_data: bool,
    /// How much of `[DONE]` the data is so far; more than its length when it is something else.
    marker: u8,
    pub(super) done: bool,
    pub(super) events: u64,
}

/// How far into a line we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    /// So many bytes of `data:` were seen.
    Name(u8),
    /// Behind the colon, before the optional space.
    Colon,
    Data,
    Other,
}

const NOT_DONE: u8 = u8::MAX;

impl EventStream {
    pub(super) fn new() -> Self {
        Self { line: Line::Name(0), lf_follows: false, has_data: false, marker: 0, done: false, events: 0 }
    }

    /// Reads on. Between events `walk` is always new.
    ///
    /// Returns whether anything was met that was not a whole event without usage.
    pub(super) fn feed(&mut self, bytes: &[u8], walk: &mut Walk, found: &mut Counts) -> bool {
        let mut met = false;
        let mut hits = UsageHits::new(bytes);
        let mut at = 0;
        while at < bytes.len() {
            if std::mem::take(&mut self.lf_follows) && bytes[at] == b'\n' {
                at += 1;
                continue;
            }
            let between_events = self.line == Line::Name(0) && !self.has_data;
            let whole = if between_events { whole_event(bytes, at) } else { None };
            let Some((data, next)) = whole else {
                met = true;
                at = self.part_of_line(bytes, at, walk, found);
                continue;
            };
            self.events += 1;
            if data == DONE {
                self.done = true;
            } else if hits.next_from(at).is_some_and(|hit| hit < next) {
                met = true;
                walk.feed(data, found);
                walk.restart();
            }
            at = next;
        }
        met
    }

    /// Takes the rest of a line, or what is there of it, and returns where it stopped.
    fn part_of_line(&mut self, bytes: &[u8], at: usize, walk: &mut Walk, found: &mut Counts) -> usize {
        let end = memchr2(b'\n', b'\r', &bytes[at..]).map_or(bytes.len(), |found| at + found);
        let data = self.enter_line(&bytes[at..end]);
        if !data.is_empty() {
            walk.feed(data, found);
            self.match_marker(data);
        }
        let Some(&terminator) = bytes.get(end) else { return end };
        self.lf_follows = terminator == b'\r';
        self.end_line(walk, found);
        end + 1
    }

    /// Takes bytes of one line; returns those that are data.
    fn enter_line<'a>(&mut self, mut bytes: &'a [u8]) -> &'a [u8] {
        while let Line::Name(seen) = self.line {
            let Some((&byte, rest)) = bytes.split_first() else { return bytes };
            bytes = rest;
            self.line = match seen {
                _ if byte != DATA[usize::from(seen)] => Line::Other,
                4 => Line::Colon,
                _ => Line::Name(seen + 1),
            };
        }
        match self.line {
            Line::Other | Line::Name(_) => &[],
            Line::Colon if bytes.is_empty() => bytes,
            Line::Colon => {
                self.line = Line::Data;
                bytes.strip_prefix(b" ").unwrap_or(bytes)
            }
            Line::Data => bytes,
        }
    }

    fn match_marker(&mut self, data: &[u8]) {
        let seen = usize::from(self.marker);
        let matches = DONE.get(seen..seen + data.len()) == Some(data);
        self.marker = if matches { self.marker + data.len() as u8 } else { NOT_DONE };
    }

    fn end_line(&mut self, walk: &mut Walk, found: &mut Counts) {
        match self.line {
            Line::Name(0) => {
                // A blank line: the event is over.
                if self.has_data {
                    self.events += 1;
                    self.done |= usize::from(self.marker) == DONE.len();
                    self.has_data = false;
                    self.marker = 0;
                    walk.restart();
                }
            }
            // `data` without a colon is a data line too.
            Line::Name(4) | Line::Colon | Line::Data => {
                self.has_data = true;
                // Lines of one event are joined by LF, so one that goes on was not the marker.
                walk.feed(b"\n", found);
                self.marker = if usize::from(self.marker) == DONE.len() { self.marker } else { NOT_DONE };
            }
            Line::Name(_) | Line::Other => {}
        }
        self.line = Line::Name(0);
    }
}

/// The event at `at`, if it is one data line and a blank line and all of it is here: its data, and
/// where the next event starts.
#[inline]
fn whole_event(bytes: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let value = bytes[at..].strip_prefix(DATA)?;
    let length = memchr2(b'\n', b'\r', value)?;
    let (data, end) = value.split_at(length);
    let blank = if end.starts_with(b"\n\n") {
        2
    } else if end.starts_with(b"\r\n\r\n") {
        4
    } else {
        return None;
    };
    Some((data.strip_prefix(b" ").unwrap_or(data), at + DATA.len() + length + blank))
}
