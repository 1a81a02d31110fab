//! Rules that send requests elsewhere than their model's cluster.

use serde::{Deserialize, Serialize};

use crate::{ClusterId, DomainId, OperationName};

/// One rule. A proxy evaluates the rules of a request's domain before the general ones, higher priorities first, equal ones in the
/// order of their names; the first whose matchers all hold takes the request. A default rule takes what no other rule takes.
///
/// Source: Cube AI's route table (`/api/routes`), with `domain`, `operation` and `cluster` of our own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteRecord {
    /// Its name: 1 to 255 of `a-z A-Z 0-9 _ -`.
    pub name: String,
    /// The domain whose requests it sees; absent: every domain's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<DomainId>,
    /// 0 to 1000; higher ones are looked at first.
    #[serde(default)]
    pub priority: u16,
    /// Takes what no other rule takes; it has no matchers.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub default_rule: bool,
    /// All of them must hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub matchers: Vec<Matcher>,
    /// Where the request goes.
    pub cluster: ClusterId,
    /// Taken off the front of the path (the part after `/proxy/{domain}`) before the endpoint's base path is put there.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub strip_prefix: String,
    /// What the caller must be allowed to do where the operation table does not know the path. Without it the rule opens no path
    /// that is not in the table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<OperationName>,
    /// Sent to the caller as `X-Event-Type`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub event_type: String,
}

/// One condition of a rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Matcher {
    /// What is looked at.
    pub condition: Condition,
    /// The name of the header, query parameter or (dotted) body field; empty for the other conditions.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub field: String,
    /// The whole value, or a regular expression that has to match anywhere in it (RE2's syntax, linear time).
    pub pattern: String,
    /// Whether `pattern` is a regular expression.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_regex: bool,
}

/// What a matcher looks at. What is absent is compared as the empty string.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// The path after `/proxy/{domain}`.
    Path,
    /// The method.
    Method,
    /// A header field.
    Header,
    /// A query parameter, decoded.
    QueryParam,
    /// A member of the JSON body, by its dotted path.
    BodyField,
    /// The body; always a regular expression.
    BodyRegex,
}
