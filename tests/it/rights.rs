//! What a known caller may do: scope and role, in this domain, on this model. A refusal tells nobody what exists.

use serde_json::json;

use crate::support::requests::{chat_body, chat_path};
use crate::support::world::OPERATIONS;
use crate::support::{
    MODEL, Message, Pat, Proxy, Upstream, World, chat, domain_scopes, get, json_answer, model_scopes, post,
    start,
};

fn body_of(answer: &Message) -> (u16, String) {
    (answer.status(), answer.text())
}

#[test]
fn a_right_needs_both_the_scope_and_the_role() {
    let upstream = Upstream::bind();
    let (mut world, tenant) = World::serving(&upstream.url());
    upstream.answer(|_| json_answer("{}"));
    let read_only_scope = world.scoped_pat(tenant.user, &domain_scopes(tenant.domain, &["llm_read"]));
    let reader = world.user();
    world.grant(reader, tenant.domain, &["llm_read"]);
    let read_only_role = world.scoped_pat(reader, &domain_scopes(tenant.domain, &OPERATIONS));
    let proxy = Proxy::of(&world);

    for pat in [&read_only_scope, &read_only_role] {
        assert_eq!(proxy.ask(get("/proxy/acme/v1/models", &pat.line())).status(), 200);
        let refused = proxy.ask(chat(pat));
        assert_eq!(refused.status(), 403, "{}", refused.text());
        assert_eq!(refused.json()["error"]["code"], "operation_not_allowed");
    }
    assert_eq!(proxy.ask(chat(&tenant.pat)).status(), 200);
}

#[test]
fn a_domain_without_any_right_looks_like_no_domain() {
    let upstream = Upstream::bind();
    let (mut world, tenant) = World::serving(&upstream.url());
    let other = world.tenant("other");
    world.model(other.domain, MODEL, "main");
    // A role where the PAT has no scope, and no scope at all.
    let role_only = world.scoped_pat(tenant.user, &domain_scopes(other.domain, &OPERATIONS));
    let nothing = world.scoped_pat(tenant.user, &[]);
    let proxy = Proxy::of(&world);
    for pat in [&other.pat, &role_only, &nothing] {
        let line = pat.line();
        for (method, path) in [("GET", "/v1/models"), ("POST", "/v1/chat/completions"), ("GET", "/api/tags")]
        {
            let ask = |domain: &str| {
                let path = format!("/proxy/{domain}{path}");
                let request = match method {
                    "GET" => get(&path, &line),
                    _ => post(&path, &line, &chat_body("false")),
                };
                body_of(&proxy.ask(request))
            };
            let unknown = ask("nowhere");
            assert_eq!(unknown.0, 404);
            assert_eq!(ask("acme"), unknown, "by alias");
            assert_eq!(ask(&tenant.domain.to_string()), unknown, "by id");
        }
    }
    assert!(upstream.try_accept().is_none());
}

/// P15: who loses the role but keeps the scope is told so; the scope shows that they knew of the domain.
#[test]
fn a_scope_without_a_role_is_403() {
    let (mut world, tenant) = World::serving("http://127.0.0.1:9");
    let stranger = world.user();
    let scope_only = world.scoped_pat(stranger, &domain_scopes(tenant.domain, &OPERATIONS));
    let proxy = Proxy::of(&world);
    assert_eq!(proxy.ask(chat(&scope_only)).status(), 403);
    assert_eq!(proxy.ask(get("/proxy/acme/v1/models", &scope_only.line())).status(), 403);
}

#[test]
fn a_domain_is_found_by_its_id_in_any_case_and_by_its_alias() {
    let (_upstream, tenant, proxy) = start();
    let id = tenant.domain.to_string();
    for segment in ["acme", &id, &id.to_uppercase()] {
        let answer = proxy.ask(get(&format!("/proxy/{segment}/v1/models"), &tenant.pat.line()));
        assert_eq!(answer.status(), 200, "{segment}");
    }
    for segment in ["ACME", "acm", "acmee", &id[1..], ""] {
        let answer = proxy.ask(get(&format!("/proxy/{segment}/v1/models"), &tenant.pat.line()));
        assert!([400, 404].contains(&answer.status()), "{segment}: {}", answer.start);
    }
}

#[test]
fn an_unknown_model_and_a_forbidden_model_look_the_same() {
    let upstream = Upstream::bind();
    let (mut world, tenant) = World::serving(&upstream.url());
    world.model(tenant.domain, "secret", "main");
    let scoped = world
        .scoped_pat(tenant.user, &model_scopes(tenant.domain, MODEL, &["llm_chat_completions", "llm_read"]));
    let other = world.tenant("other");
    world.model(other.domain, "theirs", "main");
    upstream.answer(|_| json_answer("{}"));
    let proxy = Proxy::of(&world);
    let ask = |pat: &Pat, model: &str| {
        let body = chat_body("false").replace(MODEL, model);
        let answer = proxy.ask(post(&chat_path(), &pat.line(), &body));
        (answer.status(), answer.text().replace(model, "…"))
    };
    let unknown = ask(&scoped, "nonsense");
    assert_eq!(unknown.0, 404, "{}", unknown.1);
    assert!(unknown.1.contains("model_not_found"), "{}", unknown.1);
    assert_eq!(ask(&scoped, "secret"), unknown);
    assert_eq!(ask(&tenant.pat, "theirs"), unknown);
    assert_eq!(ask(&scoped, MODEL).0, 200);
    assert_eq!(ask(&tenant.pat, "secret").0, 200);
}

#[test]
fn a_model_scope_with_a_star_covers_every_model_of_its_domain() {
    let upstream = Upstream::bind();
    let (mut world, tenant) = World::serving(&upstream.url());
    world.model(tenant.domain, "second", "main");
    let star = world.scoped_pat(tenant.user, &model_scopes(tenant.domain, "*", &["llm_chat_completions"]));
    let mut domain_star = domain_scopes(tenant.domain, &["llm_chat_completions"]);
    domain_star[0]["entity_id"] = json!("*");
    let domain_star = world.scoped_pat(tenant.user, &domain_star);
    upstream.answer(|_| json_answer("{}"));
    let proxy = Proxy::of(&world);
    for pat in [&star, &domain_star] {
        for model in [MODEL, "second"] {
            let body = chat_body("false").replace(MODEL, model);
            assert_eq!(proxy.ask(post(&chat_path(), &pat.line(), &body)).status(), 200, "{model}");
        }
        assert_eq!(proxy.ask(get("/proxy/acme/v1/models", &pat.line())).status(), 403);
    }
}

#[test]
fn a_full_access_pat_acts_as_its_owner() {
    let upstream = Upstream::bind();
    let (mut world, tenant) = World::serving(&upstream.url());
    let reader = world.user();
    world.grant(reader, tenant.domain, &["llm_read"]);
    let full = world.scoped_pat(reader, &[]);
    world.record("pat", full.id)["full_access"] = json!(true);
    upstream.answer(|_| json_answer("{}"));
    let proxy = Proxy::of(&world);
    assert_eq!(proxy.ask(get("/proxy/acme/v1/models", &full.line())).status(), 200);
    assert_eq!(proxy.ask(chat(&full)).status(), 403);
}

/// Domain status gates first: disabled is for its admins, freezed for superadmins.
#[test]
fn a_closed_domain_admits_only_those_above_it() {
    const ADMIN: [&str; 9] = [
        "read",
        "update",
        "enable",
        "disable",
        "delete",
        "manage_role",
        "add_role_users",
        "remove_role_users",
        "view_role_users",
    ];
    let upstream = Upstream::bind();
    let (mut world, tenant) = World::serving(&upstream.url());
    let admin = world.user();
    world.grant(admin, tenant.domain, &ADMIN);
    world.grant(admin, tenant.domain, &OPERATIONS);
    let admin = world.scoped_pat(admin, &domain_scopes(tenant.domain, &OPERATIONS));
    let root = world.user();
    world.record("user", root)["superadmin"] = json!(true);
    let root = world.scoped_pat(root, &domain_scopes(tenant.domain, &OPERATIONS));
    upstream.answer(|_| json_answer("{}"));
    let proxy = Proxy::of(&world);
    for (status, expected) in [
        ("enabled", [200, 200, 200]),
        ("disabled", [403, 200, 200]),
        ("freezed", [403, 403, 200]),
        ("enabled", [200, 200, 200]),
    ] {
        world.record("domain", tenant.domain)["status"] = json!(status);
        proxy.adopt_tables(&world);
        let got = [&tenant.pat, &admin, &root].map(|pat| proxy.ask(chat(pat)).status());
        assert_eq!(got, expected, "{status}");
    }
}
