//! Where each attribute of SCIM's is in the database.

use crate::scim::schema::{Attribute, ResourceType};

/// An identifier as text; `X` is the column.
macro_rules! id_text {
    ($column:literal) => {
        concat!(
            "lower(substr(hex(",
            $column,
            "),1,8)||'-'||substr(hex(",
            $column,
            "),9,4)||'-'||substr(hex(",
            $column,
            "),13,4)||'-'||substr(hex(",
            $column,
            "),17,4)||'-'||substr(hex(",
            $column,
            "),21))"
        )
    };
}

/// The user's name at the identity provider, as the index has it.
const USER_NAME: &str = "COALESCE(users.scim_user_name, users.username)";

/// Something with one value.
#[derive(Clone, Debug)]
pub(super) enum Scalar {
    /// An expression.
    Sql(String),
    /// An identifier: its column, and that as text.
    Id(&'static str, &'static str),
    /// A user attribute of Cube's.
    UserAttribute(String),
}

/// Something with several values: where they are, and how one is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Elements {
    /// What follows `SELECT 1 FROM`, up to a condition.
    pub(super) from: &'static str,
    pub(super) attribute: &'static Attribute,
}

/// Where a value is, of those that have one; `None`: nobody can ask for it.
pub(super) fn scalar_of(
    kind: &'static ResourceType,
    extension: Option<&'static str>,
    attribute: &'static Attribute,
    sub: Option<&'static Attribute>,
) -> Option<Scalar> {
    let sql = |sql: &str| Some(Scalar::Sql(sql.to_owned()));
    let sub = sub.map(|sub| sub.name);
    if let Some(extension) = extension {
        let path = match sub {
            Some(sub) => format!("$.\"{extension}\".\"{}\".\"{sub}\"", attribute.name),
            None => format!("$.\"{extension}\".\"{}\"", attribute.name),
        };
        return sql(&format!("json_extract(users.scim, '{path}')"));
    }
    let users = kind.name == "User";
    match (users, attribute.name, sub) {
        (true, "id", None) => Some(Scalar::Id("users.id", id_text!("users.id"))),
        (false, "id", None) => Some(Scalar::Id("scim_groups.id", id_text!("scim_groups.id"))),
        (true, "externalId", None) => sql("users.external_id"),
        (false, "externalId", None) => sql("scim_groups.external_id"),
        (true, "meta", Some("created")) => sql("users.created_at"),
        (false, "meta", Some("created")) => sql("scim_groups.created_at"),
        (true, "meta", Some("lastModified")) => sql("users.updated_at"),
        (false, "meta", Some("lastModified")) => sql("scim_groups.updated_at"),
        (true, "meta", Some("resourceType")) => sql("'User'"),
        (false, "meta", Some("resourceType")) => sql("'Group'"),
        (_, "meta", _) => None,
        (false, "displayName", None) => sql("scim_groups.display_name"),
        (false, ..) => None,
        (true, "userName", None) => sql(USER_NAME),
        (true, "active", None) => sql("(users.status = 'enabled')"),
        (true, "name", Some("givenName")) => sql("NULLIF(users.first_name, '')"),
        (true, "name", Some("familyName")) => sql("NULLIF(users.last_name, '')"),
        (true, "name", None) => sql(
            "COALESCE(NULLIF(users.first_name || users.last_name, ''), json_extract(users.scim, '$.name'))",
        ),
        (true, name, Some(sub)) => sql(&format!("json_extract(users.scim, '$.{name}.{sub}')")),
        (true, name, None) => sql(&format!("json_extract(users.scim, '$.{name}')")),
    }
}

/// Where the values are of what has several.
pub(super) fn elements_of(kind: &'static ResourceType, attribute: &'static Attribute) -> Option<Elements> {
    let from = match (kind.name, attribute.name) {
        ("User", "emails") => {
            "json_each(COALESCE(json_extract(users.scim, '$.emails'), CASE WHEN users.email IS NULL THEN '[]' \
             ELSE '[{\"type\":\"work\",\"primary\":true}]' END)) AS e WHERE TRUE"
        }
        ("User", "phoneNumbers") => {
            "json_each(COALESCE(json_extract(users.scim, '$.phoneNumbers'), '[]')) AS e WHERE TRUE"
        }
        ("User", "addresses") => {
            "json_each(COALESCE(json_extract(users.scim, '$.addresses'), '[]')) AS e WHERE TRUE"
        }
        ("User", "groups") => {
            "scim_group_members gm JOIN scim_groups e ON e.id = gm.group_id WHERE gm.user_id = users.id"
        }
        ("Group", "members") => {
            "scim_group_members gm JOIN users e ON e.id = gm.user_id WHERE gm.group_id = scim_groups.id"
        }
        ("User", "schemas") => {
            "(SELECT 'urn:ietf:params:scim:schemas:core:2.0:User' AS urn, '{}' AS scim \
             UNION ALL SELECT 'urn:ietf:params:scim:schemas:extension:enterprise:2.0:User', 'enterprise') e \
             WHERE (e.scim = '{}' OR instr(users.scim, '\"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User\"') > 0)"
        }
        ("Group", "schemas") => "(SELECT 'urn:ietf:params:scim:schemas:core:2.0:Group' AS urn) e WHERE TRUE",
        _ => return None,
    };
    Some(Elements { from, attribute })
}

/// Where a part of one value is, within [`Elements::from`].
pub(super) fn element_scalar(attribute: &'static Attribute, sub: &Attribute) -> Option<Scalar> {
    let sql = |sql: &str| Some(Scalar::Sql(sql.to_owned()));
    match (attribute.name, sub.name) {
        ("emails", "value") => sql("COALESCE(json_extract(e.value, '$.value'), users.email)"),
        ("emails" | "phoneNumbers" | "addresses", "primary") => {
            sql("CAST(json_extract(e.value, '$.primary') AS BOOLEAN)")
        }
        ("emails" | "phoneNumbers" | "addresses", name) => sql(&format!("json_extract(e.value, '$.{name}')")),
        ("groups" | "members", "value") => Some(Scalar::Id("e.id", id_text!("e.id"))),
        ("groups", "display") => sql("e.display_name"),
        ("members", "display") => sql("COALESCE(e.scim_user_name, e.username)"),
        ("groups", "type") => sql("'direct'"),
        ("members", "type") => sql("'User'"),
        ("schemas", _) => sql("e.urn"),
        _ => None,
    }
}

/// The first of several values, for an order.
pub(super) fn first_of(elements: Elements, sub: Option<&'static Attribute>) -> Option<Scalar> {
    let scalar = match element_scalar(elements.attribute, sub?)? {
        Scalar::Sql(sql) => sql,
        Scalar::Id(_, text) => text.to_owned(),
        Scalar::UserAttribute(_) => return None,
    };
    Some(Scalar::Sql(format!("(SELECT {scalar} FROM {} LIMIT 1)", elements.from)))
}
