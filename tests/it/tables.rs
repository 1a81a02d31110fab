//! Tables change while requests run: what is adopted holds for the next request, and what is wrong never holds.

use rustix::process::Signal;
use serde_json::json;

use crate::support::requests::chat_stream;
use crate::support::{
    Launch, Pat, Proxy, STREAM_HEAD, Tenant, Upstream, World, chat, chunk, domain_scopes, get, json_answer,
};

fn start() -> (World, Tenant, Proxy) {
    let upstream = Upstream::bind();
    let (world, tenant) = World::serving(&upstream.url());
    upstream.answer(|_| json_answer("{}"));
    let proxy = Proxy::of(&world);
    (world, tenant, proxy)
}

#[test]
fn a_revoked_pat_is_refused_on_the_next_request_of_a_kept_alive_connection() {
    let (mut world, tenant, proxy) = start();
    let mut caller = proxy.connect();
    for _ in 0..3 {
        caller.send(chat(&tenant.pat));
        assert_eq!(caller.response().status(), 200);
    }
    world.record("pat", tenant.pat.id)["revoked"] = json!(true);
    proxy.adopt_tables(&world);
    caller.send(chat(&tenant.pat));
    assert_eq!(caller.response().status(), 401);
    world.record("pat", tenant.pat.id)["revoked"] = json!(false);
    proxy.adopt_tables(&world);
    caller.send(chat(&tenant.pat));
    assert_eq!(caller.response().status(), 200);
}

/// Every way to lose a right, and to get it back, on one connection of a cached PAT.
#[test]
fn every_change_holds_for_the_next_request() {
    let (world, tenant, proxy) = start();
    let mut caller = proxy.connect();
    let mut ask = || {
        caller.send(chat(&tenant.pat));
        caller.response().status()
    };
    type Change = fn(&mut World, &Tenant);
    let changes: [(&str, Change, u16); 8] = [
        ("user disabled", |w, t| w.record("user", t.user)["status"] = json!("disabled"), 401),
        ("expired", |w, t| w.record("pat", t.pat.id)["expires_at"] = json!(1), 401),
        ("pat gone", |w, t| w.records.retain(|r| r["id"] != json!(t.pat.id)), 401),
        ("scopes gone", |w, t| w.record("pat", t.pat.id)["scopes"] = json!([]), 404),
        (
            "scope narrowed",
            |w, t| w.record("pat", t.pat.id)["scopes"] = json!(domain_scopes(t.domain, &["llm_read"])),
            403,
        ),
        ("grant gone", |w, _| w.records.retain(|r| r["kind"] != "grant"), 403),
        ("domain disabled", |w, t| w.record("domain", t.domain)["status"] = json!("disabled"), 403),
        ("model gone", |w, _| w.records.retain(|r| r["kind"] != "model"), 404),
    ];
    for (name, change, status) in changes {
        assert_eq!(ask(), 200, "before {name}");
        let mut changed = world.clone();
        change(&mut changed, &tenant);
        proxy.adopt_tables(&changed);
        assert_eq!(ask(), status, "{name}");
        proxy.adopt_tables(&world);
    }
    assert_eq!(ask(), 200);
}

#[test]
fn a_new_pat_works_once_it_is_adopted() {
    let (mut world, tenant, proxy) = start();
    let mut caller = proxy.connect();
    let new = Pat::mint(tenant.user);
    caller.send(chat(&new));
    assert_eq!(caller.response().status(), 401);
    world.put(new.record())["scopes"] = json!(domain_scopes(tenant.domain, &["llm_chat_completions"]));
    proxy.adopt_tables(&world);
    caller.send(chat(&new));
    assert_eq!(caller.response().status(), 200, "absence is never cached");
}

#[test]
fn a_model_may_move_to_another_cluster() {
    let (mut world, tenant, proxy) = start();
    let elsewhere = Upstream::bind();
    assert_eq!(proxy.ask(chat(&tenant.pat)).text(), "{}");
    world.record("cluster", "main")["endpoints"][0]["url"] = json!(elsewhere.url());
    elsewhere.answer(|_| json_answer("{\"elsewhere\":1}"));
    proxy.adopt_tables(&world);
    assert_eq!(proxy.ask(chat(&tenant.pat)).text(), "{\"elsewhere\":1}");
}

/// A stream in flight ends by itself: the revocation is for the next request.
#[test]
fn a_stream_in_flight_outlives_the_revocation_of_its_pat() {
    let upstream = Upstream::bind();
    let (mut world, tenant) = World::serving(&upstream.url());
    let proxy = Proxy::of(&world);
    let mut caller = proxy.connect();
    caller.send(chat_stream(&tenant.pat));
    let mut connection = upstream.accept();
    connection.request();
    connection.send(STREAM_HEAD);
    connection.send(chunk("data: 1\n\n"));
    caller.take_through(b"data: 1\n\n");
    world.record("pat", tenant.pat.id)["revoked"] = json!(true);
    world.records.retain(|record| record["kind"] != "model");
    proxy.adopt_tables(&world);
    connection.send(chunk("data: 2\n\n"));
    connection.send("0\r\n\r\n");
    caller.take_through(b"data: 2\n\n");
    caller.take_through(b"0\r\n\r\n");
    caller.send(chat_stream(&tenant.pat));
    assert_eq!(caller.response().status(), 401);
}

/// Goal: a wrong file changes nothing, and says everything that is wrong with it. Method: three faults at once; each must
/// be logged with its line; the old tables must serve on.
#[test]
fn a_broken_file_is_refused_whole_with_every_fault_listed() {
    let (world, tenant, mut proxy) = start();
    let generation = proxy.generation();
    let mut broken = world.clone();
    let good_lines = broken.records.len();
    // What would revoke everything must not take effect either.
    broken.record("pat", tenant.pat.id)["revoked"] = json!(true);
    broken.put(json!({"kind": "model", "domain": tenant.domain, "name": "x", "cluster": "no-such-cluster"}));
    broken.put(json!({"kind": "surprise", "id": 1}));
    broken.raw_lines.push("{not json".to_owned());
    proxy.publish(&broken);
    proxy.wait_for_log("no-such-cluster");
    proxy.wait_for_log("surprise");
    for line in good_lines + 1..=good_lines + 3 {
        proxy.wait_for_log(&format!("line {line}"));
    }
    assert_eq!(proxy.generation(), generation);
    assert_eq!(proxy.ask(chat(&tenant.pat)).status(), 200);
    assert_eq!(proxy.ops("/readyz").status(), 200);

    // A file that is not there is no reason to stop either, and a right one is adopted afterwards.
    proxy.publish_lines("");
    proxy.signal(Signal::HUP);
    let mut right = world;
    right.model(tenant.domain, "second", "main");
    proxy.adopt_tables(&right);
    let list = proxy.ask(get("/proxy/acme/v1/models", &tenant.pat.line())).json();
    assert_eq!(list["data"].as_array().unwrap().len(), 2);
}

#[test]
fn unknown_fields_and_optional_kinds_are_ignored() {
    let upstream = Upstream::bind();
    let (mut world, tenant) = World::serving(&upstream.url());
    upstream.answer(|_| json_answer("{}"));
    world.records.iter_mut().for_each(|record| record["from_the_future"] = json!({"a": [1]}));
    world.put(json!({"kind": "from_the_future", "optional": true, "id": 7}));
    world.raw_lines.extend(["".to_owned(), "# a remark".to_owned()]);
    let proxy = Proxy::of(&world);
    assert_eq!(proxy.ask(chat(&tenant.pat)).status(), 200);
}

/// R7: without tables nothing is served, and nobody is told that their PAT is bad.
#[test]
fn without_tables_everything_is_503_and_not_ready() {
    let (world, tenant) = World::serving("http://127.0.0.1:9");
    let launch = Launch::of(&world);
    launch.write_tables("{broken\n");
    let proxy = launch.start();
    assert_eq!(proxy.ask(chat(&tenant.pat)).status(), 503);
    assert_eq!(proxy.ops("/readyz").status(), 503);
    assert_eq!(proxy.ops("/livez").status(), 200);
    proxy.publish(&world);
    let until = std::time::Instant::now() + crate::support::PATIENCE;
    while proxy.ops("/readyz").status() != 200 {
        assert!(std::time::Instant::now() < until, "never ready");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert_eq!(proxy.ask(get("/proxy/acme/v1/models", &tenant.pat.line())).status(), 200);
}

#[test]
fn every_core_adopts_and_says_so() {
    let (mut world, tenant) = World::serving("http://127.0.0.1:9");
    let proxy = Proxy::with(&world, |settings| {
        settings.set("cores.count", 3);
    });
    world.record("pat", tenant.pat.id)["revoked"] = json!(true);
    proxy.adopt_tables(&world);
    // New connections spread over the cores: whichever takes one, it knows.
    for _ in 0..60 {
        assert_eq!(proxy.ask(get("/proxy/acme/v1/models", &tenant.pat.line())).status(), 401);
    }
}
