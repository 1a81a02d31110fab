//! Two cube-admins on one database. Ignored without a PostgreSQL server of the tests' own: `tests/postgres/run.sh` has one, and runs them.

use std::io::{BufRead as _, BufReader};

use crate::pats::make;
use crate::prefer::{report, revoke};
use crate::support::{Server, Value, json, node_token};

fn pair() -> (Server, Server) {
    let one = Server::start();
    let other = one.replica();
    (one, other)
}

#[test]
#[ignore = "needs PostgreSQL: tests/postgres/run.sh"]
fn who_logs_in_at_one_replica_is_known_at_the_other() {
    let (one, other) = pair();
    let (_, token) = one.add_user("ada");
    let profile = other.call("GET", "/users/profile", &token, None).expect(200);
    assert_eq!(profile["credentials"]["username"], "ada");
    let active = one.texts("SELECT id FROM signing_keys WHERE state = 'active'");
    assert_eq!(active.len(), 1, "{active:?}");
    // What is taken at one is taken at the other.
    let again = json!({ "credentials": { "username": "ADA", "secret": "something long" } });
    other.admin_call("POST", "/users", Some(&again)).expect(409);
}

#[test]
#[ignore = "needs PostgreSQL: tests/postgres/run.sh"]
fn changes_at_both_replicas_make_one_history_that_both_tell() {
    const EACH: usize = 20;
    let (one, other) = pair();
    let before = one.snapshot().len();
    std::thread::scope(|scope| {
        for (server, prefix) in [(&one, "a"), (&other, "b")] {
            scope.spawn(move || {
                for nth in 0..EACH {
                    server.add_user(&format!("{prefix}{nth}"));
                }
            });
        }
    });
    let told = [&one, &other].map(|server| {
        let mut records: Vec<String> = server.snapshot().iter().map(Value::to_string).collect();
        records.sort();
        records
    });
    assert_eq!(told[0].len(), before + 2 * EACH);
    assert_eq!(told[0], told[1]);
    let gaps = "SELECT CAST(COUNT(DISTINCT generation) - MAX(generation) AS TEXT) FROM change_log";
    assert_eq!(one.texts(gaps), ["0"], "every generation is in the log");
}

/// Goal: a feed of one replica tells what was changed at the other. Method: the stream stays open over the change, and over the loss of every
/// connection that the replica has to the database.
#[test]
#[ignore = "needs PostgreSQL: tests/postgres/run.sh"]
fn a_feed_tells_what_was_changed_at_the_other_replica() {
    let (one, other) = pair();
    let url = format!("{}/feed/v1/tables?node=asking", other.feed);
    let request = ureq::get(url).header("authorization", format!("Bearer {}", node_token(&other)));
    let reader = BufReader::new(request.call().expect("the feed opens").into_body().into_reader());
    let mut lines = reader.lines().map(|line| line.expect("a line"));
    let mut wait_for =
        |name: &str| lines.find(|line| line.contains(&format!("\"name\":\"{name}\""))).expect(name);
    one.add_user("ada");
    wait_for("ada");
    let lost = "SELECT CAST(pg_terminate_backend(pid) AS TEXT) FROM pg_stat_activity \
         WHERE application_name = 'cube-admin' AND datname = current_database()";
    let lost = one.texts(lost);
    assert!(lost.len() > 4 && lost.iter().all(|done| done == "true"), "{lost:?}");
    // Whoever meets a connection that is gone is told so once, and the next one gets a new one.
    let again = json!({ "credentials": { "username": "bob", "secret": "something long" } });
    let statuses: Vec<u16> = std::iter::repeat_with(|| one.admin_call("POST", "/users", Some(&again)).status)
        .take(50)
        .take_while(|status| *status != 409)
        .collect();
    assert!(statuses.contains(&201), "{statuses:?}");
    assert!(other.snapshot().iter().any(|record| record["name"] == "bob"));
    // And is heard again: the node that tells the one is known at the other.
    report(&one, &one.epoch(), 1);
    while !other.admin_call("GET", "/api/v1/nodes", None).expect(200).to_string().contains("proxy-1") {
        std::thread::yield_now();
        report(&one, &one.epoch(), 1);
    }
}

/// Goal: whoever waits at one replica for all proxies to have a change waits for those that report to the other, and no longer.
#[test]
#[ignore = "needs PostgreSQL: tests/postgres/run.sh"]
fn a_wait_at_one_replica_is_for_nodes_of_the_other_too() {
    let (one, other) = pair();
    let (_, token) = one.add_user("ada");
    let (id, _) = make(&one, &token, &json!({ "name": "a", "duration": "1h" }));
    let epoch = one.epoch();
    report(&other, &epoch, 1);
    while !one.admin_call("GET", "/api/v1/nodes", None).expect(200).to_string().contains("proxy-1") {
        std::thread::yield_now();
    }
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| revoke(&one, &token, &id, "wait=40"));
        // It says what it holds again and again, as a proxy does, until it has been revoked and for a while after that.
        let revoked = || one.texts("SELECT name FROM pats WHERE revoked_at IS NOT NULL").len() == 1;
        while !revoked() {
            report(&other, &epoch, 1);
        }
        for _ in 0..50 {
            report(&other, &epoch, 1);
        }
        assert!(!waiting.is_finished(), "nobody was waited for");
        report(&other, &epoch, 1_000);
        let answer = waiting.join().expect("an answer");
        assert_eq!(answer.header("preference-applied"), Some("wait=40"));
        assert_eq!(answer.header("x-cube-pending-nodes"), None);
    });
}

/// Goal: who guesses has no more attempts at two replicas than at one. Method: all but one are used up at one of them; the other, which lets as
/// many pass, says no before they are used up there.
#[test]
#[ignore = "needs PostgreSQL: tests/postgres/run.sh"]
fn failed_logins_at_one_replica_count_at_the_other() {
    const ATTEMPTS: usize = 10;
    let (one, other) = pair();
    let wrong = |server: &Server| {
        let login = json!({ "username": "nobody", "password": "a wrong password" });
        server.call("POST", "/users/tokens/issue", "", Some(&login)).status
    };
    for _ in 1..ATTEMPTS {
        assert_eq!(wrong(&one), 401);
    }
    // It hears of them a moment later.
    let refused = (1..ATTEMPTS).find(|_| {
        std::thread::sleep(std::time::Duration::from_millis(200));
        wrong(&other) == 429
    });
    assert!(refused.is_some(), "each counts for itself");
}
