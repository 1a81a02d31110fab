//! Tunnel: relays both ways what follows an upgrade (101), until either side ends.
//!
//! Enters with an endpoint that has agreed to the upgrade; leaves with the [`Ending`] of the one record. What passes is nobody's
//! business here: bytes that came are bytes that go.
//!
//! # Promises
//! * Nothing waits: what one read brought is written before the next read of that direction, and neither direction waits for the
//!   other.
//! * A side that ends its connection has what it said last delivered, then the other one is closed too.
//! * Nothing moving in either direction for the cluster's idle time ends it; so does the end of the process.
//!
//! # Cost
//! Per chunk: one read, one write, no allocation. No buffer while nothing moves.

use std::task::{Context, Poll};

use super::attempt::Answered;
use super::begin::passes_down;
use super::exchange::Exchange;
use super::route::Routed;
use crate::buf::Lease;
use crate::http1::{Framing, HeadWriter};
use crate::record::Ending;
use crate::socket::Socket;

/// What is on its way in one direction.
#[derive(Default)]
struct Way {
    bytes: Option<Lease>,
    sent: usize,
}

enum Event {
    /// Bytes went to the caller, or came from it.
    Down(usize),
    Up(usize),
    Ended(Ending),
}

/// How one direction stands.
enum Step {
    Moved(usize),
    SourceEnded,
    SourceBroken,
    SinkBroken,
}

/// Relays until either side ends.
pub(crate) async fn tunnel(ex: &mut Exchange<'_>, routed: Box<Routed>) -> Ending {
    let Routed { answered, idle_timeout, .. } = *routed;
    let Answered { link, received, head_len, .. } = answered;
    let (mut up, mut down) = (Way::default(), Way::default());
    let mut out = ex.local.buffers.small();
    let fields = ex.scratch.response.fields();
    HeadWriter::response(&mut out, 101)
        .copy(&received[..head_len], fields, passes_down)
        .field("connection", b"upgrade")
        .field("upgrade", b"websocket")
        .field("x-request-id", ex.account.request_id())
        .end(Framing::None);
    let head = out.len();
    out.extend_from_slice(&received[head_len..]);
    down.bytes = Some(out);
    drop(received);
    ex.keep_alive = false;
    ex.account.answering(101, ex.local.clock.read(), true);
    ex.forget_request();
    if !ex.down.unread().is_empty() {
        up.bytes = Some(ex.down.take_unread());
    }
    let mut unrecorded = head;
    loop {
        ex.down.watch.set(ex.local.clock.now().after(idle_timeout));
        let event = std::future::poll_fn(|cx| {
            if let Poll::Ready(step) = down.poll(cx, link.socket(), &ex.down.socket, ex) {
                return Poll::Ready(match step {
                    Step::Moved(count) => Event::Down(count),
                    Step::SourceEnded => Event::Ended(Ending::Complete),
                    Step::SourceBroken => Event::Ended(Ending::UpstreamCut),
                    Step::SinkBroken => Event::Ended(Ending::CallerGone),
                });
            }
            if let Poll::Ready(step) = up.poll(cx, &ex.down.socket, link.socket(), ex) {
                return Poll::Ready(match step {
                    Step::Moved(count) => Event::Up(count),
                    Step::SourceEnded => Event::Ended(Ending::Complete),
                    Step::SourceBroken => Event::Ended(Ending::CallerGone),
                    Step::SinkBroken => Event::Ended(Ending::UpstreamCut),
                });
            }
            ex.down.watch.poll_expired(cx).map(|_| Event::Ended(Ending::UpstreamTimeout))
        })
        .await;
        match event {
            Event::Down(count) => {
                let of_head = unrecorded.min(count);
                unrecorded -= of_head;
                ex.account.relayed(count - of_head);
            }
            Event::Up(count) => ex.account.received(count),
            Event::Ended(ending) => {
                ex.down.gone |= ending == Ending::CallerGone;
                return ending;
            }
        }
    }
}

impl Way {
    /// Sends what is held, then reads what has come; ready when anything moved towards `to`, or nothing more will.
    fn poll(&mut self, cx: &mut Context<'_>, from: &Socket, to: &Socket, ex: &Exchange<'_>) -> Poll<Step> {
        loop {
            if let Some(bytes) = &self.bytes {
                let Ok(count) = to.try_send(&bytes[self.sent..], &[]) else {
                    return Poll::Ready(Step::SinkBroken);
                };
                self.sent += count;
                if self.sent == bytes.len() {
                    *self = Self::default();
                }
                if count > 0 {
                    return Poll::Ready(Step::Moved(count));
                }
                if to.poll_writable(cx).is_pending() {
                    return Poll::Pending;
                }
                continue;
            }
            if from.poll_readable(cx).is_pending() {
                return Poll::Pending;
            }
            let mut bytes = ex.local.buffers.small();
            match from.try_recv(&mut bytes) {
                Ok(Some(0)) => return Poll::Ready(Step::SourceEnded),
                Ok(Some(_)) => self.bytes = Some(bytes),
                Ok(None) => {}
                Err(_) => return Poll::Ready(Step::SourceBroken),
            }
        }
    }
}
