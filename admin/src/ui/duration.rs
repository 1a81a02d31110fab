//! How long a credential is to be good, as forms ask for it: presets, or a last day.

use std::time::Duration;

use super::form::Form;
use super::view::{Choice, stamp};
use crate::clock::{Moment, parse_moment};

/// What `duration.html` offers.
pub(super) struct Durations {
    pub(super) choices: Vec<Choice>,
    pub(super) days_max: u64,
    /// The first day to choose, as a date field wants it.
    pub(super) today: String,
}

impl Durations {
    /// The presets, as far as the settings allow them.
    pub(super) fn up_to(lifetime_max: Duration) -> Self {
        let days_max = lifetime_max.as_secs() / 86_400;
        let presets = [(7, "7 days"), (30, "30 days"), (90, "90 days"), (180, "180 days"), (365, "1 year")];
        let fitting = presets.iter().filter(|(days, _)| *days <= days_max);
        let mut choices: Vec<Choice> =
            fitting.map(|(days, label)| Choice::new(format!("{days}d"), *label)).collect();
        choices.push(Choice::new("custom", "Until a date…"));
        Self { choices, days_max, today: stamp(Moment::now(), "%Y-%m-%d") }
    }
}

/// What a form says of the duration, as the API writes it. A date is the last day on which the credential is good.
pub(super) fn duration_of(form: &mut Form) -> Option<String> {
    let preset = form.text("duration");
    if preset != "custom" {
        return Some(preset);
    }
    let until = parse_moment(&format!("{}T00:00:00Z", form.text("until")));
    let end = until.map(|day| (day.0 + 86_400_000 - Moment::now().0) / 1000);
    match end {
        Some(seconds @ 1..) => Some(format!("{seconds}s")),
        Some(_) => {
            form.wrong("until", "This day is over. Choose a later one.");
            None
        }
        None => {
            form.wrong("until", "Choose the last day on which it is to be good.");
            None
        }
    }
}
