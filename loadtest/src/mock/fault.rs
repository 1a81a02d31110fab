//! What can go wrong with a model server, by name. A fault is written `name` or `name=number`.

use std::str::FromStr;

/// A kind of misbehaviour. What its number means is said with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// Ends the connection (FIN) after so many content events, without the last chunk.
    CutAfterEvents,
    /// As above, and with a chunk begun: its size line and half of its bytes.
    CutMidChunk,
    /// Resets the connection (RST) after so many content events.
    ResetAfterEvents,
    /// Says nothing more after so many content events, and keeps the connection open.
    SilentAfterEvents,
    /// Writes a chunk size that is none after so many content events, then ends the connection.
    BadChunk,
    /// Sends an in-band error event after so many content events, then ends the stream cleanly.
    ErrorEvent,
    /// Ends the connection after so many bytes of a body that is not a stream.
    CutBody,
    /// Announces so many more bytes of `Content-Length` than it sends.
    ShortBody,
    /// Sends so many bytes that nobody asked for after a body that is not a stream.
    ExtraBytes,
    /// Takes the request and never answers.
    Silent,
    /// Takes the request and ends the connection.
    Close,
    /// Takes the request and resets the connection.
    Reset,
    /// Answers as soon as the head is there, drops the body, then closes.
    Early,
    /// Stops reading after the head, for ever.
    StallRead,
    /// Sends the head one byte at a time, so many milliseconds apart.
    SlowHead,
    /// Sends a head with a field of so many bytes.
    LongHead,
    /// Ends the head's lines with LF alone.
    BareLf,
    /// Sends `100 Continue` before the answer, asked for or not.
    Continue,
    /// Sends `103 Early Hints` before the answer.
    Hints,
    /// Sends `Content-Length` and `Transfer-Encoding` both.
    BothFramings,
    /// Ends a chunked body with a trailer section.
    Trailers,
    /// Says `Connection: close` and closes.
    ConnectionClose,
    /// Closes after a complete answer without having said so: a stale pooled connection.
    CloseAfter,
}

/// Every fault: its name, and its number where none is given.
const NAMES: [(&str, FaultKind, u32); 23] = [
    ("cut-after-events", FaultKind::CutAfterEvents, 1),
    ("cut-mid-chunk", FaultKind::CutMidChunk, 1),
    ("reset-after-events", FaultKind::ResetAfterEvents, 1),
    ("silent-after-events", FaultKind::SilentAfterEvents, 1),
    ("bad-chunk", FaultKind::BadChunk, 1),
    ("error-event", FaultKind::ErrorEvent, 1),
    ("cut-body", FaultKind::CutBody, 1),
    ("short-body", FaultKind::ShortBody, 1),
    ("extra-bytes", FaultKind::ExtraBytes, 16),
    ("silent", FaultKind::Silent, 0),
    ("close", FaultKind::Close, 0),
    ("reset", FaultKind::Reset, 0),
    ("early", FaultKind::Early, 0),
    ("stall-read", FaultKind::StallRead, 0),
    ("slow-head", FaultKind::SlowHead, 10),
    ("long-head", FaultKind::LongHead, 1 << 20),
    ("bare-lf", FaultKind::BareLf, 0),
    ("continue", FaultKind::Continue, 0),
    ("hints", FaultKind::Hints, 0),
    ("both-framings", FaultKind::BothFramings, 0),
    ("trailers", FaultKind::Trailers, 0),
    ("connection-close", FaultKind::ConnectionClose, 0),
    ("close-after", FaultKind::CloseAfter, 0),
];

/// One misbehaviour, for one answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What goes wrong.
    pub kind: FaultKind,
    /// After how many, by how many, how far apart: see the kind.
    pub number: u32,
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, number) = match text.split_once('=') {
            Some((name, number)) => {
                (name, Some(number.parse().map_err(|_| format!("fault {text:?}: not a number"))?))
            }
            None => (text, None),
        };
        let known = NAMES.iter().find(|(known, ..)| *known == name);
        let (_, kind, default) = known.ok_or_else(|| format!("no such fault: {name:?}"))?;
        Ok(Self { kind: *kind, number: number.unwrap_or(*default) })
    }
}
