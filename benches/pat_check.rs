//! What does it cost to find out who is calling? Budget: 250 ns when the core remembers the PAT, 1 µs from tables of a million.
//!
//! `from tables` walks through all PATs, so every row comes from memory and not from a CPU cache. Read beside the whole-proxy
//! run (`loadtest/`).

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use cube_proxy::tables::{CredentialFault, Tables, Verifier};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc; // as in the proxy

#[path = "fixture/mod.rs"]
mod fixture;
use fixture::NOW_UNIX_S;

/// Where requests come from.
const FROM: std::net::IpAddr = std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
const PATS: u32 = 1_000_000;
/// PATs that are used in turn: more than any CPU cache holds the rows of.
const IN_TURN: u32 = 200_000;

fn pat_check(criterion: &mut Criterion) {
    let (tables, _) = fixture::load(PATS);
    // Plain copies in one piece of memory, read in the order in which they lie.
    let secrets: Vec<[u8; 97]> = (0..IN_TURN)
        .map(|number| *fixture::secret(number * (PATS / IN_TURN)).as_bytes().first_chunk().expect("97 bytes"))
        .collect();
    let mut group = criterion.benchmark_group("pat_check");

    group.bench_function("parse", |bencher| {
        bencher.iter(|| cube_wire::pat::parse(black_box(&secrets[0])).expect("a PAT"));
    });
    group.bench_function("cached", |bencher| {
        let mut verifier = Verifier::new(65_536);
        bencher.iter(|| {
            verifier.verify(&tables, black_box(&secrets[0]), NOW_UNIX_S, FROM).expect("a valid PAT")
        });
        assert_eq!(verifier.misses(), 1);
    });
    group.bench_function("cached, 10,000 in turn", |bencher| {
        let mut verifier = Verifier::new(65_536);
        let mut turn = secrets[..10_000].iter().cycle();
        bencher.iter(|| {
            verifier.verify(&tables, turn.next().expect("a cycle"), NOW_UNIX_S, FROM).expect("a valid PAT")
        });
    });
    group.bench_function("from tables, all in turn", |bencher| {
        // Remembers one: every check reads the tables.
        let mut verifier = Verifier::new(1);
        let mut turn = secrets.iter().cycle();
        bencher.iter(|| {
            verifier.verify(&tables, turn.next().expect("a cycle"), NOW_UNIX_S, FROM).expect("a valid PAT")
        });
        assert!(verifier.misses() > verifier.hits());
    });
    group.bench_function("from tables, cache full and turning over", |bencher| {
        let mut verifier = Verifier::new(65_536);
        let mut turn = secrets.iter().cycle();
        bencher.iter(|| {
            verifier.verify(&tables, turn.next().expect("a cycle"), NOW_UNIX_S, FROM).expect("a valid PAT")
        });
    });
    group.bench_function("wrong checksum", |bencher| {
        let mut wrong = secrets[0];
        wrong[60] ^= 1;
        let mut verifier = Verifier::new(1);
        bencher.iter(|| {
            verifier.verify(&tables, black_box(&wrong), NOW_UNIX_S, FROM) == Err(CredentialFault::Malformed)
        });
    });
    group.bench_function("unknown", |bencher| {
        let empty = Tables::empty();
        let mut verifier = Verifier::new(1);
        bencher.iter(|| {
            verifier.verify(&empty, black_box(&secrets[0]), NOW_UNIX_S, FROM) == Err(CredentialFault::Unknown)
        });
    });
    group.finish();
}

criterion_group!(benches, pat_check);
criterion_main!(benches);
