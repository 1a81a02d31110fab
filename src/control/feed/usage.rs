//! Records of finished requests → lines of usage on disk, on a thread of its own: the disk may stall, the cores may not.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use cube_wire::feed::UsageRecord;

use super::Figures;
use super::backoff::Backoff;
use super::client::Admin;
use super::ship::Shipper;
use super::spool::{self, Spool};
use crate::record::{Batch, RequestRecord};

/// How often the thread looks for batches. It is not woken, so that handing one over costs a core no system call.
const PAUSE: Duration = Duration::from_millis(5);
/// How often what was written is made safe from a machine that stops; from a process that stops it is safe at once.
const SYNC_EVERY: Duration = Duration::from_secs(1);
/// Usage that admin does not have: some 600,000 requests.
const SPOOL_BYTES_MAX: u64 = 256 << 20;

/// The running threads, as seen from the control thread.
#[derive(Debug)]
pub(super) struct Usage {
    stop: Arc<AtomicBool>,
    spooling: JoinHandle<()>,
    shipping: JoinHandle<()>,
}

impl Usage {
    /// Takes over what earlier boots left, and starts both threads.
    ///
    /// # Errors
    /// The directory cannot be used, or no thread can be started.
    pub(super) fn start(
        state_dir: &Path,
        boot: &str,
        node: &str,
        admin: Arc<Admin>,
        figures: Arc<Figures>,
        backoff: Backoff,
        records: Receiver<Batch>,
    ) -> io::Result<Self> {
        let stop = Arc::<AtomicBool>::default();
        let (written, news) = channel();
        let left = spool::left_over(state_dir)?;
        figures.spool_bytes.store(left.iter().map(|segment| segment.bytes).sum(), Ordering::Relaxed);
        let spool = Spool::new(state_dir, boot, SPOOL_BYTES_MAX, Arc::clone(&figures), written);
        let shipper = Shipper::new(admin, node, left, figures.clone(), backoff);
        let writer = Writer { spool, figures, seq: 0, lines: Vec::new() };
        let for_writer = Arc::clone(&stop);
        let thread = |name: &str| std::thread::Builder::new().name(name.to_owned());
        let spooling = thread("usage").spawn(move || writer.run(&records, &for_writer))?;
        let shipping = thread("usage-ship").spawn(move || shipper.run(&news))?;
        Ok(Self { stop, spooling, shipping })
    }

    /// Spools what is still there, then waits for at most `patience` until all of it is sent. What is not goes with the next start.
    pub(super) fn stop(&self, patience: Duration) {
        self.stop.store(true, Ordering::Relaxed);
        let deadline = Instant::now() + patience;
        while !(self.spooling.is_finished() && self.shipping.is_finished()) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

struct Writer {
    spool: Spool,
    figures: Arc<Figures>,
    /// Number of the record that was spooled last.
    seq: u64,
    lines: Vec<u8>,
}

impl Writer {
    fn run(mut self, records: &Receiver<Batch>, stop: &AtomicBool) {
        let mut sync_due = Instant::now() + SYNC_EVERY;
        loop {
            // Read before the last look into the channel: what was sent before the word to stop is still spooled.
            let stop = stop.load(Ordering::Relaxed);
            let ended = loop {
                match records.try_recv() {
                    Ok(batch) => self.write(&batch),
                    Err(error) => break error == TryRecvError::Disconnected,
                }
            };
            if stop || ended {
                // Closed, its segment goes once it is sent.
                self.spool.close();
                return;
            }
            if Instant::now() >= sync_due {
                sync_due = Instant::now() + SYNC_EVERY;
                self.spool.sync();
            }
            std::thread::sleep(PAUSE);
        }
    }

    fn write(&mut self, batch: &Batch) {
        self.lines.clear();
        for (number, taken) in (self.seq + 1..).zip(batch.iter()) {
            let line = usage_of(&taken.record, number);
            serde_json::to_writer(&mut self.lines, &line)
                .expect("strings and numbers are JSON, and a Vec takes every write");
            self.lines.push(b'\n');
        }
        let count = batch.len() as u64;
        if self.spool.append(&self.lines) {
            self.seq += count;
            self.figures.usage_spooled.fetch_add(count, Ordering::Relaxed);
        } else {
            self.figures.usage_not_spooled.fetch_add(count, Ordering::Relaxed);
        }
    }
}

/// The record as admin wants it.
fn usage_of(record: &RequestRecord, seq: u64) -> UsageRecord {
    let microseconds = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    UsageRecord {
        seq,
        request_id: record.request_id.as_str().to_owned(),
        at_ms: record.started_unix_ms,
        client_ip: record.client.map(|address| address.to_string()),
        method: record.method.as_ref().map_or_else(String::new, |method| method.as_str().to_owned()),
        path: record.template.to_owned(),
        operation: record.operation.map(|operation| operation.name().to_owned()),
        domain: record.domain,
        user: record.user,
        pat: record.pat,
        model: record.model.as_deref().map(str::to_owned),
        cluster: record.cluster.as_deref().map(str::to_owned),
        endpoint: record.endpoint.as_deref().map(str::to_owned),
        status: record.status,
        error: record.code.map(str::to_owned),
        ending: crate::meter::Label::name(record.ending).to_owned(),
        bytes_in: record.bytes_in,
        bytes_out: record.bytes_out,
        stream: record.stream,
        prompt_tokens: record.prompt_tokens,
        completion_tokens: record.completion_tokens,
        estimated: record.estimated,
        first_byte_us: record.first_byte.map(microseconds),
        duration_us: microseconds(record.duration),
    }
}
