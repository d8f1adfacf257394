//! Random schedules of everything that can happen to *several* workers of one group, against a model
//! of the brokers: partitions that move, members that stand still, are counted out and learn of it
//! late or not at all, crashes, aborts, commits whose answer is lost. Whatever happens, the committed
//! log of every partition is its input, once, in order; and in the end all of it.
//!
//! The workers' lines, retained outcomes and handovers are the real ones; what the Kafka thread does
//! with them (`exactly_once`, `renewal`, `rebalance`) is repeated here step for step, under the same
//! names, with every point between two steps open to whatever else may happen.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Instant;

use proptest::prelude::*;

use super::handover::{Handover, Named};
use super::retained::{Retained, Write};
use crate::record::{Epoch, NextOffset, Offset, PartitionId, Ticket};
use crate::sequencer::Ledger;

const PARTITIONS: u32 = 3;
const WORKERS: usize = 3;

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

/// A transaction that is open at the brokers.
#[derive(Default)]
struct Open {
    writes: Vec<(u32, i64)>,
    offsets: BTreeMap<u32, i64>,
}

/// Topics, group and transactions.
#[derive(Default)]
struct Brokers {
    /// What a `read_committed` reader sees, by input partition.
    visible: BTreeMap<u32, Vec<i64>>,
    committed: BTreeMap<u32, i64>,
    /// By worker: its transactional id's epoch, and what is open under it.
    producers: BTreeMap<usize, (u32, Option<Open>)>,
    members: BTreeSet<u64>,
    generation: u64,
    owners: BTreeMap<u32, u64>,
    last_member: u64,
}

#[derive(Debug, PartialEq, Eq)]
enum Refused {
    Fenced,
    NotAMember,
}

impl Brokers {
    fn init(&mut self, id: usize) -> u32 {
        let producer = self.producers.entry(id).or_default();
        *producer = (producer.0 + 1, None);
        producer.0
    }
    fn open(&mut self, id: usize, epoch: u32) -> Result<&mut Open, Refused> {
        let (current, open) = self.producers.get_mut(&id).unwrap();
        if *current == epoch { Ok(open.get_or_insert_default()) } else { Err(Refused::Fenced) }
    }
    /// Looks at member and generation, not at who owns what; and at nothing where there is no member.
    fn send_offsets(
        &mut self,
        id: usize,
        epoch: u32,
        member: Option<u64>,
        generation: u64,
        offsets: BTreeMap<u32, i64>,
    ) -> Result<(), Refused> {
        let known = member.is_none_or(|m| self.members.contains(&m) && generation == self.generation);
        let open = self.open(id, epoch)?;
        if !known {
            return Err(Refused::NotAMember);
        }
        open.offsets.extend(offsets);
        Ok(())
    }
    fn commit(&mut self, id: usize, epoch: u32) -> Result<(), Refused> {
        let Open { writes, offsets } = std::mem::take(self.open(id, epoch)?);
        self.producers.get_mut(&id).unwrap().1 = None;
        for (partition, offset) in writes {
            self.visible.entry(partition).or_default().push(offset);
        }
        self.committed.extend(offsets);
        Ok(())
    }
    fn abort(&mut self, id: usize, epoch: u32) -> Result<(), Refused> {
        self.open(id, epoch)?;
        self.producers.get_mut(&id).unwrap().1 = None;
        Ok(())
    }
    /// `None`: a transaction that is open has offsets of it.
    fn stable(&self, partition: u32) -> Option<i64> {
        let pending = |(_, open): &(u32, Option<Open>)| {
            open.as_ref().is_some_and(|open| open.offsets.contains_key(&partition))
        };
        if self.producers.values().any(pending) {
            return None;
        }
        Some(self.committed.get(&partition).copied().unwrap_or(0))
    }
    fn expel(&mut self, member: u64) {
        self.members.remove(&member);
        self.owners.retain(|_, owner| *owner != member);
    }
}

#[derive(Debug)]
enum Event {
    Assign(Named),
    /// And whether the client counts it as answered already.
    Revoke(Named, bool),
    Lost(Named),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Idle,
    Open,
    /// Offsets on their way: were they taken?
    Sending(bool),
    Committing,
    Aborting,
    Make,
    Ask,
}

/// One process. What its Kafka client knows, and what its Kafka thread has made of that.
struct Worker {
    id: usize,
    frozen: bool,
    // The client's.
    member: Option<u64>,
    generation: u64,
    client: BTreeSet<u32>,
    events: VecDeque<Event>,
    // The thread's.
    assigned_as: Option<u64>,
    handover: Handover,
    ledgers: BTreeMap<PartitionId, Ledger<()>>,
    closing: BTreeSet<u32>,
    positions: BTreeMap<u32, i64>,
    inside: Vec<Ticket>,
    offsets: HashMap<Ticket, Offset>,
    retained: Retained<Record>,
    phase: Phase,
    producer: u32,
    assignments: u64,
    /// What the group has, as far as it knows.
    known: BTreeMap<u32, i64>,
}

fn named(partition: u32) -> (String, i32) {
    ("t".to_owned(), partition as i32)
}

fn numbers(partitions: &Named) -> impl Iterator<Item = u32> {
    partitions.iter().map(|(_, partition)| *partition as u32)
}

impl Worker {
    fn start(id: usize, brokers: &mut Brokers) -> Self {
        Self {
            id,
            frozen: false,
            member: None,
            generation: 0,
            client: BTreeSet::new(),
            events: VecDeque::new(),
            assigned_as: None,
            handover: Handover::default(),
            ledgers: BTreeMap::new(),
            closing: BTreeSet::new(),
            positions: BTreeMap::new(),
            inside: Vec::new(),
            offsets: HashMap::new(),
            retained: Retained::new(),
            phase: Phase::Idle,
            producer: brokers.init(id),
            assignments: 0,
            known: BTreeMap::new(),
        }
    }

    /// `false` also while it is not known yet.
    fn is_certain(&self, certain: bool) -> bool {
        certain && !self.handover.is_answered_unheard()
    }

    /// Takes partitions up anew (a gap, a stall). A revocation that the client has in its queue counts
    /// as answered by that, and the group goes on.
    fn begin_again(&mut self, brokers: &mut Brokers) {
        if self.handover.giving_up().is_some() {
            return;
        }
        self.handover.unassigned();
        self.answer_unheard(brokers);
    }

    fn answer_unheard(&mut self, brokers: &mut Brokers) {
        for event in &mut self.events {
            let Event::Revoke(partitions, answered) = event else { continue };
            if std::mem::replace(answered, true) {
                continue;
            }
            for partition in numbers(partitions) {
                if self.member.is_some() && brokers.owners.get(&partition) == self.member.as_ref() {
                    brokers.owners.remove(&partition);
                }
            }
        }
    }

    fn holds(&self) -> impl Fn(Ticket) -> bool + use<> {
        let epochs: BTreeMap<_, _> = self.ledgers.iter().map(|(id, l)| (*id, l.epoch())).collect();
        move |ticket| epochs.get(&ticket.partition) == Some(&ticket.epoch)
    }

    fn check_membership(&mut self, brokers: &mut Brokers) -> bool {
        let Some(now) = self.member else { return false };
        if self.assigned_as == Some(now) {
            return self.is_certain(true);
        }
        self.assigned_as = Some(now);
        let unaware: Named = self.ledgers.keys().map(|id| named(id.0)).collect();
        if unaware.is_empty() {
            return self.is_certain(true);
        }
        self.lose(unaware.clone(), brokers);
        self.handover.unassigned();
        self.answer_unheard(brokers);
        self.handover.assigned(unaware);
        false
    }

    fn heed(&mut self, brokers: &mut Brokers) {
        match self.events.pop_front() {
            None => self.handover.caught_up(),
            Some(Event::Assign(partitions)) => self.handover.assigned(partitions),
            Some(Event::Revoke(partitions, _)) if self.handover.is_answered_unheard() => {
                self.lose(partitions, brokers);
            }
            Some(Event::Revoke(partitions, _)) => {
                self.check_membership(brokers);
                self.closing.extend(numbers(&partitions));
                self.handover.revoked(partitions, Instant::now());
            }
            Some(Event::Lost(partitions)) => self.lose(partitions, brokers),
        }
    }

    fn lose(&mut self, partitions: Named, brokers: &mut Brokers) {
        let lost = self.handover.lost(partitions);
        self.part_with(&lost, brokers);
    }

    fn part_with(&mut self, partitions: &Named, brokers: &mut Brokers) {
        for partition in numbers(partitions) {
            self.ledgers.remove(&PartitionId(partition));
            self.closing.remove(&partition);
            // The group hears of what the client does not read any more.
            let ours = self.member.is_some() && brokers.owners.get(&partition) == self.member.as_ref();
            if ours && !self.client.contains(&partition) {
                brokers.owners.remove(&partition);
            }
        }
    }

    fn advance_revocation(&mut self, in_time: bool, brokers: &mut Brokers) {
        let Some(revocation) = self.handover.giving_up() else { return };
        let undelivered = numbers(&revocation.partitions)
            .filter_map(|p| self.ledgers.get(&PartitionId(p)))
            .any(|ledger| ledger.undelivered() > 0);
        if in_time && undelivered {
            return;
        }
        let revocation = self.handover.take_giving_up().unwrap();
        self.part_with(&revocation.partitions, brokers);
    }

    fn begin_assigned(&mut self, brokers: &mut Brokers) {
        let Some(partitions) = self.handover.to_begin().cloned() else { return };
        let told: Option<Vec<_>> = numbers(&partitions).map(|p| Some((p, brokers.stable(p)?))).collect();
        let Some(told) = told else { return };
        self.check_membership(brokers);
        for (partition, position) in told {
            self.assignments += 1;
            let id = PartitionId(partition);
            self.ledgers.insert(id, Ledger::new(id, Epoch(self.assignments)));
            self.positions.insert(partition, position);
            self.known.insert(partition, position);
        }
        self.handover.begun(&partitions);
    }

    fn admit(&mut self, partition: u32, records: i64) {
        let Some(ledger) = self.ledgers.get_mut(&PartitionId(partition)) else { return };
        let position = self.positions.get_mut(&partition).unwrap();
        if *position < records && !self.closing.contains(&partition) {
            let offset = Offset::new(*position);
            let ticket = ledger.admit(offset, 1, Instant::now());
            self.offsets.insert(ticket, offset);
            self.inside.push(ticket);
            *position += 1;
        }
    }

    fn settle(&mut self, n: usize) {
        if self.inside.is_empty() {
            return;
        }
        let ticket = self.inside.swap_remove(n % self.inside.len());
        let Some(ledger) = self.ledgers.get_mut(&ticket.partition) else { return };
        if ledger.settle(ticket, ()).is_ok() && !self.closing.contains(&ticket.partition.0) {
            while let Some((ticket, ())) = ledger.release() {
                self.retained.push(Record { ticket, offset: self.offsets[&ticket] });
            }
        }
    }

    fn is_all_ours(&mut self) -> bool {
        let holds = self.holds();
        self.retained.forget_unsent(&holds);
        let all = !self.retained.any_sent_not(holds);
        if !all {
            self.phase = Phase::Aborting;
        }
        all
    }

    /// One step of the transaction; `answer`: what becomes of a commit.
    fn transact(&mut self, most: usize, answer: Answer, brokers: &mut Brokers) {
        match self.phase {
            Phase::Idle => {
                self.retained.aborted(self.holds());
                if !self.retained.is_empty() {
                    self.phase = Phase::Open;
                }
            }
            Phase::Open => {
                if !self.is_all_ours() {
                    return;
                }
                for _ in 0..most {
                    let Some(write) = self.retained.unsent() else { break };
                    let (partition, offset) = (write.ticket.partition.0, write.offset.raw());
                    match brokers.open(self.id, self.producer) {
                        Ok(open) => open.writes.push((partition, offset)),
                        Err(_) => return self.phase = Phase::Make,
                    }
                    self.retained.mark_sent();
                }
                if answer != Answer::Wait {
                    self.end(brokers);
                }
            }
            Phase::Sending(taken) => {
                let ours = !self.retained.any_sent_not(self.holds());
                self.phase = if taken && ours { Phase::Committing } else { Phase::Aborting };
            }
            Phase::Committing => match answer {
                Answer::Wait => {}
                Answer::Told => match brokers.commit(self.id, self.producer) {
                    Ok(()) => {
                        self.phase = Phase::Idle;
                        let done = self.retained.committed();
                        self.deliver(&done);
                    }
                    Err(_) => self.phase = Phase::Make,
                },
                Answer::Lost { done } => {
                    if done {
                        let _ = brokers.commit(self.id, self.producer);
                    }
                    self.phase = Phase::Make;
                }
            },
            Phase::Aborting => {
                let _ = brokers.abort(self.id, self.producer);
                self.retained.aborted(self.holds());
                self.phase = Phase::Make;
            }
            Phase::Make => {
                self.producer = brokers.init(self.id);
                self.phase = Phase::Ask;
            }
            Phase::Ask => {
                let held = self.retained.partitions().into_iter().filter(|id| self.ledgers.contains_key(id));
                let told: Option<BTreeMap<_, _>> =
                    held.map(|id| Some((id, NextOffset::new(brokers.stable(id.0)?)))).collect();
                let Some(mut committed) = told else { return };
                committed.retain(|id, next| self.known.get(&id.0) != Some(&next.raw()));
                let done = self.retained.reconcile(self.holds(), &committed);
                self.deliver(&done);
                self.phase = Phase::Idle;
            }
        }
    }

    fn end(&mut self, brokers: &mut Brokers) {
        let (member, generation) = (self.member, self.generation);
        if !self.check_membership(brokers) || !self.is_all_ours() {
            return;
        }
        let offsets: BTreeMap<_, _> =
            self.retained.offsets().iter().map(|(id, next)| (id.0, next.raw())).collect();
        if offsets.is_empty() {
            // What was to go in was lost: the client asks nobody.
            return self.phase = Phase::Sending(true);
        }
        self.phase = match brokers.send_offsets(self.id, self.producer, member, generation, offsets) {
            Ok(()) => Phase::Sending(true),
            Err(Refused::NotAMember) => Phase::Sending(false),
            Err(Refused::Fenced) => Phase::Make,
        };
    }

    fn deliver(&mut self, done: &[Record]) {
        for write in done {
            if let Some(ledger) = self.ledgers.get_mut(&write.ticket.partition) {
                let _ = ledger.deliver(write.ticket);
                self.known.extend(ledger.committable().map(|next| (write.ticket.partition.0, next.raw())));
            }
        }
    }

    fn is_done(&self, records: i64) -> bool {
        let read = self.ledgers.keys().all(|id| self.positions[&id.0] >= records);
        let still = self.phase == Phase::Idle && self.retained.is_empty() && self.events.is_empty();
        read && still && !self.handover.is_pending() && self.ledgers.values().all(|l| l.in_flight() == 0)
    }
}

/// What becomes of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// Not asked for yet.
    Wait,
    Told,
    /// The answer is lost; was it done?
    Lost {
        done: bool,
    },
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Start(usize),
    Crash(usize),
    /// It stands still, and knows nothing.
    Freeze(usize),
    Thaw(usize),
    /// The group counts a member out.
    Expel(usize),
    /// A member that was counted out learns of it: is its client's user told, too?
    Learn(usize, bool),
    /// The group wants this partition to be with that worker.
    Move(u32, usize),
    /// The brokers give up on a transaction.
    TimeOut(usize),
    Heed(usize),
    /// Gives up what it is asked for; in time, or at the deadline.
    GiveUp(usize, bool),
    Begin(usize),
    BeginAgain(usize),
    Admit(usize, u32),
    Settle(usize, usize),
    Transact(usize, usize, Answer),
}

struct World {
    brokers: Brokers,
    workers: BTreeMap<usize, Worker>,
    records: i64,
}

impl World {
    /// A new generation: all who can join again do so; whoever stands still is counted out.
    fn rebalance(&mut self) {
        self.brokers.generation += 1;
        for worker in self.workers.values_mut() {
            match worker.member.filter(|member| self.brokers.members.contains(member)) {
                Some(member) if worker.frozen => self.brokers.expel(member),
                Some(_) => worker.generation = self.brokers.generation,
                None => {}
            }
        }
    }

    fn join(&mut self, w: usize) {
        self.brokers.last_member += 1;
        let member = self.brokers.last_member;
        self.brokers.members.insert(member);
        self.workers.get_mut(&w).unwrap().member = Some(member);
        self.rebalance();
    }

    fn step(&mut self, step: Step) {
        let brokers = &mut self.brokers;
        match step {
            Step::Start(w) if !self.workers.contains_key(&w) => {
                self.workers.insert(w, Worker::start(w, brokers));
                self.join(w);
            }
            Step::Crash(w) => {
                if let Some(member) = self.workers.remove(&w).and_then(|worker| worker.member) {
                    brokers.expel(member);
                }
            }
            Step::TimeOut(w) => {
                if let Some((epoch, open @ Some(_))) = brokers.producers.get_mut(&w) {
                    (*epoch, *open) = (*epoch + 1, None);
                }
            }
            Step::Expel(w) => {
                if let Some(member) = self.workers.get(&w).and_then(|worker| worker.member) {
                    brokers.expel(member);
                }
            }
            Step::Thaw(w) => {
                if let Some(worker) = self.workers.get_mut(&w) {
                    worker.frozen = false;
                }
            }
            Step::Move(p, w) => self.give(p, w),
            Step::Learn(w, told) => self.learn(w, told),
            Step::Start(_) => {}
            Step::Freeze(w)
            | Step::Heed(w)
            | Step::GiveUp(w, _)
            | Step::Begin(w)
            | Step::BeginAgain(w)
            | Step::Admit(w, _)
            | Step::Settle(w, _)
            | Step::Transact(w, ..) => {
                let Some(worker) = self.workers.get_mut(&w).filter(|worker| !worker.frozen) else { return };
                match step {
                    Step::Freeze(_) => worker.frozen = true,
                    Step::Heed(_) => worker.heed(brokers),
                    Step::GiveUp(_, in_time) => worker.advance_revocation(in_time, brokers),
                    Step::Begin(_) => worker.begin_assigned(brokers),
                    Step::BeginAgain(_) => worker.begin_again(brokers),
                    Step::Admit(_, p) => worker.admit(p, self.records),
                    Step::Settle(_, n) => worker.settle(n),
                    Step::Transact(_, most, answer) => worker.transact(most, answer, brokers),
                    _ => {}
                }
            }
        }
    }

    fn give(&mut self, p: u32, w: usize) {
        let heir = self.workers.get(&w).filter(|worker| !worker.frozen).and_then(|worker| worker.member);
        let Some(heir) = heir.filter(|member| self.brokers.members.contains(member)) else { return };
        match self.brokers.owners.get(&p).copied() {
            None => {
                self.brokers.owners.insert(p, heir);
                self.rebalance();
                let worker = self.workers.get_mut(&w).unwrap();
                worker.client.insert(p);
                worker.events.push_back(Event::Assign([named(p)].into()));
            }
            Some(owner) if owner != heir => {
                let owner = self.workers.values_mut().find(|worker| worker.member == Some(owner));
                let Some(owner) = owner.filter(|o| !o.frozen) else { return };
                if !owner.client.remove(&p) {
                    return;
                }
                owner.events.push_back(Event::Revoke([named(p)].into(), false));
            }
            Some(_) => {}
        }
    }

    fn learn(&mut self, w: usize, told: bool) {
        let Some(worker) = self.workers.get_mut(&w).filter(|worker| !worker.frozen) else { return };
        if worker.member.is_some_and(|member| self.brokers.members.contains(&member)) {
            return;
        }
        // The client joins when everything that it wanted an answer to is answered.
        if !told && (!worker.events.is_empty() || worker.handover.is_pending()) {
            return;
        }
        let was_member = worker.member.take().is_some();
        let client = std::mem::take(&mut worker.client);
        if told {
            if was_member {
                worker.events.push_back(Event::Lost(client.into_iter().map(named).collect()));
            } else if worker.events.is_empty() {
                self.join(w);
            }
            return;
        }
        // A static member that finds out by joining: it is a new one, and keeps what the group has not
        // given to others; the rest it is asked for as if it were still its own.
        self.join(w);
        let worker = self.workers.get_mut(&w).unwrap();
        let member = worker.member.unwrap();
        let (free, others): (Vec<u32>, Vec<u32>) =
            client.into_iter().partition(|p| !self.brokers.owners.contains_key(p));
        for p in free {
            self.brokers.owners.insert(p, member);
            worker.client.insert(p);
        }
        if !others.is_empty() {
            worker.events.push_back(Event::Revoke(others.into_iter().map(named).collect(), false));
        }
    }

    /// Nothing goes wrong any more. Everybody does what is left to do, whoever is there.
    fn finish(&mut self) {
        for w in 0..WORKERS {
            self.step(Step::Thaw(w));
            if !self.workers.contains_key(&w) {
                self.step(Step::TimeOut(w));
            }
        }
        self.step(Step::Start(0));
        for _ in 0..1_000 {
            for w in 0..WORKERS {
                self.step(Step::Learn(w, true));
                self.step(Step::Heed(w));
                self.step(Step::GiveUp(w, true));
                self.step(Step::Begin(w));
                (0..PARTITIONS).for_each(|p| self.step(Step::Admit(w, p)));
                self.step(Step::Settle(w, 0));
                self.step(Step::Transact(w, usize::MAX, Answer::Told));
            }
            for p in (0..PARTITIONS).filter(|p| !self.brokers.owners.contains_key(p)).collect::<Vec<_>>() {
                (0..WORKERS).for_each(|w| self.give_if_free(p, w));
            }
            let owned = (0..PARTITIONS).all(|p| self.brokers.owners.contains_key(&p));
            if owned && self.workers.values().all(|worker| worker.is_done(self.records)) {
                return;
            }
        }
        panic!("nobody goes on with what is left");
    }

    fn give_if_free(&mut self, p: u32, w: usize) {
        if !self.brokers.owners.contains_key(&p) {
            self.give(p, w);
        }
    }
}

fn step() -> impl Strategy<Value = Step> {
    let (w, p) = (0..WORKERS, 0..PARTITIONS);
    let answer = prop_oneof![
        2 => Just(Answer::Wait),
        6 => Just(Answer::Told),
        1 => any::<bool>().prop_map(|done| Answer::Lost { done }),
    ];
    prop_oneof![
        2 => w.clone().prop_map(Step::Start),
        1 => w.clone().prop_map(Step::Crash),
        1 => w.clone().prop_map(Step::Freeze),
        2 => w.clone().prop_map(Step::Thaw),
        1 => w.clone().prop_map(Step::Expel),
        3 => (w.clone(), any::<bool>()).prop_map(|(w, told)| Step::Learn(w, told)),
        6 => (p.clone(), w.clone()).prop_map(|(p, w)| Step::Move(p, w)),
        1 => w.clone().prop_map(Step::TimeOut),
        8 => w.clone().prop_map(Step::Heed),
        4 => (w.clone(), prop::bool::weighted(0.8)).prop_map(|(w, in_time)| Step::GiveUp(w, in_time)),
        8 => w.clone().prop_map(Step::Begin),
        2 => w.clone().prop_map(Step::BeginAgain),
        20 => (w.clone(), p).prop_map(|(w, p)| Step::Admit(w, p)),
        20 => (w.clone(), 0usize..8).prop_map(|(w, n)| Step::Settle(w, n)),
        30 => (w, 1usize..6, answer).prop_map(|(w, most, answer)| Step::Transact(w, most, answer)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases.max(10_000)))]

    #[test]
    fn the_committed_log_is_the_input_once_and_in_order(
        steps in prop::collection::vec(step(), 0..200),
        records in 1i64..12,
    ) {
        let mut world = World { brokers: Brokers::default(), workers: BTreeMap::new(), records };
        for step in steps {
            world.step(step);
            let Brokers { visible, committed, .. } = &world.brokers;
            for (partition, seen) in visible {
                prop_assert!(seen.iter().copied().eq(0..seen.len() as i64), "{}: {:?} after {:?}", partition, seen, step);
                prop_assert_eq!(committed[partition], seen.len() as i64, "results and offsets are one");
            }
        }
        world.finish();
        for p in 0..PARTITIONS {
            let seen = world.brokers.visible.get(&p);
            prop_assert!(seen.is_some_and(|seen| seen.iter().copied().eq(0..records)), "{}: {:?}", p, seen);
        }
    }
}
