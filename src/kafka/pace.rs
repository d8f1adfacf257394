//! How long a turn of the Kafka thread waits for records. Pure.
//!
//! Results come back on another channel than records do, so a turn must not wait long while some are
//! expected. But a large model takes tens of milliseconds for a batch, and a thread that looks a thousand
//! times a second takes the processor from it, and what it had in its caches.

use std::time::Duration;

/// While the group or the brokers wait for us, or something has just come.
pub(super) const WAIT_BUSY: Duration = Duration::from_millis(1);
const WAIT_IDLE: Duration = Duration::from_millis(50);
/// So many turns in vain double the wait, up to the longest.
const TURNS: u32 = 4;
const MOST_DOUBLINGS: u32 = 2;

/// What is going on, as far as it matters for waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    /// Nothing is in flight.
    None,
    /// Results are expected.
    Inside,
    /// The group, or a transaction about to end, waits for this thread.
    Urgent,
}

/// Turns in which nothing came.
#[derive(Debug, Default)]
pub(super) struct Pace(u32);

impl Pace {
    /// A record or a result came.
    pub(super) fn moves(&mut self) {
        self.0 = 0;
    }

    /// For the turn that begins.
    pub(super) fn wait(&mut self, work: Work) -> Duration {
        match work {
            Work::None => WAIT_IDLE,
            Work::Urgent => WAIT_BUSY,
            Work::Inside => {
                let doublings = (self.0 / TURNS).min(MOST_DOUBLINGS);
                self.0 = self.0.saturating_add(1);
                WAIT_BUSY * (1 << doublings)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_in_vain_waits_longer_up_to_four_milliseconds() {
        let mut pace = Pace::default();
        let mut waits = |n: usize| (0..n).map(|_| pace.wait(Work::Inside).as_millis()).collect::<Vec<_>>();
        assert_eq!(waits(10), [1, 1, 1, 1, 2, 2, 2, 2, 4, 4]);
        assert!(waits(10_000).iter().all(|wait| *wait == 4));
        pace.moves();
        assert_eq!(pace.wait(Work::Inside), WAIT_BUSY);
    }

    #[test]
    fn nobody_waits_for_a_thread_that_is_waited_for() {
        let mut pace = Pace(1_000);
        assert_eq!((pace.wait(Work::Urgent), pace.wait(Work::None)), (WAIT_BUSY, WAIT_IDLE));
    }
}
