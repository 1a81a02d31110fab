//! A table's rows out of SQLite into PostgreSQL, by `COPY … FROM STDIN` in its text format.

use std::future::poll_fn;
use std::io::Write as _;

use sqlx::AssertSqlSafe;

use super::connection::{Connection, Inner};
use super::value::{Column, Field, Row};

/// Bytes of rows after which they are sent.
const SEND_BYTES: usize = 1 << 20;

/// What PostgreSQL keeps in a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Kind {
    Text,
    Bytes,
    Integer,
    Flag,
}

impl Kind {
    /// By its name in `information_schema.columns`.
    pub(in crate::store) fn of_name(data_type: &str) -> Option<Self> {
        match data_type {
            "text" => Some(Self::Text),
            "bytea" => Some(Self::Bytes),
            "bigint" => Some(Self::Integer),
            "boolean" => Some(Self::Flag),
            _ => None,
        }
    }
}

/// Copies all rows of a table; how many there were. Names are our own.
///
/// # Cost
/// One pass; holds about a mebibyte of rows at a time.
///
/// # Errors
/// Either database failed, or PostgreSQL does not take a row.
pub(in crate::store) async fn copy(
    from: &mut Connection,
    into: &mut Connection,
    table: &str,
    columns: &[(String, Kind)],
) -> Result<u64, sqlx::Error> {
    let (Inner::Sqlite(from), Inner::Postgres(into)) = (from.inner(), into.inner()) else {
        return Err(sqlx::Error::Configuration("rows go from SQLite into PostgreSQL".into()));
    };
    let names = columns.iter().map(|(name, _)| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
    let select = AssertSqlSafe(format!("SELECT {names} FROM \"{table}\""));
    let mut rows = sqlx::query(select).persistent(false).fetch(from);
    let mut copy = into.copy_in_raw(&format!("COPY \"{table}\" ({names}) FROM STDIN")).await?;
    let mut lines = Vec::with_capacity(SEND_BYTES + 64 * 1024);
    while let Some(row) = poll_fn(|cx| rows.as_mut().poll_next(cx)).await {
        write_row(&mut lines, &Row::Sqlite(row?), columns);
        if lines.len() >= SEND_BYTES {
            copy.send(&*lines).await?;
            lines.clear();
        }
    }
    copy.send(&*lines).await?;
    copy.finish().await
}

fn write_row(out: &mut Vec<u8>, row: &Row, columns: &[(String, Kind)]) {
    for (nth, (name, kind)) in columns.iter().enumerate() {
        if nth > 0 {
            out.push(b'\t');
        }
        let column = Column::Named(name);
        match kind {
            Kind::Text => write_field(out, String::read(row, column), |out, text| write_text(out, &text)),
            Kind::Bytes => write_field(out, Vec::<u8>::read(row, column), |out, bytes| {
                out.extend_from_slice(b"\\\\x");
                for byte in bytes {
                    write!(out, "{byte:02x}").expect("a vector takes everything");
                }
            }),
            Kind::Integer => write_field(out, i64::read(row, column), |out, number| {
                write!(out, "{number}").expect("a vector takes everything");
            }),
            Kind::Flag => write_field(out, bool::read(row, column), |out, flag| {
                out.push(if flag { b't' } else { b'f' });
            }),
        }
    }
    out.push(b'\n');
}

fn write_field<T>(out: &mut Vec<u8>, value: Option<T>, write: impl FnOnce(&mut Vec<u8>, T)) {
    match value {
        Some(value) => write(out, value),
        None => out.extend_from_slice(b"\\N"),
    }
}

/// Four characters mean something in `COPY`'s text format.
fn write_text(out: &mut Vec<u8>, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => out.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::write_text;

    #[test]
    fn what_would_end_a_field_or_a_row_is_escaped() {
        let mut out = Vec::new();
        write_text(&mut out, "a\tb\nc\r\\N\\.ä");
        assert_eq!(out, "a\\tb\\nc\\r\\\\N\\\\.ä".as_bytes());
    }
}
