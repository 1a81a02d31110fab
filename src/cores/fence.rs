//! The panic fence: a panic ends the connection it happened in, never the core.
//!
//! `monoio` lets a task's panic unwind through its loop, which would end every other stream of the core. Each connection task
//! therefore runs inside [`fenced`].

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

/// The fenced task panicked; its state has been dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Panicked;

/// Runs `task`; a panic inside it is caught here (the panic hook has printed it by then).
///
/// # Errors
/// [`Panicked`]. What the task shared with the core must be sound after an unwind: the path keeps no borrow across an await
/// and every guard (record, lease, in-flight count) restores its count when dropped.
///
/// `task` is boxed, because a future that is passed by value is stored twice: as the argument and where it is pinned.
pub async fn fenced<T: Future>(mut task: Pin<Box<T>>) -> Result<T::Output, Panicked> {
    std::future::poll_fn(|cx| poll_fenced(task.as_mut(), cx)).await
}

fn poll_fenced<T: Future>(task: Pin<&mut T>, cx: &mut Context<'_>) -> Poll<Result<T::Output, Panicked>> {
    catch_unwind(AssertUnwindSafe(|| task.poll(cx))).map_or(Poll::Ready(Err(Panicked)), |poll| poll.map(Ok))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;

    #[test]
    fn a_panic_inside_the_fence_becomes_a_value_and_the_state_is_dropped() {
        let dropped = std::rc::Rc::new(());
        let inside = std::rc::Rc::clone(&dropped);
        let mut task = Box::pin(fenced(Box::pin(async move {
            let _held = inside;
            std::future::ready(()).await;
            panic!("as a test");
        })));
        let mut cx = Context::from_waker(Waker::noop());
        assert_eq!(task.as_mut().poll(&mut cx), Poll::Ready(Err(Panicked)));
        drop(task);
        assert_eq!(std::rc::Rc::strong_count(&dropped), 1);
    }
}
