//! How lists of `/api/v1` are paged: by offset, with `offset` and `limit`, and the answer says `pagination`; or by cursor, with `first` and
//! `after`, and the answer says `pageInfo`: what is added meanwhile moves nothing from one such page to the next. Older lists can do both
//! ([`EitherPaging`]), newer ones are paged by cursor only.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::app::AppError;
use crate::store::{Listed, Page};

/// Most rows of a page.
const ROWS_MAX: u32 = 100;

const fn default_rows() -> u32 {
    20
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
    Offset(Page),
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
            false => Way::Offset(page_of(
                self.offset.unwrap_or_default(),
                self.limit.unwrap_or_else(default_rows),
            )?),
        })
    }
}

/// Which part of a list this is: by offset all but `pageInfo` is there, by cursor only `pageInfo`.
#[derive(Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Place {
    #[serde(skip_serializing_if = "Option::is_none")]
    pagination: Option<Pagination>,
    /// As in `pagination`, for clients that look for it here.
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<i64>,
    /// As in `pagination`.
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<i64>,
    /// As in `pagination`.
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    page_info: Option<PageInfo>,
}

impl Place {
    /// The rows of a page, and which page it is.
    pub(super) fn by_offset<T>(Page { offset, limit }: Page, listed: Listed<T>) -> (Vec<T>, Self) {
        let Listed { total, rows } = listed;
        let place = Self {
            pagination: Some(Pagination { offset, limit, total }),
            total: Some(total),
            offset: Some(offset),
            limit: Some(limit),
            page_info: None,
        };
        (rows, place)
    }
}

/// Which part of a list by offset this is.
#[derive(Debug, Serialize, ToSchema)]
struct Pagination {
    offset: i64,
    limit: i64,
    /// Rows on all pages.
    total: i64,
}

/// Which part of a list is wanted, by cursor.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct CursorPaging {
    /// Rows to return: 1 to 100.
    #[serde(default = "default_rows")]
    #[param(minimum = 1, maximum = 100, default = 20)]
    first: u32,
    /// Rows after this one: the `endCursor` of the page before.
    after: Option<String>,
}

impl CursorPaging {
    /// After what the wanted part begins; `None`: at the list's beginning.
    ///
    /// * `read`: the cursor's text, as this list writes it.
    pub(super) fn after<'a, C>(
        &'a self,
        read: impl FnOnce(&'a str) -> Option<C>,
    ) -> Result<Option<C>, AppError> {
        let read = |text| read(text).ok_or_else(|| AppError::invalid("after", "not a cursor of this list"));
        self.after.as_deref().map(read).transpose()
    }

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

    /// The same, for a list that can do both.
    pub(super) fn place<T>(&self, rows: Vec<T>, cursor_of: impl Fn(&T) -> String) -> (Vec<T>, Place) {
        let (rows, page_info) = self.cut(rows, cursor_of);
        (rows, Place { page_info: Some(page_info), ..Place::default() })
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
