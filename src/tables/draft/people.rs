//! Staging users and grants.

use cube_wire::record::{GrantRecord, UserRecord, UserStatus};
use cube_wire::{DomainId, Key, OperationName, OperationSet, UserId};

use super::Draft;
use crate::tables::problem::Fault;
use crate::tables::shards::{Row, ShardBuilder, WHOLE_DOMAIN, Word};
use crate::tables::{UserFields, user_flag};

/// What a draft does to a user.
#[derive(Debug, Default)]
pub(super) struct UserDraft {
    state: Drafted,
    grants: Vec<GrantDraft>,
    /// PATs that name the user now and did not, less those that did and do not.
    pub(super) pats: i64,
}

/// What a draft does to a user itself.
#[derive(Clone, Copy, Debug, Default)]
enum Drafted {
    /// Nothing.
    #[default]
    Kept,
    Put {
        flags: u16,
        line: usize,
    },
    Removed {
        line: usize,
    },
}

#[derive(Debug)]
struct GrantDraft {
    line: usize,
    domain: u32,
    /// `None`: taken away.
    bits: Option<u64>,
}

impl Draft<'_> {
    pub(super) fn put_user(&mut self, line: usize, record: &UserRecord) {
        let mut flags = 0;
        if record.status == UserStatus::Disabled {
            flags |= user_flag::DISABLED;
        }
        if record.superadmin {
            flags |= user_flag::SUPERADMIN;
        }
        let draft = self.users.entry(record.id).or_default();
        match draft.state {
            Drafted::Put { line: first, .. } if self.whole => {
                self.fault(line, Fault::Duplicate { key: Key::User(record.id), first });
            }
            Drafted::Kept | Drafted::Put { .. } | Drafted::Removed { .. } => {
                draft.state = Drafted::Put { flags, line };
            }
        }
    }

    pub(super) fn remove_user(&mut self, line: usize, id: UserId) {
        self.users.entry(id).or_default().state = Drafted::Removed { line };
    }

    pub(super) fn put_grant(&mut self, line: usize, record: &GrantRecord) {
        let mut operations = OperationSet::EMPTY;
        for name in &record.operations {
            if let Some(operation) = name.acting() {
                operations.insert(operation);
            } else if !name.is_known() {
                self.fault(line, Fault::UnknownOperation(name.to_string()));
            }
        }
        let domain = self.domain_slot(record.domain);
        let bits = Some(operations.with_implied().bits());
        self.users.entry(record.user).or_default().grants.push(GrantDraft { line, domain, bits });
    }

    pub(super) fn remove_grant(&mut self, line: usize, user: UserId, domain: DomainId) {
        if let Some(&domain) = self.tables.domain_ids.get(&domain) {
            let grant = GrantDraft { line, domain, bits: None };
            self.users.entry(user).or_default().grants.push(grant);
        }
    }

    /// The draft of a user whose PATs change, and whether the user will be there.
    pub(super) fn owner(&mut self, id: UserId) -> (&mut UserDraft, bool) {
        let draft = self.users.entry(id).or_default();
        let present = match draft.state {
            Drafted::Put { .. } => true,
            Drafted::Removed { .. } => false,
            Drafted::Kept => self.tables.users.find(id.as_bytes()).is_some(),
        };
        (draft, present)
    }

    /// Rebuilds the shards of all touched users.
    pub(super) fn finish_users(&mut self) {
        let users = &self.tables.users;
        let mut touched: Vec<_> = std::mem::take(&mut self.users)
            .into_iter()
            .map(|(id, draft)| (users.shard_number(id.as_bytes()), id, draft))
            .collect();
        touched.sort_unstable_by_key(|(shard, id, _)| (*shard, *id));
        for run in touched.chunk_by(|one, other| one.0 == other.0) {
            let number = run[0].0;
            let before = self.tables.users.clone();
            let mut builder = ShardBuilder::with_capacity(run.len(), run.len());
            let mut full = false;
            for (row, words) in before.shard(number).iter() {
                if run.binary_search_by_key(&row.id, |(_, id, _)| *id.as_bytes()).is_err() {
                    full |= builder.push(row, words).is_err();
                }
            }
            for (_, id, draft) in run {
                let row = before.find(id.as_bytes()).map(|place| before.at(place));
                if let Some((row, words)) = self.finish_user(*id, draft, row) {
                    full |= builder.push(&row, &words).is_err();
                }
            }
            drop(before);
            if full || self.tables.users.replace(number, builder).is_err() {
                self.fault(0, Fault::Full("users"));
            }
        }
    }

    /// What a user's row becomes; `None`: it has none.
    fn finish_user(
        &mut self,
        id: UserId,
        draft: &UserDraft,
        before: Option<(&Row<UserFields>, &[Word])>,
    ) -> Option<(Row<UserFields>, Vec<Word>)> {
        let flags = match draft.state {
            Drafted::Put { flags, .. } => Some(flags),
            Drafted::Kept => before.map(|(row, _)| row.flags),
            Drafted::Removed { .. } => None,
        };
        let words = self.finish_grants(draft, before.map_or(&[], |(_, words)| words), flags.is_some(), id);
        let pats = i64::from(before.map_or(0, |(row, _)| row.fixed.pats)) + draft.pats;
        let pats = u32::try_from(pats).expect("as many PATs let go of a user as had named it");
        let references = pats as usize + words.len();
        if let (Drafted::Removed { line }, 1..) = (draft.state, references) {
            self.fault(line, Fault::StillNamed { key: Key::User(id), references });
        }
        Some((Row::new(*id.as_bytes(), flags?, UserFields { pats }), words))
    }

    /// A user's grants after the draft, one word a domain, in the order of domains.
    fn finish_grants(
        &mut self,
        draft: &UserDraft,
        before: &[Word],
        present: bool,
        user: UserId,
    ) -> Vec<Word> {
        let mut words = before.to_vec();
        for (at, grant) in draft.grants.iter().enumerate() {
            let place = words.binary_search_by_key(&grant.domain, |word| word.domain);
            // The first one of a batch replaces what was there before; those after it add to it.
            let adds = draft.grants[..at].iter().any(|earlier| earlier.domain == grant.domain);
            match (place, grant.bits) {
                (Ok(place), Some(bits)) if adds => words[place].bits |= bits,
                (Ok(place), Some(bits)) => words[place].bits = bits,
                (Err(place), Some(bits)) => {
                    words.insert(place, Word { bits, domain: grant.domain, name: WHOLE_DOMAIN });
                    self.domain_mut(grant.domain).named += 1;
                }
                (Ok(place), None) => {
                    words.remove(place);
                    self.domain_mut(grant.domain).named -= 1;
                }
                (Err(_), None) => {}
            }
        }
        for grant in &draft.grants {
            let stays = words.binary_search_by_key(&grant.domain, |word| word.domain).is_ok();
            if grant.bits.is_some() && stays {
                self.check_domain(grant.line, grant.domain);
                if !present {
                    self.fault(grant.line, Fault::NoUser(user));
                }
            }
        }
        words
    }
}

/// Whether a name can stand in a scope or a role on a domain; the fault that it is otherwise.
pub(super) fn check_operation(name: &OperationName) -> Result<(), Fault> {
    if name.is_known() { Ok(()) } else { Err(Fault::UnknownOperation(name.to_string())) }
}
