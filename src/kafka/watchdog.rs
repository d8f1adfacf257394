//! Notices a partition that is ours, behind, and not read: nothing of it is in flight, nothing holds
//! it back, and no record comes although the brokers have some. Such a thing must not be, and yet it
//! was seen once (a pause of the client's that outlived its assignment). It is reported, counted, and
//! healed by taking the partition out of the client's assignment and putting it back.

use std::time::{Duration, Instant};

use rdkafka::producer::Producer;

use super::assignment::Owned;
use super::error::RunError;
use super::worker::Worker;
use crate::record::NextOffset;

/// A partition of which nothing came for so long is looked at, and again after as long.
const QUIET: Duration = Duration::from_secs(10);
/// Taken up anew without success: twice as long each time, up to this.
const MOST_QUIET: Duration = Duration::from_secs(640);
/// Partitions looked at in one turn: each costs a question to its leader.
const AT_ONCE: usize = 4;
/// For the leader's answer. No answer is no stall: the leader is away. It is asked through the
/// producer: on the consumer's own connection the question would stand behind a fetch that waits for
/// records.
const PATIENCE: Duration = Duration::from_secs(1);

/// What the watchdog knows of one partition.
#[derive(Debug, Clone, Copy)]
pub(super) struct Watch {
    /// When something last happened that makes looking unnecessary.
    quiet_since: Instant,
    /// It was behind and quiet at the last look, at this position.
    suspected: Option<NextOffset>,
    /// How long it must be quiet: taking it up anew must have the time to help.
    patience: Duration,
}

/// What a look at a quiet partition says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Finding {
    /// There is nothing to read.
    AtTheEnd,
    /// It may be about to be read: look again.
    Suspect,
    /// It stands still.
    Stalled,
}

impl Watch {
    pub(super) fn new(now: Instant) -> Self {
        Self { quiet_since: now, suspected: None, patience: QUIET }
    }

    /// A record came.
    pub(super) fn moved(&mut self, now: Instant) {
        *self = Self::new(now);
    }

    fn is_due(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.quiet_since) >= self.patience
    }

    /// `position`: the next record that we want. `fetched`: up to where the client has read the log,
    /// what is no record (transaction markers, aborted records) included, if it has given us all of it. `end`: the end of what is
    /// committed there.
    fn look(
        &mut self,
        now: Instant,
        position: NextOffset,
        fetched: Option<i64>,
        end: Option<i64>,
    ) -> Finding {
        self.quiet_since = now;
        let read_to = fetched.unwrap_or(0).max(position.raw());
        let behind = end.is_some_and(|end| end > read_to);
        let before = std::mem::replace(&mut self.suspected, behind.then_some(position));
        match (behind, before) {
            (false, _) => Finding::AtTheEnd,
            (true, Some(then)) if then == position => {
                self.suspected = None;
                self.patience = (self.patience * 2).min(MOST_QUIET);
                Finding::Stalled
            }
            (true, _) => Finding::Suspect,
        }
    }
}

impl Worker {
    /// Looks after quiet partitions, a few a turn.
    pub(super) fn watch(&mut self) -> Result<(), RunError> {
        let now = Instant::now();
        let due = |o: &&Owned| !o.paused && !o.closing && o.ledger.in_flight() == 0 && o.watch.is_due(now);
        if self.draining || self.handover.giving_up().is_some() {
            return Ok(());
        }
        let quiet: Vec<_> = self
            .assignment
            .iter()
            .filter(due)
            .take(AT_ONCE)
            .map(|o| (o.topic.clone(), o.partition, o.position))
            .collect();
        let mut stalled = Vec::new();
        // The others are looked at when their turn comes.
        for (topic, partition, position) in quiet {
            let client = self.publisher.producer().client();
            let end = client.fetch_watermarks(&topic, partition, PATIENCE).ok().map(|(_, high)| high);
            let Some(owned) = self.assignment.get_mut(&topic, partition) else { continue };
            if owned.watch.look(now, position, owned.fetched, end) == Finding::Stalled {
                tracing::error!(
                    %topic,
                    partition,
                    position = position.raw(),
                    end,
                    "a partition stands still: it is behind, and the client does not read it; taking it up anew"
                );
                self.metrics.stalled(&topic, partition);
                stalled.push((topic, partition, position));
            }
            if end.is_none() {
                break;
            }
        }
        match stalled.is_empty() {
            true => Ok(()),
            false => self.begin_again(&stalled),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_behind_twice_at_one_place_stands_still() {
        let start = Instant::now();
        let mut watch = Watch::new(start);
        assert!(!watch.is_due(start + QUIET / 2) && watch.is_due(start + QUIET));
        let (at, now) = (NextOffset::new, start + QUIET);
        assert_eq!(watch.look(now, at(7), None, Some(7)), Finding::AtTheEnd);
        assert_eq!(watch.look(now, at(7), Some(9), Some(9)), Finding::AtTheEnd, "two markers");
        assert_eq!(watch.look(now, at(7), None, None), Finding::AtTheEnd, "no answer is no stall");
        assert_eq!(watch.look(now, at(7), Some(7), Some(9)), Finding::Suspect);
        assert_eq!(watch.look(now, at(8), Some(8), Some(9)), Finding::Suspect, "it has moved");
        assert_eq!(watch.look(now, at(8), Some(8), Some(12)), Finding::Stalled);
        watch.moved(now);
        assert_eq!(watch.look(now, at(8), None, Some(12)), Finding::Suspect, "fetched, and not given to us");
        assert!(!watch.is_due(now + QUIET / 2), "each look is one");
    }

    #[test]
    fn what_did_not_help_is_tried_again_later_each_time() {
        let mut now = Instant::now();
        let mut watch = Watch::new(now);
        for healed in 0..8 {
            let quiet = (QUIET * 2_u32.pow(healed)).min(MOST_QUIET);
            for finding in [Finding::Suspect, Finding::Stalled] {
                assert!(!watch.is_due(now + quiet - Duration::from_millis(1)));
                now += quiet;
                assert!(watch.is_due(now));
                assert_eq!(watch.look(now, NextOffset::new(7), Some(7), Some(9)), finding);
            }
        }
        watch.moved(now);
        assert!(watch.is_due(now + QUIET), "a record came");
    }
}
