//! Origin: callers see one origin, so what is not inference is passed on to cube-admin, if the settings say where that is.
//!
//! Such a request is no business of the proxy's: no credential is looked at, nothing is held, and it is metered by nothing but its
//! one record. It shares the connections, the time-outs and the relay with all others, and so what they promise: both directions
//! stream, a caller that leaves takes its request along, and framing that two servers could read differently is never passed on.
//!
//! # Not here, on purpose
//! * The feed, over which proxies get their tables, is never reachable from here, in whatever spelling.
//! * Nothing is done twice: a request that changes something is sent on a connection of its own, so that it can never be unclear
//!   whether one that had gone stale has taken it.

use http::Method;

use super::compose::Composed;
use super::exchange::Exchange;
use super::refuse::Refusal;
use super::upload::{Outgoing, OutgoingBytes};
use crate::buf::Lease;
use crate::http1::{Field, HeadWriter, Known, check_foreign_path, first_segment_is};
use crate::tables::{ClusterEntry, EndpointEntry};

/// How records and metrics name all such requests.
pub(super) const TEMPLATE: &str = "admin";
/// First segments that are never passed on: the proxy's own, and the feed.
const KEPT: [&str; 2] = ["proxy", "feed"];

/// Proof that a request is cube-admin's to answer.
pub(crate) struct Visit<'a> {
    admin: &'a ClusterEntry,
}

impl<'a> Visit<'a> {
    /// Where cube-admin is.
    pub(crate) const fn admin(&self) -> &'a ClusterEntry {
        self.admin
    }
}

/// Whether the request is for cube-admin.
///
/// # Errors
/// [`Refusal::PathInvalid`]; [`Refusal::PathUnknown`] for what is never passed on.
pub(crate) fn visit<'a>(ex: &Exchange<'a>) -> Result<Option<Visit<'a>>, Refusal> {
    let Some(admin) = ex.local.settings.listener.admin_origin.as_deref() else { return Ok(None) };
    let path = ex.request().path.of(ex.head_bytes());
    if matches!(path, b"*" | b"/health") || path.starts_with(b"/proxy/") {
        return Ok(None);
    }
    // An absolute target may have no path at all.
    if !path.is_empty() {
        check_foreign_path(path).map_err(|_| Refusal::PathInvalid)?;
    }
    if KEPT.iter().any(|kept| first_segment_is(path, kept)) {
        return Err(Refusal::PathUnknown);
    }
    Ok(Some(Visit { admin }))
}

/// The body as it goes to admin: whatever came along, and the rest as it comes.
///
/// # Errors
/// [`Refusal::BodyTooLarge`].
pub(crate) fn compose_visit(ex: &mut Exchange<'_>) -> Result<Composed, Refusal> {
    ex.body.limit(ex.local.settings.limits.body_bytes_max)?;
    let held = if ex.inline_body().is_empty() { OutgoingBytes::Nothing } else { OutgoingBytes::Inline };
    let rest = !ex.body.is_done();
    let chunked = rest && ex.body.left().is_none();
    Ok(Composed { body: Outgoing { held, rest, chunked }, usage_injected: false })
}

/// Builds the head for admin: as the caller wrote it, with its credential and its cookies, which are admin's own. Who called, to
/// where and how is said by us, or by a trusted peer where it says so.
pub(crate) fn compose_visit_head(ex: &Exchange<'_>, endpoint: &EndpointEntry, body: &Outgoing) -> Lease {
    let mut out = ex.local.buffers.small();
    let (head, request) = (ex.head_bytes(), ex.request());
    let (path, query) = (request.path.of(head), request.query.of(head));
    let path = if path.is_empty() { b"/" } else { path };
    let parts: [&[u8]; 4] = [endpoint.base_path.as_bytes(), path, b"?", query];
    let target = if query.is_empty() { &parts[..2] } else { &parts[..] };
    let trusts_peer = ex.local.settings.trusts(ex.down.peer.ip());
    let mut writer = HeadWriter::request(&mut out, &request.method, target, endpoint.authority.as_bytes())
        .copy(head, request.fields(), |field| passes(field, trusts_peer))
        .field("x-request-id", ex.account.request_id());
    let host = request.field(Known::Host).map_or(&b""[..], |field| field.value.of(head));
    for (known, name, value) in [
        (Known::XForwardedFor, "x-forwarded-for", ex.down.peer_text()),
        (Known::XForwardedHost, "x-forwarded-host", host),
        (Known::XForwardedProto, "x-forwarded-proto", &b"http"[..]),
    ] {
        let said = trusts_peer && request.field(known).is_some();
        if !said && !value.is_empty() {
            writer = writer.field(name, value);
        }
    }
    writer.end(body.framing(ex));
    out
}

/// Whether the request may be sent on a connection that was used before: one that has gone stale is found out only when the
/// request has been sent, and then it has to be sent again.
pub(crate) fn may_repeat(method: &Method) -> bool {
    method.is_idempotent()
}

fn passes(field: &Field, trusts_peer: bool) -> bool {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "what is not named here is between the caller and admin, and passes"
    )]
    match field.known {
        Known::Host
        | Known::Expect
        | Known::XRequestId
        | Known::XDomainId
        | Known::XUserId
        | Known::XGuardrailsRequest
        | Known::Http2Settings
        | Known::ProxyAuthorization
        | Known::Underscored => false,
        Known::Forwarded
        | Known::XForwardedFor
        | Known::XForwardedHost
        | Known::XForwardedPort
        | Known::XForwardedProto
        | Known::XForwardedOther
        | Known::XRealIp => trusts_peer,
        _ => true,
    }
}

/// What a failure of admin's is called: the texts of the others speak of model servers.
pub(crate) const fn rename(refusal: Refusal) -> Refusal {
    if matches!(refusal, Refusal::NoEndpoint | Refusal::UpstreamUnreachable | Refusal::UpstreamInvalid) {
        Refusal::AdminUnreachable
    } else if matches!(refusal, Refusal::UpstreamTimeout) {
        Refusal::AdminTimeout
    } else {
        refusal
    }
}
