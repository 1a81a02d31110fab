//! Loading tables on a thread of their own, so that the ops listener answers while a million PATs are compiled; and the names
//! in them, which only such a thread resolves.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc;

use monoio::io::AsyncReadRent;

use crate::tables::{LoadError, Resolve, Tables};

/// The system's resolver, and what it said before: a name that cannot be resolved now keeps its last good addresses.
#[derive(Debug, Default)]
pub(super) struct SystemResolver {
    last_good: HashMap<(String, u16), Vec<SocketAddr>>,
}

impl Resolve for SystemResolver {
    fn resolve(&mut self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let key = (host.to_owned(), port);
        let resolved = (host, port).to_socket_addrs().map(Iterator::collect::<Vec<_>>);
        match resolved {
            Ok(addresses) if !addresses.is_empty() => {
                self.last_good.insert(key, addresses.clone());
                Ok(addresses)
            }
            failed => self.last_good.get(&key).cloned().map_or(failed, Ok),
        }
    }
}

/// How a load ended.
#[derive(Debug)]
pub(super) enum Loaded {
    /// There are new tables.
    Tables(Box<Tables>),
    /// The file is wrong or cannot be read; what is in force stays.
    Refused(LoadError),
    /// The loading thread panicked or could not be started.
    Failed,
}

/// Loads and compiles `path` on another thread while this one goes on.
///
/// * `resolver`: taken along and given back, empty if the load failed.
pub(super) async fn load(path: &Path, generation: u64, resolver: SystemResolver) -> (Loaded, SystemResolver) {
    let path = path.to_owned();
    let result = on_thread(move || {
        let mut resolver = resolver;
        (Tables::load(&path, generation, &mut resolver), resolver)
    });
    match result.await {
        Some((Ok(tables), resolver)) => (Loaded::Tables(Box::new(tables)), resolver),
        Some((Err(error), resolver)) => (Loaded::Refused(error), resolver),
        None => (Loaded::Failed, SystemResolver::default()),
    }
}

/// Runs `work` on a thread of its own and waits for it without blocking this one. `None` if it panicked or never started.
async fn on_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (sender, receiver) = mpsc::channel();
    // The runtime cannot be woken by another thread, but it polls descriptors: the thread's end closes this one.
    let (bell, rope) = UnixStream::pair().ok()?;
    bell.set_nonblocking(true).ok()?;
    let mut bell = monoio::net::UnixStream::from_std(bell).ok()?;
    let thread = std::thread::Builder::new().name("loader".to_owned()).spawn(move || {
        let _rope = rope;
        // Nobody listens any more only while the process ends.
        let _ = sender.send(work());
    });
    thread.ok()?;
    let (_end, _buffer) = bell.read(vec![0; 1]).await;
    receiver.try_recv().ok()
}

/// Drops what may take long to drop on a thread that nobody waits for.
pub(super) fn drop_elsewhere<T: Send + 'static>(thing: T) {
    // If no thread can be started, the closure, and `thing` with it, is dropped here.
    let _ = std::thread::Builder::new().name("dropper".to_owned()).spawn(move || drop(thing));
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[monoio::test(driver = "legacy", timer_enabled = true)]
    async fn work_on_another_thread_is_waited_for_and_a_panic_there_is_no_panic_here() {
        assert_eq!(on_thread(|| 7).await, Some(7));
        let slow = || {
            std::thread::sleep(Duration::from_millis(20));
            8
        };
        assert_eq!(on_thread(slow).await, Some(8));
        assert_eq!(on_thread(|| -> u8 { panic!("on purpose") }).await, None);
    }

    #[test]
    fn a_name_that_cannot_be_resolved_any_more_keeps_its_last_addresses() {
        let mut resolver = SystemResolver::default();
        let addresses = resolver.resolve("localhost", 80).expect("every machine has it");
        assert!(addresses.iter().all(|address| address.ip().is_loopback() && address.port() == 80));

        let last = vec!["192.0.2.1:80".parse().expect("an address")];
        resolver.last_good.insert(("no-such-host.invalid".to_owned(), 80), last.clone());
        assert_eq!(resolver.resolve("no-such-host.invalid", 80).expect("the last good ones"), last);
        assert!(resolver.resolve("other-host.invalid", 80).is_err());
    }
}
