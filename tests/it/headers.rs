//! What goes on, what stays, and what the proxy says itself, in the heads of both directions.

use crate::support::requests::{chat_body, chat_path};
use crate::support::{Message, Proxy, Upstream, World, chat, get, json_answer, post, start};

/// The request that the upstream sees when a caller adds `fields`.
fn seen_upstream(fields: &str) -> Message {
    let upstream = Upstream::bind();
    let (world, tenant) = World::serving(&upstream.url());
    let requests = upstream.answer(|_| json_answer("{}"));
    let proxy = Proxy::of(&world);
    let answer =
        proxy.ask(post(&chat_path(), &format!("{}{fields}", tenant.pat.line()), &chat_body("false")));
    assert_eq!(answer.status(), 200, "{}", answer.text());
    requests.recv().unwrap()
}

/// The answer that the caller sees when the upstream adds `fields`.
fn seen_by_caller(fields: &str) -> Message {
    let (upstream, tenant, proxy) = start();
    let mut caller = proxy.connect();
    caller.send(chat(&tenant.pat));
    let mut connection = upstream.accept();
    connection.request();
    connection.send(format!("HTTP/1.1 200 OK\r\n{fields}content-length: 2\r\n\r\n{{}}"));
    caller.response()
}

#[test]
fn hop_by_hop_fields_and_those_that_connection_names_go_no_further() {
    let fields = "connection: keep-alive, x-mine, X-Other\r\nx-mine: 1\r\nx-other: 2\r\nkeep-alive: timeout=5\r\n\
                  proxy-connection: keep-alive\r\nte: trailers\r\nupgrade: websocket\r\ntrailer: x-t\r\nx-kept: 3\r\n";
    for (side, message) in [("upstream", seen_upstream(fields)), ("caller", seen_by_caller(fields))] {
        for dropped in ["x-mine", "x-other", "keep-alive", "proxy-connection", "te", "upgrade", "trailer"] {
            assert_eq!(message.field(dropped), None, "{side}: {dropped}");
        }
        let connection = message.field("connection").unwrap_or_default();
        assert!(!connection.contains("x-mine"), "{side}: {connection}");
        assert_eq!(message.field("x-kept"), Some("3"), "{side}");
    }
}

#[test]
fn a_proxy_credential_is_not_passed_either_way() {
    let upstream = seen_upstream("proxy-authorization: Basic c2VjcmV0\r\n");
    assert!(!upstream.mentions("c2VjcmV0"));
    let caller = seen_by_caller("proxy-authenticate: Basic\r\nproxy-authentication-info: x\r\n");
    assert_eq!(caller.field("proxy-authenticate"), None);
}

/// H3: what frames, addresses and authorizes the request cannot be removed by naming it.
#[test]
fn connection_cannot_name_what_the_exchange_depends_on() {
    let named =
        "connection: host, content-length, authorization, content-type, x-request-id, transfer-encoding\r\n";
    let saw = seen_upstream(named);
    assert!(saw.field("host").is_some());
    assert_eq!(saw.text(), chat_body("false"));
    let answer = seen_by_caller("connection: content-length\r\n");
    assert_eq!(answer.text(), "{}");
}

#[test]
fn the_pat_never_goes_upstream() {
    let upstream = Upstream::bind();
    let (mut world, tenant) = World::serving(&upstream.url());
    let requests = upstream.answer(|_| json_answer("{}"));
    world.record("cluster", "main")["endpoints"][0]["credential"] =
        serde_json::json!({"value": "Bearer sk-upstream"});
    let proxy = Proxy::of(&world);
    let pat = &tenant.pat.secret;
    let fields = format!("{}x-api-key: {pat}\r\n", tenant.pat.line());
    let answer = proxy.ask(post(&chat_path(), &fields, &chat_body("false")));
    assert_eq!(answer.status(), 200);
    let saw = requests.recv().unwrap();
    assert!(!saw.mentions("pat_"), "{:?}", saw.fields);
    assert_eq!(saw.field("authorization"), Some("Bearer sk-upstream"));
    assert!(!answer.mentions("sk-upstream"));
    assert!(!proxy.access_log().contains("sk-upstream") && !proxy.access_log().contains(pat.as_str()));
}

#[test]
fn an_endpoint_credential_may_use_a_field_of_its_own() {
    let upstream = Upstream::bind();
    let (mut world, tenant) = World::serving(&upstream.url());
    let requests = upstream.answer(|_| json_answer("{}"));
    world.record("cluster", "main")["endpoints"][0]["credential"] =
        serde_json::json!({"header": "Api-Key", "value": "k1"});
    let proxy = Proxy::of(&world);
    let fields = format!("{}api-key: theirs\r\n", tenant.pat.line());
    assert_eq!(proxy.ask(post(&chat_path(), &fields, &chat_body("false"))).status(), 200);
    let saw = requests.recv().unwrap();
    assert_eq!((saw.field("api-key"), saw.field("authorization")), (Some("k1"), None));
}

#[test]
fn without_an_endpoint_credential_no_authorization_goes_upstream() {
    assert_eq!(seen_upstream("").field("authorization"), None);
}

#[test]
fn a_request_id_is_echoed_or_made_and_the_same_everywhere() {
    let upstream = Upstream::bind();
    let (world, tenant) = World::serving(&upstream.url());
    let requests = upstream.answer(|_| json_answer("{}"));
    let proxy = Proxy::of(&world);
    let ask = |fields: &str| {
        let answer =
            proxy.ask(post(&chat_path(), &format!("{}{fields}", tenant.pat.line()), &chat_body("false")));
        let id = answer.field("x-request-id").expect("an id").to_owned();
        assert_eq!(requests.recv().unwrap().field("x-request-id"), Some(id.as_str()));
        id
    };
    assert_eq!(ask("x-request-id: my-id.1\r\n"), "my-id.1");
    let (first, second) = (ask(""), ask(""));
    assert!(first.len() >= 16 && first != second, "{first} {second}");
    // Ids that are no ids are replaced, not passed into logs.
    for odd in [&"a".repeat(500), "a b", "<x>", "\"", ""] {
        let id = ask(&format!("x-request-id: {odd}\r\n"));
        assert!(id != *odd && !id.is_empty(), "{id:?}");
    }
    let recorded: Vec<_> = proxy.records(8).iter().map(|record| record["request_id"].clone()).collect();
    assert!(recorded.contains(&"my-id.1".into()) && recorded.contains(&first.into()), "{recorded:?}");
}

#[test]
fn refusals_carry_a_request_id_too() {
    let (world, _) = World::serving("http://127.0.0.1:9");
    let proxy = Proxy::of(&world);
    let answer = proxy.ask(get("/proxy/acme/v1/models", "x-request-id: mine\r\n"));
    assert_eq!((answer.status(), answer.field("x-request-id")), (401, Some("mine")));
}

#[test]
fn identity_fields_are_the_proxys_own() {
    let upstream = Upstream::bind();
    let (world, tenant) = World::serving(&upstream.url());
    let requests = upstream.answer(|_| json_answer("{}"));
    let proxy = Proxy::of(&world);
    let forged = "x-domain-id: forged\r\nX-User-Id: forged\r\nx-guardrails-request: forged\r\n\
                  x-forwarded-for: 9.9.9.9\r\nx-forwarded-proto: gopher\r\nx-forwarded-host: forged\r\n\
                  forwarded: for=9.9.9.9\r\nx-real-ip: 9.9.9.9\r\nx-forwarded-port: 1\r\n";
    let answer =
        proxy.ask(post(&chat_path(), &format!("{}{forged}", tenant.pat.line()), &chat_body("false")));
    assert_eq!(answer.status(), 200);
    let saw = requests.recv().unwrap();
    assert!(
        !saw.mentions("forged") && !saw.mentions("9.9.9.9") && !saw.mentions("gopher"),
        "{:?}",
        saw.fields
    );
    assert_eq!(saw.field("x-domain-id"), Some(tenant.domain.to_string().as_str()));
    assert_eq!(saw.field("x-guardrails-request"), None);
    assert_eq!(saw.field("x-forwarded-for"), Some("127.0.0.1"));
    if let Some(user) = saw.field("x-user-id") {
        assert_eq!(user, tenant.user.to_string());
    }
    assert_eq!(proxy.record()["client"], "127.0.0.1");
}

#[test]
fn a_trusted_proxy_may_name_its_client() {
    let upstream = Upstream::bind();
    let (world, tenant) = World::serving(&upstream.url());
    let requests = upstream.answer(|_| json_answer("{}"));
    let proxy = Proxy::with(&world, |settings| {
        settings.set("trusted_proxies.cidrs", toml::Value::Array(vec!["127.0.0.0/8".into()]));
    });
    let fields = format!("{}x-forwarded-for: 203.0.113.7\r\nx-forwarded-proto: https\r\n", tenant.pat.line());
    assert_eq!(proxy.ask(post(&chat_path(), &fields, &chat_body("false"))).status(), 200);
    let saw = requests.recv().unwrap();
    assert!(saw.field("x-forwarded-for").unwrap().starts_with("203.0.113.7"), "{:?}", saw.fields);
    assert_eq!(proxy.record()["client"], "203.0.113.7");
}

/// Usage is read from the bytes, so they have to be readable.
#[test]
fn accept_encoding_is_not_passed() {
    assert_eq!(
        seen_upstream("accept-encoding: gzip, br\r\n").field("accept-encoding").unwrap_or("identity"),
        "identity"
    );
}

#[test]
fn everything_else_passes_as_it_is() {
    let saw = seen_upstream(
        "User-Agent: OpenAI/Python\r\nX-Stainless-Lang: python\r\naccept: */*\r\nx-a: 1\r\nx-a: 2\r\n",
    );
    assert_eq!(saw.field("user-agent"), Some("OpenAI/Python"));
    assert_eq!(saw.field("x-stainless-lang"), Some("python"));
    assert_eq!(saw.field("accept"), Some("*/*"));
    assert_eq!(saw.fields.iter().filter(|(name, _)| name == "x-a").count(), 2);
    assert_eq!(saw.field("content-type"), Some("application/json"));
    let answer = seen_by_caller(
        "openai-processing-ms: 12\r\nx-ratelimit-remaining: 5\r\nset-cookie: a\r\nset-cookie: b\r\n",
    );
    assert_eq!(answer.field("openai-processing-ms"), Some("12"));
    assert_eq!(answer.field("x-ratelimit-remaining"), Some("5"));
    assert_eq!(answer.fields.iter().filter(|(name, _)| name == "set-cookie").count(), 2);
}

#[test]
fn the_upstream_is_addressed_by_its_own_name_and_base_path() {
    let upstream = Upstream::bind();
    let (world, tenant) = World::serving(&format!("{}/base", upstream.url()));
    let authority = upstream.address().to_string();
    let requests = upstream.answer(|_| json_answer("{}"));
    let proxy = Proxy::of(&world);
    let path = format!("{}?a=1&b=%20%2f", chat_path());
    assert_eq!(proxy.ask(post(&path, &tenant.pat.line(), &chat_body("false"))).status(), 200);
    let saw = requests.recv().unwrap();
    assert_eq!(saw.field("host"), Some(authority.as_str()));
    assert_eq!(saw.target(), "/base/v1/chat/completions?a=1&b=%20%2f");
}

/// A stream is never to be held back by something further down.
#[test]
fn compressed_answers_pass_with_their_encoding() {
    let answer = seen_by_caller("content-encoding: gzip\r\n");
    assert_eq!(answer.field("content-encoding"), Some("gzip"));
}
