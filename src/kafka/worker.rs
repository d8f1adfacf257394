//! The loop of the thread that owns Kafka. Each turn: take up what the group said, settle what
//! the stages finished, publish it in order, count what was delivered, commit, pause or resume,
//! and read on.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::Offset as KafkaOffset;

use super::assignment::{Assignment, Ready};
use super::at_least_once::Waiting;
use super::context::{ConsumerEvents, Event, InFlight};
use super::error::{RunError, consumer_fate};
use super::exactly_once::{Phase, Transactions};
use super::handover::Handover;
use super::pace::{Pace, Work};
use super::publish::Publisher;
use super::standby::Standby;
use super::surge::Surge;
use super::{source, start};
use crate::config::Settings;
use crate::fate::Fate;
use crate::pipeline::Stages;
use crate::record::{NextOffset, Offset, Outcome, Tracked};
use crate::sequencer::TicketError;
use crate::shutdown::Shutdown;
use crate::telemetry::{Delivered, Health, Metrics, PartitionFigure, Pulse, Recent, Spans};

/// Records read in one turn before the rest of the loop gets its own.
const READ_AT_ONCE: usize = 256;
/// After the cluster did not answer, or refused a commit for now.
pub(super) const RETRY_AFTER: Duration = Duration::from_millis(200);
const OBSERVE_EVERY: Duration = Duration::from_secs(1);
/// A partition whose oldest record is older than this is reported.
const STALL_AFTER: Duration = Duration::from_secs(60);

/// What a run did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Records admitted.
    pub read: u64,
    /// Delivered to the output topic with a result.
    pub enriched: u64,
    /// Delivered to the output topic as they were.
    pub passed: u64,
    /// Delivered to the dead-letter topic.
    pub dead: u64,
}

/// The thread's state.
pub(super) struct Worker {
    pub(super) settings: Settings,
    pub(super) consumer: BaseConsumer<ConsumerEvents>,
    pub(super) publisher: Publisher,
    pub(super) assignment: Assignment,
    pub(super) metrics: Metrics,
    pub(super) health: Health,
    pub(super) spans: Spans,
    pub(super) recent: Recent,
    pub(super) pulse: Pulse,
    pub(super) standby: Standby,
    /// The member of the group to whom our partitions were assigned.
    pub(super) member: Option<String>,
    /// What the group waits for.
    pub(super) handover: Handover,
    /// Some offset is gone, and the cluster has not told yet which.
    pub(super) gap_reported: bool,
    /// Asked to stop: nothing is begun or read any more.
    pub(super) draining: bool,
    pub(super) stages: Stages,
    /// Records submitted to the stages and not come back, of lost partitions too.
    pub(super) inside: usize,
    /// `None`: at least once.
    pub(super) transactions: Option<Transactions>,
    /// At least once only.
    pub(super) waiting: Waiting,
    pub(super) surge: Option<Surge>,
    /// After a failure: not before then.
    pub(super) ask_again_at: Instant,
    pub(super) commit_again_at: Instant,
    pub(super) commit_interval: Duration,
    pub(super) last_commit: Instant,
    pub(super) commit_under_way: bool,
    pub(super) last_observed: Instant,
    pub(super) pace: Pace,
    pub(super) summary: Summary,
}

impl Worker {
    pub(super) fn serve(&mut self, shutdown: &Shutdown) -> Result<(), RunError> {
        while !shutdown.is_requested() {
            self.turn()?;
            self.read()?;
        }
        Ok(())
    }

    /// Everything but reading.
    pub(super) fn turn(&mut self) -> Result<(), RunError> {
        self.pulse.moves();
        if let Some(fault) = self.stages.take_fault() {
            return Err(fault.into());
        }
        while let Some(event) = self.consumer.context().take() {
            self.heed(event)?;
        }
        self.begin_assigned()?;
        self.close_gaps()?;
        self.settle()?;
        match self.transactions {
            Some(_) => self.transact()?,
            None => self.deliver()?,
        }
        self.advance_revocation()?;
        if self.last_commit.elapsed() >= self.commit_interval {
            self.commit()?;
        }
        self.regulate()?;
        if self.last_observed.elapsed() >= OBSERVE_EVERY {
            self.last_observed = Instant::now();
            self.observe();
            self.look_for_partitions();
            // Also where nothing is written.
            self.check_membership()?;
            self.watch()?;
        }
        Ok(())
    }

    fn heed(&mut self, event: Event) -> Result<(), RunError> {
        match event {
            Event::Assign(partitions) => self.handover.assigned(partitions),
            Event::Revoke(partitions) if self.handover.is_answered_unheard() => self.lose(partitions)?,
            Event::Revoke(partitions) => self.revoke(partitions)?,
            Event::Lost(partitions) => self.lose(partitions)?,
            Event::Committed(result) => self.on_committed(result)?,
            Event::Statistics(statistics) => {
                for (topic, figures) in &statistics.topics {
                    for (partition, figures) in &figures.partitions {
                        if let Some(owned) = self.assignment.get_mut(topic, *partition) {
                            owned.end = Some(figures.ls_offset).filter(|end| *end >= 0);
                            // With records between the two it is the client that reads, not we.
                            owned.fetched = (figures.fetchq_cnt == 0).then_some(figures.next_offset);
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Outcomes into their lines, and what is in order on to the producer.
    fn settle(&mut self) -> Result<(), RunError> {
        while let Ok(Tracked { ticket, trace, stamps, item: outcome }) = self.stages.outcomes.try_recv() {
            self.pace.moves();
            let ready = Ready { outcome, trace, stamps, settled: Instant::now() };
            match self.assignment.settle(ticket, ready) {
                Ok(()) => self.inside = self.inside.saturating_sub(1),
                Err(TicketError::Stale) => {
                    self.inside = self.inside.saturating_sub(1);
                    self.metrics.stale();
                }
                // It was counted when it came first.
                Err(error) => tracing::error!(?ticket, %error, "an outcome came twice; dropped"),
            }
            while let Some((ticket, ready)) = self.assignment.release(ticket.partition) {
                let Ready { outcome, trace, stamps, settled } = ready;
                let outcome = self.publisher.unless_refused(outcome);
                if let Some(surge) = &mut self.surge {
                    surge.see(&outcome)?;
                }
                let (released, cut) = (Instant::now(), Vec::new());
                let write = Arc::new(InFlight { ticket, outcome, trace, stamps, settled, released, cut });
                match &mut self.transactions {
                    Some(transactions) => transactions.retained.push(write),
                    None => self.waiting.push_back(write),
                }
            }
        }
        Ok(())
    }

    /// A write that is safe downstream.
    pub(super) fn count(&mut self, write: &InFlight) {
        let count = match &write.outcome {
            Outcome::Enriched { .. } => &mut self.summary.enriched,
            Outcome::PassThrough { .. } => &mut self.summary.passed,
            Outcome::DeadLetter { .. } => &mut self.summary.dead,
        };
        *count += 1;
        self.metrics.settled(&write.outcome, &write.stamps);
        self.metrics.delivered(write.stamps.admitted, write.settled, write.outcome.record().timestamp);
        if let Outcome::DeadLetter { record, letter } = &write.outcome {
            self.recent.letter(record, letter);
        }
        let to = self.publisher.topic_of(&write.outcome);
        let InFlight { trace, outcome, stamps, released, .. } = write;
        self.spans.delivered(&Delivered { trace, outcome, stamps, released: *released, to });
        // Stale: written, then the partition was lost; its next owner writes it again.
        if self.assignment.deliver(write.ticket) == Err(TicketError::OutOfTurn) {
            tracing::error!(ticket = ?write.ticket, "a delivery came twice; ignored");
        }
    }

    fn regulate(&mut self) -> Result<(), RunError> {
        let (pause, resume) = self.assignment.flow(self.inside);
        let call = |what| move |source| RunError::Call { what, source };
        if !pause.is_empty() {
            let list = list(pause.iter().map(|(t, p)| (t.as_ref(), *p, None)))?;
            self.consumer.pause(&list).map_err(call("pausing partitions"))?;
        }
        if !resume.is_empty() {
            let list = list(resume.iter().map(|(t, p)| (t.as_ref(), *p, None)))?;
            self.consumer.resume(&list).map_err(call("resuming partitions"))?;
        }
        Ok(())
    }

    fn observe(&mut self) {
        let (records, bytes) = self.assignment.in_flight();
        self.metrics.in_flight(records, bytes);
        let publishing = match &self.transactions {
            Some(transactions) => transactions.retained.len(),
            None => self.waiting.len() + self.publisher.writing(),
        };
        self.metrics.edge(records, publishing);
        let paused = self.assignment.iter().filter(|o| o.paused).count();
        self.metrics.assignment(self.assignment.len(), paused);
        for owned in self.assignment.iter() {
            let done = owned.ledger.committable().or(owned.committed).unwrap_or(owned.position);
            let lag = owned.end.map(|end| (end - done.raw()).max(0));
            let figure = PartitionFigure {
                lag_records: lag,
                lag_time: owned.lag_time(lag, SystemTime::now()),
                oldest_unsettled: owned.ledger.oldest().map(|t| t.elapsed()).unwrap_or_default(),
            };
            self.metrics.partition(&owned.topic, owned.partition, figure);
        }
        if let Some(oldest) = self.assignment.oldest().filter(|age| *age > STALL_AFTER) {
            let seconds = oldest.as_secs();
            tracing::warn!(seconds, "a partition stands still: its oldest record is not settled");
        }
    }

    fn work(&self) -> Work {
        let ends = |t: &Transactions| !matches!(t.phase, Phase::Idle | Phase::Open);
        if self.handover.is_pending() || self.transactions.as_ref().is_some_and(ends) {
            Work::Urgent
        } else if self.assignment.in_flight().0 == 0 {
            Work::None
        } else {
            Work::Inside
        }
    }

    /// Reads what is there, and admits it.
    fn read(&mut self) -> Result<(), RunError> {
        let mut wait = self.pace.wait(self.work());
        for _ in 0..READ_AT_ONCE {
            let heard = self.consumer.context().heard();
            let (record, ticket) = match self.consumer.poll(wait) {
                None => {
                    if self.consumer.context().heard() == heard {
                        self.handover.caught_up();
                    }
                    break;
                }
                Some(Err(error)) => {
                    self.on_consumer_error(error)?;
                    break;
                }
                Some(Ok(message)) => {
                    use rdkafka::Message;
                    // A revocation makes the client drop all records that it has fetched: this one was
                    // fetched since, and stands behind it.
                    self.handover.caught_up();
                    let (topic, partition) = (message.topic(), message.partition());
                    // Not ours (any more): whoever owns it reads it.
                    let Some(name) = self.assignment.topic_name(topic) else { continue };
                    let record = source::record(&message, name);
                    let offset = Offset::new(message.offset());
                    let admitted =
                        self.assignment.admit(topic, partition, offset, record.size(), record.timestamp);
                    let Some(ticket) = admitted else {
                        continue;
                    };
                    (record, ticket)
                }
            };
            self.pace.moves();
            self.summary.read += 1;
            self.metrics.admitted(&record);
            let trace = self.spans.admitted(&record.headers);
            self.stages.submit(Tracked::new(ticket, trace, record))?;
            self.inside += 1;
            self.regulate()?;
            if self.consumer.context().any() {
                break;
            }
            wait = Duration::ZERO;
        }
        Ok(())
    }

    fn on_consumer_error(&mut self, error: KafkaError) -> Result<(), RunError> {
        if let KafkaError::MessageConsumptionFatal(code) = error {
            let (code, detail) = self.consumer.client().fatal_error().unwrap_or((code, String::new()));
            return Err(RunError::of_fatal_consumer(code, detail));
        }
        match error.rdkafka_error_code() {
            Some(code) if start::is_gap(code) => {
                self.gap_reported = true;
                Ok(())
            }
            Some(RDKafkaErrorCode::Authentication) if self.consumer.context().take_passing() => Ok(()),
            Some(code) if consumer_fate(code) == Fate::Fatal => Err(RunError::of_consumer(code)),
            Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
                tracing::warn!(topics = ?self.settings.input.topics, "an input topic is not there (yet); waiting for it");
                Ok(())
            }
            _ => {
                tracing::warn!(%error, "kafka consumer; librdkafka tries again");
                Ok(())
            }
        }
    }
}

/// A list for librdkafka.
pub(super) fn list<'a>(
    partitions: impl Iterator<Item = (&'a str, i32, Option<NextOffset>)>,
) -> Result<TopicPartitionList, RunError> {
    let mut list = TopicPartitionList::new();
    for (topic, partition, offset) in partitions {
        let offset = offset.map_or(KafkaOffset::Invalid, |next| KafkaOffset::Offset(next.raw()));
        list.add_partition_offset(topic, partition, offset)
            .map_err(|source| RunError::Call { what: "naming a partition", source })?;
    }
    Ok(list)
}
