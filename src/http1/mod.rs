//! HTTP/1.1 without sockets: bytes in, verdict out.
//!
//! | file | holds |
//! |---|---|
//! | [`grammar`] | which byte may stand where, and searches for the first that may not |
//! | [`known`] | [`Known`]: the fields that the proxy reads, removes or writes, told by their names |
//! | [`field`] | [`Span`], [`Field`]: one header line, and the fixed-capacity list of them |
//! | [`head`] | limits, errors and the resumable walk over the lines of any head |
//! | [`request`] | [`RequestHead`]: request line, Host, framing of a request |
//! | [`response`] | [`ResponseHead`]: status line, framing of a response |
//! | [`framing`] | Content-Length, Transfer-Encoding, Connection: how long is the body, may the connection stay |
//! | [`chunk`] | [`ChunkScanner`]: the boundaries of a chunked body, which passes through untouched |
//! | [`target`] | `/proxy/{domain}/rest`, and what a path may not hold |
//! | [`foreign`] | paths that are passed on whole |
//! | [`query`] | parameters of a query, found and left out by name |
//! | [`mod@write`] | heads and chunk sizes going out |
//!
//! # Promises
//! * Strict where two parsers could differ: whatever is ambiguous is an error, and after an error the
//!   connection has no next message.
//! * The verdict never depends on how the bytes were split into reads.
//! * Nothing here allocates per message, reads a clock or touches a socket. Heads are scratch that the
//!   caller pools; every span points into the caller's buffer.
//!
//! # Source
//! RFC 9110, RFC 9112; limits: [`HeadLimits`] and [`ChunkLimits`]; refusals: [`HeadError::status`].
#![deny(clippy::disallowed_methods)]

pub mod chunk;
pub mod field;
pub mod foreign;
pub mod framing;
pub mod grammar;
pub mod head;
pub mod known;
pub mod query;
pub mod request;
pub mod response;
pub mod target;
pub mod write;

#[cfg(test)]
mod tests;

pub use chunk::{ChunkError, ChunkLimits, ChunkScanner, ChunkStep, Scanned};
pub use field::{FIELDS_CAPACITY, Field, Span};
pub use foreign::{begins_with_segments, check_foreign_path};
pub use framing::{BodyLength, ResponseBody};
pub use head::{HeadError, HeadLimits, Parsed};
pub use known::Known;
pub use request::RequestHead;
pub use response::ResponseHead;
pub use target::{ProxyPath, TargetError, decode_segment, split_proxy_path};
pub use write::{Framing, HeadWriter, copy_fields, status_line, write_chunk_head};
