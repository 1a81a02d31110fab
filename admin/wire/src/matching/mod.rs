//! Whether a request is as a rule says: the conditions of routing rules, compiled.
//!
//! Proxies decide with it, and cube-admin explains with it; therefore it stands here, once.
//!
//! # Cost
//! A comparison, or a search in linear time. Nothing is allocated but for a regular expression over an encoded query parameter.

mod member;

use memchr::memmem;
use regex::bytes::{Regex, RegexBuilder};

use crate::record::{Condition, Matcher as MatcherRecord, shown};
use member::{Found, member};

/// Longest pattern, in bytes.
const PATTERN_LEN_MAX: usize = 4096;
/// Bytes of a compiled expression, and of what a search in it may fill.
const REGEX_BYTES_MAX: usize = 1 << 20;
const REGEX_CACHE_BYTES_MAX: usize = 256 << 10;

/// What a request says of itself before its body.
pub trait Seen {
    /// The path after `/proxy/{domain}`, undecoded.
    fn path(&self) -> &[u8];
    /// The method.
    fn method(&self) -> &[u8];
    /// The first field of this name (lower case), or nothing.
    fn header(&self, name: &str) -> &[u8];
    /// The query, undecoded, without `?`.
    fn query(&self) -> &[u8];
}

/// One condition of a rule.
#[derive(Clone, Debug)]
pub struct Matcher {
    at: Place,
    test: Test,
}

/// What a matcher looks at.
#[derive(Clone, Debug)]
enum Place {
    Path,
    Method,
    /// By its name in lower case.
    Header(Box<str>),
    Query(Box<str>),
    /// By its dotted path.
    BodyField(Box<str>),
    Body,
}

/// How it is compared.
#[derive(Clone, Debug)]
enum Test {
    Exact(Box<str>),
    Regex(Regex),
}

impl Test {
    fn holds(&self, value: &[u8]) -> bool {
        match self {
            Self::Exact(whole) => whole.as_bytes() == value,
            Self::Regex(regex) => regex.is_match(value),
        }
    }
}

impl Matcher {
    /// Compiles a condition. `None` if it cannot be; then `faults` has half a sentence for each thing that is wrong with it.
    #[must_use]
    pub fn compile(record: &MatcherRecord, faults: &mut Vec<String>) -> Option<Self> {
        let field = || record.field.as_str().into();
        let (at, needs_field) = match record.condition {
            Condition::Path => (Place::Path, false),
            Condition::Method => (Place::Method, false),
            Condition::Header => (Place::Header(record.field.to_ascii_lowercase().into()), true),
            Condition::QueryParam => (Place::Query(field()), true),
            Condition::BodyField => (Place::BodyField(field()), true),
            Condition::BodyRegex => (Place::Body, false),
        };
        let before = faults.len();
        if needs_field && record.field.is_empty() {
            faults.push("a matcher that needs a field names none".to_owned());
        }
        if record.pattern.is_empty() || record.pattern.len() > PATTERN_LEN_MAX {
            faults.push(format!("a matcher's pattern is empty or longer than {PATTERN_LEN_MAX} bytes"));
        }
        if faults.len() > before {
            return None;
        }
        if !record.is_regex && record.condition != Condition::BodyRegex {
            return Some(Self { at, test: Test::Exact(record.pattern.as_str().into()) });
        }
        let regex = RegexBuilder::new(&record.pattern)
            .size_limit(REGEX_BYTES_MAX)
            .dfa_size_limit(REGEX_CACHE_BYTES_MAX)
            .build();
        match regex {
            Ok(regex) => Some(Self { at, test: Test::Regex(regex) }),
            Err(error) => {
                // The crate draws where the fault is, in several lines; the last one says what it is.
                let error = error.to_string();
                let why = error.lines().last().unwrap_or_default().trim_start_matches("error: ");
                let pattern = shown(&record.pattern);
                faults.push(format!("`{pattern}` is no regular expression: {why}"));
                None
            }
        }
    }

    /// Whether it is about the body.
    #[must_use]
    pub const fn wants_body(&self) -> bool {
        matches!(self.at, Place::BodyField(_) | Place::Body)
    }

    /// Whether it holds of the head; what is about the body holds for now.
    #[must_use]
    pub fn holds_of_head(&self, seen: &impl Seen) -> bool {
        match &self.at {
            Place::Path => self.test.holds(seen.path()),
            Place::Method => self.test.holds(seen.method()),
            Place::Header(name) => self.test.holds(seen.header(name)),
            Place::Query(name) => self.holds_of_parameter(parameter(seen.query(), name.as_bytes())),
            Place::BodyField(_) | Place::Body => true,
        }
    }

    fn holds_of_parameter(&self, raw: &[u8]) -> bool {
        match &self.test {
            Test::Exact(whole) => decoded(raw).eq(whole.bytes()),
            Test::Regex(_) if memchr::memchr2(b'%', b'+', raw).is_none() => self.test.holds(raw),
            Test::Regex(regex) => regex.is_match(&decoded(raw).collect::<Vec<u8>>()),
        }
    }

    /// Whether it holds of the whole body; what is about the head holds.
    #[must_use]
    pub fn holds_of_body(&self, body: &[u8]) -> bool {
        match &self.at {
            Place::Body => self.test.holds(body),
            Place::BodyField(path) => match member(body, path) {
                Found::Value(value) => self.test.holds(value.as_bytes()),
                Found::Absent => self.test.holds(b""),
                // Not a JSON object: its text has to hold the field's name somewhere, and the pattern is about all of it.
                Found::NoObject => memmem::find(body, path.as_bytes()).is_some() && self.test.holds(body),
            },
            Place::Path | Place::Method | Place::Header(_) | Place::Query(_) => true,
        }
    }
}

/// Value of the first query parameter of that name, undecoded; empty if there is none.
fn parameter<'q>(query: &'q [u8], name: &[u8]) -> &'q [u8] {
    let pairs = query.split(|&byte| byte == b'&');
    let mut pairs = pairs.map(|pair| match memchr::memchr(b'=', pair) {
        Some(at) => (&pair[..at], &pair[at + 1..]),
        None => (pair, &[][..]),
    });
    pairs.find(|(key, _)| decoded(key).eq(name.iter().copied())).map_or(&[], |(_, value)| value)
}

/// A part of a query, decoded (`application/x-www-form-urlencoded`). What is no escape stays as it is.
fn decoded(raw: &[u8]) -> impl Iterator<Item = u8> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        let &byte = raw.get(at)?;
        at += 1;
        let nibble = |at: usize| char::from(*raw.get(at)?).to_digit(16).map(|digit| digit as u8);
        Some(match byte {
            b'+' => b' ',
            b'%' => match (nibble(at), nibble(at + 1)) {
                (Some(high), Some(low)) => {
                    at += 2;
                    high << 4 | low
                }
                _ => byte,
            },
            _ => byte,
        })
    })
}
