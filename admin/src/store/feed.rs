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
    /// The next page of records, as lines: each text one line or several, without the end of the last; `None` at the end.
    ///
    /// # Errors
    /// The database failed.
    pub async fn next_page(&mut self) -> Result<Option<Vec<String>>, StoreError> {
        if let Some(Step::Pats(after)) = self.steps.front() {
            let after = *after;
            self.steps.pop_front();
            return Ok(Some(self.pats(after).await?));
        }
        let records = self.next_records().await?;
        Ok(records.map(|records| records.iter().map(Record::to_line).collect()))
    }

    /// The next page of anything but PATs.
    async fn next_records(&mut self) -> Result<Option<Vec<Record>>, StoreError> {
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
            // Written by `pats`.
            Step::Pats(_) => Vec::new(),
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

    /// A page of PATs, which SQLite itself writes as lines: a million rows that cross into this process one by one take ten times as
    /// long. They say what [`derive`] says; `app/replay.rs` compares the two.
    async fn pats(&mut self, after: Uuid) -> Result<Vec<String>, StoreError> {
        let connection = &mut **self.connection.as_mut().expect("there until it is dropped");
        let row = sqlx::query(PAT_LINES).bind(after).bind(PAGE).fetch_one(connection).await?;
        let Some(lines) = row.get::<Option<String>, _>("lines") else { return Ok(Vec::new()) };
        self.steps.push_front(Step::Pats(row.get("last")));
        Ok(vec![lines])
    }
}

/// An identifier as records write it.
macro_rules! uuid_text {
    ($column:literal) => {
        concat!(
            "lower(substr(hex(",
            $column,
            "), 1, 8) || '-' || substr(hex(",
            $column,
            "), 9, 4) || '-' || substr(hex(",
            $column,
            "), 13, 4) || '-' || substr(hex(",
            $column,
            "), 17, 4) || '-' || substr(hex(",
            $column,
            "), 21))"
        )
    };
}

/// The lines of a page of PATs, and the last identifier on it.
const PAT_LINES: &str = concat!(
    "SELECT group_concat(line, char(10)) AS lines, max(id) AS last FROM (SELECT p.id AS id, ",
    "'{\"kind\":\"pat\",\"id\":\"' || ",
    uuid_text!("p.id"),
    " || '\",\"user\":\"' || ",
    uuid_text!("p.user_id"),
    " || '\",\"name\":' || json_quote(p.name) || ',\"digest\":\"sha256:' || lower(hex(p.digest)) || '\"' ",
    "|| CASE WHEN p.expires_at IS NULL THEN '' ELSE ',\"expires_at\":' || (p.expires_at / 1000) END ",
    "|| CASE WHEN p.revoked_at IS NULL THEN '' ELSE ',\"revoked\":true' END ",
    "|| CASE p.full_access WHEN 0 THEN '' ELSE ',\"full_access\":true' END ",
    "|| CASE p.cidrs WHEN '[]' THEN '' ELSE ',\"cidrs\":' || p.cidrs END ",
    "|| CASE WHEN p.previous_digest IS NULL OR p.previous_until IS NULL THEN '' ELSE ',\"previous\":{\"digest\":\"sha256:' ",
    "|| lower(hex(p.previous_digest)) || '\",\"until\":' || (p.previous_until / 1000) || '}' END ",
    "|| COALESCE((SELECT ',\"scopes\":[' || group_concat('{\"entity_type\":' || json_quote(s.entity_type) ",
    "|| CASE WHEN s.domain_id IS NULL THEN '' ELSE ',\"domain_id\":\"' || ",
    uuid_text!("s.domain_id"),
    " || '\"' END || ',\"entity_id\":' || json_quote(s.entity_id) || ',\"operation\":' || json_quote(s.operation) || '}', ',') || ']' ",
    "FROM scopes s WHERE s.pat_id = p.id), '') || '}' AS line ",
    "FROM (SELECT * FROM pats WHERE id > ? ORDER BY id LIMIT ?) p ORDER BY p.id)",
);

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

#[cfg(test)]
mod tests {
    use cube_wire::{Key, PatId};

    use super::*;

    /// Goal: a line that SQLite writes says what the derived record says. Method: PATs with every field in every state, and texts that JSON
    /// has to escape.
    #[tokio::test]
    async fn a_line_that_sqlite_writes_is_the_derived_record() {
        let directory = std::env::temp_dir().join(format!("cube-admin-feed-{}", Uuid::new_v4()));
        std::fs::create_dir(&directory).unwrap();
        let store = Store::open(&directory.join("db")).await.unwrap();
        let mut tx = store.begin().await.unwrap();
        for statement in [
            "INSERT INTO users (id, username, status, created_at, updated_at) VALUES (x'000102030405060708090a0b0c0d0e0f', 'u', 'enabled', 1, 1)",
            "INSERT INTO domains (id, name, status, created_at, updated_at) VALUES (x'f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff', 'd', 'enabled', 1, 1)",
            "INSERT INTO pats (id, user_id, name, digest, issued_at, updated_at) VALUES (x'00000000000000000000000000000001', x'000102030405060708090a0b0c0d0e0f', 'plain', zeroblob(32), 1, 1)",
            "INSERT INTO pats (id, user_id, name, digest, previous_digest, previous_until, full_access, cidrs, issued_at, expires_at, updated_at, revoked_at) VALUES (x'00000000000000000000000000000002', x'000102030405060708090a0b0c0d0e0f', '\"q\" \\ ä ' || char(9, 10, 1), randomblob(32), randomblob(32), 1999, 1, '[\"10.0.0.0/8\",\"::1/128\"]', 1, 123456789999, 1, 5)",
            "INSERT INTO scopes (pat_id, id, entity_type, domain_id, entity_id, operation) VALUES (x'00000000000000000000000000000002', randomblob(16), 'models', x'f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff', 'a\"b/ü', 'llm_read')",
            "INSERT INTO scopes (pat_id, id, entity_type, entity_id, operation) VALUES (x'00000000000000000000000000000002', randomblob(16), 'users', '*', 'read')",
        ] {
            sqlx::query(statement).execute(tx.connection()).await.unwrap();
        }
        tx.commit().await.unwrap();
        let mut snapshot = store.snapshot().await.unwrap();
        let mut pats = 0;
        while let Some(page) = snapshot.next_page().await.unwrap() {
            for line in page.iter().flat_map(|lines| lines.split('\n')) {
                let record = Record::from_line(line.as_bytes()).unwrap().unwrap();
                if let Record::Pat(pat) = &record {
                    pats += 1;
                    let key = Key::Pat(PatId(pat.id.0));
                    let derived = derive::record(&mut store.read().await.unwrap(), &key).await.unwrap();
                    assert_eq!(derived.as_ref(), Some(&record), "{line}");
                    assert_eq!(derived.unwrap().to_line(), line);
                }
            }
        }
        assert_eq!(pats, 2);
        drop(snapshot);
        store.close().await;
        std::fs::remove_dir_all(directory).unwrap();
    }
}
