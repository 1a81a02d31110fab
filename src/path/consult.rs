//! Consult: credential → [`Consent`], by asking the authentication callback. Before a single byte of the body is wanted.
//!
//! Most requests mean a call ([`super::call`]); where the settings say so, a decision is remembered for a while, and requests that
//! would ask the same at the same time share a call ([`crate::callback`]).
//!
//! # Promises
//! * Status 200 allows; every other answer is a refusal; no answer is an error. Nothing else of an answer counts.
//! * Nothing of what the caller says of itself reaches the callback but its credential, its path and its method.
//! * No request waits longer than `auth_callback_timeout_s`, connecting included, and a caller that leaves takes the call along.
//!
//! # Cost
//! Without a memory for decisions and without a limit, no more than the call. With one of them, two SHA-256 of a few bytes.
//!
//! # Source
//! The authentication page of the Cube API Server; its bodies and statuses are public API.

use std::task::Poll;

use super::Stop;
use super::call::make_call;
use super::exchange::Exchange;
use super::foreign::foreign_path;
use super::passthrough::{Crossed, Crossing, QUERY_CREDENTIALS};
use super::refuse::Refusal;
use crate::callback::flights::Waiting;
use crate::callback::{CredentialDigest, DecisionKey, Joined, Verdict};
use crate::clock::Moment;
use crate::http1::Known;
use crate::http1::query::{decode_value, parameter};
use crate::meter::{CallOutcome, DecisionSource};
use crate::settings::Callback;

/// Paths that a GET may have without a credential: load balancers have none. The cluster answers them, for it is what they ask about.
const EXEMPT: [&[u8]; 2] = [b"/health", b"/cubeapi/v1/health"];
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
    fn bearer(rest: &[u8]) -> Self {
        Self { kind: Kind::Bearer, value: [b"Bearer ", rest].concat().into() }
    }

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

/// Asks whether the request may go on, and whether its credential has not asked too often.
///
/// # Errors
/// [`Refusal::CallbackCredentialMissing`], without a call; [`Refusal::CallbackRejected`]; [`Refusal::CallbackUnreachable`];
/// [`Refusal::CallbackTimedOut`]; [`Refusal::RateLimited`]; or the caller left meanwhile.
pub(crate) async fn consult<'a>(ex: &mut Exchange<'_>, crossing: Crossing<'a>) -> Result<Crossed<'a>, Stop> {
    let Some(callback) = &crossing.settings().callback else {
        return Ok(crossing.with(ex, Consent { credential: None }));
    };
    if !crossing.upgrades() && is_exempt(ex) {
        return Ok(crossing.with(ex, Consent { credential: None }));
    }
    let credential = credential(ex, crossing.upgrades()).ok_or(Refusal::CallbackCredentialMissing)?;
    let remembers = callback.single_flight || ex.local.decisions.borrow().is_on();
    let rates = ex.local.shared.rates.as_ref();
    let digest =
        (remembers || rates.is_some()).then(|| CredentialDigest::of(credential.name(), credential.value()));
    let key = digest.as_ref().filter(|_| remembers).map(|digest| {
        let path = foreign_path(ex).expect("a crossing's path was looked at");
        DecisionKey::of(digest, ex.request().method.as_str(), path)
    });
    let deadline = ex.local.clock.read().after(callback.timeout);
    let verdict = ask(ex, callback, &credential, key, deadline).await;
    // What was heard of the body meanwhile may have filled the buffer; it is read on from there.
    ex.caller_runs_ahead = false;
    match verdict.map_err(|Gone| Stop::Gone)? {
        Verdict::Allows => {}
        Verdict::Refuses => return Err(Refusal::CallbackRejected.into()),
        Verdict::Unreachable(fault) => return Err(Refusal::CallbackUnreachable(fault).into()),
        Verdict::TimedOut => return Err(Refusal::CallbackTimedOut.into()),
    }
    if let (Some(rates), Some(digest)) = (rates, &digest)
        && !rates.admits(digest.bytes(), ex.local.clock.since_boot())
    {
        return Err(Refusal::RateLimited.into());
    }
    Ok(crossing.with(ex, Consent { credential: Some(credential) }))
}

fn is_exempt(ex: &Exchange<'_>) -> bool {
    ex.request().method == http::Method::GET && EXEMPT.contains(&ex.request().path.of(ex.head_bytes()))
}

/// `Authorization`, if it is exactly `Bearer ` and something, before a non-empty `X-API-Key`; for a WebSocket that has neither, the
/// parameters of its URL.
fn credential(ex: &Exchange<'_>, upgrades: bool) -> Option<Credential> {
    let bearer = ex.field(Known::Authorization).and_then(|value| value.strip_prefix(b"Bearer "));
    let bearer = bearer.map(<[u8]>::trim_ascii).filter(|rest| !rest.is_empty());
    if let Some(rest) = bearer {
        return Some(Credential::bearer(rest));
    }
    if let Some(key) = ex.field(Known::XApiKey).filter(|key| !key.is_empty()) {
        return Some(Credential { kind: Kind::ApiKey, value: key.into() });
    }
    if !upgrades {
        return None;
    }
    let query = ex.request().query.of(ex.head_bytes());
    let [api_key, access_token] = QUERY_CREDENTIALS.map(|name| {
        let value = decode_value(parameter(query, name)?)?;
        // It becomes a field: whatever is not one word of visible ASCII would be another field.
        (!value.is_empty() && value.iter().all(u8::is_ascii_graphic)).then_some(value)
    });
    let bearer = access_token.map(|value| Credential::bearer(&value));
    bearer.or_else(|| Some(Credential { kind: Kind::ApiKey, value: api_key?.into() }))
}

/// The caller left.
pub(super) struct Gone;

/// What the callback decides: as it is remembered, as it says to another request that asks the same, or as it says to this one.
async fn ask(
    ex: &mut Exchange<'_>,
    callback: &Callback,
    credential: &Credential,
    key: Option<DecisionKey>,
    deadline: Moment,
) -> Result<Verdict, Gone> {
    let Some(key) = key else {
        ex.local.meter.callback_decisions.bump(DecisionSource::Call);
        return call(ex, callback, credential, deadline).await;
    };
    let local = ex.local;
    let found = local.decisions.borrow().find(&key, local.clock.now());
    if let Some(allows) = found {
        local.meter.callback_decisions.bump(DecisionSource::Cache);
        return Ok(if allows { Verdict::Allows } else { Verdict::Refuses });
    }
    let flight = loop {
        if !callback.single_flight {
            break None;
        }
        match local.flights.join(key) {
            Joined::Leads(flight) => break Some(flight),
            Joined::Waits(waiting) => {
                if let Some(verdict) = wait(ex, &waiting, deadline).await? {
                    local.meter.callback_decisions.bump(DecisionSource::Shared);
                    return Ok(verdict);
                }
            }
        }
    };
    local.meter.callback_decisions.bump(DecisionSource::Call);
    let verdict = call(ex, callback, credential, deadline).await?;
    if let Verdict::Allows | Verdict::Refuses = verdict {
        let allows = verdict == Verdict::Allows;
        local.decisions.borrow_mut().remember(key, allows, local.clock.now());
    }
    if let Some(flight) = flight {
        flight.land(verdict);
    }
    Ok(verdict)
}

/// Waits for another request's call; `None` if that request is gone, and its call with it.
async fn wait(
    ex: &mut Exchange<'_>,
    waiting: &Waiting<Verdict>,
    deadline: Moment,
) -> Result<Option<Verdict>, Gone> {
    ex.down.watch.set(deadline);
    std::future::poll_fn(|cx| {
        if let Poll::Ready(verdict) = waiting.poll(cx) {
            return Poll::Ready(Ok(verdict));
        }
        if ex.poll_caller_gone(cx).is_ready() {
            return Poll::Ready(Err(Gone));
        }
        ex.down.watch.poll_expired(cx).map(|_| Ok(Some(Verdict::TimedOut)))
    })
    .await
}

/// Asks the callback, and counts how that went.
async fn call(
    ex: &mut Exchange<'_>,
    callback: &Callback,
    credential: &Credential,
    deadline: Moment,
) -> Result<Verdict, Gone> {
    let begun = ex.local.clock.now();
    let verdict = make_call(ex, callback, credential, deadline).await;
    let meter = &ex.local.meter;
    meter.callback_calls.bump(match verdict {
        Ok(Verdict::Allows) => CallOutcome::Allowed,
        Ok(Verdict::Refuses) => CallOutcome::Refused,
        Ok(Verdict::Unreachable(_)) => CallOutcome::Unreachable,
        Ok(Verdict::TimedOut) => CallOutcome::TimedOut,
        Err(Gone) => CallOutcome::Abandoned,
    });
    let took = ex.local.clock.read().since(begun);
    meter.callback_duration.observe(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    verdict
}
