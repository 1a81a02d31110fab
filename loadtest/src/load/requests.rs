//! What is sent: the request's bytes, by the flags; and what goes wrong with it on purpose, by chance.

use super::connection::Plan;
use super::{Mode, Options};
use crate::fetch::Origin;
use crate::random::Random;
use std::rc::Rc;

/// Makes one request after another.
pub(super) struct Requests {
    /// Head up to its blank line.
    head: Vec<u8>,
    body: Vec<u8>,
    /// Both, for requests that nothing is added to.
    plain: Rc<[u8]>,
    names: Option<String>,
    leave_share: f64,
    cut_share: f64,
    leave_unanswered_share: f64,
    /// Events of a stream, from 2.
    events: u64,
    random: Random,
}

impl Requests {
    pub(super) fn new(options: &Options, origin: &Origin) -> Self {
        let (head, body) = request(options, origin);
        let plain = [&head[..], b"\r\n", &body].concat().into();
        // Of a real model's stream nothing is known: whoever leaves leaves early.
        let events = if options.unnumbered { 10 } else { u64::from(options.events).max(2) };
        Self {
            head,
            body,
            plain,
            names: options.request_ids.clone(),
            leave_share: options.leave_share,
            cut_share: options.cut_share,
            leave_unanswered_share: options.leave_unanswered_share,
            events,
            random: Random::new(options.seed),
        }
    }

    /// What the next exchange does, and its request.
    pub(super) fn next(&mut self, number: u64) -> (Plan, Rc<[u8]>) {
        let (plan, fault) = self.hazard();
        if fault.is_none() && self.names.is_none() {
            return (plan, Rc::clone(&self.plain));
        }
        let mut request = self.head.clone();
        if let Some(prefix) = &self.names {
            request.extend_from_slice(format!("x-request-id: {prefix}-{number}\r\n").as_bytes());
        }
        if let Some(fault) = fault {
            request.extend_from_slice(format!("x-mock-fault: {fault}\r\n").as_bytes());
        }
        request.extend_from_slice(b"\r\n");
        request.extend_from_slice(&self.body);
        (plan, request.into())
    }

    /// What goes wrong with the next exchange on purpose, and the mock's part in it.
    fn hazard(&mut self) -> (Plan, Option<String>) {
        if self.leave_share + self.cut_share + self.leave_unanswered_share == 0.0 {
            return (Plan::ReadAll, None);
        }
        let after = (self.random.bits() % (self.events - 1)) as u32 + 1;
        let dice = self.random.share();
        if dice < self.leave_share {
            (Plan::LeaveAfter(after), None)
        } else if dice < self.leave_share + self.cut_share {
            (Plan::ExpectCut, Some(format!("cut-after-events={after}")))
        } else if dice < self.leave_share + self.cut_share + self.leave_unanswered_share {
            (Plan::LeaveUnanswered, Some("silent".to_owned()))
        } else {
            (Plan::ReadAll, None)
        }
    }
}

/// Head (without its blank line) and body of the requests.
fn request(options: &Options, origin: &Origin) -> (Vec<u8>, Vec<u8>) {
    let streams = options.mode == Mode::Stream;
    let usage =
        if streams && options.include_usage { ",\"stream_options\":{\"include_usage\":true}" } else { "" };
    let model = serde_json::to_string(&options.model).expect("a string is JSON");
    let prompt = "x".repeat(options.prompt_bytes);
    let body = format!(
        "{{\"model\":{model},\"messages\":[{{\"role\":\"user\",\"content\":\"{prompt}\"}}],\"stream\":{streams}{usage}}}"
    );
    let mut fields =
        vec!["content-type: application/json".to_owned(), format!("content-length: {}", body.len())];
    if let Some(pat) = &options.pat {
        fields.push(format!("authorization: Bearer {pat}"));
    }
    if options.mode == Mode::NewConnection {
        fields.push("connection: close".to_owned());
    }
    if streams && !options.unnumbered {
        fields.push(format!("x-mock-events: {}", options.events));
        fields.push(format!("x-mock-event-bytes: {}", options.event_bytes));
        fields.push(format!("x-mock-pace-us: {}", options.pace_us));
    }
    if let Some(bytes) = options.body_bytes
        && !streams
    {
        fields.push(format!("x-mock-body-bytes: {bytes}"));
    }
    // Last, so that they override what the mock has been told above.
    fields.extend(options.fields.iter().cloned());
    let mut head = format!("POST {}{} HTTP/1.1\r\nhost: {}\r\n", origin.base, options.path, origin.authority);
    for field in fields {
        head.push_str(&field);
        head.push_str("\r\n");
    }
    (head.into_bytes(), body.into_bytes())
}
