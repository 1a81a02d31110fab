//! Relay: copies the upstream's answer to the caller as it arrives, and whatever is left of the caller's body upstream at the
//! same time.
//!
//! Enters past the point of no return (see [`super::route`]); leaves with the [`Ending`] that `account` turns into exactly one
//! record.
//!
//! # Promises
//! * Nothing waits. What one read brought is written before the next read, so a caller sees the first token as soon as we do.
//! * Early answers pass. The upstream may answer, and end, while the prompt is still being sent (a 413); neither direction ever
//!   waits for the other.
//! * A cut is visible. If upstream stops mid-body, downstream is reset, because a clean end would read as a complete answer.
//! * A caller that hangs up takes its upstream connection with it at once, also while nothing is being sent.
//!
//! # Not here, on purpose
//! No retry: a byte has been sent, so only the caller can retry. No JSON: [`crate::sse`] looks at the bytes that pass.
//!
//! # Cost
//! Per chunk: one read, one write, no allocation (`tests/it/allocations.rs`). No buffer while nothing moves.

use std::task::{Context, Poll};
use std::time::Duration;

use super::attempt::Answered;
use super::body::BodyFault;
use super::downstream::after;
use super::exchange::Exchange;
use super::frames::{Down, Frames, Passed};
use super::route::Routed;
use super::upload::{JOINED_BYTES_MAX, Upload, UploadFault};
use crate::buf::Lease;
use crate::clock::Moment;
use crate::http1::{Field, Framing, HeadWriter, Known, ResponseBody};
use crate::operations::UsageKind;
use crate::record::Ending;
use crate::socket::Socket;
use crate::sse::UsageDialect;
use crate::upstream::Link;

/// Relays the answer. Returns how it ended; the caller's connection may be used again if [`Exchange::keep_alive`] still says so.
pub(crate) async fn relay(ex: &mut Exchange<'_>, routed: Box<Routed>) -> Ending {
    // Begun outside of this future: what only the beginning needs is no part of a stream's memory.
    let (mut relay, received, out) = Relay::begin(ex, *routed);
    let ending = relay.run(received, out).await;
    relay.end(ending);
    ending
}

/// Chooses how the caller is sent the body.
fn begin(ex: &mut Exchange<'_>, head: &[u8], usage_injected: bool) -> (Frames, Framing) {
    let response = &ex.scratch.response;
    let content_type = response.field(Known::ContentType).map_or(&b""[..], |field| field.value.of(head));
    let is_sse = starts_with_ignore_case(content_type, b"text/event-stream");
    let is_ndjson = starts_with_ignore_case(content_type, b"application/x-ndjson");
    let encoded = response.field(Known::ContentEncoding).is_some();
    let dialect = match (ex.account.usage_kind(), is_sse, is_ndjson) {
        _ if encoded || !(200..300).contains(&response.status) => UsageDialect::None,
        (UsageKind::OpenAi, true, _) => UsageDialect::OpenAiSse,
        (UsageKind::OpenAi, false, _) => UsageDialect::OpenAiJson,
        (UsageKind::Ollama, _, true) => UsageDialect::OllamaNdjson,
        (UsageKind::Ollama, _, false) => UsageDialect::OllamaJson,
        (UsageKind::None, _, _) => UsageDialect::None,
    };
    let strip = usage_injected && dialect == UsageDialect::OpenAiSse;
    let http11 = ex.request().http11;
    let (down, framing) = match response.body {
        ResponseBody::None => (Down::Same, Framing::None),
        ResponseBody::Length(bytes) if !strip => (Down::Same, Framing::Length(bytes)),
        ResponseBody::Chunked if http11 => (Down::Same, Framing::Chunked),
        ResponseBody::Length(_) | ResponseBody::UntilClose if http11 => (Down::Chunked, Framing::Chunked),
        ResponseBody::Chunked | ResponseBody::Length(_) | ResponseBody::UntilClose => {
            ex.keep_alive = false;
            (Down::Raw, Framing::None)
        }
    };
    (Frames::new(response.body, down, dialect, strip, is_sse || is_ndjson), framing)
}

fn starts_with_ignore_case(value: &[u8], prefix: &[u8]) -> bool {
    value.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

/// Builds the caller's head.
fn write_head(ex: &Exchange<'_>, head: &[u8], framing: Framing, out: &mut Lease) {
    let response = &ex.scratch.response;
    let mut writer = HeadWriter::response(out, response.status)
        .copy(head, response.fields(), passes_down)
        .field("x-request-id", ex.account.request_id());
    if !ex.keep_alive {
        writer = writer.field("connection", b"close");
    } else if !ex.request().http11 {
        writer = writer.field("connection", b"keep-alive");
    }
    // A length that belongs to no body (HEAD, 304) is information about the resource, and passes.
    if response.body == ResponseBody::None
        && response.status != 204
        && let Some(length) = response.field(Known::ContentLength)
    {
        writer = writer.field("content-length", length.value.of(head));
    }
    writer.end(framing);
}

/// Whether a field of the upstream's goes to the caller. Connection-level fields and framing are left out by the writer already.
fn passes_down(field: &Field) -> bool {
    !matches!(field.known, Known::XRequestId | Known::ProxyAuthenticate | Known::Underscored)
}

struct Relay<'r, 'a> {
    ex: &'r mut Exchange<'a>,
    /// `None` only once the answer has ended.
    link: Option<Link>,
    frames: Frames,
    upload: Option<Upload>,
    total_deadline: Option<Moment>,
    idle_timeout: Duration,
    /// The upstream says that its connection may be used again.
    reusable: bool,
    /// Bytes of the head that the next send begins with; they are no body.
    head_len: usize,
    /// The last read filled its buffer: the next one takes a larger step.
    filled: bool,
}

enum Event {
    Received(Lease),
    UpstreamEnded,
    UpstreamBroken,
    CallerGone,
    Uploaded(Result<(), UploadFault>),
    Expired,
}

impl<'r, 'a> Relay<'r, 'a> {
    /// Returns with it what came with the head, and the head for the caller, not sent yet.
    fn begin(ex: &'r mut Exchange<'a>, routed: Routed) -> (Self, Lease, Lease) {
        let Routed { answered, idle_timeout, total_deadline, usage_injected } = routed;
        let Answered { link, mut received, head_len, upload } = answered;
        // An answer that overtakes its request: the caller's connection cannot be used again (RFC 9112 §9.6).
        ex.keep_alive &= upload.is_none();
        let reusable = ex.scratch.response.keep_alive && upload.is_none();
        let (frames, framing) = begin(ex, &received[..head_len], usage_injected);
        let mut out = ex.local.buffers.small();
        write_head(ex, &received[..head_len], framing, &mut out);
        ex.account.answering(ex.scratch.response.status, ex.local.clock.read(), frames.streams());
        received.drain(..head_len);
        ex.forget_request();
        // A stream may run for as long as it moves.
        let total_deadline = if frames.streams() { None } else { total_deadline };
        let head_len = out.len();
        let relay = Self {
            ex,
            link: Some(link),
            frames,
            upload,
            total_deadline,
            idle_timeout,
            head_len,
            reusable,
            filled: false,
        };
        (relay, received, out)
    }

    /// Keeps the upstream connection or closes it, and makes sure that a cut answer looks cut.
    fn end(mut self, ending: Ending) {
        self.ex.account.usage(self.frames.usage());
        if ending == Ending::Complete {
            if self.reusable
                && self.frames.is_clean()
                && let Some(link) = self.link.take()
            {
                link.keep(&self.ex.local.upstreams, self.ex.local.clock.now());
            }
            return;
        }
        // Framing shows a cut by itself, and a plain close still delivers what is under way; an unframed body needs a reset.
        self.ex.keep_alive = false;
        if self.frames.is_unframed() {
            self.ex.down.gone = true;
            self.ex.down.socket.reset_on_close();
        }
    }

    fn upstream(&self) -> &Socket {
        self.link.as_ref().expect("taken only by end").socket()
    }

    /// `received`: what came with the head. `out`: the head, not sent yet.
    async fn run(&mut self, received: Lease, mut out: Lease) -> Ending {
        if let Err(ending) = self.pass(received, &mut out).await {
            return ending;
        }
        self.ex.account.answer_sent();
        drop(out);
        loop {
            if self.frames.ended() {
                return Ending::Complete;
            }
            self.set_deadline();
            match std::future::poll_fn(|cx| self.poll_event(cx)).await {
                Event::Received(bytes) => {
                    // Only a body that is framed anew needs an output of its own, and only while it does.
                    let mut out =
                        if self.frames.may_frame() { Some(self.ex.local.buffers.small()) } else { None };
                    let passed = match &mut out {
                        Some(out) => self.pass(bytes, out).await,
                        None => self.pass_same(bytes).await,
                    };
                    if let Err(ending) = passed {
                        return ending;
                    }
                }
                Event::UpstreamEnded => return self.close().await,
                Event::UpstreamBroken => return Ending::UpstreamCut,
                Event::CallerGone => return Ending::CallerGone,
                Event::Uploaded(Ok(())) => self.upload = None,
                Event::Uploaded(Err(UploadFault::Upstream)) => {
                    self.upload = self.upload.take().and_then(Upload::abandon);
                }
                Event::Uploaded(Err(UploadFault::Body(BodyFault::Gone))) => return Ending::CallerGone,
                Event::Uploaded(Err(UploadFault::Body(BodyFault::Refused(refusal)))) => {
                    self.ex.account.error(refusal.code());
                    return Ending::CallerGone;
                }
                Event::Expired => return self.whose_timeout(),
            }
        }
    }

    /// Nothing moved for too long: whose turn was it?
    fn whose_timeout(&self) -> Ending {
        let callers = self.upload.as_ref().is_some_and(Upload::waits_for_caller) && !self.ex.body.is_done();
        if callers { Ending::CallerTimeout } else { Ending::UpstreamTimeout }
    }

    /// The later of "nothing moved for too long" and "this takes too long altogether" is out of reach: the earlier counts.
    fn set_deadline(&self) {
        let idle = self.ex.local.clock.now().after(self.idle_timeout);
        let at = self.total_deadline.map_or(idle, |total| total.min(idle));
        self.ex.watch_for(at, self.upload.is_some());
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        if let Poll::Ready(result) = self.poll_upload(cx) {
            return Poll::Ready(Event::Uploaded(result));
        }
        let mut lease: Option<Lease> = None;
        while self.upstream().poll_readable(cx).is_ready() {
            let buffer = lease.get_or_insert_with(|| {
                let pool = &self.ex.local.buffers;
                if self.filled { pool.large() } else { pool.small() }
            });
            match self.upstream().try_recv(buffer) {
                Ok(Some(0)) => return Poll::Ready(Event::UpstreamEnded),
                Ok(Some(_)) => {
                    self.filled = buffer.room() == 0;
                    return Poll::Ready(Event::Received(lease.expect("just filled")));
                }
                Ok(None) => {}
                Err(_) => return Poll::Ready(Event::UpstreamBroken),
            }
        }
        if self.ex.body.is_done() && self.ex.poll_caller_gone(cx).is_ready() {
            return Poll::Ready(Event::CallerGone);
        }
        self.ex.down.watch.poll_expired(cx).map(|_| Event::Expired)
    }

    /// Moves what is left of the request upstream; pending also when there is nothing left.
    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), UploadFault>> {
        let (Some(upload), Some(link)) = (&mut self.upload, &self.link) else { return Poll::Pending };
        upload.poll(cx, link.socket(), self.ex)
    }

    /// Passes bytes on as they came: the same buffer that was read is written.
    async fn pass_same(&mut self, bytes: Lease) -> Result<(), Ending> {
        let mut none = Vec::new();
        match self.frames.take(&bytes, &mut none) {
            Ok(Passed::Same(count)) => self.tell(&bytes[..count], &[]).await,
            Ok(Passed::Framed) => self.tell(&none, &[]).await,
            Err(_) => Err(Ending::UpstreamCut),
        }
    }

    /// Passes bytes on behind what is in `out` already, framed anew if need be, in one send.
    async fn pass(&mut self, bytes: Lease, out: &mut Lease) -> Result<(), Ending> {
        if bytes.is_empty() && !out.is_empty() {
            return self.tell(out, &[]).await;
        }
        match self.frames.take(&bytes, out) {
            Ok(Passed::Same(count)) if count <= JOINED_BYTES_MAX.min(out.room()) => {
                out.extend_from_slice(&bytes[..count]);
                self.tell(out, &[]).await
            }
            Ok(Passed::Same(count)) => self.tell(out, &bytes[..count]).await,
            Ok(Passed::Framed) => self.tell(out, &[]).await,
            Err(_) => Err(Ending::UpstreamCut),
        }
    }

    /// The upstream has closed: an end for a body that ends so, a cut for any other.
    async fn close(&mut self) -> Ending {
        let mut out = self.ex.local.buffers.small();
        if !self.frames.close(&mut out) {
            return Ending::UpstreamCut;
        }
        match self.tell(&out, &[]).await {
            Ok(()) => Ending::Complete,
            Err(ending) => ending,
        }
    }

    /// Sends to the caller. While it takes nothing, its own upload goes on: a caller may read only after it has written.
    async fn tell(&mut self, first: &[u8], second: &[u8]) -> Result<(), Ending> {
        let total = first.len() + second.len();
        let mut sent = 0;
        while sent < total {
            let (a, b) = after(first, second, sent);
            let Ok(count) = self.ex.down.socket.try_send(a, b) else {
                self.ex.down.gone = true;
                return Err(Ending::CallerGone);
            };
            sent += count;
            if sent == total {
                break;
            }
            let stalled = self.ex.local.clock.now().after(self.ex.local.settings.timeouts.write_stall);
            self.ex.down.watch.set(stalled);
            std::future::poll_fn(|cx| self.poll_caller_takes(cx)).await?;
        }
        self.ex.account.relayed(total - std::mem::take(&mut self.head_len));
        Ok(())
    }

    fn poll_caller_takes(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Ending>> {
        if self.ex.down.socket.poll_writable(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        match self.poll_upload(cx) {
            Poll::Pending => {}
            Poll::Ready(Ok(())) => self.upload = None,
            Poll::Ready(Err(UploadFault::Upstream)) => {
                self.upload = self.upload.take().and_then(Upload::abandon);
            }
            Poll::Ready(Err(UploadFault::Body(_))) => return Poll::Ready(Err(Ending::CallerGone)),
        }
        // A caller that takes nothing for too long is as good as gone.
        self.ex.down.watch.poll_expired(cx).map(|_| Err(Ending::CallerTimeout))
    }
}
