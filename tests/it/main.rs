//! The proxy from outside: the real binary between raw sockets. One program, a module per theme.
//!
//! * What it refuses: [`heads`], [`framing`], [`limits`], [`credentials`], [`rights`],
//!   [`operations`], [`bodies`].
//! * What it passes: [`relay`], [`upload`], [`long`], [`resumed`], [`splits`], [`liveness`], [`headers`],
//!   [`models`], [`routes`], [`origin`], [`callback`] (the passthrough listener).
//! * What goes wrong on the way: [`departures`] (a side leaves), [`patience`] (a side is slow), [`faults`] (an upstream
//!   misbehaves), [`interruptions`] (what a stream says of it), [`pool`] (a connection is used again).
//! * What it looks like inside TLS: [`tls`], [`tls_upstream`], [`tls_malformed`], [`certificates`].
//! * What it leaves and how it lives: [`usage`], [`records`], [`spool`], [`tables`], [`feed`], [`process`], [`drivers`].
//!
//! Every test starts its own proxy on ports of the kernel's choice; none depends on how fast the machine is.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod bodies;
mod callback;
mod certificates;
mod credentials;
mod departures;
mod drivers;
mod faults;
mod feed;
mod framing;
mod headers;
mod heads;
mod interruptions;
mod limits;
mod liveness;
mod long;
mod models;
mod operations;
mod origin;
mod patience;
mod pool;
mod process;
mod records;
mod relay;
mod resumed;
mod rights;
mod routes;
mod splits;
mod spool;
mod support;
mod tables;
mod tls;
mod tls_malformed;
mod tls_upstream;
mod upload;
mod usage;
