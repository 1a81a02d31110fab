//! A stand-in for monoio-codec 0.3.4: what monoio-http 0.3.12 uses of it, in safe Rust.
//!
//! The published crate takes its `Encoder` trait from tokio-util, and so the whole of tokio with it. See
//! `docs/decisions/0001-monoio-http-without-tokio-and-old-rustls.md`. Written for this repository from monoio-http's use of
//! it; no code of the published crate is in here.
//!
//! # Different on purpose
//! An error is final: after one, [`FramedRead`] gives `None` for ever. The published reader starts again in the bytes that
//! it could not read, which are the peer's to choose.

mod codec;
mod framed_read;
pub mod length_delimited;

pub use codec::{Decoded, Decoder, Encoder};
pub use framed_read::FramedRead;
