//! The change log and snapshots, as the feed sends them.

use super::published::{Place, next_lines};
use super::{Store, StoreError};
use crate::clock::Moment;
use crate::store::sql::{Connection, query};

/// Where the feed stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedState {
    /// See [`cube_wire::feed`].
    pub epoch: String,
    /// The newest generation.
    pub generation: u64,
}

/// One committed generation.
#[derive(Clone, Debug)]
pub struct Delta {
    /// Its number.
    pub generation: u64,
    /// When it was committed.
    pub at: Moment,
    /// Its changes, as lines of the feed without their ends.
    pub lines: Vec<String>,
}

/// Where the feed stands now.
///
/// # Errors
/// The database failed.
pub async fn state(connection: &mut Connection) -> Result<FeedState, StoreError> {
    let row = query("SELECT epoch, generation FROM feed_state").fetch_one(connection).await?;
    let generation = u64::try_from(row.get::<i64>("generation"))
        .map_err(|_| StoreError::Damaged("a negative generation".to_owned()))?;
    Ok(FeedState { epoch: row.get("epoch"), generation })
}

/// The generations after `since`, oldest first, `max` at most. `None`: the log no longer goes back that far, or never was there.
///
/// # Errors
/// The database failed.
pub async fn deltas(
    connection: &mut Connection,
    since: u64,
    max: u64,
) -> Result<Option<Vec<Delta>>, StoreError> {
    let rows = query(
        "SELECT generation, at_ms, line FROM change_log WHERE generation > ?1 AND generation <= ?1 + ?2 \
         ORDER BY generation, position",
    )
    .bind(i64::try_from(since).unwrap_or(i64::MAX))
    .bind(i64::try_from(max).unwrap_or(i64::MAX / 2))
    .fetch_all(connection)
    .await?;
    let mut deltas: Vec<Delta> = Vec::new();
    for row in rows {
        let generation = row.get::<i64>("generation").unsigned_abs();
        if deltas.last().is_none_or(|last| last.generation != generation) {
            deltas.push(Delta { generation, at: row.get("at_ms"), lines: Vec::new() });
        }
        let delta = deltas.last_mut().expect("one was just pushed");
        delta.lines.push(row.get("line"));
    }
    let whole = deltas.first().is_none_or(|first| first.generation == since + 1);
    Ok(whole.then_some(deltas))
}

impl Store {
    /// Forgets all but the newest `keep` generations of the change log; returns how many rows went.
    ///
    /// # Errors
    /// The database failed.
    pub async fn prune_change_log(&self, keep: u64) -> Result<u64, StoreError> {
        let pruned =
            query("DELETE FROM change_log WHERE generation <= (SELECT generation FROM feed_state) - ?");
        Ok(pruned.bind(i64::try_from(keep).unwrap_or(i64::MAX)).execute(&mut self.writer().await?).await?)
    }

    /// Begins a new epoch: whatever proxies hold of the old one is worth nothing to a delta any more.
    ///
    /// # Errors
    /// The database failed.
    pub async fn begin_epoch(&self) -> Result<FeedState, StoreError> {
        let mut connection = self.writer().await?;
        query("UPDATE feed_state SET epoch = ?").bind(super::new_epoch()).execute(&mut connection).await?;
        state(&mut connection).await
    }

    /// Everything there is, as of now.
    ///
    /// # Errors
    /// The database failed.
    pub async fn snapshot(&self) -> Result<Snapshot, StoreError> {
        let mut connection = self.view().await?;
        let state = state(&mut connection).await?;
        Ok(Snapshot { connection, state, place: Place::default() })
    }
}

/// A snapshot that is being read, page by page. Holds a reader's connection meanwhile.
pub struct Snapshot {
    connection: Connection,
    /// What it is a snapshot of.
    pub state: FeedState,
    place: Place,
}

impl Snapshot {
    /// The next page of records, as lines, each with its end; `None` at the end. Things come before what names them.
    ///
    /// # Errors
    /// The database failed.
    pub async fn next_page(&mut self) -> Result<Option<String>, StoreError> {
        next_lines(&mut self.connection, &mut self.place).await
    }
}
