//! Peek: the few members of a request body that decide where it goes, read while the body passes.
//!
//! Bytes in, verdict out: [`JsonPeek`] and [`MultipartPeek`] are fed the body's segments as they
//! arrive, remember the model's name and where it stands, and never keep the body. [`splice()`] then
//! changes the model's name, or asks for the usage event, in the original bytes: nothing else moves,
//! so `1e3` stays `1e3` and unknown members survive in their order.
//!
//! # Promises
//! * The verdict does not depend on how the body was split into segments.
//! * One meaning. What we read decides what the caller may use, and the upstream reads the same
//!   bytes again with a parser of its own: whatever two parsers could read differently (a key
//!   twice, a key in another case, a charset, a preamble) is refused.
//! * Bounded: no allocation, nesting up to [`DEPTH_MAX`], names up to [`NAME_BYTES_MAX`].
//!
//! # Not here, on purpose
//! No values, no UTF-8 check and no escape check of text that nobody here reads (prompts): bytes
//! between two quotes cannot change where the string ends, and the upstream looks at them anyway.
//!
//! # Cost
//! `benches/peek.rs`. Long strings are skipped with SIMD search for the closing quote.
#![deny(clippy::disallowed_methods)]

mod json;
mod member;
mod multipart;
mod number;
mod splice;
pub(crate) mod text;

pub use json::JsonPeek;
pub use multipart::MultipartPeek;
pub use splice::{Edit, Edits, splice, splice_form};

/// Longest model name in bytes, as it is written (escapes included). Longer ones are refused, not cut.
pub const NAME_BYTES_MAX: usize = 256;

/// Deepest nesting of arrays and objects, the outermost object included.
pub const DEPTH_MAX: u32 = 128;

/// Why a body cannot be read: every one is the caller's fault, and the answer is 400.
///
/// The display text is meant for the caller: it names the rule and never quotes the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeekError {
    /// Outside the grammar of JSON (RFC 8259) or of multipart/form-data (RFC 7578).
    #[error("the request body is malformed")]
    Malformed,
    /// JSON, but not an object.
    #[error("the request body is not a JSON object")]
    NotAnObject,
    /// The body ended inside the object, or before the last boundary of the form.
    #[error("the request body is incomplete")]
    Truncated,
    /// More than [`DEPTH_MAX`] arrays and objects inside each other.
    #[error("the request body is nested too deeply")]
    TooDeep,
    /// A member that we act on stands there twice: parsers differ in which one they believe.
    #[error("a member of the request body is given twice")]
    DuplicateKey,
    /// A member that we act on, in another case (`"Model"`): some upstreams would believe it.
    #[error("a member of the request body is written in the wrong case")]
    AmbiguousKey,
    /// `model` is not a string, or is a file part of a form.
    #[error("model is not a string")]
    ModelNotText,
    /// `model` is longer than [`NAME_BYTES_MAX`].
    #[error("model is too long")]
    ModelTooLong,
    /// `stream`, `stream_options` or `stream_options.include_usage` has a value of another type.
    #[error("stream or stream_options has the wrong type")]
    WrongType,
    /// The multipart `Content-Type` has no usable boundary, or a charset other than UTF-8.
    #[error("the multipart content type is not usable")]
    BadContentType,
}

const _: () = assert!(size_of::<PeekError>() == 1);

#[cfg(test)]
pub(crate) mod tests;
