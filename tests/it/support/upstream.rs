//! The model server's side: a listener whose connections a test plays by hand, or hands to a script.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Instant;

use rustix::net::{AddressFamily, SocketType, bind, getsockname, listen, socket};

use super::connection::{Connection, PATIENCE};
use super::message::Message;

/// An upstream played by the test itself: `accept` a connection, read a request from it, send what it likes.
/// Nothing happens here that the test did not write, so the order of events is the order of its lines.
#[derive(Debug)]
pub(crate) struct Upstream {
    listener: TcpListener,
}

impl Upstream {
    pub(crate) fn bind() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port for an upstream");
        listener.set_nonblocking(true).unwrap();
        Self { listener }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// The next connection that the proxy opens.
    pub(crate) fn accept(&self) -> Connection {
        let patience = Instant::now() + PATIENCE;
        loop {
            if let Some(connection) = self.try_accept() {
                return connection;
            }
            assert!(Instant::now() < patience, "the proxy did not connect to the upstream");
            thread::sleep(std::time::Duration::from_micros(200));
        }
    }

    pub(crate) fn try_accept(&self) -> Option<Connection> {
        let (stream, _) = self.listener.accept().ok()?;
        stream.set_nonblocking(false).unwrap();
        Some(Connection::from(stream))
    }

    /// Hands every connection to `script`, each on its own thread, numbered from 0 in the order of arrival.
    pub(crate) fn play(self, script: impl Fn(usize, Connection) + Send + Sync + 'static) {
        self.listener.set_nonblocking(false).unwrap();
        let script = Arc::new(script);
        thread::spawn(move || {
            for (number, stream) in self.listener.incoming().enumerate() {
                let Ok(stream) = stream else { continue };
                let script = Arc::clone(&script);
                thread::spawn(move || script(number, Connection::from(stream)));
            }
        });
    }

    /// Answers every request of every connection with `answer`, kept alive, and passes on what was asked.
    pub(crate) fn answer(
        self,
        answer: impl Fn(&Message) -> Vec<u8> + Send + Sync + 'static,
    ) -> Receiver<Message> {
        let (seen, requests) = channel();
        self.play(move |_, mut connection| {
            while connection.read_some() {
                let request = connection.request();
                let bytes = answer(&request);
                // The test may have heard enough.
                let _ = seen.send(request);
                if !connection.offer(bytes) {
                    return;
                }
            }
        });
        requests
    }
}

/// A port at which nobody listens, kept from everybody else: one that was bound and given back may be the next test's.
#[derive(Debug)]
pub(crate) struct Nobody {
    socket: OwnedFd,
    pub(crate) address: SocketAddr,
}

impl Nobody {
    pub(crate) fn bind() -> Self {
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        bind(&socket, &SocketAddr::from(([127, 0, 0, 1], 0))).expect("a port");
        let address = SocketAddr::try_from(getsockname(&socket).unwrap()).unwrap();
        Self { socket, address }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on somebody does.
    pub(crate) fn listen(self) -> TcpListener {
        listen(&self.socket, 128).unwrap();
        TcpListener::from(self.socket)
    }
}

/// A JSON answer with a length.
pub(crate) fn json_answer(body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}")
        .into_bytes()
}

/// The head of a chunked event stream.
pub(crate) const STREAM_HEAD: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";

/// One event of a completion stream, in the OpenAI dialect.
pub(crate) const DELTA: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n";
/// The event that carries nothing but usage: 7 prompt tokens, 2 completion tokens.
pub(crate) const USAGE: &str =
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":2,\"total_tokens\":9}}\n\n";
/// The last event.
pub(crate) const DONE: &str = "data: [DONE]\n\n";
