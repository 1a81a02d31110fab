//! Staging domains, models and clusters.

use std::sync::Arc;
use std::time::Duration;

use cube_wire::record::{ClusterRecord, DomainRecord, MODEL_NAME_LEN_MAX, ModelRecord, alias_is_valid};
use cube_wire::{ClusterId, DomainId, Key};
use sha2::{Digest, Sha256};

use super::Draft;
use crate::tables::Alias;
use crate::tables::endpoint::compile_endpoint;
use crate::tables::problem::Fault;
use crate::tables::topology::{ClusterEntry, ClusterIx, ClusterSlot, ModelEntry, SlotState};

/// What a draft does to a domain.
#[derive(Debug, Default)]
pub(super) struct DomainDraft {
    defined_on: Option<usize>,
    removed_on: Option<usize>,
}

/// What a draft does to a cluster.
#[derive(Debug, Default)]
pub(super) struct ClusterDraft {
    defined_on: Option<usize>,
    removed_on: Option<usize>,
}

/// Longest name of a cluster, in bytes.
const CLUSTER_NAME_LEN_MAX: usize = 128;

fn is_name(text: &str, len_max: usize) -> bool {
    !text.is_empty() && text.len() <= len_max && !text.chars().any(char::is_control)
}

impl Draft<'_> {
    pub(super) fn put_domain(&mut self, line: usize, record: DomainRecord) {
        let slot = self.domain_slot(record.id);
        let draft = self.domains.entry(slot).or_default();
        if let (true, Some(first)) = (self.whole, draft.defined_on) {
            self.fault(line, Fault::Duplicate { key: Key::Domain(record.id), first });
            return;
        }
        draft.defined_on = Some(line);
        self.release_alias(slot);
        let alias = record.alias.filter(|alias| {
            let valid = alias_is_valid(alias);
            if !valid {
                self.fault(line, Fault::BadAlias(alias.clone()));
            }
            valid
        });
        self.domain_mut(slot).state = SlotState::Defined;
        self.set_default_cluster(slot, record.default_cluster.as_ref());
        let entry = self.domain_entry_mut(slot);
        entry.alias = alias.map(String::into_boxed_str);
        entry.status = record.status;
    }

    pub(super) fn remove_domain(&mut self, line: usize, id: DomainId) {
        let Some(&slot) = self.tables.domain_ids.get(&id) else { return };
        self.domains.entry(slot).or_default().removed_on = Some(line);
        self.release_alias(slot);
        self.domain_mut(slot).state = SlotState::Named;
        self.set_default_cluster(slot, None);
        self.domain_entry_mut(slot).alias = None;
    }

    /// Makes the domain name this cluster, and no longer the one that it named before.
    fn set_default_cluster(&mut self, slot: u32, id: Option<&ClusterId>) {
        let cluster = id.map(|id| ClusterIx(self.cluster_slot(id)));
        if let Some(ClusterIx(cluster)) = cluster {
            self.cluster_mut(cluster).named += 1;
        }
        let before = std::mem::replace(&mut self.domain_entry_mut(slot).default_cluster, cluster);
        if let Some(ClusterIx(before)) = before {
            self.release_cluster(before);
        }
    }

    /// One name of the cluster less.
    pub(super) fn release_cluster(&mut self, slot: u32) {
        self.clusters.entry(slot).or_default();
        self.cluster_mut(slot).named -= 1;
    }

    /// Takes the domain's alias out of the index. New ones go in when all old ones are out, so that two domains can
    /// exchange theirs.
    fn release_alias(&mut self, slot: u32) {
        let entry = &self.tables.domains.get(slot).expect("slots come from domain_slot").entry;
        if let Some(alias) = entry.alias.as_ref().and_then(|alias| Alias::new(alias.as_bytes()))
            && self.tables.aliases.get(&alias) == Some(&slot)
        {
            Arc::make_mut(&mut self.tables.aliases).remove(&alias);
        }
    }

    pub(super) fn put_model(&mut self, line: usize, record: ModelRecord) {
        let (domain, cluster) = (self.domain_slot(record.domain), self.cluster_slot(&record.cluster));
        for name in [Some(&record.name), record.upstream_model.as_ref()].into_iter().flatten() {
            if !is_name(name, MODEL_NAME_LEN_MAX) {
                self.fault(line, Fault::BadModelName(name.clone()));
                return;
            }
        }
        let name = self.domain_entry_mut(domain).slot_of(&record.name);
        if let Some(&first) = self.models.get(&(domain, name))
            && self.whole
        {
            let key = Key::Model(record.domain, record.name.into());
            self.fault(line, Fault::Duplicate { key, first });
            return;
        }
        self.models.insert((domain, name), line);
        let label = Arc::clone(&self.domain_entry_mut(domain).names[name as usize].name);
        let model = ModelEntry {
            name: Arc::clone(&label),
            upstream_model: record.upstream_model.filter(|upstream| *upstream != record.name).map(Into::into),
            cluster: ClusterIx(cluster),
            created: record.created.unwrap_or(0),
            series: series_of(record.domain, &record.name),
            label,
        };
        self.cluster_mut(cluster).named += 1;
        self.replace_model(domain, name, Some(Arc::new(model)));
    }

    pub(super) fn remove_model(&mut self, domain: DomainId, name: &str) {
        let Some(&domain) = self.tables.domain_ids.get(&domain) else { return };
        let entry = &self.tables.domains.get(domain).expect("the index holds slots").entry;
        if let Some(&name) = entry.by_name.get(name) {
            self.replace_model(domain, name, None);
        }
    }

    fn replace_model(&mut self, domain: u32, name: u32, model: Option<Arc<ModelEntry>>) {
        let slot = &mut self.domain_entry_mut(domain).names[name as usize];
        let after = usize::from(model.is_some());
        let before = std::mem::replace(&mut slot.model, model);
        self.tables.counts.models = self.tables.counts.models + after - usize::from(before.is_some());
        if let Some(before) = before {
            self.release_cluster(before.cluster.0);
        }
    }

    pub(super) fn put_cluster(&mut self, line: usize, record: ClusterRecord) {
        let slot = self.cluster_slot(&record.id);
        let draft = self.clusters.entry(slot).or_default();
        if let (true, Some(first)) = (self.whole, draft.defined_on) {
            self.fault(line, Fault::Duplicate { key: Key::Cluster(record.id), first });
            return;
        }
        draft.defined_on = Some(line);
        if !is_name(record.id.as_str(), CLUSTER_NAME_LEN_MAX) {
            self.fault(line, Fault::BadClusterName(record.id.to_string()));
        }
        let mut faults = Vec::new();
        for (field, value) in [
            ("connect_timeout_ms", record.connect_timeout_ms),
            ("head_timeout_ms", record.head_timeout_ms),
            ("idle_timeout_ms", record.idle_timeout_ms),
        ] {
            if value == 0 {
                faults.push(Fault::NoTimeout { cluster: record.id.clone(), field });
            }
        }
        if record.endpoints.is_empty() {
            faults.push(Fault::NoEndpoints(record.id.clone()));
        }
        for (at, endpoint) in record.endpoints.iter().enumerate() {
            if record.endpoints[..at].iter().any(|before| before.url == endpoint.url) {
                faults.push(Fault::DuplicateEndpoint(endpoint.url.clone()));
            }
        }
        let resolve = &mut *self.resolve;
        let endpoints = record
            .endpoints
            .iter()
            .filter_map(|endpoint| compile_endpoint(endpoint, resolve, &mut faults))
            .collect();
        faults.into_iter().for_each(|fault| self.fault(line, fault));
        let entry = ClusterEntry {
            label: Arc::from(&*record.id.0),
            id: record.id,
            dialect: record.dialect,
            connect_timeout: Duration::from_millis(record.connect_timeout_ms),
            head_timeout: Duration::from_millis(record.head_timeout_ms),
            idle_timeout: Duration::from_millis(record.idle_timeout_ms),
            total_timeout: (record.total_timeout_ms > 0)
                .then(|| Duration::from_millis(record.total_timeout_ms)),
            endpoints,
        };
        self.cluster_mut(slot).entry = Some(Arc::new(entry));
    }

    pub(super) fn remove_cluster(&mut self, line: usize, id: &ClusterId) {
        let Some(&slot) = self.tables.cluster_ids.get(id) else { return };
        self.clusters.entry(slot).or_default().removed_on = Some(line);
        self.cluster_mut(slot).entry = None;
    }

    pub(super) fn cluster_slot(&mut self, id: &ClusterId) -> u32 {
        if let Some(&slot) = self.tables.cluster_ids.get(id) {
            return slot;
        }
        let fresh = ClusterSlot { id: id.clone(), entry: None, named: 0 };
        let slot = match self.tables.free_clusters.pop() {
            Some(free) => {
                *self.tables.clusters.get_mut(free).expect("the free list holds slots") = fresh;
                free
            }
            None => self.tables.clusters.push(fresh),
        };
        Arc::make_mut(&mut self.tables.cluster_ids).insert(id.clone(), slot);
        self.clusters.entry(slot).or_default();
        slot
    }

    pub(super) fn cluster_mut(&mut self, slot: u32) -> &mut ClusterSlot {
        self.tables.clusters.get_mut(slot).expect("slots come from cluster_slot")
    }

    /// Checks what models name, gives out aliases, and frees what is gone.
    pub(super) fn finish_topology(&mut self) {
        self.check_models();
        self.check_default_clusters();
        self.finish_clusters();
        let domains = std::mem::take(&mut self.domains);
        let mut with_alias = Vec::new();
        for (&slot, draft) in &domains {
            let domain = self.domain_mut(slot);
            let entry = Arc::make_mut(&mut domain.entry);
            entry.settle();
            let (id, references) = (entry.id, domain.named as usize + entry.listing.len());
            match (domain.state, draft.removed_on) {
                (SlotState::Defined, _) => with_alias.extend(draft.defined_on.map(|line| (line, slot))),
                (SlotState::Named, Some(line)) if references > 0 => {
                    self.fault(line, Fault::StillNamed { key: Key::Domain(id), references });
                }
                // Nothing names it any more, or something did that was replaced later in the same draft.
                (SlotState::Named, _) if references == 0 => {
                    domain.state = SlotState::Free;
                    Arc::make_mut(&mut self.tables.domain_ids).remove(&id);
                    self.tables.free_domains.push(slot);
                }
                // Whatever names it has been told so.
                (SlotState::Named | SlotState::Free, _) => {}
            }
        }
        with_alias.sort_unstable();
        with_alias.into_iter().for_each(|(line, slot)| self.give_alias(line, slot));
    }

    fn give_alias(&mut self, line: usize, slot: u32) {
        let entry = Arc::clone(&self.tables.domains.get(slot).expect("slots come from domain_slot").entry);
        let Some(text) = &entry.alias else { return };
        let alias = Alias::new(text.as_bytes()).expect("put_domain checked its length");
        match self.tables.aliases.get(&alias) {
            Some(&holder) if holder != slot => {
                let holder = self.tables.domains.get(holder).expect("the index holds slots").entry.id;
                self.fault(line, Fault::DuplicateAlias { alias: text.to_string(), holder });
            }
            Some(_) => {}
            None => {
                Arc::make_mut(&mut self.tables.aliases).insert(alias, slot);
            }
        }
    }

    /// Checks that what the new models name is there.
    fn check_models(&mut self) {
        for ((domain, name), line) in std::mem::take(&mut self.models) {
            let entry = &self.tables.domains.get(domain).expect("slots come from domain_slot").entry;
            // Taken away again by a later change of the same draft, if there is none.
            let Some(model) = &entry.names[name as usize].model else { continue };
            let cluster = model.cluster;
            self.check_cluster(line, cluster);
            self.check_domain(line, domain);
        }
    }

    /// Checks that the default clusters of new domains are there.
    fn check_default_clusters(&mut self) {
        let named: Vec<_> = self
            .domains
            .iter()
            .filter_map(|(&slot, draft)| {
                let domain = self.tables.domains.get(slot).expect("slots come from domain_slot");
                Some((draft.defined_on?, domain.entry.default_cluster?))
            })
            .collect();
        named.into_iter().for_each(|(line, cluster)| self.check_cluster(line, cluster));
    }

    /// Notes a fault if the cluster of this slot is not there.
    pub(super) fn check_cluster(&mut self, line: usize, cluster: ClusterIx) {
        let cluster = self.tables.clusters.get(cluster.0).expect("slots come from cluster_slot");
        if cluster.entry.is_none() {
            let fault = Fault::NoCluster(cluster.id.clone());
            self.fault(line, fault);
        }
    }

    /// Frees the clusters that are gone; those that something still names cannot go.
    fn finish_clusters(&mut self) {
        for (slot, draft) in std::mem::take(&mut self.clusters) {
            let cluster = self.cluster_mut(slot);
            if cluster.entry.is_some() {
                continue;
            }
            let (id, references) = (cluster.id.clone(), cluster.named as usize);
            if references == 0 {
                Arc::make_mut(&mut self.tables.cluster_ids).remove(&id);
                self.tables.free_clusters.push(slot);
                continue;
            }
            if let Some(line) = draft.removed_on {
                self.fault(line, Fault::StillNamed { key: Key::Cluster(id), references });
            }
        }
    }
}

/// A number for a model of a domain that is the same wherever it is computed.
fn series_of(domain: DomainId, name: &str) -> u64 {
    let digest = Sha256::new().chain_update(domain.as_bytes()).chain_update(name).finalize();
    u64::from_be_bytes(*digest.first_chunk().expect("32 bytes"))
}
