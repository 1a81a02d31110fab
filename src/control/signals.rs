//! Signals as things to wait for.
//!
//! | signal | meaning |
//! |---|---|
//! | SIGHUP | load the tables again, open the access log again |
//! | SIGTERM, SIGINT | drain and end; a second one ends at once |

use std::io;
use std::os::unix::net::UnixStream;

use monoio::io::AsyncReadRent;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::low_level::pipe;

/// The signals that the process takes, from [`Signals::catch`] on.
#[derive(Debug)]
pub(super) struct Signals {
    pub(super) reload: UnixStream,
    pub(super) end: UnixStream,
}

impl Signals {
    /// Takes the signals over from their default actions. Those that come before somebody waits are kept.
    ///
    /// # Errors
    /// Out of descriptors.
    pub(super) fn catch() -> io::Result<Self> {
        Ok(Self { reload: caught(&[SIGHUP])?, end: caught(&[SIGTERM, SIGINT])? })
    }
}

/// A stream that has a byte to read for each of `signals` that came.
fn caught(signals: &[i32]) -> io::Result<UnixStream> {
    let (receiver, sender) = UnixStream::pair()?;
    receiver.set_nonblocking(true)?;
    for signal in signals {
        pipe::register(*signal, sender.try_clone()?)?;
    }
    Ok(receiver)
}

/// One such stream on the control thread's runtime.
#[derive(Debug)]
pub(super) struct SignalStream(monoio::net::UnixStream);

impl SignalStream {
    pub(super) fn new(stream: UnixStream) -> io::Result<Self> {
        monoio::net::UnixStream::from_std(stream).map(Self)
    }

    /// Waits for the next signal; several that came meanwhile count as one.
    pub(super) async fn next(&mut self) {
        let (result, _) = self.0.read(vec![0; 64]).await;
        if !matches!(result, Ok(1..)) {
            // The other end lives in the signal handler and is never closed; were it so, no signal would come any more.
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[monoio::test(driver = "legacy", timer_enabled = true)]
    async fn a_signal_is_waited_for_and_one_that_came_early_is_kept() {
        // A signal that nothing else in this program uses.
        let signal = signal_hook::consts::SIGUSR2;
        let mut stream = SignalStream::new(caught(&[signal]).expect("descriptors")).expect("a stream");
        let wait = Duration::from_millis(20);
        assert!(monoio::time::timeout(wait, stream.next()).await.is_err(), "none came yet");
        for _ in 0..3 {
            signal_hook::low_level::raise(signal).expect("a signal to ourselves");
        }
        stream.next().await;
        assert!(monoio::time::timeout(wait, stream.next()).await.is_err(), "three at once count as one");
    }
}
