//! A caller's name for a model, the upstream's name for it, and which of them a domain has.

use serde_json::{Value, json};

use crate::support::requests::{chat_body, chat_path};
use crate::support::{
    MODEL, Message, Proxy, Upstream, World, chat, domain_scopes, get, json_answer, model_scopes, post, start,
};

fn names(list: &Message) -> Vec<String> {
    let ids = list.json()["data"].as_array().expect("a list").clone();
    ids.iter().map(|model| model["id"].as_str().expect("an id").to_owned()).collect()
}

/// Goal: nothing but the name changes: number forms, order, spaces, duplicates inside and escapes stay.
#[test]
fn an_alias_is_spliced_into_the_body_and_nothing_else_changes() {
    let upstream = Upstream::bind();
    let (mut world, tenant) = World::serving(&upstream.url());
    world.model(tenant.domain, "fast", "main")["upstream_model"] = json!("Org/Model \"7B\"");
    let requests = upstream.answer(|_| json_answer("{}"));
    let proxy = Proxy::of(&world);
    let mut caller = proxy.connect();
    // Front, the name as the caller spells it, back.
    for (front, name, back) in [
        (r#"{"model":"#, r#""fast""#, r#","temperature":1e3,"n":1,"x":[1.0,1e-7,-0]}"#),
        (r#"{ "seed" : 12345678901234567890123, "model"  :   "#, r#""fast""#, r#" , "z":"\u00e9\/é" }"#),
        (r#"{"m":[{"c":"model \"fast\"","model":"fast"}],"a":{"b":1,"b":2},"model":"#, r#""fa\u0073t""#, "}"),
    ] {
        caller.send(post(&chat_path(), &tenant.pat.line(), &format!("{front}{name}{back}")));
        assert_eq!(caller.response().status(), 200);
        assert_eq!(requests.recv().unwrap().text(), format!(r#"{front}"Org/Model \"7B\""{back}"#));
    }
}

/// The same through a chunked body, whose length changes with the name.
#[test]
fn an_alias_is_spliced_into_a_chunked_body() {
    let upstream = Upstream::bind();
    let (mut world, tenant) = World::serving(&upstream.url());
    world.model(tenant.domain, "a", "main")["upstream_model"] = json!("a-much-longer-name-than-before");
    let requests = upstream.answer(|_| json_answer("{}"));
    let proxy = Proxy::of(&world);
    let body = chat_body("false").replace(MODEL, "a");
    for cut in [1, 10, 11, 12, 20] {
        let (front, back) = body.split_at(cut);
        let mut wire = format!(
            "POST {} HTTP/1.1\r\nhost: a\r\n{}transfer-encoding: chunked\r\n\r\n",
            chat_path(),
            tenant.pat.line()
        )
        .into_bytes();
        wire.extend(crate::support::chunked(&[front, back]));
        assert_eq!(proxy.ask(wire).status(), 200);
        let expected = body.replace("\"a\"", "\"a-much-longer-name-than-before\"");
        assert_eq!(requests.recv().unwrap().text(), expected);
    }
}

/// X3, X4: the same name reaches what its domain says, and lists differ.
#[test]
fn the_domain_decides_what_a_model_name_means() {
    let (first, second) = (Upstream::bind(), Upstream::bind());
    let (mut world, acme) = World::serving(&first.url());
    world.cluster("second", &second.url());
    let other = world.tenant("other");
    world.model(other.domain, MODEL, "second");
    world.model(other.domain, "extra", "second");
    let first = first.answer(|_| json_answer("{\"from\":1}"));
    let second = second.answer(|_| json_answer("{\"from\":2}"));
    let proxy = Proxy::of(&world);
    assert_eq!(proxy.ask(chat(&acme.pat)).json()["from"], 1);
    let in_other = chat(&other.pat).replace("/proxy/acme/", "/proxy/other/");
    assert_eq!(proxy.ask(in_other).json()["from"], 2);
    assert_eq!((first.try_iter().count(), second.try_iter().count()), (1, 1));
    assert_eq!(names(&proxy.ask(get("/proxy/acme/v1/models", &acme.pat.line()))), [MODEL]);
    assert_eq!(names(&proxy.ask(get("/proxy/other/v1/models", &other.pat.line()))), ["extra", MODEL]);
}

#[test]
fn models_are_listed_from_the_tables_in_the_openai_form() {
    let upstream = Upstream::bind();
    let (mut world, tenant) = World::serving(&upstream.url());
    world.model(tenant.domain, "dated", "main")["created"] = json!(1_700_000_000);
    let proxy = Proxy::of(&world);
    let answer = proxy.ask(get("/proxy/acme/v1/models", &tenant.pat.line()));
    assert_eq!((answer.status(), answer.field("content-type")), (200, Some("application/json")));
    let list = answer.json();
    assert_eq!(list["object"], "list");
    let models = list["data"].as_array().unwrap();
    assert_eq!(models.len(), 2);
    for model in models {
        assert_eq!(model["object"], "model");
        assert!(model["created"].is_u64() && model["owned_by"].is_string(), "{model}");
    }
    assert_eq!(models[0]["created"], 1_700_000_000);

    let one = proxy.ask(get("/proxy/acme/v1/models/dated", &tenant.pat.line()));
    assert_eq!((one.status(), &one.json()["id"]), (200, &Value::from("dated")));
    assert_eq!(proxy.ask(get("/proxy/acme/v1/models/nonsense", &tenant.pat.line())).status(), 404);
    assert!(upstream.try_accept().is_none());
}

/// Names with slashes and other characters of a path are common: `org/model:tag`.
#[test]
fn a_model_with_a_slash_in_its_name_is_found_by_path_and_by_body() {
    let upstream = Upstream::bind();
    let (mut world, tenant) = World::serving(&upstream.url());
    let requests = upstream.answer(|_| json_answer("{}"));
    let name = "meta-llama/Llama-3:8b";
    world.model(tenant.domain, name, "main");
    let proxy = Proxy::of(&world);
    assert_eq!(
        proxy.ask(post(&chat_path(), &tenant.pat.line(), &chat_body("false").replace(MODEL, name))).status(),
        200
    );
    requests.recv().unwrap();
    for spelled in [name, "meta-llama%2FLlama-3:8b", "meta-llama%2fLlama-3%3A8b"] {
        let one = proxy.ask(get(&format!("/proxy/acme/v1/models/{spelled}"), &tenant.pat.line()));
        assert_eq!((one.status(), &one.json()["id"]), (200, &Value::from(name)), "{spelled}");
    }
    for climbing in ["meta-llama%2F..%2FLlama-3:8b", "%2F", "meta-llama%252FLlama-3:8b"] {
        let refused = proxy.ask(get(&format!("/proxy/acme/v1/models/{climbing}"), &tenant.pat.line()));
        assert_eq!(refused.status(), 400, "{climbing}");
    }
}

/// What is deleted is what was authorized, however its name was spelled; the path goes upstream as it came.
#[test]
fn a_model_with_an_encoded_slash_is_deleted_by_a_superadmin_only() {
    let upstream = Upstream::bind();
    let (mut world, tenant) = World::serving(&upstream.url());
    world.model(tenant.domain, "org/model", "main");
    let admin = world.user();
    world.record("user", admin)["superadmin"] = json!(true);
    let operations = ["llm_delete"];
    let pat = world.scoped_pat(admin, &domain_scopes(tenant.domain, &operations));
    let requests = upstream.answer(|_| json_answer("{}"));
    let proxy = Proxy::of(&world);
    let delete = |pat: &crate::support::Pat| {
        let request = get("/proxy/acme/v1/models/org%2Fmodel", &pat.line());
        proxy.ask(request.replacen("GET", "DELETE", 1)).status()
    };
    assert_eq!(delete(&tenant.pat), 403);
    assert_eq!(delete(&pat), 200);
    assert_eq!(requests.recv().unwrap().target(), "/v1/models/org%2Fmodel");
    assert!(requests.try_recv().is_err());
}

#[test]
fn models_are_listed_in_the_ollama_form() {
    let (_upstream, tenant, proxy) = start();
    let answer = proxy.ask(get("/proxy/acme/api/tags", &tenant.pat.line()));
    assert_eq!(answer.status(), 200);
    let list = answer.json();
    let model = &list["models"][0];
    assert_eq!((&model["name"], &model["model"]), (&json!(MODEL), &json!(MODEL)));
}

#[test]
fn a_list_holds_only_what_its_caller_may_use() {
    let (mut world, tenant) = World::serving("http://127.0.0.1:9");
    world.model(tenant.domain, "second", "main");
    let mut scopes = model_scopes(tenant.domain, "second", &["llm_read", "llm_chat_completions"]);
    scopes.extend(model_scopes(tenant.domain, "nonsense", &["llm_read"]));
    let scoped = world.scoped_pat(tenant.user, &scopes);
    let whole = world.scoped_pat(tenant.user, &domain_scopes(tenant.domain, &["llm_read"]));
    let proxy = Proxy::of(&world);
    assert_eq!(names(&proxy.ask(get("/proxy/acme/v1/models", &scoped.line()))), ["second"]);
    assert_eq!(names(&proxy.ask(get("/proxy/acme/v1/models", &whole.line()))), ["second", MODEL]);
    let tags = proxy.ask(get("/proxy/acme/api/tags", &scoped.line())).json();
    assert_eq!(tags["models"].as_array().unwrap().len(), 1);
    assert_eq!(proxy.ask(get("/proxy/acme/v1/models/tiny", &scoped.line())).status(), 404);
    assert_eq!(proxy.ask(get("/proxy/acme/v1/models/second", &scoped.line())).status(), 200);
}

/// One form, with its parts in any order: the model is found before and after a file of any size.
#[test]
fn the_model_of_a_form_may_come_anywhere() {
    let upstream = Upstream::bind();
    let (mut world, tenant) = World::serving(&upstream.url());
    world.model(tenant.domain, "whisper", "main")["upstream_model"] = json!("whisper-large-v3");
    let requests = upstream.answer(|_| json_answer("{\"text\":\"x\"}"));
    let proxy = Proxy::of(&world);
    for file_len in [0, 10, 70_000, 3 << 20] {
        // A file that looks like the part looked for, but for the boundary.
        let mut file =
            b"\r\n--other\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\nforged\r\n".to_vec();
        file.resize(file.len() + file_len, b'-');
        let part = |fields: &str, value: &[u8]| {
            [format!("--b\r\n{fields}\r\n\r\n").as_bytes(), value, b"\r\n"].concat()
        };
        let file = part(
            "Content-Disposition: form-data; name=\"file\"; filename=\"model\"\r\nContent-Type: audio/wav",
            &file,
        );
        let model = |name: &str| part("content-disposition: form-data; name=\"model\"", name.as_bytes());
        let other = part("Content-Disposition: form-data; name=\"language\"", b"en");
        for before in [true, false] {
            let form = |name: &str| {
                let parts = if before {
                    [model(name), other.clone(), file.clone()]
                } else {
                    [other.clone(), file.clone(), model(name)]
                };
                [parts.concat(), b"--b--\r\n".to_vec()].concat()
            };
            let body = form("whisper");
            let mut request = format!(
                "POST /proxy/acme/v1/audio/transcriptions HTTP/1.1\r\nhost: a\r\n{}\
                 content-type: multipart/form-data; boundary=b\r\ncontent-length: {}\r\n\r\n",
                tenant.pat.line(),
                body.len()
            )
            .into_bytes();
            request.extend(body);
            let answer = proxy.ask(request);
            assert_eq!(answer.status(), 200, "file of {file_len}, model first {before}: {}", answer.text());
            assert!(
                requests.recv().unwrap().body == form("whisper-large-v3"),
                "file of {file_len}, {before}"
            );
        }
    }
}

#[test]
fn a_form_without_a_model_or_with_two_is_400() {
    let (upstream, tenant, proxy) = start();
    let model = "--b\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\ntiny\r\n";
    let bodies = [
        "--b--\r\n".to_owned(),
        "--b\r\ncontent-disposition: form-data; name=\"language\"\r\n\r\nen\r\n--b--\r\n".to_owned(),
        format!("{model}{model}--b--\r\n"),
        model.to_owned(),
        String::new(),
        "not a form".to_owned(),
    ];
    for body in bodies {
        for content_type in ["multipart/form-data; boundary=b", "multipart/form-data", "text/plain"] {
            let length = body.len();
            let answer = proxy.ask(format!(
                "POST /proxy/acme/v1/audio/transcriptions HTTP/1.1\r\nhost: a\r\n{}content-type: {content_type}\r\n\
                 content-length: {length}\r\n\r\n{body}",
                tenant.pat.line()
            ));
            assert!([400, 415].contains(&answer.status()), "{content_type}, {body:?}: {}", answer.start);
        }
    }
    assert!(upstream.try_accept().is_none());
}

/// What names no model goes to the domain's default cluster; without one, to the first model's.
#[test]
fn an_operation_without_a_model_goes_to_the_domains_default_cluster() {
    let (first, default) = (Upstream::bind(), Upstream::bind());
    let (mut world, tenant) = World::serving(&first.url());
    world.cluster("other", &default.url());
    first.answer(|_| json_answer("{\"from\":\"first\"}"));
    default.answer(|_| json_answer("{\"from\":\"default\"}"));
    let proxy = Proxy::of(&world);
    let ask = || proxy.ask(get("/proxy/acme/api/ps", &tenant.pat.line())).json();
    assert_eq!(ask()["from"], "first");
    world.record("domain", tenant.domain)["default_cluster"] = "other".into();
    proxy.adopt_tables(&world);
    assert_eq!(ask()["from"], "default");
}
