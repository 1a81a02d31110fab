//! From a request to its answer: the head's bytes, the body, and how it ends.

use super::bodies;
use super::dialect::Facts;
use super::events::{EventStream, frame, frame_end};
use super::fault::FaultKind;
use super::request::{Ask, Request, Route};
use super::script::{Framing, Script};
use super::stats::Stats;
use crate::clock::MS;
use std::collections::HashMap;
use std::rc::Rc;

/// Bodies kept ready for the next equal request.
const CACHED_MAX: usize = 256;

/// What the connection does once an answer has been written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// Waits for the next request.
    KeepAlive,
    /// Sends FIN, reads what still comes, closes.
    Close,
    /// Sends RST.
    Reset,
    /// Stays open and says nothing more.
    Hang,
}

/// The body of an answer.
#[derive(Debug)]
pub(super) enum Body {
    None,
    /// Already framed.
    Whole(Rc<[u8]>),
    Events(Box<EventStream>),
}

/// An answer that waits to be written.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) head: Vec<u8>,
    pub(super) body: Body,
    pub(super) ending: Ending,
    /// Before the head.
    pub(super) first_delay_ns: u64,
    /// Between head and body.
    pub(super) event_delay_ns: u64,
    /// Between writes of a stream.
    pub(super) pace_ns: u64,
    /// One byte of the head per this time.
    pub(super) head_gap_ns: Option<u64>,
    /// At most so many bytes per write, so far apart.
    pub(super) throttle: Option<(usize, u64)>,
}

/// What a cacheable body depends on: path, model, size, prompt tokens.
type BodyKey = (Route, String, Option<u32>, u32);

/// What one thread of the mock needs to answer.
#[derive(Debug)]
pub(super) struct Kitchen {
    models: Rc<[String]>,
    bodies: HashMap<BodyKey, Rc<[u8]>>,
}

impl Kitchen {
    pub(super) fn new(models: &[String]) -> Self {
        Self { models: models.into(), bodies: HashMap::new() }
    }

    /// The answer to `request`, whose body is `body`. `stats` is asked only for `/mock/stats`.
    pub(super) fn answer(&mut self, request: &Request, body: &[u8], stats: impl FnOnce() -> Stats) -> Answer {
        let script = &request.script;
        if script.has(FaultKind::Silent) || script.has(FaultKind::Close) || script.has(FaultKind::Reset) {
            return nothing(script);
        }
        let ask = Ask::read(body, request.multipart);
        let problem = request.fault.clone().or_else(|| match (&ask, request.route) {
            (Err(problem), _) => Some(problem.clone()),
            (Ok(ask), Route::Complete(_)) if ask.model.is_none() && !script.has(FaultKind::Early) => {
                Some("model: missing".to_owned())
            }
            (Ok(_), _) => None,
        });
        let ask = ask.unwrap_or_default();
        if request.route == Route::Stats {
            let json = serde_json::to_vec(&stats()).expect("counters are plain numbers");
            return self.document(request, 200, &json.into());
        }
        if let Some(raw_head) = &request.raw_head {
            return self.document(request, script.status, &bodies::echo(raw_head, body).into());
        }
        let (status, message) = match (problem, request.route) {
            (Some(problem), _) => (400, problem),
            (None, Route::NotFound) => (404, "no such path".to_owned()),
            (None, _) if script.status >= 400 => (script.status, "as the script says".to_owned()),
            (None, Route::Complete(dialect)) if ask.stream.unwrap_or(dialect.streams_by_default()) => {
                return self.stream(request, &ask);
            }
            (None, _) => {
                let body = self.body(request, &ask);
                return self.document(request, script.status, &body);
            }
        };
        self.document(request, status, &bodies::error(request.route, status, &message).into())
    }

    fn body(&mut self, request: &Request, ask: &Ask) -> Rc<[u8]> {
        let facts = facts(ask, &request.script, true);
        let script = &request.script;
        // Documents that depend on more than the key are made anew.
        let cacheable = ask.inputs <= 1 && !ask.base64 && !script.no_usage && script.events.is_none();
        if !cacheable {
            return bodies::whole(request, ask, &facts, &self.models).into();
        }
        let key = (request.route, facts.model.clone(), script.body_bytes, script.prompt_tokens);
        if let Some(body) = self.bodies.get(&key) {
            return Rc::clone(body);
        }
        if self.bodies.len() >= CACHED_MAX {
            self.bodies.clear();
        }
        let body: Rc<[u8]> = bodies::whole(request, ask, &facts, &self.models).into();
        self.bodies.insert(key, Rc::clone(&body));
        body
    }

    fn document(&self, request: &Request, status: u16, body: &Rc<[u8]>) -> Answer {
        let script = &request.script;
        let framing = framing(request, Framing::Length);
        let cut = script.fault(FaultKind::CutBody);
        let extra = script.fault(FaultKind::ShortBody).unwrap_or(0);
        let head = head(request, status, "application/json", framing, body.len() + extra as usize);
        let mut ending = ending(request, framing);
        let framed = match framing {
            Framing::Length | Framing::Close => Rc::clone(body),
            Framing::Chunked => {
                let mut framed = Vec::with_capacity(body.len() + 32);
                let chunk_bytes = script.chunk_bytes.map_or(usize::MAX, |bytes| bytes as usize);
                frame(framing, chunk_bytes, body, &mut framed);
                frame_end(framing, script.has(FaultKind::Trailers), &mut framed);
                framed.into()
            }
        };
        let framed: Rc<[u8]> = match cut {
            Some(cut) => framed[..framed.len().min(cut as usize)].into(),
            None => with_extra(script, framed),
        };
        if cut.is_some() || extra > 0 {
            ending = Ending::Close;
        }
        let body = if request.head_only { Body::None } else { Body::Whole(framed) };
        timed(script, head, body, ending)
    }

    fn stream(&self, request: &Request, ask: &Ask) -> Answer {
        let Route::Complete(dialect) = request.route else { unreachable!("only completions stream") };
        let script = &request.script;
        let always_tells =
            !matches!(dialect, super::dialect::Dialect::Chat | super::dialect::Dialect::Completions);
        let facts = facts(ask, script, ask.include_usage || always_tells);
        let framing = framing(request, Framing::Chunked);
        let events = EventStream::new(dialect, script, facts, framing);
        let content_type =
            if dialect.is_ndjson() { "application/x-ndjson" } else { "text/event-stream; charset=utf-8" };
        let head = head(request, script.status, content_type, framing, events.body_bytes());
        timed(script, head, Body::Events(Box::new(events)), ending(request, framing))
    }
}

fn facts(ask: &Ask, script: &Script, usage: bool) -> Facts {
    let model = ask.model.as_deref().unwrap_or("");
    Facts {
        model: serde_json::to_string(model).expect("a string is JSON"),
        prompt_tokens: script.prompt_tokens,
        completion_tokens: script.events.unwrap_or_else(super::events::sample_words),
        usage: usage && !script.no_usage,
    }
}

fn framing(request: &Request, default: Framing) -> Framing {
    match request.script.framing.unwrap_or(default) {
        Framing::Chunked if !request.http11 => Framing::Close,
        framing @ (Framing::Chunked | Framing::Length | Framing::Close) => framing,
    }
}

fn ending(request: &Request, framing: Framing) -> Ending {
    let script = &request.script;
    let close = !request.keep_alive
        || framing == Framing::Close
        || script.has(FaultKind::ConnectionClose)
        || script.has(FaultKind::CloseAfter)
        || script.has(FaultKind::Early);
    if close { Ending::Close } else { Ending::KeepAlive }
}

fn nothing(script: &Script) -> Answer {
    let ending = if script.has(FaultKind::Reset) {
        Ending::Reset
    } else if script.has(FaultKind::Close) {
        Ending::Close
    } else {
        Ending::Hang
    };
    timed(script, Vec::new(), Body::None, ending)
}

fn timed(script: &Script, head: Vec<u8>, body: Body, ending: Ending) -> Answer {
    Answer {
        head,
        body,
        ending,
        first_delay_ns: script.first_delay_ms * MS,
        event_delay_ns: script.event_delay_ms * MS,
        pace_ns: script.pace_us * 1_000,
        head_gap_ns: script.fault(FaultKind::SlowHead).map(|gap| u64::from(gap) * MS),
        throttle: script.write_bytes.map(|bytes| (bytes as usize, script.write_gap_us * 1_000)),
    }
}

fn with_extra(script: &Script, body: Rc<[u8]>) -> Rc<[u8]> {
    match script.fault(FaultKind::ExtraBytes) {
        Some(extra) => body.iter().copied().chain(std::iter::repeat_n(b'!', extra as usize)).collect(),
        None => body,
    }
}

/// The head's bytes, interim answers in front.
fn head(request: &Request, status: u16, content_type: &str, framing: Framing, body_bytes: usize) -> Vec<u8> {
    let script = &request.script;
    let mut head = Vec::with_capacity(256);
    if script.has(FaultKind::Continue) {
        head.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
    }
    if script.has(FaultKind::Hints) {
        head.extend_from_slice(b"HTTP/1.1 103 Early Hints\r\nlink: </x>; rel=preload\r\n\r\n");
    }
    let mut line = |text: &str| {
        head.extend_from_slice(text.as_bytes());
        head.extend_from_slice(if script.has(FaultKind::BareLf) { b"\n" } else { b"\r\n" });
    };
    let version = if request.http11 { "HTTP/1.1" } else { "HTTP/1.0" };
    line(&format!("{version} {status} {}", reason(status)));
    line("server: cube-mock");
    line(&format!("content-type: {content_type}"));
    let both = script.has(FaultKind::BothFramings);
    if framing == Framing::Length || both {
        line(&format!("content-length: {body_bytes}"));
    }
    if framing == Framing::Chunked || both {
        line("transfer-encoding: chunked");
    }
    let says_close = ending(request, framing) == Ending::Close && !script.has(FaultKind::CloseAfter);
    if says_close {
        line("connection: close");
    } else if !request.http11 {
        line("connection: keep-alive");
    }
    if let Some(bytes) = script.fault(FaultKind::LongHead) {
        line(&format!("x-long: {}", "x".repeat(bytes as usize)));
    }
    for field in &script.fields {
        line(field);
    }
    line("");
    head
}

const fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        404 => "Not Found",
        413 => "Content Too Large",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "Scripted",
    }
}
