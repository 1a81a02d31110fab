//! A slot for one boxed future that poll-style code can fill again and again.

use std::{
    fmt,
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll},
};

use monoio::BufResult;

type LocalFuture<T> = Pin<Box<dyn Future<Output = T>>>;

/// One future at a time, on the heap, polled without pinning the owner.
///
/// *Armed* means: [`Self::arm_future`] put a future in and it has not finished. monoio-http asks [`Self::armed`] before it
/// starts an operation, so that an operation that is under way is polled and not started a second time.
pub struct MaybeArmedBoxFuture<T> {
    /// Empty once the future has finished: it must not be polled again.
    slot: Option<LocalFuture<T>>,
    armed: bool,
}

impl<T> MaybeArmedBoxFuture<T> {
    /// A slot that holds `first` but counts as unarmed: polling it without arming it gives `first`'s output.
    pub fn new<F>(first: F) -> Self
    where
        F: Future<Output = T> + 'static,
    {
        Self { slot: Some(Box::pin(first)), armed: false }
    }

    /// Whether a future was put in and has not finished.
    #[must_use]
    pub fn armed(&self) -> bool {
        self.armed
    }

    /// Puts a future in. One that was in there is dropped.
    pub fn arm_future<F>(&mut self, future: F)
    where
        F: Future<Output = T> + 'static,
    {
        self.slot = Some(Box::pin(future));
        self.armed = true;
    }

    /// Polls the future that is in the slot; when it finishes the slot is empty and unarmed.
    ///
    /// # Panics
    /// If the future has finished and no other was put in, as any future may that is polled after its end.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<T> {
        let future = self.slot.as_mut().expect("arm_future() comes before the next poll()");
        let output = std::task::ready!(future.as_mut().poll(cx));
        self.slot = None;
        self.armed = false;
        Poll::Ready(output)
    }
}

impl<T> fmt::Debug for MaybeArmedBoxFuture<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MaybeArmedBoxFuture").field("armed", &self.armed).finish_non_exhaustive()
    }
}

impl<B: Default + 'static> Default for MaybeArmedBoxFuture<BufResult<usize, B>> {
    fn default() -> Self {
        Self::new(async { (Ok(0), B::default()) })
    }
}

impl Default for MaybeArmedBoxFuture<io::Result<()>> {
    fn default() -> Self {
        Self::new(async { Ok(()) })
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::poll_fn,
        task::{Context, Poll, Waker},
    };

    use super::MaybeArmedBoxFuture;

    #[test]
    fn an_armed_slot_stays_armed_until_its_future_finishes() {
        let mut cx = Context::from_waker(Waker::noop());
        let mut slot = MaybeArmedBoxFuture::<u8>::new(async { 1 });
        assert!(!slot.armed());

        let mut turns = 0;
        slot.arm_future(poll_fn(move |_| {
            turns += 1;
            if turns < 3 { Poll::Pending } else { Poll::Ready(7) }
        }));
        for _ in 0..2 {
            assert!(slot.poll(&mut cx).is_pending());
            assert!(slot.armed());
        }
        assert_eq!(slot.poll(&mut cx), Poll::Ready(7));
        assert!(!slot.armed());

        slot.arm_future(async { 8 });
        assert_eq!(slot.poll(&mut cx), Poll::Ready(8));
    }

    #[test]
    fn a_slot_that_was_never_armed_gives_its_first_future() {
        let mut cx = Context::from_waker(Waker::noop());
        let mut slot = MaybeArmedBoxFuture::<std::io::Result<()>>::default();
        assert!(matches!(slot.poll(&mut cx), Poll::Ready(Ok(()))));
    }
}
