//! cube-proxy: the data plane. One process, one pinned thread per core, nothing shared between them.
//!
//! Read in this order:
//! 1. [`path`]: the story of one request, one file per stage.
//! 2. [`cores`], [`local`]: where it runs and what it owns there.
//! 3. [`tables`], [`operations`]: what it decides with.
//! 4. [`socket`], [`buf`], [`clock`], [`upstream`], [`mod@callback`]: what it stands on.
//! 5. [`http1`], [`sse`], [`peek`]: bytes in, verdict out; no sockets, no clock.
//! 6. [`meter`], [`record`]: what a request leaves.
//! 7. [`settings`], [`tls`], [`control`]: everything cold.

pub mod buf;
pub mod callback;
pub mod cli;
pub mod clock;
pub mod control;
pub mod cores;
pub mod http1;
pub mod local;
pub mod meter;
pub mod operations;
pub mod path;
pub mod peek;
pub mod record;
pub mod settings;
pub mod socket;
pub mod sse;
pub mod tables;
pub mod tls;
pub mod upstream;
