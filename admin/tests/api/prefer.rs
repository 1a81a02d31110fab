//! `Prefer: wait`: an answer that comes when the change is in force. Row P11's bound.

use std::time::{Duration, Instant};

use cube_wire::feed::{CoreAdoption, NodeReport};

use crate::pats::make;
use crate::support::{Answer, Server, json, post_to_feed};

/// Says, as a node, which generation its one core has in force.
pub(crate) fn report(server: &Server, epoch: &str, generation: u64) {
    let core = CoreAdoption { generation, ..CoreAdoption::default() };
    let (node, epoch) = ("proxy-1".to_owned(), epoch.to_owned());
    let report = NodeReport { node, epoch, generation, cores: vec![core], ..NodeReport::default() };
    let report = serde_json::to_string(&report).expect("JSON");
    assert_eq!(post_to_feed(server, "/feed/v1/node", &report).status, 204);
}

pub(crate) fn revoke(server: &Server, token: &str, id: &str, prefer: &str) -> Answer {
    let authorization = format!("Bearer {token}");
    let headers = [("authorization", &*authorization), ("prefer", prefer)];
    let answer = server.raw("PATCH", &format!("/pats/{id}/secret/revoke"), &headers, b"");
    assert_eq!(answer.status, 204, "{}", answer.text);
    answer
}

/// P11
#[test]
fn a_revocation_waits_for_the_nodes_and_names_those_that_did_not_follow() {
    let server = Server::start();
    let (_, token) = server.add_user("ada");
    let new = |name: &str| json!({ "name": name, "duration": "1h" });
    let (id, _) = make(&server, &token, &new("a"));
    // No node is connected: nobody is waited for.
    let answer = revoke(&server, &token, &id, "wait=30");
    assert_eq!(
        (answer.header("preference-applied"), answer.header("x-cube-pending-nodes")),
        (Some("wait=30"), None)
    );
    let generation: u64 =
        answer.header("x-cube-generation").expect("a generation").parse().expect("a number");

    report(&server, "another database", generation);
    let started = Instant::now();
    let (id, _) = make(&server, &token, &new("b"));
    let answer = revoke(&server, &token, &id, "respond-async, wait=1");
    assert!(started.elapsed() >= Duration::from_secs(1));
    assert_eq!(answer.header("x-cube-pending-nodes"), Some("proxy-1"));
    assert_eq!(server.call("GET", &format!("/pats/{id}"), &token, None).expect(200)["status"], "revoked");

    // Without the wish, or on what changes nothing, nobody waits.
    let answer = revoke(&server, &token, &id, "return=minimal");
    assert_eq!((answer.header("preference-applied"), answer.header("x-cube-generation")), (None, None));
    let authorization = format!("Bearer {token}");
    let headers = [("authorization", &*authorization), ("prefer", "wait=30")];
    assert_eq!(server.raw("GET", "/pats", &headers, b"").header("preference-applied"), None);
}

/// P11
#[test]
fn the_answer_comes_as_soon_as_the_last_core_has_the_change() {
    let server = Server::start();
    let (_, token) = server.add_user("ada");
    let (id, _) = make(&server, &token, &json!({ "name": "a", "duration": "1h" }));
    let epoch = server.epoch();
    report(&server, &epoch, 1);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| (revoke(&server, &token, &id, "wait=40"), Instant::now()));
        std::thread::sleep(Duration::from_millis(600));
        assert!(!waiting.is_finished());
        report(&server, &epoch, 1_000);
        let adopted = Instant::now();
        let (answer, answered) = waiting.join().expect("an answer");
        assert_eq!(answer.header("x-cube-pending-nodes"), None);
        // Long before the 40 seconds are over.
        assert!(answered.saturating_duration_since(adopted) < Duration::from_secs(30));
    });
}
