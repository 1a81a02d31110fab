//! Parse: bytes → request head, under a deadline.
//!
//! Enters with an idle connection; leaves with an [`Exchange`] whose head is valid, or with an [`Unparsed`].
//! While nothing has arrived the connection holds no buffer.

use super::account::Account;
use super::body::BodyReader;
use super::downstream::{Downstream, Heard};
use super::exchange::Exchange;
use super::refuse::Refusal;
use crate::clock::Expired;
use crate::http1::{BodyLength, HeadError, Parsed};
use crate::local::Local;

/// Why there is no request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unparsed {
    /// Answer this and close.
    Refused(Refusal),
    /// The caller closed before or inside the head: there is nobody to answer.
    Closed,
}

/// Waits until the next request begins; `false` when the connection is over instead.
pub(crate) async fn await_request(local: &Local, down: &mut Downstream) -> bool {
    if !down.unread().is_empty() {
        return true;
    }
    let timeouts = &local.settings.timeouts;
    let patience = if down.requests == 0 { timeouts.head } else { timeouts.keep_alive };
    down.watch.set(local.clock.now().after(patience));
    let heard = std::future::poll_fn(|cx| {
        if local.closing.get() {
            return std::task::Poll::Ready(Heard::End);
        }
        if let std::task::Poll::Ready(heard) = down.poll_hear(cx) {
            return std::task::Poll::Ready(heard);
        }
        down.watch.poll_expired(cx).map(|Expired| Heard::End)
    })
    .await;
    matches!(heard, Heard::Bytes(_))
}

/// Reads and parses one head.
///
/// # Errors
/// [`Unparsed`]; the account is left to the caller's, which decides whether that makes a record.
pub(crate) async fn parse<'a>(
    local: &'a Local,
    down: &'a mut Downstream,
    mut account: Account<'a>,
) -> Result<Exchange<'a>, (Unparsed, Account<'a>, &'a mut Downstream)> {
    account.start(local.clock.read());
    down.watch.set(local.clock.now().after(local.settings.timeouts.head));
    let mut scratch = local.scratch();
    scratch.request.reset();
    let head_len = loop {
        match scratch.request.parse(down.unread(), &local.settings.limits.head) {
            Ok(Parsed::Complete { len }) => break len,
            Ok(Parsed::Partial) => {}
            Err(error) => return Err((Unparsed::Refused(Refusal::Head(error)), account, down)),
        }
        let heard = std::future::poll_fn(|cx| {
            if let std::task::Poll::Ready(heard) = down.poll_hear(cx) {
                return std::task::Poll::Ready(Ok(heard));
            }
            down.watch.poll_expired(cx).map(Err)
        })
        .await;
        match heard {
            Ok(Heard::Bytes(_)) => {}
            Ok(Heard::End) => return Err((Unparsed::Closed, account, down)),
            Ok(Heard::Full) => {
                return Err((Unparsed::Refused(Refusal::Head(HeadError::TooLarge)), account, down));
            }
            Err(Expired) => return Err((Unparsed::Refused(Refusal::HeadTimeout), account, down)),
        }
    };
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
    account.received(inline);
    Ok(Exchange::new(local, down, account, scratch, received, head_len, body))
}
