//! Leased buffers: what a core reads into and writes from.
//!
//! Enters: nothing. Leaves: a [`Lease`] on a `Vec<u8>` of one of three sizes, which goes back to its core's free list when it
//! is dropped. There is no `unsafe` here: sockets are read by plain non-blocking system calls into the spare capacity of a
//! leased `Vec` (see [`crate::socket`]), so no buffer is ever shared with the kernel across a suspension.
//!
//! # Promises
//! * Relaying allocates nothing once a core is warm: a lease is a pop, its drop a push.
//! * An idle connection or stream holds no lease; memory per stream is its state, not its buffers.
//! * The free lists are bounded, so a burst of large bodies does not stay in memory for ever.

use std::cell::{Cell, RefCell};
use std::ops::{Deref, DerefMut};
use std::rc::Rc;

/// Bytes of a small buffer: a request head (the limit is 16 KiB), a few events, one step of an ordinary answer.
pub const SMALL_BYTES: usize = 16 * 1024;

/// Bytes of a record buffer: the longest TLS record (RFC 5246 §6.2.3: 2^14 + 2048 bytes and its header) fits into it.
pub const RECORD_BYTES: usize = 20 * 1024;

/// Bytes of a large buffer: one step of a large body. Fewer, larger sends are what makes large answers cheap.
pub const LARGE_BYTES: usize = 256 * 1024;

/// Free small buffers that a core keeps (4 MiB at most).
const SMALL_KEPT_MAX: usize = 256;

/// Free record buffers that a core keeps (2.5 MiB at most); a core without TLS makes none.
const RECORDS_KEPT_MAX: usize = 128;

/// Free large buffers that a core keeps (4 MiB at most).
const LARGE_KEPT_MAX: usize = 16;

/// One core's free lists.
#[derive(Debug, Default)]
pub struct BufferPool {
    small: RefCell<Vec<Vec<u8>>>,
    records: RefCell<Vec<Vec<u8>>>,
    large: RefCell<Vec<Vec<u8>>>,
    leased: Cell<usize>,
}

impl BufferPool {
    /// An empty pool; buffers are made when first asked for.
    #[must_use]
    pub fn new() -> Rc<Self> {
        Rc::new(Self::default())
    }

    /// Leases an empty buffer of [`SMALL_BYTES`].
    #[must_use]
    pub fn small(self: &Rc<Self>) -> Lease {
        self.lease(&self.small, SMALL_BYTES)
    }

    /// Leases an empty buffer of [`RECORD_BYTES`].
    #[must_use]
    pub fn record(self: &Rc<Self>) -> Lease {
        self.lease(&self.records, RECORD_BYTES)
    }

    /// Leases an empty buffer of [`LARGE_BYTES`].
    #[must_use]
    pub fn large(self: &Rc<Self>) -> Lease {
        self.lease(&self.large, LARGE_BYTES)
    }

    /// Buffers that are out now; 0 on a core where nothing is moving.
    #[must_use]
    pub fn leased(&self) -> usize {
        self.leased.get()
    }

    fn lease(self: &Rc<Self>, list: &RefCell<Vec<Vec<u8>>>, bytes: usize) -> Lease {
        let buffer = list.borrow_mut().pop().unwrap_or_else(|| Vec::with_capacity(bytes));
        self.leased.set(self.leased.get() + 1);
        Lease { buffer, pool: Rc::clone(self) }
    }

    /// Takes a buffer back. One that grew or shrank out of its class is freed: the classes stay what they say.
    fn take_back(&self, mut buffer: Vec<u8>) {
        self.leased.set(self.leased.get() - 1);
        let (list, kept_max) = match buffer.capacity() {
            SMALL_BYTES => (&self.small, SMALL_KEPT_MAX),
            RECORD_BYTES => (&self.records, RECORDS_KEPT_MAX),
            LARGE_BYTES => (&self.large, LARGE_KEPT_MAX),
            _ => return,
        };
        let mut list = list.borrow_mut();
        if list.len() < kept_max {
            buffer.clear();
            list.push(buffer);
        }
    }
}

/// A buffer on loan from a core's pool; dropping it gives it back.
#[derive(Debug)]
pub struct Lease {
    buffer: Vec<u8>,
    pool: Rc<BufferPool>,
}

impl Lease {
    /// Bytes that can still be appended without growing.
    #[must_use]
    pub fn room(&self) -> usize {
        self.buffer.capacity() - self.buffer.len()
    }
}

impl Deref for Lease {
    type Target = Vec<u8>;
    fn deref(&self) -> &Vec<u8> {
        &self.buffer
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.pool.take_back(std::mem::take(&mut self.buffer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_lease_is_the_next_lease_and_comes_back_empty() {
        let pool = BufferPool::new();
        let mut first = pool.small();
        first.extend_from_slice(b"left over");
        let address = first.as_ptr();
        drop(first);
        let second = pool.small();
        assert_eq!((second.as_ptr(), second.len(), pool.leased()), (address, 0, 1));
    }

    #[test]
    fn a_buffer_that_outgrew_its_class_is_not_kept() {
        let pool = BufferPool::new();
        let mut lease = pool.small();
        lease.resize(SMALL_BYTES + 1, 0);
        drop(lease);
        assert_eq!(pool.small().capacity(), SMALL_BYTES);
        assert_eq!(pool.leased(), 0);
    }
}
