//! Tell: what we have to say ourselves, an answer or a refusal, and how a connection ends so that it arrives.

use std::time::Duration;

use super::account::Account;
use super::body::BodyReader;
use super::downstream::{self, Downstream};
use super::exchange::Exchange;
use super::parse::Unparsed;
use super::passthrough;
use super::refuse::{self, Refusal};
use crate::local::Local;
use crate::record::Ending;
use crate::settings::Paths;

/// Body bytes of a refused request that are read and thrown away so that its connection can be used again.
pub(super) const DRAIN_BYTES_MAX: usize = 64 * 1024;
/// How long a closing connection waits for its caller to read the last answer and close.
pub(super) const LINGER: Duration = Duration::from_secs(1);

/// Sends an answer of our own making.
pub(super) async fn say(ex: &mut Exchange<'_>, body: &str) -> Ending {
    let mut out = ex.local.buffers.small();
    settle_body(ex);
    refuse::write_json(&mut out, 200, "", body, ex.account.request_id(), ex.keep_alive);
    ex.account.answering(200, ex.local.clock.read(), false);
    tell(ex, &out, Ending::Complete).await
}

/// Sends a refusal.
pub(super) async fn refuse(ex: &mut Exchange<'_>, refusal: Refusal) -> Ending {
    ex.keep_alive &= refusal.keeps_connection();
    settle_body(ex);
    ex.account.refused(refusal);
    let mut out = ex.local.buffers.small();
    let callback = ex.local.settings.passthrough.as_ref().and_then(|at| at.callback.as_ref());
    let reply = refuse::Reply {
        family: ex.family,
        allow: ex.allow,
        request_id: ex.account.request_id(),
        callback_timeout: callback.map_or(Duration::ZERO, |callback| callback.timeout),
    };
    refusal.write(&mut out, &reply, ex.keep_alive);
    let ending = if refusal.is_upstreams() { Ending::UpstreamFailed } else { Ending::Refused };
    tell(ex, &out, ending).await
}

/// Decides whether what is left of the caller's body is worth reading, for the sake of the connection: only little of known
/// length, and only if the caller is already sending it.
fn settle_body(ex: &mut Exchange<'_>) {
    let worth = ex.body.left().is_some_and(|left| left <= DRAIN_BYTES_MAX as u64);
    if !ex.body.is_done() && (!worth || ex.body.take_continue_owed()) {
        ex.keep_alive = false;
    }
}

async fn tell(ex: &mut Exchange<'_>, out: &[u8], ending: Ending) -> Ending {
    // HEAD is told how long a body would be, and gets none (RFC 9110 §9.3.2): it would be taken for the next answer.
    let is_head = ex.request().method == http::Method::HEAD;
    let head = if is_head { memchr::memmem::find(out, b"\r\n\r\n").map(|at| at + 4) } else { None };
    let out = &out[..head.unwrap_or(out.len())];
    let deadline = ex.local.clock.now().after(ex.local.settings.timeouts.write_stall);
    if ex.down.tell(out, &[], deadline).await.is_err() {
        return Ending::CallerGone;
    }
    ex.account.said(out.len());
    if ex.keep_alive && !ex.body.is_done() {
        ex.keep_alive = BodyReader::drain(ex, DRAIN_BYTES_MAX).await;
    }
    ending
}

/// Answers a head that could not be parsed, and closes.
pub(super) async fn refuse_unparsed(
    unparsed: Unparsed,
    account: &mut Account<'_>,
    down: &mut Downstream,
) -> bool {
    let Unparsed::Refused(refusal) = unparsed else {
        account.forget();
        down.gone = true;
        return false;
    };
    if down.paths == Paths::Passthrough {
        account.template(passthrough::TEMPLATE);
    }
    // What the head says its name is stands in a head that is not believed.
    account.name();
    account.refused(refusal);
    let mut out = Vec::with_capacity(512);
    let reply = refuse::Reply {
        family: down.family(),
        allow: "",
        request_id: account.request_id(),
        callback_timeout: Duration::ZERO,
    };
    refusal.write(&mut out, &reply, false);
    let told = down.tell(&out, &[], account.started().after(LINGER)).await;
    account.end(if told.is_ok() { Ending::Refused } else { Ending::CallerGone });
    false
}

/// Closes so that the last answer arrives: a close with unread bytes would be a reset, which destroys what is under way.
pub(super) async fn linger(local: &Local, down: &mut Downstream) {
    down.watch.set(local.clock.read().after(LINGER));
    let mut thrown_away = 0;
    while thrown_away <= DRAIN_BYTES_MAX {
        let unread = down.unread().len();
        down.consume(unread);
        thrown_away += unread;
        let heard = std::future::poll_fn(|cx| {
            if let std::task::Poll::Ready(heard) = down.poll_hear(cx) {
                return std::task::Poll::Ready(heard);
            }
            down.watch.poll_expired(cx).map(|_| downstream::Heard::End)
        })
        .await;
        if heard == downstream::Heard::End {
            return;
        }
    }
}
