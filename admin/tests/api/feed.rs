//! The feed, as a proxy sees it.

use std::io::{BufRead as _, BufReader};

use cube_wire::feed::{ChangeLine, Checksum, Frame, NodeReport};
use cube_wire::{Key, Record};

use crate::support::{Server, Value, json, node_token, post_to_feed as post, request};

/// One frame with its lines.
struct Whole {
    heading: Frame,
    lines: Vec<String>,
}

/// An open feed.
struct Feed(Box<dyn std::io::BufRead>);

impl Feed {
    fn open(server: &Server, query: &str) -> Self {
        let token = node_token(server);
        let url = format!("{}/feed/v1/tables?node=test{query}", server.feed);
        let request = ureq::get(url).header("authorization", format!("Bearer {token}"));
        let response = request.call().expect("the feed opens");
        Self(Box::new(BufReader::new(response.into_body().into_reader())))
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        (self.0.read_line(&mut line).unwrap_or(0) > 0).then(|| line.trim_end().to_owned())
    }

    /// The next snapshot, delta or heartbeat, with its checksum verified.
    fn next(&mut self) -> Option<Whole> {
        let heading = Frame::from_line(self.line()?.as_bytes()).expect("a heading").expect("a good one");
        if matches!(heading, Frame::Heartbeat { .. }) {
            return Some(Whole { heading, lines: Vec::new() });
        }
        let (mut lines, mut checksum) = (Vec::new(), Checksum::new());
        loop {
            let line = self.line().expect("a whole frame");
            if let Some(end) = Frame::from_line(line.as_bytes()) {
                assert_eq!(end.expect("a good one"), checksum.end());
                return Some(Whole { heading, lines });
            }
            checksum.add(line.as_bytes());
            lines.push(line);
        }
    }

    fn next_delta(&mut self) -> Whole {
        loop {
            let frame = self.next().expect("the feed goes on");
            if matches!(frame.heading, Frame::Delta { .. }) {
                return frame;
            }
        }
    }
}

fn position(frame: &Whole) -> (String, u64) {
    match &frame.heading {
        Frame::Snapshot { epoch, generation, .. }
        | Frame::Delta { epoch, generation, .. }
        | Frame::Heartbeat { epoch, generation, .. } => (epoch.clone(), *generation),
        Frame::End { .. } => panic!("not the beginning of a frame"),
    }
}

#[test]
fn a_node_gets_everything_and_then_every_change_as_it_is_made() {
    let server = Server::start();
    let mut feed = Feed::open(&server, "");
    let snapshot = feed.next().expect("a snapshot");
    assert!(matches!(snapshot.heading, Frame::Snapshot { .. }));
    let records: Vec<_> =
        snapshot.lines.iter().map(|line| Record::from_line(line.as_bytes()).unwrap().unwrap()).collect();
    assert!(records.iter().any(|record| matches!(record, Record::Key(_))));
    assert!(records.iter().any(|record| matches!(record, Record::User(user) if user.superadmin)));

    let (ada, _) = server.add_user("ada");
    let delta = feed.next_delta();
    let Frame::Delta { base, generation, .. } = delta.heading else { panic!("a delta") };
    assert_eq!((base, generation), (position(&snapshot).1, base + 1));
    let change = ChangeLine::from_line(delta.lines[0].as_bytes()).unwrap().unwrap();
    assert!(matches!(change, ChangeLine::Put(Record::User(user)) if user.id.to_string() == ada));

    server.admin_call("DELETE", &format!("/users/{ada}"), None).expect(204);
    let delta = feed.next_delta();
    let change = ChangeLine::from_line(delta.lines[0].as_bytes()).unwrap().unwrap();
    assert!(matches!(change, ChangeLine::Remove(Key::User(id)) if id.to_string() == ada));
}

#[test]
fn a_node_that_was_away_gets_what_it_missed_also_across_a_restart() {
    let mut server = Server::start();
    let (epoch, generation) = position(&Feed::open(&server, "").next().expect("a snapshot"));
    server.add_user("ada");
    server.kill_and_restart();
    server.add_user("bob");
    let mut feed = Feed::open(&server, &format!("&epoch={epoch}&since={generation}"));
    for step in 1..=2 {
        let delta = feed.next().expect("what it missed");
        assert!(matches!(delta.heading, Frame::Delta { .. }));
        assert_eq!(position(&delta), (epoch.clone(), generation + step));
    }
    // A node with tables of another database, or none of ours, starts anew.
    for query in ["&epoch=other&since=1", "&epoch=other"] {
        assert!(matches!(Feed::open(&server, query).next().unwrap().heading, Frame::Snapshot { .. }));
    }
}

#[test]
fn a_node_that_is_ahead_of_the_database_begins_a_new_epoch_for_all() {
    let server = Server::start();
    let mut other = Feed::open(&server, "");
    let (epoch, generation) = position(&other.next().expect("a snapshot"));
    let ahead = generation + 7;
    let snapshot = Feed::open(&server, &format!("&epoch={epoch}&since={ahead}")).next().expect("a snapshot");
    assert!(matches!(snapshot.heading, Frame::Snapshot { .. }));
    assert_ne!(position(&snapshot).0, epoch);
    // The feed of the other node ends, so that it comes back and learns of it.
    while other.next().is_some() {}
}

#[test]
fn a_change_log_that_was_pruned_is_made_up_for_by_a_snapshot() {
    let mut server = Server::start_with("[keep]\ngenerations = 1\n");
    let (epoch, generation) = position(&Feed::open(&server, "").next().expect("a snapshot"));
    for name in ["ada", "bob", "eve"] {
        server.add_user(name);
    }
    // Pruning happens at start and now and then.
    server.kill_and_restart();
    let patience = std::time::Instant::now() + std::time::Duration::from_secs(30);
    let frame = loop {
        let query = format!("&epoch={epoch}&since={generation}");
        let frame = Feed::open(&server, &query).next().expect("what was missed");
        if matches!(frame.heading, Frame::Snapshot { .. }) {
            break frame;
        }
        assert!(std::time::Instant::now() < patience, "the log is not pruned: {:?}", frame.heading);
        std::thread::sleep(std::time::Duration::from_millis(50));
    };
    assert_eq!(position(&frame), (epoch, generation + 3));
}

#[test]
fn only_the_fleet_is_served_and_the_api_has_no_feed() {
    let server = Server::start();
    let url = format!("{}/feed/v1/tables?node=test", server.feed);
    for headers in [&[][..], &[("authorization", "Bearer wrong")], &[("authorization", "Basic eDp5")]] {
        request(&url, "GET", headers, b"").expect_error(401);
    }
    let admin = format!("Bearer {}", server.admin);
    request(&url, "GET", &[("authorization", &admin)], b"").expect_error(401);
    server.admin_call("GET", "/feed/v1/tables?node=test", None).expect_error(404);
    assert_eq!(post(&server, "/feed/v1/node", "{").status, 400);
    let bad_name = json!({ "node": "a b", "boot": "1", "version": "", "started_ms": 0, "address": "", "epoch": "", "generation": 0, "cores": [] });
    assert_eq!(post(&server, "/feed/v1/node", &bad_name.to_string()).status, 400);
}

#[test]
fn nodes_are_shown_with_what_they_adopted() {
    let server = Server::start();
    let (epoch, generation) = position(&Feed::open(&server, "").next().expect("a snapshot"));
    let core = |generation| cube_wire::feed::CoreAdoption { generation, ..Default::default() };
    let report = NodeReport {
        node: "proxy-1".into(),
        epoch,
        generation,
        cores: vec![core(generation), core(generation - 1)],
        ..NodeReport::default()
    };
    assert_eq!(post(&server, "/feed/v1/node", &serde_json::to_string(&report).unwrap()).status, 204);
    let nodes = server.admin_call("GET", "/api/v1/nodes", None).expect(200);
    let node = &nodes["nodes"][0];
    assert_eq!(
        (node["name"].as_str(), node["lag"].as_u64(), node["connected"].as_bool()),
        (Some("proxy-1"), Some(1), Some(true))
    );
    server.admin_call("DELETE", "/api/v1/nodes/proxy-1", None).expect_error(409);
    server.admin_call("DELETE", "/api/v1/nodes/proxy-2", None).expect_error(404);
    let (_, ada) = server.add_user("ada");
    server.call("GET", "/api/v1/nodes", &ada, None).expect_error(403);
}

#[test]
fn usage_is_stored_once_however_often_it_is_told() {
    let server = Server::start();
    let record = |seq: u64| -> Value {
        json!({ "seq": seq, "request_id": format!("r{seq}"), "at_ms": 1_700_000_000_000_u64 + seq, "method": "POST",
            "path": "/v1/chat/completions", "status": 200, "ending": "complete", "bytes_in": 10, "bytes_out": 20,
            "prompt_tokens": 3, "completion_tokens": 4, "duration_us": 5 })
    };
    let batch = |seqs: std::ops::Range<u64>| seqs.map(|seq| format!("{}\n", record(seq))).collect::<String>();
    for (boot, seqs) in [("a", 1..4), ("a", 1..4), ("a", 3..6), ("b", 1..2)] {
        assert_eq!(post(&server, &format!("/feed/v1/usage?node=n&boot={boot}"), &batch(seqs)).status, 204);
    }
    // What cannot be read does not keep the rest back.
    let damaged = format!("{{\"seq\":\n{}", batch(2..3));
    assert_eq!(post(&server, "/feed/v1/usage?node=n&boot=b", &damaged).status, 204);
    let stored = server.texts("SELECT CAST(COUNT(*) AS TEXT) FROM usage").join(";");
    let summed = server
        .texts("SELECT requests || ' ' || prompt_tokens || ' ' || completion_tokens FROM usage_hourly")
        .join(";");
    assert_eq!((&*stored, &*summed), ("7", "7 21 28"));
}
