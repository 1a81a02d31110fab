//! SCIM: identity providers keep users and groups in step with their own. Whoever may do so may change every user: superadmins, and API
//! keys with the scope `scim`.
//!
//! | file | holds |
//! |---|---|
//! | this | who may provision; what is asked; why it is not done |
//! | `resources` | what becomes of a resource, whichever kind it is of |
//! | `users`, `groups` | what only users, and only groups have |
//! | [`mappings`] | which roles a group brings |
//!
//! The users are cube's own. What a provider says of one beyond what cube knows is kept and given back, and decides nothing.

mod groups;
pub mod mappings;
pub(crate) mod resources;
pub(in crate::app) mod users;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{AppError, Asker, Principal};
use crate::scim::filter;
use crate::scim::schema::ResourceType;
use crate::scim::{ScimError, ScimType};
use crate::store::api_keys::ApiScope;
use crate::store::scim::{Condition, Order, Search};
use crate::store::{Page, StoreError};

/// Resources of a page if nothing else is said.
const COUNT_DEFAULT: i64 = 100;
/// Most resources of a page.
pub const COUNT_MAX: i64 = 200;

/// Who provisions.
#[derive(Debug)]
pub struct Provisioner {
    /// Who.
    pub principal: Principal,
    /// From where.
    pub asker: Asker,
    /// What locations begin with: `https://cube.example.org/api/scim/v2`.
    pub base: String,
}

/// Why a SCIM request was not done.
#[derive(Debug)]
pub enum ScimFault {
    /// As with every other API.
    App(AppError),
    /// In the terms of SCIM.
    Scim(ScimError),
    /// The resource is not any more as whoever asks has seen it.
    Changed,
}

impl From<AppError> for ScimFault {
    fn from(error: AppError) -> Self {
        match error {
            AppError::Invalid { field, why } => {
                Self::Scim(ScimError::new(ScimType::InvalidValue, format!("{field}: {why}")))
            }
            error @ (AppError::Unauthenticated { .. }
            | AppError::Forbidden(_)
            | AppError::InsufficientScope { .. }
            | AppError::NotFound(_)
            | AppError::Conflict(_)
            | AppError::Unprocessable(_)
            | AppError::Throttled { .. }
            | AppError::Unavailable(_)
            | AppError::Internal(_)) => Self::App(error),
        }
    }
}

impl From<ScimError> for ScimFault {
    fn from(error: ScimError) -> Self {
        Self::Scim(error)
    }
}

impl From<StoreError> for ScimFault {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Taken(what) => {
                Self::Scim(ScimError::new(ScimType::Uniqueness, format!("{what} is taken")))
            }
            StoreError::Gone => {
                Self::Scim(ScimError::new(ScimType::InvalidValue, "a member is no user of cube"))
            }
            error @ (StoreError::InUse(_)
            | StoreError::Unstorable
            | StoreError::Database(_)
            | StoreError::Damaged(_)
            | StoreError::Migrate(_)) => Self::App(error.into()),
        }
    }
}

/// Which resources are wanted, as it stands in a query or a search.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// A filter.
    pub filter: Option<String>,
    /// An attribute.
    pub sort_by: Option<String>,
    /// From the last to the first.
    pub descending: bool,
    /// The first one, counted from 1; less is 1.
    pub start_index: Option<i64>,
    /// How many at most; less than 0 is 0.
    pub count: Option<i64>,
}

/// Part of what was found.
#[derive(Debug)]
pub struct Found {
    /// Resources that fit, on all pages.
    pub total: i64,
    /// Where this page begins, counted from 1.
    pub start_index: i64,
    /// This page.
    pub resources: Vec<Value>,
}

/// Refuses whoever may not provision.
fn may_provision(provisioner: &Provisioner) -> Result<(), AppError> {
    provisioner.principal.demand_key_scope(ApiScope::Scim)?;
    provisioner.principal.as_superadmin()
}

fn search(kind: &'static ResourceType, wish: &Wish) -> Result<(Search, i64), ScimError> {
    let condition =
        wish.filter.as_deref().map(|text| Condition::new(kind, &filter::parse(text)?)).transpose()?;
    let order = wish.sort_by.as_deref().map(|by| Order::new(kind, by, wish.descending)).transpose()?;
    let start_index = wish.start_index.unwrap_or(1).max(1);
    let limit = wish.count.unwrap_or(COUNT_DEFAULT).clamp(0, COUNT_MAX);
    Ok((Search { condition, order, page: Page { offset: start_index - 1, limit } }, start_index))
}

/// A weak ETag (RFC 9110 §8.8.1) of what it is made of.
fn version_of(parts: &str) -> String {
    let digest = Sha256::digest(parts);
    digest.iter().take(8).fold("W/\"".to_owned(), |text, byte| format!("{text}{byte:02x}")) + "\""
}

/// Whether one of the ETags of an `If-Match` or `If-None-Match` is this version, compared weakly; `*` is every version.
fn names_version(etags: &str, version: &str) -> bool {
    let opaque = |etag: &str| etag.trim().trim_start_matches("W/").trim_matches('"').to_owned();
    etags.split(',').any(|etag| etag.trim() == "*" || opaque(etag) == opaque(version))
}

fn check_version(if_match: Option<&str>, version: &str) -> Result<(), ScimFault> {
    match if_match {
        Some(etags) if !names_version(etags, version) => Err(ScimFault::Changed),
        Some(_) | None => Ok(()),
    }
}

/// An identifier in a path. What cannot be one names nothing.
fn id_of(text: &str, what: &'static str) -> Result<uuid::Uuid, ScimFault> {
    text.parse().map_err(|_| AppError::NotFound(what).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_weakly_and_one_of_a_list_is_enough() {
        let version = version_of("x");
        assert!(version.starts_with("W/\"") && version.len() == 20, "{version}");
        assert!(names_version(&version, &version) && names_version("*", &version));
        assert!(names_version(&format!("\"a\", {}", version.trim_start_matches("W/")), &version));
        assert!(!names_version("W/\"a\"", &version) && !names_version("", &version));
    }
}
