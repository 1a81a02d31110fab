//! The demo launcher with a stand-in for the proxy: a script that serves `/readyz` on the ops address of the generated
//! settings. What the proxy itself does is tested elsewhere; here it is what the launcher writes, prints and leaves behind.
#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

use cube_loadtest::demo::Line;
use cube_wire::{Record, read_records};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A directory for one test, removed at its end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("cube-demo-test-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A directory of programs: the real mock, and the stand-in.
fn programs(scratch: &Path) -> PathBuf {
    let mock = env!("CARGO_BIN_EXE_cube-mock");
    std::os::unix::fs::symlink(mock, scratch.join("cube-mock")).unwrap();
    let script = format!(
        "#!/bin/sh\n[ \"$1\" = --config ] || exit 9\n\
         port=$(sed -n '/^\\[ops\\]/,/^$/s/^address = \".*:\\([0-9]*\\)\"/\\1/p' \"$2\")\n\
         exec {mock} --port \"$port\"\n"
    );
    let proxy = scratch.join("cube-proxy");
    std::fs::write(&proxy, script).unwrap();
    std::fs::set_permissions(&proxy, std::fs::Permissions::from_mode(0o755)).unwrap();
    scratch.to_owned()
}

fn start(scratch: &Path, arguments: &[&str]) -> (Child, Line) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_cube-demo"))
        .args(["--json", "--port", "0", "--ops-port", "0", "--bin-dir"])
        .arg(scratch)
        .args(arguments)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut text = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut text).unwrap();
    let line = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text:?}"));
    (child, line)
}

fn pid(id: u32) -> Pid {
    Pid::from_raw(i32::try_from(id).unwrap()).unwrap()
}

fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(10), "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn one_line_tells_all_and_the_tables_hold_the_pat_only_as_a_digest() {
    let scratch = Scratch::new("line");
    let (mut demo, line) = start(&programs(&scratch.0), &[]);
    assert_eq!((line.domain.as_str(), line.model.as_str()), ("demo", "demo-model"));
    let text = std::fs::read_to_string(line.state.join("tables.ndjson")).unwrap();
    assert!(!text.contains(&line.pat));
    let mode = std::fs::metadata(line.state.join("tables.ndjson")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let records: Vec<Record> = read_records(text.as_bytes()).map(|(_, record)| record.unwrap()).collect();
    let id = cube_wire::pat::parse(line.pat.as_bytes()).unwrap().pat;
    let found =
        records.iter().any(|record| matches!(record, Record::Pat(pat) if pat.id == id && !pat.revoked));
    assert!(found, "the PAT is in the tables");
    kill_process(pid(demo.id()), Signal::INT).unwrap();
    assert!(demo.wait().unwrap().success());
    wait_until("the proxy has ended", || test_kill_process(pid(line.proxy_pid)).is_err());
    assert!(!line.state.exists(), "the temporary state is removed");
}

#[test]
fn a_named_state_keeps_its_pats_and_a_real_upstream_names_its_models() {
    let scratch = Scratch::new("state");
    let programs = programs(&scratch.0);
    let state = scratch.0.join("kept");
    let options = cube_loadtest::mock::Options {
        models: vec!["first".to_owned(), "second".to_owned()],
        ..Default::default()
    };
    let upstream = cube_loadtest::mock::Mock::start(&options).unwrap();
    let url = format!("http://{}/v1/", upstream.address());
    let arguments = ["--state", state.to_str().unwrap(), "--upstream", &url];
    let mut pats = Vec::new();
    for _ in 0..2 {
        let (mut demo, line) = start(&programs, &arguments);
        assert_eq!(line.models, ["first", "second"]);
        assert_eq!(line.upstream, format!("http://{}", upstream.address()));
        pats.push(line.pat);
        kill_process(pid(demo.id()), Signal::TERM).unwrap();
        demo.wait().unwrap();
    }
    assert_eq!(pats[0], pats[1]);
    assert!(state.join("proxy.toml").exists());
}

#[test]
fn a_demo_that_is_killed_leaves_no_process_behind() {
    let scratch = Scratch::new("killed");
    let (mut demo, line) = start(&programs(&scratch.0), &[]);
    demo.kill().unwrap();
    demo.wait().unwrap();
    wait_until("the proxy has ended", || test_kill_process(pid(line.proxy_pid)).is_err());
    let _ = std::fs::remove_dir_all(&line.state);
}

#[test]
fn a_proxy_that_does_not_start_is_told_with_what_it_said() {
    let scratch = Scratch::new("broken");
    let directory = programs(&scratch.0);
    std::fs::write(directory.join("cube-proxy"), "#!/bin/sh\necho no such key: x; exit 3\n").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_cube-demo"))
        .args(["--json", "--bin-dir"])
        .arg(&directory)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && output.stdout.is_empty());
    assert!(text.contains("no such key: x"), "{text}");
}
