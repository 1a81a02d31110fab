//! Bodies → documents (what is kept of a resource: canonical names, checked values, nothing that is ours to say), and documents → answers.

use serde_json::{Map, Value};

use super::filter::{FILTER_LEN_MAX, parse_attribute};
use super::matching::as_boolean;
use super::schema::{
    Attribute, COMMON, Kind, Mutability, ResourceType, Schema, Target, USER_ATTRIBUTE, named,
};
use super::{ScimError, ScimType, shown};

/// Longest text of an attribute, in bytes.
const TEXT_LEN_MAX: usize = 1_024;
/// Most values of an attribute of a user.
const VALUES_MAX: usize = 64;
/// Most members of a group.
pub const MEMBERS_MAX: usize = 50_000;
/// Longest name of a user attribute of Cube's.
const REF_LEN_MAX: usize = 64;

/// A resource as it is kept.
pub type Document = Map<String, Value>;

fn invalid(detail: String) -> ScimError {
    ScimError::new(ScimType::InvalidValue, detail)
}

/// Reads a whole resource: the body of a POST or a PUT. What is ours to say, and what there is not, is passed over.
///
/// # Errors
/// [`ScimType::InvalidSyntax`] for what is no resource of this kind, [`ScimType::InvalidValue`] for a value that cannot be.
pub fn read(kind: &'static ResourceType, body: &Value) -> Result<Document, ScimError> {
    let syntax = |text: &str| ScimError::new(ScimType::InvalidSyntax, text);
    let body = body.as_object().ok_or_else(|| syntax("a resource is a JSON object"))?;
    let mut document = Document::new();
    for (key, value) in body {
        if key.eq_ignore_ascii_case("schemas") {
            let named = value.as_array().is_some_and(|schemas| {
                schemas
                    .iter()
                    .any(|urn| urn.as_str().is_some_and(|urn| urn.eq_ignore_ascii_case(kind.core.id)))
            });
            if !named {
                return Err(syntax(&format!("`schemas` does not name `{}`", kind.core.id)));
            }
        } else if let Some(extension) = extension_called(kind, key) {
            put_all(&mut document, extension, value)?;
        } else if kind.name == "User" && key.eq_ignore_ascii_case(USER_ATTRIBUTE) {
            let refs =
                value.as_object().ok_or_else(|| invalid(format!("`{USER_ATTRIBUTE}` is no object")))?;
            refs.iter().try_for_each(|(name, value)| put_user_attribute(&mut document, name, value))?;
        } else if let Ok(path) = parse_attribute(key)
            && path.sub.is_none()
        {
            match kind.resolve(&path) {
                Some(Target::UserAttribute(name)) => put_user_attribute(&mut document, &name, value)?,
                Some(Target::Known { extension: None, attribute, .. }) => {
                    put(&mut document, attribute, value)?;
                }
                // Without its URN an attribute of an extension is one that there is not.
                Some(Target::Known { extension: Some(_), .. }) | None => {}
            }
        }
    }
    check_required(kind, &document)?;
    Ok(document)
}

/// The extension that a member of a body is.
pub(super) fn extension_called(kind: &'static ResourceType, key: &str) -> Option<&'static Schema> {
    kind.extension.filter(|extension| key.eq_ignore_ascii_case(extension.id))
}

fn put_all(document: &mut Document, schema: &'static Schema, value: &Value) -> Result<(), ScimError> {
    let members = match value {
        Value::Null => return Ok(()),
        Value::Object(members) => members,
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            return Err(invalid(format!("`{}` is no object", schema.id)));
        }
    };
    let mut part = Document::new();
    for (key, value) in members {
        if let Some(attribute) = named(schema.attributes, key) {
            put(&mut part, attribute, value)?;
        }
    }
    if !part.is_empty() {
        document.insert(schema.id.to_owned(), Value::Object(part));
    }
    Ok(())
}

fn put(document: &mut Document, attribute: &Attribute, value: &Value) -> Result<(), ScimError> {
    if attribute.mutability != Mutability::ReadOnly
        && let Some(value) = clean(attribute, value)?
    {
        document.insert(attribute.name.to_owned(), value);
    }
    Ok(())
}

/// Sets a user attribute of Cube's, or takes it away (`null`).
///
/// # Errors
/// [`ScimType::InvalidValue`].
pub(super) fn put_user_attribute(
    document: &mut Document,
    name: &str,
    value: &Value,
) -> Result<(), ScimError> {
    let of_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if name.is_empty() || name.len() > REF_LEN_MAX || !name.bytes().all(of_name) {
        return Err(invalid(format!("`{}` is no name of a user attribute", shown(name))));
    }
    let good = match value {
        Value::Null => true,
        Value::String(text) => text.len() <= TEXT_LEN_MAX && !text.contains('\0'),
        Value::Number(number) => number.is_i64(),
        Value::Bool(_) | Value::Array(_) | Value::Object(_) => false,
    };
    if !good {
        let text =
            format!("`{USER_ATTRIBUTE}:{name}` is a text of at most {TEXT_LEN_MAX} bytes, or an integer");
        return Err(invalid(text));
    }
    let refs = document.entry(USER_ATTRIBUTE).or_insert_with(|| Value::Object(Map::new()));
    if let Some(refs) = refs.as_object_mut() {
        match value {
            Value::Null => refs.remove(name),
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
                refs.insert(name.to_owned(), value.clone())
            }
        };
        if refs.len() > VALUES_MAX {
            return Err(invalid(format!("more than {VALUES_MAX} user attributes")));
        }
        if refs.is_empty() {
            document.remove(USER_ATTRIBUTE);
        }
    }
    Ok(())
}

/// A value as it is kept; `None`: there is none.
///
/// # Errors
/// [`ScimType::InvalidValue`].
pub(super) fn clean(attribute: &Attribute, value: &Value) -> Result<Option<Value>, ScimError> {
    if value.is_null() {
        return Ok(None);
    }
    if attribute.multi {
        let values = clean_values(attribute, value)?;
        return Ok((!values.is_empty()).then_some(Value::Array(values)));
    }
    clean_one(attribute, value)
}

/// The values of an attribute that has several. One value stands for a list of one.
///
/// # Errors
/// [`ScimType::InvalidValue`].
pub(super) fn clean_values(attribute: &Attribute, value: &Value) -> Result<Vec<Value>, ScimError> {
    let one = std::slice::from_ref(value);
    let values = value.as_array().map_or(one, Vec::as_slice);
    let mut cleaned = Vec::with_capacity(values.len());
    for value in values.iter().filter(|value| !value.is_null()) {
        cleaned.extend(clean_one(attribute, value)?);
    }
    check_values(attribute, &cleaned)?;
    Ok(cleaned)
}

/// Refuses more values than an attribute may have, and more than one primary one (RFC 7643 §2.4).
///
/// # Errors
/// [`ScimType::InvalidValue`].
pub(super) fn check_values(attribute: &Attribute, values: &[Value]) -> Result<(), ScimError> {
    let max = if attribute.name == "members" { MEMBERS_MAX } else { VALUES_MAX };
    if values.len() > max {
        return Err(invalid(format!("`{}` has at most {max} values", attribute.name)));
    }
    if values.iter().filter(|value| value["primary"] == true).count() > 1 {
        return Err(invalid(format!("more than one of `{}` is primary", attribute.name)));
    }
    Ok(())
}

fn clean_one(attribute: &Attribute, value: &Value) -> Result<Option<Value>, ScimError> {
    let wrong = |what: &str| Err(invalid(format!("`{}` is {what}", attribute.name)));
    match attribute.kind {
        Kind::Complex => {
            let members = match value {
                Value::Object(members) => members.clone(),
                // Entra gives the manager's id, and not an object with it.
                Value::String(_) if named(attribute.subs, "value").is_some() => {
                    Map::from_iter([("value".to_owned(), value.clone())])
                }
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                    return wrong("no object");
                }
            };
            let mut cleaned = Map::new();
            for (key, value) in &members {
                if let Some(sub) = named(attribute.subs, key) {
                    put(&mut cleaned, sub, value)?;
                }
            }
            Ok((!cleaned.is_empty()).then_some(Value::Object(cleaned)))
        }
        Kind::Boolean => match value {
            Value::Bool(_) => Ok(Some(value.clone())),
            Value::String(text) => match as_boolean(text) {
                Some(value) => Ok(Some(value.into())),
                None => wrong("neither true nor false"),
            },
            Value::Null | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                wrong("neither true nor false")
            }
        },
        Kind::Text | Kind::Reference | Kind::Time => {
            let Some(text) = value.as_str() else { return wrong("no text") };
            let odd = |character: char| character.is_control() && !matches!(character, '\n' | '\r' | '\t');
            if text.len() > TEXT_LEN_MAX || text.chars().any(odd) {
                return wrong(&format!("longer than {TEXT_LEN_MAX} bytes, or has control characters"));
            }
            // To empty a text is to take it away.
            Ok((!text.is_empty()).then(|| value.clone()))
        }
    }
}

/// Refuses documents without the texts that every resource of the kind has.
///
/// # Errors
/// [`ScimType::InvalidValue`].
pub fn check_required(kind: &'static ResourceType, document: &Document) -> Result<(), ScimError> {
    let text = |name: &str| document.get(name).and_then(Value::as_str).unwrap_or_default();
    let mut needed =
        kind.core.attributes.iter().filter(|attribute| attribute.required && attribute.kind == Kind::Text);
    let missing = needed.find(|attribute| text(attribute.name).trim().is_empty());
    missing.map_or(Ok(()), |attribute| Err(invalid(format!("`{}` is missing", attribute.name))))
}

/// Which attributes an answer is to have (RFC 7644 §3.9).
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    only: Option<Vec<Vec<String>>>,
    without: Vec<Vec<String>>,
}

impl Wanted {
    /// Reads the two lists as they stand in a query. Names that there are not are passed over; `attributes` wins.
    ///
    /// # Errors
    /// [`ScimType::InvalidPath`] for a list that is too long.
    pub fn read(
        kind: &'static ResourceType,
        attributes: Option<&str>,
        excluded: Option<&str>,
    ) -> Result<Self, ScimError> {
        let lists = [attributes, excluded].into_iter().flatten();
        if lists.clone().any(|list| list.len() > FILTER_LEN_MAX) {
            let text = format!("a list of attributes is longer than {FILTER_LEN_MAX} bytes");
            return Err(ScimError::new(ScimType::InvalidPath, text));
        }
        let paths = |list: &str| -> Vec<Vec<String>> {
            list.split(',').filter_map(|name| keys_of(kind, name.trim())).collect()
        };
        let only = attributes.filter(|list| !list.trim().is_empty()).map(paths);
        Ok(Self { without: excluded.filter(|_| only.is_none()).map(paths).unwrap_or_default(), only })
    }

    /// Whether an answer may have this attribute: if not, nobody needs to look it up.
    #[must_use]
    pub fn may_have(&self, name: &str) -> bool {
        let begins = |path: &Vec<String>| path.first().is_some_and(|first| first == name);
        let is = |path: &Vec<String>| path.len() == 1 && begins(path);
        self.only.as_ref().is_none_or(|only| only.iter().any(begins)) && !self.without.iter().any(is)
    }

    /// Whether an attribute, or a part of it, is asked for by name.
    #[must_use]
    pub fn names(&self, name: &str) -> bool {
        let begins = |path: &Vec<String>| path.first().is_some_and(|first| first == name);
        self.only.as_ref().is_some_and(|only| only.iter().any(begins))
    }

    /// Leaves out of a whole resource what is not wanted. `id` and `schemas` always stay.
    #[must_use]
    pub fn cut(&self, resource: Value) -> Value {
        let mut cut = match &self.only {
            Some(only) => {
                let always = [vec!["id".to_owned()], vec!["schemas".to_owned()]];
                let paths: Vec<&[String]> = only.iter().chain(&always).map(Vec::as_slice).collect();
                kept(&resource, &paths).unwrap_or_default()
            }
            None => {
                let always =
                    |path: &&[String]| matches!(path.first().map(String::as_str), Some("id" | "schemas"));
                let paths: Vec<&[String]> =
                    self.without.iter().map(Vec::as_slice).filter(|path| !always(path)).collect();
                if paths.is_empty() { resource } else { without(resource, &paths) }
            }
        };
        if let Some(members) = cut.as_object_mut() {
            flatten(members);
        }
        cut
    }
}

/// Where an attribute is in a document.
fn keys_of(kind: &'static ResourceType, name: &str) -> Option<Vec<String>> {
    if let Some(extension) = extension_called(kind, name) {
        return Some(vec![extension.id.to_owned()]);
    }
    if name.eq_ignore_ascii_case(USER_ATTRIBUTE) {
        return Some(vec![USER_ATTRIBUTE.to_owned()]);
    }
    match kind.resolve(&parse_attribute(name).ok()?)? {
        Target::UserAttribute(name) => Some(vec![USER_ATTRIBUTE.to_owned(), name]),
        Target::Known { extension, attribute, sub } => {
            let extension = extension.map(|extension| extension.id);
            let names = extension.into_iter().chain([attribute.name]).chain(sub.map(|sub| sub.name));
            Some(names.map(str::to_owned).collect())
        }
    }
}

fn kept(value: &Value, paths: &[&[String]]) -> Option<Value> {
    if paths.iter().any(|path| path.is_empty()) {
        return Some(value.clone());
    }
    match value {
        Value::Object(members) => {
            let mut kept_members = Map::new();
            for (key, value) in members {
                let below = below(paths, key);
                if let Some(value) = (!below.is_empty()).then(|| kept(value, &below)).flatten() {
                    kept_members.insert(key.clone(), value);
                }
            }
            (!kept_members.is_empty()).then_some(Value::Object(kept_members))
        }
        Value::Array(values) => Some(values.iter().filter_map(|value| kept(value, paths)).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

fn without(value: Value, paths: &[&[String]]) -> Value {
    match value {
        Value::Object(members) => {
            let mut rest = Map::new();
            for (key, value) in members {
                let below = below(paths, &key);
                if !below.iter().any(|path| path.is_empty()) {
                    rest.insert(key, if below.is_empty() { value } else { without(value, &below) });
                }
            }
            Value::Object(rest)
        }
        Value::Array(values) => values.into_iter().map(|value| without(value, paths)).collect(),
        value @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => value,
    }
}

fn below<'p>(paths: &[&'p [String]], key: &str) -> Vec<&'p [String]> {
    let rest =
        |path: &&'p [String]| path.split_first().filter(|(first, _)| *first == key).map(|(_, rest)| rest);
    paths.iter().filter_map(rest).collect()
}

/// Cube's user attributes are members of the user itself: `urn:cube:params:1.0:UserAttribute:<ref>`.
fn flatten(members: &mut Map<String, Value>) {
    if let Some(Value::Object(refs)) = members.remove(USER_ATTRIBUTE) {
        members.extend(refs.into_iter().map(|(name, value)| (format!("{USER_ATTRIBUTE}:{name}"), value)));
    }
}

/// What `schemas` of a resource says.
#[must_use]
pub fn schemas(kind: &'static ResourceType, document: &Document) -> Value {
    let extension = kind.extension.map(|extension| extension.id);
    let more = extension.into_iter().chain([USER_ATTRIBUTE]).filter(|urn| document.contains_key(*urn));
    [kind.core.id].into_iter().chain(more).map(Value::from).collect()
}

/// Whether `attribute` is one that every kind of resources has.
#[must_use]
pub fn is_common(attribute: &Attribute) -> bool {
    COMMON.iter().any(|common| std::ptr::eq(common, attribute))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::schema::{ENTERPRISE_USER, GROUPS, USER, USERS};
    use super::*;

    #[test]
    fn a_body_is_read_whatever_its_case_and_what_is_not_its_own_to_say_is_left_out() {
        let body = json!({
            "Schemas": [USER, ENTERPRISE_USER], "ID": "1", "username": "ada", "NAME": { "givenname": "Ada", "x": 1 },
            "active": "False", "emails": { "value": "a@b", "type": "work" }, "groups": [{ "value": "g" }], "meta": {},
            "title": null, "nickName": "", "password": "p", "externalId": "7",
            "urn:ietf:params:scim:schemas:extension:enterprise:2.0:user": { "department": "R", "manager": "m" },
            "urn:cube:params:1.0:UserAttribute:region": 3, "urn:cube:params:1.0:UserAttribute": { "team": "t" },
        });
        let document = Value::Object(read(&USERS, &body).unwrap());
        let expected = json!({
            "userName": "ada", "name": { "givenName": "Ada" }, "active": false, "externalId": "7",
            "emails": [{ "value": "a@b", "type": "work" }],
            (ENTERPRISE_USER): { "department": "R", "manager": { "value": "m" } },
            (USER_ATTRIBUTE): { "region": 3, "team": "t" },
        });
        assert_eq!(document, expected);
        let whole = Wanted::default().cut(document);
        assert_eq!(whole["urn:cube:params:1.0:UserAttribute:region"], 3);
        assert_eq!(whole[USER_ATTRIBUTE], Value::Null);
    }

    #[test]
    fn values_that_cannot_be_are_refused() {
        let with = |name: &str, value: Value| {
            let body = json!({ "userName": "ada", (name): value });
            read(&USERS, &body).map_err(|error| error.kind)
        };
        for (name, value) in [
            ("userName", json!(1)),
            ("userName", json!(" ")),
            ("userName", json!("x".repeat(1_025))),
            ("title", json!("a\u{0}b")),
            ("active", json!("maybe")),
            ("active", json!(1)),
            ("name", json!("Ada")),
            ("name", json!([])),
            ("emails", json!([1])),
            ("emails", json!([{ "value": "a@b", "primary": true }, { "value": "c@d", "primary": true }])),
            ("phoneNumbers", json!(vec![json!({ "value": "1" }); 65])),
            ("urn:cube:params:1.0:UserAttribute:x", json!(1.5)),
            ("urn:cube:params:1.0:UserAttribute", json!({ "a b": "x" })),
            (ENTERPRISE_USER, json!([])),
        ] {
            assert_eq!(with(name, value.clone()), Err(ScimType::InvalidValue), "{name}: {value}");
        }
        assert_eq!(read(&USERS, &json!([])).map_err(|error| error.kind), Err(ScimType::InvalidSyntax));
        assert_eq!(with("schemas", json!([super::super::schema::GROUP])), Err(ScimType::InvalidSyntax));
        assert!(read(&GROUPS, &json!({ "members": [] })).is_err());
    }

    #[test]
    fn answers_have_the_attributes_that_were_asked_for() {
        let user = json!({
            "id": "1", "schemas": [USER], "userName": "ada", "name": { "givenName": "Ada", "familyName": "L" },
            "emails": [{ "value": "a", "type": "work" }, { "value": "b" }], (ENTERPRISE_USER): { "department": "R" },
            (USER_ATTRIBUTE): { "region": "eu", "team": "t" },
        });
        let cut =
            |attributes, excluded| Wanted::read(&USERS, attributes, excluded).unwrap().cut(user.clone());
        assert_eq!(
            cut(Some("USERNAME, nothing"), None),
            json!({ "id": "1", "schemas": [USER], "userName": "ada" })
        );
        let some =
            cut(Some("name.givenName,emails.value,emails.type,urn:cube:params:1.0:UserAttribute:team"), None);
        let expected = json!({ "id": "1", "schemas": [USER], "name": { "givenName": "Ada" },
            "emails": [{ "value": "a", "type": "work" }, { "value": "b" }], "urn:cube:params:1.0:UserAttribute:team": "t" });
        assert_eq!(some, expected);
        let rest = cut(
            None,
            Some("id,emails.value,name,urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"),
        );
        let expected = json!({ "id": "1", "schemas": [USER], "userName": "ada", "emails": [{ "type": "work" }, {}],
            "urn:cube:params:1.0:UserAttribute:team": "t", "urn:cube:params:1.0:UserAttribute:region": "eu" });
        assert_eq!(rest, expected);
        let wanted = |excluded| Wanted::read(&GROUPS, None, Some(excluded)).unwrap();
        assert!(!wanted("Members").may_have("members") && wanted("members.value").may_have("members"));
        assert!(!Wanted::read(&GROUPS, Some("displayName"), None).unwrap().may_have("members"));
    }
}
