//! Users as other pages name them: by name where the visitor may see it, and found by what people know of them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use cube_wire::UserId;
use uuid::Uuid;

use super::error::UiResult;
use super::shell::Member;
use super::view::name_of;
use crate::app::AppError;
use crate::store::Page;
use crate::store::users::{UserFilter, UserRow};

/// What to call a user; by the identifier, if the visitor may not see who that is.
pub(super) async fn name(member: &Member, user: UserId) -> UiResult<String> {
    match member.app.view_user(member.who(), user).await {
        Ok(row) if name_of(&row) == row.username => Ok(row.username),
        Ok(row) => Ok(format!("{} ({})", name_of(&row), row.username)),
        Err(AppError::NotFound(_)) => Ok(user.to_string()),
        Err(error) => Err(error.into()),
    }
}

/// What to call these users.
pub(super) async fn names_of(
    member: &Member,
    users: impl Iterator<Item = UserId>,
) -> UiResult<HashMap<UserId, String>> {
    let mut names = HashMap::new();
    for user in users {
        if let Entry::Vacant(entry) = names.entry(user) {
            entry.insert(name(member, user).await?);
        }
    }
    Ok(names)
}

/// Rows about users, each with what to call its user.
pub(super) async fn named<T>(
    member: &Member,
    rows: Vec<T>,
    user_of: impl Fn(&T) -> UserId,
) -> UiResult<Vec<(T, String)>> {
    let names = names_of(member, rows.iter().map(&user_of)).await?;
    let named = |row: T| {
        let name = names.get(&user_of(&row)).cloned().unwrap_or_default();
        (row, name)
    };
    Ok(rows.into_iter().map(named).collect())
}

/// The user with this username, e-mail address or identifier.
///
/// # Errors
/// [`AppError::Invalid`] of the field `user` if the visitor can see nobody like that.
pub(super) async fn find(member: &Member, text: &str) -> Result<UserId, AppError> {
    if let Ok(id) = text.parse::<Uuid>() {
        return Ok(UserId(id));
    }
    let few = Page { offset: 0, limit: 100 };
    let by_name = UserFilter { username: Some(text.to_owned()), ..UserFilter::default() };
    let by_mail = UserFilter { email: Some(text.to_owned()), ..UserFilter::default() };
    for filter in [by_name, by_mail] {
        let listed = member.app.list_users(member.who(), filter, few).await?;
        let is_it = |row: &&UserRow| {
            let email = row.email.as_deref().unwrap_or_default();
            row.username.eq_ignore_ascii_case(text) || email.eq_ignore_ascii_case(text)
        };
        if let Some(row) = listed.rows.iter().find(is_it) {
            return Ok(row.id);
        }
    }
    Err(AppError::invalid("user", "there is no such user, or none that you can see; their id always works"))
}
