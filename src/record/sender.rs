//! Records on their way out of one core, in batches for the control thread's side, which writes access lines and keeps usage for
//! cube-admin: two readers of one stream, neither of which waits for the other. A full channel drops records and counts them: a record
//! never slows a stream.
//!
//! What a process that is killed takes with it: at most [`BATCH_RECORDS`] records of each core, none older than a tick
//! ([`crate::clock::TICK`]), and what lies in the channels, which their readers empty every few milliseconds.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::{Ending, RequestRecord};
use crate::meter::Meter;

/// Records that travel together.
const BATCH_RECORDS: usize = 64;
/// Records per tick that a core hands over one by one, where usage is wanted: what a quiet core has done is on its way at once, and
/// a busy one, whose batches fill up within milliseconds, does not pay for it.
const AT_ONCE_PER_TICK: usize = 64;

/// A record on its way, and who wants it.
#[derive(Clone, Debug)]
pub struct Taken {
    /// The record.
    pub record: RequestRecord,
    /// It is in the access log's sample.
    pub logged: bool,
}

/// Records that travel together, shared by all their readers.
pub type Batch = Arc<Vec<Taken>>;

/// The records' way out of one core.
#[derive(Debug)]
pub struct RecordSender {
    /// `None`: nobody wants records, and a push costs nothing.
    open: Option<OpenSender>,
}

#[derive(Debug)]
struct OpenSender {
    log: Option<LogSender>,
    usage: Option<SyncSender<Batch>>,
    batch: Vec<Taken>,
    at_once: usize,
}

#[derive(Debug)]
struct LogSender {
    channel: SyncSender<Batch>,
    completed: Sample,
    failed: Sample,
}

/// Takes a fixed share: every tenth of 0.1, evenly, without a random number.
#[derive(Debug)]
struct Sample {
    share: f64,
    owed: f64,
}

impl Sample {
    /// Half a request ahead: the first of few requests is as likely to be seen as the last.
    const fn of(share: f64) -> Self {
        Self { share, owed: share / 2.0 }
    }

    fn takes(&mut self) -> bool {
        self.owed += self.share;
        let takes = self.owed >= 1.0;
        if takes {
            self.owed -= 1.0;
        }
        takes
    }
}

impl RecordSender {
    /// A sender without a reader.
    #[must_use]
    pub const fn closed() -> Self {
        Self { open: None }
    }

    /// Whether anybody reads records.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Takes a record over: every one for usage, those in the sample for the access log. Sends the batch when it is full, and, for
    /// usage, at once while there are few.
    ///
    /// Cost: a copy of the record; two allocations per batch. Never blocks; what finds no room is counted in `meter`.
    pub fn push(&mut self, record: RequestRecord, meter: &Meter) {
        let Some(open) = &mut self.open else { return };
        let completed = record.ending == Ending::Complete;
        let logged = open
            .log
            .as_mut()
            .is_some_and(|log| if completed { log.completed.takes() } else { log.failed.takes() });
        if !logged && open.usage.is_none() {
            return;
        }
        let taken = Taken { record, logged };
        if open.usage.is_some() && open.at_once > 0 && open.batch.is_empty() {
            open.at_once -= 1;
            open.hand_over(vec![taken], meter);
            return;
        }
        open.batch.push(taken);
        if open.batch.len() >= BATCH_RECORDS {
            open.hand_over_batch(meter);
        }
    }

    /// Sends what has been collected; called on each tick of the core, so that a quiet core's records travel too.
    pub fn flush(&mut self, meter: &Meter) {
        let Some(open) = &mut self.open else { return };
        open.at_once = AT_ONCE_PER_TICK;
        if !open.batch.is_empty() {
            open.hand_over_batch(meter);
        }
    }
}

impl OpenSender {
    fn hand_over_batch(&mut self, meter: &Meter) {
        let batch = std::mem::replace(&mut self.batch, Vec::with_capacity(BATCH_RECORDS));
        self.hand_over(batch, meter);
    }

    fn hand_over(&self, batch: Vec<Taken>, meter: &Meter) {
        let batch = Arc::new(batch);
        if let Some(usage) = &self.usage
            && usage.try_send(Arc::clone(&batch)).is_err()
        {
            meter.usage_dropped.add(batch.len() as u64);
        }
        let logged = batch.iter().filter(|taken| taken.logged).count();
        if let Some(log) = &self.log
            && logged > 0
            && log.channel.try_send(batch).is_err()
        {
            meter.records_dropped.add(logged as u64);
        }
    }
}

/// Who reads records, while that is being settled; then one sender for each core.
#[derive(Debug, Default)]
pub struct Readers {
    log: Option<(SyncSender<Batch>, f64, f64)>,
    usage: Option<SyncSender<Batch>>,
}

impl Readers {
    /// The access log's end.
    ///
    /// * `batches_max`: batches that wait for the reader, of all cores together; each holds up to 64 records of about 350 bytes.
    /// * `sample`, `sample_failures`: shares of the completed and of all other requests that it wants, 0.0 to 1.0.
    pub fn log(&mut self, batches_max: usize, sample: f64, sample_failures: f64) -> Receiver<Batch> {
        let (sender, receiver) = sync_channel(batches_max);
        self.log = Some((sender, sample, sample_failures));
        receiver
    }

    /// The end of usage, which wants every record.
    pub fn usage(&mut self, batches_max: usize) -> Receiver<Batch> {
        let (sender, receiver) = sync_channel(batches_max);
        self.usage = Some(sender);
        receiver
    }

    /// One sender for each of `cores`. Without a reader they are closed, and records cost nothing.
    #[must_use]
    pub fn senders(self, cores: usize) -> Vec<RecordSender> {
        let open = || OpenSender {
            log: self.log.as_ref().map(|(channel, sample, sample_failures)| LogSender {
                channel: channel.clone(),
                completed: Sample::of(*sample),
                failed: Sample::of(*sample_failures),
            }),
            usage: self.usage.clone(),
            batch: Vec::new(),
            at_once: AT_ONCE_PER_TICK,
        };
        let any = self.log.is_some() || self.usage.is_some();
        (0..cores).map(|_| RecordSender { open: any.then(open) }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(
        cores: usize,
        batches_max: usize,
        sample: f64,
        failures: f64,
    ) -> (Vec<RecordSender>, Receiver<Batch>) {
        let mut readers = Readers::default();
        let receiver = readers.log(batches_max, sample, failures);
        (readers.senders(cores), receiver)
    }

    fn record(ending: Ending) -> RequestRecord {
        RequestRecord { ending, ..RequestRecord::default() }
    }

    #[test]
    fn records_arrive_in_batches_and_on_every_flush() {
        let meter = Meter::new(10);
        let (mut senders, receiver) = channel(1, 4, 1.0, 1.0);
        for _ in 0..=BATCH_RECORDS {
            senders[0].push(record(Ending::Complete), &meter);
        }
        assert_eq!(receiver.try_recv().expect("a full batch").len(), BATCH_RECORDS);
        assert!(receiver.try_recv().is_err());
        senders[0].flush(&meter);
        assert_eq!(receiver.try_recv().expect("the rest").len(), 1);
        assert_eq!(meter.records_dropped.get(), 0);
    }

    #[test]
    fn a_full_channel_drops_and_counts_instead_of_waiting() {
        let meter = Meter::new(10);
        let (mut senders, receiver) = channel(1, 1, 1.0, 1.0);
        for _ in 0..3 * BATCH_RECORDS {
            senders[0].push(record(Ending::Complete), &meter);
        }
        assert_eq!(meter.records_dropped.get(), 2 * BATCH_RECORDS as u64);
        drop(receiver);
        senders[0].push(record(Ending::Complete), &meter);
        senders[0].flush(&meter);
        assert_eq!(meter.records_dropped.get(), 2 * BATCH_RECORDS as u64 + 1);
    }

    #[test]
    fn a_sample_takes_exactly_its_share_and_failures_have_their_own() {
        let meter = Meter::new(10);
        let (mut senders, receiver) = channel(1, 100, 0.1, 1.0);
        for _ in 0..200 {
            senders[0].push(record(Ending::Complete), &meter);
        }
        for _ in 0..3 {
            senders[0].push(record(Ending::UpstreamCut), &meter);
        }
        senders[0].flush(&meter);
        let seen: Vec<_> = receiver.try_iter().flat_map(|batch| (*batch).clone()).collect();
        let seen: Vec<_> = seen.iter().map(|taken| taken.record.ending).collect();
        assert_eq!(seen.iter().filter(|ending| **ending == Ending::Complete).count(), 20);
        assert_eq!(seen.iter().filter(|ending| **ending == Ending::UpstreamCut).count(), 3);
    }

    #[test]
    fn a_closed_sender_takes_nothing_and_counts_nothing() {
        let meter = Meter::new(10);
        let mut sender = RecordSender::closed();
        sender.push(record(Ending::Complete), &meter);
        sender.flush(&meter);
        assert_eq!(meter.records_dropped.get(), 0);
    }

    #[test]
    fn usage_gets_every_record_and_the_log_its_sample_and_neither_waits_for_the_other() {
        let meter = Meter::new(10);
        let mut readers = Readers::default();
        let log = readers.log(1000, 0.1, 1.0);
        let usage = readers.usage(1);
        let mut senders = readers.senders(1);
        senders[0].push(record(Ending::Complete), &meter);
        assert_eq!(usage.try_recv().expect("at once, without a tick").len(), 1);
        for _ in 0..199 {
            senders[0].push(record(Ending::Complete), &meter);
        }
        senders[0].flush(&meter);
        let logged = log.try_iter().flat_map(|batch| (*batch).clone()).filter(|taken| taken.logged);
        assert_eq!(logged.count(), 20, "the log's channel has room");
        let kept: usize = usage.try_iter().map(|batch| batch.len()).sum();
        assert_eq!(kept as u64 + meter.usage_dropped.get(), 199, "what found no room is counted");
        assert!(meter.usage_dropped.get() > 0);
        assert_eq!(meter.records_dropped.get(), 0);
    }

    #[test]
    fn a_busy_core_hands_usage_over_in_batches() {
        let meter = Meter::new(10);
        let mut readers = Readers::default();
        let usage = readers.usage(1000);
        let mut senders = readers.senders(1);
        for _ in 0..AT_ONCE_PER_TICK + 2 * BATCH_RECORDS + 1 {
            senders[0].push(record(Ending::Complete), &meter);
        }
        let sizes: Vec<_> = usage.try_iter().map(|batch| batch.len()).collect();
        assert_eq!(sizes[..AT_ONCE_PER_TICK], [1; AT_ONCE_PER_TICK]);
        assert_eq!(sizes[AT_ONCE_PER_TICK..], [BATCH_RECORDS; 2]);
        senders[0].flush(&meter);
        assert_eq!(usage.try_iter().map(|batch| batch.len()).sum::<usize>(), 1);
        senders[0].push(record(Ending::Complete), &meter);
        assert_eq!(usage.try_iter().count(), 1, "a new tick begins with single records");
    }
}
