//! PATCH (RFC 7644 §3.5.2): operations on a document, one after the other. Whoever calls this keeps the result of all of them or of none.
//!
//! Beyond the RFC, because identity providers write so: operations in any case (`Replace`), booleans as texts, objects without a path whose
//! members are paths (`"name.givenName"`), `remove` with the values to remove, and `add` or `replace` of one value that is not there yet
//! (`emails[type eq "work"].value`), which makes it.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::filter::{Comparison, Filter, Literal, PatchPath, parse_path};
use super::matching::{check, fits};
use super::resource::{
    Document, check_required, check_values, clean, clean_values, extension_called, put_user_attribute,
};
use super::schema::{Attribute, Kind, Mutability, ResourceType, Target, USER_ATTRIBUTE, named};
use super::{ScimError, ScimType, shown};

/// Schema of a PATCH's body.
pub const PATCH_OP: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";
/// Most operations of one PATCH.
pub const OPERATIONS_MAX: usize = 1_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    Add,
    Replace,
    Remove,
}

fn error(kind: ScimType, detail: impl Into<String>) -> ScimError {
    ScimError::new(kind, detail)
}

/// Does what the body of a PATCH says to a document.
///
/// # Errors
/// [`ScimError`]; the document is then half changed, and to be thrown away.
pub fn apply(kind: &'static ResourceType, document: &mut Document, body: &Value) -> Result<(), ScimError> {
    let member = |object: &'_ Map<String, Value>, name: &str| {
        object.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.clone())
    };
    let syntax = |text: &str| error(ScimType::InvalidSyntax, text);
    let body = body.as_object().ok_or_else(|| syntax("a PATCH is a JSON object"))?;
    let names_itself = |schemas: Value| {
        schemas.as_array().is_some_and(|schemas| {
            schemas.iter().any(|urn| urn.as_str().is_some_and(|urn| urn.eq_ignore_ascii_case(PATCH_OP)))
        })
    };
    if !member(body, "schemas").is_some_and(names_itself) {
        return Err(syntax(&format!("`schemas` does not name `{PATCH_OP}`")));
    }
    let Some(Value::Array(operations)) = member(body, "Operations") else {
        return Err(syntax("`Operations` is no list"));
    };
    if operations.is_empty() {
        return Err(syntax("`Operations` is empty"));
    }
    if operations.len() > OPERATIONS_MAX {
        return Err(error(ScimType::TooMany, format!("more than {OPERATIONS_MAX} operations")));
    }
    for operation in &operations {
        let operation = operation.as_object().ok_or_else(|| syntax("an operation is a JSON object"))?;
        let op = match member(operation, "op").as_ref().and_then(Value::as_str) {
            Some(op) if op.eq_ignore_ascii_case("add") => Op::Add,
            Some(op) if op.eq_ignore_ascii_case("replace") => Op::Replace,
            Some(op) if op.eq_ignore_ascii_case("remove") => Op::Remove,
            Some(_) | None => return Err(syntax("`op` is add, replace or remove")),
        };
        let value = member(operation, "value");
        if op != Op::Remove && value.is_none() {
            return Err(syntax("add and replace need a `value`"));
        }
        match member(operation, "path") {
            None | Some(Value::Null) => without_path(kind, document, op, value.as_ref())?,
            Some(Value::String(path)) => at_path(kind, document, op, &path, value.as_ref())?,
            Some(_) => return Err(error(ScimType::InvalidPath, "`path` is no text")),
        }
    }
    check_required(kind, document)
}

/// The members of the value are what the paths would be.
fn without_path(
    kind: &'static ResourceType,
    document: &mut Document,
    op: Op,
    value: Option<&Value>,
) -> Result<(), ScimError> {
    if op == Op::Remove {
        return Err(error(ScimType::NoTarget, "remove needs a `path`"));
    }
    let members = value.and_then(Value::as_object);
    let members =
        members.ok_or_else(|| error(ScimType::InvalidValue, "without a `path`, `value` is an object"))?;
    for (key, value) in members {
        if let Some(extension) = extension_called(kind, key) {
            for (key, value) in value.as_object().into_iter().flatten() {
                if let Some(attribute) = named(extension.attributes, key) {
                    change_in(document, Some(extension.id), attribute, &Place::whole(), op, Some(value))?;
                }
            }
            continue;
        }
        if key.eq_ignore_ascii_case(USER_ATTRIBUTE) {
            for (name, value) in value.as_object().into_iter().flatten() {
                put_user_attribute(document, name, value)?;
            }
            continue;
        }
        let path = parse_path(key)?;
        match kind.resolve(&path.attribute) {
            // What is ours to say is passed over, like in a PUT: Okta sends a group's `id` along.
            Some(Target::Known { attribute, sub, .. })
                if attribute.mutability == Mutability::ReadOnly || sub.is_some_and(is_read_only) => {}
            Some(_) => at_path(kind, document, op, key, Some(value))?,
            None => {}
        }
    }
    Ok(())
}

fn is_read_only(attribute: &Attribute) -> bool {
    attribute.mutability == Mutability::ReadOnly
}

fn at_path(
    kind: &'static ResourceType,
    document: &mut Document,
    op: Op,
    text: &str,
    value: Option<&Value>,
) -> Result<(), ScimError> {
    if let Some(extension) = extension_called(kind, text) {
        return match op {
            Op::Remove => {
                document.remove(extension.id);
                Ok(())
            }
            Op::Add | Op::Replace => {
                let all = Map::from_iter([(extension.id.to_owned(), value.cloned().unwrap_or_default())]);
                without_path(kind, document, op, Some(&Value::Object(all)))
            }
        };
    }
    let PatchPath { attribute, selection, sub } = parse_path(text)?;
    match kind.resolve(&attribute) {
        None => Err(error(ScimType::InvalidPath, format!("there is no attribute `{}`", shown(text)))),
        Some(Target::UserAttribute(name)) => {
            put_user_attribute(document, &name, value.filter(|_| op != Op::Remove).unwrap_or(&Value::Null))
        }
        Some(Target::Known { extension, attribute, sub: plain }) => {
            let sub = match (&sub, plain) {
                (None, plain) => plain,
                (Some(name), None) => Some(named(attribute.subs, name).ok_or_else(|| {
                    error(
                        ScimType::InvalidPath,
                        format!("`{}` has no part `{}`", attribute.name, shown(name)),
                    )
                })?),
                (Some(_), Some(_)) => return Err(error(ScimType::InvalidPath, "a part of a part")),
            };
            if selection.is_some() && !attribute.multi {
                let text = format!("`{}` has one value", attribute.name);
                return Err(error(ScimType::InvalidPath, text));
            }
            if is_read_only(attribute) || sub.is_some_and(is_read_only) {
                return Err(error(ScimType::Mutability, format!("`{}` is read-only", shown(text))));
            }
            let place = Place { selection: selection.as_ref(), sub };
            change_in(document, extension.map(|extension| extension.id), attribute, &place, op, value)
        }
    }
}

/// Which values of an attribute, and which part of them.
struct Place<'p> {
    selection: Option<&'p Filter>,
    sub: Option<&'static Attribute>,
}

impl Place<'_> {
    const fn whole() -> Self {
        Self { selection: None, sub: None }
    }
}

fn change_in(
    document: &mut Document,
    extension: Option<&'static str>,
    attribute: &'static Attribute,
    place: &Place<'_>,
    op: Op,
    value: Option<&Value>,
) -> Result<(), ScimError> {
    let Some(extension) = extension else { return change(document, attribute, place, op, value) };
    let mut part = match document.remove(extension) {
        Some(Value::Object(part)) => part,
        Some(_) | None => Map::new(),
    };
    change(&mut part, attribute, place, op, value)?;
    if !part.is_empty() {
        document.insert(extension.to_owned(), Value::Object(part));
    }
    Ok(())
}

fn change(
    holder: &mut Document,
    attribute: &'static Attribute,
    place: &Place<'_>,
    op: Op,
    value: Option<&Value>,
) -> Result<(), ScimError> {
    if attribute.multi {
        let mut values = match holder.remove(attribute.name) {
            Some(Value::Array(values)) => values,
            Some(_) | None => Vec::new(),
        };
        change_values(&mut values, attribute, place, op, value)?;
        check_values(attribute, &values)?;
        if !values.is_empty() {
            holder.insert(attribute.name.to_owned(), Value::Array(values));
        }
        return Ok(());
    }
    if attribute.kind != Kind::Complex {
        return set(holder, attribute, op, value);
    }
    let mut parts = match holder.remove(attribute.name) {
        Some(Value::Object(parts)) => parts,
        Some(_) | None => Map::new(),
    };
    match (place.sub, op) {
        (Some(sub), _) => set(&mut parts, sub, op, value)?,
        (None, Op::Remove) => parts.clear(),
        // Parts that are not named stay as they are (RFC 7644 §3.5.2.3).
        (None, Op::Add | Op::Replace) => merge(&mut parts, attribute, value.unwrap_or(&Value::Null))?,
    }
    if !parts.is_empty() {
        holder.insert(attribute.name.to_owned(), Value::Object(parts));
    }
    Ok(())
}

/// Sets or removes something that has one value.
fn set(holder: &mut Document, attribute: &Attribute, op: Op, value: Option<&Value>) -> Result<(), ScimError> {
    let cleaned = match (op, value) {
        (Op::Remove, _) | (_, None) => None,
        (Op::Add | Op::Replace, Some(value)) => clean(attribute, value)?,
    };
    match cleaned {
        Some(cleaned) => {
            holder.insert(attribute.name.to_owned(), cleaned);
        }
        None if attribute.required => {
            let text = format!("`{}` cannot be taken away", attribute.name);
            return Err(error(ScimType::Mutability, text));
        }
        None => {
            holder.remove(attribute.name);
        }
    }
    Ok(())
}

/// Puts the parts that a value has over those that are there; `null` takes one away.
fn merge(parts: &mut Document, attribute: &Attribute, value: &Value) -> Result<(), ScimError> {
    let single = Attribute { multi: false, name: attribute.name, usual: &[], ..*attribute };
    for (key, value) in value.as_object().into_iter().flatten() {
        if let Some(sub) = named(attribute.subs, key).filter(|sub| value.is_null() && !is_read_only(sub)) {
            parts.remove(sub.name);
        }
    }
    if let Some(Value::Object(new)) = clean(&single, value)? {
        parts.extend(new);
    }
    Ok(())
}

fn change_values(
    values: &mut Vec<Value>,
    attribute: &'static Attribute,
    place: &Place<'_>,
    op: Op,
    value: Option<&Value>,
) -> Result<(), ScimError> {
    if let Some(filter) = place.selection {
        check(filter, attribute)?;
    }
    let selected = |value: &Value| {
        place
            .selection
            .is_none_or(|filter| value.as_object().is_some_and(|value| fits(filter, value, attribute)))
    };
    match (op, place.sub) {
        (Op::Remove, Some(sub)) => {
            let chosen = values.iter_mut().filter(|value| selected(value)).filter_map(Value::as_object_mut);
            chosen.for_each(|value| drop(value.remove(sub.name)));
            values.retain(|value| value.as_object().is_some_and(|value| !value.is_empty()));
        }
        (Op::Remove, None) => match value.filter(|value| place.selection.is_none() && !value.is_null()) {
            Some(named) => remove_named(values, attribute, named)?,
            None => values.retain(|value| !selected(value)),
        },
        (Op::Add | Op::Replace, sub) => {
            let value = value.unwrap_or(&Value::Null);
            if place.selection.is_none() && sub.is_none() {
                let new = clean_values(attribute, value)?;
                if op == Op::Replace {
                    values.clear();
                }
                return add_values(values, attribute, new);
            }
            if !values.iter().any(selected) {
                values.push(Value::Object(made_to_fit(attribute, place.selection)?));
            }
            let mut primary = None;
            for (at, chosen) in values.iter_mut().enumerate() {
                if !selected(chosen) && !chosen.as_object().is_some_and(Map::is_empty) {
                    continue;
                }
                let Some(chosen) = chosen.as_object_mut() else { continue };
                match sub {
                    Some(sub) if sub.mutability == Mutability::Immutable && chosen.contains_key(sub.name) => {
                        let text = format!("`{}.{}` cannot be changed", attribute.name, sub.name);
                        return Err(error(ScimType::Mutability, text));
                    }
                    Some(sub) => set(chosen, sub, op, Some(value))?,
                    None => merge(chosen, attribute, value)?,
                }
                if chosen.get("primary") == Some(&Value::Bool(true)) {
                    primary = Some(at);
                }
            }
            values.retain(|value| value.as_object().is_some_and(|value| !value.is_empty()));
            leave_one_primary(values, primary);
        }
    }
    Ok(())
}

/// A value that fits a selection, so that it can be filled: `type eq "work"` says what it has to have.
fn made_to_fit(
    attribute: &'static Attribute,
    selection: Option<&Filter>,
) -> Result<Map<String, Value>, ScimError> {
    fn parts_of(attribute: &'static Attribute, filter: &Filter, parts: &mut Map<String, Value>) -> bool {
        match filter {
            Filter::And(filters) => filters.iter().all(|filter| parts_of(attribute, filter, parts)),
            Filter::Compare(path, Comparison::Equal, literal) => {
                let value = match literal {
                    Literal::Text(text) => Value::from(text.as_str()),
                    Literal::Boolean(value) => Value::from(*value),
                    Literal::Null | Literal::Number(_) => return false,
                };
                let sub = named(attribute.subs, &path.name).filter(|sub| !is_read_only(sub));
                sub.is_some_and(|sub| {
                    parts.insert(sub.name.to_owned(), value);
                    true
                })
            }
            Filter::Compare(..) | Filter::Or(_) | Filter::Not(_) | Filter::Present(_) | Filter::Some(..) => {
                false
            }
        }
    }
    let mut parts = Map::new();
    match selection {
        Some(filter) if !parts_of(attribute, filter, &mut parts) => {
            Err(error(ScimType::NoTarget, "no value fits the path's filter"))
        }
        Some(_) | None => Ok(parts),
    }
}

/// What makes two values the same one.
fn key_of(attribute: &Attribute, value: &Value) -> String {
    let part = |name: &str| value[name].as_str().unwrap_or_default().to_ascii_lowercase();
    match value.get("value") {
        Some(_) if attribute.name == "members" => part("value"),
        Some(_) => format!("{}\n{}", part("value"), part("type")),
        None => value.to_string(),
    }
}

fn add_values(values: &mut Vec<Value>, attribute: &Attribute, new: Vec<Value>) -> Result<(), ScimError> {
    let mut places: HashMap<String, usize> = HashMap::with_capacity(values.len());
    for (at, value) in values.iter().enumerate() {
        places.insert(key_of(attribute, value), at);
    }
    let mut primary = None;
    for value in new {
        let is_primary = value["primary"] == true;
        let at = *places.entry(key_of(attribute, &value)).or_insert(values.len());
        match (values.get_mut(at).and_then(Value::as_object_mut), value) {
            (Some(there), Value::Object(new)) => there.extend(new),
            (_, value) => values.push(value),
        }
        if is_primary {
            primary = Some(at);
        }
    }
    leave_one_primary(values, primary);
    Ok(())
}

/// A value that becomes the primary one takes that from the one that was (RFC 7644 §3.5.2).
fn leave_one_primary(values: &mut [Value], primary: Option<usize>) {
    let Some(primary) = primary else { return };
    for (at, value) in values.iter_mut().enumerate() {
        if at != primary && value["primary"] == true {
            value["primary"] = false.into();
        }
    }
}

/// Removes the values that are listed: by their `value`, with or without an object around it.
fn remove_named(values: &mut Vec<Value>, attribute: &Attribute, named: &Value) -> Result<(), ScimError> {
    let one = std::slice::from_ref(named);
    let mut gone = std::collections::HashSet::new();
    for named in named.as_array().map_or(one, Vec::as_slice) {
        let text = named.as_str().or_else(|| named["value"].as_str());
        let text = text.ok_or_else(|| {
            error(ScimType::InvalidValue, format!("which of `{}` to remove is not said", attribute.name))
        })?;
        gone.insert(text.to_ascii_lowercase());
    }
    values.retain(|value| {
        value["value"].as_str().is_none_or(|text| !gone.contains(&text.to_ascii_lowercase()))
    });
    Ok(())
}

#[cfg(test)]
mod tests;
