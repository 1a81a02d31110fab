//! How lists of `/api/v1` are paged. Older ones take `offset` and `limit` and say `pagination`; newer ones take `first` and `after` and say
//! `pageInfo`: what is added meanwhile moves nothing from one of their pages to the next.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::app::AppError;
use crate::store::{Listed, Page};

/// Most rows of a page.
const ROWS_MAX: u32 = 100;

/// Which part of an older list is wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct OffsetPaging {
    /// Rows to skip.
    #[serde(default)]
    #[param(maximum = 2_147_483_647)]
    offset: u32,
    /// Rows to return: 1 to 100.
    #[serde(default = "default_rows")]
    #[param(minimum = 1, maximum = 100, default = 20)]
    limit: u32,
}

const fn default_rows() -> u32 {
    20
}

impl OffsetPaging {
    pub(super) fn page(&self) -> Result<Page, AppError> {
        check_rows("limit", self.limit)?;
        if self.offset > i32::MAX.unsigned_abs() {
            return Err(AppError::invalid("offset", "at most 2147483647"));
        }
        Ok(Page { offset: self.offset.into(), limit: self.limit.into() })
    }
}

/// Which part of an older list this is.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Pagination {
    offset: i64,
    limit: i64,
    /// Rows on all pages.
    total: i64,
}

impl Pagination {
    pub(super) fn of<T>(page: Page, listed: &Listed<T>) -> Self {
        Self { offset: page.offset, limit: page.limit, total: listed.total }
    }
}

/// Which part of a newer list is wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct CursorPaging {
    /// Rows to return: 1 to 100.
    #[serde(default = "default_rows")]
    #[param(minimum = 1, maximum = 100, default = 20)]
    first: u32,
    /// Rows after this one: the `endCursor` of the page before.
    pub(super) after: Option<String>,
}

impl CursorPaging {
    /// Rows to ask the store for: one more than are shown, which says whether there is a next page.
    pub(super) fn rows(&self) -> Result<i64, AppError> {
        check_rows("first", self.first)?;
        Ok(i64::from(self.first) + 1)
    }

    /// The page of what the store found.
    pub(super) fn cut<T>(&self, mut rows: Vec<T>, cursor_of: impl Fn(&T) -> String) -> (Vec<T>, PageInfo) {
        let first = usize::try_from(self.first).unwrap_or(usize::MAX);
        let has_next_page = rows.len() > first;
        rows.truncate(first);
        let end_cursor = rows.last().map(cursor_of);
        (rows, PageInfo { end_cursor, has_next_page })
    }
}

/// Where the next page begins.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct PageInfo {
    /// What to give as `after`; `null` if the page is empty.
    end_cursor: Option<String>,
    has_next_page: bool,
}

fn check_rows(field: &'static str, rows: u32) -> Result<(), AppError> {
    if (1..=ROWS_MAX).contains(&rows) { Ok(()) } else { Err(AppError::invalid(field, "1 to 100")) }
}
