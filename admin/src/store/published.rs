//! What proxies hold, one line for each record: kept by every commit beside the change log, read by snapshots.
//!
//! It says nothing that the rows do not say; `app/replay.rs` holds the two against each other. It is there because a snapshot of a
//! million PATs that is put together from rows takes five times as long (`docs/PERFORMANCE.md`).

use cube_wire::Key;
use sqlx::{Row as _, SqliteConnection};

use super::{StoreError, derive};

/// Lines of one page of a snapshot.
const PAGE: i64 = 4_000;
/// Kinds of records, see [`place_of`].
const KINDS: i64 = 8;

/// Where a record stands: its kind, in the order of a snapshot, and what it is found by.
fn place_of(key: &Key) -> (i64, Vec<u8>) {
    let two = |one: &[u8], other: &[u8]| [one, other].concat();
    match key {
        Key::Key(id) => (0, id.as_bytes().to_vec()),
        Key::Cluster(id) => (1, id.as_str().as_bytes().to_vec()),
        Key::User(id) => (2, id.0.as_bytes().to_vec()),
        Key::Domain(id) => (3, id.0.as_bytes().to_vec()),
        Key::Model(domain, name) => (4, two(domain.0.as_bytes(), name.as_bytes())),
        Key::Grant(user, domain) => (5, two(domain.0.as_bytes(), user.0.as_bytes())),
        Key::Route(name) => (6, name.as_bytes().to_vec()),
        Key::Pat(id) => (7, id.0.as_bytes().to_vec()),
    }
}

/// This is what proxies hold of `key` from now on; `None`: nothing.
pub(super) async fn put(
    connection: &mut SqliteConnection,
    key: &Key,
    line: Option<&str>,
) -> Result<(), StoreError> {
    let (kind, place) = place_of(key);
    let query = match line {
        Some(_) => {
            "INSERT INTO published (kind, key, line) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET line = excluded.line"
        }
        None => "DELETE FROM published WHERE kind = ? AND key = ?",
    };
    let query = sqlx::query(query).bind(kind).bind(place);
    match line {
        Some(line) => query.bind(line).execute(connection).await?,
        None => query.execute(connection).await?,
    };
    Ok(())
}

/// A place in the table: behind this key of this kind.
#[derive(Clone, Debug, Default)]
pub(super) struct Place {
    kind: i64,
    key: Vec<u8>,
}

/// The next lines behind `place`, each with its end, and moves `place` there; `None` at the end.
///
/// SQLite puts a page together: rows that cross into this process one by one take ten times as long.
pub(super) async fn next_lines(
    connection: &mut SqliteConnection,
    place: &mut Place,
) -> Result<Option<String>, StoreError> {
    while place.kind < KINDS {
        let page = sqlx::query(
            "SELECT group_concat(line || char(10), '') AS lines, max(key) AS last FROM \
             (SELECT key, line FROM published WHERE kind = ? AND key > ? ORDER BY key LIMIT ?)",
        );
        let page = page.bind(place.kind).bind(&place.key).bind(PAGE).fetch_one(&mut *connection).await?;
        if let Some(lines) = page.get::<Option<String>, _>("lines") {
            place.key = page.get("last");
            return Ok(Some(lines));
        }
        *place = Place { kind: place.kind + 1, key: Vec::new() };
    }
    Ok(None)
}

/// Fills the table from the rows, if it is empty: of a database that was made before there was one.
///
/// Cost: some 100 µs a record, once.
pub(super) async fn fill_if_empty(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let is_filled: bool =
        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM published)").fetch_one(&mut *connection).await?;
    if is_filled {
        return Ok(());
    }
    let keys = derive::every_key(connection).await?;
    if !keys.is_empty() {
        tracing::info!(records = keys.len(), "the table of published records is filled");
    }
    for key in keys {
        let record = derive::record(connection, &key).await?;
        put(connection, &key, record.map(|record| record.to_line()).as_deref()).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::Store;
    use super::*;

    /// Goal: a database from before this table gets it, page by page what it would have had. Method: a published world, more records than a
    /// page holds; the table is emptied and the database opened again.
    #[tokio::test]
    async fn a_database_without_the_table_is_given_it() {
        let directory = std::env::temp_dir().join(format!("cube-admin-published-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&directory).expect("a directory of its own");
        let file = directory.join("db");
        let store = Store::open(&file).await.expect("a new database");
        let mut tx = store.begin().await.expect("the only writer");
        let many = format!(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {}) \
             INSERT INTO users (id, username, status, created_at, updated_at) SELECT randomblob(16), 'u\u{e4}\"' || i, 'enabled', 1, 1 FROM n",
            PAGE + 5
        );
        sqlx::query(sqlx::AssertSqlSafe(many)).execute(tx.connection()).await.expect("rows");
        for key in derive::every_key(tx.connection()).await.expect("rows") {
            tx.touch(key);
        }
        tx.commit().await.expect("a commit");
        let before = all_lines(&store).await;
        assert_eq!(before.lines().count() as i64, PAGE + 5);
        let mut tx = store.begin().await.expect("the only writer");
        sqlx::query("DELETE FROM published").execute(tx.connection()).await.expect("a table");
        tx.commit().await.expect("a commit");
        store.close().await;
        let store = Store::open(&file).await.expect("the same database");
        assert!(all_lines(&store).await == before);
        store.close().await;
        std::fs::remove_dir_all(directory).expect("nobody uses it any more");
    }

    async fn all_lines(store: &Store) -> String {
        let mut snapshot = store.snapshot().await.expect("a snapshot");
        let mut all = String::new();
        while let Some(page) = snapshot.next_page().await.expect("a page") {
            all.push_str(&page);
        }
        all
    }
}
