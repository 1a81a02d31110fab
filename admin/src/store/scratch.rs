//! Databases for tests: each its own, gone with the test.

use std::path::PathBuf;

use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use uuid::Uuid;

use super::{Location, Store};

/// A file; or a database of the server that `CUBE_TEST_DATABASE` names by the URL of one of its databases. That server is the tests' own:
/// databases stay on it.
pub(crate) struct Scratch {
    directory: PathBuf,
    name: String,
    server: Option<String>,
}

impl Scratch {
    /// An empty one.
    pub(crate) async fn new() -> Self {
        let name = format!("cube_test_{}", Uuid::new_v4().simple());
        let directory = std::env::temp_dir().join(&name);
        std::fs::create_dir(&directory).expect("a directory of its own");
        let scratch = Self { directory, name, server: std::env::var("CUBE_TEST_DATABASE").ok() };
        if let Some(url) = &scratch.server {
            let mut connection =
                PgConnection::connect(url).await.expect("the server that CUBE_TEST_DATABASE names");
            let create = format!("CREATE DATABASE {}", scratch.name);
            connection.execute(AssertSqlSafe(create)).await.expect("a database of its own");
        }
        scratch
    }

    /// Opens it; again, if it was open before.
    pub(crate) async fn open(&self) -> Store {
        Store::open(&self.location()).await.expect("a database")
    }

    fn location(&self) -> Location {
        match &self.server {
            Some(url) => Location::of_url(&format!("{url}?dbname={}", self.name)).expect("a URL"),
            None => Location::File(self.directory.join("db")),
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}
