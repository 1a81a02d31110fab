//! The attributes of users and groups: one table for what bodies may hold, what filters may name and what `/Schemas` says.

use serde_json::{Value, json};

use super::filter::AttrPath;

/// Schema of a user.
pub const USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
/// Schema of a group.
pub const GROUP: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";
/// What a user has besides in a company.
pub const ENTERPRISE_USER: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
/// What a user has besides at Cube: `urn:cube:params:1.0:UserAttribute:<ref>`, each a text or an integer.
pub const USER_ATTRIBUTE: &str = "urn:cube:params:1.0:UserAttribute";

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A text.
    Text,
    /// `true` or `false`.
    Boolean,
    /// A time.
    Time,
    /// A URI.
    Reference,
    /// Has parts.
    Complex,
}

/// Who sets it, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutability {
    /// Callers.
    ReadWrite,
    /// We do; what callers say of it is passed over.
    ReadOnly,
    /// Callers, once.
    Immutable,
}

/// An attribute, or a part of one.
#[derive(Debug)]
pub struct Attribute {
    /// Its name.
    pub name: &'static str,
    /// What its values are.
    pub kind: Kind,
    /// Has several values.
    pub multi: bool,
    /// There is no resource without it.
    pub required: bool,
    /// Upper and lower case are different.
    pub case_exact: bool,
    /// Who sets it.
    pub mutability: Mutability,
    /// Left out of answers unless it, or what it is a part of, is asked for by name.
    pub on_request: bool,
    /// Unique among all resources of its type.
    pub unique: bool,
    /// Usual values.
    pub usual: &'static [&'static str],
    /// For people.
    pub description: &'static str,
    /// Its parts.
    pub subs: &'static [Attribute],
}

const fn text(name: &'static str, description: &'static str) -> Attribute {
    Attribute {
        name,
        kind: Kind::Text,
        multi: false,
        required: false,
        case_exact: false,
        mutability: Mutability::ReadWrite,
        on_request: false,
        unique: false,
        usual: &[],
        description,
        subs: &[],
    }
}

const fn complex(name: &'static str, description: &'static str, subs: &'static [Attribute]) -> Attribute {
    Attribute { kind: Kind::Complex, subs, ..text(name, description) }
}

const fn several(name: &'static str, description: &'static str, subs: &'static [Attribute]) -> Attribute {
    Attribute { multi: true, ..complex(name, description, subs) }
}

const fn read_only(attribute: Attribute) -> Attribute {
    Attribute { mutability: Mutability::ReadOnly, ..attribute }
}

const fn boolean(name: &'static str, description: &'static str) -> Attribute {
    Attribute { kind: Kind::Boolean, ..text(name, description) }
}

const fn time(name: &'static str, description: &'static str) -> Attribute {
    Attribute { kind: Kind::Time, mutability: Mutability::ReadOnly, ..text(name, description) }
}

const fn reference(name: &'static str, description: &'static str) -> Attribute {
    Attribute { kind: Kind::Reference, case_exact: true, ..text(name, description) }
}

const PRIMARY: Attribute = boolean("primary", "Whether it is the one to use; of one value at most.");
const DISPLAY: Attribute = text("display", "For people.");

const fn kinds(usual: &'static [&'static str]) -> Attribute {
    Attribute { usual, ..text("type", "What it is for.") }
}

/// What every resource has (RFC 7643 §3.1). `/Schemas` does not list it.
pub static COMMON: &[Attribute] = &[
    read_only(Attribute { case_exact: true, unique: true, ..text("id", "Ours.") }),
    Attribute { case_exact: true, ..text("externalId", "The caller's own identifier.") },
    read_only(Attribute { multi: true, ..reference("schemas", "What it has attributes of.") }),
    read_only(complex(
        "meta",
        "About the resource.",
        &[
            read_only(Attribute { case_exact: true, ..text("resourceType", "`User` or `Group`.") }),
            time("created", "Since when."),
            time("lastModified", "Last change."),
            read_only(reference("location", "Where it is.")),
            read_only(Attribute { case_exact: true, ..text("version", "Its ETag.") }),
        ],
    )),
];

static USER_ATTRIBUTES: &[Attribute] = &[
    Attribute {
        required: true,
        unique: true,
        ..text("userName", "What the user logs in with at the identity provider.")
    },
    complex(
        "name",
        "The user's name.",
        &[
            text("formatted", "As it is written in full."),
            text("familyName", "Last name."),
            text("givenName", "First name."),
            text("middleName", "Middle name."),
            text("honorificPrefix", "Title before the name."),
            text("honorificSuffix", "What follows the name."),
        ],
    ),
    text("displayName", "What the user is called on screens."),
    text("nickName", "What friends say."),
    reference("profileUrl", "A page about the user."),
    text("title", "Position."),
    text("userType", "Kind of employment."),
    text("preferredLanguage", "As in Accept-Language."),
    text("locale", "For dates and numbers."),
    text("timezone", "As in the IANA's list."),
    Attribute {
        required: true,
        ..boolean(
            "active",
            "Whether the user, and with it every PAT of the user, may act: on every proxy. A new user is if nothing is said.",
        )
    },
    several(
        "emails",
        "E-mail addresses. The primary one, else the first, is the user's address in cube; no two users share it.",
        &[text("value", "The address."), DISPLAY, kinds(&["work", "home", "other"]), PRIMARY],
    ),
    several(
        "phoneNumbers",
        "Telephone numbers.",
        &[
            text("value", "The number."),
            DISPLAY,
            kinds(&["work", "home", "mobile", "fax", "pager", "other"]),
            PRIMARY,
        ],
    ),
    several(
        "addresses",
        "Postal addresses.",
        &[
            text("formatted", "As it is written on a letter."),
            text("streetAddress", "Street and number."),
            text("locality", "City."),
            text("region", "State."),
            text("postalCode", "Postal code."),
            text("country", "Country, in ISO 3166-1."),
            kinds(&["work", "home", "other"]),
            PRIMARY,
        ],
    ),
    read_only(several(
        "groups",
        "The groups that the user is in; changed at the groups.",
        &[
            read_only(Attribute { case_exact: true, ..text("value", "The group's id.") }),
            read_only(reference("$ref", "Where the group is.")),
            read_only(DISPLAY),
            read_only(Attribute { usual: &["direct"], ..text("type", "Always `direct`.") }),
        ],
    )),
];

static ENTERPRISE_ATTRIBUTES: &[Attribute] = &[
    text("employeeNumber", "Number of the employee."),
    text("costCenter", "Cost centre."),
    text("organization", "Organization."),
    text("division", "Division."),
    text("department", "Department."),
    complex(
        "manager",
        "The user's manager.",
        &[
            Attribute { case_exact: true, ..text("value", "The manager's id.") },
            reference("$ref", "Where the manager is."),
            read_only(text("displayName", "The manager's name.")),
        ],
    ),
];

static GROUP_ATTRIBUTES: &[Attribute] = &[
    Attribute { required: true, unique: true, ..text("displayName", "The group's name.") },
    several(
        "members",
        "Users in the group. Roles of domains that the group is mapped to are theirs.",
        &[
            Attribute {
                case_exact: true,
                mutability: Mutability::Immutable,
                ..text("value", "The user's id.")
            },
            Attribute { mutability: Mutability::Immutable, ..reference("$ref", "Where the user is.") },
            Attribute {
                on_request: true,
                ..read_only(text(
                    "display",
                    "The user's userName; given to whoever asks for `attributes=members`.",
                ))
            },
            Attribute {
                mutability: Mutability::Immutable,
                usual: &["User"],
                ..text("type", "Always `User`.")
            },
        ],
    ),
];

/// A schema with its attributes.
#[derive(Debug)]
pub struct Schema {
    /// Its URN.
    pub id: &'static str,
    /// Its name.
    pub name: &'static str,
    /// What it is about.
    pub description: &'static str,
    /// What it has.
    pub attributes: &'static [Attribute],
}

/// A kind of resources.
#[derive(Debug)]
pub struct ResourceType {
    /// `User`, `Group`.
    pub name: &'static str,
    /// Where they are, below `/api/scim/v2`.
    pub endpoint: &'static str,
    /// Its own schema.
    pub core: &'static Schema,
    /// What it has besides.
    pub extension: Option<&'static Schema>,
}

static USER_SCHEMA: Schema =
    Schema { id: USER, name: "User", description: "A user of cube", attributes: USER_ATTRIBUTES };
static ENTERPRISE_SCHEMA: Schema = Schema {
    id: ENTERPRISE_USER,
    name: "EnterpriseUser",
    description: "What a user has in a company",
    attributes: ENTERPRISE_ATTRIBUTES,
};
static GROUP_SCHEMA: Schema =
    Schema { id: GROUP, name: "Group", description: "A group of users", attributes: GROUP_ATTRIBUTES };

/// Users.
pub static USERS: ResourceType = ResourceType {
    name: "User",
    endpoint: "/Users",
    core: &USER_SCHEMA,
    extension: Some(&ENTERPRISE_SCHEMA),
};
/// Groups.
pub static GROUPS: ResourceType =
    ResourceType { name: "Group", endpoint: "/Groups", core: &GROUP_SCHEMA, extension: None };

/// Every schema.
pub static SCHEMAS: [&Schema; 3] = [&USER_SCHEMA, &ENTERPRISE_SCHEMA, &GROUP_SCHEMA];

/// The attribute of a list with this name, in any case.
#[must_use]
pub fn named<'a>(attributes: &'a [Attribute], name: &str) -> Option<&'a Attribute> {
    attributes.iter().find(|attribute| attribute.name.eq_ignore_ascii_case(name))
}

/// What an [`AttrPath`] means for a kind of resources.
#[derive(Clone, Debug)]
pub enum Target {
    /// An attribute, and perhaps a part of it.
    Known {
        /// The extension that it is of; `None`: of the resource itself.
        extension: Option<&'static Schema>,
        /// Which.
        attribute: &'static Attribute,
        /// Which part.
        sub: Option<&'static Attribute>,
    },
    /// `urn:cube:params:1.0:UserAttribute:<ref>`.
    UserAttribute(String),
}

impl ResourceType {
    /// Looks a name up. Names of the extension are found without its URN too: identity providers write `manager eq "…"`.
    #[must_use]
    pub fn resolve(&'static self, path: &AttrPath) -> Option<Target> {
        if let Some(schema) = &path.schema
            && schema.eq_ignore_ascii_case(USER_ATTRIBUTE)
        {
            let plain = self.name == "User" && path.sub.is_none();
            return plain.then(|| Target::UserAttribute(path.name.clone()));
        }
        let find = |schema: &'static Schema, extension| {
            let attribute = named(schema.attributes, &path.name)?;
            with_sub(extension, attribute, path)
        };
        let core = || {
            let common = named(COMMON, &path.name).and_then(|attribute| with_sub(None, attribute, path));
            common.or_else(|| find(self.core, None))
        };
        let extension = || self.extension.and_then(|extension| find(extension, Some(extension)));
        match &path.schema {
            None => core().or_else(extension),
            Some(urn) if urn.eq_ignore_ascii_case(self.core.id) => core(),
            Some(urn) => {
                self.extension.filter(|known| urn.eq_ignore_ascii_case(known.id)).and_then(|_| extension())
            }
        }
    }
}

fn with_sub(
    extension: Option<&'static Schema>,
    attribute: &'static Attribute,
    path: &AttrPath,
) -> Option<Target> {
    let sub = match &path.sub {
        None => None,
        Some(sub) => Some(named(attribute.subs, sub)?),
    };
    Some(Target::Known { extension, attribute, sub })
}

fn described(attribute: &Attribute) -> Value {
    let mut value = json!({
        "name": attribute.name,
        "type": match attribute.kind {
            Kind::Text => "string",
            Kind::Boolean => "boolean",
            Kind::Time => "dateTime",
            Kind::Reference => "reference",
            Kind::Complex => "complex",
        },
        "multiValued": attribute.multi,
        "description": attribute.description,
        "required": attribute.required,
        "mutability": match attribute.mutability {
            Mutability::ReadWrite => "readWrite",
            Mutability::ReadOnly => "readOnly",
            Mutability::Immutable => "immutable",
        },
        "returned": if attribute.on_request { "request" } else { "default" },
    });
    match attribute.kind {
        Kind::Complex => value["subAttributes"] = attribute.subs.iter().map(described).collect(),
        Kind::Text | Kind::Reference => {
            value["caseExact"] = attribute.case_exact.into();
            value["uniqueness"] = if attribute.unique { "server" } else { "none" }.into();
        }
        Kind::Boolean | Kind::Time => {}
    }
    if attribute.kind == Kind::Reference {
        value["referenceTypes"] = match attribute.name {
            "profileUrl" => json!(["external"]),
            _ => json!(["User", "Group"]),
        };
    }
    if !attribute.usual.is_empty() {
        value["canonicalValues"] = json!(attribute.usual);
    }
    value
}

const SCHEMA: &str = "urn:ietf:params:scim:schemas:core:2.0:Schema";
const RESOURCE_TYPE: &str = "urn:ietf:params:scim:schemas:core:2.0:ResourceType";

impl Schema {
    /// As `/Schemas` shows it.
    #[must_use]
    pub fn described(&self, base: &str) -> Value {
        json!({
            "schemas": [SCHEMA],
            "id": self.id,
            "name": self.name,
            "description": self.description,
            "attributes": self.attributes.iter().map(described).collect::<Vec<_>>(),
            "meta": { "resourceType": "Schema", "location": format!("{base}/Schemas/{}", self.id) },
        })
    }
}

impl ResourceType {
    /// As `/ResourceTypes` shows it.
    #[must_use]
    pub fn described(&self, base: &str) -> Value {
        let extension = |schema: &'static Schema| json!({ "schema": schema.id, "required": false });
        json!({
            "schemas": [RESOURCE_TYPE],
            "id": self.name,
            "name": self.name,
            "endpoint": self.endpoint,
            "description": self.core.description,
            "schema": self.core.id,
            "schemaExtensions": self.extension.into_iter().map(extension).collect::<Vec<_>>(),
            "meta": { "resourceType": "ResourceType", "location": format!("{base}/ResourceTypes/{}", self.name) },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::filter::parse_attribute;
    use super::*;

    #[test]
    fn a_name_is_found_in_any_case_with_and_without_its_schema() {
        let found = |text: &str| match USERS.resolve(&parse_attribute(text).unwrap()) {
            Some(Target::Known { attribute, sub, .. }) => {
                format!("{}/{}", attribute.name, sub.map_or("", |sub| sub.name))
            }
            Some(Target::UserAttribute(name)) => format!("+{name}"),
            None => "none".to_owned(),
        };
        assert_eq!(found("USERNAME"), "userName/");
        assert_eq!(found("Emails.Value"), "emails/value");
        assert_eq!(found("urn:ietf:params:scim:schemas:core:2.0:User:name.givenName"), "name/givenName");
        assert_eq!(found("urn:ietf:params:scim:schemas:core:2.0:User:manager"), "none");
        assert_eq!(found("urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager"), "manager/");
        assert_eq!(found("manager.value"), "manager/value");
        assert_eq!(found("urn:cube:params:1.0:UserAttribute:cloud_region"), "+cloud_region");
        assert_eq!(found("password"), "none");
        assert_eq!(found("name.x"), "none");
        assert_eq!(found("meta.lastModified"), "meta/lastModified");
    }

    #[test]
    fn complex_attributes_have_parts_and_others_none() {
        fn check(attribute: &Attribute) {
            assert_eq!(attribute.kind == Kind::Complex, !attribute.subs.is_empty(), "{}", attribute.name);
            attribute.subs.iter().for_each(check);
        }
        SCHEMAS.iter().flat_map(|schema| schema.attributes).chain(COMMON).for_each(check);
    }
}
