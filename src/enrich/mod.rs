//! Answers and document in, outcome out. Pure.

mod dead_letter;
mod redact;
mod result;

pub use dead_letter::{TRACE_ID, dead_letter_headers, dead_letter_trace};

use std::ops::Range;
use std::sync::Arc;

use crate::batch::Head;
use crate::config::settings::{Output, OutputMode};
use crate::join::{Answer, Joined};
use crate::model::Reads;
use crate::model::tasks::{NoAnswer, Prediction, Seen, Task, number, quoted};
use crate::record::{DeadLetter, Emit, Header, LabelOf, Outcome, Reason, Record, Stage};
use crate::results::{ResultTask, part_of};
use crate::text::{Amount, Masker, Place, TokenCount, TokenizeError};
use redact::{Hidden, Redaction};
use result::ReceiptWriter;

/// Writes results as one pipeline says.
pub struct Enricher {
    results: Vec<ResultWriter>,
    /// Place of the result whose label chooses the topic.
    route_by: Option<usize>,
    /// Other topics than the pipeline's, by label.
    routes: Vec<(String, Arc<str>)>,
    /// `"field":`, escaped.
    key: String,
    mode: OutputMode,
    /// Parts of the text that are hidden by their form, whatever the models say.
    forms: Option<Masker>,
    source_headers: bool,
}

/// One of the results.
struct ResultWriter {
    name: Option<Arc<str>>,
    /// Where it goes with `mode: headers`.
    header: String,
    task: Arc<dyn Task>,
    reads: Reads,
    before: Vec<Reads>,
    stream: usize,
    required: bool,
    receipt: ReceiptWriter,
}

/// What became of one result.
enum Made {
    Result(Prediction, Amount),
    Missing(DeadLetter),
}

impl Made {
    /// Of the text.
    fn redactions(&self) -> &[Redaction] {
        match self {
            Self::Result(prediction, _) => &prediction.redactions,
            Self::Missing(_) => &[],
        }
    }
}

impl Enricher {
    /// For one pipeline and the models that really run.
    pub fn new(results: Vec<ResultTask>, output: &Output) -> Self {
        let writer = |result: ResultTask| ResultWriter {
            reads: result.task.reads(),
            header: output.header(result.name.as_deref()),
            name: result.name.map(Arc::from),
            task: result.task,
            before: result.before,
            stream: result.stream,
            required: result.required,
            receipt: ReceiptWriter::new(&result.receipt),
        };
        let results: Vec<ResultWriter> = results.into_iter().map(writer).collect();
        let route_by = match &output.route_by {
            Some(name) => results.iter().position(|result| result.name.as_deref() == Some(name.as_str())),
            None => results.iter().position(|result| !result.task.labels().is_empty()),
        };
        Self {
            results,
            route_by,
            routes: output
                .route
                .iter()
                .map(|(label, topic)| (label.clone(), topic.as_str().into()))
                .collect(),
            key: format!("{}:", quoted(&output.field)),
            mode: output.mode,
            forms: (!output.redact.is_empty()).then(|| Masker::new(&output.redact)),
            source_headers: output.source_headers,
        }
    }

    /// What becomes of a document whose parts are all answered.
    pub fn outcome(&self, joined: Joined) -> Outcome {
        let Joined { head, answers } = joined;
        // Where each stream's answers begin.
        let mut starts = Vec::with_capacity(head.streams.len());
        let mut parts = 0;
        for stream in &head.streams {
            starts.push(parts);
            parts += stream.as_ref().map_or(0, |stream| stream.notes.len());
        }
        let mut made = Vec::with_capacity(self.results.len());
        for result in &self.results {
            let first = starts.get(result.stream).copied().unwrap_or(parts);
            match result.make(&head, answers.get(first..).unwrap_or_default()) {
                Made::Missing(letter) if result.required => {
                    return Outcome::DeadLetter { record: head.document.record, letter };
                }
                result => made.push(result),
            }
        }
        self.enrich(head, made)
    }

    /// The enriched record: always [`Outcome::Enriched`]. The record's own bytes go into the new
    /// value as they are, but for what is redacted; what is added is described in `result`.
    fn enrich(&self, head: Head, made: Vec<Made>) -> Outcome {
        let document = head.document;
        let bytes = (document.text.len(), document.text_bytes_seen);
        let (mut labels, mut tokens) = (Vec::with_capacity(1), TokenCount { used: 0, seen: 0 });
        let mut written = Vec::with_capacity(made.len());
        // What one result hides, no other one tells.
        let redactions = made.iter().flat_map(Made::redactions).cloned().collect();
        let hidden = Hidden::new(&document, redactions, self.forms.as_ref());
        for (place, (result, made)) in self.results.iter().zip(made).enumerate() {
            match made {
                Made::Result(prediction, amount) => {
                    let said = hidden.said(&prediction, &document.text);
                    written.push(result.receipt.json(&said, &amount, bytes));
                    // Of several results the text is one.
                    tokens.used = tokens.used.max(amount.tokens.used);
                    tokens.seen = tokens.seen.max(amount.tokens.seen);
                    if let Some(label) = prediction.label {
                        let of =
                            LabelOf { result: result.name.clone(), label: label.name, score: label.score };
                        match self.route_by == Some(place) {
                            true => labels.insert(0, of),
                            false => labels.push(of),
                        }
                    }
                }
                Made::Missing(letter) => written.push(result.receipt.missing(&letter)),
            }
        }
        let chosen = self.route_by.and_then(|by| self.results.get(by)).and_then(|by| {
            labels.first().filter(|label| label.result == by.name).map(|label| label.label.as_str())
        });
        let topic = self.routes.iter().find(|(of, _)| Some(of.as_str()) == chosen);
        let topic = topic.map(|(_, topic)| topic.clone());
        let mut headers = Vec::new();
        if self.mode == OutputMode::Headers {
            self.headers(&written, &labels, &mut headers);
        }
        if self.source_headers {
            headers.extend(source_headers(&document.record));
        }
        let result = self.whole(written);
        let old = document.record.value.as_deref().unwrap_or_default();
        let Hidden { of_text, of_value: mut edits } = hidden;
        let value = match document.place {
            Place::Insert { brace, comma } => {
                let member = format!("{}{}{result}", if comma { "," } else { "" }, self.key);
                edits.push((brace..brace, member));
                Some(over(old, edits))
            }
            Place::Replace(values) => {
                // Where the text stood in the old result, it goes with it.
                let stays = |at: &Range<usize>| values.iter().all(|v| at.end <= v.start || v.end <= at.start);
                edits.retain(|(at, _)| stays(at));
                edits.extend(values.into_iter().map(|at| (at, result.clone())));
                Some(over(old, edits))
            }
            Place::Envelope { whole } => {
                let text = whole.as_ref().unwrap_or(&document.text);
                let text = quoted(&redact::written(text, &of_text));
                Some(format!(r#"{{"text":{text},{}{result}}}"#, self.key).into_bytes())
            }
            Place::Outside if edits.is_empty() => None,
            Place::Outside => Some(over(old, edits)),
        };
        let timestamp = document.record.timestamp;
        let emit = Emit { topic, value, headers, timestamp, labels, tokens };
        Outcome::Enriched { record: document.record, emit }
    }

    /// The results as one JSON value: the only one, or an object of several by name.
    fn whole(&self, mut written: Vec<String>) -> String {
        if let [ResultWriter { name: None, .. }] = &self.results[..] {
            return written.pop().unwrap_or_default();
        }
        let members = self.results.iter().zip(&written);
        let member = |(of, json): (&ResultWriter, &String)| {
            format!("{}:{json}", quoted(of.name.as_deref().unwrap_or_default()))
        };
        format!("{{{}}}", members.map(member).collect::<Vec<_>>().join(","))
    }

    fn headers(&self, written: &[String], labels: &[LabelOf], headers: &mut Vec<Header>) {
        for (result, json) in self.results.iter().zip(written) {
            let name = &result.header;
            headers.push(Header::new(name.clone(), json.clone()));
            if let Some(label) = labels.iter().find(|label| label.result == result.name) {
                headers.push(Header::new(format!("{name}.label"), label.label.clone()));
                headers.push(Header::new(format!("{name}.score"), number(label.score)));
            }
        }
    }
}

impl ResultWriter {
    /// `answers` begin with this result's.
    fn make(&self, head: &Head, answers: &[Answer]) -> Made {
        let missing =
            |reason, message: String| Made::Missing(DeadLetter { reason, message, stage: Stage::Infer });
        let stream = match head.streams.get(self.stream) {
            Some(Ok(stream)) => stream,
            Some(Err(letter)) => return Made::Missing(letter.clone()),
            None => return missing(Reason::InferenceFailed, "nothing was read for it".to_owned()),
        };
        let TokenCount { used, seen } = stream.amount.tokens;
        if self.task.needs_all() && (used < seen || !head.document.is_whole()) {
            return Made::Missing(TokenizeError::NotWhole { used, seen }.letter());
        }
        let mut read = Vec::with_capacity(stream.notes.len());
        for (note, answer) in stream.notes.iter().zip(answers) {
            match answer {
                Ok(output) => match part_of(&output.logits, &self.before, self.reads, note.length) {
                    Some(part) => read.push(part),
                    None => {
                        let (found, expected) = (output.logits.len(), self.reads.len(note.length));
                        let error = NoAnswer::Shape { found, expected };
                        return missing(Reason::InferenceFailed, error.to_string());
                    }
                },
                Err(error) => return missing(Reason::InferenceFailed, error.to_string()),
            }
        }
        let seen = Seen { text: &head.document.text, notes: &stream.notes };
        match self.task.predict(&seen, &read) {
            Ok(prediction) => Made::Result(prediction, stream.amount),
            Err(error @ NoAnswer::NotFinite) => missing(Reason::NonFiniteOutput, error.to_string()),
            Err(error) => missing(Reason::InferenceFailed, error.to_string()),
        }
    }
}

/// `old` with each edit in place of its range; none overlaps another.
fn over(old: &[u8], mut edits: Vec<(Range<usize>, String)>) -> Vec<u8> {
    edits.sort_by_key(|(range, _)| (range.start, range.end));
    let mut out = Vec::with_capacity(old.len() + edits.iter().map(|(_, new)| new.len()).sum::<usize>());
    let mut done = 0;
    for (range, new) in edits {
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
