//! Stands in for fxhash 0.2.1, which is unmaintained (RUSTSEC-2025-0057). monoio keys a few maps by thread number with it, and
//! only with features that we do not use.

/// A map with a fast hasher.
pub type FxHashMap<K, V> = std::collections::HashMap<K, V, ahash::RandomState>;
