//! The database of one test: a file in its state directory, or a database of the server that `CUBE_TEST_DATABASE` names by the URL of one of
//! its databases. That server is the tests' own: databases stay on it.

use std::path::Path;

use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, SqliteConnection};

/// Where it is.
pub(crate) enum Database {
    File,
    /// Its URL.
    Server(String),
}

impl Database {
    /// An empty one.
    pub(crate) fn new() -> Self {
        let Ok(url) = std::env::var("CUBE_TEST_DATABASE") else { return Self::File };
        let name = format!("cube_test_{}", uuid::Uuid::new_v4().simple());
        run(async {
            let mut server =
                PgConnection::connect(&url).await.expect("the server that CUBE_TEST_DATABASE names");
            let create = AssertSqlSafe(format!("CREATE DATABASE {name}"));
            server.execute(create).await.expect("a database of its own");
        });
        Self::Server(format!("{url}?dbname={name}"))
    }

    /// The same one, for another process.
    pub(crate) fn again(&self) -> Self {
        match self {
            Self::File => panic!("a file is one process's: CUBE_TEST_DATABASE names no server"),
            Self::Server(url) => Self::Server(url.clone()),
        }
    }

    /// What `CUBE_ADMIN_DATABASE` is to be.
    pub(crate) fn url(&self) -> Option<&str> {
        match self {
            Self::File => None,
            Self::Server(url) => Some(url),
        }
    }

    /// The first column, a text, of every row.
    pub(crate) fn texts(&self, state: &Path, query: &str) -> Vec<String> {
        let query = AssertSqlSafe(query.to_owned());
        let rows = run(async {
            match self {
                Self::File => {
                    let file = state.join("cube-admin.sqlite");
                    let file = sqlx::sqlite::SqliteConnectOptions::new().filename(file).read_only(true);
                    let mut database = SqliteConnection::connect_with(&file).await?;
                    sqlx::query_scalar(query).fetch_all(&mut database).await
                }
                Self::Server(url) => {
                    sqlx::query_scalar(query).fetch_all(&mut PgConnection::connect(url).await?).await
                }
            }
        });
        rows.unwrap_or_else(|error| panic!("{error}"))
    }

    /// Everything in it, as it stands on the server; nothing of a file, which is there to be read.
    pub(crate) fn everything(&self, state: &Path) -> Vec<u8> {
        let Self::Server(_) = self else { return Vec::new() };
        let tables = self.texts(state, "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'");
        assert!(tables.len() > 20, "{tables:?}");
        let rows =
            tables.iter().flat_map(|table| self.texts(state, &format!("SELECT t::text FROM {table} AS t")));
        // A row as text doubles the quotes within its columns.
        rows.flat_map(|row| row.replace("\"\"", "\"").into_bytes()).collect()
    }
}

fn run<W: Future>(work: W) -> W::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(work)
}
