//! The one record that a request leaves, whatever happened to it.
//!
//! The path fills a [`RequestRecord`] as it learns things and hands it, once, to the meter and to a [`RecordSender`], the way out of
//! its core.

mod sender;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use cube_wire::{DomainId, Operation, PatId, UserId};

pub use sender::{Batch, Readers, RecordSender, Taken};

use crate::meter::closed_label;

closed_label! {
    /// How a request ended.
    #[must_use = "exactly one ending goes into exactly one record"]
    #[repr(u8)]
    pub enum Ending {
        /// The answer was sent whole; whatever its status, it is the upstream's, or our own from the tables.
        Complete = "complete",
        /// Answered by us, before any upstream was contacted.
        Refused = "refused",
        /// No endpoint gave an answer; the caller got 502, 503 or 504 from us.
        UpstreamFailed = "upstream_failed",
        /// The upstream's answer broke off, so the caller's was cut.
        UpstreamCut = "upstream_cut",
        /// The caller went away.
        CallerGone = "caller_gone",
        /// The caller was too slow: with its body, or with reading the answer.
        CallerTimeout = "caller_timeout",
        /// The upstream was silent for too long in the middle of its answer, or took too long in all.
        UpstreamTimeout = "upstream_timeout",
        /// Cut because the process was ending.
        Drained = "drained",
        /// The request's task ended without saying how: a panic, or a bug.
        Abandoned = "abandoned",
    }
}

/// How records and metrics name whatever comes to a passthrough listener.
pub const PASSTHROUGH: &str = "passthrough";

/// A request's name, from the caller or made by us: at most 64 bytes of visible ASCII, stored in place.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RequestId {
    bytes: [u8; Self::BYTES_MAX],
    len: u8,
}

impl RequestId {
    /// The longest name that is taken over from a caller.
    pub const BYTES_MAX: usize = 64;

    /// Takes a caller's name over if it is short and of harmless characters (letters, digits, `-_.:/+=@`).
    #[must_use]
    pub fn from_caller(name: &[u8]) -> Option<Self> {
        let harmless = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/+=@".contains(byte);
        if name.is_empty() || name.len() > Self::BYTES_MAX || !name.iter().all(harmless) {
            return None;
        }
        let mut bytes = [0; Self::BYTES_MAX];
        bytes[..name.len()].copy_from_slice(name);
        Some(Self { bytes, len: u8::try_from(name.len()).ok()? })
    }

    /// A name of 32 hexadecimal digits from two random numbers.
    #[must_use]
    pub fn from_random(high: u64, low: u64) -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut bytes = [0; Self::BYTES_MAX];
        let random = (u128::from(high) << 64 | u128::from(low)).to_be_bytes();
        for (pair, byte) in bytes[..32].chunks_exact_mut(2).zip(random) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 0xf)];
        }
        Self { bytes, len: 32 }
    }

    /// The name's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// The name; empty if none was given yet.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Only visible ASCII is ever stored.
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }
}

impl Default for RequestId {
    fn default() -> Self {
        Self { bytes: [0; Self::BYTES_MAX], len: 0 }
    }
}

impl std::fmt::Debug for RequestId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("RequestId").field(&self.as_str()).finish()
    }
}

/// What is known of one request when it has ended. What was never learnt is `None`, zero or empty.
#[derive(Clone, Debug)]
pub struct RequestRecord {
    /// The request's name.
    pub request_id: RequestId,
    /// When its first byte arrived, in milliseconds of Unix time.
    pub started_unix_ms: u64,
    /// The caller's address, as far as it can be trusted.
    pub client: Option<IpAddr>,
    /// Its method.
    pub method: Option<http::Method>,
    /// The path's row in the operation table, `/v1/chat/completions`; never the caller's own text.
    pub template: &'static str,
    /// What it asked to do.
    pub operation: Option<Operation>,
    /// The domain it named, if there is one of that name.
    pub domain: Option<DomainId>,
    /// Whose credential it carried.
    pub user: Option<UserId>,
    /// The credential's number.
    pub pat: Option<PatId>,
    /// The model as the caller names it, from the tables.
    pub model: Option<Arc<str>>,
    /// The model's metric series (`ModelEntry::series`); 0 if there is no model.
    pub series: u64,
    /// The cluster it went to.
    pub cluster: Option<Arc<str>>,
    /// The last endpoint it was sent to.
    pub endpoint: Option<Arc<str>>,
    /// What was wrong with the TLS of an endpoint, for those who run it; callers are not told.
    pub upstream_fault: Option<Box<str>>,
    /// Attempts at endpoints.
    pub attempts: u32,
    /// The status that the caller got; 499 if it left before there was one; 0 if none was sent.
    pub status: u16,
    /// The code of our own answer, or more detail than the caller was told.
    pub code: Option<&'static str>,
    /// Body bytes from the caller.
    pub bytes_in: u64,
    /// Body bytes to the caller.
    pub bytes_out: u64,
    /// Whether the answer was streamed event by event.
    pub stream: bool,
    /// Events of the stream.
    pub events: u64,
    /// Tokens of the prompt.
    pub prompt_tokens: Option<u64>,
    /// Tokens of the completion.
    pub completion_tokens: Option<u64>,
    /// The completion's tokens were counted from events, because the upstream gave no usage.
    pub estimated: bool,
    /// From the request's first byte to the first byte of the answer's body.
    pub first_byte: Option<Duration>,
    /// From the request's first byte to its end.
    pub duration: Duration,
    /// How it ended.
    pub ending: Ending,
}

impl Default for RequestRecord {
    fn default() -> Self {
        Self {
            request_id: RequestId::default(),
            started_unix_ms: 0,
            client: None,
            method: None,
            template: "",
            operation: None,
            domain: None,
            user: None,
            pat: None,
            model: None,
            series: 0,
            cluster: None,
            endpoint: None,
            upstream_fault: None,
            attempts: 0,
            status: 0,
            code: None,
            bytes_in: 0,
            bytes_out: 0,
            stream: false,
            events: 0,
            prompt_tokens: None,
            completion_tokens: None,
            estimated: false,
            first_byte: None,
            duration: Duration::ZERO,
            ending: Ending::Abandoned,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_callers_request_id_is_taken_over_only_if_it_is_short_and_harmless() {
        assert_eq!(
            RequestId::from_caller(b"abc-123_x.y:z/+=@").expect("harmless").as_str(),
            "abc-123_x.y:z/+=@"
        );
        assert!(RequestId::from_caller(&[b'a'; 64]).is_some());
        for name in [&b""[..], b"a b", b"a\tb", b"\"", b"\xff", b"a\\b", b"<x>", &[b'a'; 65]] {
            assert!(RequestId::from_caller(name).is_none(), "{name:?}");
        }
    }

    #[test]
    fn a_made_request_id_shows_both_random_numbers() {
        let id = RequestId::from_random(0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210);
        assert_eq!(id.as_str(), "0123456789abcdeffedcba9876543210");
    }
}
