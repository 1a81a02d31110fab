//! The one record that a request leaves, whatever happened to it.
//!
//! The path fills a [`RequestRecord`] as it learns things and hands it, once, to the meter and to a [`RecordSender`]. From there
//! it leaves the core in batches for the control thread's side, which writes access lines and keeps usage for cube-admin: two readers
//! of one stream, neither of which waits for the other. A full channel drops records and counts them: a record never slows a stream.
//!
//! What a process that is killed takes with it: at most [`BATCH_RECORDS`] records of each core, none older than a tick
//! ([`crate::clock::TICK`]), and what lies in the channels, which their readers empty every few milliseconds.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use cube_wire::{DomainId, Operation, PatId, UserId};

use crate::meter::{Meter, closed_label};

closed_label! {
    /// How a request ended.
    #[must_use = "exactly one ending goes into exactly one record"]
    #[repr(u8)]
    pub enum Ending {
        /// The answer was sent whole; whatever its status, it is the upstream's, or our own from the tables.
        Complete = "complete",
        /// Answered by us, before any upstream was contacted.
        Refused = "refused",
        /// No endpoint gave an answer; the caller got 502, 503 or 504 from us.
        UpstreamFailed = "upstream_failed",
        /// The upstream's answer broke off, so the caller's was cut.
        UpstreamCut = "upstream_cut",
        /// The caller went away.
        CallerGone = "caller_gone",
        /// The caller was too slow: with its body, or with reading the answer.
        CallerTimeout = "caller_timeout",
        /// The upstream was silent for too long in the middle of its answer, or took too long in all.
        UpstreamTimeout = "upstream_timeout",
        /// Cut because the process was ending.
        Drained = "drained",
        /// The request's task ended without saying how: a panic, or a bug.
        Abandoned = "abandoned",
    }
}

/// How records and metrics name whatever comes to a passthrough listener.
pub const PASSTHROUGH: &str = "passthrough";

/// A request's name, from the caller or made by us: at most 64 bytes of visible ASCII, stored in place.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RequestId {
    bytes: [u8; Self::BYTES_MAX],
    len: u8,
}

impl RequestId {
    /// The longest name that is taken over from a caller.
    pub const BYTES_MAX: usize = 64;

    /// Takes a caller's name over if it is short and of harmless characters (letters, digits, `-_.:/+=@`).
    #[must_use]
    pub fn from_caller(name: &[u8]) -> Option<Self> {
        let harmless = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/+=@".contains(byte);
        if name.is_empty() || name.len() > Self::BYTES_MAX || !name.iter().all(harmless) {
            return None;
        }
        let mut bytes = [0; Self::BYTES_MAX];
        bytes[..name.len()].copy_from_slice(name);
        Some(Self { bytes, len: u8::try_from(name.len()).ok()? })
    }

    /// A name of 32 hexadecimal digits from two random numbers.
    #[must_use]
    pub fn from_random(high: u64, low: u64) -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut bytes = [0; Self::BYTES_MAX];
        let random = (u128::from(high) << 64 | u128::from(low)).to_be_bytes();
        for (pair, byte) in bytes[..32].chunks_exact_mut(2).zip(random) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 0xf)];
        }
        Self { bytes, len: 32 }
    }

    /// The name's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// The name; empty if none was given yet.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Only visible ASCII is ever stored.
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }
}

impl Default for RequestId {
    fn default() -> Self {
        Self { bytes: [0; Self::BYTES_MAX], len: 0 }
    }
}

impl std::fmt::Debug for RequestId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("RequestId").field(&self.as_str()).finish()
    }
}

/// What is known of one request when it has ended. What was never learnt is `None`, zero or empty.
#[derive(Clone, Debug)]
pub struct RequestRecord {
    /// The request's name.
    pub request_id: RequestId,
    /// When its first byte arrived, in milliseconds of Unix time.
    pub started_unix_ms: u64,
    /// The caller's address, as far as it can be trusted.
    pub client: Option<IpAddr>,
    /// Its method.
    pub method: Option<http::Method>,
    /// The path's row in the operation table, `/v1/chat/completions`; never the caller's own text.
    pub template: &'static str,
    /// What it asked to do.
    pub operation: Option<Operation>,
    /// The domain it named, if there is one of that name.
    pub domain: Option<DomainId>,
    /// Whose credential it carried.
    pub user: Option<UserId>,
    /// The credential's number.
    pub pat: Option<PatId>,
    /// The model as the caller names it, from the tables.
    pub model: Option<Arc<str>>,
    /// The model's metric series (`ModelEntry::series`); 0 if there is no model.
    pub series: u64,
    /// The cluster it went to.
    pub cluster: Option<Arc<str>>,
    /// The last endpoint it was sent to.
    pub endpoint: Option<Arc<str>>,
    /// Attempts at endpoints.
    pub attempts: u32,
    /// The status that the caller got; 499 if it left before there was one; 0 if none was sent.
    pub status: u16,
    /// The code of our own answer, or more detail than the caller was told.
    pub code: Option<&'static str>,
    /// Body bytes from the caller.
    pub bytes_in: u64,
    /// Body bytes to the caller.
    pub bytes_out: u64,
    /// Whether the answer was streamed event by event.
    pub stream: bool,
    /// Events of the stream.
    pub events: u64,
    /// Tokens of the prompt.
    pub prompt_tokens: Option<u64>,
    /// Tokens of the completion.
    pub completion_tokens: Option<u64>,
    /// The completion's tokens were counted from events, because the upstream gave no usage.
    pub estimated: bool,
    /// From the request's first byte to the first byte of the answer's body.
    pub first_byte: Option<Duration>,
    /// From the request's first byte to its end.
    pub duration: Duration,
    /// How it ended.
    pub ending: Ending,
}

impl Default for RequestRecord {
    fn default() -> Self {
        Self {
            request_id: RequestId::default(),
            started_unix_ms: 0,
            client: None,
            method: None,
            template: "",
            operation: None,
            domain: None,
            user: None,
            pat: None,
            model: None,
            series: 0,
            cluster: None,
            endpoint: None,
            attempts: 0,
            status: 0,
            code: None,
            bytes_in: 0,
            bytes_out: 0,
            stream: false,
            events: 0,
            prompt_tokens: None,
            completion_tokens: None,
            estimated: false,
            first_byte: None,
            duration: Duration::ZERO,
            ending: Ending::Abandoned,
        }
    }
}

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
    fn a_callers_request_id_is_taken_over_only_if_it_is_short_and_harmless() {
        assert_eq!(
            RequestId::from_caller(b"abc-123_x.y:z/+=@").expect("harmless").as_str(),
            "abc-123_x.y:z/+=@"
        );
        assert!(RequestId::from_caller(&[b'a'; 64]).is_some());
        for name in [&b""[..], b"a b", b"a\tb", b"\"", b"\xff", b"a\\b", b"<x>", &[b'a'; 65]] {
            assert!(RequestId::from_caller(name).is_none(), "{name:?}");
        }
    }

    #[test]
    fn a_made_request_id_shows_both_random_numbers() {
        let id = RequestId::from_random(0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210);
        assert_eq!(id.as_str(), "0123456789abcdeffedcba9876543210");
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
