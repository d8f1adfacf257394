//! What is read and what is written: `input`, `output`, `dead_letter`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::defaults;
use crate::config::words::{ByteSize, Count, Ratio, Scalar, Start, Whole};

/// What is read.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Input {
    /// Topics: names, or regular expressions (POSIX extended) that begin with `^`.
    #[schemars(length(min = 1), inner(length(min = 1)), example = &["reviews"])]
    pub(in crate::config) topics: Vec<String>,
    /// What a record's value is.
    #[serde(default)]
    pub(in crate::config) format: Format,
    /// Where the text is in a JSON value: a JSON pointer such as `/text`, or several joined by a template such as `{/title}. {/body}` (`{{` and `}}` are braces). Default `/text`; not with `format: text`.
    #[schemars(length(min = 1), example = &"/text", example = &"{/title}. {/body}")]
    pub(in crate::config) text: Option<String>,
    /// Where the second text is, for a model that reads pairs: a JSON pointer such as `/answer`. Not with `format: text`.
    #[schemars(length(min = 1), example = &"/answer")]
    pub(in crate::config) pair: Option<String>,
    /// Where a consumer group begins that has never committed: `earliest`, `latest`, or with the first record of a time.
    #[serde(default)]
    pub(in crate::config) start: Start,
    /// When the records after the committed offset are gone (retention was shorter than the pause).
    #[serde(default)]
    pub(in crate::config) on_gap: OnGap,
    /// Longer texts are cut here before they are tokenized, and their results say so.
    #[serde(default = "defaults::max_text_bytes")]
    pub(in crate::config) max_text_bytes: ByteSize,
    /// Parts of a text that are replaced by one word each before it is tokenized, so that log lines which differ only in them are one text: `numbers`, `hex`, `uuids`, `ips`, `paths`. The output keeps the text as it is, and the result says how many parts were replaced.
    #[serde(default)]
    pub(in crate::config) mask: Vec<Mask>,
    /// Texts of more tokens than the model reads at once.
    #[serde(default)]
    pub(in crate::config) long_text: LongText,
    /// With `long_text: windows`: tokens that a window shares with the one before it, at most half a window.
    #[serde(default)]
    pub(in crate::config) stride: Whole,
    /// With `long_text: windows`: most windows of one text. What is beyond them is not read, and the result says so.
    #[serde(default = "defaults::max_windows")]
    pub(in crate::config) max_windows: Count,
    /// With `long_text: windows`: how the windows' scores become one result.
    #[serde(default)]
    pub(in crate::config) combine: Combine,
    /// A text that is empty, only white space, or has nothing that the tokenizer keeps.
    #[serde(default)]
    pub(in crate::config) on_empty: WithoutText,
    /// A record in which the text is missing, or null.
    #[serde(default)]
    pub(in crate::config) on_missing_text: WithoutText,
    /// Only records for which this holds are tagged; the others pass through as they are, with nothing hidden in them.
    pub(in crate::config) when: Option<When>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(in crate::config) enum Mask {
    /// numbers, dates and times: `0`
    Numbers,
    /// hexadecimal numbers: `hex`
    Hex,
    /// UUIDs: `uuid`
    Uuids,
    /// IPv4 and IPv6 addresses: `ip`
    Ips,
    /// file paths and URLs: `path`
    Paths,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(in crate::config) enum LongText {
    /// read the beginning; the result says how much of it
    #[default]
    Truncate,
    /// read all of it, in windows of the model's length
    Windows,
    /// send the record to the dead-letter topic
    DeadLetter,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum Combine {
    /// the mean of the scores, each window weighing as many tokens as it has
    #[default]
    Mean,
    /// the window that is surest of its label; for labels that do not exclude each other, each label's highest score
    Max,
    /// the first window; no other one is computed
    First,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(in crate::config) enum WithoutText {
    /// send the record to the dead-letter topic
    #[default]
    DeadLetter,
    /// pass the record on as it is
    PassThrough,
}

/// A condition on one field or header: one of `equals`, `not_equals`, `in`, `not_in`, `exists`.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct When {
    /// JSON pointer of a field of the record's value. Either this or `header`.
    #[schemars(length(min = 1), example = &"/lang")]
    pub(in crate::config) field: Option<String>,
    /// Name of a header of the record; of several the last one counts. Either this or `field`.
    #[schemars(length(min = 1))]
    pub(in crate::config) header: Option<String>,
    /// It is there and has this value.
    pub(in crate::config) equals: Option<Scalar>,
    /// It is not there, or has another value.
    pub(in crate::config) not_equals: Option<Scalar>,
    /// It is there and has one of these values.
    #[serde(rename = "in")]
    #[schemars(length(min = 1))]
    pub(in crate::config) one_of: Option<Vec<Scalar>>,
    /// It is not there, or has none of these values.
    #[schemars(length(min = 1))]
    pub(in crate::config) not_in: Option<Vec<Scalar>>,
    /// `true`: it is there (and not null). `false`: it is not there, or null.
    pub(in crate::config) exists: Option<bool>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum Format {
    /// an object with the text in it
    #[default]
    Json,
    /// the text itself, in UTF-8
    Text,
}

#[derive(Debug, Clone, Copy, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum OnGap {
    /// stop, and say which records are gone
    #[default]
    Fail,
    /// go on with the oldest record there is; logged and counted
    Earliest,
}

/// What is written.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct Output {
    /// Topic of the enriched records. Needed by `run`, not by `tag`.
    pub(in crate::config) topic: Option<String>,
    /// Shape of an enriched record. Default `splice` for JSON, `envelope` for text.
    pub(in crate::config) mode: Option<Mode>,
    /// Name of the JSON field, or prefix of the headers.
    #[schemars(length(min = 1))]
    pub(in crate::config) field: String,
    /// When a record has that field already (with `mode: headers`: a header that a result would be written to).
    pub(in crate::config) on_existing: OnExisting,
    /// Parts of the text that are written otherwise wherever the output has the text: `ips`, `uuids`, `hex`, `numbers`, `paths` become `[ip]`, `[uuid]`, `[hex]`, `[0]`, `[path]`. Results that quote the text (`word`, `answer`) have that, too. What the model reads is not changed by this (that is `input.mask`). Other fields, the key and the headers stay as they are, and so do dead letters and records that `input.when` leaves out; not together with what would let a text pass unseen (`on_existing: keep`; `pass-through` where there are several texts).
    pub(in crate::config) redact: Vec<Mask>,
    /// Give every label's score, not only the best one's.
    pub(in crate::config) scores: bool,
    /// How the output partition is chosen.
    pub(in crate::config) partition: Partition,
    /// Add headers that name the source topic, partition and offset.
    pub(in crate::config) source_headers: bool,
    /// A best score below this is no answer: the label becomes `uncertain_label`, and `best` in the result says what it would have been.
    pub(in crate::config) below: Option<Ratio>,
    /// The label of what is below.
    #[schemars(length(min = 1))]
    pub(in crate::config) uncertain_label: String,
    /// Of several `results`: the one whose label `route` looks at. Absent: the first, by name, that has labels.
    #[schemars(length(min = 1))]
    pub(in crate::config) route_by: Option<String>,
    /// Records with these labels go to other topics than `topic`: `{negative: reviews.urgent}`.
    pub(in crate::config) route: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Copy, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum Mode {
    /// the original JSON with one field added, all other bytes untouched
    Splice,
    /// a new object of `text` and the field
    Envelope,
    /// the value untouched, the result in headers
    Headers,
}

#[derive(Debug, Clone, Copy, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum OnExisting {
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
pub(in crate::config) enum Partition {
    /// by the record's key as Java's clients do (murmur2); without a key as `input`, modulo
    #[default]
    Key,
    /// the number of the input partition
    Input,
}

/// Where records go that cannot be enriched.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct DeadLetter {
    /// Topic of the dead letters.
    #[schemars(example = &"reviews.dead")]
    pub(in crate::config) topic: String,
    /// When more than this share of the last `window` records are dead letters, something else is wrong: the worker stops instead of draining the input into the dead letters. Absent: it goes on.
    pub(in crate::config) max_ratio: Option<Ratio>,
    /// How many records `max_ratio` looks back over.
    #[serde(default = "defaults::ratio_window")]
    pub(in crate::config) window: Count,
}
