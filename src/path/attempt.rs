//! Attempt: sends one request to one endpoint and waits for its answer to begin.
//!
//! Everything here may still be undone: no byte has reached the caller. Enters with a connected [`Link`]; leaves with an
//! [`Answered`] whose head is parsed, or with an [`UpstreamFault`] that `route` may turn into another attempt.
//!
//! # Promises
//! * The request travels up and the answer down at once: an early answer is heard while the body is still being sent.
//! * A caller that hangs up while it waits is noticed at once, and the connection to the endpoint is closed with it.

use std::task::{Context, Poll};

use super::body::BodyFault;
use super::downstream::Heard;
use super::exchange::Exchange;
use super::refuse::Refusal;
use super::upload::{Outgoing, Upload, UploadFault};
use crate::buf::Lease;
use crate::clock::Moment;
use crate::http1::{Known, Parsed, ResponseHead};
use crate::upstream::Link;

/// Interim answers (1xx) taken before an endpoint is considered broken.
const INTERIM_MAX: u32 = 10;

/// An endpoint that has begun to answer.
pub(crate) struct Answered {
    pub(crate) link: Link,
    /// What was received: the head, and whatever of the body came with it.
    pub(crate) received: Lease,
    pub(crate) head_len: usize,
    /// The part of the request that is still to be sent, if the endpoint answered early. Boxed: hardly any does.
    pub(crate) upload: Option<Box<Upload>>,
}

/// Why an attempt did not lead to an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AttemptFault {
    /// The endpoint's doing; `route` decides what now.
    Upstream(UpstreamFault),
    /// The caller's doing: answer this.
    Refused(Refusal),
    /// The caller hung up.
    Gone,
}

/// How an endpoint failed before it answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UpstreamFault {
    /// The connection ended before the first byte of an answer.
    ClosedUnanswered,
    /// It ended inside the head, or the head is not valid.
    Invalid,
    /// Nothing came in time.
    Silent,
}

enum Event {
    Received,
    UpstreamEnded,
    CallerGone,
    Upload(Result<(), UploadFault>),
    Expired,
}

/// What is waited for, and for how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Awaited {
    /// By when the head of the answer must be there.
    pub(crate) deadline: Moment,
    /// It is the answer to a HEAD, so no body follows whatever it says.
    pub(crate) head_only: bool,
    /// The caller's body is not part of it: what has come of that is heard and kept, so that a caller that leaves is noticed.
    pub(crate) aside: bool,
    /// The endpoint may agree to a WebSocket (101), which is an answer then.
    pub(crate) upgrade: bool,
}

/// Sends `head` and `body` over `link` and waits for the head of the answer.
pub(crate) async fn attempt(
    ex: &mut Exchange<'_>,
    link: Link,
    head: Lease,
    body: &Outgoing,
    awaited: Awaited,
) -> Result<Answered, AttemptFault> {
    let mut upload = Some(Upload::new(ex, head, body));
    let mut received = None;
    let mut interim = 0;
    ex.scratch.response.reset();
    let Awaited { deadline, head_only, aside, upgrade } = awaited;
    loop {
        ex.watch_for(deadline, upload.is_some() && !aside);
        let event =
            std::future::poll_fn(|cx| poll_event(ex, &link, &mut upload, &mut received, aside, cx)).await;
        match event {
            Event::Received => {}
            Event::Upload(Ok(())) => {
                upload = None;
                continue;
            }
            Event::Upload(Err(UploadFault::Upstream)) => {
                // It may have answered and closed without reading on (an early 413): hear it out.
                if let Some(upload) = &mut upload {
                    upload.abandon();
                }
                continue;
            }
            Event::Upload(Err(UploadFault::Body(BodyFault::Refused(refusal)))) => {
                return Err(AttemptFault::Refused(refusal));
            }
            Event::CallerGone | Event::Upload(Err(UploadFault::Body(BodyFault::Gone))) => {
                return Err(AttemptFault::Gone);
            }
            Event::UpstreamEnded => return Err(ended_early(received.as_ref())),
            Event::Expired => return Err(expired(ex, upload.as_ref())),
        }
        let buffer: &mut Lease = received.as_mut().expect("received bytes lie in a buffer");
        loop {
            match ex.scratch.response.parse(buffer, &ex.local.settings.limits.head, head_only) {
                Ok(Parsed::Partial) if buffer.room() > 0 => break,
                Ok(Parsed::Partial) | Err(_) => return Err(AttemptFault::Upstream(UpstreamFault::Invalid)),
                Ok(Parsed::Complete { len }) => {
                    let status = ex.scratch.response.status;
                    if status >= 200 || (upgrade && agrees_to_upgrade(&ex.scratch.response, buffer)) {
                        let upload = upload.filter(|u| !u.is_complete(&ex.body)).map(Box::new);
                        return Ok(Answered {
                            link,
                            received: received.expect("just parsed"),
                            head_len: len,
                            upload,
                        });
                    }
                    interim += 1;
                    // 101 answers an upgrade that was never asked for, or not to this protocol.
                    if status == 101 || interim > INTERIM_MAX {
                        return Err(AttemptFault::Upstream(UpstreamFault::Invalid));
                    }
                    buffer.drain(..len);
                    ex.scratch.response.reset();
                }
            }
        }
    }
}

/// Whether the endpoint now speaks WebSocket (RFC 6455 §4.2.2).
fn agrees_to_upgrade(response: &ResponseHead, received: &[u8]) -> bool {
    let to = response.field(Known::Upgrade).map(|field| field.value.of(received));
    response.status == 101 && to.is_some_and(|to| to.eq_ignore_ascii_case(b"websocket"))
}

fn ended_early(received: Option<&Lease>) -> AttemptFault {
    AttemptFault::Upstream(if received.is_none_or(|r| r.is_empty()) {
        UpstreamFault::ClosedUnanswered
    } else {
        UpstreamFault::Invalid
    })
}

/// The deadline that passed was the caller's if its body is what everybody waits for.
fn expired(ex: &Exchange<'_>, upload: Option<&Upload>) -> AttemptFault {
    if upload.is_some_and(Upload::waits_for_caller) && !ex.body.is_done() {
        AttemptFault::Refused(Refusal::BodyTimeout)
    } else {
        AttemptFault::Upstream(UpstreamFault::Silent)
    }
}

fn poll_event(
    ex: &mut Exchange<'_>,
    link: &Link,
    upload: &mut Option<Upload>,
    received: &mut Option<Lease>,
    aside: bool,
    cx: &mut Context<'_>,
) -> Poll<Event> {
    if let Some(upload) = upload
        && let Poll::Ready(result) = upload.poll(cx, link.socket(), ex)
    {
        return Poll::Ready(Event::Upload(result));
    }
    while link.socket().poll_readable(cx).is_ready() {
        let buffer = received.get_or_insert_with(|| ex.local.buffers.small());
        match link.socket().try_recv(buffer) {
            Ok(Some(0)) | Err(_) => return Poll::Ready(Event::UpstreamEnded),
            Ok(Some(_)) => return Poll::Ready(Event::Received),
            Ok(None) => {}
        }
    }
    if (aside || ex.body.is_done()) && ex.poll_caller_gone(cx).is_ready() {
        return Poll::Ready(Event::CallerGone);
    }
    ex.down.watch.poll_expired(cx).map(|_| Event::Expired)
}

impl Exchange<'_> {
    /// Ready when the caller has hung up. What it sends ahead of its answer is kept for the next request.
    pub(crate) fn poll_caller_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.caller_runs_ahead {
            return Poll::Pending;
        }
        loop {
            match self.down.poll_hear(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Heard::Bytes(_)) => {}
                Poll::Ready(Heard::End) => return Poll::Ready(()),
                // A buffer full of requests sent ahead: no more is read, so its end cannot be seen until they are served.
                Poll::Ready(Heard::Full) => {
                    self.caller_runs_ahead = true;
                    return Poll::Pending;
                }
            }
        }
    }
}
