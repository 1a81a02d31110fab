//! The demo launcher with the real programs: what it prints, fills, keeps and leaves behind.
//!
//! They are those beside the launcher, which `cargo test --workspace` builds.
#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

use cube_loadtest::demo::Line;
use cube_loadtest::fetch::{self, Origin};
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

fn start(arguments: &[&str]) -> (Child, Line) {
    let demo = Path::new(env!("CARGO_BIN_EXE_cube-demo"));
    for program in ["cube-admin", "cube-proxy"] {
        assert!(
            demo.with_file_name(program).is_file(),
            "{program} is missing: cargo build --workspace --bins"
        );
    }
    let mut child = Command::new(demo)
        .args([
            "--no-build",
            "--json",
            "--port",
            "0",
            "--https-port",
            "0",
            "--ops-port",
            "0",
            "--admin-port",
            "0",
            "--admin-ops-port",
            "0",
            "--cores",
            "1",
        ])
        .args(arguments)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut text = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut text).unwrap();
    let line = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text:?}"));
    (child, line)
}

fn end(mut demo: Child, signal: Signal) {
    kill_process(pid(demo.id()), signal).unwrap();
    assert!(demo.wait().unwrap().success());
}

fn pid(id: u32) -> Pid {
    Pid::from_raw(i32::try_from(id).unwrap()).unwrap()
}

fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The status of a chat through the proxy.
fn chat(line: &Line, pat: &str) -> u16 {
    let origin = Origin::parse(&line.origin).unwrap();
    let body = format!(r#"{{"model":"{}","messages":[{{"role":"user","content":"hi"}}]}}"#, line.model);
    let path = format!("/proxy/{}/v1/chat/completions", line.domain);
    let fields = format!("authorization: Bearer {pat}\r\n");
    fetch::post(origin.address().unwrap(), &origin.authority, &path, &fields, &body).unwrap().status
}

/// Whether any file below holds the text.
fn holds(directory: &Path, text: &str) -> Option<PathBuf> {
    for entry in std::fs::read_dir(directory).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            if let Some(found) = holds(&path, text) {
                return Some(found);
            }
        } else if std::fs::read(&path).unwrap().windows(text.len()).any(|window| window == text.as_bytes()) {
            return Some(path);
        }
    }
    None
}

#[test]
fn one_line_tells_all_every_pat_does_what_it_is_there_for_and_secrets_stay_in_one_file() {
    let (demo, line) = start(&[]);
    assert_eq!(
        (line.domain.as_str(), line.model.as_str(), line.user.as_str()),
        ("demo", "demo-model", "admin")
    );
    let refused = &line.refused;
    for (pat, status) in [
        (&line.pat, 200),
        (&refused.revoked, 401),
        (&refused.expired, 401),
        (&refused.wrong_scope, 403),
        (&refused.wrong_domain, 404),
    ] {
        assert_eq!(chat(&line, pat), status);
    }
    // One origin: the proxy serves admin's API as well, and the password is admin's.
    for url in [&line.admin, &line.origin] {
        let origin = Origin::parse(url).unwrap();
        let login = format!(r#"{{"username":"{}","password":"{}"}}"#, line.user, line.password);
        let answer =
            fetch::post(origin.address().unwrap(), &origin.authority, "/users/tokens/issue", "", &login);
        assert_eq!(answer.unwrap().status, 201, "{url}");
    }
    let kept = line.state.join("demo.json");
    assert_eq!(std::fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o600);
    std::fs::remove_file(kept).unwrap();
    for secret in [&line.pat, &refused.wrong_scope, &line.password] {
        assert_eq!(holds(&line.state, secret), None);
    }
    end(demo, Signal::INT);
    for id in [line.proxy_pid, line.admin_pid] {
        wait_until("both have ended", || test_kill_process(pid(id)).is_err());
    }
    assert!(!line.state.exists(), "the temporary state is removed");
}

#[test]
fn a_named_state_keeps_its_pats_and_a_real_upstream_names_its_models() {
    let scratch = Scratch::new("state");
    let state = scratch.0.join("kept");
    let options = cube_loadtest::mock::Options {
        models: vec!["first".to_owned(), "second".to_owned()],
        ..Default::default()
    };
    let mut pats = Vec::new();
    for _ in 0..2 {
        // Another port each time: the kept deployment has to follow it.
        let upstream = cube_loadtest::mock::Mock::start(&options).unwrap();
        let url = format!("http://{}/v1/", upstream.address());
        let (demo, line) = start(&["--state", state.to_str().unwrap(), "--upstream", &url]);
        assert_eq!(line.models, ["first", "second"]);
        assert_eq!(line.upstream, format!("http://{}", upstream.address()));
        wait_until("the deployment of this run", || chat(&line, &line.pat) == 200);
        pats.push(line.pat.clone());
        end(demo, Signal::TERM);
    }
    assert_eq!(pats[0], pats[1]);
    assert!(state.join("proxy.toml").exists());
}

#[test]
fn a_demo_that_is_killed_leaves_no_process_behind() {
    let (mut demo, line) = start(&[]);
    demo.kill().unwrap();
    demo.wait().unwrap();
    for id in [line.proxy_pid, line.admin_pid] {
        wait_until("both have ended", || test_kill_process(pid(id)).is_err());
    }
    let _ = std::fs::remove_dir_all(&line.state);
}

#[test]
fn a_program_that_does_not_start_is_told_with_what_it_said() {
    let scratch = Scratch::new("broken");
    let mock = env!("CARGO_BIN_EXE_cube-mock");
    std::os::unix::fs::symlink(mock, scratch.0.join("cube-mock")).unwrap();
    for name in ["cube-admin", "cube-proxy"] {
        let program = scratch.0.join(name);
        let script = "#!/bin/sh\n[ \"$3\" = user ] && exit 0\necho no such key: x >&2; exit 3\n";
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let output = Command::new(env!("CARGO_BIN_EXE_cube-demo"))
        .args(["--json", "--bin-dir"])
        .arg(&scratch.0)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && output.stdout.is_empty());
    assert!(text.contains("no such key: x"), "{text}");
}
