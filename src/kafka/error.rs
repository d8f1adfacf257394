//! What can stop the worker, each with what to do about it, and what a broker's error code means.

use std::io;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::access::Denied;
use super::entry_error::EntryError;
use crate::fate::Fate;
use crate::pipeline::PipelineError;
use crate::record::Reason;

/// Why a run ended before it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The pipeline lacks what `run` needs.
    #[error("`{0}` is missing in the pipeline, and `run` needs it")]
    Missing(&'static str),
    /// librdkafka refused the settings.
    #[error("the Kafka client cannot be made from these settings: {0}")]
    Client(#[source] KafkaError),
    /// A call failed that has no business failing.
    #[error("{what}: {source}")]
    Call {
        /// What was tried.
        what: &'static str,
        /// librdkafka's answer.
        #[source]
        source: KafkaError,
    },
    /// The output or dead-letter topic is not there.
    #[error(
        "topic `{topic}` is not there ({code}); create it (kafka-topics.sh --create --topic {topic} …) or allow the brokers to create topics"
    )]
    NoTopic {
        /// Which.
        topic: String,
        /// The broker's word.
        code: RDKafkaErrorCode,
    },
    /// No broker answers at all.
    #[error(
        "no broker of `{servers}` answered within {seconds} s: {reason}; check kafka.bootstrap_servers, and tls and sasl if the cluster wants them"
    )]
    NoBroker {
        /// As configured.
        servers: String,
        /// How long was tried.
        seconds: u64,
        /// librdkafka's last word on why.
        reason: String,
    },
    /// `partition: input` with fewer output partitions than input ones.
    #[error(
        "output.partition is `input`, but `{topic}` has {have} partitions and the input has a partition {partition}; give the output as many partitions, or use `partition: key`"
    )]
    OutputPartitions {
        /// The output topic.
        topic: String,
        /// Its partitions.
        have: i32,
        /// The input partition that has no counterpart.
        partition: i32,
    },
    /// The offset to go on from is not there any more.
    #[error(
        "records of {topic}[{partition}] are gone: the group is at offset {position}, the oldest record is {low}, the end is {high}; nothing was skipped. To go on with the oldest record set `input.on_gap: earliest`, or move the group's offset with kafka-consumer-groups.sh --reset-offsets"
    )]
    OffsetGap {
        /// Input topic.
        topic: String,
        /// Partition.
        partition: i32,
        /// Where the group is.
        position: i64,
        /// Oldest offset there is.
        low: i64,
        /// Offset after the newest.
        high: i64,
    },
    /// The brokers do not let us in.
    #[error(transparent)]
    Entry(Box<EntryError>),
    /// Our user lacks a right.
    #[error("{0}")]
    Denied(Box<Denied>),
    /// The cluster says no, and will go on saying so.
    #[error(
        "the cluster refuses us: {0}; check the user's permissions (topics: read the input, write output and dead letters; group: read; transactional id: write) and kafka.sasl / kafka.tls"
    )]
    Refused(RDKafkaErrorCode),
    /// The client itself is beyond repair (fenced by another instance, for example).
    #[error("the Kafka client cannot go on: {code} ({detail})")]
    ClientFatal {
        /// librdkafka's code.
        code: RDKafkaErrorCode,
        /// librdkafka's words.
        detail: String,
    },
    /// Somebody else uses our transactional id.
    #[error(
        "another worker has taken over the transactional id `{id}`: it was started later, and only one may use it. What this one had not committed, the other writes. Give each worker its own `kafka.transactional_id` (the name of its pod, say), or leave it out"
    )]
    Fenced {
        /// The transactional id.
        id: String,
    },
    /// Somebody else is the static member that we were.
    #[error(
        "another worker has joined the group under our `kafka.group_instance_id`: it has our partitions now. Give each worker its own (the name of its pod, say), or leave it out"
    )]
    Replaced,
    /// A write failed for good. It is not sent again: that could reorder.
    #[error(
        "a record could not be written to `{topic}`: {code}; no offset passes it, it will be read again at the next start"
    )]
    Publish {
        /// Where to.
        topic: String,
        /// The broker's word.
        code: RDKafkaErrorCode,
    },
    /// Small records were refused together, as one batch.
    #[error(
        "topic `{topic}` takes smaller messages than it was thought to: records were refused because of their batch's size ({batch_bytes} bytes); restart (its limit is read at start, which needs the right DescribeConfigs), or set kafka.librdkafka's `batch.size` below the topic's max.message.bytes. No offset passes them"
    )]
    BatchTooLarge {
        /// Which.
        topic: String,
        /// librdkafka's `batch.size`.
        batch_bytes: usize,
    },
    /// More dead letters than `dead_letter.max_ratio` allows.
    #[error(
        "{dead} of the last {window} records are dead letters, more than `dead_letter.max_ratio` allows; {of_it} of them for `{reason}`. Something else is wrong: look with `squeezeflow dead-letters list`, mend it, and start again. The record that was one too many, and all after it, are read again"
    )]
    Surge {
        /// Dead letters among the last records.
        dead: usize,
        /// The last records.
        window: usize,
        /// The most frequent reason.
        reason: Reason,
        /// How many of them have it.
        of_it: usize,
    },
    /// A stage stopped.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    /// Written, but not confirmed or not committed before the drain deadline.
    #[error(
        "the drain deadline passed with {unconfirmed} written records not confirmed or not committed; they will be read again"
    )]
    DrainDeadline {
        /// How many.
        unconfirmed: usize,
    },
    /// No thread for the worker.
    #[error("cannot start the Kafka thread: {0}")]
    Thread(#[source] io::Error),
    /// A defect of ours.
    #[error("the Kafka thread panicked; nothing it held was committed")]
    Panicked,
}

impl RunError {
    /// For what the consumer was told, and [`consumer_fate`] calls fatal.
    pub(super) fn of_consumer(code: RDKafkaErrorCode) -> Self {
        match code {
            RDKafkaErrorCode::FencedInstanceId => Self::Replaced,
            _ => Self::Refused(code),
        }
    }

    /// The consumer is beyond use.
    pub(super) fn of_fatal_consumer(code: RDKafkaErrorCode, detail: String) -> Self {
        match code {
            RDKafkaErrorCode::FencedInstanceId => Self::Replaced,
            _ => Self::ClientFatal { code, detail },
        }
    }

    /// Every one stops the worker; what could be retried was retried where it happened.
    pub fn fate(&self) -> Fate {
        Fate::Fatal
    }
}

/// What an error that the consumer reports means for the worker.
pub(crate) fn consumer_fate(code: RDKafkaErrorCode) -> Fate {
    use RDKafkaErrorCode as E;
    match code {
        E::TopicAuthorizationFailed
        | E::GroupAuthorizationFailed
        | E::ClusterAuthorizationFailed
        | E::SaslAuthenticationFailed
        | E::Authentication
        | E::FencedInstanceId
        | E::InconsistentGroupProtocol
        | E::InvalidSessionTimeout
        | E::Fatal => Fate::Fatal,
        // Everything else librdkafka retries by itself: transport, coordinator moves, metadata.
        _ => Fate::Transient,
    }
}
