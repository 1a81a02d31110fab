//! Signing in and out, and what a session's cookie is.

use crate::support::{ADMIN, Browser, Server, between};

#[test]
fn a_session_begins_with_the_password_and_ends_when_it_is_told_to() {
    let server = Server::start();
    let mut browser = Browser::new(&server);
    let away = browser.get("/ui/pats?status=all");
    assert_eq!(
        (away.status, away.header("location")),
        (303, Some("/ui/sign-in?next=%2Fui%2Fpats%3Fstatus%3Dall"))
    );

    let wrong = browser.sign_in(ADMIN.0, "not the password");
    assert_eq!(wrong.status, 401);
    assert!(wrong.text.contains("Wrong username or password"), "{}", wrong.text);
    assert!(wrong.text.contains("value=\"admin\"") && !wrong.text.contains("not the password"));
    assert_eq!(browser.session(), "");
    let empty = browser.sign_in("", "");
    assert!(empty.status == 400 && empty.text.contains("Enter your password"), "{}", empty.text);

    let fields = [("username", ADMIN.0), ("password", ADMIN.1), ("next", "/ui/pats?status=all")];
    let begun = browser.fill("/ui/sign-in", "/ui/sign-in", &fields);
    assert_eq!((begun.status, begun.header("location")), (303, Some("/ui/pats?status=all")));
    let held = browser.session().to_owned();
    assert_eq!(browser.get("/ui/").status, 200);
    // It is a login like any other, and neither an access token nor a refresh token.
    assert_eq!(server.call("GET", "/users/profile", &held, None).expect_error(401), "unauthenticated");
    assert_eq!(server.call("POST", "/users/tokens/refresh", &held, None).status, 401);

    let out = browser.fill("/ui/", "/ui/sign-out", &[]);
    assert_eq!(out.header("location"), Some("/ui/sign-in?done=signed-out"));
    assert_eq!(browser.session(), "");
    // Whoever kept a copy of the cookie has nothing.
    browser.steal(&held);
    assert_eq!(browser.get("/ui/").status, 303);
}

#[test]
fn nobody_is_led_away_from_our_pages() {
    let server = Server::start();
    for next in
        ["//evil.example", "https://evil.example/ui/", "/ui//evil.example", "/\\evil.example", "/users"]
    {
        let mut browser = Browser::new(&server);
        let fields = [("username", ADMIN.0), ("password", ADMIN.1), ("next", next)];
        let begun = browser.fill("/ui/sign-in", "/ui/sign-in", &fields);
        assert_eq!((begun.status, begun.header("location")), (303, Some("/ui/")), "{next}");
        let theme = browser.fill("/ui/", "/ui/theme", &[("theme", "dark"), ("target", next)]);
        assert_eq!(theme.header("location"), Some("/ui/"), "{next}");
        let query = form_urlencoded::byte_serialize(next.as_bytes()).collect::<String>();
        let there = browser.get(&format!("/ui/sign-in?next={query}"));
        assert_eq!(there.header("location"), Some("/ui/"), "{next}");
    }
}

#[test]
fn a_cookie_is_for_http_only_and_over_tls_for_this_host_only() {
    let server = Server::start();
    let cookie_of = |server: &Server, headers: &[(&str, &str)]| {
        let page = server.raw("GET", "/ui/sign-in", headers, b"");
        let visit = page.header("set-cookie").expect("forms are bound to the visit").to_owned();
        let pair = visit.split(';').next().unwrap_or_default().to_owned();
        let csrf = between(&page.text, "name=\"csrf\" value=\"", "\"").to_owned();
        let origin = if headers.is_empty() { server.api.clone() } else { "https://cube.example".to_owned() };
        let mut all = vec![
            ("origin", &*origin),
            ("cookie", &*pair),
            ("content-type", "application/x-www-form-urlencoded"),
        ];
        all.extend(headers);
        let body = format!("csrf={csrf}&username={}&password={}", ADMIN.0, ADMIN.1.replace(' ', "+"));
        let begun = server.raw("POST", "/ui/sign-in", &all, body.as_bytes());
        assert_eq!(begun.status, 303, "{}", begun.text);
        begun.header("set-cookie").expect("a session").to_owned()
    };
    let plain = cookie_of(&server, &[]);
    assert!(plain.starts_with("cube_session=ey"), "{plain}");
    assert!(plain.ends_with("; Path=/; HttpOnly; SameSite=Lax"), "{plain}");
    // The peer is on loopback, which the settings trust by default: what it says of TLS and host counts.
    let tls = [("x-forwarded-proto", "https"), ("x-forwarded-host", "cube.example")];
    let secure = cookie_of(&server, &tls);
    assert!(secure.starts_with("__Host-cube_session=ey"), "{secure}");
    assert!(secure.ends_with("; Path=/; HttpOnly; SameSite=Lax; Secure"), "{secure}");
    let always = Server::start_with("[ui]\nsecure_cookies = true\n");
    let answer = always.raw("GET", "/ui/sign-in", &[], b"");
    assert!(answer.header("set-cookie").is_some_and(|cookie| cookie.starts_with("__Host-")));
}

#[test]
fn sessions_are_listed_and_ended_and_a_new_password_ends_all() {
    let server = Server::start();
    server.add_user("ann");
    let mut one = Browser::of_user(&server, "ann");
    let mut other = Browser::of_user(&server, "ann");
    let page = one.get("/ui/sessions").text;
    assert!(
        page.contains("This one") && page.matches("/end\"").count() == 3,
        "two browsers and a program: {page}"
    );
    let csrf = one.csrf();
    assert_eq!(one.post("/ui/sessions/end-others", &csrf, &[]).status, 303);
    assert_eq!(other.get("/ui/").status, 303);
    assert_eq!(one.get("/ui/").status, 200);
    // Another user's session is none of ours.
    let mut bob = {
        server.add_user("bob");
        Browser::of_user(&server, "bob")
    };
    let page = one.get("/ui/sessions").text;
    let id = between(&page, "/ui/sessions/", "/end").replace("end-others", "");
    let csrf = bob.csrf();
    assert_eq!(bob.post(&format!("/ui/sessions/{id}/end"), &csrf, &[]).status, 404);

    let change = |browser: &mut Browser<'_>, old: &str, new: &str, again: &str| {
        browser.fill(
            "/ui/account",
            "/ui/account/password",
            &[("old", old), ("password", new), ("again", again)],
        )
    };
    let wrong = change(&mut one, "nonsense", "a new password", "a new password");
    assert!(wrong.status == 401 && wrong.text.contains("not your current password"));
    let differ = change(&mut one, "password of ann", "a new password", "another");
    assert!(differ.status == 400 && differ.text.contains("not the same"));
    let short = change(&mut one, "password of ann", "short", "short");
    assert!(short.status == 400 && short.text.contains("Between 8 and 1024"), "{}", short.text);
    let done = change(&mut one, "password of ann", "a new password", "a new password");
    assert_eq!(done.header("location"), Some("/ui/sign-in?done=password"));
    assert_eq!(Browser::new(&server).sign_in("ann", "password of ann").status, 401);
    Browser::signed_in(&server, "ann", "a new password");
}

#[test]
fn a_session_ends_by_itself_and_with_its_user() {
    let server = Server::start_with("[login]\nrefresh_lifetime_s = 2\n");
    let (id, _) = server.add_user("ann");
    let begun = std::time::Instant::now();
    let mut short = Browser::of_user(&server, "ann");
    let early = short.get("/ui/").status;
    // A machine that stands still for so long makes it late.
    assert!(early == 200 || begun.elapsed() >= std::time::Duration::from_secs(2), "{early}");
    std::thread::sleep(std::time::Duration::from_millis(2_500));
    assert_eq!(short.get("/ui/").status, 303, "it is over");
    let mut browser = Browser::of_user(&server, "ann");
    let admin = server.log_in(ADMIN.0, ADMIN.1);
    server.call("POST", &format!("/users/{id}/disable"), &admin, None).expect(200);
    assert_eq!(browser.get("/ui/").status, 303, "the user is disabled");
    assert_eq!(browser.sign_in("ann", "password of ann").status, 401);
}

#[test]
fn guessing_is_slowed_down_on_the_page_as_in_the_api() {
    let server = Server::start_with("[login]\nattempts_max = 3\nwindow_s = 60\n");
    let mut browser = Browser::new(&server);
    for _ in 0..3 {
        assert_eq!(browser.sign_in("nobody", "wrong").status, 401);
    }
    let throttled = browser.sign_in("nobody", "wrong");
    assert!(throttled.status == 429 && throttled.text.contains("Too many attempts"), "{}", throttled.text);
}
