//! API keys and groups, as a superadmin uses them.

use serde_json::{Value, json};

use crate::support::{Browser, Demo};

#[tokio::test]
async fn an_api_key_is_made_copied_used_and_revoked() {
    let demo = Demo::get();
    let browser = Browser::open(&demo).await;
    browser.sign_in(demo.text("user"), demo.text("password")).await;
    browser.press("#nav a[href='/ui/api-keys']").await;
    browser.until_at("/ui/api-keys").await;
    browser.press("header.page a.primary").await;
    browser.until_at("/ui/api-keys/new").await;
    let name = format!("browser \"<b>{}</b>", std::process::id());
    browser.write("#f-name", &name).await;

    // Without a scope nothing is made, and what was written stays.
    browser.press(".actions.final button").await;
    browser.until("document.getElementById('e-scopes')").await;
    assert_eq!(browser.script("return document.getElementById('f-name').value").await, name);
    browser.press("input[name=scope][value='usage:read']").await;
    browser.press(".actions.final button").await;
    browser.until("document.getElementById('secret')").await;
    let key = browser.text("#secret").await;
    browser.press("button[data-copy=secret]").await;
    browser.until("document.querySelector('[data-copy=secret]').textContent.includes('Copied')").await;
    let line = browser.text("#curl").await;
    let ran = std::process::Command::new("sh").arg("-c").arg(format!("{line} --silent --fail")).output();
    let ran = ran.expect("a shell");
    assert!(ran.status.success(), "{line}: {ran:?}");

    browser.press("main .actions .primary").await;
    browser.until("location.pathname.startsWith('/ui/api-keys/') && document.querySelector('#facts')").await;
    assert!(!browser.client.source().await.expect("a page").contains(&key), "shown once");
    assert!(!browser.has("main h1 b").await, "a name is a text");
    browser.press("header.page a[href$='/revoke']").await;
    browser.until("document.querySelector('.confirm')").await;
    assert!(browser.text(".confirm").await.contains("refused with 401"));
    assert_eq!(demo.call("GET", "/api/v1/usage", &key, None).0, 200, "a question changes nothing");
    browser.press("button.danger").await;
    browser.until_at("/ui/api-keys").await;
    assert_eq!(demo.call("GET", "/api/v1/usage", &key, None).0, 401);
    browser.expect_no_reports().await;
    browser.close().await;
}

/// What an identity provider sends with its key.
fn provide(demo: &Demo, key: &str, path: &str, body: &Value) -> Value {
    let (status, answer) = demo.call("POST", &format!("/api/scim/v2{path}"), key, Some(body));
    assert_eq!(status, 201, "{answer}");
    answer
}

#[tokio::test]
async fn a_group_brings_a_role_that_is_chosen_in_place() {
    let demo = Demo::get();
    let admin = demo.log_in(demo.text("user"), demo.text("password"));
    let tag = std::process::id();
    let key = json!({ "name": format!("idp {tag}"), "duration": "1h", "scopes": ["scim"] });
    let (status, key) = demo.call("POST", "/api/v1/api-keys", &admin, Some(&key));
    assert_eq!(status, 201, "{key}");
    let token = key["token"].as_str().expect("shown once");
    let user = provide(&demo, token, "/Users", &json!({ "userName": format!("ada-{tag}") }));
    let members = json!([{ "value": user["id"] }]);
    let group = json!({ "displayName": format!("Analysts {tag}"), "members": members });
    let group = provide(&demo, token, "/Groups", &group);
    let role = json!({ "role_name": format!("analyst-{tag}"), "optional_actions": ["read"] });
    let domain = demo.domain(&admin);
    let (status, role) = demo.call("POST", &format!("/domains/{domain}/roles"), &admin, Some(&role));
    assert_eq!(status, 201, "{role}");
    let other = json!({ "name": format!("Aardvarks {tag}") });
    assert_eq!(demo.call("POST", "/domains", &admin, Some(&other)).0, 201, "the first by name");

    let browser = Browser::open(&demo).await;
    browser.sign_in(demo.text("user"), demo.text("password")).await;
    browser.press("#nav a[href='/ui/groups']").await;
    browser.until_at("/ui/groups").await;
    assert!(browser.text("#scim-address").await.ends_with("/api/scim/v2"));
    let page = format!("/ui/groups/{}", group["id"].as_str().expect("an id"));
    browser.press(&format!("a[href='{page}']")).await;
    browser.until_at(&page).await;

    // Another domain: its roles come in place, and the page is not loaded anew.
    browser.script("window.same = true").await;
    let role = role["id"].as_str().expect("an id");
    let choose = format!(
        "const select = document.getElementById('f-domain'); select.value = '{domain}';
         select.dispatchEvent(new Event('change', {{ bubbles: true }}))"
    );
    browser.script(&choose).await;
    browser.until(&format!("document.querySelector('#f-role option[value=\"{role}\"]')")).await;
    assert_eq!(browser.script("return window.same === true").await, true);
    browser.script(&format!("document.getElementById('f-role').value = '{role}'")).await;
    browser.press("#mapping button.primary").await;
    browser.until(&format!("document.querySelector('a[href$=\"/roles/{role}\"]')")).await;
    let members = format!("/domains/{domain}/roles/{role}/members");
    let (_, listed) = demo.call("GET", &members, &admin, None);
    assert!(listed.to_string().contains(user["id"].as_str().expect("an id")), "{listed}");

    browser.press("a[href$='/remove']").await;
    browser.until("document.querySelector('.confirm')").await;
    assert!(browser.text(".confirm").await.contains("1 member loses the role"));
    browser.press("button.danger").await;
    browser.until_at(&page).await;
    let (_, listed) = demo.call("GET", &members, &admin, None);
    assert!(!listed.to_string().contains(user["id"].as_str().expect("an id")), "{listed}");
    browser.expect_no_reports().await;
    browser.close().await;
}
