//! What is bound to a statement, and what a column of a row holds.
//!
//! | here | SQLite | PostgreSQL |
//! |---|---|---|
//! | text | `TEXT` | `TEXT` |
//! | identifier, bytes | `BLOB` | `BYTEA` |
//! | integer, moment | `INTEGER` | `BIGINT` |
//! | flag | `INTEGER`, 0 or 1 | `BOOLEAN` |
//! | number | `REAL` | `DOUBLE PRECISION` |

use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Postgres, Row as _, Sqlite};
use uuid::Uuid;

use crate::clock::Moment;

/// Something to bind. What is absent has a kind too: PostgreSQL asks for it.
#[derive(Clone, Debug)]
pub(in crate::store) enum Value {
    Text(Option<String>),
    Bytes(Option<Vec<u8>>),
    Id(Option<Uuid>),
    Integer(Option<i64>),
    Flag(Option<bool>),
    Number(f64),
}

impl Value {
    pub(super) fn bind_sqlite(
        self,
        query: Query<'static, Sqlite, SqliteArguments>,
    ) -> Query<'static, Sqlite, SqliteArguments> {
        match self {
            Self::Text(value) => query.bind(value),
            Self::Bytes(value) => query.bind(value),
            Self::Id(value) => query.bind(value),
            Self::Integer(value) => query.bind(value),
            Self::Flag(value) => query.bind(value),
            Self::Number(value) => query.bind(value),
        }
    }

    pub(super) fn bind_postgres(
        self,
        query: Query<'static, Postgres, PgArguments>,
    ) -> Query<'static, Postgres, PgArguments> {
        match self {
            Self::Text(value) => query.bind(value),
            Self::Bytes(value) => query.bind(value),
            Self::Id(value) => query.bind(value.map(|id| id.as_bytes().to_vec())),
            Self::Integer(value) => query.bind(value),
            Self::Flag(value) => query.bind(value),
            Self::Number(value) => query.bind(value),
        }
    }
}

/// Values that are there or not, of one kind.
macro_rules! bound {
    ($($from:ty => $kind:ident($name:ident => $value:expr)),+ $(,)?) => {$(
        impl From<$from> for Value {
            fn from($name: $from) -> Self {
                Self::$kind(Some($value))
            }
        }
        impl From<Option<$from>> for Value {
            fn from(value: Option<$from>) -> Self {
                Self::$kind(value.map(|$name| $value))
            }
        }
    )+};
}

bound! {
    &str => Text(text => text.to_owned()),
    String => Text(text => text),
    &String => Text(text => text.clone()),
    Vec<u8> => Bytes(bytes => bytes),
    &[u8] => Bytes(bytes => bytes.to_vec()),
    &Vec<u8> => Bytes(bytes => bytes.clone()),
    Uuid => Id(id => id),
    i64 => Integer(number => number),
    u16 => Integer(number => number.into()),
    u32 => Integer(number => number.into()),
    Moment => Integer(at => at.0),
    bool => Flag(flag => flag),
}

impl From<&Option<String>> for Value {
    fn from(text: &Option<String>) -> Self {
        Self::Text(text.clone())
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

/// A row of either database.
pub(in crate::store) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

/// Which column.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) enum Column<'c> {
    /// The one of this name.
    Named(&'c str),
    /// The first.
    First,
}

/// What a column can be read as.
pub(in crate::store) trait Field: Sized {
    /// `None`: there is no value.
    ///
    /// # Panics
    /// There is no such column, or it holds something else: a statement and its reader do not fit.
    fn read(row: &Row, column: Column<'_>) -> Option<Self>;

    /// The value; what may be absent is read as an `Option`.
    ///
    /// # Panics
    /// As [`Field::read`], and if there is no value.
    fn expect(row: &Row, column: Column<'_>) -> Self {
        Self::read(row, column).unwrap_or_else(|| panic!("no value: {column:?}"))
    }
}

impl Row {
    /// The value of a column.
    ///
    /// # Panics
    /// As [`Field::expect`].
    pub(in crate::store) fn get<T: Field>(&self, column: &str) -> T {
        T::expect(self, Column::Named(column))
    }

    /// The value of the first column.
    ///
    /// # Panics
    /// As [`Field::expect`].
    pub(in crate::store) fn first<T: Field>(&self) -> T {
        T::expect(self, Column::First)
    }
}

impl<T: Field> Field for Option<T> {
    fn read(row: &Row, column: Column<'_>) -> Option<Self> {
        Some(T::read(row, column))
    }
}

/// What both databases' drivers read in the same way.
macro_rules! read_alike {
    ($($type:ty),+) => {$(
        impl Field for $type {
            fn read(row: &Row, column: Column<'_>) -> Option<Self> {
                match (row, column) {
                    (Row::Sqlite(row), Column::Named(name)) => row.get(name),
                    (Row::Sqlite(row), Column::First) => row.get(0),
                    (Row::Postgres(row), Column::Named(name)) => row.get(name),
                    (Row::Postgres(row), Column::First) => row.get(0),
                }
            }
        }
    )+};
}

read_alike!(String, Vec<u8>, bool, i64);

/// Integers of which a column holds only some.
macro_rules! read_narrow {
    ($($type:ty),+) => {$(
        impl Field for $type {
            fn read(row: &Row, column: Column<'_>) -> Option<Self> {
                i64::read(row, column).map(|number| number.try_into().expect("we write nothing larger"))
            }
        }
    )+};
}

read_narrow!(u16, u32);

impl Field for Uuid {
    fn read(row: &Row, column: Column<'_>) -> Option<Self> {
        let bytes = Vec::<u8>::read(row, column)?;
        Some(Self::from_slice(&bytes).expect("identifiers have 16 bytes"))
    }
}

impl Field for Moment {
    fn read(row: &Row, column: Column<'_>) -> Option<Self> {
        i64::read(row, column).map(Self)
    }
}
