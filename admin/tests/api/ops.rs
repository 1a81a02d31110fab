//! The ops listener: what is counted, and how things are.

use std::collections::BTreeMap;

use cube_wire::feed::{CoreAdoption, NodeReport};

use crate::support::{Server, json, post_to_feed, request};

/// A scrape: each line's name with its labels, and its figure.
pub(crate) struct Scrape(BTreeMap<String, f64>);

impl Scrape {
    pub(crate) fn of(server: &Server) -> Self {
        let answer = request(&format!("{}/metrics", server.ops), "GET", &[], b"");
        assert_eq!(answer.status, 200);
        let media_type = answer.header("content-type").unwrap_or_default();
        assert!(media_type.starts_with("application/openmetrics-text"), "{media_type}");
        assert!(answer.text.ends_with("# EOF\n"), "a whole page");
        let figures = answer.text.lines().filter(|line| !line.starts_with('#')).map(|line| {
            let (name, figure) = line.rsplit_once(' ').expect("a name and a figure");
            (name.to_owned(), figure.parse().expect("a number"))
        });
        Self(figures.collect())
    }

    /// What stands behind this name; nothing is zero.
    pub(crate) fn figure(&self, name: &str) -> f64 {
        self.0.get(name).copied().unwrap_or_default()
    }

    #[track_caller]
    fn expect(&self, name: &str, figure: f64) {
        assert!((self.figure(name) - figure).abs() < 1e-9, "{name} is {}", self.figure(name));
    }
}

#[test]
fn what_happens_is_counted() {
    let server = Server::start();
    let before = Scrape::of(&server);
    before.expect(r#"cube_admin_logins_total{way="password",outcome="accepted"}"#, 1.0);
    let domain = server.admin_call("POST", "/domains", Some(&json!({ "name": "a", "route": "a" })));
    assert_eq!(domain.status, 201);
    let wrong = json!({ "username": "admin", "password": "not this" });
    server.call("POST", "/users/tokens/issue", "", Some(&wrong)).expect_error(401);
    server.call("GET", "/pats", "nonsense", None).expect_error(401);
    let after = Scrape::of(&server);
    after.expect(r#"cube_admin_logins_total{way="password",outcome="refused"}"#, 1.0);
    after.expect(r#"cube_admin_requests_total{surface="domains",status_class="2xx"}"#, 1.0);
    after.expect(r#"cube_admin_requests_total{surface="pats",status_class="4xx"}"#, 1.0);
    after.expect(r#"cube_admin_request_duration_seconds_count{surface="domains"}"#, 1.0);
    let grown = |name: &str| after.figure(name) - before.figure(name);
    assert!(grown("cube_admin_generation") >= 1.0, "a domain is published");
    assert!(grown("cube_admin_change_duration_seconds_count") >= 2.0, "the domain, and the failed login");
    assert!(grown("cube_admin_change_wait_seconds_count") >= 2.0);
    for name in [
        "cube_admin_database_up",
        "cube_admin_database_bytes{file=\"main\"}",
        "cube_admin_upkeep_last_success_timestamp_seconds",
        "process_resident_memory_bytes",
        "process_open_fds",
        "process_start_time_seconds",
    ] {
        assert!(after.figure(name) > 0.0, "{name}");
    }
}

#[test]
fn proxies_and_what_they_tell_are_counted() {
    let server = Server::start();
    let stranger = request(&format!("{}/feed/v1/node", server.feed), "POST", &[], b"{}");
    assert_eq!(stranger.status, 401);
    // Asks the feed for everything, and hangs up.
    let epoch = server.epoch();
    let generation = Scrape::of(&server).figure("cube_admin_generation");
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small count")]
    let generation = generation as u64;
    let report = |node: &str, generation: u64| {
        let cores = vec![CoreAdoption { generation, ..CoreAdoption::default() }];
        let report =
            NodeReport { node: node.into(), epoch: epoch.clone(), generation, cores, ..Default::default() };
        let told = post_to_feed(&server, "/feed/v1/node", &serde_json::to_string(&report).expect("JSON"));
        assert_eq!(told.status, 204);
    };
    report("current", generation);
    report("behind", generation - 1);
    let record = json!({ "seq": 1, "request_id": "r", "at_ms": 1_767_225_600_000_u64, "method": "POST", "path": "/", "status": 200,
        "ending": "complete", "bytes_in": 1, "bytes_out": 1, "duration_us": 1 });
    for _ in 0..2 {
        let told = post_to_feed(&server, "/feed/v1/usage?node=n&boot=b", &format!("{record}\nnonsense\n"));
        assert_eq!(told.status, 204);
    }
    let scrape = Scrape::of(&server);
    scrape.expect("cube_admin_feed_refusals_total", 1.0);
    scrape.expect("cube_admin_feed_snapshots_total", 1.0);
    scrape.expect(r#"cube_admin_nodes{state="connected"}"#, 2.0);
    scrape.expect(r#"cube_admin_nodes{state="away"}"#, 0.0);
    scrape.expect(r#"cube_admin_node_lag_generations{node="current"}"#, 0.0);
    scrape.expect(r#"cube_admin_node_lag_generations{node="behind"}"#, 1.0);
    assert!(scrape.figure(r#"cube_admin_node_last_seen_timestamp_seconds{node="behind"}"#) > 1.7e9);
    scrape.expect(r#"cube_admin_usage_records_total{outcome="stored"}"#, 1.0);
    scrape.expect(r#"cube_admin_usage_records_total{outcome="repeated"}"#, 1.0);
    scrape.expect(r#"cube_admin_usage_records_total{outcome="unreadable"}"#, 2.0);
}

#[test]
fn monitoring_has_an_address_of_its_own() {
    let server = Server::start();
    let get = |origin: &str, path: &str| request(&format!("{origin}{path}"), "GET", &[], b"").status;
    assert_eq!((get(&server.ops, "/livez"), get(&server.ops, "/readyz")), (200, 200));
    assert_eq!(get(&server.ops, "/users"), 404);
    assert_eq!((get(&server.api, "/metrics"), get(&server.api, "/readyz")), (404, 404));
}
