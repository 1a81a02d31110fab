//! The frame of every page, as its templates see it, and how a page becomes an answer.

use askama::Template;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};

use super::assets::{Asset, url_of};
use super::error::{Shown, UiError};
use super::shell::Visit;

/// Where in the navigation a page is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    Home,
    Pats,
    Playground,
    Usage,
    Domains,
    Invitations,
    Permissions,
    Deployments,
    Routes,
    Nodes,
    Users,
    ApiKeys,
    Groups,
    Audit,
    Account,
    Sessions,
    Reports,
    /// In no place: signing in, errors.
    Nowhere,
}

/// The visitor's choice of colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Theme {
    /// As the system is.
    System,
    Light,
    Dark,
}

impl Theme {
    pub(super) fn from_name(name: &str) -> Self {
        match name {
            "light" => Self::Light,
            "dark" => Self::Dark,
            _ => Self::System,
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }
}

/// Who is signed in, for the page's corner.
pub(super) struct Person {
    pub(super) name: String,
    pub(super) username: String,
    pub(super) initials: String,
    pub(super) superadmin: bool,
}

/// What is around a page's own content.
pub(super) struct Frame {
    pub(super) title: String,
    pub(super) section: Section,
    pub(super) person: Option<Person>,
    pub(super) csrf: String,
    pub(super) theme: Theme,
    /// This page, to come back to after a change of colours.
    pub(super) target: String,
    /// What was just done.
    pub(super) notice: Option<&'static str>,
}

impl Frame {
    pub(super) fn new(visit: &Visit, section: Section, title: String) -> Self {
        let person = visit.session.as_ref().map(|session| {
            let user = &session.user;
            let name = super::view::name_of(user);
            let initials = name.split_whitespace().filter_map(|word| word.chars().next()).take(2);
            Person {
                initials: initials.flat_map(char::to_uppercase).collect(),
                username: user.username.clone(),
                superadmin: user.superadmin,
                name,
            }
        });
        let query = visit.target.split_once('?').map_or("", |(_, query)| query);
        let done = form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == "done");
        Self {
            title,
            section,
            person,
            csrf: visit.csrf.clone(),
            theme: visit.theme,
            target: visit.target.clone(),
            notice: done.and_then(|(_, word)| notice(&word)),
        }
    }

    pub(super) fn asset(&self, name: &str) -> &'static str {
        url_of(name)
    }

    /// An icon of our sprite.
    pub(super) fn icon(&self, name: &str) -> String {
        format!("{}#{name}", url_of(Asset::ICONS))
    }

    pub(super) fn is(&self, name: &str) -> bool {
        format!("{:?}", self.section) == name
    }
}

/// What was done, by the word that the page before put into the address. Words that we did not put there say nothing.
pub(super) fn notice(word: &str) -> Option<&'static str> {
    const NOTICES: &[(&str, &str)] = &[
        ("signed-out", "You are signed out."),
        ("password", "Your password is changed, and all your sessions have ended. Sign in with the new one."),
        ("session-ended", "The session has ended."),
        ("sessions-ended", "All your other sessions have ended."),
        ("saved", "Saved."),
        ("created", "Created."),
        ("deleted", "Deleted."),
        ("revoked", "Revoked. The next request with it is refused."),
        ("scopes-added", "The scopes are added."),
        ("scopes-removed", "The scopes are removed."),
        ("joined", "You are a member now."),
        ("declined", "The invitation is declined."),
        ("done", "Done."),
    ];
    NOTICES.iter().find(|(known, _)| *known == word).map(|(_, text)| *text)
}

/// A page with this status.
pub(super) fn page(status: StatusCode, template: &impl Template) -> Response {
    match template.render() {
        Ok(text) => (status, Html(text)).into_response(),
        Err(error) => UiError::App(crate::app::AppError::internal(error)).into_response(),
    }
}

/// A page.
pub(super) fn show(template: &impl Template) -> Response {
    page(StatusCode::OK, template)
}

#[derive(Template)]
#[template(path = "error.html")]
pub(super) struct ErrorPage<'a> {
    frame: Frame,
    shown: &'a Shown,
}

impl<'a> ErrorPage<'a> {
    /// The page of an error, with the header fields of the answer that it takes the place of.
    pub(super) fn answer(visit: &Visit, shown: &'a Shown, instead_of: Response) -> Response {
        let frame = visit.frame(Section::Nowhere, shown.title.clone());
        let text = ErrorPage { frame, shown }.render().unwrap_or_else(|_| shown.text.clone());
        let mut response = (shown.status, Html(text)).into_response();
        for (name, value) in instead_of.headers() {
            if name != header::CONTENT_TYPE && name != header::CONTENT_LENGTH {
                response.headers_mut().insert(name, HeaderValue::clone(value));
            }
        }
        response
    }
}
