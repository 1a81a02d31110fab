//! The names under which figures are exported, each with its unit, its label and its sentence of help.
//!
//! `gen_ai_*` are OpenTelemetry's names for generative AI as Prometheus writes them (dots become underscores); `cube_proxy_*`
//! are facts of this proxy. Names are public: add, never rename.

use Kind::{Counter, Gauge, Histogram};
use Unit::{Nanoseconds, One};

/// What a family's figures are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows. Written with `_total` behind the name.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts per bucket.
    Histogram,
}

/// In what the program counts; seconds are exported in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// As counted.
    One,
    /// Counted in nanoseconds, exported in seconds.
    Nanoseconds,
}

/// All figures of one name.
#[derive(Debug, PartialEq, Eq)]
pub struct Family {
    /// The name without suffix.
    pub name: &'static str,
    /// One sentence without its full stop, which the exposition format adds.
    pub help: &'static str,
    /// Counter, gauge or histogram.
    pub kind: Kind,
    /// Unit of the counted values.
    pub unit: Unit,
    /// Shown per core instead of added up.
    pub per_core: bool,
}

/// `NAME = kind, unit, per core or summed, "name", "help";`
macro_rules! families {
    ($($name:ident = $kind:ident $unit:ident $spread:ident $text:literal $help:literal;)+) => {
        $(
            #[doc = concat!("`", $text, "`: ", $help, ".")]
            pub static $name: Family = Family {
                name: $text, help: $help, kind: $kind, unit: $unit, per_core: families!(@ $spread),
            };
        )+
        /// Every family.
        pub static ALL: &[&Family] = &[$(&$name,)+];
    };
    (@ per_core) => { true };
    (@ summed) => { false };
}

families! {
    REQUEST_DURATION = Histogram Nanoseconds summed "gen_ai_server_request_duration_seconds"
        "Time from the first byte of a request to the last byte of its answer";
    TIME_TO_FIRST_TOKEN = Histogram Nanoseconds summed "gen_ai_server_time_to_first_token_seconds"
        "Time from the first byte of a streamed request to the first byte of its answer's body";
    TIME_PER_OUTPUT_TOKEN = Histogram Nanoseconds summed "gen_ai_server_time_per_output_token_seconds"
        "Time per completion token after the first, in streams";
    TOKEN_USAGE = Histogram One summed "gen_ai_client_token_usage"
        "Prompt (input) and completion (output) tokens per request";

    REQUESTS = Counter One summed "cube_proxy_requests"
        "Requests by how they ended";
    REFUSALS = Counter One summed "cube_proxy_refusals"
        "Requests that the proxy answered itself, by the code of its answer";
    TOKENS_ESTIMATED = Counter One summed "cube_proxy_usage_estimated"
        "Streams that ended without usage, so that their completion tokens were counted from events";
    OVERHEAD = Histogram Nanoseconds summed "cube_proxy_overhead_seconds"
        "Time that the proxy itself adds before a request is sent upstream, and before an answer is passed on";
    RELAYED_BYTES = Counter One summed "cube_proxy_relayed_bytes"
        "Body bytes relayed upstream (up) and to callers (down)";
    RELAYED_CHUNKS = Counter One summed "cube_proxy_relayed_chunks"
        "Writes to callers that relayed part of an upstream's body";
    INFLIGHT_REQUESTS = Gauge One per_core "cube_proxy_inflight_requests"
        "Requests whose head has arrived and whose answer has not ended";
    ACTIVE_STREAMS = Gauge One per_core "cube_proxy_active_streams"
        "Answers that are being streamed";
    OPEN_CONNECTIONS = Gauge One per_core "cube_proxy_open_connections"
        "Open connections of callers";
    CONNECTIONS = Counter One per_core "cube_proxy_connections"
        "Connections of callers served so far";
    HANDOVERS = Counter One per_core "cube_proxy_connection_handovers"
        "Connections that a core accepted and gave to an emptier one";
    SHEDS = Counter One summed "cube_proxy_sheds"
        "Connections and requests turned away for want of room";
    TLS_HANDSHAKES = Counter One summed "cube_proxy_tls_handshakes"
        "TLS handshakes with callers (downstream) and endpoints (upstream) by how they went";
    TLS_CONNECTIONS = Counter One summed "cube_proxy_tls_connections"
        "TLS connections of callers by version";
    TLS_RELOADS = Counter One summed "cube_proxy_tls_reloads"
        "Times that changed certificates were read while the process ran, published or refused";
    TLS_EXPIRY = Gauge One summed "cube_proxy_tls_certificate_expiry_timestamp_seconds"
        "When the certificates that callers are shown expire, in Unix time";
    CLIENT_CANCELLED = Counter One summed "cube_proxy_client_cancelled"
        "Requests whose caller went away, by how far they were";
    PANICS = Counter One per_core "cube_proxy_panics"
        "Connections ended by a panic of the proxy";
    LOOP_DELAY = Histogram Nanoseconds per_core "cube_proxy_core_loop_delay_seconds"
        "How much later than asked a core's ticker ran";

    UPSTREAM_ATTEMPTS = Counter One summed "cube_proxy_upstream_attempts"
        "Attempts at endpoints by how they went";
    RETRIES = Counter One summed "cube_proxy_retries"
        "Attempts after the first of a request, by reason";
    POOL_STALE = Counter One summed "cube_proxy_pool_stale"
        "Pooled connections that turned out to be closed when a request was to use them";
    EJECTIONS = Counter One summed "cube_proxy_endpoint_ejections"
        "Times that a core set an endpoint aside";
    UPSTREAM_CONNECTIONS = Gauge One summed "cube_proxy_upstream_connections"
        "Open connections to endpoints, idle in the pool or active";
    CALLBACK_CALLS = Counter One summed "cube_proxy_callback_calls"
        "Calls of the authentication callback by how they ended";
    CALLBACK_DECISIONS = Counter One summed "cube_proxy_callback_decisions"
        "Decisions about requests on the passthrough listener: by a call of their own, remembered (cache), or of another request (shared)";
    CALLBACK_DURATION = Histogram Nanoseconds summed "cube_proxy_callback_duration_seconds"
        "Time that calls of the authentication callback took, connecting included";
    PAT_CHECKS = Counter One summed "cube_proxy_pat_checks"
        "Credentials found in a core's cache (hit) or checked against the tables (miss)";
    RECORDS_DROPPED = Counter One summed "cube_proxy_records_dropped"
        "Request records lost because their reader was too slow";

    CORE = Gauge One per_core "cube_proxy_core_info"
        "Always 1; the I/O driver that a core runs on";
    CORE_GENERATION = Gauge One per_core "cube_proxy_core_tables_generation"
        "Generation of the tables that a core decides with";
    TABLES_GENERATION = Gauge One summed "cube_proxy_tables_generation"
        "Generation of the tables published last";
    TABLES_AGE = Gauge One summed "cube_proxy_tables_age_seconds"
        "Time since the tables were published";
    TABLES_ENTRIES = Gauge One summed "cube_proxy_tables_entries"
        "Entries of the tables by kind";
    TABLES_LOADS = Counter One summed "cube_proxy_tables_loads"
        "Attempts at loading tables, published or refused";
    FEED_CONNECTED = Gauge One summed "cube_proxy_feed_connected"
        "1 while cube-admin's feed is heard";
    FEED_AGE = Gauge One summed "cube_proxy_feed_age_seconds"
        "Time since the feed last confirmed the tables that are held";
    FEED_CONNECTIONS = Counter One summed "cube_proxy_feed_connections"
        "Connections to the feed that were answered";
    FEED_SNAPSHOTS = Counter One summed "cube_proxy_feed_snapshots"
        "Snapshots from the feed by what became of them: adopted, refused";
    FEED_DELTAS = Counter One summed "cube_proxy_feed_deltas"
        "Deltas from the feed by what became of them: adopted, refused";
    USAGE_SPOOLED = Counter One summed "cube_proxy_usage_spooled"
        "Usage records written to the spool";
    USAGE_SENT = Counter One summed "cube_proxy_usage_sent"
        "Usage records that cube-admin has acknowledged";
    USAGE_DROPPED = Counter One summed "cube_proxy_usage_dropped"
        "Usage records lost, by reason";
    USAGE_SPOOL_BYTES = Gauge One summed "cube_proxy_usage_spool_bytes"
        "Size of the usage records that cube-admin has not acknowledged";
    READY = Gauge One summed "cube_proxy_ready"
        "1 if every core has tables that are not too old and no drain has begun";
    DRAINING = Gauge One summed "cube_proxy_draining"
        "1 once the process has been told to end";
    ACCESS_LINES_LOST = Counter One summed "cube_proxy_access_log_lines_lost"
        "Access lines that could not be written";
    BUILD = Gauge One summed "cube_proxy_build_info"
        "Always 1; the version of the program";
    PROCESS_CPU = Counter Nanoseconds summed "process_cpu_seconds"
        "User and system CPU time";
    PROCESS_RESIDENT = Gauge One summed "process_resident_memory_bytes"
        "Resident memory";
    PROCESS_FDS = Gauge One summed "process_open_fds"
        "Open file descriptors";
    PROCESS_FDS_MAX = Gauge One summed "process_max_fds"
        "File descriptors that the process may open";
    PROCESS_START = Gauge One summed "process_start_time_seconds"
        "Start of the process in Unix time";
}

const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MILLISECOND;

/// OpenTelemetry's bounds, from 10 ms; and on to ten minutes, for long streams.
pub(super) static DURATION_BOUNDS: [u64; 17] = [
    10 * MILLISECOND,
    20 * MILLISECOND,
    40 * MILLISECOND,
    80 * MILLISECOND,
    160 * MILLISECOND,
    320 * MILLISECOND,
    640 * MILLISECOND,
    1_280 * MILLISECOND,
    2_560 * MILLISECOND,
    5_120 * MILLISECOND,
    10_240 * MILLISECOND,
    20_480 * MILLISECOND,
    40_960 * MILLISECOND,
    81_920 * MILLISECOND,
    160 * SECOND,
    320 * SECOND,
    640 * SECOND,
];

/// OpenTelemetry's bounds with a long tail: models that are loaded on demand take minutes to their first token.
pub(super) static FIRST_TOKEN_BOUNDS: [u64; 25] = [
    MILLISECOND,
    5 * MILLISECOND,
    10 * MILLISECOND,
    20 * MILLISECOND,
    40 * MILLISECOND,
    60 * MILLISECOND,
    80 * MILLISECOND,
    100 * MILLISECOND,
    250 * MILLISECOND,
    500 * MILLISECOND,
    750 * MILLISECOND,
    SECOND,
    2_500 * MILLISECOND,
    5 * SECOND,
    7_500 * MILLISECOND,
    10 * SECOND,
    15 * SECOND,
    20 * SECOND,
    30 * SECOND,
    45 * SECOND,
    60 * SECOND,
    90 * SECOND,
    120 * SECOND,
    300 * SECOND,
    600 * SECOND,
];

/// OpenTelemetry's bounds, and 5 s and 10 s for models on CPUs.
pub(super) static PER_TOKEN_BOUNDS: [u64; 15] = [
    10 * MILLISECOND,
    25 * MILLISECOND,
    50 * MILLISECOND,
    75 * MILLISECOND,
    100 * MILLISECOND,
    150 * MILLISECOND,
    200 * MILLISECOND,
    300 * MILLISECOND,
    400 * MILLISECOND,
    500 * MILLISECOND,
    750 * MILLISECOND,
    SECOND,
    2_500 * MILLISECOND,
    5 * SECOND,
    10 * SECOND,
];

/// Powers of four, from 1 to 67 million tokens.
pub(super) static TOKEN_BOUNDS: [u64; 14] =
    [1, 4, 16, 64, 256, 1_024, 4_096, 16_384, 65_536, 262_144, 1_048_576, 4_194_304, 16_777_216, 67_108_864];

/// The proxy's own time: 10 µs to 50 ms.
pub(super) static OVERHEAD_BOUNDS: [u64; 14] = [
    10_000,
    20_000,
    40_000,
    60_000,
    80_000,
    100_000,
    150_000,
    250_000,
    500_000,
    MILLISECOND,
    2_500_000,
    5 * MILLISECOND,
    10 * MILLISECOND,
    50 * MILLISECOND,
];

/// A late ticker: 100 µs is idle, 100 ms is a stuck core.
pub(super) static LOOP_DELAY_BOUNDS: [u64; 10] = [
    100_000,
    250_000,
    500_000,
    MILLISECOND,
    2_500_000,
    5 * MILLISECOND,
    10 * MILLISECOND,
    25 * MILLISECOND,
    100 * MILLISECOND,
    SECOND,
];
