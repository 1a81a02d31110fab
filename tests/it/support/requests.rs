//! Requests as text. Fields are `name: value\r\n` lines, so that a test can write wrong ones.

use super::world::{DOMAIN, MODEL, Pat};

/// A GET on the data listener.
pub(crate) fn get(path: &str, fields: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: proxy\r\n{fields}\r\n")
}

/// A POST of JSON with its length.
pub(crate) fn post(path: &str, fields: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nhost: proxy\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\
         {fields}\r\n{body}"
    )
}

/// The chat request of most tests: [`MODEL`] in [`DOMAIN`].
pub(crate) fn chat(pat: &Pat) -> String {
    post(&chat_path(), &pat.line(), &chat_body("false"))
}

/// The same, asking for a stream.
pub(crate) fn chat_stream(pat: &Pat) -> String {
    post(&chat_path(), &pat.line(), &chat_body("true"))
}

pub(crate) fn chat_path() -> String {
    format!("/proxy/{DOMAIN}/v1/chat/completions")
}

pub(crate) fn chat_body(stream: &str) -> String {
    format!(r#"{{"model":"{MODEL}","stream":{stream},"messages":[{{"role":"user","content":"hi"}}]}}"#)
}
