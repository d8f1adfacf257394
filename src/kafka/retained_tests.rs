//! Random schedules of everything that can happen to a worker and its transactions, against a model
//! of the brokers: whatever happens, what a `read_committed` reader sees is each record once, in
//! order; of a topic that is made anew, too, whose offsets begin again below the group's.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use proptest::prelude::*;

use super::*;
use crate::record::Epoch;
use crate::sequencer::Ledger;

const PARTITIONS: u32 = 3;

#[derive(Debug, Clone, Copy)]
struct Record {
    ticket: Ticket,
    offset: Offset,
}

impl Write for Record {
    fn ticket(&self) -> Ticket {
        self.ticket
    }
    fn offset(&self) -> Offset {
        self.offset
    }
    fn size(&self) -> usize {
        1
    }
}

/// What the brokers hold.
#[derive(Default)]
struct Brokers {
    /// Visible downstream, by input partition: from which log of it, and the offset there.
    visible: BTreeMap<u32, Vec<(u32, i64)>>,
    /// Of the group.
    committed: BTreeMap<u32, i64>,
    /// Of the open transaction.
    writes: Vec<(u32, (u32, i64))>,
}

impl Brokers {
    fn commit(&mut self, offsets: &BTreeMap<PartitionId, NextOffset>) {
        for (partition, offset) in self.writes.drain(..) {
            self.visible.entry(partition).or_default().push(offset);
        }
        for (partition, next) in offsets {
            self.committed.insert(partition.0, next.raw());
        }
    }
    fn abort(&mut self) {
        self.writes.clear();
    }
    fn offsets(&self) -> BTreeMap<PartitionId, NextOffset> {
        self.committed.iter().map(|(p, next)| (PartitionId(*p), NextOffset::new(*next))).collect()
    }
}

/// One worker, as far as it matters here; other workers are played by the group's offsets.
struct Worker {
    brokers: Brokers,
    ledgers: BTreeMap<PartitionId, Ledger<()>>,
    offsets: HashMap<Ticket, Offset>,
    inside: Vec<Ticket>,
    positions: BTreeMap<u32, i64>,
    /// How often each topic was made anew, and before which one each record was read.
    logs: BTreeMap<u32, u32>,
    logs_of: HashMap<Ticket, u32>,
    /// What the group has, as far as we know.
    known: BTreeMap<u32, i64>,
    retained: Retained<Record>,
    open: bool,
    epoch: u64,
    records: i64,
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Assign(u32),
    /// Taken away without warning, or after the drain deadline.
    Lose(u32),
    /// The topic is made anew, and its position goes back to the beginning.
    Anew(u32),
    Admit(u32),
    /// The n-th of those inside comes back.
    Settle(usize),
    /// Into the transaction, so many.
    Send(usize),
    Commit,
    Abort,
    /// The commit's answer is lost; was it done?
    Doubt(bool),
    /// The brokers give up on the transaction, and the producer is made anew.
    TimedOut,
}

impl Worker {
    fn new(records: i64) -> Self {
        Self {
            brokers: Brokers::default(),
            ledgers: BTreeMap::new(),
            offsets: HashMap::new(),
            inside: Vec::new(),
            positions: BTreeMap::new(),
            logs: BTreeMap::new(),
            logs_of: HashMap::new(),
            known: BTreeMap::new(),
            retained: Retained::new(),
            open: false,
            epoch: 0,
            records,
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Assign(p) if !self.ledgers.contains_key(&PartitionId(p)) => {
                // A transaction that is open for the partition is waited for: ours goes first.
                if self.open {
                    self.step(Step::Commit);
                }
                self.epoch += 1;
                self.ledgers.insert(PartitionId(p), Ledger::new(PartitionId(p), Epoch(self.epoch)));
                let committed = self.brokers.committed.get(&p).copied();
                match committed {
                    Some(at) => self.known.insert(p, at),
                    None => self.known.remove(&p),
                };
                // What was committed of an older log is a gap.
                let newest = self.brokers.visible.get(&p).and_then(|seen| seen.last()).map(|(log, _)| *log);
                let is_gap = newest.is_some_and(|newest| newest != self.log(p));
                self.positions.insert(p, committed.filter(|_| !is_gap).unwrap_or(0));
            }
            Step::Lose(p) => drop(self.ledgers.remove(&PartitionId(p))),
            Step::Anew(p) => {
                *self.logs.entry(p).or_default() += 1;
                self.positions.insert(p, 0);
            }
            Step::Admit(p) => {
                let log = self.log(p);
                let Some(ledger) = self.ledgers.get_mut(&PartitionId(p)) else { return };
                let position = self.positions.get_mut(&p).unwrap();
                if *position < self.records {
                    let offset = Offset::new(*position);
                    let ticket = ledger.admit(offset, 1, Instant::now());
                    self.offsets.insert(ticket, offset);
                    self.logs_of.insert(ticket, log);
                    self.inside.push(ticket);
                    *position += 1;
                }
            }
            Step::Settle(n) if !self.inside.is_empty() => {
                let ticket = self.inside.swap_remove(n % self.inside.len());
                let Some(ledger) = self.ledgers.get_mut(&ticket.partition) else { return };
                if ledger.settle(ticket, ()).is_ok() {
                    while let Some((ticket, ())) = ledger.release() {
                        self.retained.push(Record { ticket, offset: self.offsets[&ticket] });
                    }
                }
            }
            Step::Send(n) => {
                if !self.open {
                    let ledgers = &self.ledgers;
                    self.retained.aborted(|ticket| holds(ledgers, ticket));
                }
                self.open = true;
                for _ in 0..n {
                    let Some(write) = self.retained.unsent() else { break };
                    let log = self.logs_of[&write.ticket];
                    self.brokers.writes.push((write.ticket.partition.0, (log, write.offset.raw())));
                    self.retained.mark_sent();
                }
            }
            Step::Commit if self.open => {
                let ledgers = &self.ledgers;
                if self.retained.any_sent_not(|ticket| holds(ledgers, ticket)) {
                    return self.step(Step::Abort);
                }
                self.brokers.commit(&self.retained.offsets());
                let done = self.retained.committed();
                self.deliver(&done);
                self.open = false;
            }
            Step::Abort if self.open => {
                self.brokers.abort();
                let ledgers = &self.ledgers;
                self.retained.aborted(|ticket| holds(ledgers, ticket));
                self.renew();
            }
            Step::Doubt(done) if self.open => {
                let ledgers = &self.ledgers;
                if self.retained.any_sent_not(|ticket| holds(ledgers, ticket)) {
                    return self.step(Step::Abort);
                }
                // Written anew to the very place where the group was before: nobody could tell whether
                // that was committed, and it is written again (never lost).
                if self.retained.offsets().iter().any(|(id, next)| !self.has_news(*id, *next)) {
                    return self.step(Step::Commit);
                }
                match done {
                    true => self.brokers.commit(&self.retained.offsets()),
                    false => self.brokers.abort(),
                }
                self.renew();
            }
            Step::TimedOut if self.open => {
                self.brokers.abort();
                self.renew();
            }
            _ => {}
        }
    }

    fn log(&self, p: u32) -> u32 {
        self.logs.get(&p).copied().unwrap_or(0)
    }

    fn has_news(&self, id: PartitionId, told: NextOffset) -> bool {
        self.known.get(&id.0) != Some(&told.raw())
    }

    fn renew(&mut self) {
        let mut told = self.brokers.offsets();
        told.retain(|id, next| self.has_news(*id, *next));
        let ledgers = &self.ledgers;
        let done = self.retained.reconcile(|ticket| holds(ledgers, ticket), &told);
        self.deliver(&done);
        self.open = false;
    }

    fn deliver(&mut self, done: &[Record]) {
        for write in done {
            if let Some(ledger) = self.ledgers.get_mut(&write.ticket.partition) {
                let _ = ledger.deliver(write.ticket);
            }
        }
        for (id, ledger) in &self.ledgers {
            if let (Some(next), Some(committed)) = (ledger.committable(), self.brokers.committed.get(&id.0)) {
                assert_eq!(next.raw(), *committed, "what is delivered is committed");
                self.known.insert(id.0, next.raw());
            }
        }
    }

    /// Everything that is left, without further trouble.
    fn finish(&mut self) {
        for p in 0..PARTITIONS {
            self.step(Step::Assign(p));
        }
        loop {
            for p in 0..PARTITIONS {
                self.step(Step::Admit(p));
            }
            self.step(Step::Settle(0));
            self.step(Step::Send(usize::MAX));
            self.step(Step::Commit);
            let left = (0..PARTITIONS).any(|p| self.positions[&p] < self.records);
            if !left && self.inside.is_empty() && self.retained.is_empty() {
                return;
            }
        }
    }
}

fn holds(ledgers: &BTreeMap<PartitionId, Ledger<()>>, ticket: Ticket) -> bool {
    ledgers.get(&ticket.partition).is_some_and(|ledger| ledger.epoch() == ticket.epoch)
}

fn step() -> impl Strategy<Value = Step> {
    let p = 0..PARTITIONS;
    prop_oneof![
        2 => p.clone().prop_map(Step::Assign),
        1 => p.clone().prop_map(Step::Lose),
        1 => p.clone().prop_map(Step::Anew),
        6 => p.prop_map(Step::Admit),
        6 => (0usize..8).prop_map(Step::Settle),
        3 => (1usize..6).prop_map(Step::Send),
        2 => Just(Step::Commit),
        1 => Just(Step::Abort),
        1 => any::<bool>().prop_map(Step::Doubt),
        1 => Just(Step::TimedOut),
    ]
}

/// Each log from its beginning, record by record, and never again what came before.
fn is_in_order(seen: &[(u32, i64)]) -> bool {
    let mut before = None;
    seen.iter().all(|(log, offset)| match before.replace((*log, *offset)) {
        Some((same, last)) if same == *log => *offset == last + 1,
        Some((older, _)) => older < *log && *offset == 0,
        None => *offset == 0,
    })
}

#[test]
fn a_position_that_went_back_is_not_taken_for_committed() {
    let id = PartitionId(0);
    let mut ledger: Ledger<()> = Ledger::new(id, Epoch(1));
    let mut retained = Retained::new();
    // The end of the old log, and the beginning of the new one.
    for offset in [998, 999, 0, 1] {
        let offset = Offset::new(offset);
        retained.push(Record { ticket: ledger.admit(offset, 1, Instant::now()), offset });
    }
    let told = |next| BTreeMap::from([(id, NextOffset::new(next))]);
    // Aborted: nothing was done, wherever the group is.
    assert!(retained.reconcile(|_| true, &told(1000)).is_empty());
    (0..3).for_each(|_| retained.mark_sent());
    assert!(retained.reconcile(|_| true, &told(1000)).is_empty(), "the transaction would have put it to 1");
    (0..3).for_each(|_| retained.mark_sent());
    let done: Vec<i64> = retained.reconcile(|_| true, &told(1)).iter().map(|w| w.offset.raw()).collect();
    assert_eq!(done, [998, 999, 0]);
    assert_eq!(retained.unsent().unwrap().offset.raw(), 1);
}

#[test]
fn what_is_not_ours_is_forgotten_in_the_transaction_too() {
    let mut ledgers = [0, 1].map(|p| Ledger::<()>::new(PartitionId(p), Epoch(1)));
    let mut retained = Retained::new();
    for ledger in [0, 1, 0, 1] {
        let offset = Offset::new(0);
        retained.push(Record { ticket: ledgers[ledger].admit(offset, 1, Instant::now()), offset });
    }
    (0..3).for_each(|_| retained.mark_sent());
    retained.forget(|ticket| ticket.partition == PartitionId(1));
    assert_eq!((retained.sent(), retained.writes.len()), ((1, 1), 2));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases.max(10_000)))]

    #[test]
    fn each_record_is_seen_once_and_in_order(steps in prop::collection::vec(step(), 0..80), records in 1i64..8) {
        let mut worker = Worker::new(records);
        for step in steps {
            worker.step(step);
            for seen in worker.brokers.visible.values() {
                prop_assert!(is_in_order(seen), "so far: {:?}", seen);
            }
        }
        worker.finish();
        for p in 0..PARTITIONS {
            let seen = &worker.brokers.visible[&p];
            prop_assert!(is_in_order(seen) && seen.last() == Some(&(worker.log(p), records - 1)), "{:?}", seen);
            prop_assert_eq!(worker.brokers.committed[&p], records);
        }
        prop_assert!(worker.retained.is_empty(), "nothing is retained in the end");
    }

    #[test]
    fn what_is_replaced_keeps_its_place(n in 1usize..20, at in 0usize..20) {
        let mut ledger: Ledger<()> = Ledger::new(PartitionId(0), Epoch(1));
        let mut retained = Retained::new();
        for offset in 0..n as i64 {
            let offset = Offset::new(offset);
            let ticket = ledger.admit(offset, 1, Instant::now());
            retained.push(Record { ticket, offset });
        }
        let at = at % n;
        let ticket = retained.writes[at].ticket;
        retained.replace(ticket, |w| Ok::<_, ()>(Record { offset: Offset::new(w.offset.raw() + 1000), ..w })).unwrap();
        for (i, write) in retained.writes.iter().enumerate() {
            prop_assert_eq!(write.offset.raw(), i as i64 + if i == at { 1000 } else { 0 });
        }
        prop_assert!(retained.replace(ticket, |_| Err(())).is_err());
        prop_assert_eq!(retained.writes.len(), at, "nothing passes what could not be changed");
    }
}
