//! Loading tables from a file, on a thread of its own, so that the ops listener answers while a million PATs are compiled.

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, mpsc};

use monoio::io::AsyncReadRent;

use super::names::{KnownNames, SystemResolver, look_up};
use crate::tables::{Addressed, LoadError, Tables};

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

/// Looks up the names in `what` again, on another thread. `None` in the first place: no address has changed.
pub(super) async fn look_up_again<T: Addressed + Send + Sync + 'static>(
    what: Arc<T>,
    resolver: SystemResolver,
) -> (Option<T>, SystemResolver) {
    let result = on_thread(move || {
        let mut resolver = resolver;
        let names = what.host_names();
        let found = look_up(&names);
        resolver.learn(&names, found);
        (what.with_addresses(&mut KnownNames::no_others(&mut resolver)), resolver)
    });
    result.await.unwrap_or_default()
}

/// Runs `work` on a thread of its own and waits for it without blocking this one. `None` if it panicked or never started.
pub(super) async fn on_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
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
}
