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
//! * A cut is visible. If upstream stops mid-body, downstream is reset, because a clean end would read as a complete answer. A
//!   stream that stands between two events says why first, in an event of its caller's dialect; inside an event or a chunk
//!   nothing can be said that would not read as a part of it.
//! * A stream that pauses shows that it lives: `timeouts.stream_keep_alive` after the last byte comes a comment
//!   (`docs/decisions/0005-errors-and-comments-in-streams.md`).
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
use super::begin::{begin_body, write_head};
use super::body::BodyFault;
use super::downstream::after;
use super::exchange::Exchange;
use super::frames::{Frames, Passed};
use super::refuse::{Refusal, StreamForm};
use super::route::Routed;
use super::upload::{JOINED_BYTES_MAX, Upload, UploadFault};
use crate::buf::Lease;
use crate::clock::Moment;
use crate::record::Ending;
use crate::socket::Socket;
use crate::upstream::Link;

/// Relays the answer. Returns how it ended; the caller's connection may be used again if [`Exchange::keep_alive`] still says so.
pub(crate) async fn relay(ex: &mut Exchange<'_>, routed: Box<Routed>) -> Ending {
    // Begun outside of this future: what only the beginning needs is no part of a stream's memory.
    let (mut relay, received, out) = Relay::begin(ex, *routed);
    let ending = relay.run(received, out).await;
    relay.say_why(ending).await;
    relay.end(ending);
    ending
}

/// What a caller that waits between two events is sent: a comment, which no client takes for an event (WHATWG HTML §9.2.6).
const KEEP_ALIVE: &[u8] = b": keep-alive\n\n";

struct Relay<'r, 'a> {
    ex: &'r mut Exchange<'a>,
    /// `None` only once the answer has ended.
    link: Option<Link>,
    frames: Frames,
    upload: Option<Box<Upload>>,
    total_deadline: Option<Moment>,
    idle_timeout: Duration,
    /// When anything last moved that the upstream's time counts from.
    moved: Moment,
    /// When bytes last came that were waited for. Those after them may have been sent at the same time: a slow caller keeps us behind.
    heard: Moment,
    /// All that had come was read.
    waiting: bool,
    /// Comments sent since.
    comments: u32,
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
        let (frames, framing) = begin_body(ex, &received[..head_len], usage_injected);
        let mut out = ex.local.buffers.small();
        write_head(ex, &received[..head_len], framing, &mut out);
        let moved = ex.local.clock.read();
        ex.account.answering(ex.scratch.response.status, moved, frames.streams());
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
            moved,
            heard: moved,
            waiting: false,
            comments: 0,
            head_len,
            reusable,
            filled: false,
        };
        (relay, received, out)
    }

    /// Keeps the upstream connection or closes it, and makes sure that a cut answer looks cut.
    fn end(&mut self, ending: Ending) {
        self.ex.account.usage(self.frames.usage());
        if ending == Ending::Complete {
            if self.reusable
                && self.frames.is_clean()
                && let Some(link) = self.link.take()
            {
                link.keep(&self.ex.local.upstreams, self.heard);
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
            if ending == Ending::UpstreamCut && self.frames.gap().is_some() {
                // What came with the head broke already. The head is good, and what is said next needs one.
                out.truncate(self.head_len);
                return self.tell(&out, &[]).await.err().unwrap_or(ending);
            }
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
                    self.has_moved();
                    if std::mem::take(&mut self.waiting) {
                        self.heard = self.moved;
                    }
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
                Event::Uploaded(Ok(())) => {
                    self.has_moved();
                    self.upload = None;
                }
                Event::Uploaded(Err(UploadFault::Upstream)) => {
                    self.has_moved();
                    self.abandon_upload();
                }
                Event::Uploaded(Err(UploadFault::Body(BodyFault::Gone))) => return Ending::CallerGone,
                Event::Uploaded(Err(UploadFault::Body(BodyFault::Refused(refusal)))) => {
                    self.ex.account.error(refusal.code());
                    return Ending::CallerGone;
                }
                Event::Expired if self.only_a_comment_is_due() => {
                    if let Err(ending) = self.comment().await {
                        return ending;
                    }
                }
                Event::Expired => return self.whose_timeout(),
            }
        }
    }

    /// Nothing moved for too long: whose turn was it?
    fn whose_timeout(&self) -> Ending {
        let callers =
            self.upload.as_ref().is_some_and(|upload| upload.waits_for_caller()) && !self.ex.body.is_done();
        if callers { Ending::CallerTimeout } else { Ending::UpstreamTimeout }
    }

    fn has_moved(&mut self) {
        self.moved = self.ex.local.clock.now();
        self.comments = 0;
    }

    /// The later of "nothing moved for too long" and "this takes too long altogether" is out of reach: the earlier counts.
    fn deadline(&self) -> Moment {
        let idle = self.moved.after(self.idle_timeout);
        self.total_deadline.map_or(idle, |total| total.min(idle))
    }

    fn set_deadline(&self) {
        let deadline = self.deadline();
        let at = self.comment_due().map_or(deadline, |due| due.min(deadline));
        self.ex.watch_for(at, self.upload.is_some());
    }

    /// When the caller of a quiet stream is sent the next comment. Not while it is still sending: then it knows that we live.
    fn comment_due(&self) -> Option<Moment> {
        let interval = self.ex.local.settings.timeouts.stream_keep_alive;
        let takes = self.frames.gap() == Some(StreamForm::Events) && self.upload.is_none();
        (takes && !interval.is_zero()).then(|| self.moved.after(interval.saturating_mul(self.comments + 1)))
    }

    fn only_a_comment_is_due(&self) -> bool {
        let now = self.ex.local.clock.now();
        !self.ex.local.cutting.get()
            && now < self.deadline()
            && self.comment_due().is_some_and(|due| due <= now)
    }

    async fn comment(&mut self) -> Result<(), Ending> {
        self.comments = self.comments.saturating_add(1);
        let mut out = self.ex.local.buffers.small();
        self.frames.put_between(KEEP_ALIVE, &mut out);
        self.tell(&out, &[]).await
    }

    /// Tells the caller of a stream why it is about to be cut, if there is a place for it.
    async fn say_why(&mut self, ending: Ending) {
        let cutting = self.ex.local.cutting.get();
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "all other endings are complete or the caller's own"
        )]
        let why = match ending {
            Ending::UpstreamTimeout if cutting => Refusal::Draining,
            Ending::UpstreamTimeout => Refusal::UpstreamTimeout,
            Ending::UpstreamCut => Refusal::UpstreamCut,
            _ => return,
        };
        let Some(form) = self.frames.gap() else { return };
        let (mut words, mut out) = (self.ex.local.buffers.small(), self.ex.local.buffers.small());
        why.write_in_stream(&mut words, self.ex.family, form);
        self.frames.put_between(&words, &mut out);
        if cutting {
            // The process is about to end and waits for nobody.
            let _ = self.ex.down.socket.try_send(&out, &[]);
        } else {
            // A caller that does not take it is cut all the same.
            let _ = self.tell(&out, &[]).await;
        }
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
        self.waiting = true;
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

    fn abandon_upload(&mut self) {
        if let Some(upload) = &mut self.upload {
            upload.abandon();
        }
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
                self.abandon_upload();
            }
            Poll::Ready(Err(UploadFault::Body(_))) => return Poll::Ready(Err(Ending::CallerGone)),
        }
        // A caller that takes nothing for too long is as good as gone.
        self.ex.down.watch.poll_expired(cx).map(|_| Err(Ending::CallerTimeout))
    }
}
