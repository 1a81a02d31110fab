//! The one door between threads: what the control thread and the other cores may say to a core.
//!
//! A core shares nothing. Whoever wants something from it puts a [`CoreMessage`] into its inbox and rings a bell (an event
//! counter that the core polls like any socket). The core empties its inbox between turns.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use rustix::event::EventfdFlags;

use crate::meter::CoreReport;
use crate::socket::ReadyFd;
use crate::tables::Tables;

/// What a core can be told.
#[derive(Debug)]
pub enum CoreMessage {
    /// Decide with these tables from the next request on.
    Adopt(Arc<Tables>),
    /// A connection that another core accepted and this one has more room for.
    Connection(OwnedFd, SocketAddr),
    /// Copy your counters out; the reply channel is dropped unanswered if the core ends.
    Report(Sender<CoreReport>),
    /// Finish: close after each answer from now on. See [`crate::cores`].
    Drain,
    /// The drain's grace for new connections is over: stop accepting and close idle connections.
    StopAccepting,
    /// The drain's deadline has come: end every request now, with a record.
    Cut,
}

/// The sending side of one core's inbox; cloned to whoever may speak to it.
#[derive(Clone, Debug)]
pub struct CoreHandle {
    sender: Sender<CoreMessage>,
    bell: Arc<OwnedFd>,
}

/// The core is gone; only seen while the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the core has ended")]
pub struct CoreEnded;

impl CoreHandle {
    /// Puts a message into the core's inbox and wakes it. Never blocks. Cost: one allocation, one system call; a sleeping
    /// core answers some 20 µs later.
    ///
    /// # Errors
    /// [`CoreEnded`]: the message is lost with the core.
    pub fn send(&self, message: CoreMessage) -> Result<(), CoreEnded> {
        self.sender.send(message).map_err(|_| CoreEnded)?;
        // The counter cannot overflow into EAGAIN before 2^64 - 2 unread rings.
        rustix::io::write(&*self.bell, &1_u64.to_ne_bytes()).map_err(|_| CoreEnded)?;
        Ok(())
    }
}

/// The receiving side, made on any thread and moved to its core, which then opens it.
#[derive(Debug)]
pub struct Inbox {
    receiver: Receiver<CoreMessage>,
    bell: Arc<OwnedFd>,
}

/// Makes an inbox and the handle to it.
///
/// # Errors
/// Out of descriptors.
pub fn inbox() -> io::Result<(CoreHandle, Inbox)> {
    let (sender, receiver) = channel();
    let bell = Arc::new(rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
    Ok((CoreHandle { sender, bell: Arc::clone(&bell) }, Inbox { receiver, bell }))
}

/// An inbox that its core polls.
#[derive(Debug)]
pub struct OpenInbox {
    receiver: Receiver<CoreMessage>,
    bell: ReadyFd,
}

impl Inbox {
    /// Registers the bell with the runtime of the calling core.
    ///
    /// # Errors
    /// Out of descriptors.
    pub fn open(self) -> io::Result<OpenInbox> {
        Ok(OpenInbox { receiver: self.receiver, bell: ReadyFd::new(self.bell.try_clone()?)? })
    }
}

impl OpenInbox {
    /// Waits for the bell and returns what lies in the inbox, oldest first.
    pub async fn messages(&self) -> impl Iterator<Item = CoreMessage> + '_ {
        self.bell.readable().await;
        let mut count = [0_u8; 8];
        // Reading resets the counter. EAGAIN would mean a ring was counted already: the inbox is looked at all the same.
        let _ = rustix::io::read(self.bell.fd(), &mut count);
        self.bell.consumed_read();
        self.receiver.try_iter()
    }
}
