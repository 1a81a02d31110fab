//! What the tests are made of: a [`world`] of tables, the real [`proxy`] over it, raw [`connection`]s on both
//! sides of it, and an [`upstream`] that does what a test tells it to.
//!
//! Nothing here shares code with the proxy but the wire contract (`cube_wire`), and nothing here is clever: time
//! passes only where something is awaited.

pub(crate) mod connection;
pub(crate) mod feed;
mod kernel;
pub(crate) mod message;
pub(crate) mod metrics;
pub(crate) mod proxy;
pub(crate) mod requests;
pub(crate) mod tls;
pub(crate) mod upstream;
pub(crate) mod world;

pub(crate) use connection::{Connection, End, PATIENCE};
pub(crate) use message::{Message, chunk, chunked};
pub(crate) use proxy::{Launch, Proxy, Settings, exchange, start};
pub(crate) use requests::{chat, get, post};
pub(crate) use upstream::{DELTA, DONE, Nobody, STREAM_HEAD, USAGE, Upstream, json_answer};
pub(crate) use world::{MODEL, Pat, Tenant, World, domain_scopes, model_scopes};
