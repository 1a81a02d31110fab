//! Groups of an identity provider on the pages.

use super::pats::XSS;
use crate::support::{ADMIN, Browser, Server, Value, between, json, text};

const PAGE: &str = "/ui/groups";

/// A server to which an identity provider has sent a group with one member.
struct Provided {
    server: Server,
    key: String,
    group: String,
    ada: String,
}

impl Provided {
    fn start(name: &str) -> Self {
        let server = Server::start();
        let key = json!({ "name": "idp", "duration": "1h", "scopes": ["scim"] });
        let key = text(&server.admin_call("POST", "/api/v1/api-keys", Some(&key)).expect(201), "token");
        let (ada, _) = server.add_user("ada");
        let mut provided = Self { server, key, group: String::new(), ada };
        provided.group = provided.add_group(name, &[&provided.ada]);
        provided
    }

    fn send(&self, method: &str, path: &str, body: &Value) -> crate::support::Answer {
        let authorization = format!("Bearer {}", self.key);
        let headers = [("authorization", &*authorization), ("content-type", "application/scim+json")];
        self.server.raw(method, &format!("/api/scim/v2{path}"), &headers, body.to_string().as_bytes())
    }

    fn add_group(&self, name: &str, members: &[&str]) -> String {
        let members: Vec<Value> = members.iter().map(|id| json!({ "value": id })).collect();
        text(
            &self.send("POST", "/Groups", &json!({ "displayName": name, "members": members })).expect(201),
            "id",
        )
    }

    /// The actions that ada may do in a domain.
    fn actions(&self, domain: &str) -> usize {
        let login = self.server.log_in("ada", "password of ada");
        let answer = self.server.call("GET", &format!("/domains/{domain}"), &login, None);
        usize::from(answer.status == 200)
    }
}

#[test]
fn a_groups_page_brings_its_members_a_role_and_takes_it_away_again() {
    let provided = Provided::start("Analysts");
    let server = &provided.server;
    let [quiet, domain] = ["a quiet one", "research"].map(|name| server.add_domain(&server.admin, name));
    let role = server.add_role(&domain, "reader", &["read", "llm_read"], &[]);
    let mut browser = Browser::signed_in(server, ADMIN.0, ADMIN.1);
    let list = browser.get(PAGE).text;
    assert!(list.contains("Analysts") && list.contains("1 member") && list.contains("0 roles"), "{list}");
    let path = format!("{PAGE}/{}", provided.group);
    let page = browser.get(&path).text;
    assert!(page.contains("Being in this group brings nothing") && page.contains(">ada<"), "{page}");
    assert!(page.contains(&format!("value=\"{quiet}\" selected")), "the first domain by name: {page}");

    // Without script the roles of another domain take one more step.
    let mappings = format!("{path}/mappings");
    let chosen = browser.fill(&path, &mappings, &[("domain", &domain), ("step", "choose")]);
    assert!(chosen.status == 200 && chosen.text.contains(&format!("value=\"{role}\"")), "{}", chosen.text);
    assert_eq!(provided.actions(&domain), 0, "a choice changes nothing");
    let fields = [("domain", &*domain), ("role", &*role), ("step", "map")];
    let mapped = browser.fill(&path, &mappings, &fields);
    assert_eq!(mapped.header("location"), Some(&*format!("{path}?done=saved")), "{}", mapped.text);
    assert_eq!(provided.actions(&domain), 1);
    let again = browser.fill(&path, &mappings, &fields);
    assert!(again.status == 400 && again.text.contains("brings this role already"), "{}", again.text);
    let page = browser.get(&path).text;
    assert!(page.contains("reader") && page.contains("research"), "{page}");

    let remove = between(&page, "class=\"button small\" href=\"", "\"").to_owned();
    let question = browser.get(&remove).text;
    assert!(question.contains("1 member loses the role “reader” in “research”"), "{question}");
    assert_eq!(provided.actions(&domain), 1, "a question changes nothing");
    assert_eq!(browser.fill(&remove, &remove, &[]).status, 303);
    assert_eq!(provided.actions(&domain), 0);
    assert_eq!(browser.get(&remove).status, 404, "gone");
}

#[test]
fn groups_are_searched_and_names_from_a_provider_are_never_markup() {
    let provided = Provided::start(XSS);
    provided.add_group("Pilots 100%", &[]);
    let mut browser = Browser::signed_in(&provided.server, ADMIN.0, ADMIN.1);
    let found = browser.get(&format!("{PAGE}?name=100%25")).text;
    assert!(found.contains("Pilots") && !found.contains("script&#62;"), "{found}");
    assert!(browser.get(&format!("{PAGE}?name=nobody")).text.contains("Nothing matches"));
    for page in [PAGE, &format!("{PAGE}/{}", provided.group)] {
        let text = browser.get(page).text;
        assert!(text.contains("&#60;script&#62;") && !text.contains("<script>alert"), "{page}: {text}");
    }
}

#[test]
fn what_is_wrong_with_a_mapping_stands_beside_its_field() {
    let provided = Provided::start("Analysts");
    let server = &provided.server;
    let [one, other] = ["one", "other"].map(|name| server.add_domain(&server.admin, name));
    let elsewhere = server.add_role(&other, "reader", &["read"], &[]);
    let mut browser = Browser::signed_in(server, ADMIN.0, ADMIN.1);
    let path = format!("{PAGE}/{}", provided.group);
    let nowhere = uuid::Uuid::from_u128(1).to_string();
    for (domain, role, status, field) in [
        (&*one, &*elsewhere, 404, "role"),
        (&one, "", 404, "role"),
        ("x", "y", 400, "domain"),
        (&nowhere, &elsewhere, 404, "role"),
    ] {
        let fields = [("domain", domain), ("role", role), ("step", "map")];
        let answer = browser.fill(&path, &format!("{path}/mappings"), &fields);
        assert_eq!(answer.status, status, "{domain} {role}: {}", answer.text);
        assert!(answer.text.contains(&format!("id=\"e-{field}\"")), "{domain} {role}: {}", answer.text);
    }
    assert_eq!(browser.get(&format!("{PAGE}/x")).status, 404);
    assert_eq!(browser.get(&format!("{PAGE}/{nowhere}")).status, 404);
    // A mapping of another group is none of this one's.
    let group = provided.add_group("Pilots", &[]);
    let body = json!({ "group_id": group, "domain_id": other, "role_id": elsewhere });
    let mapping = server.admin_call("POST", "/api/v1/scim/group-mappings", Some(&body)).expect(201);
    let remove = format!("{path}/mappings/{}/remove", text(&mapping, "id"));
    assert_eq!(browser.get(&remove).status, 404);
    assert_eq!(browser.fill(&path, &remove, &[]).status, 404);
}

#[test]
fn an_empty_page_says_how_to_connect_a_provider_and_only_superadmins_see_it() {
    let server = Server::start();
    let mut browser = Browser::signed_in(&server, ADMIN.0, ADMIN.1);
    let page = browser.get(PAGE).text;
    assert!(page.contains("No groups yet") && page.contains("/ui/api-keys/new?scope=scim"), "{page}");
    assert_eq!(
        between(&page, "id=\"scim-address\" tabindex=\"0\">", "<"),
        format!("{}/api/scim/v2", server.api)
    );
    server.add_user("ann");
    let mut ann = Browser::of_user(&server, "ann");
    let group = format!("{PAGE}/{}", uuid::Uuid::from_u128(1));
    for page in [PAGE, &*group] {
        assert_eq!(ann.get(page).status, 403, "{page}");
    }
    for action in [format!("{group}/mappings"), format!("{group}/mappings/x/remove")] {
        assert_eq!(ann.fill("/ui/account", &action, &[]).status, 403, "{action}");
    }
}
