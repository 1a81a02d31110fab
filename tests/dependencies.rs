//! What may not be in the proxy's dependency tree (docs/decisions/0001-monoio-http-without-tokio-and-old-rustls.md).

use std::{collections::BTreeSet, process::Command};

/// `name vVERSION` of every package that is compiled into the proxy, as cargo resolves it; development tools left out.
fn packages_of_the_proxy() -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--frozen", "--package", "cube-proxy", "--edges", "normal,build"])
        .args(["--prefix", "none", "--format", "{p}"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo, which runs this test, can be started");
    assert!(output.status.success(), "cargo tree: {}", String::from_utf8_lossy(&output.stderr));
    let listing = String::from_utf8(output.stdout).expect("package names are text");
    listing
        .lines()
        .map(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" "))
        .filter(|package| !package.is_empty())
        .collect()
}

fn versions_of<'a>(packages: &'a BTreeSet<String>, name: &str) -> Vec<&'a str> {
    packages.iter().filter_map(|package| package.strip_prefix(name)?.strip_prefix(" v")).collect()
}

#[test]
fn the_proxy_holds_no_tokio_and_at_most_one_rustls() {
    let packages = packages_of_the_proxy();
    assert_eq!(versions_of(&packages, "monoio"), ["0.2.4"], "the listing is read as it is meant");

    for name in ["tokio", "tokio-util", "async-std", "smol", "openssl-sys", "native-tls"] {
        assert_eq!(versions_of(&packages, name), [""; 0], "{name} is in the tree");
    }
    for name in ["rustls", "http", "bytes", "memchr"] {
        let versions = versions_of(&packages, name);
        assert!(versions.len() <= 1, "{name} is there more than once: {versions:?}");
    }
}
