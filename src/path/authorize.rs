//! Authorize: may this caller do this operation in this domain, on this model?
//!
//! In two steps, because the model stands in the body and nobody's body is read for an operation that is refused anyway:
//! [`enter`] turns a [`Caller`] into an [`Entrant`] (domain and operation), [`authorize`] turns that into a [`Permit`] (model).
//! Each consumes the proof before it, so leaving one out does not compile.
//!
//! # Cost
//! Two masks per question; no allocation.

use cube_wire::{DomainId, UserId};

use super::authenticate::Caller;
use super::exchange::Exchange;
use super::peek::Peeked;
use super::refuse::Refusal;
use crate::http1::decode_segment;
use crate::operations::{Endpoint, ModelSource};
use crate::tables::{ClusterIx, DomainIx, ModelIx, Rights, Tables};

/// Proof that the caller may do the operation on something in the domain.
pub(crate) struct Entrant {
    caller: Caller,
    domain: DomainIx,
    endpoint: &'static Endpoint,
}

/// Proof that the request may go to the model's cluster (or, for an operation on no model, be answered from the tables).
pub(crate) struct Permit {
    caller: Caller,
    domain: DomainIx,
    endpoint: &'static Endpoint,
    model: Option<ModelIx>,
}

impl Entrant {
    pub(crate) const fn endpoint(&self) -> &'static Endpoint {
        self.endpoint
    }
}

impl Permit {
    pub(crate) fn tables(&self) -> &Tables {
        self.caller.tables()
    }

    pub(crate) const fn domain(&self) -> DomainIx {
        self.domain
    }

    pub(crate) fn domain_id(&self) -> DomainId {
        self.tables().domain_entry(self.domain).id
    }

    pub(crate) const fn user_id(&self) -> UserId {
        self.caller.identity().user
    }

    pub(crate) fn rights(&self) -> Rights<'_> {
        self.tables().rights(self.caller.identity(), self.domain)
    }

    pub(crate) const fn endpoint(&self) -> &'static Endpoint {
        self.endpoint
    }

    pub(crate) const fn model(&self) -> Option<ModelIx> {
        self.model
    }

    /// Where the request goes: its model's cluster, or, for the few operations that name no model, the domain's default; without
    /// one, that of the first model on which the caller may do it.
    pub(crate) fn cluster(&self) -> Option<ClusterIx> {
        let tables = self.tables();
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
/// [`Refusal::NotAllowed`] when it has some, but not this one on anything.
pub(crate) fn enter(
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
    Ok(Entrant { caller, domain, endpoint })
}

/// Model: the one that the body names, or the path.
///
/// # Errors
/// [`Refusal::ModelMissing`]; [`Refusal::ModelUnknown`], also for a model that exists and is not granted.
pub(crate) fn authorize(
    ex: &mut Exchange<'_>,
    entrant: Entrant,
    peeked: &Peeked<'_>,
) -> Result<Permit, Refusal> {
    let Entrant { caller, domain, endpoint } = entrant;
    let tables = caller.tables();
    let rights = tables.rights(caller.identity(), domain);
    let mut decoded = [0_u8; 512];
    let name = match endpoint.model {
        ModelSource::NotNeeded => None,
        ModelSource::Body => {
            let form = peeked.form.as_ref().map(|form| form.model());
            Some(form.unwrap_or_else(|| ex.scratch.json.model()).ok_or(Refusal::ModelMissing)?)
        }
        ModelSource::PathTail => {
            let raw = endpoint.model_in_path(ex.rest()).ok_or(Refusal::ModelMissing)?;
            Some(decode_segment(raw, &mut decoded).ok_or(Refusal::ModelUnknown)?)
        }
    };
    let model = name.map(|name| tables.model(domain, name).ok_or(Refusal::ModelUnknown)).transpose()?;
    if let Some(model) = model {
        if !rights.allows_on(endpoint.operation, model) {
            return Err(Refusal::ModelUnknown);
        }
        ex.account.model(tables.model_entry(model));
    }
    Ok(Permit { caller, domain, endpoint, model })
}
