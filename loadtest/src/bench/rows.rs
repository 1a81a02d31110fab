//! The rows of the table: what is run, and what one unit of it is.

use crate::load::{Mode, Options};

/// A row, by the name in `docs` and in the design's budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, clap::ValueEnum)]
#[clap(rename_all = "verbatim")]
pub(super) enum Row {
    /// JSON requests, kept-alive connections, 64 callers.
    S1,
    /// SSE events, flat out, 64 streams.
    S2,
    /// SSE events, 1,000 streams of 50 a second.
    S3,
    /// Memory per open idle stream.
    S4,
    /// 200 KiB answers, 16 callers.
    S5,
    /// A new connection for each request, 16 callers.
    S6,
    /// Memory of the process before any load.
    M1,
    /// Memory per idle kept-alive connection.
    K1,
    /// As S1, over TLS.
    S7,
    /// As S2, over TLS.
    S8,
    /// As S6, over TLS, every handshake a full one.
    H1,
    /// As S6, over TLS, sessions resumed.
    H2,
    /// As S4, over TLS.
    M2,
    /// As K1, over TLS.
    K2,
    /// Latency of a request, one caller.
    L1,
    /// Latency of a stream's first event, one caller.
    L2,
}

/// What a row measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quantity {
    /// CPU time of the peer per completed exchange.
    CpuPerRequest,
    /// CPU time of the peer per event.
    CpuPerEvent,
    /// Memory of the peer per open connection that does nothing.
    MemoryPerConnection,
    /// Memory of the peer that has answered one request.
    Memory,
    /// Time as the caller sees it.
    Latency,
}

impl Row {
    pub(super) const ALL: [Self; 16] = [
        Self::S1,
        Self::S2,
        Self::S3,
        Self::S4,
        Self::S5,
        Self::S6,
        Self::S7,
        Self::S8,
        Self::H1,
        Self::H2,
        Self::M1,
        Self::M2,
        Self::K1,
        Self::K2,
        Self::L1,
        Self::L2,
    ];

    pub(super) const fn quantity(self) -> Quantity {
        match self {
            Self::S1 | Self::S5 | Self::S6 | Self::S7 | Self::H1 | Self::H2 => Quantity::CpuPerRequest,
            Self::S2 | Self::S3 | Self::S8 => Quantity::CpuPerEvent,
            Self::S4 | Self::M2 | Self::K1 | Self::K2 => Quantity::MemoryPerConnection,
            Self::M1 => Quantity::Memory,
            Self::L1 | Self::L2 => Quantity::Latency,
        }
    }

    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::S1 => "JSON request, keep-alive, 64 callers (µs CPU)",
            Self::S2 => "SSE event, flat out, 64 streams (µs CPU)",
            Self::S3 => "SSE event, 1,000 streams × 50/s (µs CPU)",
            Self::S4 => "open idle stream (KiB)",
            Self::S5 => "200 KiB answer, 16 callers (µs CPU)",
            Self::S6 => "new connection per request, 16 callers (µs CPU)",
            Self::S7 => "JSON request over TLS, keep-alive, 64 callers (µs CPU)",
            Self::S8 => "SSE event over TLS, flat out, 64 streams (µs CPU)",
            Self::H1 => "new TLS connection, full handshake, per request, 16 callers (µs CPU)",
            Self::H2 => "new TLS connection, resumed, per request, 16 callers (µs CPU)",
            Self::M1 => "idle process (KiB)",
            Self::M2 => "open idle stream over TLS (KiB)",
            Self::K2 => "idle keep-alive connection over TLS (KiB)",
            Self::K1 => "idle keep-alive connection (KiB)",
            Self::L1 => "request, one caller (µs, p50)",
            Self::L2 => "first event of a stream, one caller (µs, p50)",
        }
    }

    /// Whether its callers speak TLS.
    pub(super) const fn is_over_tls(self) -> bool {
        matches!(self, Self::S7 | Self::S8 | Self::H1 | Self::H2 | Self::M2 | Self::K2)
    }

    /// Whether each caller holds a stream, rather than a connection between two requests.
    pub(super) const fn holds_streams(self) -> bool {
        matches!(self, Self::S4 | Self::M2)
    }

    /// Whether it is about memory, which wants a fresh process each time.
    pub(super) fn is_memory(self) -> bool {
        matches!(self.quantity(), Quantity::Memory | Quantity::MemoryPerConnection)
    }

    /// The load, without where it goes. `scale` shrinks the number of connections for a quick look.
    pub(super) fn load(self, scale: f64) -> Options {
        let scaled = |count: f64| (count * scale).ceil() as usize;
        let mut options = Options::against("http://127.0.0.1:0");
        options.duration_s = 3_600.0;
        options.timeout_s = 3_600.0;
        options.grace_s = 0.0;
        options.body_bytes = Some(400);
        options.mode = Mode::Json;
        match self {
            Self::S1 | Self::S7 => options.concurrency = 64,
            // Without load.
            Self::M1 => {}
            Self::S2 | Self::S8 => {
                options.mode = Mode::Stream;
                options.concurrency = 64;
                options.events = 5_000;
            }
            Self::S3 => {
                options.mode = Mode::Stream;
                options.concurrency = scaled(1_000.0);
                options.ramp_s = 1.0;
                options.pace_us = 20_000;
                options.events = 1_000_000;
            }
            Self::S4 | Self::M2 => {
                options.mode = Mode::Stream;
                options.concurrency = scaled(1_000.0);
                options.ramp_s = 1.0;
                // One event comes at once, the next one after an hour.
                options.events = 2;
                options.pace_us = 3_600_000_000;
            }
            Self::S5 => {
                options.concurrency = 16;
                options.body_bytes = Some(200 * 1024);
            }
            Self::S6 | Self::H1 | Self::H2 => {
                options.mode = Mode::NewConnection;
                options.concurrency = 16;
                options.full_handshakes = self == Self::H1;
            }
            Self::K1 | Self::K2 => {
                options.concurrency = scaled(1_000.0);
                options.ramp_s = 1.0;
                // Each caller sends one request in half an hour.
                options.rate = options.concurrency as f64 / 1_800.0;
            }
            Self::L1 => options.concurrency = 1,
            Self::L2 => {
                options.mode = Mode::Stream;
                options.concurrency = 1;
                options.events = 1;
            }
        }
        options
    }
}
