//! What the proxy decides with: who a PAT belongs to, what it may do where, and who serves which model.
//!
//! Enters: the records of a snapshot, or the changes since ([`cube_wire::record`]). Leaves: [`Tables`], immutable,
//! shared by every core. The control thread compiles them; a core only ever reads.
//!
//! # Promises
//! * All or nothing. What has a fault anywhere is refused whole, with every fault listed; references are checked here
//!   or nowhere, so a lookup on the path cannot dangle.
//! * A change costs what it changes. [`Tables::with`] shares all shards that it does not touch, and gives the tables
//!   that compiling the changed records would give.
//! * A check allocates nothing, takes no lock and writes nothing: [`verify`] is bytes in, verdict out.
//!
//! # Not here, on purpose
//! No clock (the caller says what time it is), no names to resolve on a core, no counters of use.
//!
//! # Cost
//! A PAT with one scope takes some 100 bytes of the process, not of each core. `benches/pat_check.rs` and
//! `benches/table_lookup.rs` hold the times.
//!
//! Read [`rights`] for the rules, [`shards`] for the memory.

mod addresses;
mod chunked;
mod draft;
mod endpoint;
mod keys;
mod load;
mod neighbours;
mod notes;
mod problem;
mod rights;
mod rules;
mod shards;
mod topology;
mod verify;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ahash::RandomState;
use cube_wire::record::ALIAS_LEN_MAX;
use cube_wire::{Key, Record};

use chunked::Chunked;
use draft::Draft;
use keys::Keys;
// What tables are made of is named through them: nothing on the path knows of the wire.
pub use addresses::Addressed;
pub use cube_wire::record::{Dialect, DomainStatus};
pub use cube_wire::{ClusterId, DomainId, Operation, OperationSet, PatId, UserId};
pub use endpoint::{NoResolver, Resolve, SystemResolver, lone_cluster};
pub use load::LoadError;
pub use neighbours::Neighbours;
pub use problem::{Fault, PROBLEMS_MAX, Problem};
pub use rights::Rights;
pub use rules::{Choice, Rule, RuleIx, Rules, Seen};
use shards::ShardMap;
pub use topology::{
    ClusterEntry, ClusterIx, Credential, DomainEntry, DomainIx, EndpointEntry, ModelEntry, ModelIx,
};
use topology::{ClusterSlot, DomainSlot};
pub use verify::{CredentialFault, Identity, Verifier, digest_of};

/// One generation of everything that requests are decided with.
#[derive(Clone, Debug)]
pub struct Tables {
    generation: u64,
    /// Unlike the generation, never the same for two tables of one process.
    stamp: u64,
    pats: ShardMap<PatFields>,
    users: ShardMap<UserFields>,
    domains: Chunked<DomainSlot>,
    domain_ids: Arc<HashMap<DomainId, u32, RandomState>>,
    aliases: Arc<HashMap<Alias, u32, RandomState>>,
    free_domains: Vec<u32>,
    clusters: Chunked<ClusterSlot>,
    cluster_ids: Arc<HashMap<ClusterId, u32, RandomState>>,
    free_clusters: Vec<u32>,
    keys: Arc<Keys>,
    rules: Arc<Rules>,
    counts: Counts,
}

const _: () = {
    const fn crosses_threads<T: Send + Sync>() {}
    crosses_threads::<Tables>();
};

/// What a PAT's row says besides its identifier, its scopes and its flags.
#[derive(Clone, Copy, Debug)]
struct PatFields {
    user: [u8; 16],
    digest: [u8; 32],
    /// Unix seconds; [`NEVER`]: does not expire.
    expires_at: u32,
    /// Unix seconds.
    not_before: u32,
}

/// A time so late that 32 bits of seconds do not hold it (after 2106-02-07).
const NEVER: u32 = u32::MAX;

const _: () = assert!(size_of::<shards::Row<PatFields>>() == 80, "the memory of a million PATs");

/// What a user's row says besides its identifier, its grants and its flags.
#[derive(Clone, Copy, Debug)]
struct UserFields {
    /// PATs that name the user.
    pats: u32,
}

/// Flags of a PAT's row.
mod pat_flag {
    pub(super) const REVOKED: u16 = 1;
    pub(super) const FULL_ACCESS: u16 = 2;
}

/// Flags of a user's row.
mod user_flag {
    pub(super) const DISABLED: u16 = 1;
    pub(super) const SUPERADMIN: u16 = 2;
}

/// A domain's alias without a pointer, so that the map of aliases is copied as one piece of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Alias {
    /// Filled up with zeros, which no alias contains.
    bytes: [u8; ALIAS_LEN_MAX],
}

impl Alias {
    fn new(text: &[u8]) -> Option<Self> {
        if text.contains(&0) {
            return None;
        }
        let mut bytes = [0; ALIAS_LEN_MAX];
        bytes.get_mut(..text.len())?.copy_from_slice(text);
        Some(Self { bytes })
    }
}

/// How many of each thing the tables hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// PATs, whatever their state.
    pub pats: usize,
    /// Users.
    pub users: usize,
    /// Domains.
    pub domains: usize,
    /// Models, counted once in every domain that offers them.
    pub models: usize,
    /// Clusters.
    pub clusters: usize,
    /// Keys of access tokens.
    pub keys: usize,
    /// Routing rules.
    pub routes: usize,
}

/// One step from a generation to the next.
#[derive(Clone, Debug)]
pub enum Change {
    /// The record is there from now on, in place of an older one with its key. Several grants of one user in one
    /// domain within one batch unite; together they replace what the pair had before.
    Put(Record),
    /// Nothing with this key is there from now on. It need not have been.
    Remove(Key),
}

/// Length of a UUID as text with hyphens.
const UUID_TEXT_LEN: usize = 36;

impl Tables {
    /// Tables that nobody has filled: generation 0. A proxy that has nothing else is not ready.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            generation: 0,
            stamp: 0,
            pats: ShardMap::new(),
            users: ShardMap::new(),
            domains: Chunked::new(),
            domain_ids: Arc::default(),
            aliases: Arc::default(),
            free_domains: Vec::new(),
            clusters: Chunked::new(),
            cluster_ids: Arc::default(),
            free_clusters: Vec::new(),
            keys: Arc::default(),
            rules: Arc::default(),
            counts: Counts::default(),
        }
        .stamped(0)
    }

    fn stamped(mut self, generation: u64) -> Self {
        static STAMPS: AtomicU64 = AtomicU64::new(0);
        self.stamp = STAMPS.fetch_add(1, Ordering::Relaxed);
        self.generation = generation;
        self
    }

    /// Compiles a whole snapshot.
    ///
    /// * `records`: each with the number of its line, in any order.
    /// * `resolve`: asked once for every endpoint whose host is a name.
    ///
    /// # Errors
    /// Every [`Problem`] of the snapshot, in the order of their lines. The tables in force stay in force.
    ///
    /// # Cost
    /// Some 300 ns a PAT on one thread, besides reading it; twice its final size in memory while it runs.
    pub fn compile(
        records: impl IntoIterator<Item = (usize, Record)>,
        generation: u64,
        resolve: &mut dyn Resolve,
    ) -> Result<Self, Vec<Problem>> {
        let mut draft = Draft::of_snapshot(resolve);
        for (line, record) in records {
            draft.put(line, record);
        }
        draft.finish(generation)
    }

    /// The tables after `changes`, which are one transaction: all of them are in force together or not at all.
    ///
    /// References are checked on the outcome, so their order matters only where two changes have one key: then the
    /// later one holds.
    ///
    /// # Errors
    /// Every [`Problem`], with the place of the change at fault, from 1. `self` is as it was.
    ///
    /// # Cost
    /// In proportion to `changes`: a PAT rebuilds one shard of 1,024 (and that of its owner). Adding or removing a
    /// domain copies the index of domains.
    pub fn with(
        &self,
        changes: &[Change],
        generation: u64,
        resolve: &mut dyn Resolve,
    ) -> Result<Self, Vec<Problem>> {
        let mut draft = Draft::of_changes(self, resolve);
        for (at, change) in changes.iter().enumerate() {
            match change {
                Change::Put(record) => draft.put(at + 1, record.clone()),
                Change::Remove(key) => draft.remove(at + 1, key),
            }
        }
        draft.finish(generation)
    }

    /// The number of the snapshot that these tables are.
    #[must_use]
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether there is nothing in the tables.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.counts == Counts::default()
    }

    /// How many of each thing there are.
    #[must_use]
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// The domain that a segment of a path names: by its identifier, hyphenated and in either case, or by its alias.
    #[must_use]
    pub fn domain(&self, segment: &[u8]) -> Option<DomainIx> {
        if segment.len() == UUID_TEXT_LEN
            && let Ok(id) = uuid::Uuid::try_parse_ascii(segment)
        {
            return self.domain_by_id(DomainId(id));
        }
        if segment.is_empty() {
            return None;
        }
        self.aliases.get(&Alias::new(segment)?).copied().map(DomainIx)
    }

    /// The domain with this identifier.
    #[must_use]
    pub fn domain_by_id(&self, id: DomainId) -> Option<DomainIx> {
        self.domain_ids.get(&id).copied().map(DomainIx)
    }

    /// What is known of a domain.
    #[must_use]
    pub fn domain_entry(&self, domain: DomainIx) -> &DomainEntry {
        &self.domains.get(domain.0).expect("an index of these tables").entry
    }

    /// The model that a caller of this domain means by `name`. Bytes are compared as they are.
    #[must_use]
    pub fn model(&self, domain: DomainIx, name: &[u8]) -> Option<ModelIx> {
        let entry = self.domain_entry(domain);
        let slot = *entry.by_name.get(std::str::from_utf8(name).ok()?)?;
        entry.names[slot as usize].model.as_ref()?;
        Some(ModelIx { domain: domain.0, name: slot })
    }

    /// What is known of a model.
    #[must_use]
    pub fn model_entry(&self, model: ModelIx) -> &ModelEntry {
        let domain = self.domain_entry(DomainIx(model.domain));
        domain.names[model.name as usize].model.as_deref().expect("an index of these tables")
    }

    /// The models that a domain offers, in the order of their names.
    pub fn models_of(&self, domain: DomainIx) -> impl Iterator<Item = ModelIx> + '_ {
        self.domain_entry(domain).listing.iter().map(move |&name| ModelIx { domain: domain.0, name })
    }

    /// What is known of a cluster.
    #[must_use]
    pub fn cluster(&self, cluster: ClusterIx) -> &ClusterEntry {
        let slot = self.clusters.get(cluster.0).expect("an index of these tables");
        slot.entry.as_deref().expect("finished tables hold only defined clusters")
    }

    /// The rules that send requests elsewhere. A core works with a copy of its own.
    #[must_use]
    pub const fn rules(&self) -> &Arc<Rules> {
        &self.rules
    }

    /// Every cluster.
    pub fn clusters(&self) -> impl Iterator<Item = &ClusterEntry> {
        self.clusters.iter().filter_map(|slot| slot.entry.as_deref())
    }

    /// Endpoints whose host could not be resolved, each with its cluster. They are in the tables, and unreachable.
    pub fn unresolved(&self) -> impl Iterator<Item = (&ClusterEntry, &EndpointEntry)> {
        self.clusters().flat_map(|cluster| {
            let endpoints = cluster.endpoints.iter().filter(|endpoint| endpoint.addrs.is_empty());
            endpoints.map(move |endpoint| (cluster, endpoint))
        })
    }

    /// Bytes that PATs and users take on the heap, shared or not.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.pats.heap_bytes() + self.users.heap_bytes()
    }
}
