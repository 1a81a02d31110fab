//! Readiness of one descriptor: a poll that stays armed between waits.
//!
//! `monoio` offers readiness as a future that borrows its stream. Made anew for every wait it would cost one operation and
//! one cancellation each time somebody waits for two things at once, and that is what a proxy always does. So each descriptor
//! carries one endless future, boxed once, that arms a poll, reports it and waits to be told that the report is used up.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use monoio::net::TcpStream;

/// The endless future of one direction; it never completes.
type Poller = Pin<Box<dyn Future<Output = ()>>>;

#[derive(Clone, Copy)]
enum Direction {
    Read,
    Write,
}

struct Shared {
    stream: TcpStream,
    /// A poll has completed and nobody has used it up.
    readable: Cell<bool>,
    writable: Cell<bool>,
}

/// A descriptor with its readiness. Any descriptor that can be polled will do: connections, listeners, event counters.
pub struct ReadyFd {
    shared: Rc<Shared>,
    read_poller: RefCell<Poller>,
    /// Made when a send first finds no room: most connections never need it.
    write_poller: RefCell<Option<Poller>>,
}

impl ReadyFd {
    /// Takes `fd` into this core's runtime.
    ///
    /// # Errors
    /// The runtime could not register it (epoll only).
    pub fn new(fd: OwnedFd) -> io::Result<Self> {
        // The runtime's stream type is only the handle that owns a descriptor and polls it; no stream call is made on it.
        Ok(Self::from_stream(TcpStream::from_std(std::net::TcpStream::from(fd))?))
    }

    pub(super) fn from_stream(stream: TcpStream) -> Self {
        let shared = Rc::new(Shared { stream, readable: Cell::new(false), writable: Cell::new(false) });
        let read_poller = RefCell::new(poller(Rc::clone(&shared), Direction::Read));
        Self { shared, read_poller, write_poller: RefCell::new(None) }
    }

    /// Ready until [`ReadyFd::consumed_read`]; arms the poll when it is not.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.shared.readable.get() {
            let _ = self.read_poller.borrow_mut().as_mut().poll(cx);
        }
        if self.shared.readable.get() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Ready until [`ReadyFd::consumed_write`]; arms the poll when it is not.
    pub fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.shared.writable.get() {
            let mut poller_slot = self.write_poller.borrow_mut();
            let write_poller =
                poller_slot.get_or_insert_with(|| poller(Rc::clone(&self.shared), Direction::Write));
            let _ = write_poller.as_mut().poll(cx);
        }
        if self.shared.writable.get() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Waits for [`ReadyFd::poll_readable`].
    pub async fn readable(&self) {
        poll_fn(|cx| self.poll_readable(cx)).await;
    }

    /// Something has probably arrived: the next read finds out by itself, without a poll.
    pub fn assume_readable(&self) {
        self.shared.readable.set(true);
    }

    /// Whether a read may still find something, as far as is known without asking.
    pub(super) fn seems_readable(&self) -> bool {
        self.shared.readable.get()
    }

    /// What was readable has been read: the next wait arms a new poll.
    pub fn consumed_read(&self) {
        self.shared.readable.set(false);
    }

    /// The send buffer is full: the next wait arms a new poll.
    pub fn consumed_write(&self) {
        self.shared.writable.set(false);
    }

    /// The descriptor, for system calls.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        borrow_fd(&self.shared.stream)
    }
}

impl fmt::Debug for ReadyFd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadyFd").field("fd", &self.shared.stream.as_raw_fd()).finish_non_exhaustive()
    }
}

/// The endless future: arm, report, wait until the report is used up, again.
fn poller(shared: Rc<Shared>, direction: Direction) -> Poller {
    Box::pin(async move {
        loop {
            // `relaxed = false`: on epoll the readiness is checked with `poll(2)`, for we read behind the driver's back. A poll
            // that fails is reported as ready; the system call that follows then says why.
            let ready = match direction {
                Direction::Read => {
                    let _ = shared.stream.readable(false).await;
                    &shared.readable
                }
                Direction::Write => {
                    let _ = shared.stream.writable(false).await;
                    &shared.writable
                }
            };
            ready.set(true);
            poll_fn(|_| if ready.get() { Poll::Pending } else { Poll::Ready(()) }).await;
        }
    })
}

#[expect(unsafe_code, reason = "monoio's stream implements AsRawFd but not AsFd")]
fn borrow_fd(stream: &TcpStream) -> BorrowedFd<'_> {
    let raw: RawFd = stream.as_raw_fd();
    // SAFETY: the stream owns the descriptor and closes it only when dropped; the returned value borrows the stream, so it
    // cannot outlive it.
    unsafe { BorrowedFd::borrow_raw(raw) }
}
