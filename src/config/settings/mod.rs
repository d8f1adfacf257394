//! Validated settings with real types: what the rest of the house reads. Nothing in here may be
//! invalid, and nothing in here knows about files, YAML or environment variables.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use super::Secret;
pub use crate::model::tasks::Options as TaskOptions;

mod records;
mod telemetry;

pub use records::*;
pub use telemetry::*;

/// One pipeline, ready to be built.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The cluster. `None` where a pipeline is only used with `tag`.
    pub kafka: Option<Kafka>,
    /// What a reader downstream may rely on.
    pub delivery: Delivery,
    /// What is read and where in it the text is.
    pub input: Input,
    /// What is made of a text, and by which model.
    pub results: ResultList,
    /// Limits of one batch.
    pub batch: Batch,
    /// Answers that are kept.
    pub cache: Cache,
    /// What is written.
    pub output: Output,
    /// Where what cannot be enriched goes. `None` where a pipeline is only used with `tag`.
    pub dead_letter: Option<DeadLetterTopic>,
    /// Bounds of memory and time.
    pub limits: Limits,
    /// The one address for metrics and probes; `None`: off.
    pub admin: Option<SocketAddr>,
    /// A part of the worker that has work and has not moved for so long is stuck.
    pub stuck_after: Duration,
    /// What whoever asks there for more than a probe must show; `None`: nothing.
    pub admin_token: Option<Secret>,
    /// May the page show some of the texts?
    pub show_text: bool,
    /// How the worker logs.
    pub log: Log,
    /// The collector that is told of traces and metrics; `None`: none.
    pub otlp: Option<Otlp>,
}

/// What a reader downstream may rely on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// Transactions: with `read_committed` every record once.
    ExactlyOnce,
    /// None lost, some perhaps repeated.
    AtLeastOnce,
}

/// The Kafka client.
#[derive(Debug, Clone)]
pub struct Kafka {
    /// Comma-separated `host:port`.
    pub bootstrap_servers: String,
    /// Consumer group.
    pub group_id: String,
    /// Static membership (`group.instance.id`).
    pub group_instance_id: Option<String>,
    /// Shown in the brokers' logs and quotas.
    pub client_id: String,
    /// Absent: plaintext.
    pub tls: Option<Tls>,
    /// Absent: no authentication.
    pub sasl: Option<Sasl>,
    /// After this long without a heartbeat the group gives our partitions away.
    pub session_timeout: Duration,
    /// How long a transaction, or the offsets of delivered records, wait to be committed.
    pub commit_interval: Duration,
    /// `None`: made of the group and the instance, or generated.
    pub transactional_id: Option<String>,
    /// After this long without a commit the brokers abort a transaction.
    pub transaction_timeout: Duration,
    /// Passed to librdkafka as they are (both clients, unless a key belongs to one only); keys
    /// that the delivery guarantee owns were refused by the validation.
    pub librdkafka: BTreeMap<String, String>,
}

/// TLS to the brokers. Files are PEM.
#[derive(Debug, Clone)]
pub struct Tls {
    /// Authorities to trust; `None`: the system's.
    pub ca_file: Option<PathBuf>,
    /// Client certificate, for mutual TLS.
    pub certificate_file: Option<PathBuf>,
    /// Its key.
    pub key_file: Option<PathBuf>,
    /// The key's password.
    pub key_password: Option<Secret>,
    /// Check the broker's name against its certificate (`ssl.endpoint.identification.algorithm`).
    pub verify_hostname: bool,
}

/// SASL to the brokers.
#[derive(Debug, Clone)]
pub enum Sasl {
    /// By something that only we and the brokers know.
    Password {
        /// How it is proved.
        mechanism: PasswordMechanism,
        /// User name.
        username: String,
        /// Password.
        password: Secret,
    },
    /// `OAUTHBEARER`: by a token of an issuer that the brokers trust.
    OAuth(OAuth),
}

/// Where tokens come from: OAuth 2.0's client credentials.
#[derive(Debug, Clone)]
pub struct OAuth {
    /// The issuer's token endpoint.
    pub token_url: String,
    /// Who we are to the issuer.
    pub client_id: String,
    /// And its proof.
    pub client_secret: Secret,
    /// What the token is to be good for; `None`: what the issuer thinks fit.
    pub scope: Option<String>,
    /// Authorities to trust with the issuer; `None`: the system's.
    pub ca_file: Option<PathBuf>,
}

impl Sasl {
    /// As Kafka writes it.
    pub fn mechanism(&self) -> &'static str {
        match self {
            Self::Password { mechanism: PasswordMechanism::Plain, .. } => "PLAIN",
            Self::Password { mechanism: PasswordMechanism::ScramSha256, .. } => "SCRAM-SHA-256",
            Self::Password { mechanism: PasswordMechanism::ScramSha512, .. } => "SCRAM-SHA-512",
            Self::OAuth(_) => "OAUTHBEARER",
        }
    }
}

/// How a password is proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PasswordMechanism {
    /// User and password as they are: use with TLS.
    Plain,
    /// Salted challenge, SHA-256.
    ScramSha256,
    /// Salted challenge, SHA-512.
    ScramSha512,
}

/// At least one result.
#[derive(Debug, Clone)]
pub struct ResultList {
    /// By name the first.
    pub first: ResultOf,
    /// By name.
    pub others: Vec<ResultOf>,
}

impl ResultList {
    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &ResultOf> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// All of them.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut ResultOf> {
        std::iter::once(&mut self.first).chain(&mut self.others)
    }
}

/// One result.
#[derive(Debug, Clone)]
pub struct ResultOf {
    /// Under which it stands in the output; `None`: it is the only one, and is the output field itself.
    pub name: Option<String>,
    /// Whose answers it is made of.
    pub model: Model,
    /// What is made of them; `None`: what the package's head is for.
    pub task: Option<TaskOptions>,
    /// Is a record without it a dead letter?
    pub required: bool,
}

impl ResultOf {
    /// A key's path in the pipeline file.
    pub fn at(&self, key: &str) -> String {
        match &self.name {
            Some(name) => format!("{}.{key}", super::path::key("results", name)),
            None => key.to_owned(),
        }
    }
}

/// The model and its sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// The package's folder, resolved against the pipeline file's.
    pub path: PathBuf,
    /// What to run it on.
    pub provider: Provider,
    /// What to run it on if that is not to be had, in this order. Empty: then refuse to start.
    pub fallback: Vec<Provider>,
    /// Sessions side by side; each has its own thread.
    pub sessions: NonZeroUsize,
    /// Threads inside one session (CPU).
    pub threads: NonZeroUsize,
    /// The ONNX Runtime library; `None`: `ORT_DYLIB_PATH`, or beside the program.
    pub library: Option<PathBuf>,
    /// Fewer tokens than the package allows; `None`: the package's own maximum.
    pub max_length: Option<NonZeroUsize>,
}

/// An execution provider of ONNX Runtime with its own options (passed on by their ORT names).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provider {
    /// Which.
    pub kind: ProviderKind,
    /// Such as `device_id`, `trt_engine_cache_path`. Empty for the CPU.
    pub options: BTreeMap<String, String>,
}

/// The execution providers this build can ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProviderKind {
    /// The processor.
    Cpu,
    /// NVIDIA, through cuDNN and cuBLAS.
    Cuda,
    /// NVIDIA, through TensorRT.
    TensorRt,
}

impl ProviderKind {
    /// As written in pipelines, receipts and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
            Self::TensorRt => "tensorrt",
        }
    }
}

/// Limits of one batch.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Tokens that will be computed, padding included where there is any.
    pub max_tokens: NonZeroUsize,
    /// Texts.
    pub max_size: NonZeroUsize,
    /// How long the oldest text may wait for company while a session is free.
    pub max_age: Duration,
    /// How long the model may take for it.
    pub timeout: Duration,
}

/// Answers of the model that are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cache {
    /// Together, in bytes; 0: none, and every sequence is inferred.
    pub max_bytes: usize,
}

/// Bounds of memory and time.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Records between admission and delivery.
    pub max_in_flight_records: NonZeroUsize,
    /// Their bytes.
    pub max_in_flight_bytes: NonZeroUsize,
    /// Text worker threads (decode, tokenize).
    pub text_workers: NonZeroUsize,
    /// How long SIGTERM or a revocation waits for what is in flight.
    pub drain_timeout: Duration,
}

/// Logging.
#[derive(Debug, Clone)]
pub struct Log {
    /// For people or for machines.
    pub format: LogFormat,
    /// A `tracing` filter, such as `info` or `squeezeflow=debug,rdkafka=warn`.
    pub level: String,
}

/// Shape of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}
