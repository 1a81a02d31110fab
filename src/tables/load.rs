//! A file of records → tables.

use std::fmt;
use std::fs::File;
use std::io::{self, BufReader};
use std::path::Path;
use std::sync::mpsc;
use std::thread;

use cube_wire::{Record, RecordError, read_records};

use super::draft::Draft;
use super::problem::Fault;
use super::{Problem, Resolve, Tables};

/// Why a file did not become tables. The tables in force stay in force.
#[derive(Debug)]
pub enum LoadError {
    /// It cannot be opened.
    Open(io::Error),
    /// It can be read and is wrong.
    Wrong(Vec<Problem>),
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(error) => write!(f, "cannot open: {error}"),
            Self::Wrong(problems) => {
                write!(f, "{} problems", problems.len())?;
                problems.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
            }
        }
    }
}

impl std::error::Error for LoadError {}

/// Records that are handed from the reading thread to the compiling one at a time.
const BATCH_LEN: usize = 512;
/// Batches that may wait between the two.
const BATCHES_WAITING_MAX: usize = 8;

type Read = (usize, Result<Record, RecordError>);

impl Tables {
    /// Compiles the records of a file.
    ///
    /// # Errors
    /// [`LoadError`]; lines that are no records are problems like any others, and all are reported together. A file
    /// without records is one: emptied by mistake, it would refuse every caller.
    ///
    /// # Cost
    /// The calling thread compiles while another one reads; `benches/table_lookup.rs` holds the time of a million PATs.
    pub fn load(path: &Path, generation: u64, resolve: &mut dyn Resolve) -> Result<Self, LoadError> {
        let file = File::open(path).map_err(LoadError::Open)?;
        let mut draft = Draft::of_snapshot(resolve);
        let mut any = false;
        let (batches, arrived) = mpsc::sync_channel::<Vec<Read>>(BATCHES_WAITING_MAX);
        thread::scope(|threads| {
            threads.spawn(move || {
                let mut records = read_records(BufReader::with_capacity(1 << 18, file));
                loop {
                    let batch: Vec<Read> = records.by_ref().take(BATCH_LEN).collect();
                    // A receiver that is gone has panicked; the scope passes that on.
                    if batch.is_empty() || batches.send(batch).is_err() {
                        return;
                    }
                }
            });
            for (line, read) in arrived.into_iter().flatten() {
                any |= !matches!(read, Ok(Record::Snapshot(_)));
                match read {
                    Ok(record) => draft.put(line, record),
                    Err(error) => draft.fault(line, Fault::Record(error)),
                }
            }
        });
        if !any {
            draft.fault(1, Fault::Nothing);
        }
        draft.finish(generation).map_err(LoadError::Wrong)
    }
}
