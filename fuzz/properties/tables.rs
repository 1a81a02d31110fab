//! Any text compiles to tables or to problems that have a line; and a change gives the tables that a snapshot gives.

use std::collections::HashSet;

use cube_proxy::tables::{Change, NoResolver, Tables};
use cube_wire::{Record, read_records};

/// Fails if these lines could crash the compiler, or mean something else when they arrive in two parts.
pub(crate) fn check(input: &[u8]) {
    let lines = input.split(|&byte| byte == b'\n').count();
    let mut records = Vec::new();
    for (line, read) in read_records(input) {
        assert!((1..=lines).contains(&line), "line {line} of {lines}");
        if let Ok(record) = read {
            let again = Record::from_line(record.to_line().as_bytes()).expect("what we write we read");
            assert_eq!(again.as_ref(), Some(&record));
            records.push((line, record));
        }
    }
    let whole = Tables::compile(records.clone(), 1, &mut NoResolver);
    if let Err(problems) = &whole {
        assert!(!problems.is_empty());
        assert!(problems.iter().all(|problem| (1..=lines).contains(&problem.line)), "{problems:?}");
    }
    // Grants with one key unite within a snapshot and replace across changes; whatever else has one key twice is refused.
    let keys: HashSet<_> = records.iter().map(|(_, record)| record.key()).collect();
    if keys.len() < records.len() || matches!(records.first(), Some((_, Record::Snapshot(_)))) {
        return;
    }
    for cut in [records.len() / 3, records.len() / 2] {
        let (front, back) = records.split_at(cut);
        let Ok(front) = Tables::compile(front.iter().cloned(), 1, &mut NoResolver) else { continue };
        let changes: Vec<_> = back.iter().map(|(_, record)| Change::Put(record.clone())).collect();
        let parts = front.with(&changes, 2, &mut NoResolver);
        match (&whole, &parts) {
            (Ok(whole), Ok(parts)) => assert_same(whole, parts, &records),
            (Err(_), Err(_)) => {}
            _ => panic!("as a snapshot {:?}, in two parts {:?}", whole.is_ok(), parts.is_ok()),
        }
        // What was put can be taken away again.
        let keys = back.iter().filter_map(|(_, record)| record.key());
        let removals: Vec<_> = keys.map(Change::Remove).collect();
        if let Ok(parts) = parts {
            let rest = parts.with(&removals, 3, &mut NoResolver).expect("only what was added is removed");
            assert_eq!(rest.counts(), front.counts());
        }
    }
}

fn assert_same(one: &Tables, other: &Tables, records: &[(usize, Record)]) {
    assert_eq!(one.counts(), other.counts());
    for (_, record) in records {
        let Record::Domain(record) = record else { continue };
        let domains = [one, other].map(|tables| tables.domain_by_id(record.id).expect("it compiled"));
        let entries = [one.domain_entry(domains[0]), other.domain_entry(domains[1])];
        assert_eq!((&entries[0].alias, entries[0].status), (&entries[1].alias, entries[1].status));
        if let Some(alias) = &record.alias {
            assert_eq!(one.domain(alias.as_bytes()), Some(domains[0]));
            assert_eq!(other.domain(alias.as_bytes()), Some(domains[1]));
        }
        let listed = |tables: &Tables, domain| {
            let models = tables.models_of(domain).map(|model| tables.model_entry(model));
            let named = models
                .map(|model| (model.name.clone(), tables.cluster(model.cluster).id.clone(), model.series));
            named.collect::<Vec<_>>()
        };
        assert_eq!(listed(one, domains[0]), listed(other, domains[1]));
    }
}
