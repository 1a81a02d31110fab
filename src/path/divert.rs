//! Divert: does a rule of the tables send this request elsewhere than its model's cluster?
//!
//! Looked at by [`super::authorize`] in two steps, like the model and for the same reason: [`super::authorize::enter`] asks with
//! what the head says, and only where a rule wants to see the body is the request asked about again when that is held.
//!
//! A rule moves a request. It allows nothing: the operation that the table wants is still wanted, and so is the model.
//!
//! # Cost
//! One look where there are no rules.

use super::compose::passes_up;
use super::exchange::Exchange;
use crate::http1::Known;
use crate::tables::{Choice, DomainIx, RuleIx, Rules, Seen};

/// Where a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Diversion {
    /// To its model's cluster.
    Straight,
    /// Where this rule of the caller's tables says.
    To(RuleIx),
    /// A rule wants to see the body.
    AwaitsBody,
}

/// Asks the rules.
///
/// * `body`: all of it, once it is held.
pub(crate) fn divert(ex: &Exchange<'_>, rules: &Rules, domain: DomainIx, body: Option<&[u8]>) -> Diversion {
    match rules.choose(domain, &Head { ex }, body) {
        Choice::Straight => Diversion::Straight,
        Choice::Rule(rule) => Diversion::To(rule),
        Choice::NeedsBody => Diversion::AwaitsBody,
    }
}

/// A head as rules see it: of its fields those that go upstream, and Host. What a caller may not claim (`X-Guardrails-Request`)
/// cannot choose its way either, and no pattern is ever tried on a credential.
struct Head<'e, 'a> {
    ex: &'e Exchange<'a>,
}

impl Seen for Head<'_, '_> {
    fn path(&self) -> &[u8] {
        self.ex.rest()
    }

    fn method(&self) -> &[u8] {
        self.ex.request().method.as_str().as_bytes()
    }

    fn header(&self, name: &str) -> &[u8] {
        let head = self.ex.head_bytes();
        let trusts_peer = self.ex.local.settings.trusts(self.ex.down.peer.ip());
        let fields = self.ex.request().fields().iter();
        let mut fields = fields.filter(|field| field.known == Known::Host || passes_up(field, trusts_peer));
        let field = fields.find(|field| field.name.of(head).eq_ignore_ascii_case(name.as_bytes()));
        field.map_or(&[], |field| field.value.of(head))
    }

    fn query(&self) -> &[u8] {
        self.ex.request().query.of(self.ex.head_bytes())
    }
}
