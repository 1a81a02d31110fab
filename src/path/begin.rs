//! Begin: the head of an answer for the caller, and how its body is framed.
//!
//! Enters with the upstream's head, parsed; leaves with ours, written, and with the [`Frames`] that the body passes through.

use super::exchange::Exchange;
use super::frames::{Content, Down, Frames};
use super::refuse::StreamForm;
use crate::buf::Lease;
use crate::http1::{Field, Framing, HeadWriter, Known, ResponseBody};
use crate::operations::UsageKind;
use crate::sse::UsageDialect;

/// Chooses how the caller is sent the body.
pub(crate) fn begin_body(ex: &mut Exchange<'_>, head: &[u8], usage_injected: bool) -> (Frames, Framing) {
    let response = &ex.scratch.response;
    let content_type = response.field(Known::ContentType).map_or(&b""[..], |field| field.value.of(head));
    let is_sse = starts_with_ignore_case(content_type, b"text/event-stream");
    let is_ndjson = starts_with_ignore_case(content_type, b"application/x-ndjson");
    let encoded = response.field(Known::ContentEncoding).is_some();
    let dialect = match (ex.account.usage_kind(), is_sse, is_ndjson) {
        _ if encoded || !(200..300).contains(&response.status) => UsageDialect::None,
        (UsageKind::OpenAi, true, _) => UsageDialect::OpenAiSse,
        (UsageKind::OpenAi, false, _) => UsageDialect::OpenAiJson,
        (UsageKind::Ollama, _, true) => UsageDialect::OllamaNdjson,
        (UsageKind::Ollama, _, false) => UsageDialect::OllamaJson,
        (UsageKind::None, _, _) => UsageDialect::None,
    };
    let strip = usage_injected && dialect == UsageDialect::OpenAiSse;
    let http11 = ex.request().http11;
    let (down, framing) = match response.body {
        ResponseBody::None => (Down::Same, Framing::None),
        ResponseBody::Length(bytes) if !strip => (Down::Same, Framing::Length(bytes)),
        ResponseBody::Chunked if http11 => (Down::Same, Framing::Chunked),
        ResponseBody::Length(_) | ResponseBody::UntilClose if http11 => (Down::Chunked, Framing::Chunked),
        ResponseBody::Chunked | ResponseBody::Length(_) | ResponseBody::UntilClose => {
            ex.keep_alive = false;
            (Down::Raw, Framing::None)
        }
    };
    let content = match (is_sse, is_ndjson) {
        (false, false) => Content::Document,
        _ if encoded => Content::OpaqueStream,
        (true, _) => Content::Stream(StreamForm::Events),
        (false, true) => Content::Stream(StreamForm::Lines),
    };
    (Frames::new(response.body, down, dialect, strip, content), framing)
}

fn starts_with_ignore_case(value: &[u8], prefix: &[u8]) -> bool {
    value.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

/// Builds the caller's head.
pub(crate) fn write_head(ex: &Exchange<'_>, head: &[u8], framing: Framing, out: &mut Lease) {
    let response = &ex.scratch.response;
    let mut writer = HeadWriter::response(out, response.status)
        .copy(head, response.fields(), |field| {
            let replaced = || field.name.of(head).eq_ignore_ascii_case(EVENT_TYPE.as_bytes());
            passes_down(field) && (ex.event_type.is_none() || !replaced())
        })
        .field("x-request-id", ex.account.request_id());
    if let Some(event_type) = &ex.event_type {
        writer = writer.field(EVENT_TYPE, event_type.as_bytes());
    }
    if !ex.keep_alive {
        writer = writer.field("connection", b"close");
    } else if !ex.request().http11 {
        writer = writer.field("connection", b"keep-alive");
    }
    // A length that belongs to no body (HEAD, 304) is information about the resource, and passes.
    if response.body == ResponseBody::None
        && response.status != 204
        && let Some(length) = response.field(Known::ContentLength)
    {
        writer = writer.field("content-length", length.value.of(head));
    }
    writer.end(framing);
}

/// What a rule says of the requests that it takes.
const EVENT_TYPE: &str = "x-event-type";

/// Whether a field of the upstream's goes to the caller. Connection-level fields and framing are left out by the writer already.
pub(super) fn passes_down(field: &Field) -> bool {
    !matches!(field.known, Known::XRequestId | Known::ProxyAuthenticate | Known::Underscored)
}
