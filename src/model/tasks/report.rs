//! Scores of labels as a result: what the tasks that give labels write alike. Pure.
//!
//! ```json
//! {"label":"uncertain","score":0.41,"best":"billing",
//!  "top":[{"label":"billing","score":0.41},{"label":"login","score":0.33}],
//!  "labels":[{"label":"billing","score":0.41}],
//!  "scores":{"billing":0.41,"login":0.33,"praise":0.12}}
//! ```
//!
//! `best` is there when the label is that of an uncertain result; the others when asked for.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::{Classes, Labelled, Prediction, TaskError, number, quoted};
use crate::config::settings::Uncertain;

/// What an option `threshold` is for the labels that it does not name.
const USUAL: f32 = 0.5;

/// What is written of the scores.
#[derive(Debug, Clone, Copy)]
pub(super) struct Report<'a> {
    /// In order of index. As transformers does, an index without a name is `LABEL_` and its number.
    pub names: &'a [String],
    /// All of them?
    pub scores: bool,
    /// So many of the best.
    pub top: Option<usize>,
    /// Those at or above these, in order of index.
    pub thresholds: Option<&'a [f32]>,
    /// What becomes of a best one that is not sure enough.
    pub uncertain: Option<&'a Uncertain>,
}

impl Report<'_> {
    /// The members of a result, and its label.
    pub fn of(&self, classes: &Classes) -> Prediction {
        let Classes { best, scores } = classes;
        let score = scores.get(*best).copied().unwrap_or(f32::NAN);
        let named = self.name(*best);
        let label = match self.uncertain {
            Some(uncertain) if score < uncertain.below => uncertain.label.clone(),
            _ => named.clone().into_owned(),
        };
        let mut json = format!(r#""label":{},"score":{}"#, quoted(&label), number(score));
        if label != named {
            json += &format!(r#","best":{}"#, quoted(&named));
        }
        if self.top.is_some() || self.thresholds.is_some() {
            let ranked = ranked(classes);
            if let Some(top) = self.top {
                json += &format!(r#","top":{}"#, self.list(ranked.iter().take(top), scores));
            }
            if let Some(thresholds) = self.thresholds {
                let least = |label: usize| thresholds.get(label).copied().unwrap_or(USUAL);
                let there = |label: &&usize| scores.get(**label).is_some_and(|s| *s >= least(**label));
                json += &format!(r#","labels":{}"#, self.list(ranked.iter().filter(there), scores));
            }
        }
        if self.scores {
            let all = scores.iter().enumerate();
            let all: Vec<String> =
                all.map(|(i, s)| format!("{}:{}", quoted(&self.name(i)), number(*s))).collect();
            json += &format!(r#","scores":{{{}}}"#, all.join(","));
        }
        let label = Some(Labelled { name: label, score });
        Prediction { json, label, ..Prediction::default() }
    }

    fn list<'i>(&self, labels: impl Iterator<Item = &'i usize>, scores: &[f32]) -> String {
        let one = |label: &usize| {
            let score = scores.get(*label).copied().unwrap_or(f32::NAN);
            format!(r#"{{"label":{},"score":{}}}"#, quoted(&self.name(*label)), number(score))
        };
        format!("[{}]", labels.map(one).collect::<Vec<_>>().join(","))
    }

    fn name(&self, index: usize) -> Cow<'_, str> {
        match self.names.get(index) {
            Some(name) => name.into(),
            None => format!("LABEL_{index}").into(),
        }
    }
}

/// All labels, the best first; of equal scores the best one, then in order of index.
fn ranked(classes: &Classes) -> Vec<usize> {
    let Classes { best, scores } = classes;
    let mut ranked: Vec<usize> = (0..scores.len()).collect();
    let score = |label: &usize| scores.get(*label).copied().unwrap_or(f32::NAN);
    ranked.sort_by(|a, b| score(b).total_cmp(&score(a)).then((b == best).cmp(&(a == best))));
    ranked
}

/// From which score on a label is one of a text's.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(untagged)]
pub enum Threshold {
    /// Every label.
    All(f32),
    /// The labels that it names; the others from one half on.
    Each(BTreeMap<String, f32>),
}

impl Threshold {
    /// Of each label, in order of index; `said` may be absent.
    pub(super) fn each(said: Option<&Self>, labels: &[String]) -> Result<Vec<f32>, TaskError> {
        let by_name = match said {
            None => return Ok(vec![USUAL; labels.len()]),
            Some(Self::All(all)) => return Ok(vec![*all; labels.len()]),
            Some(Self::Each(by_name)) => by_name,
        };
        match by_name.keys().find(|name| !labels.contains(name)) {
            Some(unknown) => {
                let hint = format!("the labels are {}", labels.join(", "));
                Err(TaskError::option(format!("threshold.{unknown}"), "is no label", hint))
            }
            None => Ok(labels.iter().map(|label| by_name.get(label).copied().unwrap_or(USUAL)).collect()),
        }
    }
}

impl JsonSchema for Threshold {
    fn schema_name() -> Cow<'static, str> {
        "Threshold".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["number", "object"], "title": "a number from 0 to 1, or a map of labels to such numbers",
            "minimum": 0, "maximum": 1,
            "additionalProperties": {
                "type": "number", "title": "a number from 0 to 1", "minimum": 0, "maximum": 1
            },
            "examples": [0.5, { "billing": 0.3 }]
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn said(report: Report<'_>, best: usize, scores: &[f32]) -> Value {
        let prediction = report.of(&Classes { best, scores: scores.to_vec() });
        serde_json::from_str(&format!("{{{}}}", prediction.json)).unwrap()
    }

    fn plain(names: &[String]) -> Report<'_> {
        Report { names, scores: false, top: None, thresholds: None, uncertain: None }
    }

    #[test]
    fn everything_that_can_be_asked_for() {
        let names = ["a", "b", "c"].map(str::to_owned);
        assert_eq!(said(plain(&names), 1, &[0.25, 0.5, 0.25]), json!({ "label": "b", "score": 0.5 }));
        let uncertain = Uncertain { below: 0.6, label: "?".into() };
        let report = Report {
            scores: true,
            top: Some(2),
            thresholds: Some(&[0.25, 0.75, 0.5]),
            uncertain: Some(&uncertain),
            ..plain(&names)
        };
        let expected = json!({
            "label": "?", "score": 0.5, "best": "b",
            "top": [{ "label": "b", "score": 0.5 }, { "label": "a", "score": 0.25 }],
            "labels": [{ "label": "a", "score": 0.25 }],
            "scores": { "a": 0.25, "b": 0.5, "c": 0.25 }
        });
        assert_eq!(said(report, 1, &[0.25, 0.5, 0.25]), expected);
        let none = Report { thresholds: Some(&[0.9; 3]), ..plain(&names) };
        assert_eq!(said(none, 1, &[0.25, 0.5, 0.25])["labels"], json!([]), "none is an answer, too");
        assert_eq!(said(plain(&[]), 1, &[0.0, 1.0])["label"], "LABEL_1");
    }

    #[test]
    fn a_threshold_is_for_all_labels_or_for_some() {
        let labels = ["a", "b"].map(str::to_owned);
        let of = |json: Value| {
            let said: Threshold = serde_json::from_value(json).unwrap();
            Threshold::each(Some(&said), &labels)
        };
        assert_eq!(of(json!(0.25)).unwrap(), [0.25, 0.25]);
        assert_eq!(of(json!(1)).unwrap(), [1.0, 1.0]);
        assert_eq!(of(json!({ "b": 0.75 })).unwrap(), [0.5, 0.75]);
        assert_eq!(Threshold::each(None, &labels).unwrap(), [0.5, 0.5]);
        let error = of(json!({ "x": 0.75 })).unwrap_err().to_string();
        assert_eq!(error, "threshold.x: is no label; the labels are a, b");
    }

    proptest! {
        #[test]
        fn the_best_comes_first_and_none_is_lost(scores in prop::collection::vec(0.0_f32..1.0, 1..9), steps in 1.0_f32..9.0) {
            // Coarse, so that some are equal.
            let scores: Vec<f32> = scores.iter().map(|s| (s * steps).round() / steps).collect();
            let highest = scores.iter().copied().fold(0.0, f32::max);
            for best in (0..scores.len()).filter(|label| scores[*label] == highest) {
                let ranked = ranked(&Classes { best, scores: scores.clone() });
                prop_assert_eq!(ranked[0], best);
                prop_assert!(ranked.windows(2).all(|two| scores[two[0]] >= scores[two[1]]));
                let mut all = ranked.clone();
                all.sort_unstable();
                prop_assert_eq!(all, (0..scores.len()).collect::<Vec<_>>());
            }
        }
    }
}
