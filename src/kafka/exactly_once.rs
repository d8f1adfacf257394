//! Exactly once: results, dead letters and offsets of a stretch of records in one transaction.
//!
//! ```text
//!          first release            interval, size, hurry        reports in, offsets sent
//!  Idle ───────────────────► Open ───────────────────► Ending ────► Sending ────────────► Committing
//!   ▲  ▲                      │ a write failed,          │ refused (rebalance)              │  │
//!   │  │                      │ a partition is gone      │                                  │  │
//!   │  └────────── Aborting ◄─┴──────────────────────────┘                  committed, known│  │
//!   │                  │ in doubt                                                           │  │
//!   └── Renewing ◄─────┴───────────────────────────────── in doubt ─────────────────────────┼──┘
//!   └───────────────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! What a transaction holds is retained until the transaction is known to be committed, so nothing
//! is inferred twice. Whether a partition is ours, which generation of the group we are in, and what
//! is committed are all looked at here, on the thread that polls, between two polls: nothing can
//! change in between. (While the offsets are on their way polling goes on; then it is looked at once
//! more, and the group itself refuses offsets of an older generation.) An outcome that is not certain is never guessed: the producer is renewed
//! (which fences every request that may still be on its way), and the group is asked what it has
//! (`renewal`). What errors mean is in `verdict`. `docs/DELIVERY.md` has all of it as a table.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::Producer;

use super::client;
use super::context::{Delivery, InFlight};
use super::error::RunError;
use super::offsets::{Progress, Sending};
use super::publish::Refusal;
use super::renewal::Renewal;
use super::retained::Retained;
use super::start::{self, Places};
use super::verdict::{Verdict, verdict};
use super::worker::{RETRY_AFTER, Worker, list};
use crate::config::settings::{Kafka, Limits};
use crate::record::Ticket;

/// How long one call may hold up the loop; it is resumed at the next turn.
pub(super) const SLICE: Duration = Duration::from_millis(50);
/// librdkafka waits 500 ms before it sends offsets a second time: if it took nearly as long, the
/// first request may still be on its way, and could put older offsets into a later transaction.
const SENT_TWICE: Duration = Duration::from_millis(400);
/// Aborts in a row before the worker gives up: an error that the brokers keep to themselves, or a
/// commit that always fails, would go on for ever.
const MOST_ABORTS: u32 = 60;

/// The worker's transactions.
pub(super) struct Transactions {
    pub(super) id: String,
    pub(super) phase: Phase,
    /// In [`Phase::Sending`]: the call under way.
    sending: Option<Sending>,
    pub(super) retained: Retained<Arc<InFlight>>,
    /// Where the group begins with a topic, if that is for us to say: committed with the rest, or
    /// asked for again.
    pub(super) places: Places,
    interval: Duration,
    pub(super) timeout: Duration,
    max_records: usize,
    max_bytes: usize,
    /// When the open transaction was begun.
    pub(super) begun: Option<Instant>,
    /// A request of this transaction may still be on its way, although it was answered.
    pub(super) doubt: bool,
    /// After an abort: not before then.
    pub(super) again_at: Instant,
    /// Of a static member: how long the group needs to tell that another one has its place.
    pub(super) listen: Duration,
    /// No new producer before then.
    pub(super) listen_until: Instant,
    /// Producers beyond use in a row, without a commit in between.
    pub(super) failures: u32,
    /// In a row, without a commit in between; not for a record's size, nor for a change of the group.
    pub(super) aborts: u32,
    /// Of the assignment, as the transaction knows it.
    changes: u64,
    /// The end is near: nobody waits for a fuller transaction.
    pub(super) closing: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// No transaction.
    Idle,
    /// Writes go in.
    Open,
    /// No more go in; delivery reports are waited for.
    Ending,
    /// The offsets are on their way.
    Sending,
    /// The offsets are in; the commit is under way.
    Committing(Instant),
    /// The abort is under way.
    Aborting(Instant),
    /// The outcome is in doubt, or the producer is beyond use: a new producer, and a question to the
    /// group.
    Renewing(Renewal),
}

impl Transactions {
    /// With a producer that was initialised.
    pub(super) fn new(id: String, kafka: &Kafka, limits: &Limits) -> Self {
        Self {
            id,
            phase: Phase::Idle,
            sending: None,
            retained: Retained::new(),
            places: Places::new(),
            interval: kafka.commit_interval,
            timeout: kafka.transaction_timeout,
            // What a transaction retains counts as in flight: at half of the budget reading goes on.
            max_records: (limits.max_in_flight_records.get() / 2).max(1),
            max_bytes: (limits.max_in_flight_bytes.get() / 2).max(1),
            begun: None,
            doubt: false,
            again_at: Instant::now(),
            listen: match kafka.group_instance_id {
                Some(_) => client::heartbeat_interval(kafka) * 2,
                None => Duration::ZERO,
            },
            listen_until: Instant::now(),
            failures: 0,
            aborts: 0,
            changes: 0,
            closing: false,
        }
    }

    /// Have the brokers nothing of ours that is neither committed nor aborted? (Readers would wait for
    /// it until `kafka.transaction_timeout`.) [`Renewal::Init`] ends what is open.
    pub(super) fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Idle | Phase::Renewing(Renewal::Ask))
    }

    /// # Errors
    /// Where there were so many that it is no accident.
    fn check_aborts(&self, code: RDKafkaErrorCode) -> Result<(), RunError> {
        if self.aborts < MOST_ABORTS {
            return Ok(());
        }
        let detail = format!(
            "{MOST_ABORTS} transactions in a row were not committed; may this user write all of the pipeline's topics, and are their brokers well?"
        );
        Err(RunError::ClientFatal { code, detail })
    }

    fn is_due(&self) -> bool {
        let (records, bytes) = self.retained.sent();
        self.begun.is_some_and(|begun| begun.elapsed() >= self.interval)
            || records >= self.max_records
            || bytes >= self.max_bytes
    }
}

impl Worker {
    /// One step of the transaction. Does not block for longer than a slice.
    pub(super) fn transact(&mut self) -> Result<(), RunError> {
        let Some(mut t) = self.transactions.take() else { return Ok(()) };
        let stepped = self.step(&mut t);
        self.transactions = Some(t);
        stepped
    }

    fn step(&mut self, t: &mut Transactions) -> Result<(), RunError> {
        self.publisher.poll();
        self.take_reports(t)?;
        self.forget_others(t);
        match t.phase {
            Phase::Idle => self.begin(t),
            Phase::Open => {
                self.fill(t)?;
                if t.phase == Phase::Open && (t.is_due() || t.closing || self.hurry()) {
                    t.phase = Phase::Ending;
                    return self.end(t);
                }
                Ok(())
            }
            Phase::Ending => self.end(t),
            Phase::Sending => self.sent(t),
            Phase::Committing(since) => self.commit_transaction(t, since),
            Phase::Aborting(since) => self.abort(t, since),
            Phase::Renewing(step) => self.renew(t, step),
        }
    }

    /// Somebody waits for what the transaction holds.
    fn hurry(&self) -> bool {
        self.handover.giving_up().is_some() || self.draining || self.assignment.waits_for_commit()
    }

    fn begin(&mut self, t: &mut Transactions) -> Result<(), RunError> {
        self.drop_places_of_others(t);
        if t.retained.unsent().is_none() && t.places.is_empty() || Instant::now() < t.again_at {
            return Ok(());
        }
        // What a partition that is gone has left behind is its next owner's.
        t.retained.aborted(|ticket| self.assignment.holds(ticket));
        if t.retained.is_empty() && t.places.is_empty() {
            return Ok(());
        }
        match self.publisher.producer().begin_transaction() {
            Ok(()) => {
                t.begun = Some(Instant::now());
                t.doubt = false;
                self.publisher.forget_doubts();
                t.phase = Phase::Open;
                self.fill(t)
            }
            Err(error) => self.failed(t, &error, verdict(&error)),
        }
    }

    /// Where a topic begins is for the owner of its first partition to say, before it begins itself.
    fn drop_places_of_others(&self, t: &mut Transactions) {
        let assigned = self.handover.to_begin().filter(|_| !self.draining);
        let ours = |topic: &String| assigned.is_some_and(|a| a.contains(&(topic.clone(), start::FIRST)));
        t.places.retain(|(topic, ..)| ours(topic));
    }

    /// While a transaction is given up, which can take long, partitions come and go: what those that are
    /// gone have left here is in nobody's budget.
    fn forget_others(&self, t: &mut Transactions) {
        let given_up = matches!(t.phase, Phase::Aborting(_) | Phase::Renewing(_));
        if given_up && t.changes != self.assignment.changes() {
            t.changes = self.assignment.changes();
            t.retained.forget(|ticket| self.assignment.holds(ticket));
        }
    }

    /// Is everything in the open transaction of partitions that are ours? Else it is aborted: their
    /// next owner writes it.
    fn is_all_ours(&self, t: &mut Transactions) -> bool {
        if t.changes == self.assignment.changes() {
            return true;
        }
        t.changes = self.assignment.changes();
        let ours = |ticket| self.assignment.holds(ticket);
        t.retained.forget_unsent(ours);
        let all = !t.retained.any_sent_not(ours);
        if !all {
            t.phase = Phase::Aborting(Instant::now());
        }
        all
    }

    /// Into the open transaction with everything that was released.
    fn fill(&mut self, t: &mut Transactions) -> Result<(), RunError> {
        if !self.is_all_ours(t) {
            return Ok(());
        }
        while let Some(write) = t.retained.unsent() {
            match self.publisher.send(write) {
                Ok(()) => t.retained.mark_sent(),
                Err(RDKafkaErrorCode::QueueFull) => break,
                Err(code) => {
                    tracing::warn!(%code, "a write was not taken into the transaction");
                    t.phase = Phase::Aborting(Instant::now());
                    match self.publisher.refusal(write, code) {
                        Refusal::ForGood(error) => return Err(error),
                        Refusal::TooLarge => {
                            let ticket = write.ticket;
                            self.make_smaller(t, ticket)?;
                        }
                        Refusal::ForNow => t.aborts += 1,
                    }
                    break;
                }
            }
        }
        Ok(())
    }

    fn make_smaller(&mut self, t: &mut Transactions, ticket: Ticket) -> Result<(), RunError> {
        let (publisher, surge) = (&self.publisher, self.surge.as_mut());
        t.retained.replace(ticket, |write| publisher.smaller(write, surge))
    }

    /// What became of single writes. One that failed fails its transaction.
    fn take_reports(&mut self, t: &mut Transactions) -> Result<(), RunError> {
        while let Some(Delivery { write, result }) = self.publisher.next_report() {
            let Err(code) = result else { continue };
            let running = matches!(t.phase, Phase::Open | Phase::Ending);
            if running {
                t.phase = Phase::Aborting(Instant::now());
            }
            match self.publisher.refusal(&write, code) {
                // Also where something else has begun the abort: written again as it is, it would
                // fail the next transaction too.
                Refusal::TooLarge => {
                    let ticket = write.ticket;
                    drop(write);
                    self.make_smaller(t, ticket)?;
                }
                Refusal::ForNow if running => {
                    tracing::warn!(%code, "a write failed; its transaction is aborted and written again");
                    t.aborts += 1;
                }
                // Purged by an abort, or its transaction is lost anyhow.
                Refusal::ForNow => {}
                Refusal::ForGood(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// All writes are in; once they are confirmed, the offsets follow, with the group's own word on
    /// who we are.
    fn end(&mut self, t: &mut Transactions) -> Result<(), RunError> {
        if !self.is_all_ours(t) {
            return Ok(());
        }
        if self.publisher.producer().in_flight_count() > 0 {
            return Ok(());
        }
        let Some(group) = self.consumer.group_metadata() else {
            t.phase = Phase::Aborting(Instant::now());
            return Ok(());
        };
        // Asked after the metadata, which are then of the same member: no id comes twice. While we are
        // none (`false`) we wait: for the word that everything was lost, or for a new name.
        if !self.check_membership()? || !self.is_all_ours(t) {
            return Ok(());
        }
        let offsets = t.retained.offsets();
        let names = self.assignment.names_of(offsets.keys().copied().collect());
        let named = offsets.iter().filter_map(|(id, next)| {
            let (topic, partition) = names.get(id)?;
            Some((topic.as_ref(), *partition, Some(*next)))
        });
        self.drop_places_of_others(t);
        let places = t.places.iter().map(|(topic, partition, at)| (topic.as_str(), *partition, Some(*at)));
        let named = named.chain(places);
        t.sending = Some(Sending::start(self.publisher.producer().clone(), list(named)?, group)?);
        t.phase = Phase::Sending;
        Ok(())
    }

    /// The offsets are in? Then the commit, if everything in it is still ours: polling went on, and
    /// an assignment may have been lost meanwhile.
    fn sent(&mut self, t: &mut Transactions) -> Result<(), RunError> {
        let progress = t.sending.as_ref().map_or(Progress::Lost, Sending::progress);
        if matches!(progress, Progress::Waiting) {
            return Ok(());
        }
        t.sending = None;
        t.phase = Phase::Ending;
        match progress {
            Progress::Waiting => Ok(()),
            Progress::Done((Ok(()), took)) => {
                t.doubt |= took >= SENT_TWICE;
                if t.retained.any_sent_not(|ticket| self.assignment.holds(ticket)) {
                    t.phase = Phase::Aborting(Instant::now());
                    return Ok(());
                }
                let now = Instant::now();
                t.phase = Phase::Committing(now);
                self.commit_transaction(t, now)
            }
            // An illegal generation, or a rebalance in progress: what is still ours is written again.
            Progress::Done((Err(error), _)) => self.failed(t, &error, verdict(&error)),
            Progress::Lost => {
                tracing::warn!(
                    "the group's coordinator does not take the offsets of a transaction; making a new producer"
                );
                self.metrics.commit(false);
                t.phase = Phase::Renewing(Renewal::Make);
                Ok(())
            }
        }
    }

    fn commit_transaction(&mut self, t: &mut Transactions, since: Instant) -> Result<(), RunError> {
        match self.publisher.producer().commit_transaction(SLICE) {
            Ok(()) => {
                t.begun = None;
                t.failures = 0;
                t.aborts = 0;
                t.doubt |= self.publisher.has_doubts();
                t.phase = if t.doubt { Phase::Renewing(Renewal::Make) } else { Phase::Idle };
                let begun = std::mem::take(&mut t.places).into_iter().map(|(topic, ..)| topic);
                for topic in begun.collect::<BTreeSet<_>>() {
                    tracing::info!(
                        topic,
                        "a new group: beginning where input.start says, and that is committed"
                    );
                }
                let done = t.retained.committed();
                self.count_committed(&done);
                self.metrics.commit(true);
                self.metrics.transaction("committed");
                Ok(())
            }
            Err(error) => match verdict(&error) {
                Verdict::Again if since.elapsed() < t.timeout => Ok(()),
                Verdict::Fatal => self.failed(t, &error, Verdict::Fatal),
                // Never aborted: the brokers may have it.
                _ => {
                    tracing::warn!(%error, "it is not known whether a transaction was committed; asking the group");
                    self.metrics.commit(false);
                    t.phase = Phase::Renewing(Renewal::Make);
                    // Taken back where the group has it after all.
                    t.aborts += 1;
                    t.check_aborts(error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail))
                }
            },
        }
    }

    fn abort(&mut self, t: &mut Transactions, since: Instant) -> Result<(), RunError> {
        match self.publisher.producer().abort_transaction(SLICE) {
            Ok(()) => {
                t.begun = None;
                t.again_at = Instant::now() + RETRY_AFTER;
                t.retained.aborted(|ticket| self.assignment.holds(ticket));
                // Always: what was purged may have been written and not confirmed. The next writes
                // would get the same sequence numbers, and the leader would take them for repetitions
                // of aborted ones: confirmed, and lost. A new epoch begins its sequences anew.
                t.phase = Phase::Renewing(Renewal::Make);
                if let Some(code) = self.publisher.is_refused() {
                    return Err(RunError::Refused(code));
                }
                t.check_aborts(RDKafkaErrorCode::PurgeQueue)?;
                tracing::info!("a transaction was aborted; what is still ours is written again");
                self.metrics.transaction("aborted");
                Ok(())
            }
            // It waits for delivery reports, which are served at the beginning of each step.
            Err(error) => match verdict(&error) {
                Verdict::Again if since.elapsed() < t.timeout => Ok(()),
                Verdict::Fatal => self.failed(t, &error, Verdict::Fatal),
                _ => {
                    t.phase = Phase::Renewing(Renewal::Make);
                    Ok(())
                }
            },
        }
    }
}
