//! `text-classification`: one label of many, several at once, or a number (regression).
//!
//! ```json
//! {"label":"uncertain","score":0.5187,"best":"positive","scores":{"negative":0.4813,"positive":0.5187}}
//! ```
//!
//! `best` is there when the label is that of an uncertain result, `scores` when asked for.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    Activation, Classes, Context, Labelled, NoAnswer, Prediction, Reads, Seen, Task, TaskError,
    classify_windows, number, quoted,
};
use crate::config::settings::{Combine, Uncertain};
use crate::model::Head;

/// What a pipeline says of it.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Options {}

/// The task, ready to be used.
#[derive(Debug, Clone)]
pub struct TextClassification {
    /// In order of index.
    pub labels: Vec<String>,
    /// How logits become scores.
    pub activation: Activation,
    /// How the windows of a long text become one result.
    pub combine: Combine,
    /// Give every label's score, not only the best one's.
    pub scores: bool,
    /// What becomes of a result that is not sure enough.
    pub uncertain: Option<Uncertain>,
}

pub(super) fn build(_: &Options, context: &Context<'_>) -> Result<Box<dyn Task>, TaskError> {
    let package = context.package;
    if package.head != Head::Classification {
        let what = format!("the package's head is {}", package.head.as_str());
        return Err(TaskError::option("", what, "a package of …ForSequenceClassification, or another task"));
    }
    Ok(Box::new(TextClassification {
        labels: package.labels.clone(),
        activation: package.activation,
        combine: context.combine,
        scores: context.scores,
        uncertain: context.uncertain.cloned(),
    }))
}

impl Task for TextClassification {
    fn reads(&self) -> Reads {
        Reads::Logits { labels: self.labels.len() }
    }

    fn labels(&self) -> &[String] {
        &self.labels
    }

    fn is_probability(&self) -> bool {
        self.activation != Activation::None
    }

    fn predict(&self, seen: &Seen<'_>, answers: &[&[f32]]) -> Result<Prediction, NoAnswer> {
        let windows: Vec<(&[f32], usize)> =
            answers.iter().copied().zip(seen.notes.iter().map(|note| note.of_text)).collect();
        let Classes { best, scores } =
            classify_windows(&windows, self.activation, self.combine).ok_or(NoAnswer::NotFinite)?;
        let score = scores.get(best).copied().unwrap_or(f32::NAN);
        let (label, named) = (self.label(best, score), self.name(best));
        let mut json = format!(r#""label":{},"score":{}"#, quoted(&label), number(score));
        if label != named {
            json += &format!(r#","best":{}"#, quoted(&named));
        }
        if self.scores {
            let all = scores.iter().enumerate();
            let all: Vec<String> =
                all.map(|(i, s)| format!("{}:{}", quoted(&self.name(i)), number(*s))).collect();
            json += &format!(r#","scores":{{{}}}"#, all.join(","));
        }
        let label = Some(Labelled { name: label, score });
        Ok(Prediction { json, label, redactions: Vec::new() })
    }
}

impl TextClassification {
    /// What a result with this best label and score is called.
    fn label(&self, best: usize, score: f32) -> String {
        match &self.uncertain {
            Some(uncertain) if score < uncertain.below => uncertain.label.clone(),
            _ => self.name(best),
        }
    }

    /// As transformers does, an index without a name is `LABEL_` and its number.
    fn name(&self, index: usize) -> String {
        self.labels.get(index).cloned().unwrap_or_else(|| format!("LABEL_{index}"))
    }
}
