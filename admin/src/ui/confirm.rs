//! The question before something that cannot be taken back: names what will happen, and has one button that does it.

use askama::Template;
use axum::response::Response;

use super::frame::{Frame, show};

/// A confirmation.
#[derive(Template)]
#[template(path = "confirm.html")]
pub(super) struct Confirm {
    pub(super) frame: Frame,
    /// What will happen, one sentence each.
    pub(super) effects: Vec<String>,
    /// Where the button leads.
    pub(super) action: String,
    /// What the button says.
    pub(super) button: &'static str,
    /// Where one goes who thinks better of it.
    pub(super) back: String,
    /// Sent along.
    pub(super) hidden: Vec<(&'static str, String)>,
}

impl Confirm {
    pub(super) fn ask(self) -> Response {
        show(&self)
    }
}
