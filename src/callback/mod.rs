//! Callback: what one core remembers of its authentication callback.
//!
//! | file | holds |
//! |---|---|
//! | [`key`] | what a decision is about, as a digest |
//! | [`decisions`] | decisions that hold for a while longer (`cache_ttl_s`) |
//! | [`flights`] | calls that are under way, for those that would ask the same (`single_flight`) |
//!
//! Both are off by default: then every request is asked about, which is what the documentation of the callback promises. The calls
//! themselves are made in `path/consult.rs`.

pub mod decisions;
pub mod flights;
pub mod key;

pub use decisions::Decisions;
pub use flights::{Flight, Flights, Joined};
pub use key::{CredentialDigest, DecisionKey};

/// What a call came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The request may pass.
    Allows,
    /// It may not.
    Refuses,
    /// The callback could not be asked.
    Unreachable(CallFault),
    /// It did not answer in time.
    TimedOut,
}

/// Why a callback could not be asked. Callers are told a stable word for it, and no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallFault {
    /// No connection.
    Connect,
    /// The connection ended before an answer.
    Closed,
    /// The answer is not HTTP, or its head is too large.
    Invalid,
}

impl CallFault {
    /// The words for callers.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Connect => "Auth callback unreachable: no connection",
            Self::Closed => "Auth callback unreachable: connection closed",
            Self::Invalid => "Auth callback unreachable: invalid answer",
        }
    }
}
