//! Turnstile: a few costly steps per turn of a core's loop, the others in the next ones, in order.
//!
//! A TLS handshake costs a processor some 100 µs, a relayed event less than 10. When a thousand callers connect at once, their
//! handshakes are ready together, and without a limit every stream of the core would wait for all of them. A turn begins when
//! the runtime has been to the kernel: everything that was ready then is in its queue before the next few pass.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::task::{Poll, Waker};

use rustix::event::EventfdFlags;

use crate::socket::ReadyFd;

/// Steps per turn.
const STEPS_PER_TURN: u32 = 4;

/// One core's turnstile.
#[derive(Debug)]
pub struct Turnstile {
    /// Steps that may still pass in this turn.
    left: Cell<u32>,
    /// Whoever came when none was left, oldest first.
    waiting: RefCell<VecDeque<Waker>>,
    /// Rings when the runtime next goes to the kernel; `None`: every step passes.
    bell: RefCell<Option<Rc<ReadyFd>>>,
    /// Wakes the ringer, which sleeps while nobody passes.
    ringer: RefCell<Option<Waker>>,
    passed: Cell<bool>,
    /// Turns so far that somebody had passed in.
    turns: Cell<u64>,
}

impl Turnstile {
    /// Lets everything pass until [`Turnstile::turn`] runs.
    #[must_use]
    pub fn new() -> Self {
        Self {
            left: Cell::new(STEPS_PER_TURN),
            waiting: RefCell::default(),
            bell: RefCell::default(),
            ringer: RefCell::default(),
            passed: Cell::new(false),
            turns: Cell::new(0),
        }
    }

    /// Waits for a place in this turn or a later one.
    pub async fn pass(&self) {
        let mut asked = false;
        std::future::poll_fn(|cx| {
            if self.bell.borrow().is_none() {
                return Poll::Ready(());
            }
            // Who comes while others wait goes behind them.
            if self.left.get() > 0 && (asked || self.waiting.borrow().is_empty()) {
                self.left.set(self.left.get() - 1);
                self.passed.set(true);
                if let Some(ringer) = self.ringer.borrow_mut().take() {
                    ringer.wake();
                }
                return Poll::Ready(());
            }
            asked = true;
            self.waiting.borrow_mut().push_back(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Turns it, for ever: one of the core's tasks.
    ///
    /// # Errors
    /// Out of descriptors, at the start: then nothing is ever held back.
    pub async fn turn(&self) -> io::Result<()> {
        let bell: OwnedFd = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let bell = Rc::new(ReadyFd::new(bell)?);
        *self.bell.borrow_mut() = Some(Rc::clone(&bell));
        loop {
            std::future::poll_fn(|cx| {
                if self.passed.replace(false) {
                    return Poll::Ready(());
                }
                *self.ringer.borrow_mut() = Some(cx.waker().clone());
                Poll::Pending
            })
            .await;
            // The bell is heard when the runtime has been to the kernel, together with everything else that is ready then.
            rustix::io::write(bell.fd(), &1_u64.to_ne_bytes())?;
            bell.readable().await;
            let mut count = [0_u8; 8];
            let _ = rustix::io::read(bell.fd(), &mut count);
            bell.consumed_read();
            self.left.set(STEPS_PER_TURN);
            self.turns.set(self.turns.get() + 1);
            let mut waiting = self.waiting.borrow_mut();
            let next = waiting.len().min(STEPS_PER_TURN as usize);
            waiting.drain(..next).for_each(Waker::wake);
        }
    }
}

impl Default for Turnstile {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Goal: a flood passes a few at a time, in order, and all of it. Method: a hundred steps at once beside the turning task; who
    /// passes notes in which turn.
    #[monoio::test(driver = "legacy", timer_enabled = true)]
    async fn a_flood_passes_a_few_at_a_time_in_order_and_all_of_it() {
        let turnstile = Rc::new(Turnstile::new());
        let turning = Rc::clone(&turnstile);
        monoio::spawn(async move { turning.turn().await });
        monoio::time::sleep(Duration::from_millis(1)).await;
        let passed = Rc::new(RefCell::new(Vec::new()));
        for number in 0..100 {
            let (turnstile, passed) = (Rc::clone(&turnstile), Rc::clone(&passed));
            monoio::spawn(async move {
                turnstile.pass().await;
                passed.borrow_mut().push((number, turnstile.turns.get()));
            });
        }
        while passed.borrow().len() < 100 {
            monoio::time::sleep(Duration::from_millis(1)).await;
        }
        let passed = passed.borrow();
        assert!(passed.iter().map(|(number, _)| *number).eq(0..100), "out of order: {passed:?}");
        for turn in passed.chunk_by(|(_, one), (_, other)| one == other) {
            assert!(turn.len() <= STEPS_PER_TURN as usize, "{} in one turn", turn.len());
        }
    }
}
