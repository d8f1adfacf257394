//! Prediction and document in, outcome out. Pure.

mod dead_letter;
mod result;

pub use dead_letter::{TRACE_ID, dead_letter_headers, dead_letter_trace};

use std::ops::Range;
use std::slice;
use std::sync::Arc;

use crate::config::settings::{Combine, LongText, Output, OutputMode};
use crate::join::Joined;
use crate::model::Receipt;
use crate::model::tasks::{Activation, Prediction, classify_windows};
use crate::record::{DeadLetter, Emit, Header, Outcome, Reason, Record, Stage};
use crate::text::{Amount, Document, Place};
use result::{ReadOf, ResultWriter, quoted};

/// Writes results as one pipeline says.
pub struct Enricher {
    activation: Activation,
    combine: Combine,
    write: ResultWriter,
    /// Other topics than the pipeline's, by label.
    routes: Vec<(String, Arc<str>)>,
    field: String,
    /// `"field":`, escaped.
    key: String,
    mode: OutputMode,
    source_headers: bool,
}

impl Enricher {
    /// For one pipeline and the model that really runs; `labels` in order of index.
    pub fn new(
        long_text: LongText,
        output: &Output,
        labels: &[String],
        activation: Activation,
        receipt: &Receipt,
    ) -> Self {
        Self {
            activation,
            combine: match long_text {
                LongText::Windows(windows) => windows.combine,
                LongText::Truncate | LongText::DeadLetter => Combine::First,
            },
            write: ResultWriter::new(labels, receipt, output.scores, output.uncertain.clone()),
            routes: output
                .route
                .iter()
                .map(|(label, topic)| (label.clone(), topic.as_str().into()))
                .collect(),
            field: output.field.clone(),
            key: format!("{}:", quoted(&output.field)),
            mode: output.mode,
            source_headers: output.source_headers,
        }
    }

    /// What becomes of a document whose parts are all answered.
    pub fn outcome(&self, joined: Joined) -> Outcome {
        let Joined { head, answers } = joined;
        let mut windows = Vec::with_capacity(answers.len());
        let mut failed = None;
        for (answer, weight) in &answers {
            match answer {
                Ok(output) => windows.push((output.logits.as_slice(), *weight)),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        let letter = |reason, message| DeadLetter { reason, message, stage: Stage::Infer };
        let letter = match failed {
            Some(error) => letter(Reason::InferenceFailed, error.to_string()),
            None => match classify_windows(&windows, self.activation, self.combine) {
                Some(prediction) => {
                    return self.enrich(head.document, head.amount, answers.len(), &prediction);
                }
                None => letter(Reason::NonFiniteOutput, "the model answered with NaN or infinity".to_owned()),
            },
        };
        Outcome::DeadLetter { record: head.document.record, letter }
    }

    /// The enriched record: always [`Outcome::Enriched`]. The record's own bytes go into the new
    /// value as they are; what is added is described in `result`.
    fn enrich(&self, document: Document, amount: Amount, windows: usize, prediction: &Prediction) -> Outcome {
        let Document { record, text, text_bytes_seen, place } = document;
        let read = ReadOf {
            tokens: amount.tokens,
            windows: (windows, amount.windows),
            bytes: (text.len(), text_bytes_seen),
            masked: amount.masked,
        };
        let result = self.write.json(prediction, &read);
        let score = prediction.scores.get(prediction.best).copied().unwrap_or(f32::NAN);
        let label = self.write.label(prediction.best, score);
        let topic = self.routes.iter().find(|(of, _)| *of == label).map(|(_, topic)| topic.clone());
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
        let (timestamp, tokens) = (record.timestamp, amount.tokens);
        Outcome::Enriched { record, emit: Emit { topic, value, headers, timestamp, label, score, tokens } }
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
