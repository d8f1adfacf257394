//! Outcomes to the broker: which topic, which partition, and what a refusal means.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, unbounded};
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use sha2::{Digest, Sha256};

use super::context::{Delivery, InFlight, ProducerEvents};
use super::error::{RunError, consumer_fate};
use super::{headers, topic_limits};
use crate::config::settings::{Output, OutputPartition};
use crate::enrich::{dead_letter_headers, source_headers};
use crate::fate::Fate;
use crate::record::{DeadLetter, Emit, Header, Outcome, Reason, Record, Stage};

/// How long the brokers may take to answer (or to create a topic) at start.
const START_PATIENCE: Duration = Duration::from_secs(30);
const TOPIC_PATIENCE: Duration = Duration::from_secs(10);
/// What is left of the value of a dead letter that no broker takes whole.
const CUT_VALUE: usize = 16 * 1024;

/// The producer and what it needs to know of its topics.
pub(super) struct Publisher {
    producer: BaseProducer<ProducerEvents>,
    deliveries: Receiver<Delivery>,
    output: String,
    dead: String,
    partition: OutputPartition,
    source_headers: bool,
    /// Of the output topic. Read once: were it to follow a growing topic, records without a key
    /// would change their partition in the middle of the stream.
    partitions: i32,
    /// Did not fit into librdkafka's queue yet; in order.
    waiting: VecDeque<Arc<InFlight>>,
}

impl Publisher {
    /// Makes the producer. Both topics must be there, or be created by the broker when asked for.
    pub(super) fn start(
        config: &ClientConfig,
        servers: &str,
        output: &Output,
        dead: &str,
    ) -> Result<Self, RunError> {
        let topic = output.topic.as_deref().ok_or(RunError::Missing("output.topic"))?;
        // Filled by `poll` below, on this very thread: a bound would be a dead lock, and there are
        // never more deliveries than records in flight.
        let (sender, deliveries) = unbounded();
        let mut config = config.clone();
        // Whether one message is too large is for the broker to say, not for the client; but a
        // batch of several must never be, or a large record would take its neighbours with it.
        config.set("message.max.bytes", "1000000000");
        if config.get("batch.size").is_none() {
            let bytes = topic_limits::batch_size(&config, &[topic, dead]);
            config.set("batch.size", bytes.to_string());
        }
        let producer: BaseProducer<ProducerEvents> =
            config.create_with_context(ProducerEvents::new(sender)).map_err(RunError::Client)?;
        let partitions = partitions_of(&producer, servers, topic)?;
        partitions_of(&producer, servers, dead)?;
        Ok(Self {
            producer,
            deliveries,
            output: topic.to_owned(),
            dead: dead.to_owned(),
            partition: output.partition,
            source_headers: output.source_headers,
            partitions,
            waiting: VecDeque::new(),
        })
    }

    /// Is there a place in the output for this input partition?
    pub(super) fn check_partition(&self, partition: i32) -> Result<(), RunError> {
        if self.partition == OutputPartition::Input && partition >= self.partitions {
            let (topic, have) = (self.output.clone(), self.partitions);
            return Err(RunError::OutputPartitions { topic, have, partition });
        }
        Ok(())
    }

    /// Hands one outcome to the producer. Called in order of release.
    pub(super) fn publish(&mut self, write: InFlight) -> Result<(), RunError> {
        self.waiting.push_back(Arc::new(write));
        self.push()
    }

    /// Serves the producer and sends what had to wait.
    pub(super) fn poll(&mut self) -> Result<(), RunError> {
        self.producer.poll(Duration::ZERO);
        self.push()
    }

    /// The next write whose fate is known. A failed one is dealt with here if it can be.
    pub(super) fn next_delivery(&mut self) -> Result<Option<Arc<InFlight>>, RunError> {
        while let Ok(Delivery { write, result }) = self.deliveries.try_recv() {
            match result {
                Ok(()) => return Ok(Some(write)),
                Err(RDKafkaErrorCode::MessageSizeTooLarge) => self.too_large(write)?,
                Err(code) => return Err(self.refused(&write, code)),
            }
        }
        Ok(None)
    }

    fn push(&mut self) -> Result<(), RunError> {
        while let Some(write) = self.waiting.front().cloned() {
            match self.send(&write) {
                Ok(()) => {
                    self.waiting.pop_front();
                }
                Err(RDKafkaErrorCode::QueueFull) => break,
                Err(RDKafkaErrorCode::MessageSizeTooLarge) => {
                    self.waiting.pop_front();
                    self.too_large(write)?;
                }
                Err(code) => return Err(self.refused(&write, code)),
            }
        }
        Ok(())
    }

    fn send(&self, write: &Arc<InFlight>) -> Result<(), RDKafkaErrorCode> {
        let extra;
        let (topic, record, value, added, timestamp, partition) = match &write.outcome {
            Outcome::Enriched { record, emit: Emit { value, headers, timestamp, .. } } => (
                &self.output,
                record,
                value.as_ref().or(record.value.as_ref()),
                headers.as_slice(),
                timestamp.0,
                self.partition_of(record),
            ),
            Outcome::PassThrough { record, .. } => {
                extra = if self.source_headers { source_headers(record).into() } else { Vec::new() };
                let partition = self.partition_of(record);
                let (value, timestamp) = (record.value.as_ref(), record.timestamp.0);
                (&self.output, record, value, extra.as_slice(), timestamp, partition)
            }
            Outcome::DeadLetter { record, letter } => {
                extra = dead_letter_headers(record, letter);
                // No timestamp: the time of writing, so that retention does not delete an old
                // record the moment it arrives.
                (&self.dead, record, record.value.as_ref(), extra.as_slice(), None, None)
            }
        };
        let all: Vec<&Header> = record.headers.iter().chain(added).collect();
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
    fn partition_of(&self, record: &Record) -> Option<i32> {
        match self.partition {
            OutputPartition::Input => Some(record.partition),
            OutputPartition::Key if record.key.is_some() => None,
            OutputPartition::Key => Some(record.partition % self.partitions.max(1)),
        }
    }

    /// The output topic does not take it: the original becomes a dead letter. Nor does the
    /// dead-letter topic: then, and only then, it is cut, and says so.
    fn too_large(&mut self, write: Arc<InFlight>) -> Result<(), RunError> {
        let Ok(InFlight { ticket, outcome, admitted, settled }) = Arc::try_unwrap(write) else {
            return Err(RunError::Panicked);
        };
        let outcome = match outcome {
            Outcome::Enriched { record, .. } | Outcome::PassThrough { record, .. } => {
                let message = format!("the record is larger than topic `{}` takes", self.output);
                let letter = DeadLetter { reason: Reason::OutputTooLarge, message, stage: Stage::Publish };
                Outcome::DeadLetter { record, letter }
            }
            Outcome::DeadLetter { mut record, letter } => {
                if !cut(&mut record) {
                    let code = RDKafkaErrorCode::MessageSizeTooLarge;
                    return Err(RunError::Publish { topic: self.dead.clone(), code });
                }
                Outcome::DeadLetter { record, letter }
            }
        };
        self.publish(InFlight { ticket, outcome, admitted, settled })
    }

    fn refused(&self, write: &InFlight, code: RDKafkaErrorCode) -> RunError {
        if let Some((code, detail)) = self.producer.client().fatal_error() {
            return RunError::ClientFatal { code, detail };
        }
        let topic = match write.outcome {
            Outcome::DeadLetter { .. } => &self.dead,
            _ => &self.output,
        };
        RunError::Publish { topic: topic.clone(), code }
    }
}

/// Shortens the value of a record that no broker takes. `false`: it was short already.
fn cut(record: &mut Record) -> bool {
    let Some(value) = record.value.as_mut().filter(|v| v.len() > CUT_VALUE) else { return false };
    let digest: String = Sha256::digest(&value).iter().map(|b| format!("{b:02x}")).collect();
    record.headers.push(Header::new("__squeezeflow.errors.cut.value_length", value.len().to_string()));
    record.headers.push(Header::new("__squeezeflow.errors.cut.value_sha256", digest));
    value.truncate(CUT_VALUE);
    true
}

/// How many partitions a topic has. Asks until the brokers answer, and a little longer for a
/// topic that the first question may have created.
fn partitions_of(
    producer: &BaseProducer<ProducerEvents>,
    servers: &str,
    topic: &str,
) -> Result<i32, RunError> {
    let started = Instant::now();
    loop {
        let code = match producer.client().fetch_metadata(Some(topic), Duration::from_secs(5)) {
            Ok(metadata) => match metadata.topics().first() {
                Some(t) if t.error().is_none() && !t.partitions().is_empty() => {
                    return Ok(t.partitions().len() as i32);
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
                    return Err(no_broker(servers, source));
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
}

fn no_broker(servers: &str, source: KafkaError) -> RunError {
    RunError::NoBroker { servers: servers.to_owned(), seconds: START_PATIENCE.as_secs(), source }
}
