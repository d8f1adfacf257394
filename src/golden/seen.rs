//! What became of a record, as a reader of the topics would see it. Pure.

use std::fmt;

use crate::config::Plain;
use crate::config::settings::Output;
use crate::enrich::source_headers;
use crate::record::{DeadLetter, Header, Outcome, PassThrough};
use crate::text::json;

/// The end of a record.
#[derive(Debug, PartialEq)]
pub enum Seen {
    /// It is in an output topic.
    Written(Sent),
    /// It is a dead letter.
    DeadLetter(DeadLetter),
}

/// A record in an output topic.
#[derive(Debug, PartialEq)]
pub struct Sent {
    /// Label and score, of the first result that has some; or why there is no result.
    pub result: Result<Option<(String, f32)>, PassThrough>,
    /// `None`: a tombstone.
    pub value: Option<Vec<u8>>,
    /// All of them, in order.
    pub headers: Vec<Header>,
    /// `None`: the pipeline names none, and is for `tag` only.
    pub topic: Option<String>,
}

impl Seen {
    /// As the outcome would have been published.
    pub fn of(outcome: Outcome, output: &Output) -> Self {
        let (record, added, value, result, topic) = match outcome {
            Outcome::DeadLetter { letter, .. } => return Self::DeadLetter(letter),
            Outcome::Enriched { record, emit } => (
                record,
                emit.headers,
                emit.value,
                Ok(emit.labels.into_iter().next().map(|of| (of.label, of.score))),
                emit.topic,
            ),
            Outcome::PassThrough { record, why } => {
                let added = if output.source_headers { source_headers(&record).into() } else { Vec::new() };
                (record, added, None, Err(why), None)
            }
        };
        Self::Written(Sent {
            result,
            value: value.or(record.value),
            headers: record.headers.into_iter().chain(added).collect(),
            topic: topic.map(|topic| topic.to_string()).or_else(|| output.topic.clone()),
        })
    }
}

impl Sent {
    /// The last header of a name; its value may be null.
    pub fn header(&self, name: &str) -> Option<&Header> {
        self.headers.iter().rev().find(|header| header.name == name.as_bytes())
    }

    /// What a JSON pointer leads to in the value, as it stands there; `None` where it leads nowhere,
    /// or the value is not JSON.
    pub fn field(&self, pointer: &str) -> Option<&str> {
        let text = str::from_utf8(self.value.as_deref()?).ok()?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        json::find(text, &json::tokens(pointer)).ok().flatten()
    }
}

/// In a few words.
impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Written(Sent { result: Ok(Some((label, score))), .. }) => {
                write!(f, "tagged: {}, {score}", shown(label))
            }
            Self::Written(Sent { result: Ok(None), .. }) => write!(f, "enriched, without a label"),
            Self::Written(Sent { result: Err(why), .. }) => write!(f, "passed through: {}", why.as_str()),
            Self::DeadLetter(letter) => {
                write!(f, "a dead letter: {}: {}", letter.reason, shown(&letter.message))
            }
        }
    }
}

/// On one line, and with nothing in it that a terminal would obey.
pub fn shown(text: &str) -> String {
    Plain(text).to_string()
}
