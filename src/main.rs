//! cube-proxy.
fn main() {}
