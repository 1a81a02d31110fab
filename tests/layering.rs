//! The arrows of the architecture, held by reading the sources: which folder may name which.
//!
//! Rules stand in `docs/ARCHITECTURE.md` under "Invariants". A rule that turns out wrong is changed there and here together.

use std::fs;
use std::path::{Path, PathBuf};

/// Folder or file under `src`, and what its code must not name.
const FORBIDDEN: &[(&str, &[&str])] = &[
    ("path", &["crate::control", "settings::file", "cube_wire::record", "crate::cli"]),
    (
        "http1",
        &[
            "monoio::",
            "crate::socket",
            "crate::clock",
            "std::time",
            "std::net",
            "crate::path",
            "crate::tables",
        ],
    ),
    (
        "sse",
        &[
            "monoio::",
            "crate::socket",
            "crate::clock",
            "std::time",
            "std::net",
            "crate::path",
            "crate::tables",
        ],
    ),
    (
        "peek",
        &[
            "monoio::",
            "crate::socket",
            "crate::clock",
            "std::time",
            "std::net",
            "crate::path",
            "crate::tables",
        ],
    ),
    ("operations.rs", &["monoio::", "crate::path", "crate::tables", "crate::control"]),
    (
        "tables",
        &["monoio::", "crate::path", "crate::control", "crate::cores", "crate::local", "crate::settings"],
    ),
    ("upstream/balance.rs", &["monoio::", "crate::socket", "std::time", "std::net", "crate::local"]),
    ("upstream/eject.rs", &["monoio::", "crate::socket", "std::net", "crate::local", "Instant"]),
    ("upstream", &["crate::path", "crate::control", "crate::tables", "crate::settings"]),
    ("socket", &["crate::path", "crate::control", "crate::local", "crate::tables"]),
    ("buf", &["crate::path", "crate::local", "monoio::"]),
    ("meter", &["crate::path", "crate::control", "monoio::"]),
    ("control", &["crate::path"]),
];

/// The same for cube-admin, under `admin/src`: SQL never leaves `store`, HTTP never leaves `http`, `ui`, `feed` and `ops`, `store` knows no rules.
const FORBIDDEN_IN_ADMIN: &[(&str, &[&str])] = &[
    (
        "app",
        &[
            "sqlx",
            "axum",
            "StatusCode",
            "utoipa",
            "askama",
            "crate::http",
            "crate::ui",
            "crate::feed",
            "crate::cli",
        ],
    ),
    ("store", &["axum", "StatusCode", "crate::app", "crate::http", "crate::ui", "crate::feed"]),
    ("http", &["sqlx", "crate::cli"]),
    // Pages call the rules, never our own API over HTTP; of `http` they share what reads a request and what names a status.
    ("ui", &["sqlx", "ureq", "crate::cli", "crate::feed", "utoipa"]),
    ("feed", &["sqlx", "crate::cli"]),
    ("ops", &["sqlx", "crate::cli", "crate::http", "crate::ui", "crate::feed"]),
    ("figures.rs", &["sqlx", "crate::app", "crate::store", "crate::http", "crate::ui", "crate::feed"]),
    ("oidc", &["sqlx", "axum", "crate::app", "crate::store", "crate::http", "crate::ui", "crate::clock"]),
    ("oidc/token", &["ureq", "tokio", "std::time", "std::net", "crate::settings"]),
    ("oidc/keys.rs", &["ureq", "tokio", "std::time", "std::net", "crate::settings"]),
    ("", &["cube_proxy"]),
];

/// Folders whose code runs on a core: no blocking call, no lock, no other runtime.
const HOT: &[&str] =
    &["path", "http1", "sse", "peek", "upstream", "socket", "buf", "local.rs", "operations.rs"];
const NEVER_HOT: &[&str] =
    &["std::fs", "to_socket_addrs", "thread::sleep", "Mutex", "RwLock", "println!", "eprintln!", "tokio"];

/// The only files that may hold `unsafe`.
const UNSAFE: &[&str] = &["src/socket/readiness.rs"];

fn sources(under: &Path) -> Vec<PathBuf> {
    if under.is_file() {
        return vec![under.to_owned()];
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(under).expect("a folder of the crate") {
        let path = entry.expect("an entry").path();
        if path.is_dir() || path.extension().is_some_and(|e| e == "rs") {
            found.extend(sources(&path));
        }
    }
    found
}

/// The code of a file without comments and without its tests: rules are about what runs.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).expect("a source");
    let text = text.split("#[cfg(test)]").next().unwrap_or_default();
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

fn is_test(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == "tests") || path.ends_with("tests.rs")
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn breaches(rules: impl Iterator<Item = (PathBuf, &'static [&'static str])>) -> Vec<String> {
    let mut breaches = Vec::new();
    for (place, forbidden) in rules {
        let files = sources(&place);
        assert!(!files.is_empty(), "the rule for {} is about nothing", place.display());
        for file in files.iter().filter(|file| !is_test(file)) {
            let code = code(file);
            for name in forbidden.iter().filter(|name| code.contains(**name)) {
                breaches
                    .push(format!("{} names {name}", file.strip_prefix(root()).unwrap_or(file).display()));
            }
        }
    }
    breaches
}

#[test]
fn every_folder_names_only_what_the_architecture_lets_it_name() {
    let rules = FORBIDDEN.iter().map(|(place, names)| (root().join("src").join(place), *names));
    assert_eq!(breaches(rules), Vec::<String>::new());
}

#[test]
fn every_folder_of_admin_names_only_what_it_may() {
    let admin = root().join("admin/src");
    let rules = FORBIDDEN_IN_ADMIN.iter().map(|(place, names)| (admin.join(place), *names));
    assert_eq!(breaches(rules), Vec::<String>::new());
}

#[test]
fn nothing_that_runs_on_a_core_blocks_locks_or_prints() {
    let rules = HOT.iter().map(|place| (root().join("src").join(place), NEVER_HOT));
    assert_eq!(breaches(rules), Vec::<String>::new());
}

#[test]
fn unsafe_stands_in_one_place() {
    let holders: Vec<String> = ["src", "admin", "loadtest/src"]
        .iter()
        .flat_map(|place| sources(&root().join(place)))
        .filter(|file| !is_test(file) && code(file).contains("unsafe {"))
        .map(|file| file.strip_prefix(root()).unwrap_or(&file).display().to_string())
        .collect();
    assert_eq!(holders, UNSAFE);
}

#[test]
fn every_folder_says_what_it_is_for() {
    let of_both = ["src", "admin/src"].map(|place| sources(&root().join(place)));
    for file in of_both.iter().flatten().filter(|file| !is_test(file)) {
        let text = fs::read_to_string(file).expect("a source");
        assert!(text.starts_with("//!"), "{} has no header", file.display());
    }
}

#[test]
fn no_file_grows_past_what_one_can_read() {
    for file in ["src", "admin"].iter().flat_map(|place| sources(&root().join(place))) {
        let lines = fs::read_to_string(&file).expect("a source").lines().count();
        assert!(lines <= 800, "{} has {lines} lines: reread it with scissors", file.display());
    }
}
