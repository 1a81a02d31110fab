//! What measures and exercises the proxy from outside. Nothing here is linked into it.
//!
//! Read in this order:
//! * [`mock`]: a model server that answers as told: counts, sizes, pace, faults (`cube-mock`).
//! * [`load`]: a client that checks every event of many streams at once (`cube-stream`); [`histogram`]: its times.
//! * [`mod@bench`]: what the proxy costs beside its peers (`cube-bench`); [`relay`]: the floor (`cube-relay`).
//! * [`soak`]: load with faults and reloads, and whether it all adds up (`cube-soak`).
//! * [`demo`]: README's first command (`cube-demo`).
//! * [`fleet`]: how fast a change is in force, and what survives being killed (`cube-fleet`).
//! * [`tables`], [`launch`], [`fetch`]: a tables file, child processes, one request; for all that starts a proxy.
//! * [`http1`]: the little HTTP/1.1 that mock and clients share; lenient, and cheaper than what is measured.
//! * [`poller`], [`clock`]: readiness and time, straight from the kernel; `random`: numbers that follow from a seed.
//!
//! Everything runs on plain threads and epoll, so that what is measured is the proxy and not a runtime that it shares
//! with its load generator.
#![forbid(unsafe_code)]

pub mod bench;
pub mod clock;
pub mod demo;
pub mod fetch;
pub mod fleet;
pub mod histogram;
pub mod http1;
pub mod launch;
pub mod load;
pub mod mock;
pub mod poller;
mod random;
pub mod relay;
pub mod soak;
pub mod tables;
mod world;
