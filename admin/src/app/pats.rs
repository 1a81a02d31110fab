//! PATs: credentials that a user makes, narrows, and ends. Nobody sees or touches another user's, superadmins neither; and no PAT
//! can make or change one.

use std::time::Duration;

use cube_wire::cidr::Cidr;
use cube_wire::lifetime::parse_lifetime;
use cube_wire::pat::{self, PatIds, PatSecret};
use cube_wire::{PatDigest, PatId, UserId};
use serde_json::json;

use super::scopes::NewScope;
use super::users::check_text;
use super::{App, AppError, Asker, Principal};
use crate::clock::Moment;
use crate::secrets;
use crate::store::pats::{self, PatFilter, PatRow, PatStatus};
use crate::store::{AuditEntry, Listed, Page};

/// Most address ranges of a PAT: proxies compare them one after the other, on every request, and take 256.
const CIDRS_MAX: usize = 64;

/// How exactly it is known when a PAT was last used.
const USE_GRANULARITY: Duration = Duration::from_secs(60);

/// A PAT that is to be.
#[derive(Clone, Debug, Default)]
pub struct NewPat {
    /// See [`PatRow`].
    pub name: String,
    /// See [`PatRow`].
    pub description: String,
    /// How long it is to be good: `720h`, `30d`.
    pub duration: String,
    /// What it may do.
    pub scopes: Vec<NewScope>,
    /// See [`PatRow`].
    pub cidrs: Vec<String>,
    /// See [`PatRow`].
    pub full_access: bool,
}

/// A PAT and its secret, which is shown now and never again.
#[derive(Debug)]
pub struct Issued {
    /// The PAT.
    pub row: PatRow,
    /// Its plain text.
    pub secret: PatSecret,
}

impl App {
    /// Makes a PAT.
    ///
    /// # Errors
    /// [`AppError::Forbidden`] for a PAT; [`AppError::Invalid`]; [`AppError::Conflict`] for a name that is taken or too many PATs;
    /// [`AppError::Unprocessable`] and [`AppError::NotFound`] for its scopes, see [`App::add_scopes`].
    pub async fn create_pat(
        &self,
        principal: &Principal,
        asker: &Asker,
        new: NewPat,
    ) -> Result<Issued, AppError> {
        principal.without_pat()?;
        check_name(&new.name)?;
        check_text("description", &new.description)?;
        let lifetime = self.pat_lifetime(&new.duration)?;
        if new.full_access && !new.scopes.is_empty() {
            return Err(AppError::invalid("scopes", "a PAT with full access is not narrowed by scopes"));
        }
        let now = Moment::now();
        let row = PatRow {
            id: PatId(uuid::Uuid::new_v4()),
            user: principal.user,
            name: new.name,
            description: new.description,
            full_access: new.full_access,
            cidrs: checked_cidrs(&new.cidrs)?,
            issued_at: now,
            expires_at: Some(now.after(lifetime).ceil_to_second()),
            updated_at: now,
            last_used_at: None,
            revoked_at: None,
            previous_until: None,
        };
        let (secret, digest) = new_secret(row.user, row.id)?;
        let scopes = new.scopes.len();
        let mut tx = self.store.begin().await?;
        let max = self.settings.pats.per_user_max;
        if pats::count(tx.connection(), row.user).await? >= i64::from(max) {
            let text = format!("a user has at most {max} PATs; delete some first");
            return Err(AppError::Conflict(text));
        }
        let max = self.settings.pats.total_max;
        if pats::count_all(tx.connection()).await? >= i64::from(max) {
            return Err(AppError::Conflict(format!(
                "all users together have at most {max} PATs; somebody has to delete some first"
            )));
        }
        pats::insert(&mut tx, &row, digest).await?;
        self.put_scopes(&mut tx, principal, row.id, new.scopes).await?;
        let details = json!({ "name": row.name, "full_access": row.full_access, "scopes": scopes });
        tx.audit(AuditEntry { details, ..principal.did(asker, "pat.create", "pat", row.id) });
        tx.commit().await?;
        Ok(Issued { row, secret })
    }

    /// The principal's own PATs.
    ///
    /// # Errors
    /// [`AppError::Forbidden`] for a PAT.
    pub async fn list_pats(
        &self,
        principal: &Principal,
        filter: &PatFilter,
        page: Page,
    ) -> Result<Listed<PatRow>, AppError> {
        principal.without_pat()?;
        let mut connection = self.store.read().await?;
        Ok(pats::list(&mut connection, principal.user, filter, page, Moment::now()).await?)
    }

    /// One of the principal's own PATs.
    ///
    /// # Errors
    /// [`AppError::Forbidden`] for a PAT; [`AppError::NotFound`], also for other users' PATs.
    pub async fn view_pat(&self, principal: &Principal, id: PatId) -> Result<PatRow, AppError> {
        principal.without_pat()?;
        let found = pats::find(&mut self.store.read().await?, principal.user, id).await?;
        found.ok_or(NO_PAT)
    }

    /// Changes name or description.
    ///
    /// # Errors
    /// As [`App::view_pat`]; [`AppError::Invalid`]; [`AppError::Conflict`] for a name that is taken.
    pub async fn describe_pat(
        &self,
        principal: &Principal,
        asker: &Asker,
        id: PatId,
        name: Option<&str>,
        description: Option<&str>,
    ) -> Result<PatRow, AppError> {
        principal.without_pat()?;
        if let Some(name) = name {
            check_name(name)?;
        }
        if let Some(description) = description {
            check_text("description", description)?;
            if description.is_empty() {
                return Err(AppError::invalid("description", "must not be empty"));
            }
        }
        let mut tx = self.store.begin().await?;
        if !pats::describe(&mut tx, principal.user, id, (name, description), Moment::now()).await? {
            return Err(NO_PAT);
        }
        let action = if name.is_some() { "pat.rename" } else { "pat.describe" };
        let details = json!({ "name": name, "description": description });
        tx.audit(AuditEntry { details, ..principal.did(asker, action, "pat", id) });
        let row = pats::find(tx.connection(), principal.user, id).await?.ok_or(NO_PAT)?;
        tx.commit().await?;
        Ok(row)
    }

    /// Gives a PAT another secret and another end. Identifiers, name and scopes stay; a revocation is taken back.
    ///
    /// * `grace`: for how long the old secret stays good beside the new one; not beyond its own end, and not at all if the PAT was not
    ///   good any more.
    ///
    /// # Errors
    /// As [`App::view_pat`]; [`AppError::Invalid`].
    pub async fn reset_pat(
        &self,
        principal: &Principal,
        asker: &Asker,
        id: PatId,
        duration: &str,
        grace: Option<&str>,
    ) -> Result<Issued, AppError> {
        principal.without_pat()?;
        let lifetime = self.pat_lifetime(duration)?;
        let grace = grace.filter(|grace| !matches!(*grace, "" | "0" | "0s"));
        let grace =
            grace.map(|text| lifetime_within("grace", text, self.settings.pats.grace_max)).transpose()?;
        let (secret, digest) = new_secret(principal.user, id)?;
        let now = Moment::now();
        let mut tx = self.store.begin().await?;
        let before = pats::find(tx.connection(), principal.user, id).await?.ok_or(NO_PAT)?;
        let previous_until = match (grace, before.status(now)) {
            (Some(grace), PatStatus::Active) => {
                let until = now.after(grace).ceil_to_second();
                Some(before.expires_at.map_or(until, |end| end.min(until)))
            }
            (Some(_), PatStatus::Revoked | PatStatus::Expired) | (None, _) => None,
        };
        let ends = (now.after(lifetime).ceil_to_second(), previous_until);
        pats::replace_secret(&mut tx, principal.user, id, digest, ends, now).await?;
        let details = json!({ "expires_at": ends.0, "old_secret_until": previous_until });
        tx.audit(AuditEntry { details, ..principal.did(asker, "pat.reset", "pat", id) });
        let row = pats::find(tx.connection(), principal.user, id).await?.ok_or(NO_PAT)?;
        tx.commit().await?;
        Ok(Issued { row, secret })
    }

    /// Ends a PAT. It stays in the list, and a reset brings it back with another secret.
    ///
    /// # Errors
    /// As [`App::view_pat`].
    pub async fn revoke_pat(&self, principal: &Principal, asker: &Asker, id: PatId) -> Result<(), AppError> {
        principal.without_pat()?;
        let mut tx = self.store.begin().await?;
        if !pats::revoke(&mut tx, principal.user, id, Moment::now()).await? {
            return Err(NO_PAT);
        }
        tx.audit(principal.did(asker, "pat.revoke", "pat", id));
        tx.commit().await?;
        Ok(())
    }

    /// Deletes a PAT with its scopes.
    ///
    /// # Errors
    /// As [`App::view_pat`].
    pub async fn delete_pat(&self, principal: &Principal, asker: &Asker, id: PatId) -> Result<(), AppError> {
        principal.without_pat()?;
        let mut tx = self.store.begin().await?;
        if !pats::delete(&mut tx, principal.user, id).await? {
            return Err(NO_PAT);
        }
        tx.audit(principal.did(asker, "pat.delete", "pat", id));
        tx.commit().await?;
        Ok(())
    }

    /// Deletes all of the principal's own PATs.
    ///
    /// # Errors
    /// [`AppError::Forbidden`] for a PAT.
    pub async fn clear_pats(&self, principal: &Principal, asker: &Asker) -> Result<(), AppError> {
        principal.without_pat()?;
        let mut tx = self.store.begin().await?;
        let pats = pats::clear(&mut tx, principal.user).await?;
        let details = json!({ "pats": pats });
        tx.audit(AuditEntry { details, ..principal.did(asker, "pat.clear", "user", principal.user) });
        tx.commit().await?;
        Ok(())
    }

    /// Notes that a PAT was shown to us; what was noted less than a minute ago is not written again.
    pub(super) async fn note_use(&self, id: PatId) -> Result<(), AppError> {
        let now = Moment::now();
        let last = pats::last_used(&mut self.store.read().await?, id).await?;
        if last.is_some_and(|last| now < last.after(USE_GRANULARITY)) {
            return Ok(());
        }
        let mut tx = self.store.begin().await?;
        pats::note_use(&mut tx, id, now).await?;
        tx.commit().await?;
        Ok(())
    }

    fn pat_lifetime(&self, text: &str) -> Result<Duration, AppError> {
        lifetime_within("duration", text, self.settings.pats.lifetime_max)
    }
}

pub(super) const NO_PAT: AppError = AppError::NotFound("PAT");

fn new_secret(user: UserId, pat: PatId) -> Result<(PatSecret, PatDigest), AppError> {
    let random = secrets::random().map_err(|error| AppError::internal(error.to_string()))?;
    let secret = pat::mint(PatIds { user, pat }, &random);
    let digest = secrets::pat_digest(secret.as_bytes());
    Ok((secret, digest))
}

fn lifetime_within(field: &'static str, text: &str, max: Duration) -> Result<Duration, AppError> {
    let lifetime = parse_lifetime(text).map_err(|error| AppError::invalid(field, error.to_string()))?;
    if lifetime > max {
        return Err(AppError::invalid(field, format!("at most {}", in_units(max))));
    }
    Ok(lifetime)
}

/// A limit as somebody would write it.
fn in_units(time: Duration) -> String {
    match time.as_secs() {
        seconds if seconds.is_multiple_of(86_400) => format!("{}d", seconds / 86_400),
        seconds if seconds.is_multiple_of(3_600) => format!("{}h", seconds / 3_600),
        seconds => format!("{seconds}s"),
    }
}

fn check_name(name: &str) -> Result<(), AppError> {
    if name.trim().is_empty() {
        return Err(AppError::invalid("name", "must not be empty"));
    }
    check_text("name", name)
}

/// The ranges as proxies read them.
fn checked_cidrs(texts: &[String]) -> Result<Vec<String>, AppError> {
    if texts.len() > CIDRS_MAX {
        return Err(AppError::invalid("cidrs", format!("at most {CIDRS_MAX}")));
    }
    let mut cidrs = Vec::new();
    for text in texts {
        let cidr = text.parse::<Cidr>();
        let cidr = cidr.map_err(|error| AppError::invalid("cidrs", error.to_string()))?.to_string();
        if !cidrs.contains(&cidr) {
            cidrs.push(cidr);
        }
    }
    Ok(cidrs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_shown_in_the_units_that_they_are_written_in() {
        let shown = [86_400 * 366, 7_200, 61].map(|seconds| in_units(Duration::from_secs(seconds)));
        assert_eq!(shown, ["366d", "2h", "61s"]);
    }

    #[test]
    fn ranges_are_kept_once_and_in_their_full_form() {
        let texts = ["10.0.0.0/8", "192.0.2.1", "192.0.2.1/32"].map(str::to_owned);
        assert_eq!(checked_cidrs(&texts).unwrap(), ["10.0.0.0/8", "192.0.2.1/32"]);
        assert!(checked_cidrs(&["10.0.0.1/8".to_owned()]).is_err());
        assert!(checked_cidrs(&vec!["10.0.0.0/8".to_owned(); CIDRS_MAX + 1]).is_err());
    }
}
