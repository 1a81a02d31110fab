//! JSON text: finds the usage of one JSON object without following all of it.
//!
//! The object of an answer is long, and its `usage` stands at the end. So the bytes are only searched for
//! a `usage` key with an object, and walked from there. Whether it stood in the outermost object shows
//! afterwards: then the text is over when the object around it is closed. If anything follows, it stood
//! deeper, and the search goes on.
//!
//! In JSON a quote inside a string has a backslash before it, so `"usage"` behind a brace, a comma or
//! space, and before a colon, is a key, wherever the search began.

use super::counts::{Counts, Walk};
use super::hits::USAGE;

const KEY: &[u8] = br#""usage""#;

#[derive(Clone, Debug)]
pub(super) struct JsonText {
    /// A usage object was found and is being walked.
    walking: bool,
    key: PartOfKey,
}

impl JsonText {
    pub(super) fn new() -> Self {
        Self { walking: false, key: PartOfKey { seen: 0, may_start: false } }
    }

    /// Reads on. The counts `found` are to be believed once the walk [is over](Walk::is_over).
    pub(super) fn feed(&mut self, bytes: &[u8], walk: &mut Walk, found: &mut Counts) {
        let mut at = 0;
        loop {
            if !self.walking {
                let Some(inside) = self.key.search(bytes, at) else { return };
                at = inside;
                walk.restart_in_usage();
                self.walking = true;
            }
            at += walk.feed(&bytes[at..], found);
            at += bytes[at..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            if at == bytes.len() {
                return;
            }
            // Something follows the object around it: it was not the outermost.
            self.walking = false;
            self.key.may_start = false;
            *found = Counts::NONE;
            walk.restart();
        }
    }
}

/// How much of `"usage" : {` the last bytes are.
#[derive(Clone, Copy, Debug)]
struct PartOfKey {
    /// Bytes of [`KEY`]; then one more for the colon. Space does not count.
    seen: u8,
    /// A key may start with the next byte.
    may_start: bool,
}

const WHOLE: u8 = KEY.len() as u8;
const COLON: u8 = WHOLE + 1;

impl PartOfKey {
    /// The index behind the brace of the next usage object in `bytes[at..]`.
    fn search(&mut self, bytes: &[u8], mut at: usize) -> Option<usize> {
        loop {
            while self.seen > 0 && at < bytes.len() {
                at += 1;
                if self.push(bytes[at - 1]) {
                    return Some(at);
                }
            }
            let Some(found) = USAGE.find(&bytes[at..]) else {
                // It may be cut: what is there of it is shorter than the key.
                let last = at.max(bytes.len().saturating_sub(KEY.len() - 1));
                if last > at {
                    self.may_start = may_precede(bytes[last - 1]);
                }
                for &byte in &bytes[last..] {
                    self.push(byte);
                }
                return None;
            };
            if found > 0 {
                self.may_start = may_precede(bytes[at + found - 1]);
            }
            self.seen = if self.may_start { WHOLE } else { 0 };
            self.may_start = false;
            at += found + KEY.len();
        }
    }

    /// Takes one byte; whether it is the brace behind a whole key.
    fn push(&mut self, byte: u8) -> bool {
        self.seen = match self.seen {
            seen @ 1..WHOLE if byte == KEY[usize::from(seen)] => seen + 1,
            WHOLE | COLON if byte.is_ascii_whitespace() => self.seen,
            WHOLE if byte == b':' => COLON,
            COLON if byte == b'{' => {
                self.seen = 0;
                return true;
            }
            _ => u8::from(byte == KEY[0] && self.may_start),
        };
        self.may_start = may_precede(byte);
        false
    }
}

/// Whether a key can stand behind this byte.
fn may_precede(byte: u8) -> bool {
    matches!(byte, b'{' | b',') || byte.is_ascii_whitespace()
}
