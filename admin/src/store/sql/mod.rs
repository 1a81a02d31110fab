//! Statements, for either database: SQLite in one file, or PostgreSQL.
//!
//! A statement is written once, in SQLite's words as far as PostgreSQL can be given them: it has functions of these names in its schema
//! (`migrations/postgres`), and [`dialect`] puts what is left into its own. Rows and values are the same for both.
//!
//! | file | holds |
//! |---|---|
//! | [`mod@connection`] | a connection to either, in a transaction or not |
//! | [`value`] | what is bound, and what a column holds |
//! | [`dialect`] | SQLite's words → PostgreSQL's |
//! | [`copy`] | a table's rows out of one into the other |
//! | this file | statements: their text, what is bound to it, what comes back |

mod connection;
pub(super) mod copy;
mod dialect;
mod value;

use std::borrow::Cow;
use std::fmt::{self, Display, Write as _};
use std::marker::PhantomData;

use sqlx::postgres::PgArguments;
use sqlx::query::Query as Prepared;
use sqlx::sqlite::SqliteArguments;
use sqlx::{AssertSqlSafe, Postgres, SqlSafeStr as _, Sqlite};

pub use connection::Connection;
use connection::Inner;
pub(super) use value::{Field, Row, Value};

/// A statement with what is bound to its `?`, in their order; `?1` is the first of them, wherever it stands.
#[derive(Debug)]
pub(super) struct Query {
    text: Cow<'static, str>,
    values: Vec<Value>,
    persistent: bool,
}

/// A statement of which one column is wanted.
#[derive(Debug)]
pub(super) struct ScalarQuery<T> {
    query: Query,
    of: PhantomData<fn() -> T>,
}

/// A statement.
pub(super) fn query(text: impl Into<Cow<'static, str>>) -> Query {
    Query { text: text.into(), values: Vec::new(), persistent: true }
}

/// A statement of which the first column is wanted.
pub(super) fn query_scalar<T: Field>(text: impl Into<Cow<'static, str>>) -> ScalarQuery<T> {
    ScalarQuery { query: query(text), of: PhantomData }
}

impl Query {
    /// Binds the next value.
    pub(super) fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }

    /// Whether the database keeps what it made of the text, for the next time; for texts that do come again. As it begins.
    pub(super) const fn persistent(mut self, persistent: bool) -> Self {
        self.persistent = persistent;
        self
    }

    /// Runs it; how many rows it touched.
    pub(super) async fn execute(self, connection: &mut Connection) -> Result<u64, sqlx::Error> {
        match connection.inner() {
            Inner::Sqlite(connection) => Ok(self.sqlite().execute(connection).await?.rows_affected()),
            Inner::Postgres(connection) => Ok(self.postgres().execute(connection).await?.rows_affected()),
        }
    }

    /// All rows.
    pub(super) async fn fetch_all(self, connection: &mut Connection) -> Result<Vec<Row>, sqlx::Error> {
        match connection.inner() {
            Inner::Sqlite(connection) => {
                Ok(self.sqlite().fetch_all(connection).await?.into_iter().map(Row::Sqlite).collect())
            }
            Inner::Postgres(connection) => {
                Ok(self.postgres().fetch_all(connection).await?.into_iter().map(Row::Postgres).collect())
            }
        }
    }

    /// The first row, if there is one.
    pub(super) async fn fetch_optional(
        self,
        connection: &mut Connection,
    ) -> Result<Option<Row>, sqlx::Error> {
        match connection.inner() {
            Inner::Sqlite(connection) => Ok(self.sqlite().fetch_optional(connection).await?.map(Row::Sqlite)),
            Inner::Postgres(connection) => {
                Ok(self.postgres().fetch_optional(connection).await?.map(Row::Postgres))
            }
        }
    }

    /// The first row, which must be there.
    pub(super) async fn fetch_one(self, connection: &mut Connection) -> Result<Row, sqlx::Error> {
        self.fetch_optional(connection).await?.ok_or(sqlx::Error::RowNotFound)
    }

    fn sqlite(self) -> Prepared<'static, Sqlite, SqliteArguments> {
        let query = match self.text {
            Cow::Borrowed(text) => sqlx::query(text),
            Cow::Owned(text) => sqlx::query(AssertSqlSafe(text).into_sql_str()),
        };
        let bound = self.values.into_iter().fold(query, |query, value| value.bind_sqlite(query));
        bound.persistent(self.persistent)
    }

    fn postgres(self) -> Prepared<'static, Postgres, PgArguments> {
        let query = sqlx::query(AssertSqlSafe(dialect::for_postgres(&self.text)).into_sql_str());
        let bound = self.values.into_iter().fold(query, |query, value| value.bind_postgres(query));
        bound.persistent(self.persistent)
    }
}

impl<T: Field> ScalarQuery<T> {
    /// Binds the next value.
    pub(super) fn bind(self, value: impl Into<Value>) -> Self {
        Self { query: self.query.bind(value), of: self.of }
    }

    /// As [`Query::persistent`].
    pub(super) const fn persistent(mut self, persistent: bool) -> Self {
        self.query.persistent = persistent;
        self
    }

    /// The column, of all rows.
    pub(super) async fn fetch_all(self, connection: &mut Connection) -> Result<Vec<T>, sqlx::Error> {
        Ok(self.query.fetch_all(connection).await?.iter().map(Row::first).collect())
    }

    /// The column, of the first row, if there is one.
    pub(super) async fn fetch_optional(self, connection: &mut Connection) -> Result<Option<T>, sqlx::Error> {
        Ok(self.query.fetch_optional(connection).await?.as_ref().map(Row::first))
    }

    /// The column, of the first row, which must be there.
    pub(super) async fn fetch_one(self, connection: &mut Connection) -> Result<T, sqlx::Error> {
        Ok(self.query.fetch_one(connection).await?.first())
    }
}

/// A statement that is put together. What callers sent is only ever bound.
#[derive(Debug, Default)]
pub(super) struct QueryBuilder {
    text: String,
    values: Vec<Value>,
}

impl QueryBuilder {
    /// One that begins so.
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), values: Vec::new() }
    }

    /// Adds text of our own.
    pub(super) fn push(&mut self, text: impl Display) -> &mut Self {
        write!(self.text, "{text}").expect("a string takes everything");
        self
    }

    /// Adds a value.
    pub(super) fn push_bind(&mut self, value: impl Into<Value>) -> &mut Self {
        self.text.push('?');
        self.values.push(value.into());
        self
    }

    /// Adds what `IN` takes. Nothing is in an empty list.
    pub(super) fn push_list<V: Into<Value>>(&mut self, items: impl IntoIterator<Item = V>) -> &mut Self {
        self.text.push_str("(NULL");
        for item in items {
            self.text.push_str(", ");
            self.push_bind(item);
        }
        self.text.push(')');
        self
    }

    /// Adds `VALUES` and a row for each item.
    pub(super) fn push_values<I: IntoIterator>(
        &mut self,
        items: I,
        mut row_of: impl FnMut(RowBuilder<'_>, I::Item),
    ) -> &mut Self {
        for (nth, item) in items.into_iter().enumerate() {
            self.text.push_str(if nth == 0 { "VALUES (" } else { ", (" });
            row_of(RowBuilder { query: self, is_first: true }, item);
            self.text.push(')');
        }
        self
    }

    /// The statement. Nothing is left here.
    pub(super) fn build(&mut self) -> Query {
        Query { values: std::mem::take(&mut self.values), ..query(std::mem::take(&mut self.text)) }
    }

    /// The statement, of which the first column is wanted. Nothing is left here.
    pub(super) fn build_query_scalar<T: Field>(&mut self) -> ScalarQuery<T> {
        ScalarQuery { query: self.build(), of: PhantomData }
    }
}

/// A row of `VALUES`.
pub(super) struct RowBuilder<'q> {
    query: &'q mut QueryBuilder,
    is_first: bool,
}

impl RowBuilder<'_> {
    /// Adds a value.
    pub(super) fn push_bind(&mut self, value: impl Into<Value>) -> &mut Self {
        if !std::mem::replace(&mut self.is_first, false) {
            self.query.text.push_str(", ");
        }
        self.query.push_bind(value);
        self
    }
}

impl fmt::Debug for RowBuilder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RowBuilder").finish_non_exhaustive()
    }
}
