//! API keys on the pages.

use super::pats::XSS;
use crate::support::{ADMIN, Browser, Server, between, json, text};

const PAGE: &str = "/ui/api-keys";
const NEW: &str = "/ui/api-keys/new";

#[test]
fn a_key_is_made_shown_once_seen_in_the_list_and_revoked() {
    let server = Server::start();
    let domain = server.add_domain(&server.admin, "research");
    let mut browser = Browser::signed_in(&server, ADMIN.0, ADMIN.1);
    assert!(browser.get(PAGE).text.contains("No API key"));
    assert!(browser.get(NEW).text.contains("value=\"90d\" selected"));
    let fields = [("name", "reports"), ("duration", "30d"), ("scope", "usage:read"), ("domain", &*domain)];
    let made = browser.fill(NEW, NEW, &fields);
    assert_eq!((made.status, made.header("cache-control")), (201, Some("no-store")), "{}", made.text);
    let key = between(&made.text, "id=\"secret\" tabindex=\"0\">", "<").to_owned();
    assert!(key.starts_with("cak_"), "{key}");

    // The line of the page does what it says.
    let line =
        between(&made.text, "id=\"curl\" tabindex=\"0\">", "<").replace("&#39;", "'").replace("&#38;", "&");
    let path = between(&line, "curl '", "'").strip_prefix(&server.api).expect("this address").to_owned();
    assert_eq!(path, format!("/api/v1/usage?group_by=model&domain={domain}"));
    assert!(line.contains(&key), "{line}");
    server.call("GET", &path, &key, None).expect(200);
    server.call("GET", "/api/v1/usage", &key, None).expect_error(403);
    server.call("GET", "/api/v1/deployments", &key, None).expect_error(403);

    let again = browser.fill(NEW, NEW, &fields);
    assert!(again.status == 409 && again.text.contains("This name is taken"), "a reload makes no other key");
    let list = browser.get(PAGE).text;
    for shown in ["reports", "usage:read", "only 1 domain", "Active"] {
        assert!(list.contains(shown), "{shown} in {list}");
    }
    let keys = server.admin_call("GET", "/api/v1/api-keys", None).expect(200);
    let id = text(&keys["items"][0], "id");
    let page = browser.get(&format!("{PAGE}/{id}")).text;
    assert!(page.contains("research") && page.contains("Read what was used"), "{page}");
    assert!(![&list, &page, &again.text].iter().any(|shown| shown.contains(&key[27..])), "shown once");

    let revoke = format!("{PAGE}/{id}/revoke");
    let question = browser.get(&revoke).text;
    assert!(question.contains("Revoke “reports”?") && question.contains("refused with 401"), "{question}");
    assert!(question.contains("It was last used"), "{question}");
    server.call("GET", &path, &key, None).expect(200);
    let revoked = browser.fill(&revoke, &revoke, &[]);
    assert_eq!(revoked.header("location"), Some("/ui/api-keys?done=revoked"));
    server.call("GET", &path, &key, None).expect_error(401);
    assert_eq!(browser.get(&format!("{PAGE}/{id}")).status, 404);
    assert_eq!(browser.fill(PAGE, &revoke, &[]).status, 404, "twice");
}

#[test]
fn a_key_for_an_identity_provider_comes_with_the_address_that_it_wants() {
    let server = Server::start();
    let mut browser = Browser::signed_in(&server, ADMIN.0, ADMIN.1);
    let form = browser.get("/ui/api-keys/new?scope=scim").text;
    assert!(
        form.contains("value=\"scim\" checked") && !form.contains("value=\"usage:read\" checked"),
        "{form}"
    );
    let made = browser.fill(NEW, NEW, &[("name", "idp"), ("duration", "90d"), ("scope", "scim")]);
    let key = between(&made.text, "id=\"secret\" tabindex=\"0\">", "<").to_owned();
    let address = between(&made.text, "the address <code>", "</code>");
    assert_eq!(address, format!("{}/api/scim/v2", server.api));
    let line = between(&made.text, "id=\"curl\" tabindex=\"0\">", "<");
    assert!(line.contains("/api/scim/v2/Users?count=10"), "{line}");
    server.call("GET", "/api/scim/v2/Users?count=10", &key, None).expect(200);
    let id = text(&server.admin_call("GET", "/api/v1/api-keys", None).expect(200)["items"][0], "id");
    let question = browser.get(&format!("{PAGE}/{id}/revoke")).text;
    assert!(question.contains("identity provider"), "{question}");
}

#[test]
fn what_is_wrong_with_a_key_stands_beside_its_field_and_nothing_is_made() {
    let server = Server::start();
    let domain = server.add_domain(&server.admin, XSS);
    let mut browser = Browser::signed_in(&server, ADMIN.0, ADMIN.1);
    let good = [("name", "x"), ("duration", "30d"), ("scope", "usage:read")];
    let table: &[(&str, &[(&str, &str)])] = &[
        ("name", &[("duration", "30d"), ("scope", "usage:read")]),
        ("scopes", &[("name", "x"), ("duration", "30d")]),
        ("scopes", &[("name", "x"), ("duration", "30d"), ("scope", "all:write")]),
        ("duration", &[("name", "x"), ("duration", "9999d"), ("scope", "usage:read")]),
        ("until", &[("name", "x"), ("duration", "custom"), ("until", "1999-01-01"), ("scope", "usage:read")]),
        ("domains", &[good[0], good[1], ("scope", "nodes:read"), ("domain", &domain)]),
        ("domains", &[good[0], good[1], good[2], ("domain", "x")]),
        ("deployments", &[good[0], good[1], good[2], ("deployment", "gpu")]),
    ];
    for (field, fields) in table {
        let answer = browser.fill(NEW, NEW, fields);
        assert_eq!(answer.status, 400, "{field} {fields:?}: {}", answer.text);
        assert!(answer.text.contains(&format!("id=\"e-{field}\"")), "{field} {fields:?}: {}", answer.text);
        assert!(!answer.text.contains("<script>alert"), "{field}");
    }
    let nowhere = uuid::Uuid::from_u128(1).to_string();
    let answer = browser.fill(NEW, NEW, &[good[0], good[1], good[2], ("domain", &nowhere)]);
    assert!(answer.status == 404 && answer.text.contains("Domain not found"), "{}", answer.text);
    assert_eq!(server.admin_call("GET", "/api/v1/api-keys", None).expect(200)["items"], json!([]));
    assert_eq!(browser.fill(NEW, NEW, &[("name", XSS), good[1], good[2]]).status, 201);
    let list = browser.get(PAGE).text;
    assert!(list.contains("&#60;script&#62;") && !list.contains("<script>alert"), "{list}");
}

#[test]
fn many_keys_are_listed_in_parts_and_none_is_left_out() {
    let server = Server::start();
    for nth in 0..30 {
        let key = json!({ "name": format!("key-{nth:02}"), "duration": "1h", "scopes": ["usage:read"] });
        server.admin_call("POST", "/api/v1/api-keys", Some(&key)).expect(201);
    }
    let mut browser = Browser::signed_in(&server, ADMIN.0, ADMIN.1);
    let first = browser.get(PAGE).text;
    let target = between(&first, "href=\"?after=", "\"");
    let second = browser.get(&format!("{PAGE}?after={target}")).text;
    for nth in 0..30 {
        let name = format!("key-{nth:02}");
        assert_ne!(first.contains(&name), second.contains(&name), "{name} on one of both");
    }
    assert!(browser.get(&format!("{PAGE}?after=nonsense")).text.contains("key-29"), "no cursor: the newest");
}

#[test]
fn those_who_are_no_superadmins_neither_see_nor_make_nor_revoke_keys() {
    let server = Server::start();
    let key = json!({ "name": "ci", "duration": "1h", "scopes": ["usage:read"] });
    let key = server.admin_call("POST", "/api/v1/api-keys", Some(&key)).expect(201);
    server.add_user("ann");
    let mut browser = Browser::of_user(&server, "ann");
    assert!(!browser.get("/ui/").text.contains("/ui/api-keys"), "no way there");
    let revoke = format!("{PAGE}/{}/revoke", text(&key, "id"));
    for page in [PAGE, NEW, &*revoke] {
        assert_eq!(browser.get(page).status, 403, "{page}");
    }
    let fields = [("name", "x"), ("duration", "30d"), ("scope", "usage:read")];
    for action in [NEW, &*revoke] {
        assert_eq!(browser.fill("/ui/account", action, &fields).status, 403, "{action}");
    }
    server.call("GET", "/api/v1/usage", &text(&key, "token"), None).expect(200);
    let keys = server.admin_call("GET", "/api/v1/api-keys", None).expect(200);
    assert_eq!(keys["items"].as_array().map(Vec::len), Some(1));
}
