//! Which database, and the connections to it.
//!
//! | | SQLite | PostgreSQL |
//! |---|---|---|
//! | for | one cube-admin, nothing else to run | several replicas of cube-admin |
//! | writers | one connection, `BEGIN IMMEDIATE` | one connection a replica, an advisory lock among them |
//! | readers see | the state when their statement began | the same |
//! | on the disk | when a commit returns (`synchronous = FULL`) | as the server is set up (`synchronous_commit`, on unless somebody turned it off) |
//!
//! With either, writers go one after the other, so what a writer has read stays true until it commits, and generations are committed in
//! their order.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::pool::PoolOptions;
use sqlx::postgres::{PgConnectOptions, PgPool, PgSslMode};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqliteSynchronous};

use super::StoreError;
use super::sql::{Connection, query, query_scalar};

/// Connections that read. Each to SQLite is a thread with a page cache of its own.
const READERS: u32 = 4;
/// How long a writer waits for the one before it, and a reader for a connection.
const PATIENCE: Duration = Duration::from_secs(30);
/// What writers of all replicas lock. Any number that nobody else locks in this database.
const WRITING: i64 = 0x6375_6265_5f61_646d;

/// Where the database is.
#[derive(Clone)]
pub enum Location {
    /// A file, made if it is not there.
    File(PathBuf),
    /// A database of a PostgreSQL server.
    Server(Box<PgConnectOptions>),
}

impl Location {
    /// Reads the URL of a PostgreSQL database. What it does not say comes from `PGPASSWORD`, `PGPASSFILE` and their like, as with `psql`.
    ///
    /// A password travels to another host only over TLS, and only to who can show a certificate for its name, unless `sslmode` in the URL (or
    /// `PGSSLMODE`) says otherwise.
    ///
    /// # Errors
    /// Why it is none; without the URL itself, which may hold a password.
    pub fn of_url(url: &str) -> Result<Self, String> {
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err("it must begin with postgres://".to_owned());
        }
        let options: PgConnectOptions = url.parse().map_err(|error| {
            if let sqlx::Error::Configuration(why) = error {
                why.to_string()
            } else {
                "it is not a URL of a PostgreSQL database".to_owned()
            }
        })?;
        let parameters = url.split_once('?').map_or("", |(_, parameters)| parameters);
        let is_said = std::env::var_os("PGSSLMODE").is_some()
            || parameters.contains("sslmode=")
            || parameters.contains("ssl-mode=");
        Ok(Self::Server(Box::new(match is_said || is_here(&options) {
            true => options,
            false => options.ssl_mode(PgSslMode::VerifyFull),
        })))
    }
}

fn is_here(options: &PgConnectOptions) -> bool {
    let host = options.get_host();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse();
    options.get_socket().is_some()
        || host == "localhost"
        || host.starts_with('/')
        || address.is_ok_and(|address: IpAddr| address.is_loopback())
}

/// For people, without a password.
impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Server(options) => {
                let database = options.get_database().unwrap_or(options.get_username());
                match options.get_socket() {
                    Some(socket) => write!(f, "PostgreSQL {database} by {}", socket.display()),
                    None => {
                        write!(f, "PostgreSQL {database} on {}:{}", options.get_host(), options.get_port())
                    }
                }
            }
        }
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Location({self})")
    }
}

/// Connections to the database.
#[derive(Clone, Debug)]
pub(super) enum Database {
    Sqlite {
        readers: SqlitePool,
        writer: SqlitePool,
        file: PathBuf,
    },
    /// * `listener`: one connection that hears what other replicas tell.
    Postgres {
        readers: PgPool,
        writer: PgPool,
        listener: PgPool,
    },
}

impl Database {
    /// Opens it and brings its schema up to date.
    pub(super) async fn open(location: &Location) -> Result<Self, StoreError> {
        match location {
            Location::File(path) => Self::open_sqlite(path).await,
            Location::Server(options) => Self::open_postgres(options).await,
        }
    }

    async fn open_sqlite(path: &Path) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(PATIENCE)
            .pragma("cache_size", "-32768");
        // What a writer sorts are the rows of a migration: too many for memory.
        let writer: SqlitePool = pool(1).connect_with(options.clone()).await?;
        sqlx::migrate!("./migrations/sqlite").run(&writer).await?;
        let readers = options.pragma("query_only", "true").pragma("temp_store", "memory");
        Ok(Self::Sqlite {
            readers: pool(READERS).connect_with(readers).await?,
            writer,
            file: path.to_owned(),
        })
    }

    async fn open_postgres(options: &PgConnectOptions) -> Result<Self, StoreError> {
        let patience = PATIENCE.as_millis().to_string();
        let options = options.clone().application_name("cube-admin").options([("lock_timeout", &*patience)]);
        let writer: PgPool = pool(1).connect_with(options.clone()).await?;
        // Replicas that start together take turns: this takes a lock of its own.
        sqlx::migrate!("./migrations/postgres").run(&writer).await?;
        let readers = options.clone().options([("default_transaction_read_only", "on")]);
        let listener = pool(1).connect_lazy_with(options);
        Ok(Self::Postgres { readers: pool(READERS).connect_with(readers).await?, writer, listener })
    }

    /// A connection that reads.
    pub(super) async fn read(&self) -> Result<Connection, StoreError> {
        Ok(match self {
            Self::Sqlite { readers, .. } => readers.acquire().await?.into(),
            Self::Postgres { readers, .. } => readers.acquire().await?.into(),
        })
    }

    /// A connection that reads one state of the database, however many statements.
    pub(super) async fn view(&self) -> Result<Connection, StoreError> {
        Ok(match self {
            Self::Sqlite { readers, .. } => readers.begin().await?.into(),
            Self::Postgres { readers, .. } => {
                readers.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?.into()
            }
        })
    }

    /// A connection for single statements that change something.
    pub(super) async fn writer(&self) -> Result<Connection, StoreError> {
        Ok(match self {
            Self::Sqlite { writer, .. } => writer.acquire().await?.into(),
            Self::Postgres { writer, .. } => writer.acquire().await?.into(),
        })
    }

    /// A transaction that changes something: the only one there is.
    pub(super) async fn begin(&self) -> Result<Connection, StoreError> {
        match self {
            Self::Sqlite { writer, .. } => Ok(writer.begin_with("BEGIN IMMEDIATE").await?.into()),
            Self::Postgres { writer, .. } => {
                let mut connection: Connection = writer.begin().await?.into();
                query("SELECT pg_advisory_xact_lock(?)").bind(WRITING).execute(&mut connection).await?;
                Ok(connection)
            }
        }
    }

    /// Bytes that it takes: of the file and its log, or of the database on its server, which does not tell of its log by database.
    pub(super) async fn sizes(&self) -> Vec<(&'static str, u64)> {
        match self {
            Self::Sqlite { file, .. } => {
                let mut log = file.clone().into_os_string();
                log.push("-wal");
                let bytes = |file: &Path| std::fs::metadata(file).map_or(0, |metadata| metadata.len());
                vec![("main", bytes(file)), ("wal", bytes(Path::new(&log)))]
            }
            Self::Postgres { .. } => {
                let Ok(mut connection) = self.read().await else { return Vec::new() };
                let size = query_scalar::<i64>("SELECT pg_database_size(current_database())");
                let size = size.fetch_one(&mut connection).await;
                size.map(|bytes| ("main", bytes.unsigned_abs())).into_iter().collect()
            }
        }
    }

    /// Ends all connections.
    pub(super) async fn close(&self) {
        match self {
            Self::Sqlite { readers, writer, .. } => {
                readers.close().await;
                writer.close().await;
            }
            Self::Postgres { readers, writer, listener } => {
                listener.close().await;
                readers.close().await;
                writer.close().await;
            }
        }
    }
}

fn pool<D: sqlx::Database>(connections: u32) -> PoolOptions<D> {
    PoolOptions::new().max_connections(connections).acquire_timeout(PATIENCE)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::sql::Row;
    use super::*;

    fn mode(url: &str) -> PgSslMode {
        match Location::of_url(url).expect("a URL") {
            Location::Server(options) => options.get_ssl_mode(),
            Location::File(_) => panic!("a file"),
        }
    }

    #[test]
    fn a_password_goes_to_another_host_only_with_a_certificate_unless_somebody_says_otherwise() {
        for here in [
            "postgres://u:p@127.0.0.1/db",
            "postgres://u@localhost:5/db",
            "postgresql://u@[::1]/db",
            "postgres://u@%2Frun%2Fpg/db",
        ] {
            assert!(matches!(mode(here), PgSslMode::Prefer), "{here}");
        }
        for there in [
            "postgres://u:p@db.example.org/cube",
            "postgres://u:p@10.0.0.1:5433/cube",
            "postgres://u:sslmode=disable@db.example.org/cube",
        ] {
            assert!(matches!(mode(there), PgSslMode::VerifyFull), "{there}");
        }
        assert!(matches!(mode("postgres://u:p@db.example.org/cube?sslmode=disable"), PgSslMode::Disable));
    }

    #[test]
    fn neither_an_error_nor_a_location_shows_a_password() {
        let location = Location::of_url("postgres://u:hunter2@db.example.org/cube").expect("a URL");
        assert_eq!(location.to_string(), "PostgreSQL cube on db.example.org:5432");
        assert_eq!(format!("{location:?}"), "Location(PostgreSQL cube on db.example.org:5432)");
        for wrong in [
            "mysql://u:hunter2@h/db",
            "postgres://u:hunter2@h:port/db",
            "postgres://u:hunter2@h/db?sslmode=no",
            "postgres://",
        ] {
            if let Err(error) = Location::of_url(wrong) {
                assert!(!error.contains("hunter2"), "{error}");
            }
        }
        assert!(Location::of_url("mysql://u:hunter2@h/db").is_err());
    }

    /// Columns of a schema, as `table.column`, without those of the migrations' own table.
    fn columns(told: &[Row]) -> BTreeSet<String> {
        let name = |row: &Row| format!("{}.{}", row.get::<String>("of"), row.get::<String>("called"));
        told.iter().map(name).filter(|name| !name.starts_with('_') && !name.starts_with("sqlite_")).collect()
    }

    /// Goal: both schemas have the same tables with the same columns. Method: SQLite is asked, PostgreSQL's text is
    /// read: whether it can be carried out, its server says in `tests/postgres`.
    #[tokio::test]
    async fn both_schemas_have_the_same_columns() {
        let directory = std::env::temp_dir().join(format!("cube-schema-{}", uuid::Uuid::new_v4().simple()));
        std::fs::create_dir(&directory).expect("a directory");
        let file = Database::open(&Location::File(directory.join("db"))).await.expect("a database");
        let of_sqlite = "SELECT m.name AS of, c.name AS called FROM sqlite_master m, pragma_table_info(m.name) c WHERE m.type = 'table'";
        let mut connection = file.read().await.expect("a connection");
        let of_sqlite = columns(&query(of_sqlite).fetch_all(&mut connection).await.expect("columns"));
        drop(connection);
        file.close().await;
        std::fs::remove_dir_all(directory).expect("nobody uses it any more");
        assert!(of_sqlite.len() > 150, "{of_sqlite:?}");
        assert_eq!(
            of_sqlite,
            columns_of_text(include_str!("../../migrations/postgres/0001_control_plane.sql"))
        );
    }

    /// Columns by the text of a schema in which each column has a line of its own.
    fn columns_of_text(schema: &str) -> BTreeSet<String> {
        let mut columns = BTreeSet::new();
        let mut table = None;
        for line in schema.lines() {
            match (line.strip_prefix("CREATE TABLE "), line.strip_prefix("    ")) {
                (Some(name), _) => table = name.strip_suffix(" ("),
                (None, Some(column)) => {
                    let name = column.split(' ').next().expect("a word");
                    if let Some(table) =
                        table.filter(|_| name.starts_with(|first: char| first.is_ascii_lowercase()))
                    {
                        columns.insert(format!("{table}.{name}"));
                    }
                }
                (None, None) => table = None,
            }
        }
        columns
    }
}
