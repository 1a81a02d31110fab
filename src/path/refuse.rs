//! Refuse: every answer that the proxy makes itself, in the body family that the caller's client understands.
//!
//! Enters with a [`Refusal`]; leaves with bytes in a buffer. Status and code of each refusal stand in one table
//! ([`Refusal::reply`]) and are public API.

use std::fmt::Write as _;
use std::time::Duration;

use crate::callback::CallFault;
use crate::http1::{HeadError, status_line};
use crate::operations::Family;

/// Why the proxy answered a request itself.
///
/// Refusals are the cheapest thing a stranger can make us produce, so making one costs nothing: the type is `Copy`, two bytes,
/// and borrows or allocates nothing. Detail that helps an operator goes to the record, never to the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The head is outside the grammar, ambiguous or too large.
    Head(HeadError),
    /// The head did not arrive in time.
    HeadTimeout,
    /// The path could mean two things to two parsers (`..`, `//`, encoded separators).
    PathInvalid,
    /// Nothing is served under this path.
    PathUnknown,
    /// The path is served, but not with this method.
    MethodNotAllowed,
    /// No credential was sent.
    CredentialMissing,
    /// A credential was sent and is not good: malformed, unknown, revoked, expired. One answer for all; the reason goes to
    /// the record only.
    CredentialInvalid,
    /// No such domain, or the caller has no right of any kind in it: a stranger may not learn which domains exist.
    DomainUnknown,
    /// The caller is known in the domain and may not do this.
    NotAllowed,
    /// The model does not exist, or is not granted to this caller: one answer for both.
    ModelUnknown,
    /// The operation needs a model and the body names none.
    ModelMissing,
    /// The body is not what its operation needs: not JSON, not an object, a key given twice, a form without boundary.
    BodyInvalid,
    /// The body's framing is broken.
    BodyMalformed,
    /// The body is larger than the limit.
    BodyTooLarge,
    /// The model's name did not come within the part of the body that is held to find it.
    ModelTooLate,
    /// The body stopped arriving.
    BodyTimeout,
    /// This core holds as many request bodies as it may.
    Overloaded,
    /// No tables have been adopted yet.
    NotReady,
    /// Every endpoint of the model is set aside or has failed.
    NoEndpoint,
    /// No endpoint could be connected to, or each closed before it answered.
    UpstreamUnreachable,
    /// The endpoint's answer is not HTTP that we pass on.
    UpstreamInvalid,
    /// The endpoint did not answer in time.
    UpstreamTimeout,
    /// cube-admin, to which the request was passed on, cannot be reached or makes no sense.
    AdminUnreachable,
    /// cube-admin did not answer in time.
    AdminTimeout,
    /// The endpoint's answer broke off; said in the stream, because the status is gone already.
    UpstreamCut,
    /// The process ends before the answer does; said in the stream.
    Draining,
    /// No credential for the authentication callback was sent.
    CallbackCredentialMissing,
    /// The authentication callback did not answer 200.
    CallbackRejected,
    /// The authentication callback could not be asked.
    CallbackUnreachable(CallFault),
    /// The authentication callback did not answer in time.
    CallbackTimedOut,
    /// The credential has asked too often.
    RateLimited,
}

const _: () = assert!(size_of::<Refusal>() <= 2);

impl Refusal {
    /// HTTP status, stable machine-readable code, and text for people. Status and code are public API: add, never rename.
    #[must_use]
    pub const fn reply(self) -> (u16, &'static str, &'static str) {
        match self {
            Self::Head(error) => head_reply(error),
            Self::HeadTimeout => (408, "request_timeout", "The request head did not arrive in time."),
            Self::PathInvalid => (400, "invalid_path", "The request path is ambiguous."),
            Self::PathUnknown => (404, "not_found", "Nothing is served under this path."),
            Self::MethodNotAllowed => {
                (405, "method_not_allowed", "This path is not served with this method.")
            }
            Self::CredentialMissing => {
                (401, "missing_credential", "Send a personal access token: 'Authorization: Bearer <pat>'.")
            }
            Self::CredentialInvalid => (401, "invalid_credential", "The credential is not valid."),
            Self::DomainUnknown => (404, "domain_not_found", "No such domain."),
            Self::NotAllowed => {
                (403, "operation_not_allowed", "The credential does not allow this operation in this domain.")
            }
            Self::ModelUnknown => (404, "model_not_found", "No such model."),
            Self::ModelMissing => (400, "model_missing", "The request names no model."),
            Self::BodyInvalid => (400, "invalid_body", "The request body is not what this operation needs."),
            Self::BodyMalformed => (400, "malformed_body", "The request body's framing is broken."),
            Self::BodyTooLarge => (413, "body_too_large", "The request body is larger than the limit."),
            Self::ModelTooLate => {
                (413, "model_too_late", "The model's name must come earlier in a body of this size.")
            }
            Self::BodyTimeout => (408, "body_timeout", "The request body did not arrive in time."),
            Self::Overloaded => (503, "overloaded", "The proxy is too busy; try again."),
            Self::NotReady => (503, "not_ready", "The proxy has no routing tables yet."),
            Self::NoEndpoint => (503, "no_endpoint", "No model server is available for this model."),
            Self::UpstreamUnreachable => (502, "upstream_unreachable", "The model server cannot be reached."),
            Self::UpstreamInvalid => (502, "upstream_invalid", "The model server's answer is not valid."),
            Self::UpstreamTimeout => (504, "upstream_timeout", "The model server did not answer in time."),
            Self::AdminUnreachable => (502, "admin_unreachable", "The control plane cannot be reached."),
            Self::AdminTimeout => (504, "admin_timeout", "The control plane did not answer in time."),
            Self::UpstreamCut => (502, "upstream_cut", "The model server's answer broke off."),
            Self::Draining => (503, "draining", "The proxy is shutting down."),
            Self::CallbackCredentialMissing => (
                401,
                "missing_credential",
                "Missing authentication: provide 'Authorization: Bearer <token>' or 'X-API-Key: <key>'",
            ),
            Self::CallbackRejected => (401, "callback_rejected", "Authentication rejected by callback"),
            Self::CallbackUnreachable(fault) => (500, "callback_unreachable", fault.text()),
            Self::CallbackTimedOut => (500, "callback_timeout", "Auth callback timed out"),
            Self::RateLimited => (429, "rate_limited", "Rate limit exceeded. Slow down."),
        }
    }

    /// Whether it tells of a model server's failure rather than of the request.
    #[must_use]
    pub const fn is_upstreams(self) -> bool {
        matches!(
            self,
            Self::NoEndpoint
                | Self::UpstreamUnreachable
                | Self::UpstreamInvalid
                | Self::UpstreamTimeout
                | Self::AdminUnreachable
                | Self::AdminTimeout
                | Self::UpstreamCut
        )
    }

    /// The machine-readable code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        self.reply().1
    }

    /// Whether the connection may serve another request once what is left of this one's body is drained.
    #[must_use]
    pub const fn keeps_connection(self) -> bool {
        match self {
            // Where the next request begins is unknown, or the caller is too slow to wait for.
            Self::Head(_)
            | Self::HeadTimeout
            | Self::BodyMalformed
            | Self::BodyTimeout
            | Self::BodyTooLarge
            | Self::ModelTooLate
            // Said inside an answer, which has no end of its own then.
            | Self::UpstreamCut
            | Self::Draining => false,
            Self::PathInvalid
            | Self::PathUnknown
            | Self::MethodNotAllowed
            | Self::CredentialMissing
            | Self::CredentialInvalid
            | Self::DomainUnknown
            | Self::NotAllowed
            | Self::ModelUnknown
            | Self::ModelMissing
            | Self::BodyInvalid
            | Self::Overloaded
            | Self::NotReady
            | Self::NoEndpoint
            | Self::UpstreamUnreachable
            | Self::UpstreamInvalid
            | Self::UpstreamTimeout
            | Self::AdminUnreachable
            | Self::AdminTimeout
            | Self::CallbackCredentialMissing
            | Self::CallbackRejected
            | Self::CallbackUnreachable(_)
            | Self::CallbackTimedOut
            | Self::RateLimited => true,
        }
    }

    /// The header lines that belong to this refusal only.
    const fn extra_lines(self) -> &'static str {
        match self {
            Self::CredentialMissing | Self::CallbackCredentialMissing => {
                "www-authenticate: Bearer realm=\"cube\"\r\n"
            }
            Self::CredentialInvalid | Self::CallbackRejected => {
                "www-authenticate: Bearer realm=\"cube\", error=\"invalid_token\"\r\n"
            }
            Self::NotAllowed => "www-authenticate: Bearer realm=\"cube\", error=\"insufficient_scope\"\r\n",
            Self::Overloaded
            | Self::NotReady
            | Self::NoEndpoint
            | Self::AdminUnreachable
            | Self::RateLimited => "retry-after: 1\r\n",
            Self::Head(_)
            | Self::HeadTimeout
            | Self::PathInvalid
            | Self::PathUnknown
            | Self::MethodNotAllowed
            | Self::DomainUnknown
            | Self::ModelUnknown
            | Self::ModelMissing
            | Self::BodyInvalid
            | Self::BodyMalformed
            | Self::BodyTooLarge
            | Self::ModelTooLate
            | Self::BodyTimeout
            | Self::UpstreamUnreachable
            | Self::UpstreamInvalid
            | Self::UpstreamTimeout
            | Self::AdminTimeout
            | Self::UpstreamCut
            | Self::Draining
            | Self::CallbackUnreachable(_)
            | Self::CallbackTimedOut => "",
        }
    }

    /// OpenAI's `error.type`, which its clients switch on.
    const fn openai_type(status: u16) -> &'static str {
        match status {
            401 => "authentication_error",
            403 => "permission_error",
            404 => "not_found_error",
            429 => "rate_limit_error",
            400..=499 => "invalid_request_error",
            _ => "server_error",
        }
    }

    /// Writes it as a part of a stream that has begun: an SSE event, or one line. The object is that of an answer, so that clients
    /// raise the same error; OpenAI-like streams name its type outside as well, which is where some of their clients look.
    pub(crate) fn write_in_stream(self, out: &mut Vec<u8>, family: Family, form: StreamForm) {
        let marker = if family == Family::OpenAi { r#""type":"error","# } else { "" };
        let body = self.body(family, marker);
        let (before, after) = match form {
            StreamForm::Events => ("event: error\ndata: ", "\n\n"),
            StreamForm::Lines => ("", "\n"),
        };
        for part in [before, &body, after] {
            out.extend_from_slice(part.as_bytes());
        }
    }

    /// The JSON object. `first`: members that stand before the others, each with its comma.
    fn body(self, family: Family, first: &str) -> String {
        let (status, code, text) = self.reply();
        let mut body = String::with_capacity(256);
        // Writing to a String cannot fail; code and text are ours and need no escaping but for the quotes in none of them.
        let _ = match family {
            Family::OpenAi => write!(
                body,
                r#"{{{first}"error":{{"message":"{text}","type":"{}","param":null,"code":"{code}"}},"message":"{text}"}}"#,
                Self::openai_type(status)
            ),
            Family::Ollama => write!(body, r#"{{{first}"error":"{text}","code":"{code}"}}"#),
            Family::Plain => {
                write!(body, r#"{{{first}"error":"{text}","message":"{text}","code":"{code}"}}"#)
            }
            Family::Coded => write!(body, r#"{{{first}"code":{status},"message":"{}"}}"#, self.coded_text()),
        };
        body
    }

    /// The text for callers of a passthrough listener, behind which there are no model servers.
    const fn coded_text(self) -> &'static str {
        #[expect(clippy::wildcard_enum_match_arm, reason = "only these speak of model servers")]
        match self {
            Self::NoEndpoint => "No server is available.",
            Self::UpstreamUnreachable => "The server cannot be reached.",
            Self::UpstreamInvalid => "The server's answer is not valid.",
            Self::UpstreamTimeout => "The server did not answer in time.",
            Self::UpstreamCut => "The server's answer broke off.",
            _ => self.reply().2,
        }
    }

    /// Writes the whole answer: head and body.
    pub(crate) fn write(self, out: &mut Vec<u8>, to: &Reply<'_>, keep_alive: bool) {
        let (status, ..) = self.reply();
        let mut body = self.body(to.family, "");
        if self == Self::CallbackTimedOut {
            body.truncate(body.len() - "\"}".len());
            let _ = write!(body, " after {}s\"}}", to.callback_timeout.as_secs_f64());
        }
        let allow;
        let extra_lines = if self == Self::MethodNotAllowed {
            allow = format!("allow: {}\r\n", to.allow);
            &allow
        } else {
            self.extra_lines()
        };
        write_json(out, status, extra_lines, &body, to.request_id, keep_alive);
    }
}

/// What a stream is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StreamForm {
    /// Server-sent events.
    Events,
    /// Lines of JSON.
    Lines,
}

/// What a refusal's answer says besides the refusal.
pub(crate) struct Reply<'a> {
    pub(crate) family: Family,
    /// The methods that the path has, for [`Refusal::MethodNotAllowed`].
    pub(crate) allow: &'a str,
    pub(crate) request_id: &'a [u8],
    /// How long an authentication callback was waited for, for [`Refusal::CallbackTimedOut`].
    pub(crate) callback_timeout: Duration,
}

/// The body family of a path that is not in the operation table.
pub(crate) fn family_of(rest: &[u8]) -> Family {
    if rest.starts_with(b"/v1/") {
        Family::OpenAi
    } else if rest.starts_with(b"/api/") {
        Family::Ollama
    } else {
        Family::Plain
    }
}

/// The reply to a head that is not taken.
const fn head_reply(error: HeadError) -> (u16, &'static str, &'static str) {
    let (code, text) = match error {
        HeadError::Malformed => ("malformed_request", "The request head is malformed."),
        HeadError::AmbiguousFraming => ("ambiguous_framing", "The request's framing is ambiguous."),
        HeadError::InvalidContentLength => ("invalid_content_length", "Content-Length is not valid."),
        HeadError::UnsupportedTransferCoding => {
            ("unsupported_transfer_coding", "Only the transfer coding 'chunked' is understood.")
        }
        HeadError::RepeatedField => ("repeated_field", "A header field came twice or in disguise."),
        HeadError::MissingHost => ("missing_host", "The request has no Host."),
        HeadError::InvalidHost => ("invalid_host", "The request's Host is not valid."),
        HeadError::TargetTooLong => ("target_too_long", "The request target is too long."),
        HeadError::TooLarge => ("head_too_large", "The request head is too large."),
        HeadError::TooManyFields => ("too_many_fields", "The request has too many header fields."),
        HeadError::ExpectationFailed => {
            ("expectation_failed", "Only the expectation 100-continue is understood.")
        }
        HeadError::UnsupportedMethod => ("unsupported_method", "The method is not supported."),
        HeadError::UnsupportedVersion => ("unsupported_version", "Only HTTP/1.0 and 1.1 are supported."),
    };
    (error.status(), code, text)
}

/// Writes a JSON answer of our own making. `extra_lines`: whole header lines, each ended by CRLF.
pub(crate) fn write_json(
    out: &mut Vec<u8>,
    status: u16,
    extra_lines: &str,
    body: &str,
    request_id: &[u8],
    keep_alive: bool,
) {
    out.extend_from_slice(status_line(status));
    out.extend_from_slice(extra_lines.as_bytes());
    let mut head = String::with_capacity(160);
    let _ = write!(head, "content-type: application/json\r\ncontent-length: {}\r\n", body.len());
    out.extend_from_slice(head.as_bytes());
    out.extend_from_slice(b"x-request-id: ");
    out.extend_from_slice(request_id);
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(if keep_alive { b"\r\n" } else { b"connection: close\r\n\r\n" });
    out.extend_from_slice(body.as_bytes());
}
