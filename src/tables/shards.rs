//! A map from 16-byte identifiers to rows, in shards that successive tables share.
//!
//! A row is a fixed part and a run of [`Word`]s (scopes of a PAT, grants of a user). A shard holds its rows in one
//! array, grouped by bucket, all their words in another, and the start of each bucket in a third: no pointer, no
//! spare capacity and no per-row allocation, so a row costs its own bytes and two or three more.
//!
//! Changing a row rebuilds its shard (a thousandth of the map) and copies the two short directories above it; every
//! other shard is shared with the tables before. Nothing here is changed in place.

use std::ops::Range;
use std::sync::Arc;

use ahash::RandomState;

/// Shards in a group, and groups in a map. Two levels, so that a change copies 2 × 32 references and not 1,024.
const FAN_OUT: usize = 32;
/// Shards in a map.
const SHARDS: usize = FAN_OUT * FAN_OUT;
/// Rows in a shard, at most: a row's place in it is a `u16`.
const ROWS_MAX: usize = u16::MAX as usize;

/// Operations in one domain, or on one of its models.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Word {
    /// Bits of an [`cube_wire::OperationSet`].
    pub(super) bits: u64,
    /// Slot of the domain.
    pub(super) domain: u32,
    /// Slot of the model's name in the domain, or [`WHOLE_DOMAIN`] or [`ANY_MODEL`].
    pub(super) name: u32,
}

/// The word is about the domain as a whole.
pub(super) const WHOLE_DOMAIN: u32 = u32::MAX;
/// The word is about every model of the domain.
pub(super) const ANY_MODEL: u32 = u32::MAX - 1;

/// One row: identifier, fixed part `F`, and where its words are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row<F> {
    pub(super) id: [u8; 16],
    pub(super) fixed: F,
    words_at: u32,
    words_len: u16,
    pub(super) flags: u16,
}

impl<F> Row<F> {
    pub(super) const fn new(id: [u8; 16], flags: u16, fixed: F) -> Self {
        Self { id, fixed, words_at: 0, words_len: 0, flags }
    }

    /// The row with these words of an array that it will be kept with. `None`: more than a row can have.
    pub(super) fn with_words(self, words: Range<usize>) -> Option<Self> {
        let words_at = u32::try_from(words.start).ok()?;
        Some(Self { words_at, words_len: u16::try_from(words.len()).ok()?, ..self })
    }

    /// Where its words are in the array that it is kept with.
    pub(super) fn words(&self) -> Range<usize> {
        self.words_at as usize..self.words_at as usize + usize::from(self.words_len)
    }
}

/// Where a row is in one map. Means nothing in any other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    shard: u16,
    row: u16,
}

/// Rows whose identifiers hash to one shard.
#[derive(Debug)]
pub(super) struct Shard<F> {
    /// `starts[b]..starts[b + 1]` are the rows of bucket `b`; a power of two of buckets, plus one.
    starts: Box<[u16]>,
    rows: Box<[Row<F>]>,
    words: Box<[Word]>,
}

impl<F> Shard<F> {
    fn empty() -> Self {
        Self { starts: Box::new([0, 0]), rows: Box::new([]), words: Box::new([]) }
    }

    fn find(&self, hash: u64, id: &[u8; 16]) -> Option<usize> {
        let bucket = hash as usize & (self.starts.len() - 2);
        let rows = usize::from(self.starts[bucket])..usize::from(self.starts[bucket + 1]);
        rows.start.checked_add(self.rows[rows.clone()].iter().position(|row| row.id == *id)?)
    }

    /// The rows and their words.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Row<F>, &[Word])> {
        self.rows.iter().map(|row| (row, &self.words[row.words()]))
    }
}

/// Collects the rows of one shard.
#[derive(Debug)]
pub(super) struct ShardBuilder<F> {
    rows: Vec<Row<F>>,
    words: Vec<Word>,
}

/// More than [`ROWS_MAX`] rows in one shard, or more words than a row can have.
#[derive(Debug)]
pub(super) struct Overflow;

impl<F: Copy> ShardBuilder<F> {
    pub(super) fn with_capacity(rows: usize, words: usize) -> Self {
        Self { rows: Vec::with_capacity(rows), words: Vec::with_capacity(words) }
    }

    pub(super) fn push(&mut self, row: &Row<F>, words: &[Word]) -> Result<(), Overflow> {
        let at = self.words.len();
        self.words.extend_from_slice(words);
        self.rows.push(row.with_words(at..self.words.len()).ok_or(Overflow)?);
        Ok(())
    }

    fn build(self, hasher: &RandomState) -> Result<Shard<F>, Overflow> {
        if self.rows.len() > ROWS_MAX {
            return Err(Overflow);
        }
        let buckets = self.rows.len().next_power_of_two();
        let bucket_of = |row: &Row<F>| hash_of(hasher, &row.id) as usize & (buckets - 1);
        // A counting sort: how many rows each bucket has, then where it ends, then the rows from the back.
        let mut starts = vec![0_u16; buckets + 1].into_boxed_slice();
        let places: Vec<u32> = self.rows.iter().map(|row| bucket_of(row) as u32).collect();
        for &bucket in &places {
            starts[bucket as usize] += 1;
        }
        let mut end = 0;
        for start in &mut starts {
            end += *start;
            *start = end;
        }
        let mut rows: Box<[Row<F>]> = self.rows.clone().into_boxed_slice();
        for (row, &bucket) in self.rows.iter().zip(&places) {
            starts[bucket as usize] -= 1;
            rows[usize::from(starts[bucket as usize])] = *row;
        }
        Ok(Shard { starts, rows, words: self.words.into_boxed_slice() })
    }
}

fn hash_of(hasher: &RandomState, id: &[u8; 16]) -> u64 {
    hasher.hash_one(u128::from_ne_bytes(*id))
}

const fn shard_of(hash: u64) -> usize {
    // The bucket takes the low bits, so the shard takes the high ones.
    (hash >> (64 - SHARDS.ilog2())) as usize
}

type Group<F> = [Arc<Shard<F>>; FAN_OUT];

/// A map from identifiers to rows. A clone shares everything.
#[derive(Debug)]
pub(super) struct ShardMap<F> {
    groups: Box<[Arc<Group<F>>; FAN_OUT]>,
    /// Seeded at random: whoever chooses identifiers cannot choose where they fall.
    hasher: RandomState,
    len: usize,
}

impl<F> Clone for ShardMap<F> {
    fn clone(&self) -> Self {
        Self { groups: self.groups.clone(), hasher: self.hasher.clone(), len: self.len }
    }
}

impl<F: Copy> ShardMap<F> {
    pub(super) fn new() -> Self {
        let shard = Arc::new(Shard::empty());
        let group = Arc::new(std::array::from_fn(|_| Arc::clone(&shard)));
        let groups = Box::new(std::array::from_fn(|_| Arc::clone(&group)));
        Self { groups, hasher: RandomState::new(), len: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The shard in which this identifier is, if it is anywhere.
    pub(super) fn shard_number(&self, id: &[u8; 16]) -> usize {
        shard_of(hash_of(&self.hasher, id))
    }

    pub(super) fn shard(&self, number: usize) -> &Shard<F> {
        &self.groups[number / FAN_OUT][number % FAN_OUT]
    }

    /// Where the row of this identifier is.
    pub(super) fn find(&self, id: &[u8; 16]) -> Option<Place> {
        let hash = hash_of(&self.hasher, id);
        let shard = shard_of(hash);
        let row = self.shard(shard).find(hash, id)?;
        Some(Place { shard: shard as u16, row: row as u16 })
    }

    /// The row at a place that [`Self::find`] gave on this same map, and its words.
    pub(super) fn at(&self, place: Place) -> (&Row<F>, &[Word]) {
        let shard = self.shard(usize::from(place.shard));
        let row = &shard.rows[usize::from(place.row)];
        (row, &shard.words[row.words()])
    }

    /// Puts what was built in place of a shard. The map that this one was cloned from keeps the old one.
    pub(super) fn replace(&mut self, number: usize, builder: ShardBuilder<F>) -> Result<(), Overflow> {
        let built = builder.build(&self.hasher)?;
        self.len = self.len - self.shard(number).rows.len() + built.rows.len();
        Arc::make_mut(&mut self.groups[number / FAN_OUT])[number % FAN_OUT] = Arc::new(built);
        Ok(())
    }

    /// Bytes on the heap, without the allocator's own.
    pub(super) fn heap_bytes(&self) -> usize {
        let shards: usize = (0..SHARDS)
            .map(|number| {
                let shard = self.shard(number);
                size_of::<Shard<F>>()
                    + size_of_val(&*shard.starts)
                    + size_of_val(&*shard.rows)
                    + size_of_val(&*shard.words)
            })
            .sum();
        shards + (FAN_OUT + 1) * size_of::<Group<F>>()
    }

    /// How many shards are not shared with `other`.
    #[cfg(test)]
    pub(super) fn shards_apart(&self, other: &Self) -> usize {
        (0..SHARDS)
            .filter(|number| {
                let (group, shard) = (number / FAN_OUT, number % FAN_OUT);
                !Arc::ptr_eq(&self.groups[group][shard], &other.groups[group][shard])
            })
            .count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u32) -> [u8; 16] {
        u128::from(number).to_be_bytes()
    }

    fn map_of(count: u32) -> ShardMap<u32> {
        let mut map = ShardMap::new();
        let mut builders: Vec<_> = (0..SHARDS).map(|_| ShardBuilder::with_capacity(0, 0)).collect();
        for number in 0..count {
            let words =
                vec![Word { bits: u64::from(number), domain: 1, name: WHOLE_DOMAIN }; number as usize % 3];
            builders[map.shard_number(&id(number))].push(&Row::new(id(number), 0, number), &words).unwrap();
        }
        for (shard, builder) in builders.into_iter().enumerate() {
            map.replace(shard, builder).unwrap();
        }
        map
    }

    #[test]
    fn every_row_is_found_with_its_own_words_and_nothing_else_is() {
        for count in [0, 1, 2, 1_000, 20_000] {
            let map = map_of(count);
            assert_eq!(map.len(), count as usize);
            for number in 0..count {
                let (row, words) = map.at(map.find(&id(number)).unwrap());
                assert_eq!((row.id, row.fixed, words.len()), (id(number), number, number as usize % 3));
                assert!(words.iter().all(|word| word.bits == u64::from(number)));
            }
            assert!((count..count + 1_000).all(|number| map.find(&id(number)).is_none()));
        }
    }

    #[test]
    fn replacing_a_shard_leaves_the_map_before_as_it_was() {
        let before = map_of(5_000);
        let mut after = before.clone();
        let emptied = before.shard_number(&id(77));
        after.replace(emptied, ShardBuilder::with_capacity(0, 0)).unwrap();
        assert_eq!(after.shards_apart(&before), 1);
        assert!(before.find(&id(77)).is_some() && after.find(&id(77)).is_none());
        let gone = before.shard(emptied).iter().count();
        assert_eq!(after.len() + gone, before.len());
    }
}
