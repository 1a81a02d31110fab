//! Readiness of sockets: epoll, level triggered, with timeouts in nanoseconds. Paced streams need better than epoll's
//! usual millisecond: 1,000 streams at 50 events a second are an event every 20 µs.

use crate::clock;
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::fd::{AsFd, OwnedFd};
use std::io;

/// What a socket is watched for. Hang-ups and errors always wake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Only hang-ups and errors: the input is full and nothing waits to be written.
    Nothing,
    /// Bytes to read.
    Read,
    /// Room to write.
    Write,
    /// Both.
    ReadWrite,
}

impl Interest {
    /// Interest in reading, in writing.
    #[must_use]
    pub const fn of(read: bool, write: bool) -> Self {
        match (read, write) {
            (false, false) => Self::Nothing,
            (true, false) => Self::Read,
            (false, true) => Self::Write,
            (true, true) => Self::ReadWrite,
        }
    }

    const fn flags(self) -> EventFlags {
        match self {
            Self::Nothing => EventFlags::empty(),
            Self::Read => EventFlags::IN,
            Self::Write => EventFlags::OUT,
            Self::ReadWrite => EventFlags::IN.union(EventFlags::OUT),
        }
    }
}

/// One socket's readiness. `key` is what it was registered under.
#[derive(Clone, Copy, Debug)]
pub struct Ready {
    /// The caller's name for the socket.
    pub key: u64,
    /// Bytes, an end of stream or an error wait to be read.
    pub readable: bool,
    /// A write would take at least one byte, or would tell the error.
    pub writable: bool,
}

/// A set of watched sockets. Sockets leave it by being closed.
pub struct Poller {
    epoll: OwnedFd,
    events: Vec<Event>,
}

impl Poller {
    /// An empty set that hands out at most `batch` sockets per turn.
    ///
    /// # Errors
    /// The kernel has no descriptor left.
    pub fn new(batch: usize) -> io::Result<Self> {
        Ok(Self { epoll: epoll::create(CreateFlags::CLOEXEC)?, events: Vec::with_capacity(batch) })
    }

    /// Starts watching `source`.
    ///
    /// # Errors
    /// As `epoll_ctl`: out of memory or of watches.
    pub fn add(&self, source: impl AsFd, key: u64, interest: Interest) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, source, EventData::new_u64(key), interest.flags())?)
    }

    /// Changes what `source` is watched for.
    ///
    /// # Errors
    /// As `epoll_ctl`: the source was never added.
    pub fn modify(&self, source: impl AsFd, key: u64, interest: Interest) -> io::Result<()> {
        Ok(epoll::modify(&self.epoll, source, EventData::new_u64(key), interest.flags())?)
    }

    /// Waits at most `timeout_ns` (for ever if `None`) and gives what is ready.
    ///
    /// # Errors
    /// Never an interruption: a signal ends the wait with nothing ready.
    pub fn wait(&mut self, timeout_ns: Option<u64>) -> io::Result<impl Iterator<Item = Ready> + '_> {
        self.events.clear();
        let timeout = timeout_ns.map(clock::timespec);
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let broken = EventFlags::HUP | EventFlags::ERR;
        Ok(self.events.iter().map(move |event| {
            let flags = event.flags;
            Ready {
                key: event.data.u64(),
                readable: flags.intersects(EventFlags::IN | broken),
                writable: flags.intersects(EventFlags::OUT | broken),
            }
        }))
    }
}
