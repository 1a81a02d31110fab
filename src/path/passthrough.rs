//! Passthrough: on a listener of that kind any path goes to one cluster as it is, once its authentication callback has said yes.
//!
//! How such a request travels is said in [`super::foreign`]; who decides, in [`super::consult`].
//!
//! # Promises
//! * What a caller says of itself (`X-Request-Path`, `X-Request-Method`, `X-Auth-User`, `X-User-Name`, and what [`super::foreign`]
//!   leaves out everywhere) never goes on.
//! * Of the caller's credentials only the one that the callback took may go on, and that only if the settings say so. A server
//!   behind us cannot be given another one than the callback saw. Those in a WebSocket's URL are taken out of it.

use std::rc::Rc;

use super::consult::Consent;
use super::exchange::Exchange;
use super::foreign::{compose_foreign_head, foreign_path};
use super::refuse::Refusal;
use super::upload::Outgoing;
use crate::buf::Lease;
use crate::http1::query::without_parameters;
use crate::http1::{BodyLength, Known};
use crate::settings::Passthrough;
use crate::tables::{ClusterEntry, EndpointEntry, Neighbours};

/// How records and metrics name all such requests.
pub(super) const TEMPLATE: &str = crate::record::PASSTHROUGH;

/// Parameters of a WebSocket's URL that are credentials, because browsers cannot set fields there: an API key, and a bearer.
pub(super) const QUERY_CREDENTIALS: [&[u8]; 2] = [b"api_key", b"access_token"];

/// A request on a passthrough listener, about which nobody has been asked yet.
pub(crate) struct Crossing<'a> {
    settings: &'a Passthrough,
    upgrade: bool,
}

/// Proof that such a request may go on.
pub(crate) struct Crossed<'a> {
    settings: &'a Passthrough,
    upgrade: bool,
    consent: Consent,
    /// Has a `passthrough`.
    neighbours: Rc<Neighbours>,
}

impl<'a> Crossing<'a> {
    /// Takes a request of such a listener.
    ///
    /// # Errors
    /// [`Refusal::PathInvalid`]: a path that two servers could read differently, so that the callback and the cluster might.
    pub(crate) fn of(ex: &Exchange<'a>) -> Result<Self, Refusal> {
        foreign_path(ex).map_err(|_| Refusal::PathInvalid)?;
        let settings = ex.local.settings.passthrough.as_deref().ok_or(Refusal::PathUnknown)?;
        Ok(Self { settings, upgrade: asks_for_websocket(ex) })
    }

    pub(crate) const fn settings(&self) -> &'a Passthrough {
        self.settings
    }

    /// Whether a WebSocket is asked for.
    pub(crate) const fn upgrades(&self) -> bool {
        self.upgrade
    }

    /// With the callback's word.
    pub(crate) fn with(self, ex: &Exchange<'_>, consent: Consent) -> Crossed<'a> {
        let neighbours = ex.local.neighbours();
        Crossed { settings: self.settings, upgrade: self.upgrade, consent, neighbours }
    }
}

impl Crossed<'_> {
    /// Where it goes.
    pub(crate) fn cluster(&self) -> &ClusterEntry {
        self.neighbours.passthrough.as_deref().expect("there is such a listener")
    }

    /// Whether a WebSocket is asked for.
    pub(crate) const fn upgrades(&self) -> bool {
        self.upgrade
    }
}

/// Whether the request is a WebSocket's first (RFC 6455 §4.1). Other upgrades are not passed on: in what they lead to (HTTP/2 over
/// clear text, for one) are more requests, about which nobody would be asked.
fn asks_for_websocket(ex: &Exchange<'_>) -> bool {
    let request = ex.request();
    request.method == http::Method::GET
        && request.http11
        && matches!(request.body, BodyLength::None | BodyLength::Length(0))
        && ex.field(Known::Upgrade).is_some_and(|to| to.eq_ignore_ascii_case(b"websocket"))
        && request.fields().iter().filter(|field| field.known == Known::Connection).any(|field| {
            let members = field.value.of(ex.head_bytes()).split(|&byte| byte == b',');
            members.map(<[u8]>::trim_ascii).any(|member| member.eq_ignore_ascii_case(b"upgrade"))
        })
}

/// Builds the head for the cluster.
pub(crate) fn compose_crossed_head(
    ex: &Exchange<'_>,
    crossed: &Crossed<'_>,
    endpoint: &EndpointEntry,
    body: &Outgoing,
) -> Lease {
    let is_open = crossed.settings.callback.is_none();
    let mut query = ex.request().query.of(ex.head_bytes());
    let mut stripped = ex.local.buffers.small();
    if crossed.upgrade && !is_open {
        without_parameters(query, &QUERY_CREDENTIALS, &mut stripped);
        query = &stripped;
    }
    let taken = crossed.consent.credential().filter(|_| crossed.settings.forward_credential);
    let taken = taken.iter().map(|credential| (credential.name(), credential.value()));
    let upgrade: &[(&str, &[u8])] =
        if crossed.upgrade { &[("connection", b"upgrade"), ("upgrade", b"websocket")] } else { &[] };
    let own = upgrade.iter().copied().chain(taken);
    compose_foreign_head(ex, endpoint, body, query, own, |field| {
        if is_credential(field.known) { is_open } else { !is_claim(field.known) }
    })
}

/// What a callback is shown.
const fn is_credential(known: Known) -> bool {
    matches!(known, Known::Authorization | Known::XApiKey)
}

/// What only a callback, or whoever asks one, may say.
const fn is_claim(known: Known) -> bool {
    matches!(known, Known::XRequestPath | Known::XRequestMethod | Known::XAuthUser | Known::XUserName)
}
