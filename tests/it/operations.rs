//! Which operation a method and path are: exactly those of the table, each for its own right, and nothing else.

use serde_json::json;

use crate::support::requests::chat_body;
use crate::support::world::OPERATIONS;
use crate::support::{Pat, Proxy, Upstream, World, domain_scopes, get, json_answer, post, start};

/// Every row of the operation table: with that one scope the request goes through, with all others but that one
/// it does not.
#[test]
fn each_path_needs_exactly_its_operation() {
    let upstream = Upstream::bind();
    let (mut world, tenant) = World::serving(&upstream.url());
    upstream.answer(|_| json_answer("{}"));
    let rows = [
        ("GET", "/v1/models", "llm_read"),
        ("GET", "/v1/models/tiny", "llm_read"),
        ("GET", "/api/tags", "llm_read"),
        ("POST", "/api/show", "llm_read"),
        ("POST", "/v1/chat/completions", "llm_chat_completions"),
        ("POST", "/api/chat", "llm_chat_completions"),
        ("POST", "/v1/responses", "llm_chat_completions"),
        ("POST", "/v1/completions", "llm_completions"),
        ("POST", "/api/generate", "llm_completions"),
        ("POST", "/v1/embeddings", "llm_embeddings"),
        ("POST", "/api/embeddings", "llm_embeddings"),
        ("POST", "/api/embed", "llm_embeddings"),
        ("POST", "/v1/translations", "llm_translation"),
        ("POST", "/tokenize", "llm_utility"),
        ("POST", "/detokenize", "llm_utility"),
        ("POST", "/pooling", "llm_pooling"),
        ("POST", "/classify", "llm_classification"),
        ("POST", "/score", "llm_scoring"),
        ("POST", "/v1/score", "llm_scoring"),
        ("POST", "/rerank", "llm_rerank"),
        ("POST", "/v1/rerank", "llm_rerank"),
        ("POST", "/v2/rerank", "llm_rerank"),
    ];
    let only: Vec<Pat> = rows
        .iter()
        .map(|row| world.scoped_pat(tenant.user, &domain_scopes(tenant.domain, &[row.2])))
        .collect();
    let all_but: Vec<Pat> = rows
        .iter()
        .map(|row| {
            let others: Vec<&str> = OPERATIONS.into_iter().filter(|operation| *operation != row.2).collect();
            world.scoped_pat(tenant.user, &domain_scopes(tenant.domain, &others))
        })
        .collect();
    let proxy = Proxy::of(&world);
    for (index, (method, path, operation)) in rows.into_iter().enumerate() {
        let ask = |pat: &Pat| {
            let path = format!("/proxy/acme{path}");
            let request = match method {
                "GET" => get(&path, &pat.line()),
                _ => post(&path, &pat.line(), &chat_body("false")),
            };
            proxy.ask(request)
        };
        let allowed = ask(&only[index]);
        assert_eq!(allowed.status(), 200, "{method} {path} with {operation}: {}", allowed.text());
        assert_eq!(ask(&all_but[index]).status(), 403, "{method} {path} without {operation}");
    }
}

#[test]
fn audio_needs_its_operation() {
    let upstream = Upstream::bind();
    let (mut world, tenant) = World::serving(&upstream.url());
    upstream.answer(|_| json_answer("{}"));
    let rows =
        [("/v1/audio/transcriptions", "llm_transcription"), ("/v1/audio/translations", "llm_translation")];
    let pats: Vec<(Pat, Pat)> = rows
        .iter()
        .map(|(_, operation)| {
            let only = world.scoped_pat(tenant.user, &domain_scopes(tenant.domain, &[operation]));
            let others: Vec<&str> = OPERATIONS.into_iter().filter(|other| other != operation).collect();
            (only, world.scoped_pat(tenant.user, &domain_scopes(tenant.domain, &others)))
        })
        .collect();
    let proxy = Proxy::of(&world);
    for ((path, _), (only, all_but)) in rows.iter().zip(&pats) {
        let form = "--b\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\ntiny\r\n--b--\r\n";
        let ask = |pat: &Pat| {
            let fields = pat.line() + "content-type: multipart/form-data; boundary=b\r\n";
            let length = form.len();
            proxy.ask(format!(
                "POST /proxy/acme{path} HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n{fields}\r\n{form}"
            ))
        };
        assert_eq!(ask(only).status(), 200, "{path}");
        assert_eq!(ask(all_but).status(), 403, "{path}");
    }
}

#[test]
fn model_management_is_for_superadmins_only() {
    let upstream = Upstream::bind();
    let (mut world, tenant) = World::serving(&upstream.url());
    let root = world.user();
    world.record("user", root)["superadmin"] = json!(true);
    let scoped = world.scoped_pat(root, &domain_scopes(tenant.domain, &["llm_create", "llm_delete"]));
    let unscoped = world.scoped_pat(root, &domain_scopes(tenant.domain, &["llm_read"]));
    upstream.answer(|_| json_answer("{}"));
    let proxy = Proxy::of(&world);
    for path in ["/api/pull", "/api/create", "/api/push", "/api/copy"] {
        let ask = |pat: &Pat| {
            let body = r#"{"model":"tiny","name":"tiny","source":"tiny","destination":"tiny"}"#;
            proxy.ask(post(&format!("/proxy/acme{path}"), &pat.line(), body)).status()
        };
        assert_eq!(ask(&tenant.pat), 403, "{path} by a member with the scope");
        assert_eq!(ask(&unscoped), 403, "{path} by a superadmin without the scope");
        assert_eq!(ask(&scoped), 200, "{path} by a superadmin with the scope");
    }
}

/// One reading of the path serves both the decision and the upstream.
#[test]
fn no_spelling_of_a_path_slips_past_the_operation_table() {
    let upstream = Upstream::bind();
    let (mut world, tenant) = World::serving(&upstream.url());
    let reader = world.scoped_pat(tenant.user, &domain_scopes(tenant.domain, &["llm_read"]));
    let proxy = Proxy::of(&world);
    let spellings = [
        "/proxy/acme/v1/models/../chat/completions",
        "/proxy/acme/v1/models/%2e%2e/chat/completions",
        "/proxy/acme/v1/models/%2E./chat/completions",
        "/proxy/acme/v1/./chat/completions",
        "/proxy/acme//v1/chat/completions",
        "/proxy/acme/v1//chat/completions",
        "//proxy/acme/v1/chat/completions",
        "/proxy/acme/v1/models%2f..%2fchat%2fcompletions",
        "/proxy/acme/v1/chat%2Fcompletions",
        "/proxy/acme/v1/chat%5ccompletions",
        "/proxy/acme/v1\\chat\\completions",
        "/proxy/acme/v1/chat/completions%00",
        "/proxy/acme/v1/chat/completions/",
        "/proxy/acme/v1/chat/completionsx",
        "/proxy/acme/v1/chat/completions/v1/models",
        "/proxy/acme/V1/chat/completions",
        "/proxy/acme/v1/Chat/Completions",
        "/proxy/acme/v1/chat/completions;x=/v1/models",
        "/proxy/acme/api/../v1/chat/completions",
        "/proxy/acme/../acme/v1/chat/completions",
        "/proxy/%61cme/../acme/v1/chat/completions",
        "/PROXY/acme/v1/chat/completions",
        "/proxy/acme/v1/unknown",
        "/proxy/acme/v1",
        "/proxy/acme/",
        "/proxy/acme",
        "/proxy/",
        "/proxy",
        "/",
        "/v1/chat/completions",
        "/metrics",
    ];
    for pat in [&reader, &tenant.pat] {
        for path in spellings {
            let answer = proxy.ask(post(path, &pat.line(), &chat_body("false")));
            assert!([400, 404].contains(&answer.status()), "{path}: {} {}", answer.start, answer.text());
        }
    }
    assert!(upstream.try_accept().is_none());
}

#[test]
fn a_known_path_with_another_method_is_405() {
    let (_upstream, tenant, proxy) = start();
    for path in ["/v1/chat/completions", "/api/chat", "/v1/embeddings"] {
        let answer = proxy.ask(get(&format!("/proxy/acme{path}"), &tenant.pat.line()));
        assert_eq!(answer.status(), 405, "{path}");
    }
    let answer = proxy.ask(post("/proxy/acme/v1/models", &tenant.pat.line(), "{}"));
    assert_eq!(answer.status(), 405);
}
