//! cube-proxy: the data plane.
pub mod cli;
pub mod http1;
pub mod meter;
pub mod operations;
pub mod peek;
pub mod record;
pub mod settings;
pub mod sse;
pub mod tables;
