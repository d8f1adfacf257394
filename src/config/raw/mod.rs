//! A pipeline file as it is written: the shape that serde reads and that the JSON Schema is made
//! of. Doc comments here are what `squeezeflow schema` and docs/CONFIGURATION.md say, so they speak
//! to the user. Nothing outside `config/` sees these types; [`super::Settings`] is what comes of them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mod cases;
mod records;
mod telemetry;

pub(in crate::config) use cases::*;
pub(in crate::config) use records::*;
pub(in crate::config) use telemetry::*;

use super::defaults;
use super::words::{Allowance, ByteSize, Count, Duration, Provider, Scalar, Secret, Sessions, Task, Workers};

/// A squeezeflow pipeline.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Pipeline {
    /// The cluster. Needed by `run`, not by `tag`.
    pub(in crate::config) kafka: Option<Kafka>,
    /// What a reader downstream may rely on.
    #[serde(default)]
    pub(in crate::config) delivery: Delivery,
    /// What is read, and where in it the text is.
    pub(in crate::config) input: Input,
    /// The model package and what it runs on. Either this or `results`.
    pub(in crate::config) model: Option<Model>,
    /// What is made of the model's answers: the name of a task, or its name with its options (`{text-classification: {top_k: 3}}`). Absent: what the package's head is for.
    pub(in crate::config) task: Option<Task>,
    /// Several results of one text, each under its own name in the output. Either this or `model`.
    #[serde(default)]
    pub(in crate::config) results: BTreeMap<String, ResultOf>,
    /// How texts are put together for the model.
    #[serde(default)]
    pub(in crate::config) batch: Batch,
    /// Answers of the model that are kept, so that a text that comes again is not inferred again.
    #[serde(default)]
    pub(in crate::config) cache: Cache,
    /// What is written.
    #[serde(default)]
    pub(in crate::config) output: Output,
    /// Where records go that cannot be enriched. Needed by `run`, not by `tag`.
    pub(in crate::config) dead_letter: Option<DeadLetter>,
    /// Bounds of memory and time.
    #[serde(default)]
    pub(in crate::config) limits: Limits,
    /// The one address for the page, metrics and health probes.
    #[serde(default)]
    pub(in crate::config) admin: Admin,
    /// How the worker logs.
    #[serde(default)]
    pub(in crate::config) log: Log,
    /// What is told besides logs and `/metrics`.
    #[serde(default)]
    pub(in crate::config) telemetry: Telemetry,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(in crate::config) enum Delivery {
    /// results, dead letters and offsets are committed in one Kafka transaction: a reader with `isolation.level=read_committed` sees every record once
    #[default]
    ExactlyOnce,
    /// no transactions: after a crash or a lost assignment some results are written again
    AtLeastOnce,
}

/// The Kafka client.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Kafka {
    /// Brokers to ask first, as `host:port`, separated by commas.
    #[schemars(length(min = 1), example = &"localhost:9092")]
    pub(in crate::config) bootstrap_servers: String,
    /// Consumer group. Workers with the same group share the partitions.
    #[schemars(length(min = 1), example = &"sentiment")]
    pub(in crate::config) group_id: String,
    /// Static membership: stable and different for each worker. A restart within `session_timeout` then moves no partition; a second worker of the same name stops the first.
    #[schemars(length(min = 1))]
    pub(in crate::config) group_instance_id: Option<String>,
    /// Name of this client in the brokers' logs and quotas.
    #[serde(default = "defaults::client_id")]
    #[schemars(length(min = 1))]
    pub(in crate::config) client_id: String,
    /// TLS to the brokers. Absent: none. `{}`: with the system's authorities.
    pub(in crate::config) tls: Option<Tls>,
    /// Authentication by SASL. Absent: none.
    pub(in crate::config) sasl: Option<Sasl>,
    /// After this long without a heartbeat the group gives this worker's partitions to others.
    #[serde(default = "defaults::session_timeout")]
    pub(in crate::config) session_timeout: Duration,
    /// How long a transaction (with `at-least-once`: the offsets of delivered records) waits to be committed. Absent: 200ms exactly once, 1s at least once. A full budget of `limits` commits sooner.
    pub(in crate::config) commit_interval: Option<Duration>,
    /// Identity of this worker's transactions: stable, and different for each worker, such as the name of its pod. Absent: made of `group_id` and `group_instance_id`, or else a new one at each start.
    #[schemars(length(min = 1))]
    pub(in crate::config) transactional_id: Option<String>,
    /// After this long the brokers abort the transaction of a worker that is gone; until then readers wait for it.
    #[serde(default = "defaults::transaction_timeout")]
    pub(in crate::config) transaction_timeout: Duration,
    /// Further properties of librdkafka, by their own names. Those that the delivery guarantee owns are refused.
    #[serde(default)]
    pub(in crate::config) librdkafka: BTreeMap<String, Scalar>,
}

/// TLS to the brokers. Files are PEM.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Tls {
    /// Authorities to trust. Absent: the system's.
    pub(in crate::config) ca_file: Option<String>,
    /// Client certificate, where the brokers ask for one.
    pub(in crate::config) certificate_file: Option<String>,
    /// Key of the client certificate.
    pub(in crate::config) key_file: Option<String>,
    /// Password of that key.
    pub(in crate::config) key_password: Option<Secret>,
    /// Does the broker's certificate have to be for the broker's name?
    #[serde(default = "defaults::yes")]
    pub(in crate::config) verify_hostname: bool,
}

/// Authentication by SASL.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Sasl {
    /// How it is proved who we are.
    pub(in crate::config) mechanism: SaslMechanism,
    /// User name. Needed, but not with `OAUTHBEARER`.
    #[schemars(length(min = 1))]
    pub(in crate::config) username: Option<String>,
    /// Password. Needed, but not with `OAUTHBEARER`.
    pub(in crate::config) password: Option<Secret>,
    /// Where tokens come from. Needed with `OAUTHBEARER`, and only there.
    pub(in crate::config) oauth: Option<OAuth>,
}

/// Tokens by OAuth 2.0's client credentials.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct OAuth {
    /// The issuer's token endpoint, `https://…`.
    #[schemars(length(min = 1), example = &"https://login.example.com/oauth2/token")]
    pub(in crate::config) token_url: String,
    /// Name of this client to the issuer.
    #[schemars(length(min = 1))]
    pub(in crate::config) client_id: String,
    /// Secret of this client.
    pub(in crate::config) client_secret: Secret,
    /// What the token is to be good for. Absent: what the issuer thinks fit.
    #[schemars(length(min = 1))]
    pub(in crate::config) scope: Option<String>,
    /// Authorities to trust with the issuer. Absent: the system's.
    pub(in crate::config) ca_file: Option<String>,
}

#[derive(Debug, Clone, Copy, Deserialize, Serialize, JsonSchema)]
pub(in crate::config) enum SaslMechanism {
    /// as it is, so only over TLS
    #[serde(rename = "PLAIN")]
    Plain,
    /// salted challenge
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    /// salted challenge
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512,
    /// a token of an issuer that the brokers trust
    #[serde(rename = "OAUTHBEARER")]
    OAuthBearer,
}

/// One of several results.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct ResultOf {
    /// The model package and what it runs on.
    pub(in crate::config) model: Model,
    /// What is made of the model's answers: the name of a task, or its name with its options. Absent: what the package's head is for.
    pub(in crate::config) task: Option<Task>,
    /// Is a record for which this cannot be had a dead letter? `false`: the others stand, and in the place of this one the output says why it is missing.
    #[serde(default = "defaults::yes")]
    pub(in crate::config) required: bool,
}

/// The model package.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Model {
    /// Folder of the package (`config.json`, `tokenizer.json`, `model.onnx`), or of a plain SqueezeBERT checkpoint, relative to the pipeline file.
    #[schemars(length(min = 1), example = &"../models/sentiment")]
    pub(in crate::config) path: String,
    /// What to run it on: `cpu`, `cuda`, `tensorrt`, or one of them with options of ONNX Runtime.
    #[serde(default)]
    pub(in crate::config) provider: Provider,
    /// What to run it on if the provider cannot be had, in this order. Empty: then the worker refuses to start.
    #[serde(default)]
    pub(in crate::config) fallback: Vec<Provider>,
    /// Copies that run side by side. `auto`, for throughput: on the CPU the number of cores divided by `threads`, else 1. `latency`: one, on all cores (or on as many as `threads` says). With several models (`results` over packages that do not run as one graph) each has as many, together more than there are cores: write fewer then. Threads wait for work by spinning only where a pipeline has a single session.
    #[serde(default)]
    pub(in crate::config) sessions: Sessions,
    /// CPU threads inside one session. 1 gives the most texts a second; more give a shorter time for one batch. Absent: 1; with `sessions: latency` the number of cores.
    pub(in crate::config) threads: Option<Count>,
    /// The ONNX Runtime library. Absent: `ORT_DYLIB_PATH`, or beside the program.
    pub(in crate::config) library: Option<String>,
    /// Longest sequence in tokens, special tokens included. Absent: the package's own maximum.
    pub(in crate::config) max_length: Option<Count>,
}

/// How texts are put together for the model.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct Batch {
    /// Most tokens that are computed for one batch, padding included where the package's graph pads (packed ones do not).
    pub(in crate::config) max_batch_tokens: Count,
    /// Most texts in one batch.
    pub(in crate::config) max_batch_size: Count,
    /// Longest time that a text waits for company while a session is free.
    pub(in crate::config) max_batch_age: Duration,
    /// Longest time that the model may take for one batch. One that takes longer is ended, and the worker stops with exit code 1.
    pub(in crate::config) timeout: Duration,
}

/// Answers of the model that are kept, so that a text that comes again is not inferred again.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct Cache {
    /// Most bytes of answers that are kept, of all models together; about 400 a text. 0: none, and every text is inferred. A package whose results depend on what a text is batched with is always inferred.
    pub(in crate::config) max_bytes: Allowance,
}

/// Bounds of memory and time.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct Limits {
    /// Most records between reading and delivery. Absent: 2000, or what the batches need if that is more.
    pub(in crate::config) max_in_flight_records: Option<Count>,
    /// Most bytes of records between reading and delivery.
    pub(in crate::config) max_in_flight_bytes: ByteSize,
    /// Threads that decode and tokenize. `auto`: a quarter of the cores, from 2 (so that one slow text does not stop the others) to 8.
    pub(in crate::config) text_workers: Workers,
    /// How long SIGTERM or a rebalance waits for what is in flight. What is not delivered by then is read again.
    pub(in crate::config) drain_timeout: Duration,
}

/// The one address for the page, metrics and health probes.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct Admin {
    /// Serve the page, `/metrics`, `/live` and `/ready`?
    pub(in crate::config) enabled: bool,
    /// Where to listen, as `IP:port`. `0.0.0.0:9464` for every interface.
    #[schemars(length(min = 1))]
    pub(in crate::config) address: String,
    /// When the Kafka thread, a session or the batcher has work and has not moved for this long, `/live` says 503 and names it.
    pub(in crate::config) stuck_after: Duration,
    /// Whoever asks must show this (`Authorization: Bearer …`; a browser: as the password, of any user); `/live` and `/ready` answer anybody. Absent: everything does.
    pub(in crate::config) token: Option<Secret>,
    /// Show the beginnings of some texts on the page, one or two a second, with their labels? They are what people wrote.
    pub(in crate::config) show_text: bool,
}

/// How the worker logs.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct Log {
    /// Shape of a line.
    pub(in crate::config) format: LogFormat,
    /// `error`, `warn`, `info`, `debug`, `trace`, or a filter such as `info,squeezeflow=debug`.
    #[schemars(length(min = 1))]
    pub(in crate::config) level: String,
}

#[derive(Debug, Clone, Copy, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum LogFormat {
    /// for people
    #[default]
    Human,
    /// one JSON object a line
    Json,
}
