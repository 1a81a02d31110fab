//! A browser without script: keeps cookies, fills in forms, follows no link by itself.

use std::collections::BTreeMap;

use super::{Answer, Server, request};

/// One browser with its cookies.
pub(crate) struct Browser<'s> {
    server: &'s Server,
    cookies: BTreeMap<String, String>,
}

impl<'s> Browser<'s> {
    pub(crate) fn new(server: &'s Server) -> Self {
        Self { server, cookies: BTreeMap::new() }
    }

    /// A browser in which this user is signed in.
    #[track_caller]
    pub(crate) fn signed_in(server: &'s Server, username: &str, password: &str) -> Self {
        let mut browser = Self::new(server);
        let answer = browser.sign_in(username, password);
        assert_eq!(answer.status, 303, "{}", answer.text);
        browser
    }

    /// As the user that [`Server::add_user`] made.
    #[track_caller]
    pub(crate) fn of_user(server: &'s Server, username: &str) -> Self {
        Self::signed_in(server, username, &format!("password of {username}"))
    }

    pub(crate) fn sign_in(&mut self, username: &str, password: &str) -> Answer {
        self.fill("/ui/sign-in", "/ui/sign-in", &[("username", username), ("password", password)])
    }

    pub(crate) fn get(&mut self, path: &str) -> Answer {
        self.send("GET", path, &[], b"")
    }

    /// Opens a page, then sends a form to `action` as that page would: with its `csrf`.
    pub(crate) fn fill(&mut self, page: &str, action: &str, fields: &[(&str, &str)]) -> Answer {
        let csrf = csrf_in(&self.get(page).text);
        self.post(action, &csrf, fields)
    }

    /// Sends a form with this `csrf`, from our own origin.
    pub(crate) fn post(&mut self, action: &str, csrf: &str, fields: &[(&str, &str)]) -> Answer {
        let origin = self.server.api.clone();
        self.post_from(&origin, action, csrf, fields)
    }

    /// Sends a form from a page of any origin; no `Origin` if that is empty.
    pub(crate) fn post_from(
        &mut self,
        origin: &str,
        action: &str,
        csrf: &str,
        fields: &[(&str, &str)],
    ) -> Answer {
        let mut body = form_urlencoded::Serializer::new(String::new());
        if !csrf.is_empty() {
            body.append_pair("csrf", csrf);
        }
        body.extend_pairs(fields);
        let mut headers = vec![("content-type", "application/x-www-form-urlencoded")];
        if !origin.is_empty() {
            headers.push(("origin", origin));
        }
        self.send("POST", action, &headers, body.finish().as_bytes())
    }

    pub(crate) fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let cookies: Vec<String> =
            self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let cookies = cookies.join("; ");
        let mut headers = headers.to_vec();
        if !cookies.is_empty() {
            headers.push(("cookie", &cookies));
        }
        let answer = request(&format!("{}{path}", self.server.api), method, &headers, body);
        for (_, text) in answer.headers.iter().filter(|(name, _)| name == "set-cookie") {
            let (pair, attributes) = text.split_once(';').unwrap_or((text, ""));
            let (name, value) = pair.split_once('=').expect("a cookie");
            match attributes.contains("Max-Age=0") {
                true => self.cookies.remove(name),
                false => self.cookies.insert(name.to_owned(), value.to_owned()),
            };
        }
        answer
    }

    /// The session's cookie.
    pub(crate) fn session(&self) -> &str {
        self.cookies.get("cube_session").map_or("", |value| value)
    }

    /// The value of a cookie; empty if there is none.
    pub(crate) fn cookie(&self, name: &str) -> String {
        self.cookies.get(name).cloned().unwrap_or_default()
    }

    /// Has a cookie that nobody gave to this browser.
    pub(crate) fn plant(&mut self, name: &str, value: &str) {
        self.cookies.insert(name.to_owned(), value.to_owned());
    }

    /// Takes over another browser's session cookie.
    pub(crate) fn steal(&mut self, session: &str) {
        self.cookies.insert("cube_session".to_owned(), session.to_owned());
    }

    /// The `csrf` that pages of this browser carry.
    #[track_caller]
    pub(crate) fn csrf(&mut self) -> String {
        csrf_in(&self.get("/ui/account").text)
    }
}

/// The `csrf` of a page's first form.
#[track_caller]
pub(crate) fn csrf_in(page: &str) -> String {
    let (_, rest) = page.split_once("name=\"csrf\" value=\"").unwrap_or_else(|| panic!("no form in {page}"));
    rest.split_once('"').expect("the value ends").0.to_owned()
}

/// What stands between two marks.
#[track_caller]
pub(crate) fn between<'t>(text: &'t str, before: &str, after: &str) -> &'t str {
    let (_, rest) = text.split_once(before).unwrap_or_else(|| panic!("no {before} in {text}"));
    rest.split_once(after).unwrap_or_else(|| panic!("no {after} after {before}")).0
}
