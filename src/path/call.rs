//! Call: asks the authentication callback once, for [`super::consult`].
//!
//! A POST without a body and with the documented fields only. It takes a connection from the core's pool like any request, and is
//! sent once more, on a new connection, if the kept one had gone stale.

use std::task::{Context, Poll};
use std::time::Duration;

use super::attempt::{Answered, AttemptFault, Awaited, UpstreamFault, attempt};
use super::consult::{Credential, Gone};
use super::exchange::Exchange;
use super::foreign::foreign_path;
use super::route::{Opened, open_link};
use super::upload::{Outgoing, OutgoingBytes};
use crate::buf::Lease;
use crate::callback::{CallFault, Verdict};
use crate::clock::Moment;
use crate::http1::{ChunkScanner, Framing, HeadWriter, ResponseBody};
use crate::meter::RetryReason;
use crate::settings::Callback;
use crate::upstream::{Kept, Link};

/// What of a callback's body is read, so that its connection can be used again, and how long it is waited for.
const BODY_BYTES_MAX: usize = 64 * 1024;
const BODY_PATIENCE: Duration = Duration::from_millis(100);

/// Makes one call and returns what it came to.
pub(super) async fn make_call(
    ex: &mut Exchange<'_>,
    callback: &Callback,
    credential: &Credential,
    deadline: Moment,
) -> Result<Verdict, Gone> {
    let neighbours = ex.local.neighbours();
    let endpoint = &neighbours.callback.as_ref().expect("there is a callback").endpoints[0];
    let mut kept = Kept::Any;
    loop {
        let link = match open_link(ex, endpoint, kept, deadline, true).await {
            Opened::Done(Ok(link)) => link,
            Opened::Done(Err(_)) => return Ok(Verdict::Unreachable(CallFault::Connect)),
            Opened::Gone => return Err(Gone),
            Opened::Expired => return Ok(Verdict::TimedOut),
        };
        let reused = link.reused();
        let head = compose_call(ex, callback, credential);
        let nothing = Outgoing { held: OutgoingBytes::Nothing, rest: false, chunked: false };
        let awaited = Awaited { deadline, head_only: false, aside: true, upgrade: false };
        match attempt(ex, link, head, &nothing, awaited).await {
            Ok(answered) => {
                let allows = ex.scratch.response.status == 200;
                finish(ex, answered, deadline).await;
                return Ok(if allows { Verdict::Allows } else { Verdict::Refuses });
            }
            Err(AttemptFault::Upstream(UpstreamFault::ClosedUnanswered)) if reused && kept != Kept::None => {
                // It was closed while it was kept: nobody's fault, and nothing was decided yet.
                ex.local.meter.retries.bump(RetryReason::Stale);
                kept = Kept::None;
            }
            Err(AttemptFault::Upstream(UpstreamFault::ClosedUnanswered)) => {
                return Ok(Verdict::Unreachable(CallFault::Closed));
            }
            Err(AttemptFault::Upstream(UpstreamFault::Invalid)) => {
                return Ok(Verdict::Unreachable(CallFault::Invalid));
            }
            Err(AttemptFault::Upstream(UpstreamFault::Silent)) => return Ok(Verdict::TimedOut),
            // A call has no body of the caller's that could be at fault.
            Err(AttemptFault::Gone | AttemptFault::Refused(_)) => return Err(Gone),
        }
    }
}

/// The call: the documented fields, and the two without which it would be no request.
fn compose_call(ex: &Exchange<'_>, callback: &Callback, credential: &Credential) -> Lease {
    let mut out = ex.local.buffers.small();
    let authority = callback.cluster.endpoints[0].authority.as_bytes();
    let path = foreign_path(ex).expect("a crossing's path was looked at");
    HeadWriter::request(&mut out, &http::Method::POST, &[callback.target.as_bytes()], authority)
        .field(credential.name(), credential.value())
        .field("x-request-path", path)
        .field("x-request-method", ex.request().method.as_str().as_bytes())
        .end(Framing::Length(0));
    out
}

/// Reads the answer's body, for the sake of the connection. The decision stands already, so nothing that happens here is a fault;
/// what is not over in a moment is closed.
async fn finish(ex: &mut Exchange<'_>, answered: Answered, deadline: Moment) {
    let Answered { link, mut received, head_len, upload } = answered;
    let response = &ex.scratch.response;
    let mut rest = match response.body {
        ResponseBody::None => Rest::Length(0),
        ResponseBody::Length(bytes) => Rest::Length(bytes),
        ResponseBody::Chunked => Rest::Chunked(ChunkScanner::default()),
        ResponseBody::UntilClose => return,
    };
    if !response.keep_alive || upload.is_some() {
        return;
    }
    let mut drained = received.len() - head_len;
    let mut over = rest.take(&received[head_len..]);
    ex.down.watch.set(deadline.min(ex.local.clock.now().after(BODY_PATIENCE)));
    while over == Some(false) && drained <= BODY_BYTES_MAX {
        received.clear();
        match std::future::poll_fn(|cx| poll_received(ex, &link, &mut received, cx)).await {
            Ok(count) => drained += count,
            Err(Unfinished) => return,
        }
        over = rest.take(&received);
    }
    if over == Some(true) {
        link.keep(&ex.local.upstreams, ex.local.clock.now());
    }
}

/// The body will not be read to its end.
struct Unfinished;

fn poll_received(
    ex: &Exchange<'_>,
    link: &Link,
    received: &mut Lease,
    cx: &mut Context<'_>,
) -> Poll<Result<usize, Unfinished>> {
    while link.socket().poll_readable(cx).is_ready() {
        match link.socket().try_recv(received) {
            Ok(Some(0)) | Err(_) => return Poll::Ready(Err(Unfinished)),
            Ok(Some(count)) => return Poll::Ready(Ok(count)),
            Ok(None) => {}
        }
    }
    ex.down.watch.poll_expired(cx).map(|_| Err(Unfinished))
}

/// What is still to come of a body that nobody wants.
enum Rest {
    Length(u64),
    Chunked(ChunkScanner),
}

impl Rest {
    /// Takes what came. Whether that was the end; `None` if it was more than that, or is no body.
    fn take(&mut self, bytes: &[u8]) -> Option<bool> {
        match self {
            Self::Length(left) => {
                *left = left.checked_sub(bytes.len() as u64)?;
                Some(*left == 0)
            }
            Self::Chunked(scanner) => {
                let scanned = scanner.scan(bytes, |_| {}).ok()?;
                (scanned.used == bytes.len()).then_some(scanned.done)
            }
        }
    }
}
