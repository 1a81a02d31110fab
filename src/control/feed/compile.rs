//! Record lines → tables, while they arrive: the thread that reads lines parses them and opens what is sealed in them, another one
//! compiles. At no time are all records in memory.

use std::sync::mpsc::{self, SyncSender};
use std::thread;

use cube_wire::Record;
use cube_wire::feed::ChangeLine;
use cube_wire::record::ClusterRecord;
use cube_wire::seal::FleetKey;

use crate::control::names::KnownNames;
use crate::tables::{Change, Fault, PROBLEMS_MAX, Problem, Tables};

/// Records that are handed from the reading thread to the compiling one at a time.
const BATCH_LEN: usize = 512;
/// Batches that may wait between the two.
const BATCHES_WAITING_MAX: usize = 8;

/// Compiles the records that `read` gives to the [`Staging`].
///
/// # Errors
/// That of `read`: the lines broke off, and what was compiled of them is thrown away. Inside, every problem of a snapshot that came
/// whole.
pub(super) fn compile<E>(
    generation: u64,
    key: &FleetKey,
    resolver: &mut KnownNames<'_>,
    read: impl FnOnce(&mut Staging<'_>) -> Result<(), E>,
) -> Result<Result<Tables, Vec<Problem>>, E> {
    let (batches, arrived) = mpsc::sync_channel::<Vec<(usize, Record)>>(BATCHES_WAITING_MAX);
    thread::scope(|threads| {
        let compiling =
            threads.spawn(move || Tables::compile(arrived.into_iter().flatten(), generation, resolver));
        let mut staging =
            Staging { key, line: 0, batch: Vec::with_capacity(BATCH_LEN), batches, problems: Vec::new() };
        let whole = read(&mut staging);
        let problems = staging.finish();
        // A panic there is a bug of the compiler's; it goes on here, and ends this thread as it would without a second one.
        let compiled = compiling.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        whole?;
        if problems.is_empty() {
            return Ok(compiled);
        }
        let mut all = problems;
        all.extend(compiled.err().unwrap_or_default());
        Ok(Err(all))
    })
}

/// Takes the lines of a snapshot.
pub(super) struct Staging<'a> {
    key: &'a FleetKey,
    line: usize,
    batch: Vec<(usize, Record)>,
    batches: SyncSender<Vec<(usize, Record)>>,
    problems: Vec<Problem>,
}

impl Staging<'_> {
    /// Takes the next one. What is wrong with it is told in the end, with everything else.
    pub(super) fn line(&mut self, line: &[u8]) {
        self.line += 1;
        match Record::from_line(line).map_err(Fault::Record).and_then(|record| open(record, self.key)) {
            Ok(None) => {}
            Ok(Some(record)) => self.batch.push((self.line, record)),
            Err(fault) if self.problems.len() < PROBLEMS_MAX => {
                self.problems.push(Problem { line: self.line, fault });
            }
            Err(_) => {}
        }
        if self.batch.len() >= BATCH_LEN {
            self.hand_over();
        }
    }

    fn hand_over(&mut self) {
        let batch = std::mem::replace(&mut self.batch, Vec::with_capacity(BATCH_LEN));
        // A compiler that is gone has panicked; joining it says so.
        let _ = self.batches.send(batch);
    }

    fn finish(mut self) -> Vec<Problem> {
        self.hand_over();
        self.problems
    }
}

/// One line of a delta. `None`: of a kind that we need not know.
///
/// # Errors
/// It is no change, or holds a credential that cannot be used.
pub(super) fn change(line: &[u8], key: &FleetKey) -> Result<Option<Change>, Fault> {
    Ok(match ChangeLine::from_line(line).map_err(Fault::Record)? {
        None => None,
        Some(ChangeLine::Remove(removed)) => Some(Change::Remove(removed)),
        Some(ChangeLine::Put(record)) => open(Some(record), key)?.map(Change::Put),
    })
}

/// The record with its credentials opened.
fn open(record: Option<Record>, key: &FleetKey) -> Result<Option<Record>, Fault> {
    match record {
        Some(Record::Cluster(cluster)) => {
            open_cluster(cluster, key).map(|cluster| Some(Record::Cluster(cluster)))
        }
        other => Ok(other),
    }
}

fn open_cluster(mut cluster: ClusterRecord, key: &FleetKey) -> Result<ClusterRecord, Fault> {
    for endpoint in &mut cluster.endpoints {
        let Some(credential) = &mut endpoint.credential else { continue };
        let fault = |why| Fault::BadCredential { url: endpoint.url.clone(), why };
        // What came in the clear would lie in the clear in the file of last good tables.
        if !credential.value.is_empty() {
            return Err(fault("a credential on the feed that is not sealed"));
        }
        let sealed = std::mem::take(&mut credential.sealed);
        credential.value = key
            .open(cluster.id.as_str(), &credential.header, &sealed)
            .map_err(|_| fault("a sealed credential that this fleet key does not open"))?;
    }
    Ok(cluster)
}

/// Problems in one text, the first few of them.
pub(super) fn told(problems: &[Problem]) -> String {
    const SHOWN_MAX: usize = 20;
    let mut text = format!("{} problems", problems.len());
    for problem in problems.iter().take(SHOWN_MAX) {
        text.push_str(&format!("\n  {problem}"));
    }
    if problems.len() > SHOWN_MAX {
        text.push_str("\n  …");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::names::{PATIENCE, SystemResolver};

    fn compiled(lines: &[String], key: &FleetKey) -> Result<Tables, Vec<Problem>> {
        let mut resolver = SystemResolver::default();
        compile::<()>(1, key, &mut KnownNames::new(&mut resolver, PATIENCE), |staging| {
            lines.iter().for_each(|line| staging.line(line.as_bytes()));
            Ok(())
        })
        .expect("reading does not fail")
    }

    fn cluster(credential: &str) -> String {
        format!(
            r#"{{"kind":"cluster","id":"c","dialect":"openai","endpoints":[{{"url":"http://127.0.0.1:1","credential":{{{credential}}}}}]}}"#
        )
    }

    #[test]
    fn a_sealed_credential_is_opened_and_no_other_is_taken() {
        let key = FleetKey::generate().expect("randomness");
        let sealed = key.seal("c", "authorization", "Bearer hidden").expect("randomness");
        let tables = compiled(&[cluster(&format!(r#""sealed":"{sealed}""#))], &key).expect("ours");
        let credential = tables.clusters().next().expect("one").endpoints[0].credential.clone();
        assert_eq!(&*credential.expect("opened").line, b"authorization: Bearer hidden\r\n");

        let elsewhere = key.seal("d", "authorization", "Bearer hidden").expect("randomness");
        for credential in [
            format!(r#""sealed":"{elsewhere}""#),
            r#""sealed":"""#.to_owned(),
            r#""value":"Bearer hidden""#.to_owned(),
            format!(r#""value":"Bearer hidden","sealed":"{sealed}""#),
        ] {
            let problems = compiled(&[cluster(&credential)], &key).expect_err(&credential);
            assert!(!told(&problems).contains("hidden"), "{problems:?}");
        }
        let other = FleetKey::generate().expect("randomness");
        assert!(compiled(&[cluster(&format!(r#""sealed":"{sealed}""#))], &other).is_err());
    }

    #[test]
    fn every_problem_is_told_whichever_thread_finds_it() {
        let key = FleetKey::generate().expect("randomness");
        let lines = [
            "nonsense".to_owned(),
            r#"{"kind":"surprise"}"#.to_owned(),
            r#"{"kind":"model","domain":"11111111-1111-1111-1111-111111111111","name":"m","cluster":"no"}"#
                .to_owned(),
        ];
        let text = told(&compiled(&lines, &key).expect_err("wrong on every line"));
        for part in ["line 1: ", "line 2: ", "line 3: "] {
            assert!(text.contains(part), "{text}");
        }
    }
}
