//! The story of one request, one file per stage, named with its verb.
//!
//! ```text
//! accept → parse → authenticate → enter → peek → authorize → route → relay → account
//!            │          │           │       │         │        │       │
//!            └──────────┴───────────┴───────┴─────────┴────────┴───────┴──► refuse
//! ```
//!
//! What is not below `/proxy/` is not this story: behind parse, `origin` hands it to route and relay as it is, for cube-admin. Nor is
//! what comes to a passthrough listener: there `consult` asks an authentication callback, and `passthrough` hands the request on.
//!
//! Read [`serve_request`] first: it is the whole story on one screen. The stages hand each other proofs: a [`Caller`] comes only
//! from `authenticate`, an `Entrant` only from `enter`, a [`Permit`] only from `authorize`, a `Routed` only from `route`; each
//! stage consumes the one before, so a stage that is left out does not compile. A kept-alive connection runs all of it again for
//! every request, against the tables of now.
//!
//! [`Caller`]: authenticate::Caller
//! [`Permit`]: authorize::Permit

#![deny(clippy::disallowed_methods)]

pub(crate) mod accept;
mod account;
mod answer;
mod attempt;
mod authenticate;
mod authorize;
mod begin;
mod body;
mod call;
mod compose;
mod consult;
mod divert;
mod downstream;
mod exchange;
mod foreign;
mod frames;
mod origin;
mod parse;
mod passthrough;
mod peek;
mod refuse;
mod relay;
mod route;
mod secure;
mod strip;
mod tunnel;
mod upload;

use std::net::SocketAddr;
use std::time::Duration;

pub use refuse::Refusal;

use account::Account;
use authenticate::authenticate;
use authorize::{authorize, enter};
use body::{BodyFault, BodyReader};
use compose::compose_body;
use consult::consult;
use downstream::Downstream;
use exchange::Exchange;
use foreign::compose_whole;
use origin::{Visit, visit};
use parse::Unparsed;
use passthrough::Crossing;
use peek::peek;
use relay::relay;
use route::{Bound, Routed, Unrouted, route};
use tunnel::tunnel;

use crate::http1::{Known, TargetError};
use crate::local::Local;
use crate::operations::{Endpoint, Lookup, lookup};
use crate::record::Ending;
use crate::settings::Paths;
use crate::socket::Socket;

/// Body bytes of a refused request that are read and thrown away so that its connection can be used again.
const DRAIN_BYTES_MAX: usize = 64 * 1024;
/// How long a closing connection waits for its caller to read the last answer and close.
const LINGER: Duration = Duration::from_secs(1);

/// Serves one connection until it ends.
pub(crate) async fn serve_connection(local: &Local, socket: Socket, peer: SocketAddr, paths: Paths) {
    let mut down = Downstream::new(local, socket, peer, paths);
    while parse::await_request(local, &mut down).await {
        // Boxed: an idle connection must not pay for the state of a request.
        if !Box::pin(serve_request(local, &mut down)).await {
            break;
        }
    }
    if down.gone {
        return;
    }
    // Also where the close follows at once: the close is work of the ring's next turn, and the caller need not wait for it.
    down.socket.shutdown_write();
    if !down.is_quiet() {
        linger(local, &mut down).await;
    }
}

/// Serves one request: the stages in order. Returns whether the connection may serve another.
async fn serve_request(local: &Local, down: &mut Downstream) -> bool {
    let account = Account::open(local, down.peer);
    let mut ex = match parse::parse(local, down, account).await {
        Ok(ex) => ex,
        Err((unparsed, account, down)) => return refuse_unparsed(unparsed, account, down).await,
    };
    let ending = match decide(&mut ex).await {
        Ok(Decision::Relay(routed)) => relay(&mut ex, routed).await,
        Ok(Decision::Tunnel(routed)) => tunnel(&mut ex, routed).await,
        Ok(Decision::Answer(body)) => say(&mut ex, &body).await,
        Err(Stop::Refused(refusal)) => refuse(&mut ex, refusal).await,
        Err(Stop::Gone) => Ending::CallerGone,
    };
    let keep = ex.keep_alive
        && !ex.down.gone
        && matches!(ending, Ending::Complete | Ending::Refused | Ending::UpstreamFailed);
    // Out of time together with the process, not by anybody's fault.
    let cut = local.cutting.get() && ending != Ending::Complete;
    ex.account.end(if cut { Ending::Drained } else { ending });
    ex.down.last = ex.is_last && ex.body.is_done();
    keep
}

/// What is to be done with a request that may pass.
enum Decision {
    Relay(Box<Routed>),
    Tunnel(Box<Routed>),
    Answer(String),
}

/// Why a request does not pass.
enum Stop {
    Refused(Refusal),
    Gone,
}

async fn decide(ex: &mut Exchange<'_>) -> Result<Decision, Stop> {
    let wanted = match what_is_asked(ex)? {
        Asked::Health => return Ok(Decision::Answer(HEALTHY.to_owned())),
        Asked::Admin(visit) => return pass_on(ex, &visit).await,
        Asked::Passthrough(crossing) => return cross(ex, crossing).await,
        Asked::InDomain(wanted) => wanted,
    };
    let caller = authenticate(ex)?;
    let entrant = enter(ex, caller, wanted)?;
    let peeked = peek(ex, &entrant).await?;
    let permit = authorize(ex, entrant, &peeked)?;
    if let Some(body) = answer::answer(&permit) {
        return Ok(Decision::Answer(body));
    }
    let composed = compose_body(ex, &permit, peeked);
    let routed = route(ex, Bound::Model(&permit), composed).await?;
    Ok(Decision::Relay(Box::new(routed)))
}

/// Passes a request on to cube-admin.
async fn pass_on(ex: &mut Exchange<'_>, visit: &Visit<'_>) -> Result<Decision, Stop> {
    ex.account.template(origin::TEMPLATE);
    let composed = compose_whole(ex)?;
    ex.say_continue().await?;
    let routed = route(ex, Bound::Admin(visit), composed).await;
    let routed = routed.map_err(|unrouted| match unrouted {
        Unrouted::Refused(refusal) => Unrouted::Refused(origin::rename(refusal)),
        Unrouted::Gone => Unrouted::Gone,
    })?;
    Ok(Decision::Relay(Box::new(routed)))
}

/// Passes a request of a passthrough listener on to its cluster.
async fn cross<'a>(ex: &mut Exchange<'a>, crossing: Crossing<'a>) -> Result<Decision, Stop> {
    let crossed = consult(ex, crossing).await?;
    let composed = compose_whole(ex)?;
    ex.say_continue().await?;
    let routed = Box::new(route(ex, Bound::Passthrough(&crossed), composed).await?);
    let switched = ex.scratch.response.status == 101;
    Ok(if switched { Decision::Tunnel(routed) } else { Decision::Relay(routed) })
}

/// What a head asks for.
enum Asked<'a> {
    /// Something of cube-admin's, with which the proxy has nothing to do.
    Admin(Visit<'a>),
    /// Anything, on a listener that passes everything on.
    Passthrough(Crossing<'a>),
    /// The proxy's own health, which needs no credential.
    Health,
    /// Something in a domain.
    InDomain(Wanted),
}

/// What is asked of a domain.
#[derive(Clone, Copy)]
pub(crate) enum Wanted {
    /// An operation of the table.
    Listed(&'static Endpoint),
    /// Nothing that the table has. Unless a rule opens the path it is refused like this, after the credential was looked at: who has
    /// none learns nothing, not even which paths there are.
    Unlisted(Refusal),
}

const HEALTHY: &str = r#"{"status":"pass"}"#;

/// Names the request and finds its operation: exact or segment-wise, deny by default.
fn what_is_asked<'a>(ex: &mut Exchange<'a>) -> Result<Asked<'a>, Refusal> {
    let claimed = ex.scratch.request.field(Known::XRequestId).map(|field| field.value);
    let claimed = claimed.map(|span| span.of(ex.head_bytes()).to_vec());
    ex.account.request(&ex.scratch.request.method, claimed.as_deref());
    if ex.local.settings.trusts(ex.down.peer.ip())
        // A proxy may add its own line instead of its own entry: the last line is the one that the trusted peer wrote.
        && let Some(field) = ex.scratch.request.fields().iter().rfind(|f| f.known == Known::XForwardedFor)
    {
        let value = field.value.of(ex.head_bytes()).to_vec();
        ex.account.forwarded_for(&value);
    }
    if ex.down.paths == Paths::Passthrough {
        ex.account.template(passthrough::TEMPLATE);
        return Crossing::of(ex).map(Asked::Passthrough);
    }
    if let Some(visit) = visit(ex)? {
        return Ok(Asked::Admin(visit));
    }
    match ex.split_path() {
        Ok(()) => {}
        Err(TargetError::NotProxy) if ex.request().path.of(ex.head_bytes()) == b"/health" => {
            return Ok(Asked::Health);
        }
        Err(TargetError::NotProxy) => return Err(Refusal::PathUnknown),
        Err(TargetError::BadPath) => return Err(Refusal::PathInvalid),
    }
    let found = lookup(&ex.request().method, ex.rest());
    ex.family = refuse::family_of(ex.rest());
    Ok(Asked::InDomain(match found {
        Lookup::Found(endpoint) => {
            ex.family = endpoint.family;
            ex.account.endpoint(endpoint);
            Wanted::Listed(endpoint)
        }
        Lookup::NotFound => Wanted::Unlisted(Refusal::PathUnknown),
        Lookup::MethodNotAllowed { allow } => {
            ex.allow = allow;
            Wanted::Unlisted(Refusal::MethodNotAllowed)
        }
    }))
}

/// Sends an answer of our own making.
async fn say(ex: &mut Exchange<'_>, body: &str) -> Ending {
    let mut out = ex.local.buffers.small();
    settle_body(ex);
    refuse::write_json(&mut out, 200, "", body, ex.account.request_id(), ex.keep_alive);
    ex.account.answering(200, ex.local.clock.read(), false);
    tell(ex, &out, Ending::Complete).await
}

/// Sends a refusal.
async fn refuse(ex: &mut Exchange<'_>, refusal: Refusal) -> Ending {
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
async fn refuse_unparsed(unparsed: Unparsed, mut account: Account<'_>, down: &mut Downstream) -> bool {
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
async fn linger(local: &Local, down: &mut Downstream) {
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

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<BodyFault> for Stop {
    fn from(fault: BodyFault) -> Self {
        match fault {
            BodyFault::Refused(refusal) => Self::Refused(refusal),
            BodyFault::Gone => Self::Gone,
        }
    }
}

impl From<Unrouted> for Stop {
    fn from(unrouted: Unrouted) -> Self {
        match unrouted {
            Unrouted::Refused(refusal) => Self::Refused(refusal),
            Unrouted::Gone => Self::Gone,
        }
    }
}
