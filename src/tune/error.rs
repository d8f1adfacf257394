//! Why nothing was tuned, each with what to do about it.

use std::io;
use std::path::PathBuf;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::config::WriteError;
use crate::fate::Fate;
use crate::kafka::EntryError;
use crate::pipeline::PipelineError;
use crate::results::ResultsError;
use crate::stdio::ReadError;

/// Nothing was written, whichever it is.
#[derive(Debug, thiserror::Error)]
pub enum TuneError {
    /// What would be written is not what holds.
    #[error("`{key}` is set by {by}, which speaks over the pipeline file: what is measured here would not hold; leave it out for `tune`", key = .key, by = .by)]
    Overridden {
        /// A key that is tuned.
        key: String,
        /// The variable, or `--set`.
        by: String,
    },
    /// There is nowhere to read from.
    #[error(
        "the pipeline has no `kafka` to read texts from: name some with `--texts FILE`, a record a line (`-`: standard input)"
    )]
    NoSource,
    /// The topics.
    #[error("{0}; or name texts with `--texts FILE`, a record a line (`-`: standard input)")]
    Topic(#[from] TopicError),
    /// The file.
    #[error("{0} cannot be read: {1}")]
    File(PathBuf, #[source] io::Error),
    /// One of its lines.
    #[error("{0}: {1}")]
    Line(PathBuf, #[source] ReadError),
    /// Nothing that the model would see.
    #[error("there is no text to measure with in {from}: {}", told(*records, not_read))]
    NoText {
        /// Where it was looked for.
        from: String,
        /// What lay there.
        records: usize,
        /// Why it is not read, and how often.
        not_read: Vec<(&'static str, usize)>,
    },
    /// The model.
    #[error(transparent)]
    Model(#[from] ResultsError),
    /// The models of several results are set differently now.
    #[error(
        "`{one}` is {is}, and `{other}` is {but}: `tune` looks for the one setting that serves all models of a pipeline best; make them alike, or leave both out"
    )]
    Unlike {
        /// A key of one model.
        one: String,
        /// What it is.
        is: String,
        /// The same key of another one.
        other: String,
        /// What that is.
        but: String,
    },
    /// It runs on something else than what is to be tuned.
    #[error(
        "the pipeline asks for `{asked}`, and the model runs on `{got}` here: tune it where it runs on `{asked}`, or with `--set {key}={got}`"
    )]
    Fallback {
        /// `model.provider`, or that of a result.
        key: String,
        /// What it says.
        asked: &'static str,
        /// Of `model.fallback`.
        got: &'static str,
    },
    /// The stages.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    /// No threads for them.
    #[error("cannot start a thread: {0}")]
    Thread(#[source] io::Error),
    /// Not even the settings of now.
    #[error(
        "no setting answered enough batches in the time there was: give it more (`--for 5m`), or fewer tokens to a batch"
    )]
    TooSlow,
    /// At the rate that was asked for.
    #[error(
        "at this rate too few records come in a run to tell their p99: measure for longer (`--for 5m`), or leave `--rate` out"
    )]
    TooFew,
    /// The settings would have to be put where something else is.
    #[error(
        "{0} is written in a way that cannot be changed without touching more than these keys (an anchor, say): run it without `--write`, and put them in by hand"
    )]
    NotWritable(PathBuf),
    /// The file was not written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl TuneError {
    /// Every one ends the command.
    pub fn fate(&self) -> Fate {
        Fate::Fatal
    }
}

fn told(records: usize, not_read: &[(&'static str, usize)]) -> String {
    if records == 0 {
        return "it is empty. Name texts with `--texts FILE`, a record a line (`-`: standard input)"
            .to_owned();
    }
    let reasons: Vec<String> = not_read.iter().map(|(reason, n)| format!("{reason} {n}")).collect();
    format!("of {records} records none is read by the model ({})", reasons.join(", "))
}

/// Why the input topics give no texts.
#[derive(Debug, thiserror::Error)]
pub enum TopicError {
    /// librdkafka refused the settings.
    #[error("the Kafka client cannot be made from these settings: {0}")]
    Client(#[source] KafkaError),
    /// A call failed that has no business failing.
    #[error("reading `{topic}`: {source}")]
    Call {
        /// Of which topic.
        topic: String,
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
    /// A broker does not let us in.
    #[error(transparent)]
    Entry(Box<EntryError>),
    /// None that `input.topics` names.
    #[error("there is no topic that this user may see of those in `input.topics` ({0})")]
    NoTopic(String),
    /// The brokers answered once, and do not any more.
    #[error("the brokers have not answered for {seconds} s while `{topic}` was read: {reason}")]
    Silent {
        /// Of which topic.
        topic: String,
        /// How long.
        seconds: u64,
        /// librdkafka's last word.
        reason: String,
    },
    /// The cluster says no.
    #[error(
        "the cluster refuses us: {code}; the user needs READ on `{topic}`, and kafka.sasl and kafka.tls must be right"
    )]
    Refused {
        /// Which topic.
        topic: String,
        /// The broker's word.
        code: RDKafkaErrorCode,
    },
}
