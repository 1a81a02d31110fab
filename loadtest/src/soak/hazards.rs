//! What no friendly caller does: PATs that are refused, bytes that are no HTTP, connections that are dropped half-way.

use crate::bench::peers::Running;
use crate::fetch::{self, Origin};
use anyhow::{Result, bail};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Heads that must be refused, or be dropped half-way.
const NO_HTTP: [&[u8]; 10] = [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET /proxy/bench/v1/models HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
    b"POST /proxy/bench/v1/chat/completions HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n",
    b"POST /proxy/bench/v1/chat/completions HTTP/1.1\r\nhost: a\r\ncontent-length: +5\r\n\r\nhello",
    b"GET /proxy/bench/../x HTTP/1.1\r\nhost: a\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET / HTTP/1.1\nhost: a\n\n",
    b"POST /proxy/bench/v1/chat/completions HTTP/1.1\r\nhost: a\r\ncont",
    b"",
];

/// The thread that does it.
#[derive(Debug)]
pub(super) struct Hazards {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<u64>>,
}

impl Hazards {
    pub(super) fn start(proxy: &Running) -> Result<Self> {
        let origin = Origin::parse(&proxy.origin)?;
        let address = origin.address()?;
        let refused = proxy.refused.clone();
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = std::thread::Builder::new().name("hazards".to_owned()).spawn(move || {
            let mut sent = 0;
            while !told.load(Ordering::Relaxed) {
                for (pat, status) in &refused {
                    refuse(address, &origin, pat, *status)?;
                    sent += 1;
                }
                for bytes in NO_HTTP {
                    drop_half_way(address, bytes)?;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            Ok(sent)
        })?;
        Ok(Self { stop, thread })
    }

    /// Ends it; gives how many requests with a PAT that is refused were sent.
    pub(super) fn stop(self) -> Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow::anyhow!("the hazards panicked"))?
    }
}

fn refuse(address: SocketAddr, origin: &Origin, pat: &str, status: u16) -> Result<()> {
    let path = format!("{}/v1/chat/completions", origin.base);
    let fields = format!("authorization: Bearer {pat}\r\n");
    let answer = fetch::post(address, &origin.authority, &path, &fields, r#"{"model":"demo-model"}"#)?;
    if answer.status != status {
        bail!("a PAT that is to be refused with {status} got {}", answer.status);
    }
    Ok(())
}

fn drop_half_way(address: SocketAddr, bytes: &[u8]) -> Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_millis(2)))?;
    // The proxy may close at any point: none of this can fail in a way that matters.
    let _ = stream.write_all(bytes);
    let _ = stream.read(&mut [0; 512]);
    Ok(())
}
