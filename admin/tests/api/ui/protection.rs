//! What pages refuse, whoever sends it: forged forms, markup in texts, and what browsers are told.

use crate::support::{ADMIN, Browser, Server, json};

/// Every page that needs no identifier.
pub(crate) const PAGES: &[&str] =
    &["/ui/", "/ui/pats", "/ui/pats/new", "/ui/account", "/ui/sessions", "/ui/reports", "/ui/in-force"];

#[test]
fn a_form_that_is_not_from_our_pages_changes_nothing() {
    let server = Server::start();
    let mut browser = Browser::signed_in(&server, ADMIN.0, ADMIN.1);
    let csrf = browser.csrf();
    let action = "/ui/account";
    let names = [("first_name", "Mallory"), ("last_name", "")];
    let own = server.api.clone();
    for (origin, csrf, what) in [
        ("https://evil.example", &*csrf, "another origin"),
        ("null", &csrf, "an opaque origin"),
        ("", &csrf, "no origin"),
        (&own, "", "no csrf"),
        (&own, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "a made up csrf"),
    ] {
        let answer = browser.post_from(origin, action, csrf, &names);
        assert_eq!(answer.status, 403, "{what}");
        assert!(answer.text.contains("Nothing was changed"), "{what}");
    }
    // Another user's csrf is none of this session's.
    server.add_user("eve");
    let hers = Browser::of_user(&server, "eve").csrf();
    assert_eq!(browser.post(action, &hers, &names).status, 403);
    assert!(!browser.get("/ui/account").text.contains("Mallory"));
    let json = browser.send("POST", action, &[("origin", &own), ("content-type", "application/json")], b"{}");
    assert_eq!(json.status, 415);
    let large = vec![b'a'; 300 * 1024];
    let form = [("origin", &*own), ("content-type", "application/x-www-form-urlencoded")];
    assert_eq!(browser.send("POST", action, &form, &large).status, 413);
    for method in ["PUT", "DELETE", "PATCH"] {
        assert!([403, 405].contains(&browser.send(method, action, &[], b"").status), "{method}");
    }
    assert_eq!(browser.post(action, &csrf, &names).status, 303, "the real one is done");
    assert!(browser.get("/ui/account").text.contains("Mallory"));
}

#[test]
fn signing_in_cannot_be_forged_either() {
    let server = Server::start();
    let fields = [("username", ADMIN.0), ("password", ADMIN.1)];
    let mut browser = Browser::new(&server);
    assert_eq!(browser.post("/ui/sign-in", "", &fields).status, 403);
    let other = Browser::new(&server).get("/ui/sign-in");
    let csrf = crate::support::between(&other.text, "name=\"csrf\" value=\"", "\"").to_owned();
    browser.get("/ui/sign-in");
    assert_eq!(browser.post("/ui/sign-in", &csrf, &fields).status, 403, "bound to another visit");
}

#[test]
fn every_page_tells_browsers_what_it_is_made_of() {
    let server = Server::start();
    let mut nobody = Browser::new(&server);
    let mut admin = Browser::signed_in(&server, ADMIN.0, ADMIN.1);
    let check = |browser: &mut Browser<'_>, path: &str, status: u16| {
        let answer = browser.get(path);
        assert_eq!(answer.status, status, "{path}");
        let policy = answer.header("content-security-policy").unwrap_or_default();
        for part in [
            "default-src 'none'",
            "script-src 'self';",
            "style-src 'self';",
            "frame-ancestors 'none'",
            "base-uri 'none'",
            "form-action 'self'",
            "report-uri /ui/csp-report",
        ] {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        for (name, value) in [
            ("cache-control", "no-store"),
            ("referrer-policy", "same-origin"),
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("cross-origin-opener-policy", "same-origin"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{path} {name}");
        }
        if status != 303 {
            for inline in ["<script>", "<style", " style=", " onclick=", "javascript:"] {
                assert!(!answer.text.contains(inline), "{path} has {inline}");
            }
            assert!(answer.text.contains("<html lang=\"en\""), "{path}");
        }
    };
    for path in PAGES {
        check(&mut admin, path, 200);
        check(&mut nobody, path, 303);
    }
    check(&mut nobody, "/ui/sign-in", 200);
    check(&mut nobody, "/ui/no-such-page", 404);
    check(&mut admin, "/ui/no-such-page", 404);
    check(&mut admin, "/ui/pats/x", 404);
}

#[test]
fn assets_are_kept_for_ever_and_nothing_comes_from_elsewhere() {
    let server = Server::start();
    let page = Browser::new(&server).get("/ui/sign-in").text;
    let targets: Vec<&str> = ["src=\"", "href=\""]
        .iter()
        .flat_map(|mark| page.split(mark).skip(1))
        .map(|rest| rest.split('"').next().unwrap_or_default())
        .collect();
    assert!(targets.len() > 3);
    for target in targets {
        assert!(target.starts_with("/ui/") || target == "#main", "{target}");
        if target.starts_with("/ui/assets/") {
            let asset = server.raw("GET", target.split('#').next().unwrap_or_default(), &[], b"");
            assert_eq!(asset.status, 200, "{target}");
            assert!(asset.header("cache-control").is_some_and(|value| value.contains("immutable")));
            assert_eq!(asset.header("x-content-type-options"), Some("nosniff"));
            assert!(
                !asset.text.contains("http://") || target.ends_with("svg") || target.contains(".svg#"),
                "{target}"
            );
        }
    }
    assert_eq!(server.raw("GET", "/ui/assets/style-000000000000.css", &[], b"").status, 404);
}

#[test]
fn browsers_are_led_from_the_door_to_the_pages_and_programs_are_not() {
    let server = Server::start();
    let browser = server.raw("GET", "/", &[("accept", "text/html,*/*")], b"");
    assert_eq!((browser.status, browser.header("location")), (303, Some("/ui/")));
    assert_eq!(server.raw("GET", "/", &[("accept", "*/*")], b"").expect_error(404), "not_found");
}

#[test]
fn reports_of_browsers_are_few_short_and_for_superadmins() {
    let server = Server::start();
    server.add_user("ann");
    let report = json!({ "csp-report": { "blocked-uri": "https://evil.example/<script>" } }).to_string();
    for _ in 0..70 {
        let answer = server.raw(
            "POST",
            "/ui/csp-report",
            &[("content-type", "application/csp-report")],
            report.as_bytes(),
        );
        assert_eq!(answer.status, 204);
    }
    assert_eq!(server.raw("POST", "/ui/csp-report", &[], b"no json").status, 400);
    assert_eq!(server.raw("POST", "/ui/csp-report", &[], &[b' '; 5000]).status, 413);
    let page = Browser::signed_in(&server, ADMIN.0, ADMIN.1).get("/ui/reports").text;
    assert_eq!(page.matches("evil.example").count(), 64);
    assert!(!page.contains("<script>"), "a report is a text like any other");
    assert_eq!(Browser::of_user(&server, "ann").get("/ui/reports").status, 403);
}
