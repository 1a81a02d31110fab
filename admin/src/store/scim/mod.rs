//! Users and groups as identity providers know them.
//!
//! Users are the ones of [`super::users`]; the columns that only SCIM knows are beside theirs. The members of a group have the roles that
//! the group is mapped to: rows of `role_members`, kept in step here ([`groups`]), so that whoever asks for rights need not know of groups.

mod columns;
mod condition;
pub mod groups;
pub mod users;

pub use condition::{Condition, Order};

use super::Page;

/// Which resources are wanted, in which order.
#[derive(Clone, Debug)]
pub struct Search {
    /// Only those that fit.
    pub condition: Option<Condition>,
    /// Oldest first if nothing else is said.
    pub order: Option<Order>,
    /// Which part of them.
    pub page: Page,
}
