//! The API's description.

use crate::support::{Server, Value};

/// The file that people read and clients are made from is what the program serves. `cube-admin openapi > docs/openapi.json` renews it.
#[test]
fn the_checked_in_description_is_the_one_that_is_served() {
    let server = Server::start();
    let served = server.call("GET", "/openapi.json", "", None).expect(200);
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/openapi.json");
    let text = std::fs::read_to_string(path).expect("docs/openapi.json");
    let checked_in: Value = serde_json::from_str(&text).expect("JSON");
    assert!(served == checked_in, "run `cargo run -p cube-admin openapi > docs/openapi.json`");
    assert_eq!(served["openapi"].as_str().map(|version| &version[..3]), Some("3.1"));
}

/// Whoever reads the description must be able to tell what needs a credential.
#[test]
fn every_operation_says_what_it_answers_and_whether_it_needs_a_credential() {
    let description = cube_admin::http::openapi();
    let paths = description["paths"].as_object().expect("paths");
    let mut operations = 0;
    for (path, methods) in paths {
        for (method, operation) in methods.as_object().expect("methods") {
            operations += 1;
            let answers = operation["responses"].as_object().expect("answers");
            assert!(answers.keys().any(|status| status.starts_with('2')), "{method} {path}");
            let open = operation["security"] == serde_json::json!([{}]);
            assert!(open || answers.contains_key("401"), "{method} {path}: no 401");
            assert!(operation["summary"].is_string(), "{method} {path}: no summary");
        }
    }
    assert!(operations > 50, "{operations}");
}
