//! Frames: the answer's framing on both sides, and what is read from it in passing.
//!
//! Sans-io: bytes in, a verdict out ([`Passed`]). Normally the bytes that came are the bytes that go, and are only looked at:
//! chunk heads are skipped by length and usage is searched for. They are framed anew only where they must be: for HTTP/1.0
//! callers, for answers that end by closing, around a usage event that the caller did not ask for, and where chunk extensions or
//! trailers are left out.

use super::refuse::StreamForm;
use super::strip::{Strip, write_framed};
use crate::http1::{ChunkScanner, ResponseBody};
use crate::sse::{Tail, UsageDialect, UsageReader, last_event_end, usage_only_event};

/// How the upstream frames its body.
#[derive(Clone, Debug)]
enum Up {
    Length(u64),
    Chunked(ChunkScanner),
    UntilClose,
}

/// How the caller is sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Down {
    /// As it comes.
    Same,
    /// In chunks of our own.
    Chunked,
    /// Unframed, ended by closing.
    Raw,
}

/// The state of one answer's body.
#[derive(Debug)]
pub(crate) struct Frames {
    up: Up,
    down: Down,
    usage: UsageReader,
    strip: Option<Strip>,
    content: Content,
    tail: Tail,
    /// The caller has received whole events, or lines, in whole chunks: something of ours may come next.
    is_between: bool,
    ended: bool,
    /// Bytes came after the end of the body.
    excess: bool,
}

/// What the payload is, as far as framing is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// One document.
    Document,
    /// A stream, into which words of our own may be put.
    Stream(StreamForm),
    /// A stream that cannot be read here, because it is compressed.
    OpaqueStream,
}

/// What to send on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passed {
    /// The first bytes of the input, that many.
    Same(usize),
    /// What was written to the output.
    Framed,
}

/// The upstream's framing is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BrokenFraming;

impl Frames {
    pub(crate) fn new(
        body: ResponseBody,
        down: Down,
        dialect: UsageDialect,
        strip: bool,
        content: Content,
    ) -> Self {
        let up = match body {
            ResponseBody::None => Up::Length(0),
            ResponseBody::Length(left) => Up::Length(left),
            ResponseBody::Chunked => Up::Chunked(ChunkScanner::default()),
            ResponseBody::UntilClose => Up::UntilClose,
        };
        let ended = matches!(up, Up::Length(0));
        let usage = UsageReader::new(dialect);
        let strip = strip.then(Strip::default);
        let tail = Tail::default();
        let mut frames =
            Self { up, down, usage, strip, content, tail, is_between: false, ended, excess: false };
        frames.is_between = frames.stands_between();
        frames
    }

    /// Whether this is a stream of events or objects, rather than one document.
    pub(crate) fn streams(&self) -> bool {
        self.content != Content::Document
    }

    /// In what form something of our own may be put into the stream now, after what the caller has received: between two events
    /// or lines, in a body whose framing allows it, and not behind the stream's own last word.
    pub(crate) fn gap(&self) -> Option<StreamForm> {
        match self.content {
            Content::Stream(form) if self.is_between && !self.ended && !self.usage.done() => Some(form),
            Content::Stream(_) | Content::Document | Content::OpaqueStream => None,
        }
    }

    /// Frames words of our own, for the gap of [`Frames::gap`].
    pub(crate) fn put_between(&self, words: &[u8], out: &mut Vec<u8>) {
        debug_assert!(self.gap().is_some(), "it would land inside something");
        write_framed(words, self.down, out);
    }

    /// Whether [`Frames::take`] is likely to write to its output. The first extension or trailer comes unannounced.
    pub(crate) const fn may_frame(&self) -> bool {
        self.strip.is_some() || !matches!(self.down, Down::Same) || self.has_extras()
    }

    /// The caller can tell the end of the body only by the end of the connection.
    pub(crate) fn is_unframed(&self) -> bool {
        self.down == Down::Raw
    }

    /// The whole body has been seen.
    pub(crate) const fn ended(&self) -> bool {
        self.ended
    }

    /// Whether the upstream's connection is in a known state after the end.
    pub(crate) const fn is_clean(&self) -> bool {
        self.ended && !self.excess && !matches!(self.up, Up::UntilClose)
    }

    pub(crate) const fn usage(&self) -> &UsageReader {
        &self.usage
    }

    /// Takes `bytes` as they came. Returns what of them goes to the caller; anything framed anew is appended to `out`.
    ///
    /// # Errors
    /// [`BrokenFraming`]: cut the caller.
    pub(crate) fn take(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<Passed, BrokenFraming> {
        let passed = self.pass(bytes, out)?;
        // Not before: of bytes whose framing breaks nothing is passed on, so the caller stands where it stood.
        self.is_between = self.stands_between();
        Ok(passed)
    }

    fn pass(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<Passed, BrokenFraming> {
        if self.down == Down::Same && self.strip.is_none() {
            return self.pass_same(bytes, out);
        }
        // The common case of a stream with an event to leave out: whole events in whole chunks, none of them that event.
        if self.can_pass_untouched() {
            let mut whole = true;
            let before = (self.up.clone(), self.usage.clone(), self.tail);
            let used = self.scan(bytes, |payload, may_hold_usage| {
                // The reader has searched it already: nothing is searched twice.
                whole &= last_event_end(payload) == Some(payload.len())
                    && !(may_hold_usage && usage_only_event(payload).is_some());
            })?;
            if whole && !self.has_extras() && (self.ended || self.at_chunk_boundary()) {
                return Ok(Passed::Same(used));
            }
            // Scanned in vain: the same bytes are walked through again, piece by piece.
            (self.up, self.usage, self.tail) = before;
            (self.ended, self.excess) = (false, false);
        }
        self.frame(bytes, out)?;
        Ok(Passed::Framed)
    }

    /// The upstream has closed. Returns whether that ends the body; a closing chunk is appended to `out` if one is due.
    pub(crate) fn close(&mut self, out: &mut Vec<u8>) -> bool {
        if self.ended {
            return true;
        }
        if !matches!(self.up, Up::UntilClose) {
            return false;
        }
        self.ended = true;
        self.finish(out);
        true
    }

    /// Passes bytes on untouched, but for chunk extensions and trailers, which are between us and the upstream.
    fn pass_same(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<Passed, BrokenFraming> {
        let before = match &self.up {
            Up::Chunked(scanner) => Some(scanner.clone()),
            Up::Length(_) | Up::UntilClose => None,
        };
        let used = self.scan(bytes, |_, _| {})?;
        match before {
            Some(mut scanner) if self.has_extras() => {
                scanner.copy_plain(&bytes[..used], out).map_err(|_| BrokenFraming)?;
                Ok(Passed::Framed)
            }
            Some(_) | None => Ok(Passed::Same(used)),
        }
    }

    fn stands_between(&self) -> bool {
        let Content::Stream(form) = self.content else { return false };
        if let Some(strip) = &self.strip {
            // Whole events are passed, in chunks of our own or whole ones, but for an event that is too large to be held.
            return !strip.is_passing();
        }
        let between_chunks = match self.down {
            Down::Same => self.at_chunk_boundary(),
            Down::Chunked | Down::Raw => true,
        };
        between_chunks
            && match form {
                StreamForm::Events => self.tail.is_between_events(),
                StreamForm::Lines => self.tail.is_between_lines(),
            }
    }

    /// Whether the upstream's framing has held anything that may not be passed on.
    const fn has_extras(&self) -> bool {
        matches!(&self.up, Up::Chunked(scanner) if scanner.had_extras())
    }

    fn can_pass_untouched(&self) -> bool {
        self.down == Down::Same
            && self.at_chunk_boundary()
            && self.strip.as_ref().is_some_and(|strip| strip.holds_nothing())
    }

    fn at_chunk_boundary(&self) -> bool {
        match &self.up {
            Up::Chunked(scanner) => scanner.at_chunk_boundary(),
            Up::Length(_) | Up::UntilClose => false,
        }
    }

    /// Walks through the framing, showing every stretch of payload to the usage reader and, with what that says
    /// ([`UsageReader::feed`]), to `look`. Returns how many bytes belong to this answer.
    fn scan(&mut self, bytes: &[u8], mut look: impl FnMut(&[u8], bool)) -> Result<usize, BrokenFraming> {
        let (usage, tail) = (&mut self.usage, &mut self.tail);
        let mut look = |payload: &[u8]| {
            let may_hold_usage = usage.feed(payload);
            tail.feed(payload);
            look(payload, may_hold_usage);
        };
        let used = match &mut self.up {
            Up::Length(left) => {
                let used = bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                look(&bytes[..used]);
                *left -= used as u64;
                self.ended = *left == 0;
                used
            }
            Up::Chunked(scanner) => {
                let scanned = scanner.scan(bytes, look).map_err(|_| BrokenFraming)?;
                self.ended = scanned.done;
                scanned.used
            }
            Up::UntilClose => {
                look(bytes);
                bytes.len()
            }
        };
        self.excess |= used < bytes.len();
        Ok(used)
    }

    fn frame(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), BrokenFraming> {
        let mut strip = self.strip.take();
        let down = self.down;
        let scanned = self.scan(bytes, |payload, _| match &mut strip {
            None => write_framed(payload, down, out),
            Some(strip) => strip.take(payload, down, out),
        });
        self.strip = strip;
        scanned?;
        if self.ended {
            self.finish(out);
        }
        Ok(())
    }

    /// Lets go of what was held and writes the end of the body.
    fn finish(&mut self, out: &mut Vec<u8>) {
        if let Some(strip) = &mut self.strip {
            strip.let_go(self.down, out);
        }
        match self.down {
            Down::Same | Down::Chunked => out.extend_from_slice(b"0\r\n\r\n"),
            Down::Raw => {}
        }
    }
}
