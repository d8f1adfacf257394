//! What `squeezeflow demo` is made of, but for its view: an embedded broker, texts written for
//! it, a producer, a pipeline like any other, and a consumer that accounts for every record.
//!
//! ```text
//! feed ─► demo.reviews ─► the worker, as in earnest ─► demo.tagged, demo.dead ─► watch ─► tally
//! ```

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use rdkafka::error::KafkaError;

use crate::config::settings::{
    Batch, Cache, DeadLetterTopic, Delivery, Format, Input, Kafka, Limits, Log, LogFormat, Model, OnExisting,
    Output, OutputMode, Provider, ProviderKind, ResultList, ResultOf, Settings, TextSelector,
};
use crate::fate::Fate;
use crate::kafka::RunError;
use crate::kafka::embedded::{EmbeddedBroker, EmbeddedError};
use crate::results::ResultsError;
use crate::telemetry::MetricsError;

mod feed;
mod tally;
mod texts;
mod watch;

pub use feed::{Feed, Feeder};
pub use tally::{Percentiles, Tally};
pub use texts::{Expect, Kind, Sample, stream, texts};
pub use watch::{End, Seen, Watch};

/// The embedded broker does not tell topics' settings; that would be three warnings at each start.
const LOG: &str = "warn,squeezeflow::kafka::topic_limits=error";
/// Where the feed writes.
pub const INPUT: &str = "demo.reviews";
/// Where the worker writes what it tagged.
pub const OUTPUT: &str = "demo.tagged";
/// Where it writes what it could not.
pub const DEAD: &str = "demo.dead";
/// Of the first two; the dead letters have one.
const PARTITIONS: i32 = 4;

/// Why a demo does not end well.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// No broker.
    #[error(transparent)]
    Broker(#[from] EmbeddedError),
    /// The demo's own producer or consumer.
    #[error("the demo cannot {what}: {source}")]
    Client {
        /// What it tried.
        what: &'static str,
        /// librdkafka's answer.
        #[source]
        source: KafkaError,
    },
    /// No model.
    #[error(transparent)]
    Model(#[from] ResultsError),
    /// No model to be found.
    #[error(
        "there is no model package at {}; run the demo in the repository, or say `--model PATH`",
        tried.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
    )]
    NoModel {
        /// Where it was looked for.
        tried: Vec<PathBuf>,
    },
    /// The worker stopped.
    #[error(transparent)]
    Run(#[from] RunError),
    /// No metrics.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// No thread, no terminal.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// The operating system's answer.
        #[source]
        source: std::io::Error,
    },
    /// A thread of ours panicked.
    #[error("the demo's {0} panicked; please report it with the lines above")]
    Panicked(&'static str),
    /// The worker did not get ready.
    #[error("the worker was not ready within {} s: {why_not}", after.as_secs())]
    NotReady {
        /// How long was waited.
        after: Duration,
        /// What was missing.
        why_not: &'static str,
    },
    /// Ctrl-C before the end.
    #[error("interrupted: {missing} of {all} records had not come out yet")]
    Interrupted {
        /// How many.
        missing: usize,
        /// Of how many.
        all: usize,
    },
    /// The promise is broken.
    #[error("{missing} of {all} records did not come out: neither tagged, nor passed, nor dead")]
    Unaccounted {
        /// How many.
        missing: usize,
        /// Of how many.
        all: usize,
    },
}

impl DemoError {
    /// A demo is not tried again.
    pub fn fate(&self) -> Fate {
        Fate::Fatal
    }
}

/// A broker with the demo's topics.
///
/// # Errors
/// When the broker does not start.
pub fn broker() -> Result<EmbeddedBroker, DemoError> {
    let broker = EmbeddedBroker::start()?;
    broker.create_topic(INPUT, PARTITIONS)?;
    broker.create_topic(OUTPUT, PARTITIONS)?;
    broker.create_topic(DEAD, 1)?;
    Ok(broker)
}

/// The demo's pipeline. In a file it would read like pipelines/sentiment.yaml.
pub fn settings(bootstrap_servers: String, model: PathBuf) -> Settings {
    let at_least_one = |n: usize| NonZeroUsize::new(n).unwrap_or(NonZeroUsize::MIN);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    Settings {
        kafka: Some(Kafka {
            bootstrap_servers,
            group_id: "demo".to_owned(),
            group_instance_id: None,
            client_id: "squeezeflow-demo".to_owned(),
            tls: None,
            sasl: None,
            session_timeout: Duration::from_secs(10),
            commit_interval: Duration::from_millis(500),
            transactional_id: None,
            transaction_timeout: Duration::from_secs(15),
            // The mock cluster answers an empty fetch at its time-out, not when a record comes.
            librdkafka: [
                ("fetch.wait.max.ms", "10"),
                // The embedded broker cannot be asked for its topics' limits.
                ("batch.size", "1000000"),
            ]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
        }),
        // The mock cluster's transactions are not real ones.
        delivery: Delivery::AtLeastOnce,
        input: Input {
            max_text_bytes: at_least_one(64 << 10),
            ..Input::new(&[INPUT], Format::Json(TextSelector::Pointer("/text".to_owned())))
        },
        results: ResultList {
            first: ResultOf {
                name: None,
                model: Model {
                    path: model,
                    provider: Provider { kind: ProviderKind::Cpu, options: BTreeMap::new() },
                    fallback: Vec::new(),
                    sessions: at_least_one(cores.min(4)),
                    threads: NonZeroUsize::MIN,
                    library: None,
                    max_length: None,
                },
                task: None,
                required: true,
            },
            others: Vec::new(),
        },
        batch: Batch {
            // So that few others wait for the one long text.
            max_tokens: at_least_one(1024),
            max_size: at_least_one(32),
            max_age: Duration::from_millis(20),
            timeout: Duration::from_secs(60),
        },
        // Its texts are few; what it shows is the model at work.
        cache: Cache { max_bytes: 0 },
        output: Output {
            topic: Some(OUTPUT.to_owned()),
            on_existing: OnExisting::Replace,
            ..Output::new(OutputMode::Splice)
        },
        dead_letter: Some(DeadLetterTopic { topic: DEAD.to_owned(), surge: None }),
        limits: Limits {
            max_in_flight_records: at_least_one(1000),
            max_in_flight_bytes: at_least_one(16 << 20),
            text_workers: NonZeroUsize::MIN,
            drain_timeout: Duration::from_secs(5),
        },
        admin: None,
        admin_token: None,
        show_text: false,
        log: Log { format: LogFormat::Human, level: LOG.to_owned() },
        otlp: None,
        stuck_after: Duration::from_secs(120),
    }
}
