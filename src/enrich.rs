//! Prediction and document in, outcome out; and the headers of a dead letter. Pure.

use std::fmt::Write;

use serde_json::json;

use crate::config::settings::{Output, OutputMode};
use crate::model::Receipt;
use crate::model::tasks::Prediction;
use crate::record::{DeadLetter, Emit, Header, Outcome, Record};
use crate::text::{Document, Place, TokenCount};

/// Hex digits of the package's digest that a result carries; `model inspect` shows all 64.
const DIGEST_DIGITS: usize = 16;

/// Writes results as one pipeline's `output:` says.
pub struct Enricher {
    mode: OutputMode,
    field: String,
    all_scores: bool,
    source_headers: bool,
    /// Each label, and the same as a JSON string.
    labels: Vec<(String, String)>,
    /// The members that are the same for every record.
    receipt: String,
}

impl Enricher {
    /// For one pipeline and the model that really runs; `labels` in order of index.
    pub fn new(output: &Output, labels: &[String], receipt: &Receipt) -> Self {
        let digest: String = receipt.digest.chars().take("sha256:".len() + DIGEST_DIGITS).collect();
        let mut fixed = format!(
            r#""model":{},"precision":{},"provider":{}"#,
            json!({ "name": receipt.model, "digest": digest }),
            json!(receipt.precision),
            json!(receipt.provider)
        );
        if !receipt.batch_invariant {
            fixed.push_str(r#","batch_invariant":false"#);
        }
        Self {
            mode: output.mode,
            field: output.field.clone(),
            all_scores: output.scores,
            source_headers: output.source_headers,
            labels: labels.iter().map(|label| (label.clone(), json!(label).to_string())).collect(),
            receipt: fixed,
        }
    }

    /// The enriched record.
    pub fn enrich(&self, document: Document, tokens: TokenCount, prediction: &Prediction) -> Outcome {
        let score = prediction.scores.get(prediction.best).copied().unwrap_or_default();
        let label = self.labels.get(prediction.best).map(|(label, _)| label.clone()).unwrap_or_default();
        let result = self.result(&document, tokens, prediction, score);
        let Document { record, text, place, .. } = document;
        let mut headers = Vec::new();
        let value = match self.mode {
            OutputMode::Splice => {
                Some(splice(record.value.as_deref().unwrap_or_default(), &place, &self.field, &result))
            }
            OutputMode::Envelope => {
                Some(format!(r#"{{"text":{},{}:{result}}}"#, json!(text), json!(self.field)).into_bytes())
            }
            OutputMode::Headers => {
                headers.push(Header::new(&self.field, result));
                headers.push(Header::new(format!("{}.label", self.field), label.clone()));
                headers.push(Header::new(format!("{}.score", self.field), score.to_string()));
                None
            }
        };
        if self.source_headers {
            headers.push(Header::new("squeezeflow.source.topic", record.topic.as_bytes()));
            headers.push(Header::new("squeezeflow.source.partition", record.partition.to_string()));
            headers.push(Header::new("squeezeflow.source.offset", record.offset.raw().to_string()));
        }
        let timestamp = record.timestamp;
        Outcome::Enriched { record, emit: Emit { value, headers, timestamp, label, score } }
    }

    /// The result as a JSON object. Scores are finite (`classify` sees to it), and Rust writes a
    /// finite f32 as the shortest number that reads back the same, which is JSON.
    fn result(&self, document: &Document, tokens: TokenCount, prediction: &Prediction, score: f32) -> String {
        let mut json = String::with_capacity(256);
        let label = self.labels.get(prediction.best).map_or("null", |(_, json)| json.as_str());
        // Writing to a String cannot fail.
        let _ = write!(json, r#"{{"label":{label},"score":{score}"#);
        if self.all_scores {
            json.push_str(r#","scores":{"#);
            for (i, ((_, label), score)) in self.labels.iter().zip(&prediction.scores).enumerate() {
                let comma = if i > 0 { "," } else { "" };
                let _ = write!(json, "{comma}{label}:{score}");
            }
            json.push('}');
        }
        let TokenCount { used, seen } = tokens;
        let _ = write!(json, r#",{},"tokens":{{"used":{used},"seen":{seen}}}"#, self.receipt);
        let (used, seen) = (document.text.len(), document.text_bytes_seen);
        if used < seen {
            let _ = write!(json, r#","text_bytes":{{"used":{used},"seen":{seen}}}"#);
        }
        json.push('}');
        json
    }
}

/// The value with the result in it; every other byte as it was.
fn splice(value: &[u8], place: &Place, field: &str, result: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len() + field.len() + result.len() + 8);
    let mut rest = 0;
    let mut keep = |out: &mut Vec<u8>, until: usize, next: usize| {
        out.extend_from_slice(value.get(rest..until).unwrap_or_default());
        rest = next;
    };
    match place {
        Place::Outside => {}
        Place::Insert { at, comma } => {
            keep(&mut out, *at, *at);
            if *comma {
                out.push(b',');
            }
            out.extend_from_slice(json!(field).to_string().as_bytes());
            out.push(b':');
            out.extend_from_slice(result.as_bytes());
        }
        Place::Replace(ranges) => {
            for range in ranges {
                keep(&mut out, range.start, range.end);
                out.extend_from_slice(result.as_bytes());
            }
        }
    }
    keep(&mut out, value.len(), value.len());
    out
}

/// The headers that tell a dead letter's story, to be added after the record's own.
pub fn dead_letter_headers(record: &Record, letter: &DeadLetter) -> Vec<Header> {
    let header = |name: &str, value: String| Header::new(format!("__squeezeflow.errors.{name}"), value);
    vec![
        header("topic", record.topic.to_string()),
        header("partition", record.partition.to_string()),
        header("offset", record.offset.raw().to_string()),
        header("timestamp", record.timestamp.0.unwrap_or(-1).to_string()),
        header("reason", letter.reason.to_string()),
        header("message", letter.message.clone()),
        header("stage", letter.stage.as_str().to_owned()),
        header("version", env!("CARGO_PKG_VERSION").to_owned()),
    ]
}

#[cfg(test)]
#[path = "enrich_tests.rs"]
mod tests;
