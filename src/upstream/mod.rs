//! The far side: one core's connections to model servers.
//!
//! * [`pool`]: idle connections per address, kept only after a clean exchange, thrown away when stale.
//! * [`balance`], [`eject`]: which endpoint takes a request, and which is set aside; pure.
//!
//! Each core has its own connections and its own opinion of each endpoint. Retrying is not done here: `path/route.rs` holds the
//! only retry loop.

pub mod balance;
pub mod eject;
pub mod pool;

pub use pool::{Destination, Kept, Link, OpenFault, Upstreams};
