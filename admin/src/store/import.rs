//! From one cube-admin to several: everything that is in a file goes into an empty database of a server.
//!
//! The history goes along, and its epoch: proxies that go over from one to the other go on where they were.

use std::path::{Path, PathBuf};

use super::database::Database;
use super::sql::copy::{Kind, copy};
use super::sql::{Connection, query, query_scalar};
use super::{Location, Store, StoreError};

/// All tables: what others name comes before them.
const TABLES: [&str; 31] = [
    "feed_state",
    "change_log",
    "published",
    "totals",
    "signing_keys",
    "users",
    "logins",
    "deployments",
    "endpoints",
    "domains",
    "roles",
    "role_actions",
    "role_members",
    "invitations",
    "models",
    "routes",
    "pats",
    "scopes",
    "api_keys",
    "oidc_links",
    "scim_groups",
    "scim_group_members",
    "scim_group_roles",
    "nodes",
    "audit",
    "usage",
    "usage_hourly",
    "usage_by_domain",
    "usage_by_model",
    "usage_by_pat",
    "usage_by_all",
];

/// Why nothing was imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// There is no such file.
    #[error("{0} is not there")]
    NoFile(PathBuf),
    /// A file cannot be filled from another, nor need it be: it can be copied.
    #[error("only a database of a PostgreSQL server is filled from a file")]
    NotAServer,
    /// Somebody has used it.
    #[error("the database is not empty")]
    NotEmpty,
    /// A row was not taken.
    #[error("table {table}: {error}")]
    Row {
        /// Of this table.
        table: &'static str,
        /// Why not.
        error: StoreError,
    },
    /// A database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Fills an empty database from a file, whose schema is brought up to date first. Nobody changes either meanwhile, and it happens as a
/// whole or not at all. Returns the tables with their rows.
///
/// # Errors
/// [`ImportError`]; the database is as empty as before.
pub async fn import(from: &Path, into: &Store) -> Result<Vec<(&'static str, u64)>, ImportError> {
    if !from.is_file() {
        return Err(ImportError::NoFile(from.to_owned()));
    }
    if !matches!(into.database, Database::Postgres { .. }) {
        return Err(ImportError::NotAServer);
    }
    let file = Database::open(&Location::File(from.to_owned())).await?;
    let copied = copy_all(&file, &into.database).await;
    file.close().await;
    let copied = copied?;
    // Its planner knows nothing of the rows yet. Were this to fail, all is there nevertheless, and the server does it by itself in time.
    if let Err(error) = analyze(into).await {
        tracing::warn!(%error, "the rows are there; statistics of them are not");
    }
    Ok(copied)
}

async fn analyze(store: &Store) -> Result<(), StoreError> {
    query("ANALYZE").execute(&mut store.writer().await?).await?;
    Ok(())
}

async fn copy_all(from: &Database, into: &Database) -> Result<Vec<(&'static str, u64)>, ImportError> {
    let mut source = from.begin().await?;
    let mut target = into.begin().await?;
    prepare(&mut target).await?;
    let mut copied = Vec::with_capacity(TABLES.len());
    for table in TABLES {
        let columns = columns(&mut target, table).await?;
        let rows = copy(&mut source, &mut target, table, &columns).await;
        copied.push((table, rows.map_err(|error| ImportError::Row { table, error: error.into() })?));
    }
    settle(&mut target).await.map_err(StoreError::from)?;
    target.commit().await.map_err(StoreError::from)?;
    Ok(copied)
}

/// Makes sure that the target is as a new one is, and takes from it what a new one has.
async fn prepare(target: &mut Connection) -> Result<(), ImportError> {
    let used = "SELECT EXISTS (SELECT 1 FROM users) OR EXISTS (SELECT 1 FROM feed_state WHERE generation > 0)
        OR EXISTS (SELECT 1 FROM usage_hourly) OR EXISTS (SELECT 1 FROM audit)";
    if query_scalar::<bool>(used).fetch_one(&mut *target).await.map_err(StoreError::from)? {
        return Err(ImportError::NotEmpty);
    }
    for statement in [
        "DELETE FROM feed_state",
        "DELETE FROM totals",
        // It would count PATs one by one; the number is copied.
        "ALTER TABLE pats DISABLE TRIGGER USER",
    ] {
        query(statement).execute(&mut *target).await.map_err(StoreError::from)?;
    }
    Ok(())
}

/// Makes the target go on where the source was.
async fn settle(target: &mut Connection) -> Result<(), sqlx::Error> {
    query("ALTER TABLE pats ENABLE TRIGGER USER").execute(&mut *target).await?;
    let next = "SELECT setval(pg_get_serial_sequence('audit', 'id'), (SELECT COALESCE(MAX(id), 0) + 1 FROM audit), FALSE)";
    query(next).execute(target).await?;
    Ok(())
}

async fn columns(target: &mut Connection, table: &str) -> Result<Vec<(String, Kind)>, StoreError> {
    let rows = query(
        "SELECT CAST(column_name AS TEXT) AS called, CAST(data_type AS TEXT) AS kind FROM information_schema.columns
         WHERE table_schema = current_schema() AND table_name = ? ORDER BY ordinal_position",
    );
    let rows = rows.bind(table).fetch_all(target).await?;
    let column = |row: &super::sql::Row| {
        let (name, kind) = (row.get::<String>("called"), row.get::<String>("kind"));
        match Kind::of_name(&kind) {
            Some(kind) => Ok((name, kind)),
            None => Err(StoreError::Damaged(format!("{table}.{name} is {kind}"))),
        }
    };
    rows.iter().map(column).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::TABLES;

    #[test]
    fn every_table_is_copied() {
        let schema = include_str!("../../migrations/postgres/0001_control_plane.sql");
        let tables = schema.lines().filter_map(|line| line.strip_prefix("CREATE TABLE ")?.strip_suffix(" ("));
        assert_eq!(tables.collect::<BTreeSet<_>>(), TABLES.into_iter().collect());
    }
}
