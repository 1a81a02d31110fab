//! Consult: credential → [`Consent`], by asking the authentication callback. Before a single byte of the body is wanted.
//!
//! The call is a POST without a body and with the documented fields only. It takes a connection from the core's pool like any
//! request, and is sent once more, on a new connection, if the kept one had gone stale.
//!
//! # Promises
//! * Status 200 allows; every other answer is a refusal; no answer is an error. Nothing else of an answer counts.
//! * Nothing of what the caller says of itself reaches the callback but its credential, its path and its method.
//! * No request waits longer than `auth_callback_timeout_s`, connecting included, and a caller that leaves takes the call along.
//!
//! # Source
//! The authentication page of the Cube API Server; its bodies and statuses are public API.

use super::Stop;
use super::attempt::{Answered, AttemptFault, Awaited, UpstreamFault, attempt};
use super::exchange::Exchange;
use super::foreign::foreign_path;
use super::passthrough::{Crossed, Crossing};
use super::refuse::{CallbackFault, Refusal};
use super::route::{Opened, open_link};
use super::upload::{Outgoing, OutgoingBytes};
use crate::buf::Lease;
use crate::clock::Moment;
use crate::http1::{ChunkScanner, Framing, HeadWriter, Known, ResponseBody};
use crate::settings::Callback;

/// Paths that a GET may have without a credential: load balancers have none. The cluster answers them, for it is what they ask about.
const EXEMPT: [&[u8]; 2] = [b"/health", b"/cubeapi/v1/health"];
/// What of a callback's body is read, so that its connection can be used again, and how long it is waited for.
const BODY_BYTES_MAX: usize = 64 * 1024;
const BODY_PATIENCE: std::time::Duration = std::time::Duration::from_millis(100);

/// Proof that the callback agrees, or that it need not be asked.
pub(crate) struct Consent {
    credential: Option<Credential>,
}

/// What the callback was shown.
pub(crate) struct Credential {
    kind: Kind,
    value: Box<[u8]>,
}

/// Which field it came in, and goes on in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Bearer,
    ApiKey,
}

impl Consent {
    /// The credential that the callback took; `None` if it was not asked.
    pub(crate) const fn credential(&self) -> Option<&Credential> {
        self.credential.as_ref()
    }
}

impl Credential {
    /// Name of its field.
    pub(crate) const fn name(&self) -> &'static str {
        match self.kind {
            Kind::Bearer => "authorization",
            Kind::ApiKey => "x-api-key",
        }
    }

    /// Value of its field.
    pub(crate) const fn value(&self) -> &[u8] {
        &self.value
    }
}

/// Asks whether the request may go on.
///
/// # Errors
/// [`Refusal::CallbackCredentialMissing`], without a call; [`Refusal::CallbackRejected`]; [`Refusal::CallbackUnreachable`];
/// [`Refusal::CallbackTimedOut`]; or the caller left meanwhile.
pub(crate) async fn consult<'a>(ex: &mut Exchange<'_>, crossing: Crossing<'a>) -> Result<Crossed<'a>, Stop> {
    let Some(callback) = &crossing.settings().callback else {
        return Ok(crossing.with(Consent { credential: None }));
    };
    if is_exempt(ex) {
        return Ok(crossing.with(Consent { credential: None }));
    }
    let credential = credential(ex).ok_or(Refusal::CallbackCredentialMissing)?;
    let allowed = call(ex, callback, &credential).await;
    // What was heard of the body meanwhile may have filled the buffer; it is read on from there.
    ex.caller_runs_ahead = false;
    if allowed? {
        Ok(crossing.with(Consent { credential: Some(credential) }))
    } else {
        Err(Refusal::CallbackRejected.into())
    }
}

fn is_exempt(ex: &Exchange<'_>) -> bool {
    ex.request().method == http::Method::GET && EXEMPT.contains(&ex.request().path.of(ex.head_bytes()))
}

/// `Authorization`, if it is exactly `Bearer ` and something, before a non-empty `X-API-Key`.
fn credential(ex: &Exchange<'_>) -> Option<Credential> {
    let bearer = ex.field(Known::Authorization).and_then(|value| value.strip_prefix(b"Bearer "));
    let bearer = bearer.map(<[u8]>::trim_ascii).filter(|rest| !rest.is_empty());
    if let Some(rest) = bearer {
        return Some(Credential { kind: Kind::Bearer, value: [b"Bearer ", rest].concat().into() });
    }
    let key = ex.field(Known::XApiKey).filter(|key| !key.is_empty())?;
    Some(Credential { kind: Kind::ApiKey, value: key.into() })
}

/// Asks the callback. Whether it allows.
async fn call(ex: &mut Exchange<'_>, callback: &Callback, credential: &Credential) -> Result<bool, Stop> {
    let endpoint = &callback.cluster.endpoints[0];
    let deadline = ex.local.clock.read().after(callback.timeout);
    let mut fresh = false;
    loop {
        let link = match open_link(ex, endpoint, fresh, deadline, true).await {
            Opened::Done(Ok(link)) => link,
            Opened::Done(Err(_)) => return Err(Refusal::CallbackUnreachable(CallbackFault::Connect).into()),
            Opened::Gone => return Err(Stop::Gone),
            Opened::Expired => return Err(Refusal::CallbackTimedOut.into()),
        };
        let reused = link.reused();
        let head = compose_call(ex, callback, credential);
        let nothing = Outgoing { held: OutgoingBytes::Nothing, rest: false, chunked: false };
        let awaited = Awaited { deadline, head_only: false, aside: true };
        match attempt(ex, link, head, &nothing, awaited).await {
            Ok(answered) => {
                let allowed = ex.scratch.response.status == 200;
                finish(ex, answered, deadline).await;
                return Ok(allowed);
            }
            // It was closed while it was kept: nobody's fault, and nothing was asked yet.
            Err(AttemptFault::Upstream(UpstreamFault::ClosedUnanswered)) if reused && !fresh => fresh = true,
            Err(AttemptFault::Upstream(fault)) => return Err(fault.of_callback().into()),
            Err(AttemptFault::Gone) => return Err(Stop::Gone),
            Err(AttemptFault::Refused(refusal)) => return Err(refusal.into()),
        }
    }
}

impl UpstreamFault {
    const fn of_callback(self) -> Refusal {
        match self {
            Self::ClosedUnanswered => Refusal::CallbackUnreachable(CallbackFault::Closed),
            Self::Invalid => Refusal::CallbackUnreachable(CallbackFault::Invalid),
            Self::Silent => Refusal::CallbackTimedOut,
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
    link: &crate::upstream::Link,
    received: &mut Lease,
    cx: &mut std::task::Context<'_>,
) -> std::task::Poll<Result<usize, Unfinished>> {
    use std::task::Poll;
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
