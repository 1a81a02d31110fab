//! How lists of `/api/v1` are paged. Older ones take `offset` and `limit` and say `pagination`; newer ones take `first` and `after` and say
//! `pageInfo`: what is added meanwhile moves nothing from one of their pages to the next. A list that does both ([`EitherPaging`]) does what
//! it is asked for.

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
        page_of(self.offset, self.limit)
    }
}

/// Which part is wanted of a list that is paged in both ways.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct EitherPaging {
    /// Rows to skip.
    #[param(maximum = 2_147_483_647)]
    offset: Option<u32>,
    /// Rows to return: 1 to 100, 20 by default.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u32>,
    /// Rows to return, 1 to 100, 20 by default: by cursor, in an order in which nothing moves. Not together with `offset` or `limit`.
    #[param(minimum = 1, maximum = 100)]
    first: Option<u32>,
    /// Rows after this one: the `endCursor` of the page before. Not together with `offset` or `limit`.
    after: Option<String>,
}

/// In which way a list is to be paged.
#[derive(Debug)]
pub(super) enum Way {
    Offset(OffsetPaging),
    Cursor(CursorPaging),
}

impl EitherPaging {
    pub(super) fn way(self) -> Result<Way, AppError> {
        let by_cursor = self.first.is_some() || self.after.is_some();
        if by_cursor && (self.offset.is_some() || self.limit.is_some()) {
            return Err(AppError::invalid("offset", "not together with `first` or `after`"));
        }
        Ok(match by_cursor {
            true => Way::Cursor(CursorPaging {
                first: self.first.unwrap_or_else(default_rows),
                after: self.after,
            }),
            false => Way::Offset(OffsetPaging {
                offset: self.offset.unwrap_or_default(),
                limit: self.limit.unwrap_or_else(default_rows),
            }),
        })
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

/// The part of a list that this is.
pub(super) fn page_of(offset: u32, limit: u32) -> Result<Page, AppError> {
    check_rows("limit", limit)?;
    if offset > i32::MAX.unsigned_abs() {
        return Err(AppError::invalid("offset", "at most 2147483647"));
    }
    Ok(Page { offset: offset.into(), limit: limit.into() })
}
