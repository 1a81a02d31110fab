//! Replays the committed fuzz corpora of cube-admin through the properties that the fuzz targets check (see `tests/corpus.rs` of the
//! checkout, which does so for the proxy).

use std::fs;
use std::path::Path;

#[path = "../../../fuzz/properties/scim_filter.rs"]
mod scim_filter;

#[test]
fn no_filter_of_the_corpus_crashes_the_parser_or_means_two_things() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/scim_filter");
    let mut inputs = 0;
    for file in fs::read_dir(&folder).expect("the target has a corpus") {
        let path = file.expect("the corpus can be read").path();
        let input = fs::read(&path).expect("the input can be read");
        println!("{}", path.display());
        (0..=input.len()).for_each(|cut| scim_filter::check(&input[..cut]));
        inputs += 1;
    }
    assert!(inputs > 0, "{} is empty", folder.display());
}
