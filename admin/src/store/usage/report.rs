//! Reports: what requests add up to, in a period, by what one wants to know. Read from sums alone, never from single requests.

use uuid::Uuid;

use super::period::{Part, Step, parts};
use super::sums::{Detail, Kind, Sum, key_of};
use crate::clock::Moment;
use crate::store::sql::{Connection, QueryBuilder, Row, query_scalar};
use crate::store::{Listed, Page, StoreError};

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
    pub(super) const fn is_time(self) -> bool {
        match self {
            Self::Hour | Self::Day => true,
            Self::Domain | Self::User | Self::Pat | Self::Model => false,
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
    connection: &mut Connection,
    group_by: GroupBy,
    filter: &UsageFilter,
    page: Page,
) -> Result<Listed<(Group, Sum)>, StoreError> {
    let owner = owner_of(connection, filter).await?;
    let sources = sources(group_by, filter, owner);
    let mut query = QueryBuilder::new("SELECT *, COUNT(*) OVER () AS total FROM (");
    push_sums(&mut query, &sources, None);
    query.push(") AS sums ORDER BY ").push(match group_by.is_time() {
        true => "grouped",
        false => "requests DESC, grouped",
    });
    query.push(" LIMIT ").push_bind(page.limit).push(" OFFSET ").push_bind(page.offset);
    let rows = query.build().persistent(false).fetch_all(&mut *connection).await?;
    let total = match rows.first() {
        Some(row) => row.get("total"),
        None if page.offset == 0 && page.limit > 0 => 0,
        // Behind the end nobody says how long the list is.
        None => {
            let mut count = QueryBuilder::new("SELECT COUNT(DISTINCT grouped) FROM (");
            push_sources(&mut count, &sources);
            count.push(") AS parts").build_query_scalar().persistent(false).fetch_one(connection).await?
        }
    };
    Ok(Listed { total, rows: rows.iter().map(|row| row_of(group_by, row)).collect() })
}

/// The same in the order of the groups: times, identifiers, names. What is used meanwhile moves no group, so whoever goes on behind the
/// last group of a page meets every group once, however long that takes.
///
/// * `after`: only groups that come after this one. It is of the kind that `group_by` makes.
/// * `limit`: groups at most.
///
/// # Errors
/// The database failed.
pub async fn report_after(
    connection: &mut Connection,
    group_by: GroupBy,
    filter: &UsageFilter,
    after: Option<&Group>,
    limit: i64,
) -> Result<Vec<(Group, Sum)>, StoreError> {
    let owner = owner_of(connection, filter).await?;
    let sources = sources(group_by, filter, owner);
    let mut query = QueryBuilder::new("");
    push_sums(&mut query, &sources, after);
    query.push(" ORDER BY grouped LIMIT ").push_bind(limit);
    let rows = query.build().persistent(false).fetch_all(connection).await?;
    Ok(rows.iter().map(|row| row_of(group_by, row)).collect())
}

fn row_of(group_by: GroupBy, row: &Row) -> (Group, Sum) {
    let group = match group_by {
        GroupBy::Hour | GroupBy::Day => Group::Time(row.get("grouped")),
        GroupBy::Domain | GroupBy::User | GroupBy::Pat => {
            Group::Id(Uuid::from_slice(&row.get::<Vec<u8>>("grouped")).ok())
        }
        GroupBy::Model => Group::Model(row.get("grouped")),
    };
    (group, sum_of(row))
}

/// Whose PAT a report is about: rows are found by their user. `None`: it is about no PAT, or about one that is gone.
async fn owner_of(connection: &mut Connection, filter: &UsageFilter) -> Result<Option<Uuid>, StoreError> {
    let Some(pat) = filter.pat.filter(|_| filter.user.is_none()) else { return Ok(None) };
    let owner = query_scalar("SELECT user_id FROM pats WHERE id = ?").bind(pat);
    Ok(owner.fetch_optional(connection).await?)
}

/// Rows of one kind that a report is made of.
struct Source<'f> {
    kind: Kind,
    part: Part,
    group_by: GroupBy,
    filter: &'f UsageFilter,
    user: Option<Uuid>,
}

/// The coarsest sums that still tell what is asked: a report over weeks reads some thousand rows, not a million.
fn sources(group_by: GroupBy, filter: &UsageFilter, owner: Option<Uuid>) -> Vec<Source<'_>> {
    let user = filter.user.or(owner);
    let people = matches!(group_by, GroupBy::User | GroupBy::Pat) || user.is_some() || filter.pat.is_some();
    let models = group_by == GroupBy::Model || filter.model.is_some();
    let detail = match (people, models) {
        (true, true) => Detail::All,
        (true, false) => Detail::Pat,
        (false, true) => Detail::Model,
        (false, false) => Detail::Domain,
    };
    let coarsest = match group_by {
        GroupBy::Hour => Step::Hour,
        GroupBy::Day => Step::Day,
        GroupBy::Domain | GroupBy::User | GroupBy::Pat | GroupBy::Model => Step::Week,
    };
    let parts = parts(filter.from.map(|from| from.0), filter.to.map(|to| to.0), coarsest);
    let source = |part: Part| Source { kind: Kind { detail, step: part.step }, part, group_by, filter, user };
    parts.into_iter().map(source).collect()
}

/// A row for each group that comes after `after`: the group as `grouped`, and what its requests add up to.
fn push_sums(query: &mut QueryBuilder, sources: &[Source<'_>], after: Option<&Group>) {
    query.push("SELECT grouped");
    for column in Sum::COLUMNS {
        query.push(", CAST(SUM(").push(column).push(") AS BIGINT) AS ").push(column);
    }
    query.push(" FROM (");
    push_sources(query, sources);
    query.push(") AS parts");
    if let Some(group) = after {
        query.push(" WHERE grouped > ");
        match group {
            Group::Time(at) => query.push_bind(*at),
            Group::Id(id) => query.push_bind(key_of(*id)),
            Group::Model(model) => query.push_bind(model.clone()),
        };
    }
    query.push(" GROUP BY grouped");
}

fn push_sources(query: &mut QueryBuilder, sources: &[Source<'_>]) {
    for (nth, source) in sources.iter().enumerate() {
        query.push(if nth == 0 { "" } else { " UNION ALL " });
        source.push(query);
    }
    if sources.is_empty() {
        query.push("SELECT CAST(0 AS BIGINT) AS grouped");
        for column in Sum::COLUMNS {
            query.push(", CAST(0 AS BIGINT) AS ").push(column);
        }
        query.push(" WHERE FALSE");
    }
}

impl Source<'_> {
    fn push(&self, query: &mut QueryBuilder) {
        let start = self.kind.start();
        query.push("SELECT ");
        match self.group_by {
            GroupBy::Hour => query.push(start),
            GroupBy::Day => query.push(start).push(" - ").push(start).push(" % 86400000"),
            GroupBy::Domain => query.push("domain_id"),
            GroupBy::User => query.push("user_id"),
            GroupBy::Pat => query.push("pat_id"),
            GroupBy::Model => query.push("model"),
        };
        query.push(" AS grouped, ").push(Sum::COLUMNS.join(", "));
        query.push(" FROM ").push(self.kind.table()).push(" WHERE ");
        match self.kind.has_step() {
            true => query.push("step_ms = ").push(self.kind.step.ms()),
            false => query.push("TRUE"),
        };
        if let Some(from) = self.part.from {
            query.push(" AND ").push(start).push(" >= ").push_bind(from);
        }
        if let Some(to) = self.part.to {
            query.push(" AND ").push(start).push(" < ").push_bind(to);
        }
        let filter = self.filter;
        for (column, id) in [("domain_id", filter.domain), ("user_id", self.user), ("pat_id", filter.pat)] {
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
}

fn sum_of(row: &Row) -> Sum {
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
