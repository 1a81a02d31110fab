//! Events: where they end, and which one only carries usage.

use std::ops::Range;

use memchr::{memchr2, memrchr2};

use super::hits::UsageHits;
use crate::peek::text::closing_quote;

/// The last bytes of a stream, enough to say whether something may be put in between.
///
/// # Cost
/// Four bytes are kept; four are copied per stretch of payload.
#[derive(Clone, Copy, Debug)]
pub struct Tail([u8; 4]);

impl Default for Tail {
    /// At the start, where no event and no line is open.
    fn default() -> Self {
        Self([b'\n'; 4])
    }
}

impl Tail {
    /// Takes the next stretch of the stream.
    pub fn feed(&mut self, payload: &[u8]) {
        if let Some(last) = payload.last_chunk() {
            self.0 = *last;
            return;
        }
        self.0.rotate_left(payload.len());
        let kept = self.0.len() - payload.len();
        self.0[kept..].copy_from_slice(payload);
    }

    /// No event is open: the last line was blank.
    #[must_use]
    pub const fn is_between_events(&self) -> bool {
        match self.0 {
            [.., before, b'\r', b'\n'] => is_line_end(before),
            [.., before, last] => is_line_end(last) && is_line_end(before),
        }
    }

    /// No line is open.
    #[must_use]
    pub const fn is_between_lines(&self) -> bool {
        let [.., last] = self.0;
        is_line_end(last)
    }
}

/// The offset behind the last complete event of `payload`, its blank line included; `None` if no event
/// ends in it.
///
/// A lone CR counts as the end of its line at once. If the LF of the same line follows in the next
/// read, it stands there as one more blank line, which means nothing between events.
///
/// # Source
/// WHATWG HTML §9.2.5: lines end with LF, CR or CRLF; a blank line dispatches the event.
#[must_use]
pub fn last_event_end(payload: &[u8]) -> Option<usize> {
    let mut before = payload.len();
    while let Some(last) = memrchr2(b'\n', b'\r', &payload[..before]) {
        let pair = payload[last] == b'\n' && last > 0 && payload[last - 1] == b'\r';
        let start = if pair { last - 1 } else { last };
        if start == 0 || is_line_end(payload[start - 1]) {
            return Some(last + 1);
        }
        before = start;
    }
    None
}

/// The whole event of `payload` that has `"choices":[]` and a usage object: what upstream adds because
/// we asked for `stream_options.include_usage`.
///
/// * `payload`: whole events. What stands before its first event's end is taken as one event.
/// * Returns where the event stands, blank line included; `None` if there is none. An event whose
///   data is spread over several lines is never found: no server writes this one so.
///
/// # Cost
/// One SIMD search for `"usage"` when there is none, or only `null`.
#[must_use]
pub fn usage_only_event(payload: &[u8]) -> Option<Range<usize>> {
    let mut hits = UsageHits::new(payload);
    let mut from = 0;
    while let Some(hit) = hits.next_from(from) {
        let start = from + last_event_end(&payload[from..hit]).unwrap_or(0);
        let end = event_end(payload, hit)?;
        if data_of(&payload[start..end]).is_some_and(is_usage_only) {
            return Some(start..end);
        }
        from = end;
    }
    None
}

/// The offset behind the event that `payload[inside]`, a byte of a line that is not blank, is part of.
fn event_end(payload: &[u8], inside: usize) -> Option<usize> {
    let mut start = inside;
    loop {
        let (end, next) = line_end(payload, start)?;
        if end == start {
            return Some(next);
        }
        start = next;
    }
}

/// Where the line that starts at `start` ends, and where the next one starts.
fn line_end(payload: &[u8], start: usize) -> Option<(usize, usize)> {
    let end = start + memchr2(b'\n', b'\r', &payload[start..])?;
    let pair = payload[end..].starts_with(b"\r\n");
    Some((end, end + if pair { 2 } else { 1 }))
}

const fn is_line_end(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

/// The value of the event's only data line.
fn data_of(event: &[u8]) -> Option<&[u8]> {
    let mut data = None;
    let mut start = 0;
    while let Some((end, next)) = line_end(event, start) {
        if let Some(value) = event[start..end].strip_prefix(b"data:") {
            if data.is_some() {
                return None;
            }
            data = Some(value);
        }
        start = next;
    }
    data
}

/// Whether the outermost object has an empty `choices` array and a `usage` object.
fn is_usage_only(json: &[u8]) -> bool {
    let (mut no_choices, mut has_usage) = (false, false);
    let (mut depth, mut at) = (0_usize, 0);
    let mut text: &[u8] = b"";
    while let Some(&byte) = json.get(at) {
        at += 1;
        match byte {
            b'"' => {
                let Some(quote) = closing_quote(json, at, &mut false) else { return false };
                text = &json[at..quote];
                at = quote + 1;
            }
            b':' if depth == 1 && text == b"choices" => {
                let inside = json[at..].trim_ascii_start().strip_prefix(b"[");
                no_choices = inside.is_some_and(|inside| inside.trim_ascii_start().starts_with(b"]"));
            }
            b':' if depth == 1 && text == b"usage" => {
                has_usage = json[at..].trim_ascii_start().starts_with(b"{");
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    no_choices && has_usage && depth == 0
}
