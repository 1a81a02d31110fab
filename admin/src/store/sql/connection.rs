//! A connection to either database, in a transaction or not.

use sqlx::pool::PoolConnection;
use sqlx::{PgConnection, Postgres, Sqlite, SqliteConnection, Transaction};

/// What every function that reads takes: a reader's connection, or that of a transaction.
#[derive(Debug)]
pub struct Connection(Held);

#[derive(Debug)]
enum Held {
    Sqlite(PoolConnection<Sqlite>),
    SqliteTransaction(Transaction<'static, Sqlite>),
    Postgres(PoolConnection<Postgres>),
    PostgresTransaction(Transaction<'static, Postgres>),
}

/// What statements run on.
pub(super) enum Inner<'c> {
    Sqlite(&'c mut SqliteConnection),
    Postgres(&'c mut PgConnection),
}

impl Connection {
    pub(super) fn inner(&mut self) -> Inner<'_> {
        match &mut self.0 {
            Held::Sqlite(connection) => Inner::Sqlite(connection),
            Held::SqliteTransaction(transaction) => Inner::Sqlite(transaction),
            Held::Postgres(connection) => Inner::Postgres(connection),
            Held::PostgresTransaction(transaction) => Inner::Postgres(transaction),
        }
    }

    /// Whether it is one to PostgreSQL, which is told in other words what no dialect says ([`super::dialect`]).
    pub(in crate::store) const fn is_postgres(&self) -> bool {
        matches!(self.0, Held::Postgres(_) | Held::PostgresTransaction(_))
    }

    /// Makes permanent what was done in its transaction; outside of one it is already.
    pub(in crate::store) async fn commit(self) -> Result<(), sqlx::Error> {
        match self.0 {
            Held::SqliteTransaction(transaction) => transaction.commit().await,
            Held::PostgresTransaction(transaction) => transaction.commit().await,
            Held::Sqlite(_) | Held::Postgres(_) => Ok(()),
        }
    }
}

impl From<PoolConnection<Sqlite>> for Connection {
    fn from(connection: PoolConnection<Sqlite>) -> Self {
        Self(Held::Sqlite(connection))
    }
}

impl From<Transaction<'static, Sqlite>> for Connection {
    fn from(transaction: Transaction<'static, Sqlite>) -> Self {
        Self(Held::SqliteTransaction(transaction))
    }
}

impl From<PoolConnection<Postgres>> for Connection {
    fn from(connection: PoolConnection<Postgres>) -> Self {
        Self(Held::Postgres(connection))
    }
}

impl From<Transaction<'static, Postgres>> for Connection {
    fn from(transaction: Transaction<'static, Postgres>) -> Self {
        Self(Held::PostgresTransaction(transaction))
    }
}
