//! How a record ends: exactly one of enriched, passed through, dead-lettered.

use std::fmt;
use std::sync::Arc;

use super::{Header, Record, Timestamp};
use crate::text::TokenCount;

/// The end of every record.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// Goes to the output topic with what the model said of it. The record stays with it: should
    /// the output prove too large for the broker, the original is what the dead letter needs.
    Enriched {
        /// As it was read.
        record: Record,
        /// What differs from it.
        emit: Emit,
    },
    /// Goes to the output topic as it came.
    PassThrough {
        /// As it was read.
        record: Record,
        /// Why the model has nothing to say of it.
        why: PassThrough,
    },
    /// Goes to the dead-letter topic, whole, with its reason.
    DeadLetter {
        /// As it was read.
        record: Record,
        /// Why it ends here.
        letter: DeadLetter,
    },
}

impl Outcome {
    /// The record that it is the end of, as it was read.
    pub fn record(&self) -> &Record {
        match self {
            Self::Enriched { record, .. }
            | Self::PassThrough { record, .. }
            | Self::DeadLetter { record, .. } => record,
        }
    }
}

/// What differs from the original record in an enriched one. The key is always the record's own.
#[derive(Debug, Clone, PartialEq)]
pub struct Emit {
    /// Where it goes, if not to the pipeline's output topic (`output.route`).
    pub topic: Option<Arc<str>>,
    /// The new value; `None`: the record's own bytes, untouched (`mode: headers`).
    pub value: Option<Vec<u8>>,
    /// Added after the record's own headers.
    pub headers: Vec<Header>,
    /// The record's own.
    pub timestamp: Timestamp,
    /// The labels that the results gave; first the one that chose the topic.
    pub labels: Vec<LabelOf>,
    /// What the model read, for summaries.
    pub tokens: TokenCount,
}

/// A result's one label.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelOf {
    /// The result's name among several; `None`: it is the only one.
    pub result: Option<Arc<str>>,
    /// As it is written.
    pub label: String,
    /// 0 to 1 (raw for a regression).
    pub score: f32,
}

/// Why a record passes through without inference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PassThrough {
    /// A null value: a deletion in a compacted topic.
    Tombstone,
    /// `on_existing: keep` and the field was there.
    FieldExists,
    /// `input.when` does not hold for it.
    NotSelected,
    /// `on_missing_text: pass-through` and there is no text, or null.
    TextMissing,
    /// `on_empty: pass-through` and the text is empty or white space only.
    TextEmpty,
    /// `on_empty: pass-through` and the tokenizer keeps nothing of the text.
    NoTokens,
}

impl PassThrough {
    /// Every one there is, for documentation and metrics.
    pub const ALL: [Self; 6] = [
        Self::Tombstone,
        Self::FieldExists,
        Self::NotSelected,
        Self::TextMissing,
        Self::TextEmpty,
        Self::NoTokens,
    ];

    /// For the metrics' `reason` label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tombstone => "tombstone",
            Self::FieldExists => "field_exists",
            Self::NotSelected => "not_selected",
            Self::TextMissing => "text_missing",
            Self::TextEmpty => "text_empty",
            Self::NoTokens => "no_tokens",
        }
    }
}

/// Where in the pipeline a record met its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Finding the text in the value.
    Decode,
    /// Text to token ids.
    Tokenize,
    /// The model.
    Infer,
    /// Putting the result into the record.
    Enrich,
    /// Handing it to the broker.
    Publish,
}

impl Stage {
    /// As written in headers and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Decode => "decode",
            Self::Tokenize => "tokenize",
            Self::Infer => "infer",
            Self::Enrich => "enrich",
            Self::Publish => "publish",
        }
    }
}

/// Why a record could not be enriched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Stable, documented, counted.
    pub reason: Reason,
    /// For a person. Never holds payload text.
    pub message: String,
    /// Where it happened.
    pub stage: Stage,
}

/// Stable reason codes. Users build alerts and replays on these words: add, never rename.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// The value is not JSON (or has something after its end).
    InvalidJson,
    /// JSON, but not an object at its root, so there is no place for a field.
    NotAnObject,
    /// The value is not UTF-8 (UTF-16, say).
    InvalidUtf8,
    /// First byte 0: framed by a schema registry (Avro, Protobuf, JSON Schema).
    SchemaRegistryFramed,
    /// The text's pointer leads nowhere.
    TextMissing,
    /// The text's pointer leads to null, a number, an object…
    TextNotAString,
    /// No text: empty or white space only.
    TextEmpty,
    /// `long_text: dead-letter` and the text has more tokens, or bytes, than are read.
    TextTooLong,
    /// The tokenizer keeps nothing of the text (control characters, say).
    NoTokens,
    /// `on_existing: error` and the output field was there.
    FieldExists,
    /// The tokenizer refused the text.
    TokenizeFailed,
    /// The model failed on this record, alone in its batch, while it works for others.
    InferenceFailed,
    /// The model answered with NaN or infinity for this record.
    NonFiniteOutput,
    /// The enriched record is larger than the output topic takes.
    OutputTooLarge,
    /// The output topic's settings refuse the record, whenever it is sent.
    OutputRefused,
}

impl Reason {
    /// Every code there is, for documentation and metrics.
    pub const ALL: [Self; 15] = [
        Self::InvalidJson,
        Self::NotAnObject,
        Self::InvalidUtf8,
        Self::SchemaRegistryFramed,
        Self::TextMissing,
        Self::TextNotAString,
        Self::TextEmpty,
        Self::TextTooLong,
        Self::NoTokens,
        Self::FieldExists,
        Self::TokenizeFailed,
        Self::InferenceFailed,
        Self::NonFiniteOutput,
        Self::OutputTooLarge,
        Self::OutputRefused,
    ];

    /// The code as it stands in headers, metrics and documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidJson => "invalid_json",
            Self::NotAnObject => "not_an_object",
            Self::InvalidUtf8 => "invalid_utf8",
            Self::SchemaRegistryFramed => "schema_registry_framed",
            Self::TextMissing => "text_missing",
            Self::TextNotAString => "text_not_a_string",
            Self::TextEmpty => "text_empty",
            Self::TextTooLong => "text_too_long",
            Self::NoTokens => "no_tokens",
            Self::FieldExists => "field_exists",
            Self::TokenizeFailed => "tokenize_failed",
            Self::InferenceFailed => "inference_failed",
            Self::NonFiniteOutput => "non_finite_output",
            Self::OutputTooLarge => "output_too_large",
            Self::OutputRefused => "output_refused",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
