//! One core's time: a clock that is read once per wake, and the deadlines of everything that waits on that core.
//!
//! A `monoio` time-out costs a timer registration per wait. A proxy waits several times per request and once per event, and
//! nearly no deadline is ever reached, so deadlines live in the connection ([`Watch`]): setting one is a store, and a ticker
//! looks at all of them every [`TICK`]. Deadlines are therefore late by up to one tick, never early.
//!
//! Time-outs use the monotonic clock. The wall clock serves only PAT expiry and record stamps; it is read again on every tick,
//! so a clock that jumps is followed within one tick and moves no time-out.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How often a core looks at its deadlines: the resolution of every time-out.
pub const TICK: Duration = Duration::from_millis(100);

/// One core's clock. Reading the system's clock is [`Clock::read`]; everything else returns the last reading.
#[derive(Debug)]
pub struct Clock {
    /// Monotonic nanoseconds at the start.
    base_ns: u64,
    /// Nanoseconds since `base` at the last reading.
    now_ns: Cell<u64>,
    /// Wall clock minus monotonic clock, in milliseconds, as of the last tick.
    wall_offset_ms: Cell<i64>,
}

/// A point in a core's monotonic time, in nanoseconds since the core started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(u64);

impl Moment {
    /// This moment moved into the future; saturates, so "no time-out" is a duration that is long enough.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// Time from `earlier` to this moment; zero if it was later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Clock {
    /// A clock that has been read once.
    #[must_use]
    pub fn new() -> Self {
        let clock = Self { base_ns: monotonic_ns(), now_ns: Cell::new(0), wall_offset_ms: Cell::new(0) };
        clock.follow_wall_clock();
        clock
    }

    /// Reads the system's monotonic clock (about 25 ns) and remembers it.
    pub fn read(&self) -> Moment {
        self.now_ns.set(monotonic_ns() - self.base_ns);
        self.now()
    }

    /// The last reading.
    #[must_use]
    pub fn now(&self) -> Moment {
        Moment(self.now_ns.get())
    }

    /// Takes the wall clock over again; the ticker calls it.
    pub fn follow_wall_clock(&self) {
        self.read();
        let wall_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis());
        let wall_ms = i64::try_from(wall_ms).unwrap_or(i64::MAX);
        self.wall_offset_ms.set(wall_ms - self.monotonic_ms());
    }

    /// The last reading, since a moment that is the same for all cores (the system's start).
    #[must_use]
    pub fn since_boot(&self) -> Duration {
        Duration::from_nanos(self.base_ns + self.now_ns.get())
    }

    /// Unix time in milliseconds at the last reading.
    #[must_use]
    pub fn unix_ms(&self) -> u64 {
        u64::try_from(self.monotonic_ms() + self.wall_offset_ms.get()).unwrap_or(0)
    }

    /// Unix time in seconds at the last reading; what PAT expiry is compared with.
    #[must_use]
    pub fn unix_s(&self) -> u64 {
        self.unix_ms() / 1000
    }

    fn monotonic_ms(&self) -> i64 {
        i64::try_from(self.now_ns.get() / 1_000_000).unwrap_or(i64::MAX)
    }
}

fn monotonic_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    // Seconds since boot and nanoseconds below a second are never negative.
    now.tv_sec.cast_unsigned() * 1_000_000_000 + now.tv_nsec.cast_unsigned()
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

/// The deadline came before the thing that was waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expired;

/// No deadline is set.
const NEVER: u64 = u64::MAX;

#[derive(Debug, Default)]
struct Slot {
    deadline_ns: u64,
    fired: bool,
    waker: Option<Waker>,
}

/// All deadlines of one core: a slab with one slot per [`Watch`].
#[derive(Debug, Default)]
pub struct Deadlines {
    slots: RefCell<Vec<Slot>>,
    free: RefCell<Vec<u32>>,
}

impl Deadlines {
    /// An empty set.
    #[must_use]
    pub fn new() -> Rc<Self> {
        Rc::new(Self::default())
    }

    /// A watch without a deadline.
    #[must_use]
    pub fn watch(self: &Rc<Self>) -> Watch {
        let mut slots = self.slots.borrow_mut();
        let fresh = Slot { deadline_ns: NEVER, fired: false, waker: None };
        let index = if let Some(index) = self.free.borrow_mut().pop() {
            slots[index as usize] = fresh;
            index
        } else {
            slots.push(fresh);
            u32::try_from(slots.len() - 1).expect("a core has fewer than 2^32 connections")
        };
        Watch { index, set: Rc::clone(self) }
    }

    /// Wakes whatever waits past its deadline. Cost: one comparison per watch.
    pub fn fire(&self, now: Moment) {
        for slot in self.slots.borrow_mut().iter_mut() {
            if slot.deadline_ns <= now.0 && !slot.fired {
                slot.fired = true;
                if let Some(waker) = slot.waker.take() {
                    waker.wake();
                }
            }
        }
    }

    /// Expires every watch, whatever its deadline.
    pub fn expire_all(&self) {
        self.fire(Moment(u64::MAX));
    }

    /// Wakes every waiter without expiring it, so that each looks at the world again (a drain has begun).
    pub fn nudge(&self) {
        for slot in self.slots.borrow_mut().iter_mut() {
            if let Some(waker) = slot.waker.take() {
                waker.wake();
            }
        }
    }
}

/// One waiter's deadline: a slot in its core's [`Deadlines`], freed when dropped.
#[derive(Debug)]
pub struct Watch {
    index: u32,
    set: Rc<Deadlines>,
}

impl Watch {
    /// Sets the deadline, replacing any other.
    pub fn set(&self, at: Moment) {
        let slot = &mut self.set.slots.borrow_mut()[self.index as usize];
        slot.deadline_ns = at.0;
        slot.fired = false;
    }

    /// Takes the deadline away.
    pub fn clear(&self) {
        self.set(Moment(NEVER));
    }

    /// Part of a hand-written `poll`: ready when the deadline has passed, else the task is woken when it does.
    pub fn poll_expired(&self, cx: &Context<'_>) -> Poll<Expired> {
        let slot = &mut self.set.slots.borrow_mut()[self.index as usize];
        if slot.fired {
            return Poll::Ready(Expired);
        }
        if !slot.waker.as_ref().is_some_and(|w| w.will_wake(cx.waker())) {
            slot.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Waits for `future` until the deadline. The future is dropped when the deadline comes first, so it must not own
    /// anything that may be lost (sockets of [`crate::socket`] lose nothing).
    ///
    /// # Errors
    /// [`Expired`] when the deadline came first.
    pub async fn race<F: Future>(&self, future: F) -> Result<F::Output, Expired> {
        let mut future = pin!(future);
        std::future::poll_fn(|cx| self.poll_race(future.as_mut(), cx)).await
    }

    fn poll_race<F: Future>(
        &self,
        future: Pin<&mut F>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<F::Output, Expired>> {
        if let Poll::Ready(output) = future.poll(cx) {
            return Poll::Ready(Ok(output));
        }
        self.poll_expired(cx).map(Err)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let slot = &mut self.set.slots.borrow_mut()[self.index as usize];
        *slot = Slot { deadline_ns: NEVER, fired: false, waker: None };
        self.set.free.borrow_mut().push(self.index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    #[derive(Default)]
    struct CountingWaker(AtomicUsize);
    impl Wake for CountingWaker {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_deadline_fires_once_it_is_reached_and_not_before() {
        let deadlines = Deadlines::new();
        let watch = deadlines.watch();
        let wakes = Arc::new(CountingWaker::default());
        let waker = Waker::from(Arc::clone(&wakes));
        let cx = Context::from_waker(&waker);
        let start = Moment(1_000);
        watch.set(start.after(Duration::from_nanos(500)));
        assert!(watch.poll_expired(&cx).is_pending());
        deadlines.fire(Moment(1_499));
        assert_eq!(wakes.0.load(Ordering::Relaxed), 0);
        deadlines.fire(Moment(1_500));
        assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
        assert_eq!(watch.poll_expired(&cx), Poll::Ready(Expired));
        watch.set(Moment(9_000));
        assert!(watch.poll_expired(&cx).is_pending(), "a new deadline starts afresh");
    }

    #[test]
    fn a_dropped_watch_leaves_its_slot_to_the_next_and_wakes_nobody() {
        let deadlines = Deadlines::new();
        let watch = deadlines.watch();
        watch.set(Moment(1));
        drop(watch);
        let next = deadlines.watch();
        deadlines.fire(Moment(100));
        let cx = Context::from_waker(Waker::noop());
        assert!(next.poll_expired(&cx).is_pending());
        assert_eq!(deadlines.slots.borrow().len(), 1);
    }
}
