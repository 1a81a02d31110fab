//! SCIM 2.0, as identity providers use it.

mod groups;
mod users;

use crate::support::{Answer, Server, Value, json, text};

const USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
const GROUP: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";
const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
const PATCH_OP: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";
const ERROR: &str = "urn:ietf:params:scim:api:messages:2.0:Error";

/// A server, and an identity provider with a key for it.
struct Provider {
    server: Server,
    key: String,
}

impl Provider {
    fn start() -> Self {
        let server = Server::start();
        let key = json!({ "name": "idp", "duration": "1h", "scopes": ["scim"] });
        let key = text(&server.admin_call("POST", "/api/v1/api-keys", Some(&key)).expect(201), "token");
        Self { server, key }
    }

    fn send(&self, method: &str, path: &str, more: &[(&str, &str)], body: Option<&Value>) -> Answer {
        let authorization = format!("Bearer {}", self.key);
        let mut headers = vec![("authorization", &*authorization)];
        if body.is_some() && !more.iter().any(|(name, _)| *name == "content-type") {
            headers.push(("content-type", "application/scim+json"));
        }
        headers.extend(more);
        let body = body.map(Value::to_string).unwrap_or_default();
        let answer = self.server.raw(method, &format!("/api/scim/v2{path}"), &headers, body.as_bytes());
        if answer.status >= 400 {
            let error = answer.json();
            assert_eq!(error["schemas"], json!([ERROR]), "{method} {path}: {}", answer.text);
            assert_eq!(error["status"], answer.status.to_string(), "the status is a text");
        }
        if !answer.text.is_empty() {
            assert_eq!(answer.header("content-type"), Some("application/scim+json"), "{method} {path}");
        }
        answer
    }

    fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], None)
    }

    fn post(&self, path: &str, body: &Value) -> Answer {
        self.send("POST", path, &[], Some(body))
    }

    fn patch(&self, path: &str, operations: &Value) -> Answer {
        self.send("PATCH", path, &[], Some(&json!({ "schemas": [PATCH_OP], "Operations": operations })))
    }

    /// The identifier of a new user of this name.
    #[track_caller]
    fn add_user(&self, name: &str) -> String {
        text(&self.post("/Users", &json!({ "schemas": [USER], "userName": name })).expect(201), "id")
    }

    /// The identifier of a new group with these members.
    #[track_caller]
    fn add_group(&self, name: &str, members: &[&str]) -> String {
        let members: Vec<Value> = members.iter().map(|id| json!({ "value": id })).collect();
        let group = json!({ "schemas": [GROUP], "displayName": name, "members": members });
        text(&self.post("/Groups", &group).expect(201), "id")
    }

    /// The names of users or groups that fit a query.
    #[track_caller]
    fn names(&self, path: &str) -> Vec<String> {
        let list = self.get(path).expect(200);
        let name = |resource: &Value| {
            resource["userName"].as_str().or(resource["displayName"].as_str()).expect("a name").to_owned()
        };
        list["Resources"].as_array().expect("a list").iter().map(name).collect()
    }
}

/// A filter as part of a URL.
fn filter(text: &str) -> String {
    let escaped: String = text.bytes().fold(String::new(), |text, byte| text + &format!("%{byte:02X}"));
    format!("filter={escaped}")
}

#[test]
fn both_schemes_are_accepted_and_keys_without_the_scope_are_not() {
    let provider = Provider::start();
    let server = &provider.server;
    let status = |authorization: &str| {
        let answer = server.raw("GET", "/api/scim/v2/Users", &[("authorization", authorization)], b"");
        assert!(answer.status == 200 || answer.json()["schemas"] == json!([ERROR]), "{}", answer.text);
        (answer.status, answer.header("www-authenticate").unwrap_or_default().to_owned())
    };
    let key = &provider.key;
    for scheme in ["Bearer", "Api-Key", "bearer", "API-KEY"] {
        assert_eq!(status(&format!("{scheme} {key}")).0, 200, "{scheme}");
    }
    assert_eq!(status(&format!("Basic {key}")), (401, "Bearer realm=\"cube\"".to_owned()));
    let challenge = "Bearer realm=\"cube\", error=\"invalid_token\"".to_owned();
    assert_eq!(status("Bearer cak_x"), (401, challenge));
    let other = json!({ "name": "other", "duration": "1h", "scopes": ["users:read"] });
    let other = text(&server.admin_call("POST", "/api/v1/api-keys", Some(&other)).expect(201), "token");
    let (code, challenge) = status(&format!("Bearer {other}"));
    assert_eq!(code, 403);
    assert!(challenge.contains("insufficient_scope") && challenge.contains("scope=\"scim\""), "{challenge}");
    // Superadmins may; other users may not.
    assert_eq!(status(&format!("Bearer {}", server.admin)).0, 200);
    let (_, ada) = server.add_user("ada");
    assert_eq!(status(&format!("Bearer {ada}")).0, 403);
}

#[test]
fn the_service_says_what_it_can_do() {
    let provider = Provider::start();
    let config = provider.get("/ServiceProviderConfig").expect(200);
    for (feature, supported) in
        [("patch", true), ("filter", true), ("sort", true), ("etag", true), ("bulk", false)]
    {
        assert_eq!(config[feature]["supported"], supported, "{feature}");
    }
    let schemas = provider.get("/Schemas").expect(200);
    assert_eq!(schemas["totalResults"], 3);
    for schema in schemas["Resources"].as_array().expect("schemas") {
        let one = provider.get(&format!("/Schemas/{}", text(schema, "id"))).expect(200);
        assert_eq!(&one, schema);
    }
    let types = provider.get("/ResourceTypes").expect(200);
    assert_eq!(types["Resources"][0]["schemaExtensions"][0]["schema"], ENTERPRISE);
    provider.get("/ResourceTypes/Group").expect(200);
    provider.get("/ResourceTypes/Thing").expect(404);
    provider.get("/Schemas/urn:x").expect(404);
    provider.get("/Schemas?filter=x").expect(403);
    for (method, path) in [("GET", "/Me"), ("DELETE", "/Me"), ("POST", "/Bulk"), ("POST", "/.search")] {
        provider.send(method, path, &[], None).expect(501);
    }
    provider.get("/Nothing").expect(404);
    provider.send("PUT", "/Users", &[], None).expect(405);
}

/// What nobody should be able to send, and what comes of it.
#[test]
fn bad_filters_get_their_scim_type_and_never_a_500() {
    let provider = Provider::start();
    let fails = |answer: Answer, status: u16, kind: &str| {
        assert_eq!(answer.expect(status)["scimType"], kind, "{}", answer.text);
    };
    for text in [
        "userName",
        "userName eq",
        "userName xx \"a\"",
        "nothing eq \"a\"",
        "active gt true",
        "active eq 1",
        "userName eq 1",
        "meta.created gt \"yesterday\"",
        "meta.location eq \"x\"",
        "emails[nothing eq \"x\"]",
        "userName[value eq \"x\"]",
        "name.nothing pr",
        "emails[type eq \"x\"",
        "urn:x:y:userName eq \"a\"",
        &"(".repeat(40),
        &"not (".repeat(500),
        &vec!["userName pr"; 300].join(" or "),
        &format!("userName eq \"{}\"", "x".repeat(5_000)),
        "groups.$ref eq \"x\"",
        "members eq \"x\"",
        "userName eq \"a\" or",
        "'; DROP TABLE users; --",
    ] {
        fails(provider.get(&format!("/Users?{}", filter(text))), 400, "invalidFilter");
    }
}

#[test]
fn bad_bodies_and_paths_get_their_scim_type_and_never_a_500() {
    let provider = Provider::start();
    let id = provider.add_user("ada@example.org");
    let fails = |answer: Answer, status: u16, kind: &str| {
        assert_eq!(answer.expect(status)["scimType"], kind, "{}", answer.text);
    };
    fails(provider.get("/Users?sortBy=nothing"), 400, "invalidPath");
    fails(provider.get("/Users?sortBy=a%20b"), 400, "invalidPath");
    fails(provider.get("/Users?sortOrder=up"), 400, "invalidValue");
    fails(provider.get("/Users?count=many"), 400, "invalidValue");
    fails(provider.post("/Users", &json!([])), 400, "invalidSyntax");
    fails(provider.post("/Users", &json!({ "schemas": [GROUP], "userName": "x" })), 400, "invalidSyntax");
    fails(provider.post("/Users", &json!({ "schemas": [USER] })), 400, "invalidValue");
    fails(
        provider.post("/Users", &json!({ "userName": "x", "emails": [{ "value": "no address" }] })),
        400,
        "invalidValue",
    );
    fails(provider.post("/Users", &json!({ "userName": "x".repeat(300) })), 400, "invalidValue");
    fails(provider.post("/Users", &json!({ "userName": "a\u{0}b" })), 400, "invalidValue");
    fails(provider.post("/Users", &json!({ "userName": "ADA@example.org" })), 409, "uniqueness");
    fails(provider.post("/Users", &json!({ "userName": "admin" })), 409, "uniqueness");
    fails(
        provider.post("/Groups", &json!({ "displayName": "g", "members": [{ "value": "x" }] })),
        400,
        "invalidValue",
    );
    let nobody = uuid::Uuid::new_v4();
    fails(
        provider.post("/Groups", &json!({ "displayName": "g", "members": [{ "value": nobody }] })),
        400,
        "invalidValue",
    );
    let user = format!("/Users/{id}");
    fails(provider.patch(&user, &json!([])), 400, "invalidSyntax");
    fails(
        provider.patch(&user, &json!([{ "op": "replace", "path": "nothing", "value": 1 }])),
        400,
        "invalidPath",
    );
    fails(
        provider.patch(&user, &json!([{ "op": "replace", "path": "id", "value": "x" }])),
        400,
        "mutability",
    );
    fails(provider.patch(&user, &json!([{ "op": "remove", "path": "userName" }])), 400, "mutability");
    for path in [&*format!("/Users/{nobody}"), "/Users/x", "/Groups/x"] {
        provider.get(path).expect(404);
        provider.send("DELETE", path, &[], None).expect(404);
        provider.patch(path, &json!([{ "op": "replace", "path": "active", "value": true }])).expect(404);
    }
    provider
        .send("POST", "/Users", &[("content-type", "text/plain")], Some(&json!({ "userName": "x" })))
        .expect(415);
    let authorization = format!("Bearer {}", provider.key);
    let raw = |body: &[u8]| {
        let headers = [("authorization", &*authorization), ("content-type", "application/json")];
        provider.server.raw("POST", "/api/scim/v2/Users", &headers, body).status
    };
    assert_eq!(
        (raw(b"{"), raw("[".repeat(100_000).as_bytes()), raw(&vec![b' '; (1 << 20) + 1])),
        (400, 400, 413)
    );
}
