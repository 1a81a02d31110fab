//! Why a TLS connection is over, and what its peer is told.

use std::io;

/// What went wrong after the handshake. Nothing on the connection is believed any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    #[error("not a TLS record")]
    Malformed,
    #[error("a TLS record that is too long")]
    TooLong,
    #[error("a TLS record that its peer did not seal")]
    NotAuthentic,
    #[error("a TLS message that has no place here")]
    Unexpected,
    #[error("too many TLS messages that carry nothing")]
    TooMany,
    #[error("a TLS key that has sealed as much as it may")]
    Exhausted,
    #[error("the peer ended TLS with alert {0}")]
    Alerted(u8),
    #[error("TLS went wrong on our side")]
    Internal,
}

impl Fault {
    /// The alert that tells the peer (RFC 8446 §6); `None` if it knows already.
    pub(super) const fn alert(self) -> Option<u8> {
        match self {
            Self::Malformed => Some(50),
            Self::TooLong => Some(22),
            Self::NotAuthentic => Some(20),
            Self::Unexpected | Self::TooMany => Some(10),
            Self::Exhausted | Self::Internal => Some(80),
            Self::Alerted(_) => None,
        }
    }
}

impl From<Fault> for io::Error {
    fn from(fault: Fault) -> Self {
        Self::new(io::ErrorKind::InvalidData, fault)
    }
}
