//! What several cube-admins on one database tell each other: LISTEN and NOTIFY of PostgreSQL. With a file there is one, and nothing to tell.
//!
//! A notification says only where to look; what is true stands in the tables. Lost ones cost time, not truth: a feed looks for
//! what was committed once a second without being told.

use sqlx::postgres::{PgListener, PgPool};

use super::database::Database;
use super::sql::{Connection, query};
use super::{Store, StoreError, feed};

/// A commit that proxies must hear of: its generation.
const GENERATION: &str = "cube_generation";
/// The signing keys are others.
const KEYS: &str = "cube_keys";
/// A node said something, or was forgotten: its name.
const NODE: &str = "cube_node";
/// Somebody tried a password: which replica says so, the digest of who it was, and whether it was the right one.
const ATTEMPT: &str = "cube_attempt";

/// What another replica, or this one, has done.
#[derive(Debug, PartialEq, Eq)]
pub enum News {
    /// The signing keys are others.
    Keys,
    /// A node said something, or was forgotten.
    Node(String),
    /// Somebody tried a password at another replica.
    Attempt {
        /// The digest of who it was.
        who: String,
        /// It was the right one.
        succeeded: bool,
    },
    /// Nobody could tell for a while: anything may have changed.
    Anything,
}

/// Where replicas hear of each other.
pub struct Listener {
    heard: PgListener,
}

impl Listener {
    /// The next news. Commits are passed on to [`Store::generations`] on the way.
    ///
    /// # Errors
    /// The server does not answer. Asking again connects again; what was told meanwhile is lost.
    pub async fn next(&mut self, store: &Store) -> Result<News, StoreError> {
        loop {
            let Some(told) = self.heard.try_recv().await? else {
                store.note_generation(feed::state(&mut store.read().await?).await?.generation);
                return Ok(News::Anything);
            };
            match (told.channel(), told.payload().parse()) {
                (GENERATION, Ok(generation)) => store.note_generation(generation),
                (KEYS, _) => return Ok(News::Keys),
                (NODE, _) => return Ok(News::Node(told.payload().to_owned())),
                (ATTEMPT, _) => {
                    if let Some(attempt) = store.attempt_elsewhere(told.payload()) {
                        return Ok(attempt);
                    }
                }
                _ => {}
            }
        }
    }
}

impl Store {
    /// Begins to listen to other replicas; `None`: there can be none.
    ///
    /// # Errors
    /// The server does not answer.
    pub async fn listen(&self) -> Result<Option<Listener>, StoreError> {
        let Database::Postgres { listener, .. } = &self.database else { return Ok(None) };
        Ok(Some(Listener { heard: listen(listener).await? }))
    }

    /// Whether other cube-admins may use the database too.
    #[must_use]
    pub const fn has_replicas(&self) -> bool {
        matches!(self.database, Database::Postgres { .. })
    }

    /// Tells other replicas how somebody's attempt ended.
    ///
    /// * `who`: a digest, without spaces.
    ///
    /// # Errors
    /// The database failed.
    pub async fn tell_attempt(&self, who: &str, succeeded: bool) -> Result<(), StoreError> {
        if !self.has_replicas() {
            return Ok(());
        }
        let outcome = if succeeded { "right" } else { "wrong" };
        tell(&mut self.writer().await?, ATTEMPT, &format!("{} {who} {outcome}", self.replica)).await
    }

    /// An attempt that another replica tells of; what this one told itself it knows.
    fn attempt_elsewhere(&self, told: &str) -> Option<News> {
        let (replica, rest) = told.split_once(' ')?;
        let (who, outcome) = rest.split_once(' ')?;
        (replica != self.replica.to_string())
            .then(|| News::Attempt { who: who.to_owned(), succeeded: outcome == "right" })
    }
}

async fn listen(pool: &PgPool) -> Result<PgListener, sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen_all([GENERATION, KEYS, NODE, ATTEMPT]).await?;
    Ok(listener)
}

/// Tells all replicas of a commit, once it has been made.
pub(super) async fn tell_commit(
    connection: &mut Connection,
    generation: u64,
    keys_changed: bool,
) -> Result<(), StoreError> {
    tell(connection, GENERATION, &generation.to_string()).await?;
    match keys_changed {
        true => tell(connection, KEYS, "").await,
        false => Ok(()),
    }
}

/// Tells all replicas of a node.
pub(super) async fn tell_node(connection: &mut Connection, name: &str) -> Result<(), StoreError> {
    tell(connection, NODE, name).await
}

/// In a transaction it is told when that is committed, and not at all if it is not.
async fn tell(connection: &mut Connection, channel: &str, what: &str) -> Result<(), StoreError> {
    if connection.is_postgres() {
        query("SELECT pg_notify(?, ?)").bind(channel).bind(what).execute(connection).await?;
    }
    Ok(())
}
