//! The contract between cube-admin and cube-proxy.
