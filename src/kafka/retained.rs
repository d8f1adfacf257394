//! What a transaction retains: every released outcome stays here, in order, until a transaction that
//! holds it is known to be committed. So an abort costs no second inference, and whatever happens to
//! a transaction, what is written next is exactly what no committed one holds. Pure.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::record::{NextOffset, Offset, PartitionId, Ticket};

/// What can be retained.
pub(super) trait Write {
    /// Whose place in line it takes.
    fn ticket(&self) -> Ticket;
    /// Of the record that it comes from.
    fn offset(&self) -> Offset;
    /// What it counts against the budget of a transaction.
    fn size(&self) -> usize;
}

/// Released outcomes, in order of release. The first `sent` of them are in the open transaction.
#[derive(Debug)]
pub(super) struct Retained<W> {
    writes: VecDeque<W>,
    sent: usize,
    sent_bytes: usize,
}

impl<W: Write> Retained<W> {
    pub(super) fn new() -> Self {
        Self { writes: VecDeque::new(), sent: 0, sent_bytes: 0 }
    }

    /// One more, at the end.
    pub(super) fn push(&mut self, write: W) {
        self.writes.push_back(write);
    }

    /// The next one that the open transaction does not hold yet.
    pub(super) fn unsent(&self) -> Option<&W> {
        self.writes.get(self.sent)
    }

    /// [`Retained::unsent`] is in the open transaction now.
    pub(super) fn mark_sent(&mut self) {
        if let Some(write) = self.writes.get(self.sent) {
            self.sent_bytes += write.size();
            self.sent += 1;
        }
    }

    /// Records and bytes in the open transaction.
    pub(super) fn sent(&self) -> (usize, usize) {
        (self.sent, self.sent_bytes)
    }

    /// Whose writes are here.
    pub(super) fn partitions(&self) -> BTreeSet<PartitionId> {
        self.writes.iter().map(|write| write.ticket().partition).collect()
    }

    /// Writes that no committed transaction holds.
    pub(super) fn len(&self) -> usize {
        self.writes.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// Does the open transaction hold something of a partition that is no longer ours? Its next
    /// owner writes it too, so this one must not be committed.
    pub(super) fn any_sent_not(&self, ours: impl Fn(Ticket) -> bool) -> bool {
        self.writes.iter().take(self.sent).any(|write| !ours(write.ticket()))
    }

    /// Forgets what is not in the transaction yet and not ours any more.
    pub(super) fn forget_unsent(&mut self, ours: impl Fn(Ticket) -> bool) {
        let sent = self.sent;
        let mut place = 0..;
        self.writes.retain(|write| place.next().is_some_and(|i| i < sent) || ours(write.ticket()));
    }

    /// For each partition in the open transaction the offset after its last record: what is to be
    /// committed with it.
    pub(super) fn offsets(&self) -> BTreeMap<PartitionId, NextOffset> {
        // Released in order of admission: the last one of a partition is its highest.
        self.writes.iter().take(self.sent).map(|w| (w.ticket().partition, w.offset().next())).collect()
    }

    /// The transaction is committed: gives what it held.
    pub(super) fn committed(&mut self) -> Vec<W> {
        self.sent_bytes = 0;
        self.writes.drain(..std::mem::take(&mut self.sent)).collect()
    }

    /// The transaction is aborted, or gone: everything is to be written again, but for what is not
    /// ours any more.
    pub(super) fn aborted(&mut self, ours: impl Fn(Ticket) -> bool) {
        (self.sent, self.sent_bytes) = (0, 0);
        self.writes.retain(|write| ours(write.ticket()));
    }

    /// The transaction will never be committed: forgets what is not ours any more, be it in there or not.
    pub(super) fn forget(&mut self, ours: impl Fn(Ticket) -> bool) {
        let (before, mut place) = (std::mem::take(&mut self.sent), 0..);
        self.sent_bytes = 0;
        self.writes.retain(|write| {
            let (in_it, stays) = (place.next().is_some_and(|i| i < before), ours(write.ticket()));
            if in_it && stays {
                self.sent += 1;
                self.sent_bytes += write.size();
            }
            stays
        });
    }

    /// The outcome of the transaction was not known, and the group says now what it has, where that is
    /// news: gives what was committed after all; the rest is to be written again, but for what is not
    /// ours any more.
    ///
    /// The transaction would have set each of its partitions to one certain place
    /// ([`Retained::offsets`]). Only if the group is at that very place it did: a partition's position
    /// can go back (`on_gap: earliest` in a topic that was made anew), and then offsets below the
    /// group's are not done at all.
    pub(super) fn reconcile(
        &mut self,
        ours: impl Fn(Ticket) -> bool,
        committed: &BTreeMap<PartitionId, NextOffset>,
    ) -> Vec<W> {
        let (places, sent) = (self.offsets(), std::mem::take(&mut self.sent));
        self.sent_bytes = 0;
        let came_true = |id| places.get(&id).is_some_and(|place| committed.get(&id) == Some(place));
        let (mut done, mut left) = (Vec::new(), VecDeque::with_capacity(self.writes.len()));
        for (at, write) in self.writes.drain(..).enumerate() {
            let ticket = write.ticket();
            if !ours(ticket) {
                continue;
            }
            if at < sent && came_true(ticket.partition) {
                done.push(write);
            } else {
                left.push_back(write);
            }
        }
        self.writes = left;
        done
    }

    /// Changes the write that holds this ticket, wherever it stands (its record proved too large).
    /// Where that fails it is gone, and so is everything after it: nothing may pass it.
    pub(super) fn replace<E>(
        &mut self,
        ticket: Ticket,
        change: impl FnOnce(W) -> Result<W, E>,
    ) -> Result<(), E> {
        let Some(at) = self.writes.iter().position(|write| write.ticket() == ticket) else { return Ok(()) };
        let after = self.writes.split_off(at + 1);
        let Some(write) = self.writes.pop_back() else { return Ok(()) };
        match change(write) {
            Ok(write) => {
                self.writes.push_back(write);
                self.writes.extend(after);
                Ok(())
            }
            Err(error) => {
                self.sent = self.sent.min(at);
                Err(error)
            }
        }
    }
}

#[cfg(test)]
#[path = "retained_tests.rs"]
mod tests;
