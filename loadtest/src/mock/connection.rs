//! One connection of the mock: reads requests, writes answers when they are due. Never blocks, never waits; says what it
//! waits for and is called again.

use super::answer::{Answer, Body, Ending, Kitchen};
use super::events::{Stop, Wrote};
use super::fault::FaultKind;
use super::outbox::{Flushed, Outbox};
use super::request::{BodyFraming, Request};
use super::stats::{Counters, Stats, add, sub_one};
use super::upload::{BODY_MAX, Left, Upload};
use crate::http1::{ChunkDecoder, head_end};
use crate::poller::Interest;
use rustix::fd::OwnedFd;
use rustix::net::{Shutdown, shutdown};
use std::rc::Rc;

/// Bytes read ahead of an answer; more stay in the kernel.
const AHEAD_MAX: usize = 256 * 1024;
/// Bodies up to this size leave in one write with their head.
const JOINED_MAX: usize = 16 * 1024;

/// What all connections of one thread share.
pub(super) struct Shared<'a> {
    pub(super) kitchen: &'a mut Kitchen,
    pub(super) counters: &'a Counters,
    pub(super) script: &'a Rc<super::Script>,
    pub(super) stats: &'a dyn Fn() -> Stats,
}

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waits {
    /// Bytes from the peer.
    Input,
    /// Room in the socket.
    Room,
    /// This time.
    Until(u64),
    /// Its next turn: it could write more at once, and others come first.
    Turn,
    /// Nothing ever; only a hang-up ends it.
    Nothing,
    /// It is over.
    Closed,
}

#[derive(Debug)]
enum Phase {
    /// Between requests, or within a head.
    Head,
    Body(Box<Upload>),
    /// The head of `answer` is due at `due`.
    Answer {
        answer: Answer,
        at: Stage,
        due: u64,
    },
    /// The last byte has been written and FIN sent; what still comes is dropped.
    Draining,
    /// Neither reads nor writes any more.
    Stuck,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Head,
    Body,
    End(Ending),
}

/// One accepted connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) socket: OwnedFd,
    pub(super) interest: Interest,
    /// When the timer that counts is due; older ones in the queue are ignored.
    pub(super) due: u64,
    /// Its next turn is in the queue already.
    pub(super) queued: bool,
    phase: Phase,
    /// Read, and not yet understood.
    input: Vec<u8>,
    /// Input is of no interest: the request was answered before its body came.
    deaf: bool,
    out: Outbox,
    streaming: bool,
}

impl Connection {
    pub(super) fn new(socket: OwnedFd) -> Self {
        Self {
            socket,
            interest: Interest::Read,
            due: 0,
            queued: false,
            phase: Phase::Head,
            input: Vec::new(),
            deaf: false,
            out: Outbox::default(),
            streaming: false,
        }
    }

    /// Whether reading more now makes sense.
    pub(super) fn wants_input(&self) -> bool {
        !matches!(self.phase, Phase::Stuck) && (self.deaf || self.input.len() < AHEAD_MAX)
    }

    /// The peer has sent `bytes`.
    pub(super) fn receive(&mut self, bytes: &[u8], now: u64, shared: &mut Shared<'_>) -> Waits {
        if self.deaf || matches!(self.phase, Phase::Draining) {
            return self.advance(now, shared);
        }
        if matches!(self.phase, Phase::Answer { .. }) {
            self.input.extend_from_slice(bytes);
            return self.advance(now, shared);
        }
        let used = if self.input.is_empty() {
            let used = self.understand(bytes, now, shared);
            used.map(|used| self.input.extend_from_slice(&bytes[used..]))
        } else {
            let mut input = std::mem::take(&mut self.input);
            input.extend_from_slice(bytes);
            let used = self.understand(&input, now, shared);
            used.map(|used| {
                input.drain(..used);
                self.input = input;
            })
        };
        match used {
            Some(()) => self.advance(now, shared),
            None => Waits::Closed,
        }
    }

    /// The peer is gone, or the connection broke.
    pub(super) fn lost(&self, counters: &Counters) {
        let Phase::Answer { at, .. } = &self.phase else { return };
        if self.streaming {
            add(&counters.streams_cancelled, 1);
        } else if *at == Stage::Head || *at == Stage::End(Ending::Hang) {
            add(&counters.cancelled_before_head, 1);
        }
    }

    /// Forgets the stream when the connection ends under it.
    pub(super) fn closed(&self, counters: &Counters) {
        if self.streaming {
            sub_one(&counters.streams_open);
        }
    }

    /// Takes requests off the front of `bytes` until one is to be answered. Gives the bytes used; `None`: hang up.
    fn understand(&mut self, bytes: &[u8], now: u64, shared: &mut Shared<'_>) -> Option<usize> {
        let mut used = 0;
        loop {
            let rest = &bytes[used..];
            match &mut self.phase {
                Phase::Head => {
                    let Some(end) = head_end(rest) else { return Some(used) };
                    let request = Request::read(&rest[..end], shared.script)?;
                    used += end;
                    used += self.take_head(request, &rest[end..], now, shared)?;
                }
                Phase::Body(upload) => {
                    let before = upload.body.len();
                    let (taken, done) = upload.take(rest)?;
                    used += taken;
                    add(&shared.counters.bytes_in, (upload.body.len() - before) as u64);
                    if !done {
                        return Some(used);
                    }
                    let Phase::Body(upload) = std::mem::replace(&mut self.phase, Phase::Head) else {
                        unreachable!("matched above")
                    };
                    self.begin(&upload.request, &upload.body, now, shared);
                }
                Phase::Answer { .. } => return Some(used),
                Phase::Draining | Phase::Stuck => return Some(bytes.len()),
            }
        }
    }

    /// A head has been read, `rest` follows it. Gives how much of `rest` was its body, if all of it is there.
    fn take_head(
        &mut self,
        request: Request,
        rest: &[u8],
        now: u64,
        shared: &mut Shared<'_>,
    ) -> Option<usize> {
        if request.route != super::request::Route::Stats {
            add(&shared.counters.requests, 1);
        }
        if request.script.has(FaultKind::StallRead) {
            self.phase = Phase::Stuck;
            return Some(0);
        }
        if request.script.has(FaultKind::Early) {
            self.deaf = true;
            self.begin(&request, &[], now, shared);
            return Some(rest.len());
        }
        let left = match request.framing {
            BodyFraming::None => {
                self.begin(&request, &[], now, shared);
                return Some(0);
            }
            BodyFraming::Length(length) if length > BODY_MAX => return None,
            // The common case: the whole body came with its head, and is read where it lies.
            BodyFraming::Length(length) if length <= rest.len() as u64 => {
                let length = usize::try_from(length).ok()?;
                add(&shared.counters.bytes_in, length as u64);
                self.begin(&request, &rest[..length], now, shared);
                return Some(length);
            }
            BodyFraming::Length(length) => Left::Length(length),
            BodyFraming::Chunked => Left::Chunked(ChunkDecoder::default()),
        };
        if request.expects_continue && rest.is_empty() {
            self.out.bytes.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        self.phase = Phase::Body(Box::new(Upload::new(request, left)));
        Some(0)
    }

    fn begin(&mut self, request: &Request, body: &[u8], now: u64, shared: &mut Shared<'_>) {
        let answer = shared.kitchen.answer(request, body, shared.stats);
        self.streaming = matches!(answer.body, Body::Events(_));
        if self.streaming {
            add(&shared.counters.streams, 1);
            add(&shared.counters.streams_open, 1);
        }
        let due = now + answer.first_delay_ns;
        self.phase = Phase::Answer { answer, at: Stage::Head, due };
    }

    /// Writes whatever is due.
    pub(super) fn advance(&mut self, now: u64, shared: &mut Shared<'_>) -> Waits {
        loop {
            if let Some(waits) = self.flush(now, shared.counters) {
                return waits;
            }
            let Phase::Answer { answer, at, due } = &mut self.phase else {
                return match self.phase {
                    Phase::Stuck => Waits::Nothing,
                    Phase::Head | Phase::Body(_) | Phase::Draining | Phase::Answer { .. } => Waits::Input,
                };
            };
            if *due > now {
                return Waits::Until(*due);
            }
            match *at {
                Stage::Head => {
                    self.out.throttle = answer.head_gap_ns.map(|gap| (1, gap)).or(answer.throttle);
                    self.out.bytes.append(&mut answer.head);
                    *at = Stage::Body;
                    *due = now + answer.event_delay_ns;
                    if self.out.throttle.is_none() && answer.event_delay_ns == 0 {
                        self.write_body(now, shared.counters);
                    }
                }
                Stage::Body => {
                    self.out.throttle = answer.throttle;
                    self.write_body(now, shared.counters);
                }
                Stage::End(ending) => {
                    if let Some(waits) = self.end(ending, now, shared) {
                        return waits;
                    }
                }
            }
        }
    }

    /// Puts the next part of the body into `out` and says when the one after it is due.
    fn write_body(&mut self, now: u64, counters: &Counters) {
        let Phase::Answer { answer, at, due } = &mut self.phase else { return };
        match &mut answer.body {
            Body::None => *at = Stage::End(answer.ending),
            Body::Whole(body) => {
                if body.len() <= JOINED_MAX || self.out.throttle.is_some() {
                    self.out.bytes.extend_from_slice(body);
                } else {
                    self.out.append_large(Rc::clone(body));
                }
                *at = Stage::End(answer.ending);
            }
            Body::Events(events) => {
                let before = events.written();
                let wrote = events.write(now, &mut self.out.bytes);
                add(&counters.events, u64::from(events.written() - before));
                match wrote {
                    // Paced from when it was due, so that a late write does not slow the stream down; a stream that
                    // has fallen far behind does not catch up in one burst.
                    Wrote::More => *due = (*due + answer.pace_ns).max(now.saturating_sub(answer.pace_ns)),
                    Wrote::Last => *at = Stage::End(answer.ending),
                    Wrote::Stopped(stop) => {
                        *at = Stage::End(match stop {
                            Stop::Cut | Stop::CutMidChunk | Stop::BadChunk => Ending::Close,
                            Stop::Reset => Ending::Reset,
                            Stop::Silent => Ending::Hang,
                            Stop::ErrorEvent => answer.ending,
                        });
                    }
                }
            }
        }
    }

    /// All of the answer has been written. `None`: the next request is in hand.
    fn end(&mut self, ending: Ending, now: u64, shared: &mut Shared<'_>) -> Option<Waits> {
        if ending == Ending::Hang {
            // Still an open answer: a peer that leaves now has cancelled it.
            return Some(Waits::Input);
        }
        if self.streaming {
            self.streaming = false;
            sub_one(&shared.counters.streams_open);
            add(&shared.counters.streams_completed, 1);
        }
        self.out.throttle = None;
        match ending {
            Ending::KeepAlive => {
                self.phase = Phase::Head;
                if self.input.is_empty() {
                    return Some(Waits::Input);
                }
                // Requests that were sent ahead.
                let mut input = std::mem::take(&mut self.input);
                let Some(used) = self.understand(&input, now, shared) else { return Some(Waits::Closed) };
                input.drain(..used);
                self.input = input;
                None
            }
            Ending::Close => {
                self.phase = Phase::Draining;
                match shutdown(&self.socket, Shutdown::Write) {
                    Ok(()) => Some(Waits::Input),
                    Err(_) => Some(Waits::Closed),
                }
            }
            Ending::Reset => {
                // Lingering for no time turns the close into a reset. If it cannot be set the peer sees FIN: still a cut.
                let _ =
                    rustix::net::sockopt::set_socket_linger(&self.socket, Some(std::time::Duration::ZERO));
                Some(Waits::Closed)
            }
            Ending::Hang => unreachable!("returned above"),
        }
    }

    /// Writes what waits. `None`: all of it is written and nothing holds the next step back.
    fn flush(&mut self, now: u64, counters: &Counters) -> Option<Waits> {
        match self.out.flush(&self.socket, now, counters) {
            Flushed::Part(waits) => Some(waits),
            Flushed::Broken => {
                self.lost(counters);
                Some(Waits::Closed)
            }
            Flushed::All { wrote } => {
                let Phase::Answer { at: Stage::Body, due, .. } = &self.phase else { return None };
                // A stream without pace gives way to the others after each write.
                (wrote && *due <= now).then_some(Waits::Turn)
            }
        }
    }
}
