//! One partition's line: in-order release of outcomes that finish in any order, and the offset
//! that may be committed. Pure: no I/O, no clock of its own.
//!
//! A record is *admitted* when it is read, *settled* when its outcome is known, *released* when
//! every record before it was released (that is when it is handed to the producer), and
//! *delivered* when the broker has it. The line moves on over its delivered prefix only: a ticket
//! that never comes back holds it for ever, visibly, and nothing slips past it.

use std::collections::VecDeque;
use std::time::Instant;

use crate::record::{Admission, Epoch, NextOffset, Offset, PartitionId, Ticket};

/// The records of one assignment of one partition, from admission to delivery.
/// `T` is the outcome, held only until it is released.
#[derive(Debug)]
pub struct Ledger<T> {
    partition: PartitionId,
    epoch: Epoch,
    /// Admission number of `entries[0]`; all before it are delivered.
    first: u64,
    /// `entries[..released]` were released.
    released: usize,
    entries: VecDeque<Entry<T>>,
    bytes: usize,
    committable: Option<NextOffset>,
}

#[derive(Debug)]
struct Entry<T> {
    offset: Offset,
    size: usize,
    admitted: Instant,
    state: State<T>,
}

#[derive(Debug)]
enum State<T> {
    Working,
    Settled(T),
    Released,
    Delivered,
}

/// A ticket that this ledger cannot take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TicketError {
    /// Of an assignment that is gone: drop what it carries.
    #[error("the ticket belongs to an earlier assignment of its partition")]
    Stale,
    /// Settled or delivered twice, or never admitted: a defect of ours.
    #[error("the ticket is not in the state that this step needs")]
    OutOfTurn,
}

impl<T> Ledger<T> {
    /// An empty line for a new assignment.
    pub fn new(partition: PartitionId, epoch: Epoch) -> Self {
        Self {
            partition,
            epoch,
            first: 0,
            released: 0,
            entries: VecDeque::new(),
            bytes: 0,
            committable: None,
        }
    }

    /// Takes the next place in line. Offsets may have holes; the place has none.
    pub fn admit(&mut self, offset: Offset, size: usize, now: Instant) -> Ticket {
        let admission = Admission(self.first + self.entries.len() as u64);
        self.entries.push_back(Entry { offset, size, admitted: now, state: State::Working });
        self.bytes += size;
        Ticket { partition: self.partition, epoch: self.epoch, admission }
    }

    /// The record's outcome is known.
    pub fn settle(&mut self, ticket: Ticket, outcome: T) -> Result<(), TicketError> {
        let entry = self.entry(ticket)?;
        match entry.state {
            State::Working => {
                entry.state = State::Settled(outcome);
                Ok(())
            }
            _ => Err(TicketError::OutOfTurn),
        }
    }

    /// The next outcome in order of admission, if it is settled.
    pub fn release(&mut self) -> Option<(Ticket, T)> {
        let entry = self.entries.get_mut(self.released)?;
        if !matches!(entry.state, State::Settled(_)) {
            return None;
        }
        let State::Settled(outcome) = std::mem::replace(&mut entry.state, State::Released) else {
            return None;
        };
        let admission = Admission(self.first + self.released as u64);
        self.released += 1;
        Some((Ticket { partition: self.partition, epoch: self.epoch, admission }, outcome))
    }

    /// The broker has it. The line moves on over everything delivered at its head.
    pub fn deliver(&mut self, ticket: Ticket) -> Result<(), TicketError> {
        let entry = self.entry(ticket)?;
        match entry.state {
            State::Released => entry.state = State::Delivered,
            _ => return Err(TicketError::OutOfTurn),
        }
        while let Some(Entry { state: State::Delivered, .. }) = self.entries.front() {
            if let Some(done) = self.entries.pop_front() {
                self.first += 1;
                self.released -= 1;
                self.bytes -= done.size;
                self.committable = Some(done.offset.next());
            }
        }
        Ok(())
    }

    /// Everything before this offset is delivered; `None` until the first delivery.
    pub fn committable(&self) -> Option<NextOffset> {
        self.committable
    }

    /// This assignment's number.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Records between admission and the end of the delivered prefix.
    pub fn in_flight(&self) -> usize {
        self.entries.len()
    }

    /// Their bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Of those, handed to the producer and not confirmed: what a stop now would write twice.
    pub fn undelivered(&self) -> usize {
        self.entries.iter().take(self.released).filter(|e| matches!(e.state, State::Released)).count()
    }

    /// Is everything in the line handed to the producer, and something there?
    pub fn all_released(&self) -> bool {
        !self.entries.is_empty() && self.released == self.entries.len()
    }

    /// When the record at the head of the line was admitted.
    pub fn oldest(&self) -> Option<Instant> {
        self.entries.front().map(|e| e.admitted)
    }

    fn entry(&mut self, ticket: Ticket) -> Result<&mut Entry<T>, TicketError> {
        if ticket.epoch != self.epoch || ticket.partition != self.partition {
            return Err(TicketError::Stale);
        }
        let index = ticket.admission.0.checked_sub(self.first).ok_or(TicketError::OutOfTurn)?;
        self.entries.get_mut(index as usize).ok_or(TicketError::OutOfTurn)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn ledger() -> Ledger<i64> {
        Ledger::new(PartitionId(3), Epoch(7))
    }

    #[test]
    fn a_hole_at_the_head_holds_everything_behind_it() {
        let mut l = ledger();
        let now = Instant::now();
        let a = l.admit(Offset::new(10), 1, now);
        let b = l.admit(Offset::new(15), 1, now);
        l.settle(b, 15).unwrap();
        assert!(l.release().is_none());
        assert_eq!(l.committable(), None);
        l.settle(a, 10).unwrap();
        assert_eq!(l.release(), Some((a, 10)));
        assert_eq!(l.release(), Some((b, 15)));
        l.deliver(b).unwrap();
        assert_eq!(l.committable(), None, "the first is not delivered");
        l.deliver(a).unwrap();
        assert_eq!(l.committable(), Some(NextOffset::new(16)));
        assert_eq!((l.in_flight(), l.bytes()), (0, 0));
    }

    #[test]
    fn tickets_out_of_turn_change_nothing() {
        let mut l = ledger();
        let t = l.admit(Offset::new(0), 5, Instant::now());
        let stale = Ticket { epoch: Epoch(6), ..t };
        assert_eq!(l.settle(stale, 0), Err(TicketError::Stale));
        assert_eq!(l.deliver(t), Err(TicketError::OutOfTurn), "not released");
        l.settle(t, 0).unwrap();
        assert_eq!(l.settle(t, 1), Err(TicketError::OutOfTurn), "twice");
        assert_eq!(l.release(), Some((t, 0)));
        l.deliver(t).unwrap();
        assert_eq!(l.deliver(t), Err(TicketError::OutOfTurn), "twice");
    }

    proptest! {
        /// Whatever the order of settling and delivering: releases are in order of admission, and
        /// the committable offset is that of the longest delivered prefix, checked at every step
        /// against a model that knows nothing of the ledger's inside.
        #[test]
        fn released_in_order_and_committed_by_prefix(
            gaps in prop::collection::vec(1i64..5, 1..60),
            settle_order in prop::collection::vec(any::<prop::sample::Index>(), 60),
            deliver_order in prop::collection::vec(any::<prop::sample::Index>(), 200),
        ) {
            let mut l = ledger();
            let now = Instant::now();
            let mut at = 0;
            let offsets: Vec<i64> = gaps.iter().map(|g| { at += g; at }).collect();
            let tickets: Vec<Ticket> =
                offsets.iter().map(|o| l.admit(Offset::new(*o), 2, now)).collect();
            let mut to_settle: Vec<usize> = (0..tickets.len()).collect();
            let mut released: Vec<usize> = Vec::new();
            let mut delivered = vec![false; tickets.len()];
            let mut picks = deliver_order.iter();
            for pick in settle_order {
                if !to_settle.is_empty() {
                    let i = to_settle.swap_remove(pick.index(to_settle.len()));
                    l.settle(tickets[i], offsets[i]).unwrap();
                }
                while let Some((ticket, offset)) = l.release() {
                    let place = released.len();
                    prop_assert_eq!(ticket, tickets[place]);
                    prop_assert_eq!(offset, offsets[place]);
                    released.push(place);
                }
                for _ in 0..2 {
                    let open: Vec<usize> =
                        released.iter().copied().filter(|i| !delivered[*i]).collect();
                    if let (false, Some(p)) = (open.is_empty(), picks.next()) {
                        let i = open[p.index(open.len())];
                        l.deliver(tickets[i]).unwrap();
                        delivered[i] = true;
                    }
                }
                let prefix = delivered.iter().take_while(|d| **d).count();
                let expected = prefix.checked_sub(1).map(|i| NextOffset::new(offsets[i] + 1));
                prop_assert_eq!(l.committable(), expected);
                prop_assert_eq!(l.in_flight(), tickets.len() - prefix);
                prop_assert_eq!(l.bytes(), 2 * (tickets.len() - prefix));
                let open = released.iter().filter(|i| !delivered[**i]).count();
                prop_assert_eq!(l.undelivered(), open);
            }
        }
    }
}
