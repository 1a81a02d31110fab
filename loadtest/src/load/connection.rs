//! One connection of the client: sends a request, reads the answer, says how it ended. Never blocks.

use super::check::{Check, Expected};
use super::tally::Tally;
use super::wire::Wire;
use crate::http1::{ChunkDecoder, ChunkStep, Fields, head_end, status_line};
use crate::poller::Interest;
use rustix::io::Errno;
use std::rc::Rc;

/// What this exchange is to do besides being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plan {
    ReadAll,
    /// Leave after so many events.
    LeaveAfter(u32),
    /// Leave once the request has been sent and before anything comes back.
    LeaveUnanswered,
    /// The mock cuts it.
    ExpectCut,
}

/// How far an exchange is after some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    Going,
    /// Complete and right; whether the connection may be used again.
    Complete {
        reusable: bool,
    },
    Left,
    CutAsAsked,
    /// Wrong; the kind of error.
    Failed(&'static str),
    Status(u16),
}

#[derive(Debug)]
enum Body {
    None,
    Length(u64),
    Chunked(ChunkDecoder),
    UntilClose,
}

#[derive(Debug)]
enum Phase {
    Idle,
    Sending { at: usize },
    Head,
    Body(Body),
}

/// A slot of the run: one connection after another.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) wire: Option<Wire>,
    pub(super) interest: Interest,
    pub(super) plan: Plan,
    /// Which request of the run this is.
    pub(super) number: u64,
    /// When the request was begun; the time-out counts from here.
    pub(super) begun: u64,
    /// When the request's last byte was sent.
    sent: u64,
    phase: Phase,
    request: Rc<[u8]>,
    /// The front of a head.
    head: Vec<u8>,
    status: u16,
    reusable: bool,
    check: Check,
    first_event_seen: bool,
    /// The answer has begun.
    pub(super) answering: bool,
}

impl Connection {
    pub(super) fn new() -> Self {
        Self {
            wire: None,
            interest: Interest::ReadWrite,
            plan: Plan::ReadAll,
            number: 0,
            begun: 0,
            sent: 0,
            phase: Phase::Idle,
            request: Rc::new([]),
            head: Vec::new(),
            status: 0,
            reusable: false,
            check: Check::default(),
            first_event_seen: false,
            answering: false,
        }
    }

    /// Whether an exchange is under way.
    pub(super) const fn busy(&self) -> bool {
        !matches!(self.phase, Phase::Idle)
    }

    /// Whether bytes of the request wait to be sent.
    pub(super) const fn sending(&self) -> bool {
        matches!(self.phase, Phase::Sending { .. })
    }

    /// What the socket is to be watched for.
    pub(super) fn wanted(&self) -> Interest {
        Interest::of(true, self.wire.as_ref().is_some_and(|wire| wire.wants_room(self.sending())))
    }

    /// Whether the request has been sent and nothing has come back.
    pub(super) const fn waiting(&self) -> bool {
        matches!(self.phase, Phase::Head) && !self.answering
    }

    /// Begins an exchange on the connection that is there.
    pub(super) fn begin(&mut self, number: u64, request: Rc<[u8]>, plan: Plan, now: u64) {
        self.number = number;
        self.request = request;
        self.plan = plan;
        self.begun = now;
        self.phase = Phase::Sending { at: 0 };
        self.head.clear();
        self.check.reset();
        self.first_event_seen = false;
        self.answering = false;
    }

    /// The exchange is over, however it ended.
    pub(super) fn end(&mut self) {
        self.phase = Phase::Idle;
        self.answering = false;
    }

    /// Sends what the socket takes. An error shows later, as the end of the answer.
    pub(super) fn send(&mut self, now: u64) {
        let (Phase::Sending { at }, Some(wire)) = (&mut self.phase, &mut self.wire) else { return };
        while *at < self.request.len() {
            match wire.send(&self.request[*at..]) {
                Ok(bytes) => *at += bytes,
                Err(Errno::INTR) => {}
                // Not connected yet, no room, or broken: the poller says when to look again.
                Err(_) => return,
            }
        }
        self.sent = now;
        self.phase = Phase::Head;
    }

    /// Takes bytes that have arrived.
    pub(super) fn receive(
        &mut self,
        expected: Expected,
        bytes: &[u8],
        now: u64,
        tally: &mut Tally,
    ) -> Progress {
        match self.phase {
            Phase::Idle => return Progress::Failed("unasked_bytes"),
            // An answer before the request was whole: it is judged like any other.
            Phase::Sending { .. } => {
                self.sent = now;
                self.phase = Phase::Head;
            }
            Phase::Head | Phase::Body(_) => {}
        }
        if !self.answering {
            self.answering = true;
            tally.first_byte.record(now - self.sent);
        }
        if matches!(self.phase, Phase::Body(_)) {
            return self.body(expected, bytes, now, tally);
        }
        if self.head.is_empty()
            && let Some(end) = head_end(bytes)
        {
            return self.head(expected, &bytes[..end], &bytes[end..], now, tally);
        }
        let mut head = std::mem::take(&mut self.head);
        head.extend_from_slice(bytes);
        let progress = match head_end(&head) {
            Some(end) => self.head(expected, &head[..end], &head[end..], now, tally),
            None => {
                self.head = head;
                return Progress::Going;
            }
        };
        head.clear();
        self.head = head;
        progress
    }

    fn head(
        &mut self,
        expected: Expected,
        head: &[u8],
        rest: &[u8],
        now: u64,
        tally: &mut Tally,
    ) -> Progress {
        let Some(line) = status_line(head) else { return Progress::Failed("no_http") };
        self.status = line.status;
        self.reusable = line.http11;
        let mut body = None;
        for (name, value) in Fields::of(head) {
            if name.eq_ignore_ascii_case(b"content-length") {
                let length = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
                let Some(length) = length else { return Progress::Failed("bad_length") };
                body = Some(Body::Length(length));
            } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
                body = Some(Body::Chunked(ChunkDecoder::default()));
            } else if name.eq_ignore_ascii_case(b"connection") && value.eq_ignore_ascii_case(b"close") {
                self.reusable = false;
            }
        }
        let bodiless = matches!(line.status, 204 | 304);
        self.phase = Phase::Body(if bodiless { Body::None } else { body.unwrap_or(Body::UntilClose) });
        self.body(expected, rest, now, tally)
    }

    fn body(&mut self, expected: Expected, mut bytes: &[u8], now: u64, tally: &mut Tally) -> Progress {
        let Phase::Body(body) = &mut self.phase else { return Progress::Failed("no_body") };
        loop {
            let (payload, ended) = match body {
                Body::None => (&[][..], true),
                Body::UntilClose => (std::mem::take(&mut bytes), false),
                Body::Length(left) => {
                    let take = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                    let (payload, rest) = bytes.split_at(take);
                    bytes = rest;
                    *left -= take as u64;
                    (payload, *left == 0)
                }
                Body::Chunked(decoder) => match decoder.step(bytes) {
                    Ok(ChunkStep::Payload { payload }) => {
                        bytes = &bytes[payload.len()..];
                        (payload, false)
                    }
                    Ok(ChunkStep::Framing { taken }) => {
                        bytes = &bytes[taken..];
                        (&[][..], false)
                    }
                    Ok(ChunkStep::End { taken }) => {
                        bytes = &bytes[taken..];
                        (&[][..], true)
                    }
                    Ok(ChunkStep::NeedMore) => (&[][..], false),
                    Err(_) => return Progress::Failed("bad_chunk"),
                },
            };
            tally.bytes += payload.len() as u64;
            if self.status == 200 && !payload.is_empty() && expected.events != Some(0) {
                self.check.feed(expected, payload, now, tally);
                if !self.first_event_seen && self.check.events > 0 {
                    self.first_event_seen = true;
                    tally.first_event.record(now - self.sent);
                }
                if let Plan::LeaveAfter(events) = self.plan
                    && self.check.events >= events
                {
                    return Progress::Left;
                }
            }
            if ended {
                return if bytes.is_empty() {
                    self.complete(expected, now, tally)
                } else {
                    Progress::Failed("extra_bytes")
                };
            }
            if bytes.is_empty() {
                return Progress::Going;
            }
        }
    }

    fn complete(&self, expected: Expected, now: u64, tally: &mut Tally) -> Progress {
        if self.status != 200 {
            return Progress::Status(self.status);
        }
        if expected.events != Some(0) {
            if self.plan == Plan::ExpectCut {
                return Progress::Failed("cut_looks_complete");
            }
            if let Some(wrong) = self.check.verdict(expected) {
                let name = if self.check.error_event { "error_event" } else { wrong.name() };
                return Progress::Failed(name);
            }
        }
        tally.latency.record(now - self.sent);
        Progress::Complete { reusable: self.reusable }
    }

    /// The peer has ended the connection (`reset`: abruptly).
    pub(super) fn ended(&self, expected: Expected, reset: bool, now: u64, tally: &mut Tally) -> Progress {
        match &self.phase {
            Phase::Idle => Progress::Going,
            Phase::Body(Body::UntilClose) if !reset && self.plan != Plan::ExpectCut => {
                match self.complete(expected, now, tally) {
                    Progress::Complete { .. } => Progress::Complete { reusable: false },
                    other @ (Progress::Going
                    | Progress::Left
                    | Progress::CutAsAsked
                    | Progress::Failed(_)
                    | Progress::Status(_)) => other,
                }
            }
            Phase::Body(_) if self.plan == Plan::ExpectCut => Progress::CutAsAsked,
            Phase::Body(_) => Progress::Failed(if reset { "reset_in_body" } else { "cut_in_body" }),
            Phase::Head => Progress::Failed(if reset { "reset_before_head" } else { "closed_before_head" }),
            Phase::Sending { .. } => {
                Progress::Failed(if reset { "reset_while_sending" } else { "closed_while_sending" })
            }
        }
    }
}
