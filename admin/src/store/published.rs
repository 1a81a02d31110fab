//! What proxies hold, one line for each record: kept by every commit beside the change log, read by snapshots.
//!
//! It says nothing that the rows do not say; `app/replay.rs` holds the two against each other. It is there because a snapshot of a
//! million PATs that is put together from rows takes five times as long (`docs/PERFORMANCE.md`).

use cube_wire::Key;

use super::{StoreError, derive};
use crate::store::sql::{Connection, query, query_scalar};

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
    connection: &mut Connection,
    key: &Key,
    line: Option<&str>,
) -> Result<(), StoreError> {
    let (kind, place) = place_of(key);
    let change = match line {
        Some(_) => {
            "INSERT INTO published (kind, key, line) VALUES (?, ?, ?) ON CONFLICT (kind, key) DO UPDATE SET line = excluded.line"
        }
        None => "DELETE FROM published WHERE kind = ? AND key = ?",
    };
    let change = query(change).bind(kind).bind(place);
    match line {
        Some(line) => change.bind(line).execute(connection).await?,
        None => change.execute(connection).await?,
    };
    Ok(())
}

/// A place in the table: behind this key of this kind.
#[derive(Clone, Debug, Default)]
pub(super) struct Place {
    kind: i64,
    key: Vec<u8>,
}

/// A page's lines as one text, and its last key.
const SQLITE_PAGE: &str = "SELECT group_concat(line || char(10), '') AS lines, max(key) AS last FROM \
     (SELECT key, line FROM published WHERE kind = ? AND key > ? ORDER BY key LIMIT ?)";
/// The same. `max` takes no `BYTEA` before PostgreSQL 18.
const POSTGRES_PAGE: &str = "SELECT string_agg(line || chr(10), '' ORDER BY key) AS lines, (array_agg(key ORDER BY key DESC))[1] AS last \
     FROM (SELECT key, line FROM published WHERE kind = ? AND key > ? ORDER BY key LIMIT ?) AS page";

/// The next lines behind `place`, each with its end, and moves `place` there; `None` at the end.
///
/// The database puts a page together: rows that cross into this process one by one take ten times as long.
pub(super) async fn next_lines(
    connection: &mut Connection,
    place: &mut Place,
) -> Result<Option<String>, StoreError> {
    while place.kind < KINDS {
        let page = query(if connection.is_postgres() { POSTGRES_PAGE } else { SQLITE_PAGE });
        let page = page.bind(place.kind).bind(&place.key).bind(PAGE).fetch_one(connection).await?;
        if let Some(lines) = page.get::<Option<String>>("lines") {
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
pub(super) async fn fill_if_empty(connection: &mut Connection) -> Result<(), StoreError> {
    let is_filled: bool =
        query_scalar("SELECT EXISTS (SELECT 1 FROM published)").fetch_one(&mut *connection).await?;
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
    use uuid::Uuid;

    use super::super::Store;
    use super::super::scratch::Scratch;
    use super::super::sql::QueryBuilder;
    use super::*;

    /// Goal: a database from before this table gets it, page by page what it would have had. Method: a published world, more records than a
    /// page holds; the table is emptied and the database opened again.
    #[tokio::test]
    async fn a_database_without_the_table_is_given_it() {
        let scratch = Scratch::new().await;
        let store = scratch.open().await;
        let mut tx = store.begin().await.expect("the only writer");
        let mut users =
            QueryBuilder::new("INSERT INTO users (id, username, status, created_at, updated_at) ");
        users.push_values(1..=PAGE + 5, |mut row, nth| {
            row.push_bind(Uuid::from_u128(nth.unsigned_abs().into()));
            row.push_bind(format!("u\u{e4}\"{nth}")).push_bind("enabled").push_bind(1_i64).push_bind(1_i64);
        });
        users.build().execute(tx.connection()).await.expect("rows");
        for key in derive::every_key(tx.connection()).await.expect("rows") {
            tx.touch(key);
        }
        tx.commit().await.expect("a commit");
        let before = all_lines(&store).await;
        assert_eq!(before.lines().count() as i64, PAGE + 5);
        let mut tx = store.begin().await.expect("the only writer");
        query("DELETE FROM published").execute(tx.connection()).await.expect("a table");
        tx.commit().await.expect("a commit");
        store.close().await;
        let store = scratch.open().await;
        assert!(all_lines(&store).await == before);
        store.close().await;
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
