//! A pipeline file as it is written: the shape that serde reads and that the JSON Schema is made
//! of. Doc comments here are what `squeezeflow schema` and docs/CONFIGURATION.md say, so they speak
//! to the user. Nothing outside `config/` sees these types; [`super::Settings`] is what comes of them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::defaults;
use super::words::{ByteSize, Count, Duration, Provider, Scalar, Secret, Start, Workers};

/// A squeezeflow pipeline.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Pipeline {
    /// The cluster. Needed by `run`, not by `tag`.
    pub(super) kafka: Option<Kafka>,
    /// What is read, and where in it the text is.
    pub(super) input: Input,
    /// The model package and what it runs on.
    pub(super) model: Model,
    /// How texts are put together for the model.
    #[serde(default)]
    pub(super) batch: Batch,
    /// What is written.
    #[serde(default)]
    pub(super) output: Output,
    /// Where records go that cannot be enriched. Needed by `run`, not by `tag`.
    pub(super) dead_letter: Option<DeadLetter>,
    /// Bounds of memory and time.
    #[serde(default)]
    pub(super) limits: Limits,
    /// The one address for metrics and health probes.
    #[serde(default)]
    pub(super) admin: Admin,
    /// How the worker logs.
    #[serde(default)]
    pub(super) log: Log,
}

/// The Kafka client.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Kafka {
    /// Brokers to ask first, as `host:port`, separated by commas.
    #[schemars(length(min = 1), example = &"localhost:9092")]
    pub(super) bootstrap_servers: String,
    /// Consumer group. Workers with the same group share the partitions.
    #[schemars(length(min = 1), example = &"sentiment")]
    pub(super) group_id: String,
    /// Static membership: stable and different for each worker. A restart within `session_timeout` then moves no partition.
    #[schemars(length(min = 1))]
    pub(super) group_instance_id: Option<String>,
    /// Name of this client in the brokers' logs and quotas.
    #[serde(default = "defaults::client_id")]
    #[schemars(length(min = 1))]
    pub(super) client_id: String,
    /// TLS to the brokers. Absent: none. `{}`: with the system's authorities.
    pub(super) tls: Option<Tls>,
    /// Authentication by SASL. Absent: none.
    pub(super) sasl: Option<Sasl>,
    /// After this long without a heartbeat the group gives this worker's partitions to others.
    #[serde(default = "defaults::session_timeout")]
    pub(super) session_timeout: Duration,
    /// How often the offsets of delivered records are committed.
    #[serde(default = "defaults::commit_interval")]
    pub(super) commit_interval: Duration,
    /// Further properties of librdkafka, by their own names. Those that the delivery guarantee owns are refused.
    #[serde(default)]
    pub(super) librdkafka: BTreeMap<String, Scalar>,
}

/// TLS to the brokers. Files are PEM.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Tls {
    /// Authorities to trust. Absent: the system's.
    pub(super) ca_file: Option<String>,
    /// Client certificate, where the brokers ask for one.
    pub(super) certificate_file: Option<String>,
    /// Key of the client certificate.
    pub(super) key_file: Option<String>,
    /// Password of that key.
    pub(super) key_password: Option<Secret>,
    /// Does the broker's certificate have to be for the broker's name?
    #[serde(default = "defaults::yes")]
    pub(super) verify_hostname: bool,
}

/// Authentication by SASL.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Sasl {
    /// How the password is proved.
    pub(super) mechanism: SaslMechanism,
    /// User name.
    #[schemars(length(min = 1))]
    pub(super) username: String,
    /// Password.
    pub(super) password: Secret,
}

#[derive(Debug, Clone, Copy, Deserialize, Serialize, JsonSchema)]
pub(super) enum SaslMechanism {
    /// as it is, so only over TLS
    #[serde(rename = "PLAIN")]
    Plain,
    /// salted challenge
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    /// salted challenge
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512,
}

/// What is read.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {
    /// Topics: names, or regular expressions (POSIX extended) that begin with `^`.
    #[schemars(length(min = 1), inner(length(min = 1)), example = &["reviews"])]
    pub(super) topics: Vec<String>,
    /// What a record's value is.
    #[serde(default)]
    pub(super) format: Format,
    /// Where the text is in a JSON value: a JSON pointer such as `/text`, or several joined by a template such as `{/title}. {/body}` (`{{` and `}}` are braces). Default `/text`; not with `format: text`.
    #[schemars(length(min = 1), example = &"/text", example = &"{/title}. {/body}")]
    pub(super) text: Option<String>,
    /// Where a consumer group begins that has never committed: `earliest`, `latest`, or with the first record of a time.
    #[serde(default)]
    pub(super) start: Start,
    /// When the records after the committed offset are gone (retention was shorter than the pause).
    #[serde(default)]
    pub(super) on_gap: OnGap,
    /// Longer texts are cut here before they are tokenized, and their results say so.
    #[serde(default = "defaults::max_text_bytes")]
    pub(super) max_text_bytes: ByteSize,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Format {
    /// an object with the text in it
    #[default]
    Json,
    /// the text itself, in UTF-8
    Text,
}

#[derive(Debug, Clone, Copy, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum OnGap {
    /// stop, and say which records are gone
    #[default]
    Fail,
    /// go on with the oldest record there is; logged and counted
    Earliest,
}

/// The model package.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Model {
    /// Folder of the package (`config.json`, `tokenizer.json`, `model.onnx`), relative to the pipeline file.
    #[schemars(length(min = 1), example = &"../models/sentiment")]
    pub(super) path: String,
    /// What to run it on: `cpu`, `cuda`, `tensorrt`, or one of them with options of ONNX Runtime.
    #[serde(default)]
    pub(super) provider: Provider,
    /// What to run it on if the provider cannot be had, in this order. Empty: then the worker refuses to start.
    #[serde(default)]
    pub(super) fallback: Vec<Provider>,
    /// Copies that run side by side. `auto`: on the CPU the number of cores divided by `threads`, else 1.
    #[serde(default)]
    pub(super) sessions: Workers,
    /// CPU threads inside one session. 1 gives the most texts a second; more give a shorter time for one batch.
    #[serde(default = "defaults::one")]
    pub(super) threads: Count,
    /// The ONNX Runtime library. Absent: `ORT_DYLIB_PATH`, or beside the program.
    pub(super) library: Option<String>,
    /// Longest sequence in tokens, special tokens included. Absent: the package's own maximum.
    pub(super) max_length: Option<Count>,
}

/// How texts are put together for the model.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Batch {
    /// Most tokens that are computed for one batch, padding included.
    pub(super) max_batch_tokens: Count,
    /// Most texts in one batch.
    pub(super) max_batch_size: Count,
    /// Longest time that a text waits for company while a session is free.
    pub(super) max_batch_age: Duration,
}

/// What is written.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Output {
    /// Topic of the enriched records. Needed by `run`, not by `tag`.
    pub(super) topic: Option<String>,
    /// Shape of an enriched record. Default `splice` for JSON, `envelope` for text.
    pub(super) mode: Option<Mode>,
    /// Name of the JSON field, or prefix of the headers.
    #[schemars(length(min = 1))]
    pub(super) field: String,
    /// When a record has that field already.
    pub(super) on_existing: OnExisting,
    /// Give every label's score, not only the best one's.
    pub(super) scores: bool,
    /// How the output partition is chosen.
    pub(super) partition: Partition,
    /// Add headers that name the source topic, partition and offset.
    pub(super) source_headers: bool,
}

#[derive(Debug, Clone, Copy, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Mode {
    /// the original JSON with one field added, all other bytes untouched
    Splice,
    /// a new object of `text` and the field
    Envelope,
    /// the value untouched, the result in headers
    Headers,
}

#[derive(Debug, Clone, Copy, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum OnExisting {
    /// tag the record and replace the field
    Replace,
    /// pass the record on as it is
    Keep,
    /// send the record to the dead-letter topic, so that nothing is overwritten or skipped unseen
    #[default]
    Error,
}

#[derive(Debug, Clone, Copy, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Partition {
    /// by the record's key as Java's clients do (murmur2); without a key as `input`, modulo
    #[default]
    Key,
    /// the number of the input partition
    Input,
}

/// Where records go that cannot be enriched.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DeadLetter {
    /// Topic of the dead letters.
    #[schemars(example = &"reviews.dead")]
    pub(super) topic: String,
}

/// Bounds of memory and time.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Limits {
    /// Most records between reading and delivery. Absent: 2000, or what the batches need if that is more.
    pub(super) max_in_flight_records: Option<Count>,
    /// Most bytes of records between reading and delivery.
    pub(super) max_in_flight_bytes: ByteSize,
    /// Threads that decode and tokenize. `auto`: a quarter of the cores, at most 8.
    pub(super) text_workers: Workers,
    /// How long SIGTERM or a rebalance waits for what is in flight. What is not delivered by then is read again.
    pub(super) drain_timeout: Duration,
}

/// The one address for metrics and health probes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Admin {
    /// Serve `/metrics`, `/live` and `/ready`?
    pub(super) enabled: bool,
    /// Where to listen, as `IP:port`. `0.0.0.0:9464` for every interface.
    #[schemars(length(min = 1))]
    pub(super) address: String,
}

/// How the worker logs.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Log {
    /// Shape of a line.
    pub(super) format: LogFormat,
    /// `error`, `warn`, `info`, `debug`, `trace`, or a filter such as `info,squeezeflow=debug`.
    #[schemars(length(min = 1))]
    pub(super) level: String,
}

#[derive(Debug, Clone, Copy, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum LogFormat {
    /// for people
    #[default]
    Human,
    /// one JSON object a line
    Json,
}
