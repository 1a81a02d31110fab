//! What can be wrong with a snapshot or a change, told to whoever wrote it.

use std::fmt;

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
    #[error("alias `{0}` belongs to domain {1}")]
    DuplicateAlias(String, DomainId),
    /// An alias outside the syntax of aliases.
    #[error(
        "`{0}` cannot be an alias: a letter, then at most 35 letters, digits, - or _ (no -- or __), and no UUID"
    )]
    BadAlias(String),
    /// A domain that is named and not defined.
    #[error("domain {0} is not defined")]
    NoDomain(DomainId),
    /// A user that is named and not defined.
    #[error("user {0} is not defined")]
    NoUser(UserId),
    /// A cluster that is named and not defined.
    #[error("cluster `{0}` is not defined")]
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
    #[error("unknown operation `{0}`")]
    UnknownOperation(String),
    /// A scope without a domain where one is needed.
    #[error("scope on {0}: needs a `domain_id`; no scope is for all domains")]
    ScopeWithoutDomain(&'static str),
    /// A scope on domains whose two halves disagree.
    #[error("scope on domains: entity_id `{entity_id}` is neither `*` nor domain {domain}")]
    ScopeOfOtherDomain {
        /// The scope's domain.
        domain: DomainId,
        /// What it says instead.
        entity_id: String,
    },
    /// More scopes than a PAT can have.
    #[error("pat {0} has too many scopes")]
    TooManyScopes(PatId),
    /// A model name that no request could carry.
    #[error("`{0}` cannot be a model's name: 1 to 256 bytes without control characters")]
    BadModelName(String),
    /// A cluster name that would break logs and labels.
    #[error("`{0}` cannot be a cluster's name: 1 to 128 bytes without control characters")]
    BadClusterName(String),
    /// A cluster that could serve nothing.
    #[error("cluster `{0}` has no endpoints")]
    NoEndpoints(ClusterId),
    /// One address twice in a cluster.
    #[error("endpoint {0} is there twice; use `weight`")]
    DuplicateEndpoint(String),
    /// An endpoint that would never be chosen.
    #[error("endpoint {0}: weight 0; leave the endpoint out instead")]
    NoWeight(String),
    /// A URL that we cannot connect to.
    #[error("`{url}` cannot be an endpoint: {why}")]
    BadUrl {
        /// The URL as written.
        url: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A credential that would break the head of every request.
    #[error("endpoint {url}: {why}")]
    BadCredential {
        /// The endpoint.
        url: String,
        /// What is wrong with its credential.
        why: &'static str,
    },
    /// A timeout of zero.
    #[error("cluster `{cluster}`: {field} is 0; leave it out for the default")]
    NoTimeout {
        /// The cluster.
        cluster: ClusterId,
        /// The field.
        field: &'static str,
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
