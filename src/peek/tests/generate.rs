//! Random JSON for the oracle tests: a tree, and a writer that spells it in a random way.

use proptest::prelude::*;

/// A failing case is printed whole; it becomes a test of its own, not a file.
pub(crate) fn without_files() -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::default() }
}

/// A JSON value, objects in written order.
#[derive(Clone, Debug)]
pub(crate) enum Json {
    /// A literal or a number, as written.
    Bare(String),
    Text(String),
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    pub(crate) fn object(members: impl IntoIterator<Item = (&'static str, Json)>) -> Self {
        Self::Object(members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
    }

    pub(crate) fn bare(written: impl ToString) -> Self {
        Self::Bare(written.to_string())
    }
}

/// Text full of what could be mistaken for structure.
pub(crate) fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z \\n\"\\\\{}\\[\\]:,/é😀\u{1}]{0,40}",
        Just(r#""usage": {"prompt_tokens": 99}, "model": "x""#.to_owned()),
        Just("\\\"".repeat(9)),
        Just("data: [DONE]\n\n".to_owned()),
    ]
}

pub(crate) fn number() -> impl Strategy<Value = Json> {
    "-?(0|[1-9][0-9]{0,18})(\\.[0-9]{1,4})?([eE][+-]?[0-9]{1,2})?".prop_map(Json::Bare)
}

/// Any value; its objects like to have keys that mean something elsewhere.
pub(crate) fn value() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        prop_oneof!["null", "true", "false"].prop_map(Json::Bare),
        number(),
        text().prop_map(Json::Text),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Json::Array),
            members(inner).prop_map(Json::Object),
        ]
    })
}

/// Members with keys that are all different.
fn members(value: impl Strategy<Value = Json>) -> impl Strategy<Value = Vec<(String, Json)>> {
    let key = prop_oneof![
        "[a-z_]{0,24}",
        prop_oneof![
            "model",
            "stream",
            "stream_options",
            "include_usage",
            "max_tokens",
            "usage",
            "response",
            "prompt_tokens",
            "completion_tokens",
            "choices",
            "done",
            "eval_count",
        ],
        text(),
    ];
    prop::collection::btree_map(key, value, 0..4).prop_map(|members| members.into_iter().collect())
}

/// Spells a tree; every choice comes from one seed.
pub(crate) struct Writer {
    seed: u64,
    /// Whether to spell letters as `\u00xx` now and then, and to use space.
    pub(crate) odd: bool,
    /// Whether keys may be spelled so too.
    pub(crate) odd_keys: bool,
    pub(crate) out: Vec<u8>,
}

impl Writer {
    pub(crate) fn new(seed: u64) -> Self {
        let odd = !seed.is_multiple_of(4);
        Self { seed: seed | 1, odd, odd_keys: odd, out: Vec::new() }
    }

    /// Below `bound`.
    pub(crate) fn draw(&mut self, bound: u64) -> u64 {
        // xorshift64
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        self.seed % bound
    }

    pub(crate) fn write(&mut self, value: &Json) {
        match value {
            Json::Bare(written) => self.out.extend_from_slice(written.as_bytes()),
            Json::Text(said) => self.text(said, self.odd),
            Json::Array(items) => {
                self.around(b'[', b']', items.len(), |writer, at| writer.write(&items[at]));
            }
            Json::Object(members) => self.around(b'{', b'}', members.len(), |writer, at| {
                let (key, value) = &members[at];
                writer.text(key, writer.odd_keys);
                writer.space();
                writer.out.push(b':');
                writer.space();
                writer.write(value);
            }),
        }
    }

    fn around(&mut self, open: u8, close: u8, count: usize, mut item: impl FnMut(&mut Self, usize)) {
        self.out.push(open);
        for at in 0..count {
            if at > 0 {
                self.out.push(b',');
            }
            self.space();
            item(self, at);
            self.space();
        }
        if count == 0 {
            self.space();
        }
        self.out.push(close);
    }

    pub(crate) fn space(&mut self) {
        if self.odd && self.draw(3) == 0 {
            for _ in 0..=self.draw(2) {
                let space = b" \t\n\r"[self.draw(4) as usize];
                self.out.push(space);
            }
        }
    }

    fn text(&mut self, said: &str, odd: bool) {
        self.out.push(b'"');
        for letter in said.chars() {
            let mut utf16 = [0; 2];
            let mut utf8 = [0; 4];
            match letter {
                '"' | '\\' => self.out.extend_from_slice(&[b'\\', letter as u8]),
                '/' if odd && self.draw(2) == 0 => self.out.extend_from_slice(b"\\/"),
                '\n' => self.out.extend_from_slice(b"\\n"),
                _ if letter < ' ' || odd && self.draw(6) == 0 => {
                    for unit in letter.encode_utf16(&mut utf16) {
                        self.out.extend_from_slice(format!("\\u{unit:04x}").as_bytes());
                    }
                }
                _ => self.out.extend_from_slice(letter.encode_utf8(&mut utf8).as_bytes()),
            }
        }
        self.out.push(b'"');
    }
}

/// `bytes` in random pieces, some empty; `seed` 0 is the whole.
pub(crate) fn pieces(bytes: &[u8], seed: u64) -> Vec<&[u8]> {
    let mut writer = Writer::new(seed);
    let longest = [u64::MAX, 1, 3, 16, 64][(seed % 5) as usize];
    let mut rest = bytes;
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        let length = if longest == u64::MAX { rest.len() } else { writer.draw(longest + 1) as usize };
        let (piece, left) = rest.split_at(length.min(rest.len()));
        pieces.push(piece);
        rest = left;
    }
    pieces
}
