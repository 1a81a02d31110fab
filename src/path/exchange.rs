//! Exchange: what all stages of one request share. Proofs (`Caller`, `Permit`, …) travel beside it and are consumed.

use super::account::Account;
use super::body::BodyReader;
use super::downstream::Downstream;
use super::refuse::Refusal;
use crate::buf::Lease;
use crate::clock::Moment;
use crate::http1::{BodyLength, Known, ProxyPath, RequestHead, TargetError, split_proxy_path};
use crate::local::{Local, ScratchLease};
use crate::operations::{Family, NAMES_BELOW};
use crate::peek::MultipartPeek;

/// One request and its answer on one connection.
pub(crate) struct Exchange<'a> {
    pub(crate) local: &'a Local,
    pub(crate) down: &'a mut Downstream,
    /// Leaves exactly one record when dropped.
    pub(crate) account: Account<'a>,
    pub(crate) scratch: ScratchLease<'a>,
    /// How far the caller's body has been read.
    pub(crate) body: BodyReader,
    /// The head as received, and the body behind it when the whole body came along; given back when the answer has begun.
    received: Option<Lease>,
    head_len: usize,
    domain_len: usize,
    rest_len: usize,
    /// Which form our own answers take.
    pub(crate) family: Family,
    /// The methods that the path has, when the request's is not among them.
    pub(crate) allow: &'static str,
    /// What the caller is told of the rule that took its request, as `X-Event-Type`.
    pub(crate) event_type: Option<Box<str>>,
    /// Whether the caller's side may serve another request after this one.
    pub(crate) keep_alive: bool,
    /// The caller has said that it sends nothing after this request (RFC 9112 §9.6).
    pub(crate) is_last: bool,
    /// The caller sent so much ahead that no more is read from it.
    pub(crate) caller_runs_ahead: bool,
    /// The body is passed on before its end was seen: keys that decide must not turn up again in what follows.
    pub(crate) late_keys: bool,
    /// The same for a form.
    pub(crate) late_form: Option<Box<MultipartPeek>>,
}

impl<'a> Exchange<'a> {
    /// Takes over a head, parsed into `scratch`: the first `head_len` bytes that are unread, and the body if all of it came along.
    pub(crate) fn begin(
        local: &'a Local,
        down: &'a mut Downstream,
        mut account: Account<'a>,
        scratch: ScratchLease<'a>,
        head_len: usize,
    ) -> Self {
        down.requests += 1;
        let (length, expects) = (scratch.request.body, scratch.request.expect_continue);
        let mut received = down.take_unread();
        let mut body = BodyReader::new(length, expects, local.clock.now());
        let inline = match length {
            BodyLength::Length(bytes) if bytes <= (received.len() - head_len) as u64 => {
                body.came_along();
                usize::try_from(bytes).expect("no longer than a buffer")
            }
            BodyLength::None | BodyLength::Length(_) | BodyLength::Chunked => 0,
        };
        // What follows the head, or the body that came along, is the rest of the body or the next request.
        down.push_unread(&received[head_len + inline..]);
        received.truncate(head_len + inline);
        let is_last = !scratch.request.keep_alive;
        let keep_alive = !is_last
            && !local.draining.get()
            && down.requests < local.settings.limits.requests_per_connection_max;
        let family = down.family();
        account.received(inline);
        Self {
            local,
            down,
            account,
            scratch,
            body,
            received: Some(received),
            head_len,
            domain_len: 0,
            rest_len: 0,
            family,
            allow: "",
            event_type: None,
            keep_alive,
            is_last,
            caller_runs_ahead: false,
            late_keys: false,
            late_form: None,
        }
    }

    /// The caller's head.
    pub(crate) fn request(&self) -> &RequestHead {
        &self.scratch.request
    }

    /// The bytes that [`Exchange::request`]'s spans point into.
    pub(crate) fn head_bytes(&self) -> &[u8] {
        self.received.as_ref().map_or(&[], |received| &received[..self.head_len])
    }

    /// The body, if all of it came along with the head.
    pub(crate) fn inline_body(&self) -> &[u8] {
        self.received.as_ref().map_or(&[], |received| &received[self.head_len..])
    }

    /// Splits the path, once; what was found is there for the later stages.
    pub(crate) fn split_path(&mut self) -> Result<(), TargetError> {
        let path = self.request().path.of(self.head_bytes());
        let ProxyPath { domain, rest } = split_proxy_path(path, NAMES_BELOW)?;
        (self.domain_len, self.rest_len) = (domain.len(), rest.len());
        Ok(())
    }

    /// The domain that a proxied path names.
    pub(crate) fn domain_segment(&self) -> &[u8] {
        let end = self.request().path.end() - self.rest_len;
        &self.head_bytes()[end - self.domain_len..end]
    }

    /// What follows it, which goes upstream.
    pub(crate) fn rest(&self) -> &[u8] {
        let end = self.request().path.end();
        &self.head_bytes()[end - self.rest_len..end]
    }

    /// Shows the body that came along with the head to the JSON peek.
    pub(crate) fn look_at_inline_json(&mut self) -> Result<(), Refusal> {
        // Field by field: the scratch is written while the body is read.
        let body = self.received.as_ref().map_or(&[][..], |received| &received[self.head_len..]);
        let json = &mut self.scratch.json;
        json.feed(body).and_then(|()| json.finish()).map_err(|_| Refusal::BodyInvalid)
    }

    /// Value of a field of the caller's head.
    pub(crate) fn field(&self, known: Known) -> Option<&[u8]> {
        self.request().field(known).map(|field| field.value.of(self.head_bytes()))
    }

    /// The answer has begun: nothing of the request is needed any more, so a stream holds no buffer.
    pub(crate) fn forget_request(&mut self) {
        self.received = None;
        if !self.late_keys {
            self.scratch.give_back();
        }
    }

    /// Sets the connection's deadline: `deadline`, or earlier when the caller's body is what must move next.
    pub(crate) fn watch_for(&self, deadline: Moment, uploading: bool) {
        let at = if uploading && !self.body.is_done() {
            deadline.min(self.body.deadline(self.local))
        } else {
            deadline
        };
        self.down.watch.set(at);
    }

    /// Looks at a part of the body that is passed on before the end was seen. A second `model` there would be the one that
    /// some servers believe, so the request is broken off before its end can reach the endpoint.
    pub(crate) fn watch_late_keys(&mut self, segment: &[u8]) -> Result<(), Refusal> {
        let last = self.body.is_done();
        if let Some(form) = &mut self.late_form {
            form.feed(segment).map_err(|_| Refusal::BodyInvalid)?;
            if last {
                form.finish().map_err(|_| Refusal::BodyInvalid)?;
            }
        }
        if !self.late_keys {
            return Ok(());
        }
        self.scratch.json.feed(segment).map_err(|_| Refusal::BodyInvalid)?;
        if last {
            self.scratch.json.finish().map_err(|_| Refusal::BodyInvalid)?;
        }
        Ok(())
    }
}
