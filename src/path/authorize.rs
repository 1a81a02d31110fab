//! Authorize: may this caller do this operation in this domain, on this model?
//!
//! In two steps, because the model stands in the body and nobody's body is read for an operation that is refused anyway:
//! [`enter`] turns a [`Caller`] into an [`Entrant`] (domain and operation), [`authorize`] turns that into a [`Permit`] (model).
//! Each consumes the proof before it, so leaving one out does not compile.
//!
//! # Cost
//! Two masks per question; no allocation.

use cube_wire::UserId;

use super::ask::Wanted;
use super::authenticate::Caller;
use super::divert::{Diversion, divert};
use super::exchange::Exchange;
use super::peek::{Hold, Peeked};
use super::refuse::Refusal;
use crate::http1::decode_segment;
use crate::operations::{Endpoint, ModelSource};
use crate::tables::{ClusterIx, DomainIx, ModelIx, Operation, Rights, Rule, RuleIx, Tables};

/// Proof that the caller may do the operation on something in the domain.
pub(crate) struct Entrant {
    caller: Caller,
    domain: DomainIx,
    endpoint: Endpoint,
    /// The operation is allowed whichever model the body names.
    on_every_model: bool,
    diversion: Diversion,
    /// The table does not know the path: if no rule opens it in the end, this is the answer.
    unlisted: Option<Refusal>,
}

/// Proof that the request may go to its cluster (or, for an operation on no model, be answered from the tables).
pub(crate) struct Permit {
    caller: Caller,
    domain: DomainIx,
    endpoint: Endpoint,
    model: Option<ModelIx>,
    rule: Option<RuleIx>,
}

impl Entrant {
    pub(crate) const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// How much of the body has to be held.
    pub(crate) const fn hold(&self) -> Hold {
        match (self.diversion, self.unlisted) {
            (Diversion::AwaitsBody, _) => Hold::Whole,
            (Diversion::Straight | Diversion::To(_), Some(_)) => Hold::Beginning,
            (Diversion::Straight | Diversion::To(_), None) => Hold::UntilModel,
        }
    }
}

impl Permit {
    pub(crate) fn tables(&self) -> &Tables {
        self.caller.tables()
    }

    pub(crate) const fn domain(&self) -> DomainIx {
        self.domain
    }

    /// What an endpoint is told of the domain.
    pub(crate) fn domain_line(&self) -> &[u8] {
        &self.tables().domain_entry(self.domain).line
    }

    pub(crate) const fn user_id(&self) -> UserId {
        self.caller.identity().user
    }

    pub(crate) fn rights(&self) -> Rights<'_> {
        self.tables().rights(self.caller.identity(), self.domain)
    }

    pub(crate) const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The rule that sends the request elsewhere.
    pub(crate) fn rule(&self) -> Option<&Rule> {
        self.rule.map(|rule| self.caller.rules().get(rule))
    }

    pub(crate) const fn model(&self) -> Option<ModelIx> {
        self.model
    }

    /// Where the request goes: where a rule sends it; its model's cluster; or, for the few operations that name no model, the domain's default; without
    /// one, that of the first model on which the caller may do it.
    pub(crate) fn cluster(&self) -> Option<ClusterIx> {
        let tables = self.tables();
        if let Some(rule) = self.rule() {
            return Some(rule.cluster);
        }
        if let Some(model) = self.model {
            return Some(tables.model_entry(model).cluster);
        }
        tables.domain_entry(self.domain).default_cluster.or_else(|| {
            let rights = self.rights();
            let mut models = tables.models_of(self.domain);
            let model = models.find(|&model| rights.allows_on(self.endpoint.operation, model))?;
            Some(tables.model_entry(model).cluster)
        })
    }
}

/// Domain and operation.
///
/// # Errors
/// [`Refusal::DomainUnknown`] for a domain that does not exist and for one in which the caller has no right at all;
/// [`Refusal::NotAllowed`] when it has some, but not this one on anything. Of a path that the table does not know, its own refusal
/// unless a rule opens it.
pub(crate) fn enter(ex: &mut Exchange<'_>, caller: Caller, wanted: Wanted) -> Result<Entrant, Refusal> {
    match wanted {
        Wanted::Listed(endpoint) => enter_listed(ex, caller, endpoint),
        Wanted::Unlisted(refusal) => enter_unlisted(ex, caller, refusal),
    }
}

fn enter_listed(
    ex: &mut Exchange<'_>,
    caller: Caller,
    endpoint: &'static Endpoint,
) -> Result<Entrant, Refusal> {
    let tables = caller.tables();
    let domain = tables.domain(ex.domain_segment()).ok_or(Refusal::DomainUnknown)?;
    let rights = tables.rights(caller.identity(), domain);
    if !rights.any {
        return Err(Refusal::DomainUnknown);
    }
    ex.account.domain(tables.domain_entry(domain).id);
    if !rights.allows_somewhere(endpoint.operation) || (endpoint.superadmin && !rights.is_superadmin()) {
        return Err(Refusal::NotAllowed);
    }
    let on_every_model = rights.allows_on_every_model(endpoint.operation);
    let diversion = divert(ex, caller.rules(), domain, None);
    Ok(Entrant { caller, domain, endpoint: *endpoint, on_every_model, diversion, unlisted: None })
}

/// A path that a rule may open, for callers who hold the rule's operation on the domain as a whole: such a request names no model,
/// so a right on one model says nothing.
fn enter_unlisted(ex: &mut Exchange<'_>, caller: Caller, refusal: Refusal) -> Result<Entrant, Refusal> {
    let (tables, rules) = (caller.tables(), caller.rules());
    let domain = if rules.is_empty() { None } else { tables.domain(ex.domain_segment()) };
    let domain = domain.ok_or(refusal)?;
    let rights = tables.rights(caller.identity(), domain);
    if !rights.any {
        return Err(refusal);
    }
    ex.account.domain(tables.domain_entry(domain).id);
    let diversion = divert(ex, rules, domain, None);
    let endpoint = match diversion {
        Diversion::To(rule) => open(ex, rules.get(rule), &rights, refusal)?,
        // Which rule it will be is not known yet; one of them has to be for this caller, or the body is not read.
        Diversion::AwaitsBody if rules.any_opens(domain, |operation| rights.allows(operation)) => {
            Endpoint::opened(Operation::LlmRead, ex.family)
        }
        Diversion::AwaitsBody | Diversion::Straight => return Err(refusal),
    };
    Ok(Entrant { caller, domain, endpoint, on_every_model: false, diversion, unlisted: Some(refusal) })
}

/// What a rule makes of a path that the table does not know.
fn open(
    ex: &mut Exchange<'_>,
    rule: &Rule,
    rights: &Rights<'_>,
    refusal: Refusal,
) -> Result<Endpoint, Refusal> {
    let endpoint = Endpoint::opened(rule.operation.ok_or(refusal)?, ex.family);
    ex.account.endpoint(&endpoint);
    if rights.allows(endpoint.operation) { Ok(endpoint) } else { Err(Refusal::NotAllowed) }
}

/// Model: the one that the body names, or the path; and the rule, where that depended on the body.
///
/// # Errors
/// [`Refusal::ModelMissing`]; [`Refusal::ModelUnknown`], also for a model that exists and is not granted.
pub(crate) fn authorize(
    ex: &mut Exchange<'_>,
    entrant: Entrant,
    peeked: &Peeked<'_>,
) -> Result<Permit, Refusal> {
    let Entrant { caller, domain, mut endpoint, on_every_model, mut diversion, unlisted } = entrant;
    let (tables, rules) = (caller.tables(), caller.rules());
    // Seldom needed a second time.
    let rights = || tables.rights(caller.identity(), domain);
    if diversion == Diversion::AwaitsBody {
        diversion = divert(ex, rules, domain, Some(peeked.held.whole(ex)));
        if let Some(refusal) = unlisted {
            let Diversion::To(rule) = diversion else { return Err(refusal) };
            endpoint = open(ex, rules.get(rule), &rights(), refusal)?;
        }
    }
    let model = find_model(ex, &endpoint, peeked, tables, domain)?;
    if let Some(model) = model {
        if !on_every_model && !rights().allows_on(endpoint.operation, model) {
            return Err(Refusal::ModelUnknown);
        }
        ex.account.model(tables.model_entry(model));
    }
    let rule = match diversion {
        Diversion::To(rule) => Some(rule),
        Diversion::Straight | Diversion::AwaitsBody => None,
    };
    let event_type = rule.map(|rule| rules.get(rule).event_type.clone());
    ex.event_type = event_type.filter(|event_type| !event_type.is_empty());
    Ok(Permit { caller, domain, endpoint, model, rule })
}

/// The model that the request names, if its operation is about one.
fn find_model(
    ex: &Exchange<'_>,
    endpoint: &Endpoint,
    peeked: &Peeked<'_>,
    tables: &Tables,
    domain: DomainIx,
) -> Result<Option<ModelIx>, Refusal> {
    let found = match endpoint.model {
        ModelSource::NotNeeded => return Ok(None),
        ModelSource::Body => {
            let form = peeked.form.as_ref().map(|form| form.model());
            let name = form.unwrap_or_else(|| ex.scratch.json.model()).ok_or(Refusal::ModelMissing)?;
            tables.model(domain, name)
        }
        ModelSource::PathTail => {
            let raw = endpoint.model_in_path(ex.rest()).ok_or(Refusal::ModelMissing)?;
            let mut decoded = [0_u8; 512];
            decode_segment(raw, &mut decoded).and_then(|name| tables.model(domain, name))
        }
    };
    found.map(Some).ok_or(Refusal::ModelUnknown)
}
