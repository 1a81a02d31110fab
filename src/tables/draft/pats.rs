//! Staging PATs.

use std::ops::Range;

use cube_wire::record::{ANY_ENTITY, EntityType, MODEL_NAME_LEN_MAX, PatRecord, ScopeRecord};
use cube_wire::{DomainId, Key, PatId, UserId};

use super::Draft;
use super::people::check_operation;
use crate::tables::problem::Fault;
use crate::tables::shards::{ANY_MODEL, Row, ShardBuilder, WHOLE_DOMAIN, Word};
use crate::tables::{NEVER, PatFields, pat_flag};

/// What a draft does to the PATs of one shard, in the order in which it was said.
#[derive(Debug, Default)]
pub(super) struct ShardDraft {
    staged: Vec<StagedPat>,
    words: Vec<Word>,
}

#[derive(Debug)]
struct StagedPat {
    row: Row<PatFields>,
    words: Range<usize>,
    line: usize,
    removed: bool,
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
        let shard = self.tables.pats.shard_number(record.id.as_bytes());
        // The words are put at the end of the shard's, and taken together where scopes differ in operation only.
        let mut words = std::mem::take(&mut self.pats[shard].words);
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
        if end - start > usize::from(u16::MAX) {
            self.fault(line, Fault::TooManyScopes(record.id));
            words.truncate(start);
        }
        let row = Row::new(*record.id.as_bytes(), flags, fixed);
        let staged = StagedPat { row, words: start..words.len(), line, removed: false };
        self.pats[shard].words = words;
        self.pats[shard].staged.push(staged);
    }

    pub(super) fn remove_pat(&mut self, line: usize, id: PatId) {
        let shard = self.tables.pats.shard_number(id.as_bytes());
        let nothing = PatFields { user: [0; 16], digest: [0; 32], expires_at: 0, not_before: 0 };
        let row = Row::new(*id.as_bytes(), 0, nothing);
        self.pats[shard].staged.push(StagedPat { row, words: 0..0, line, removed: true });
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
        for (number, draft) in std::mem::take(&mut self.pats).into_iter().enumerate() {
            if !draft.staged.is_empty() {
                self.finish_shard(number, draft);
            }
        }
    }

    fn finish_shard(&mut self, number: usize, mut draft: ShardDraft) {
        // Stable, so that of several changes to one PAT the last one said is the last of its run.
        draft.staged.sort_by_key(|staged| staged.row.id);
        let before = self.tables.pats.clone();
        let mut builder = ShardBuilder::with_capacity(draft.staged.len(), draft.words.len());
        let mut full = false;
        for (row, words) in before.shard(number).iter() {
            if draft.staged.binary_search_by_key(&row.id, |staged| staged.row.id).is_ok() {
                self.count_pat(row, words, -1);
            } else {
                full |= builder.push(row, words).is_err();
            }
        }
        drop(before);
        for run in draft.staged.chunk_by(|one, other| one.row.id == other.row.id) {
            for again in run[1..].iter().filter(|_| self.whole) {
                let key = Key::Pat(PatId::from_bytes(again.row.id));
                self.problems.add(again.line, Fault::Duplicate { key, first: run[0].line });
            }
            let last = run.last().expect("runs are not empty");
            if last.removed {
                continue;
            }
            let words = &draft.words[last.words.clone()];
            if !self.count_pat(&last.row, words, 1) {
                self.fault(last.line, Fault::NoUser(UserId::from_bytes(last.row.fixed.user)));
            }
            for domain in words.chunk_by(|one, other| one.domain == other.domain) {
                self.check_domain(last.line, domain[0].domain);
            }
            full |= builder.push(&last.row, words).is_err();
        }
        if full || self.tables.pats.replace(number, builder).is_err() {
            self.fault(0, Fault::Full("pats"));
        }
    }

    /// Counts what a PAT names, or no longer names. Returns whether its owner will be there.
    fn count_pat(&mut self, row: &Row<PatFields>, words: &[Word], by: i32) -> bool {
        for word in words {
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
