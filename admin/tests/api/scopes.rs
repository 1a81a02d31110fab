//! Scopes of PATs: rows P3, P13 to P15, P23 and P24 of the feature list.

use crate::pats::make;
use crate::support::{Server, Value, json, text};

fn scope(entity_type: &str, entity_id: &str, operation: &str) -> Value {
    json!({ "entity_type": entity_type, "entity_id": entity_id, "operation": operation })
}

fn with_scopes(name: &str, scopes: &[Value]) -> Value {
    json!({ "name": name, "duration": "1h", "scopes": scopes })
}

/// A PAT of somebody's.
struct Owned<'s> {
    server: &'s Server,
    token: String,
    id: String,
    secret: String,
}

impl<'s> Owned<'s> {
    fn new(server: &'s Server, token: &str, scopes: &[Value]) -> Self {
        let name = format!("pat {}", uuid::Uuid::new_v4());
        let (id, secret) = make(server, token, &with_scopes(&name, scopes));
        Self { server, token: token.to_owned(), id, secret }
    }

    #[track_caller]
    fn add(&self, status: u16, scopes: &[Value]) {
        let body = json!({ "scopes": scopes });
        let answer =
            self.server.call("PATCH", &format!("/pats/{}/scope/add", self.id), &self.token, Some(&body));
        assert_eq!(answer.status, status, "{}", answer.text);
    }

    /// `entity_type entity_id operation` of each.
    fn scopes(&self) -> Vec<String> {
        let page = self
            .server
            .call("GET", &format!("/pats/{}/scope?limit=100", self.id), &self.token, None)
            .expect(200);
        let mut scopes: Vec<String> = page["scopes"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|s| format!("{} {} {}", text(s, "entity_type"), text(s, "entity_id"), text(s, "operation")))
            .collect();
        assert_eq!(page["total"].as_u64(), Some(scopes.len() as u64));
        scopes.sort();
        scopes
    }
}

/// P3, P13
#[test]
fn scopes_are_added_removed_listed_and_cleared() {
    let server = Server::start();
    let (_, token) = server.add_user("ada");
    let pat = Owned::new(&server, &token, &[scope("clients", "c1", "view"), scope("users", "*", "read")]);
    assert_eq!(pat.scopes(), ["clients c1 view", "users * read"]);
    pat.add(200, &[scope("clients", "c2", "view"), scope("clients", "c1", "update")]);
    assert_eq!(pat.scopes(), ["clients c1 update", "clients c1 view", "clients c2 view", "users * read"]);
    // Duplicates, in the PAT and in one request; all or nothing.
    pat.add(422, &[scope("clients", "c3", "view"), scope("clients", "c1", "view")]);
    pat.add(422, &[scope("clients", "c3", "view"), scope("clients", "c3", "view")]);
    assert_eq!(pat.scopes().len(), 4);
    // One for all takes the place of those for single ones of the same operation, and leaves no room for them.
    pat.add(200, &[scope("clients", "*", "view")]);
    assert_eq!(pat.scopes(), ["clients * view", "clients c1 update", "users * read"]);
    pat.add(422, &[scope("clients", "c9", "view")]);
    pat.add(422, &[scope("clients", "*", "view")]);
    // Whatever the order in one request.
    pat.add(200, &[scope("groups", "*", "view"), scope("groups", "g1", "view")]);
    assert_eq!(pat.scopes(), ["clients * view", "clients c1 update", "groups * view", "users * read"]);

    let page =
        server.call("GET", &format!("/pats/{}/scope?limit=1&offset=1", pat.id), &token, None).expect(200);
    assert_eq!((page["total"].as_i64(), page["scopes"].as_array().map(Vec::len)), (Some(4), Some(1)));
    let id = text(&page["scopes"][0], "id");
    assert_eq!(page["scopes"][0]["pat_id"], json!(pat.id));
    let remove = |ids: Value| {
        let body = json!({ "scopes_id": ids });
        server.call("PATCH", &format!("/pats/{}/scope/remove", pat.id), &token, Some(&body))
    };
    remove(json!([id, uuid::Uuid::new_v4()])).expect(200);
    assert_eq!(pat.scopes().len(), 3);
    remove(json!([id])).expect_error(404);
    remove(json!([])).expect_error(400);
    remove(json!(["x"])).expect_error(400);
    // Another PAT's scope is none of this one's.
    let other = Owned::new(&server, &token, &[scope("users", "*", "read")]);
    let theirs = server.call("GET", &format!("/pats/{}/scope", other.id), &token, None).expect(200);
    remove(json!([theirs["scopes"][0]["id"]])).expect_error(404);
    assert_eq!(other.scopes().len(), 1);

    server.call("DELETE", &format!("/pats/{}/scope", pat.id), &token, None).expect(200);
    assert!(pat.scopes().is_empty());
    server.call("DELETE", &format!("/pats/{}/scope", pat.id), &token, None).expect(200);
    pat.add(400, &[]);
}

/// P23, and §8 row 4
#[test]
fn entity_types_and_operations_are_checked_and_the_answer_says_what_is_valid() {
    let server = Server::start();
    let (ada, token) = server.add_user("ada");
    for entity_type in ["datasets", "groups", "channels", "clients", "dashboards", "messages"] {
        Owned::new(
            &server,
            &token,
            &[scope(entity_type, "*", "anything_at_all"), scope(entity_type, "e", "x")],
        );
    }
    let domain = uuid::Uuid::new_v4();
    let in_domain = |entity_type: &str, entity_id: &str, operation: &str| {
        let mut scope = scope(entity_type, entity_id, operation);
        scope["domain_id"] = json!(domain);
        scope
    };
    for (wrong, status, said) in [
        (scope("gadgets", "*", "read"), 400, "domains, models, users, datasets"),
        (scope("domains", "*", "read"), 400, "domain_id"),
        (scope("models", "*", "llm_read"), 400, "domain_id"),
        (in_domain("domains", "*", "read"), 404, "domain"),
        (in_domain("models", "m", "llm_read"), 404, "domain"),
        (in_domain("clients", "m", "read"), 404, "domain"),
        (in_domain("models", "*", "execute"), 400, "llm_chat_completions"),
        (in_domain("models", "*", "write"), 400, "llm_update"),
        (in_domain("domains", "not-this-domain", "read"), 400, "entity_id"),
        (in_domain("domains", &ada, "read"), 400, "entity_id"),
        (in_domain("users", "*", "read"), 400, "domain_id"),
        (scope("users", "*", "create"), 400, "read, update, delete, enable, disable"),
        (scope("users", "ada", "read"), 400, "entity_id"),
        (scope("users", "", "read"), 400, "entity_id"),
        (scope("clients", "*", ""), 400, "operation"),
        (scope("clients", "*", "a b"), 400, "operation"),
        (scope("clients", "a\u{0}", "view"), 400, "entity_id"),
        (json!({ "entity_type": "users", "operation": "read" }), 400, "entity_id"),
        (
            json!({ "entity_type": "users", "entity_id": "*", "operation": "read", "domain_id": "x" }),
            400,
            "body",
        ),
    ] {
        let answer =
            server.call("POST", "/pats", &token, Some(&with_scopes("wrong", std::slice::from_ref(&wrong))));
        answer.expect_error(status);
        assert!(answer.text.contains(said), "{wrong}: {}", answer.text);
    }
    assert_eq!(server.call("GET", "/pats?name=wrong", &token, None).expect(200)["total"], 0);
}

#[test]
fn a_pat_has_so_many_scopes_and_one_with_full_access_has_none() {
    let server = Server::start_with("[pats]\nscopes_max = 3\n");
    let (_, token) = server.add_user("ada");
    let pat = Owned::new(&server, &token, &[scope("clients", "a", "view"), scope("clients", "b", "view")]);
    pat.add(409, &[scope("clients", "c", "view"), scope("clients", "d", "view")]);
    pat.add(200, &[scope("clients", "c", "view")]);
    pat.add(409, &[scope("clients", "d", "view")]);
    pat.add(200, &[scope("clients", "*", "view")]);

    let mut full = with_scopes("full", &[scope("users", "*", "read")]);
    full["full_access"] = json!(true);
    server.call("POST", "/pats", &token, Some(&full)).expect_error(400);
    full["scopes"] = json!([]);
    let (id, _) = make(&server, &token, &full);
    let body = json!({ "scopes": [scope("users", "*", "read")] });
    server.call("PATCH", &format!("/pats/{id}/scope/add"), &token, Some(&body)).expect_error(409);
}

/// P24, U4
#[test]
fn any_pat_lists_what_its_owner_may_see_and_everything_else_on_users_takes_a_scope() {
    let server = Server::start();
    let (ada, token) = server.add_user("ada");
    let nothing = Owned::new(&server, &server.admin, &[]);
    assert_eq!(server.call("GET", "/users", &nothing.secret, None).expect(200)["total"], 2);
    assert_eq!(
        server.call("GET", "/users/profile", &nothing.secret, None).expect(200)["credentials"]["username"],
        "admin"
    );
    let adas = Owned::new(&server, &token, &[]);
    assert_eq!(server.call("GET", "/users", &adas.secret, None).expect(200)["total"], 1);

    let path = format!("/users/{ada}");
    let calls = [
        ("read", "GET", String::new(), None),
        ("update", "PATCH", String::new(), Some(json!({ "first_name": "Ada" }))),
        ("update", "PATCH", "/tags".to_owned(), Some(json!({ "tags": ["x"] }))),
        ("disable", "POST", "/disable".to_owned(), None),
        ("enable", "POST", "/enable".to_owned(), None),
        ("delete", "DELETE", String::new(), None),
    ];
    // A superadmin's PAT with every scope but the one that is needed.
    for (needed, method, part, body) in &calls {
        let others =
            ["read", "update", "delete", "enable", "disable"].into_iter().filter(|name| name != needed);
        let others: Vec<Value> = others.map(|name| scope("users", "*", name)).collect();
        for pat in [&nothing, &Owned::new(&server, &server.admin, &others)] {
            let answer = server.call(method, &format!("{path}{part}"), &pat.secret, body.as_ref());
            assert!(matches!(answer.status, 403 | 404), "{method} {part}: {}", answer.text);
            answer.expect_error(answer.status);
        }
    }
    let new = json!({ "credentials": { "username": "eve" } });
    let all: Vec<Value> = ["read", "update", "delete", "enable", "disable"]
        .iter()
        .map(|name| scope("users", "*", name))
        .collect();
    let all = Owned::new(&server, &server.admin, &all);
    server.call("POST", "/users", &all.secret, Some(&new)).expect_error(403);
    server
        .call("PATCH", &format!("{path}/role"), &all.secret, Some(&json!({ "role": "admin" })))
        .expect_error(403);
    server
        .call("PATCH", &format!("{path}/secret"), &all.secret, Some(&json!({ "new_secret": "long enough" })))
        .expect_error(403);

    // Exactly the scope: for that user, and no other.
    for (needed, method, part, body) in &calls {
        let pat = Owned::new(&server, &server.admin, &[scope("users", &ada, needed)]);
        let elsewhere =
            format!("/users/{}{part}", server.add_user(&format!("other-{needed}{}", part.len())).0);
        let answer = server.call(method, &elsewhere, &pat.secret, body.as_ref());
        assert!(matches!(answer.status, 403 | 404), "{}", answer.text);
        let answer = server.call(method, &format!("{path}{part}"), &pat.secret, body.as_ref());
        assert!(matches!(answer.status, 200 | 204), "{method} {part}: {}", answer.text);
    }
}

/// P15, on users: a scope gives nothing that its owner has not.
#[test]
fn a_scope_on_users_does_not_make_its_owner_a_superadmin() {
    let server = Server::start();
    let (_, token) = server.add_user("ada");
    let (bob, _) = server.add_user("bob");
    let all: Vec<Value> =
        ["read", "update", "delete", "disable"].iter().map(|name| scope("users", "*", name)).collect();
    let pat = Owned::new(&server, &token, &all);
    server.call("GET", &format!("/users/{bob}"), &pat.secret, None).expect_error(404);
    server.call("POST", &format!("/users/{bob}/disable"), &pat.secret, None).expect_error(404);
    server.call("DELETE", &format!("/users/{bob}"), &pat.secret, None).expect_error(404);
}

fn in_domain(domain: &str, entity_type: &str, entity_id: &str, operation: &str) -> Value {
    json!({ "domain_id": domain, "entity_type": entity_type, "entity_id": entity_id, "operation": operation })
}

#[test]
fn scopes_name_domains_in_which_their_owner_has_a_right_and_models_by_name() {
    let server = Server::start();
    let (ada, token) = server.add_user("ada");
    let (mine, others) = (server.add_domain(&token, "mine"), server.add_domain(&server.admin, "others"));
    let pat = Owned::new(
        &server,
        &token,
        &[
            in_domain(&mine, "domains", &mine.to_uppercase(), "read"),
            in_domain(&mine, "models", "llama3.2:1b", "llm_chat_completions"),
            in_domain(&mine, "models", "not there yet", "llm_read"),
        ],
    );
    assert_eq!(pat.scopes()[0], format!("domains {mine} read"), "one spelling");
    pat.add(422, &[in_domain(&mine, "domains", &mine, "read")]);
    pat.add(200, &[in_domain(&mine, "models", "*", "llm_chat_completions")]);
    assert_eq!(pat.scopes().len(), 3);
    pat.add(400, &[in_domain(&mine, "domains", &others, "read")]);
    for entity_type in ["domains", "models", "clients"] {
        pat.add(404, &[in_domain(&others, entity_type, "*", "llm_read")]);
    }
    // A role, whatever it allows, is enough; and a superadmin needs none.
    server.add_role(&others, "reader", &["llm_read"], &[&ada]);
    pat.add(200, &[in_domain(&others, "domains", "*", "update")]);
    Owned::new(&server, &server.admin, &[in_domain(&mine, "models", "*", "llm_read")]);
}

/// P14, on the management API: only exactly what a scope says, in exactly that domain.
#[test]
fn a_pat_does_what_its_scopes_say_and_nothing_beside() {
    let server = Server::start();
    let (_, token) = server.add_user("ada");
    let domains = [server.add_domain(&token, "one"), server.add_domain(&token, "two")];
    let operations = ["read", "update", "disable", "enable", "manage_role"];
    let attempt = |pat: &Owned<'_>, domain: &str, operation: &str| {
        let path = format!("/domains/{domain}");
        let (method, part, body) = match operation {
            "read" => ("GET", "", None),
            "update" => ("PATCH", "", Some(json!({ "tags": ["x"] }))),
            "disable" => ("POST", "/disable", None),
            "enable" => ("POST", "/enable", None),
            _ => ("POST", "/roles", Some(json!({ "role_name": uuid::Uuid::new_v4().to_string() }))),
        };
        let answer = server.call(method, &format!("{path}{part}"), &pat.secret, body.as_ref());
        match answer.status {
            200 | 201 => true,
            status => {
                assert!(matches!(status, 403 | 404), "{operation}: {}", answer.text);
                false
            }
        }
    };
    for entity_id in ["*", &*domains[0]] {
        for scoped in operations {
            let pat = Owned::new(&server, &token, &[in_domain(&domains[0], "domains", entity_id, scoped)]);
            for domain in &domains {
                for operation in operations {
                    let expected = operation == scoped && *domain == domains[0];
                    assert_eq!(
                        attempt(&pat, domain, operation),
                        expected,
                        "{scoped} of {entity_id}: {operation}"
                    );
                    server.call("POST", &format!("/domains/{domain}/enable"), &token, None);
                }
            }
        }
    }
    let full = json!({ "name": "full", "duration": "1h", "full_access": true });
    let (id, secret) = make(&server, &token, &full);
    let full = Owned { server: &server, token: token.clone(), id, secret };
    assert!(domains.iter().all(|domain| attempt(&full, domain, "read") && attempt(&full, domain, "update")));
}

/// P13, P15: the scope stays, the right goes and comes, on the next request.
#[test]
fn a_role_that_is_taken_away_takes_the_pat_s_power_along() {
    let server = Server::start();
    let (ada, token) = server.add_user("ada");
    let domain = server.add_domain(&server.admin, "research");
    let role = server.add_role(&domain, "editor", &["read", "update"], &[&ada]);
    let pat = Owned::new(&server, &token, &[in_domain(&domain, "domains", "*", "read")]);
    let path = format!("/domains/{domain}");
    let tag = json!({ "tags": ["x"] });
    server.call("GET", &path, &pat.secret, None).expect(200);
    server.call("PATCH", &path, &pat.secret, Some(&tag)).expect_error(403);
    pat.add(200, &[in_domain(&domain, "domains", "*", "update")]);
    server.call("PATCH", &path, &pat.secret, Some(&tag)).expect(200);

    let members = json!({ "members": [ada] });
    let of_role = format!("/domains/{domain}/roles/{role}/members");
    server.admin_call("POST", &format!("{of_role}/delete"), Some(&members)).expect(204);
    server.call("GET", &path, &pat.secret, None).expect_error(404);
    server.admin_call("POST", &of_role, Some(&members)).expect(200);
    server.call("GET", &path, &pat.secret, None).expect(200);
    server.call("DELETE", &format!("/pats/{}/scope", pat.id), &token, None).expect(200);
    server.call("GET", &path, &pat.secret, None).expect_error(404);
}

/// What admin feeds is what proxies compile: every scope that it takes, every former secret and every range.
#[test]
fn what_is_stored_of_pats_reaches_the_feed_without_a_secret() {
    let server = Server::start();
    let (_, token) = server.add_user("ada");
    let domain = server.add_domain(&token, "mine");
    let scopes = [
        in_domain(&domain, "domains", "*", "create_clients"),
        in_domain(&domain, "models", "m", "llm_read"),
        in_domain(&domain, "datasets", "d", "anything"),
        scope("users", "*", "read"),
    ];
    let pat = Owned::new(&server, &token, &scopes);
    let body = json!({ "duration": "1h", "grace": "1m" });
    let reset =
        server.call("PATCH", &format!("/pats/{}/secret/reset", pat.id), &token, Some(&body)).expect(200);
    let state = String::from_utf8_lossy(&server.whole_state()).into_owned();
    let line = state.rfind(&format!(r#"{{"kind":"pat","id":"{}""#, pat.id)).map(|at| &state[at..]);
    // A SQLite page may cut it: only its beginning is looked at.
    assert!(line.is_some_and(|line| line.contains("sha256:")), "the change log has the PAT");
    for secret in [&pat.secret, &text(&reset, "secret")] {
        assert!(!state.contains(&secret[48..72]));
    }
}
