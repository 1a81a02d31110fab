//! Strip: leaves the usage event that only we asked for out of a stream.

use std::ops::Range;

use super::frames::Down;
use crate::sse::{last_event_end, usage_only_event};

/// An incomplete event larger than this is passed on unseen when events are being left out: a usage event is far smaller, and
/// nothing may be held without bound.
const EVENT_HELD_BYTES_MAX: usize = 16 * 1024;

/// Leaving out the usage event that only we asked for.
#[derive(Debug, Default)]
pub(crate) struct Strip {
    /// Payload of an event that is not complete yet.
    held: Vec<u8>,
    /// The held event is too large to be a usage event: its bytes pass until it ends.
    passing: bool,
}

impl Strip {
    /// No event is open.
    pub(crate) const fn holds_nothing(&self) -> bool {
        self.held.is_empty() && !self.passing
    }

    /// A part of an event has been passed on.
    pub(crate) const fn is_passing(&self) -> bool {
        self.passing
    }

    /// Passes on what is held: the stream has ended.
    pub(crate) fn let_go(&mut self, down: Down, out: &mut Vec<u8>) {
        write_framed(&std::mem::take(&mut self.held), down, out);
    }

    /// Passes whole events but for the usage event, and holds the beginning of an incomplete one.
    pub(crate) fn take(&mut self, payload: &[u8], down: Down, out: &mut Vec<u8>) {
        self.held.extend_from_slice(payload);
        let Some(whole) = last_event_end(&self.held) else {
            if self.passing || self.held.len() > EVENT_HELD_BYTES_MAX {
                self.passing = true;
                write_framed(&self.held, down, out);
                self.held.clear();
            }
            return;
        };
        self.passing = false;
        let events = &self.held[..whole];
        let Range { start, end } = usage_only_event(events).unwrap_or(whole..whole);
        write_framed(&events[..start], down, out);
        write_framed(&events[end..], down, out);
        self.held.drain(..whole);
    }
}

/// Appends a payload as the caller is sent it.
pub(crate) fn write_framed(payload: &[u8], down: Down, out: &mut Vec<u8>) {
    if payload.is_empty() {
        return;
    }
    match down {
        Down::Raw => out.extend_from_slice(payload),
        Down::Same | Down::Chunked => {
            let mut head = [0_u8; crate::http1::write::CHUNK_HEADROOM];
            let size = u32::try_from(payload.len()).expect("a payload fits into a buffer");
            let start = crate::http1::write_chunk_head(&mut head, size);
            out.extend_from_slice(&head[start..]);
            out.extend_from_slice(payload);
            out.extend_from_slice(b"\r\n");
        }
    }
}
