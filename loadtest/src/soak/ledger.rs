//! The access log against what the callers saw: every request once, with the ending that its caller saw.

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Write as _;
use std::path::Path;

/// The access log's file name.
pub(super) const LOG: &str = "access.log";
/// Its name when it has been rotated away.
pub(super) const ROTATED: &str = "access.log.1";
/// All of it in one file, when it is to be kept.
const WHOLE: &str = "access.whole.log";
/// Faults that are told in words; the rest is counted.
const TOLD: usize = 20;

/// `ending` of an access line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Ending {
    Complete,
    Refused,
    UpstreamFailed,
    UpstreamCut,
    CallerGone,
    CallerTimeout,
    UpstreamTimeout,
    Drained,
    Abandoned,
}

/// What we read of an access line.
#[derive(Clone, Debug, Deserialize)]
struct Line {
    request_id: String,
    status: u16,
    ending: Ending,
    attempts: u32,
    #[serde(default)]
    completion_tokens: Option<u64>,
    #[serde(default)]
    estimated: bool,
}

/// What we keep of it: a long run has a million.
#[derive(Clone, Copy, Debug)]
struct Entry {
    ending: Ending,
    status: u16,
    sent: bool,
    /// Usage as the upstream told it, at its end.
    completion_tokens: Option<u64>,
}

/// What the log has to say of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    /// The caller saw it complete; of a stream the usage is known.
    Complete { completion_tokens: Option<u64> },
    /// The caller left in the middle. If it was slow to leave, the proxy may have been done.
    Left,
    /// The caller left before anything came.
    LeftUnanswered,
    /// The upstream cut it.
    Cut,
    /// It was answered with 200.
    Answered,
    /// It was refused.
    Refused,
    /// It failed, which is told elsewhere; it is recorded all the same.
    Any,
}

impl Expected {
    fn fits(self, entry: &Entry) -> bool {
        let Entry { ending, status, completion_tokens, .. } = *entry;
        let complete = ending == Ending::Complete && status == 200;
        match self {
            Self::Complete { completion_tokens: None } | Self::Answered => complete,
            Self::Complete { completion_tokens: wanted } => complete && completion_tokens == wanted,
            Self::Left => {
                (ending == Ending::CallerGone && status == 200) || (complete && completion_tokens.is_some())
            }
            Self::LeftUnanswered => ending == Ending::CallerGone && status == 499,
            Self::Cut => ending == Ending::UpstreamCut && status == 200,
            Self::Refused => ending == Ending::Refused && matches!(status, 401 | 404),
            Self::Any => true,
        }
    }
}

/// All access lines, by the name of their requests.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    entries: HashMap<Box<str>, Vec<Option<Entry>>>,
    lines: u64,
    endings: BTreeMap<Ending, u64>,
    doubled: u64,
    strange: u64,
    faults: Vec<String>,
    /// Where what was read is kept.
    whole: Option<File>,
}

/// The ledger against the callers.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Books {
    /// Access lines.
    pub(super) lines: u64,
    /// Requests that callers and probes began.
    pub(super) requests: u64,
    /// Requests with more than one line.
    pub(super) doubled: u64,
    /// Requests without a line.
    pub(super) missing: u64,
    /// Lines of requests that nobody began, and lines that are none.
    pub(super) strange: u64,
    /// Requests whose ending is not what their caller saw.
    pub(super) inconsistent: u64,
    /// Callers that left too late: the proxy had sent everything.
    pub(super) left_when_whole: u64,
    /// Requests that went to the mock.
    pub(super) sent: u64,
    /// … and whose callers left before the answer, so that the mock may never have read them.
    pub(super) sent_unanswered: u64,
    pub(super) endings: BTreeMap<Ending, u64>,
    /// Some of the faults in words.
    pub(super) faults: Vec<String>,
}

impl Ledger {
    /// An empty one; what an earlier run may have left in the directory is removed.
    ///
    /// * `keep`: everything that is read is put together there.
    pub(super) fn open(directory: &Path, keep: bool) -> Result<Self> {
        for name in [LOG, ROTATED, WHOLE] {
            let file = directory.join(name);
            if file.exists() {
                std::fs::remove_file(file).context("cannot remove an earlier log")?;
            }
        }
        let whole = if keep { Some(File::create(directory.join(WHOLE))?) } else { None };
        Ok(Self { whole, ..Self::default() })
    }

    /// Reads the rotated file, if there is one, and removes it.
    pub(super) fn read_rotated(&mut self, directory: &Path) -> Result<()> {
        let rotated = directory.join(ROTATED);
        if rotated.exists() {
            self.take(&std::fs::read(&rotated)?)?;
            std::fs::remove_file(&rotated).context("cannot remove the rotated log")?;
        }
        Ok(())
    }

    /// Reads what is left once the proxy has ended.
    pub(super) fn read_rest(&mut self, directory: &Path) -> Result<()> {
        self.read_rotated(directory)?;
        let log = directory.join(LOG);
        if log.exists() {
            self.take(&std::fs::read(log)?)?;
        }
        Ok(())
    }

    fn take(&mut self, log: &[u8]) -> Result<()> {
        if let Some(whole) = &mut self.whole {
            whole.write_all(log).context("cannot keep the log")?;
        }
        self.read(log);
        Ok(())
    }

    fn read(&mut self, log: &[u8]) {
        for line in log.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            match serde_json::from_slice(line) {
                Ok(line) => self.enter(&line),
                Err(error) => {
                    self.strange += 1;
                    self.fault(format!("{error}: {}", String::from_utf8_lossy(line)));
                }
            }
        }
    }

    fn enter(&mut self, line: &Line) {
        self.lines += 1;
        *self.endings.entry(line.ending).or_default() += 1;
        let name = line.request_id.rsplit_once('-');
        let Some((prefix, number)) = name.and_then(|(prefix, number)| Some((prefix, number.parse().ok()?)))
        else {
            self.strange += 1;
            return self.fault(format!("nobody's request: {line:?}"));
        };
        let number: usize = number;
        if !self.entries.contains_key(prefix) {
            self.entries.insert(prefix.into(), Vec::new());
        }
        let of_prefix = self.entries.get_mut(prefix).expect("inserted above");
        if number >= of_prefix.len() {
            of_prefix.resize(number + 1, None);
        }
        let entry = Entry {
            ending: line.ending,
            status: line.status,
            sent: line.attempts > 0,
            completion_tokens: line.completion_tokens.filter(|_| !line.estimated),
        };
        if of_prefix[number].replace(entry).is_some() {
            self.doubled += 1;
            self.fault(format!("{} has a second line", line.request_id));
        }
    }

    fn fault(&mut self, fault: String) {
        if self.faults.len() < TOLD {
            self.faults.push(fault);
        }
    }

    /// Compares: `expected` has a prefix, and what is expected of its requests by number.
    pub(super) fn balance(mut self, expected: &[(&str, Vec<Expected>)]) -> Books {
        let mut books = Books { lines: self.lines, doubled: self.doubled, ..Books::default() };
        for (prefix, requests) in expected {
            let entries = self.entries.remove(*prefix).unwrap_or_default();
            books.requests += requests.len() as u64;
            let strangers = entries.iter().skip(requests.len()).flatten().count();
            if strangers > 0 {
                books.strange += strangers as u64;
                self.fault(format!("{strangers} lines of {prefix} too many"));
            }
            for (number, expected) in requests.iter().enumerate() {
                let Some(entry) = entries.get(number).copied().flatten() else {
                    books.missing += 1;
                    self.fault(format!("{prefix}-{number} ({expected:?}) has no line"));
                    continue;
                };
                let gone = entry.ending == Ending::CallerGone;
                books.sent += u64::from(entry.sent);
                books.sent_unanswered += u64::from(entry.sent && gone && entry.status == 499);
                books.left_when_whole += u64::from(*expected == Expected::Left && !gone);
                if !expected.fits(&entry) {
                    books.inconsistent += 1;
                    self.fault(format!("{prefix}-{number} ({expected:?}) is recorded as {entry:?}"));
                }
            }
        }
        let strangers: usize = self.entries.values().map(|entries| entries.iter().flatten().count()).sum();
        books.strange += self.strange + strangers as u64;
        books.endings = self.endings;
        books.faults = self.faults;
        books
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMPLETE: Expected = Expected::Complete { completion_tokens: Some(3) };

    fn line(id: &str, status: u16, ending: &str) -> String {
        format!(
            "{{\"request_id\":\"{id}\",\"status\":{status},\"ending\":\"{ending}\",\"attempts\":1,\
             \"completion_tokens\":3}}\n"
        )
    }

    fn books(lines: &[String], expected: &[Expected]) -> Books {
        let mut ledger = Ledger::default();
        ledger.read(lines.concat().as_bytes());
        ledger.balance(&[("a", expected.to_vec())])
    }

    #[test]
    fn books_balance_when_every_request_is_there_once_with_the_ending_that_its_caller_saw() {
        let lines = [
            line("a-1", 499, "caller_gone"),
            line("a-0", 200, "complete"),
            line("a-3", 200, "upstream_cut"),
            line("a-2", 200, "caller_gone"),
        ];
        let books = books(&lines, &[COMPLETE, Expected::LeftUnanswered, Expected::Left, Expected::Cut]);
        assert_eq!((books.lines, books.requests, books.sent, books.sent_unanswered), (4, 4, 4, 1));
        assert_eq!(
            (books.missing, books.doubled, books.strange, books.inconsistent),
            (0, 0, 0, 0),
            "{books:?}"
        );
    }

    #[test]
    fn what_is_missing_doubled_strange_or_otherwise_is_told_apart() {
        let complete = || line("a-0", 200, "complete");
        let counts = |lines: &[String], expected: &[Expected]| {
            let books = books(lines, expected);
            (books.missing, books.doubled, books.strange, books.inconsistent)
        };
        let one = [COMPLETE];
        assert_eq!(counts(&[], &one), (1, 0, 0, 0));
        assert_eq!(counts(&[complete(), complete()], &one), (0, 1, 0, 0));
        assert_eq!(counts(&[complete(), line("b-0", 200, "complete")], &one), (0, 0, 1, 0));
        assert_eq!(counts(&[complete(), line("a-1", 200, "complete")], &one), (0, 0, 1, 0));
        assert_eq!(counts(&[complete(), "{\"half".to_owned()], &one), (0, 0, 1, 0));
        assert_eq!(counts(&[complete()], &[Expected::Cut]), (0, 0, 0, 1));
        assert_eq!(counts(&[line("a-0", 200, "upstream_cut")], &one), (0, 0, 0, 1));
        assert_eq!(counts(&[complete()], &[Expected::Complete { completion_tokens: Some(4) }]), (0, 0, 0, 1));
    }
}
