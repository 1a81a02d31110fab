//! Staging routing rules.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use ahash::RandomState;
use cube_wire::Key;
use cube_wire::matching::Matcher;
use cube_wire::record::RouteRecord;

use super::Draft;
use super::people::check_operation;
use crate::tables::problem::Fault;
use crate::tables::rules::{Rule, Rules};
use crate::tables::topology::ClusterIx;

/// What a draft does to rules.
#[derive(Debug, Default)]
pub(super) struct RouteDrafts {
    /// All rules as they will be; `None`: as they are.
    rules: Option<BTreeMap<Box<str>, Rule>>,
    /// Where rules were defined last.
    defined_on: HashMap<Box<str>, usize, RandomState>,
}

const NAME_LEN_MAX: usize = 255;
const PRIORITY_MAX: u16 = 1000;
const EVENT_TYPE_LEN_MAX: usize = 255;

impl Draft<'_> {
    pub(super) fn put_route(&mut self, line: usize, record: &RouteRecord) {
        if let Some(&first) = self.routes.defined_on.get(record.name.as_str())
            && self.whole
        {
            let key = Key::Route(record.name.as_str().into());
            self.fault(line, Fault::Duplicate { key, first });
            return;
        }
        self.routes.defined_on.insert(record.name.as_str().into(), line);
        let mut faults = Vec::new();
        check_route(record, &mut faults);
        let matchers: Vec<_> =
            record.matchers.iter().filter_map(|matcher| Matcher::compile(matcher, &mut faults)).collect();
        if let Some(operation) = &record.operation
            && let Err(fault) = check_operation(operation)
        {
            self.fault(line, fault);
        }
        let sound = faults.is_empty();
        for why in faults {
            self.fault(line, Fault::BadRoute { name: record.name.clone(), why });
        }
        if !sound {
            return;
        }
        let rule = Rule {
            name: record.name.as_str().into(),
            cluster: ClusterIx(self.cluster_slot(&record.cluster)),
            strip_prefix: record.strip_prefix.trim_end_matches('/').into(),
            operation: record.operation.as_ref().and_then(cube_wire::OperationName::acting),
            event_type: record.event_type.as_str().into(),
            domain: record.domain.map(|domain| self.domain_slot(domain)),
            priority: record.priority,
            is_default: record.default_rule,
            matchers: matchers.into(),
        };
        self.cluster_mut(rule.cluster.0).named += 1;
        if let Some(domain) = rule.domain {
            self.domain_mut(domain).named += 1;
        }
        let before = self.rules_mut().insert(rule.name.clone(), rule);
        self.release(before);
    }

    pub(super) fn remove_route(&mut self, name: &str) {
        let before = self.rules_mut().remove(name);
        self.release(before);
    }

    fn rules_mut(&mut self) -> &mut BTreeMap<Box<str>, Rule> {
        let now = self.tables.rules.list();
        self.routes
            .rules
            .get_or_insert_with(|| now.iter().map(|rule| (rule.name.clone(), rule.clone())).collect())
    }

    /// What the rule named is named once less.
    fn release(&mut self, rule: Option<Rule>) {
        let Some(rule) = rule else { return };
        self.release_cluster(rule.cluster.0);
        if let Some(domain) = rule.domain {
            self.domains.entry(domain).or_default();
            self.domain_mut(domain).named -= 1;
        }
    }

    /// Checks what new rules name, and puts all of them in order. A draft without rules costs nothing here.
    pub(super) fn finish_routes(&mut self) {
        let RouteDrafts { rules: Some(rules), defined_on } = std::mem::take(&mut self.routes) else { return };
        let mut defaults: HashMap<Option<u32>, &str> = HashMap::new();
        for rule in rules.values() {
            let line = defined_on.get(&rule.name).copied();
            if let Some(line) = line {
                self.check_cluster(line, rule.cluster);
                if let Some(domain) = rule.domain {
                    self.check_domain(line, domain);
                }
            }
            if rule.is_default
                && let Some(other) = defaults.insert(rule.domain, &rule.name)
            {
                // At least one of the two is new.
                let line = line.max(defined_on.get(other).copied()).unwrap_or(0);
                let why = format!("`{other}` is the default rule there already");
                self.fault(line, Fault::BadRoute { name: rule.name.to_string(), why });
            }
        }
        self.tables.rules = Arc::new(Rules::new(rules.into_values().collect()));
    }
}

/// Notes what is wrong with a rule besides its matchers, each as half a sentence.
fn check_route(record: &RouteRecord, faults: &mut Vec<String>) {
    let mut wrong = |holds: bool, why: &str| {
        if !holds {
            faults.push(why.to_owned());
        }
    };
    let name = record.name.as_bytes();
    let is_name_byte = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    wrong(
        (1..=NAME_LEN_MAX).contains(&name.len()) && name.iter().all(is_name_byte),
        "its name is not 1 to 255 letters, digits, - or _",
    );
    wrong(record.priority <= PRIORITY_MAX, "its priority is above 1000");
    wrong(record.default_rule || !record.matchers.is_empty(), "it has no matchers and is no default rule");
    wrong(!record.default_rule || record.matchers.is_empty(), "it is a default rule and has matchers");
    let prefix = record.strip_prefix.as_bytes();
    let harmless = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#' | b'\\' | b'%');
    wrong(
        prefix.is_empty() || (prefix[0] == b'/' && prefix.iter().all(harmless)),
        "its strip_prefix does not begin with / or has a character that a path cannot have",
    );
    let event_type = record.event_type.as_bytes();
    wrong(
        event_type.len() <= EVENT_TYPE_LEN_MAX && event_type.iter().all(u8::is_ascii_graphic),
        "its event_type is not visible ASCII of at most 255 characters",
    );
}
