//! Rules that send requests elsewhere than their model's cluster.
//!
//! Enters: what a request says of itself ([`Seen`]), and its body if a rule wants that. Leaves: a [`Choice`].
//!
//! A domain's own rules come before the general ones, higher priorities first, equal ones in the order of their names; the first
//! whose matchers all hold takes the request. When none does, the domain's default rule takes it, or the general one.
//!
//! # Cost
//! One look if there are no rules. A rule costs its matchers up to the first that does not hold; nothing is allocated but for a
//! regular expression over an encoded query parameter. Expressions are compiled with the tables and take linear time.
//!
//! Source: Cube AI's route table, its semantics where it has any.

use std::collections::HashMap;
use std::ops::Range;

use ahash::RandomState;
use cube_wire::Operation;
use cube_wire::matching::Matcher;
pub use cube_wire::matching::Seen;

use super::topology::{ClusterIx, DomainIx};

/// A rule of one generation of the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleIx(u32);

/// Where a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// No rule takes it.
    Straight,
    /// This rule does.
    Rule(RuleIx),
    /// A rule would, if the body is as it says; nothing can be said without that.
    NeedsBody,
}

/// One rule.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Its name.
    pub name: Box<str>,
    /// Where the request goes.
    pub cluster: ClusterIx,
    /// Taken off the front of the path; empty, or `/…` without a slash at its end.
    pub strip_prefix: Box<str>,
    /// What a caller must be allowed to do where the operation table does not know the path.
    pub operation: Option<Operation>,
    /// Value of `X-Event-Type` in the answer; empty: none.
    pub event_type: Box<str>,
    /// Slot of its domain.
    pub(super) domain: Option<u32>,
    pub(super) priority: u16,
    pub(super) is_default: bool,
    pub(super) matchers: Box<[Matcher]>,
}

impl Rule {
    /// What the rules are evaluated in the order of, within those of one domain: default rules last.
    fn order(&self) -> (Option<u32>, bool, std::cmp::Reverse<u16>, &str) {
        (self.domain, self.is_default, std::cmp::Reverse(self.priority), &self.name)
    }

    /// What is left of a path when the rule's prefix is taken off it; the path itself where it does not begin with the prefix, or
    /// goes on in the middle of a segment.
    #[must_use]
    pub fn strip<'p>(&self, path: &'p [u8]) -> &'p [u8] {
        match path.strip_prefix(self.strip_prefix.as_bytes()) {
            Some(rest) if rest.is_empty() || rest[0] == b'/' => rest,
            Some(_) | None => path,
        }
    }
}

/// All rules of one generation. Each core has its own copy: what regular expressions work with is then no other core's.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// General ones first, then domain by domain.
    list: Box<[Rule]>,
    general: Range<usize>,
    of_domain: HashMap<u32, Range<usize>, RandomState>,
}

impl Rules {
    /// Puts rules in order.
    pub(super) fn new(mut list: Vec<Rule>) -> Self {
        list.sort_by(|one, other| one.order().cmp(&other.order()));
        let (mut general, mut of_domain) = (0..0, HashMap::default());
        let mut start = 0;
        for run in list.chunk_by(|one, other| one.domain == other.domain) {
            let range = start..start + run.len();
            start = range.end;
            match run[0].domain {
                Some(domain) => {
                    of_domain.insert(domain, range);
                }
                None => general = range,
            }
        }
        Self { list: list.into(), general, of_domain }
    }

    pub(super) fn list(&self) -> &[Rule] {
        &self.list
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// A rule that [`Rules::choose`] chose.
    #[must_use]
    pub fn get(&self, rule: RuleIx) -> &Rule {
        &self.list[rule.0 as usize]
    }

    /// The rule that takes a request of this domain.
    ///
    /// * `body`: `None` if it has not been looked at; then the choice may be [`Choice::NeedsBody`].
    #[must_use]
    pub fn choose(&self, domain: DomainIx, seen: &impl Seen, body: Option<&[u8]>) -> Choice {
        if self.is_empty() {
            return Choice::Straight;
        }
        for (at, rule) in self.in_order(domain) {
            if rule.matchers.iter().any(|matcher| !matcher.holds_of_head(seen)) {
                continue;
            }
            if rule.matchers.iter().any(Matcher::wants_body) {
                match body {
                    None => return Choice::NeedsBody,
                    Some(body) if rule.matchers.iter().any(|matcher| !matcher.holds_of_body(body)) => {
                        continue;
                    }
                    Some(_) => {}
                }
            }
            return Choice::Rule(RuleIx(at as u32));
        }
        Choice::Straight
    }

    /// Whether a rule for this domain opens paths for an operation that `may` allows.
    #[must_use]
    pub fn any_opens(&self, domain: DomainIx, may: impl Fn(Operation) -> bool) -> bool {
        !self.is_empty() && self.in_order(domain).any(|(_, rule)| rule.operation.is_some_and(&may))
    }

    /// The rules that see a domain's requests, as they are looked at.
    fn in_order(&self, domain: DomainIx) -> impl Iterator<Item = (usize, &Rule)> {
        let own = self.of_domain.get(&domain.0).cloned().unwrap_or(0..0);
        let ranges = [own, self.general.clone()];
        let of = |range: &Range<usize>, defaults: bool| {
            let rules = range.clone().map(|at| (at, &self.list[at]));
            rules.filter(move |(_, rule)| rule.is_default == defaults)
        };
        let [own, general] = [&ranges[0], &ranges[1]];
        of(own, false).chain(of(general, false)).chain(of(own, true)).chain(of(general, true))
    }
}
