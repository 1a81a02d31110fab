//! SQL, and nothing but: what is stored, how it is found, and what of it the proxies must hear.
//!
//! | file | holds |
//! |---|---|
//! | [`tx`] | the one way to change anything: rows, audit and change log in one transaction |
//! | [`mod@derive`] | rows → the records that proxies get |
//! | `published` | those records as they are now, a line each |
//! | [`feed`] | the change log and snapshots, as the feed sends them |
//! | the others | one group of tables each |
//! | [`database`] | which database: SQLite in one file, or PostgreSQL |
//! | [`sql`] | statements and rows, for either |
//! | [`replicas`] | what several cube-admins on one database tell each other |
//! | [`mod@import`] | everything in a file → an empty database of a server |

pub mod api_keys;
pub mod audit;
mod database;
pub mod deployments;
pub mod derive;
pub mod domains;
pub mod feed;
pub mod import;
pub mod invitations;
pub mod keys;
pub mod logins;
pub mod models;
pub mod nodes;
pub mod oidc;
pub mod pats;
mod published;
pub mod replicas;
pub mod roles;
pub mod routes;
pub mod scim;
pub mod scopes;
#[cfg(test)]
pub(crate) mod scratch;
mod sql;
pub mod tx;
pub mod usage;
pub mod users;

use std::fmt;
use std::time::Instant;

use tokio::sync::watch;
use uuid::Uuid;

use crate::clock::Moment;
use crate::figures::Changes;
use database::Database;
pub use database::Location;
pub use sql::Connection;
use sql::query;
pub use tx::{AuditEntry, Committed, WriteTx};

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
    /// A text with a character that the database cannot keep: PostgreSQL and U+0000.
    #[error("U+0000 cannot be kept in a text")]
    Unstorable,
    /// The database failed, or a row is not what we write. What it said is in this error's text, so it is not told again as its source.
    #[error("database: {0}")]
    Database(sqlx::Error),
    /// A row that we cannot read.
    #[error("damaged row: {0}")]
    Damaged(String),
    /// The schema could not be brought up to date.
    #[error("schema: {0}")]
    Migrate(sqlx::migrate::MigrateError),
}

impl From<sqlx::migrate::MigrateError> for StoreError {
    fn from(error: sqlx::migrate::MigrateError) -> Self {
        Self::Migrate(error)
    }
}

/// PostgreSQL's codes for it: `character_not_in_repertoire` and `untranslatable_character`.
const UNSTORABLE: [&str; 2] = ["22021", "22P05"];

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let Some(told) = error.as_database_error() else { return Self::Database(error) };
        if told.is_foreign_key_violation() {
            Self::Gone
        } else if told.code().is_some_and(|code| UNSTORABLE.contains(&&*code)) {
            Self::Unstorable
        } else {
            Self::Database(error)
        }
    }
}

impl StoreError {
    /// Names the column when a unique constraint was hit.
    ///
    /// * `columns`: what SQLite calls the column (`users.username`), as does PostgreSQL's schema, and what the caller of the API calls it.
    fn taken(error: sqlx::Error, columns: &[(&str, &'static str)]) -> Self {
        let hit = error.as_database_error().filter(|error| error.is_unique_violation()).and_then(|error| {
            let message = error.constraint().unwrap_or(error.message());
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

/// Where something stands in a list in the order of creation. As text: what API and pages give as the way to the next part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// When it was made.
    pub at: Moment,
    /// Orders what was made in one moment.
    pub id: Uuid,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.at.0, self.id)
    }
}

impl Cursor {
    /// Reads its text.
    #[must_use]
    pub fn of_text(text: &str) -> Option<Self> {
        let (at, id) = text.split_once('.')?;
        Some(Self { at: Moment(at.parse().ok()?), id: id.parse().ok()? })
    }
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
    database: Database,
    /// The newest committed generation; the feed waits on it.
    generation: watch::Sender<u64>,
    changes: Changes,
    /// This process, among those on the database.
    replica: Uuid,
}

impl Store {
    /// Opens the database, makes the file if it is one and is not there, and brings the schema up to date.
    ///
    /// # Errors
    /// The file is no database, cannot be written, or is from a newer version; the server does not answer, or does not let us in.
    pub async fn open(location: &Location) -> Result<Self, StoreError> {
        let database = Database::open(location).await?;
        let mut filling = database.begin().await?;
        query("INSERT INTO feed_state (id, epoch, generation) VALUES (1, ?, 0) ON CONFLICT DO NOTHING")
            .bind(new_epoch())
            .execute(&mut filling)
            .await?;
        published::fill_if_empty(&mut filling).await?;
        usage::fill_if_empty(&mut filling).await?;
        filling.commit().await?;
        let (generation, changes) = (watch::Sender::new(0), Changes::default());
        let store = Self { database, generation, changes, replica: Uuid::new_v4() };
        let state = feed::state(&mut store.read().await?).await?;
        store.generation.send_replace(state.generation);
        Ok(store)
    }

    /// A connection that reads. Several statements that must agree with each other need a [`Store::view`].
    ///
    /// # Errors
    /// No connection became free in half a minute.
    pub async fn read(&self) -> Result<Connection, StoreError> {
        self.database.read().await
    }

    /// A connection that reads one state of the database, however many statements.
    ///
    /// # Errors
    /// As [`Store::read`].
    async fn view(&self) -> Result<Connection, StoreError> {
        self.database.view().await
    }

    /// A connection for single statements that change what is neither audited nor published.
    ///
    /// # Errors
    /// As [`Store::begin`].
    async fn writer(&self) -> Result<Connection, StoreError> {
        self.database.writer().await
    }

    /// Begins to change something. Waits until nobody else does, on any replica.
    ///
    /// # Errors
    /// The writer before did not end in half a minute.
    pub async fn begin(&self) -> Result<WriteTx, StoreError> {
        let asked = Instant::now();
        let inner = self.database.begin().await?;
        self.changes.began(asked.elapsed());
        Ok(WriteTx::new(inner, self.generation.clone(), self.changes.clone()))
    }

    /// A generation has been committed, here or by another replica.
    fn note_generation(&self, generation: u64) {
        note(&self.generation, generation);
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

    /// Bytes that the database takes, by part: `main`, and `wal` of a file.
    pub async fn sizes(&self) -> Vec<(&'static str, u64)> {
        self.database.sizes().await
    }

    /// Ends all connections; what was committed stays.
    pub async fn close(&self) {
        self.database.close().await;
    }
}

/// Two commits may get here in the other order than they were made in.
fn note(newest: &watch::Sender<u64>, generation: u64) {
    newest.send_if_modified(|newest| {
        let newer = generation > *newest;
        *newest = generation.max(*newest);
        newer
    });
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
const fn changed(rows: u64) -> bool {
    rows > 0
}
