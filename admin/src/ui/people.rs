//! Users as other pages name them: by name where the visitor may see it, and found by what people know of them.

use std::collections::HashMap;

use cube_wire::UserId;
use uuid::Uuid;

use super::error::UiResult;
use super::shell::Member;
use super::view::name_of;
use crate::app::AppError;
use crate::store::Page;
use crate::store::users::{UserFilter, UserRow};

/// What to call these users; those whom the visitor may not see by their identifiers.
pub(super) async fn names_of(
    member: &Member,
    users: impl Iterator<Item = UserId>,
) -> UiResult<HashMap<UserId, String>> {
    let mut names = HashMap::new();
    for user in users {
        if names.contains_key(&user) {
            continue;
        }
        let name = match member.app.view_user(member.who(), user).await {
            Ok(row) if name_of(&row) == row.username => row.username,
            Ok(row) => format!("{} ({})", name_of(&row), row.username),
            Err(AppError::NotFound(_)) => user.to_string(),
            Err(error) => return Err(error.into()),
        };
        names.insert(user, name);
    }
    Ok(names)
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
