//! Who sees what, sessions that end, forged forms; and every page, light and dark, before axe-core.

use serde_json::{Value, json};

use crate::support::{Browser, Demo};

#[tokio::test]
async fn members_see_their_part_and_a_session_that_has_ended_leads_back_to_where_one_was() {
    let demo = Demo::get();
    demo.add_user("page-reader", &["read", "llm_read"]);
    let browser = Browser::open(&demo).await;
    browser.sign_in("page-reader", "password of page-reader").await;
    assert!(
        !browser.has("#nav a[href='/ui/nodes']").await && browser.has("#nav a[href='/ui/domains']").await
    );
    browser.go("/ui/nodes").await;
    assert!(browser.text("main").await.contains("Not allowed"));
    browser.go("/ui/playground").await;
    assert!(browser.text("main").await.contains("You may not chat in this domain"));
    browser.press("main .alert a").await;
    browser.until("location.pathname === '/ui/permissions'").await;
    assert!(browser.text("main").await.contains("has the action llm_chat_completions"));

    // Another session of the same user ends this one.
    let access = demo.log_in("page-reader", "password of page-reader");
    let (_, logins) = demo.call("GET", "/users/tokens/refresh-tokens", &access, None);
    for login in logins["refresh_tokens"].as_array().expect("logins") {
        if login["description"].as_str().is_some_and(|text| text.contains("Linux")) {
            demo.call("POST", "/users/tokens/revoke", &access, Some(&json!({ "token_id": login["id"] })));
        }
    }
    browser.go("/ui/domains?name=demo").await;
    browser.until_at("/ui/sign-in").await;
    browser.write("#f-username", "page-reader").await;
    browser.write("#f-password", "password of page-reader").await;
    browser.press("form.sign-in button[type=submit]").await;
    browser.until("location.pathname + location.search === '/ui/domains?name=demo'").await;
    browser.close().await;
}

#[tokio::test]
async fn a_page_of_another_origin_can_do_nothing_with_our_session() {
    let demo = Demo::get();
    let browser = Browser::open(&demo).await;
    browser.sign_in(demo.text("user"), demo.text("password")).await;
    let csrf = browser.script("return document.querySelector('input[name=csrf]').value").await;
    browser.client.goto("about:blank").await.expect("a blank page");
    let forged = format!(
        "const form = document.createElement('form'); form.method = 'post'; form.action = '{}/ui/account';
         for (const [name, value] of [['csrf', {csrf}], ['first_name', 'Mallory']]) {{
           const field = document.createElement('input'); field.name = name; field.value = value; form.append(field); }}
         document.body.append(form); form.submit();",
        browser.origin
    );
    browser.script(&forged).await;
    browser
        .until("location.pathname !== 'blank' && document.body && document.body.textContent.length > 20")
        .await;
    let source = browser.client.source().await.expect("a page");
    assert!(source.contains("Sign in") || source.contains("not valid any more"), "{source}");
    browser.go("/ui/account").await;
    assert!(!browser.client.source().await.expect("a page").contains("Mallory"));
    // Nor can another page read ours.
    browser.client.goto("about:blank").await.expect("a blank page");
    let read = format!(
        "const done = arguments[arguments.length - 1];
         fetch('{}/ui/account', {{ credentials: 'include' }}).then(() => done('read'), () => done('refused'))",
        browser.origin
    );
    let read = browser.client.execute_async(&read, Vec::new()).await.expect("an answer");
    assert_eq!(read, "refused");
    browser.close().await;
}

/// Every page there is, with what it needs to show something.
async fn pages(browser: &Browser, demo: &Demo) -> Vec<String> {
    let admin = demo.log_in(demo.text("user"), demo.text("password"));
    let domain = demo.domain(&admin);
    let (_, roles) = demo.call("GET", &format!("/domains/{domain}/roles"), &admin, None);
    let role = roles["roles"][0]["id"].as_str().expect("a role").to_owned();
    let pat = json!({ "name": format!("for axe {}", std::process::id()), "duration": "1h", "scopes": [
        { "entity_type": "domains", "domain_id": domain, "entity_id": domain, "operation": "llm_read" }] });
    let (status, pat) = demo.call("POST", "/pats", &admin, Some(&pat));
    assert_eq!(status, 201, "{pat}");
    let pat = pat["id"].as_str().expect("an id").to_owned();
    let (_, user) = demo.call("GET", "/users/profile", &admin, None);
    let user = user["id"].as_str().expect("an id").to_owned();
    browser.go("/ui/deployments").await;
    let deployment = browser.script("return document.querySelector('tbody th a').getAttribute('href')").await;
    let mut pages: Vec<String> = [
        "",
        "pats",
        "pats?status=revoked&name=nothing",
        "pats/new",
        "playground",
        "usage",
        "usage?period=30d&by=user",
        "domains",
        "domains/new",
        "invitations",
        "permissions",
        "audit",
        "account",
        "sessions",
        "deployments",
        "deployments/new",
        "routes",
        "routes/new",
        "routes/test",
        "nodes",
        "users",
        "users/new",
        "groups",
        "groups?name=nothing",
        "api-keys",
        "api-keys/new",
        "reports",
        "in-force",
        "no-such-page",
    ]
    .map(|page| format!("/ui/{page}"))
    .to_vec();
    pages.extend(["", "/scopes", "/rotate", "/revoke", "/delete"].map(|end| format!("/ui/pats/{pat}{end}")));
    let tabs = ["", "/models", "/members", "/roles", "/invitations", "/delete"];
    pages.extend(tabs.map(|end| format!("/ui/domains/{domain}{end}")));
    pages.push(format!("/ui/domains/{domain}/roles/{role}"));
    pages.push(format!("/ui/users/{user}"));
    pages.push(format!("/ui/permissions?ask=1&domain={domain}&operation=llm_read&pat={pat}"));
    pages.push(deployment.as_str().expect("a deployment").to_owned());
    // A key, and a group that it has sent, with a role that the group brings.
    let key =
        json!({ "name": format!("for axe {}", std::process::id()), "duration": "1h", "scopes": ["scim"] });
    let (status, key) = demo.call("POST", "/api/v1/api-keys", &admin, Some(&key));
    assert_eq!(status, 201, "{key}");
    let group = json!({ "displayName": format!("A group for axe {}", std::process::id()), "members": [{ "value": user }] });
    let token = key["token"].as_str().expect("shown once");
    let (status, group) = demo.call("POST", "/api/scim/v2/Groups", token, Some(&group));
    assert_eq!(status, 201, "{group}");
    let mapping = json!({ "group_id": group["id"], "domain_id": domain, "role_id": role });
    let (status, mapping) = demo.call("POST", "/api/v1/scim/group-mappings", &admin, Some(&mapping));
    assert_eq!(status, 201, "{mapping}");
    let id = |value: &Value| value["id"].as_str().expect("an id").to_owned();
    pages.extend(["", "/revoke"].map(|end| format!("/ui/api-keys/{}{end}", id(&key))));
    pages.push(format!("/ui/groups/{}", id(&group)));
    pages.push(format!("/ui/groups/{}/mappings/{}/remove", id(&group), id(&mapping)));
    pages
}

/// Findings of axe-core that keep somebody out.
async fn findings(browser: &Browser, axe: &str) -> Vec<String> {
    browser.script(axe).await;
    let run = "const done = arguments[arguments.length - 1];
        axe.run(document, { resultTypes: ['violations'] }).then((result) => done(result.violations
          .filter((found) => ['serious', 'critical'].includes(found.impact))
          .map((found) => found.id + ': ' + found.nodes.map((node) => node.target.join(' ')).slice(0, 3).join(', '))),
          (error) => done(['axe: ' + error]))";
    let found = browser.client.execute_async(run, Vec::new()).await.expect("axe answers");
    let texts = found.as_array().into_iter().flatten().filter_map(Value::as_str);
    texts.map(str::to_owned).collect()
}

/// What is wrong with a page as it is shown, in a window of this width.
async fn faults(browser: &Browser, axe: &str, width: i64) -> Vec<String> {
    let mut found = findings(browser, axe).await;
    // Only tables scroll sideways.
    let script =
        "return [document.documentElement.scrollWidth, document.documentElement.clientWidth, innerWidth]";
    let seen = browser.script(script).await;
    let [wide, room, window] = [0, 1, 2].map(|nth| seen[nth].as_i64().unwrap_or(i64::MAX));
    if wide > room || window != width {
        found.push(format!("{wide} wide where there is room for {room}, in a window of {window}"));
    }
    found
}

#[tokio::test]
async fn no_page_keeps_anybody_out_in_light_or_in_dark() {
    let demo = Demo::get();
    let axe = std::env::var("AXE").expect("tests/ui/run.sh says where axe-core is");
    let axe = std::fs::read_to_string(axe).expect("axe-core");
    let mut found = Vec::new();
    let mut all = Vec::new();
    // Light in a wide window, dark in that of a phone.
    for (theme, width) in [("light", 1280), ("dark", 360)] {
        let browser = Browser::open_at(&demo, width).await;
        let mut look = async |page: &str| {
            browser.go(page).await;
            let here = faults(&browser, &axe, width).await;
            found.extend(here.into_iter().map(|text| format!("{theme} {page} {text}")));
        };
        look("/ui/sign-in").await;
        browser.sign_in(demo.text("user"), demo.text("password")).await;
        if all.is_empty() {
            all = pages(&browser, &demo).await;
        }
        browser.go("/ui/account").await;
        browser.press(".avatar").await;
        browser.press(&format!("#user-menu button[value={theme}]")).await;
        browser.until(&format!("document.documentElement.dataset.theme === '{theme}'")).await;
        for page in &all {
            look(page).await;
        }
        browser.expect_no_reports().await;
        browser.close().await;
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}
