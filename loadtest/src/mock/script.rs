//! How an answer is to be made: counts, sizes, pace, faults. The flags of `cube-mock` give the default; the `x-mock-…`
//! fields of a request override it for that answer, under the same names (`--pace-us 500`, `x-mock-pace-us: 500`).

use super::fault::{Fault, FaultKind};
use std::str::FromStr;

/// Largest number of bytes that a script may ask for in one body or event.
const BYTES_MAX: u32 = 1 << 30;

/// How the end of a body is marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Framing {
    /// `Transfer-Encoding: chunked`; the default of streams.
    Chunked,
    /// `Content-Length`; the default of everything else.
    Length,
    /// Neither: the body ends with the connection.
    Close,
}

impl FromStr for Framing {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "chunked" => Ok(Self::Chunked),
            "length" | "content-length" => Ok(Self::Length),
            "close" | "close-delimited" => Ok(Self::Close),
            _ => Err(format!("framing is chunked, length or close, not {text:?}")),
        }
    }
}

/// One answer's recipe.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
pub struct Script {
    /// Numbered, stamped content events per stream. Without it: a small readable text, word by word.
    #[arg(long)]
    pub events: Option<u32>,
    /// Size of a numbered event in bytes, `data: ` and blank line included; a shorter one is padded.
    #[arg(long, default_value_t = 220)]
    pub event_bytes: u32,
    /// Numbered events that leave in one write.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub events_per_write: u32,
    /// Time between two writes of a stream in microseconds; 0: as fast as the caller reads.
    #[arg(long, default_value_t = 0)]
    pub pace_us: u64,
    /// Silence before the answer's head, in milliseconds.
    #[arg(long, default_value_t = 0)]
    pub first_delay_ms: u64,
    /// Silence between the head and the first event (or the body), in milliseconds.
    #[arg(long, default_value_t = 0)]
    pub event_delay_ms: u64,
    /// Size of an answer that is not a stream, in bytes; a shorter one is padded.
    #[arg(long)]
    pub body_bytes: Option<u32>,
    /// Status of the answer; from 400 on the body is an error in the dialect of the path.
    #[arg(long, default_value_t = 200)]
    pub status: u16,
    /// Framing, instead of chunked for streams and length for the rest.
    #[arg(long)]
    pub framing: Option<Framing>,
    /// Cuts the body into chunks of so many bytes, wherever events end.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub chunk_bytes: Option<u32>,
    /// Sends at most so many bytes per write, `write-gap-us` apart.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub write_bytes: Option<u32>,
    /// Time between two writes of `write-bytes`, in microseconds.
    #[arg(long, default_value_t = 0)]
    pub write_gap_us: u64,
    /// `prompt_tokens` of the usage.
    #[arg(long, default_value_t = 9)]
    pub prompt_tokens: u32,
    /// Leaves the usage out, asked for or not.
    #[arg(long)]
    pub no_usage: bool,
    /// Answers with a JSON account of the request as it arrived.
    #[arg(long)]
    pub echo: bool,
    /// Faults, comma separated; see `loadtest/README.md`.
    #[arg(long = "fault", value_delimiter = ',')]
    pub faults: Vec<Fault>,
    /// Further response fields, `name: value`.
    #[arg(long = "field")]
    pub fields: Vec<String>,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            events: None,
            event_bytes: 220,
            events_per_write: 1,
            pace_us: 0,
            first_delay_ms: 0,
            event_delay_ms: 0,
            body_bytes: None,
            status: 200,
            framing: None,
            chunk_bytes: None,
            write_bytes: None,
            write_gap_us: 0,
            prompt_tokens: 9,
            no_usage: false,
            echo: false,
            faults: Vec::new(),
            fields: Vec::new(),
        }
    }
}

impl Script {
    /// Applies one `x-mock-…` field; `name` is what follows the prefix, in any case.
    ///
    /// # Errors
    /// No such knob, or a value that it does not take; the text says which.
    pub fn set(&mut self, name: &[u8], value: &[u8]) -> Result<(), String> {
        let name = String::from_utf8_lossy(name).to_ascii_lowercase();
        let value = std::str::from_utf8(value).map_err(|_| format!("x-mock-{name}: not UTF-8"))?;
        match name.as_str() {
            "events" => self.events = Some(number(&name, value)?),
            "event-bytes" => self.event_bytes = number(&name, value)?,
            "events-per-write" => self.events_per_write = number::<u32>(&name, value)?.max(1),
            "pace-us" => self.pace_us = number(&name, value)?,
            "first-delay-ms" => self.first_delay_ms = number(&name, value)?,
            "event-delay-ms" => self.event_delay_ms = number(&name, value)?,
            "body-bytes" => self.body_bytes = Some(number(&name, value)?),
            "status" => self.status = number(&name, value)?,
            "framing" => self.framing = Some(value.parse()?),
            "chunk-bytes" => self.chunk_bytes = Some(number::<u32>(&name, value)?.max(1)),
            "write-bytes" => self.write_bytes = Some(number::<u32>(&name, value)?.max(1)),
            "write-gap-us" => self.write_gap_us = number(&name, value)?,
            "prompt-tokens" => self.prompt_tokens = number(&name, value)?,
            "no-usage" => self.no_usage = truth(value),
            "echo" => self.echo = truth(value),
            "fault" => {
                for fault in value.split(',').map(str::trim).filter(|text| !text.is_empty()) {
                    self.faults.push(fault.parse()?);
                }
            }
            "field" => self.fields.push(value.to_owned()),
            _ => return Err(format!("x-mock-{name}: no such knob")),
        }
        self.check()
    }

    fn check(&self) -> Result<(), String> {
        if self.event_bytes > BYTES_MAX || self.body_bytes.is_some_and(|bytes| bytes > BYTES_MAX) {
            return Err(format!("sizes are at most {BYTES_MAX} bytes"));
        }
        if !(200..=599).contains(&self.status) {
            return Err(format!("status {} is no final status", self.status));
        }
        Ok(())
    }

    /// The number of the fault of this kind, if it is asked for.
    pub(super) fn fault(&self, kind: FaultKind) -> Option<u32> {
        self.faults.iter().find(|fault| fault.kind == kind).map(|fault| fault.number)
    }

    /// Whether a fault of this kind is asked for.
    pub(super) fn has(&self, kind: FaultKind) -> bool {
        self.fault(kind).is_some()
    }
}

fn number<T: FromStr>(name: &str, value: &str) -> Result<T, String> {
    value.parse().map_err(|_| format!("x-mock-{name}: {value:?} is not a number in range"))
}

fn truth(value: &str) -> bool {
    matches!(value, "" | "1" | "true" | "yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_overrides_the_flag_of_the_same_name() {
        let mut script = Script::default();
        script.set(b"Events", b"7").unwrap();
        script.set(b"fault", b"cut-after-events=3, extra-bytes=4").unwrap();
        assert_eq!(script.events, Some(7));
        assert_eq!(script.fault(FaultKind::CutAfterEvents), Some(3));
        assert_eq!(script.fault(FaultKind::ExtraBytes), Some(4));
    }

    #[test]
    fn an_unknown_knob_and_a_bad_value_are_told_by_name() {
        let mut script = Script::default();
        assert!(script.set(b"evnts", b"7").unwrap_err().contains("x-mock-evnts"));
        assert!(script.set(b"events", b"-1").unwrap_err().contains("x-mock-events"));
        assert!(script.set(b"status", b"100").is_err());
    }
}
