//! Splice: the body again, with the model's upstream name and a request for the usage event.

use std::ops::Range;

use memchr::memmem;

use super::text::write_quoted;
use super::{JsonPeek, MultipartPeek};

/// One place of a body where other bytes go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit<'a> {
    /// What is left out of the body; empty where something is only added.
    pub span: Range<u64>,
    with: With<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum With<'a> {
    /// A JSON string that says this.
    Quoted(&'a str),
    /// These bytes.
    Bytes(&'static str),
}

impl Edit<'_> {
    /// Appends what goes there instead.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self.with {
            With::Quoted(said) => write_quoted(said, out),
            With::Bytes(bytes) => out.extend_from_slice(bytes.as_bytes()),
        }
    }
}

/// The edits of one body, in the body's order: none, one or two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edits<'a>([Option<Edit<'a>>; 2]);

impl<'a> Edits<'a> {
    /// What must change so that the body names `upstream_model` and asks for the usage event.
    ///
    /// * `peek`: has read the body, or a front of it: the model can be renamed as soon as it is known.
    ///   No edits once it has found a fault.
    /// * `upstream_model`: `None` leaves the name alone; so does the name that stands there already.
    /// * `inject_usage`: sets `stream_options.include_usage` to true, if the whole body was read: only
    ///   its end shows that the option is not there. Only for bodies with `"stream":true`: OpenAI
    ///   refuses the option elsewhere.
    #[must_use]
    pub fn of(peek: &JsonPeek, upstream_model: Option<&'a str>, inject_usage: bool) -> Self {
        if peek.fault().is_some() {
            return Self([None, None]);
        }
        let model = upstream_model
            .filter(|name| peek.model() != Some(name.as_bytes()))
            .zip(peek.model_span())
            .map(|(name, span)| Edit { span, with: With::Quoted(name) });
        let usage = if inject_usage && peek.complete() { include_usage(peek) } else { None };
        match (&model, &usage) {
            (Some(first), Some(second)) if second.span.start < first.span.start => Self([usage, model]),
            _ => Self([model, usage]),
        }
    }

    /// Whether the body can go as it is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// The edits, first place first; their spans never overlap.
    pub fn iter(&self) -> impl Iterator<Item = &Edit<'a>> {
        self.0.iter().flatten()
    }
}

/// The edit that makes `stream_options.include_usage` true, if it is not.
fn include_usage(peek: &JsonPeek) -> Option<Edit<'static>> {
    if peek.include_usage() == Some(true) {
        return None;
    }
    let (span, bytes) = if let Some(span) = peek.include_usage_span() {
        (span, "true")
    } else if let Some((inside, empty)) = peek.inside_stream_options() {
        (inside..inside, if empty { r#""include_usage":true"# } else { r#""include_usage":true,"# })
    } else if let Some(null) = peek.stream_options_span() {
        (null, r#"{"include_usage":true}"#)
    } else {
        let end = peek.insert_at()?;
        let bytes = if peek.is_empty_object() {
            r#""stream_options":{"include_usage":true}"#
        } else {
            r#","stream_options":{"include_usage":true}"#
        };
        (end..end, bytes)
    };
    Some(Edit { span, with: With::Bytes(bytes) })
}

/// Appends `body` to `out`, changed as [`Edits::of`] says; every other byte is copied as it stands.
///
/// * `body`: what `peek` has read: the whole body, or a front of it that the model stands in.
///
/// # Panics
/// If `body` is shorter than what `peek` has read.
///
/// # Cost
/// One copy of the body; `out` grows at most once.
pub fn splice(
    body: &[u8],
    peek: &JsonPeek,
    upstream_model: Option<&str>,
    inject_usage: bool,
    out: &mut Vec<u8>,
) {
    /// Longest text that asks for the usage event.
    const INJECTED_MAX: usize = 48;
    out.reserve(body.len() + upstream_model.map_or(0, str::len) + INJECTED_MAX);
    let mut copied = 0;
    for edit in Edits::of(peek, upstream_model, inject_usage).iter() {
        out.extend_from_slice(&body[copied..edit.span.start as usize]);
        edit.write(out);
        copied = edit.span.end as usize;
    }
    out.extend_from_slice(&body[copied..]);
}

/// Appends the form `body` to `out` with `upstream_model` as the value of its field `model`.
///
/// * `body`: the whole body that `peek` has read.
/// * `upstream_model`: a name with control characters, or with the form's own delimiter in it, would end
///   the field, so it is not written: the caller's stays.
///
/// # Panics
/// If `body` is shorter than what `peek` has read.
///
/// # Cost
/// One copy of the body; `out` grows at most once.
pub fn splice_form(body: &[u8], peek: &MultipartPeek, upstream_model: Option<&str>, out: &mut Vec<u8>) {
    let ends_the_field = |name: &str| {
        name.chars().any(char::is_control) || memmem::find(name.as_bytes(), peek.delimiter()).is_some()
    };
    let writable = upstream_model.filter(|name| !ends_the_field(name));
    let (Some(name), Some(span)) = (writable, peek.model_span()) else {
        out.extend_from_slice(body);
        return;
    };
    out.reserve(body.len() + name.len());
    out.extend_from_slice(&body[..span.start as usize]);
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(&body[span.end as usize..]);
}
