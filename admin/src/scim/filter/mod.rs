//! Filters (RFC 7644 §3.4.2.2) and the paths of PATCH (§3.5.2): text → tree.
//!
//! # Promises
//! * Linear time, no backtracking, no regular expression: each byte is looked at a fixed number of times.
//! * Bounded: at most [`FILTER_LEN_MAX`] bytes, [`DEPTH_MAX`] brackets within each other, [`TERMS_MAX`] comparisons. What is more is refused
//!   before anything is done with it, so no tree is deep enough to trouble whoever walks it.
//! * What a tree is written as ([`std::fmt::Display`]) parses to the same tree.

use std::fmt;

use super::{ScimError, ScimType, shown};

/// Longest filter or path, in bytes.
pub const FILTER_LEN_MAX: usize = 4_096;
/// Most brackets within each other.
pub const DEPTH_MAX: usize = 32;
/// Most comparisons of one filter.
pub const TERMS_MAX: usize = 256;

/// A condition on a resource, or on one value of an attribute.
#[derive(Clone, Debug, PartialEq)]
pub enum Filter {
    /// All of them; at least two.
    And(Vec<Filter>),
    /// One of them; at least two.
    Or(Vec<Filter>),
    /// Not this.
    Not(Box<Filter>),
    /// The attribute has a value.
    Present(AttrPath),
    /// The attribute, or one of its values, compares so.
    Compare(AttrPath, Comparison, Literal),
    /// One value of the attribute fits the whole filter.
    Some(AttrPath, Box<Filter>),
}

/// The name of an attribute, as somebody wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttrPath {
    /// The URN of its schema.
    pub schema: Option<String>,
    /// Its name.
    pub name: String,
    /// A part of it.
    pub sub: Option<String>,
}

/// How to compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `eq`
    Equal,
    /// `ne`
    NotEqual,
    /// `co`
    Contains,
    /// `sw`
    StartsWith,
    /// `ew`
    EndsWith,
    /// `gt`
    Greater,
    /// `ge`
    GreaterOrEqual,
    /// `lt`
    Less,
    /// `le`
    LessOrEqual,
}

/// With what to compare: a JSON value that is neither object nor array.
#[derive(Clone, Debug, PartialEq)]
pub enum Literal {
    /// No value.
    Null,
    /// `true` or `false`.
    Boolean(bool),
    /// A number; finite.
    Number(f64),
    /// A text.
    Text(String),
}

/// What a PATCH is about.
#[derive(Clone, Debug, PartialEq)]
pub struct PatchPath {
    /// The attribute, with the part that is meant if no values are selected.
    pub attribute: AttrPath,
    /// Which of its values.
    pub selection: Option<Filter>,
    /// Which part of those.
    pub sub: Option<String>,
}

impl Comparison {
    /// As it is written.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Equal => "eq",
            Self::NotEqual => "ne",
            Self::Contains => "co",
            Self::StartsWith => "sw",
            Self::EndsWith => "ew",
            Self::Greater => "gt",
            Self::GreaterOrEqual => "ge",
            Self::Less => "lt",
            Self::LessOrEqual => "le",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        const ALL: [Comparison; 9] = [
            Comparison::Equal,
            Comparison::NotEqual,
            Comparison::Contains,
            Comparison::StartsWith,
            Comparison::EndsWith,
            Comparison::Greater,
            Comparison::GreaterOrEqual,
            Comparison::Less,
            Comparison::LessOrEqual,
        ];
        ALL.into_iter().find(|comparison| comparison.name().eq_ignore_ascii_case(name))
    }
}

/// Reads a filter.
///
/// # Errors
/// [`ScimType::InvalidFilter`], for whatever is not one or is beyond the limits.
pub fn parse(text: &str) -> Result<Filter, ScimError> {
    let mut parser = Parser::new(text, ScimType::InvalidFilter)?;
    let filter = parser.alternatives(0)?;
    parser.end()?;
    Ok(filter)
}

/// Reads the path of an operation of a PATCH.
///
/// # Errors
/// [`ScimType::InvalidPath`]; [`ScimType::InvalidFilter`] if what is wrong is in its brackets.
pub fn parse_path(text: &str) -> Result<PatchPath, ScimError> {
    let mut parser = Parser::new(text, ScimType::InvalidPath)?;
    let attribute = parser.attribute()?;
    let mut path = PatchPath { attribute, selection: None, sub: None };
    if parser.take(b'[') {
        parser.kind = ScimType::InvalidFilter;
        path.selection = Some(parser.alternatives(1)?);
        parser.expect(b']')?;
        parser.kind = ScimType::InvalidPath;
        if parser.peek() == Some(b'.') {
            parser.at += 1;
            path.sub = Some(parser.name()?);
        }
    }
    parser.end()?;
    Ok(path)
}

/// Reads the name of an attribute: `userName`, `name.givenName`, `urn:…:User:userName`.
///
/// # Errors
/// [`ScimType::InvalidPath`].
pub fn parse_attribute(text: &str) -> Result<AttrPath, ScimError> {
    let mut parser = Parser::new(text, ScimType::InvalidPath)?;
    let attribute = parser.attribute()?;
    parser.end()?;
    Ok(attribute)
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
    terms: usize,
    /// What to call what is wrong.
    kind: ScimType,
}

impl<'t> Parser<'t> {
    fn new(text: &'t str, kind: ScimType) -> Result<Self, ScimError> {
        if text.len() > FILTER_LEN_MAX {
            return Err(ScimError::new(kind, format!("longer than {FILTER_LEN_MAX} bytes")));
        }
        Ok(Self { text, at: 0, terms: 0, kind })
    }

    fn wrong(&self, expected: &str) -> ScimError {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let found = if rest.is_empty() { "the end".to_owned() } else { format!("`{}`", shown(rest)) };
        ScimError::new(self.kind, format!("expected {expected}, found {found}"))
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn blanks(&mut self) {
        while self.peek() == Some(b' ') {
            self.at += 1;
        }
    }

    /// Takes a sign, with blanks around it.
    fn take(&mut self, sign: u8) -> bool {
        self.blanks();
        let there = self.peek() == Some(sign);
        if there {
            self.at += 1;
        }
        there
    }

    fn expect(&mut self, sign: u8) -> Result<(), ScimError> {
        if self.take(sign) { Ok(()) } else { Err(self.wrong(&format!("`{}`", char::from(sign)))) }
    }

    fn end(&mut self) -> Result<(), ScimError> {
        self.blanks();
        if self.at == self.text.len() { Ok(()) } else { Err(self.wrong("the end")) }
    }

    /// The word that comes next, without taking it.
    fn word(&mut self) -> &'t str {
        self.blanks();
        let rest = &self.text[self.at..];
        let end = rest.bytes().position(|byte| !byte.is_ascii_alphanumeric()).unwrap_or(rest.len());
        &rest[..end]
    }

    /// Takes a word that stands by itself, in any case.
    fn take_word(&mut self, word: &str) -> bool {
        let there = self.word().eq_ignore_ascii_case(word);
        if there {
            self.at += word.len();
        }
        there
    }

    fn alternatives(&mut self, depth: usize) -> Result<Filter, ScimError> {
        let mut all = vec![self.conjunction(depth)?];
        while self.take_word("or") {
            all.push(self.conjunction(depth)?);
        }
        Ok(if all.len() == 1 { all.remove(0) } else { Filter::Or(all) })
    }

    fn conjunction(&mut self, depth: usize) -> Result<Filter, ScimError> {
        let mut all = vec![self.term(depth)?];
        while self.take_word("and") {
            all.push(self.term(depth)?);
        }
        Ok(if all.len() == 1 { all.remove(0) } else { Filter::And(all) })
    }

    fn term(&mut self, depth: usize) -> Result<Filter, ScimError> {
        if depth > DEPTH_MAX {
            return Err(ScimError::new(
                self.kind,
                format!("more than {DEPTH_MAX} brackets within each other"),
            ));
        }
        self.terms += 1;
        if self.terms > TERMS_MAX {
            return Err(ScimError::new(self.kind, format!("more than {TERMS_MAX} conditions")));
        }
        if self.take(b'(') {
            let inner = self.alternatives(depth + 1)?;
            self.expect(b')')?;
            return Ok(inner);
        }
        let before = self.at;
        if self.take_word("not") {
            if self.take(b'(') {
                let inner = self.alternatives(depth + 1)?;
                self.expect(b')')?;
                return Ok(Filter::Not(Box::new(inner)));
            }
            // An attribute whose name is, or begins with, `not`.
            self.at = before;
        }
        self.comparison(depth)
    }

    fn comparison(&mut self, depth: usize) -> Result<Filter, ScimError> {
        let attribute = self.attribute()?;
        if self.peek() == Some(b'[') {
            self.at += 1;
            let inner = self.alternatives(depth + 1)?;
            self.expect(b']')?;
            return Ok(Filter::Some(attribute, Box::new(inner)));
        }
        if self.take_word("pr") {
            return Ok(Filter::Present(attribute));
        }
        let word = self.word();
        let Some(comparison) = Comparison::from_name(word) else {
            return Err(self.wrong("an operator (eq, ne, co, sw, ew, gt, ge, lt, le or pr)"));
        };
        self.at += word.len();
        let literal = self.literal()?;
        Ok(Filter::Compare(attribute, comparison, literal))
    }

    /// `[URN:]name[.sub]`. The last colon ends the URN, which has dots of its own.
    fn attribute(&mut self) -> Result<AttrPath, ScimError> {
        self.blanks();
        let rest = &self.text[self.at..];
        let of_name =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'$' | b':' | b'.');
        let end = rest.bytes().position(|byte| !of_name(byte)).unwrap_or(rest.len());
        let whole = &rest[..end];
        let (schema, plain) = match whole.rsplit_once(':') {
            Some((schema, plain)) => (Some(schema), plain),
            None => (None, whole),
        };
        let (name, sub) = match plain.split_once('.') {
            Some((name, sub)) => (name, Some(sub)),
            None => (plain, None),
        };
        let good = is_name(name)
            && sub.is_none_or(is_name)
            && schema.is_none_or(|schema| schema.len() > 4 && schema[..4].eq_ignore_ascii_case("urn:"));
        if !good {
            return Err(self.wrong("the name of an attribute"));
        }
        self.at += end;
        Ok(AttrPath { schema: schema.map(str::to_owned), name: name.to_owned(), sub: sub.map(str::to_owned) })
    }

    fn name(&mut self) -> Result<String, ScimError> {
        let rest = &self.text[self.at..];
        let of_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'$');
        let end = rest.bytes().position(|byte| !of_name(byte)).unwrap_or(rest.len());
        if !is_name(&rest[..end]) {
            return Err(self.wrong("the name of an attribute"));
        }
        self.at += end;
        Ok(rest[..end].to_owned())
    }

    fn literal(&mut self) -> Result<Literal, ScimError> {
        self.blanks();
        let rest = &self.text[self.at..];
        let end = match rest.as_bytes().first() {
            Some(b'"') => {
                string_end(rest).ok_or_else(|| self.wrong("a text that ends with a quotation mark"))?
            }
            _ => rest.bytes().position(|byte| matches!(byte, b' ' | b')' | b']')).unwrap_or(rest.len()),
        };
        // serde_json says whether it is a number; the standard library reads it exactly.
        let number =
            || rest[..end].parse().ok().filter(|number: &f64| number.is_finite()).map(Literal::Number);
        let literal = match serde_json::from_str(&rest[..end]) {
            Ok(serde_json::Value::Null) => Some(Literal::Null),
            Ok(serde_json::Value::Bool(value)) => Some(Literal::Boolean(value)),
            Ok(serde_json::Value::Number(_)) => number(),
            Ok(serde_json::Value::String(value)) => Some(Literal::Text(value)),
            Ok(serde_json::Value::Array(_) | serde_json::Value::Object(_)) | Err(_) => {
                // Some callers write True and False as Python does.
                let boolean = |text: &str| rest[..end].eq_ignore_ascii_case(text);
                boolean("true")
                    .then_some(Literal::Boolean(true))
                    .or(boolean("false").then_some(Literal::Boolean(false)))
            }
        };
        let literal =
            literal.ok_or_else(|| self.wrong("a text in quotation marks, a number, true, false or null"))?;
        self.at += end;
        Ok(literal)
    }
}

fn is_name(text: &str) -> bool {
    let first = |byte: &u8| byte.is_ascii_alphabetic() || matches!(byte, b'$' | b'_');
    text.as_bytes().first().is_some_and(first)
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'$'))
}

/// Where a JSON text that begins here ends, behind its quotation mark.
fn string_end(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(at + 1),
            _ => {}
        }
    }
    None
}

impl fmt::Display for AttrPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(schema) = &self.schema {
            write!(f, "{schema}:")?;
        }
        f.write_str(&self.name)?;
        self.sub.as_ref().map_or(Ok(()), |sub| write!(f, ".{sub}"))
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Boolean(value) => write!(f, "{value}"),
            Self::Number(value) => write!(f, "{value:?}"),
            Self::Text(value) => f.write_str(&serde_json::Value::from(value.as_str()).to_string()),
        }
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = |f: &mut fmt::Formatter<'_>, filters: &[Self], word: &str| {
            filters.iter().enumerate().try_for_each(|(at, filter)| {
                if at > 0 {
                    write!(f, " {word} ")?;
                }
                match filter {
                    Self::And(_) | Self::Or(_) => write!(f, "({filter})"),
                    Self::Not(_) | Self::Present(_) | Self::Compare(..) | Self::Some(..) => {
                        write!(f, "{filter}")
                    }
                }
            })
        };
        match self {
            Self::And(filters) => all(f, filters, "and"),
            Self::Or(filters) => all(f, filters, "or"),
            Self::Not(filter) => write!(f, "not ({filter})"),
            Self::Present(attribute) => write!(f, "{attribute} pr"),
            Self::Compare(attribute, comparison, literal) => {
                write!(f, "{attribute} {} {literal}", comparison.name())
            }
            Self::Some(attribute, filter) => write!(f, "{attribute}[{filter}]"),
        }
    }
}

#[cfg(test)]
mod tests;
