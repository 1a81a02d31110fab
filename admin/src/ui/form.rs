//! What a form sent, and what is wrong with it: kept together, so that a form comes back as it was, with each error beside its field.

use axum::http::StatusCode;

use super::error::{UiError, sentence};
use crate::app::AppError;
use crate::http::status_of;

/// A form as it was sent, and as it is shown again.
#[derive(Clone, Debug, Default)]
pub(super) struct Form {
    fields: Vec<(String, String)>,
    errors: Vec<(String, String)>,
    /// What is wrong with all of it.
    pub(super) problem: Option<String>,
}

/// One line of the summary above a form.
pub(super) struct Fault<'a> {
    /// The field; empty: the form as a whole.
    pub(super) field: &'a str,
    pub(super) text: &'a str,
}

impl Form {
    /// Reads `application/x-www-form-urlencoded`. Control characters but line breaks are taken out: no field of ours has any.
    pub(super) fn parse(bytes: &[u8]) -> Self {
        let clean = |text: &str| {
            let text = text.replace("\r\n", "\n");
            text.chars().filter(|&letter| letter == '\n' || !letter.is_control()).collect::<String>()
        };
        let fields = form_urlencoded::parse(bytes);
        Self {
            fields: fields.map(|(name, value)| (name.into_owned(), clean(&value))).collect(),
            ..Self::default()
        }
    }

    /// A form with what is there already.
    pub(super) fn of<const N: usize>(fields: [(&str, String); N]) -> Self {
        let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Self { fields, ..Self::default() }
    }

    /// The first value of a field; empty if it was not sent.
    pub(super) fn value(&self, name: &str) -> &str {
        self.fields.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }

    /// A field without the blanks around it.
    pub(super) fn text(&self, name: &str) -> String {
        self.value(name).trim().to_owned()
    }

    /// The same; `None` if nothing was written.
    pub(super) fn written(&self, name: &str) -> Option<String> {
        Some(self.text(name)).filter(|text| !text.is_empty())
    }

    /// All values of a field.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.fields.iter().filter(move |(key, _)| key == name).map(|(_, value)| &**value)
    }

    /// Whether a box with this value is ticked.
    pub(super) fn has(&self, name: &str, value: &str) -> bool {
        self.all(name).any(|found| found == value)
    }

    /// Replaces a field's values.
    pub(super) fn set(&mut self, name: &str, value: impl Into<String>) {
        self.fields.retain(|(key, _)| key != name);
        self.fields.push((name.to_owned(), value.into()));
    }

    /// Adds another value to a field.
    pub(super) fn push(&mut self, name: &str, value: impl Into<String>) {
        self.fields.push((name.to_owned(), value.into()));
    }

    /// Takes all values out of a field.
    pub(super) fn clear(&mut self, name: &str) {
        self.fields.retain(|(key, _)| key != name);
    }

    /// Takes one of a field's values out.
    pub(super) fn remove(&mut self, name: &str, nth: usize) {
        let at = self.fields.iter().enumerate().filter(|(_, (key, _))| key == name).nth(nth);
        if let Some(at) = at.map(|(at, _)| at) {
            self.fields.remove(at);
        }
    }

    /// What is wrong with a field.
    pub(super) fn error(&self, name: &str) -> Option<&str> {
        self.errors.iter().find(|(key, _)| key == name).map(|(_, text)| &**text)
    }

    /// Everything that is wrong, for the summary.
    pub(super) fn faults(&self) -> Vec<Fault<'_>> {
        let whole = self.problem.iter().map(|text| Fault { field: "", text });
        whole.chain(self.errors.iter().map(|(field, text)| Fault { field, text })).collect()
    }

    pub(super) fn wrong(&mut self, field: &str, why: impl Into<String>) {
        self.errors.push((field.to_owned(), why.into()));
    }

    /// Notes why something was not done. What the visitor cannot mend is no matter of the form.
    ///
    /// # Errors
    /// The error itself, if it is ours or the session's end.
    pub(super) fn fail(&mut self, error: AppError) -> Result<StatusCode, UiError> {
        let status = status_of(&error);
        match error {
            AppError::Invalid { field, why } => self.wrong(field, sentence(&why)),
            AppError::Conflict(text) if text == "name is taken" => {
                self.wrong("name", "This name is taken. Choose another one.")
            }
            AppError::Conflict(text) | AppError::Unprocessable(text) => self.problem = Some(sentence(&text)),
            AppError::Forbidden(_)
            | AppError::InsufficientScope { .. }
            | AppError::NotFound(_)
            | AppError::Throttled { .. }
            | AppError::Unavailable(_) => self.problem = Some(sentence(&error.to_string())),
            AppError::Unauthenticated { .. } | AppError::Internal(_) => return Err(error.into()),
        }
        Ok(status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_keeps_what_was_sent_without_control_characters() {
        let form = Form::parse(b"name=a%00b%1b&op=x&op=y&text=one%0D%0Atwo&empty=+");
        assert_eq!(form.value("name"), "ab");
        assert!(form.has("op", "y") && !form.has("op", "z"));
        assert_eq!(form.value("text"), "one\ntwo");
        assert_eq!(form.written("empty"), None);
    }
}
