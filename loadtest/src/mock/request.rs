//! One request as the mock sees it: what is asked for, how it is framed, how it is to be answered.

use super::dialect::Dialect;
use super::script::Script;
use crate::http1::{Fields, request_line};
use serde::Deserialize;
use serde::de::IgnoredAny;
use std::rc::Rc;

/// What a path stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Route {
    Complete(Dialect),
    Embeddings,
    OllamaEmbed,
    OllamaEmbeddings,
    Transcription,
    Models,
    Model,
    Tags,
    Ps,
    Show,
    Version,
    Tokenize,
    Detokenize,
    Pooling,
    Classify,
    Score,
    Rerank,
    /// Ollama's management calls: each says that it succeeded.
    Manage,
    Health,
    Stats,
    NotFound,
}

impl Route {
    fn of(method: &[u8], path: &[u8]) -> Self {
        // A base path in front is accepted, so that endpoints with one can be played.
        let known = [&b"/v1/"[..], b"/v2/", b"/api/", b"/mock/"];
        let at = known.iter().filter_map(|start| memchr::memmem::find(path, start)).min();
        let path = &path[at.unwrap_or(0)..];
        match (method, path) {
            (b"POST", b"/v1/chat/completions") => Self::Complete(Dialect::Chat),
            (b"POST", b"/v1/completions") => Self::Complete(Dialect::Completions),
            (b"POST", b"/v1/responses") => Self::Complete(Dialect::Responses),
            (b"POST", b"/v1/messages") => Self::Complete(Dialect::Messages),
            (b"POST", b"/api/chat") => Self::Complete(Dialect::OllamaChat),
            (b"POST", b"/api/generate") => Self::Complete(Dialect::OllamaGenerate),
            (b"POST", b"/v1/embeddings") => Self::Embeddings,
            (b"POST", b"/api/embed") => Self::OllamaEmbed,
            (b"POST", b"/api/embeddings") => Self::OllamaEmbeddings,
            (b"POST", b"/v1/audio/transcriptions" | b"/v1/audio/translations" | b"/v1/translations") => {
                Self::Transcription
            }
            (b"POST", b"/tokenize" | b"/v1/tokenize") => Self::Tokenize,
            (b"POST", b"/detokenize" | b"/v1/detokenize") => Self::Detokenize,
            (b"POST", b"/pooling" | b"/v1/pooling") => Self::Pooling,
            (b"POST", b"/classify" | b"/v1/classify") => Self::Classify,
            (b"POST", b"/score" | b"/v1/score") => Self::Score,
            (b"POST", b"/rerank" | b"/v1/rerank" | b"/v2/rerank") => Self::Rerank,
            (b"GET" | b"HEAD", b"/v1/models") => Self::Models,
            (b"GET" | b"HEAD", _) if path.starts_with(b"/v1/models/") => Self::Model,
            (b"GET" | b"HEAD", b"/api/tags") => Self::Tags,
            (b"GET" | b"HEAD", b"/api/ps") => Self::Ps,
            (b"GET" | b"HEAD", b"/api/version") => Self::Version,
            (b"POST", b"/api/show") => Self::Show,
            (b"POST", b"/api/pull" | b"/api/push" | b"/api/create" | b"/api/copy")
            | (b"DELETE", b"/api/delete") => Self::Manage,
            (b"DELETE", _) if path.starts_with(b"/v1/models/") => Self::Manage,
            (b"GET" | b"HEAD", b"/" | b"/health" | b"/readyz") => Self::Health,
            // As an authentication callback that lets everything pass.
            (b"POST", b"/verify") => Self::Health,
            (b"GET", b"/mock/stats") => Self::Stats,
            _ => Self::NotFound,
        }
    }
}

/// How the request's body is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyFraming {
    None,
    Length(u64),
    Chunked,
}

/// A request head, read.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) route: Route,
    /// HEAD: the answer has no body.
    pub(super) head_only: bool,
    pub(super) http11: bool,
    pub(super) keep_alive: bool,
    pub(super) expects_continue: bool,
    pub(super) framing: BodyFraming,
    /// The body is a form, not JSON.
    pub(super) multipart: bool,
    pub(super) script: Rc<Script>,
    /// The head as it arrived, kept only for an echo.
    pub(super) raw_head: Option<Vec<u8>>,
    /// What is wrong with the request; answered with 400.
    pub(super) fault: Option<String>,
}

impl Request {
    /// Reads `head` (blank line included). `None`: not HTTP, hang up.
    pub(super) fn read(head: &[u8], default: &Rc<Script>) -> Option<Self> {
        let line = request_line(head)?;
        let mut request = Self {
            route: Route::of(line.method, line.path),
            head_only: line.method == b"HEAD",
            http11: line.http11,
            keep_alive: line.http11,
            expects_continue: false,
            framing: BodyFraming::None,
            multipart: false,
            script: Rc::clone(default),
            raw_head: None,
            fault: None,
        };
        for (name, value) in Fields::of(head) {
            request.field(name, value)?;
        }
        if request.script.echo {
            request.raw_head = Some(head.to_vec());
        }
        Some(request)
    }

    fn field(&mut self, name: &[u8], value: &[u8]) -> Option<()> {
        if name.len() > 7 && name[..7].eq_ignore_ascii_case(b"x-mock-") {
            if let Err(problem) = Rc::make_mut(&mut self.script).set(&name[7..], value) {
                self.fault.get_or_insert(problem);
            }
        } else if name.eq_ignore_ascii_case(b"content-length") {
            self.framing = BodyFraming::Length(std::str::from_utf8(value).ok()?.parse().ok()?);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.framing = BodyFraming::Chunked;
        } else if name.eq_ignore_ascii_case(b"connection") {
            if value.eq_ignore_ascii_case(b"close") {
                self.keep_alive = false;
            } else if value.eq_ignore_ascii_case(b"keep-alive") {
                self.keep_alive = true;
            }
        } else if name.eq_ignore_ascii_case(b"expect") {
            self.expects_continue = true;
        } else if name.eq_ignore_ascii_case(b"content-type") {
            self.multipart = value.len() > 10 && value[..10].eq_ignore_ascii_case(b"multipart/");
        }
        Some(())
    }
}

/// What the body asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ask {
    pub(super) model: Option<String>,
    pub(super) stream: Option<bool>,
    pub(super) include_usage: bool,
    /// Embeddings as base64 of little-endian floats, which the `openai` client asks for.
    pub(super) base64: bool,
    /// Number of inputs or documents.
    pub(super) inputs: usize,
}

#[derive(Deserialize)]
struct JsonBody<'a> {
    #[serde(borrow)]
    model: Option<std::borrow::Cow<'a, str>>,
    #[serde(borrow)]
    name: Option<std::borrow::Cow<'a, str>>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    encoding_format: Option<std::borrow::Cow<'a, str>>,
    input: Option<Several>,
    documents: Option<Several>,
    text_2: Option<Several>,
}

#[derive(Deserialize)]
struct StreamOptions {
    include_usage: Option<bool>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Several {
    Many(Vec<IgnoredAny>),
    One(IgnoredAny),
}

impl Ask {
    /// Reads a JSON or multipart body.
    ///
    /// # Errors
    /// The body is neither, or holds a member twice; the text is for the caller.
    pub(super) fn read(body: &[u8], multipart: bool) -> Result<Self, String> {
        if multipart {
            return Ok(Self { model: form_model(body), inputs: 1, ..Self::default() });
        }
        if body.is_empty() {
            return Ok(Self::default());
        }
        let json: JsonBody<'_> = serde_json::from_slice(body).map_err(|error| error.to_string())?;
        let several = json.input.or(json.documents).or(json.text_2);
        Ok(Self {
            model: json.model.or(json.name).map(std::borrow::Cow::into_owned),
            stream: json.stream,
            include_usage: json.stream_options.and_then(|options| options.include_usage).unwrap_or(false),
            base64: json.encoding_format.is_some_and(|format| format == "base64"),
            inputs: several.map_or(1, |several| match several {
                Several::Many(items) => items.len(),
                Several::One(_) => 1,
            }),
        })
    }
}

/// The value of the form's part named `model`.
fn form_model(body: &[u8]) -> Option<String> {
    let at = memchr::memmem::find(body, b"name=\"model\"")?;
    let value = &body[at + memchr::memmem::find(&body[at..], b"\r\n\r\n")? + 4..];
    let end = memchr::memchr(b'\r', value)?;
    String::from_utf8(value[..end].to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_tells_its_model_its_stream_and_its_usage_wish() {
        let body = br#"{"model":"a\"b","messages":[{"role":"user","content":"x"}],"stream":true,
            "stream_options":{"include_usage":true}}"#;
        let ask = Ask::read(body, false).unwrap();
        assert_eq!(ask.model.as_deref(), Some("a\"b"));
        assert_eq!((ask.stream, ask.include_usage), (Some(true), true));
        assert!(Ask::read(br#"{"model":"a","model":"b"}"#, false).is_err());
    }

    #[test]
    fn a_form_may_name_its_model_after_the_file() {
        let body = b"--b\r\ncontent-disposition: form-data; name=\"file\"\r\n\r\nxx\r\n--b\r\n\
            Content-Disposition: form-data; name=\"model\"\r\n\r\nwhisper\r\n--b--\r\n";
        assert_eq!(Ask::read(body, true).unwrap().model.as_deref(), Some("whisper"));
    }

    #[test]
    fn a_base_path_before_the_known_paths_is_ignored() {
        assert_eq!(Route::of(b"POST", b"/base/v1/embeddings"), Route::Embeddings);
        assert_eq!(Route::of(b"PUT", b"/v1/embeddings"), Route::NotFound);
    }
}
