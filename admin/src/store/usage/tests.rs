//! Reports against the records themselves.

use std::collections::BTreeMap;

use cube_wire::feed::UsageRecord;
use cube_wire::{DomainId, PatId, UserId};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, TestRunner};

use super::*;
use crate::store::Page;
use crate::store::scratch::Scratch;
use crate::store::sql::{query, query_scalar};

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;
/// A Thursday, where a week of ours begins.
const WEEK_START: i64 = 2_960 * 7 * DAY;
const TABLES: [&str; 4] = ["usage_by_domain", "usage_by_model", "usage_by_pat", "usage_by_all"];
const GROUPS: [GroupBy; 6] =
    [GroupBy::Hour, GroupBy::Day, GroupBy::Domain, GroupBy::User, GroupBy::Pat, GroupBy::Model];

fn id(number: u8) -> Uuid {
    Uuid::from_u128(u128::from(number) + 1)
}

/// A moment within six weeks, often at the edge of an hour, a day or a week.
fn moment() -> impl Strategy<Value = i64> {
    let edge = prop_oneof![Just(HOUR), Just(DAY), Just(7 * DAY)];
    let at_edge = (edge, 0..42_i64, -1..=1_i64).prop_map(|(step, nth, off)| WEEK_START + step * nth + off);
    prop_oneof![at_edge, WEEK_START..WEEK_START + 42 * DAY]
}

prop_compose! {
    fn record()(
        at_ms in moment(), domain in proptest::option::weighted(0.8, 0..3_u8), pat in proptest::option::weighted(0.8, 0..6_u8),
        model in proptest::option::weighted(0.8, 0..3_u8), status in prop_oneof![Just(200_u16), Just(404), Just(499), Just(0)],
        tokens in proptest::option::of(0..1000_u64), first_byte_us in proptest::option::of(0..9_000_000_u64),
    ) -> UsageRecord {
        let value = serde_json::json!({ "seq": 0, "request_id": "r", "at_ms": at_ms, "method": "POST", "path": "/", "status": status,
            "ending": "complete", "bytes_in": at_ms % 77, "bytes_out": at_ms % 1001, "duration_us": at_ms % 10_007, "attempts": 1, "core": 0 });
        let mut record: UsageRecord = serde_json::from_value(value).expect("a record");
        record.domain = domain.map(|number| DomainId(id(number)));
        // Two PATs of each user.
        record.user = pat.map(|number| UserId(id(100 + number / 2)));
        record.pat = pat.filter(|number| *number != 5).map(|number| PatId(id(200 + number)));
        record.model = model.map(|number| format!("model-{number}"));
        record.prompt_tokens = tokens;
        record.completion_tokens = tokens.map(|tokens| tokens / 3);
        record.first_byte_us = first_byte_us;
        record.estimated = at_ms % 2 == 0;
        record
    }
}

prop_compose! {
    fn filter()(
        from in proptest::option::weighted(0.7, moment()), to in proptest::option::of(moment()), domain in proptest::option::weighted(0.3, 0..4_u8),
        user in proptest::option::weighted(0.3, 0..3_u8), pat in proptest::option::weighted(0.3, 0..6_u8), model in proptest::option::weighted(0.3, 0..3_u8),
        in_domains in any::<bool>(),
    ) -> UsageFilter {
        UsageFilter {
            from: from.map(Moment), to: to.map(Moment), domain: domain.map(id), user: user.map(|number| id(100 + number)),
            pat: pat.map(|number| id(200 + number)), model: model.map(|number| format!("model-{number}")), in_domains,
        }
    }
}

/// What the records that are stored add up to, one by one.
fn added_up(records: &[UsageRecord], by: GroupBy, filter: &UsageFilter) -> Vec<(Group, Sum)> {
    let hour_of = |at: i64| at - at.rem_euclid(HOUR);
    let mut groups: BTreeMap<Vec<u8>, (Group, Sum)> = BTreeMap::new();
    for record in records {
        let hour = hour_of(record.at_ms as i64);
        let same =
            |wanted: Option<Uuid>, found: Option<Uuid>| wanted.is_none_or(|wanted| found == Some(wanted));
        let (domain, user, pat) =
            (record.domain.map(|id| id.0), record.user.map(|id| id.0), record.pat.map(|id| id.0));
        let fits = filter.from.is_none_or(|from| hour >= hour_of(from.0))
            && filter.to.is_none_or(|to| hour < to.0)
            && same(filter.domain, domain)
            && same(filter.user, user)
            && same(filter.pat, pat)
            && filter.model.as_ref().is_none_or(|model| record.model.as_ref() == Some(model))
            && !(filter.in_domains && domain.is_none());
        if !fits {
            continue;
        }
        let model = record.model.clone().unwrap_or_default();
        let group = match by {
            GroupBy::Hour => Group::Time(Moment(hour)),
            GroupBy::Day => Group::Time(Moment(hour - hour.rem_euclid(DAY))),
            GroupBy::Domain => Group::Id(domain),
            GroupBy::User => Group::Id(user),
            GroupBy::Pat => Group::Id(pat),
            GroupBy::Model => Group::Model(model),
        };
        let sum = &mut groups.entry(order_of(&group)).or_insert((group, Sum::default())).1;
        sum.requests += 1;
        sum.errors += i64::from(record.status >= 400 || record.status == 0);
        sum.prompt_tokens += record.prompt_tokens.unwrap_or(0) as i64;
        sum.completion_tokens += record.completion_tokens.unwrap_or(0) as i64;
        sum.estimated += i64::from(record.estimated);
        sum.bytes_in += record.bytes_in as i64;
        sum.bytes_out += record.bytes_out as i64;
        sum.first_byte_us += record.first_byte_us.unwrap_or(0) as i64;
        sum.first_bytes += i64::from(record.first_byte_us.is_some());
        sum.duration_us += record.duration_us as i64;
    }
    let mut rows: Vec<(Group, Sum)> = groups.into_values().collect();
    if !by.is_time() {
        // Stable: what is as large stays in order.
        rows.sort_by_key(|(_, sum)| std::cmp::Reverse(sum.requests));
    }
    rows
}

/// What orders groups of one report, whatever they add up to.
fn order_of(group: &Group) -> Vec<u8> {
    match group {
        Group::Time(at) => at.0.to_be_bytes().to_vec(),
        Group::Id(id) => id.map(|id| id.as_bytes().to_vec()).unwrap_or_default(),
        Group::Model(model) => model.as_bytes().to_vec(),
    }
}

/// A whole report, page after page, each behind the last group of the one before.
async fn met_by_cursor(
    connection: &mut crate::store::Connection,
    by: GroupBy,
    filter: &UsageFilter,
    limit: i64,
) -> Vec<(Group, Sum)> {
    let mut met: Vec<(Group, Sum)> = Vec::new();
    loop {
        let after = met.last().map(|(group, _)| group.clone());
        let page = report_after(connection, by, filter, after.as_ref(), limit).await.expect("a report");
        let last = (page.len() as i64) < limit;
        met.extend(page);
        if last {
            return met;
        }
    }
}

/// Sends batches as a proxy does that never hears that they arrived: some twice, some cut in other places.
async fn send(store: &Store, records: &[UsageRecord], cut: usize) -> u64 {
    let mut added = 0;
    for batch in records.chunks(cut).chain(records.chunks(cut + 3)) {
        let mut tx = store.begin().await.expect("the only writer");
        added += add(&mut tx, "node", "boot", batch).await.expect("stored");
        tx.commit().await.expect("a commit");
    }
    added
}

/// Some of the PATs that records name are there, others are gone.
async fn add_pats(store: &Store) {
    let mut tx = store.begin().await.expect("the only writer");
    for number in 0..3 {
        let user =
            "INSERT INTO users (id, username, status, created_at, updated_at) VALUES (?, ?, 'enabled', 1, 1)";
        let user = query(user).bind(id(100 + number)).bind(format!("u{number}"));
        user.execute(tx.connection()).await.expect("a user");
    }
    for number in [0, 1, 3] {
        let pat = "INSERT INTO pats (id, user_id, name, digest, issued_at, updated_at) VALUES (?1, ?2, ?1, x'00', 1, 1)";
        let pat = query(pat).bind(id(200 + number)).bind(id(100 + number / 2));
        pat.execute(tx.connection()).await.expect("a PAT");
    }
    tx.commit().await.expect("a commit");
}

/// The records as they are stored.
async fn stored(store: &Store) -> Vec<UsageRecord> {
    let mut connection = store.read().await.expect("a reader");
    let rows: Vec<String> =
        query_scalar("SELECT record FROM usage").fetch_all(&mut connection).await.expect("rows");
    rows.iter().map(|text| serde_json::from_str(text).expect("a record")).collect()
}

/// Goal: no grouping, filter or edge of a period tells anything but what the records say. Method: random records, sent twice in other
/// batches; each report against the same records added up one by one, whole, by pages and
/// by cursor.
#[test]
fn every_report_says_what_the_records_add_up_to() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let records = proptest::collection::vec(record(), 1..150);
    let filters = proptest::collection::vec(filter(), 25);
    let config = Config { cases: 16, failure_persistence: None, ..Config::default() };
    let run = TestRunner::new(config).run(&(records, filters, 1..40_usize), |(mut records, filters, cut)| {
        for (nth, record) in records.iter_mut().enumerate() {
            record.seq = nth as u64 + 1;
        }
        runtime.block_on(async {
            let scratch = Scratch::new().await;
            let store = scratch.open().await;
            add_pats(&store).await;
            let added = send(&store, &records, cut).await;
            prop_assert_eq!(added, records.len() as u64, "each once");
            let stored = stored(&store).await;
            prop_assert_eq!(stored.len(), records.len());
            let mut connection = store.read().await.expect("a reader");
            for filter in &filters {
                for by in GROUPS {
                    let wanted = added_up(&stored, by, filter);
                    let total = wanted.len() as i64;
                    for page in [
                        Page { offset: 0, limit: 1000 },
                        Page { offset: 1, limit: 2 },
                        Page { offset: 5000, limit: 2 },
                    ] {
                        let found = report(&mut connection, by, filter, page).await.expect("a report");
                        let part =
                            wanted.iter().skip(page.offset as usize).take(page.limit as usize).cloned();
                        prop_assert_eq!(
                            &found.rows,
                            &part.collect::<Vec<_>>(),
                            "{:?} {:?} {:?}",
                            by,
                            filter,
                            page
                        );
                        prop_assert_eq!(found.total, total, "{:?} {:?} {:?}", by, filter, page);
                    }
                    let mut in_order = wanted;
                    in_order.sort_by_key(|(group, _)| order_of(group));
                    let limit = if by.is_time() { 29 } else { 2 };
                    let met = met_by_cursor(&mut connection, by, filter, limit).await;
                    prop_assert_eq!(met, in_order, "{:?} {:?} by cursor", by, filter);
                }
            }
            Ok(())
        })
    });
    run.unwrap_or_else(|error| panic!("{error}"));
}

/// Everything in the tables of sums, as text.
async fn all_sums(store: &Store) -> Vec<String> {
    let mut connection = store.read().await.expect("a reader");
    let mut all = Vec::new();
    for table in TABLES {
        let ids: &[&str] = match table {
            "usage_by_domain" | "usage_by_model" => &["domain_id"],
            _ => &["domain_id", "user_id", "pat_id"],
        };
        let model = matches!(table, "usage_by_model" | "usage_by_all").then(|| "model".to_owned());
        let numbers = ["step_ms", "start_ms"].into_iter().chain(Sum::COLUMNS);
        let numbers = numbers.map(|column| format!("CAST({column} AS TEXT)"));
        let columns: Vec<_> = ids.iter().map(|id| format!("hex({id})")).chain(model).chain(numbers).collect();
        let rows = format!("SELECT {} FROM {table} ORDER BY 1", columns.join(" || ',' || "));
        let rows: Vec<String> = query_scalar(rows).fetch_all(&mut connection).await.expect("rows");
        all.push(format!("{table} {}", rows.len()));
        all.extend(rows);
    }
    all
}

#[tokio::test]
async fn a_database_from_before_the_coarser_sums_is_given_them() {
    let scratch = Scratch::new().await;
    let store = scratch.open().await;
    let mut runner = TestRunner::deterministic();
    let mut records: Vec<UsageRecord> = Vec::new();
    for nth in 0..300 {
        let mut made = record().new_tree(&mut runner).expect("a record").current();
        made.seq = nth + 1;
        records.push(made);
    }
    assert_eq!(send(&store, &records, 50).await, 300);
    let before = all_sums(&store).await;
    assert!(before.len() > 900, "{}", before.len());
    let mut tx = store.begin().await.expect("the only writer");
    for table in TABLES {
        let delete = format!("DELETE FROM {table}");
        query(delete).execute(tx.connection()).await.expect("a table");
    }
    tx.commit().await.expect("a commit");
    store.close().await;
    let store = scratch.open().await;
    assert!(all_sums(&store).await == before);
    store.close().await;
    let store = scratch.open().await;
    assert!(all_sums(&store).await == before, "once");
    store.close().await;
}

#[tokio::test]
async fn a_pats_last_use_moves_on_by_a_minute_or_more_and_never_back() {
    let scratch = Scratch::new().await;
    let store = scratch.open().await;
    add_pats(&store).await;
    let mut runner = TestRunner::deterministic();
    let mut made = record().new_tree(&mut runner).expect("a record").current();
    let mut seq = 0;
    for (at, expected) in [(100_000, 100_000), (130_000, 100_000), (170_000, 170_000), (90_000, 170_000)] {
        seq += 1;
        made.seq = seq;
        made.at_ms = (WEEK_START + at) as u64;
        (made.user, made.pat) = (Some(UserId(id(100))), Some(PatId(id(200))));
        let mut tx = store.begin().await.expect("the only writer");
        assert_eq!(add(&mut tx, "node", "boot", std::slice::from_ref(&made)).await.expect("stored"), 1);
        tx.commit().await.expect("a commit");
        let mut connection = store.read().await.expect("a reader");
        let seen: Vec<Option<i64>> = query_scalar("SELECT last_used_at FROM pats ORDER BY id LIMIT 2")
            .fetch_all(&mut connection)
            .await
            .expect("rows");
        assert_eq!(seen, [Some(WEEK_START + expected), None], "after {at}");
    }
}
