//! The user's page says who that is at the issuer; superadmins set it there, and take it away.

use super::add_linked;
use super::issuer::{Issuer, Key};
use super::sign_in::{settings, whole_way};
use crate::support::{ADMIN, Browser, Server};

#[test]
fn a_superadmin_sees_sets_and_removes_the_link_of_a_user() {
    let issuer = Issuer::start(Key::ed25519());
    let server = Server::start_with(&settings(&issuer, ""));
    let (bob, _) = server.add_user("bob");
    add_linked(&server, "eve", "eve-at-issuer");
    let mut admin = Browser::signed_in(&server, ADMIN.0, ADMIN.1);
    let page = format!("/ui/users/{bob}");
    let (set, remove) = (format!("{page}/link"), format!("{page}/unlink"));
    let shown = admin.get(&page).text;
    assert!(shown.contains("Not linked to an account at") && shown.contains(&issuer.url), "{shown}");
    assert!(!shown.contains("/unlink"), "{shown}");
    assert_eq!(admin.get(&remove).status, 404, "there is nothing to remove");

    for (subject, why) in [("", "1 to 255 bytes"), ("eve-at-issuer", "This is another user")] {
        let refused = admin.fill(&page, &set, &[("subject", subject)]);
        assert!((400..500).contains(&refused.status), "{}", refused.status);
        assert!(refused.text.contains(why) && refused.text.contains("id=\"e-subject\""), "{}", refused.text);
    }
    // Nobody signs in as somebody whom neither link nor address names.
    let mut of_bob = Browser::new(&server);
    assert_ne!(whole_way(&mut of_bob, "/ui/account").status, 303);
    assert_eq!(admin.fill(&page, &set, &[("subject", " ada-at-issuer ")]).status, 303);
    let shown = admin.get(&page).text;
    assert!(shown.contains("value=\"ada-at-issuer\"") && shown.contains("Linked to an account"), "{shown}");
    assert_eq!(whole_way(&mut of_bob, "/ui/account").status, 303);
    assert!(of_bob.get("/ui/account").text.contains("bob"));

    let asked = admin.get(&remove);
    assert!(asked.status == 200 && asked.text.contains("“ada-at-issuer”"), "{}", asked.text);
    assert!(admin.get(&page).text.contains("ada-at-issuer"), "asked first");
    assert_eq!(admin.fill(&remove, &remove, &[]).status, 303);
    assert!(admin.get(&page).text.contains("Not linked"));
    assert_ne!(whole_way(&mut Browser::new(&server), "/ui/account").status, 303);
    let log = admin.get("/ui/audit?kind=actions").text;
    assert!(log.contains("user.link") && log.contains("user.unlink"), "{log}");

    // It is for nobody else.
    let csrf = of_bob.csrf();
    assert_eq!(of_bob.post(&set, &csrf, &[("subject", "x")]).status, 403);
    assert_eq!(of_bob.get(&remove).status, 403);
    assert_eq!(of_bob.post(&remove, &csrf, &[]).status, 403);
}

#[test]
fn without_an_issuer_no_page_speaks_of_one() {
    let server = Server::start();
    let (bob, _) = server.add_user("bob");
    let mut admin = Browser::signed_in(&server, ADMIN.0, ADMIN.1);
    let page = format!("/ui/users/{bob}");
    assert!(!admin.get(&page).text.contains("identity provider"));
    let csrf = admin.csrf();
    assert_eq!(admin.post(&format!("{page}/link"), &csrf, &[("subject", "x")]).status, 404);
}
