//! The wire formats of completions: OpenAI (chat, legacy completions, responses), Anthropic messages, Ollama (chat,
//! generate). Each gives the events around a stream's content and the whole JSON answer. The real `openai` and `ollama`
//! clients read them (`loadtest/tests/clients.py`).

use std::fmt::Write as _;

/// A format that completions are streamed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Dialect {
    Chat,
    Completions,
    Responses,
    Messages,
    OllamaChat,
    OllamaGenerate,
}

/// What the events of one answer have in common.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    /// The model's name as a JSON string, quotes included: as the caller wrote it.
    pub(super) model: String,
    pub(super) prompt_tokens: u32,
    pub(super) completion_tokens: u32,
    /// Whether the answer tells its usage.
    pub(super) usage: bool,
}

/// Seconds since 1970 of every answer's creation: fixed, so that equal requests get equal bytes.
const CREATED: u64 = 1_750_000_000;
const CREATED_TEXT: &str = "2025-06-15T15:06:40.000000Z";

impl Dialect {
    /// Whether its streams are newline-delimited JSON rather than server-sent events.
    pub(super) const fn is_ndjson(self) -> bool {
        matches!(self, Self::OllamaChat | Self::OllamaGenerate)
    }

    /// Whether a request without `stream` gets a stream.
    pub(super) const fn streams_by_default(self) -> bool {
        self.is_ndjson()
    }

    /// What goes before and after the text of one content event.
    pub(super) fn content_event(self, facts: &Facts) -> (String, String) {
        let model = &facts.model;
        match self {
            Self::Chat => (
                format!(
                    "data: {{\"id\":\"chatcmpl-mock\",\"object\":\"chat.completion.chunk\",\"created\":{CREATED},\"model\":{model},\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\""
                ),
                "\"},\"finish_reason\":null}]}\n\n".to_owned(),
            ),
            Self::Completions => (
                format!(
                    "data: {{\"id\":\"cmpl-mock\",\"object\":\"text_completion\",\"created\":{CREATED},\"model\":{model},\"choices\":[{{\"index\":0,\"text\":\""
                ),
                "\",\"logprobs\":null,\"finish_reason\":null}]}\n\n".to_owned(),
            ),
            Self::Responses => (
                "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"sequence_number\":3,\"item_id\":\"msg_mock\",\"output_index\":0,\"content_index\":0,\"delta\":\"".to_owned(),
                "\"}\n\n".to_owned(),
            ),
            Self::Messages => (
                "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"".to_owned(),
                "\"}}\n\n".to_owned(),
            ),
            Self::OllamaChat => (
                format!(
                    "{{\"model\":{model},\"created_at\":\"{CREATED_TEXT}\",\"message\":{{\"role\":\"assistant\",\"content\":\""
                ),
                "\"},\"done\":false}\n".to_owned(),
            ),
            Self::OllamaGenerate => (
                format!("{{\"model\":{model},\"created_at\":\"{CREATED_TEXT}\",\"response\":\""),
                "\",\"done\":false}\n".to_owned(),
            ),
        }
    }

    /// The events before the first content.
    pub(super) fn opening(self, facts: &Facts) -> Vec<String> {
        let model = &facts.model;
        match self {
            Self::Chat => vec![format!(
                "data: {{\"id\":\"chatcmpl-mock\",\"object\":\"chat.completion.chunk\",\"created\":{CREATED},\"model\":{model},\"choices\":[{{\"index\":0,\"delta\":{{\"role\":\"assistant\",\"content\":\"\"}},\"finish_reason\":null}}]}}\n\n"
            )],
            Self::Responses => vec![
                format!(
                    "event: response.created\ndata: {{\"type\":\"response.created\",\"sequence_number\":0,\"response\":{}}}\n\n",
                    response_object(facts, "in_progress", None)
                ),
                "event: response.output_item.added\ndata: {\"type\":\"response.output_item.added\",\"sequence_number\":1,\"output_index\":0,\"item\":{\"type\":\"message\",\"id\":\"msg_mock\",\"role\":\"assistant\",\"status\":\"in_progress\",\"content\":[]}}\n\n".to_owned(),
                "event: response.content_part.added\ndata: {\"type\":\"response.content_part.added\",\"sequence_number\":2,\"item_id\":\"msg_mock\",\"output_index\":0,\"content_index\":0,\"part\":{\"type\":\"output_text\",\"text\":\"\",\"annotations\":[]}}\n\n".to_owned(),
            ],
            Self::Messages => vec![
                format!(
                    "event: message_start\ndata: {{\"type\":\"message_start\",\"message\":{{\"id\":\"msg_mock\",\"type\":\"message\",\"role\":\"assistant\",\"model\":{model},\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":{{\"input_tokens\":{},\"output_tokens\":0}}}}}}\n\n",
                    facts.prompt_tokens
                ),
                "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n".to_owned(),
            ],
            Self::Completions | Self::OllamaChat | Self::OllamaGenerate => Vec::new(),
        }
    }

    /// The events after the last content, the end marker included; `text` is all that was streamed.
    pub(super) fn closing(self, facts: &Facts, text: &str) -> Vec<String> {
        let model = &facts.model;
        match self {
            Self::Chat | Self::Completions => {
                let (id, object, last) = if self == Self::Chat {
                    ("chatcmpl-mock", "chat.completion.chunk", "\"delta\":{}")
                } else {
                    ("cmpl-mock", "text_completion", "\"text\":\"\",\"logprobs\":null")
                };
                let start = format!(
                    "data: {{\"id\":\"{id}\",\"object\":\"{object}\",\"created\":{CREATED},\"model\":{model}"
                );
                let mut events = vec![format!(
                    "{start},\"choices\":[{{\"index\":0,{last},\"finish_reason\":\"stop\"}}]}}\n\n"
                )];
                if facts.usage {
                    events.push(format!("{start},\"choices\":[],\"usage\":{}}}\n\n", openai_usage(facts)));
                }
                events.push("data: [DONE]\n\n".to_owned());
                events
            }
            Self::Responses => vec![format!(
                "event: response.completed\ndata: {{\"type\":\"response.completed\",\"sequence_number\":4,\"response\":{}}}\n\n",
                response_object(facts, "completed", Some(text))
            )],
            Self::Messages => vec![
                "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n"
                    .to_owned(),
                format!(
                    "event: message_delta\ndata: {{\"type\":\"message_delta\",\"delta\":{{\"stop_reason\":\"end_turn\",\"stop_sequence\":null}},\"usage\":{{\"output_tokens\":{}}}}}\n\n",
                    facts.completion_tokens
                ),
                "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n".to_owned(),
            ],
            Self::OllamaChat | Self::OllamaGenerate => vec![format!("{}\n", self.ollama_final(facts, ""))],
        }
    }

    /// The whole answer of a request that asked for no stream.
    pub(super) fn whole(self, facts: &Facts, text: &str) -> String {
        let model = &facts.model;
        let usage = if facts.usage { format!(",\"usage\":{}", openai_usage(facts)) } else { String::new() };
        match self {
            Self::Chat => format!(
                "{{\"id\":\"chatcmpl-mock\",\"object\":\"chat.completion\",\"created\":{CREATED},\"model\":{model},\"choices\":[{{\"index\":0,\"message\":{{\"role\":\"assistant\",\"content\":\"{text}\"}},\"logprobs\":null,\"finish_reason\":\"stop\"}}]{usage}}}"
            ),
            Self::Completions => format!(
                "{{\"id\":\"cmpl-mock\",\"object\":\"text_completion\",\"created\":{CREATED},\"model\":{model},\"choices\":[{{\"index\":0,\"text\":\"{text}\",\"logprobs\":null,\"finish_reason\":\"stop\"}}]{usage}}}"
            ),
            Self::Responses => response_object(facts, "completed", Some(text)),
            Self::Messages => format!(
                "{{\"id\":\"msg_mock\",\"type\":\"message\",\"role\":\"assistant\",\"model\":{model},\"content\":[{{\"type\":\"text\",\"text\":\"{text}\"}}],\"stop_reason\":\"end_turn\",\"stop_sequence\":null,\"usage\":{{\"input_tokens\":{},\"output_tokens\":{}}}}}",
                facts.prompt_tokens, facts.completion_tokens
            ),
            Self::OllamaChat | Self::OllamaGenerate => self.ollama_final(facts, text),
        }
    }

    fn ollama_final(self, facts: &Facts, text: &str) -> String {
        let mut line = format!("{{\"model\":{},\"created_at\":\"{CREATED_TEXT}\",", facts.model);
        let wrote = match self {
            Self::OllamaGenerate => write!(line, "\"response\":\"{text}\",\"context\":[1,2,3],"),
            Self::OllamaChat | Self::Chat | Self::Completions | Self::Responses | Self::Messages => {
                write!(line, "\"message\":{{\"role\":\"assistant\",\"content\":\"{text}\"}},")
            }
        };
        wrote.expect("writing to a String cannot fail");
        line.push_str(
            "\"done\":true,\"done_reason\":\"stop\",\"total_duration\":2000000,\"load_duration\":1000000",
        );
        if facts.usage {
            write!(
                line,
                ",\"prompt_eval_count\":{},\"prompt_eval_duration\":500000,\"eval_count\":{},\"eval_duration\":500000",
                facts.prompt_tokens, facts.completion_tokens
            )
            .expect("writing to a String cannot fail");
        }
        line.push('}');
        line
    }
}

fn openai_usage(facts: &Facts) -> String {
    let (prompt, completion) = (facts.prompt_tokens, facts.completion_tokens);
    format!(
        "{{\"prompt_tokens\":{prompt},\"completion_tokens\":{completion},\"total_tokens\":{}}}",
        u64::from(prompt) + u64::from(completion)
    )
}

fn response_object(facts: &Facts, status: &str, text: Option<&str>) -> String {
    let output = text.map_or_else(String::new, |text| {
        format!(
            "{{\"type\":\"message\",\"id\":\"msg_mock\",\"role\":\"assistant\",\"status\":\"completed\",\"content\":[{{\"type\":\"output_text\",\"text\":\"{text}\",\"annotations\":[]}}]}}"
        )
    });
    let usage = match text {
        Some(_) if facts.usage => format!(
            "{{\"input_tokens\":{},\"input_tokens_details\":{{\"cached_tokens\":0}},\"output_tokens\":{},\"output_tokens_details\":{{\"reasoning_tokens\":0}},\"total_tokens\":{}}}",
            facts.prompt_tokens,
            facts.completion_tokens,
            u64::from(facts.prompt_tokens) + u64::from(facts.completion_tokens)
        ),
        Some(_) | None => "null".to_owned(),
    };
    format!(
        "{{\"id\":\"resp_mock\",\"object\":\"response\",\"created_at\":{CREATED},\"status\":\"{status}\",\"error\":null,\"incomplete_details\":null,\"instructions\":null,\"metadata\":{{}},\"model\":{},\"output\":[{output}],\"parallel_tool_calls\":true,\"temperature\":1.0,\"tool_choice\":\"auto\",\"tools\":[],\"top_p\":1.0,\"usage\":{usage}}}",
        facts.model
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Dialect; 6] = [
        Dialect::Chat,
        Dialect::Completions,
        Dialect::Responses,
        Dialect::Messages,
        Dialect::OllamaChat,
        Dialect::OllamaGenerate,
    ];

    #[test]
    fn every_event_and_every_whole_answer_holds_valid_json() {
        let facts =
            Facts { model: "\"a\\\"b\"".to_owned(), prompt_tokens: 9, completion_tokens: 3, usage: true };
        for dialect in ALL {
            let (before, after) = dialect.content_event(&facts);
            let mut events = dialect.opening(&facts);
            events.push(format!("{before}text{after}"));
            events.extend(dialect.closing(&facts, "text"));
            for event in events {
                let end = if dialect.is_ndjson() { "\n" } else { "\n\n" };
                let line = event.strip_suffix(end).expect("an event ends with its separator");
                let json = line.split("data: ").last().expect("a split has a last part");
                if json != "[DONE]" {
                    serde_json::from_str::<serde_json::Value>(json).unwrap_or_else(|error| {
                        panic!("{dialect:?}: {error}: {json}");
                    });
                }
            }
            serde_json::from_str::<serde_json::Value>(&dialect.whole(&facts, "text")).unwrap();
        }
    }
}
