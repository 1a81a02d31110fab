//! The life of a PAT on the pages.

use crate::support::{Answer, Browser, Server, between, json, text};

/// What must never be taken for markup.
pub(super) const XSS: &str = "\"><script>alert(1)</script><img src=x onerror=alert(1)>'";

fn scope(domain: &str, operation: &str) -> String {
    format!("domains|{domain}|{operation}|{domain}")
}

fn create(browser: &mut Browser<'_>, name: &str, scopes: &[&str]) -> Answer {
    let mut fields = vec![("name", name), ("duration", "30d"), ("access", "scoped"), ("step", "create")];
    fields.extend(scopes.iter().map(|scope| ("scope", *scope)));
    browser.fill("/ui/pats/new", "/ui/pats/new", &fields)
}

fn secret_in(answer: &Answer) -> String {
    between(&answer.text, "id=\"secret\" tabindex=\"0\">", "<").to_owned()
}

/// A user who may read, list models and chat in a domain.
fn ann_in_a_domain(server: &Server) -> (String, String) {
    let domain = server.add_domain(&server.admin, "research");
    let (ann, credential) = server.add_user("ann");
    server.add_role(&domain, "caller", &["read", "llm_read", "llm_chat_completions"], &[&ann]);
    (domain, credential)
}

#[test]
fn the_editor_offers_what_the_user_may_and_each_step_is_the_form_itself() {
    let server = Server::start();
    let (domain, _) = ann_in_a_domain(&server);
    let mut browser = Browser::of_user(&server, "ann");
    assert!(browser.get("/ui/pats").text.contains("No active PAT yet"));
    let editor = browser.get("/ui/pats/new").text;
    assert!(editor.contains("LLM Chat Completions") && editor.contains("value=\"read\""));
    assert!(!editor.contains("value=\"llm_create\"") && !editor.contains("value=\"manage_role\""));
    let step = |browser: &mut Browser<'_>, fields: &[(&str, &str)]| {
        let mut all = vec![("name", "nightly"), ("entity_type", "domains"), ("domain", &*domain)];
        all.extend(fields);
        browser.fill("/ui/pats/new", "/ui/pats/new", &all)
    };
    let added = step(&mut browser, &[("step", "add"), ("operation", "read"), ("operation", "llm_read")]);
    assert_eq!(added.status, 200);
    assert!(
        added.text.contains("To be added: 2") && added.text.contains("value=\"nightly\""),
        "{}",
        added.text
    );
    let (one, two) = (scope(&domain, "read"), scope(&domain, "llm_read"));
    let fewer = step(&mut browser, &[("scope", &one), ("scope", &two), ("step", "remove-0")]);
    assert!(fewer.text.contains("To be added: 1") && !fewer.text.contains(&one), "{}", fewer.text);
    assert!(step(&mut browser, &[("step", "add")]).text.contains("Tick at least one operation"));
    let models = step(&mut browser, &[("entity_type", "models"), ("step", "choose")]);
    assert_eq!(models.status, 200);
}

#[test]
fn a_pat_is_created_shown_once_narrowed_rotated_and_revoked() {
    let server = Server::start();
    let (domain, credential) = ann_in_a_domain(&server);
    let mut browser = Browser::of_user(&server, "ann");
    let two = scope(&domain, "llm_read");
    let made = create(&mut browser, "nightly", &[&two]);
    assert_eq!(made.status, 201, "{}", made.text);
    let secret = secret_in(&made);
    assert!(secret.starts_with("pat_"), "{secret}");
    assert_eq!(made.header("cache-control"), Some("no-store"));
    assert!(made.text.contains(&format!("/proxy/{domain}/v1/models")), "a line to try: {}", made.text);
    assert_eq!(server.call("GET", "/users/profile", &secret, None).status, 200);
    let again = create(&mut browser, "nightly", &[&two]);
    assert!(again.status == 409 && again.text.contains("This name is taken"), "a reload shows no secret");
    let list = browser.get("/ui/pats").text;
    let id = text(&server.call("GET", "/pats", &credential, None).json()["pats"][0], "id");
    let page = browser.get(&format!("/ui/pats/{id}"));
    assert!(page.text.contains("LLM Read") && page.text.contains("research"), "{}", page.text);
    for shown in [&list, &page.text, &again.text] {
        assert!(!shown.contains(&secret), "the secret is shown once");
    }

    // Scopes: one more, the first one away.
    let path = format!("/ui/pats/{id}/scopes");
    let more = scope(&domain, "llm_chat_completions");
    let saved = browser.fill(&path, &path, &[("scope", &more), ("step", "save")]);
    let target = saved.header("location").expect("to where it can be seen").to_owned();
    assert!(target.starts_with("/ui/in-force?what=scopes&generation="), "{target}");
    let refused = browser.fill(&path, &path, &[("scope", &more), ("step", "save")]);
    assert!(refused.status == 422 && refused.text.contains("has this scope already"), "{}", refused.text);
    let scopes = server.call("GET", &format!("/pats/{id}/scope"), &credential, None).json();
    let first = text(&scopes["scopes"][0], "id");
    let removed = browser.fill(&format!("/ui/pats/{id}"), &format!("{path}/remove"), &[("scope", &first)]);
    assert_eq!(removed.status, 303);
    assert_eq!(server.call("GET", &format!("/pats/{id}/scope"), &credential, None).json()["total"], 1);

    let path = format!("/ui/pats/{id}/rotate");
    let rotated = browser.fill(&path, &path, &[("duration", "7d"), ("grace", "1h")]);
    let newer = secret_in(&rotated);
    assert!(newer != secret && rotated.text.contains("The old value stays good"));
    for credential in [&secret, &newer] {
        assert_eq!(server.call("GET", "/users/profile", credential, None).status, 200);
    }

    let path = format!("/ui/pats/{id}/revoke");
    let question = browser.get(&path).text;
    assert!(question.contains("Revoke “nightly”?") && question.contains("refused with 401"), "{question}");
    assert_eq!(server.call("GET", "/users/profile", &newer, None).status, 200, "a question changes nothing");
    let revoked = browser.fill(&path, &path, &[]);
    let target = revoked.header("location").expect("to where it can be seen").to_owned();
    let seen = browser.get(&target).text;
    assert!(
        seen.contains("The PAT is revoked") && seen.contains("In force on every connected proxy"),
        "{seen}"
    );
    assert_eq!(server.call("GET", "/users/profile", &newer, None).status, 401);
    assert!(browser.get("/ui/pats?status=revoked").text.contains("nightly"));

    let path = format!("/ui/pats/{id}/delete");
    assert_eq!(browser.fill(&path, &path, &[]).status, 303);
    assert_eq!(browser.get(&format!("/ui/pats/{id}")).status, 404);
}

#[test]
fn an_in_force_page_names_the_proxies_that_are_behind() {
    let server = Server::start();
    server.add_user("ann");
    let mut browser = Browser::of_user(&server, "ann");
    assert_eq!(create(&mut browser, "one", &[]).status, 201);
    let report = json!({ "node": "late-1", "boot": "b", "version": "0", "started_ms": 0, "address": "x",
        "epoch": server.epoch(), "generation": 0, "cores": [{ "generation": 0, "driver": "legacy", "inflight": 0 }] });
    let node = report.to_string();
    assert_eq!(crate::support::post_to_feed(&server, "/feed/v1/node", &node).status, 204);
    let page = browser.get("/ui/in-force?what=revoked&generation=1").text;
    assert!(page.contains("late-1") && page.contains("Not yet in force everywhere"), "{page}");
}

#[test]
fn wrong_inputs_come_back_beside_their_fields_with_what_was_written() {
    let server = Server::start();
    server.add_user("ann");
    let mut browser = Browser::of_user(&server, "ann");
    let path = "/ui/pats/new";
    let nameless = browser.fill(
        path,
        path,
        &[("name", " "), ("duration", "30d"), ("description", "kept"), ("step", "create")],
    );
    assert_eq!(nameless.status, 400);
    assert!(
        nameless.text.contains("id=\"e-name\"") && nameless.text.contains("value=\"kept\""),
        "{}",
        nameless.text
    );
    for (field, value, status) in [
        ("cidrs", "10.0.0.1/8", 400),
        ("duration", "9999d", 400),
        ("duration", "-1h", 400),
        ("until", "1999-01-01", 400),
    ] {
        let mut fields = vec![("name", "x"), ("step", "create"), (field, value)];
        if field != "duration" {
            fields.push(("duration", if field == "until" { "custom" } else { "30d" }));
        }
        let answer = browser.fill(path, path, &fields);
        assert_eq!(answer.status, status, "{field}={value}");
        assert!(answer.text.contains(&format!("id=\"e-{field}\"")), "{field}={value}: {}", answer.text);
    }
    let nowhere = scope(&uuid::Uuid::from_u128(1).to_string(), "llm_read");
    let answer = create(&mut browser, "elsewhere", &[&nowhere]);
    assert!(answer.status == 404 && answer.text.contains("Domain not found"), "{}", answer.text);
    assert!(browser.get("/ui/pats?status=all").text.contains("Nothing matches"), "nothing was made");
}

#[test]
fn what_users_write_is_never_markup() {
    let server = Server::start();
    let (ann, _) = server.add_user("ann");
    let domain = server.add_domain(&server.admin, XSS);
    server.add_role(&domain, "r", &["read"], &[&ann]);
    let mut browser = Browser::of_user(&server, "ann");
    let fields = [("first_name", XSS), ("last_name", XSS), ("email", "a@b.example")];
    assert_eq!(browser.fill("/ui/account", "/ui/account", &fields).status, 303);
    let path = "/ui/pats/new";
    let fields = [
        ("name", XSS),
        ("description", XSS),
        ("duration", "30d"),
        ("scope", &*scope(&domain, "read")),
        ("step", "create"),
    ];
    let made = browser.fill(path, path, &fields);
    assert_eq!(made.status, 201, "{}", made.text);
    let id = between(&made.text, "href=\"/ui/pats/", "\"").to_owned();
    let wrong = browser.fill(
        path,
        path,
        &[("name", XSS), ("duration", XSS), ("cidrs", XSS), ("domain_search", XSS), ("step", "create")],
    );
    let pages = ["/ui/", "/ui/pats", "/ui/account", "/ui/pats/new", "/ui/sessions"]
        .map(|path| browser.get(path).text);
    let own = ["", "/revoke", "/delete", "/rotate", "/scopes"]
        .map(|end| browser.get(&format!("/ui/pats/{id}{end}")).text);
    let asked = browser.get(&format!(
        "/ui/pats?name={}",
        form_urlencoded::byte_serialize(XSS.as_bytes()).collect::<String>()
    ));
    for page in pages.iter().chain(&own).chain([&made.text, &wrong.text, &asked.text]) {
        assert!(!page.contains("<script>") && !page.contains("<img src=x"), "{page}");
    }
    assert!(pages[1].contains("&#60;script&#62;"), "it is shown as what it is");
}

#[test]
fn a_pat_is_its_owners_only() {
    let server = Server::start();
    server.add_user("ann");
    server.add_user("eve");
    let mut ann = Browser::of_user(&server, "ann");
    let made = create(&mut ann, "mine", &[]);
    let id = between(&made.text, "class=\"button primary\" href=\"/ui/pats/", "\"").to_owned();
    let admin = Browser::signed_in(&server, crate::support::ADMIN.0, crate::support::ADMIN.1);
    for mut other in [Browser::of_user(&server, "eve"), admin] {
        let csrf = other.csrf();
        for end in ["", "/revoke", "/delete", "/rotate", "/scopes"] {
            assert_eq!(other.get(&format!("/ui/pats/{id}{end}")).status, 404, "{end}");
        }
        for end in ["", "/revoke", "/delete", "/rotate", "/scopes", "/scopes/remove"] {
            let fields = [("name", "theirs"), ("duration", "1d"), ("scope", id.as_str())];
            assert_eq!(other.post(&format!("/ui/pats/{id}{end}"), &csrf, &fields).status, 404, "{end}");
        }
    }
    assert!(ann.get("/ui/pats").text.contains("mine"));
}
