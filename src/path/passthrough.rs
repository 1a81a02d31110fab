//! Passthrough: on a listener of that kind any path goes to one cluster as it is, once its authentication callback has said yes.
//!
//! How such a request travels is said in [`super::foreign`]; who decides, in [`super::consult`].
//!
//! # Promises
//! * What a caller says of itself (`X-Request-Path`, `X-Request-Method`, `X-Auth-User`, `X-User-Name`, and what [`super::foreign`]
//!   leaves out everywhere) never goes on.
//! * Of the caller's credentials only the one that the callback took may go on, and that only if the settings say so. A server
//!   behind us cannot be given another one than the callback saw.

use super::consult::Consent;
use super::exchange::Exchange;
use super::foreign::{compose_foreign_head, foreign_path};
use super::refuse::Refusal;
use super::upload::Outgoing;
use crate::buf::Lease;
use crate::http1::Known;
use crate::settings::Passthrough;
use crate::tables::{ClusterEntry, EndpointEntry};

/// How records and metrics name all such requests.
pub(super) const TEMPLATE: &str = crate::record::PASSTHROUGH;

/// A request on a passthrough listener, about which nobody has been asked yet.
pub(crate) struct Crossing<'a> {
    settings: &'a Passthrough,
}

/// Proof that such a request may go on.
pub(crate) struct Crossed<'a> {
    settings: &'a Passthrough,
    consent: Consent,
}

impl<'a> Crossing<'a> {
    /// Takes a request of such a listener.
    ///
    /// # Errors
    /// [`Refusal::PathInvalid`]: a path that two servers could read differently, so that the callback and the cluster might.
    pub(crate) fn of(ex: &Exchange<'a>) -> Result<Self, Refusal> {
        foreign_path(ex).map_err(|_| Refusal::PathInvalid)?;
        let settings = ex.local.settings.passthrough.as_deref().ok_or(Refusal::PathUnknown)?;
        Ok(Self { settings })
    }

    pub(crate) const fn settings(&self) -> &'a Passthrough {
        self.settings
    }

    /// With the callback's word.
    pub(crate) fn with(self, consent: Consent) -> Crossed<'a> {
        Crossed { settings: self.settings, consent }
    }
}

impl<'a> Crossed<'a> {
    /// Where it goes.
    pub(crate) fn cluster(&self) -> &'a ClusterEntry {
        &self.settings.cluster
    }
}

/// Builds the head for the cluster.
pub(crate) fn compose_crossed_head(
    ex: &Exchange<'_>,
    crossed: &Crossed<'_>,
    endpoint: &EndpointEntry,
    body: &Outgoing,
) -> Lease {
    let query = ex.request().query.of(ex.head_bytes());
    let is_open = crossed.settings.callback.is_none();
    let taken = crossed.consent.credential().filter(|_| crossed.settings.forward_credential);
    let own = taken.iter().map(|credential| (credential.name(), credential.value()));
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
