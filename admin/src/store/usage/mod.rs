//! Usage: every proxied request once, and what they add up to.
//!
//! | file | holds |
//! |---|---|
//! | this | single requests: stored once, however often a proxy tells of them |
//! | [`sums`] | what they add up to, for hours, days and weeks; kept by the same transaction |
//! | [`period`] | a period as the fewest weeks, days and hours |
//! | [`report`] | reports, read from sums alone |

mod period;
mod report;
mod sums;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use cube_wire::feed::UsageRecord;
use uuid::Uuid;

use super::{Store, StoreError, WriteTx, to_json};
use crate::clock::Moment;
use crate::store::sql::{QueryBuilder, query};

pub use report::{Group, GroupBy, UsageFilter, report, report_after};
pub use sums::Sum;
pub(super) use sums::fill_if_empty;

/// A PAT's last use is written down only if it is this much later than the one that is.
const LAST_USE_STEP_MS: i64 = 60_000;
/// Rows of one statement. SQLite takes 32,766 values in one, and a row has 17 at most.
const ROWS_AT_ONCE: usize = 1_000;

/// Stores the records that are not there yet, adds them to the sums, and moves the last use of their PATs on. Returns how many were new.
///
/// # Errors
/// The database failed.
///
/// # Cost
/// Statements: one for the records, one for each kind of sum, one for the PATs; however many records there are, up to a thousand.
pub async fn add(
    tx: &mut WriteTx,
    node: &str,
    boot: &str,
    records: &[UsageRecord],
) -> Result<u64, StoreError> {
    let mut added = 0;
    for records in records.chunks(ROWS_AT_ONCE) {
        let fresh = insert(tx, node, boot, records).await?;
        sums::add(tx, &fresh).await?;
        note_last_uses(tx, &fresh).await?;
        added += fresh.len() as u64;
    }
    Ok(added)
}

/// Stores records; returns those that were not there yet.
async fn insert<'r>(
    tx: &mut WriteTx,
    node: &str,
    boot: &str,
    records: &'r [UsageRecord],
) -> Result<Vec<&'r UsageRecord>, StoreError> {
    let mut by_seq: BTreeMap<i64, &UsageRecord> = BTreeMap::new();
    for record in records {
        by_seq.entry(integer(record.seq)).or_insert(record);
    }
    if by_seq.is_empty() {
        return Ok(Vec::new());
    }
    let mut query = QueryBuilder::new(
        "INSERT INTO usage (node, boot, seq, at_ms, domain_id, user_id, pat_id, operation, model, status, record) ",
    );
    query.push_values(&by_seq, |mut row, (seq, record)| {
        row.push_bind(node.to_owned())
            .push_bind(boot.to_owned())
            .push_bind(*seq)
            .push_bind(integer(record.at_ms))
            .push_bind(record.domain.map(|id| id.0))
            .push_bind(record.user.map(|id| id.0))
            .push_bind(record.pat.map(|id| id.0))
            .push_bind(record.operation.clone())
            .push_bind(record.model.clone())
            .push_bind(record.status)
            .push_bind(to_json(*record));
    });
    query.push(" ON CONFLICT DO NOTHING RETURNING seq");
    let rows = query.build().persistent(false).fetch_all(tx.connection()).await?;
    let fresh: BTreeSet<i64> = rows.iter().map(|row| row.get("seq")).collect();
    Ok(by_seq.into_iter().filter(|(seq, _)| fresh.contains(seq)).map(|(_, record)| record).collect())
}

async fn note_last_uses(tx: &mut WriteTx, records: &[&UsageRecord]) -> Result<(), StoreError> {
    let mut last_uses: BTreeMap<Uuid, i64> = BTreeMap::new();
    for record in records {
        if let Some(pat) = record.pat {
            let last = last_uses.entry(pat.0).or_default();
            *last = (*last).max(integer(record.at_ms));
        }
    }
    if last_uses.is_empty() {
        return Ok(());
    }
    let mut query = QueryBuilder::new("WITH used (id, at_ms) AS (");
    query.push_values(last_uses, |mut row, (pat, at_ms)| {
        row.push_bind(pat).push_bind(at_ms);
    });
    query.push(
        ") UPDATE pats SET last_used_at = used.at_ms FROM used \
         WHERE pats.id = used.id AND COALESCE(last_used_at, 0) < used.at_ms - ",
    );
    query.push_bind(LAST_USE_STEP_MS).build().persistent(false).execute(tx.connection()).await?;
    Ok(())
}

/// Numbers of the wire that no request reaches are not worth an error.
fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

impl Store {
    /// Forgets requests before `before`, one by one; their sums stay. A bounded number at once, so that writers do not wait long; returns
    /// how many.
    ///
    /// # Errors
    /// The database failed.
    pub async fn prune_usage(&self, before: Moment) -> Result<u64, StoreError> {
        let pruned = query(
            "DELETE FROM usage WHERE (node, boot, seq) IN (SELECT node, boot, seq FROM usage WHERE at_ms < ? LIMIT 5000)",
        );
        Ok(pruned.bind(before).execute(&mut self.writer().await?).await?)
    }
}
