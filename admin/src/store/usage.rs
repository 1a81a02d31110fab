//! Usage: every proxied request once, and what they add up to.

use std::collections::BTreeMap;

use cube_wire::feed::UsageRecord;
use sqlx::{QueryBuilder, Row as _, Sqlite, SqliteConnection};
use uuid::Uuid;

use super::{Listed, Page, Store, StoreError, WriteTx, changed, to_json};
use crate::clock::Moment;

const HOUR_MS: i64 = 3_600_000;
/// A PAT's last use is written down only if it is this much later than the one that is.
const LAST_USE_STEP_MS: i64 = 60_000;

/// Stores the records that are not there yet, adds them to the sums of their hours, and moves the last use of their PATs on. Returns how
/// many were new.
///
/// # Errors
/// The database failed.
pub async fn add(
    tx: &mut WriteTx,
    node: &str,
    boot: &str,
    records: &[UsageRecord],
) -> Result<u64, StoreError> {
    let mut sums: BTreeMap<SumKey, Sum> = BTreeMap::new();
    let mut last_uses: BTreeMap<Uuid, i64> = BTreeMap::new();
    let mut added = 0;
    for record in records {
        if !insert(tx, node, boot, record).await? {
            continue;
        }
        added += 1;
        sums.entry(SumKey::of(record)).or_default().add(record);
        if let Some(pat) = record.pat {
            let last = last_uses.entry(pat.0).or_default();
            *last = (*last).max(integer(record.at_ms));
        }
    }
    for (key, sum) in &sums {
        add_to_hour(tx, key, sum).await?;
        add_to_model(tx, key, sum).await?;
    }
    for (pat, at_ms) in last_uses {
        let moved = sqlx::query(
            "UPDATE pats SET last_used_at = ?1 WHERE id = ?2 AND COALESCE(last_used_at, 0) < ?1 - ?3",
        );
        moved.bind(at_ms).bind(pat).bind(LAST_USE_STEP_MS).execute(tx.connection()).await?;
    }
    Ok(added)
}

async fn insert(tx: &mut WriteTx, node: &str, boot: &str, record: &UsageRecord) -> Result<bool, StoreError> {
    let result = sqlx::query(
        "INSERT OR IGNORE INTO usage (node, boot, seq, at_ms, domain_id, user_id, pat_id, operation, model, status, record)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(node)
    .bind(boot)
    .bind(integer(record.seq))
    .bind(integer(record.at_ms))
    .bind(record.domain.map(|id| id.0))
    .bind(record.user.map(|id| id.0))
    .bind(record.pat.map(|id| id.0))
    .bind(&record.operation)
    .bind(&record.model)
    .bind(record.status)
    .bind(to_json(record))
    .execute(tx.connection())
    .await?;
    Ok(changed(&result))
}

/// What sums are kept by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct SumKey {
    hour_ms: i64,
    domain: Option<Uuid>,
    user: Option<Uuid>,
    pat: Option<Uuid>,
    model: String,
}

impl SumKey {
    fn of(record: &UsageRecord) -> Self {
        let at = integer(record.at_ms);
        Self {
            hour_ms: at - at.rem_euclid(HOUR_MS),
            domain: record.domain.map(|id| id.0),
            user: record.user.map(|id| id.0),
            pat: record.pat.map(|id| id.0),
            model: record.model.clone().unwrap_or_default(),
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

/// Numbers of the wire that no request reaches are not worth an error.
fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// An identifier as a part of the sums' key; absent ones are empty.
fn part(id: Option<Uuid>) -> Vec<u8> {
    id.map(|id| id.as_bytes().to_vec()).unwrap_or_default()
}

async fn add_to_hour(tx: &mut WriteTx, key: &SumKey, sum: &Sum) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO usage_hourly (hour_ms, domain_id, user_id, pat_id, model, requests, errors, prompt_tokens,
         completion_tokens, estimated, bytes_in, bytes_out, first_byte_us, first_bytes, duration_us)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (hour_ms, domain_id, user_id, pat_id, model) DO UPDATE SET
         requests = requests + excluded.requests, errors = errors + excluded.errors,
         prompt_tokens = prompt_tokens + excluded.prompt_tokens,
         completion_tokens = completion_tokens + excluded.completion_tokens, estimated = estimated + excluded.estimated,
         bytes_in = bytes_in + excluded.bytes_in, bytes_out = bytes_out + excluded.bytes_out,
         first_byte_us = first_byte_us + excluded.first_byte_us, first_bytes = first_bytes + excluded.first_bytes,
         duration_us = duration_us + excluded.duration_us",
    )
    .bind(key.hour_ms)
    .bind(part(key.domain))
    .bind(part(key.user))
    .bind(part(key.pat))
    .bind(&key.model)
    .bind(sum.requests)
    .bind(sum.errors)
    .bind(sum.prompt_tokens)
    .bind(sum.completion_tokens)
    .bind(sum.estimated)
    .bind(sum.bytes_in)
    .bind(sum.bytes_out)
    .bind(sum.first_byte_us)
    .bind(sum.first_bytes)
    .bind(sum.duration_us)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// The same without users and PATs, for reports that name neither.
async fn add_to_model(tx: &mut WriteTx, key: &SumKey, sum: &Sum) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO usage_by_model (hour_ms, domain_id, model, requests, errors, prompt_tokens,
         completion_tokens, estimated, bytes_in, bytes_out, first_byte_us, first_bytes, duration_us)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (hour_ms, domain_id, model) DO UPDATE SET
         requests = requests + excluded.requests, errors = errors + excluded.errors,
         prompt_tokens = prompt_tokens + excluded.prompt_tokens,
         completion_tokens = completion_tokens + excluded.completion_tokens, estimated = estimated + excluded.estimated,
         bytes_in = bytes_in + excluded.bytes_in, bytes_out = bytes_out + excluded.bytes_out,
         first_byte_us = first_byte_us + excluded.first_byte_us, first_bytes = first_bytes + excluded.first_bytes,
         duration_us = duration_us + excluded.duration_us",
    )
    .bind(key.hour_ms)
    .bind(part(key.domain))
    .bind(&key.model)
    .bind(sum.requests)
    .bind(sum.errors)
    .bind(sum.prompt_tokens)
    .bind(sum.completion_tokens)
    .bind(sum.estimated)
    .bind(sum.bytes_in)
    .bind(sum.bytes_out)
    .bind(sum.first_byte_us)
    .bind(sum.first_bytes)
    .bind(sum.duration_us)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// By what a report is grouped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupBy {
    /// The hour.
    Hour,
    /// The day (UTC).
    Day,
    /// The domain.
    Domain,
    /// The user.
    User,
    /// The PAT.
    Pat,
    /// The model.
    Model,
}

impl GroupBy {
    const fn sql(self) -> &'static str {
        match self {
            Self::Hour => "hour_ms",
            Self::Day => "hour_ms - hour_ms % 86400000",
            Self::Domain => "domain_id",
            Self::User => "user_id",
            Self::Pat => "pat_id",
            Self::Model => "model",
        }
    }
}

/// Which requests a report is about.
#[derive(Clone, Debug, Default)]
pub struct UsageFilter {
    /// From the hour with this moment on.
    pub from: Option<Moment>,
    /// Before this moment.
    pub to: Option<Moment>,
    /// In this domain.
    pub domain: Option<Uuid>,
    /// Of this user.
    pub user: Option<Uuid>,
    /// With this PAT.
    pub pat: Option<Uuid>,
    /// For this model.
    pub model: Option<String>,
    /// Only what was asked of a domain: not what proxies refused before they knew one, nor what they passed on to cube-admin.
    pub in_domains: bool,
}

/// What a row of a report is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Group {
    /// An hour or a day.
    Time(Moment),
    /// A domain, user or PAT; `None`: requests without one.
    Id(Option<Uuid>),
    /// A model; empty: requests without one.
    Model(String),
}

/// What requests add up to, by group; the largest first, times in order.
///
/// # Errors
/// The database failed.
pub async fn report(
    connection: &mut SqliteConnection,
    group_by: GroupBy,
    filter: &UsageFilter,
    page: Page,
) -> Result<Listed<(Group, Sum)>, StoreError> {
    let sums = sums_for(group_by, filter);
    let mut count = QueryBuilder::<Sqlite>::new("SELECT COUNT(DISTINCT ");
    count.push(group_by.sql()).push(") FROM ").push(sums).push(" WHERE 1");
    push_filter(&mut count, filter);
    let total = count.build_query_scalar().fetch_one(&mut *connection).await?;
    let mut query = QueryBuilder::<Sqlite>::new("SELECT ");
    query.push(group_by.sql()).push(
        " AS grouped, SUM(requests) AS requests, SUM(errors) AS errors, SUM(prompt_tokens) AS prompt_tokens, \
         SUM(completion_tokens) AS completion_tokens, SUM(estimated) AS estimated, SUM(bytes_in) AS bytes_in, \
         SUM(bytes_out) AS bytes_out, SUM(first_byte_us) AS first_byte_us, SUM(first_bytes) AS first_bytes, \
         SUM(duration_us) AS duration_us FROM ",
    );
    query.push(sums).push(" WHERE 1");
    push_filter(&mut query, filter);
    let timely = matches!(group_by, GroupBy::Hour | GroupBy::Day);
    query.push(" GROUP BY grouped ORDER BY ").push(if timely { "grouped" } else { "requests DESC, grouped" });
    query.push(" LIMIT ").push_bind(page.limit).push(" OFFSET ").push_bind(page.offset);
    let rows = query.build().fetch_all(connection).await?;
    let row_of = |row: &sqlx::sqlite::SqliteRow| {
        let group = match group_by {
            GroupBy::Hour | GroupBy::Day => Group::Time(row.get("grouped")),
            GroupBy::Domain | GroupBy::User | GroupBy::Pat => {
                Group::Id(Uuid::from_slice(row.get("grouped")).ok())
            }
            GroupBy::Model => Group::Model(row.get("grouped")),
        };
        (group, sum_of(row))
    };
    Ok(Listed { total, rows: rows.iter().map(row_of).collect() })
}

/// The sums that a report is read from: those without users and PATs where it is about neither, because they are fewer by far.
const fn sums_for(group_by: GroupBy, filter: &UsageFilter) -> &'static str {
    match group_by {
        GroupBy::User | GroupBy::Pat => "usage_hourly",
        GroupBy::Hour | GroupBy::Day | GroupBy::Domain | GroupBy::Model => {
            if filter.user.is_some() || filter.pat.is_some() { "usage_hourly" } else { "usage_by_model" }
        }
    }
}

fn sum_of(row: &sqlx::sqlite::SqliteRow) -> Sum {
    Sum {
        requests: row.get("requests"),
        errors: row.get("errors"),
        prompt_tokens: row.get("prompt_tokens"),
        completion_tokens: row.get("completion_tokens"),
        estimated: row.get("estimated"),
        bytes_in: row.get("bytes_in"),
        bytes_out: row.get("bytes_out"),
        first_byte_us: row.get("first_byte_us"),
        first_bytes: row.get("first_bytes"),
        duration_us: row.get("duration_us"),
    }
}

fn push_filter(query: &mut QueryBuilder<Sqlite>, filter: &UsageFilter) {
    if let Some(from) = filter.from {
        query.push(" AND hour_ms >= ").push_bind(from.0 - from.0.rem_euclid(HOUR_MS));
    }
    if let Some(to) = filter.to {
        query.push(" AND hour_ms < ").push_bind(to);
    }
    for (column, id) in [("domain_id", filter.domain), ("user_id", filter.user), ("pat_id", filter.pat)] {
        if let Some(id) = id {
            query.push(" AND ").push(column).push(" = ").push_bind(id);
        }
    }
    if filter.in_domains && filter.domain.is_none() {
        query.push(" AND domain_id <> x''");
    }
    if let Some(model) = &filter.model {
        query.push(" AND model = ").push_bind(model.clone());
    }
}

impl Store {
    /// Forgets requests before `before`, one by one; their sums stay. A bounded number at once, so that writers do not wait long; returns
    /// how many.
    ///
    /// # Errors
    /// The database failed.
    pub async fn prune_usage(&self, before: Moment) -> Result<u64, StoreError> {
        let pruned = sqlx::query(
            "DELETE FROM usage WHERE (node, boot, seq) IN (SELECT node, boot, seq FROM usage WHERE at_ms < ? LIMIT 5000)",
        );
        Ok(pruned.bind(before).execute(&self.writer).await?.rows_affected())
    }
}
