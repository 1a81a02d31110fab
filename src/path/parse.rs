//! Parse: bytes → request head, under a deadline.
//!
//! Enters with an idle connection; leaves with a valid head in the scratch, or with an [`Unparsed`].
//! While nothing has arrived the connection holds no buffer.

use super::downstream::{Downstream, Heard};
use super::refuse::Refusal;
use crate::clock::Expired;
use crate::http1::{HeadError, Parsed, RequestHead};
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

/// Reads and parses one head into `request`. Returns its length in what is unread.
///
/// # Errors
/// [`Unparsed`].
pub(crate) async fn parse(
    local: &Local,
    down: &mut Downstream,
    request: &mut RequestHead,
) -> Result<usize, Unparsed> {
    down.watch.set(local.clock.now().after(local.settings.timeouts.head));
    request.reset();
    loop {
        match request.parse(down.unread(), &local.settings.limits.head) {
            Ok(Parsed::Complete { len }) => return Ok(len),
            Ok(Parsed::Partial) => {}
            Err(error) => return Err(Unparsed::Refused(Refusal::Head(error))),
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
            Ok(Heard::End) => return Err(Unparsed::Closed),
            Ok(Heard::Full) => return Err(Unparsed::Refused(Refusal::Head(HeadError::TooLarge))),
            Err(Expired) => return Err(Unparsed::Refused(Refusal::HeadTimeout)),
        }
    }
}
