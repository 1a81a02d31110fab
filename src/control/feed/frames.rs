//! Lines of the feed → frames, without a socket or a file: which line stands where, and whether a frame is whole.
//!
//! The same rules hold for the feed and for the file of last good tables ([`cube_wire::feed`]).

use cube_wire::RecordError;
use cube_wire::feed::{Checksum, Frame};

/// How a frame begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Heading {
    /// Everything there is.
    Snapshot { epoch: String, generation: u64 },
    /// One transaction.
    Delta { epoch: String, base: u64, generation: u64 },
}

/// What a line is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The beginning of a frame.
    Begin(Heading),
    /// A line of the frame that has begun.
    Line,
    /// The end of the frame, which is whole.
    End,
    /// There is nothing new.
    Heartbeat { epoch: String, generation: u64 },
}

/// Why lines are no frames. Nothing of the frame that is open may be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum FrameError {
    #[error("a damaged frame line: {0}")]
    Damaged(RecordError),
    #[error("a line outside of any frame")]
    Stray,
    #[error("a frame begins inside another")]
    Nested,
    #[error("checksum or number of lines do not agree")]
    Checksum,
}

/// Where in the lines we are.
#[derive(Debug, Default)]
pub(super) struct Frames {
    open: Option<Checksum>,
}

impl Frames {
    /// Takes the next line, given without its end.
    ///
    /// # Errors
    /// See [`FrameError`]; what follows on the same connection or in the same file means nothing then.
    pub(super) fn line(&mut self, line: &[u8]) -> Result<Step, FrameError> {
        let Some(frame) = Frame::from_line(line) else {
            let sum = self.open.as_mut().ok_or(FrameError::Stray)?;
            sum.add(line);
            return Ok(Step::Line);
        };
        match (frame.map_err(FrameError::Damaged)?, self.open.take()) {
            (Frame::Snapshot { epoch, generation, .. }, None) => {
                self.open = Some(Checksum::new());
                Ok(Step::Begin(Heading::Snapshot { epoch, generation }))
            }
            (Frame::Delta { epoch, base, generation, .. }, None) => {
                self.open = Some(Checksum::new());
                Ok(Step::Begin(Heading::Delta { epoch, base, generation }))
            }
            (Frame::Heartbeat { epoch, generation, .. }, None) => Ok(Step::Heartbeat { epoch, generation }),
            (end @ Frame::End { .. }, Some(sum)) => {
                if sum.end() == end {
                    Ok(Step::End)
                } else {
                    Err(FrameError::Checksum)
                }
            }
            (Frame::End { .. }, None) => Err(FrameError::Stray),
            (Frame::Snapshot { .. } | Frame::Delta { .. } | Frame::Heartbeat { .. }, Some(_)) => {
                Err(FrameError::Nested)
            }
        }
    }

    /// The same while a frame is open: whether this is one of its lines, and not its end.
    ///
    /// # Errors
    /// As [`Frames::line`].
    pub(super) fn goes_on(&mut self, line: &[u8]) -> Result<bool, FrameError> {
        match self.line(line)? {
            Step::Line => Ok(true),
            Step::End => Ok(false),
            Step::Begin(_) | Step::Heartbeat { .. } => Err(FrameError::Nested),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(lines: &[&str]) -> Vec<Result<Step, String>> {
        let mut frames = Frames::default();
        lines.iter().map(|line| frames.line(line.as_bytes()).map_err(|error| error.to_string())).collect()
    }

    const SNAPSHOT: &str = r#"{"frame":"snapshot","epoch":"e","generation":3,"at_ms":0}"#;
    const DELTA: &str = r#"{"frame":"delta","epoch":"e","base":3,"generation":4,"at_ms":0}"#;
    const HEARTBEAT: &str = r#"{"frame":"heartbeat","epoch":"e","generation":4,"at_ms":0}"#;

    fn end_of(lines: &[&str]) -> String {
        let mut sum = Checksum::new();
        lines.iter().for_each(|line| sum.add(line.as_bytes()));
        sum.end().to_line().trim_end().to_owned()
    }

    #[test]
    fn a_frame_is_its_heading_its_lines_and_an_end_that_agrees() {
        let epoch = || "e".to_owned();
        let (end, empty) = (end_of(&["a", "b"]), end_of(&[]));
        assert_eq!(
            steps(&[SNAPSHOT, "a", "b", &end, HEARTBEAT, DELTA, &empty]),
            [
                Ok(Step::Begin(Heading::Snapshot { epoch: epoch(), generation: 3 })),
                Ok(Step::Line),
                Ok(Step::Line),
                Ok(Step::End),
                Ok(Step::Heartbeat { epoch: epoch(), generation: 4 }),
                Ok(Step::Begin(Heading::Delta { epoch: epoch(), base: 3, generation: 4 })),
                Ok(Step::End),
            ]
        );
    }

    #[test]
    fn lines_that_are_missing_doubled_changed_or_misplaced_are_found() {
        let end = end_of(&["a", "b"]);
        for lines in [
            &[SNAPSHOT, "a", &end][..],
            &[SNAPSHOT, "a", "b", "b", &end],
            &[SNAPSHOT, "a", "c", &end],
            &[SNAPSHOT, "ab", &end],
            &[SNAPSHOT, "a", DELTA],
            &[SNAPSHOT, HEARTBEAT],
            &["a"],
            &[&end],
            &[r#"{"frame":"surprise"}"#],
        ] {
            let last = steps(lines).pop().expect("a step for each line");
            assert!(last.is_err(), "{lines:?}: {last:?}");
        }
    }
}
