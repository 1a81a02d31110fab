//! The ops listener: HTTP/1.1 for operators and their tools, on the control thread, apart from the data path.
//!
//! A head is read into a bounded buffer, held to the rules of [`crate::http1`], and only then given to monoio-http's decoder,
//! which by itself bounds nothing; answers are whole and go out through its encoder. No request here has a body.
//!
//! # Bounds
//! 64 connections, 8 KiB of head, and a time for each wait; see the constants. A slow scraper costs itself, nothing else:
//! answers are made in one go and the data path never waits for this thread.

mod connection;

use std::cell::Cell;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::time::Duration;

use http::StatusCode;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use crate::cores::fenced;

/// Connections at once. Scrapers and health checks of a whole team are a handful.
const CONNECTIONS_MAX: usize = 64;
/// After `accept` failed, out of descriptors as a rule.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Connections that wait to be accepted.
const BACKLOG: i32 = 128;

/// One answer.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) content_type: &'static str,
    pub(super) body: String,
}

impl Reply {
    /// An answer for people.
    pub(super) fn text(status: StatusCode, body: impl Into<String>) -> Self {
        Self { status, content_type: "text/plain; charset=utf-8", body: body.into() }
    }
}

/// What the listener serves.
pub(super) trait Answers: 'static {
    /// The answer to `GET path`; the query is not looked at.
    fn answer(&self, path: &str) -> impl Future<Output = Reply>;
}

/// Binds the listener. `shared`: another instance may have it as well; otherwise a second one fails here.
pub(super) fn bind(address: SocketAddr, shared: bool) -> io::Result<TcpListener> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    sockopt::set_socket_reuseport(&socket, shared)?;
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(TcpListener::from(socket))
}

/// Accepts and serves for ever.
pub(super) async fn serve<A: Answers>(listener: monoio::net::TcpListener, answers: Rc<A>) {
    let open = Rc::new(Cell::new(0));
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // Above the limit the connection is closed at once: the slot goes with `stream`.
                let Some(slot) = Slot::take(&open) else { continue };
                let answers = Rc::clone(&answers);
                monoio::spawn(async move {
                    let _slot = slot;
                    // A panic has been reported by then; it ends this connection only.
                    let _ = fenced(Box::pin(connection::serve(stream, &*answers))).await;
                });
            }
            Err(_) => monoio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

/// One of [`CONNECTIONS_MAX`].
struct Slot(Rc<Cell<usize>>);

impl Slot {
    fn take(open: &Rc<Cell<usize>>) -> Option<Self> {
        if open.get() >= CONNECTIONS_MAX {
            return None;
        }
        open.set(open.get() + 1);
        Some(Self(Rc::clone(open)))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

#[cfg(test)]
mod tests;
