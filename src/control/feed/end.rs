//! Why a connection to the feed is over, and what the next one has to ask for.

use std::io;

use super::client::ClientError;
use super::frames::FrameError;

/// The lines of one delta. A transaction that changes more is taken as a snapshot.
pub(super) const DELTA_BYTES_MAX: usize = 256 << 20;

/// Why a connection is over.
#[derive(Debug, thiserror::Error)]
pub(super) enum FeedEnd {
    #[error(transparent)]
    Client(ClientError),
    #[error("nothing was heard for too long")]
    Silent,
    #[error("the feed ended")]
    Ended,
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("a delta of generation {base}, while {held} is held")]
    Gap { base: u64, held: u64 },
    #[error("another epoch, {0}")]
    OtherEpoch(String),
    #[error("generation {generation} of the epoch in which {held} is held")]
    WentBack { generation: u64, held: u64 },
    #[error("generation {generation} was announced and did not come")]
    Behind { generation: u64 },
    #[error("a delta of more than {DELTA_BYTES_MAX} bytes")]
    TooLarge,
    #[error("the snapshot of generation {generation} was refused: {reason}")]
    SnapshotRefused { generation: u64, reason: String },
    #[error("the delta to generation {generation} was refused: {reason}")]
    DeltaRefused { generation: u64, reason: String },
    /// Not a failure: we want to begin the file anew.
    #[error("a snapshot is wanted")]
    WantsSnapshot,
}

impl From<io::Error> for FeedEnd {
    fn from(error: io::Error) -> Self {
        ClientError::from(error).into()
    }
}

impl From<ClientError> for FeedEnd {
    fn from(error: ClientError) -> Self {
        match error {
            // What a socket says whose read has waited for as long as it may.
            ClientError::Io(error) if error.kind() == io::ErrorKind::WouldBlock => Self::Silent,
            other @ (ClientError::Io(_) | ClientError::Head(_) | ClientError::Status(_)) => {
                Self::Client(other)
            }
        }
    }
}

impl FeedEnd {
    /// Whether what we hold is of no use to the next connection. Of an admin that went back it is: shown what we hold, it sees that its
    /// database was restored, and begins another epoch.
    pub(super) const fn asks_for_a_snapshot(&self) -> bool {
        match self {
            Self::Gap { .. }
            | Self::OtherEpoch(_)
            | Self::TooLarge
            | Self::SnapshotRefused { .. }
            | Self::DeltaRefused { .. }
            | Self::WantsSnapshot => true,
            Self::Client(_)
            | Self::Silent
            | Self::Ended
            | Self::Frame(_)
            | Self::WentBack { .. }
            | Self::Behind { .. } => false,
        }
    }
}
