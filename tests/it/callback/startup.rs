//! Which settings a proxy starts with: C1, and what goes before what.

use std::process::Command;

use super::{KEY, assert_coded, open, says, yes};
use crate::support::{Launch, Proxy, Upstream, get, json_answer};

/// Starts it, and gives back what it says instead of starting.
fn refusal_of(mut command: Command) -> String {
    let output = command.output().unwrap();
    assert!(!output.status.success(), "it started");
    String::from_utf8(output.stderr).unwrap()
}

fn start_with(launch: &Launch, change: impl FnOnce(&mut Command)) -> Proxy {
    let mut command = launch.command();
    change(&mut command);
    Proxy::adopt(launch.clone(), command.spawn().unwrap())
}

#[test]
fn open_to_everybody_only_if_that_is_said() {
    let api = Upstream::bind();
    for address in ["0.0.0.0:0", "[::]:0", "10.0.0.1:0"] {
        let mut launch = open(&api);
        launch.settings.set("passthrough.address", address);
        let said = refusal_of(launch.command());
        assert!(said.contains("passthrough.address: without auth_callback_url everybody"), "{said}");
    }
    let mut launch = open(&api);
    launch
        .settings
        .set("passthrough.address", "0.0.0.0:0")
        .set("passthrough.plain_beyond_loopback", true)
        .set("passthrough.open_beyond_loopback", true);
    drop(launch.start());
    let mut launch = open(&api);
    launch
        .settings
        .set("passthrough.address", "0.0.0.0:0")
        .set("passthrough.plain_beyond_loopback", true)
        .set("passthrough.auth_callback_url", "http://127.0.0.1:9/verify");
    drop(launch.start());
}

#[test]
fn credentials_cross_a_network_in_the_clear_only_if_that_is_said() {
    let api = Upstream::bind();
    let mut launch = open(&api);
    launch
        .settings
        .set("passthrough.address", "0.0.0.0:0")
        .set("passthrough.auth_callback_url", "http://127.0.0.1:9/verify");
    let said = refusal_of(launch.command());
    assert!(said.contains("passthrough.address: credentials would cross a network in the clear"), "{said}");
    launch.settings.set("passthrough.tls", true);
    let said = refusal_of(launch.command());
    assert!(said.contains("passthrough.tls: needs tls.certificates"), "{said}");
}

#[test]
fn the_command_line_goes_before_the_environment_and_that_before_the_file() {
    let api = Upstream::bind();
    let url = |callback: &Upstream| format!("{}/verify", callback.url());
    let callbacks = [Upstream::bind(), Upstream::bind(), Upstream::bind()];
    let [file, environment, line] = callbacks.each_ref().map(url);
    let mut launch = open(&api);
    launch.settings.set("passthrough.auth_callback_url", file);
    api.answer(|_| json_answer("{}"));
    let seen = callbacks.map(|callback| callback.answer(|_| yes()));
    for (place, proxy) in [
        (0, start_with(&launch, |_| {})),
        (
            0,
            start_with(&launch, |command| {
                command.env("AUTH_CALLBACK_URL", "");
            }),
        ),
        (
            1,
            start_with(&launch, |command| {
                command.env("AUTH_CALLBACK_URL", &environment);
            }),
        ),
        (
            2,
            start_with(&launch, |command| {
                command.env("AUTH_CALLBACK_URL", &environment).args(["--auth-callback-url", &line]);
            }),
        ),
    ] {
        let mut caller = proxy.cross();
        caller.send(get("/a", KEY));
        assert_eq!(caller.response().status(), 200);
        assert_eq!(seen[place].try_iter().count(), 1, "{place}");
        // One directory serves all of them.
        drop(proxy.kill());
    }
}

#[test]
fn a_callback_is_never_the_callers_to_choose_nor_one_that_cannot_be_asked() {
    let api = Upstream::bind();
    for (url, why) in [
        ("ftp://127.0.0.1:1/verify", "http://"),
        ("http://u:pa55@127.0.0.1:1/verify", "user or password"),
        ("verify", "http://"),
    ] {
        let mut launch = open(&api);
        launch.settings.set("passthrough.auth_callback_url", url);
        let said = refusal_of(launch.command());
        assert!(said.contains("passthrough.auth_callback_url: ") && said.contains(why), "{said}");
        assert!(!said.contains("pa55"), "{said}");
    }
}

#[test]
fn a_callback_without_a_listener_for_it_is_no_listener_with_a_callback() {
    let launch = Launch::of(&crate::support::World::default());
    let mut command = launch.command();
    command.args(["--auth-callback-url", "http://127.0.0.1:1/verify"]);
    let said = refusal_of(command);
    assert!(said.contains("does nothing without passthrough.address"), "{said}");
}

/// Nothing on a passthrough listener is decided with tables.
#[test]
fn a_proxy_that_only_passes_requests_through_is_ready_without_tables() {
    let api = Upstream::bind();
    let mut launch = open(&api);
    launch.settings.unset("tables.file");
    assert_eq!(launch.start().ops("/readyz").status(), 200);
    let with_tables = open(&api);
    assert_eq!(with_tables.start().ops("/readyz").status(), 503, "tables are named, and hold nothing");
}

#[test]
fn a_proxy_that_ends_lets_go_of_this_listener_too() {
    let api = Upstream::bind();
    let launch = open(&api);
    let mut proxy = launch.start();
    let mut caller = proxy.cross();
    caller.send(get("/a", ""));
    let mut served = api.accept();
    served.request();
    proxy.signal(rustix::process::Signal::TERM);
    served.send(says(200));
    assert_eq!(caller.response().status(), 200);
    assert!(proxy.wait_for_exit().success());
    let mut late = match std::net::TcpStream::connect(proxy.passthrough.unwrap()) {
        Err(_) => return,
        Ok(stream) => crate::support::Connection::from(stream),
    };
    late.wait_for_end();
}

#[test]
fn the_callback_s_failure_is_none_of_the_health_path_s_business() {
    let (api, gone) = (Upstream::bind(), Upstream::bind());
    let mut launch = open(&api);
    launch.settings.set("passthrough.auth_callback_url", gone.url());
    drop(gone);
    let proxy = launch.start();
    api.answer(|_| json_answer("{}"));
    let mut caller = proxy.cross();
    caller.send(get("/health", ""));
    assert_eq!(caller.response().status(), 200);
    caller.send(get("/sandboxes", KEY));
    assert_coded(&caller.response(), 500, "Auth callback unreachable: no connection");
}
