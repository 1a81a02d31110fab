//! A period as the fewest weeks, days and hours that make it up.
//!
//! Pure: no database, no clock. Steps are counted from the beginning of Unix time, so that weeks begin on Thursdays; nobody sees them.

/// How long the times are that a row of sums is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    /// An hour.
    Hour,
    /// A day (UTC).
    Day,
    /// Seven days.
    Week,
}

impl Step {
    /// In milliseconds.
    pub(super) const fn ms(self) -> i64 {
        match self {
            Self::Hour => 3_600_000,
            Self::Day => 86_400_000,
            Self::Week => 604_800_000,
        }
    }

    const fn finer(self) -> Option<Self> {
        match self {
            Self::Hour => None,
            Self::Day => Some(Self::Hour),
            Self::Week => Some(Self::Day),
        }
    }

    /// The beginning of the step that a moment is in.
    pub(super) const fn floor(self, at_ms: i64) -> i64 {
        at_ms - at_ms.rem_euclid(self.ms())
    }

    const fn ceil(self, at_ms: i64) -> i64 {
        self.floor(at_ms.saturating_add(self.ms() - 1))
    }
}

/// Steps of one length that begin from `from` on and before `to`; `None`: without a bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) step: Step,
    pub(super) from: Option<i64>,
    pub(super) to: Option<i64>,
}

/// The parts of a period, the earliest first: five at most, and none shorter or longer than said.
///
/// * `from`: the hour with this moment is the first; `None`: everything before `to`.
/// * `to`: hours that begin before it; `None`: everything from `from` on.
/// * `coarsest`: no part has longer steps.
pub(super) fn parts(from: Option<i64>, to: Option<i64>, coarsest: Step) -> Vec<Part> {
    let mut parts = Vec::with_capacity(5);
    let (from, to) = (from.map(|from| Step::Hour.floor(from)), to.map(|to| Step::Hour.ceil(to)));
    cover(from, to, coarsest, &mut parts);
    parts
}

fn cover(from: Option<i64>, to: Option<i64>, step: Step, parts: &mut Vec<Part>) {
    if let (Some(from), Some(to)) = (from, to)
        && from >= to
    {
        return;
    }
    let Some(finer) = step.finer() else {
        parts.push(Part { step, from, to });
        return;
    };
    let (first, end) = (from.map(|from| step.ceil(from)), to.map(|to| step.floor(to)));
    match (first, end) {
        (Some(first), Some(end)) if first >= end => cover(from, to, finer, parts),
        _ => {
            if from.is_some() {
                cover(from, first, finer, parts);
            }
            parts.push(Part { step, from: first, to: end });
            if to.is_some() {
                cover(end, to, finer, parts);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DAY: i64 = Step::Day.ms();

    #[test]
    fn ninety_days_until_now_are_some_days_and_then_weeks() {
        let from = Step::Week.floor(1_795_000_000_000) + 2 * DAY;
        let found = parts(Some(from), None, Step::Week);
        assert_eq!(
            found,
            [
                Part { step: Step::Day, from: Some(from), to: Some(from + 5 * DAY) },
                Part { step: Step::Week, from: Some(from + 5 * DAY), to: None },
            ]
        );
        assert_eq!(parts(None, None, Step::Week), [Part { step: Step::Week, from: None, to: None }]);
        assert_eq!(
            parts(Some(5), Some(5), Step::Week),
            [Part { step: Step::Hour, from: Some(0), to: Some(Step::Hour.ms()) }]
        );
        assert_eq!(parts(Some(from), Some(from), Step::Week), []);
    }

    proptest! {
        /// Goal: no hour is counted twice or left out. Method: hour by hour, how many steps of the parts hold it.
        #[test]
        fn every_hour_of_a_period_is_in_exactly_one_part(
            from in proptest::option::of(-40 * DAY..40 * DAY), length in 0..40 * DAY, open in any::<bool>(), coarsest in 0..3_usize
        ) {
            let to = (!open).then(|| from.unwrap_or(0) + length);
            let coarsest = [Step::Hour, Step::Day, Step::Week][coarsest];
            let found = parts(from, to, coarsest);
            prop_assert!(found.len() <= 5 && found.iter().all(|part| part.step <= coarsest));
            for hour in (-50 * 24..90 * 24).map(|hour| hour * Step::Hour.ms()) {
                let holds = |part: &&Part| {
                    let start = part.step.floor(hour);
                    part.from.is_none_or(|from| start >= from) && part.to.is_none_or(|to| start < to)
                };
                let wanted = from.is_none_or(|from| hour >= Step::Hour.floor(from)) && to.is_none_or(|to| hour < to);
                prop_assert_eq!(found.iter().filter(holds).count(), usize::from(wanted), "hour {} of {:?}", hour, found);
            }
        }
    }
}
