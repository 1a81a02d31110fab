//! What do decisions cost once the caller is known, and what does it cost to change the tables of a million PATs?
//!
//! Also prints what those tables take in memory and how long the file takes to load (budget: 3 s, 200 bytes a PAT).

use std::fs;
use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use cube_proxy::tables::{Change, NoResolver, Operation, Tables, Verifier};
use cube_wire::{Key, Record};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc; // as in the proxy

#[path = "fixture/mod.rs"]
mod fixture;
use fixture::{DOMAINS, NOW_UNIX_S};

const PATS: u32 = 1_000_000;

fn resident_bytes() -> usize {
    let statm = fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: usize = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("Linux");
    pages * 4096
}

fn load() -> Tables {
    let before = resident_bytes();
    let (tables, took) = fixture::load(PATS);
    println!(
        "{PATS} PATs, {} users: loaded in {took:.2?}; {} bytes of rows a PAT, users included; the process grew by {}",
        tables.counts().users,
        tables.heap_bytes() / PATS as usize,
        resident_bytes().saturating_sub(before) / PATS as usize,
    );
    tables
}

fn table_lookup(criterion: &mut Criterion) {
    let tables = load();
    let secret = fixture::secret(777);
    let who = Verifier::new(1)
        .verify(&tables, secret.as_bytes(), NOW_UNIX_S, std::net::Ipv4Addr::LOCALHOST.into())
        .expect("a valid PAT");
    let domain = tables.domain(b"team-27").expect("it is there");
    let by_id = fixture::domain_id(27).to_string();
    let mut group = criterion.benchmark_group("table_lookup");

    group.bench_function("domain by id", |bencher| {
        bencher.iter(|| assert_eq!(tables.domain(black_box(by_id.as_bytes())), Some(domain)));
    });
    group.bench_function("domain by alias", |bencher| {
        bencher.iter(|| assert_eq!(tables.domain(black_box(b"team-27")), Some(domain)));
    });
    group.bench_function("model by name", |bencher| {
        bencher.iter(|| tables.model(domain, black_box(b"org/model-42")).expect("it is there"));
    });
    group.bench_function("rights on a model", |bencher| {
        let model = tables.model(domain, b"org/model-42").expect("it is there");
        bencher.iter(|| {
            let rights = tables.rights(black_box(&who), domain);
            assert!(rights.allows_on(Operation::LlmChatCompletions, model));
        });
    });
    assert_eq!(tables.counts().domains, DOMAINS as usize);

    let revoked = fixture::pat_line(777).replace("\"scopes\"", "\"revoked\":true,\"scopes\"");
    let put = Change::Put(Record::from_line(revoked.as_bytes()).expect("our own line").expect("a record"));
    group.bench_function("revoke one of 1,000,000", |bencher| {
        bencher.iter(|| tables.with(std::slice::from_ref(&put), 2, &mut NoResolver).expect("a sound change"));
    });
    let remove = Change::Remove(Key::Pat(who.pat.expect("a PAT")));
    group.bench_function("remove one of 1,000,000", |bencher| {
        bencher
            .iter(|| tables.with(std::slice::from_ref(&remove), 2, &mut NoResolver).expect("a sound change"));
    });
    group.finish();
}

criterion_group!(benches, table_lookup);
criterion_main!(benches);
