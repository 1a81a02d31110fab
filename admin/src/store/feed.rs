//! The change log and snapshots, as the feed sends them.

use std::collections::VecDeque;

use cube_wire::{DomainId, Record, UserId};
use sqlx::pool::PoolConnection;
use sqlx::{Row as _, Sqlite, SqliteConnection};
use uuid::Uuid;

use super::{Store, StoreError, derive};
use crate::clock::Moment;

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
pub async fn state(connection: &mut SqliteConnection) -> Result<FeedState, StoreError> {
    let row = sqlx::query("SELECT epoch, generation FROM feed_state").fetch_one(connection).await?;
    let generation = u64::try_from(row.get::<i64, _>("generation"))
        .map_err(|_| StoreError::Damaged("a negative generation".to_owned()))?;
    Ok(FeedState { epoch: row.get("epoch"), generation })
}

/// The generations after `since`, oldest first, `max` at most. `None`: the log no longer goes back that far, or never was there.
///
/// # Errors
/// The database failed.
pub async fn deltas(
    connection: &mut SqliteConnection,
    since: u64,
    max: u64,
) -> Result<Option<Vec<Delta>>, StoreError> {
    let rows = sqlx::query(
        "SELECT generation, at_ms, line FROM change_log WHERE generation > ?1 AND generation <= ?1 + ?2 \
         ORDER BY generation, position",
    )
    .bind(i64::try_from(since).unwrap_or(i64::MAX))
    .bind(i64::try_from(max).unwrap_or(i64::MAX / 2))
    .fetch_all(connection)
    .await?;
    let mut deltas: Vec<Delta> = Vec::new();
    for row in rows {
        let generation = row.get::<i64, _>("generation").unsigned_abs();
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
            sqlx::query("DELETE FROM change_log WHERE generation <= (SELECT generation FROM feed_state) - ?");
        Ok(pruned.bind(i64::try_from(keep).unwrap_or(i64::MAX)).execute(&self.writer).await?.rows_affected())
    }

    /// Begins a new epoch: whatever proxies hold of the old one is worth nothing to a delta any more.
    ///
    /// # Errors
    /// The database failed.
    pub async fn begin_epoch(&self) -> Result<FeedState, StoreError> {
        let mut connection = self.writer.acquire().await?;
        sqlx::query("UPDATE feed_state SET epoch = ?")
            .bind(super::new_epoch())
            .execute(&mut *connection)
            .await?;
        state(&mut connection).await
    }

    /// Everything there is, as of now.
    ///
    /// # Errors
    /// The database failed.
    pub async fn snapshot(&self) -> Result<Snapshot, StoreError> {
        let mut connection = self.read().await?;
        // Everything that follows on this connection sees one state of the database.
        sqlx::query("BEGIN").execute(&mut *connection).await?;
        let state = state(&mut connection).await?;
        let steps = VecDeque::from([Step::Keys, Step::Deployments, Step::Users(Uuid::nil()), Step::Domains]);
        Ok(Snapshot { connection: Some(connection), state, steps })
    }
}

/// Rows of one page.
const PAGE: i64 = 5_000;

/// What of a snapshot comes next. Things come before what names them, so that a reader could check as it goes.
enum Step {
    Keys,
    Deployments,
    /// Those after this one.
    Users(Uuid),
    Domains,
    DomainContents(DomainId),
    Routes,
    /// Those after this one.
    Pats(Uuid),
}

/// A snapshot that is being read, page by page. Holds a reader's connection meanwhile.
pub struct Snapshot {
    /// `None` only once it is dropped.
    connection: Option<PoolConnection<Sqlite>>,
    /// What it is a snapshot of.
    pub state: FeedState,
    steps: VecDeque<Step>,
}

impl Snapshot {
    /// The next page of records; `None` at the end.
    ///
    /// # Errors
    /// The database failed.
    pub async fn next_page(&mut self) -> Result<Option<Vec<Record>>, StoreError> {
        let Some(step) = self.steps.pop_front() else { return Ok(None) };
        let connection = &mut **self.connection.as_mut().expect("there until it is dropped");
        Ok(Some(match step {
            Step::Keys => {
                let rows = sqlx::query("SELECT id, public_key FROM signing_keys ORDER BY id");
                let rows = rows.fetch_all(connection).await?;
                rows.iter().map(|row| Record::Key(derive::key_of(row))).collect()
            }
            Step::Deployments => deployments(connection).await?,
            Step::Users(after) => self.users(after).await?,
            Step::Domains => {
                let rows = sqlx::query(
                    "SELECT id, name, alias, status, default_deployment FROM domains ORDER BY id",
                );
                let rows = rows.fetch_all(connection).await?;
                let records: Vec<_> = rows.iter().map(derive::domain_of).collect();
                self.steps.extend(records.iter().map(|record| Step::DomainContents(record.id)));
                self.steps.extend([Step::Routes, Step::Pats(Uuid::nil())]);
                records.into_iter().map(Record::Domain).collect()
            }
            Step::DomainContents(domain) => domain_contents(connection, domain).await?,
            Step::Routes => {
                let rows = sqlx::query("SELECT * FROM routes WHERE enabled = 1 ORDER BY name");
                let rows = rows.fetch_all(connection).await?;
                rows.iter().map(|row| derive::route_of(row).map(Record::Route)).collect::<Result<_, _>>()?
            }
            Step::Pats(after) => self.pats(after).await?,
        }))
    }

    async fn users(&mut self, after: Uuid) -> Result<Vec<Record>, StoreError> {
        let connection = &mut **self.connection.as_mut().expect("there until it is dropped");
        let rows = sqlx::query(
            "SELECT id, username, status, superadmin FROM users WHERE id > ? ORDER BY id LIMIT ?",
        );
        let rows = rows.bind(after).bind(PAGE).fetch_all(connection).await?;
        let records: Vec<_> = rows.iter().map(derive::user_of).collect();
        if let Some(last) = records.last() {
            self.steps.push_front(Step::Users(last.id.0));
        }
        Ok(records.into_iter().map(Record::User).collect())
    }

    async fn pats(&mut self, after: Uuid) -> Result<Vec<Record>, StoreError> {
        let connection = &mut **self.connection.as_mut().expect("there until it is dropped");
        let rows = sqlx::query("SELECT * FROM pats WHERE id > ? ORDER BY id LIMIT ?");
        let rows = rows.bind(after).bind(PAGE).fetch_all(&mut *connection).await?;
        let Some(last) = rows.last() else { return Ok(Vec::new()) };
        let last: Uuid = last.get("id");
        let scopes = sqlx::query("SELECT * FROM scopes WHERE pat_id > ? AND pat_id <= ? ORDER BY pat_id, id");
        let scopes = scopes.bind(after).bind(last).fetch_all(connection).await?;
        let mut scopes = scopes.iter().peekable();
        let mut records = Vec::with_capacity(rows.len());
        for row in &rows {
            let id: Uuid = row.get("id");
            let mut own = Vec::new();
            while let Some(scope) = scopes.next_if(|scope| scope.get::<Uuid, _>("pat_id") == id) {
                own.push(derive::scope_of(scope));
            }
            records.push(Record::Pat(derive::pat_of(row, own)?));
        }
        self.steps.push_front(Step::Pats(last));
        Ok(records)
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        // The connection is in a transaction: it must not go back among the others.
        if let Some(connection) = self.connection.take() {
            drop(connection.detach());
        }
    }
}

async fn deployments(connection: &mut SqliteConnection) -> Result<Vec<Record>, StoreError> {
    let rows = sqlx::query("SELECT * FROM deployments ORDER BY name").fetch_all(&mut *connection).await?;
    let endpoints = sqlx::query("SELECT * FROM endpoints ORDER BY deployment, position");
    let endpoints = endpoints.fetch_all(connection).await?;
    let clusters = rows.iter().map(|row| {
        let name: &str = row.get("name");
        let first = endpoints.partition_point(|endpoint| endpoint.get::<&str, _>("deployment") < name);
        let count =
            endpoints[first..].iter().take_while(|endpoint| endpoint.get::<&str, _>("deployment") == name);
        let own = &endpoints[first..first + count.count()];
        Record::Cluster(derive::cluster_of(row, own))
    });
    Ok(clusters.collect())
}

/// Models and grants of one domain.
async fn domain_contents(
    connection: &mut SqliteConnection,
    domain: DomainId,
) -> Result<Vec<Record>, StoreError> {
    let models = sqlx::query(derive::MODELS_OF_DOMAIN).bind(domain.0).fetch_all(&mut *connection).await?;
    let mut records: Vec<_> = models.iter().map(|row| Record::Model(derive::model_of(row))).collect();
    let rows = sqlx::query(
        "SELECT DISTINCT m.user_id, a.action FROM roles r JOIN role_members m ON m.role_id = r.id \
         JOIN role_actions a ON a.role_id = r.id WHERE r.domain_id = ? ORDER BY m.user_id, a.action",
    );
    let rows = rows.bind(domain.0).fetch_all(connection).await?;
    for of_user in
        rows.chunk_by(|one, other| one.get::<Uuid, _>("user_id") == other.get::<Uuid, _>("user_id"))
    {
        let user = UserId(of_user[0].get("user_id"));
        let actions = of_user.iter().map(|row| row.get("action")).collect();
        records.extend(derive::grant_of(user, domain, actions).map(Record::Grant));
    }
    Ok(records)
}
