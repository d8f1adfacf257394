//! Outcomes to the broker: which topic, which partition, and what a refusal means.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crossbeam_channel::{Receiver, unbounded};
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use super::context::{Delivery, InFlight, ProducerEvents};
use super::error::{RunError, consumer_fate};
use super::surge::Surge;
use super::tokens::Tokens;
use super::topic_limits::TopicLimits;
use super::{cut, headers};
use crate::config::settings::{Output, OutputPartition};
use crate::enrich::{dead_letter_headers, dead_letter_trace, source_headers};
use crate::fate::Fate;
use crate::record::{DeadLetter, Emit, Header, Outcome, Reason, Record, Stage, Timestamp};
use crate::shutdown::Shutdown;
use crate::telemetry::Pulse;
use crate::telemetry::{is_replaced, traceparent};

/// How long the brokers may take to answer (or to create a topic) at start.
const START_PATIENCE: Duration = Duration::from_secs(30);
const TOPIC_PATIENCE: Duration = Duration::from_secs(10);
/// One question; in between it is looked whether we are asked to stop.
const START_SLICE: Duration = Duration::from_secs(1);
/// Events served in one turn.
const MOST_EVENTS: usize = 10_000;
/// What is to be done about a write that was refused.
pub(super) enum Refusal {
    /// [`Publisher::smaller`], and write again.
    TooLarge,
    /// Write again, with its transaction.
    ForNow,
    /// Stop.
    ForGood(RunError),
}

/// The producer and what it needs to know of its topics.
pub(super) struct Publisher {
    config: ClientConfig,
    tokens: Option<Arc<Tokens>>,
    /// Shared with the thread that sends offsets, while it does.
    producer: Arc<BaseProducer<ProducerEvents>>,
    deliveries: Receiver<Delivery>,
    output: String,
    dead: String,
    partition: OutputPartition,
    source_headers: bool,
    /// The most that several records together may be sent with.
    batch_bytes: usize,
    /// Of each topic for results. Read once: were they to follow a growing topic, records without a
    /// key would change their partition in the middle of the stream.
    partitions: HashMap<String, i32>,
    limits: TopicLimits,
}

impl Publisher {
    /// Makes the producer. Both topics must be there, or be created by the broker when asked for.
    /// `None`: asked to stop before they were found.
    pub(super) fn start(
        (mut config, tokens): (ClientConfig, Option<Arc<Tokens>>),
        servers: &str,
        output: &Output,
        dead: &str,
        shutdown: &Shutdown,
        pulse: &Pulse,
    ) -> Result<Option<Self>, RunError> {
        let topic = output.topic.as_deref().ok_or(RunError::Missing("output.topic"))?;
        // Whether one message is too large is for the broker to say, not for the client; but a
        // batch of several must never be, or a large record would take its neighbours with it.
        config.set("message.max.bytes", "1000000000");
        let topics: Vec<&str> = output.topics().into_iter().chain([dead]).collect();
        let Some(limits) = TopicLimits::ask(&config, tokens.as_ref(), &topics, shutdown) else {
            return Ok(None);
        };
        if limits.is_compacted(dead) {
            tracing::warn!(
                topic = dead,
                "the dead-letter topic is compacted: of letters with one key only the last is kept, and one without a key stops the worker"
            );
        }
        let asked = config.get("batch.size").and_then(|bytes| bytes.parse().ok());
        let batch_bytes = asked.unwrap_or_else(|| limits.batch_size());
        config.set("batch.size", batch_bytes.to_string());
        let (producer, deliveries) = create(&config, tokens.clone())?;
        let mut partitions = HashMap::new();
        for topic in output.topics() {
            let Some(count) = partitions_of(&producer, servers, topic, shutdown, pulse)? else {
                return Ok(None);
            };
            partitions.insert(topic.to_owned(), count);
        }
        if partitions_of(&producer, servers, dead, shutdown, pulse)?.is_none() {
            return Ok(None);
        }
        Ok(Some(Self {
            config,
            tokens,
            producer: Arc::new(producer),
            deliveries,
            output: topic.to_owned(),
            dead: dead.to_owned(),
            partition: output.partition,
            source_headers: output.source_headers,
            batch_bytes,
            partitions,
            limits,
        }))
    }

    /// Is there a place in the output for this input partition?
    pub(super) fn check_partition(&self, partition: i32) -> Result<(), RunError> {
        if self.partition != OutputPartition::Input {
            return Ok(());
        }
        match self.partitions.iter().find(|(_, have)| partition >= **have) {
            Some((topic, have)) => {
                Err(RunError::OutputPartitions { topic: topic.clone(), have: *have, partition })
            }
            None => Ok(()),
        }
    }

    /// The producer itself, for transactions.
    pub(super) fn producer(&self) -> &Arc<BaseProducer<ProducerEvents>> {
        &self.producer
    }

    /// Writes in the producer's hands, about.
    pub(super) fn writing(&self) -> usize {
        usize::try_from(self.producer.in_flight_count()).unwrap_or(0)
    }

    /// Serves everything that the producer has to tell. rdkafka serves one event a call, and each
    /// line of a log is one: reports must not wait behind them.
    pub(super) fn poll(&self) {
        for _ in 0..MOST_EVENTS {
            let before = self.producer.in_flight_count();
            self.producer.poll(Duration::ZERO);
            if self.producer.in_flight_count() >= before {
                return;
            }
        }
    }

    /// What became of the next write.
    pub(super) fn next_report(&self) -> Option<Delivery> {
        self.deliveries.try_recv().ok()
    }

    /// A new producer with the same settings. What the old one had not written yet is forgotten, and
    /// so are its reports.
    pub(super) fn renew(&mut self) -> Result<(), RunError> {
        let (producer, deliveries) = create(&self.config, self.tokens.clone())?;
        self.deliveries = deliveries;
        // Dropped on a thread of its own: it waits for brokers that may not answer.
        let old = std::mem::replace(&mut self.producer, Arc::new(producer));
        let dropping = std::thread::Builder::new().name("old producer".to_owned());
        dropping.spawn(move || drop(old)).map(drop).map_err(RunError::Thread)
    }

    /// See [`ProducerEvents::has_doubts`]. To be asked when no write is under way: then the count is
    /// that of events alone, and at 0 everything was said.
    pub(super) fn has_doubts(&self) -> bool {
        for _ in 0..MOST_EVENTS {
            if self.producer.in_flight_count() == 0 {
                break;
            }
            self.producer.poll(Duration::ZERO);
        }
        self.producer.context().has_doubts()
    }

    /// See [`ProducerEvents::is_id_in_doubt`]. Everything that was said before is heard.
    pub(super) fn is_id_in_doubt(&self) -> bool {
        self.poll();
        self.producer.context().is_id_in_doubt()
    }

    /// See [`ProducerEvents::is_refused`].
    pub(super) fn is_refused(&self) -> Option<RDKafkaErrorCode> {
        self.poll();
        self.producer.context().is_refused().then_some(RDKafkaErrorCode::TopicAuthorizationFailed)
    }

    pub(super) fn forget_doubts(&self) {
        self.producer.context().forget();
    }

    /// Why the producer is beyond use, if it is.
    pub(super) fn is_beyond_use(&self) -> Option<(RDKafkaErrorCode, String)> {
        self.producer.client().fatal_error()
    }

    /// A write that is not sent again.
    pub(super) fn given_up(&self, write: &InFlight, code: RDKafkaErrorCode) -> RunError {
        RunError::Publish { topic: self.topic_of(&write.outcome).to_owned(), code }
    }

    /// What its topic would refuse whenever it is sent is a dead letter, in its turn.
    pub(super) fn unless_refused(&self, outcome: Outcome) -> Outcome {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64);
        let refusal = match &outcome {
            Outcome::Enriched { record, .. } | Outcome::PassThrough { record, .. } => {
                self.limits.refusal(self.topic_of(&outcome), record, now)
            }
            Outcome::DeadLetter { .. } => None,
        };
        match (refusal, outcome) {
            (Some(message), Outcome::Enriched { record, .. } | Outcome::PassThrough { record, .. }) => {
                let letter = DeadLetter { reason: Reason::OutputRefused, message, stage: Stage::Publish };
                Outcome::DeadLetter { record, letter }
            }
            (_, outcome) => outcome,
        }
    }

    /// Hands one outcome to the producer. Called in order of release.
    pub(super) fn send(&self, write: &Arc<InFlight>) -> Result<(), RDKafkaErrorCode> {
        let (extra, context);
        let (topic, record, value, added, timestamp, partition) = match &write.outcome {
            Outcome::Enriched { record, emit: Emit { value, headers, timestamp, .. } } => {
                let topic = self.topic_of(&write.outcome);
                let value = value.as_ref().or(record.value.as_ref());
                let partition = self.partition_of(topic, record);
                (topic, record, value, headers.as_slice(), wire(*timestamp), partition)
            }
            Outcome::PassThrough { record, .. } => {
                extra = if self.source_headers { source_headers(record).into() } else { Vec::new() };
                let (topic, value) = (self.topic_of(&write.outcome), record.value.as_ref());
                let partition = self.partition_of(topic, record);
                (topic, record, value, extra.as_slice(), wire(record.timestamp), partition)
            }
            Outcome::DeadLetter { record, letter } => {
                let marks = write.cut.iter().cloned().chain(trace_headers(write).into_iter().flatten());
                extra = marks.chain(dead_letter_headers(record, letter)).collect();
                // No timestamp: the time of writing, so that retention does not delete an old
                // record the moment it arrives.
                (self.dead.as_str(), record, record.value.as_ref(), extra.as_slice(), None, None)
            }
        };
        // The record's own, but for a context that ours takes the place of. A dead letter keeps all of
        // them, and has ours beside.
        let recorded = write.trace.recorded(&write.outcome).filter(|_| !is_letter(write));
        context = recorded.map(|own| traceparent(&write.trace, own));
        let kept = record.headers.iter().filter(|h| context.is_none() || !is_replaced(h, &write.trace));
        let all: Vec<&Header> = kept.chain(added).chain(&context).collect();
        let mut message = BaseRecord::<[u8], [u8], _>::with_opaque_to(topic, write.clone());
        message.key = record.key.as_deref();
        message.payload = value.map(Vec::as_slice);
        message.timestamp = timestamp;
        message.partition = partition;
        if !all.is_empty() {
            message.headers = Some(headers::write(all.into_iter()));
        }
        self.producer
            .send(message)
            .map_err(|(error, _)| error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail))
    }

    /// `None` leaves it to librdkafka's murmur2 over the key (as Java's clients do).
    fn partition_of(&self, topic: &str, record: &Record) -> Option<i32> {
        match self.partition {
            OutputPartition::Input => Some(record.partition),
            OutputPartition::Key if record.key.is_some() => None,
            OutputPartition::Key => {
                let partitions = self.partitions.get(topic).copied().unwrap_or(1);
                Some(record.partition % partitions.max(1))
            }
        }
    }

    /// What a broker's refusal of one write means.
    pub(super) fn refusal(&self, write: &InFlight, code: RDKafkaErrorCode) -> Refusal {
        use RDKafkaErrorCode as E;
        let topic = || self.topic_of(&write.outcome).to_owned();
        match code {
            E::MessageSizeTooLarge if wire_size(write) < self.batch_bytes => {
                // It was refused for the company that it was sent in, and so were its neighbours.
                Refusal::ForGood(RunError::BatchTooLarge { topic: topic(), batch_bytes: self.batch_bytes })
            }
            E::MessageSizeTooLarge => Refusal::TooLarge,
            // The producer gave it up; of a transaction that fails as a whole.
            E::MessageTimedOut
            | E::PurgeQueue
            | E::PurgeInflight
            | E::State
            | E::Fatal
            | E::Fenced
            | E::ProducerFenced
            | E::InvalidProducerEpoch
            | E::UnknownProducerId
            | E::InvalidProducerIdMapping
            | E::OutOfOrderSequenceNumber
            | E::InvalidTransactionalState
            | E::BrokerTransportFailure
            | E::NotEnoughReplicas
            | E::NotEnoughReplicasAfterAppend => Refusal::ForNow,
            _ => Refusal::ForGood(self.given_up(write, code)),
        }
    }

    /// A write that proved too large, made smaller. The output topic does not take it: the original
    /// becomes a dead letter. Nor does the dead-letter topic: then, and only then, it is cut, and
    /// says so.
    ///
    /// # Errors
    /// When nothing is left to cut; or a surge of dead letters.
    pub(super) fn smaller(
        &self,
        write: Arc<InFlight>,
        surge: Option<&mut Surge>,
    ) -> Result<Arc<InFlight>, RunError> {
        // Shared where a producer that was renewed has not let go of it yet.
        let mut write = Arc::unwrap_or_clone(write);
        let topic = self.topic_of(&write.outcome).to_owned();
        write.outcome = match write.outcome {
            Outcome::Enriched { record, .. } | Outcome::PassThrough { record, .. } => {
                let message = format!("the record is larger than topic `{topic}` takes");
                surge.map_or(Ok(()), |surge| surge.worsen(Reason::OutputTooLarge))?;
                let letter = DeadLetter { reason: Reason::OutputTooLarge, message, stage: Stage::Publish };
                Outcome::DeadLetter { record, letter }
            }
            Outcome::DeadLetter { mut record, letter } => {
                if !cut::shorten(&mut record, &mut write.cut) {
                    let code = RDKafkaErrorCode::MessageSizeTooLarge;
                    return Err(RunError::Publish { topic: self.dead.clone(), code });
                }
                Outcome::DeadLetter { record, letter }
            }
        };
        Ok(Arc::new(write))
    }

    pub(super) fn topic_of<'a>(&'a self, outcome: &'a Outcome) -> &'a str {
        match outcome {
            Outcome::DeadLetter { .. } => &self.dead,
            Outcome::Enriched { emit: Emit { topic: Some(routed), .. }, .. } => routed,
            _ => &self.output,
        }
    }
}

fn create(
    config: &ClientConfig,
    tokens: Option<Arc<Tokens>>,
) -> Result<(BaseProducer<ProducerEvents>, Receiver<Delivery>), RunError> {
    // Filled by `poll`, on the very thread that empties it: a bound would be a dead lock, and there
    // are never more deliveries than records in flight.
    let (sender, deliveries) = unbounded();
    let producer =
        config.create_with_context(ProducerEvents::new(sender, tokens)).map_err(RunError::Client)?;
    Ok((producer, deliveries))
}

/// As librdkafka takes it: to give none would mean "now", and -1 is written as none. 0 it takes for
/// none given.
fn wire(timestamp: Timestamp) -> Option<i64> {
    Some(timestamp.0.unwrap_or(-1))
}

fn is_letter(write: &InFlight) -> bool {
    matches!(write.outcome, Outcome::DeadLetter { .. })
}

/// What goes beside a dead letter's own headers, where our span of it is recorded.
fn trace_headers(write: &InFlight) -> Option<[Header; 2]> {
    let own = write.trace.recorded(&write.outcome)?;
    Some(dead_letter_trace(traceparent(&write.trace, own), own.trace.to_string()))
}

/// Bytes of key, value and headers as they were sent.
fn wire_size(write: &InFlight) -> usize {
    let added;
    let (record, value, extra) = match &write.outcome {
        Outcome::Enriched { record, emit } => (record, emit.value.as_ref(), emit.headers.as_slice()),
        Outcome::PassThrough { record, .. } => (record, None, [].as_slice()),
        Outcome::DeadLetter { record, letter } => {
            added = dead_letter_headers(record, letter);
            (record, None, added.as_slice())
        }
    };
    let bytes = |b: &Option<Vec<u8>>| b.as_ref().map_or(0, Vec::len);
    let recorded = write.trace.recorded(&write.outcome);
    let context = match is_letter(write) {
        true => trace_headers(write).map_or_else(Vec::new, Into::into),
        false => recorded.map_or_else(Vec::new, |own| vec![traceparent(&write.trace, own)]),
    };
    // Each with two lengths, of a byte or more: of 400,000 headers they are the larger part.
    let headers = record.headers.iter().chain(extra).chain(&write.cut).chain(&context);
    let headers = headers.map(|h| 2 + h.name.len() + bytes(&h.value));
    bytes(&record.key) + value.map_or(bytes(&record.value), Vec::len) + headers.sum::<usize>()
}

/// How many partitions a topic has. Asks until the brokers answer, and a little longer for a
/// topic that the first question may have created. `None`: asked to stop before.
fn partitions_of(
    producer: &BaseProducer<ProducerEvents>,
    servers: &str,
    topic: &str,
    shutdown: &Shutdown,
    pulse: &Pulse,
) -> Result<Option<i32>, RunError> {
    let started = Instant::now();
    while !shutdown.is_requested() {
        pulse.moves();
        // Serves the wish for a token, and whatever stands before it. Nothing is written yet, so what is
        // counted are events.
        for _ in 0..MOST_EVENTS {
            if producer.in_flight_count() == 0 {
                break;
            }
            producer.poll(Duration::ZERO);
        }
        let code = match producer.client().fetch_metadata(Some(topic), START_SLICE) {
            Ok(metadata) => match metadata.topics().first() {
                Some(t) if t.error().is_none() && !t.partitions().is_empty() => {
                    return Ok(Some(t.partitions().len() as i32));
                }
                Some(t) => t.error().map_or(RDKafkaErrorCode::UnknownTopicOrPartition, Into::into),
                None => RDKafkaErrorCode::UnknownTopicOrPartition,
            },
            Err(source) => {
                let code = source.rdkafka_error_code();
                if let Some(code) = code.filter(|c| consumer_fate(*c) == Fate::Fatal) {
                    return Err(RunError::Refused(code));
                }
                if started.elapsed() > START_PATIENCE {
                    return Err(no_broker(servers, &source));
                }
                continue;
            }
        };
        if consumer_fate(code) == Fate::Fatal {
            return Err(RunError::Refused(code));
        }
        if started.elapsed() > TOPIC_PATIENCE {
            return Err(RunError::NoTopic { topic: topic.to_owned(), code });
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok(None)
}

fn no_broker(servers: &str, source: &KafkaError) -> RunError {
    let (servers, seconds, reason) = (servers.to_owned(), START_PATIENCE.as_secs(), source.to_string());
    RunError::NoBroker { servers, seconds, reason }
}
