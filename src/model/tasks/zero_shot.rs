//! `zero-shot-classification`: labels of the pipeline's own, over a model that says whether one sentence follows from
//! another (natural language inference). Each label becomes a hypothesis, and the text is held against each.
//! `report` says what is written.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokenizers::Encoding;

use super::report::{Report, Threshold};
use super::template::Template;
use super::{Activation, Classes, Context, NoAnswer, Prediction, Reads, Seen, Task, TaskError, classify};
use crate::config::settings::{Combine, Uncertain};
use crate::model::Head;
use crate::text::{Beside, Plan, Side};

/// Hugging Face's.
const TEMPLATE: &str = "This example is {}.";

/// What a pipeline says of it.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// What a text may be about. Each costs one run of the model a text.
    #[schemars(length(min = 1), inner(length(min = 1)), example = &["billing", "delivery", "praise"])]
    pub labels: Vec<String>,
    /// The hypothesis: a sentence in which `{}` stands for the label (`{{` and `}}` are braces). Absent: `This example is {}.`
    #[schemars(length(min = 1), example = &"This message is about {}.")]
    pub template: Option<String>,
    /// Can a text have several labels, so that each one's score stands by itself? Then those from `threshold` on are given as `labels`.
    pub multi_label: bool,
    /// With `multi_label`: from which score on a label is one of the text's, for all labels or for each by name. Absent, and for labels that are not named: 0.5.
    pub threshold: Option<Threshold>,
    /// Give so many labels, the best first, as `top`. Absent: only the best, as `label`.
    #[schemars(range(min = 1))]
    pub top_k: Option<u32>,
    /// The package's own label for "it follows". Absent: the one that begins with `entail`.
    #[schemars(length(min = 1))]
    pub entailment: Option<String>,
    /// The package's own label for "it cannot be". Absent: the one that begins with `contradict`, else the first one, or the last where the first is entailment.
    #[schemars(length(min = 1))]
    pub contradiction: Option<String>,
}

/// The task, ready to be used.
struct ZeroShot {
    labels: Vec<String>,
    hypotheses: Arc<[Encoding]>,
    /// Logits a sequence.
    width: usize,
    entailment: usize,
    contradiction: usize,
    /// Each label by itself.
    alone: bool,
    combine: Combine,
    scores: bool,
    top: Option<usize>,
    thresholds: Option<Vec<f32>>,
    uncertain: Option<Uncertain>,
}

pub(super) fn build(options: &Options, context: &Context<'_>) -> Result<Box<dyn Task>, TaskError> {
    let package = context.package;
    if !package.serves(Head::Classification) {
        let what = format!("the package's head is {}", package.head.as_str());
        return Err(TaskError::option("", what, "a package of …ForSequenceClassification trained on NLI"));
    }
    let (entailment, contradiction) = options.sides(&package.labels)?;
    Ok(Box::new(ZeroShot {
        hypotheses: options.hypotheses(context)?.into(),
        thresholds: options.thresholds()?,
        labels: options.labels.clone(),
        width: package.labels.len(),
        entailment,
        contradiction,
        // The share of a single label would be 1 whatever the text.
        alone: options.multi_label || options.labels.len() == 1,
        combine: context.combine,
        scores: context.scores,
        top: options.top_k.map(|top| top as usize),
        uncertain: context.uncertain.cloned(),
    }))
}

impl Options {
    /// Each label in its sentence, without special tokens.
    fn hypotheses(&self, context: &Context<'_>) -> Result<Vec<Encoding>, TaskError> {
        if self.labels.is_empty() {
            return Err(TaskError::option(
                "labels",
                "there is none",
                "what a text may be about: `[billing, praise]`",
            ));
        }
        let template = self.template.as_deref().unwrap_or(TEMPLATE);
        let template = Template::read(template).map_err(|wrong| {
            TaskError::option("template", wrong.what(), format!("such as `{TEMPLATE}`; `{{{{` is a brace"))
        })?;
        let most = context.tokenizer.max_length();
        let mut hypotheses = Vec::with_capacity(self.labels.len());
        for (place, label) in self.labels.iter().enumerate() {
            let at = || format!("labels[{place}]");
            if self.labels.iter().take(place).any(|other| other == label) {
                return Err(TaskError::option(at(), "is there twice", "leave one out"));
            }
            let hypothesis = context
                .tokenizer
                .encode(&template.with(label), false)
                .map_err(|source| TaskError::Text { at: at(), source })?;
            if context.tokenizer.room_beside(&hypothesis, most) == 0 {
                let what = format!(
                    "its hypothesis has {} tokens and leaves no room for the text: the model reads {most}",
                    hypothesis.len()
                );
                return Err(TaskError::option(at(), what, "a shorter one, or a shorter `template`"));
            }
            hypotheses.push(hypothesis);
        }
        Ok(hypotheses)
    }

    /// The places of entailment and contradiction among the package's labels.
    fn sides(&self, labels: &[String]) -> Result<(usize, usize), TaskError> {
        let begins = |with: &str| labels.iter().position(|label| label.to_lowercase().starts_with(with));
        let named = |at: &str, name: &String| {
            labels.iter().position(|label| label == name).ok_or_else(|| {
                let hint = format!("the package's labels are {}", labels.join(", "));
                TaskError::option(at, "is no label of the package", hint)
            })
        };
        let entailment = match &self.entailment {
            Some(name) => named("entailment", name)?,
            None => begins("entail").ok_or_else(|| {
                let what = "none of the package's labels begins with `entail`";
                let labels = labels.join(", ");
                let hint = format!("say which of {labels} it is, or take a package that was trained on NLI");
                TaskError::option("entailment", what, hint)
            })?,
        };
        let contradiction = match &self.contradiction {
            Some(name) => named("contradiction", name)?,
            None => match begins("contradict") {
                Some(place) => place,
                // Hugging Face goes by the place alone.
                None if entailment == 0 => labels.len() - 1,
                None => 0,
            },
        };
        match entailment == contradiction {
            true => Err(TaskError::option("contradiction", "is the same label as entailment", "another one")),
            false => Ok((entailment, contradiction)),
        }
    }

    fn thresholds(&self) -> Result<Option<Vec<f32>>, TaskError> {
        match (&self.threshold, self.multi_label) {
            (Some(_), false) => {
                let what = "is for texts that can have several labels, and here each has one";
                let hint = "write `multi_label: true`; for one label there is `output.below`";
                Err(TaskError::option("threshold", what, hint))
            }
            (None, false) => Ok(None),
            (said, true) => Threshold::each(said.as_ref(), &self.labels).map(Some),
        }
    }
}

impl Task for ZeroShot {
    fn reads(&self) -> Reads {
        Reads::Logits { labels: self.width }
    }

    fn plan(&self) -> Plan {
        Plan::Beside(Beside { others: self.hypotheses.clone(), text: Side::First, windows: None })
    }

    fn labels(&self) -> &[String] {
        &self.labels
    }

    fn predict(&self, seen: &Seen<'_>, answers: &[&[f32]]) -> Result<Prediction, NoAnswer> {
        // What speaks for each label: over its windows, as they are to be combined.
        let mut evidence = Vec::with_capacity(self.labels.len());
        for label in 0..self.labels.len() {
            let windows = seen.notes.iter().zip(answers).filter(|(note, _)| note.beside == label);
            let windows = windows.map(|(note, logits)| Ok((self.window(logits)?, note.of_text.max(1))));
            let windows = windows.collect::<Result<Vec<_>, NoAnswer>>()?;
            let none = NoAnswer::Shape { found: answers.len(), expected: self.labels.len() };
            evidence.push(self.combined(&windows).ok_or(none)?);
        }
        let classes = match self.alone {
            true => {
                let better = |best: usize, next: usize| {
                    if evidence.get(next) > evidence.get(best) { next } else { best }
                };
                let best = (0..evidence.len()).reduce(better).unwrap_or(0);
                Classes { best, scores: evidence.iter().map(|e| e.score).collect() }
            }
            false => {
                let logits: Vec<f32> = evidence.iter().map(|e| e.logit).collect();
                classify(&logits, Activation::Softmax).ok_or(NoAnswer::NotFinite)?
            }
        };
        let report = Report {
            names: &self.labels,
            scores: self.scores,
            top: self.top,
            thresholds: self.thresholds.as_deref(),
            uncertain: self.uncertain.as_ref(),
        };
        Ok(report.of(&classes))
    }
}

/// What speaks for one label. In order of the score; scores that saturate tie, and then the logit decides.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
struct Evidence {
    /// By itself: entailment rather than contradiction.
    score: f32,
    /// Among other labels, that of entailment; by itself, how far it is above that of contradiction.
    logit: f32,
}

impl ZeroShot {
    fn window(&self, logits: &[f32]) -> Result<Evidence, NoAnswer> {
        let (Some(entailment), Some(contradiction)) =
            (logits.get(self.entailment).copied(), logits.get(self.contradiction).copied())
        else {
            return Err(NoAnswer::Shape { found: logits.len(), expected: self.width });
        };
        if logits.iter().any(|x| !x.is_finite()) {
            return Err(NoAnswer::NotFinite);
        }
        let two = classify(&[contradiction, entailment], Activation::Softmax).ok_or(NoAnswer::NotFinite)?;
        let score = two.scores.last().copied().unwrap_or(f32::NAN);
        let logit = if self.alone { entailment - contradiction } else { entailment };
        Ok(Evidence { score, logit })
    }

    /// Of a label's windows, each with its weight. Logits, not shares, are put together, because labels of other
    /// lengths leave other room for the text: their windows are not the same parts of it.
    fn combined(&self, windows: &[(Evidence, usize)]) -> Option<Evidence> {
        if windows.len() < 2 || self.combine == Combine::First {
            return windows.first().map(|(evidence, _)| *evidence);
        }
        let over = |number: fn(&Evidence) -> f32| match self.combine {
            Combine::Max => windows.iter().map(|(e, _)| number(e)).fold(f32::NEG_INFINITY, f32::max),
            Combine::Mean | Combine::First => {
                let total: f64 = windows.iter().map(|(_, weight)| *weight as f64).sum();
                let weighted = windows.iter().map(|(e, weight)| f64::from(number(e)) * *weight as f64);
                (weighted.sum::<f64>() / total) as f32
            }
        };
        Some(Evidence { score: over(|e| e.score), logit: over(|e| e.logit) })
    }
}

#[cfg(test)]
#[path = "zero_shot_tests.rs"]
mod tests;
