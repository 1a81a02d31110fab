//! A stream's events, written one write at a time. A numbered event holds `#` + 8 digits of its number + `@` + 16 digits
//! of its send time (nanoseconds of [`crate::clock`]) at the start of its text, so that a client can tell a lost, doubled
//! or reordered event, and how long it travelled.

use super::dialect::{Dialect, Facts};
use super::fault::FaultKind;
use super::script::{Framing, Script};

/// Bytes of a stamp: `#00000000@0000000000000000`.
pub const STAMP_BYTES: usize = 26;

/// What the sample model says.
pub(super) const SAMPLE: &str = "Hello! This answer comes from the sample model server, one word at a time, the way a real model would write it. cube-proxy checked your token, found the server for your domain, and passes every word on the moment it is produced.";

/// Content events of the sample text, one per word.
pub(super) fn sample_words() -> u32 {
    u32::try_from(SAMPLE.split_inclusive(' ').count()).expect("the sample is short")
}

/// How a stream stops short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    Cut,
    CutMidChunk,
    Reset,
    Silent,
    BadChunk,
    ErrorEvent,
}

/// The faults that stop a stream short.
const STOPS: [(FaultKind, Stop); 6] = [
    (FaultKind::CutAfterEvents, Stop::Cut),
    (FaultKind::CutMidChunk, Stop::CutMidChunk),
    (FaultKind::ResetAfterEvents, Stop::Reset),
    (FaultKind::SilentAfterEvents, Stop::Silent),
    (FaultKind::BadChunk, Stop::BadChunk),
    (FaultKind::ErrorEvent, Stop::ErrorEvent),
];

/// What one write holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrote {
    /// More events follow.
    More,
    /// The last event and the end of the body.
    Last,
    /// The stream ends here, short; what was written ends with what the fault calls for.
    Stopped(Stop),
}

/// The rest of one stream.
#[derive(Debug)]
pub(super) struct EventStream {
    framing: Framing,
    chunk_bytes: usize,
    per_write: u32,
    opening: Vec<String>,
    closing: Vec<String>,
    trailers: bool,
    text: Text,
    before: String,
    after: String,
    next: u32,
    total: u32,
    stop: Option<(u32, Stop)>,
}

#[derive(Debug)]
enum Text {
    /// One whole event, stamped anew for each write; the stamp is at `stamp_at`.
    Numbered {
        event: Vec<u8>,
        stamp_at: usize,
    },
    Words(Vec<&'static str>),
}

impl EventStream {
    pub(super) fn new(dialect: Dialect, script: &Script, mut facts: Facts, framing: Framing) -> Self {
        let (before, after) = dialect.content_event(&facts);
        let (text, total) = match script.events {
            Some(total) => {
                let bare = before.len() + STAMP_BYTES + after.len();
                let padding = (script.event_bytes as usize).saturating_sub(bare);
                let mut event = before.clone().into_bytes();
                event.extend_from_slice(b"#00000000@0000000000000000");
                event.resize(event.len() + padding, b'x');
                event.extend_from_slice(after.as_bytes());
                (Text::Numbered { event, stamp_at: before.len() }, total)
            }
            None => {
                let words: Vec<_> = SAMPLE.split_inclusive(' ').collect();
                let total = u32::try_from(words.len()).expect("the sample is short");
                (Text::Words(words), total)
            }
        };
        facts.completion_tokens = total;
        let whole_text = if script.events.is_some() { "" } else { SAMPLE };
        Self {
            framing,
            chunk_bytes: script.chunk_bytes.map_or(usize::MAX, |bytes| bytes as usize),
            per_write: script.events_per_write,
            opening: dialect.opening(&facts),
            closing: dialect.closing(&facts, whole_text),
            trailers: script.has(FaultKind::Trailers),
            text,
            before,
            after,
            next: 0,
            total,
            stop: stop_of(script),
        }
    }

    /// Content events written so far.
    pub(super) const fn written(&self) -> u32 {
        self.next
    }

    /// Length of the whole body, for `Content-Length`.
    pub(super) fn body_bytes(&self) -> usize {
        let content = match &self.text {
            Text::Numbered { event, .. } => event.len() * self.total as usize,
            Text::Words(words) => {
                words.iter().map(|word| self.before.len() + word.len() + self.after.len()).sum()
            }
        };
        let around = self.opening.iter().chain(&self.closing).map(String::len);
        content + around.sum::<usize>()
    }

    /// Appends the next write to `out`, its stamps saying `now`.
    pub(super) fn write(&mut self, now: u64, out: &mut Vec<u8>) -> Wrote {
        if self.next == 0 {
            for event in std::mem::take(&mut self.opening) {
                frame(self.framing, self.chunk_bytes, event.as_bytes(), out);
            }
        }
        for _ in 0..self.per_write {
            if let Some((after, stop)) = self.stop
                && self.next >= after
            {
                self.write_stop(stop, out);
                return Wrote::Stopped(stop);
            }
            if self.next >= self.total {
                break;
            }
            self.write_event(now, out);
            self.next += 1;
        }
        let stops_later = self.stop.is_some_and(|(after, _)| after <= self.total);
        if self.next < self.total || stops_later {
            return Wrote::More;
        }
        for event in std::mem::take(&mut self.closing) {
            frame(self.framing, self.chunk_bytes, event.as_bytes(), out);
        }
        frame_end(self.framing, self.trailers, out);
        Wrote::Last
    }

    fn write_event(&mut self, now: u64, out: &mut Vec<u8>) {
        match &mut self.text {
            Text::Numbered { event, stamp_at } => {
                let stamp = &mut event[*stamp_at..*stamp_at + STAMP_BYTES];
                digits(u64::from(self.next), &mut stamp[1..9]);
                digits(now, &mut stamp[10..]);
                frame(self.framing, self.chunk_bytes, event, out);
            }
            Text::Words(words) => {
                let word = words[self.next as usize];
                let event = [&self.before, word, &self.after].concat();
                frame(self.framing, self.chunk_bytes, event.as_bytes(), out);
            }
        }
    }

    fn write_stop(&self, stop: Stop, out: &mut Vec<u8>) {
        match stop {
            Stop::Cut | Stop::Reset | Stop::Silent => {}
            Stop::CutMidChunk => {
                let half = &self.before.as_bytes()[..self.before.len() / 2];
                if self.framing == Framing::Chunked {
                    out.extend_from_slice(format!("{:x}\r\n", half.len() * 2).as_bytes());
                }
                out.extend_from_slice(half);
            }
            Stop::BadChunk => out.extend_from_slice(b"zz\r\n"),
            Stop::ErrorEvent => {
                let event =
                    b"data: {\"error\":{\"message\":\"the model broke\",\"type\":\"server_error\",\"code\":500}}\n\n";
                frame(self.framing, self.chunk_bytes, event, out);
                frame_end(self.framing, self.trailers, out);
            }
        }
    }
}

fn stop_of(script: &Script) -> Option<(u32, Stop)> {
    script.faults.iter().find_map(|fault| {
        let stop = STOPS.iter().find(|(kind, _)| *kind == fault.kind)?.1;
        Some((fault.number, stop))
    })
}

/// Appends `payload` in the body's framing.
pub(super) fn frame(framing: Framing, chunk_bytes: usize, payload: &[u8], out: &mut Vec<u8>) {
    match framing {
        Framing::Chunked => {
            for piece in payload.chunks(chunk_bytes) {
                hex(piece.len(), out);
                out.extend_from_slice(b"\r\n");
                out.extend_from_slice(piece);
                out.extend_from_slice(b"\r\n");
            }
        }
        Framing::Length | Framing::Close => out.extend_from_slice(payload),
    }
}

/// Appends the end of the body.
pub(super) fn frame_end(framing: Framing, trailers: bool, out: &mut Vec<u8>) {
    if framing == Framing::Chunked {
        let end = if trailers { &b"0\r\nx-checksum: 1\r\n\r\n"[..] } else { b"0\r\n\r\n" };
        out.extend_from_slice(end);
    }
}

fn hex(value: usize, out: &mut Vec<u8>) {
    let nibbles = (usize::BITS - value.leading_zeros()).div_ceil(4).max(1);
    for nibble in (0..nibbles).rev() {
        out.push(b"0123456789abcdef"[(value >> (nibble * 4)) & 15]);
    }
}

/// Writes `value` as decimal digits that fill `into`; digits that do not fit are lost.
fn digits(mut value: u64, into: &mut [u8]) {
    for place in into.iter_mut().rev() {
        *place = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http1::{ChunkDecoder, ChunkStep};

    fn stream(script: &Script, framing: Framing) -> EventStream {
        let facts = Facts { model: "\"m\"".to_owned(), prompt_tokens: 1, completion_tokens: 0, usage: true };
        EventStream::new(Dialect::Chat, script, facts, framing)
    }

    fn all(script: &Script, framing: Framing) -> (String, Wrote) {
        let (mut stream, mut out) = (stream(script, framing), Vec::new());
        loop {
            let wrote = stream.write(42, &mut out);
            if wrote != Wrote::More {
                return (String::from_utf8(out).unwrap(), wrote);
            }
        }
    }

    #[test]
    fn numbered_events_count_up_have_the_asked_size_and_end_with_done() {
        let script = Script { events: Some(12), event_bytes: 300, ..Script::default() };
        let (body, wrote) = all(&script, Framing::Close);
        assert_eq!(wrote, Wrote::Last);
        let numbered: Vec<_> = body.split_inclusive("\n\n").filter(|event| event.contains('#')).collect();
        assert_eq!(numbered.len(), 12);
        for (number, event) in numbered.iter().enumerate() {
            assert!(event.contains(&format!("#{number:08}@0000000000000042")), "{event}");
            assert_eq!(event.len(), 300);
        }
        assert!(body.ends_with("data: [DONE]\n\n"));
        assert_eq!(stream(&script, Framing::Length).body_bytes(), body.len());
    }

    #[test]
    fn a_cut_stream_stops_after_the_asked_number_of_events_without_its_last_chunk() {
        let script = Script {
            events: Some(12),
            faults: vec!["cut-after-events=3".parse().unwrap()],
            ..Script::default()
        };
        let (body, wrote) = all(&script, Framing::Chunked);
        assert_eq!(wrote, Wrote::Stopped(Stop::Cut));
        assert_eq!(body.matches('#').count(), 3);
        assert!(!body.contains("[DONE]") && !body.ends_with("0\r\n\r\n"));
    }

    #[test]
    fn chunks_of_one_byte_carry_the_same_body() {
        let script = Script { events: Some(2), chunk_bytes: Some(1), ..Script::default() };
        let (cut, _) = all(&script, Framing::Chunked);
        let (plain, _) = all(&script, Framing::Close);
        let (mut decoder, mut rest, mut body) = (ChunkDecoder::default(), cut.as_bytes(), Vec::new());
        loop {
            match decoder.step(rest).unwrap() {
                ChunkStep::Payload { payload } => {
                    assert_eq!(payload.len(), 1);
                    body.extend_from_slice(payload);
                    rest = &rest[1..];
                }
                ChunkStep::Framing { taken } => rest = &rest[taken..],
                ChunkStep::End { taken } => {
                    assert_eq!(taken, rest.len());
                    break;
                }
                ChunkStep::NeedMore => panic!("the last chunk is missing"),
            }
        }
        assert_eq!(String::from_utf8(body).unwrap(), plain);
    }
}
