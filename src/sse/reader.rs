//! Reader: one response's token counts, whatever its dialect.

use super::counts::{Counts, Keys, Walk};
use super::event_stream::EventStream;
use super::json_lines::JsonLines;
use super::json_text::JsonText;
use super::{Usage, UsageDialect};

/// Reads the token counts of one response out of its payload as it passes.
///
/// Feed it the body's bytes in order, in pieces of any size, chunk framing taken off; ask at the end, or
/// at any time. It says the same for every way of cutting.
///
/// # Source
/// OpenAI API reference (chat completions, responses, embeddings), Ollama `docs/api.md`.
#[derive(Clone, Debug)]
pub struct UsageReader {
    counts: Counts,
    walk: Walk,
    body: Body,
}

/// What the payload is made of.
#[derive(Clone, Debug)]
enum Body {
    /// One JSON text, walked from its front.
    Json,
    /// One JSON text, searched.
    Text(JsonText),
    Events(EventStream),
    Lines(JsonLines),
    Unread,
}

const _: () = assert!(size_of::<UsageReader>() <= 128);

impl UsageReader {
    /// A reader of a response of which nothing has come yet.
    #[must_use]
    pub fn new(dialect: UsageDialect) -> Self {
        let (body, keys) = match dialect {
            UsageDialect::OpenAiJson => (Body::Text(JsonText::new()), Keys::OpenAi),
            UsageDialect::OpenAiSse => (Body::Events(EventStream::new()), Keys::OpenAiEvent),
            UsageDialect::OllamaJson => (Body::Json, Keys::Ollama),
            UsageDialect::OllamaNdjson => (Body::Lines(JsonLines::new()), Keys::OllamaFinal),
            UsageDialect::None => (Body::Unread, Keys::OpenAi),
        };
        Self { counts: Counts::NONE, walk: Walk::new(keys), body }
    }

    /// Reads the payload's next bytes. Returns whether an object called `usage`, or a part of one, may be among them; `false` only
    /// for whole events in which there is none.
    ///
    /// # Cost
    /// No allocation. `benches/sse_scan.rs`.
    #[inline]
    pub fn feed(&mut self, payload: &[u8]) -> bool {
        match &mut self.body {
            Body::Json => _ = self.walk.feed(payload, &mut self.counts),
            Body::Text(text) => text.feed(payload, &mut self.walk, &mut self.counts),
            Body::Events(events) => return events.feed(payload, &mut self.walk, &mut self.counts),
            Body::Lines(lines) => lines.feed(payload, &mut self.walk, &mut self.counts),
            Body::Unread => {}
        }
        true
    }

    /// The counts so far. A later usage object overrides what it says again.
    ///
    /// A stream that never said how many tokens it was is estimated: one token for each event with data,
    /// `[DONE]` left out. Roles and finish reasons come in such events too, and some servers put several
    /// tokens in one, so the error goes both ways.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let counts = match &self.body {
            // Until the text is over, the usage object found may turn out to stand too deep.
            Body::Text(_) if !self.walk.is_over() => Counts::NONE,
            Body::Text(_) | Body::Json | Body::Events(_) | Body::Lines(_) | Body::Unread => self.counts,
        };
        let said = counts.completion();
        let deltas = match &self.body {
            Body::Events(events) => events.events - u64::from(events.done),
            Body::Lines(lines) => lines.lines,
            Body::Json | Body::Text(_) | Body::Unread => 0,
        };
        let estimated = said.is_none() && deltas > 0;
        Usage {
            prompt_tokens: counts.prompt(),
            completion_tokens: if estimated { Some(deltas) } else { said },
            estimated,
        }
    }

    /// Events of a stream that ended, `[DONE]` included, or lines that did; 0 for other bodies.
    #[must_use]
    pub fn events(&self) -> u64 {
        match &self.body {
            Body::Events(events) => events.events,
            Body::Lines(lines) => lines.lines,
            Body::Json | Body::Text(_) | Body::Unread => 0,
        }
    }

    /// Whether the stream said that it is complete: `[DONE]`, or `"done":true`.
    #[must_use]
    pub fn done(&self) -> bool {
        match &self.body {
            Body::Events(events) => events.done,
            Body::Lines(lines) => lines.done,
            Body::Json => self.walk.done(),
            Body::Text(_) | Body::Unread => false,
        }
    }
}
