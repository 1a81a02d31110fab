//! Whether one value of an attribute fits a filter: `type eq "work"` of `emails[type eq "work"]`. Whole resources are looked for in the
//! database, never here.

use serde_json::{Map, Value};

use super::filter::{AttrPath, Comparison, Filter, Literal};
use super::schema::{Attribute, Kind, named};
use super::{ScimError, ScimType, shown};

/// Refuses a filter that names parts which `attribute` has not, or compares what cannot be compared.
///
/// # Errors
/// [`ScimType::InvalidFilter`].
pub fn check(filter: &Filter, attribute: &Attribute) -> Result<(), ScimError> {
    match filter {
        Filter::And(filters) | Filter::Or(filters) => {
            filters.iter().try_for_each(|filter| check(filter, attribute))
        }
        Filter::Not(filter) => check(filter, attribute),
        Filter::Present(path) => part(path, attribute).map(|_| ()),
        Filter::Compare(path, comparison, literal) => {
            check_comparison(part(path, attribute)?, *comparison, literal)
        }
        Filter::Some(..) => {
            Err(ScimError::new(ScimType::InvalidFilter, "brackets within the brackets of one attribute"))
        }
    }
}

/// The part of `attribute` that a filter in its brackets names.
///
/// # Errors
/// [`ScimType::InvalidFilter`].
pub fn part<'a>(path: &AttrPath, attribute: &'a Attribute) -> Result<&'a Attribute, ScimError> {
    let plain = path.schema.is_none() && path.sub.is_none();
    named(attribute.subs, &path.name).filter(|_| plain).ok_or_else(|| {
        let text = format!("`{}` has no part `{}`", attribute.name, shown(&path.to_string()));
        ScimError::new(ScimType::InvalidFilter, text)
    })
}

/// Refuses comparisons that mean nothing (RFC 7644 §3.4.2.2: no order among booleans, no texts in times).
///
/// # Errors
/// [`ScimType::InvalidFilter`].
pub fn check_comparison(
    attribute: &Attribute,
    comparison: Comparison,
    literal: &Literal,
) -> Result<(), ScimError> {
    use Comparison::{Contains, EndsWith, Equal, NotEqual, StartsWith};
    let equality = matches!(comparison, Equal | NotEqual);
    let part_of_text = matches!(comparison, Contains | StartsWith | EndsWith);
    let good = match (attribute.kind, literal) {
        (_, Literal::Null) => equality,
        (Kind::Boolean, Literal::Boolean(_)) => equality,
        (Kind::Boolean, Literal::Text(text)) => equality && as_boolean(text).is_some(),
        (Kind::Text | Kind::Reference, Literal::Text(_)) => true,
        (Kind::Time, Literal::Text(text)) => !part_of_text && crate::clock::parse_moment(text).is_some(),
        (Kind::Boolean | Kind::Text | Kind::Reference | Kind::Time | Kind::Complex, _) => false,
    };
    if good {
        return Ok(());
    }
    let text = format!("`{} {}` cannot be asked with this value", attribute.name, comparison.name());
    Err(ScimError::new(ScimType::InvalidFilter, text))
}

/// Entra writes booleans as texts.
#[must_use]
pub fn as_boolean(text: &str) -> Option<bool> {
    if text.eq_ignore_ascii_case("true") {
        Some(true)
    } else if text.eq_ignore_ascii_case("false") {
        Some(false)
    } else {
        None
    }
}

/// Whether a value of `attribute` fits. The filter has been checked with [`check`].
#[must_use]
pub fn fits(filter: &Filter, value: &Map<String, Value>, attribute: &Attribute) -> bool {
    let found =
        |path: &AttrPath| named(attribute.subs, &path.name).and_then(|sub| Some((sub, value.get(sub.name)?)));
    match filter {
        Filter::And(filters) => filters.iter().all(|filter| fits(filter, value, attribute)),
        Filter::Or(filters) => filters.iter().any(|filter| fits(filter, value, attribute)),
        Filter::Not(filter) => !fits(filter, value, attribute),
        Filter::Present(path) => found(path).is_some(),
        Filter::Compare(path, comparison, literal) => match found(path) {
            Some((sub, value)) => compares(value, *comparison, literal, sub.case_exact),
            None => match comparison {
                Comparison::Equal => *literal == Literal::Null,
                Comparison::NotEqual => *literal != Literal::Null,
                Comparison::Contains
                | Comparison::StartsWith
                | Comparison::EndsWith
                | Comparison::Greater
                | Comparison::GreaterOrEqual
                | Comparison::Less
                | Comparison::LessOrEqual => false,
            },
        },
        Filter::Some(..) => false,
    }
}

fn compares(value: &Value, comparison: Comparison, literal: &Literal, case_exact: bool) -> bool {
    if let (Value::Bool(value), Some(asked)) = (value, boolean_of(literal)) {
        return match comparison {
            Comparison::Equal => *value == asked,
            Comparison::NotEqual => *value != asked,
            Comparison::Contains
            | Comparison::StartsWith
            | Comparison::EndsWith
            | Comparison::Greater
            | Comparison::GreaterOrEqual
            | Comparison::Less
            | Comparison::LessOrEqual => false,
        };
    }
    let (Some(value), Literal::Text(asked)) = (value.as_str(), literal) else {
        return comparison == Comparison::NotEqual;
    };
    let folded = |text: &str| if case_exact { text.to_owned() } else { text.to_ascii_lowercase() };
    let (value, asked) = (folded(value), folded(asked));
    match comparison {
        Comparison::Equal => value == asked,
        Comparison::NotEqual => value != asked,
        Comparison::Contains => value.contains(&asked),
        Comparison::StartsWith => value.starts_with(&asked),
        Comparison::EndsWith => value.ends_with(&asked),
        Comparison::Greater => value > asked,
        Comparison::GreaterOrEqual => value >= asked,
        Comparison::Less => value < asked,
        Comparison::LessOrEqual => value <= asked,
    }
}

fn boolean_of(literal: &Literal) -> Option<bool> {
    match literal {
        Literal::Boolean(value) => Some(*value),
        Literal::Text(text) => as_boolean(text),
        Literal::Null | Literal::Number(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::filter::parse;
    use super::super::schema::USERS;
    use super::*;

    #[test]
    fn values_are_selected_by_their_parts() {
        let emails = named(USERS.core.attributes, "emails").unwrap();
        let value = json!({ "type": "work", "value": "Ada@Example.org", "primary": true });
        let fits = |text: &str| {
            let filter = parse(text).unwrap();
            check(&filter, emails).map(|()| fits(&filter, value.as_object().unwrap(), emails))
        };
        for text in [
            r#"type eq "WORK""#,
            r#"type eq "work" and primary eq true"#,
            r#"primary eq "True""#,
            r#"value co "example""#,
            r#"value sw "ada" and value ew ".ORG""#,
            r#"type eq "home" or value pr"#,
            r#"not (type eq "home")"#,
            r#"display ne "x""#,
            "display eq null",
            r#"value gt "a""#,
        ] {
            assert_eq!(fits(text), Ok(true), "{text}");
        }
        for text in
            [r#"type eq "home""#, "primary eq false", "display pr", r#"display co "x""#, r#"value lt "a""#]
        {
            assert_eq!(fits(text), Ok(false), "{text}");
        }
        for text in
            [r#"nothing eq "x""#, "primary gt true", "value eq 1", r#"emails[type eq "x"]"#, r#"a.b eq "x""#]
        {
            assert!(fits(text).is_err(), "{text}");
        }
    }
}
