//! How much does it cost to find the chunk boundaries of a passing stream? Chunk sizes are what model servers send: one
//! event a chunk, several events a chunk, and one read's worth; reads are one event (as they arrive), and one relay
//! buffer (when we are behind). The cost should be per chunk, not per byte. Read beside the whole-proxy run
//! (`loadtest/`).

#![allow(clippy::unwrap_used, reason = "a bench that fails should stop")]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use cube_proxy::http1::{ChunkLimits, ChunkScanner};

const CHUNKS: usize = 1_000;
const RELAY_BUFFER: usize = 16 * 1024;

/// A body of [`CHUNKS`] chunks.
fn body(payload_bytes: usize) -> Vec<u8> {
    let mut wire = Vec::new();
    for _ in 0..CHUNKS {
        wire.extend_from_slice(format!("{payload_bytes:x}\r\n").as_bytes());
        wire.resize(wire.len() + payload_bytes, b'x');
        wire.extend_from_slice(b"\r\n");
    }
    wire.extend_from_slice(b"0\r\n\r\n");
    wire
}

fn scan(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("chunk_scan");
    for payload_bytes in [32, 250, 1_400, 16_384] {
        let wire = body(payload_bytes);
        group.throughput(Throughput::Elements(CHUNKS as u64));
        for (reads, read_bytes) in [("a_chunk_a_read", wire.len() / CHUNKS), ("16_KiB_reads", RELAY_BUFFER)] {
            group.bench_with_input(BenchmarkId::new(reads, payload_bytes), &wire, |b, wire| {
                b.iter(|| {
                    let mut scanner = ChunkScanner::new(ChunkLimits::default());
                    let mut payload = 0;
                    for read in wire.chunks(read_bytes) {
                        let scanned = scanner.scan(black_box(read), |bytes| payload += bytes.len()).unwrap();
                        assert_eq!(scanned.used, read.len());
                    }
                    assert!(scanner.is_done());
                    assert_eq!(payload, CHUNKS * payload_bytes);
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, scan);
criterion_main!(benches);
