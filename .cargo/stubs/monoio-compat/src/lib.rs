//! A stand-in for monoio-compat 0.2.2: the one type of it that monoio-http 0.3.12 uses.
//!
//! The published crate adapts monoio's streams to tokio's traits and so depends on tokio. monoio-http wants none of that,
//! only [`box_future::MaybeArmedBoxFuture`]. See `docs/decisions/0001-monoio-http-without-tokio-and-old-rustls.md`.
//! Written for this repository from monoio-http's use of it; no code of the published crate is in here.

pub mod box_future;
