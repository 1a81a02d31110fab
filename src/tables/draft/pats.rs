//! Staging PATs.

use cube_wire::record::{ANY_ENTITY, EntityType, MODEL_NAME_LEN_MAX, PatRecord, ScopeRecord};
use cube_wire::{Cidr, DomainId, Key, PatId, UserId};

use super::Draft;
use super::people::check_operation;
use crate::tables::notes::{self, Former, RANGES_MAX};
use crate::tables::problem::Fault;
use crate::tables::shards::{ANY_MODEL, Row, ShardBuilder, WHOLE_DOMAIN, Word};
use crate::tables::{NEVER, PatFields, pat_flag};

/// What a draft does to PATs, in the order in which it was said.
///
/// In blocks, because an array of a million that grows is copied, and its memory cleared, twice over.
#[derive(Debug, Default)]
pub(super) struct PatDrafts {
    blocks: Vec<Block>,
}

/// PATs in a block; a power of two.
const BLOCK_LEN: usize = 1 << 13;

#[derive(Debug, Default)]
struct Block {
    staged: Vec<StagedPat>,
    /// The words of the rows above.
    words: Vec<Word>,
}

#[derive(Clone, Debug)]
struct StagedPat {
    row: Row<PatFields>,
    /// Of a snapshot of fewer than 2^32 lines; the last number stands for all beyond.
    line: u32,
    removed: bool,
}

const _: () = assert!(size_of::<StagedPat>() == 88, "a million of them wait for the end of a snapshot");

impl PatDrafts {
    /// The block that takes the next PAT.
    fn open_block(&mut self) -> &mut Block {
        if self.blocks.last().is_none_or(|block| block.staged.len() == BLOCK_LEN) {
            // The first one is often the only one, and short.
            let capacity = if self.blocks.is_empty() { 0 } else { BLOCK_LEN };
            let (staged, words) = (Vec::with_capacity(capacity), Vec::with_capacity(capacity));
            self.blocks.push(Block { staged, words });
        }
        self.blocks.last_mut().expect("one was pushed")
    }
}

/// How a scope acts.
enum Acts {
    /// Not on the proxy.
    Not,
    On(Word),
}

fn seconds(time: u64) -> u32 {
    u32::try_from(time).unwrap_or(NEVER)
}

fn short(line: usize) -> u32 {
    u32::try_from(line).unwrap_or(u32::MAX)
}

impl Draft<'_> {
    pub(super) fn put_pat(&mut self, line: usize, record: &PatRecord) {
        let mut flags = 0;
        if record.revoked {
            flags |= pat_flag::REVOKED;
        }
        if record.full_access {
            flags |= pat_flag::FULL_ACCESS;
        }
        let fixed = PatFields {
            user: *record.user.as_bytes(),
            digest: record.digest.0,
            expires_at: record.expires_at.map_or(NEVER, seconds),
            not_before: record.not_before.map_or(0, seconds),
        };
        // The words are put at the end of the block's, and taken together where scopes differ in operation only.
        let mut words = std::mem::take(&mut self.pats.open_block().words);
        let start = words.len();
        for scope in &record.scopes {
            match self.compile_scope(scope) {
                Ok(Acts::On(word)) => words.push(word),
                Ok(Acts::Not) => {}
                Err(fault) => self.fault(line, fault),
            }
        }
        words[start..].sort_unstable_by_key(|word| (word.domain, word.name));
        let mut end = start;
        for at in start..words.len() {
            let word = words[at];
            if end > start && (words[end - 1].domain, words[end - 1].name) == (word.domain, word.name) {
                words[end - 1].bits |= word.bits;
            } else {
                words[end] = word;
                end += 1;
            }
        }
        words.truncate(end);
        let former = record.previous.as_ref();
        let former = former.map(|former| Former { digest: former.digest.0, until: seconds(former.until) });
        let ranges = self.compile_ranges(line, record);
        notes::write(&mut words, former, &ranges);
        let end = words.len();
        let row = Row::new(*record.id.as_bytes(), flags, fixed).with_words(start..end);
        let block = self.pats.open_block();
        block.words = words;
        match row {
            Some(row) => block.staged.push(StagedPat { row, line: short(line), removed: false }),
            None => self.fault(line, Fault::TooManyScopes(record.id)),
        }
    }

    pub(super) fn remove_pat(&mut self, line: usize, id: PatId) {
        let nothing = PatFields { user: [0; 16], digest: [0; 32], expires_at: 0, not_before: 0 };
        let row = Row::new(*id.as_bytes(), 0, nothing);
        self.pats.open_block().staged.push(StagedPat { row, line: short(line), removed: true });
    }

    /// The ranges of addresses that a PAT may be used from; most PATs have none.
    fn compile_ranges(&mut self, line: usize, record: &PatRecord) -> Vec<Cidr> {
        if record.cidrs.len() > RANGES_MAX {
            self.fault(line, Fault::TooManyRanges(record.id));
            return Vec::new();
        }
        let mut ranges = Vec::new();
        for text in &record.cidrs {
            match text.parse() {
                Ok(range) => ranges.push(range),
                Err(why) => self.fault(line, Fault::BadRange { pat: record.id, text: text.clone(), why }),
            }
        }
        ranges
    }

    fn compile_scope(&mut self, scope: &ScopeRecord) -> Result<Acts, Fault> {
        let any = scope.entity_id == ANY_ENTITY;
        let (domain, name) = match (&scope.entity_type, scope.domain_id) {
            (EntityType::Other(_), _) => return Ok(Acts::Not),
            (EntityType::Models, None) => return Err(Fault::ScopeWithoutDomain("models")),
            (EntityType::Models, Some(domain)) if any => (self.domain_slot(domain), ANY_MODEL),
            (EntityType::Models, Some(domain)) => {
                if scope.entity_id.is_empty() || scope.entity_id.len() > MODEL_NAME_LEN_MAX {
                    return Err(Fault::BadModelName(scope.entity_id.clone()));
                }
                let domain = self.domain_slot(domain);
                (domain, self.domain_entry_mut(domain).slot_of(&scope.entity_id))
            }
            (EntityType::Domains, domain_id) => {
                let entity: Option<DomainId> = scope.entity_id.parse().ok();
                let domain = domain_id.or(entity).ok_or(Fault::ScopeWithoutDomain("domains"))?;
                if !any && entity != Some(domain) {
                    return Err(Fault::ScopeOfOtherDomain { domain, entity_id: scope.entity_id.clone() });
                }
                (self.domain_slot(domain), WHOLE_DOMAIN)
            }
        };
        check_operation(&scope.operation)?;
        // A name that never acts still shows that the PAT is meant for this domain, so the word stays, empty.
        let bits = scope.operation.acting().map_or(0, cube_wire::Operation::bit);
        Ok(Acts::On(Word { bits, domain, name }))
    }

    /// Rebuilds the shards of all touched PATs and counts what they name.
    pub(super) fn finish_pats(&mut self) {
        let blocks = std::mem::take(&mut self.pats).blocks;
        // The shard in the high half, the place in the order of what was said in the low half.
        let mut order = Vec::with_capacity(blocks.iter().map(|block| block.staged.len()).sum());
        for (number, block) in blocks.iter().enumerate() {
            for (at, staged) in block.staged.iter().enumerate() {
                let shard = self.tables.pats.shard_number(&staged.row.id) as u64;
                order.push(shard << 32 | (number * BLOCK_LEN + at) as u64);
            }
        }
        order.sort_unstable();
        let mut of_shard: Vec<(&StagedPat, &[Word])> = Vec::new();
        for run in order.chunk_by(|one, other| one >> 32 == other >> 32) {
            of_shard.clear();
            of_shard.extend(run.iter().map(|&key| {
                let place = key as u32 as usize;
                let block = &blocks[place / BLOCK_LEN];
                let staged = &block.staged[place % BLOCK_LEN];
                (staged, &block.words[staged.row.words()])
            }));
            // Stable, so that of several changes to one PAT the last one said is the last of its run.
            of_shard.sort_by_key(|(staged, _)| staged.row.id);
            self.finish_shard((run[0] >> 32) as usize, &of_shard);
        }
    }

    /// * `staged`: what is said about the PATs of this shard, in the order of their identifiers.
    fn finish_shard(&mut self, number: usize, staged: &[(&StagedPat, &[Word])]) {
        let before = self.tables.pats.clone();
        let words = staged.iter().map(|(_, words)| words.len()).sum();
        let mut builder = ShardBuilder::with_capacity(staged.len(), words);
        let mut full = false;
        for (row, words) in before.shard(number).iter() {
            if staged.binary_search_by_key(&row.id, |(staged, _)| staged.row.id).is_ok() {
                self.count_pat(row, words, -1);
            } else {
                full |= builder.push(row, words).is_err();
            }
        }
        drop(before);
        for run in staged.chunk_by(|one, other| one.0.row.id == other.0.row.id) {
            for (again, _) in run[1..].iter().filter(|_| self.whole) {
                let key = Key::Pat(PatId::from_bytes(again.row.id));
                let first = run[0].0.line as usize;
                self.problems.add(again.line as usize, Fault::Duplicate { key, first });
            }
            let (last, words) = run.last().expect("runs are not empty");
            let line = last.line as usize;
            if last.removed {
                continue;
            }
            if !self.count_pat(&last.row, words, 1) {
                self.fault(line, Fault::NoUser(UserId::from_bytes(last.row.fixed.user)));
            }
            let (scopes, _) = notes::split(words);
            for domain in scopes.chunk_by(|one, other| one.domain == other.domain) {
                self.check_domain(line, domain[0].domain);
            }
            full |= builder.push(&last.row, words).is_err();
        }
        if full || self.tables.pats.replace(number, builder).is_err() {
            self.fault(0, Fault::Full("pats"));
        }
    }

    /// Counts what a PAT names, or no longer names. Returns whether its owner will be there.
    fn count_pat(&mut self, row: &Row<PatFields>, words: &[Word], by: i32) -> bool {
        for word in notes::split(words).0 {
            let named = &mut self.domain_mut(word.domain).named;
            *named = named.wrapping_add_signed(by);
            if word.name < ANY_MODEL {
                let named = &mut self.domain_entry_mut(word.domain).names[word.name as usize].named;
                *named = named.wrapping_add_signed(by);
            }
        }
        let (owner, present) = self.owner(UserId::from_bytes(row.fixed.user));
        owner.pats += i64::from(by);
        present
    }
}
