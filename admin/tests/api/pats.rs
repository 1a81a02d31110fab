//! Personal Access Tokens: rows P1 to P12 and P16 to P21 of the feature list.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use cube_wire::pat;

use crate::support::{Answer, Server, Value, json, text};

/// Makes a PAT; returns its identifier and its plain text.
#[track_caller]
pub(crate) fn make(server: &Server, token: &str, body: &Value) -> (String, String) {
    let made = server.call("POST", "/pats", token, Some(body)).expect(201);
    (text(&made, "id"), text(&made, "secret"))
}

/// Whether the management API takes the credential.
fn good(server: &Server, credential: &str) -> bool {
    match server.call("GET", "/users/profile", credential, None) {
        Answer { status: 200, .. } => true,
        answer => {
            assert_eq!(answer.expect_error(401), "unauthenticated");
            false
        }
    }
}

fn named(name: &str) -> Value {
    json!({ "name": name, "duration": "1h" })
}

/// P1
#[test]
fn a_pat_has_the_documented_form_and_names_its_owner_and_itself() {
    let server = Server::start_with("[pats]\nper_user_max = 100\n");
    let (ada, token) = server.add_user("ada");
    let mut seen = BTreeSet::new();
    for number in 0..100 {
        let (id, secret) = make(&server, &token, &named(&format!("pat {number}")));
        let ids = pat::parse(secret.as_bytes()).expect("a PAT");
        assert_eq!((ids.user.to_string(), ids.pat.to_string()), (ada.clone(), id));
        assert_eq!(secret.len(), pat::PAT_LEN);
        assert!(secret.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')));
        assert!(seen.insert(secret));
    }
}

/// P2, P4, P19
#[test]
fn the_plain_text_is_shown_once_and_is_nowhere_else() {
    let mut server = Server::start();
    let (_, token) = server.add_user("ada");
    let body = json!({ "name": "ci", "description": "for the build", "duration": "30d", "cidrs": ["127.0.0.1"],
        "scopes": [{ "entity_type": "users", "entity_id": "*", "operation": "read" }] });
    let made = server.call("POST", "/pats", &token, Some(&body));
    assert_eq!(made.header("cache-control"), Some("no-store"));
    let made = made.expect(201);
    let (id, first) = (text(&made, "id"), text(&made, "secret"));
    for (field, value) in [("name", "ci"), ("description", "for the build"), ("status", "active")] {
        assert_eq!(made[field], value);
    }
    assert_eq!(made["cidrs"], json!(["127.0.0.1/32"]));
    assert_eq!((made.get("revoked"), made.get("revoked_at"), made.get("last_used_at")), (None, None, None));
    let reset = server
        .call(
            "PATCH",
            &format!("/pats/{id}/secret/reset"),
            &token,
            Some(&json!({ "duration": "1h", "grace": "1h" })),
        )
        .expect(200);
    let second = text(&reset, "secret");
    assert!(good(&server, &first) && good(&server, &second));

    let mut answers = String::new();
    for (method, path, body) in [
        ("GET", "/pats?status=all".to_owned(), None),
        ("GET", format!("/pats/{id}"), None),
        ("PATCH", format!("/pats/{id}/name"), Some(json!({ "name": "ci 2" }))),
        ("PATCH", format!("/pats/{id}/description"), Some(json!({ "description": "for builds" }))),
        ("GET", format!("/pats/{id}/scope"), None),
    ] {
        let answer = server.call(method, &path, &token, body.as_ref());
        assert!(answer.status < 300, "{}", answer.text);
        assert!(answer.json().get("secret").is_none(), "{}", answer.text);
        answers += &answer.text;
    }
    let everything = [answers.into_bytes(), server.whole_state()].concat();
    server.kill_and_restart();
    let everything = [everything, server.whole_state()].concat();
    let holds = |needle: &[u8]| memchr_find(&everything, needle);
    for secret in [&first, &second] {
        // Everything after the identifiers is secret; no part of it may be anywhere.
        assert!(!holds(&secret.as_bytes()[48..72]), "plain text in the state, the log or an answer");
    }
    assert!(holds(b"ci 2"), "the state was searched");
}

fn memchr_find(hay: &[u8], needle: &[u8]) -> bool {
    hay.windows(needle.len()).any(|window| window == needle)
}

/// P5
#[test]
fn lifetimes_are_taken_in_both_syntaxes_and_must_be_chosen() {
    let server = Server::start_with("[pats]\nlifetime_max_days = 366\n");
    let (_, token) = server.add_user("ada");
    for duration in ["24h", "1h30m", "30d", "1y", "2w", "3600", "366d"] {
        make(&server, &token, &json!({ "name": duration, "duration": duration }));
    }
    for duration in ["", "-1h", "0", "abc", "367d", "2y", "999ms"] {
        let body = json!({ "name": "x", "duration": duration });
        server.call("POST", "/pats", &token, Some(&body)).expect_error(400);
    }
    server.call("POST", "/pats", &token, Some(&json!({ "name": "x" }))).expect_error(400);
    server.call("POST", "/pats", &token, Some(&json!({ "name": "x", "duration": 3600 }))).expect_error(400);
}

/// P6
#[test]
fn a_pat_ends_when_it_said_it_would() {
    let server = Server::start();
    let (_, token) = server.add_user("ada");
    let before = SystemTime::now();
    let (id, secret) = make(&server, &token, &json!({ "name": "short", "duration": "2s" }));
    let after = SystemTime::now();
    let end = server.call("GET", &format!("/pats/{id}"), &token, None).expect(200);
    let end = SystemTime::from(text(&end, "expires_at").parse::<jiff::Timestamp>().expect("a time"));
    // On whole seconds, and never early.
    assert!(before + Duration::from_secs(2) <= end && end <= after + Duration::from_secs(3), "{end:?}");
    // Whenever the machine lets us ask: good until then, and not after.
    loop {
        let asked = SystemTime::now();
        if !good(&server, &secret) {
            break;
        }
        assert!(asked < end);
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(SystemTime::now() >= end);
    assert_eq!(server.call("GET", &format!("/pats/{id}"), &token, None).expect(200)["status"], "expired");
}

/// P7
#[test]
fn lists_are_paged_filtered_and_newest_first() {
    let server = Server::start();
    let (_, token) = server.add_user("ada");
    let (_, other) = server.add_user("bob");
    make(&server, &other, &named("bobs"));
    for name in ["one", "Two", "three_x", "short"] {
        let duration = if name == "short" { "1s" } else { "1h" };
        make(&server, &token, &json!({ "name": name, "duration": duration }));
        // Newest first is by the millisecond.
        std::thread::sleep(Duration::from_millis(2));
    }
    let list = |query: &str| server.call("GET", &format!("/pats?{query}"), &token, None).expect(200);
    let names = |page: &Value| -> Vec<String> {
        page["pats"].as_array().expect("a list").iter().map(|pat| text(pat, "name")).collect()
    };
    let two = text(&list("name=tWO")["pats"][0], "id");
    server.call("PATCH", &format!("/pats/{two}/secret/revoke"), &token, None).expect(204);
    std::thread::sleep(Duration::from_millis(2_100));
    assert_eq!(names(&list("")), ["three_x", "one"]);
    assert_eq!(names(&list("status=active")), ["three_x", "one"]);
    assert_eq!(names(&list("status=revoked")), ["Two"]);
    assert_eq!(names(&list("status=expired")), ["short"]);
    assert_eq!(names(&list("status=all")), ["short", "three_x", "Two", "one"]);
    assert_eq!(names(&list("status=all&name=T")), ["short", "three_x", "Two"]);
    assert_eq!(names(&list("name=E_X")), ["three_x"]);
    assert!(names(&list("name=e%25x")).is_empty());
    assert_eq!(names(&list(&format!("status=all&id={two}"))), ["Two"]);
    let page = list("status=all&limit=2&offset=1");
    assert_eq!(
        (page["total"].as_i64(), page["offset"].as_i64(), page["limit"].as_i64()),
        (Some(4), Some(1), Some(2))
    );
    assert_eq!(names(&page), ["three_x", "Two"]);
    assert!(names(&list("offset=9")).is_empty());
    for query in ["limit=0", "limit=101", "offset=-1", "status=gone", "id=x"] {
        server.call("GET", &format!("/pats?{query}"), &token, None).expect_error(400);
    }
}

/// P8, and §2.7: other users' identifiers are nobody's, on every path.
#[test]
fn unknown_pats_and_other_users_pats_look_the_same() {
    let server = Server::start();
    let (_, ada) = server.add_user("ada");
    let (id, secret) = make(&server, &ada, &named("ci"));
    assert_eq!(server.call("GET", &format!("/pats/{id}"), &ada, None).expect(200)["name"], "ci");
    let (_, bob) = server.add_user("bob");
    let nobodys = uuid::Uuid::new_v4().to_string();
    let scope = json!({ "entity_type": "users", "entity_id": "*", "operation": "read" });
    for (token, id) in [(&bob, &id), (&server.admin, &id), (&ada, &nobodys), (&ada, &"x".to_owned())] {
        for (method, path, body) in [
            ("GET", "", None),
            ("DELETE", "", None),
            ("PATCH", "/name", Some(json!({ "name": "mine" }))),
            ("PATCH", "/description", Some(json!({ "description": "mine" }))),
            ("PATCH", "/secret/reset", Some(json!({ "duration": "1h" }))),
            ("PATCH", "/secret/revoke", None),
            ("GET", "/scope", None),
            ("DELETE", "/scope", None),
            ("PATCH", "/scope/add", Some(json!({ "scopes": [scope] }))),
            ("PATCH", "/scope/remove", Some(json!({ "scopes_id": [nobodys] }))),
        ] {
            let answer = server.call(method, &format!("/pats/{id}{path}"), token, body.as_ref());
            assert_eq!(answer.expect_error(404), "not_found", "{method} {path}");
        }
    }
    assert_eq!(server.admin_call("GET", "/pats?status=all", None).expect(200)["total"], 0);
    assert!(good(&server, &secret));
}

/// P9, P17
#[test]
fn names_are_unique_for_a_user_and_a_new_name_leaves_the_secret_alone() {
    let server = Server::start();
    let (_, token) = server.add_user("ada");
    let (_, bob) = server.add_user("bob");
    let (id, secret) = make(&server, &token, &named("ci"));
    make(&server, &token, &named("taken"));
    make(&server, &bob, &named("ci"));
    assert_eq!(server.call("POST", "/pats", &token, Some(&named("ci"))).expect_error(409), "conflict");
    let before = server.call("GET", &format!("/pats/{id}"), &token, None).expect(200);
    std::thread::sleep(Duration::from_millis(2));
    let path = format!("/pats/{id}/name");
    let renamed = server.call("PATCH", &path, &token, Some(&json!({ "name": "build" }))).expect(202);
    assert_eq!(renamed["name"], "build");
    assert!(text(&renamed, "updated_at") > text(&before, "updated_at"));
    let path_description = format!("/pats/{id}/description");
    let described = json!({ "description": "builds" });
    let described = server.call("PATCH", &path_description, &token, Some(&described)).expect(202);
    assert_eq!((&described["name"], &described["description"]), (&json!("build"), &json!("builds")));
    server.call("PATCH", &path, &token, Some(&json!({ "name": "taken" }))).expect_error(409);
    for name in ["", "  ", "a\u{0}b", &"n".repeat(255)] {
        server.call("PATCH", &path, &token, Some(&json!({ "name": name }))).expect_error(400);
        server.call("POST", "/pats", &token, Some(&named(name))).expect_error(400);
    }
    server.call("PATCH", &path_description, &token, Some(&json!({ "description": "" }))).expect_error(400);
    server.raw("PATCH", &path, &[("authorization", &format!("Bearer {token}"))], b"{}").expect_error(415);
    assert!(good(&server, &secret));
}

/// P10
#[test]
fn a_deleted_pat_is_refused_and_clearing_takes_ones_own_alone() {
    let server = Server::start();
    let (_, ada) = server.add_user("ada");
    let (_, bob) = server.add_user("bob");
    let (id, first) = make(&server, &ada, &named("one"));
    let (_, second) = make(&server, &ada, &named("two"));
    let (_, bobs) = make(&server, &bob, &named("one"));
    server.call("DELETE", &format!("/pats/{id}"), &ada, None).expect(204);
    assert!(!good(&server, &first) && good(&server, &second));
    server.call("DELETE", &format!("/pats/{id}"), &ada, None).expect_error(404);
    let cleared = server.call("DELETE", "/pats", &ada, None);
    assert_eq!((cleared.status, &*cleared.text), (200, ""));
    assert!(!good(&server, &second) && good(&server, &bobs));
    assert_eq!(server.call("GET", "/pats?status=all", &ada, None).expect(200)["total"], 0);
    server.call("DELETE", "/pats", &ada, None).expect(200);
}

/// P11 (how fast proxies hear of it is the feed's to show)
#[test]
fn a_revoked_pat_is_refused_at_once_and_stays_in_the_list() {
    let server = Server::start();
    let (_, token) = server.add_user("ada");
    let (id, secret) = make(&server, &token, &named("ci"));
    let path = format!("/pats/{id}/secret/revoke");
    server.call("PATCH", &path, &token, None).expect(204);
    assert!(!good(&server, &secret));
    let seen = server.call("GET", &format!("/pats/{id}"), &token, None).expect(200);
    assert_eq!((&seen["status"], &seen["revoked"]), (&json!("revoked"), &json!(true)));
    server.call("PATCH", &path, &token, None).expect(204);
    let again = server.call("GET", &format!("/pats/{id}"), &token, None).expect(200);
    assert_eq!(again["revoked_at"], seen["revoked_at"]);
}

/// P12
#[test]
fn a_reset_gives_a_new_secret_to_the_same_pat_and_takes_a_revocation_back() {
    let server = Server::start();
    let (_, token) = server.add_user("ada");
    let scope = json!({ "entity_type": "users", "entity_id": "*", "operation": "read" });
    let (id, old) = make(&server, &token, &json!({ "name": "ci", "duration": "1h", "scopes": [scope] }));
    let reset = |body: Value| server.call("PATCH", &format!("/pats/{id}/secret/reset"), &token, Some(&body));
    let scopes = || server.call("GET", &format!("/pats/{id}/scope"), &token, None).expect(200);
    let before = scopes();
    let answer = reset(json!({ "duration": "2h" }));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let answer = answer.expect(200);
    let new = text(&answer, "secret");
    assert_eq!((text(&answer, "id"), scopes()), (id.clone(), before));
    assert_eq!(pat::parse(new.as_bytes()), pat::parse(old.as_bytes()));
    assert!(!good(&server, &old) && good(&server, &new));

    server.call("PATCH", &format!("/pats/{id}/secret/revoke"), &token, None).expect(204);
    // What was revoked does not come back, grace or not.
    let answer = reset(json!({ "duration": "2h", "grace": "1h" })).expect(200);
    assert_eq!((&answer["status"], answer.get("old_secret_until")), (&json!("active"), None));
    assert!(!good(&server, &new) && good(&server, &text(&answer, "secret")));
    for body in [
        json!({}),
        json!({ "duration": "" }),
        json!({ "duration": "1h", "grace": "8d" }),
        json!({ "duration": "1h", "grace": "x" }),
        json!({ "duration": "10y" }),
    ] {
        reset(body).expect_error(400);
    }
}

/// P12, with our grace
#[test]
fn an_old_secret_stays_good_until_its_grace_or_its_own_end_and_not_beyond_a_revocation() {
    let server = Server::start();
    let (_, token) = server.add_user("ada");
    let (id, old) = make(&server, &token, &named("ci"));
    let reset = |grace: &str| {
        let body = json!({ "duration": "1d", "grace": grace });
        server.call("PATCH", &format!("/pats/{id}/secret/reset"), &token, Some(&body)).expect(200)
    };
    let first = server.call("GET", &format!("/pats/{id}"), &token, None).expect(200);
    let answer = reset("7d");
    // An hour was all it had.
    assert_eq!(answer["old_secret_until"], first["expires_at"]);
    let second = text(&answer, "secret");
    assert!(good(&server, &old) && good(&server, &second));
    let third = text(&reset("1s"), "secret");
    assert!(!good(&server, &old), "one former secret, not two");
    assert!(good(&server, &third));
    std::thread::sleep(Duration::from_millis(2_100));
    assert!(!good(&server, &second) && good(&server, &third));
    let fourth = text(&reset("1h"), "secret");
    assert!(good(&server, &third));
    server.call("PATCH", &format!("/pats/{id}/secret/revoke"), &token, None).expect(204);
    assert!(!good(&server, &third) && !good(&server, &fourth));
}

/// P16
#[test]
fn a_pat_cannot_manage_pats_or_logins_whatever_it_may_do() {
    let server = Server::start();
    for (name, token) in [("ada", server.add_user("ada").1), ("admin", server.admin.clone())] {
        let (id, secret) =
            make(&server, &token, &json!({ "name": "all", "duration": "1h", "full_access": true }));
        assert!(good(&server, &secret));
        for (method, path, body) in [
            ("POST", "/pats".to_owned(), Some(named("child"))),
            ("GET", "/pats".to_owned(), None),
            ("DELETE", "/pats".to_owned(), None),
            ("GET", format!("/pats/{id}"), None),
            ("DELETE", format!("/pats/{id}"), None),
            ("PATCH", format!("/pats/{id}/name"), Some(json!({ "name": "x" }))),
            ("PATCH", format!("/pats/{id}/description"), Some(json!({ "description": "x" }))),
            ("PATCH", format!("/pats/{id}/secret/reset"), Some(json!({ "duration": "1h" }))),
            ("PATCH", format!("/pats/{id}/secret/revoke"), None),
            ("GET", format!("/pats/{id}/scope"), None),
            ("DELETE", format!("/pats/{id}/scope"), None),
            ("PATCH", format!("/pats/{id}/scope/add"), Some(json!({ "scopes": [] }))),
            ("PATCH", format!("/pats/{id}/scope/remove"), Some(json!({ "scopes_id": [] }))),
            ("GET", "/users/tokens/refresh-tokens".to_owned(), None),
            ("POST", "/users/tokens/revoke".to_owned(), Some(json!({ "token_id": "x" }))),
            (
                "PATCH",
                "/users/secret".to_owned(),
                Some(json!({ "old_secret": "xxxxxxxx", "new_secret": "xxxxxxxx" })),
            ),
        ] {
            let answer = server.call(method, &path, &secret, body.as_ref());
            assert_eq!(answer.expect_error(403), "forbidden", "{name}: {method} {path}");
        }
    }
}

/// P18
#[test]
fn what_is_not_a_pat_is_refused_and_never_breaks_anything() {
    let server = Server::start();
    let (ada, token) = server.add_user("ada");
    let (_, secret) = make(&server, &token, &named("ci"));
    let ids = pat::parse(secret.as_bytes()).expect("a PAT");
    let guess = pat::mint(ids, &[7; 32]).expose().to_owned();
    let nobodys = pat::PatIds { pat: cube_wire::PatId(uuid::Uuid::new_v4()), ..ids };
    let nobodys = pat::mint(nobodys, &[7; 32]).expose().to_owned();
    let mut wrong: Vec<String> = ["pat", "pat_", "pat__", "pat_x_y_z", &ada, &guess, &nobodys, "pat_ x"]
        .into_iter()
        .map(str::to_owned)
        .collect();
    wrong.extend((1..secret.len()).step_by(7).map(|len| secret[..len].to_owned()));
    wrong.push(format!("{secret}x"));
    wrong.push(secret.to_uppercase());
    wrong.push("pat_".to_owned() + &"A".repeat(8_000));
    for at in (4..secret.len()).step_by(5) {
        let mut bytes = secret.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        wrong.push(String::from_utf8(bytes).expect("ASCII"));
    }
    for credential in wrong {
        let authorization = format!("Bearer {credential}");
        let answer = server.raw("GET", "/users/profile", &[("authorization", &authorization)], b"");
        assert!(matches!(answer.status, 400 | 401), "{credential}: {}", answer.status);
    }
    for authorization in ["Bearer", "Bearer ", "Basic YTpi", &secret, "pat"] {
        server.raw("GET", "/users/profile", &[("authorization", authorization)], b"").expect_error(401);
    }
    for scheme in ["bearer ", "BEARER ", "Bearer   "] {
        let authorization = format!("{scheme}{secret}");
        server.raw("GET", "/users/profile", &[("authorization", &authorization)], b"").expect(200);
    }
}

/// P20 (as far as the management API sees it; proxies tell the rest)
#[test]
fn the_last_use_is_noted_without_a_write_for_every_request() {
    let server = Server::start();
    let (_, token) = server.add_user("ada");
    let (id, secret) = make(&server, &token, &named("ci"));
    let last =
        || server.call("GET", &format!("/pats/{id}"), &token, None).expect(200)["last_used_at"].clone();
    assert!(last().is_null());
    assert!(good(&server, &secret));
    let first = last();
    assert!(first.is_string());
    assert!((0..20).all(|_| good(&server, &secret)));
    assert_eq!(last(), first);
}

/// P21
#[test]
fn a_user_has_so_many_pats_and_no_more() {
    let server = Server::start_with("[pats]\nper_user_max = 3\n");
    let (_, token) = server.add_user("ada");
    let ids: Vec<String> = (0..3).map(|at| make(&server, &token, &named(&at.to_string())).0).collect();
    let answer = server.call("POST", "/pats", &token, Some(&named("3")));
    assert_eq!(answer.expect_error(409), "conflict");
    assert!(answer.text.contains("at most 3"), "{}", answer.text);
    make(&server, &server.add_user("bob").1, &named("3"));
    server.call("DELETE", &format!("/pats/{}", ids[0]), &token, None).expect(204);
    make(&server, &token, &named("3"));
}

/// P21
#[test]
fn there_are_so_many_pats_in_all_and_no_more() {
    let server = Server::start_with("[pats]\ntotal_max = 3\n");
    let (ada, of_ada) = server.add_user("ada");
    let (_, of_bob) = server.add_user("bob");
    make(&server, &of_ada, &named("1"));
    make(&server, &of_ada, &named("2"));
    let (third, _) = make(&server, &of_bob, &named("3"));
    let full = || server.call("POST", "/pats", &of_bob, Some(&named("4")));
    assert_eq!(full().expect_error(409), "conflict");
    assert!(full().text.contains("at most 3"), "{}", full().text);
    // A revoked one is still there; deleted ones, and those of a deleted user, are not.
    server.call("PATCH", &format!("/pats/{third}/secret/revoke"), &of_bob, None).expect(204);
    full().expect_error(409);
    server.call("DELETE", &format!("/pats/{third}"), &of_bob, None).expect(204);
    make(&server, &of_bob, &named("4"));
    server.admin_call("DELETE", &format!("/users/{ada}"), None).expect(204);
    make(&server, &of_bob, &named("5"));
    make(&server, &of_bob, &named("6"));
    server.call("POST", "/pats", &of_bob, Some(&named("7"))).expect_error(409);
}

#[test]
fn a_pat_is_taken_from_the_addresses_that_it_is_for() {
    let server = Server::start();
    let (_, token) = server.add_user("ada");
    let body = |name: &str, cidrs: &[&str]| json!({ "name": name, "duration": "1h", "cidrs": cidrs });
    let (_, here) = make(&server, &token, &body("here", &["10.0.0.0/8", "127.0.0.0/8"]));
    let (_, elsewhere) = make(&server, &token, &body("elsewhere", &["192.0.2.0/24"]));
    assert!(good(&server, &here) && !good(&server, &elsewhere));
    let authorization = format!("Bearer {elsewhere}");
    let forwarded = [("authorization", &*authorization), ("x-forwarded-for", "198.51.100.1, 192.0.2.7")];
    server.raw("GET", "/users/profile", &forwarded, b"").expect(200);
    for cidrs in [&["x"][..], &["10.0.0.1/8"], &["::/129"], &["10.0.0.0/8"; 65]] {
        server.call("POST", "/pats", &token, Some(&body("bad", cidrs))).expect_error(400);
    }
}

#[test]
fn a_disabled_user_s_pats_stop_and_a_deleted_user_s_are_gone() {
    let server = Server::start();
    let (ada, token) = server.add_user("ada");
    let (_, secret) = make(&server, &token, &named("ci"));
    server.admin_call("POST", &format!("/users/{ada}/disable"), None).expect(200);
    assert!(!good(&server, &secret));
    server.admin_call("POST", &format!("/users/{ada}/enable"), None).expect(200);
    assert!(good(&server, &secret));
    server.admin_call("DELETE", &format!("/users/{ada}"), None).expect(204);
    assert!(!good(&server, &secret));
}
