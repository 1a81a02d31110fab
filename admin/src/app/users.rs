//! Users: who there is, and what each may change of whom.

use cube_wire::UserId;

use super::logins::on_blocking_thread;
use super::throttle::Who;
use super::{App, AppError, Asker, Principal, Via};
use crate::clock::Moment;
use crate::secrets;
use crate::store::users::{self, UserChange, UserFilter, UserRow};
use crate::store::{Cursor, Listed, Page, logins};

/// Shortest and longest password, in bytes. What is longer would only make hashing slow.
const PASSWORD_LEN: std::ops::RangeInclusive<usize> = 8..=1024;
/// Longest username; source: SuperMQ's `^[a-zA-Z0-9][a-zA-Z0-9_-]{0,31}$` without `__` and `--`.
const USERNAME_LEN_MAX: usize = 32;
/// Longest other text of a user, in bytes.
const TEXT_LEN_MAX: usize = 254;
/// Most labels of a user, and longest label.
const TAGS_MAX: usize = 64;

/// A user who is to be.
#[derive(Clone, Debug, Default)]
pub struct NewUser {
    /// See [`UserRow`].
    pub username: String,
    /// Without one the user cannot log in until a superadmin sets one.
    pub password: Option<String>,
    /// See [`UserRow`].
    pub email: Option<String>,
    /// See [`UserRow`].
    pub first_name: String,
    /// See [`UserRow`].
    pub last_name: String,
    /// See [`UserRow`].
    pub tags: Vec<String>,
    /// See [`UserRow`].
    pub metadata: Option<serde_json::Value>,
    /// See [`UserRow`].
    pub superadmin: bool,
}

impl App {
    /// Adds a user. Only superadmins may.
    ///
    /// # Errors
    /// [`AppError::Invalid`]; [`AppError::Conflict`] for a username or an e-mail address that is taken.
    pub async fn create_user(
        &self,
        principal: &Principal,
        asker: &Asker,
        new: NewUser,
    ) -> Result<UserRow, AppError> {
        principal.as_superadmin()?;
        let (row, hash) = prepare_user(new).await?;
        let mut tx = self.store.begin().await?;
        users::insert(&mut tx, &row, hash.as_deref()).await?;
        tx.audit(principal.did(asker, "user.create", "user", row.id));
        tx.commit().await?;
        Ok(row)
    }

    /// Users that the principal may see: all of them for a superadmin, else those in a common domain.
    ///
    /// # Errors
    /// The database failed.
    pub async fn list_users(
        &self,
        principal: &Principal,
        mut filter: UserFilter,
        page: Page,
    ) -> Result<Listed<UserRow>, AppError> {
        filter.seen_by = (!principal.superadmin).then_some(principal.user);
        Ok(users::list(&mut self.store.read().await?, &filter, page).await?)
    }

    /// The same, user after user: those that come after `after`, `limit` at most.
    ///
    /// # Errors
    /// The database failed.
    pub async fn list_users_after(
        &self,
        principal: &Principal,
        mut filter: UserFilter,
        after: Option<Cursor>,
        limit: i64,
    ) -> Result<Vec<UserRow>, AppError> {
        filter.seen_by = (!principal.superadmin).then_some(principal.user);
        Ok(users::list_after(&mut self.store.read().await?, &filter, after, limit).await?)
    }

    /// One user.
    ///
    /// # Errors
    /// [`AppError::NotFound`], also for users that the principal may not see.
    pub async fn view_user(&self, principal: &Principal, id: UserId) -> Result<UserRow, AppError> {
        if id != principal.user && !principal.scopes_allow("users", &id.to_string(), "read") {
            return Err(AppError::NotFound("user"));
        }
        let filter = UserFilter {
            id: Some(id),
            seen_by: (!principal.superadmin).then_some(principal.user),
            ..UserFilter::default()
        };
        let found = users::list(&mut self.store.read().await?, &filter, Page { offset: 0, limit: 1 }).await?;
        found.rows.into_iter().next().ok_or(AppError::NotFound("user"))
    }

    /// Changes a user: one's own account, or anyone's for a superadmin. Roles and status are for superadmins, and nobody takes the last
    /// superadmin's away.
    ///
    /// # Errors
    /// [`AppError::Forbidden`], [`AppError::NotFound`], [`AppError::Invalid`], [`AppError::Conflict`].
    pub async fn change_user(
        &self,
        principal: &Principal,
        asker: &Asker,
        id: UserId,
        action: &'static str,
        change: UserChange,
    ) -> Result<UserRow, AppError> {
        let privileged = change.superadmin.is_some() || change.enabled.is_some();
        self.may_change_user(principal, id, privileged, operation_of(&change)).await?;
        check_texts(&change)?;
        let now = Moment::now();
        let mut tx = self.store.begin().await?;
        if (change.superadmin == Some(false) || change.enabled == Some(false))
            && !users::has_superadmin(tx.connection(), Some(id)).await?
        {
            return Err(AppError::Conflict("this is the last superadmin".to_owned()));
        }
        if !users::update(&mut tx, id, &change, now).await? {
            return Err(AppError::NotFound("user"));
        }
        if change.enabled == Some(false) {
            logins::revoke_all(&mut tx, id, now).await?;
        }
        tx.audit(principal.did(asker, action, "user", id));
        let row = users::find(tx.connection(), id).await?.ok_or(AppError::NotFound("user"))?;
        tx.commit().await?;
        Ok(row)
    }

    /// Changes one's own password; all logins end.
    ///
    /// # Errors
    /// [`AppError::Unauthenticated`] if the old one is wrong; [`AppError::Throttled`]; [`AppError::Invalid`].
    pub async fn change_password(
        &self,
        principal: &Principal,
        asker: &Asker,
        old: String,
        new: String,
    ) -> Result<UserRow, AppError> {
        principal.without_pat()?;
        check_password(&new)?;
        let who = Who::of(&principal.user.to_string());
        self.logins
            .may_try(who, std::time::Instant::now())
            .map_err(|retry_after_s| AppError::Throttled { retry_after_s })?;
        let hash = users::password_hash(&mut self.store.read().await?, principal.user).await?;
        let checked = on_blocking_thread(move || {
            secrets::password_holds(&old, hash.as_deref()).then(|| secrets::hash_password(&new))
        });
        let Some(hash) = checked.await? else {
            self.note_attempt(who, false).await?;
            return Err(AppError::Unauthenticated { what: "wrong old password" });
        };
        self.set_password(
            principal,
            asker,
            principal.user,
            hash.map_err(|error| AppError::internal(error.to_string()))?,
        )
        .await
    }

    /// Sets anyone's password; only superadmins may. All of the user's logins end.
    ///
    /// # Errors
    /// [`AppError::Forbidden`], [`AppError::NotFound`], [`AppError::Invalid`].
    pub async fn reset_password(
        &self,
        principal: &Principal,
        asker: &Asker,
        id: UserId,
        new: String,
    ) -> Result<UserRow, AppError> {
        principal.without_pat()?;
        principal.as_superadmin()?;
        check_password(&new)?;
        let hash = on_blocking_thread(move || secrets::hash_password(&new)).await?;
        self.set_password(principal, asker, id, hash.map_err(|error| AppError::internal(error.to_string()))?)
            .await
    }

    async fn set_password(
        &self,
        principal: &Principal,
        asker: &Asker,
        id: UserId,
        hash: String,
    ) -> Result<UserRow, AppError> {
        let now = Moment::now();
        let mut tx = self.store.begin().await?;
        let change = UserChange { password_hash: Some(hash), ..UserChange::default() };
        if !users::update(&mut tx, id, &change, now).await? {
            return Err(AppError::NotFound("user"));
        }
        logins::revoke_all(&mut tx, id, now).await?;
        tx.audit(principal.did(asker, "user.password", "user", id));
        let row = users::find(tx.connection(), id).await?.ok_or(AppError::NotFound("user"))?;
        tx.commit().await?;
        Ok(row)
    }

    /// Deletes a user with all PATs and roles. Only superadmins may, and not the last one of them.
    ///
    /// # Errors
    /// [`AppError::Forbidden`], [`AppError::NotFound`], [`AppError::Conflict`].
    pub async fn delete_user(
        &self,
        principal: &Principal,
        asker: &Asker,
        id: UserId,
    ) -> Result<(), AppError> {
        self.may_change_user(principal, id, true, "delete").await?;
        let mut tx = self.store.begin().await?;
        if !users::has_superadmin(tx.connection(), Some(id)).await? {
            return Err(AppError::Conflict("this is the last superadmin".to_owned()));
        }
        if !users::delete(&mut tx, id).await? {
            return Err(AppError::NotFound("user"));
        }
        tx.audit(principal.did(asker, "user.delete", "user", id));
        tx.commit().await?;
        Ok(())
    }

    async fn may_change_user(
        &self,
        principal: &Principal,
        id: UserId,
        privileged: bool,
        operation: &str,
    ) -> Result<(), AppError> {
        if !principal.scopes_allow("users", &id.to_string(), operation) {
            return Err(AppError::Forbidden("the PAT's scopes do not allow this"));
        }
        let own = id == principal.user && !privileged;
        if own || principal.superadmin {
            return Ok(());
        }
        // Whom one cannot see does not exist; whom one can see is still not one's to change.
        self.view_user(principal, id).await?;
        Err(AppError::Forbidden("only for superadmins"))
    }
}

/// Which operation a PAT's `users` scope must name.
const fn operation_of(change: &UserChange) -> &'static str {
    match change.enabled {
        Some(true) => "enable",
        Some(false) => "disable",
        None => "update",
    }
}

/// Checks a new user and hashes the password.
///
/// # Errors
/// [`AppError::Invalid`].
pub async fn prepare_user(new: NewUser) -> Result<(UserRow, Option<String>), AppError> {
    let now = Moment::now();
    let change = UserChange {
        username: Some(new.username.clone()),
        email: new.email.clone(),
        first_name: Some(new.first_name.clone()),
        last_name: Some(new.last_name.clone()),
        tags: Some(new.tags.clone()),
        metadata: new.metadata.clone(),
        ..UserChange::default()
    };
    check_texts(&change)?;
    let hash = match new.password {
        None => None,
        Some(password) => {
            check_password(&password)?;
            let hashed = on_blocking_thread(move || secrets::hash_password(&password)).await?;
            Some(hashed.map_err(|error| AppError::internal(error.to_string()))?)
        }
    };
    let row = UserRow {
        id: UserId(uuid::Uuid::new_v4()),
        username: new.username,
        email: new.email,
        first_name: new.first_name,
        last_name: new.last_name,
        superadmin: new.superadmin,
        enabled: true,
        tags: new.tags,
        metadata: new.metadata.unwrap_or_else(|| serde_json::json!({})),
        profile_picture: None,
        created_at: now,
        updated_at: now,
    };
    Ok((row, hash))
}

fn check_password(password: &str) -> Result<(), AppError> {
    if PASSWORD_LEN.contains(&password.len()) {
        return Ok(());
    }
    Err(AppError::invalid("password", "between 8 and 1024 bytes"))
}

fn check_texts(change: &UserChange) -> Result<(), AppError> {
    if let Some(name) = &change.username
        && !username_is_valid(name)
    {
        let why = "a letter or digit, then at most 31 letters, digits, - or _, with neither -- nor __";
        return Err(AppError::invalid("username", why));
    }
    if let Some(email) = &change.email
        && !email_is_valid(email)
    {
        return Err(AppError::invalid("email", "not an e-mail address"));
    }
    let texts = [
        ("first_name", &change.first_name),
        ("last_name", &change.last_name),
        ("profile_picture", &change.profile_picture),
    ];
    for (field, text) in texts {
        if let Some(text) = text {
            check_text(field, text)?;
        }
    }
    check_labels(change.tags.as_deref(), change.metadata.as_ref())
}

/// What anything can be marked with.
pub(crate) fn check_labels(
    tags: Option<&[String]>,
    metadata: Option<&serde_json::Value>,
) -> Result<(), AppError> {
    let tags = tags.unwrap_or_default();
    if tags.len() > TAGS_MAX {
        return Err(AppError::invalid("tags", format!("at most {TAGS_MAX}")));
    }
    tags.iter().try_for_each(|tag| check_text("tags", tag))?;
    match metadata {
        Some(metadata) if !metadata.is_object() => Err(AppError::invalid("metadata", "not a JSON object")),
        Some(_) | None => Ok(()),
    }
}

/// A text that people read: short, and without control characters.
pub(crate) fn check_text(field: &'static str, text: &str) -> Result<(), AppError> {
    if text.len() > TEXT_LEN_MAX || text.chars().any(char::is_control) {
        return Err(AppError::invalid(
            field,
            format!("at most {TEXT_LEN_MAX} bytes without control characters"),
        ));
    }
    Ok(())
}

pub(super) fn username_is_valid(name: &str) -> bool {
    name.len() <= USERNAME_LEN_MAX
        && name.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric)
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        && !name.contains("--")
        && !name.contains("__")
}

/// Only what could never be delivered is refused: nothing but a mail proves an address.
pub(super) fn email_is_valid(email: &str) -> bool {
    let parts = email.rsplit_once('@');
    email.len() <= TEXT_LEN_MAX
        && !email.chars().any(|character| character.is_control() || character.is_whitespace())
        && parts.is_some_and(|(local, host)| {
            !local.is_empty() && !host.is_empty() && !host.starts_with('.') && !host.ends_with('.')
        })
}

/// What a superadmin's command on this machine acts as.
#[must_use]
pub fn local_operator() -> Principal {
    Principal { user: UserId(uuid::Uuid::nil()), superadmin: true, via: Via::Local }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usernames_and_addresses_are_checked() {
        for good in ["a", "ada", "Ada-1_x", "0day", &"a".repeat(32)] {
            assert!(username_is_valid(good), "{good}");
        }
        for bad in ["", "-a", "_a", "a--b", "a__b", "a b", "ä", "a@b", &"a".repeat(33)] {
            assert!(!username_is_valid(bad), "{bad}");
        }
        for good in ["a@b", "ada.l+x@example.org", "\"x\"@example.org", "ä@例え.jp"] {
            assert!(email_is_valid(good), "{good}");
        }
        for bad in ["", "a", "@b", "a@", "a b@c", "a@.b", "a@b.", "a\n@b"] {
            assert!(!email_is_valid(bad), "{bad}");
        }
    }
}
