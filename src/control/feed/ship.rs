//! Spooled usage → admin: oldest first, in batches, until admin has said that they are stored.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use super::Figures;
use super::backoff::Backoff;
use super::client::{Admin, Poster};
use super::spool::{BATCH_LINES_MAX, Outgoing, Segment};

/// How long a few lines wait for more, so that a post does not carry one.
const GATHER: Duration = Duration::from_millis(100);

/// The thread's belongings.
pub(super) struct Shipper {
    admin: Arc<Admin>,
    node: String,
    /// Segments that are not being sent yet, oldest first.
    waiting: VecDeque<Segment>,
    sending: Option<Outgoing>,
    /// Lines of the next batch: halved when admin refuses one as a whole, so that one bad line does not keep the others.
    lines_max: usize,
    figures: Arc<Figures>,
    backoff: Backoff,
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shipped {
    /// Admin has it.
    Stored,
    /// Admin will never take it as it is.
    Refused,
    /// Not now.
    Later,
}

/// What a status says of a batch.
const fn meaning(status: u16) -> Shipped {
    match status {
        200..=299 => Shipped::Stored,
        // The lines are at fault, not the key, the path or the moment.
        400 | 413 | 422 => Shipped::Refused,
        _ => Shipped::Later,
    }
}

impl Shipper {
    pub(super) fn new(
        admin: Arc<Admin>,
        node: &str,
        left: Vec<Segment>,
        figures: Arc<Figures>,
        backoff: Backoff,
    ) -> Self {
        Self {
            admin,
            node: node.to_owned(),
            waiting: left.into(),
            sending: None,
            lines_max: BATCH_LINES_MAX,
            figures,
            backoff,
        }
    }

    /// Sends until nobody spools any more and everything is sent.
    pub(super) fn run(mut self, news: &Receiver<Segment>) {
        let mut poster = Poster::new();
        let mut open = true;
        loop {
            open &= self.learn(news);
            while let Some(batch) = self.next_batch() {
                if !self.ship(&mut poster, &batch) {
                    self.backoff.sleep();
                }
                open &= self.learn_now(news);
            }
            if !open {
                return;
            }
            std::thread::sleep(GATHER);
        }
    }

    /// Waits for news if there is nothing to do. `false`: there will be none.
    fn learn(&mut self, news: &Receiver<Segment>) -> bool {
        match news.recv_timeout(GATHER) {
            Ok(segment) => {
                self.grown(segment);
                self.learn_now(news)
            }
            Err(error) => error == RecvTimeoutError::Timeout,
        }
    }

    fn learn_now(&mut self, news: &Receiver<Segment>) -> bool {
        loop {
            match news.try_recv() {
                Ok(segment) => self.grown(segment),
                Err(error) => return error == std::sync::mpsc::TryRecvError::Empty,
            }
        }
    }

    fn grown(&mut self, segment: Segment) {
        if let Some(sending) = &mut self.sending
            && sending.segment.path == segment.path
        {
            sending.segment = segment;
        } else if let Some(waiting) = self.waiting.iter_mut().find(|other| other.path == segment.path) {
            *waiting = segment;
        } else {
            self.waiting.push_back(segment);
        }
    }

    /// The next lines, from the oldest segment that has any.
    fn next_batch(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(sending) = self.sending.take_if(|sending| sending.is_over()) {
                sending.remove();
            }
            if self.sending.is_none() {
                let oldest = self.waiting.pop_front()?;
                let bytes = oldest.bytes;
                match Outgoing::open(oldest) {
                    Ok(outgoing) => self.sending = Some(outgoing),
                    // Somebody took the file away; what was in it is gone.
                    Err(_) => drop(self.figures.spool_bytes.fetch_sub(bytes, Ordering::Relaxed)),
                }
                continue;
            }
            let sending = self.sending.as_mut()?;
            match sending.batch(self.lines_max) {
                Ok(batch) if batch.is_empty() && sending.is_over() => {}
                Ok(batch) if batch.is_empty() => return None,
                Ok(batch) => return Some(batch),
                // Unreadable: nothing can be done for what is left of it. It stays on disk for whoever wants to look.
                Err(_) => self.give_up(),
            }
        }
    }

    fn give_up(&mut self) {
        if let Some(sending) = self.sending.take() {
            self.figures.usage_refused.fetch_add(1, Ordering::Relaxed);
            self.figures.spool_bytes.fetch_sub(sending.left(), Ordering::Relaxed);
        }
    }

    /// Sends one batch. `false`: it has to be tried again, after a while.
    fn ship(&mut self, poster: &mut Poster, batch: &[u8]) -> bool {
        let Some(sending) = &mut self.sending else { return true };
        let target = format!("/feed/v1/usage?node={}&boot={}", self.node, sending.segment.boot);
        let shipped = match poster.post(&self.admin, &target, "application/x-ndjson", batch) {
            Ok(status) => meaning(status),
            Err(_) => Shipped::Later,
        };
        let lines = memchr::memchr_iter(b'\n', batch).count();
        match shipped {
            Shipped::Later => return false,
            Shipped::Refused if lines > 1 => {
                self.lines_max = lines / 2;
                return true;
            }
            Shipped::Refused => drop(self.figures.usage_refused.fetch_add(1, Ordering::Relaxed)),
            Shipped::Stored => {
                self.figures.usage_sent.fetch_add(lines as u64, Ordering::Relaxed);
                self.lines_max = (self.lines_max * 2).min(BATCH_LINES_MAX);
            }
        }
        sending.acknowledged(batch.len());
        self.figures.spool_bytes.fetch_sub(batch.len() as u64, Ordering::Relaxed);
        self.backoff.reset();
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_status_that_blames_the_lines_gives_them_up() {
        for (status, shipped) in [
            (204, Shipped::Stored),
            (200, Shipped::Stored),
            (400, Shipped::Refused),
            (422, Shipped::Refused),
            (401, Shipped::Later),
            (404, Shipped::Later),
            (429, Shipped::Later),
            (500, Shipped::Later),
            (503, Shipped::Later),
        ] {
            assert_eq!(meaning(status), shipped, "{status}");
        }
    }
}
