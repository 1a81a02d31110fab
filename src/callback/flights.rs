//! Calls that are under way: whoever would ask the same waits for the answer instead.
//!
//! The first of them makes the call in its own task and holds a [`Flight`]; the others wait. When the flight is dropped without an
//! answer, because its caller has left or its task has panicked, everybody wakes and the next one makes the call: nobody waits for
//! somebody who is gone.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use ahash::AHashMap;

use super::DecisionKey;

/// One core's calls under way; `V` is what a call comes to.
pub struct Flights<V> {
    under_way: RefCell<AHashMap<DecisionKey, Rc<Shared<V>>>>,
}

struct Shared<V> {
    state: Cell<State<V>>,
    waiting: RefCell<Vec<Waker>>,
}

#[derive(Clone, Copy, Debug)]
enum State<V> {
    Flying,
    Landed(V),
    /// Whoever made the call is gone.
    Vanished,
}

/// What somebody who has a question does.
pub enum Joined<'f, V: Copy> {
    /// Make the call.
    Leads(Flight<'f, V>),
    /// Wait for it.
    Waits(Waiting<V>),
}

/// A call under way, in the hands of whoever makes it.
pub struct Flight<'f, V: Copy> {
    flights: &'f Flights<V>,
    key: DecisionKey,
    shared: Rc<Shared<V>>,
}

/// Somebody else's call.
pub struct Waiting<V> {
    shared: Rc<Shared<V>>,
}

impl<V> Default for Flights<V> {
    fn default() -> Self {
        Self { under_way: RefCell::default() }
    }
}

impl<V: Copy> Flights<V> {
    /// Joins the call about `key`, or begins it.
    pub fn join(&self, key: DecisionKey) -> Joined<'_, V> {
        let mut under_way = self.under_way.borrow_mut();
        if let Some(shared) = under_way.get(&key) {
            return Joined::Waits(Waiting { shared: Rc::clone(shared) });
        }
        let shared = Rc::new(Shared { state: Cell::new(State::Flying), waiting: RefCell::default() });
        under_way.insert(key, Rc::clone(&shared));
        Joined::Leads(Flight { flights: self, key, shared })
    }

    /// Calls under way.
    #[must_use]
    pub fn len(&self) -> usize {
        self.under_way.borrow().len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<V: Copy> Flight<'_, V> {
    /// The call came to this; everybody who waits gets it.
    pub fn land(self, value: V) {
        self.shared.state.set(State::Landed(value));
    }
}

impl<V: Copy> Drop for Flight<'_, V> {
    fn drop(&mut self) {
        self.flights.under_way.borrow_mut().remove(&self.key);
        if matches!(self.shared.state.get(), State::Flying) {
            self.shared.state.set(State::Vanished);
        }
        for waker in self.shared.waiting.take() {
            waker.wake();
        }
    }
}

impl<V: Copy> Waiting<V> {
    /// Ready with what the call came to; with `None` if whoever made it is gone.
    pub fn poll(&self, cx: &mut Context<'_>) -> Poll<Option<V>> {
        match self.shared.state.get() {
            State::Landed(value) => Poll::Ready(Some(value)),
            State::Vanished => Poll::Ready(None),
            State::Flying => {
                let mut waiting = self.shared.waiting.borrow_mut();
                if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
                    waiting.push(cx.waker().clone());
                }
                Poll::Pending
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::callback::CredentialDigest;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    #[derive(Default)]
    struct Wakes(AtomicUsize);
    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn key(path: &str) -> DecisionKey {
        DecisionKey::of(&CredentialDigest::of("x-api-key", b"k"), "GET", path.as_bytes())
    }

    fn leads(flights: &Flights<bool>) -> Flight<'_, bool> {
        let Joined::Leads(flight) = flights.join(key("/a")) else { panic!("nobody else asks") };
        flight
    }

    fn waits(flights: &Flights<bool>) -> Waiting<bool> {
        let Joined::Waits(waiting) = flights.join(key("/a")) else { panic!("somebody asks already") };
        waiting
    }

    #[test]
    fn those_who_wait_get_what_the_first_one_got_and_the_next_one_asks_anew() {
        let flights = Flights::default();
        let flight = leads(&flights);
        let waiting = [waits(&flights), waits(&flights)];
        assert!(matches!(flights.join(key("/b")), Joined::Leads(_)), "another question");
        let wakes = [Arc::new(Wakes::default()), Arc::new(Wakes::default())];
        for (waiting, wakes) in waiting.iter().zip(&wakes) {
            let waker = Waker::from(Arc::clone(wakes));
            for _ in 0..3 {
                assert!(waiting.poll(&mut Context::from_waker(&waker)).is_pending());
            }
        }
        flight.land(true);
        assert!(wakes.iter().all(|wakes| wakes.0.load(Ordering::Relaxed) == 1));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(waiting.iter().all(|waiting| waiting.poll(&mut cx) == Poll::Ready(Some(true))));
        assert!(flights.is_empty());
        drop(leads(&flights));
    }

    #[test]
    fn one_that_vanishes_leaves_the_call_to_the_next() {
        let flights = Flights::default();
        let flight = leads(&flights);
        let waiting = waits(&flights);
        drop(flight);
        assert_eq!(waiting.poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(None));
        let again = leads(&flights);
        let other = waits(&flights);
        again.land(false);
        assert_eq!(other.poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(Some(false)));
    }
}
