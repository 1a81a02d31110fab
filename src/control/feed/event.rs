//! What is told of the feed.

use std::fmt;
use std::path::PathBuf;

use crate::settings::Origin;

/// What an operator wants to know of the feed.
#[derive(Debug)]
pub enum FeedEvent {
    /// The feed is heard.
    Connected {
        /// Where.
        origin: Origin,
    },
    /// It is not, or was refused; the proxy goes on with what it has and tries again.
    Lost {
        /// Why.
        reason: String,
        /// There are tables all the same.
        serving: bool,
    },
    /// The database behind admin is another one, or was restored: its tables were adopted whole.
    OtherEpoch {
        /// What was held.
        from: String,
        /// What is held now.
        to: String,
    },
    /// The file of last good tables is of no use.
    NoLastGood {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The disk does not take the last good tables. They are in force; a restart without admin would begin with older ones.
    NotRemembered {
        /// What the system said.
        reason: String,
    },
    /// The feed has not confirmed the tables for longer than `admin.staleness_max_s`: everything gets 503.
    Stale,
    /// It has, and they are decided with again.
    Fresh,
}

impl fmt::Display for FeedEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connected { origin } => write!(f, "feed: connected to {origin}"),
            Self::Lost { reason, serving: true } => {
                write!(f, "feed: {reason}; going on with the tables that there are")
            }
            Self::Lost { reason, serving: false } => {
                write!(f, "feed: {reason}; there are no tables yet, so every request gets 503")
            }
            Self::OtherEpoch { from, to } => write!(
                f,
                "feed: THE EPOCH HAS CHANGED from {from} to {to}: another database, or one that was restored; its tables are \
                 adopted whole"
            ),
            Self::NoLastGood { path, reason } => {
                write!(f, "feed: the last good tables are not used: {}: {reason}", path.display())
            }
            Self::NotRemembered { reason } => write!(f, "feed: the tables cannot be remembered: {reason}"),
            Self::Stale => {
                f.write_str("feed: the tables are older than admin.staleness_max_s: every request gets 503")
            }
            Self::Fresh => f.write_str("feed: the tables are confirmed again"),
        }
    }
}
