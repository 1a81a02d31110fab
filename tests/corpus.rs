//! Replays the committed fuzz corpora through the properties that the fuzz targets check, with ordinary stable tests.
//!
//! An input that once found a fault stays here for good; nobody needs a fuzzer to see whether the fault is back.

use std::fs;
use std::path::Path;

#[path = "../fuzz/properties/chunked.rs"]
mod chunked;
#[path = "../fuzz/properties/head.rs"]
mod head;
#[path = "../fuzz/properties/pat.rs"]
mod pat;
#[path = "../fuzz/properties/peek_json.rs"]
mod peek_json;
#[path = "../fuzz/properties/peek_multipart.rs"]
mod peek_multipart;
#[path = "../fuzz/properties/query.rs"]
mod query;
#[path = "../fuzz/properties/sse.rs"]
mod sse;
#[path = "../fuzz/properties/tables.rs"]
mod tables;

/// Runs `property` on every input of `fuzz/corpus/<target>`, and on every front of the small ones.
fn replay(target: &str, property: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut inputs = 0;
    for file in fs::read_dir(&folder).expect("the target has a corpus") {
        let path = file.expect("the corpus can be read").path();
        let input = fs::read(&path).expect("the input can be read");
        println!("{}", path.display());
        property(&input);
        if input.len() <= 512 {
            (0..input.len()).for_each(|cut| property(&input[..cut]));
        }
        inputs += 1;
    }
    assert!(inputs > 0, "{} is empty", folder.display());
}

#[test]
fn no_head_of_the_corpus_crashes_the_parsers_or_means_two_things() {
    replay("head", head::check);
}

#[test]
fn no_chunked_body_of_the_corpus_crashes_the_scanner_or_is_passed_on_as_another() {
    replay("chunked", chunked::check);
}

#[test]
fn no_credential_of_the_corpus_crashes_the_parser_or_means_two_things() {
    replay("pat", pat::check);
}

#[test]
fn no_snapshot_of_the_corpus_crashes_the_compiler_or_means_something_else_in_two_parts() {
    replay("tables", tables::check);
}

#[test]
fn no_body_of_the_corpus_crashes_the_peek_or_means_two_things() {
    replay("peek_json", peek_json::check);
    replay("peek_multipart", peek_multipart::check);
}

#[test]
fn no_response_of_the_corpus_crashes_the_reader_or_says_something_else_when_cut() {
    replay("sse", sse::check);
}

#[test]
fn no_query_of_the_corpus_crashes_the_reader_or_keeps_what_is_left_out() {
    replay("query", query::check);
}
