//! Usage reports and the audit log.

use crate::support::{Server, Value, json, post_to_feed};

fn new_domain(server: &Server, credential: &str, alias: &str) -> String {
    let domain = json!({ "name": alias, "route": alias });
    let domain = server.call("POST", "/domains", credential, Some(&domain)).expect(201);
    domain["id"].as_str().expect("an id").to_owned()
}

/// Tells of `count` requests in a domain, a second apart, from 2026-01-01T00:00:00Z on.
fn tell(server: &Server, boot: &str, domain: &str, user: &str, model: &str, count: u64) {
    let line = |seq: u64| {
        let record = json!({ "seq": seq, "request_id": format!("{boot}-{seq}"), "at_ms": 1_767_225_600_000_u64 + seq * 1000,
            "method": "POST", "path": "/v1/chat/completions", "operation": "llm_chat_completions", "domain": domain,
            "user": user, "model": model, "status": if seq == 1 { 502 } else { 200 }, "ending": "complete", "bytes_in": 10,
            "bytes_out": 100, "prompt_tokens": 2, "completion_tokens": 3, "first_byte_us": 4000, "duration_us": 8000 });
        format!("{record}\n")
    };
    let lines: String = (1..=count).map(line).collect();
    assert_eq!(post_to_feed(server, &format!("/feed/v1/usage?node=n&boot={boot}"), &lines).status, 204);
}

#[test]
fn requests_add_up_by_what_is_asked_for() {
    let server = Server::start();
    let (ada, ada_token) = server.add_user("ada");
    let (bob, bob_token) = server.add_user("bob");
    let domain = new_domain(&server, &ada_token, "alpha");
    tell(&server, "a", &domain, &ada, "big", 3);
    tell(&server, "b", &domain, &bob, "small", 2);
    let report =
        |token: &str, query: &str| server.call("GET", &format!("/api/v1/usage?{query}"), token, None);

    let by_model = report(&server.admin, "group_by=model").expect(200);
    let row = &by_model["usage"][0];
    assert_eq!(
        (row["group"].as_str(), row["requests"].as_i64(), row["errors"].as_i64()),
        (Some("big"), Some(3), Some(1))
    );
    assert_eq!((row["prompt_tokens"].as_i64(), row["completion_tokens"].as_i64()), (Some(6), Some(9)));
    assert_eq!((row["first_byte_ms"].as_f64(), row["duration_ms"].as_f64()), (Some(4.0), Some(8.0)));
    let by_day = report(&ada_token, &format!("domain={domain}")).expect(200);
    assert_eq!(
        (by_day["total"].as_i64(), by_day["usage"][0]["group"].as_str()),
        (Some(1), Some("2026-01-01T00:00:00Z"))
    );
    assert_eq!(by_day["usage"][0]["requests"], 5);
    let later = report(&ada_token, &format!("domain={domain}&from=2026-01-01T01:00:00Z")).expect(200);
    assert_eq!(later["total"], 0);

    // Who has no right in the domain sees only what is one's own.
    report(&bob_token, &format!("domain={domain}")).expect_error(404);
    report(&bob_token, &format!("user={ada}")).expect_error(403);
    assert_eq!(report(&bob_token, "group_by=user").expect(200)["usage"][0]["group"], json!(bob));
    for query in ["group_by=colour", "from=yesterday", "domain=x", "limit=0"] {
        report(&server.admin, query).expect_error(400);
    }
}

/// Goal: a report that is read page by page tells of every group once, though it goes on being used. Method: what came last in the first
/// page becomes by far the largest before the second one is asked for.
#[test]
fn by_cursor_a_report_tells_of_every_group_once_whatever_is_used_meanwhile() {
    let server = Server::start();
    let (ada, ada_token) = server.add_user("ada");
    let (_, bob_token) = server.add_user("bob");
    let domain = new_domain(&server, &ada_token, "alpha");
    let models = ["a.b", "b c&d", "m", "x", "ü"];
    for (nth, model) in (1..).zip(models) {
        tell(&server, &format!("boot-{nth}"), &domain, &ada, model, nth);
    }
    let report = |token: &str, query: &str| {
        let path = format!("/api/v1/usage?domain={domain}&{query}");
        server.call("GET", &path, token, None)
    };
    let mut seen: Vec<String> = Vec::new();
    let mut after = String::new();
    loop {
        let page = report(&ada_token, &format!("group_by=model&first=2{after}")).expect(200);
        let rows = page["usage"].as_array().expect("rows");
        assert!(rows.len() <= 2 && page.get("total").is_none(), "{page}");
        seen.extend(rows.iter().map(|row| row["group"].as_str().expect("a model").to_owned()));
        if seen.len() == 2 {
            tell(&server, "meanwhile", &domain, &ada, &seen[1], 40);
        }
        let info = &page["pageInfo"];
        if info["hasNextPage"] == false {
            break;
        }
        let cursor: String =
            form_urlencoded::byte_serialize(info["endCursor"].as_str().expect("a cursor").as_bytes())
                .collect();
        after = format!("&after={cursor}");
    }
    assert_eq!(seen, models);
    let largest = report(&ada_token, "group_by=model&limit=1").expect(200);
    assert_eq!((&largest["usage"][0]["group"], &largest["total"]), (&json!("b c&d"), &json!(5)));
    assert_eq!(largest.get("pageInfo"), None);
    let days = report(&ada_token, "first=1").expect(200);
    assert_eq!(days["pageInfo"], json!({ "endCursor": "day.2026-01-01T00:00:00Z", "hasNextPage": false }));
    let none = report(&ada_token, "after=day.2026-01-01T00:00:00Z").expect(200);
    assert_eq!((&none["usage"], &none["pageInfo"]["endCursor"]), (&json!([]), &Value::Null));

    // Users may be unknown; that group comes first, and the others follow it.
    let users = report(&ada_token, "group_by=user&after=user.").expect(200);
    assert_eq!(users["usage"][0]["group"], json!(ada));
    for query in [
        "first=0",
        "first=101",
        "first=2&limit=2",
        "offset=0&after=day.2026-01-01T00:00:00Z",
        "after=x",
        "after=day.yesterday",
        "after=model.m",
        "group_by=model&after=day.2026-01-01T00:00:00Z",
        "group_by=user&after=user.ada",
    ] {
        report(&ada_token, query).expect_error(400);
    }
    report(&bob_token, "first=2").expect_error(404);
}

#[test]
fn the_audit_log_of_a_domain_is_for_those_who_may_read_it() {
    let server = Server::start();
    let (ada, ada_token) = server.add_user("ada");
    let (_, bob_token) = server.add_user("bob");
    let (alpha, beta) = (new_domain(&server, &ada_token, "alpha"), new_domain(&server, &bob_token, "beta"));
    tell(&server, "a", &alpha, &ada, "big", 3);
    tell(&server, "b", &beta, &ada, "big", 1);
    let list = |token: &str, path: &str| server.call("GET", path, token, None);

    let log = list(&ada_token, &format!("/domains/{alpha}/audit")).expect(200);
    let events = log["events"].as_array().expect("events");
    assert!(events.iter().any(|event| event["action"] == "domain.create"), "{log}");
    assert_eq!(events.iter().filter(|event| event["event_type"] == "llm_request").count(), 3);
    assert!(events.iter().all(|event| event["session"]["DomainID"] == json!(alpha)), "{log}");
    let failed = events.iter().find(|event| event["status_code"] == 502).expect("the failed request");
    assert_eq!(
        (failed["endpoint"].as_str(), failed["input_tokens"].as_i64()),
        (Some("POST /v1/chat/completions"), Some(2))
    );

    list(&bob_token, &format!("/domains/{alpha}/audit")).expect_error(404);
    list(&bob_token, &format!("/domains/{alpha}/audit/export")).expect_error(404);
    list(&ada_token, "/audit").expect_error(403);
    list(&server.admin, "/audit").expect(200);
    for query in ["cursor=x", "limit=0", "limit=1001", "kind=x", "to=x"] {
        list(&server.admin, &format!("/audit?{query}")).expect_error(400);
    }
}

#[test]
fn pages_and_exports_hold_every_event_once() {
    let server = Server::start();
    let (ada, token) = server.add_user("ada");
    let domain = new_domain(&server, &token, "alpha");
    tell(&server, "a", &domain, &ada, "big", 1500);
    let mut seen = Vec::new();
    let mut cursor = String::new();
    loop {
        let path = format!("/domains/{domain}/audit?limit=400&kind=request{cursor}");
        let page = server.call("GET", &path, &token, None).expect(200);
        let ids =
            page["events"].as_array().expect("events").iter().map(|event| event["request_id"].to_string());
        seen.extend(ids);
        let Some(next) = page["next"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen.len(), 1500);
    let exported = server.call("GET", &format!("/domains/{domain}/audit/export?kind=request"), &token, None);
    assert_eq!(exported.header("content-type"), Some("application/x-ndjson"));
    let lines: Vec<Value> =
        exported.text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.iter().map(|event| event["request_id"].to_string()).collect::<Vec<_>>(), seen);
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 1500);
    // That it was taken away is itself an event.
    let log =
        server.call("GET", &format!("/domains/{domain}/audit?kind=action&limit=1"), &token, None).expect(200);
    assert_eq!(log["events"][0]["action"], "audit.export");
}

#[test]
fn the_audit_log_and_the_state_hold_no_password_and_no_token() {
    let server = Server::start();
    let (_, token) = server.add_user("ada");
    server.call("GET", "/users/profile", &token, None).expect(200);
    for entry in std::fs::read_dir(server.state()).expect("the state").flatten() {
        let bytes = std::fs::read(entry.path()).expect("a file");
        for secret in ["password of ada", &token] {
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "{} holds a secret", entry.path().display());
        }
    }
}
