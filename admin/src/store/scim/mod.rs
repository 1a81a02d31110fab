//! Users and groups as identity providers know them.
//!
//! Users are the ones of [`super::users`]; the columns that only SCIM knows are beside theirs. The members of a group have the roles that
//! the group is mapped to: rows of `role_members`, kept in step here ([`groups`]), so that whoever asks for rights need not know of groups.

mod columns;
mod condition;
pub mod groups;
pub mod users;

pub use condition::{Condition, Order};

use super::{Listed, Page, StoreError};
use crate::store::sql::{Connection, QueryBuilder, Row};

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

impl Search {
    /// The rows of `table` that are wanted.
    async fn rows(
        &self,
        connection: &mut Connection,
        table: &'static str,
    ) -> Result<Listed<Row>, StoreError> {
        let from_table = |what: &str| {
            let mut query = QueryBuilder::new(format!("SELECT {what} FROM {table}"));
            if let Some(condition) = &self.condition {
                query.push(" WHERE ");
                condition.push(&mut query);
            }
            query
        };
        let total = from_table("COUNT(*)").build_query_scalar().fetch_one(&mut *connection).await?;
        if self.page.limit == 0 {
            return Ok(Listed { total, rows: Vec::new() });
        }
        let mut query = from_table("*");
        query.push(" ORDER BY ");
        if let Some(order) = &self.order {
            order.push(&mut query);
        }
        query.push(format!("{table}.created_at, {table}.id LIMIT ")).push_bind(self.page.limit);
        query.push(" OFFSET ").push_bind(self.page.offset);
        Ok(Listed { total, rows: query.build().fetch_all(connection).await? })
    }
}
