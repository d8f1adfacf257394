//! The tests of a pipeline as they are written: `tests`, in the pipeline file or beside it.
//!
//! These are read from JSON text, not from a JSON value, so that [`Json`] can keep numbers as they
//! stand.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use crate::config::words::schema;
use crate::record::{PassThrough, Reason};

/// What stands beside a pipeline file, and what its `tests` is made of.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[allow(dead_code, reason = "only its schema is used: cases are read one by one")]
pub(in crate::config) struct Tests {
    /// What `squeezeflow test` tries. May stand beside the pipeline file, too, in `<its name>.tests.yaml`. `run` and `tag` do not look at it.
    pub(in crate::config) tests: Vec<Case>,
}

/// A test: a record, and what must become of it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Case {
    /// What it is called; no other case is.
    #[schemars(length(min = 1), example = &"praise")]
    pub(in crate::config) name: String,
    /// The record's value. Text is the value as it is; a map or a list is written as JSON, in order, numbers as they stand here; `null` is a tombstone. This or `value_base64` is needed.
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "Json")]
    pub(in crate::config) input: Option<Json>,
    /// The record's value in Base64: for bytes that are not UTF-8.
    pub(in crate::config) value_base64: Option<String>,
    /// The record's key. Absent: none.
    pub(in crate::config) key: Option<String>,
    /// The record's headers: text each, or `null`.
    pub(in crate::config) headers: Option<Headers>,
    /// The topic that it is read from. Absent: the first name in `input.topics`.
    pub(in crate::config) topic: Option<String>,
    /// The record's timestamp. Absent: none.
    pub(in crate::config) timestamp: Option<Time>,
    /// How far the score may be from `expect.score`.
    #[serde(default)]
    pub(in crate::config) tolerance: Tolerance,
    /// What must become of it. Absent: the case fails, and `--update` writes what came out.
    pub(in crate::config) expect: Option<Expect>,
}

/// What must become of a record. Only what is written is compared.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Expect {
    /// The result's label.
    #[schemars(length(min = 1))]
    pub(in crate::config) label: Option<String>,
    /// The score of that label, within `tolerance`.
    pub(in crate::config) score: Option<Score>,
    /// Parts of the output record's value, by JSON pointer: `{/nlp/tokens/used: 5}`. Equal as JSON has it: `1.0` is `1`, the order of keys is no matter.
    pub(in crate::config) fields: Option<Fields>,
    /// The output record's whole value, byte for byte.
    pub(in crate::config) value: Option<String>,
    /// Headers of the output record: text each, or `null`; of several with one name the last one.
    pub(in crate::config) headers: Option<Headers>,
    /// The topic that it is written to.
    pub(in crate::config) topic: Option<String>,
    /// It is passed through as it is, for this reason (see docs/RECORDS.md). Not with `label` or `score`.
    pub(in crate::config) passed: Option<Passed>,
    /// It becomes a dead letter, for this reason (see docs/RECORDS.md). Not with any other key.
    pub(in crate::config) dead_letter: Option<DeadLetterReason>,
}

/// A value as JSON, its numbers as they are written.
#[derive(Debug, Clone, Deserialize)]
#[serde(transparent)]
pub(in crate::config) struct Json(Box<RawValue>);
// Any type: what may stand there is told by `cases`, in the words of the key.
schema!(Json, { "title": "text, a map, a list or `null`" });

impl Json {
    pub(in crate::config) fn text(&self) -> &str {
        self.0.get()
    }
}

/// `null` is a value here, and not the same as no key.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Json>, D::Error> {
    Json::deserialize(deserializer).map(Some)
}

/// Names and values in the order in which they are written.
#[derive(Debug)]
pub(in crate::config) struct Ordered<T>(pub(in crate::config) Vec<(String, T)>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Ordered<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Entries<T> {
            type Value = Ordered<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Ordered(entries))
            }
        }
        deserializer.deserialize_map(Entries(PhantomData))
    }
}

/// By name.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(in crate::config) struct Headers(pub(in crate::config) Ordered<Json>);
schema!(Headers, {
    "type": "object", "title": "a map", "additionalProperties": { "title": "text or `null`" }
});

/// By JSON pointer.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(in crate::config) struct Fields(pub(in crate::config) Ordered<Json>);
schema!(Fields, {
    "type": "object", "title": "a map", "additionalProperties": { "title": "any value" }
});

/// Of a classifier from 0 to 1, of a regression any number.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(in crate::config) struct Score(pub(in crate::config) f64);
schema!(Score, { "type": "number", "title": "a number", "examples": [0.9987] });

/// What two processors may differ by in fp32, and more.
#[derive(Debug, Clone, Copy, Deserialize, Serialize)]
pub(in crate::config) struct Tolerance(pub(in crate::config) f64);
schema!(Tolerance, { "type": "number", "title": "a number from 0", "minimum": 0, "examples": [0.001] });

impl Default for Tolerance {
    fn default() -> Self {
        Self(0.001)
    }
}

/// An RFC 3339 timestamp.
#[derive(Debug, Clone, Deserialize)]
pub(in crate::config) struct Time(pub(in crate::config) String);
schema!(Time, {
    "type": "string", "title": "an RFC 3339 timestamp", "pattern": crate::config::units::TIME,
    "examples": ["2026-01-31T08:00:00Z"]
});

/// One of [`PassThrough`].
#[derive(Debug, Clone, Deserialize)]
pub(in crate::config) struct Passed(pub(in crate::config) String);
schema!(Passed, { "type": "string", "title": "a code of passing through", "enum": PassThrough::ALL.map(PassThrough::as_str) });

/// One of [`Reason`].
#[derive(Debug, Clone, Deserialize)]
pub(in crate::config) struct DeadLetterReason(pub(in crate::config) String);
schema!(DeadLetterReason, { "type": "string", "title": "a reason code", "enum": reasons() });

/// Those that can come without a broker.
fn reasons() -> Vec<&'static str> {
    let of_broker = |reason: &Reason| matches!(reason, Reason::OutputTooLarge | Reason::OutputRefused);
    Reason::ALL.into_iter().filter(|reason| !of_broker(reason)).map(Reason::as_str).collect()
}
