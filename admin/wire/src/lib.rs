//! The contract between cube-admin and cube-proxy: identifiers, operations, the form of a PAT, and the
//! records of which a snapshot of the tables is made.
//!
//! Both sides depend on this crate and on nothing of each other's. It has no runtime, does no I/O beyond
//! reading lines from a reader that it is given, and knows of HTTP no more than methods and paths.
//!
//! Read in this order: [`ids`] (who and what), [`operation`] (may do what), [`operations`] (by
//! which method and path), [`pat`], [`api_key`] and [`jwt`] (the credentials
//! that say who), [`record`] (one line of a snapshot), [`matching`] (when a routing rule holds), [`read`] (many lines), [`feed`]
//! (how they travel), [`seal`] (what of it is secret), [`validity`] (how long a certificate holds).
#![forbid(unsafe_code)]

pub mod api_key;
pub mod base64url;
pub mod cidr;
pub mod endpoint;
pub mod feed;
pub mod ids;
pub mod jwt;
pub mod lifetime;
pub mod matching;
pub mod operation;
pub mod operations;
pub mod pat;
pub mod read;
pub mod record;
pub mod seal;
pub mod validity;

pub use cidr::Cidr;
pub use ids::{ClusterId, DomainId, PatId, UserId};
pub use lifetime::parse_lifetime;
pub use operation::{Operation, OperationName, OperationSet};
pub use pat::{PatDigest, PatIds, PatSecret};
pub use read::{Records, read_records};
pub use record::{Key, Record, RecordError};
