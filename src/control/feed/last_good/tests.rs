//! The file of last good tables: written, cut, damaged, loaded.

use std::net::Ipv4Addr;
use std::sync::mpsc::channel;

use cube_wire::feed::{ChangeLine, Checksum, Frame};
use cube_wire::pat::{PatIds, mint};
use cube_wire::record::{UserRecord, UserStatus};
use cube_wire::{DomainId, Operation, PatId, Record, UserId};

use super::*;
use crate::control::names::{PATIENCE, SystemResolver};
use crate::tables::{Verifier, digest_of};

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("cube-proxy-last-good-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("a writable place");
        Self(path)
    }

    fn load(&self) -> Result<Remembered, NotLoaded> {
        let key = FleetKey::generate().expect("randomness");
        load(&self.0, &key, &mut KnownNames::new(&mut SystemResolver::default(), PATIENCE))
    }

    fn write(&self, bytes: &[u8]) {
        fs::write(path_in(&self.0), bytes).expect("our file");
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn user(number: u8) -> String {
    let record = UserRecord {
        id: UserId::from_bytes([number; 16]),
        name: None,
        status: UserStatus::Enabled,
        superadmin: false,
    };
    Record::User(record).to_line()
}

fn frame(heading: &Frame, lines: &[String]) -> Vec<u8> {
    let mut bytes = heading.to_line().into_bytes();
    let mut sum = Checksum::new();
    for line in lines {
        sum.add(line.as_bytes());
        bytes.extend_from_slice(line.as_bytes());
        bytes.push(b'\n');
    }
    bytes.extend_from_slice(sum.end().to_line().as_bytes());
    bytes
}

fn snapshot(generation: u64, lines: &[String]) -> Vec<u8> {
    frame(&Frame::Snapshot { epoch: "e".into(), generation, at_ms: 0 }, lines)
}

fn delta(base: u64, lines: &[String]) -> Vec<u8> {
    frame(&Frame::Delta { epoch: "e".into(), base, generation: base + 1, at_ms: 0 }, lines)
}

/// Goal: wherever the file breaks off, what is loaded was in force at some time, or nothing is. Method: every cut.
#[test]
fn a_torn_tail_is_left_out_and_a_torn_snapshot_is_refused() {
    let scratch = Scratch::new("cuts");
    let (first, second) = (delta(1, &[user(2)]), delta(2, &[user(3)]));
    let mut whole = snapshot(1, &[user(1)]);
    let ends = [whole.len(), whole.len() + first.len(), whole.len() + first.len() + second.len()];
    whole.extend(first);
    whole.extend(second);
    for cut in 0..=whole.len() {
        scratch.write(&whole[..cut]);
        let held = ends.iter().rposition(|end| cut >= *end);
        match (scratch.load(), held) {
            (Ok(remembered), Some(at)) => {
                assert_eq!(remembered.tables.generation(), at as u64 + 1, "cut at {cut}");
                assert_eq!(remembered.tables.counts().users, at + 1, "cut at {cut}");
                assert_eq!(remembered.whole_bytes, ends[at] as u64, "cut at {cut}");
            }
            (Err(NotLoaded::Damaged(_)), None) => {
                assert!(!path_in(&scratch.0).exists() && scratch.0.join(ASIDE).exists(), "cut at {cut}");
            }
            (Ok(_), None) => panic!("half a snapshot was loaded at {cut}"),
            (Err(error), _) => panic!("cut at {cut}: {error}"),
        }
    }
}

#[test]
fn one_changed_byte_anywhere_is_found_or_was_only_a_torn_end() {
    let scratch = Scratch::new("bytes");
    let mut whole = snapshot(1, &[user(1)]);
    whole.extend(delta(1, &[user(2)]));
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x04;
        scratch.write(&damaged);
        match scratch.load() {
            // Headings are not part of the sum: another time, number or epoch is still a whole frame.
            Ok(remembered) => {
                let users = remembered.tables.counts().users;
                let heading = !whole[..at].ends_with(b"\n") && {
                    let start = whole[..at].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
                    whole[start..].starts_with(br#"{"frame":"#)
                };
                assert!(heading || users == 1, "byte {at} of a line was taken as it is");
            }
            Err(NotLoaded::Damaged(_)) => assert!(scratch.0.join(ASIDE).exists()),
            Err(error) => panic!("byte {at}: {error}"),
        }
    }
}

#[test]
fn a_delta_that_does_not_follow_damages_the_file() {
    let scratch = Scratch::new("gap");
    for wrong in [delta(2, &[]), snapshot(2, &[])] {
        let mut bytes = snapshot(1, &[]);
        bytes.extend(wrong);
        scratch.write(&bytes);
        assert!(matches!(scratch.load(), Err(NotLoaded::Damaged(_))));
    }
    assert!(matches!(Scratch::new("absent").load(), Err(NotLoaded::Absent)));
}

/// What does not compile is no damage: another version, or another key, may have use for it.
#[test]
fn tables_that_do_not_compile_stay_where_they_are() {
    let scratch = Scratch::new("refused");
    scratch.write(&snapshot(1, &[r#"{"kind":"surprise"}"#.to_owned()]));
    assert!(matches!(scratch.load(), Err(NotLoaded::Refused(_))));
    assert!(path_in(&scratch.0).exists());
}

/// Grants of one pair unite within a transaction and replace each other between transactions, however many are applied together.
#[test]
fn many_deltas_give_what_one_after_the_other_gave() {
    let scratch = Scratch::new("grants");
    let domain = DomainId::from_bytes([9; 16]);
    let grant = |operation: &str| {
        format!(
            r#"{{"kind":"grant","user":"{}","domain":"{domain}","operations":["{operation}"]}}"#,
            UserId::from_bytes([1; 16])
        )
    };
    let domain_line = format!(r#"{{"kind":"domain","id":"{domain}","status":"enabled"}}"#);
    let ids = PatIds { user: UserId::from_bytes([1; 16]), pat: PatId::from_bytes([5; 16]) };
    let secret = mint(ids, &[7; 32]);
    let pat = format!(
        r#"{{"kind":"pat","id":"{}","user":"{}","digest":"{}","full_access":true}}"#,
        ids.pat,
        ids.user,
        digest_of(secret.as_bytes())
    );
    let may = |tables: &Tables, operation: Operation| {
        let who = Verifier::new(1)
            .verify(tables, secret.as_bytes(), 1, Ipv4Addr::LOCALHOST.into())
            .expect("its PAT");
        tables.rights(&who, tables.domain_by_id(domain).expect("defined")).allows(operation)
    };
    let base = [user(1), domain_line, grant("llm_read"), pat];
    let mut bytes = snapshot(1, &base);
    let deltas = [
        vec![grant("llm_create"), grant("llm_update")],
        vec![grant("llm_delete")],
        vec![user(3)],
        vec![ChangeLine::Remove(Key::User(UserId::from_bytes([3; 16]))).to_line()],
        vec![grant("llm_embeddings"), grant("llm_rerank")],
    ];
    let key = FleetKey::generate().expect("randomness");
    let mut resolver = SystemResolver::default();
    let records = base.iter().enumerate().map(|(line, text)| {
        (line + 1, Record::from_line(text.as_bytes()).expect("a record").expect("known"))
    });
    let mut step_by_step =
        Tables::compile(records, 1, &mut KnownNames::new(&mut resolver, PATIENCE)).expect("right");
    for (base, lines) in (1..).zip(&deltas) {
        bytes.extend(delta(base, lines));
        let changes: Vec<_> = lines
            .iter()
            .map(|line| change(line.as_bytes(), &key).expect("a change").expect("known"))
            .collect();
        step_by_step = step_by_step
            .with(&changes, base + 1, &mut KnownNames::new(&mut resolver, PATIENCE))
            .expect("right");
    }
    scratch.write(&bytes);
    let loaded = scratch.load().expect("whole").tables;
    assert_eq!((loaded.generation(), loaded.counts()), (step_by_step.generation(), step_by_step.counts()));
    for &operation in Operation::ALL {
        assert_eq!(may(&loaded, operation), may(&step_by_step, operation), "{}", operation.name());
    }
    assert!(may(&loaded, Operation::LlmRerank) && !may(&loaded, Operation::LlmDelete));
}

fn remembered(state: &Scratch, news: Vec<Remember>, bytes_max: u64) -> bool {
    let wants = Arc::<AtomicBool>::default();
    let loaded = state.load().ok();
    let mut last_good =
        LastGood::new(&state.0, loaded.as_ref(), Arc::clone(&wants)).expect("a writable place");
    last_good.appended_bytes_max = bytes_max;
    let (sender, receiver) = channel();
    news.into_iter().for_each(|news| sender.send(news).expect("it listens"));
    drop(sender);
    last_good.run(&receiver, |error| panic!("{error}"));
    wants.load(Ordering::Relaxed)
}

fn written(state: &Scratch, bytes: &[u8], generation: u64) -> Remember {
    let mut file = SnapshotFile::create(&state.0).expect("a writable place");
    bytes.trim_ascii_end().split(|byte| *byte == b'\n').for_each(|line| file.line(line));
    Remember::Snapshot(file.finish("e".into(), generation).expect("a disk"))
}

fn appended(base: u64, lines: Vec<u8>) -> Remember {
    Remember::Delta { epoch: "e".into(), base, generation: base + 1, lines }
}

#[test]
fn what_is_remembered_is_what_came_and_a_restart_goes_on_with_it() {
    let scratch = Scratch::new("remember");
    let first = vec![written(&scratch, &snapshot(1, &[user(1)]), 1), appended(1, delta(1, &[user(2)]))];
    assert!(!remembered(&scratch, first, 1 << 20));
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &fs::metadata(path_in(&scratch.0)).expect("the file").permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);

    // A process that was killed while it wrote.
    let mut torn = OpenOptions::new().append(true).open(path_in(&scratch.0)).expect("our file");
    torn.write_all(&delta(2, &[user(9)])[..90]).expect("written");
    assert!(!remembered(&scratch, vec![appended(2, delta(2, &[user(3)]))], 1 << 20));
    let loaded = scratch.load().expect("whole");
    assert_eq!((loaded.tables.generation(), loaded.tables.counts().users), (3, 3));
}

#[test]
fn a_file_that_misses_a_delta_or_has_grown_too_long_wants_a_snapshot() {
    let scratch = Scratch::new("wants");
    let news = vec![written(&scratch, &snapshot(1, &[]), 1), appended(2, delta(2, &[user(3)]))];
    assert!(remembered(&scratch, news, 1 << 20), "generation 2 never came");
    assert_eq!(scratch.load().expect("whole").tables.generation(), 1);

    let many: Vec<_> = (1..5).map(|base| appended(base, delta(base, &[user(1)]))).collect();
    assert!(remembered(&scratch, many, 100));
    assert_eq!(scratch.load().expect("whole").tables.generation(), 5, "it is continued all the same");
    assert!(!remembered(&scratch, vec![written(&scratch, &snapshot(5, &[]), 5)], 100));
}
