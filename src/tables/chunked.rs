//! A growing array in chunks that successive tables share: what few things are kept in (domains, clusters).
//!
//! A slot keeps its number for as long as anything names it, so that rows which are shared between generations can
//! name it by number.

use std::sync::Arc;

const CHUNK_LEN: usize = 64;

/// An array of which a clone shares every chunk, and a change copies one.
#[derive(Clone, Debug)]
pub(super) struct Chunked<T> {
    chunks: Vec<Arc<Vec<T>>>,
    len: usize,
}

impl<T: Clone> Chunked<T> {
    pub(super) const fn new() -> Self {
        Self { chunks: Vec::new(), len: 0 }
    }

    pub(super) fn get(&self, at: u32) -> Option<&T> {
        self.chunks.get(at as usize / CHUNK_LEN)?.get(at as usize % CHUNK_LEN)
    }

    /// The slot, for writing. Copies its chunk if another array shares it.
    pub(super) fn get_mut(&mut self, at: u32) -> Option<&mut T> {
        Arc::make_mut(self.chunks.get_mut(at as usize / CHUNK_LEN)?).get_mut(at as usize % CHUNK_LEN)
    }

    /// Adds a slot at the end and returns its number.
    pub(super) fn push(&mut self, value: T) -> u32 {
        let at = self.len;
        if at.is_multiple_of(CHUNK_LEN) {
            self.chunks.push(Arc::new(Vec::with_capacity(CHUNK_LEN)));
        }
        Arc::make_mut(&mut self.chunks[at / CHUNK_LEN]).push(value);
        self.len += 1;
        u32::try_from(at).expect("slots hold records, and their number is limited far below 2^32")
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.chunks.iter().flat_map(|chunk| chunk.iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_not_seen_by_the_array_it_was_cloned_from() {
        let mut before = Chunked::new();
        for number in 0..200_u32 {
            assert_eq!(before.push(number), number);
        }
        let mut after = before.clone();
        *after.get_mut(100).unwrap() = 0;
        after.push(200);
        assert_eq!((before.get(100), after.get(100)), (Some(&100), Some(&0)));
        assert_eq!((before.get(200), after.get(200), before.len, after.len), (None, Some(&200), 200, 201));
        let shared =
            before.chunks.iter().zip(&after.chunks).filter(|(one, other)| Arc::ptr_eq(one, other)).count();
        assert_eq!(shared, 2, "of four chunks, the changed one and the last are copies");
        assert_eq!(before.iter().count(), 200);
    }
}
