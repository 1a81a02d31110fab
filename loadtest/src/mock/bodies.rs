//! Answers that are one JSON document: models, embeddings, errors, the echo of a request, and the whole answer of a
//! completion that asked for no stream.

use super::dialect::Facts;
use super::events::SAMPLE;
use super::request::{Ask, Request, Route};
use crate::http1::{Fields, request_line};
use base64::Engine as _;
use serde_json::{Value, json};

/// Floats in an embedding.
const DIMENSIONS: usize = 8;

/// The body for `request`, `pad_to` bytes long if it can be (its text is padded).
pub(super) fn whole(request: &Request, ask: &Ask, facts: &Facts, models: &[String]) -> Vec<u8> {
    let numbered = request.script.events.is_some();
    let text = if request.script.body_bytes.is_some() || numbered { "x" } else { SAMPLE };
    let Route::Complete(dialect) = request.route else {
        return fill(document(request, ask, facts, models).to_string(), request.script.body_bytes);
    };
    let bare = dialect.whole(facts, text);
    let missing = request.script.body_bytes.map_or(0, |bytes| (bytes as usize).saturating_sub(bare.len()));
    if missing == 0 {
        return bare.into_bytes();
    }
    dialect.whole(facts, &"x".repeat(missing + text.len())).into_bytes()
}

/// Pads a document with spaces before its last brace: still the same JSON.
fn fill(mut document: String, bytes: Option<u32>) -> Vec<u8> {
    let missing = bytes.map_or(0, |bytes| (bytes as usize).saturating_sub(document.len()));
    document.insert_str(document.len() - 1, &" ".repeat(missing));
    document.into_bytes()
}

fn document(request: &Request, ask: &Ask, facts: &Facts, models: &[String]) -> Value {
    let model: Value = serde_json::from_str(&facts.model).unwrap_or(Value::Null);
    let inputs = ask.inputs.clamp(1, 4096);
    let scores = |key: &str| -> Vec<Value> {
        (0..inputs).map(|index| json!({"index": index, key: 1.0 / (index as f64 + 1.0)})).collect()
    };
    let tokens = facts.prompt_tokens;
    let usage = json!({"prompt_tokens": tokens, "total_tokens": tokens});
    match request.route {
        Route::Embeddings => {
            let data: Vec<_> = (0..inputs)
                .map(|index| json!({"object": "embedding", "index": index, "embedding": vector(index, ask.base64)}))
                .collect();
            json!({"object": "list", "model": model, "data": data, "usage": usage})
        }
        Route::OllamaEmbed => {
            let vectors: Vec<_> = (0..inputs).map(|index| vector(index, false)).collect();
            json!({"model": model, "embeddings": vectors, "total_duration": 2_000_000,
                "load_duration": 1_000_000, "prompt_eval_count": tokens})
        }
        Route::OllamaEmbeddings => json!({"embedding": vector(0, false)}),
        Route::Transcription => json!({"text": SAMPLE}),
        Route::Models => {
            let data: Vec<_> = models.iter().map(|name| model_object(name)).collect();
            json!({"object": "list", "data": data})
        }
        Route::Model => model_object(models.first().map_or("", String::as_str)),
        Route::Tags => {
            let list: Vec<_> = models.iter().map(|name| ollama_model(name)).collect();
            json!({"models": list})
        }
        Route::Ps => {
            let list: Vec<_> = models.iter().map(|name| ollama_model(name)).collect();
            json!({"models": list})
        }
        Route::Show => json!({"modelfile": "FROM mock", "parameters": "", "template": "{{ .Prompt }}",
            "details": ollama_details(), "model_info": {"general.architecture": "mock"},
            "capabilities": ["completion"], "modified_at": "2025-06-15T15:06:40.000000Z"}),
        Route::Version => json!({"version": "0.12.0"}),
        Route::Tokenize => json!({"count": 3, "max_model_len": 4096, "tokens": [1, 2, 3]}),
        Route::Detokenize => json!({"prompt": "one two three"}),
        Route::Pooling => {
            json!({"id": "pool-mock", "object": "list", "created": 1_750_000_000, "model": model,
            "data": [{"index": 0, "object": "pooling", "data": vector(0, false)}], "usage": usage})
        }
        Route::Classify => json!({"id": "classify-mock", "object": "list", "created": 1_750_000_000,
            "model": model, "data": [{"index": 0, "label": "LABEL_0", "probs": [0.75, 0.25], "num_classes": 2}],
            "usage": usage}),
        Route::Score => {
            json!({"id": "score-mock", "object": "list", "created": 1_750_000_000, "model": model,
            "data": scores("score"), "usage": usage})
        }
        Route::Rerank => json!({"id": "rerank-mock", "model": model, "usage": usage,
            "results": scores("relevance_score")}),
        Route::Manage => json!({"status": "success"}),
        Route::Health => json!({"status": "ok"}),
        Route::Stats | Route::NotFound | Route::Complete(_) => json!({}),
    }
}

fn vector(index: usize, base64: bool) -> Value {
    let floats = (0..DIMENSIONS).map(|place| ((index + place) % 16) as f32 / 16.0);
    if base64 {
        let bytes: Vec<u8> = floats.flat_map(f32::to_le_bytes).collect();
        return Value::String(base64::engine::general_purpose::STANDARD.encode(bytes));
    }
    floats.map(Value::from).collect()
}

fn model_object(name: &str) -> Value {
    json!({"id": name, "object": "model", "created": 1_750_000_000, "owned_by": "cube-mock"})
}

fn ollama_model(name: &str) -> Value {
    json!({"name": name, "model": name, "modified_at": "2025-06-15T15:06:40.000000Z", "size": 1_000_000,
        "size_vram": 1_000_000, "expires_at": "2099-06-15T15:06:40.000000Z", "digest": "0".repeat(64),
        "details": ollama_details()})
}

fn ollama_details() -> Value {
    json!({"parent_model": "", "format": "gguf", "family": "mock", "families": ["mock"],
        "parameter_size": "1M", "quantization_level": "Q4_0"})
}

/// An error in the dialect of the path.
pub(super) fn error(route: Route, status: u16, message: &str) -> Vec<u8> {
    let is_ollama = match route {
        Route::Complete(dialect) => dialect.is_ndjson(),
        Route::OllamaEmbed
        | Route::OllamaEmbeddings
        | Route::Tags
        | Route::Ps
        | Route::Show
        | Route::Version
        | Route::Manage => true,
        Route::Embeddings
        | Route::Transcription
        | Route::Models
        | Route::Model
        | Route::Tokenize
        | Route::Detokenize
        | Route::Pooling
        | Route::Classify
        | Route::Score
        | Route::Rerank
        | Route::Health
        | Route::Stats
        | Route::NotFound => false,
    };
    let document = if is_ollama {
        json!({"error": message})
    } else {
        let kind = if status < 500 { "invalid_request_error" } else { "server_error" };
        json!({"error": {"message": message, "type": kind, "param": null, "code": status}})
    };
    document.to_string().into_bytes()
}

/// The request as it arrived: method, target, fields in order, and its body (as text if it is short UTF-8).
pub(super) fn echo(head: &[u8], body: &[u8]) -> Vec<u8> {
    let line = request_line(head);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let fields: Vec<_> =
        Fields::of(head).map(|(name, value)| json!([text(name).to_ascii_lowercase(), text(value)])).collect();
    let first = text(&head[..memchr::memchr(b'\r', head).unwrap_or(0)]);
    let shown = (body.len() <= 64 * 1024).then(|| std::str::from_utf8(body).ok()).flatten();
    json!({"echo": {
        "line": first,
        "method": line.map(|line| text(line.method)),
        "target": first.split(' ').nth(1),
        "fields": fields,
        "body": shown,
        "body_bytes": body.len(),
        "body_crc32": crc32fast::hash(body),
    }})
    .to_string()
    .into_bytes()
}
