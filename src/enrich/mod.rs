//! Prediction and document in, outcome out. Pure.

mod dead_letter;
mod result;

pub use dead_letter::dead_letter_headers;

use std::ops::Range;
use std::slice;

use crate::config::settings::{Output, OutputMode};
use crate::model::Receipt;
use crate::model::tasks::Prediction;
use crate::record::{Emit, Header, Outcome, Record};
use crate::text::{Document, Place, TokenCount};
use result::{ResultWriter, quoted};

/// Writes results as one pipeline's `output:` says.
pub struct Enricher {
    write: ResultWriter,
    field: String,
    /// `"field":`, escaped.
    key: String,
    mode: OutputMode,
    source_headers: bool,
}

impl Enricher {
    /// For one pipeline and the model that really runs; `labels` in order of index.
    pub fn new(output: &Output, labels: &[String], receipt: &Receipt) -> Self {
        Self {
            write: ResultWriter::new(labels, receipt, output.scores),
            field: output.field.clone(),
            key: format!("{}:", quoted(&output.field)),
            mode: output.mode,
            source_headers: output.source_headers,
        }
    }

    /// The enriched record: always [`Outcome::Enriched`]. The record's own bytes go into the new
    /// value as they are; what is added is described in `result`.
    pub fn enrich(&self, document: Document, tokens: TokenCount, prediction: &Prediction) -> Outcome {
        let Document { record, text, text_bytes_seen, place } = document;
        let result = self.write.json(prediction, tokens, text.len(), text_bytes_seen);
        let label = self.write.label(prediction.best);
        let score = prediction.scores.get(prediction.best).copied().unwrap_or(f32::NAN);
        let mut headers = Vec::new();
        let old = record.value.as_deref().unwrap_or_default();
        let value = match place {
            Place::Insert { brace, comma } => {
                let member = format!("{}{}{result}", if comma { "," } else { "" }, self.key);
                Some(over(old, slice::from_ref(&(brace..brace)), &member))
            }
            Place::Replace(values) => Some(over(old, &values, &result)),
            Place::Envelope { whole } => {
                let text = quoted(&whole.unwrap_or(text));
                Some(format!(r#"{{"text":{text},{}{result}}}"#, self.key).into_bytes())
            }
            Place::Outside => None,
        };
        if self.mode == OutputMode::Headers {
            headers.push(Header::new(self.field.clone(), result));
            headers.push(Header::new(format!("{}.label", self.field), label.clone()));
            headers.push(Header::new(format!("{}.score", self.field), result::number(score)));
        }
        if self.source_headers {
            headers.extend(source_headers(&record));
        }
        let timestamp = record.timestamp;
        Outcome::Enriched { record, emit: Emit { value, headers, timestamp, label, score, tokens } }
    }
}

/// `old` with `new` in place of each range; the ranges are in order and inside.
fn over(old: &[u8], ranges: &[Range<usize>], new: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(old.len() + ranges.len() * new.len());
    let mut done = 0;
    for range in ranges {
        out.extend_from_slice(old.get(done..range.start).unwrap_or_default());
        out.extend_from_slice(new.as_bytes());
        done = range.end;
    }
    out.extend_from_slice(old.get(done..).unwrap_or_default());
    out
}

/// They name a record for good, whatever topic it is copied to.
pub fn source_headers(record: &Record) -> [Header; 3] {
    [
        Header::new("squeezeflow.source.topic", record.topic.as_bytes()),
        Header::new("squeezeflow.source.partition", record.partition.to_string()),
        Header::new("squeezeflow.source.offset", record.offset.raw().to_string()),
    ]
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
