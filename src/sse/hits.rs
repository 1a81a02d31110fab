//! Hits: where in a buffer a walk could find something; everything else is skipped unread.

use std::sync::LazyLock;

use memchr::memmem::Finder;

/// Built once: making a finder costs more than searching an event with it.
pub(super) static USAGE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(br#""usage""#));
static DONE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(br#""done""#));

/// The places in one buffer where a `usage` key has an object, seen without context: they may still
/// stand too deep. Each byte is searched once, however many events ask.
#[derive(Debug)]
pub(super) struct UsageHits<'a>(Hits<'a>);

/// The places in one buffer where a `done` key has a value other than `false`.
#[derive(Debug)]
pub(super) struct DoneHits<'a>(Hits<'a>);

impl<'a> UsageHits<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(Hits { bytes, finder: &USAGE, searched: 0, next: None })
    }

    /// The first hit at or behind `from`, which never goes back.
    pub(super) fn next_from(&mut self, from: usize) -> Option<usize> {
        self.0.next_from(from, |value| value.first() == Some(&b'{'))
    }
}

impl<'a> DoneHits<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(Hits { bytes, finder: &DONE, searched: 0, next: None })
    }

    /// The first hit at or behind `from`, which never goes back.
    pub(super) fn next_from(&mut self, from: usize) -> Option<usize> {
        self.0.next_from(from, |value| value.first() == Some(&b't'))
    }
}

#[derive(Debug)]
struct Hits<'a> {
    bytes: &'a [u8],
    finder: &'static Finder<'static>,
    /// Everything before was searched.
    searched: usize,
    /// The hit found last.
    next: Option<usize>,
}

impl Hits<'_> {
    /// * `wanted`: what the bytes of the key's value start like.
    fn next_from(&mut self, from: usize, wanted: impl Fn(&[u8]) -> bool) -> Option<usize> {
        if let Some(next) = self.next.filter(|&next| next >= from) {
            return Some(next);
        }
        self.next = None;
        self.searched = self.searched.max(from);
        while self.searched < self.bytes.len() {
            let Some(found) = self.finder.find(&self.bytes[self.searched..]) else {
                self.searched = self.bytes.len();
                break;
            };
            let hit = self.searched + found;
            self.searched = hit + self.finder.needle().len();
            let value = self.bytes[self.searched..].trim_ascii_start().strip_prefix(b":");
            if value.is_some_and(|value| wanted(value.trim_ascii_start())) {
                self.next = Some(hit);
                break;
            }
        }
        self.next
    }
}
