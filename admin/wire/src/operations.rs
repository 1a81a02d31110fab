//! Which operation a request is: method and path (after `/proxy/{domain}`) → [`Endpoint`]. Deny by default: what
//! is not in the table does not exist.
//!
//! Proxies decide by it, and admin where it answers for other proxies; so it is part of the contract.
//!
//! Paths are compared as they were sent, byte for byte and case-sensitively. Whoever asks has refused every spelling
//! that an upstream could normalise into another path, so a path that matches a row here means that row upstream
//! as well, and one that does not match means none.
//!
//! # Source
//! The documented endpoints of Cube AI, the OpenAI and Ollama APIs, and vLLM's extra routes. Audit and
//! attestation paths have operations of their own and are not served yet.

use http::Method;

use crate::Operation;

/// Below this the rest of a path is a model's name, whose `/` may come encoded.
pub const NAMES_BELOW: &[u8] = b"/v1/models/";

/// What a path is, for the stages that follow: what to authorize, what to read from the request, what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// What the caller must be allowed to do.
    pub operation: Operation,
    /// The caller must also be a superadmin: the call changes a model server.
    pub superadmin: bool,
    /// How errors look.
    pub family: Family,
    /// What the request body is.
    pub body: BodyKind,
    /// Where the model's name stands.
    pub model: ModelSource,
    /// Who answers.
    pub answer: Answer,
    /// How the answer tells what was used.
    pub usage: UsageKind,
    /// The body may carry `stream_options.include_usage`.
    pub takes_include_usage: bool,
    /// The path as metrics and records name it: bounded, unlike the path itself.
    pub template: &'static str,
}

/// How an error of ours looks to the callers of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// The OpenAI error object, and a `message` beside it.
    OpenAi,
    /// `{"error": text}`.
    Ollama,
    /// `{"error": text, "message": text}`: the extra routes of vLLM have no form of their own.
    Plain,
    /// `{"code": status, "message": text}`: everything on a passthrough listener.
    Coded,
}

/// What the request body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyKind {
    /// No body.
    None,
    /// A JSON object.
    Json,
    /// A multipart form, as audio is uploaded.
    Multipart,
}

/// Where the model's name stands in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelSource {
    /// In the body: key `model`, or part `model` of a form.
    Body,
    /// In the path: [`Endpoint::model_in_path`].
    PathTail,
    /// Nowhere: the call is about the server, not about one model.
    NotNeeded,
}

/// Who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The upstream.
    Upstream,
    /// The proxy: the models that the caller may use, as OpenAI lists them.
    ModelsList,
    /// The proxy: one such model.
    ModelsGet,
    /// The proxy: the models that the caller may use, as Ollama lists them.
    TagsList,
}

/// How an answer tells what was used. Whether it is one object or a stream, its Content-Type says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UsageKind {
    /// Not at all.
    None,
    /// A `usage` object.
    OpenAi,
    /// `prompt_eval_count` and `eval_count`.
    Ollama,
}

/// What [`lookup`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// An endpoint.
    Found(&'static Endpoint),
    /// The path exists for other methods: 405 with this Allow (RFC 9110 §15.5.6).
    MethodNotAllowed {
        /// Value of the Allow field.
        allow: &'static str,
    },
    /// No such path: 404.
    NotFound,
}

/// Finds the endpoint of a request.
///
/// * `rest`: what follows `/proxy/{domain}` in the path, undecoded.
///
/// # Cost
/// A walk over some thirty rows by length, the busiest first; no allocation.
#[must_use]
pub fn lookup(method: &Method, rest: &[u8]) -> Lookup {
    let verb = Verb::of(method);
    let mut others = [false; 3];
    for row in TABLE.iter().filter(|row| row.matches(rest)) {
        if Some(row.verb) == verb {
            return Lookup::Found(&row.endpoint);
        }
        others[row.verb as usize] = true;
    }
    match others {
        [false, false, false] => Lookup::NotFound,
        [true, false, true] => Lookup::MethodNotAllowed { allow: "GET, DELETE" },
        [true, ..] => Lookup::MethodNotAllowed { allow: "GET" },
        [_, true, _] => Lookup::MethodNotAllowed { allow: "POST" },
        [.., true] => Lookup::MethodNotAllowed { allow: "DELETE" },
    }
}

impl Endpoint {
    /// A path that is not in the table and that a rule of the tables opens: the body passes as it is.
    #[must_use]
    pub const fn opened(operation: Operation, family: Family) -> Self {
        Self {
            operation,
            superadmin: false,
            family,
            body: BodyKind::None,
            model: ModelSource::NotNeeded,
            answer: Answer::Upstream,
            usage: UsageKind::None,
            takes_include_usage: false,
            template: "{route}",
        }
    }

    /// The model's name in the path, undecoded, for [`ModelSource::PathTail`]. It may hold `/`, as the names of
    /// model hubs do.
    #[must_use]
    pub fn model_in_path<'a>(&self, rest: &'a [u8]) -> Option<&'a [u8]> {
        match self.model {
            ModelSource::PathTail => tail(self.template, rest),
            ModelSource::Body | ModelSource::NotNeeded => None,
        }
    }
}

/// The methods that the table has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Get,
    Post,
    Delete,
}

impl Verb {
    fn of(method: &Method) -> Option<Self> {
        match *method {
            Method::GET => Some(Self::Get),
            Method::POST => Some(Self::Post),
            Method::DELETE => Some(Self::Delete),
            _ => None,
        }
    }
}

struct Row {
    verb: Verb,
    endpoint: Endpoint,
}

impl Row {
    fn matches(&self, rest: &[u8]) -> bool {
        let template = self.endpoint.template;
        template.as_bytes() == rest || tail(template, rest).is_some()
    }
}

/// What stands in `rest` for the `{model}` that ends `template`: at least one byte, no `/` at its end.
fn tail<'a>(template: &str, rest: &'a [u8]) -> Option<&'a [u8]> {
    let prefix = template.strip_suffix("{model}")?;
    let name = rest.strip_prefix(prefix.as_bytes())?;
    (!name.is_empty() && !name.ends_with(b"/")).then_some(name)
}

/// A call to an upstream with a JSON body that names the model: what most rows are.
const fn infer(operation: Operation, family: Family, usage: UsageKind, template: &'static str) -> Row {
    let endpoint = Endpoint {
        operation,
        superadmin: false,
        family,
        body: BodyKind::Json,
        model: ModelSource::Body,
        answer: Answer::Upstream,
        usage,
        takes_include_usage: false,
        template,
    };
    Row { verb: Verb::Post, endpoint }
}

const fn openai(operation: Operation, template: &'static str) -> Row {
    infer(operation, Family::OpenAi, UsageKind::OpenAi, template)
}

/// An OpenAI completion: its stream tells usage when asked to.
const fn openai_stream(operation: Operation, template: &'static str) -> Row {
    let mut row = openai(operation, template);
    row.endpoint.takes_include_usage = true;
    row
}

const fn audio(operation: Operation, template: &'static str) -> Row {
    let mut row = openai(operation, template);
    row.endpoint.body = BodyKind::Multipart;
    row
}

const fn ollama(operation: Operation, template: &'static str) -> Row {
    infer(operation, Family::Ollama, UsageKind::Ollama, template)
}

/// A route that only vLLM has.
const fn vllm(operation: Operation, usage: UsageKind, template: &'static str) -> Row {
    infer(operation, Family::Plain, usage, template)
}

/// A question without a body.
const fn ask(family: Family, model: ModelSource, answer: Answer, template: &'static str) -> Row {
    let mut row = infer(Operation::LlmRead, family, UsageKind::None, template);
    row.verb = Verb::Get;
    row.endpoint.body = BodyKind::None;
    row.endpoint.model = model;
    row.endpoint.answer = answer;
    row
}

/// A call that changes what a model server holds.
const fn manage(
    verb: Verb,
    operation: Operation,
    family: Family,
    (body, model): (BodyKind, ModelSource),
    template: &'static str,
) -> Row {
    let mut row = infer(operation, family, UsageKind::None, template);
    row.verb = verb;
    row.endpoint.superadmin = true;
    row.endpoint.body = body;
    row.endpoint.model = model;
    row
}

/// The busiest first.
static TABLE: &[Row] = &{
    use Operation as Op;
    use UsageKind::{None as NoUsage, OpenAi as OpenAiUsage};
    const BY_MODEL: (BodyKind, ModelSource) = (BodyKind::Json, ModelSource::Body);
    const BY_SERVER: (BodyKind, ModelSource) = (BodyKind::Json, ModelSource::NotNeeded);
    [
        openai_stream(Op::LlmChatCompletions, "/v1/chat/completions"),
        openai(Op::LlmEmbeddings, "/v1/embeddings"),
        openai_stream(Op::LlmCompletions, "/v1/completions"),
        openai(Op::LlmChatCompletions, "/v1/responses"),
        openai(Op::LlmChatCompletions, "/v1/messages"),
        ollama(Op::LlmChatCompletions, "/api/chat"),
        ollama(Op::LlmCompletions, "/api/generate"),
        ollama(Op::LlmEmbeddings, "/api/embed"),
        ollama(Op::LlmEmbeddings, "/api/embeddings"),
        ask(Family::OpenAi, ModelSource::NotNeeded, Answer::ModelsList, "/v1/models"),
        ask(Family::OpenAi, ModelSource::PathTail, Answer::ModelsGet, "/v1/models/{model}"),
        ask(Family::Ollama, ModelSource::NotNeeded, Answer::TagsList, "/api/tags"),
        ask(Family::Ollama, ModelSource::NotNeeded, Answer::Upstream, "/api/ps"),
        ask(Family::Ollama, ModelSource::NotNeeded, Answer::Upstream, "/api/version"),
        infer(Op::LlmRead, Family::Ollama, NoUsage, "/api/show"),
        audio(Op::LlmTranscription, "/v1/audio/transcriptions"),
        audio(Op::LlmTranslation, "/v1/audio/translations"),
        openai(Op::LlmTranslation, "/v1/translations"),
        vllm(Op::LlmUtility, NoUsage, "/tokenize"),
        vllm(Op::LlmUtility, NoUsage, "/detokenize"),
        vllm(Op::LlmPooling, OpenAiUsage, "/pooling"),
        vllm(Op::LlmClassification, OpenAiUsage, "/classify"),
        vllm(Op::LlmScoring, OpenAiUsage, "/score"),
        openai(Op::LlmScoring, "/v1/score"),
        vllm(Op::LlmRerank, OpenAiUsage, "/rerank"),
        openai(Op::LlmRerank, "/v1/rerank"),
        vllm(Op::LlmRerank, OpenAiUsage, "/v2/rerank"),
        // What is pulled, created or copied is in no table yet, so the name cannot choose the server.
        manage(Verb::Post, Op::LlmCreate, Family::Ollama, BY_SERVER, "/api/pull"),
        manage(Verb::Post, Op::LlmCreate, Family::Ollama, BY_SERVER, "/api/create"),
        manage(Verb::Post, Op::LlmCreate, Family::Ollama, BY_SERVER, "/api/copy"),
        manage(Verb::Post, Op::LlmCreate, Family::Ollama, BY_MODEL, "/api/push"),
        manage(Verb::Delete, Op::LlmDelete, Family::Ollama, BY_MODEL, "/api/delete"),
        manage(
            Verb::Delete,
            Op::LlmDelete,
            Family::OpenAi,
            (BodyKind::None, ModelSource::PathTail),
            "/v1/models/{model}",
        ),
    ]
};

#[cfg(test)]
mod tests {
    use super::*;

    fn found(method: Method, rest: &str) -> &'static Endpoint {
        let found = lookup(&method, rest.as_bytes());
        let Lookup::Found(endpoint) = found else { panic!("{method} {rest}: {found:?}") };
        endpoint
    }

    /// Goal: the table is the documented one. Method: every documented row, its operation and who may call it.
    #[test]
    fn every_documented_path_has_its_operation() {
        let rows = [
            ("GET /v1/models /v1/models/x /api/tags /api/ps /api/version", "llm_read", false),
            ("POST /api/show", "llm_read", false),
            ("POST /v1/chat/completions /api/chat /v1/responses /v1/messages", "llm_chat_completions", false),
            ("POST /v1/completions /api/generate", "llm_completions", false),
            ("POST /v1/embeddings /api/embeddings /api/embed", "llm_embeddings", false),
            ("POST /v1/audio/transcriptions", "llm_transcription", false),
            ("POST /v1/audio/translations /v1/translations", "llm_translation", false),
            ("POST /tokenize /detokenize", "llm_utility", false),
            ("POST /pooling", "llm_pooling", false),
            ("POST /classify", "llm_classification", false),
            ("POST /score /v1/score", "llm_scoring", false),
            ("POST /rerank /v1/rerank /v2/rerank", "llm_rerank", false),
            ("POST /api/pull /api/create /api/copy /api/push", "llm_create", true),
            ("DELETE /api/delete /v1/models/x", "llm_delete", true),
        ];
        let mut seen = 0;
        for (line, operation, superadmin) in rows {
            let (method, paths) = line.split_once(' ').unwrap();
            for path in paths.split(' ') {
                let endpoint = found(method.parse().unwrap(), path);
                assert_eq!(
                    (endpoint.operation.name(), endpoint.superadmin),
                    (operation, superadmin),
                    "{path}"
                );
                let family = match path {
                    _ if path.starts_with("/v1/") => Family::OpenAi,
                    _ if path.starts_with("/api/") => Family::Ollama,
                    _ => Family::Plain,
                };
                assert_eq!(endpoint.family, family, "{path}");
                seen += 1;
            }
        }
        assert_eq!(seen, TABLE.len(), "no row beside the documented ones");
    }

    #[test]
    fn whatever_is_not_in_the_table_does_not_exist() {
        for rest in [
            "",
            "/",
            "/v1",
            "/v1/",
            "/v1/chat",
            "/v1/chat/completions/",
            "/v1/chat/completionsx",
            "/x/v1/chat/completions",
            "/V1/chat/completions",
            "/v1/Chat/completions",
            "/v1/ch%61t/completions",
            "v1/chat/completions",
            "/v1/models/",
            "/v1/models/x/",
            "/v1/modelsx",
            "/api",
            "/api/tags/x",
            "/audit/x/_search",
            "/attestation",
            "/attestation/policy",
            "/metrics",
        ] {
            for method in [Method::GET, Method::POST, Method::DELETE, Method::OPTIONS] {
                assert_eq!(lookup(&method, rest.as_bytes()), Lookup::NotFound, "{method} {rest}");
            }
        }
    }

    #[test]
    fn a_known_path_says_which_methods_it_has() {
        let allow = |method: Method, rest: &str| {
            let found = lookup(&method, rest.as_bytes());
            let Lookup::MethodNotAllowed { allow } = found else { panic!("{method} {rest}: {found:?}") };
            allow
        };
        assert_eq!(allow(Method::GET, "/v1/chat/completions"), "POST");
        assert_eq!(allow(Method::POST, "/v1/models"), "GET");
        assert_eq!(allow(Method::HEAD, "/v1/models"), "GET");
        assert_eq!(allow(Method::POST, "/v1/models/x"), "GET, DELETE");
        assert_eq!(allow(Method::POST, "/api/delete"), "DELETE");
        assert_eq!(allow(Method::TRACE, "/api/chat"), "POST");
    }

    #[test]
    fn the_model_in_a_path_may_hold_slashes() {
        let endpoint = found(Method::GET, "/v1/models/org/model:8b");
        assert_eq!(endpoint.model_in_path(b"/v1/models/org/model:8b"), Some(&b"org/model:8b"[..]));
        assert_eq!(found(Method::GET, "/v1/models").model_in_path(b"/v1/models"), None);
        let braces = found(Method::GET, "/v1/models/{model}");
        assert_eq!(braces.model_in_path(b"/v1/models/{model}"), Some(&b"{model}"[..]));
    }

    #[test]
    fn names_stand_in_paths_below_one_prefix_only() {
        for row in TABLE.iter().filter(|row| row.endpoint.model == ModelSource::PathTail) {
            assert_eq!(row.endpoint.template.as_bytes(), [NAMES_BELOW, b"{model}"].concat());
        }
    }

    #[test]
    fn only_streams_of_openai_completions_are_asked_for_usage() {
        let asking: Vec<_> = TABLE.iter().filter(|row| row.endpoint.takes_include_usage).collect();
        let templates: Vec<_> = asking.iter().map(|row| row.endpoint.template).collect();
        assert_eq!(templates, ["/v1/chat/completions", "/v1/completions"]);
    }
}
