//! Empty on purpose: monoio-http names this crate and uses nothing of it (see the root `Cargo.toml`).
