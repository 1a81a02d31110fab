use serde_json::json;

use super::super::schema::{ENTERPRISE_USER, GROUPS, USERS};
use super::*;

fn ada() -> Document {
    let user = json!({
        "userName": "ada", "active": true, "name": { "givenName": "Ada", "familyName": "L" },
        "emails": [{ "value": "a@w", "type": "work", "primary": true }, { "value": "a@h", "type": "home" }],
        (ENTERPRISE_USER): { "department": "R", "manager": { "value": "1" } },
    });
    user.as_object().unwrap().clone()
}

fn patched(kind: &'static ResourceType, before: &Document, operations: Value) -> Result<Value, ScimType> {
    let mut document = before.clone();
    let body = json!({ "schemas": [PATCH_OP], "Operations": operations });
    apply(kind, &mut document, &body).map(|()| Value::Object(document)).map_err(|error| error.kind)
}

#[test]
fn plain_values_parts_and_extensions_are_set_and_removed() {
    let user = |operations| patched(&USERS, &ada(), operations).unwrap();
    assert_eq!(user(json!([{ "op": "Replace", "path": "ACTIVE", "value": "False" }]))["active"], false);
    assert_eq!(user(json!([{ "op": "add", "path": "title", "value": "T" }]))["title"], "T");
    let renamed =
        user(json!([{ "op": "replace", "path": "name", "value": { "givenName": "A", "formatted": "A L" } }]));
    assert_eq!(renamed["name"], json!({ "givenName": "A", "familyName": "L", "formatted": "A L" }));
    assert_eq!(
        user(json!([{ "op": "remove", "path": "name.familyName" }]))["name"],
        json!({ "givenName": "Ada" })
    );
    assert_eq!(
        user(json!([{ "op": "replace", "path": "name", "value": { "givenName": null } }]))["name"]["givenName"],
        Value::Null
    );
    let manager = format!("{ENTERPRISE_USER}:manager");
    let changed = user(json!([{ "op": "Add", "path": (manager), "value": "2" }]));
    assert_eq!(changed[ENTERPRISE_USER], json!({ "department": "R", "manager": { "value": "2" } }));
    let gone = user(
        json!([{ "op": "remove", "path": (manager) }, { "op": "remove", "path": format!("{ENTERPRISE_USER}:department") }]),
    );
    assert_eq!(gone.get(ENTERPRISE_USER), None);
    let attribute = "urn:cube:params:1.0:UserAttribute:region";
    let set = user(json!([{ "op": "add", "path": attribute, "value": "eu" }]));
    assert_eq!(set[USER_ATTRIBUTE]["region"], "eu");
    let unset = user(
        json!([{ "op": "add", "path": attribute, "value": "eu" }, { "op": "remove", "path": attribute }]),
    );
    assert_eq!(unset.get(USER_ATTRIBUTE), None);
}

#[test]
fn objects_without_a_path_are_read_as_paths() {
    let value = json!({ "name.givenName": "A", "displayName": "D", "active": "false", "id": "x", "unknown": 1,
        (ENTERPRISE_USER): { "department": "S" }, format!("{ENTERPRISE_USER}:division"): "V",
        "emails[type eq \"work\"].value": "n@w" });
    let user = patched(&USERS, &ada(), json!([{ "op": "Replace", "value": value }])).unwrap();
    assert_eq!(
        (&user["name"]["givenName"], &user["displayName"], &user["active"]),
        (&json!("A"), &json!("D"), &json!(false))
    );
    assert_eq!(user[ENTERPRISE_USER]["department"], "S");
    assert_eq!(user[ENTERPRISE_USER]["division"], "V");
    assert_eq!(user["emails"][0]["value"], "n@w");
}

#[test]
fn values_are_selected_and_made_where_there_is_none() {
    let emails = |operations| patched(&USERS, &ada(), operations).map(|user| user["emails"].clone());
    let one = json!([{ "op": "replace", "path": "emails[type eq \"home\"].value", "value": "b@h" }]);
    assert_eq!(emails(one).unwrap()[1], json!({ "value": "b@h", "type": "home" }));
    let made = json!([{ "op": "Add", "path": "emails[type eq \"other\"].value", "value": "a@o" }]);
    assert_eq!(emails(made).unwrap()[2], json!({ "value": "a@o", "type": "other" }));
    let primary = json!([{ "op": "replace", "path": "emails[type eq \"home\"].primary", "value": true }]);
    let primary = emails(primary).unwrap();
    assert_eq!((&primary[0]["primary"], &primary[1]["primary"]), (&json!(false), &json!(true)));
    let gone = emails(json!([{ "op": "remove", "path": "emails[type eq \"home\"]" }])).unwrap();
    assert_eq!(gone.as_array().unwrap().len(), 1);
    assert_eq!(emails(json!([{ "op": "remove", "path": "emails" }])).unwrap(), Value::Null);
    let added = json!([{ "op": "add", "path": "emails", "value": [{ "value": "a@x", "primary": true }] }]);
    let added = emails(added).unwrap();
    assert_eq!((added.as_array().unwrap().len(), &added[0]["primary"]), (3, &json!(false)));
    let none = json!([{ "op": "replace", "path": "emails[type ne \"work\" and value co \"zzz\"].value", "value": "x" }]);
    assert_eq!(emails(none), Err(ScimType::NoTarget));
}

#[test]
fn members_come_and_go_once() {
    let group = json!({ "displayName": "g", "members": [{ "value": "1" }, { "value": "2" }] });
    let group = group.as_object().unwrap();
    let members = |operations| {
        let group = patched(&GROUPS, group, operations).unwrap();
        let members = group["members"].as_array().cloned().unwrap_or_default();
        members
            .iter()
            .map(|member| member["value"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
            .join(",")
    };
    assert_eq!(
        members(json!([{ "op": "Add", "path": "members", "value": [{ "value": "2" }, { "value": "3" }] }])),
        "1,2,3"
    );
    assert_eq!(members(json!([{ "op": "Remove", "path": "members[value eq \"1\"]" }])), "2");
    assert_eq!(members(json!([{ "op": "Remove", "path": "members", "value": [{ "value": "2" }] }])), "1");
    assert_eq!(members(json!([{ "op": "remove", "path": "members[value eq \"9\"]" }])), "1,2");
    assert_eq!(members(json!([{ "op": "remove", "path": "members" }])), "");
    assert_eq!(members(json!([{ "op": "replace", "path": "members", "value": [{ "value": "7" }] }])), "7");
    assert_eq!(members(json!([{ "op": "replace", "value": { "id": "x", "displayName": "n" } }])), "1,2");
}

#[test]
fn what_cannot_be_done_is_refused_with_its_reason() {
    for (operation, kind) in [
        (json!({ "op": "move", "path": "title" }), ScimType::InvalidSyntax),
        (json!({ "op": "add", "path": "title" }), ScimType::InvalidSyntax),
        (json!("x"), ScimType::InvalidSyntax),
        (json!({ "op": "remove" }), ScimType::NoTarget),
        (json!({ "op": "replace", "value": "x" }), ScimType::InvalidValue),
        (json!({ "op": "replace", "path": "nothing", "value": "x" }), ScimType::InvalidPath),
        (json!({ "op": "replace", "path": "title[", "value": "x" }), ScimType::InvalidFilter),
        (json!({ "op": "replace", "path": 1, "value": "x" }), ScimType::InvalidPath),
        (json!({ "op": "replace", "path": "title[a eq \"b\"]", "value": "x" }), ScimType::InvalidPath),
        (
            json!({ "op": "replace", "path": "emails[x eq \"b\"].value", "value": "x" }),
            ScimType::InvalidFilter,
        ),
        (json!({ "op": "replace", "path": "emails[type eq \"b\"].x", "value": "x" }), ScimType::InvalidPath),
        (json!({ "op": "replace", "path": "id", "value": "x" }), ScimType::Mutability),
        (json!({ "op": "add", "path": "groups", "value": [{ "value": "x" }] }), ScimType::Mutability),
        (json!({ "op": "remove", "path": "userName" }), ScimType::Mutability),
        (json!({ "op": "replace", "path": "userName", "value": "" }), ScimType::Mutability),
        (json!({ "op": "replace", "path": "active", "value": "maybe" }), ScimType::InvalidValue),
        (json!({ "op": "remove", "path": "emails", "value": [1] }), ScimType::InvalidValue),
    ] {
        assert_eq!(patched(&USERS, &ada(), json!([operation.clone()])), Err(kind), "{operation}");
    }
    assert_eq!(patched(&USERS, &ada(), json!([])), Err(ScimType::InvalidSyntax));
    let many = vec![json!({ "op": "remove", "path": "title" }); OPERATIONS_MAX + 1];
    assert_eq!(patched(&USERS, &ada(), json!(many)), Err(ScimType::TooMany));
    let group = json!({ "displayName": "g", "members": [{ "value": "1" }] });
    let changed = json!([{ "op": "replace", "path": "members[value eq \"1\"].value", "value": "2" }]);
    assert_eq!(patched(&GROUPS, group.as_object().unwrap(), changed), Err(ScimType::Mutability));
}
