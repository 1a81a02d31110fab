//! The audit log: every management action, and every proxied request's outcome.
