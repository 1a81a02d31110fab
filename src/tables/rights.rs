//! Who may do what: the rules, all of them, in one place.
//!
//! 1. A user's **role** in a domain is the union of its grants there, with what they imply. A superadmin's role is
//!    everything, in every domain.
//! 2. The domain's **status** is a gate before anything else: enabled lets roles through; disabled only those of its
//!    administrators (who hold all of [`OperationSet::ADMIN`]) and superadmins; freezed only superadmins.
//! 3. A PAT's **scopes** narrow the role and never widen it: scope ∩ role. A scope on the domain covers all its models;
//!    a scope on `*` models covers every model and not the domain; a scope on a model covers that one. Operations match
//!    exactly. A PAT without scopes can do nothing; one with `full_access` can do what its owner can,
//!    and so can an access token.
//! 4. A caller may **know of** a domain when its PAT has a scope there, or full access and a role there. To anyone else
//!    the domain does not exist.
//!
//! Source: SuperMQ's scope matching and domain status rules, Cube's permission schema.

use cube_wire::record::DomainStatus;
use cube_wire::{Operation, OperationSet};

use super::shards::{ANY_MODEL, Row, WHOLE_DOMAIN, Word};
use super::topology::{DomainIx, ModelIx};
use super::verify::Identity;
use super::{Tables, UserFields, pat_flag, user_flag};

/// What one caller may do in one domain, now.
#[derive(Clone, Copy, Debug)]
pub struct Rights<'t> {
    /// Whether the caller may know that the domain exists: 403 for what is not allowed, instead of 404.
    pub any: bool,
    /// What is allowed on the domain as a whole, and therefore on each of its models.
    pub domain: OperationSet,
    /// What is allowed on every model.
    any_model: OperationSet,
    /// What the role lets through, for the scopes below.
    role: OperationSet,
    /// Scopes on single models, in the order of their slots.
    models: &'t [Word],
    at: DomainIx,
    superadmin: bool,
}

impl Rights<'_> {
    const fn none(at: DomainIx) -> Self {
        Self {
            any: false,
            domain: OperationSet::EMPTY,
            any_model: OperationSet::EMPTY,
            role: OperationSet::EMPTY,
            models: &[],
            at,
            superadmin: false,
        }
    }

    /// Whether `operation` is allowed on the domain as a whole.
    #[must_use]
    pub const fn allows(&self, operation: Operation) -> bool {
        self.domain.contains(operation)
    }

    /// What is allowed on one model of the domain.
    #[must_use]
    pub fn on(&self, model: ModelIx) -> OperationSet {
        if model.domain != self.at.0 {
            return OperationSet::EMPTY;
        }
        let everywhere = self.domain.union(self.any_model);
        match self.models.binary_search_by_key(&model.name, |word| word.name) {
            Ok(at) => everywhere.union(OperationSet::from_bits(self.models[at].bits).intersection(self.role)),
            Err(_) => everywhere,
        }
    }

    /// Whether `operation` is allowed on this model.
    #[must_use]
    pub fn allows_on(&self, operation: Operation, model: ModelIx) -> bool {
        self.on(model).contains(operation)
    }

    /// Whether `operation` is allowed on each of the domain's models, whichever that is.
    #[must_use]
    pub const fn allows_on_every_model(&self, operation: Operation) -> bool {
        self.domain.union(self.any_model).contains(operation)
    }

    /// Whether `operation` is allowed on the domain or on anything that could be in it: what a list may be asked for.
    #[must_use]
    pub fn allows_somewhere(&self, operation: Operation) -> bool {
        let scoped = self.models.iter().any(|word| OperationSet::from_bits(word.bits).contains(operation));
        self.domain.union(self.any_model).contains(operation) || (scoped && self.role.contains(operation))
    }

    /// Whether the caller may use this model in any way, and so may see it in a list.
    #[must_use]
    pub fn may_see(&self, model: ModelIx) -> bool {
        !self.on(model).intersection(OperationSet::LLM).is_empty()
    }

    /// Whether the PAT's owner is a superadmin. The PAT's scopes still hold.
    #[must_use]
    pub const fn is_superadmin(&self) -> bool {
        self.superadmin
    }
}

impl Tables {
    /// What `who` may do in `domain`.
    ///
    /// `who` may have been verified against other tables: then its rows are looked up again, and a PAT that is gone or
    /// revoked by now, or whose owner is, has no rights.
    ///
    /// # Cost
    /// Two short binary searches; no allocation.
    #[must_use]
    pub fn rights(&self, who: &Identity, domain: DomainIx) -> Rights<'_> {
        let Some(Rows { full_access, scopes, user, grants }) = self.rows_of(who) else {
            return Rights::none(domain);
        };
        let superadmin = user.flags & user_flag::SUPERADMIN != 0;
        let grant = words_of(grants, domain).first();
        let role = match (superadmin, grant) {
            (true, _) => OperationSet::ALL,
            (false, Some(grant)) => OperationSet::from_bits(grant.bits),
            (false, None) => OperationSet::EMPTY,
        };
        let open = match self.domain_entry(domain).status {
            DomainStatus::Enabled => true,
            DomainStatus::Disabled => superadmin || role.contains_all(OperationSet::ADMIN),
            DomainStatus::Freezed => superadmin,
        };
        let passed = if open { role } else { OperationSet::EMPTY };

        let scopes = words_of(scopes, domain);
        // Single models come first: their slots are smaller than the two marks.
        let models = &scopes[..scopes.partition_point(|word| word.name < ANY_MODEL)];
        let scoped = |mark: u32| {
            let word = scopes[models.len()..].iter().find(|word| word.name == mark);
            word.map_or(OperationSet::EMPTY, |word| OperationSet::from_bits(word.bits))
        };
        let whole = if full_access { OperationSet::ALL } else { scoped(WHOLE_DOMAIN) };
        Rights {
            any: !scopes.is_empty() || (full_access && (superadmin || grant.is_some())),
            domain: whole.intersection(passed),
            any_model: scoped(ANY_MODEL).intersection(passed),
            role: passed,
            models,
            at: domain,
            superadmin,
        }
    }

    fn rows_of(&self, who: &Identity) -> Option<Rows<'_>> {
        let known = who.stamp == self.stamp;
        let user_place = if known { Some(who.user_place) } else { self.users.find(who.user.as_bytes()) };
        let (user, grants) = self.users.at(user_place?);
        if !known && user.flags & user_flag::DISABLED != 0 {
            return None;
        }
        let Some(pat) = who.pat else {
            return Some(Rows { full_access: true, scopes: &[], user, grants });
        };
        let pat_place = if known { who.pat_place } else { self.pats.find(pat.as_bytes()) };
        let (pat, scopes) = self.pats.at(pat_place?);
        if !known && (pat.fixed.user != *who.user.as_bytes() || pat.flags & pat_flag::REVOKED != 0) {
            return None;
        }
        Some(Rows { full_access: pat.flags & pat_flag::FULL_ACCESS != 0, scopes, user, grants })
    }
}

/// What rights are made of.
struct Rows<'t> {
    /// The credential does not narrow its owner's rights.
    full_access: bool,
    scopes: &'t [Word],
    user: &'t Row<UserFields>,
    grants: &'t [Word],
}

/// The words about one domain. Words are in the order of their domains, then of their names.
fn words_of(words: &[Word], domain: DomainIx) -> &[Word] {
    let start = words.partition_point(|word| word.domain < domain.0);
    let len = words[start..].partition_point(|word| word.domain == domain.0);
    &words[start..start + len]
}
