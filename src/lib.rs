//! cube-proxy: the data plane.
pub mod http1;
pub mod peek;
pub mod settings;
pub mod sse;
pub mod tables;
