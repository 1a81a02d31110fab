//! What can be wrong with a snapshot or a change, told to whoever wrote it.

use std::fmt;

use cube_wire::cidr::CidrError;
use cube_wire::record::shown;
use cube_wire::{ClusterId, DomainId, Key, PatId, RecordError, UserId};

/// How many problems are listed in full. A file that is wrong on every line needs no million sentences.
pub const PROBLEMS_MAX: usize = 1_000;

/// One fault of a snapshot or of a change, and where it is.
#[derive(Debug)]
pub struct Problem {
    /// The line of the file, or the place in the list of changes; both count from 1.
    pub line: usize,
    /// What is wrong there.
    pub fault: Fault,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.fault)
    }
}

/// What is wrong with one record.
///
/// Texts name identifiers, never digests or credentials: they end up in logs.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The line is not a record at all.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A heading that is not the first record.
    #[error("`snapshot` can only be the first record of a file")]
    LateSnapshot,
    /// Two records about one thing in one snapshot.
    #[error("{key} is already defined on line {first}")]
    Duplicate {
        /// What both are about.
        key: Key,
        /// Where the first one is.
        first: usize,
    },
    /// Two domains with one alias.
    #[error("alias `{}` belongs to domain {holder}", shown(alias))]
    DuplicateAlias {
        /// The alias.
        alias: String,
        /// The domain that has it already.
        holder: DomainId,
    },
    /// An alias outside the syntax of aliases.
    #[error(
        "`{}` cannot be an alias: a letter, then at most 35 letters, digits, - or _ (no -- or __), and no UUID",
        shown(.0)
    )]
    BadAlias(String),
    /// A domain that is named and not defined.
    #[error("domain {0} is not defined")]
    NoDomain(DomainId),
    /// A user that is named and not defined.
    #[error("user {0} is not defined")]
    NoUser(UserId),
    /// A cluster that is named and not defined.
    #[error("cluster `{}` is not defined", shown(.0.as_str()))]
    NoCluster(ClusterId),
    /// Removed, while something that stays names it.
    #[error("{key} cannot be removed: {references} other records name it")]
    StillNamed {
        /// What was to be removed.
        key: Key,
        /// How many records name it.
        references: usize,
    },
    /// An operation outside the closed list.
    #[error("unknown operation `{}`", shown(.0))]
    UnknownOperation(String),
    /// A scope without a domain where one is needed.
    #[error("scope on {0}: needs a `domain_id`; no scope is for all domains")]
    ScopeWithoutDomain(&'static str),
    /// A scope on domains whose two halves disagree.
    #[error("scope on domains: entity_id `{}` is neither `*` nor domain {domain}", shown(entity_id))]
    ScopeOfOtherDomain {
        /// The scope's domain.
        domain: DomainId,
        /// What it says instead.
        entity_id: String,
    },
    /// More scopes than a PAT can have.
    #[error("pat {0} has too many scopes")]
    TooManyScopes(PatId),
    /// A source address range that is none.
    #[error("pat {pat}: cidr `{}`: {why}", shown(text))]
    BadRange {
        /// The PAT.
        pat: PatId,
        /// The range as written.
        text: String,
        /// What is wrong with it.
        why: CidrError,
    },
    /// More source address ranges than are looked at on every request.
    #[error("pat {0} has more than {max} cidrs", max = super::notes::RANGES_MAX)]
    TooManyRanges(PatId),
    /// A key that could verify nothing.
    #[error("key `{}`: {why}", shown(id))]
    BadKey {
        /// Its identifier.
        id: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A model name that no request could carry.
    #[error("`{}` cannot be a model's name: 1 to 256 bytes without control characters", shown(.0))]
    BadModelName(String),
    /// A cluster name that would break logs and labels.
    #[error("`{}` cannot be a cluster's name: 1 to 128 bytes without control characters", shown(.0))]
    BadClusterName(String),
    /// A cluster that could serve nothing.
    #[error("cluster `{}` has no endpoints", shown(.0.as_str()))]
    NoEndpoints(ClusterId),
    /// One address twice in a cluster.
    #[error("endpoint {} is there twice; use `weight`", shown(.0))]
    DuplicateEndpoint(String),
    /// An endpoint that would never be chosen.
    #[error("endpoint {}: weight 0; leave the endpoint out instead", shown(.0))]
    NoWeight(String),
    /// A URL that we cannot connect to.
    #[error("`{}` cannot be an endpoint: {why}", shown(url))]
    BadUrl {
        /// The URL as written.
        url: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A credential that would break the head of every request.
    #[error("endpoint {}: {why}", shown(url))]
    BadCredential {
        /// The endpoint.
        url: String,
        /// What is wrong with its credential.
        why: &'static str,
    },
    /// A timeout of zero.
    #[error("cluster `{}`: {field} is 0; leave it out for the default", shown(cluster.as_str()))]
    NoTimeout {
        /// The cluster.
        cluster: ClusterId,
        /// The field.
        field: &'static str,
    },
    /// A rule that could not be evaluated, or that nobody could tell from another.
    #[error("route `{}`: {why}", shown(name))]
    BadRoute {
        /// Its name.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// The table is full.
    #[error("too many {0} for one table")]
    Full(&'static str),
    /// A file that would take every PAT out of force.
    #[error("there are no records")]
    Nothing,
    /// What did not fit into [`PROBLEMS_MAX`].
    #[error("… and {0} more problems")]
    More(usize),
}

/// Problems found so far: the first [`PROBLEMS_MAX`], and how many more.
#[derive(Debug, Default)]
pub(super) struct Problems {
    listed: Vec<Problem>,
    unlisted: usize,
}

impl Problems {
    pub(super) fn add(&mut self, line: usize, fault: Fault) {
        if self.listed.len() < PROBLEMS_MAX {
            self.listed.push(Problem { line, fault });
        } else {
            self.unlisted += 1;
        }
    }

    /// All of them in the order of their lines; `Ok` if there are none.
    pub(super) fn into_result(mut self) -> Result<(), Vec<Problem>> {
        if self.listed.is_empty() {
            return Ok(());
        }
        self.listed.sort_by_key(|problem| problem.line);
        if self.unlisted > 0 {
            let line = self.listed.last().map_or(0, |problem| problem.line);
            self.listed.push(Problem { line, fault: Fault::More(self.unlisted) });
        }
        Err(self.listed)
    }
}
