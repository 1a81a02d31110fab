use crate::sse::{Usage, UsageDialect, UsageReader};

type Said = (Usage, u64, bool);

fn said(dialect: UsageDialect, pieces: &[&[u8]]) -> Said {
    let mut reader = UsageReader::new(dialect);
    for piece in pieces {
        reader.feed(piece);
    }
    (reader.usage(), reader.events(), reader.done())
}

/// What the whole payload says, after making sure that cutting it changes nothing.
fn read(dialect: UsageDialect, payload: &str) -> Said {
    let payload = payload.as_bytes();
    let whole = said(dialect, &[payload]);
    for cut in 0..=payload.len() {
        let pieces = [&payload[..cut], b"", &payload[cut..]];
        assert_eq!(said(dialect, &pieces), whole, "{} cut at {cut}", payload.escape_ascii());
    }
    for size in [1, 2, 3, 7, 64] {
        let pieces: Vec<&[u8]> = payload.chunks(size).collect();
        assert_eq!(said(dialect, &pieces), whole, "{} in pieces of {size}", payload.escape_ascii());
    }
    whole
}

fn counts(prompt: u64, completion: u64) -> Usage {
    Usage { prompt_tokens: Some(prompt), completion_tokens: Some(completion), estimated: false }
}

const NONE: Usage = Usage { prompt_tokens: None, completion_tokens: None, estimated: false };

/// A chat stream as OpenAI writes it, with everything that could fool a reader.
const CHAT: &[&str] = &[
    ": keep-alive",
    r#"data: {"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"role":"assistant","content":""}}],"usage":null}"#,
    r#"data: {"choices":[{"delta":{"content":"the \"usage\": {\"prompt_tokens\": 99} field\\"}}],"usage":null}"#,
    r#"data:{"choices":[{"delta":{"tool_calls":[{"function":{"arguments":"{\"usage\":{"}}]},"usage":{"prompt_tokens":98}}],"usage" : null}"#,
    r#"data: {"metadata":{"usage":{"prompt_tokens":97,"completion_tokens":96}},"choices":[]}"#,
    r#"data: {"choices":[{"delta":{},"finish_reason":"stop"}]}"#,
    r#"data: {"choices":[],"usage":{"prompt_tokens":12,"completion_tokens":34,"total_tokens":46,"prompt_tokens_details":{"prompt_tokens":95}}}"#,
    "data: [DONE]",
];

#[test]
fn a_chat_stream_says_its_usage_however_its_lines_end() {
    for end in ["\n", "\r\n", "\r"] {
        let stream: String = CHAT.iter().map(|event| format!("{event}{end}{end}")).collect();
        assert_eq!(read(UsageDialect::OpenAiSse, &stream), (counts(12, 34), 7, true), "{end:?}");
    }
}

#[test]
fn a_stream_that_never_says_its_usage_is_estimated_by_its_events() {
    let stream: String = CHAT[..6].iter().map(|event| format!("{event}\n\n")).collect();
    let estimate = Usage { prompt_tokens: None, completion_tokens: Some(5), estimated: true };
    assert_eq!(read(UsageDialect::OpenAiSse, &stream), (estimate, 5, false));
    assert_eq!(read(UsageDialect::OpenAiSse, ""), (NONE, 0, false));
}

#[test]
fn data_over_several_lines_is_one_text() {
    let stream = "event: x\ndata: {\"choices\":[],\ndata:  \"usage\":\ndata: {\"prompt_tokens\":1,\ndata\ndata: \"completion_tokens\": 2}}\nid: 1\n\n";
    assert_eq!(read(UsageDialect::OpenAiSse, stream), (counts(1, 2), 1, false));
}

#[test]
fn the_last_usage_wins() {
    let stream = "data: {\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1}}\n\n\
                  data: {\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}\n\n\
                  data: {\"usage\":{\"completion_tokens\":3}}\n\ndata: [DONE]\n\n";
    assert_eq!(read(UsageDialect::OpenAiSse, stream), (counts(1, 3), 4, true));
}

#[test]
fn a_responses_stream_says_its_usage_inside_response() {
    let stream = "event: response.created\n\
        data: {\"type\":\"response.created\",\"response\":{\"id\":\"r\",\"usage\":null,\"metadata\":{\"usage\":{\"input_tokens\":9}}}}\n\n\
        event: response.output_text.delta\n\
        data: {\"type\":\"response.output_text.delta\",\"delta\":\"response\",\"item\":{\"usage\":{\"input_tokens\":8}}}\n\n\
        event: response.completed\n\
        data: {\"response\":{\"output\":[{\"usage\":{\"input_tokens\":7}}],\"usage\":{\"input_tokens\":36,\
        \"input_tokens_details\":{\"cached_tokens\":0},\"output_tokens\":87,\"total_tokens\":123},\"user\":null},\"type\":\"response.completed\"}\n\n";
    assert_eq!(read(UsageDialect::OpenAiSse, stream), (counts(36, 87), 3, false));
}

#[test]
fn llama_cpp_timings_are_not_usage() {
    let stream = "data: {\"choices\":[],\"created\":1,\"usage\":{\"completion_tokens\":8,\"prompt_tokens\":21,\"total_tokens\":29},\
        \"timings\":{\"prompt_n\":1,\"prompt_ms\":24.5,\"predicted_n\":8}}\n\ndata: [DONE]\n\n";
    assert_eq!(read(UsageDialect::OpenAiSse, stream), (counts(21, 8), 2, true));
}

#[test]
fn comments_and_other_fields_are_not_data() {
    let stream = ": {\"usage\":{\"prompt_tokens\":1}}\nid: {\"usage\":{\"prompt_tokens\":1}}\n\
        dat: {\"usage\":{\"prompt_tokens\":1}}\ndatas: {\"usage\":{\"prompt_tokens\":1}}\n\n";
    assert_eq!(read(UsageDialect::OpenAiSse, stream), (NONE, 0, false));
}

#[test]
fn a_json_answer_says_its_usage() {
    let dialect = UsageDialect::OpenAiJson;
    let answer = r#"{"id":"a","choices":[{"message":{"content":"\"usage\":{\"prompt_tokens\":9}"},"usage":{"prompt_tokens":8}}],
        "usage": { "prompt_tokens" : 5 , "completion_tokens":7,"completion_tokens_details":{"completion_tokens":1}}, "x":{"usage":{}}}"#;
    assert_eq!(read(dialect, answer).0, counts(5, 7));
    let embeddings = r#"{"data":[{"embedding":[0.1,-2e-3]}],"usage":{"prompt_tokens":8,"total_tokens":8}}"#;
    assert_eq!(read(dialect, embeddings).0, Usage { prompt_tokens: Some(8), ..NONE });
    for none in [
        "",
        "\"prompt_tokens\":1}",
        "}\"prompt_tokens\":1}",
        "null",
        "[]",
        r#"{"usage":null}"#,
        r#"{"usage":[{"prompt_tokens":1}]}"#,
        "<html>",
    ] {
        assert_eq!(read(dialect, none), (NONE, 0, false), "{none}");
    }
}

#[test]
fn counts_that_are_not_plain_integers_are_not_counts() {
    for value in ["-1", "1.5", "1e3", "\"7\"", "null", "[1]", "{\"a\":1}", "true", "99999999999999999999999"]
    {
        let answer = format!(r#"{{"usage":{{"prompt_tokens":{value},"completion_tokens":3}}}}"#);
        let wanted = Usage { completion_tokens: Some(3), ..NONE };
        assert_eq!(read(UsageDialect::OpenAiJson, &answer).0, wanted, "{value}");
    }
}

#[test]
fn ollama_says_its_counts_in_the_line_that_is_done() {
    let stream = "{\"model\":\"m\",\"message\":{\"content\":\"\\\"done\\\":true \"},\"done\":false}\n\
        {\"message\":{\"done\":true,\"eval_count\":9},\"done\":false,\"eval_count\":8}\n\n\
        {\"done_reason\":\"stop\",\"done\":true,\"total_duration\":1,\"prompt_eval_count\":26,\"eval_count\":298}";
    assert_eq!(read(UsageDialect::OllamaNdjson, stream), (counts(26, 298), 2, true));
    assert_eq!(read(UsageDialect::OllamaNdjson, &format!("{stream}\r\n")), (counts(26, 298), 3, true));
    let whole = r#"{"response":"x","context":[1,2],"done":true,"prompt_eval_count":1,"eval_count":2}"#;
    assert_eq!(read(UsageDialect::OllamaJson, whole), (counts(1, 2), 0, true));
    let embed = r#"{"embeddings":[[0.1]],"prompt_eval_count":8}"#;
    assert_eq!(read(UsageDialect::OllamaJson, embed).0, Usage { prompt_tokens: Some(8), ..NONE });
}

#[test]
fn nothing_is_read_where_there_is_nothing_to_read() {
    assert_eq!(read(UsageDialect::None, CHAT[6]), (NONE, 0, false));
}

#[test]
fn counts_outside_an_object_are_not_counts() {
    let stream = "data: \"completion_tokens\": 2}}\n\ndata: }\"prompt_tokens\": 2}\n\n";
    let estimate = Usage { prompt_tokens: None, completion_tokens: Some(2), estimated: true };
    assert_eq!(read(UsageDialect::OpenAiSse, stream), (estimate, 2, false));
}
