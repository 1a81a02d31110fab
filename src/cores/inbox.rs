//! The one door between threads: what the control thread and the other cores may say to a core.
//!
//! A core shares nothing. Whoever wants something from it puts a [`CoreMessage`] into its inbox and rings a bell (an event
//! counter that the core polls like any socket). The core empties its inbox between turns. The control thread has an inbox of the
//! same make, for what its helping threads have to say.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use rustix::event::EventfdFlags;

use crate::meter::CoreReport;
use crate::settings::Paths;
use crate::socket::ReadyFd;
use crate::tables::{Neighbours, Tables};
use crate::tls::Terms;

/// What a core can be told.
#[derive(Debug)]
pub enum CoreMessage {
    /// Decide with these tables from the next request on; the core says its number once it does.
    Adopt(Arc<Tables>, Reply<usize>),
    /// Say how you are, in a few words; [`CoreMessage::Report`] is the long answer.
    Pulse(Reply<Pulse>),
    /// A connection that another core accepted and this one has more room for, and by which listener it came.
    Connection(OwnedFd, SocketAddr, Via),
    /// Shake hands on these terms from the next handshake on.
    Terms(Arc<Terms>),
    /// The servers that the settings name are there from the next request on.
    Neighbours(Arc<Neighbours>),
    /// Copy your counters out; the reply channel is dropped unanswered if the core ends.
    Report(Sender<CoreReport>),
    /// Finish: close after each answer from now on. See [`crate::cores`].
    Drain,
    /// The drain's grace for new connections is over: stop accepting and close idle connections.
    StopAccepting,
    /// The drain's deadline has come: end every request now, with a record.
    Cut,
}

/// What a connection of a caller speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// HTTP as it is.
    Plain,
    /// HTTP inside TLS.
    Tls,
}

/// By which listener a connection came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Via {
    /// Which paths it serves.
    pub paths: Paths,
    /// What is spoken on it.
    pub over: Over,
}

/// How a core answers one message. What is called runs on the core's own thread: it must not block.
pub struct Reply<T>(Option<Box<dyn FnOnce(T) + Send>>);

impl<T> Reply<T> {
    /// Nobody wants to know.
    #[must_use]
    pub const fn none() -> Self {
        Self(None)
    }

    /// Calls `answer`, which must not block: it sends into a channel without bound, or stores an atomic.
    #[must_use]
    pub fn new(answer: impl FnOnce(T) + Send + 'static) -> Self {
        Self(Some(Box::new(answer)))
    }

    /// Answers.
    pub fn send(self, value: T) {
        if let Some(answer) = self.0 {
            answer(value);
        }
    }
}

impl<T> fmt::Debug for Reply<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Reply(…)" } else { "Reply(none)" })
    }
}

/// How a core is, in a few words.
#[derive(Clone, Copy, Debug)]
pub struct Pulse {
    /// Its number.
    pub core: usize,
    /// Name of the I/O driver it runs on.
    pub driver: &'static str,
    /// Requests in progress.
    pub inflight: u64,
}

/// The sending side of an inbox; cloned to whoever may speak to its owner.
#[derive(Debug)]
pub struct Door<T> {
    sender: Sender<T>,
    bell: Arc<OwnedFd>,
}

/// The door of a core.
pub type CoreHandle = Door<CoreMessage>;

impl<T> Clone for Door<T> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone(), bell: Arc::clone(&self.bell) }
    }
}

/// The core is gone; only seen while the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the core has ended")]
pub struct CoreEnded;

impl<T> Door<T> {
    /// Puts a message into the inbox and wakes its owner. Never blocks. Cost: one allocation, one system call; a sleeping
    /// core answers some 20 µs later.
    ///
    /// # Errors
    /// [`CoreEnded`]: the message is lost with the owner of the inbox.
    pub fn send(&self, message: T) -> Result<(), CoreEnded> {
        self.sender.send(message).map_err(|_| CoreEnded)?;
        // The counter cannot overflow into EAGAIN before 2^64 - 2 unread rings.
        rustix::io::write(&*self.bell, &1_u64.to_ne_bytes()).map_err(|_| CoreEnded)?;
        Ok(())
    }
}

/// The receiving side, made on any thread and moved to its owner, which then opens it.
#[derive(Debug)]
pub struct Inbox<T = CoreMessage> {
    receiver: Receiver<T>,
    bell: Arc<OwnedFd>,
}

/// Makes an inbox and the handle to it.
///
/// # Errors
/// Out of descriptors.
pub fn inbox<T>() -> io::Result<(Door<T>, Inbox<T>)> {
    let (sender, receiver) = channel();
    let bell = Arc::new(rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
    Ok((Door { sender, bell: Arc::clone(&bell) }, Inbox { receiver, bell }))
}

/// An inbox that its owner polls.
#[derive(Debug)]
pub struct OpenInbox<T = CoreMessage> {
    receiver: Receiver<T>,
    bell: ReadyFd,
}

impl<T> Inbox<T> {
    /// Registers the bell with the runtime of the calling thread.
    ///
    /// # Errors
    /// Out of descriptors.
    pub fn open(self) -> io::Result<OpenInbox<T>> {
        Ok(OpenInbox { receiver: self.receiver, bell: ReadyFd::new(self.bell.try_clone()?)? })
    }
}

impl<T> OpenInbox<T> {
    /// Waits for the bell and returns what lies in the inbox, oldest first.
    pub async fn messages(&self) -> impl Iterator<Item = T> + '_ {
        self.bell.readable().await;
        let mut count = [0_u8; 8];
        // Reading resets the counter. EAGAIN would mean a ring was counted already: the inbox is looked at all the same.
        let _ = rustix::io::read(self.bell.fd(), &mut count);
        self.bell.consumed_read();
        self.receiver.try_iter()
    }
}
