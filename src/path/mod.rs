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
//! [`ask`] tells these three apart; [`tell`] says what we answer ourselves.
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
mod ask;
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
mod tell;
mod tunnel;
mod upload;

use std::net::SocketAddr;

pub use refuse::Refusal;

use account::Account;
use ask::{Asked, what_is_asked};
use authenticate::authenticate;
use authorize::{authorize, enter};
use body::BodyFault;
use compose::compose_body;
use consult::consult;
use downstream::Downstream;
use exchange::Exchange;
use foreign::compose_whole;
use origin::Visit;
use parse::{await_request, parse};
use passthrough::Crossing;
use peek::peek;
use relay::relay;
use route::{Bound, Routed, Unrouted, route};
use tell::{linger, refuse, refuse_unparsed, say};
use tunnel::tunnel;

use crate::local::Local;
use crate::record::Ending;
use crate::settings::Paths;
use crate::socket::Socket;

const HEALTHY: &str = r#"{"status":"pass"}"#;

/// Serves one connection until it ends.
pub(crate) async fn serve_connection(local: &Local, socket: Socket, peer: SocketAddr, paths: Paths) {
    let mut down = Downstream::new(local, socket, peer, paths);
    while await_request(local, &mut down).await {
        // Boxed: an idle connection must not pay for the state of a request. The box comes first, so that the state begins in it;
        // `Box::pin` would copy all of it there.
        let state = Box::write(Box::new_uninit(), serve_request(local, &mut down));
        if !Box::into_pin(state).await {
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
    let mut account = Account::open(local, down.peer);
    let mut scratch = local.scratch();
    let head_len = match parse(local, down, &mut scratch.request).await {
        Ok(head_len) => head_len,
        Err(unparsed) => return refuse_unparsed(unparsed, &mut account, down).await,
    };
    let mut ex = Exchange::begin(local, down, account, scratch, head_len);
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
    Ok(Decision::Relay(routed))
}

/// Passes a request on to cube-admin.
async fn pass_on(ex: &mut Exchange<'_>, visit: &Visit) -> Result<Decision, Stop> {
    ex.account.template(origin::TEMPLATE);
    let composed = compose_whole(ex)?;
    ex.say_continue().await?;
    let routed = route(ex, Bound::Admin(visit), composed).await;
    let routed = routed.map_err(|unrouted| match unrouted {
        Unrouted::Refused(refusal) => Unrouted::Refused(origin::rename(refusal)),
        Unrouted::Gone => Unrouted::Gone,
    })?;
    Ok(Decision::Relay(routed))
}

/// Passes a request of a passthrough listener on to its cluster.
async fn cross<'a>(ex: &mut Exchange<'a>, crossing: Crossing<'a>) -> Result<Decision, Stop> {
    let crossed = consult(ex, crossing).await?;
    let composed = compose_whole(ex)?;
    ex.say_continue().await?;
    let routed = route(ex, Bound::Passthrough(&crossed), composed).await?;
    let switched = ex.scratch.response.status == 101;
    Ok(if switched { Decision::Tunnel(routed) } else { Decision::Relay(routed) })
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
