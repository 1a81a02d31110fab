//! Lists of `/api/v1` that are paged in both ways: by cursor (`first`, `after`) and by offset (`offset`, `limit`).

use crate::support::{Server, Value, json, text};

const USERS: &str = "/api/v1/users";
const DEPLOYMENTS: &str = "/api/v1/deployments";
const MAPPINGS: &str = "/api/v1/scim/group-mappings";

/// A list: its path, the member of its pages that holds the rows, and where (a JSON pointer) a row has what tells it from others.
struct List<'s> {
    server: &'s Server,
    path: &'s str,
    rows: &'static str,
    name: &'static str,
}

impl List<'_> {
    #[track_caller]
    fn page(&self, query: &str) -> Value {
        self.server.admin_call("GET", &format!("{}?{query}", self.path), None).expect(200)
    }

    fn names(&self, page: &Value) -> Vec<String> {
        page[self.rows]
            .as_array()
            .expect("rows")
            .iter()
            .map(|row| row.pointer(self.name).and_then(Value::as_str).expect("a name").to_owned())
            .collect()
    }

    /// Everything that pages of two tell by cursor; `meanwhile` happens behind the first of them.
    fn by_cursor(&self, meanwhile: impl FnOnce()) -> Vec<String> {
        let mut page = self.page("first=2");
        let mut seen = self.names(&page);
        meanwhile();
        while page["pageInfo"]["hasNextPage"] == true {
            let cursor = text(&page["pageInfo"], "endCursor");
            let escaped: String = cursor.bytes().map(|byte| format!("%{byte:02x}")).collect();
            page = self.page(&format!("first=2&after={escaped}"));
            assert!(page.get("pagination").is_none() && page.get("total").is_none(), "{page}");
            seen.extend(self.names(&page));
        }
        seen
    }

    /// Goal: by cursor all that was there is told once and in order, whatever is added meanwhile; by offset a page says where it is.
    #[track_caller]
    fn expect(&self, in_order: &[&str], meanwhile: impl FnOnce()) {
        let total = in_order.len();
        let page = self.page("offset=1&limit=2");
        assert_eq!(page["pagination"], json!({ "offset": 1, "limit": 2, "total": total }));
        assert_eq!((&page["total"], &page["offset"], &page["limit"]), (&json!(total), &json!(1), &json!(2)));
        assert!(page.get("pageInfo").is_none(), "{page}");
        assert_eq!(self.names(&page).len(), 2);
        assert_eq!(self.page("")["pagination"], json!({ "offset": 0, "limit": 20, "total": total }));
        assert_eq!(self.by_cursor(meanwhile), in_order);
        for query in ["first=0", "first=101", "first=x", "first=1&limit=1", "after=a&offset=0", "limit=0"] {
            self.server.admin_call("GET", &format!("{}?{query}", self.path), None).expect_error(400);
        }
    }
}

#[test]
fn users_are_listed_newest_first() {
    let server = Server::start();
    for name in ["ada", "bob", "cyd"] {
        server.add_user(name);
    }
    let list = List { server: &server, path: USERS, rows: "users", name: "/credentials/username" };
    list.expect(&["cyd", "bob", "ada", "admin"], || _ = server.add_user("dee"));
    assert_eq!(list.names(&list.page("first=9&username=a")), ["ada", "admin"]);
    server.admin_call("GET", &format!("{USERS}?after=x"), None).expect_error(400);
    // Others see whom they share a domain with, in this way too.
    let eve = server.add_user("eve").1;
    let seen = server.call("GET", &format!("{USERS}?first=9"), &eve, None).expect(200);
    assert_eq!(list.names(&seen), ["eve"]);
}

#[test]
fn deployments_are_listed_by_name() {
    let server = Server::start();
    for name in ["e", "b", "d", "a", "c"] {
        server.add_deployment(name);
    }
    let list = List { server: &server, path: DEPLOYMENTS, rows: "deployments", name: "/name" };
    list.expect(&["a", "b", "c", "d", "e"], || server.add_deployment("aa"));
    assert_eq!(list.names(&list.page("first=9&name=a&after=a")), ["aa"]);
    let key =
        json!({ "name": "k", "duration": "1h", "scopes": ["deployments:read"], "deployments": ["b", "d"] });
    let key = text(&server.admin_call("POST", "/api/v1/api-keys", Some(&key)).expect(201), "token");
    let bearer = format!("Bearer {key}");
    let page = format!("{DEPLOYMENTS}?first=1&after=b");
    let page = server.raw("GET", &page, &[("authorization", &bearer)], b"").expect(200);
    assert_eq!((list.names(&page), &page["pageInfo"]["hasNextPage"]), (vec!["d".to_owned()], &json!(false)));
}

#[test]
fn models_are_listed_by_name() {
    let server = Server::start();
    server.add_deployment("gpu");
    let domain = server.add_domain(&server.admin, "alpha");
    let path = format!("/api/v1/domains/{domain}/models");
    let add = |name: &str| {
        server.admin_call("POST", &path, Some(&json!({ "name": name, "deployment": "gpu" }))).expect(201);
    };
    ["größe/模型", "a/b:7b", "a b&c", "m", "B"].into_iter().for_each(add);
    let list = List { server: &server, path: &path, rows: "models", name: "/name" };
    list.expect(&["B", "a b&c", "a/b:7b", "größe/模型", "m"], || add("A"));
}

#[test]
fn group_mappings_are_listed_oldest_first() {
    let server = Server::start();
    let domain = server.add_domain(&server.admin, "alpha");
    let group = json!({ "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"], "displayName": "g" });
    let group = text(&server.admin_call("POST", "/api/scim/v2/Groups", Some(&group)).expect(201), "id");
    let add = |name: &str| {
        let role = server.add_role(&domain, name, &["llm_read"], &[]);
        let mapping = json!({ "group_id": group, "domain_id": domain, "role_id": role });
        server.admin_call("POST", MAPPINGS, Some(&mapping)).expect(201);
    };
    ["r3", "r1", "r4", "r2"].into_iter().for_each(add);
    let list = List { server: &server, path: MAPPINGS, rows: "mappings", name: "/role_name" };
    list.expect(&["r3", "r1", "r4", "r2"], || ());
    // What is added stands at the end.
    assert_eq!(list.by_cursor(|| add("r0")), ["r3", "r1", "r4", "r2", "r0"]);
}
