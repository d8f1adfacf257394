//! What can go wrong with dead letters, each with what to do about it.

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::send::TRANSACTION_TIMEOUT;
use crate::fate::Fate;
use crate::kafka::EntryError;

/// Why dead letters could not be looked at, or not (all) be replayed. None leaves anything half
/// done: what was replayed is marked, in the same transaction.
#[derive(Debug, thiserror::Error)]
pub enum LettersError {
    /// The pipeline lacks what is needed.
    #[error("`{0}` is missing in the pipeline")]
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
    /// No broker answers at all.
    #[error(
        "no broker of `{servers}` answers: {reason}; check kafka.bootstrap_servers, and tls and sasl if the cluster wants them"
    )]
    NoBroker {
        /// As configured.
        servers: String,
        /// librdkafka's last word.
        reason: String,
    },
    /// The brokers do not let us in.
    #[error(transparent)]
    Entry(Box<EntryError>),
    /// The brokers answered once, and do not any more.
    #[error(
        "the brokers have not answered for {seconds} s while {doing}: {reason}; run it again when they are well"
    )]
    Silent {
        /// What was waited for.
        doing: &'static str,
        /// How long.
        seconds: u64,
        /// librdkafka's last word.
        reason: String,
    },
    /// The dead-letter topic is not there.
    #[error(
        "there is no topic `{topic}`; it is `dead_letter.topic` of the pipeline, where its worker writes"
    )]
    NoTopic {
        /// Its name.
        topic: String,
    },
    /// The dead-letter topic has no such partition.
    #[error("topic `{topic}` has no partition {partition}: they are 0 to {last}")]
    NoPartition {
        /// The dead-letter topic.
        topic: String,
        /// The one asked for.
        partition: i32,
        /// The last one there is.
        last: i32,
    },
    /// The cluster says no to reading.
    #[error(
        "the cluster refuses us: {code}; the user needs READ on `{topic}`, and kafka.sasl and kafka.tls must be right"
    )]
    Refused {
        /// The dead-letter topic.
        topic: String,
        /// The broker's word.
        code: RDKafkaErrorCode,
    },
    /// The cluster says no to writing.
    #[error(
        "the cluster refuses us: {code}; to replay, the user needs WRITE on `{dead}` and on the input topics, and WRITE and DESCRIBE on the transactional id `{id}`"
    )]
    RefusedWrite {
        /// The dead-letter topic.
        dead: String,
        /// The transactional id.
        id: String,
        /// The broker's word.
        code: RDKafkaErrorCode,
    },
    /// Somebody else replays.
    #[error(
        "another replay of `{dead}` was started meanwhile and has taken over, or this one was silent for longer than {} s; when the other has ended, run this again if letters are left",
        TRANSACTION_TIMEOUT.as_secs()
    )]
    Fenced {
        /// The dead-letter topic.
        dead: String,
    },
    /// A transaction was refused, and given up whole.
    #[error(
        "a transaction did not get through: {code}; nothing of it was replayed. When the brokers are well, run it again, and it goes on there"
    )]
    Aborted {
        /// The broker's word.
        code: RDKafkaErrorCode,
    },
    /// A topic does not take a letter's record, and had not told before that it would not.
    #[error(
        "topic `{topic}` refuses the record of the letter at {place}: {code}; nothing of that transaction was replayed. Allow this user to DescribeConfigs of the topic, and such letters stay where they are; or leave this one out (`--partition`, `--from-offset`, `--to-offset`), or, if it is for its timestamp, write `--timestamps renew`"
    )]
    RefusedRecord {
        /// Where it was to go.
        topic: String,
        /// `TOPIC/PARTITION/OFFSET`, of the letter.
        place: String,
        /// The broker's word.
        code: RDKafkaErrorCode,
    },
    /// Small records were refused together, as one batch.
    #[error(
        "`{topic}` takes smaller messages than it was thought to: records were refused because of their batch's size ({batch_bytes} bytes); allow this user to DescribeConfigs of it, or set kafka.librdkafka's `batch.size` below its max.message.bytes. Nothing of that transaction was replayed"
    )]
    BatchTooLarge {
        /// Which.
        topic: String,
        /// librdkafka's `batch.size`.
        batch_bytes: usize,
    },
    /// It is not known how a transaction ended.
    #[error(
        "it is not known whether the last transaction, with {letters} letters, was committed: {reason}; run it again, and it goes on behind it or with it"
    )]
    InDoubt {
        /// How many letters.
        letters: usize,
        /// librdkafka's word.
        reason: String,
    },
    /// Something of the above, after some letters were replayed.
    #[error("{source}\nletters replayed before that, and marked so: {replayed}")]
    After {
        /// How many.
        replayed: u64,
        /// What.
        source: Box<LettersError>,
    },
}

impl LettersError {
    /// Every one ends the command; what could be retried was retried where it happened.
    pub fn fate(&self) -> Fate {
        Fate::Fatal
    }

    /// With how far it had come.
    pub(super) fn after(self, replayed: u64) -> Self {
        if replayed == 0 { self } else { Self::After { replayed, source: Box::new(self) } }
    }
}
