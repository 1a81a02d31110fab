//! Compose: what goes upstream. The body with the endpoint's own model name spliced in, and a head built anew.
//!
//! # Promises
//! * The caller's credential never goes upstream; the endpoint's own does.
//! * Of a JSON body nothing changes but the model's name and, when we ask for it, `stream_options.include_usage`.
//! * Identity that a caller claims (`X-Domain-Id`, `X-User-Id`, `X-Forwarded-*`, `X-Guardrails-Request`) is replaced or dropped.
//! * No `Accept-Encoding`: usage is read from the answer as it passes.

use std::rc::Rc;

use super::authorize::Permit;
use super::exchange::Exchange;
use super::peek::{Held, Peeked, form_model_span};
use super::upload::{Outgoing, OutgoingBytes};
use crate::buf::Lease;
use crate::http1::{Field, Framing, HeadWriter, Known};
use crate::peek::splice;
use crate::tables::EndpointEntry;

/// The body as it goes upstream, and whether the usage event was asked for on the caller's behalf.
pub(crate) struct Composed {
    pub(crate) body: Outgoing,
    pub(crate) usage_injected: bool,
}

/// Turns what is held of the body into what goes upstream.
pub(crate) fn compose_body(ex: &mut Exchange<'_>, permit: &Permit, peeked: Peeked<'_>) -> Composed {
    let Peeked { held, form } = peeked;
    let upstream_model =
        permit.model().and_then(|model| permit.tables().model_entry(model).upstream_model.as_deref());
    let rest = matches!(held, Held::Part(_));
    let (mut bytes, usage_injected) = match form {
        Some(form) => {
            let span = form_model_span(&form);
            let bytes = compose_form(ex, held, span.zip(upstream_model));
            ex.late_form = rest.then_some(form);
            (bytes, false)
        }
        None => compose_json(ex, permit, held, upstream_model),
    };
    // The length is known unless the caller's own framing was chunked and the end has not been seen.
    let chunked = rest && ex.body.left().is_none();
    if chunked && let OutgoingBytes::Owned(held) = &mut bytes {
        Rc::make_mut(held).extend_from_slice(b"\r\n");
    }
    Composed { body: Outgoing { held: bytes, rest, chunked }, usage_injected }
}

fn compose_json(
    ex: &Exchange<'_>,
    permit: &Permit,
    held: Held<'_>,
    upstream_model: Option<&str>,
) -> (OutgoingBytes, bool) {
    let json = &ex.scratch.json;
    // Only of a body that is held whole: the top-level object's end must have been seen.
    let inject = ex.local.settings.metering.include_usage
        && permit.endpoint().takes_include_usage
        && !matches!(held, Held::Part(_))
        && json.stream() == Some(true)
        && json.include_usage() != Some(true);
    let spliced = |bytes: &[u8]| {
        let mut out = Vec::with_capacity(bytes.len() + 256);
        splice(bytes, json, upstream_model, inject, &mut out);
        OutgoingBytes::Owned(Rc::new(out))
    };
    let untouched = upstream_model.is_none() && !inject;
    let bytes = match held {
        Held::Nothing => OutgoingBytes::Nothing,
        Held::Inline if untouched => OutgoingBytes::Inline,
        Held::Inline => spliced(ex.inline_body()),
        Held::Whole(held) | Held::Part(held) if untouched => OutgoingBytes::Owned(Rc::new(held.into_bytes())),
        Held::Whole(held) | Held::Part(held) => spliced(held.as_slice()),
    };
    (bytes, inject)
}

fn compose_form(
    ex: &Exchange<'_>,
    held: Held<'_>,
    renamed: Option<(std::ops::Range<usize>, &str)>,
) -> OutgoingBytes {
    let spliced = |bytes: &[u8]| {
        let Some((span, name)) = &renamed else { return bytes.to_vec() };
        let mut out = Vec::with_capacity(bytes.len() + name.len());
        out.extend_from_slice(&bytes[..span.start]);
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(&bytes[span.end..]);
        out
    };
    match held {
        Held::Nothing => OutgoingBytes::Nothing,
        Held::Inline if renamed.is_none() => OutgoingBytes::Inline,
        Held::Inline => OutgoingBytes::Owned(Rc::new(spliced(ex.inline_body()))),
        Held::Whole(held) | Held::Part(held) if renamed.is_none() => {
            OutgoingBytes::Owned(Rc::new(held.into_bytes()))
        }
        Held::Whole(held) | Held::Part(held) => OutgoingBytes::Owned(Rc::new(spliced(held.as_slice()))),
    }
}

/// Builds the head for one endpoint.
pub(crate) fn compose_head(
    ex: &Exchange<'_>,
    permit: &Permit,
    endpoint: &EndpointEntry,
    body: &Outgoing,
) -> Lease {
    let mut out = ex.local.buffers.small();
    let head = ex.head_bytes();
    let request = ex.request();
    let mut rest = permit.rule().map_or(ex.rest(), |rule| rule.strip(ex.rest()));
    let query = request.query.of(head);
    let base = endpoint.base_path.as_bytes();
    if base.is_empty() && rest.is_empty() {
        rest = b"/";
    }
    let with_query: [&[u8]; 4] = [base, rest, b"?", query];
    let target = if query.is_empty() { &with_query[..2] } else { &with_query[..] };
    let trusts_peer = ex.local.settings.trusts(ex.down.peer.ip());
    let credential_name = endpoint.credential.as_ref().map(|credential| credential.name.as_bytes());
    let mut uuid = [0_u8; uuid::fmt::Hyphenated::LENGTH];
    let mut writer = HeadWriter::request(&mut out, &request.method, target, endpoint.authority.as_bytes())
        .copy(head, request.fields(), |field| {
            passes_up(field, trusts_peer)
                && !credential_name.is_some_and(|name| field.name.of(head).eq_ignore_ascii_case(name))
        })
        .field("x-request-id", ex.account.request_id())
        .line(permit.domain_line());
    let user = permit.user_id().0.hyphenated().encode_lower(&mut uuid);
    writer = writer.field("x-user-id", user.as_bytes());
    if !trusts_peer {
        writer = writer.line(ex.down.forwarded_lines());
    }
    if let Some(credential) = &endpoint.credential {
        writer = writer.line(&credential.line);
    }
    writer.end(body.framing(ex));
    out
}

impl Outgoing {
    /// How the endpoint is told where the body ends.
    pub(super) fn framing(&self, ex: &Exchange<'_>) -> Framing {
        if self.chunked {
            return Framing::Chunked;
        }
        let held = self.held_len(ex) as u64;
        let rest = if self.rest { ex.body.left().unwrap_or(0) } else { 0 };
        // A POST without a body says so (RFC 9110 §8.6); other methods say nothing.
        if held + rest == 0 && ex.request().method != http::Method::POST {
            Framing::None
        } else {
            Framing::Length(held + rest)
        }
    }
}

/// Whether a field of the caller's goes to a model server: credentials and compression are between the caller and us.
pub(super) fn passes_up(field: &Field, trusts_peer: bool) -> bool {
    let stays =
        matches!(field.known, Known::Authorization | Known::XApiKey | Known::Cookie | Known::AcceptEncoding);
    !stays && may_pass(field, trusts_peer)
}

/// Whether a field of the caller's goes to any server at all. Connection-level fields and framing are left out by the writer already.
pub(super) fn may_pass(field: &Field, trusts_peer: bool) -> bool {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "what is not named here is the caller's business and passes"
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
