//! Load test tools.
