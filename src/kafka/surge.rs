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
    /// [`RunError::Surge`] when the window is full and more of it than allowed are dead letters.
    pub(super) fn see(&mut self, outcome: &Outcome) -> Result<(), RunError> {
        let reason = match outcome {
            Outcome::DeadLetter { letter, .. } => Some(letter.reason),
            Outcome::Enriched { .. } | Outcome::PassThrough { .. } => None,
        };
        self.count(reason)
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
        let dead: usize = self.dead.values().sum();
        if self.last.len() < window || dead as f64 <= self.limit.max_ratio * window as f64 {
            return Ok(());
        }
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
    fn only_a_full_window_counts_and_only_the_last_one() {
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
    fn a_ratio_of_nothing_allows_none() {
        let mut s = surge(0.0, 2);
        assert!(s.count(None).is_ok() && s.count(None).is_ok());
        assert!(s.count(Some(Reason::TextEmpty)).is_err());
    }
}
