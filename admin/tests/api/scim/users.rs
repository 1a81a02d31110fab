//! Users by SCIM.

use super::{ENTERPRISE, Provider, USER, filter};
use crate::support::{Server, Value, json, text};

/// Everything that a user may have.
fn whole(name: &str) -> Value {
    json!({
        "schemas": [USER, ENTERPRISE], "userName": name, "externalId": format!("x-{name}"), "active": true,
        "displayName": "Ada L", "title": "Analyst", "nickName": "al", "userType": "Employee", "locale": "en-GB",
        "preferredLanguage": "en", "timezone": "Europe/London", "profileUrl": "https://example.org/ada",
        "name": { "formatted": "Ada Lovelace", "givenName": "Ada", "familyName": "Lovelace", "honorificPrefix": "Lady" },
        "emails": [
            { "value": format!("home.{name}"), "type": "home" },
            { "value": format!("work.{name}"), "type": "work", "primary": true },
        ],
        "phoneNumbers": [{ "value": "+44 1", "type": "work" }],
        "addresses": [{ "type": "work", "locality": "London", "formatted": "1 Street\nLondon" }],
        (ENTERPRISE): { "department": "R&D", "employeeNumber": "7", "manager": { "value": "boss" } },
        "urn:cube:params:1.0:UserAttribute:cloud_region": "eu-1", "urn:cube:params:1.0:UserAttribute:level": 3,
    })
}

#[test]
fn a_user_comes_back_as_it_was_sent_and_is_a_user_of_cube() {
    let provider = Provider::start();
    let sent = whole("ada.lovelace@example.org");
    let answer = provider.post("/Users", &sent);
    let made = answer.expect(201);
    for (name, value) in sent.as_object().expect("an object") {
        if name != "schemas" {
            assert_eq!(&made[name], value, "{name}");
        }
    }
    let id = text(&made, "id");
    let location = format!("{}/api/scim/v2/Users/{id}", provider.server.api);
    assert_eq!((answer.header("location"), &made["meta"]["location"]), (Some(&*location), &json!(location)));
    assert_eq!(answer.header("etag"), made["meta"]["version"].as_str());
    assert_eq!(made["meta"]["resourceType"], "User");
    assert_eq!(provider.get(&format!("/Users/{id}")).expect(200), made);
    let ours = provider.server.admin_call("GET", &format!("/users/{id}"), None).expect(200);
    assert_eq!(ours["credentials"]["username"], "ada-lovelace");
    assert_eq!(ours["email"], "work.ada.lovelace@example.org");
    assert_eq!((&ours["first_name"], &ours["last_name"]), (&json!("Ada"), &json!("Lovelace")));
    let second = provider.post("/Users", &json!({ "userName": "ada.lovelace@example.com" })).expect(201);
    let ours =
        provider.server.admin_call("GET", &format!("/users/{}", text(&second, "id")), None).expect(200);
    let username = text(&ours["credentials"], "username");
    assert!(username.starts_with("ada-lovelace-"), "{username}");
}

#[test]
fn our_own_users_are_users_of_the_provider_too() {
    let provider = Provider::start();
    let ada =
        json!({ "credentials": { "username": "ada" }, "email": "ada@example.org", "first_name": "Ada" });
    let ada = text(&provider.server.admin_call("POST", "/users", Some(&ada)).expect(201), "id");
    let path = format!("/Users/{ada}");
    let seen = provider.get(&path).expect(200);
    assert_eq!((&seen["userName"], &seen["name"]), (&json!("ada"), &json!({ "givenName": "Ada" })));
    assert_eq!(seen["emails"], json!([{ "value": "ada@example.org", "type": "work", "primary": true }]));
    for text in [
        r#"userName eq "ADA""#,
        r#"emails eq "ada@example.org""#,
        r#"emails[type eq "work" and primary eq true]"#,
    ] {
        assert_eq!(provider.names(&format!("/Users?{}", filter(text))), ["ada"], "{text}");
    }
    let change = json!([{ "op": "replace", "value": { "userName": "ada@example.org", "externalId": "7" } }]);
    let changed = provider.patch(&path, &change).expect(200);
    assert_eq!((&changed["userName"], &changed["emails"]), (&json!("ada@example.org"), &seen["emails"]));
    let ours = provider.server.admin_call("GET", &format!("/users/{ada}"), None).expect(200);
    assert_eq!(
        (&ours["credentials"]["username"], &ours["email"]),
        (&json!("ada"), &json!("ada@example.org"))
    );
    // What changes here is what the provider sees next.
    let email = json!({ "email": "ada@example.com" });
    provider.server.admin_call("PATCH", &format!("/users/{ada}/email"), Some(&email)).expect(200);
    assert_eq!(provider.get(&path).expect(200)["emails"][0]["value"], "ada@example.com");
    let taken = json!({ "credentials": { "username": "x" }, "email": "ADA@example.com" });
    provider.server.admin_call("POST", "/users", Some(&taken)).expect_error(409);
}

#[test]
fn a_put_replaces_and_keeps_whether_the_user_is_active() {
    let provider = Provider::start();
    let id = text(&provider.post("/Users", &whole("ada@example.org")).expect(201), "id");
    let path = format!("/Users/{id}");
    provider.patch(&path, &json!([{ "op": "replace", "path": "active", "value": false }])).expect(200);
    let put = json!({ "schemas": [USER], "id": "ignored", "userName": "ada@example.com", "meta": { "version": "x" } });
    let after = provider.send("PUT", &path, &[], Some(&put)).expect(200);
    let members: Vec<&str> = after.as_object().expect("an object").keys().map(String::as_str).collect();
    assert_eq!(members, ["active", "id", "meta", "schemas", "userName"]);
    assert_eq!((&after["id"], &after["active"]), (&json!(id), &json!(false)));
    let again = provider.send("PUT", &path, &[], Some(&put)).expect(200);
    assert_eq!(again["meta"], after["meta"], "the same once more is no change");
}

/// The forms that Entra's provisioning service is known to send.
#[test]
fn patches_are_understood_as_providers_write_them_and_happen_whole_or_not_at_all() {
    let provider = Provider::start();
    let id = text(&provider.post("/Users", &whole("ada@example.org")).expect(201), "id");
    let path = format!("/Users/{id}");
    let operations = json!([
        { "op": "Replace", "path": "active", "value": "False" },
        { "op": "Add", "path": "emails[type eq \"other\"].value", "value": "other@example.org" },
        { "op": "Replace", "path": "name.givenName", "value": "Augusta" },
        { "op": "Add", "path": format!("{ENTERPRISE}:manager"), "value": "boss-2" },
        { "op": "Replace", "path": "urn:cube:params:1.0:UserAttribute:cloud_region", "value": "us-1" },
        { "op": "Remove", "path": "title" },
    ]);
    let after = provider.patch(&path, &operations).expect(200);
    assert_eq!(after["active"], false);
    assert_eq!(after["emails"][2], json!({ "type": "other", "value": "other@example.org" }));
    assert_eq!(after["name"]["givenName"], "Augusta");
    assert_eq!(after[ENTERPRISE]["manager"]["value"], "boss-2");
    assert_eq!(after["urn:cube:params:1.0:UserAttribute:cloud_region"], "us-1");
    assert_eq!(after["title"], Value::Null);
    let dotted = json!([{ "op": "replace", "value": { "name.familyName": "King", "displayName": "A K", "active": "True" } }]);
    let after = provider.patch(&path, &dotted).expect(200);
    assert_eq!(
        (&after["name"]["familyName"], &after["displayName"], &after["active"]),
        (&json!("King"), &json!("A K"), &json!(true))
    );

    let before = provider.get(&path).expect(200);
    let half = json!([
        { "op": "replace", "path": "displayName", "value": "half" },
        { "op": "replace", "path": "emails[type eq \"work\"].value", "value": "no address" },
    ]);
    provider.patch(&path, &half).expect(400);
    assert_eq!(provider.get(&path).expect(200), before);
    provider.add_user("taken@example.org");
    let half = json!([
        { "op": "replace", "path": "displayName", "value": "half" },
        { "op": "replace", "path": "userName", "value": "Taken@example.org" },
    ]);
    assert_eq!(provider.patch(&path, &half).expect(409)["scimType"], "uniqueness");
    assert_eq!(provider.get(&path).expect(200), before);
}

#[test]
fn etags_guard_changes_and_spare_answers() {
    let provider = Provider::start();
    let id = provider.add_user("ada");
    let path = format!("/Users/{id}");
    let etag = provider.get(&path).header("etag").expect("an ETag").to_owned();
    let unchanged = provider.send("GET", &path, &[("if-none-match", &etag)], None);
    assert_eq!((unchanged.status, &*unchanged.text), (304, ""));
    let patch = json!({ "schemas": [super::PATCH_OP], "Operations": [{ "op": "add", "path": "title", "value": "T" }] });
    let stale = [("if-match", "W/\"0\"")];
    provider.send("PATCH", &path, &stale, Some(&patch)).expect(412);
    provider.send("PUT", &path, &stale, Some(&json!({ "userName": "ada" }))).expect(412);
    provider.send("DELETE", &path, &stale, None).expect(412);
    let after = provider.send("PATCH", &path, &[("if-match", &etag)], Some(&patch));
    assert_ne!(after.header("etag"), Some(&*etag));
    after.expect(200);
    provider.send("PATCH", &path, &[("if-match", &etag)], Some(&patch)).expect(412);
    provider.send("GET", &path, &[("if-none-match", &etag)], None).expect(200);
    provider.send("DELETE", &path, &[("if-match", "*")], None).expect(204);
}

/// Goal: pages are counted from 1, and a count of 0 gives totals only.
#[test]
fn lists_are_paged_sorted_and_cut_to_what_was_asked_for() {
    let provider = Provider::start();
    for (name, title) in [("c@x", Some("1")), ("a@x", Some("2")), ("b@x", None)] {
        provider.post("/Users", &json!({ "userName": name, "title": title })).expect(201);
    }
    let mine = filter(r#"userName ew "@x""#);
    let list = provider.get(&format!("/Users?{mine}&startIndex=2&count=1")).expect(200);
    assert_eq!(
        (&list["totalResults"], &list["startIndex"], &list["itemsPerPage"]),
        (&json!(3), &json!(2), &json!(1))
    );
    assert_eq!(list["schemas"], json!(["urn:ietf:params:scim:api:messages:2.0:ListResponse"]));
    assert_eq!(list["Resources"][0]["userName"], "a@x");
    let none = provider.get(&format!("/Users?{mine}&count=0")).expect(200);
    assert_eq!((&none["totalResults"], &none["Resources"]), (&json!(3), &json!([])));
    for (query, names) in [
        ("startIndex=0&count=1", vec!["c@x"]),
        ("startIndex=-5", vec!["c@x", "a@x", "b@x"]),
        ("startIndex=9", vec![]),
        ("count=-1", vec![]),
        ("sortBy=userName", vec!["a@x", "b@x", "c@x"]),
        ("sortBy=username&sortOrder=descending", vec!["c@x", "b@x", "a@x"]),
        ("sortBy=title", vec!["c@x", "a@x", "b@x"]),
        ("sortBy=title&sortOrder=descending", vec!["b@x", "a@x", "c@x"]),
        ("sortBy=emails.value", vec!["c@x", "a@x", "b@x"]),
        ("sortBy=meta.created&sortOrder=descending", vec!["b@x", "a@x", "c@x"]),
    ] {
        assert_eq!(provider.names(&format!("/Users?{mine}&{query}")), names, "{query}");
    }
    for query in ["startIndex=", "startIndex=%201", "startIndex=1.5", "count=", "count=ten"] {
        let refused = provider.get(&format!("/Users?{mine}&{query}")).expect(400);
        assert_eq!(refused["scimType"], "invalidValue", "{query}");
    }
    // The example of Cube Cloud's documents; the superadmin is a user too.
    assert_eq!(provider.get("/Users?count=100&startIndex=1").expect(200)["totalResults"], 4);
    let few = provider.get(&format!("/Users?{mine}&count=1&attributes=userName")).expect(200);
    let names: Vec<&String> = few["Resources"][0].as_object().expect("a user").keys().collect();
    assert_eq!(names, ["id", "schemas", "userName"]);
    let rest = provider.get(&format!("/Users?{mine}&count=1&excludedAttributes=title,meta")).expect(200);
    let names: Vec<&String> = rest["Resources"][0].as_object().expect("a user").keys().collect();
    assert_eq!(names, ["active", "id", "schemas", "userName"]);
    let search = json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:SearchRequest"], "filter": "userName ew \"@x\"",
        "sortBy": "userName", "startIndex": 2, "count": 1, "attributes": ["userName"] });
    let found = provider.post("/Users/.search", &search).expect(200);
    assert_eq!((&found["totalResults"], &found["Resources"][0]["userName"]), (&json!(3), &json!("b@x")));
}

/// Goal: every operator means in the database what it means in the RFC. Method: one user, filters that fit it and that do not.
#[test]
fn filters_find_what_they_say_and_nothing_else() {
    let provider = Provider::start();
    let id = text(&provider.post("/Users", &whole("ada@example.org")).expect(201), "id");
    let group = provider.add_group("Analysts", &[&id]);
    let other = provider.add_user("%_'\"\\@x");
    let fits = |text: &str| {
        let found = provider.names(&format!("/Users?{}", filter(&format!("({text}) and id eq \"{id}\""))));
        found == ["ada@example.org"]
    };
    for text in [
        r#"userName eq "ADA@EXAMPLE.ORG""#.to_owned(),
        r#"urn:ietf:params:scim:schemas:core:2.0:User:userName eq "ada@example.org""#.to_owned(),
        r#"userName co "EXAMPLE" and userName sw "Ada" and userName ew ".org""#.to_owned(),
        r#"userName gt "a" and userName lt "b" and userName ge "ada@example.org" and userName le "ada@example.org""#.to_owned(),
        r#"userName ne "x""#.to_owned(),
        r#"externalId eq "x-ada@example.org""#.to_owned(),
        format!("id eq \"{id}\" and id co \"{}\" and id ne \"x\"", &id[3..9]),
        "active eq true and active ne false".to_owned(),
        r#"active eq "True""#.to_owned(),
        r#"title eq "analyst" and title pr"#.to_owned(),
        r#"nickName sw """#.to_owned(),
        r#"name.givenName eq "ada" and name.formatted co "lovelace" and name pr"#.to_owned(),
        r#"emails.value eq "work.ada@example.org""#.to_owned(),
        r#"emails co "home""#.to_owned(),
        r#"emails[type eq "work" and value ew "example.org" and primary eq true]"#.to_owned(),
        r#"emails[type eq "home" and not (primary eq true)]"#.to_owned(),
        r#"not (emails[type eq "home" and primary eq true])"#.to_owned(),
        r#"emails.type ne "other""#.to_owned(),
        r#"phoneNumbers[type eq "work"].value pr or phoneNumbers.value eq "+44 1""#.replace("].value pr", "]"),
        "addresses pr".to_owned(),
        r#"addresses.locality eq "london""#.to_owned(),
        r#"groups.display eq "analysts""#.to_owned(),
        format!("groups eq \"{group}\" and groups[value eq \"{group}\"]"),
        format!("{ENTERPRISE}:department eq \"r&d\""),
        r#"manager eq "boss" and manager.value eq "boss""#.to_owned(),
        r#"urn:cube:params:1.0:UserAttribute:cloud_region eq "EU-1""#.to_owned(),
        "urn:cube:params:1.0:UserAttribute:level eq 3 and urn:cube:params:1.0:UserAttribute:level gt 2.5".to_owned(),
        "urn:cube:params:1.0:UserAttribute:nothing eq null".to_owned(),
        format!("schemas eq \"{ENTERPRISE}\""),
        r#"meta.created gt "2020-01-01T00:00:00Z" and meta.lastModified lt "2999-01-01T00:00:00Z""#.to_owned(),
        r#"meta.resourceType eq "User""#.to_owned(),
        r#"userName eq "x" or (title eq "analyst" and not (title eq "x"))"#.to_owned(),
        "not (profileUrl eq \"x\")".to_owned(),
    ] {
        assert!(fits(&text), "{text}");
    }
    for text in [
        r#"userName eq "ada""#,
        r#"userName ne "ADA@example.org""#,
        r#"externalId eq "X-ADA@example.org""#,
        "active eq false",
        r#"title ew "x""#,
        r#"emails[type eq "home" and primary eq true]"#,
        r#"emails[type eq "work" and value sw "home"]"#,
        r#"emails.type ne "work""#,
        "emails eq null",
        r#"groups.display eq "others""#,
        r#"meta.created lt "2020-01-01T00:00:00Z""#,
        "not (title pr)",
        "urn:cube:params:1.0:UserAttribute:level gt 3",
        "urn:cube:params:1.0:UserAttribute:nothing pr",
        r#"userName co "%""#,
        r#"userName co "_""#,
    ] {
        assert!(!fits(text), "{text}");
    }
    // What an attribute has not is unequal to everything, and signs of SQL are signs.
    let odd = |text: &str| {
        provider.get(&format!("/Users?{}", filter(text))).expect(200)["Resources"][0]["id"] == other
    };
    assert!(odd(r#"userName co "%_'\"\\" and not (title eq "x") and title ne "x" and emails eq null"#));
    assert!(odd(r#"userName eq "%_'\"\\@x""#));
}

#[test]
fn an_inactive_user_is_stopped_at_once_and_everywhere() {
    let provider = Provider::start();
    let server = &provider.server;
    let (ada, login) = server.add_user("ada");
    let pat = json!({ "name": "p", "duration": "1h", "full_access": true });
    let pat = text(&server.call("POST", "/pats", &login, Some(&pat)).expect(201), "secret");
    let path = format!("/Users/{ada}");
    let patch = json!({ "schemas": [super::PATCH_OP], "Operations": [{ "op": "Replace", "path": "active", "value": "False" }] });
    let answer = provider.send("PATCH", &path, &[("prefer", "wait=5")], Some(&patch));
    assert_eq!(answer.expect(200)["active"], false);
    assert_eq!(answer.header("preference-applied"), Some("wait=5"));
    assert!(answer.header("x-cube-generation").is_some(), "proxies hear of it");
    for credential in [&login, &pat] {
        server.call("GET", "/users/profile", credential, None).expect_error(401);
    }
    let known = known_to_proxies(server, &ada).expect("proxies still know the user");
    assert_eq!(known["status"], "disabled");
    let log = server.admin_call("GET", "/audit?kind=action&limit=1", None).expect(200);
    let event = &log["events"][0];
    assert_eq!((&event["action"], &event["entity_id"]), (&json!("user.disable"), &json!(ada)));
    assert!(event["session"]["ApiKeyID"].is_string(), "{event}");

    provider.patch(&path, &json!([{ "op": "replace", "value": { "active": true } }])).expect(200);
    server.call("GET", "/users/profile", &pat, None).expect(200);
    server.call("GET", "/users/profile", &login, None).expect_error(401);

    provider.send("DELETE", &path, &[], None).expect(204);
    server.call("GET", "/users/profile", &pat, None).expect_error(401);
    provider.get(&path).expect(404);
    provider.send("DELETE", &path, &[], None).expect(404);
    assert!(known_to_proxies(server, &ada).is_none());
}

/// What a snapshot says of a user.
fn known_to_proxies(server: &Server, id: &str) -> Option<Value> {
    let lines = server.snapshot();
    lines.into_iter().find(|line| line["kind"] == "user" && line["id"] == id)
}

#[test]
fn the_last_superadmin_stays_and_does_not_get_locked_out() {
    let provider = Provider::start();
    let me = text(&provider.server.admin_call("GET", "/users/profile", None).expect(200), "id");
    let path = format!("/Users/{me}");
    provider.patch(&path, &json!([{ "op": "replace", "path": "active", "value": false }])).expect(409);
    provider.send("DELETE", &path, &[], None).expect(409);
    assert_eq!(provider.get(&path).expect(200)["active"], true);
}
