//! The HTTP/1.1 that mock and clients share. Sans-io, lenient (a well-formed peer is assumed, because strictness is what
//! the proxy under test is for), resumable at any byte.

mod chunked;
mod head;

pub use chunked::{ChunkDecoder, ChunkStep, Malformed};
pub use head::{Fields, RequestLine, StatusLine, head_end, request_line, status_line};
