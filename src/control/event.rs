//! What the control thread tells whoever runs it: a line each for the log.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::feed::FeedEvent;
use crate::tables::{Counts, LoadError};
use crate::tls::{Shown, TlsError, Warning};

/// Something happened that an operator wants to know.
#[derive(Debug)]
pub enum Event {
    /// Tables were compiled and handed to every core.
    Published {
        /// Their number.
        generation: u64,
        /// How much is in them.
        counts: Counts,
        /// From the decision to load to the hand-over.
        took: Duration,
        /// Endpoints that have no address, because their name could not be resolved.
        unresolved: Vec<Arc<str>>,
    },
    /// Tables were refused whole; the last good ones stay in force.
    Refused {
        /// Every problem.
        error: LoadError,
        /// The generation that stays; 0: there is none, and the proxy is not ready.
        generation: u64,
    },
    /// A snapshot or delta of the feed was refused whole; the last good tables stay in force.
    FeedRefused {
        /// What was wrong.
        reason: String,
        /// The generation that stays, if there is one.
        generation: Option<u64>,
    },
    /// The feed has something to say.
    Feed(FeedEvent),
    /// Names of endpoints have other addresses; everything else is as it was.
    Resolved {
        /// The generation in force.
        generation: u64,
    },
    /// Names of cube-admin, of the passthrough cluster or of its callback have other addresses.
    Moved,
    /// Certificates were read again; the next handshakes are made with them.
    Certificates {
        /// Those that callers are shown.
        shown: Vec<Shown>,
    },
    /// They were to be, and one is wrong; those in force stay.
    CertificatesRefused {
        /// What is wrong.
        error: TlsError,
    },
    /// Something about a certificate that an operator should know.
    CertificateWarning(Warning),
    /// Loading broke off without a verdict: a bug, or no thread could be started.
    LoadFailed,
    /// There is neither a tables file nor a feed in the settings, so nothing can be served.
    NoTables,
    /// Every core has tables: requests are served from now on.
    Ready,
    /// The process was told to end.
    Draining {
        /// Connections still open.
        connections: u64,
    },
    /// The drain is over.
    Ended(Ended),
}

/// How the drain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Every connection had ended by itself.
    Drained,
    /// The deadline came, or a second signal, with connections left; they end with the process.
    Cut {
        /// How many.
        connections: u64,
    },
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Published { generation, counts, took, unresolved } => {
                let Counts { pats, users, domains, models, clusters, routes, keys } = counts;
                write!(
                    f,
                    "tables: generation {generation} published in {} ms: {pats} PATs, {users} users, {domains} domains, \
                     {models} models, {clusters} clusters, {routes} routes, {keys} keys",
                    took.as_millis()
                )?;
                unresolved
                    .iter()
                    .try_for_each(|url| write!(f, "\n  {url} has no address: its name was not resolved"))
            }
            Self::Refused { error, generation: 0 } => {
                write!(f, "tables: refused, and there are no others: {error}")
            }
            Self::Refused { error, generation } => {
                write!(f, "tables: refused, generation {generation} stays in force: {error}")
            }
            Self::FeedRefused { reason, generation: None } => {
                write!(f, "tables: refused, and there are no others: {reason}")
            }
            Self::FeedRefused { reason, generation: Some(generation) } => {
                write!(f, "tables: refused, generation {generation} stays in force: {reason}")
            }
            Self::Feed(event) => event.fmt(f),
            Self::Resolved { generation } => {
                write!(f, "tables: generation {generation} with other addresses of its endpoints")
            }
            Self::Moved => f.write_str("servers of the settings have other addresses"),
            Self::Certificates { shown } => {
                f.write_str("certificates: read again; in force are")?;
                shown.iter().try_for_each(|Shown { chain, validity }| {
                    write!(f, " {} (until Unix time {})", chain.display(), validity.not_after)
                })
            }
            Self::CertificatesRefused { error } => {
                write!(f, "certificates: refused, those in force stay: {error}")
            }
            Self::CertificateWarning(warning) => write!(f, "certificates: warning: {warning}"),
            Self::LoadFailed => f.write_str("tables: loading broke off"),
            Self::NoTables => f.write_str(
                "tables: neither tables.file nor admin.feed in the settings, so every request gets 503",
            ),
            Self::Ready => f.write_str("ready: every core has tables"),
            Self::Draining { connections } => write!(f, "draining: {connections} connections are open"),
            Self::Ended(Ended::Drained) => f.write_str("ended: every connection had ended"),
            Self::Ended(Ended::Cut { connections }) => write!(f, "ended: {connections} connections were cut"),
        }
    }
}
