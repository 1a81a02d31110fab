//! From a file to a PostgreSQL server. What needs one is ignored without: `tests/postgres/run.sh` has one, and runs it.

use crate::pats::make;
use crate::support::{Server, Value, json, post_to_feed, text};

/// Rows of every table, as the server has them: what its own triggers and caches keep included.
const COUNTS: &str = "SELECT 'users ' || CAST(COUNT(*) AS TEXT) FROM users UNION ALL SELECT 'pats ' || CAST(value AS TEXT) FROM totals
    UNION ALL SELECT 'scopes ' || CAST(COUNT(*) AS TEXT) FROM scopes UNION ALL SELECT 'audit ' || CAST(MAX(id) AS TEXT) FROM audit
    UNION ALL SELECT 'hours ' || CAST(COUNT(*) AS TEXT) FROM usage_hourly UNION ALL SELECT 'log ' || CAST(COUNT(*) AS TEXT) FROM change_log";

/// Something in every table that people and proxies fill, with texts that a carrier of rows could stumble over.
fn fill(server: &Server) -> (String, String) {
    server.add_deployment("gpu");
    let (ada, token) = server.add_user("ada");
    let odd = json!({ "first_name": "\\t", "last_name": "back\\slash \\N ü", "metadata": { "line": "one\ntwo\r\n\\.", "nul": "\\u0000" } });
    server.call("PATCH", &format!("/users/{ada}"), &token, Some(&odd)).expect(200);
    let domain = server.add_domain(&server.admin, "alpha");
    server.add_role(&domain, "callers", &["llm_read", "llm_chat_completions"], &[&ada]);
    let model = json!({ "name": "größe/m", "deployment": "gpu", "upstream_model": "up" });
    server.admin_call("POST", &format!("/api/v1/domains/{domain}/models"), Some(&model)).expect(201);
    let scope = json!({ "entity_type": "domains", "domain_id": domain, "entity_id": domain, "operation": "llm_read" });
    let (_, pat) = make(server, &token, &json!({ "name": "kept", "duration": "1h", "scopes": [scope] }));
    let (gone, _) = make(server, &token, &json!({ "name": "revoked", "duration": "1h" }));
    server.call("PATCH", &format!("/pats/{gone}/secret/revoke"), &token, None).expect(204);
    let group = json!({ "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"], "displayName": "g", "members": [{ "value": ada }] });
    server.admin_call("POST", "/api/scim/v2/Groups", Some(&group)).expect(201);
    let key = json!({ "name": "k", "duration": "1h", "scopes": ["usage:read"] });
    server.admin_call("POST", "/api/v1/api-keys", Some(&key)).expect(201);
    let record = json!({ "seq": 1, "request_id": "r", "at_ms": jiff::Timestamp::now().as_millisecond(), "method": "POST", "path": "/v1/chat/completions",
        "operation": "llm_chat_completions", "domain": domain, "user": ada, "model": "größe/m", "status": 200, "ending": "complete",
        "bytes_in": 1, "bytes_out": 2, "prompt_tokens": 3, "completion_tokens": 4, "first_byte_us": 5, "duration_us": 6 });
    assert_eq!(post_to_feed(server, "/feed/v1/usage?node=n&boot=b", &format!("{record}\n")).status, 204);
    (token, pat)
}

/// What people and proxies see.
fn seen(server: &Server, token: &str) -> Vec<Value> {
    let mut snapshot: Vec<String> = server.snapshot().iter().map(Value::to_string).collect();
    snapshot.sort();
    let by_api = [
        "/users",
        "/api/v1/audit?first=100",
        "/api/v1/usage?group_by=user",
        "/api/v1/api-keys",
        "/api/scim/v2/Groups",
    ];
    let mut seen = vec![json!(snapshot), json!(server.epoch())];
    // Some say at which address they were asked.
    let said = by_api.map(|path| server.admin_call("GET", path, None).expect(200).to_string());
    seen.extend(said.map(|said| json!(said.replace(&server.api, ""))));
    seen.push(server.call("GET", "/pats", token, None).expect(200));
    seen
}

/// Goal: everything moves, and everybody goes on where they were. Method: what API and feed say before and after, the same tokens at both, and
/// a change at the new place, which continues the old history.
#[test]
#[ignore = "needs PostgreSQL: tests/postgres/run.sh"]
fn a_file_moves_to_a_server_whole_and_its_history_goes_on() {
    let mut server = Server::start_on_file();
    let (token, pat) = fill(&server);
    let (before, counts) = (seen(&server, &token), server.texts(COUNTS));
    let said = server.move_to_server();
    assert!(said.lines().any(|line| line.split_whitespace().eq(["2", "pats"])), "{said}");
    let after = seen(&server, &token);
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(before, after);
    }
    assert_eq!(server.texts(COUNTS), counts);
    let by_pat = server.call("GET", "/users/profile", &pat, None);
    assert!(by_pat.status == 200 || by_pat.status == 403, "known: {}", by_pat.text);
    // What is added continues: an event of the audit log behind the last, a generation behind the last, PATs counted.
    let generation =
        |server: &Server| server.texts("SELECT CAST(generation AS TEXT) FROM feed_state")[0].parse::<u64>();
    let old = generation(&server).expect("a number");
    make(&server, &token, &json!({ "name": "new", "duration": "1h" }));
    assert_eq!(generation(&server), Ok(old + 1));
    let events = server.admin_call("GET", "/api/v1/audit?first=1", None).expect(200);
    assert_eq!(text(&events["items"][0], "action"), "pat.create");
    assert_eq!(server.texts("SELECT CAST(value AS TEXT) FROM totals"), ["3"]);
    // Once: what is there is not written over.
    let refused = server.run_import().expect_err("it is in use");
    assert!(refused.contains("not empty"), "{refused}");
    assert_eq!(generation(&server), Ok(old + 1));
}

#[test]
fn a_file_is_not_filled_from_a_file() {
    let server = Server::start_on_file();
    let refused = server.run_import().expect_err("it is a file");
    assert!(refused.contains("only a database of a PostgreSQL server"), "{refused}");
}
