//! `text-classification`: one label of many, several at once, or a number (regression). `report` says
//! what is written.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::report::{Report, Threshold};
use super::{Activation, Context, NoAnswer, Prediction, Reads, Seen, Task, TaskError, classify_windows};
use crate::config::settings::{Combine, Uncertain};
use crate::model::Head;

/// What a pipeline says of it.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// Give so many labels, the best first, as `top`. Absent: only the best, as `label`.
    #[schemars(range(min = 1))]
    pub top_k: Option<u32>,
    /// Can a text have several labels, so that each one's score stands by itself? Then those from `threshold` on are given as `labels`. Absent: as the package says (`problem_type`), and `labels` only with a `threshold`. A single label's score always stands by itself.
    pub multi_label: Option<bool>,
    /// For texts that can have several labels: from which score on a label is one of them, for all labels or for each by name. Absent, and for labels that are not named: 0.5.
    pub threshold: Option<Threshold>,
    /// How the model's numbers become scores. Absent: as the package says (`problem_type`), or `sigmoid` with `multi_label`.
    pub function_to_apply: Option<Function>,
}

/// As Hugging Face's pipeline has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Function {
    /// shares of 1
    Softmax,
    /// each from 0 to 1 by itself
    Sigmoid,
    /// the numbers themselves
    None,
}

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
    /// Give so many of the best.
    pub top: Option<usize>,
    /// Give those at or above these, in order of index.
    pub thresholds: Option<Vec<f32>>,
}

pub(super) fn build(options: &Options, context: &Context<'_>) -> Result<Box<dyn Task>, TaskError> {
    let package = context.package;
    if !package.serves(Head::Classification) {
        let what = format!("the package's head is {}", package.head.as_str());
        return Err(TaskError::option("", what, "a package of …ForSequenceClassification, or another task"));
    }
    let activation = options.activation(package.activation, package.labels.len())?;
    Ok(Box::new(TextClassification {
        thresholds: options.thresholds(activation, &package.labels)?,
        labels: package.labels.clone(),
        activation,
        combine: context.combine,
        scores: context.scores,
        uncertain: context.uncertain.cloned(),
        top: options.top_k.map(|top| top as usize),
    }))
}

impl Options {
    fn activation(&self, of_package: Activation, labels: usize) -> Result<Activation, TaskError> {
        let asked = self.function_to_apply.map(|function| match function {
            Function::Softmax => Activation::Softmax,
            Function::Sigmoid => Activation::Sigmoid,
            Function::None => Activation::None,
        });
        match (asked, self.multi_label) {
            (Some(Activation::Softmax | Activation::None), Some(true)) => {
                let what =
                    "makes no scores from 0 to 1 that stand by themselves, as `multi_label` wants them";
                Err(TaskError::option("function_to_apply", what, "write `sigmoid`, or leave it out"))
            }
            (Some(asked), _) => Ok(asked),
            (None, Some(true)) => Ok(Activation::Sigmoid),
            // The only label there is would have all of 1, whatever the text.
            (None, Some(false)) if of_package == Activation::Sigmoid && labels > 1 => Ok(Activation::Softmax),
            (None, _) => Ok(of_package),
        }
    }

    /// `None`: a text has one label.
    fn thresholds(&self, activation: Activation, labels: &[String]) -> Result<Option<Vec<f32>>, TaskError> {
        let several = self.multi_label.unwrap_or(activation == Activation::Sigmoid);
        match (&self.threshold, several) {
            (Some(_), false) => {
                let what = "is for texts that can have several labels, and here each has one";
                let hint = "write `multi_label: true`; for one label there is `output.below`";
                Err(TaskError::option("threshold", what, hint))
            }
            (None, _) if self.multi_label != Some(true) => Ok(None),
            (said, _) => Threshold::each(said.as_ref(), labels).map(Some),
        }
    }
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
        let classes = classify_windows(&windows, self.activation, self.combine).ok_or(NoAnswer::NotFinite)?;
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::{Value, json};

    use super::*;

    fn options(json: Value) -> Options {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn scores_are_as_the_package_says_unless_the_pipeline_does() {
        use Activation::{None, Sigmoid, Softmax};
        for (said, package, expected) in [
            (json!({}), Softmax, Softmax),
            (json!({}), None, None),
            (json!({ "multi_label": true }), Softmax, Sigmoid),
            (json!({ "multi_label": false }), Sigmoid, Softmax),
            (json!({ "multi_label": false }), None, None),
            (json!({ "function_to_apply": "none" }), Softmax, None),
            (json!({ "function_to_apply": "sigmoid", "multi_label": false }), Softmax, Sigmoid),
            (json!({ "function_to_apply": "softmax" }), Sigmoid, Softmax),
        ] {
            assert_eq!(options(said.clone()).activation(package, 2).unwrap(), expected, "{said}");
        }
        let alone = options(json!({ "multi_label": false })).activation(Sigmoid, 1).unwrap();
        assert_eq!(alone, Sigmoid, "of a single label");
        for function in ["none", "softmax"] {
            let said = json!({ "function_to_apply": function, "multi_label": true });
            let error = options(said).activation(Softmax, 2).unwrap_err().to_string();
            assert!(error.starts_with("function_to_apply: makes no scores"), "{error}");
        }
    }

    #[test]
    fn several_labels_need_scores_of_their_own() {
        let labels = ["a", "b"].map(str::to_owned);
        let thresholds = |said: Value, activation| options(said).thresholds(activation, &labels);
        assert_eq!(thresholds(json!({}), Activation::Sigmoid).unwrap(), None);
        assert_eq!(
            thresholds(json!({ "multi_label": true }), Activation::Sigmoid).unwrap(),
            Some(vec![0.5; 2])
        );
        let some = json!({ "threshold": { "a": 0.25 } });
        assert_eq!(thresholds(some.clone(), Activation::Sigmoid).unwrap(), Some(vec![0.25, 0.5]));
        let error = thresholds(some, Activation::Softmax).unwrap_err().to_string();
        assert!(error.contains("multi_label: true"), "{error}");
        let not = json!({ "multi_label": false, "threshold": 0.5 });
        assert!(thresholds(not, Activation::Sigmoid).is_err());
    }
}
