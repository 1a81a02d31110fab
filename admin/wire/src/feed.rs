//! The feed: how tables travel from cube-admin to a proxy, and how they lie on a proxy's disk.
//!
//! One answer of `GET /feed/v1/tables?node=…[&epoch=…&since=…]` that does not end: lines of JSON, grouped into frames.
//!
//! ```text
//! {"frame":"snapshot","epoch":"…","generation":41,"at_ms":…}
//! …record lines…
//! {"frame":"end","lines":1234,"checksum":"crc32:89abcdef"}
//! {"frame":"delta","epoch":"…","base":41,"generation":42,"at_ms":…}
//! …change lines: a record, or {"remove":…}…
//! {"frame":"end","lines":2,"checksum":"crc32:01234567"}
//! {"frame":"heartbeat","epoch":"…","generation":42,"at_ms":…}
//! ```
//!
//! A frame is one committed transaction: all of it is in force or none. `base` is the generation that a delta changes; a proxy that
//! is at another one asks for a snapshot. Generations grow by one within an epoch. A database that was restored from a backup
//! begins a new epoch, and what a proxy holds of another epoch is worth nothing to a delta.
//!
//! The checksum is the CRC-32 of all lines between the heading and the end, each with its `\n`. It finds a torn file and a cut
//! stream; it is no protection against an attacker, who is kept out by the transport and the node's key.
//!
//! The last good tables on a proxy's disk are these same lines: a snapshot frame, then the deltas since.

use serde::{Deserialize, Serialize};

use crate::{Key, Record, RecordError};

/// How often a feed without news says that it lives, in milliseconds.
pub const HEARTBEAT_MS: u64 = 1_000;
/// A feed that has been silent for this long is dead, in milliseconds.
pub const SILENCE_MAX_MS: u64 = 5_000;
/// The header field in which a node shows its [`crate::seal::FleetKey::node_token`]: `Bearer …`.
pub const NODE_AUTH_HEADER: &str = "authorization";

/// The line that begins or ends a frame.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "frame", rename_all = "snake_case")]
pub enum Frame {
    /// Everything there is follows.
    Snapshot {
        /// See the module.
        epoch: String,
        /// The generation that the records make up.
        generation: u64,
        /// When it was read, in milliseconds of Unix time.
        at_ms: u64,
    },
    /// The changes of one transaction follow.
    Delta {
        /// See the module.
        epoch: String,
        /// The generation that is changed.
        base: u64,
        /// The generation that results.
        generation: u64,
        /// When it was committed, in milliseconds of Unix time.
        at_ms: u64,
    },
    /// The end of a snapshot or delta.
    End {
        /// Lines since the heading.
        lines: u64,
        /// `crc32:` and eight hexadecimal digits.
        checksum: String,
    },
    /// There is nothing new.
    Heartbeat {
        /// See the module.
        epoch: String,
        /// The newest generation.
        generation: u64,
        /// Now, by the sender's clock, in milliseconds of Unix time.
        at_ms: u64,
    },
}

impl Frame {
    /// Reads a line that begins with `{"frame":`. `None` if the line is another one.
    ///
    /// # Errors
    /// The line is damaged.
    pub fn from_line(line: &[u8]) -> Option<Result<Self, RecordError>> {
        line.starts_with(br#"{"frame":"#).then(|| serde_json::from_slice(line).map_err(RecordError::Json))
    }

    /// The frame as one line, with its end.
    #[must_use]
    pub fn to_line(&self) -> String {
        let mut line = serde_json::to_string(self).expect("only strings and numbers");
        line.push('\n');
        line
    }
}

/// One step from a generation to the next: a line of a delta.
#[derive(Clone, Debug, PartialEq)]
pub enum ChangeLine {
    /// This is so from now on.
    Put(Record),
    /// Nothing with this key is there from now on.
    Remove(Key),
}

/// `{"remove":{"pat":"…"}}`.
#[derive(Serialize, Deserialize)]
struct Removal {
    remove: Key,
}

impl ChangeLine {
    /// Reads a line. `None`: a record of a kind that we do not know and need not.
    ///
    /// # Errors
    /// The line is neither a record nor a removal.
    pub fn from_line(line: &[u8]) -> Result<Option<Self>, RecordError> {
        if line.starts_with(br#"{"remove":"#) {
            let removal: Removal = serde_json::from_slice(line)?;
            return Ok(Some(Self::Remove(removal.remove)));
        }
        Ok(Record::from_line(line)?.map(Self::Put))
    }

    /// The change as one line, without its end.
    #[must_use]
    pub fn to_line(&self) -> String {
        match self {
            Self::Put(record) => record.to_line(),
            Self::Remove(key) => {
                serde_json::to_string(&Removal { remove: key.clone() }).expect("only strings")
            }
        }
    }
}

/// Sums up the lines of one frame.
#[derive(Clone, Debug, Default)]
pub struct Checksum {
    crc: crc32fast::Hasher,
    lines: u64,
}

impl Checksum {
    /// Nothing summed up yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a line, given without its end.
    pub fn add(&mut self, line: &[u8]) {
        self.crc.update(line);
        self.crc.update(b"\n");
        self.lines += 1;
    }

    /// The line that ends the frame.
    #[must_use]
    pub fn end(self) -> Frame {
        Frame::End { lines: self.lines, checksum: format!("crc32:{:08x}", self.crc.finalize()) }
    }
}

/// What a proxy says of itself: `POST /feed/v1/node`, at least once a second and after every adoption.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeReport {
    /// Its name: `[a-zA-Z0-9_.-]{1,64}`, the same after a restart.
    pub node: String,
    /// Random, made at each start: numbers of usage records begin anew with it.
    pub boot: String,
    /// The program's version.
    pub version: String,
    /// When it started, in milliseconds of Unix time.
    pub started_ms: u64,
    /// The data address, as bound.
    pub address: String,
    /// The epoch of the tables that it holds; empty if it has none.
    pub epoch: String,
    /// The generation that the control thread holds.
    pub generation: u64,
    /// What each core has adopted, by number.
    pub cores: Vec<CoreAdoption>,
    /// Why the last snapshot or delta was refused; empty if it was not.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub refused: String,
    /// It has been told to end.
    #[serde(default)]
    pub draining: bool,
}

/// What one core decides with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CoreAdoption {
    /// The generation in force on it.
    pub generation: u64,
    /// The driver it runs on.
    pub driver: String,
    /// Requests in progress.
    pub inflight: u64,
}

impl NodeReport {
    /// The generation that is in force everywhere on the node: the least of all cores'.
    #[must_use]
    pub fn adopted(&self) -> u64 {
        self.cores.iter().map(|core| core.generation).min().unwrap_or(0)
    }
}

/// One finished request: a line of `POST /feed/v1/usage?node=…&boot=…`. The answer 204 says that every line is stored for good; lines
/// that were stored before are passed over, so sending them again is harmless.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct UsageRecord {
    /// Counts from 1 within one boot of the proxy. With node and boot it names the record for ever.
    pub seq: u64,
    /// The request's name.
    pub request_id: String,
    /// When its first byte arrived, in milliseconds of Unix time.
    pub at_ms: u64,
    /// The caller's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_ip: Option<String>,
    /// Its method.
    pub method: String,
    /// The row of the operation table, not the caller's text.
    pub path: String,
    /// What it asked to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// The domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<crate::DomainId>,
    /// Whose credential.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<crate::UserId>,
    /// Which PAT; absent for an access token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pat: Option<crate::PatId>,
    /// The model as the caller names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The cluster it went to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// The last endpoint it was sent to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The status that the caller got; 499: it left before; 0: none.
    pub status: u16,
    /// The code of our own answer, or more detail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// How it ended.
    pub ending: String,
    /// Body bytes from the caller.
    pub bytes_in: u64,
    /// Body bytes to the caller.
    pub bytes_out: u64,
    /// Whether the answer was streamed.
    #[serde(default)]
    pub stream: bool,
    /// Tokens of the prompt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_tokens: Option<u64>,
    /// Tokens of the completion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_tokens: Option<u64>,
    /// The completion's tokens were counted from events.
    #[serde(default)]
    pub estimated: bool,
    /// Microseconds from the request's first byte to the answer's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_byte_us: Option<u64>,
    /// Microseconds from the request's first byte to its end.
    pub duration_us: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_and_changes_are_read_as_they_are_written() {
        let frames = [
            Frame::Snapshot { epoch: "e".into(), generation: 1, at_ms: 2 },
            Frame::Delta { epoch: "e".into(), base: 1, generation: 2, at_ms: 3 },
            Frame::Heartbeat { epoch: "e".into(), generation: 2, at_ms: 4 },
            Checksum::new().end(),
        ];
        for frame in frames {
            let line = frame.to_line();
            assert_eq!(Frame::from_line(line.trim_end().as_bytes()).unwrap().unwrap(), frame, "{line}");
        }
        let id = crate::PatId::from_bytes([7; 16]);
        let keys = [
            Key::Pat(id),
            Key::Model(crate::DomainId::from_bytes([1; 16]), "m\"n".into()),
            Key::Grant(crate::UserId::from_bytes([2; 16]), crate::DomainId::from_bytes([1; 16])),
            Key::Route("r".into()),
        ];
        for key in keys {
            let change = ChangeLine::Remove(key);
            assert_eq!(ChangeLine::from_line(change.to_line().as_bytes()).unwrap(), Some(change));
        }
    }

    #[test]
    fn a_record_line_is_no_frame_and_a_damaged_frame_is_an_error() {
        assert!(Frame::from_line(br#"{"kind":"user"}"#).is_none());
        assert!(Frame::from_line(br#"{"frame":"snapshot","epoch":"e"}"#).unwrap().is_err());
        assert!(Frame::from_line(br#"{"frame":"other"}"#).unwrap().is_err());
        assert!(ChangeLine::from_line(br#"{"remove":{"pat":"x"}}"#).is_err());
    }

    #[test]
    fn the_checksum_depends_on_every_byte_and_on_where_lines_end() {
        let sum = |lines: &[&[u8]]| {
            let mut sum = Checksum::new();
            lines.iter().for_each(|line| sum.add(line));
            sum.end()
        };
        assert_eq!(sum(&[b"ab"]), sum(&[b"ab"]));
        assert_ne!(sum(&[b"ab"]), sum(&[b"ac"]));
        assert_ne!(sum(&[b"ab", b"c"]), sum(&[b"a", b"bc"]));
    }

    #[test]
    fn a_node_has_adopted_what_all_of_its_cores_have() {
        let core = |generation| CoreAdoption { generation, ..CoreAdoption::default() };
        let report = NodeReport { cores: vec![core(5), core(4)], ..NodeReport::default() };
        assert_eq!(report.adopted(), 4);
        assert_eq!(NodeReport::default().adopted(), 0);
    }
}
