//! Tables from cube-admin's feed: what holds, what is refused, what a proxy does when admin is not there.

use std::fs;
use std::time::{Duration, Instant};

use cube_wire::feed::Frame;
use serde_json::json;

use crate::support::feed::{EPOCH, Feed, delta, frame, heartbeat, snapshot, spawn, state_dir};
use crate::support::{PATIENCE, Proxy, Tenant, Upstream, World, chat, get, json_answer};

/// A world over an upstream that answers everything.
fn world() -> (World, Tenant) {
    let upstream = Upstream::bind();
    let made = World::serving(&upstream.url());
    upstream.answer(|_| json_answer("{}"));
    made
}

/// Every tenant's line with `revoked` set.
fn revoked(world: &World, tenant: &Tenant) -> String {
    let mut world = world.clone();
    let record = world.record("pat", tenant.pat.id);
    record["revoked"] = json!(true);
    format!("{record}\n")
}

/// One more user; `counts.users` tells how many deltas are in force.
fn user(number: u64) -> String {
    format!(r#"{{"kind":"user","id":"00000000-0000-4000-8000-{number:012}","status":"enabled"}}"#) + "\n"
}

#[track_caller]
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_snapshot_is_in_force_then_every_delta_and_admin_hears_of_it() {
    let feed = Feed::bind();
    let (world, tenant) = world();
    let launch = feed.launch();
    let child = spawn(&launch);
    let asked = feed.asked();
    assert_eq!(asked.target, "/feed/v1/tables?node=node-1", "who has nothing asks for everything");
    let mut answering = asked.answer();
    answering.send(&snapshot(41, &world));
    let proxy = Proxy::adopt(launch, child);
    assert_eq!(proxy.ask(chat(&tenant.pat)).status(), 200);
    let report = feed.adopted(41);
    assert_eq!((report.epoch.as_str(), report.generation, report.cores.len()), (EPOCH, 41, 2));
    assert_eq!((report.node.as_str(), report.boot.len()), ("node-1", 32));
    assert_eq!(report.address, proxy.data.to_string());
    let report = feed.report("a driver", |report| report.cores.iter().all(|core| !core.driver.is_empty()));
    assert_eq!(report.refused, "");

    answering.send(&delta(41, &revoked(&world, &tenant)));
    feed.adopted(42);
    assert_eq!(proxy.ask(chat(&tenant.pat)).status(), 401);
    answering.send(&heartbeat(42));
    let tables = proxy.ops("/tables").json();
    assert_eq!((&tables["generation"], &tables["epoch"]), (&json!(42), &json!(EPOCH)));
    assert_eq!((&tables["node"], &tables["feed"]["state"]), (&json!("node-1"), &json!("connected")));
    proxy.wait_for_metrics("generation 42, by one delta", |metrics| {
        metrics.sum("cube_proxy_tables_generation", &[]) == 42.0
            && metrics.sum("cube_proxy_feed_connected", &[]) == 1.0
            && metrics.sum("cube_proxy_feed_deltas_total", &["outcome=\"adopted\""]) == 1.0
    });
}

/// Goal: admin hears of an adoption at once, not with the next regular report, which is 800 ms after the last. Method: twenty deltas,
/// each as soon as the one before is reported, so that the next regular one is far. A busy machine may hold up any of them, but hardly every one.
#[test]
fn an_adoption_is_reported_at_once() {
    let feed = Feed::bind();
    let mut small = World::default();
    small.cluster("main", "http://127.0.0.1:9");
    let (_proxy, mut answering) = feed.start(&small);
    feed.adopted(1);
    let took = (1..=20).map(|base| {
        let sent = Instant::now();
        answering.send(&delta(base, &user(base)));
        feed.adopted(base + 1);
        sent.elapsed()
    });
    let fastest = took.skip(1).min().expect("nineteen");
    assert!(fastest < Duration::from_millis(400), "{fastest:?}");
}

/// Goal: half a frame is never in force. Method: the stream ends at every byte of a snapshot, then at every byte of a delta; what the
/// proxy asks for next says what it holds.
#[test]
fn a_frame_that_is_cut_anywhere_is_not_in_force() {
    let feed = Feed::bind();
    let (world, tenant) = world();
    let mut small = World::default();
    small.cluster("main", "http://127.0.0.1:9");
    let launch = feed.launch();
    let child = spawn(&launch);
    let whole = snapshot(1, &small);
    for cut in 0..whole.len() {
        let asked = feed.asked();
        assert!(!asked.target.contains("since"), "cut at {cut}: {}", asked.target);
        // Without a length or chunks nothing but the frame itself says that it is not whole.
        asked.answer_until_close().send(&whole.as_bytes()[..cut]);
    }
    feed.asked().answer().send(&whole);
    let proxy = Proxy::adopt(launch, child);
    let whole = delta(1, &user(7));
    let holds = "/feed/v1/tables?node=node-1&epoch=e%2F1&since=1";
    for cut in 0..whole.len() {
        let asked = feed.asked();
        assert_eq!(asked.target, holds, "cut at {cut}");
        asked.answer_until_close().send(&whole.as_bytes()[..cut]);
    }
    assert_eq!(proxy.ops("/tables").json()["counts"]["users"], 0);
    let asked = feed.asked();
    assert_eq!(asked.target, holds);
    let mut answering = asked.answer();
    answering.send(&whole);
    feed.adopted(2);
    // Other bytes in one chunk and one read than lines.
    let everything: String = world.lines();
    let next = delta(2, &everything);
    for part in next.as_bytes().chunks(97) {
        answering.send(std::str::from_utf8(part).unwrap());
    }
    feed.adopted(3);
    assert_eq!(proxy.ask(chat(&tenant.pat)).status(), 200);
}

#[test]
fn what_does_not_follow_what_is_held_is_answered_with_a_request_for_everything() {
    let feed = Feed::bind();
    let (world, tenant) = world();
    let (proxy, mut answering) = feed.start(&world);
    let other = |generation| Frame::Heartbeat { epoch: "f".into(), generation, at_ms: 1 }.to_line();
    let other_delta = Frame::Delta { epoch: "f".into(), base: 1, generation: 2, at_ms: 1 };
    let revoked = revoked(&world, &tenant);
    for (what, wrong) in [
        ("a gap", delta(2, &revoked)),
        ("a delta that is in force already", delta(0, &revoked)),
        ("a delta of another epoch", frame(&other_delta, &revoked)),
        ("a heartbeat of another epoch", other(1)),
        ("a delta that does not compile", delta(1, &format!("{revoked}{{\"kind\":\"surprise\"}}\n"))),
    ] {
        answering.send(&wrong);
        let asked = feed.asked();
        assert_eq!(asked.target, "/feed/v1/tables?node=node-1", "{what}");
        assert_eq!(proxy.ask(chat(&tenant.pat)).status(), 200, "{what} is not in force");
        answering = asked.answer();
        answering.send(&snapshot(1, &world));
    }
    // An admin that is behind is shown what is held, so that it sees that its database was restored.
    for wrong in [heartbeat(0), snapshot(0, &World::default())] {
        answering.send(&wrong);
        let asked = feed.asked();
        assert!(asked.target.ends_with("&since=1"), "{}", asked.target);
        assert_eq!(proxy.ask(chat(&tenant.pat)).status(), 200);
        answering = asked.answer();
        answering.send(&snapshot(1, &world));
        feed.adopted(1);
    }
    // What was only damaged on the way is asked for again.
    let damaged = delta(1, &revoked).replace("crc32:", "crc32:0").replace("\"lines\":1", "\"lines\":2");
    for wrong in [damaged, "nonsense\n".to_owned(), "{\"frame\":\"nonsense\"}\n".to_owned()] {
        answering.send(&wrong);
        let asked = feed.asked();
        assert!(asked.target.ends_with("&since=1"), "{}", asked.target);
        answering = asked.answer();
    }
    answering.send(&delta(1, &revoked));
    feed.adopted(2);
    assert_eq!(proxy.ask(chat(&tenant.pat)).status(), 401);
}

#[test]
fn another_epoch_is_adopted_whole_and_loudly_though_its_numbers_are_lower() {
    let feed = Feed::bind();
    let (world, tenant) = world();
    let launch = feed.launch();
    let child = spawn(&launch);
    let mut answering = feed.asked().answer();
    answering.send(&snapshot(50, &world));
    let mut proxy = Proxy::adopt(launch, child);
    feed.adopted(50);
    let mut without = world.clone();
    without.records.retain(|record| record["kind"] != "pat");
    let restored = Frame::Snapshot { epoch: "restored".into(), generation: 3, at_ms: 1 };
    answering.send(&frame(&restored, &without.lines()));
    let report = feed.adopted(3);
    assert_eq!(report.epoch, "restored");
    proxy.wait_for_log("THE EPOCH HAS CHANGED");
    assert_eq!(proxy.ask(chat(&tenant.pat)).status(), 401);
}

#[test]
fn a_feed_that_is_silent_for_too_long_is_left_and_asked_again() {
    let feed = Feed::bind();
    let (world, tenant) = world();
    let (mut proxy, _answering) = feed.start(&world);
    let asked = feed.asked();
    assert!(asked.target.ends_with("&since=1"), "{}", asked.target);
    proxy.wait_for_log("nothing was heard for too long");
    let mut answering = asked.answer();
    answering.send(&delta(1, &revoked(&world, &tenant)));
    feed.adopted(2);
    proxy.wait_for_metrics("connected", |metrics| metrics.sum("cube_proxy_feed_connected", &[]) == 1.0);
}

#[test]
fn a_snapshot_that_does_not_compile_is_refused_whole_reported_and_asked_for_again() {
    let feed = Feed::bind();
    let (world, tenant) = world();
    let (mut proxy, mut answering) = feed.start(&world);
    let mut broken = world.clone();
    broken.record("pat", tenant.pat.id)["revoked"] = json!(true);
    broken.put(json!({"kind": "model", "domain": tenant.domain, "name": "x", "cluster": "no-such-cluster"}));
    for _ in 0..3 {
        answering.send(&snapshot(2, &broken));
        let asked = feed.asked();
        assert!(!asked.target.contains("since"));
        answering = asked.answer();
    }
    let report = feed.report("the refusal", |report| !report.refused.is_empty());
    assert!(report.refused.contains("no-such-cluster"), "{}", report.refused);
    assert_eq!(report.adopted(), 1);
    proxy.wait_for_log("no-such-cluster");
    assert_eq!(proxy.ask(chat(&tenant.pat)).status(), 200);
    assert_eq!(proxy.ops("/readyz").status(), 200);
    let reason = proxy.ops("/tables").json()["last_refusal"]["reason"].to_string();
    assert!(reason.contains("no-such-cluster"), "{reason}");
    let refused = ["outcome=\"refused\""];
    proxy.wait_for_metrics("three refusals", |metrics| {
        metrics.sum("cube_proxy_feed_snapshots_total", &refused) >= 3.0
    });
    answering.send(&snapshot(2, &world));
    let report = feed.adopted(2);
    assert_eq!(report.refused, "");
}

#[test]
fn a_proxy_starts_and_serves_without_admin_and_catches_up_by_deltas() {
    let feed = Feed::bind();
    let (world, tenant) = world();
    let (proxy, mut answering) = feed.start(&world);
    answering.send(&delta(1, &user(1)));
    feed.adopted(2);
    let file = state_dir(proxy.launch()).join("tables.feed");
    until("both frames are on disk", || {
        fs::read_to_string(&file).is_ok_and(|text| text.matches(r#""frame":"end""#).count() == 2)
    });
    feed.go_away();
    let launch = proxy.kill();
    let child = spawn(&launch);
    let proxy = Proxy::adopt(launch, child);
    assert_eq!(proxy.ask(chat(&tenant.pat)).status(), 200);
    assert_eq!(proxy.ops("/readyz").status(), 200);
    let tables = proxy.ops("/tables").json();
    assert_eq!((&tables["generation"], &tables["feed"]["state"]), (&json!(2), &json!("away")));

    feed.come_back();
    let asked = feed.asked();
    assert!(asked.target.ends_with("&since=2"), "{}", asked.target);
    let mut answering = asked.answer();
    answering.send(&delta(2, &revoked(&world, &tenant)));
    feed.adopted(3);
    assert_eq!(proxy.ask(chat(&tenant.pat)).status(), 401);
}

/// Goal: a process that is killed while it remembers starts again with a generation that was sent, whole. Method: 400 deltas as fast
/// as they go, a kill somewhere among them; in generation n there are n - 1 users.
#[test]
fn a_proxy_that_is_killed_while_it_writes_starts_with_whole_tables() {
    let feed = Feed::bind();
    let mut small = World::default();
    small.cluster("main", "http://127.0.0.1:9");
    let (mut proxy, mut answering) = feed.start(&small);
    let file = state_dir(proxy.launch()).join("tables.feed");
    until("the snapshot is on disk", || file.exists());
    let mut held = 1;
    for round in 0..8 {
        feed.adopted(held);
        let last = held + 400;
        let sender = std::thread::spawn(move || {
            for base in held..last {
                if !answering.offer(&delta(base, &user(base))) {
                    return;
                }
            }
        });
        std::thread::sleep(Duration::from_millis(3 * round));
        feed.go_away();
        let launch = proxy.kill();
        sender.join().unwrap();
        let child = spawn(&launch);
        proxy = Proxy::adopt(launch, child);
        let tables = proxy.ops("/tables").json();
        let generation = tables["generation"].as_u64().unwrap();
        assert!((held..=last).contains(&generation), "{generation} is not within {held}..={last}");
        assert_eq!(tables["counts"]["users"], generation - 1, "generation {generation} is whole");
        let damaged = proxy.log_so_far().iter().any(|line| line.contains("damaged"));
        assert!(!damaged, "{:#?}", proxy.log_so_far());
        feed.come_back();
        let asked = feed.asked();
        assert!(asked.target.ends_with(&format!("&since={generation}")), "{}", asked.target);
        answering = asked.answer();
        answering.send(&heartbeat(generation));
        held = generation;
    }
}

#[test]
fn a_damaged_file_is_refused_loudly_and_set_aside() {
    let feed = Feed::bind();
    let (world, tenant) = world();
    let (proxy, _answering) = feed.start(&world);
    let file = state_dir(proxy.launch()).join("tables.feed");
    until("the snapshot is on disk", || file.exists());
    feed.go_away();
    let launch = proxy.kill();
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("\"enabled\"", "\"disabled\"")).unwrap();
    let child = spawn(&launch);
    let mut proxy = Proxy::adopt(launch, child);
    let said = proxy.wait_for_log("last good tables are not used");
    assert!(said.contains("damaged"), "{said}");
    assert!(!file.exists() && file.with_file_name("tables.feed.damaged").exists());
    assert_eq!(proxy.ops("/readyz").status(), 503);
    assert_eq!(proxy.ask(chat(&tenant.pat)).status(), 503);
    feed.come_back();
    let asked = feed.asked();
    assert!(!asked.target.contains("since"));
    let mut answering = asked.answer();
    answering.send(&snapshot(1, &world));
    until("the new snapshot is in force", || proxy.ask(chat(&tenant.pat)).status() == 200);
}

/// Goal: what is secret is nowhere but in memory and on its way. Method: the credential reaches the upstream; then every file and
/// every text that the proxy shows is searched for it, for the fleet's key and for what a node shows.
#[test]
fn credentials_and_the_fleet_key_are_in_no_file_and_no_log() {
    let feed = Feed::bind();
    let upstream = Upstream::bind();
    let (mut world, tenant) = World::serving(&upstream.url());
    let secret = "Bearer s3cr3t-of-the-endpoint";
    let sealed = feed.key.seal("main", "authorization", secret).unwrap();
    world.record("cluster", "main")["endpoints"][0]["credential"] = json!({"sealed": sealed});
    let requests = upstream.answer(|_| json_answer("{}"));
    let (mut proxy, mut answering) = feed.start(&world);
    assert_eq!(proxy.ask(chat(&tenant.pat)).status(), 200);
    assert_eq!(requests.recv_timeout(PATIENCE).unwrap().field("authorization"), Some(secret));
    // In the clear, and sealed for another place: refused, and not repeated.
    let elsewhere = feed.key.seal("other", "authorization", secret).unwrap();
    for credential in [json!({"value": secret}), json!({"sealed": elsewhere})] {
        world.record("cluster", "main")["endpoints"][0]["credential"] = credential;
        let line = world.record("cluster", "main").to_string();
        answering.send(&delta(1, &format!("{line}\n")));
        answering = feed.asked().answer();
        world.record("cluster", "main")["endpoints"][0]["credential"] = json!({"sealed": sealed});
        answering.send(&snapshot(1, &world));
    }
    proxy.records(1);
    until("the usage spool has a file", || {
        fs::read_dir(state_dir(proxy.launch()))
            .unwrap()
            .flatten()
            .any(|entry| entry.file_name().to_string_lossy().starts_with("usage-"))
    });
    let mut shown = vec![
        ("/tables".to_owned(), proxy.ops("/tables").text()),
        ("/metrics".to_owned(), proxy.metrics().text().to_owned()),
        ("access log".to_owned(), proxy.access_log()),
        ("log".to_owned(), proxy.log_so_far().join("\n")),
    ];
    for entry in fs::read_dir(state_dir(proxy.launch())).unwrap().flatten() {
        let text = String::from_utf8_lossy(&fs::read(entry.path()).unwrap()).into_owned();
        shown.push((entry.path().display().to_string(), text));
        let mode = std::os::unix::fs::PermissionsExt::mode(&entry.metadata().unwrap().permissions());
        assert_eq!(mode & 0o077, 0, "{}", entry.path().display());
    }
    assert!(shown.len() >= 6, "{shown:#?}");
    for (place, text) in shown {
        for hidden in
            ["s3cr3t-of-the-endpoint", &feed.key.to_text(), &feed.key.node_token(), &tenant.pat.secret]
        {
            assert!(!text.contains(hidden), "{hidden} is in {place}");
        }
    }
}

#[test]
fn tables_that_nobody_confirms_are_closed_where_that_was_asked_for() {
    let feed = Feed::bind();
    let (world, tenant) = world();
    let mut launch = feed.launch();
    launch.settings.set("admin.staleness_max_s", 1.5);
    let (proxy, mut answering) = feed.start_with(launch, &world);
    assert_eq!(proxy.ask(chat(&tenant.pat)).status(), 200);
    until("too old", || proxy.ops("/readyz").status() == 503);
    until("503", || proxy.ask(chat(&tenant.pat)).status() == 503);
    assert_eq!(proxy.ops("/tables").json()["stale"], true);
    answering.send(&heartbeat(1));
    until("confirmed", || proxy.ask(chat(&tenant.pat)).status() == 200);
    let list = proxy.ask(get("/proxy/acme/v1/models", &tenant.pat.line()));
    assert_eq!((list.status(), proxy.ops("/readyz").status()), (200, 200));
}

#[test]
fn tables_that_were_too_old_on_the_disk_are_never_decided_with() {
    let feed = Feed::bind();
    let (world, tenant) = world();
    let mut launch = feed.launch();
    launch.settings.set("admin.staleness_max_s", 3600);
    let (proxy, _answering) = feed.start_with(launch, &world);
    let file = state_dir(proxy.launch()).join("tables.feed");
    until("the snapshot is on disk", || file.exists());
    feed.go_away();
    let launch = proxy.kill();
    let yesterday = std::time::SystemTime::now() - Duration::from_secs(86_400);
    fs::File::options().append(true).open(&file).unwrap().set_modified(yesterday).unwrap();
    let child = spawn(&launch);
    let proxy = Proxy::adopt(launch, child);
    assert_eq!(proxy.ask(chat(&tenant.pat)).status(), 503);
    assert_eq!(proxy.ops("/readyz").status(), 503);
    feed.come_back();
    let asked = feed.asked();
    assert!(asked.target.ends_with("&since=1"), "{}", asked.target);
    let mut answering = asked.answer();
    answering.send(&heartbeat(1));
    until("confirmed", || proxy.ask(chat(&tenant.pat)).status() == 200);
}

#[test]
fn a_node_that_is_refused_goes_on_trying_and_says_so_once() {
    let feed = Feed::bind();
    let (world, tenant) = world();
    let launch = feed.launch();
    let child = spawn(&launch);
    for status in [401, 401, 401, 503] {
        feed.asked().refuse(status);
    }
    let mut answering = feed.asked().answer();
    let mut proxy = Proxy::adopt(launch, child);
    assert_eq!(proxy.ask(chat(&tenant.pat)).status(), 503, "there were never any tables");
    assert_eq!(proxy.ops("/readyz").status(), 503);
    answering.send(&snapshot(1, &world));
    feed.adopted(1);
    proxy.wait_for_log("another fleet key");
    let told = proxy.log_so_far().iter().filter(|line| line.contains("another fleet key")).count();
    assert_eq!(told, 1);
    assert_eq!(proxy.ask(chat(&tenant.pat)).status(), 200);
}
