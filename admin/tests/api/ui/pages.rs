//! Pages of domains, deployments, routes, usage, audit and users: what each does, and for whom it is there.

use super::pats::XSS;
use crate::support::{ADMIN, Browser, Server, json, post_to_feed, text};

/// Fills in a form that is on the page where it is sent to.
fn fill(browser: &mut Browser<'_>, path: &str, fields: &[(&str, &str)], status: u16) -> String {
    let answer = browser.fill(path, path, fields);
    assert_eq!(answer.status, status, "{path}: {}", answer.text);
    answer.text
}

#[test]
fn each_page_is_there_for_those_who_may_see_it() {
    let server = Server::start();
    let domain = server.add_domain(&server.admin, "research");
    server.add_deployment("gpu");
    let (member, _) = server.add_user("member");
    server.add_role(&domain, "reader", &["read", "llm_read"], &[&member]);
    server.add_user("outsider");
    let at = |end: &str| format!("/ui/domains/{domain}{end}");
    let user = format!("/ui/users/{member}");
    let usage = format!("/ui/usage?domain={domain}");
    let audit = format!("/ui/audit?domain={domain}");
    // Page; then what a superadmin, a member who may read, and a user of no domain get.
    let table: &[(&str, [u16; 3])] = &[
        ("/ui/", [200; 3]),
        ("/ui/pats/new", [200; 3]),
        ("/ui/playground", [200; 3]),
        ("/ui/usage", [200; 3]),
        ("/ui/usage.csv", [200; 3]),
        ("/ui/domains", [200; 3]),
        ("/ui/domains/new", [200; 3]),
        ("/ui/invitations", [200; 3]),
        ("/ui/permissions", [200; 3]),
        (&at(""), [200, 200, 404]),
        (&at("/models"), [200, 200, 404]),
        (&at("/members"), [200, 403, 404]),
        (&at("/roles"), [200, 403, 404]),
        (&at("/invitations"), [200, 403, 404]),
        (&usage, [200, 403, 404]),
        (&audit, [200, 403, 404]),
        ("/ui/audit", [200, 403, 403]),
        ("/ui/deployments", [200, 403, 403]),
        ("/ui/deployments/new", [200, 403, 403]),
        ("/ui/deployments/edit?name=gpu", [200, 403, 403]),
        ("/ui/deployments/delete?name=gpu", [200, 403, 403]),
        ("/ui/routes", [200, 403, 403]),
        ("/ui/routes/new", [200, 403, 403]),
        ("/ui/routes/test", [200, 403, 403]),
        ("/ui/nodes", [200, 403, 403]),
        ("/ui/users", [200, 403, 403]),
        ("/ui/users/new", [200, 403, 403]),
        (&user, [200, 403, 403]),
        ("/ui/groups", [200, 403, 403]),
        ("/ui/api-keys", [200, 403, 403]),
        ("/ui/api-keys/new", [200, 403, 403]),
        ("/ui/reports", [200, 403, 403]),
    ];
    let mut visitors = [
        Browser::signed_in(&server, ADMIN.0, ADMIN.1),
        Browser::of_user(&server, "member"),
        Browser::of_user(&server, "outsider"),
    ];
    let mut nobody = Browser::new(&server);
    for (page, statuses) in table {
        assert_eq!(nobody.get(page).status, 303, "{page} for nobody");
        for (visitor, status) in visitors.iter_mut().zip(statuses) {
            let answer = visitor.get(page);
            assert_eq!(answer.status, *status, "{page}");
            let policy = answer.header("content-security-policy").unwrap_or_default();
            assert!(policy.contains("default-src 'none'"), "{page}");
        }
    }
}

#[test]
fn a_domain_is_made_filled_and_closed_and_what_is_written_is_never_markup() {
    let server = Server::start();
    server.add_deployment("gpu");
    server.add_user("bob");
    let mut admin = Browser::signed_in(&server, ADMIN.0, ADMIN.1);
    let new = "/ui/domains/new";
    assert!(fill(&mut admin, new, &[("name", "x"), ("alias", "no good")], 400).contains("value=\"no good\""));
    fill(&mut admin, new, &[("name", XSS), ("alias", "lab")], 303);
    let domains = server.admin_call("GET", "/domains", None).json();
    let domain = text(&domains["domains"][0], "id");
    let at = |end: &str| format!("/ui/domains/{domain}{end}");
    assert!(fill(&mut admin, new, &[("name", "x"), ("alias", "lab")], 400).contains("taken"));

    fill(&mut admin, &at("/models"), &[("name", XSS), ("deployment", "gpu")], 303);
    assert!(
        fill(&mut admin, &at("/models"), &[("name", "m"), ("deployment", XSS)], 404).contains("not found")
    );
    let query: String = form_urlencoded::byte_serialize(XSS.as_bytes()).collect();
    fill(
        &mut admin,
        &at(&format!("/models/edit?name={query}")),
        &[("deployment", "gpu"), ("upstream_model", XSS)],
        303,
    );
    fill(&mut admin, &at("/roles"), &[("role_name", XSS), ("action", "read"), ("action", "llm_read")], 303);
    let roles = server.admin_call("GET", &format!("/domains/{domain}/roles"), None).json();
    let role = roles["roles"].as_array().expect("roles").iter().find(|role| role["name"] == XSS);
    let role = text(role.expect("the new role"), "id");
    let role_page = at(&format!("/roles/{role}"));
    fill(
        &mut admin,
        &role_page,
        &[("name", XSS), ("action", "read"), ("action", "llm_chat_completions")],
        303,
    );
    let actions = server.admin_call("GET", &format!("/domains/{domain}/roles/{role}/actions"), None).text;
    assert!(actions.contains("llm_chat_completions") && !actions.contains("llm_read"), "{actions}");

    let unknown = fill(&mut admin, &at("/members"), &[("user", XSS), ("role", &role)], 400);
    assert!(unknown.contains("id=\"e-user\""), "{unknown}");
    fill(&mut admin, &at("/invitations"), &[("user", "bob"), ("role", &role)], 303);
    let mut bob = Browser::of_user(&server, "bob");
    assert_eq!(bob.get(&at("")).status, 404);
    let open = bob.get("/ui/invitations").text;
    assert!(open.contains("Accept"), "{open}");
    fill(&mut bob, "/ui/invitations", &[("domain", &domain), ("answer", "accept")], 303);
    assert_eq!(bob.get(&at("")).status, 200);
    let csrf = bob.csrf();
    for (path, fields) in
        [(at("/delete"), vec![]), (at("/models"), vec![("name", "mine"), ("deployment", "gpu")])]
    {
        let refused = bob.post(&path, &csrf, &fields);
        assert!([403, 404].contains(&refused.status), "{path}: {}", refused.status);
    }

    let mut pages = vec![bob.get("/ui/invitations").text, bob.get("/ui/").text];
    for path in ["", "/models", "/members", "/roles", "/invitations", "/delete"] {
        pages.push(admin.get(&at(path)).text);
    }
    pages.extend([
        admin.get(&role_page).text,
        admin.get("/ui/domains").text,
        admin.get("/ui/permissions").text,
    ]);
    pages.extend([admin.get("/ui/audit").text, admin.get("/ui/playground").text, unknown]);
    for page in &pages {
        assert!(!page.contains("<script>") && !page.contains("<img src=x"), "{page}");
    }

    let csrf = admin.csrf();
    let asked = admin.post(&at("/status"), &csrf, &[("status", "disable")]);
    assert!(asked.status == 200 && asked.text.contains("Disable domain"), "asked first: {}", asked.text);
    assert_eq!(admin.post(&at("/status"), &csrf, &[("status", "disable"), ("sure", "yes")]).status, 303);
    assert!(admin.get(&at("")).text.contains("Disabled"));
    fill(&mut admin, &at("/delete"), &[], 303);
    assert_eq!(admin.get(&at("")).status, 404);
}

#[test]
fn a_deployments_credential_goes_in_and_never_comes_out() {
    let server = Server::start();
    let mut admin = Browser::signed_in(&server, ADMIN.0, ADMIN.1);
    let new = "/ui/deployments/new";
    let times = [
        ("connect_timeout_ms", "3000"),
        ("head_timeout_ms", "1000"),
        ("idle_timeout_ms", "1000"),
        ("total_timeout_ms", "0"),
    ];
    let line = [("url", "http://127.0.0.1:1"), ("weight", "1"), ("header", "Authorization")];
    let with = |more: &[(&'static str, &'static str)]| [&times[..], &line[..], more].concat();
    let secret = [("name", "gpu"), ("credential", "set"), ("value", "Bearer upstream-secret")];
    let more = fill(&mut admin, new, &with(&[&secret[..], &[("step", "more")]].concat()), 200);
    assert!(more.contains("Endpoint 2") && !more.contains("upstream-secret"), "{more}");
    let wrong = fill(
        &mut admin,
        new,
        &[&times[..], &[("name", "gpu"), ("url", "ftp://x"), ("weight", "1")]].concat(),
        400,
    );
    assert!(wrong.contains("value=\"ftp://x\""), "{wrong}");
    fill(&mut admin, new, &with(&secret), 303);
    let edit = "/ui/deployments/edit?name=gpu";
    let page = admin.get(edit).text;
    assert!(page.contains("Keep what is set") && !page.contains("upstream-secret"), "{page}");
    fill(&mut admin, edit, &with(&[("description", "kept"), ("credential", "keep")]), 303);
    let kept = server.admin_call("GET", "/api/v1/deployments/gpu", None).text;
    assert!(kept.contains("\"credential_set\":true") || kept.contains("authorization"), "{kept}");
    fill(&mut admin, "/ui/deployments/delete?name=gpu", &[], 303);
    assert!(admin.get("/ui/deployments").text.contains("No deployments yet"));
}

#[test]
fn the_tester_names_the_rule_that_takes_a_request_and_why_others_do_not() {
    let server = Server::start();
    let domain = server.add_domain(&server.admin, "research");
    let mut admin = Browser::signed_in(&server, ADMIN.0, ADMIN.1);
    let new = "/ui/routes/new";
    let rule = |name: &'static str, pattern: &'static str, priority: &'static str| {
        [
            ("name", name),
            ("priority", priority),
            ("enabled", "yes"),
            ("target_url", "http://127.0.0.1:1"),
            ("condition", "body_field"),
            ("field", "model"),
            ("pattern", pattern),
            ("kind", "regex"),
        ]
    };
    assert!(fill(&mut admin, new, &rule("bad", "a{2", "1"), 400).contains("no regular expression"));
    fill(&mut admin, new, &rule("first", "^big", "900"), 303);
    fill(&mut admin, new, &rule("second", "7b$", "100"), 303);
    let ask = |admin: &mut Browser<'_>, body: &str| {
        let fields =
            [("domain", &*domain), ("method", "POST"), ("target", "/v1/chat/completions"), ("body", body)];
        fill(admin, "/ui/routes/test", &fields, 200)
    };
    assert!(ask(&mut admin, r#"{"model":"big-7b"}"#).contains("The rule “first” takes it"));
    let second = ask(&mut admin, r#"{"model":"small-7b"}"#);
    assert!(second.contains("The rule “second” takes it") && second.contains("fails:"), "{second}");
    assert!(ask(&mut admin, r#"{"model":"other"}"#).contains("No rule takes it"));
}

#[test]
fn the_explorer_says_which_row_allows_or_what_is_missing() {
    let server = Server::start();
    let domain = server.add_domain(&server.admin, "research");
    let (ann, credential) = server.add_user("ann");
    server.add_role(&domain, "caller", &["llm_read", "llm_chat_completions"], &[&ann]);
    let scopes = json!([{ "domain_id": domain, "entity_type": "models", "entity_id": "m", "operation": "llm_chat_completions" }]);
    let pat = json!({ "name": "p", "duration": "1h", "scopes": scopes });
    let pat = text(&server.call("POST", "/pats", &credential, Some(&pat)).expect(201), "id");
    server.add_deployment("gpu");
    let model = json!({ "name": "m", "deployment": "gpu" });
    server.admin_call("POST", &format!("/api/v1/domains/{domain}/models"), Some(&model)).expect(201);
    let mut browser = Browser::of_user(&server, "ann");
    let ask = |browser: &mut Browser<'_>, pat: &str, operation: &str, model: &str| {
        let path =
            format!("/ui/permissions?ask=1&pat={pat}&domain={domain}&operation={operation}&model={model}");
        let answer = browser.get(&path);
        (answer.status, answer.text)
    };
    for (operation, model, verdict, because) in [
        ("llm_chat_completions", "m", "lets it through", "llm_chat_completions on models `m`"),
        ("llm_chat_completions", "other", "answers 403", "none of the PAT"),
        ("llm_read", "m", "answers 403", "your role `caller` has the action llm_read"),
        ("delete", "", "answers 403", "none of your roles"),
    ] {
        let (status, page) = ask(&mut browser, &pat, operation, model);
        assert_eq!(status, 200);
        let page = page.replace("&#39;", "'").replace("&#96;", "`");
        assert!(page.contains(verdict) && page.contains(because), "{operation} on {model}: {page}");
    }
    assert!(ask(&mut browser, "", "llm_read", "m").1.contains("lets it through"), "signed in, without a PAT");
    server.call("PATCH", &format!("/pats/{pat}/secret/revoke"), &credential, None);
    assert!(ask(&mut browser, &pat, "llm_chat_completions", "m").1.contains("answers 401"));
    server.add_user("eve");
    let mut eve = Browser::of_user(&server, "eve");
    assert_eq!(ask(&mut eve, &pat, "llm_read", "m").0, 404, "neither the PAT nor the domain is hers");
}

#[test]
fn usage_and_audit_show_what_was_done_and_can_be_taken_away() {
    let server = Server::start();
    let (ann, credential) = server.add_user("ann");
    let domain = server.add_domain(&credential, "lab");
    let now_ms =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_millis();
    let record = json!({ "seq": 1, "request_id": "r-1", "at_ms": now_ms as u64, "method": "POST", "path": "/v1/chat/completions",
        "operation": "llm_chat_completions", "domain": domain, "user": ann, "model": "=cmd|<b>", "status": 200, "ending": "complete",
        "bytes_in": 1, "bytes_out": 1, "prompt_tokens": 21, "completion_tokens": 34, "first_byte_us": 5000, "duration_us": 9000 });
    assert_eq!(post_to_feed(&server, "/feed/v1/usage?node=n&boot=b", &format!("{record}\n")).status, 204);
    let mut browser = Browser::of_user(&server, "ann");
    let usage = browser.get(&format!("/ui/usage?domain={domain}")).text;
    assert!(usage.contains("<svg class=\"chart\"") && usage.contains("<rect class=\"one\""), "{usage}");
    assert!(usage.contains("=cmd|&#60;b&#62;") && !usage.contains("|<b>"), "{usage}");
    let hours = browser.get(&format!("/ui/usage?domain={domain}&by=hour&period=7d")).text;
    assert!(hours.contains("By Hour") && !hours.contains("These are days"), "{hours}");
    let days = browser.get(&format!("/ui/usage?domain={domain}&by=hour&period=30d")).text;
    assert!(days.contains("By Day") && days.contains("Hours are shown for up to 7 days"), "{days}");
    let csv = browser.get(&format!("/ui/usage.csv?domain={domain}&by=model"));
    assert!(csv.text.contains("\"'=cmd|<b>\",1,0,21,34,1,1,5,9"), "{}", csv.text);
    assert!(csv.header("content-disposition").is_some_and(|value| value.starts_with("attachment")));
    let other = server.add_user("eve").0;
    assert_eq!(browser.get(&format!("/ui/usage?user={other}")).status, 403);

    let audit = browser.get(&format!("/ui/audit?domain={domain}")).text;
    assert!(audit.contains("domain.create") && audit.contains("/v1/chat/completions"), "{audit}");
    let actions = browser.get(&format!("/ui/audit?domain={domain}&kind=actions")).text;
    assert!(!actions.contains("/v1/chat/completions"));
    let csrf = browser.csrf();
    let export = browser.post("/ui/audit/export", &csrf, &[("domain", &domain)]);
    assert_eq!((export.status, export.header("content-type")), (200, Some("application/x-ndjson")));
    assert!(export.text.lines().count() >= 2 && export.text.contains("llm_request"), "{}", export.text);
    assert!(browser.get(&format!("/ui/audit?domain={domain}")).text.contains("audit.export"));
    let mut eve = Browser::of_user(&server, "eve");
    let csrf = eve.csrf();
    assert_eq!(eve.post("/ui/audit/export", &csrf, &[("domain", &domain)]).status, 404);
}

#[test]
fn superadmins_make_users_and_turn_them_off_and_on() {
    let server = Server::start();
    let mut admin = Browser::signed_in(&server, ADMIN.0, ADMIN.1);
    let new = "/ui/users/new";
    let short = fill(&mut admin, new, &[("username", "ann"), ("password", "short")], 400);
    assert!(short.contains("id=\"e-password\"") && !short.contains("value=\"short\""), "{short}");
    fill(&mut admin, new, &[("username", "ann"), ("password", "password of ann"), ("first_name", XSS)], 303);
    assert!(fill(&mut admin, new, &[("username", "ann")], 400).contains("Somebody else has it"));
    let mut ann = Browser::of_user(&server, "ann");
    let users = server.admin_call("GET", "/users?username=ann", None).json();
    let page = format!("/ui/users/{}", text(&users["users"][0], "id"));
    assert!(!admin.get(&page).text.contains("<script>"));
    let csrf = admin.csrf();
    let asked = admin.post(&format!("{page}/status"), &csrf, &[("status", "disable")]);
    assert!(asked.status == 200 && ann.get("/ui/").status == 200, "asked first");
    admin.post(&format!("{page}/status"), &csrf, &[("status", "disable"), ("sure", "yes")]);
    assert_eq!(ann.get("/ui/").status, 303);
    admin.post(&format!("{page}/status"), &csrf, &[("status", "enable")]);
    assert_eq!(
        admin.post(&format!("{page}/password"), &csrf, &[("password", "another password")]).status,
        303
    );
    let mut ann = Browser::signed_in(&server, "ann", "another password");
    let csrf = ann.csrf();
    assert_eq!(ann.post(new, &csrf, &[("username", "eve"), ("password", "password of eve")]).status, 403);
    fill(&mut admin, &format!("{page}/delete"), &[], 303);
    assert_eq!(admin.get(&page).status, 404);
}

#[test]
fn the_playgrounds_token_is_short_lived_and_only_for_forms_of_the_page() {
    let server = Server::start();
    server.add_user("ann");
    let mut ann = Browser::of_user(&server, "ann");
    let csrf = ann.csrf();
    assert_eq!(ann.post("/ui/playground/access", "", &[]).status, 403);
    assert_eq!(ann.get("/ui/playground/access").status, 405);
    let given = ann.post("/ui/playground/access", &csrf, &[]);
    assert_eq!((given.status, given.header("cache-control")), (200, Some("no-store")));
    let token = text(&given.json(), "access_token");
    assert_eq!(
        server.call("GET", "/users/profile", &token, None).expect(200)["credentials"]["username"],
        "ann"
    );
    let until: jiff::Timestamp = text(&given.json(), "expires_at").parse().expect("a time");
    let left = until.as_second() - jiff::Timestamp::now().as_second();
    assert!((200..=300).contains(&left), "{left} s");
}
