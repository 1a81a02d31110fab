//! The next tables while they are being put together.
//!
//! A snapshot starts from nothing and a change from the tables in force; from there on both go the same way, which is
//! why both give the same tables. Records are staged in any order; references, and whatever depends on more than one
//! record, are looked at in [`Draft::finish`].
//!
//! Every reference is counted where it points to (`named`). So removing something costs a look at its counter, and not
//! a search through a million PATs for one that names it.

mod pats;
mod people;
mod routes;
mod topology;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use ahash::RandomState;
use cube_wire::record::KeyRecord;
use cube_wire::{DomainId, Key, Record, UserId};

use super::problem::{Fault, Problem, Problems};
use super::topology::{DomainEntry, DomainSlot, SlotState};
use super::{Counts, Resolve, Tables};
use pats::PatDrafts;
use people::UserDraft;
use routes::RouteDrafts;
use topology::{ClusterDraft, DomainDraft};

/// The next tables, and what has been found wrong with them.
pub(super) struct Draft<'r> {
    /// The tables as far as they are known. Nobody else sees them before `finish` says that they are right.
    tables: Tables,
    resolve: &'r mut dyn Resolve,
    /// Of a snapshot, in which nothing may be said twice; in a list of changes the later one holds.
    whole: bool,
    /// Whether it is too late for a heading: changes have none.
    begun: bool,
    problems: Problems,
    /// Domains that this draft touches, by slot.
    domains: BTreeMap<u32, DomainDraft>,
    /// Clusters that this draft touches, by slot.
    clusters: BTreeMap<u32, ClusterDraft>,
    /// Where models were defined last, by slot of domain and of name.
    models: HashMap<(u32, u32), usize, RandomState>,
    /// Users that this draft touches, or whose PATs it does.
    users: HashMap<UserId, UserDraft, RandomState>,
    /// PATs that this draft touches.
    pats: PatDrafts,
    /// Where keys were defined last.
    keys: HashMap<Box<str>, usize, RandomState>,
    routes: RouteDrafts,
}

impl<'r> Draft<'r> {
    /// A draft of a whole snapshot.
    pub(super) fn of_snapshot(resolve: &'r mut dyn Resolve) -> Self {
        Self { whole: true, begun: false, ..Self::of_changes(&Tables::empty(), resolve) }
    }

    /// A draft of what `tables` are to become.
    pub(super) fn of_changes(tables: &Tables, resolve: &'r mut dyn Resolve) -> Self {
        Self {
            tables: tables.clone(),
            resolve,
            whole: false,
            begun: true,
            problems: Problems::default(),
            domains: BTreeMap::new(),
            clusters: BTreeMap::new(),
            models: HashMap::default(),
            users: HashMap::default(),
            pats: PatDrafts::default(),
            keys: HashMap::default(),
            routes: RouteDrafts::default(),
        }
    }

    /// Notes a fault that was found before the draft saw the record.
    pub(super) fn fault(&mut self, line: usize, fault: Fault) {
        self.problems.add(line, fault);
    }

    /// Stages one record.
    pub(super) fn put(&mut self, line: usize, record: Record) {
        match record {
            Record::Snapshot(_) if self.begun => self.fault(line, Fault::LateSnapshot),
            Record::Snapshot(_) => {}
            Record::Cluster(record) => self.put_cluster(line, record),
            Record::Domain(record) => self.put_domain(line, record),
            Record::Model(record) => self.put_model(line, record),
            Record::User(record) => self.put_user(line, &record),
            Record::Grant(record) => self.put_grant(line, &record),
            Record::Pat(record) => self.put_pat(line, &record),
            Record::Key(record) => self.put_key(line, &record),
            Record::Route(record) => self.put_route(line, &record),
        }
        self.begun = true;
    }

    /// Stages the removal of whatever has this key.
    pub(super) fn remove(&mut self, line: usize, key: &Key) {
        match key {
            Key::Cluster(id) => self.remove_cluster(line, id),
            Key::Domain(id) => self.remove_domain(line, *id),
            Key::Model(domain, name) => self.remove_model(*domain, name),
            Key::User(id) => self.remove_user(line, *id),
            Key::Grant(user, domain) => self.remove_grant(line, *user, *domain),
            Key::Pat(id) => self.remove_pat(line, *id),
            Key::Key(id) => Arc::make_mut(&mut self.tables.keys).remove(id),
            Key::Route(name) => self.remove_route(name),
        }
    }

    fn put_key(&mut self, line: usize, record: &KeyRecord) {
        if let Some(first) = self.keys.insert(record.id.as_str().into(), line)
            && self.whole
        {
            let key = Key::Key(record.id.as_str().into());
            self.fault(line, Fault::Duplicate { key, first });
        } else if let Err(why) = Arc::make_mut(&mut self.tables.keys).put(record) {
            self.fault(line, Fault::BadKey { id: record.id.clone(), why });
        }
    }

    /// The tables, if everything in them is right.
    pub(super) fn finish(mut self, generation: u64) -> Result<Tables, Vec<Problem>> {
        // PATs first: they count what they name, in users and domains. Users and rules next, for the same reason.
        self.finish_pats();
        self.finish_users();
        self.finish_routes();
        self.finish_topology();
        self.problems.into_result()?;
        let mut tables = self.tables;
        tables.counts = Counts {
            pats: tables.pats.len(),
            users: tables.users.len(),
            domains: tables.domain_ids.len(),
            clusters: tables.cluster_ids.len(),
            // Counted as they came and went.
            models: tables.counts.models,
            keys: tables.keys.len(),
            routes: tables.rules.len(),
        };
        Ok(tables.stamped(generation))
    }

    /// The slot of a domain, made if need be: a record may name a domain that comes later.
    fn domain_slot(&mut self, id: DomainId) -> u32 {
        if let Some(&slot) = self.tables.domain_ids.get(&id) {
            return slot;
        }
        let fresh = DomainSlot { entry: Arc::new(DomainEntry::new(id)), state: SlotState::Named, named: 0 };
        let slot = match self.tables.free_domains.pop() {
            Some(free) => {
                *self.tables.domains.get_mut(free).expect("the free list holds slots") = fresh;
                free
            }
            None => self.tables.domains.push(fresh),
        };
        Arc::make_mut(&mut self.tables.domain_ids).insert(id, slot);
        // Looked at in the end: if nothing has defined it by then, it goes again.
        self.domains.entry(slot).or_default();
        slot
    }

    fn domain_mut(&mut self, slot: u32) -> &mut DomainSlot {
        self.tables.domains.get_mut(slot).expect("slots come from domain_slot")
    }

    /// The domain's entry, for writing. What is written is put in order when the draft is finished.
    fn domain_entry_mut(&mut self, slot: u32) -> &mut DomainEntry {
        self.domains.entry(slot).or_default();
        Arc::make_mut(&mut self.domain_mut(slot).entry)
    }

    /// Notes a fault if the domain of this slot is not there.
    fn check_domain(&mut self, line: usize, slot: u32) {
        let domain = self.tables.domains.get(slot).expect("slots come from domain_slot");
        if domain.state != SlotState::Defined {
            let id = domain.entry.id;
            self.fault(line, Fault::NoDomain(id));
        }
    }
}
