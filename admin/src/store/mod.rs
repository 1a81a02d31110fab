//! SQL, and nothing but: what is stored, how it is found, and what of it the proxies must hear.
//!
//! | file | holds |
//! |---|---|
//! | [`tx`] | the one way to change anything: rows, audit and change log in one transaction |
//! | [`mod@derive`] | rows → the records that proxies get |
//! | `published` | those records as they are now, a line each |
//! | [`feed`] | the change log and snapshots, as the feed sends them |
//! | the others | one group of tables each |
//!
//! SQLite in one file, in WAL mode: readers see a snapshot and never wait, writers go one after the other through one connection.
//! Commits are on the disk when they return (`synchronous = FULL`).

pub mod api_keys;
pub mod audit;
pub mod deployments;
pub mod derive;
pub mod domains;
pub mod feed;
pub mod invitations;
pub mod keys;
pub mod logins;
pub mod models;
pub mod nodes;
pub mod oidc;
pub mod pats;
mod published;
pub mod roles;
pub mod routes;
pub mod scim;
pub mod scopes;
pub mod tx;
pub mod usage;
pub mod users;

use std::path::Path;
use std::time::{Duration, Instant};

use sqlx::pool::PoolConnection;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{Sqlite, SqliteConnection};
use tokio::sync::watch;

use crate::figures::Changes;
pub use tx::{AuditEntry, Committed, WriteTx};

/// Connections that read. Each is a thread with a page cache of its own.
const READERS: u32 = 4;
/// How long a writer waits for the one before it, and a reader for a connection.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why the database did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another row has this value in a column that is unique.
    #[error("`{0}` is taken")]
    Taken(&'static str),
    /// Something that stays names what was to go.
    #[error("{0} still use it")]
    InUse(&'static str),
    /// What it names went away meanwhile: a user who was deleted while asking for something.
    #[error("what it names is gone")]
    Gone,
    /// The database failed, or a row is not what we write.
    #[error("database: {0}")]
    Database(#[source] sqlx::Error),
    /// A row that we cannot read.
    #[error("damaged row: {0}")]
    Damaged(String),
    /// The schema could not be brought up to date.
    #[error("schema: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match error.as_database_error().is_some_and(|error| error.is_foreign_key_violation()) {
            true => Self::Gone,
            false => Self::Database(error),
        }
    }
}

impl StoreError {
    /// Names the column when a unique constraint was hit.
    ///
    /// * `columns`: what SQLite calls the column (`users.username`), and what the caller of the API calls it.
    fn taken(error: sqlx::Error, columns: &[(&str, &'static str)]) -> Self {
        let hit = error.as_database_error().filter(|error| error.is_unique_violation()).and_then(|error| {
            let message = error.message().to_owned();
            columns.iter().find(|(column, _)| message.contains(column)).map(|(_, name)| *name)
        });
        hit.map_or_else(|| Self::from(error), Self::Taken)
    }
}

/// Which part of a list is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    /// Rows to skip.
    pub offset: i64,
    /// Rows to return at most.
    pub limit: i64,
}

/// Part of a list, and how long the whole is.
#[derive(Clone, Debug)]
pub struct Listed<T> {
    /// Rows that match, on all pages.
    pub total: i64,
    /// This page.
    pub rows: Vec<T>,
}

/// The database.
#[derive(Clone, Debug)]
pub struct Store {
    readers: SqlitePool,
    writer: SqlitePool,
    /// The newest committed generation; the feed waits on it.
    generation: watch::Sender<u64>,
    changes: Changes,
}

impl Store {
    /// Opens the database at `path`, makes it if it is not there, and brings its schema up to date.
    ///
    /// # Errors
    /// The file is no database, cannot be written, or is from a newer version.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(PATIENCE)
            .pragma("cache_size", "-32768");
        // What a writer sorts are the rows of a migration: too many for memory.
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            .acquire_timeout(PATIENCE)
            .connect_with(options.clone());
        let writer = writer.await?;
        sqlx::migrate!("./migrations").run(&writer).await?;
        sqlx::query("INSERT INTO feed_state (id, epoch, generation) VALUES (1, ?, 0) ON CONFLICT DO NOTHING")
            .bind(new_epoch())
            .execute(&writer)
            .await?;
        let mut filling = writer.begin_with("BEGIN IMMEDIATE").await?;
        published::fill_if_empty(&mut filling).await?;
        usage::fill_if_empty(&mut filling).await?;
        filling.commit().await?;
        let readers = SqlitePoolOptions::new().max_connections(READERS).acquire_timeout(PATIENCE);
        let readers =
            readers.connect_with(options.pragma("query_only", "true").pragma("temp_store", "memory")).await?;
        let store = Self { readers, writer, generation: watch::Sender::new(0), changes: Changes::default() };
        let state = feed::state(&mut *store.read().await?).await?;
        store.generation.send_replace(state.generation);
        Ok(store)
    }

    /// A connection that reads. Several statements that must agree with each other need a transaction on it.
    ///
    /// # Errors
    /// No connection became free in half a minute.
    pub async fn read(&self) -> Result<PoolConnection<Sqlite>, StoreError> {
        Ok(self.readers.acquire().await?)
    }

    /// Begins to change something. Waits until nobody else does.
    ///
    /// # Errors
    /// The writer before did not end in half a minute.
    pub async fn begin(&self) -> Result<WriteTx, StoreError> {
        let asked = Instant::now();
        let inner = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        self.changes.began(asked.elapsed());
        Ok(WriteTx::new(inner, self.generation.clone(), self.changes.clone()))
    }

    /// Tells of each new generation.
    #[must_use]
    pub fn generations(&self) -> watch::Receiver<u64> {
        self.generation.subscribe()
    }

    /// How long changes take.
    #[must_use]
    pub const fn changes(&self) -> &Changes {
        &self.changes
    }

    /// Ends all connections; what was committed is in the file.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

fn new_epoch() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

/// A set of texts as it is stored.
fn to_json<T: serde::Serialize + ?Sized>(value: &T) -> String {
    serde_json::to_string(value).expect("only string keys and finite numbers")
}

/// A stored set of texts.
fn from_json<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::Damaged(error.to_string()))
}

/// `%` and `_` of a text that is looked for are meant as they are.
fn like_pattern(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len() + 2);
    pattern.push('%');
    for character in text.chars() {
        if matches!(character, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern.push('%');
    pattern
}

/// Whether a row was found and changed.
fn changed(result: &sqlx::sqlite::SqliteQueryResult) -> bool {
    result.rows_affected() > 0
}

/// What every function that reads takes: a reader's connection or that of a transaction.
pub type Connection = SqliteConnection;
