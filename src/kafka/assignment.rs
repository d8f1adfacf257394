//! The partitions that are ours: their lines, and how much of each may be in flight.
//! No I/O: what to pause, resume and commit is answered here and done by the worker.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::handover::Named;
use super::watchdog::Watch;
use crate::config::settings::Limits;
use crate::record::{Epoch, NextOffset, Offset, Outcome, PartitionId, Stamps, Ticket, Timestamp, Trace};
use crate::sequencer::{Ledger, TicketError};
use crate::telemetry::age;

type Partitions = Vec<(Arc<str>, i32)>;

/// An outcome in its partition's line.
pub(super) struct Ready {
    pub(super) outcome: Outcome,
    pub(super) trace: Trace,
    pub(super) stamps: Stamps,
    pub(super) settled: Instant,
}

/// One partition in our hands.
pub(super) struct Owned {
    pub(super) topic: Arc<str>,
    pub(super) partition: i32,
    pub(super) ledger: Ledger<Ready>,
    /// The next offset that the consumer will deliver.
    pub(super) position: NextOffset,
    /// What the group has on record, as far as we know.
    pub(super) committed: Option<NextOffset>,
    /// Sent with the commit under way.
    pub(super) committing: Option<NextOffset>,
    /// Not consuming: its share is used up, or it is being given up.
    pub(super) paused: bool,
    /// To be given up: nothing is admitted or released any more.
    pub(super) closing: bool,
    /// End of the partition, from librdkafka's statistics.
    pub(super) end: Option<i64>,
    /// Where the client will fetch next, from the same; `None` while it holds records that it has not
    /// given us yet.
    pub(super) fetched: Option<i64>,
    /// Is it read at all?
    pub(super) watch: Watch,
    /// Of the records in the line, in order.
    timestamps: VecDeque<Timestamp>,
    /// Of the last one that left it.
    done: Option<Timestamp>,
}

impl Owned {
    /// How old, by its timestamp, the oldest record is that is not delivered yet; what is not read yet is
    /// no older than the last one that was. `None`: nobody knows. Zero: all are delivered.
    pub(super) fn lag_time(&self, lag: Option<i64>, now: SystemTime) -> Option<Duration> {
        match (lag, self.timestamps.front().or(self.done.as_ref())) {
            (Some(0), _) => Some(Duration::ZERO),
            (Some(_), Some(oldest)) => age(*oldest, now),
            _ => None,
        }
    }

    fn wants_commit(&self) -> Option<NextOffset> {
        self.ledger.committable().filter(|next| Some(*next) != self.committed)
    }
}

/// All of them.
pub(super) struct Assignment {
    owned: BTreeMap<PartitionId, Owned>,
    ids: HashMap<Arc<str>, HashMap<i32, PartitionId>>,
    next_id: u32,
    next_epoch: u64,
    /// Counts the comings and goings.
    changes: u64,
    max_records: usize,
    max_bytes: usize,
    /// Everything stands still until half of the budget is free again.
    full: bool,
}

impl Assignment {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            owned: BTreeMap::new(),
            ids: HashMap::new(),
            next_id: 0,
            next_epoch: 0,
            changes: 0,
            max_records: limits.max_in_flight_records.get(),
            max_bytes: limits.max_in_flight_bytes.get(),
            full: false,
        }
    }

    /// A new assignment of a partition, with a new epoch: what comes back for an older one is stale.
    pub(super) fn add(
        &mut self,
        topic: &str,
        partition: i32,
        position: NextOffset,
        committed: Option<NextOffset>,
    ) {
        let (topic, id) = self.id(topic, partition);
        self.next_epoch += 1;
        self.changes += 1;
        let ledger = Ledger::new(id, Epoch(self.next_epoch));
        let owned = Owned {
            topic,
            partition,
            ledger,
            position,
            committed,
            committing: None,
            paused: false,
            closing: false,
            end: None,
            fetched: None,
            watch: Watch::new(Instant::now()),
            timestamps: VecDeque::new(),
            done: None,
        };
        self.owned.insert(id, owned);
    }

    /// No longer ours.
    pub(super) fn remove(&mut self, topic: &str, partition: i32) -> Option<Owned> {
        let id = self.find(topic, partition)?;
        self.changes += 1;
        self.owned.remove(&id)
    }

    pub(super) fn get_mut(&mut self, topic: &str, partition: i32) -> Option<&mut Owned> {
        let id = self.find(topic, partition)?;
        self.owned.get_mut(&id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Owned> {
        self.owned.values()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Owned> {
        self.owned.values_mut()
    }

    pub(super) fn len(&self) -> usize {
        self.owned.len()
    }

    /// A place in line for a record that was just read. `None`: its partition is not ours (any
    /// more), so whoever owns it reads it; or the client delivers it a second time (as after a
    /// seek), and it has its place already.
    pub(super) fn admit(
        &mut self,
        topic: &str,
        partition: i32,
        offset: Offset,
        size: usize,
        timestamp: Timestamp,
    ) -> Option<Ticket> {
        let owned =
            self.get_mut(topic, partition).filter(|o| !o.closing && o.position.raw() <= offset.raw())?;
        let now = Instant::now();
        owned.position = offset.next();
        owned.watch.moved(now);
        owned.timestamps.push_back(timestamp);
        Some(owned.ledger.admit(offset, size, now))
    }

    /// The name of a topic as all its records share it.
    pub(super) fn topic_name(&self, topic: &str) -> Option<Arc<str>> {
        self.ids.get_key_value(topic).map(|(name, _)| name.clone())
    }

    pub(super) fn settle(&mut self, ticket: Ticket, ready: Ready) -> Result<(), TicketError> {
        let owned = self.owned.get_mut(&ticket.partition).ok_or(TicketError::Stale)?;
        owned.ledger.settle(ticket, ready)
    }

    /// The next outcome of this partition that may be written.
    pub(super) fn release(&mut self, partition: PartitionId) -> Option<(Ticket, Ready)> {
        self.owned.get_mut(&partition).filter(|o| !o.closing)?.ledger.release()
    }

    pub(super) fn deliver(&mut self, ticket: Ticket) -> Result<(), TicketError> {
        let owned = self.owned.get_mut(&ticket.partition).ok_or(TicketError::Stale)?;
        owned.ledger.deliver(ticket)?;
        while owned.timestamps.len() > owned.ledger.in_flight() {
            owned.done = owned.timestamps.pop_front();
        }
        Ok(())
    }

    /// Records and bytes in flight over all partitions.
    pub(super) fn in_flight(&self) -> (usize, usize) {
        self.owned.values().fold((0, 0), |(r, b), o| (r + o.ledger.in_flight(), b + o.ledger.bytes()))
    }

    /// Written and not confirmed, over all partitions.
    pub(super) fn undelivered(&self) -> usize {
        self.owned.values().map(|o| o.ledger.undelivered()).sum()
    }

    /// Delivered and not committed, over all partitions.
    pub(super) fn uncommitted(&self) -> usize {
        self.owned.values().filter(|o| o.wants_commit().is_some()).count()
    }

    pub(super) fn oldest(&self) -> Option<Duration> {
        self.owned.values().filter_map(|o| o.ledger.oldest()).min().map(|t| t.elapsed())
    }

    /// Which partitions to pause and which to resume now. Each has an equal share of the budget,
    /// so a partition that is held up by one slow record cannot use up what the others need. Full
    /// is 100 %, and it takes 50 % to go on: each pause throws away what was prefetched.
    /// `inside`: records that the stages hold, those of lost partitions too.
    pub(super) fn flow(&mut self, inside: usize) -> (Partitions, Partitions) {
        let (records, bytes) = self.in_flight();
        self.full = over(records.max(inside), bytes, self.max_records, self.max_bytes, self.full);
        let share = self.owned.len().max(1);
        let (max_records, max_bytes) = ((self.max_records / share).max(1), (self.max_bytes / share).max(1));
        let (mut pause, mut resume) = (Vec::new(), Vec::new());
        for owned in self.owned.values_mut() {
            let (records, bytes) = (owned.ledger.in_flight(), owned.ledger.bytes());
            let stop =
                owned.closing || self.full || over(records, bytes, max_records, max_bytes, owned.paused);
            if stop != owned.paused {
                owned.paused = stop;
                let list = if stop { &mut pause } else { &mut resume };
                list.push((owned.topic.clone(), owned.partition));
            }
        }
        (pause, resume)
    }

    /// Offsets that the group should be told, and marks them as under way.
    pub(super) fn begin_commit(&mut self) -> Vec<(Arc<str>, i32, NextOffset)> {
        let mut list = Vec::new();
        for owned in self.owned.values_mut() {
            if let Some(next) = owned.wants_commit() {
                owned.committing = Some(next);
                list.push((owned.topic.clone(), owned.partition, next));
            }
        }
        list
    }

    /// The commit under way came back. What failed is wanted again at the next turn.
    pub(super) fn committed(&mut self, ok: bool) {
        for owned in self.owned.values_mut() {
            if let (Some(next), true) = (owned.committing.take(), ok) {
                owned.committed = Some(next);
            }
        }
    }

    /// Is this ticket of an assignment that is still ours?
    pub(super) fn holds(&self, ticket: Ticket) -> bool {
        self.owned.get(&ticket.partition).is_some_and(|o| o.ledger.epoch() == ticket.epoch)
    }

    /// How often partitions came and went so far.
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    /// All of them, by name.
    pub(super) fn names(&self) -> Named {
        self.owned.values().map(|o| (o.topic.to_string(), o.partition)).collect()
    }

    /// Topic and number of those that are ours.
    pub(super) fn names_of(&self, ids: BTreeSet<PartitionId>) -> BTreeMap<PartitionId, (Arc<str>, i32)> {
        let name = |id| self.owned.get(&id).map(|o| (id, (o.topic.clone(), o.partition)));
        ids.into_iter().filter_map(name).collect()
    }

    /// Is this another place than the group had for the partition, as far as we knew?
    pub(super) fn has_news(&self, id: PartitionId, told: NextOffset) -> bool {
        self.owned.get(&id).is_some_and(|o| o.committed != Some(told))
    }

    /// What is delivered is committed: they are one under exactly-once.
    pub(super) fn all_committed(&mut self) {
        for owned in self.owned.values_mut() {
            owned.committed = owned.ledger.committable().or(owned.committed);
        }
    }

    /// Does a partition stand still for nothing but a commit: its share is used up, by records that
    /// are all written?
    pub(super) fn waits_for_commit(&self) -> bool {
        self.owned.values().any(|o| o.paused && o.ledger.all_released())
    }

    fn find(&self, topic: &str, partition: i32) -> Option<PartitionId> {
        self.ids.get(topic)?.get(&partition).copied()
    }

    fn id(&mut self, topic: &str, partition: i32) -> (Arc<str>, PartitionId) {
        let name = self.topic_name(topic).unwrap_or_else(|| topic.into());
        let next = PartitionId(self.next_id);
        let id = *self.ids.entry(name.clone()).or_default().entry(partition).or_insert(next);
        if id == next {
            self.next_id += 1;
        }
        (name, id)
    }
}

/// Over the limit; or, once it was, still above half of it. One record always fits.
fn over(records: usize, bytes: usize, max_records: usize, max_bytes: usize, was: bool) -> bool {
    if was {
        records * 2 > max_records || (bytes * 2 > max_bytes && records > 0)
    } else {
        records >= max_records || bytes >= max_bytes
    }
}

#[cfg(test)]
#[path = "assignment_tests.rs"]
mod tests;
