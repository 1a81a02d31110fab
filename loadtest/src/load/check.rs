//! Checks one stream as it arrives: every number once and in order, usage if and only if it was asked for, `[DONE]`.

use super::tally::Tally;
use memchr::memmem;

/// What marks a stamp: the start of a text that starts with `#`.
const STAMP: &[u8] = b":\"#";
/// Digits of the number, `@`, digits of the send time.
const DIGITS: usize = 8 + 1 + 16;

/// What is expected of a stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected {
    /// Numbered events; `None`: a real model's stream, whose events are only counted.
    pub(super) events: Option<u32>,
    pub(super) usage: bool,
    /// NDJSON: lines instead of server-sent events.
    pub(super) ndjson: bool,
}

/// How a stream that ended cleanly was wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    NoDone,
    Short,
    UsageMissing,
    UsageUnasked,
    AfterDone,
}

impl Wrong {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::NoDone => "no_done",
            Self::Short => "events_missing",
            Self::UsageMissing => "usage_missing",
            Self::UsageUnasked => "usage_unasked",
            Self::AfterDone => "events_after_done",
        }
    }
}

/// State between reads of one stream.
#[derive(Debug, Default)]
pub(super) struct Check {
    /// The front of an event whose end has not come yet.
    part: Vec<u8>,
    /// The number that comes next.
    next: u32,
    /// Content events, whatever their numbers.
    pub(super) events: u32,
    /// Where the last event's stamp was: the next one's is there too.
    stamp_at: usize,
    last_arrival: Option<u64>,
    done: bool,
    usage: bool,
    after_done: bool,
    /// An in-band error event came.
    pub(super) error_event: bool,
}

impl Check {
    pub(super) fn reset(&mut self) {
        let part = std::mem::take(&mut self.part);
        *self = Self { part, ..Self::default() };
        self.part.clear();
    }

    /// Takes body bytes that arrived at `now`.
    pub(super) fn feed(&mut self, expected: Expected, mut bytes: &[u8], now: u64, tally: &mut Tally) {
        let separator: &[u8] = if expected.ndjson { b"\n" } else { b"\n\n" };
        if !self.part.is_empty() {
            // The separator itself may be cut, so it is looked for in the joined bytes.
            let mut part = std::mem::take(&mut self.part);
            let from = part.len().saturating_sub(1);
            part.extend_from_slice(bytes);
            match memmem::find(&part[from..], separator) {
                Some(at) => {
                    let end = from + at + separator.len();
                    let taken = bytes.len() - (part.len() - end);
                    self.event(expected, &part[..end], now, tally);
                    bytes = &bytes[taken..];
                    part.clear();
                    self.part = part;
                }
                None => {
                    self.part = part;
                    return;
                }
            }
        }
        while let Some(at) = memmem::find(bytes, separator) {
            let end = at + separator.len();
            self.event(expected, &bytes[..end], now, tally);
            bytes = &bytes[end..];
        }
        self.part.extend_from_slice(bytes);
    }

    fn event(&mut self, expected: Expected, event: &[u8], now: u64, tally: &mut Tally) {
        if self.done {
            self.after_done = true;
        }
        if let Some((number, sent)) = self.stamp(event) {
            self.content(now, tally);
            self.number(number, tally);
            tally.one_way.record(now.saturating_sub(sent));
            return;
        }
        let is_comment = event.starts_with(b":");
        let done = if expected.ndjson {
            memmem::find(event, b"\"done\":true").is_some()
        } else {
            event.starts_with(b"data: [DONE]") || memmem::find(event, b"response.completed").is_some()
        };
        self.done |= done;
        self.usage |=
            memmem::find(event, b"\"usage\":{").is_some() || memmem::find(event, b"\"eval_count\"").is_some();
        self.error_event |= memmem::find(event, b"\"error\"").is_some();
        if expected.events.is_none() && !done && !is_comment && event.len() > 2 {
            self.content(now, tally);
        }
    }

    fn content(&mut self, now: u64, tally: &mut Tally) {
        self.events += 1;
        tally.events += 1;
        if let Some(last) = self.last_arrival.replace(now) {
            tally.gap.record(now - last);
        }
    }

    fn number(&mut self, number: u32, tally: &mut Tally) {
        if number == self.next {
            self.next += 1;
        } else if number > self.next {
            tally.lost += u64::from(number - self.next);
            self.next = number + 1;
        } else if number + 1 == self.next {
            tally.duplicated += 1;
        } else {
            // It was counted as lost when a later one came.
            tally.reordered += 1;
        }
    }

    fn stamp(&mut self, event: &[u8]) -> Option<(u32, u64)> {
        let here = event.get(self.stamp_at..self.stamp_at + STAMP.len()) == Some(STAMP);
        if !here {
            self.stamp_at = memmem::find(event, STAMP)?;
        }
        let digits = event.get(self.stamp_at + STAMP.len()..)?.get(..DIGITS)?;
        let number = decimal(&digits[..8])?;
        (digits[8] == b'@').then_some((u32::try_from(number).ok()?, decimal(&digits[9..])?))
    }

    /// The body has ended cleanly: what is wrong with the stream, if anything.
    pub(super) fn verdict(&self, expected: Expected) -> Option<Wrong> {
        if !self.done {
            Some(Wrong::NoDone)
        } else if self.after_done {
            Some(Wrong::AfterDone)
        } else if expected.events.is_some_and(|events| events != self.events) {
            Some(Wrong::Short)
        } else if expected.usage && !self.usage {
            Some(Wrong::UsageMissing)
        } else if !expected.usage && self.usage && !expected.ndjson {
            // Ollama tells it always.
            Some(Wrong::UsageUnasked)
        } else {
            None
        }
    }
}

fn decimal(digits: &[u8]) -> Option<u64> {
    digits
        .iter()
        .try_fold(0_u64, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + u64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPECTED: Expected = Expected { events: Some(3), usage: true, ndjson: false };

    fn event(number: u32) -> String {
        format!("data: {{\"delta\":{{\"content\":\"#{number:08}@0000000000000100xx\"}}}}\n\n")
    }

    fn checked(numbers: &[u32], tail: &str, cut: usize) -> (Check, Tally) {
        let mut wire: String = numbers.iter().map(|number| event(*number)).collect();
        wire.push_str(tail);
        let (mut check, mut tally) = (Check::default(), Tally::default());
        let cut = cut.min(wire.len());
        check.feed(EXPECTED, &wire.as_bytes()[..cut], 200, &mut tally);
        check.feed(EXPECTED, &wire.as_bytes()[cut..], 300, &mut tally);
        (check, tally)
    }

    const TAIL: &str = "data: {\"choices\":[],\"usage\":{\"completion_tokens\":3}}\n\ndata: [DONE]\n\n";

    #[test]
    fn a_whole_stream_is_right_wherever_reads_cut_it() {
        let length = 3 * event(0).len() + TAIL.len();
        for cut in 0..=length {
            let (check, tally) = checked(&[0, 1, 2], TAIL, cut);
            assert_eq!(check.verdict(EXPECTED), None, "cut at {cut}");
            assert_eq!((tally.events, tally.lost, tally.duplicated, tally.reordered), (3, 0, 0, 0));
            assert_eq!(tally.one_way.count(), 3);
        }
    }

    #[test]
    fn a_lost_a_doubled_and_a_late_event_are_told_apart() {
        let counts = |numbers: &[u32]| {
            let (_, tally) = checked(numbers, TAIL, 10);
            (tally.lost, tally.duplicated, tally.reordered)
        };
        assert_eq!(counts(&[0, 2]), (1, 0, 0));
        assert_eq!(counts(&[0, 1, 1, 2]), (0, 1, 0));
        assert_eq!(counts(&[0, 2, 3, 1]), (1, 0, 1));
    }

    #[test]
    fn a_stream_without_its_end_its_usage_or_all_of_its_events_is_wrong() {
        let verdict = |numbers: &[u32], tail: &str| checked(numbers, tail, 50).0.verdict(EXPECTED);
        assert_eq!(verdict(&[0, 1, 2], ""), Some(Wrong::NoDone));
        assert_eq!(verdict(&[0, 1], TAIL), Some(Wrong::Short));
        assert_eq!(verdict(&[0, 1, 2], "data: [DONE]\n\n"), Some(Wrong::UsageMissing));
        assert_eq!(verdict(&[0, 1, 2], "data: [DONE]\n\ndata: {}\n\n"), Some(Wrong::AfterDone));
    }
}
