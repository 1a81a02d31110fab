//! One header line as spans into the head, and a fixed list of them.

use super::Known;

/// The most fields any head may have, whatever the settings say. Ours, and below the 96 that
/// monoio-http's decoders hold, so that a head we accept is one they accept.
pub const FIELDS_CAPACITY: usize = 90;

/// A stretch of a head's bytes. Two bytes each for start and length: a head is at most 65,535 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    start: u16,
    len: u16,
}

impl Span {
    pub(super) const EMPTY: Self = Self { start: 0, len: 0 };

    /// From byte `start` up to `end`. Heads are bounded by [`super::HeadLimits`], so both fit.
    #[must_use]
    pub(super) fn new(start: usize, end: usize) -> Self {
        debug_assert!(start <= end && end <= usize::from(u16::MAX), "heads are bounded");
        Self { start: start as u16, len: (end - start) as u16 }
    }

    /// The bytes meant, in the buffer that the head was parsed from (it may have moved since).
    ///
    /// # Panics
    /// If `buf` is shorter than the head was: it is not that buffer.
    #[must_use]
    pub fn of<'a>(&self, buf: &'a [u8]) -> &'a [u8] {
        &buf[self.start()..self.end()]
    }

    /// First byte.
    #[must_use]
    pub const fn start(&self) -> usize {
        self.start as usize
    }

    /// One past the last byte.
    #[must_use]
    pub const fn end(&self) -> usize {
        self.start as usize + self.len as usize
    }

    /// Length in bytes.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether it holds no byte.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// One header line of a head.
#[derive(Clone, Copy, Debug, Default)]
pub struct Field {
    /// The name as sent.
    pub name: Span,
    /// The value without the white space around it; may be empty.
    pub value: Span,
    /// The whole line with its CRLF, for copying.
    pub line: Span,
    /// Which field it is.
    pub known: Known,
    pub(super) named_by_connection: bool,
}

impl Field {
    const EMPTY: Self = Self {
        name: Span::EMPTY,
        value: Span::EMPTY,
        line: Span::EMPTY,
        known: Known::Other,
        named_by_connection: false,
    };

    /// Whether the field ends at this proxy: connection-level by its name, or named by `Connection`.
    #[must_use]
    pub const fn is_hop_by_hop(&self) -> bool {
        self.named_by_connection || self.known.is_hop_by_hop()
    }
}

const _: () = assert!(size_of::<Field>() == 14);

/// The fields of one head, in order. Fixed capacity: parsing allocates nothing.
#[derive(Clone, Debug)]
pub(super) struct Fields {
    present: u64,
    repeated: u64,
    count: u8,
    list: [Field; FIELDS_CAPACITY],
}

impl Fields {
    pub(super) const fn new() -> Self {
        Self { present: 0, repeated: 0, count: 0, list: [Field::EMPTY; FIELDS_CAPACITY] }
    }

    pub(super) const fn clear(&mut self) {
        self.present = 0;
        self.repeated = 0;
        self.count = 0;
    }

    pub(super) fn as_slice(&self) -> &[Field] {
        &self.list[..usize::from(self.count)]
    }

    pub(super) fn as_mut_slice(&mut self) -> &mut [Field] {
        &mut self.list[..usize::from(self.count)]
    }

    /// Appends a field. The caller has checked that there is room.
    pub(super) fn push(&mut self, field: Field) {
        let bit = field.known.bit();
        self.repeated |= self.present & bit;
        self.present |= bit;
        self.list[usize::from(self.count)] = field;
        self.count += 1;
    }

    /// The first field of that kind.
    pub(super) fn first(&self, known: Known) -> Option<&Field> {
        if self.present & known.bit() == 0 {
            return None;
        }
        self.as_slice().iter().find(|field| field.known == known)
    }

    pub(super) const fn has(&self, known: Known) -> bool {
        self.present & known.bit() != 0
    }

    /// Whether any field of the set `bits` came more than once.
    pub(super) const fn repeats_any(&self, bits: u64) -> bool {
        self.repeated & bits != 0
    }
}
