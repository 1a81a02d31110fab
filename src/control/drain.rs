//! Ending: readiness says no, then nothing new is accepted, then what streams may finish, up to a deadline.

use std::time::{Duration, Instant};

use super::event::{Ended, Event};
use super::feed::NodeNews;
use super::signals::SignalStream;
use super::state::State;
use crate::cores::CoreMessage;

/// How often the cores are asked whether anything is still open.
const POLL: Duration = Duration::from_millis(50);
/// The same after they were told to cut what is left.
const CUT_POLL: Duration = Duration::from_millis(5);
/// How long the end waits for the records of what was cut. Cut connections are gone within milliseconds, unless the machine is very busy.
const LAST_RECORDS: Duration = Duration::from_secs(2);

impl State {
    /// Drains every core; returns when all connections have ended, the deadline has come, or `again` signals.
    pub(super) async fn drain(&self, again: &mut SignalStream) -> Ended {
        let began = Instant::now();
        self.draining.set(true);
        self.report(NodeNews::Draining);
        self.send_all(|| CoreMessage::Drain);
        let connections = self.open_connections().await;
        self.tell(&Event::Draining { connections });

        let drain = &self.settings.drain;
        let finish = async {
            sleep_until(began + drain.min).await;
            self.send_all(|| CoreMessage::StopAccepting);
            while self.open_connections().await > 0 {
                monoio::time::sleep(POLL).await;
            }
        };
        let in_time = monoio::select! {
            () = finish => true,
            () = sleep_until(began + drain.deadline) => false,
            () = again.next() => false,
        };
        if in_time {
            return Ended::Drained;
        }
        match self.open_connections().await {
            0 => Ended::Drained,
            connections => {
                self.send_all(|| CoreMessage::Cut);
                Ended::Cut { connections }
            }
        }
    }

    /// Waits until nothing is open any more, but not for ever: a core that says so has handed over its records.
    pub(super) async fn last_records(&self) {
        let gone = async {
            while self.open_connections().await > 0 {
                monoio::time::sleep(CUT_POLL).await;
            }
        };
        monoio::select! {
            () = gone => {}
            () = monoio::time::sleep(LAST_RECORDS) => {}
        }
    }

    fn send_all(&self, message: impl Fn() -> CoreMessage) {
        for core in &self.cores {
            let _ = core.send(message());
        }
    }

    /// Open connections of all cores that answer; a core that does not answer counts as one, so that it is waited for.
    async fn open_connections(&self) -> u64 {
        let open = |report: &Option<crate::meter::CoreReport>| {
            report.as_ref().map_or(1, |report| report.open_connections)
        };
        self.reports().await.iter().map(open).sum()
    }
}

async fn sleep_until(moment: Instant) {
    monoio::time::sleep(moment.saturating_duration_since(Instant::now())).await;
}
