//! What requests add up to: one row for each hour, day or week in which something was used, and for each way to tell uses apart.
//!
//! Every record is added to all of them by the transaction that stores it, so they say what the records say, whatever was killed when.
//!
//! # Cost
//! A record touches twelve rows, most of them the same ones as its neighbours: a batch is added up before it is written, and each kind of
//! sum is one statement. What it buys: a report over weeks reads a few thousand rows of the coarsest sums that still tell what is asked
//! (`docs/PERFORMANCE.md`).

use std::collections::BTreeMap;

use cube_wire::feed::UsageRecord;
use uuid::Uuid;

use super::integer;
use super::period::Step;
use crate::store::sql::{Connection, QueryBuilder, query, query_scalar};
use crate::store::{StoreError, WriteTx};

/// By what uses are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Detail {
    /// Domain alone.
    Domain,
    /// Domain and model.
    Model,
    /// Domain, user and PAT.
    Pat,
    /// All of these.
    All,
}

/// A kind of sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) detail: Detail,
    pub(super) step: Step,
}

const fn kind(detail: Detail, step: Step) -> Kind {
    Kind { detail, step }
}

/// All that are kept; what one is made of comes before it.
const KINDS: [Kind; 12] = [
    kind(Detail::All, Step::Hour),
    kind(Detail::All, Step::Day),
    kind(Detail::All, Step::Week),
    kind(Detail::Pat, Step::Hour),
    kind(Detail::Pat, Step::Day),
    kind(Detail::Pat, Step::Week),
    kind(Detail::Model, Step::Hour),
    kind(Detail::Model, Step::Day),
    kind(Detail::Model, Step::Week),
    kind(Detail::Domain, Step::Hour),
    kind(Detail::Domain, Step::Day),
    kind(Detail::Domain, Step::Week),
];

impl Kind {
    /// Where the rows are. Hours in full detail, the most by far, have a table of their own.
    pub(super) const fn table(self) -> &'static str {
        match (self.detail, self.step) {
            (Detail::All, Step::Hour) => "usage_hourly",
            (Detail::All, Step::Day | Step::Week) => "usage_by_all",
            (Detail::Pat, _) => "usage_by_pat",
            (Detail::Model, _) => "usage_by_model",
            (Detail::Domain, _) => "usage_by_domain",
        }
    }

    /// The column with the beginning of the time that a row is about.
    pub(super) fn start(self) -> &'static str {
        if self.has_step() { "start_ms" } else { "hour_ms" }
    }

    /// Whether steps of several lengths are in the table.
    pub(super) fn has_step(self) -> bool {
        kind(Detail::All, Step::Hour) != self
    }

    /// The fewest rows that it can be made of.
    const fn source(self) -> Self {
        match (self.detail, self.step) {
            (Detail::All | Detail::Pat | Detail::Model, Step::Hour) | (Detail::All, Step::Day) => {
                kind(Detail::All, Step::Hour)
            }
            (Detail::All, Step::Week) | (Detail::Pat | Detail::Model, Step::Day | Step::Week) => {
                kind(Detail::All, Step::Day)
            }
            (Detail::Domain, Step::Hour) => kind(Detail::Model, Step::Hour),
            (Detail::Domain, Step::Day | Step::Week) => kind(Detail::Model, Step::Day),
        }
    }

    const fn columns(self) -> &'static str {
        match self.detail {
            Detail::Domain => "domain_id",
            Detail::Model => "domain_id, model",
            Detail::Pat => "domain_id, user_id, pat_id",
            Detail::All => "domain_id, user_id, pat_id, model",
        }
    }

    /// `INSERT INTO … (…)`, up to where the rows begin.
    fn insertion(self) -> String {
        let step = if self.has_step() { "step_ms, " } else { "" };
        let sums = Sum::COLUMNS.join(", ");
        format!("INSERT INTO {} ({step}{}, {}, {sums}) ", self.table(), self.start(), self.columns())
    }

    /// What follows the rows.
    fn addition(self) -> String {
        let step = if self.has_step() { "step_ms, " } else { "" };
        let table = self.table();
        let sums = Sum::COLUMNS.map(|column| format!("{column} = {table}.{column} + excluded.{column}"));
        let (start, columns, sums) = (self.start(), self.columns(), sums.join(", "));
        format!(" ON CONFLICT ({step}{start}, {columns}) DO UPDATE SET {sums}")
    }
}

/// What a row is about. Parts that its kind does not tell apart are empty.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    start_ms: i64,
    domain: Option<Uuid>,
    user: Option<Uuid>,
    pat: Option<Uuid>,
    model: String,
}

impl Key {
    fn of(record: &UsageRecord) -> Self {
        Self {
            start_ms: Step::Hour.floor(integer(record.at_ms)),
            domain: record.domain.map(|id| id.0),
            user: record.user.map(|id| id.0),
            pat: record.pat.map(|id| id.0),
            model: record.model.clone().unwrap_or_default(),
        }
    }

    /// The row of another kind to which this one adds up.
    fn in_kind(&self, kind: Kind) -> Self {
        let (people, models) = match kind.detail {
            Detail::Domain => (false, false),
            Detail::Model => (false, true),
            Detail::Pat => (true, false),
            Detail::All => (true, true),
        };
        Self {
            start_ms: kind.step.floor(self.start_ms),
            domain: self.domain,
            user: self.user.filter(|_| people),
            pat: self.pat.filter(|_| people),
            model: if models { self.model.clone() } else { String::new() },
        }
    }
}

/// What some requests add up to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// How many.
    pub requests: i64,
    /// Those with a status of 400 and more, or none.
    pub errors: i64,
    /// Tokens of prompts.
    pub prompt_tokens: i64,
    /// Tokens of completions.
    pub completion_tokens: i64,
    /// Requests whose completion was counted from events.
    pub estimated: i64,
    /// Body bytes from callers.
    pub bytes_in: i64,
    /// Body bytes to callers.
    pub bytes_out: i64,
    /// Microseconds until the first byte, of those that had one.
    pub first_byte_us: i64,
    /// How many had one.
    pub first_bytes: i64,
    /// Microseconds in all.
    pub duration_us: i64,
}

impl Sum {
    /// The columns, in the order of [`Sum::numbers`].
    pub(super) const COLUMNS: [&str; 10] = [
        "requests",
        "errors",
        "prompt_tokens",
        "completion_tokens",
        "estimated",
        "bytes_in",
        "bytes_out",
        "first_byte_us",
        "first_bytes",
        "duration_us",
    ];

    const fn numbers(&self) -> [i64; 10] {
        [
            self.requests,
            self.errors,
            self.prompt_tokens,
            self.completion_tokens,
            self.estimated,
            self.bytes_in,
            self.bytes_out,
            self.first_byte_us,
            self.first_bytes,
            self.duration_us,
        ]
    }

    /// Adds what other requests add up to.
    pub fn add_sum(&mut self, other: &Self) {
        self.requests += other.requests;
        self.errors += other.errors;
        self.prompt_tokens += other.prompt_tokens;
        self.completion_tokens += other.completion_tokens;
        self.estimated += other.estimated;
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
        self.first_byte_us += other.first_byte_us;
        self.first_bytes += other.first_bytes;
        self.duration_us += other.duration_us;
    }

    fn add(&mut self, record: &UsageRecord) {
        self.requests += 1;
        self.errors += i64::from(record.status >= 400 || record.status == 0);
        self.prompt_tokens += integer(record.prompt_tokens.unwrap_or(0));
        self.completion_tokens += integer(record.completion_tokens.unwrap_or(0));
        self.estimated += i64::from(record.estimated);
        self.bytes_in += integer(record.bytes_in);
        self.bytes_out += integer(record.bytes_out);
        self.first_byte_us += integer(record.first_byte_us.unwrap_or(0));
        self.first_bytes += i64::from(record.first_byte_us.is_some());
        self.duration_us += integer(record.duration_us);
    }
}

/// An identifier as a part of a row's key; absent ones are empty.
pub(super) fn key_of(id: Option<Uuid>) -> Vec<u8> {
    id.map(|id| id.as_bytes().to_vec()).unwrap_or_default()
}

/// Adds records to every kind of sum. They are not in there yet.
///
/// # Errors
/// The database failed.
pub(super) async fn add(tx: &mut WriteTx, records: &[&UsageRecord]) -> Result<(), StoreError> {
    let mut hours: BTreeMap<Key, Sum> = BTreeMap::new();
    for record in records {
        hours.entry(Key::of(record)).or_default().add(record);
    }
    if hours.is_empty() {
        return Ok(());
    }
    for kind in KINDS {
        let mut sums: BTreeMap<Key, Sum> = BTreeMap::new();
        for (key, sum) in &hours {
            sums.entry(key.in_kind(kind)).or_default().add_sum(sum);
        }
        write(tx, kind, sums).await?;
    }
    Ok(())
}

async fn write(tx: &mut WriteTx, kind: Kind, sums: BTreeMap<Key, Sum>) -> Result<(), StoreError> {
    let mut query = QueryBuilder::new(kind.insertion());
    query.push_values(sums, |mut row, (key, sum)| {
        if kind.has_step() {
            row.push_bind(kind.step.ms());
        }
        row.push_bind(key.start_ms).push_bind(key_of(key.domain));
        match kind.detail {
            Detail::Domain => {}
            Detail::Model => {
                row.push_bind(key.model);
            }
            Detail::Pat => {
                row.push_bind(key_of(key.user)).push_bind(key_of(key.pat));
            }
            Detail::All => {
                row.push_bind(key_of(key.user)).push_bind(key_of(key.pat)).push_bind(key.model);
            }
        }
        for number in sum.numbers() {
            row.push_bind(number);
        }
    });
    query.push(kind.addition());
    query.build().persistent(false).execute(tx.connection()).await?;
    Ok(())
}

/// Makes every other kind of sum of the hours in full detail, if there are none: of a database from before there were any.
///
/// Cost: some 10 µs for each row of hours, once; day by day, so that little has to be sorted at a time.
pub(in crate::store) async fn fill_if_empty(connection: &mut Connection) -> Result<(), StoreError> {
    let missing = "SELECT NOT EXISTS (SELECT 1 FROM usage_by_all) AND EXISTS (SELECT 1 FROM usage_hourly)";
    if !query_scalar::<bool>(missing).fetch_one(&mut *connection).await? {
        return Ok(());
    }
    tracing::info!("sums of usage for days and weeks are made of those for hours");
    let ends = "SELECT MIN(hour_ms) AS first, MAX(hour_ms) AS last FROM usage_hourly";
    let ends = query(ends).fetch_one(&mut *connection).await?;
    let (first, last): (i64, i64) = (ends.get("first"), ends.get("last"));
    let day = Step::Day.ms();
    for start in (Step::Day.floor(first)..=last).step_by(day as usize) {
        for made in &KINDS[1..] {
            make(connection, *made, made.source(), start, start + day).await?;
        }
    }
    Ok(())
}

/// Adds the rows of one kind that begin in a time to those of another.
async fn make(
    connection: &mut Connection,
    made: Kind,
    source: Kind,
    from: i64,
    to: i64,
) -> Result<(), StoreError> {
    let start = source.start();
    let sums = Sum::COLUMNS.map(|column| format!("CAST(SUM({column}) AS BIGINT)")).join(", ");
    let mut query = QueryBuilder::new(made.insertion());
    query.push("SELECT ").push(made.step.ms()).push(", ").push(start).push(" - ").push(start).push(" % ");
    query.push(made.step.ms()).push(" AS begins, ").push(made.columns()).push(", ").push(sums);
    query.push(" FROM ").push(source.table()).push(" WHERE ");
    if source.has_step() {
        query.push("step_ms = ").push(source.step.ms()).push(" AND ");
    }
    query.push(start).push(" >= ").push(from).push(" AND ").push(start).push(" < ").push(to);
    query.push(" GROUP BY begins, ").push(made.columns()).push(made.addition());
    query.build().execute(connection).await?;
    Ok(())
}
