//! Notices when so many records are dead letters that something else must be wrong: a changed schema,
//! a wrong pointer. Pure.

use std::collections::{BTreeMap, VecDeque};

use super::error::RunError;
use crate::config::settings::SurgeLimit;
use crate::record::{Outcome, Reason};

/// The last outcomes, and how many of them are dead letters.
pub(super) struct Surge {
    limit: SurgeLimit,
    last: VecDeque<Option<Reason>>,
    dead: BTreeMap<Reason, usize>,
}

impl Surge {
    /// Nothing was seen yet.
    pub(super) fn new(limit: SurgeLimit) -> Self {
        Self { limit, last: VecDeque::new(), dead: BTreeMap::new() }
    }

    /// One more outcome, in order of release.
    ///
    /// # Errors
    /// [`RunError::Surge`] as soon as more than the allowed share of a whole window are dead letters,
    /// be it full yet or not: a worker that is started again and again must not write a window's
    /// worth each time.
    pub(super) fn see(&mut self, outcome: &Outcome) -> Result<(), RunError> {
        let reason = match outcome {
            Outcome::DeadLetter { letter, .. } => Some(letter.reason),
            Outcome::Enriched { .. } | Outcome::PassThrough { .. } => None,
        };
        self.count(reason)
    }

    /// A record that was counted as healthy has become a dead letter after all (it was too large).
    ///
    /// # Errors
    /// As [`Surge::see`].
    pub(super) fn worsen(&mut self, reason: Reason) -> Result<(), RunError> {
        let Some(healthy) = self.last.iter_mut().rev().find(|entry| entry.is_none()) else { return Ok(()) };
        *healthy = Some(reason);
        *self.dead.entry(reason).or_default() += 1;
        self.judge()
    }

    fn count(&mut self, reason: Option<Reason>) -> Result<(), RunError> {
        let window = self.limit.window.get();
        if self.last.len() == window
            && let Some(Some(gone)) = self.last.pop_front()
            && let Some(count) = self.dead.get_mut(&gone)
        {
            *count -= 1;
        }
        self.last.push_back(reason);
        if let Some(reason) = reason {
            *self.dead.entry(reason).or_default() += 1;
        }
        self.judge()
    }

    fn judge(&self) -> Result<(), RunError> {
        let dead: usize = self.dead.values().sum();
        if dead as f64 <= self.limit.max_ratio * self.limit.window.get() as f64 {
            return Ok(());
        }
        let window = self.last.len();
        let most = self.dead.iter().max_by_key(|(_, count)| **count);
        let (reason, of_it) = most.map_or((Reason::InvalidJson, 0), |(reason, count)| (*reason, *count));
        Err(RunError::Surge { dead, window, reason, of_it })
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use super::*;

    fn surge(max_ratio: f64, window: usize) -> Surge {
        Surge::new(SurgeLimit { max_ratio, window: NonZeroUsize::new(window).unwrap_or(NonZeroUsize::MIN) })
    }

    #[test]
    fn only_the_last_window_counts() {
        let mut s = surge(0.5, 4);
        let dead = Some(Reason::TextMissing);
        for reason in [dead, dead, None, None, None, dead, dead, None, None, dead] {
            assert!(s.count(reason).is_ok(), "never more than two of four");
        }
        assert!(s.count(dead).is_ok());
        let error = s.count(Some(Reason::InvalidJson));
        assert!(
            matches!(
                error,
                Err(RunError::Surge { dead: 3, window: 4, reason: Reason::TextMissing, of_it: 2 })
            ),
            "{error:?}"
        );
    }

    #[test]
    fn what_proves_too_large_is_counted_once() {
        let mut s = surge(0.5, 4);
        for _ in 0..2 {
            assert!(s.count(None).is_ok() && s.worsen(Reason::OutputTooLarge).is_ok());
        }
        assert!(s.count(None).is_ok());
        let error = s.worsen(Reason::OutputTooLarge);
        assert!(matches!(error, Err(RunError::Surge { dead: 3, window: 3, .. })), "{error:?}");
    }

    #[test]
    fn a_ratio_of_nothing_allows_none() {
        let mut s = surge(0.0, 2);
        assert!(s.count(None).is_ok() && s.count(None).is_ok());
        assert!(s.count(Some(Reason::TextEmpty)).is_err());
    }
}
