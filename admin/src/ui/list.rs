//! Lists in pages: which part is shown, and the way to the others.

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;

use super::error::UiError;
use crate::store::Page;

/// Rows of one page.
pub(super) const ROWS: i64 = 25;

/// The query of a page's address.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    pairs: Vec<(String, String)>,
}

impl<S: Send + Sync> FromRequestParts<S> for Asked {
    type Rejection = UiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, UiError> {
        // Control characters are in no name of ours.
        let clean = |text: String| text.chars().filter(|letter| !letter.is_control()).collect::<String>();
        let pairs = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri).map(|Query(pairs)| pairs);
        let pairs = pairs.unwrap_or_default().into_iter();
        Ok(Self { pairs: pairs.map(|(key, value)| (key, clean(value).trim().to_owned())).collect() })
    }
}

impl Asked {
    pub(super) fn value(&self, name: &str) -> &str {
        self.pairs.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }

    pub(super) fn written(&self, name: &str) -> Option<&str> {
        Some(self.value(name)).filter(|text| !text.is_empty())
    }

    pub(super) fn parsed<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.value(name).parse().ok()
    }

    /// The number of the page that is wanted, from 1.
    fn number(&self) -> i64 {
        self.parsed::<i64>("page").unwrap_or(1).clamp(1, 1_000_000)
    }

    pub(super) fn page(&self) -> Page {
        Page { offset: (self.number() - 1) * ROWS, limit: ROWS }
    }

    /// The same query with some values changed; an empty value takes the name out.
    pub(super) fn with(&self, changes: &[(&str, &str)]) -> String {
        let mut query = form_urlencoded::Serializer::for_suffix("?".to_owned(), 1);
        let kept = |key: &str| key != "done" && !changes.iter().any(|(name, _)| *name == key);
        for (key, value) in self.pairs.iter().filter(|(key, value)| kept(key) && !value.is_empty()) {
            query.append_pair(key, value);
        }
        for (key, value) in changes.iter().filter(|(_, value)| !value.is_empty()) {
            query.append_pair(key, value);
        }
        query.finish()
    }

    /// The way to the pages before and after.
    pub(super) fn pager(&self, total: i64) -> Pager {
        let (number, pages) = (self.number(), (total + ROWS - 1) / ROWS);
        let to = |number: i64| self.with(&[("page", &number.to_string())]);
        Pager {
            from: if total == 0 { 0 } else { (number - 1) * ROWS + 1 },
            to: (number * ROWS).min(total),
            total,
            before: (number > 1).then(|| to(number.min(pages + 1) - 1)),
            after: (number < pages).then(|| to(number + 1)),
        }
    }
}

/// What stands below a list.
pub(super) struct Pager {
    pub(super) from: i64,
    pub(super) to: i64,
    pub(super) total: i64,
    pub(super) before: Option<String>,
    pub(super) after: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pager_leads_to_neighbours_and_keeps_the_filter() {
        let asked = |page: &str| Asked {
            pairs: [("status", "all"), ("page", page), ("done", "saved")]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .to_vec(),
        };
        let first = asked("1").pager(60);
        assert_eq!((first.from, first.to, first.before), (1, 25, None));
        assert_eq!(first.after.as_deref(), Some("?status=all&page=2"));
        let last = asked("3").pager(60);
        assert_eq!((last.from, last.to, last.after), (51, 60, None));
        assert!(asked("x").pager(0).after.is_none());
        assert_eq!(asked("-5").page().offset, 0);
    }
}
