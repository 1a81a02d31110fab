//! Filters → SQL. What somebody sent is only ever bound, never part of the text: the text comes from the table of attributes.
//!
//! What is asked for is looked up in [`super::columns`]. Conditions are never unknown (`NULL`): an attribute without a value equals nothing, so that `not (…)` means what it says.

use uuid::Uuid;

use super::columns::{Elements, Scalar, element_scalar, elements_of, first_of, scalar_of};
use crate::clock::parse_moment;
use crate::scim::filter::{AttrPath, Comparison, Filter, Literal, parse_attribute};
use crate::scim::matching::{as_boolean, check_comparison};
use crate::scim::schema::{Attribute, Kind, ResourceType, Target, USER_ATTRIBUTE};
use crate::scim::{ScimError, ScimType, shown};
use crate::store::sql::QueryBuilder;

/// A piece of a statement.
#[derive(Clone, Debug)]
enum Piece {
    Sql(String),
    Text(String),
    Integer(i64),
    Flag(bool),
    Number(f64),
    Id(Uuid),
}

/// What resources have to fit.
#[derive(Clone, Debug, Default)]
pub struct Condition(Vec<Piece>);

/// How resources are ordered.
#[derive(Clone, Debug, Default)]
pub struct Order(Vec<Piece>);

fn wrong(path: &AttrPath) -> ScimError {
    ScimError::new(ScimType::InvalidFilter, format!("`{}` cannot be asked for", shown(&path.to_string())))
}

impl Condition {
    /// What a filter means for a kind of resources.
    ///
    /// # Errors
    /// [`ScimType::InvalidFilter`]: it names what there is not, or compares what cannot be compared.
    pub fn new(kind: &'static ResourceType, filter: &Filter) -> Result<Self, ScimError> {
        let mut condition = Self::default();
        condition.filter(kind, filter)?;
        Ok(condition)
    }

    pub(super) fn push(&self, query: &mut QueryBuilder) {
        push_all(&self.0, query);
    }

    fn sql(&mut self, sql: &str) {
        match self.0.last_mut() {
            Some(Piece::Sql(last)) => last.push_str(sql),
            Some(Piece::Text(_) | Piece::Integer(_) | Piece::Flag(_) | Piece::Number(_) | Piece::Id(_))
            | None => {
                self.0.push(Piece::Sql(sql.to_owned()));
            }
        }
    }

    fn filter(&mut self, kind: &'static ResourceType, filter: &Filter) -> Result<(), ScimError> {
        match filter {
            Filter::And(filters) => self.joined(" AND ", filters, |this, filter| this.filter(kind, filter)),
            Filter::Or(filters) => self.joined(" OR ", filters, |this, filter| this.filter(kind, filter)),
            Filter::Not(filter) => {
                self.sql("NOT ");
                self.filter(kind, filter)
            }
            Filter::Present(path) => self.leaf(kind, path, None),
            Filter::Compare(path, comparison, literal) => self.leaf(kind, path, Some((*comparison, literal))),
            Filter::Some(path, filter) => {
                let elements = match kind.resolve(path) {
                    Some(Target::Known { attribute, sub: None, .. }) => elements_of(kind, attribute),
                    Some(Target::Known { .. } | Target::UserAttribute(_)) | None => None,
                };
                let elements = elements.ok_or_else(|| wrong(path))?;
                self.sql(&format!("EXISTS (SELECT 1 FROM {} AND ", elements.from));
                self.of_element(elements, filter)?;
                self.sql(")");
                Ok(())
            }
        }
    }

    fn joined(
        &mut self,
        word: &str,
        filters: &[Filter],
        mut one: impl FnMut(&mut Self, &Filter) -> Result<(), ScimError>,
    ) -> Result<(), ScimError> {
        self.sql("(");
        for (at, filter) in filters.iter().enumerate() {
            if at > 0 {
                self.sql(word);
            }
            one(self, filter)?;
        }
        self.sql(")");
        Ok(())
    }

    /// A condition on one value of an attribute that has several.
    fn of_element(&mut self, elements: Elements, filter: &Filter) -> Result<(), ScimError> {
        let scalar = |path: &AttrPath| {
            let sub = crate::scim::matching::part(path, elements.attribute)?;
            Ok::<_, ScimError>((element_scalar(elements.attribute, sub).ok_or_else(|| wrong(path))?, sub))
        };
        match filter {
            Filter::And(filters) => {
                self.joined(" AND ", filters, |this, filter| this.of_element(elements, filter))
            }
            Filter::Or(filters) => {
                self.joined(" OR ", filters, |this, filter| this.of_element(elements, filter))
            }
            Filter::Not(filter) => {
                self.sql("NOT ");
                self.of_element(elements, filter)
            }
            Filter::Present(path) => {
                self.present(&scalar(path)?.0);
                Ok(())
            }
            Filter::Compare(path, comparison, literal) => {
                let (scalar, sub) = scalar(path)?;
                self.compare(&scalar, sub, *comparison, literal)
            }
            Filter::Some(path, _) => Err(wrong(path)),
        }
    }

    fn leaf(
        &mut self,
        kind: &'static ResourceType,
        path: &AttrPath,
        comparison: Option<(Comparison, &Literal)>,
    ) -> Result<(), ScimError> {
        match kind.resolve(path).ok_or_else(|| wrong(path))? {
            Target::UserAttribute(name) => {
                let scalar = Scalar::UserAttribute(name);
                match comparison {
                    None => self.present(&scalar),
                    Some((comparison, literal)) => self.compare_untyped(&scalar, comparison, literal),
                }
                Ok(())
            }
            Target::Known { attribute, sub, extension } => {
                if let Some(elements) = elements_of(kind, attribute) {
                    return self.leaf_of_elements(elements, sub, comparison, path);
                }
                // A complex attribute is compared by its `value`: `manager eq "…"`.
                let value = attribute.subs.iter().find(|sub| sub.name == "value");
                let sub = sub.or(value.filter(|_| comparison.is_some()));
                let extension = extension.map(|extension| extension.id);
                let scalar = scalar_of(kind, extension, attribute, sub).ok_or_else(|| wrong(path))?;
                match comparison {
                    None => {
                        self.present(&scalar);
                        Ok(())
                    }
                    Some((comparison, literal)) => {
                        self.compare(&scalar, sub.unwrap_or(attribute), comparison, literal)
                    }
                }
            }
        }
    }

    /// `emails pr`, `emails.type eq "work"`, `emails co "example"`.
    fn leaf_of_elements(
        &mut self,
        elements: Elements,
        sub: Option<&'static Attribute>,
        comparison: Option<(Comparison, &Literal)>,
        path: &AttrPath,
    ) -> Result<(), ScimError> {
        let value = elements.attribute.subs.iter().find(|sub| sub.name == "value");
        // No value is unequal to something only if there is none that equals it.
        let (not, comparison) = match comparison {
            Some((Comparison::NotEqual, literal)) => ("NOT ", Some((Comparison::Equal, literal))),
            other => ("", other),
        };
        if let Some((Comparison::Equal, Literal::Null)) = comparison {
            // "None of them" is what `eq null` asks for.
            let not = if not.is_empty() { "NOT " } else { "" };
            self.sql(&format!("{not}EXISTS (SELECT 1 FROM {})", elements.from));
            return Ok(());
        }
        self.sql(&format!("{not}EXISTS (SELECT 1 FROM {}", elements.from));
        match (comparison, sub.or(value.filter(|_| comparison.is_some()))) {
            (None, None) => {}
            (None, Some(sub)) => {
                self.sql(" AND ");
                self.present(&element_scalar(elements.attribute, sub).ok_or_else(|| wrong(path))?);
            }
            (Some((comparison, literal)), sub) => {
                self.sql(" AND ");
                let sub = sub.unwrap_or(elements.attribute);
                let scalar = element_scalar(elements.attribute, sub).ok_or_else(|| wrong(path))?;
                self.compare(&scalar, sub, comparison, literal)?;
            }
        }
        self.sql(")");
        Ok(())
    }

    fn scalar(&mut self, scalar: &Scalar) {
        match scalar {
            Scalar::Sql(sql) => self.sql(sql),
            Scalar::Id(_, text) => self.sql(text),
            Scalar::UserAttribute(name) => self.user_attribute("json_extract(", name),
        }
    }

    /// * `function`: what is asked of the attribute, up to its bracket.
    fn user_attribute(&mut self, function: &str, name: &str) {
        self.sql(function);
        self.sql("users.scim, ");
        self.0.push(Piece::Text(format!("$.\"{USER_ATTRIBUTE}\".\"{name}\"")));
        self.sql(")");
    }

    /// The user attribute's value if it is a text; otherwise nothing.
    fn text_of(&mut self, name: &str) {
        self.sql("CASE WHEN ");
        self.user_attribute("json_type(", name);
        self.sql(" = 'text' THEN ");
        self.user_attribute("json_extract(", name);
        self.sql(" END");
    }

    /// The user attribute's value if it is a number; otherwise nothing.
    fn number_of(&mut self, name: &str) {
        self.sql("CASE WHEN ");
        self.user_attribute("json_type(", name);
        self.sql(" IN ('integer', 'real') THEN CAST(");
        self.user_attribute("json_extract(", name);
        self.sql(" AS DOUBLE PRECISION) END");
    }

    /// What a value of this kind is compared with.
    fn comparable(&mut self, scalar: &Scalar, value: &Piece) {
        match (scalar, value) {
            (Scalar::UserAttribute(name), Piece::Text(_)) => self.text_of(name),
            (Scalar::UserAttribute(name), _) => self.number_of(name),
            (Scalar::Sql(_) | Scalar::Id(..), _) => self.scalar(scalar),
        }
    }

    fn present(&mut self, scalar: &Scalar) {
        self.sql("(");
        self.scalar(scalar);
        self.sql(" IS NOT NULL)");
    }

    fn compare(
        &mut self,
        scalar: &Scalar,
        attribute: &Attribute,
        comparison: Comparison,
        literal: &Literal,
    ) -> Result<(), ScimError> {
        check_comparison(attribute, comparison, literal)?;
        let value = match (attribute.kind, literal) {
            (_, Literal::Null) => None,
            (Kind::Boolean, Literal::Boolean(value)) => Some(Piece::Flag(*value)),
            (Kind::Boolean, Literal::Text(text)) => as_boolean(text).map(Piece::Flag),
            (Kind::Time, Literal::Text(text)) => parse_moment(text).map(|at| Piece::Integer(at.0)),
            (_, Literal::Text(text)) => Some(Piece::Text(text.clone())),
            (_, Literal::Boolean(_) | Literal::Number(_)) => None,
        };
        // An index finds an identifier only as it is stored.
        if let (Scalar::Id(column, _), Comparison::Equal, Literal::Text(text)) = (scalar, comparison, literal)
            && let Ok(id) = text.parse::<Uuid>()
            && id.to_string() == *text
        {
            self.sql(&format!("({column} = "));
            self.0.push(Piece::Id(id));
            self.sql(")");
            return Ok(());
        }
        let is_text = matches!(attribute.kind, Kind::Text | Kind::Reference);
        let folds = is_text && !attribute.case_exact;
        self.binary(scalar, comparison, value, folds);
        Ok(())
    }

    /// User attributes are texts or integers, each compared with its own kind; texts in any case.
    fn compare_untyped(&mut self, scalar: &Scalar, comparison: Comparison, literal: &Literal) {
        let value = match literal {
            Literal::Null => None,
            Literal::Boolean(value) => Some(Piece::Number((*value).into())),
            Literal::Number(number) => Some(Piece::Number(*number)),
            Literal::Text(text) => Some(Piece::Text(text.clone())),
        };
        self.binary(scalar, comparison, value, true);
    }

    fn binary(&mut self, scalar: &Scalar, comparison: Comparison, value: Option<Piece>, folds: bool) {
        let Some(value) = value else {
            // `eq null`, `ne null`; nothing else compares with nothing.
            self.sql("(");
            self.scalar(scalar);
            self.sql(match comparison {
                Comparison::Equal => " IS NULL)",
                Comparison::NotEqual => " IS NOT NULL)",
                Comparison::Contains
                | Comparison::StartsWith
                | Comparison::EndsWith
                | Comparison::Greater
                | Comparison::GreaterOrEqual
                | Comparison::Less
                | Comparison::LessOrEqual => " IS NULL AND FALSE)",
            });
            return;
        };
        // Each is false, not unknown, of what has no value, and finds a value that is equal by an index.
        let (absent, operator) = match comparison {
            Comparison::Equal => (" IS NOT NULL AND ", "="),
            Comparison::NotEqual => (" IS NULL OR ", "<>"),
            Comparison::Greater => (" IS NOT NULL AND ", ">"),
            Comparison::GreaterOrEqual => (" IS NOT NULL AND ", ">="),
            Comparison::Less => (" IS NOT NULL AND ", "<"),
            Comparison::LessOrEqual => (" IS NOT NULL AND ", "<="),
            Comparison::Contains | Comparison::StartsWith | Comparison::EndsWith => {
                return self.part_of_text(scalar, comparison, value, folds);
            }
        };
        let collate = if folds && matches!(value, Piece::Text(_)) { " COLLATE NOCASE" } else { "" };
        self.sql("(");
        self.comparable(scalar, &value);
        self.sql(absent);
        self.comparable(scalar, &value);
        self.sql(&format!("{collate} {operator} "));
        self.0.push(value);
        self.sql(")");
    }

    fn part_of_text(&mut self, scalar: &Scalar, comparison: Comparison, value: Piece, folds: bool) {
        let text = match value {
            Piece::Text(text) if folds => text.to_ascii_lowercase(),
            Piece::Text(text) => text,
            // Numbers and identifiers have no parts.
            Piece::Sql(_) | Piece::Integer(_) | Piece::Flag(_) | Piece::Number(_) | Piece::Id(_) => {
                return self.sql("FALSE");
            }
        };
        if text.is_empty() {
            return self.present(scalar);
        }
        let length = i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
        let (before, after) = if comparison == Comparison::Contains {
            ("instr(", None)
        } else {
            let from = if comparison == Comparison::EndsWith { -length } else { 1 };
            ("substr(", Some((from, length)))
        };
        self.sql(&format!("COALESCE({before}"));
        self.sql(if folds { "lower(" } else { "(" });
        self.scalar(scalar);
        self.sql(" COLLATE BINARY), ");
        match after {
            Some((from, length)) => {
                self.0.push(Piece::Integer(from));
                self.sql(", ");
                self.0.push(Piece::Integer(length));
                self.sql(") = ");
                self.0.push(Piece::Text(text));
                self.sql(", FALSE)");
            }
            None => {
                self.0.push(Piece::Text(text));
                self.sql(") > 0, FALSE)");
            }
        }
    }
}

impl Order {
    /// By an attribute (RFC 7644 §3.4.2.3); of several values the first counts. What has none comes last, or first if descending.
    ///
    /// # Errors
    /// [`ScimType::InvalidPath`].
    pub fn new(kind: &'static ResourceType, by: &str, descending: bool) -> Result<Self, ScimError> {
        let path = parse_attribute(by)?;
        let wrong = || ScimError::new(ScimType::InvalidPath, format!("there is no order by `{}`", shown(by)));
        let mut condition = Condition::default();
        let (scalar, folds) = match kind.resolve(&path).ok_or_else(wrong)? {
            Target::UserAttribute(name) => (Scalar::UserAttribute(name), true),
            Target::Known { extension, attribute, sub } => {
                let value = attribute.subs.iter().find(|sub| sub.name == "value");
                let sub = sub.or(value);
                let scalar = match elements_of(kind, attribute) {
                    Some(elements) => first_of(elements, sub),
                    None => scalar_of(kind, extension.map(|extension| extension.id), attribute, sub),
                };
                let found = sub.unwrap_or(attribute);
                (scalar.ok_or_else(wrong)?, found.kind == Kind::Text && !found.case_exact)
            }
        };
        let (absent, direction) =
            if descending { (" IS NOT NULL, ", " DESC") } else { (" IS NULL, ", " ASC") };
        condition.scalar(&scalar);
        condition.sql(absent);
        if let Scalar::UserAttribute(name) = &scalar {
            // Numbers come before texts.
            condition.number_of(name);
            condition.sql(absent);
            condition.number_of(name);
            condition.sql(direction);
            condition.sql(", ");
            condition.text_of(name);
        } else {
            condition.scalar(&scalar);
        }
        condition.sql(if folds { " COLLATE NOCASE" } else { "" });
        condition.sql(direction);
        condition.sql(", ");
        Ok(Self(condition.0))
    }

    pub(super) fn push(&self, query: &mut QueryBuilder) {
        push_all(&self.0, query);
    }
}

fn push_all(pieces: &[Piece], query: &mut QueryBuilder) {
    for piece in pieces {
        match piece {
            Piece::Sql(sql) => query.push(sql),
            Piece::Text(text) => query.push_bind(text.clone()),
            Piece::Integer(value) => query.push_bind(*value),
            Piece::Flag(value) => query.push_bind(*value),
            Piece::Number(value) => query.push_bind(*value),
            Piece::Id(id) => query.push_bind(*id),
        };
    }
}
