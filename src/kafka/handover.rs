//! Partitions that the group gives us or wants back, until we have answered: the group waits for each
//! answer, also where it is about nothing. Pure.

use std::collections::BTreeSet;
use std::time::Instant;

/// Partitions by topic and number.
pub(super) type Named = BTreeSet<(String, i32)>;

/// What the group waits for.
#[derive(Debug, Default)]
pub(super) struct Handover {
    /// Assigned, not begun yet: the cluster has not told where.
    beginning: Option<Named>,
    giving_up: Option<Revocation>,
    /// See [`Handover::unassigned`].
    unasked: bool,
}

/// Partitions that we are about to give up.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Revocation {
    pub(super) partitions: Named,
    /// Given up by then, be what is released of them committed or not.
    pub(super) deadline: Instant,
}

impl Handover {
    /// To be begun.
    pub(super) fn assigned(&mut self, partitions: Named) {
        self.beginning.get_or_insert_default().extend(partitions);
    }

    /// To be given up, some of them perhaps before they were begun: there is nothing to wait for then.
    /// Where others are being given up already: all of them together, by the first deadline.
    pub(super) fn revoked(&mut self, partitions: Named, deadline: Instant) {
        self.forget_beginning(&partitions);
        match &mut self.giving_up {
            Some(revocation) => revocation.partitions.extend(partitions),
            None => self.giving_up = Some(Revocation { partitions, deadline }),
        }
    }

    /// Somebody else's already; and so are those that we were about to give up: we were too late.
    /// Gives all of them.
    pub(super) fn lost(&mut self, mut partitions: Named) -> Named {
        self.forget_beginning(&partitions);
        partitions.extend(self.giving_up.take().into_iter().flat_map(|r| r.partitions));
        partitions
    }

    /// The client's assignment was changed, and not for an answer. librdkafka takes *any* such change for
    /// the answer to a revocation that it has in its queue for us (`rd_kafka_cgrp_incremental_unassign`
    /// looks at its own state, not at which partitions): the group has gone on then, and what we have
    /// not been told yet that we should give up may have a new owner.
    pub(super) fn unassigned(&mut self) {
        self.unasked = true;
    }

    /// Everything that was in the client's queue was heard, and there was no revocation.
    pub(super) fn caught_up(&mut self) {
        self.unasked = false;
    }

    /// May a revocation that comes now be answered already? Then it is a loss; and until that is
    /// known nothing is committed.
    pub(super) fn is_answered_unheard(&self) -> bool {
        self.unasked
    }

    fn forget_beginning(&mut self, partitions: &Named) {
        if let Some(beginning) = &mut self.beginning {
            beginning.retain(|named| !partitions.contains(named));
        }
    }

    /// What is to be begun now: nothing before what was wanted back is given up.
    pub(super) fn to_begin(&self) -> Option<&Named> {
        self.beginning.as_ref().filter(|_| self.giving_up.is_none())
    }

    /// These were begun, and the group was told so.
    pub(super) fn begun(&mut self, partitions: &Named) {
        self.forget_beginning(partitions);
        self.beginning = self.beginning.take().filter(|left| !left.is_empty());
    }

    pub(super) fn giving_up(&self) -> Option<&Revocation> {
        self.giving_up.as_ref()
    }

    /// The group is about to be told.
    pub(super) fn take_giving_up(&mut self) -> Option<Revocation> {
        self.giving_up.take()
    }

    /// Does the group wait for us?
    pub(super) fn is_pending(&self) -> bool {
        self.beginning.is_some() || self.giving_up.is_some()
    }

    /// Is an assignment not answered?
    pub(super) fn is_beginning(&self) -> bool {
        self.beginning.is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn named(partitions: &[i32]) -> Named {
        partitions.iter().map(|p| ("t".to_owned(), *p)).collect()
    }

    #[test]
    fn a_second_revocation_joins_the_first() {
        let (mut handover, now) = (Handover::default(), Instant::now());
        handover.revoked(named(&[1, 2]), now);
        handover.revoked(named(&[2, 3]), now + Duration::from_secs(1));
        let all = Revocation { partitions: named(&[1, 2, 3]), deadline: now };
        assert_eq!(handover.take_giving_up(), Some(all));
        assert!(!handover.is_pending());
    }

    #[test]
    fn what_is_lost_takes_along_what_was_being_given_up() {
        let mut handover = Handover::default();
        handover.revoked(named(&[1]), Instant::now());
        assert_eq!(handover.lost(named(&[2])), named(&[1, 2]));
        assert!(!handover.is_pending());
    }

    #[test]
    fn an_assignment_that_is_taken_back_in_part_is_begun_in_part() {
        let mut handover = Handover::default();
        handover.assigned(named(&[1, 2, 3]));
        handover.revoked(named(&[2, 7]), Instant::now());
        assert_eq!(handover.to_begin(), None, "first the group gets what it wants back");
        assert_eq!(handover.take_giving_up().map(|r| r.partitions), Some(named(&[2, 7])));
        assert_eq!(handover.lost(named(&[3])), named(&[3]));
        assert_eq!(handover.to_begin(), Some(&named(&[1])));
        handover.assigned(named(&[4]));
        handover.begun(&named(&[1]));
        assert_eq!(handover.to_begin(), Some(&named(&[4])), "it came meanwhile");
        handover.begun(&named(&[4]));
        assert!(!handover.is_pending());
    }

    #[test]
    fn a_change_that_was_not_asked_for_is_in_doubt_until_the_queue_was_heard() {
        let mut handover = Handover::default();
        handover.unassigned();
        handover.lost(named(&[1]));
        assert!(handover.is_answered_unheard(), "there may be another one behind it");
        handover.caught_up();
        assert!(!handover.is_answered_unheard());
    }

    #[test]
    fn an_assignment_of_nothing_is_answered_too() {
        let mut handover = Handover::default();
        handover.assigned(named(&[1]));
        assert_eq!(handover.lost(named(&[1])), named(&[1]));
        assert_eq!(handover.to_begin(), Some(&Named::new()));
        handover.begun(&Named::new());
        assert!(!handover.is_pending());
    }
}
