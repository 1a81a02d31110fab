//! SSE, and the other bodies that carry token counts: read while they pass, never delayed or changed.
//!
//! [`UsageReader`] is fed the payload of a response (chunk framing already taken off) as it arrives
//! and knows the token counts at the end. [`last_event_end`] and [`usage_only_event`] find the event
//! that we asked for and the caller did not. [`Tail`] knows where words of our own may go.
//!
//! # Promises
//! * What is read does not depend on where reads cut the stream.
//! * Only the provider's own counts are believed: members of the outermost object's `usage` (or of
//!   `response.usage`, which `/v1/responses` streams), never text inside strings, nor an object named
//!   `usage` that stands deeper (a caller's metadata, echoed).
//! * No allocation, and 128 bytes of state per stream.
//!
//! # Not here, on purpose
//! No JSON tree and no look at the deltas: an event without the word is skipped whole. The upstream is
//! not judged either: a body that is not JSON has no usage, and passes.
//!
//! # Cost
//! `benches/sse_scan.rs`. Two SIMD searches per byte in the common case.
#![deny(clippy::disallowed_methods)]

mod counts;
mod event_stream;
mod events;
mod hits;
mod json_lines;
mod json_text;
mod reader;

pub use events::{Tail, last_event_end, usage_only_event};
pub use reader::UsageReader;

/// How a response carries token counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UsageDialect {
    /// One JSON object with `usage`: OpenAI and everything compatible, streams excepted.
    OpenAiJson,
    /// Server-sent events; the last ones carry `usage`, and `[DONE]` ends them. `/v1/responses` too.
    OpenAiSse,
    /// One JSON object with `prompt_eval_count` and `eval_count`.
    OllamaJson,
    /// JSON objects, one a line; the one with `"done":true` has the counts.
    OllamaNdjson,
    /// Nothing to read.
    None,
}

/// The token counts of one response, as far as it said them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub prompt_tokens: Option<u64>,
    pub completion_tokens: Option<u64>,
    /// The upstream did not say `completion_tokens`; the number is how many deltas passed.
    pub estimated: bool,
}

#[cfg(test)]
mod tests;
