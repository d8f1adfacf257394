//! What is read and what is written: `input`, `output`, `dead_letter`.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;

/// The input topics and the text in their records.
#[derive(Debug, Clone, PartialEq)]
pub struct Input {
    /// Names, or regular expressions that begin with `^`.
    pub topics: Vec<String>,
    /// How a value is read.
    pub format: Format,
    /// JSON pointer of the second text of a pair.
    pub pair: Option<String>,
    /// Where a consumer group that has never committed begins.
    pub start: Start,
    /// What to do when the committed offset is no longer there.
    pub on_gap: OnGap,
    /// Longer texts are cut here before they are tokenized (and the receipts say so). Bytes.
    pub max_text_bytes: NonZeroUsize,
    /// Parts of a text that are replaced before it is tokenized.
    pub mask: Vec<Mask>,
    /// Texts of more tokens than the model reads at once.
    pub long_text: LongText,
    /// An empty text, or one without tokens.
    pub on_empty: WithoutText,
    /// No text, or null.
    pub on_missing_text: WithoutText,
    /// Which records are tagged; `None`: all.
    pub when: Option<When>,
}

impl Input {
    /// Of these topics, all else as where it is not written in the pipeline.
    pub fn new(topics: &[&str], format: Format) -> Self {
        Self {
            topics: topics.iter().map(|t| (*t).to_owned()).collect(),
            format,
            pair: None,
            start: Start::Earliest,
            on_gap: OnGap::Fail,
            max_text_bytes: NonZeroUsize::MIN.saturating_add((1 << 20) - 1),
            mask: Vec::new(),
            long_text: LongText::Truncate,
            on_empty: WithoutText::DeadLetter,
            on_missing_text: WithoutText::DeadLetter,
            when: None,
        }
    }
}

/// A kind of parts that say nothing by themselves: each is replaced by one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mask {
    /// Numbers, dates and times: `0`.
    Numbers,
    /// `0x1f`, `54fadb412c4e`: `hex`.
    Hex,
    /// `uuid`.
    Uuids,
    /// IPv4 and IPv6, with a port or prefix length: `ip`.
    Ips,
    /// File paths and URLs: `path`.
    Paths,
}

/// What is read of a text that has more tokens than the model reads at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LongText {
    /// Its beginning.
    Truncate,
    /// All of it, window by window.
    Windows(Windows),
    /// Nothing: dead letter, reason `text_too_long`.
    DeadLetter,
}

/// How a long text is read in windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Windows {
    /// Tokens that neighbouring windows share (Hugging Face's `stride`).
    pub stride: usize,
    /// Most windows of one text.
    pub most: NonZeroUsize,
    /// How their scores become one result.
    pub combine: Combine,
}

/// How the results of several windows become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Combine {
    /// Mean of the scores, weighted by the windows' tokens.
    Mean,
    /// Softmax: the window that is surest. Else each label's highest score.
    Max,
    /// The first window; no other one is computed.
    First,
}

/// A record that has nothing for the model to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WithoutText {
    /// Dead letter.
    DeadLetter,
    /// Passed on as it is.
    PassThrough,
}

/// A condition on one field or header of a record.
#[derive(Debug, Clone, PartialEq)]
pub struct When {
    /// What is looked at.
    pub subject: Subject,
    /// What it must be.
    pub test: Test,
}

/// What a condition looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A field of a JSON value, by its JSON pointer.
    Field(String),
    /// The last header of this name.
    Header(String),
}

/// What it must be.
#[derive(Debug, Clone, PartialEq)]
pub enum Test {
    /// There, with one of these values.
    In(Vec<serde_json::Value>),
    /// Not there, or with none of these values.
    NotIn(Vec<serde_json::Value>),
    /// There and not null; or, with `false`, the contrary.
    Exists(bool),
}

/// How a record's value is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Format {
    /// The whole value is the text, in UTF-8.
    Text,
    /// A JSON object with the text in it.
    Json(TextSelector),
}

/// Where the text is in a JSON object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TextSelector {
    /// A JSON pointer (RFC 6901), such as `/review/text`.
    Pointer(String),
    /// Literal pieces and JSON pointers in turn, from `"{/title}. {/body}"`.
    Template(Vec<TemplatePart>),
}

/// A piece of a text template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TemplatePart {
    /// As written.
    Literal(String),
    /// A JSON pointer.
    Pointer(String),
}

/// Where a new consumer group begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// With the oldest record there is.
    Earliest,
    /// With what comes after the first start. Partitions added later begin at their beginning.
    Latest,
    /// With the first record of at least this timestamp (milliseconds since the Unix epoch).
    Timestamp(i64),
}

/// A committed offset that retention has deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnGap {
    /// Stop, and say which records are gone.
    Fail,
    /// Go on with the oldest record there is; logged and counted.
    Earliest,
}

/// What is written.
#[derive(Debug, Clone, PartialEq)]
pub struct Output {
    /// The output topic; `None` where a pipeline is only used with `tag`.
    pub topic: Option<String>,
    /// In which shape.
    pub mode: OutputMode,
    /// Name of the JSON field, or prefix of the headers.
    pub field: String,
    /// When the record has that field already.
    pub on_existing: OnExisting,
    /// Parts of the text that are written otherwise.
    pub redact: Vec<Mask>,
    /// Give every label's score, not only the best one's.
    pub scores: bool,
    /// Which partition of the output topic.
    pub partition: OutputPartition,
    /// Add headers that name the source topic, partition and offset.
    pub source_headers: bool,
    /// What becomes of a result that is not sure enough; `None`: nothing.
    pub uncertain: Option<Uncertain>,
    /// Of several results, the one whose label is looked at.
    pub route_by: Option<String>,
    /// Other topics than `topic`, by label.
    pub route: BTreeMap<String, String>,
}

impl Output {
    /// In this shape, to no topic, all else as where it is not written in the pipeline.
    pub fn new(mode: OutputMode) -> Self {
        Self {
            topic: None,
            mode,
            field: "nlp".to_owned(),
            on_existing: OnExisting::Error,
            redact: Vec::new(),
            scores: false,
            partition: OutputPartition::Key,
            source_headers: false,
            uncertain: None,
            route_by: None,
            route: BTreeMap::new(),
        }
    }

    /// With `mode: headers`: the one that a result is written to, by its name among several.
    pub fn header(&self, result: Option<&str>) -> String {
        match result {
            Some(name) => format!("{}.{name}", self.field),
            None => self.field.clone(),
        }
    }

    /// Every topic that results may go to, each once, the main one first.
    pub fn topics(&self) -> Vec<&str> {
        let mut topics: Vec<&str> = self.topic.iter().map(String::as_str).collect();
        for topic in self.route.values() {
            if !topics.contains(&topic.as_str()) {
                topics.push(topic);
            }
        }
        topics
    }
}

/// A best score that is too low to be an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Uncertain {
    /// Below this.
    pub below: f32,
    /// The label that it gets instead.
    pub label: String,
}

/// Shape of an enriched record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputMode {
    /// The original JSON object with one field added; all other bytes untouched.
    Splice,
    /// `{"text": …, "<field>": …}`.
    Envelope,
    /// The value untouched, the result in headers.
    Headers,
}

/// What to do with a record that has the output field already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnExisting {
    /// Infer and replace its value.
    Replace,
    /// Pass the record through as it is.
    Keep,
    /// Dead letter, reason `field_exists`.
    Error,
}

/// How a record's output partition is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputPartition {
    /// By the key, as Java's clients do (murmur2); without a key as the input partition, modulo.
    Key,
    /// The input record's partition number.
    Input,
}

/// The dead-letter topic.
#[derive(Debug, Clone, PartialEq)]
pub struct DeadLetterTopic {
    /// Its name.
    pub topic: String,
    /// When to stop instead of draining the input into it; `None`: never.
    pub surge: Option<SurgeLimit>,
}

/// So many dead letters that something else must be wrong.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SurgeLimit {
    /// Share of dead letters among the last `window` records; more is a surge.
    pub max_ratio: f64,
    /// Records.
    pub window: NonZeroUsize,
}
