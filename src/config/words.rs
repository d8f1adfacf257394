//! The single values of a pipeline file that are more than text or a number: durations, sizes,
//! secrets, providers. Each knows its own JSON Schema, and keeps what was written: the conversion
//! to real values, with its errors, is `validate`'s.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::units;
use crate::model::tasks::Options;

/// Gives a type its schema in line. `title` is a noun phrase, for error messages.
macro_rules! schema {
    ($type:ty, $schema:tt) => {
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }
            fn inline_schema() -> bool {
                true
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    };
}
pub(super) use schema;

/// `20ms`, `1s`, `2m`.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub(super) struct Duration(pub(super) String);
schema!(Duration, {
    "type": "string", "title": "a duration", "pattern": units::DURATION, "examples": ["20ms", "1.5s", "2m"]
});

/// `64MiB`, `1MB`, or a number of bytes.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(transparent)]
pub(super) struct ByteSize(pub(super) Scalar);
schema!(ByteSize, {
    "type": ["string", "integer"], "title": "a size in bytes", "pattern": units::BYTE_SIZE,
    "minimum": 1, "maximum": 1_000_000_000_000u64, "examples": ["64MiB", "1MB", 65536]
});

/// The same, or 0: none at all.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(transparent)]
pub(super) struct Allowance(pub(super) ByteSize);
schema!(Allowance, {
    "type": ["string", "integer"], "title": "a size in bytes, or 0", "pattern": units::BYTE_SIZE,
    "minimum": 0, "maximum": 1_000_000_000_000u64, "examples": ["64MiB", 0]
});

/// A whole number from 1.
#[derive(Debug, Clone, Copy, Deserialize, Serialize)]
pub(super) struct Count(pub(super) u32);
schema!(Count, { "type": "integer", "title": "a whole number from 1", "minimum": 1, "maximum": 1_000_000 });

/// A whole number from 0.
#[derive(Debug, Clone, Copy, Default, Deserialize, Serialize)]
pub(super) struct Whole(pub(super) u32);
schema!(Whole, { "type": "integer", "title": "a whole number from 0", "minimum": 0, "maximum": 1_000_000 });

/// A share or a score.
#[derive(Debug, Clone, Copy, Deserialize, Serialize)]
pub(super) struct Ratio(pub(super) f64);
schema!(Ratio, { "type": "number", "title": "a number from 0 to 1", "minimum": 0, "maximum": 1, "examples": [0.6] });

/// `auto`, or how many.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(untagged)]
pub(super) enum Workers {
    Count(Count),
    Auto(String),
}
schema!(Workers, {
    "type": ["string", "integer"], "title": "`auto` or a whole number from 1", "pattern": "^auto$",
    "minimum": 1, "maximum": 4096, "examples": ["auto", 2]
});

/// `auto`, `latency`, or how many.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(untagged)]
pub(super) enum Sessions {
    Count(Count),
    Named(SessionsFor),
}
/// What they are to be best at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum SessionsFor {
    Auto,
    Latency,
}
schema!(Sessions, {
    "type": ["string", "integer"], "title": "`auto`, `latency` or a whole number from 1",
    "pattern": "^(auto|latency)$", "minimum": 1, "maximum": 4096, "examples": ["auto", "latency", 2]
});

/// `earliest`, `latest` or an RFC 3339 timestamp.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub(super) struct Start(pub(super) String);
schema!(Start, {
    "type": "string", "title": "`earliest`, `latest` or an RFC 3339 timestamp", "pattern": units::START,
    "examples": ["earliest", "latest", "2026-01-31T08:00:00Z"]
});

/// A secret as it is written: itself, or where it is to be had.
#[derive(Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum Secret {
    Literal(String),
    Elsewhere(SecretSource),
}
#[derive(Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum SecretSource {
    Env(String),
    File(String),
}
schema!(Secret, {
    "type": ["string", "object"], "title": "a secret", "writeOnly": true,
    "description": "`{env: NAME}`, `{file: PATH}`, or (not recommended) the secret itself.",
    "properties": {
        "env": { "type": "string", "minLength": 1, "description": "Environment variable that holds the secret." },
        "file": { "type": "string", "minLength": 1,
            "description": "File that holds the secret, relative to the pipeline file. A line feed at its end is not part of it." }
    },
    "additionalProperties": false, "minProperties": 1, "maxProperties": 1,
    "examples": [{ "env": "KAFKA_PASSWORD" }, { "file": "/run/secrets/kafka" }]
});

/// Where it is to be had; never the secret.
impl Serialize for Secret {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Literal(_) => to.serialize_str("[redacted]"),
            Self::Elsewhere(SecretSource::Env(name)) => to.collect_map([("env", name)]),
            Self::Elsewhere(SecretSource::File(file)) => to.collect_map([("file", file)]),
        }
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[redacted]")
    }
}

/// An execution provider: its name, or its name with options.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(untagged)]
pub(super) enum Provider {
    Name(ProviderName),
    WithOptions(BTreeMap<ProviderName, BTreeMap<String, Scalar>>),
}
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum ProviderName {
    Cpu,
    Cuda,
    #[serde(rename = "tensorrt")]
    TensorRt,
}
schema!(Provider, {
    "type": ["string", "object"], "title": "`cpu`, `cuda` or `tensorrt`", "pattern": "^(cpu|cuda|tensorrt)$",
    "properties": {
        "cpu": options("The processor. It has no options."),
        "cuda": options("Options of ONNX Runtime's CUDA provider, such as `device_id`."),
        "tensorrt": options("Options of ONNX Runtime's TensorRT provider, such as `trt_engine_cache_path`.")
    },
    "additionalProperties": false, "minProperties": 1, "maxProperties": 1,
    "examples": ["cpu", "cuda", { "cuda": { "device_id": 0 } }]
});

/// A task: its name, or its name with what there is to say of it.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(untagged)]
pub(super) enum Task {
    Name(String),
    WithOptions(Options),
}

impl JsonSchema for Task {
    fn schema_name() -> Cow<'static, str> {
        "Task".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let properties: serde_json::Map<String, serde_json::Value> = Options::schemas(generator)
            .into_iter()
            .map(|(name, schema)| (name.to_owned(), schema.to_value()))
            .collect();
        let names = Options::NAMES.join("|");
        let title = Options::NAMES.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        json_schema!({
            "type": ["string", "object"], "title": format!("a task ({title})"), "pattern": format!("^({names})$"),
            "properties": properties, "additionalProperties": false, "minProperties": 1, "maxProperties": 1,
            "examples": ["token-classification"]
        })
    }
}

fn options(description: &str) -> serde_json::Value {
    serde_json::json!({
        "type": "object", "title": "a map of options", "description": description,
        "additionalProperties": { "type": ["string", "integer", "number", "boolean"] }
    })
}

/// A value that is passed on as text.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(untagged)]
pub(super) enum Scalar {
    Text(String),
    Number(serde_json::Number),
    Bool(bool),
}
schema!(Scalar, { "type": ["string", "integer", "number", "boolean"], "title": "text, a number, or true or false" });

impl Scalar {
    /// A number that is written in more than one way.
    pub(super) fn is_fraction(&self) -> bool {
        matches!(self, Self::Number(number) if number.is_f64())
    }
    /// As it stands in a JSON document.
    pub(super) fn json(&self) -> serde_json::Value {
        match self {
            Self::Text(text) => text.as_str().into(),
            Self::Number(number) => number.clone().into(),
            Self::Bool(bool) => (*bool).into(),
        }
    }
    /// As librdkafka and ONNX Runtime read it.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Number(number) => number.to_string(),
            Self::Bool(bool) => bool.to_string(),
        }
    }
}

impl Duration {
    pub(super) fn of(text: &str) -> Self {
        Self(text.into())
    }
}
impl ByteSize {
    pub(super) fn of(text: &str) -> Self {
        Self(Scalar::Text(text.into()))
    }
}
impl Allowance {
    pub(super) fn of(text: &str) -> Self {
        Self(ByteSize::of(text))
    }
}
impl Default for Workers {
    fn default() -> Self {
        Self::Auto("auto".into())
    }
}
impl Default for Sessions {
    fn default() -> Self {
        Self::Named(SessionsFor::Auto)
    }
}
impl Default for Start {
    fn default() -> Self {
        Self("earliest".into())
    }
}
impl Default for Provider {
    fn default() -> Self {
        Self::Name(ProviderName::Cpu)
    }
}
