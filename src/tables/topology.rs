//! The few things of a snapshot: domains, their models, and clusters.

use crate::tls::Identity;
use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ahash::RandomState;
use cube_wire::record::{Dialect, DomainStatus};
use cube_wire::{ClusterId, DomainId};

/// A domain of one generation of the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DomainIx(pub(super) u32);

/// A model of one generation of the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModelIx {
    pub(super) domain: u32,
    pub(super) name: u32,
}

/// A cluster of one generation of the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterIx(pub(super) u32);

/// A domain and the models that it offers.
#[derive(Clone, Debug)]
pub struct DomainEntry {
    /// Its identifier.
    pub id: DomainId,
    /// The same as a whole line, for requests to endpoints: `x-domain-id: …\r\n`.
    pub line: Box<[u8]>,
    /// Its other name in paths.
    pub alias: Option<Box<str>>,
    /// Who may enter.
    pub status: DomainStatus,
    /// Where operations that name no model go.
    pub default_cluster: Option<ClusterIx>,
    pub(super) names: Vec<NameSlot>,
    pub(super) by_name: HashMap<Arc<str>, u32, RandomState>,
    /// Slots that have a model, in the order of the models' names.
    pub(super) listing: Vec<u32>,
}

/// A model name that the domain knows: because it has such a model, or because a scope names it.
#[derive(Clone, Debug)]
pub(super) struct NameSlot {
    pub(super) name: Arc<str>,
    pub(super) model: Option<Arc<ModelEntry>>,
    /// PATs' words about this name.
    pub(super) named: u32,
}

impl NameSlot {
    /// Names of models are never empty, so an empty name marks a slot that another name may have.
    fn is_free(&self) -> bool {
        self.name.is_empty()
    }
}

impl DomainEntry {
    pub(super) fn new(id: DomainId) -> Self {
        Self {
            id,
            line: format!("x-domain-id: {id}\r\n").into_bytes().into(),
            alias: None,
            status: DomainStatus::Freezed,
            default_cluster: None,
            names: Vec::new(),
            by_name: HashMap::default(),
            listing: Vec::new(),
        }
    }

    /// The slot of a name, made if need be.
    pub(super) fn slot_of(&mut self, name: &str) -> u32 {
        if let Some(&slot) = self.by_name.get(name) {
            return slot;
        }
        let name: Arc<str> = name.into();
        let fresh = NameSlot { name: Arc::clone(&name), model: None, named: 0 };
        // Searched for only when there is one, so that filling a domain is not quadratic.
        let any_free = self.by_name.len() < self.names.len();
        let free = if any_free { self.names.iter().position(NameSlot::is_free) } else { None };
        let slot = match free {
            Some(at) => {
                self.names[at] = fresh;
                at
            }
            None => {
                self.names.push(fresh);
                self.names.len() - 1
            }
        };
        let slot = u32::try_from(slot).expect("names are records or scopes, far fewer than 2^32");
        self.by_name.insert(name, slot);
        slot
    }

    /// Frees the names that nothing names any more, and lists the models anew.
    pub(super) fn settle(&mut self) {
        for slot in &mut self.names {
            if slot.model.is_none() && slot.named == 0 && !slot.is_free() {
                self.by_name.remove(&slot.name);
                slot.name = "".into();
            }
        }
        self.listing.clear();
        let with_model = |at: &u32| self.names[*at as usize].model.is_some();
        self.listing.extend((0..self.names.len() as u32).filter(with_model));
        self.listing
            .sort_by(|one, other| self.names[*one as usize].name.cmp(&self.names[*other as usize].name));
    }
}

/// A model as one domain offers it.
#[derive(Debug, PartialEq, Eq)]
pub struct ModelEntry {
    /// The name that callers write.
    pub name: Arc<str>,
    /// The name that the cluster knows, where it is another one.
    pub upstream_model: Option<Box<str>>,
    /// Who serves it.
    pub cluster: ClusterIx,
    /// Unix seconds; 0 when the snapshot does not say.
    pub created: u64,
    /// A number for this domain and name, the same in every generation and process: the key of metric series.
    pub series: u64,
    /// The name as a metric label.
    pub label: Arc<str>,
}

/// Endpoints that serve the same models.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterEntry {
    /// Its name.
    pub id: ClusterId,
    /// Its name again, as records carry it.
    pub label: Arc<str>,
    /// How its endpoints are spoken to.
    pub dialect: Dialect,
    /// Until a connection must be open.
    pub connect_timeout: Duration,
    /// Until the head of the answer must be there.
    pub head_timeout: Duration,
    /// Between two reads of the answer.
    pub idle_timeout: Duration,
    /// For a whole exchange that is no stream.
    pub total_timeout: Option<Duration>,
    /// At least one.
    pub endpoints: Box<[EndpointEntry]>,
}

/// One address of a cluster, ready to be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointEntry {
    /// Where to connect. Empty when the name could not be resolved: the endpoint is there and cannot be reached.
    pub addrs: Box<[SocketAddr]>,
    /// Whom it must prove to be, by TLS. `None`: it is spoken to in plain HTTP.
    pub identity: Option<Identity>,
    /// Value of the `host` field.
    pub authority: Box<str>,
    /// What goes before every path: empty, or `/…` without a slash at the end.
    pub base_path: Box<str>,
    /// What the endpoint wants to see instead of the PAT.
    pub credential: Option<Credential>,
    /// Its share, relative to the other endpoints; not 0.
    pub weight: u32,
    /// For records and logs; holds no credential.
    pub url: Arc<str>,
}

/// A field that goes into every request to an endpoint.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// Field name, lower case.
    pub name: Box<str>,
    /// The whole line: `authorization: Bearer x\r\n`.
    pub line: Box<[u8]>,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A domain's place in the tables.
#[derive(Clone, Debug)]
pub(super) struct DomainSlot {
    pub(super) entry: Arc<DomainEntry>,
    pub(super) state: SlotState,
    /// Grants and words of PATs that name the domain.
    pub(super) named: u32,
}

/// A cluster's place in the tables.
#[derive(Clone, Debug)]
pub(super) struct ClusterSlot {
    pub(super) id: ClusterId,
    /// `None`: named and not defined (which no finished tables contain), or free.
    pub(super) entry: Option<Arc<ClusterEntry>>,
    /// Models and domains that name the cluster.
    pub(super) named: u32,
}

/// Whether a slot holds something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SlotState {
    /// A record defines it.
    Defined,
    /// Something names it. No finished tables contain such a slot.
    Named,
    /// The slot can be used for another domain.
    Free,
}
