//! Ask: a head → what it asks for, before anybody is known. Names the request for its record, and finds its operation: exact or
//! segment-wise, deny by default.

use super::exchange::Exchange;
use super::origin::{Visit, visit};
use super::passthrough::{self, Crossing};
use super::refuse::{self, Refusal};
use crate::http1::{Known, TargetError};
use crate::operations::{Endpoint, Lookup, lookup};
use crate::settings::Paths;

/// What a head asks for.
pub(super) enum Asked<'a> {
    /// Something of cube-admin's, with which the proxy has nothing to do.
    Admin(Visit),
    /// Anything, on a listener that passes everything on.
    Passthrough(Crossing<'a>),
    /// The proxy's own health, which needs no credential.
    Health,
    /// Something in a domain.
    InDomain(Wanted),
}

/// What is asked of a domain.
#[derive(Clone, Copy)]
pub(super) enum Wanted {
    /// An operation of the table.
    Listed(&'static Endpoint),
    /// Nothing that the table has. Unless a rule opens the path it is refused like this, after the credential was looked at: who has
    /// none learns nothing, not even which paths there are.
    Unlisted(Refusal),
}

/// Names the request and finds its operation: exact or segment-wise, deny by default.
pub(super) fn what_is_asked<'a>(ex: &mut Exchange<'a>) -> Result<Asked<'a>, Refusal> {
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
