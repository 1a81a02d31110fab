//! Rules that send requests elsewhere than their model's cluster.

use serde_json::{Value, json};

use crate::support::requests::{chat_body, chat_path};
use crate::support::{
    Message, Proxy, Tenant, Upstream, World, chat, domain_scopes, get, json_answer, model_scopes, post,
};

/// A world with a second cluster, `other`; what each of the two is asked; and who asks.
struct Scene {
    world: World,
    tenant: Tenant,
    main: std::sync::mpsc::Receiver<Message>,
    other: std::sync::mpsc::Receiver<Message>,
}

fn scene() -> Scene {
    let (main, other) = (Upstream::bind(), Upstream::bind());
    let (mut world, tenant) = World::serving(&main.url());
    world.cluster("other", &format!("{}/base", other.url()));
    let main = main.answer(|_| json_answer(r#"{"from":"main"}"#));
    let other = other.answer(|_| {
        let mut answer = b"HTTP/1.1 200 OK\r\nx-event-type: theirs\r\n".to_vec();
        answer
            .extend_from_slice(json_answer(r#"{"from":"other"}"#).splitn(2, |b| *b == b'\n').nth(1).unwrap());
        answer
    });
    Scene { world, tenant, main, other }
}

fn route(name: &str, matchers: Value) -> Value {
    json!({"kind": "route", "name": name, "cluster": "other", "matchers": matchers})
}

fn at(path: &str) -> Value {
    json!([{"condition": "path", "pattern": path}])
}

/// What each condition looks at, on the way from a real head; everything else goes straight.
#[test]
fn a_rule_takes_the_requests_that_it_describes_and_no_others() {
    let Scene { mut world, tenant, .. } = scene();
    let proxy = Proxy::of(&world);
    let base = world.records.len();
    let path = format!("{}?team=a%2Fb", chat_path());
    let request = post(&path, &format!("{}x-team: blue\r\n", tenant.pat.line()), &chat_body("false"));
    for (matcher, taken) in [
        (json!({"condition": "path", "pattern": "/v1/chat/completions"}), true),
        (json!({"condition": "path", "pattern": chat_path()}), false),
        (json!({"condition": "path", "pattern": "chat", "is_regex": true}), true),
        (json!({"condition": "method", "pattern": "POST"}), true),
        (json!({"condition": "header", "field": "X-Team", "pattern": "blue"}), true),
        (json!({"condition": "header", "field": "authorization", "pattern": ".", "is_regex": true}), false),
        (json!({"condition": "query_param", "field": "team", "pattern": "a/b"}), true),
        (json!({"condition": "body_field", "field": "model", "pattern": "tiny"}), true),
        (json!({"condition": "body_field", "field": "stream", "pattern": "false"}), true),
        (json!({"condition": "body_field", "field": "stream", "pattern": "true"}), false),
        (json!({"condition": "body_regex", "pattern": "\"content\":\\s*\"hi\""}), true),
        (json!({"condition": "body_regex", "pattern": "^nothing$"}), false),
    ] {
        world.records.truncate(base);
        world.put(route("r", json!([matcher])));
        proxy.adopt_tables(&world);
        let expected = if taken { "other" } else { "main" };
        assert_eq!(proxy.ask(&request).json()["from"], expected, "{matcher}");
    }
}

/// X16, X17: where it goes, what is left of the path, and what both sides are told.
#[test]
fn a_rule_changes_the_cluster_and_the_path_and_names_the_event() {
    let Scene { mut world, tenant, main, other } = scene();
    world.record("cluster", "main")["endpoints"][0]["credential"] = json!({"value": "Bearer main-key"});
    let mut rule = route("r", at("/v1/chat/completions"));
    rule["strip_prefix"] = "/v1/chat".into();
    rule["event_type"] = "guardrails_request".into();
    world.put(rule);
    let proxy = Proxy::of(&world);
    let answer = proxy.ask(chat(&tenant.pat).replace("/completions ", "/completions?q=1 "));
    assert_eq!(answer.json()["from"], "other");
    let events: Vec<_> = answer.fields.iter().filter(|(name, _)| name == "x-event-type").collect();
    assert_eq!(events.len(), 1, "{:?}", answer.fields);
    assert_eq!(answer.field("x-event-type"), Some("guardrails_request"));
    let saw = other.recv().unwrap();
    assert_eq!(saw.start, "POST /base/completions?q=1 HTTP/1.1");
    assert_eq!(saw.field("x-domain-id"), Some(tenant.domain.to_string().as_str()));
    assert!(!saw.mentions("main-key") && !saw.mentions(&tenant.pat.secret));
    assert!(main.try_recv().is_err());
    let record = proxy.record();
    assert_eq!((&record["cluster"], &record["model"]), (&json!("other"), &json!("tiny")));
}

/// A rule moves a request and allows nothing.
#[test]
fn a_rule_on_a_known_path_leaves_every_check_in_place() {
    let Scene { mut world, tenant, main, other } = scene();
    let mut rule = route("r", at("/v1/chat/completions"));
    rule["operation"] = "llm_read".into();
    world.put(rule);
    let reader = world.scoped_pat(tenant.user, &domain_scopes(tenant.domain, &["llm_read"]));
    let narrow =
        world.scoped_pat(tenant.user, &model_scopes(tenant.domain, "another", &["llm_chat_completions"]));
    let proxy = Proxy::of(&world);
    assert_eq!(proxy.ask(chat(&reader)).status(), 403);
    assert_eq!(proxy.ask(chat(&narrow)).status(), 404);
    let unknown = chat_body("false").replace("tiny", "nonsense");
    assert_eq!(proxy.ask(post(&chat_path(), &tenant.pat.line(), &unknown)).status(), 404);
    assert_eq!(proxy.ask(post(&chat_path(), &tenant.pat.line(), "{}")).status(), 400);
    assert_eq!(proxy.ask(chat(&tenant.pat).replace("pat_", "pot_")).status(), 401);
    assert!(main.try_recv().is_err() && other.try_recv().is_err());
}

/// X6: a path that the table does not know is open only to callers with the rule's operation, on the domain as a whole.
#[test]
fn a_path_outside_the_table_is_opened_by_a_rule_with_an_operation_only() {
    let Scene { mut world, tenant, other, .. } = scene();
    let stranger = world.tenant("elsewhere").pat;
    world.put(route("closed", at("/closed")));
    for name in ["open", "put"] {
        let mut rule = route(name, at(if name == "open" { "/guardrails/check" } else { "/v1/models" }));
        rule["operation"] = "llm_utility".into();
        if name == "put" {
            rule["matchers"].as_array_mut().unwrap().push(json!({"condition": "method", "pattern": "PUT"}));
        }
        world.put(rule);
    }
    let reader = world.scoped_pat(tenant.user, &domain_scopes(tenant.domain, &["llm_read"]));
    let narrow = world.scoped_pat(tenant.user, &model_scopes(tenant.domain, "*", &["llm_utility"]));
    let proxy = Proxy::of(&world);
    let ask = |path: &str, line: &str| {
        let answer = proxy.ask(post(&format!("/proxy/acme{path}"), line, "not json"));
        (answer.status(), answer.json()["code"].as_str().map(str::to_owned))
    };
    assert_eq!(ask("/guardrails/check", &tenant.pat.line()).0, 200);
    let saw = other.recv().unwrap();
    assert_eq!(
        (saw.start.as_str(), saw.text().as_str()),
        ("POST /base/guardrails/check HTTP/1.1", "not json")
    );
    for path in ["/closed", "/guardrails/check/", "/guardrails/checks", "/Guardrails/check"] {
        assert_eq!(ask(path, &tenant.pat.line()), (404, Some("not_found".into())), "{path}");
    }
    for pat in [&reader, &narrow] {
        assert_eq!(ask("/guardrails/check", &pat.line()).0, 403);
    }
    // In a domain in which it has no right at all a caller learns nothing of its rules.
    assert_eq!(ask("/guardrails/check", &stranger.line()).0, 404);
    assert_eq!(ask("/guardrails/check", "").0, 401);
    for bad in ["/guardrails/../guardrails/check", "//guardrails/check", "/guardrails%2fcheck"] {
        assert_eq!(ask(bad, &tenant.pat.line()).0, 400, "{bad}");
    }
    // A known path with a method that the table does not have.
    let put = |pat| proxy.ask(get("/proxy/acme/v1/models", pat).replace("GET", "PUT")).status();
    assert_eq!(put(&tenant.pat.line()), 200);
    assert_eq!(
        proxy.ask(get("/proxy/acme/v1/models", &tenant.pat.line()).replace("GET", "POST")).status(),
        405
    );
    let record = &proxy.records(14)[0];
    assert_eq!((&record["path"], &record["operation"]), (&json!("{route}"), &json!("llm_utility")));
}

/// D12: a body matcher sees the whole body or none; more than may be held is refused, never passed unseen.
#[test]
fn a_body_that_a_rule_wants_to_see_is_held_whole_within_the_limits() {
    let Scene { mut world, tenant, main, other } = scene();
    world.put(route("r", json!([{"condition": "body_regex", "pattern": "secret"}])));
    let proxy = Proxy::with(&world, |settings| {
        settings.set("limits.hold_bytes_max", 3 << 20);
    });
    let body = |padding: usize| {
        let padding = "x".repeat(padding);
        format!(r#"{{"model":"tiny","messages":[{{"role":"user","content":"{padding}secret"}}]}}"#)
    };
    // Without the rule a body of this size would leave before its end has been seen.
    let answer = proxy.ask(post(&chat_path(), &tenant.pat.line(), &body(2 << 20)));
    assert_eq!(answer.json()["from"], "other");
    assert_eq!(other.recv().unwrap().body.len(), body(2 << 20).len());
    let mut caller = proxy.connect();
    caller.offer(post(&chat_path(), &tenant.pat.line(), &body(4 << 20)));
    assert_eq!(caller.response().status(), 413);
    assert!(main.try_recv().is_err() && other.try_recv().is_err());
}

/// A rule of the domain beats a general one, and a default rule takes what is left.
#[test]
fn a_domains_rules_come_first_and_default_rules_last() {
    let Scene { mut world, tenant, .. } = scene();
    let third = Upstream::bind();
    world.cluster("third", &third.url());
    third.answer(|_| json_answer(r#"{"from":"third"}"#));
    let mut general = route("general", at("/v1/chat/completions"));
    general["priority"] = 1000.into();
    world.put(general);
    let proxy = Proxy::of(&world);
    assert_eq!(proxy.ask(chat(&tenant.pat)).json()["from"], "other");
    let mut own = route("own", at("/v1/chat/completions"));
    own["domain"] = json!(tenant.domain);
    own["cluster"] = "third".into();
    world.put(own);
    proxy.adopt_tables(&world);
    assert_eq!(proxy.ask(chat(&tenant.pat)).json()["from"], "third");
    world.records.retain(|record| record["kind"] != "route");
    world.put(json!({"kind": "route", "name": "rest", "cluster": "third", "default_rule": true}));
    proxy.adopt_tables(&world);
    assert_eq!(proxy.ask(chat(&tenant.pat)).json()["from"], "third");
    // What the tables answer is still answered from the tables.
    let list = proxy.ask(get("/proxy/acme/v1/models", &tenant.pat.line())).json();
    assert_eq!(list["data"][0]["id"], "tiny");
}

/// D6: what a caller claims about itself does not choose its way.
#[test]
fn a_claimed_header_chooses_no_rule() {
    let Scene { mut world, tenant, .. } = scene();
    let field = "X-Guardrails-Request";
    world.put(route("r", json!([{"condition": "header", "field": field, "pattern": "true"}])));
    let proxy = Proxy::of(&world);
    let claimed = format!("{}{field}: true\r\n", tenant.pat.line());
    assert_eq!(proxy.ask(post(&chat_path(), &claimed, &chat_body("false"))).json()["from"], "main");
}

/// What a rule opens is passed as it comes, however long it is.
#[test]
fn a_long_body_on_an_opened_path_is_not_held() {
    let Scene { mut world, tenant, other, .. } = scene();
    let mut rule = route("open", at("/bulk"));
    rule["operation"] = "llm_utility".into();
    world.put(rule);
    let proxy = Proxy::with(&world, |settings| {
        settings.set("limits.hold_bytes_max", 2 << 20);
    });
    let body = "y".repeat(5 << 20);
    assert_eq!(proxy.ask(post("/proxy/acme/bulk", &tenant.pat.line(), &body)).status(), 200);
    assert!(other.recv().unwrap().text() == body, "not a byte is lost");
}
