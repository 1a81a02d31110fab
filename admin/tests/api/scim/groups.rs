//! Groups by SCIM, and the roles that they bring.

use super::{GROUP, Provider, filter};
use crate::support::{Value, json, text};

#[test]
fn a_group_lives_from_creation_to_deletion_and_its_members_outlive_it() {
    let provider = Provider::start();
    let [ada, bob] = ["ada@x", "bob@x"].map(|name| provider.add_user(name));
    let group = json!({ "schemas": [GROUP], "displayName": "Analysts", "externalId": "g-1",
        "members": [{ "value": ada, "display": "whatever" }] });
    let made = provider.post("/Groups", &group).expect(201);
    let id = text(&made, "id");
    let path = format!("/Groups/{id}");
    let member = &made["members"][0];
    assert_eq!(
        (&member["value"], &member["display"], &member["type"]),
        (&json!(ada), &Value::Null, &json!("User"))
    );
    let named = provider.get(&format!("{path}?attributes=members")).expect(200);
    assert_eq!(named["members"][0]["display"], "ada@x");
    assert_eq!(provider.get(&path).expect(200), made);
    assert_eq!(
        provider.post("/Groups", &json!({ "displayName": "ANALYSTS" })).expect(409)["scimType"],
        "uniqueness"
    );
    let user = provider.get(&format!("/Users/{ada}")).expect(200);
    assert_eq!(
        (&user["groups"][0]["value"], &user["groups"][0]["display"]),
        (&json!(id), &json!("Analysts"))
    );

    let add = json!([{ "op": "Add", "path": "members", "value": [{ "value": bob }, { "value": ada }] }]);
    assert_eq!(provider.patch(&path, &add).expect(200)["members"].as_array().map(Vec::len), Some(2));
    let again = provider.patch(&path, &add);
    assert_eq!(again.header("etag"), provider.get(&path).header("etag"));
    let remove = json!([{ "op": "Remove", "path": format!("members[value eq \"{ada}\"]") }]);
    let left = provider.patch(&path, &remove).expect(200);
    assert_eq!(left["members"][0]["value"], json!(bob));
    let renamed =
        provider.patch(&path, &json!([{ "op": "replace", "value": { "id": id, "displayName": "A" } }]));
    assert_eq!(renamed.expect(200)["displayName"], "A");
    let put = json!({ "schemas": [GROUP], "displayName": "B", "members": [{ "value": ada }] });
    let after = provider.send("PUT", &path, &[], Some(&put)).expect(200);
    assert_eq!((&after["displayName"], &after["members"][0]["value"]), (&json!("B"), &json!(ada)));
    assert_eq!(after["externalId"], Value::Null);
    for (nameless, why) in [
        (json!([{ "op": "remove", "path": "displayName" }]), "mutability"),
        (json!([{ "op": "replace", "path": "displayName", "value": " " }]), "invalidValue"),
    ] {
        assert_eq!(provider.patch(&path, &nameless).expect(400)["scimType"], why, "{nameless}");
    }
    assert_eq!(provider.get(&path).expect(200), after);

    for (text, found) in [
        (r#"displayName eq "b""#.to_owned(), 1),
        (format!("members eq \"{ada}\""), 1),
        (format!("members[value eq \"{bob}\"]"), 0),
        (format!("id eq \"{id}\" and members.value eq \"{ada}\""), 1),
        (r#"members.display sw "ada""#.to_owned(), 1),
        ("externalId pr".to_owned(), 0),
    ] {
        assert_eq!(provider.names(&format!("/Groups?{}", filter(&text))).len(), found, "{text}");
    }
    let without = provider.get("/Groups?excludedAttributes=members&count=1&startIndex=1").expect(200);
    assert_eq!((&without["totalResults"], without["Resources"][0].get("members")), (&json!(1), None));

    provider.send("DELETE", &format!("/Users/{ada}"), &[], None).expect(204);
    assert_eq!(provider.get(&path).expect(200).get("members"), None);
    provider.send("DELETE", &path, &[], None).expect(204);
    provider.get(&path).expect(404);
    provider.get(&format!("/Users/{bob}")).expect(200);
}

/// A domain with a role, and a group that is mapped to it.
struct Mapped {
    provider: Provider,
    domain: String,
    role: String,
    group: String,
    mapping: String,
}

impl Mapped {
    fn start() -> Self {
        let provider = Provider::start();
        let server = &provider.server;
        let domain = server.add_domain(&server.admin, "alpha");
        let role = server.add_role(&domain, "callers", &["llm_chat_completions", "llm_read"], &[]);
        let group = provider.add_group("Analysts", &[]);
        let body = json!({ "group_id": group, "domain_id": domain, "role_id": role });
        let mapping = server.admin_call("POST", "/api/v1/scim/group-mappings", Some(&body)).expect(201);
        assert_eq!((&mapping["group_name"], &mapping["role_name"]), (&json!("Analysts"), &json!("callers")));
        server.admin_call("POST", "/api/v1/scim/group-mappings", Some(&body)).expect_error(409);
        let mapping = text(&mapping, "id");
        Self { provider, domain, role, group, mapping }
    }

    /// What proxies let the user do in the domain, by the snapshot that they get.
    fn operations(&self, user: &str) -> Vec<String> {
        let lines = self.provider.server.snapshot();
        let grant = lines.iter().find(|line| line["kind"] == "grant" && line["user"] == user);
        let operations = grant.and_then(|grant| grant["operations"].as_array());
        let texts = operations.into_iter().flatten().map(|name| name.as_str().expect("a name").to_owned());
        texts.collect()
    }

    fn members(&self, op: &str, user: &str) {
        let operation = json!([{ "op": op, "path": "members", "value": [{ "value": user }] }]);
        self.provider.patch(&format!("/Groups/{}", self.group), &operation).expect(200);
    }
}

#[test]
fn members_of_a_mapped_group_have_its_role_for_as_long_as_they_are_in_it() {
    let world = Mapped::start();
    let server = &world.provider.server;
    let (ada, login) = server.add_user("ada");
    let domain = format!("/domains/{}", world.domain);
    assert_eq!(server.call("GET", &domain, &login, None).status, 404);
    world.members("add", &ada);
    assert_eq!(world.operations(&ada), ["llm_chat_completions", "llm_read"]);
    assert_eq!(
        server.call("GET", &format!("/api/v1/domains/{}/models", world.domain), &login, None).status,
        200
    );
    world.members("remove", &ada);
    assert!(world.operations(&ada).is_empty());

    // Who is in the group when it is mapped has the role as well, and loses it with the mapping.
    let unmap = format!("/api/v1/scim/group-mappings/{}", world.mapping);
    world.members("add", &ada);
    server.admin_call("DELETE", &unmap, None).expect(204);
    assert!(world.operations(&ada).is_empty());
    server.admin_call("DELETE", &unmap, None).expect_error(404);
    let body = json!({ "group_id": world.group, "domain_id": world.domain, "role_id": world.role });
    server.admin_call("POST", "/api/v1/scim/group-mappings", Some(&body)).expect(201);
    assert_eq!(world.operations(&ada).len(), 2);
    let list = server.admin_call("GET", "/api/v1/scim/group-mappings", None).expect(200);
    assert_eq!(
        (&list["pagination"]["total"], &list["mappings"][0]["group_id"]),
        (&json!(1), &json!(world.group))
    );

    // The group goes, its members stay.
    world.provider.send("DELETE", &format!("/Groups/{}", world.group), &[], None).expect(204);
    assert!(world.operations(&ada).is_empty());
    server.call("GET", "/users/profile", &login, None).expect(200);
    let list = server.admin_call("GET", "/api/v1/scim/group-mappings", None).expect(200);
    assert_eq!(list["pagination"]["total"], 0);
}

#[test]
fn a_role_that_somebody_gave_stays_when_the_group_goes_and_the_other_way_round() {
    let world = Mapped::start();
    let server = &world.provider.server;
    let (ada, _) = server.add_user("ada");
    let members = format!("/domains/{}/roles/{}/members", world.domain, world.role);
    let body = json!({ "members": [ada] });
    let give = || assert!(server.admin_call("POST", &members, Some(&body)).status < 300);
    let take = || server.admin_call("POST", &format!("{members}/delete"), Some(&body)).expect(204);
    give();
    world.members("add", &ada);
    world.members("remove", &ada);
    assert_eq!(world.operations(&ada).len(), 2, "given by hand");
    world.members("add", &ada);
    take();
    assert_eq!(world.operations(&ada).len(), 2, "by the group");
    give();
    let out = json!({ "member_ids": [ada] });
    server.admin_call("DELETE", &format!("/domains/{}/roles", world.domain), Some(&out)).expect(204);
    assert_eq!(world.operations(&ada).len(), 2, "still by the group");
    world.members("remove", &ada);
    assert!(world.operations(&ada).is_empty(), "by nobody");
}

#[test]
fn two_groups_with_one_role_each_keep_it() {
    let world = Mapped::start();
    let server = &world.provider.server;
    let (ada, _) = server.add_user("ada");
    let second = world.provider.add_group("Second", &[&ada]);
    let body = json!({ "group_id": second, "domain_id": world.domain, "role_id": world.role });
    server.admin_call("POST", "/api/v1/scim/group-mappings", Some(&body)).expect(201);
    world.members("add", &ada);
    world.provider.send("DELETE", &format!("/Groups/{second}"), &[], None).expect(204);
    assert_eq!(world.operations(&ada).len(), 2);
    world.members("remove", &ada);
    assert!(world.operations(&ada).is_empty());
}

#[test]
fn only_superadmins_map_groups_and_no_key_does() {
    let world = Mapped::start();
    let server = &world.provider.server;
    let (_, ada) = server.add_user("ada");
    let body = json!({ "group_id": world.group, "domain_id": world.domain, "role_id": world.role });
    for credential in [&ada, &world.provider.key] {
        let path = "/api/v1/scim/group-mappings";
        server.call("POST", path, credential, Some(&body)).expect_error(403);
        server.call("GET", path, credential, None).expect_error(403);
        server.call("DELETE", &format!("{path}/{}", world.mapping), credential, None).expect_error(403);
    }
    for (name, value) in [
        ("group_id", json!(uuid::Uuid::nil())),
        ("domain_id", json!(uuid::Uuid::nil())),
        ("role_id", json!("x")),
    ] {
        let mut wrong = body.clone();
        wrong[name] = value;
        server.admin_call("POST", "/api/v1/scim/group-mappings", Some(&wrong)).expect_error(404);
    }
}
