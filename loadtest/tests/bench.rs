//! A very short side-by-side run: not its figures, but that every row runs on what is always there, and what is written.
#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// The peers run on the first CPU that we may use, the load on the last.
fn cpus() -> (String, String) {
    let list = std::fs::read_to_string("/proc/self/status").unwrap();
    let list =
        list.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap().trim().to_owned();
    let first = list.split([',', '-']).next().unwrap().to_owned();
    let last = list.rsplit([',', '-']).next().unwrap().to_owned();
    (first, last)
}

#[test]
fn every_row_runs_on_the_relay_and_its_medians_are_written() {
    let directory = std::env::temp_dir().join(format!("cube-bench-test-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let (json, markdown) = (directory.join("out.json"), directory.join("out.md"));
    let (proxy_cpu, load_cpu) = cpus();
    let output = Command::new(env!("CARGO_BIN_EXE_cube-bench"))
        .args([
            "--no-proxy",
            "--peers",
            "direct,relay",
            "--rounds",
            "2",
            "--seconds",
            "0.2",
            "--warm-up",
            "0.1",
        ])
        .args(["--scale", "0.05", "--proxy-cpu", &proxy_cpu, "--load-cpu", &load_cpu])
        .args([Path::new("--json"), &json, Path::new("--markdown"), &markdown])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let json: Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    let cells = json["cells"].as_array().unwrap();
    for row in ["S1", "S2", "S3", "S4", "S5", "S6", "M1", "K1", "L1", "L2"] {
        let cell = cells.iter().find(|cell| cell["row"] == row && cell["peer"] == "relay");
        let cell = cell.unwrap_or_else(|| panic!("{row} is missing"));
        assert_eq!(cell["faults"], 0, "{cell}");
        if !matches!(row, "S4" | "K1") {
            assert!(cell["median"].as_f64().unwrap() > 0.0, "{cell}");
        }
    }
    assert!(std::fs::read_to_string(&markdown).unwrap().contains("| S1 "));
    std::fs::remove_dir_all(&directory).unwrap();
}
