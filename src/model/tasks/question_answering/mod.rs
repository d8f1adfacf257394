//! `question-answering`: fixed questions asked of every text, each answered by a part of it or by nothing.
//!
//! ```json
//! {"answers":{"city":{"answer":"Berlin","score":0.9312,"start":25,"end":31,"start_byte":25,"end_byte":31},
//!  "sum":null}}
//! ```
//!
//! As Hugging Face's pipeline did it (transformers 5.2, `pipelines/question_answering.py`), but that a score is
//! that of one place in the text: docs/TASKS.md.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::ops::Range;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::places::Characters;
use super::{Context, NoAnswer, Prediction, Reads, Seen, Task, TaskError, number, quoted};
use crate::model::Head;
use crate::text::{Beside, Note, Overlap, Plan, Side, Span};

/// Most tokens of one sequence, and most that neighbours share, where nothing is said of it.
const LENGTH: usize = 384;
const STRIDE: usize = 128;

/// What a pipeline says of it.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// What is asked of every text: names, as they stand in the output, and questions.
    questions: BTreeMap<String, String>,
    /// An answer with a lower score is none.
    #[schemars(title = "a number from 0 to 1", range(min = 0, max = 1))]
    threshold: f32,
    /// Longest answer, in tokens.
    #[schemars(title = "a whole number from 1", range(min = 1))]
    max_answer_len: NonZeroUsize,
    /// Longest sequence in tokens, question and special tokens included: a text that does not fit is read in windows, whatever `input.long_text` says. Absent: 384, or what the package takes if that is less.
    #[schemars(title = "a whole number from 1", range(min = 1))]
    max_seq_len: Option<NonZeroUsize>,
    /// Tokens that a window shares with the one before it. Absent: 128, or half of `max_seq_len` if that is less.
    #[schemars(title = "a whole number from 0")]
    doc_stride: Option<usize>,
    /// Is there no answer where the model is surer of that than of any? For models that were trained with questions that have none.
    handle_impossible: bool,
    /// Do answers begin and end with whole words?
    align_to_words: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            questions: BTreeMap::new(),
            threshold: 0.0,
            max_answer_len: NonZeroUsize::MIN.saturating_add(14),
            max_seq_len: None,
            doc_stride: None,
            handle_impossible: false,
            align_to_words: true,
        }
    }
}

struct QuestionAnswering {
    options: Options,
    beside: Beside,
}

pub(super) fn build(options: &Options, context: &Context<'_>) -> Result<Box<dyn Task>, TaskError> {
    let package = context.package;
    if !package.serves(Head::Questions) {
        let what = format!("the package's head is {}", package.head.as_str());
        return Err(TaskError::option("", what, "a package of …ForQuestionAnswering, or another task"));
    }
    if options.questions.is_empty() {
        return Err(TaskError::option(
            "questions",
            "there is none",
            "a name and a question, such as `city: Where is it?`",
        ));
    }
    let tokenizer = context.tokenizer;
    let most = tokenizer.max_length();
    let max_length = options.max_seq_len.map_or(most.min(LENGTH), NonZeroUsize::get);
    if max_length > most {
        let what = format!("is more than the {most} tokens that the model reads");
        return Err(TaskError::option("max_seq_len", what, format!("at most {most}, or leave it out")));
    }
    let (mut others, mut room) = (Vec::with_capacity(options.questions.len()), max_length);
    for (name, question) in &options.questions {
        let at = || format!("questions.{name}");
        let question =
            tokenizer.encode(question, false).map_err(|source| TaskError::Text { at: at(), source })?;
        room = room.min(tokenizer.room_beside(&question, max_length));
        if room == 0 {
            let what = format!("leaves no room for a text in {max_length} tokens: it has {}", question.len());
            return Err(TaskError::option(at(), what, "a shorter question"));
        }
        others.push(question);
    }
    let stride = match options.doc_stride {
        Some(stride) if stride >= room => {
            let what = format!("is as much as a window can hold beside the longest question, {room} tokens");
            return Err(TaskError::option("doc_stride", what, format!("less than {room}, or leave it out")));
        }
        Some(stride) => stride,
        None => Some(STRIDE.min(max_length / 2)).filter(|stride| *stride < room).unwrap_or(room / 2),
    };
    let windows = Some(Overlap { max_length, stride, most: usize::MAX });
    let beside = Beside { others: others.into(), text: Side::Second, windows };
    Ok(Box::new(QuestionAnswering { options: options.clone(), beside }))
}

impl Task for QuestionAnswering {
    fn reads(&self) -> Reads {
        Reads::Spans
    }

    fn plan(&self) -> Plan {
        Plan::Beside(self.beside.clone())
    }

    fn needs_spans(&self) -> bool {
        true
    }

    fn is_probability(&self) -> bool {
        false
    }

    fn predict(&self, seen: &Seen<'_>, answers: &[&[f32]]) -> Result<Prediction, NoAnswer> {
        let text = Characters::new(seen.text);
        let mut prediction = Prediction { json: r#""answers":{"#.to_owned(), ..Prediction::default() };
        for (place, name) in self.options.questions.keys().enumerate() {
            let windows = seen.notes.iter().zip(answers).filter(|(note, _)| note.beside == place);
            let mut windows_seen = Vec::new();
            for (note, answer) in windows {
                windows_seen.push(Window::new(note, answer, self.options.max_answer_len.get())?);
            }
            let comma = if place > 0 { "," } else { "" };
            prediction.json += &format!("{comma}{}:", quoted(name));
            match self.best(&windows_seen) {
                Some((score, bytes)) => {
                    let bytes = text.whole(bytes);
                    prediction.json += r#"{"answer":"#;
                    prediction.quote(text.slice(&bytes), bytes.clone());
                    prediction.json +=
                        &format!(r#","score":{},{}}}"#, number(score as f32), text.json(&bytes));
                }
                None => prediction.json += "null",
            }
        }
        prediction.json.push('}');
        Ok(prediction)
    }
}

impl QuestionAnswering {
    /// The surest answer of all windows and where it stands, if it is one.
    fn best(&self, windows: &[Window<'_>]) -> Option<(f64, Range<usize>)> {
        // Each window can say that the answer is not in it; that there is none, only all of them together.
        let none = windows.iter().map(|window| window.none).reduce(f64::min)?;
        let candidates = windows.iter().filter_map(|window| Some((window, window.best.as_ref()?)));
        // Of equals the first.
        let (window, best) = candidates.reduce(|a, b| if b.1.score > a.1.score { b } else { a })?;
        let impossible = self.options.handle_impossible && none > best.score;
        if impossible || best.score < f64::from(self.options.threshold) {
            return None;
        }
        let bytes = match self.options.align_to_words {
            true => window.words(best).unwrap_or_else(|| window.tokens(best)),
            false => window.tokens(best),
        };
        Some((best.score, bytes))
    }
}

/// What one sequence says.
struct Window<'a> {
    spans: &'a [Span],
    best: Option<Candidate>,
    /// The score of there being no answer in it.
    none: f64,
}

/// An answer, by its tokens' places in the sequence.
struct Candidate {
    score: f64,
    first: usize,
    last: usize,
}

impl<'a> Window<'a> {
    /// `answer`: `[2, tokens]`.
    fn new(note: &'a Note, answer: &[f32], longest: usize) -> Result<Self, NoAnswer> {
        let (found, expected) = (answer.len(), 2 * note.spans.len());
        if found != expected {
            return Err(NoAnswer::Shape { found, expected });
        }
        if answer.iter().any(|x| !x.is_finite()) {
            return Err(NoAnswer::NotFinite);
        }
        let (starts, ends) = answer.split_at(note.spans.len());
        let (starts, ends) = (probabilities(&note.spans, starts), probabilities(&note.spans, ends));
        let none = starts.first().copied().unwrap_or(0.0) * ends.first().copied().unwrap_or(0.0);
        let mut best: Option<Candidate> = None;
        for (first, (span, start)) in note.spans.iter().zip(&starts).enumerate() {
            if !span.is_text {
                continue;
            }
            let lasts = note.spans.iter().zip(&ends).enumerate().skip(first).take(longest);
            for (last, (_, end)) in lasts.filter(|(_, (span, _))| span.is_text) {
                let score = start * end;
                if best.as_ref().is_none_or(|best| score > best.score) {
                    best = Some(Candidate { score, first, last });
                }
            }
        }
        Ok(Self { spans: &note.spans, best, none })
    }

    /// From its first token's beginning to its last one's end.
    fn tokens(&self, of: &Candidate) -> Range<usize> {
        let (first, last) = (self.spans.get(of.first), self.spans.get(of.last));
        first.map_or(0, |span| span.start as usize)..last.map_or(0, |span| span.end as usize)
    }

    /// The same of whole words, as far as they stand in this window; `None` where a token is of no word.
    fn words(&self, of: &Candidate) -> Option<Range<usize>> {
        let of_word = |token: usize| {
            let word = self.spans.get(token)?.word?;
            Some(move |span: &&Span| span.is_text && span.word == Some(word))
        };
        let first = self.spans.iter().find(of_word(of.first)?)?;
        let last = self.spans.iter().rfind(of_word(of.last)?)?;
        Some(first.start as usize..last.end as usize)
    }
}

/// Of each token that the answer begins (or ends) there, among those of the text and the first one of the
/// sequence, which stands for no answer; 0 for the others.
fn probabilities(spans: &[Span], logits: &[f32]) -> Vec<f64> {
    let counts = |place: usize, span: &Span| {
        // A special token: it is of no word, and stands nowhere.
        span.is_text || place == 0 && span.word.is_none() && span.start == span.end
    };
    let counted = || spans.iter().enumerate().zip(logits).filter(|((place, span), _)| counts(*place, span));
    let most = counted().map(|(_, logit)| *logit).fold(f32::NEG_INFINITY, f32::max);
    let of = |((place, span), logit): ((usize, &Span), &f32)| match counts(place, span) {
        true => (f64::from(*logit) - f64::from(most)).exp(),
        false => 0.0,
    };
    let exps: Vec<f64> = spans.iter().enumerate().zip(logits).map(of).collect();
    let sum: f64 = exps.iter().sum();
    exps.into_iter().map(|exp| exp / sum).collect()
}

#[cfg(test)]
mod tests;
