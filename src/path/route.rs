//! Route: Permit → [`Routed`]: an endpoint of the model's cluster that has begun to answer. The only retry loop.
//!
//! # Promises
//! * Nothing is tried twice once a byte of an answer has reached the caller; here none has.
//! * A request that was sent on a new connection is never sent again unless the endpoint itself said that it did not take it
//!   (502, 503, 429 with another endpoint to go to). So a completion is computed at most once.
//! * A kept connection that turns out to be closed costs one more attempt, not an error.
//! * What may not be sent twice is not, whatever becomes of it: a request of somebody else's API that is not idempotent, and one whose
//!   body is not held. It takes a kept connection only while that is warm ([`Kept::Warm`]); if the server closes it just then,
//!   the caller is told 502, and the endpoint is not blamed (`docs/decisions/0013-sent-once-on-a-warm-connection.md`).
//! * At most `upstream.attempts_max` attempts, whatever happens.

use super::attempt::{Answered, AttemptFault, Awaited, UpstreamFault, attempt};
use super::authorize::Permit;
use super::compose::{Composed, compose_head};
use super::exchange::Exchange;
use super::origin::{Visit, compose_visit_head};
use super::passthrough::{Crossed, compose_crossed_head};
use super::refuse::Refusal;
use super::secure;
use super::upload::Outgoing;
use crate::buf::Lease;
use crate::clock::Moment;
use crate::meter::{AttemptOutcome, RetryReason};
use crate::tables::{ClusterEntry, EndpointEntry};
use crate::upstream::balance::{Candidate, pick};
use crate::upstream::{Destination, Kept, Link, OpenFault};

/// Proof that an endpoint answers: the point of no return for retries lies behind it.
pub(crate) struct Routed {
    pub(crate) answered: Answered,
    pub(crate) idle_timeout: std::time::Duration,
    pub(crate) total_deadline: Option<Moment>,
    pub(crate) usage_injected: bool,
}

/// What lets a request out.
#[derive(Clone, Copy)]
pub(crate) enum Bound<'p> {
    /// Everything that inference needs.
    Model(&'p Permit),
    /// That it is cube-admin's.
    Admin(&'p Visit),
    /// A callback's word.
    Passthrough(&'p Crossed<'p>),
}

impl<'p> Bound<'p> {
    fn cluster(self) -> Option<&'p ClusterEntry> {
        match self {
            Self::Model(permit) => permit.cluster().map(|cluster| permit.tables().cluster(cluster)),
            Self::Admin(visit) => Some(visit.admin()),
            Self::Passthrough(crossed) => Some(crossed.cluster()),
        }
    }

    fn compose_head(self, ex: &Exchange<'_>, endpoint: &EndpointEntry, body: &Outgoing) -> Lease {
        match self {
            Self::Model(permit) => compose_head(ex, permit, endpoint, body),
            Self::Admin(_) => compose_visit_head(ex, endpoint, body),
            Self::Passthrough(crossed) => compose_crossed_head(ex, crossed, endpoint, body),
        }
    }

    /// Whether a WebSocket is asked for.
    fn upgrades(self) -> bool {
        match self {
            Self::Model(_) | Self::Admin(_) => false,
            Self::Passthrough(crossed) => crossed.upgrades(),
        }
    }

    /// Whether the same request can be sent again, and may be where it is not known what became of the first (RFC 9110 §9.2.2).
    fn may_repeat(self, ex: &Exchange<'_>, body: &Outgoing) -> bool {
        let permitted = match self {
            Self::Model(_) => true,
            Self::Admin(_) | Self::Passthrough(_) => ex.request().method.is_idempotent(),
        };
        permitted && body.is_replayable()
    }
}

/// Why nobody answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unrouted {
    Refused(Refusal),
    Gone,
}

/// Finds an endpoint that answers.
///
/// # Errors
/// [`Unrouted`]: the last fault met, as the caller is told it.
pub(crate) async fn route(
    ex: &mut Exchange<'_>,
    bound: Bound<'_>,
    composed: Composed,
) -> Result<Box<Routed>, Unrouted> {
    let Composed { body, usage_injected } = composed;
    let cluster = bound.cluster().ok_or(Unrouted::Refused(Refusal::ModelUnknown))?;
    let may_repeat = bound.may_repeat(ex, &body);
    let attempts_max = ex.local.settings.upstream.attempts_max;
    let mut tried = Tried::default();
    let mut last = Refusal::NoEndpoint;
    let mut attempts = 0;
    while attempts < attempts_max {
        let Some(index) = choose(ex, cluster, &tried) else { break };
        let endpoint = &cluster.endpoints[index];
        attempts += 1;
        ex.account.attempt(cluster, endpoint);
        let link = match connect(ex, cluster, endpoint, tried.kept(index, may_repeat)).await {
            Ok(link) => link,
            Err(Unconnected::Gone) => return Err(Unrouted::Gone),
            Err(Unconnected::Refused(refusal)) => {
                if attempts < attempts_max {
                    ex.local.meter.retries.bump(RetryReason::Connect);
                }
                tried.failed(index);
                last = refusal;
                continue;
            }
        };
        let reused = link.reused();
        let head = bound.compose_head(ex, endpoint, &body);
        ex.account.sending();
        let awaited = Awaited {
            deadline: ex.local.clock.now().after(cluster.head_timeout),
            head_only: ex.request().method == http::Method::HEAD,
            aside: false,
            upgrade: bound.upgrades(),
        };
        match attempt(ex, link, head, &body, awaited).await {
            Ok(answered) => {
                ex.local.meter.attempts.bump(AttemptOutcome::Answered);
                let status = ex.scratch.response.status;
                let elsewhere = matches!(status, 429 | 502 | 503) && may_repeat;
                tried.failed(index);
                if elsewhere && attempts < attempts_max && choose(ex, cluster, &tried).is_some() {
                    ex.local.meter.retries.bump(RetryReason::Status);
                    continue;
                }
                answered.link.answered();
                let total_deadline = cluster.total_timeout.map(|total| ex.account.started().after(total));
                return Ok(Box::new(Routed {
                    answered,
                    idle_timeout: cluster.idle_timeout,
                    total_deadline,
                    usage_injected,
                }));
            }
            Err(AttemptFault::Gone) => {
                ex.local.meter.attempts.bump(AttemptOutcome::Abandoned);
                return Err(Unrouted::Gone);
            }
            Err(AttemptFault::Refused(refusal)) => {
                ex.local.meter.attempts.bump(AttemptOutcome::Abandoned);
                return Err(Unrouted::Refused(refusal));
            }
            Err(AttemptFault::Upstream(fault)) => {
                ex.local.meter.attempts.bump(fault.as_outcome(reused));
                let stale = reused && fault == UpstreamFault::ClosedUnanswered;
                if stale && may_repeat {
                    ex.local.meter.retries.bump(RetryReason::Stale);
                    tried.went_stale(index);
                    // A stale connection is nobody's fault; it does not use up the budget, and happens once per endpoint.
                    attempts -= 1;
                    continue;
                }
                if !stale {
                    fail(ex, endpoint);
                }
                return Err(Unrouted::Refused(fault.as_refusal()));
            }
        }
    }
    Err(Unrouted::Refused(last))
}

impl UpstreamFault {
    const fn as_outcome(self, reused: bool) -> AttemptOutcome {
        match self {
            Self::ClosedUnanswered if reused => AttemptOutcome::Stale,
            Self::ClosedUnanswered => AttemptOutcome::Closed,
            Self::Invalid => AttemptOutcome::HeadInvalid,
            Self::Silent => AttemptOutcome::HeadTimeout,
        }
    }

    const fn as_refusal(self) -> Refusal {
        match self {
            Self::ClosedUnanswered => Refusal::UpstreamUnreachable,
            Self::Invalid => Refusal::UpstreamInvalid,
            Self::Silent => Refusal::UpstreamTimeout,
        }
    }
}

/// Endpoints of one cluster that this request has been to; clusters of more than 64 share the last bit.
#[derive(Default)]
struct Tried {
    failed: u64,
    stale: u64,
}

impl Tried {
    fn bit(index: usize) -> u64 {
        1 << index.min(63)
    }

    fn failed(&mut self, index: usize) {
        self.failed |= Self::bit(index);
    }

    fn has_failed(&self, index: usize) -> bool {
        self.failed & Self::bit(index) != 0
    }

    fn went_stale(&mut self, index: usize) {
        self.stale |= Self::bit(index);
    }

    /// Which kept connections to an endpoint will do.
    fn kept(&self, index: usize, may_repeat: bool) -> Kept {
        if self.stale & Self::bit(index) != 0 {
            Kept::None
        } else if may_repeat {
            Kept::Any
        } else {
            Kept::Warm
        }
    }
}

/// Two choices among the endpoints that are not set aside; if all are, among all (better to try than to fail unheard).
fn choose(ex: &Exchange<'_>, cluster: &ClusterEntry, tried: &Tried) -> Option<usize> {
    if let [_only] = &*cluster.endpoints {
        return (!tried.has_failed(0)).then_some(0);
    }
    let now = ex.local.clock.now();
    let upstreams = &ex.local.upstreams;
    let candidates = |aside_too: bool| {
        cluster.endpoints.iter().enumerate().map(move |(index, endpoint)| {
            let to = first_of(endpoint);
            Candidate {
                weight: endpoint.weight,
                in_flight: to.map_or(0, |to| upstreams.in_flight(to)),
                excluded: tried.has_failed(index)
                    || (!aside_too && to.is_none_or(|to| upstreams.is_aside(to, now))),
            }
        })
    };
    let random = ex.local.random();
    pick(candidates(false), random).or_else(|| pick(candidates(true), random))
}

/// The destination that speaks for all of an endpoint's.
fn first_of(endpoint: &EndpointEntry) -> Option<Destination> {
    endpoint.addrs.first().map(|&address| Destination::new(address, endpoint.identity.as_ref()))
}

fn fail(ex: &Exchange<'_>, endpoint: &EndpointEntry) {
    if let Some(to) = first_of(endpoint)
        && ex.local.upstreams.failed(to, ex.local.clock.read())
    {
        ex.local.meter.ejections.bump();
    }
}

enum Unconnected {
    Refused(Refusal),
    Gone,
}

/// A connection to `endpoint`, in time or not, noted as an attempt.
async fn connect(
    ex: &mut Exchange<'_>,
    cluster: &ClusterEntry,
    endpoint: &EndpointEntry,
    kept: Kept,
) -> Result<Link, Unconnected> {
    let deadline = ex.local.clock.read().after(cluster.connect_timeout);
    let (refusal, outcome) = match open_link(ex, endpoint, kept, deadline, false).await {
        Opened::Done(Ok(link)) => return Ok(link),
        Opened::Gone => return Err(Unconnected::Gone),
        Opened::Done(Err(OpenFault::Handshake(_))) => {
            (Refusal::UpstreamUnreachable, AttemptOutcome::HandshakeFailed)
        }
        Opened::Done(Err(OpenFault::Connect(_))) => {
            (Refusal::UpstreamUnreachable, AttemptOutcome::ConnectFailed)
        }
        Opened::Expired => (Refusal::UpstreamTimeout, AttemptOutcome::ConnectTimeout),
    };
    ex.local.meter.attempts.bump(outcome);
    fail(ex, endpoint);
    Err(Unconnected::Refused(refusal))
}

/// How an attempt at a connection ended.
pub(super) enum Opened {
    Done(Result<Link, OpenFault>),
    Gone,
    Expired,
}

/// A connection to `endpoint`: a kept one that will do, else a new one to the first of its addresses that takes it.
///
/// * `aside`: as in [`Awaited`].
pub(super) async fn open_link(
    ex: &mut Exchange<'_>,
    endpoint: &EndpointEntry,
    kept: Kept,
    deadline: Moment,
    aside: bool,
) -> Opened {
    let (upstreams, identity) = (&ex.local.upstreams, endpoint.identity.as_ref());
    let now = ex.local.clock.now();
    let reuse = |&address: &_| upstreams.reuse(Destination::new(address, identity), kept, now);
    if let Some(link) = endpoint.addrs.iter().find_map(reuse) {
        return Opened::Done(Ok(link));
    }
    ex.down.watch.set(deadline);
    let terms = ex.local.terms();
    let nowhere = std::io::ErrorKind::NotFound.into();
    let mut last = Opened::Done(Err(OpenFault::Connect(nowhere)));
    for &address in &*endpoint.addrs {
        let to = Destination::new(address, identity);
        let opening = upstreams.open(to, identity, &terms.upstream, &ex.local.buffers);
        let mut opening = std::pin::pin!(opening);
        last = std::future::poll_fn(|cx| {
            if let std::task::Poll::Ready(opened) = opening.as_mut().poll(cx) {
                return std::task::Poll::Ready(Opened::Done(opened.map(|(link, agreed)| {
                    if let Some(agreed) = agreed {
                        ex.local.meter.handshakes_up.bump(secure::outcome_of_agreed(agreed));
                    }
                    link
                })));
            }
            if (aside || ex.body.is_done()) && ex.poll_caller_gone(cx).is_ready() {
                return std::task::Poll::Ready(Opened::Gone);
            }
            ex.down.watch.poll_expired(cx).map(|_| Opened::Expired)
        })
        .await;
        match &last {
            Opened::Done(Err(OpenFault::Handshake(fault))) => {
                ex.local.meter.handshakes_up.bump(secure::outcome_of(fault));
                ex.account.upstream_fault(fault);
            }
            Opened::Done(Err(OpenFault::Connect(_))) => {}
            Opened::Done(Ok(_)) | Opened::Gone | Opened::Expired => break,
        }
    }
    last
}
