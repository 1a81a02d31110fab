//! Origin: callers see one origin, so what is not inference is passed on to cube-admin, if the settings say where that is.
//!
//! Such a request is no business of the proxy's: no credential is looked at, and it is metered by nothing but its one record. How it
//! travels is said in [`super::foreign`].
//!
//! # Not here, on purpose
//! * The feed, over which proxies get their tables, is never reachable from here, in whatever spelling. Nor is `/auth/verify`, which
//!   says of any credential what it opens: admin answers it by who connects, and here everybody would be us.

use std::rc::Rc;

use super::exchange::Exchange;
use super::foreign::{compose_foreign_head, foreign_path};
use super::refuse::Refusal;
use super::upload::Outgoing;
use crate::buf::Lease;
use crate::http1::begins_with_segments;
use crate::tables::{ClusterEntry, EndpointEntry, Neighbours};

/// How records and metrics name all such requests.
pub(super) const TEMPLATE: &str = "admin";
/// First segments that are never passed on: the proxy's own, the feed, and what answers other proxies' callbacks.
const KEPT: [&[&str]; 3] = [&["proxy"], &["feed"], &["auth", "verify"]];

/// Proof that a request is cube-admin's to answer.
pub(crate) struct Visit {
    /// Has an `admin`.
    neighbours: Rc<Neighbours>,
}

impl Visit {
    /// Where cube-admin is.
    pub(crate) fn admin(&self) -> &ClusterEntry {
        self.neighbours.admin.as_deref().expect("looked at when the visit was made")
    }
}

/// Whether the request is for cube-admin.
///
/// # Errors
/// [`Refusal::PathInvalid`]; [`Refusal::PathUnknown`] for what is never passed on.
pub(crate) fn visit(ex: &Exchange<'_>) -> Result<Option<Visit>, Refusal> {
    if ex.local.settings.listener.admin_origin.is_none() {
        return Ok(None);
    }
    let path = ex.request().path.of(ex.head_bytes());
    if matches!(path, b"*" | b"/health") || path.starts_with(b"/proxy/") {
        return Ok(None);
    }
    let path = foreign_path(ex).map_err(|_| Refusal::PathInvalid)?;
    if KEPT.iter().any(|kept| begins_with_segments(path, kept)) {
        return Err(Refusal::PathUnknown);
    }
    Ok(Some(Visit { neighbours: ex.local.neighbours() }))
}

/// Builds the head for admin. The caller's credential and its cookies are admin's own, and pass.
pub(crate) fn compose_visit_head(ex: &Exchange<'_>, endpoint: &EndpointEntry, body: &Outgoing) -> Lease {
    let query = ex.request().query.of(ex.head_bytes());
    compose_foreign_head(ex, endpoint, body, query, std::iter::empty(), |_| true)
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
