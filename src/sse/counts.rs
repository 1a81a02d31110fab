//! Counts: finds the token counts in one JSON text that arrives in pieces.
//!
//! Not a validator: it follows strings, braces and brackets, and reads a handful of keys where they
//! count. Keys are compared as they are written; nobody escapes ASCII letters in `usage`.

use crate::peek::text::closing_quote;

/// The two counts; [`Counts::UNSAID`] is no count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Counts {
    prompt: u64,
    completion: u64,
}

impl Counts {
    /// Stands for a count that nobody said. Half the size of an `Option`, and no model counts so far.
    const UNSAID: u64 = u64::MAX;
    pub(super) const NONE: Self = Self { prompt: Self::UNSAID, completion: Self::UNSAID };

    pub(super) fn prompt(self) -> Option<u64> {
        (self.prompt != Self::UNSAID).then_some(self.prompt)
    }

    pub(super) fn completion(self) -> Option<u64> {
        (self.completion != Self::UNSAID).then_some(self.completion)
    }

    /// Takes over what `newer` says, and keeps what it does not say.
    fn update(&mut self, newer: Self) {
        if newer.prompt != Self::UNSAID {
            self.prompt = newer.prompt;
        }
        if newer.completion != Self::UNSAID {
            self.completion = newer.completion;
        }
    }
}

/// Whose keys to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keys {
    /// `usage` of the outermost object.
    OpenAi,
    /// The same, and `usage` of the outermost object's `response`.
    OpenAiEvent,
    Ollama,
    /// Ollama's, believed only where `"done":true` stands beside them.
    OllamaFinal,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    Other,
    /// The object that holds the counts.
    Usage,
    /// The object that holds `usage` in events of `/v1/responses`.
    Response,
    Prompt,
    Completion,
    Done,
}

/// Longest key that we look for: `prompt_eval_count`, `completion_tokens`.
const KEY_BYTES_MAX: usize = 17;

/// A walk through one JSON text.
#[derive(Clone, Debug)]
pub(super) struct Walk {
    /// What the usage object that is open has said so far.
    staged: Counts,
    number: u64,
    depth: u32,
    /// The depth of the members that hold counts while inside their object, else 0.
    counts_depth: u8,
    keys: Keys,
    inside: Inside,
    /// The member whose value comes next.
    key: Key,
    /// The string that just ended, which is a key if a colon follows.
    text: Key,
    /// Inside the outermost object's `response`.
    in_response: bool,
    /// Inside a string: the piece before ended with a backslash that escapes.
    escaped: bool,
    /// Inside a string that may be a key we look for.
    watched: bool,
    /// `"done":true` was said.
    done: bool,
    kept: u8,
    /// A key that the end of a piece cut, as far as it came.
    cut: [u8; KEY_BYTES_MAX],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Inside {
    Structure,
    Text,
    Number,
    /// The outermost object or array was closed: the text is over.
    Nothing,
}

/// The `kept` of a string that is too long to be one of our keys.
const TOO_LONG: u8 = u8::MAX;

impl Walk {
    /// A walk from the front of a text.
    pub(super) fn new(keys: Keys) -> Self {
        let mut walk = Self {
            staged: Counts::NONE,
            number: 0,
            depth: 0,
            counts_depth: match keys {
                Keys::OpenAi | Keys::OpenAiEvent => 0,
                Keys::Ollama | Keys::OllamaFinal => 1,
            },
            keys,
            inside: Inside::Structure,
            key: Key::Other,
            text: Key::Other,
            in_response: false,
            escaped: false,
            watched: false,
            done: false,
            kept: 0,
            cut: [0; KEY_BYTES_MAX],
        };
        walk.watch();
        walk
    }

    /// Starts again, as if just behind the brace of the outermost object's `usage`.
    pub(super) fn restart_in_usage(&mut self) {
        self.restart();
        self.depth = 2;
        self.counts_depth = 2;
        self.watch();
    }

    /// Makes ready for another text.
    pub(super) fn restart(&mut self) {
        *self = Self::new(self.keys);
    }

    /// Whether the outermost object said `"done":true`.
    pub(super) fn done(&self) -> bool {
        self.done
    }

    /// Whether the text is over.
    pub(super) fn is_over(&self) -> bool {
        self.inside == Inside::Nothing
    }

    /// Goes on with the text's next piece; `found` gets the counts of each usage object that ends in it.
    ///
    /// Returns how many bytes were taken: all, or those up to the end of the text.
    pub(super) fn feed(&mut self, piece: &[u8], found: &mut Counts) -> usize {
        let mut at = 0;
        while at < piece.len() {
            at = match self.inside {
                Inside::Structure => self.structure(piece, at, found),
                Inside::Text => self.text(piece, at),
                Inside::Number => self.number(piece, at),
                Inside::Nothing => break,
            };
        }
        at
    }

    fn structure(&mut self, piece: &[u8], at: usize, found: &mut Counts) -> usize {
        let at = if self.watched { at } else { skip_to_structure(piece, at) };
        let Some(&byte) = piece.get(at) else { return at };
        match byte {
            b'"' => {
                self.forget();
                self.kept = 0;
                self.inside = Inside::Text;
                return self.text(piece, at + 1);
            }
            b':' => self.key = std::mem::replace(&mut self.text, Key::Other),
            b'{' | b'[' => self.open(byte == b'{'),
            b'}' | b']' => self.close(found),
            b'0'..=b'9' if matches!(self.key, Key::Prompt | Key::Completion) => {
                self.number = u64::from(byte - b'0');
                self.inside = Inside::Number;
            }
            _ if byte.is_ascii_whitespace() => {}
            _ => {
                self.done |= byte == b't' && self.key == Key::Done;
                self.forget();
            }
        }
        at + 1
    }

    /// What comes next is not the value of a key we know.
    fn forget(&mut self) {
        (self.key, self.text) = (Key::Other, Key::Other);
    }

    /// Notes whether keys at this depth may be ones we look for.
    fn watch(&mut self) {
        self.watched = self.depth == 1 || self.depth == 2 && self.in_response || self.holds_counts();
    }

    /// Whether the members at this depth are counts.
    fn holds_counts(&self) -> bool {
        self.counts_depth != 0 && self.depth == u32::from(self.counts_depth)
    }

    fn open(&mut self, object: bool) {
        self.depth = self.depth.saturating_add(1);
        if object {
            match (self.key, self.depth) {
                (Key::Usage, 2 | 3) => {
                    self.counts_depth = self.depth as u8;
                    self.staged = Counts::NONE;
                }
                (Key::Response, 2) => self.in_response = true,
                _ => {}
            }
        }
        self.forget();
        self.watch();
    }

    fn close(&mut self, found: &mut Counts) {
        if self.holds_counts() {
            match self.keys {
                Keys::OpenAi | Keys::OpenAiEvent => self.counts_depth = 0,
                Keys::Ollama => {}
                Keys::OllamaFinal if self.done => {}
                Keys::OllamaFinal => self.staged = Counts::NONE,
            }
            found.update(std::mem::replace(&mut self.staged, Counts::NONE));
        }
        self.depth = self.depth.saturating_sub(1);
        if self.depth <= 1 {
            self.in_response = false;
        }
        if self.depth == 0 {
            self.inside = Inside::Nothing;
        }
        self.forget();
        self.watch();
    }

    fn text(&mut self, piece: &[u8], at: usize) -> usize {
        let end = closing_quote(piece, at, &mut self.escaped);
        if self.watched {
            self.read_text(&piece[at..end.unwrap_or(piece.len())], end.is_some());
        }
        let Some(quote) = end else { return piece.len() };
        self.inside = Inside::Structure;
        quote + 1
    }

    /// Takes a part of a string that may be a key, the last part if `ended`.
    fn read_text(&mut self, said: &[u8], ended: bool) {
        if ended && self.kept == 0 {
            self.text = self.key_of(said);
            return;
        }
        let kept = usize::from(self.kept);
        match self.cut.get_mut(kept..kept + said.len()) {
            Some(room) => {
                room.copy_from_slice(said);
                self.kept += said.len() as u8;
            }
            None => self.kept = TOO_LONG,
        }
        if ended {
            let kept = self.cut.get(..usize::from(self.kept));
            self.text = kept.map_or(Key::Other, |kept| self.key_of(kept));
        }
    }

    fn key_of(&self, said: &[u8]) -> Key {
        let counts = self.holds_counts();
        match (self.keys, said) {
            (Keys::OpenAi | Keys::OpenAiEvent, b"prompt_tokens" | b"input_tokens") if counts => Key::Prompt,
            (Keys::OpenAi | Keys::OpenAiEvent, b"completion_tokens" | b"output_tokens") if counts => {
                Key::Completion
            }
            (Keys::OpenAi | Keys::OpenAiEvent, b"usage") if !counts => Key::Usage,
            (Keys::OpenAiEvent, b"response") if self.depth == 1 => Key::Response,
            (Keys::Ollama | Keys::OllamaFinal, b"prompt_eval_count") => Key::Prompt,
            (Keys::Ollama | Keys::OllamaFinal, b"eval_count") => Key::Completion,
            (Keys::Ollama | Keys::OllamaFinal, b"done") => Key::Done,
            (Keys::OpenAi | Keys::OpenAiEvent | Keys::Ollama | Keys::OllamaFinal, _) => Key::Other,
        }
    }

    fn number(&mut self, piece: &[u8], at: usize) -> usize {
        match piece[at] {
            digit @ b'0'..=b'9' => {
                // A number that does not fit becomes the largest, which is no count.
                self.number = self.number.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
                return at + 1;
            }
            b'.' | b'e' | b'E' => {}
            _ if self.key == Key::Prompt => self.staged.prompt = self.number,
            _ => self.staged.completion = self.number,
        }
        self.key = Key::Other;
        self.inside = Inside::Structure;
        at
    }
}

/// The index of the next byte that changes the depth or starts a string, or the length.
///
/// Long runs without one are arrays of numbers (embeddings); those are passed in blocks that the
/// compiler compares with vector instructions.
fn skip_to_structure(piece: &[u8], mut at: usize) -> usize {
    let near = piece.len().min(at + 16);
    while at < near {
        if IS_STRUCTURE[usize::from(piece[at])] {
            return at;
        }
        at += 1;
    }
    while let Some(block) = piece[at..].first_chunk::<32>() {
        if block.iter().fold(false, |any, &byte| any | is_structure(byte)) {
            break;
        }
        at += block.len();
    }
    piece[at..].iter().position(|&byte| is_structure(byte)).map_or(piece.len(), |found| at + found)
}

const fn is_structure(byte: u8) -> bool {
    // Braces and brackets differ in one bit.
    byte == b'"' || byte | 0x20 == b'{' || byte | 0x20 == b'}'
}

static IS_STRUCTURE: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < table.len() {
        table[byte] = is_structure(byte as u8);
        byte += 1;
    }
    table
};
