//! Foreign: requests that are passed on as they are, to a server that reads them itself: cube-admin's ([`super::origin`]) and those of a
//! passthrough listener ([`super::passthrough`]).
//!
//! Nothing of such a request is held. It shares the connections, the time-outs and the relay with all others, and so what they
//! promise: both directions stream, a caller that leaves takes its request along, and framing that two servers could read
//! differently is never passed on.
//!
//! # Not here, on purpose
//! Nothing is done twice: a request that changes something is sent once, whatever becomes of it. Which connections it may take follows
//! from that, and is [`super::route`]'s business.

use super::compose::{Composed, may_pass};
use super::exchange::Exchange;
use super::refuse::Refusal;
use super::upload::{Outgoing, OutgoingBytes};
use crate::buf::Lease;
use crate::http1::{Field, HeadWriter, Known, TargetError, check_foreign_path};
use crate::tables::EndpointEntry;

/// The request's path, if it is one that may be passed on. An absolute target may have none at all, which is `/`.
///
/// # Errors
/// [`TargetError::BadPath`].
pub(super) fn foreign_path<'e>(ex: &'e Exchange<'_>) -> Result<&'e [u8], TargetError> {
    let path = ex.request().path.of(ex.head_bytes());
    if path.is_empty() {
        return Ok(b"/");
    }
    check_foreign_path(path).map(|()| path)
}

/// The body as it goes on: whatever came along, and the rest as it comes.
///
/// # Errors
/// [`Refusal::BodyTooLarge`].
pub(super) fn compose_whole(ex: &mut Exchange<'_>) -> Result<Composed, Refusal> {
    ex.body.limit(ex.local.settings.limits.body_bytes_max)?;
    let held = if ex.inline_body().is_empty() { OutgoingBytes::Nothing } else { OutgoingBytes::Inline };
    let rest = !ex.body.is_done();
    let chunked = rest && ex.body.left().is_none();
    Ok(Composed { body: Outgoing { held, rest, chunked }, usage_injected: false })
}

/// Builds the head: as the caller wrote it, but for what `passes` leaves out. Who called, to where and how is said by us, or by a
/// trusted peer where it says so.
///
/// * `query`: what goes on of the query.
/// * `own`: fields of ours.
/// * `passes`: whether a field goes on; asked about none that says who called from where.
pub(super) fn compose_foreign_head<'o>(
    ex: &Exchange<'_>,
    endpoint: &EndpointEntry,
    body: &Outgoing,
    query: &[u8],
    own: impl Iterator<Item = (&'o str, &'o [u8])>,
    passes: impl Fn(&Field) -> bool,
) -> Lease {
    let mut out = ex.local.buffers.small();
    let (head, request) = (ex.head_bytes(), ex.request());
    let path = request.path.of(head);
    let path = if path.is_empty() { b"/" } else { path };
    let parts: [&[u8]; 4] = [endpoint.base_path.as_bytes(), path, b"?", query];
    let target = if query.is_empty() { &parts[..2] } else { &parts[..] };
    let trusts_peer = ex.local.settings.trusts(ex.down.peer.ip());
    let mut writer = HeadWriter::request(&mut out, &request.method, target, endpoint.authority.as_bytes())
        .copy(head, request.fields(), |field| may_pass(field, trusts_peer) && passes(field))
        .field("x-request-id", ex.account.request_id());
    let host = request.field(Known::Host).map_or(&b""[..], |field| field.value.of(head));
    for (known, name, value) in [
        (Known::XForwardedFor, "x-forwarded-for", ex.down.peer_text()),
        (Known::XForwardedHost, "x-forwarded-host", host),
        (Known::XForwardedProto, "x-forwarded-proto", ex.down.scheme()),
    ] {
        let said = trusts_peer && request.field(known).is_some();
        if !said && !value.is_empty() {
            writer = writer.field(name, value);
        }
    }
    for (name, value) in own {
        writer = writer.field(name, value);
    }
    writer.end(body.framing(ex));
    out
}
