//! Which I/O driver a core runs on, found out before it starts.
//!
//! The set-up flags of the ring decide more than any code of ours: with its default flags `io_uring` costs 30 % more CPU per
//! request than with `SINGLE_ISSUER | DEFER_TASKRUN`. Not every kernel takes them, containers commonly forbid `io_uring`
//! altogether, and some forbid only `io_uring_enter`, on which `monoio` spins for ever without a word. So each core first
//! makes a ring of its own with the wanted flags and enters it once; what fails moves it on to the next choice, and epoll is
//! the last.

use std::fmt;

use io_uring::{Builder, IoUring};
use monoio::{IoUringDriver, LegacyDriver, RuntimeBuilder};

use crate::settings::DriverChoice;

/// Ring entries; the completion queue is twice as long.
const RING_ENTRIES: u32 = 4096;

/// The driver that a core runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Driver {
    /// io_uring with `SINGLE_ISSUER | DEFER_TASKRUN` (Linux 6.1).
    UringDefer,
    /// io_uring with `COOP_TASKRUN | TASKRUN_FLAG` (Linux 5.19).
    UringCoop,
    /// io_uring with default flags (Linux 5.6).
    Uring,
    /// epoll.
    Epoll,
}

impl Driver {
    /// Name as written in settings, logs and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::UringDefer => "uring_defer",
            Self::UringCoop => "uring_coop",
            Self::Uring => "uring",
            Self::Epoll => "epoll",
        }
    }

    /// The best driver that this thread can really use, at most as good as `choice` asks.
    ///
    /// Returns with it why each better one was passed over, for the log: a silent fall-back to epoll is the commonest
    /// surprise of io_uring deployments.
    #[must_use]
    pub fn probe(choice: DriverChoice) -> (Self, Vec<PassedOver>) {
        let candidates: &[Self] = match choice {
            DriverChoice::Auto | DriverChoice::UringDefer => {
                &[Self::UringDefer, Self::UringCoop, Self::Uring]
            }
            DriverChoice::UringCoop => &[Self::UringCoop, Self::Uring],
            DriverChoice::Uring => &[Self::Uring],
            DriverChoice::Epoll => &[],
        };
        let mut passed_over = Vec::new();
        for &driver in candidates {
            match driver.try_ring() {
                Ok(()) => return (driver, passed_over),
                Err(error) => passed_over.push(PassedOver { driver, error }),
            }
        }
        (Self::Epoll, passed_over)
    }

    /// Makes a ring of full size with this driver's flags and enters it once.
    fn try_ring(self) -> std::io::Result<()> {
        let ring: IoUring = self.ring_builder().build(RING_ENTRIES)?;
        // With nothing queued this is one `io_uring_enter` that returns at once, or says that it is forbidden.
        ring.submit()?;
        Ok(())
    }

    fn ring_builder(self) -> Builder {
        let mut builder = IoUring::builder();
        match self {
            Self::UringDefer => {
                builder.setup_single_issuer().setup_defer_taskrun();
            }
            Self::UringCoop => {
                builder.setup_coop_taskrun().setup_taskrun_flag();
            }
            Self::Uring | Self::Epoll => {}
        }
        builder
    }

    /// Builds a runtime on this driver and runs `main` to its end on the calling thread.
    ///
    /// # Errors
    /// The runtime could not be built although the probe passed (a limit was reached in between).
    pub fn run<F: Future>(self, main: F) -> std::io::Result<F::Output> {
        match self {
            Self::UringDefer | Self::UringCoop | Self::Uring => {
                let mut runtime = RuntimeBuilder::<IoUringDriver>::new()
                    .with_entries(RING_ENTRIES)
                    .uring_builder(self.ring_builder())
                    .enable_timer()
                    .build()?;
                Ok(runtime.block_on(main))
            }
            Self::Epoll => {
                let mut runtime =
                    RuntimeBuilder::<LegacyDriver>::new().with_entries(1024).enable_timer().build()?;
                Ok(runtime.block_on(main))
            }
        }
    }
}

/// A driver that a core could not use, and why.
#[derive(Debug)]
pub struct PassedOver {
    /// The driver.
    pub driver: Driver,
    /// What the kernel said.
    pub error: std::io::Error,
}

impl fmt::Display for PassedOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.driver.name(), self.error)
    }
}
