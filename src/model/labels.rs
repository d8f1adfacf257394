//! What `config.json` and `tokenizer_config.json` say of a classifier, read as Hugging Face's
//! `text-classification` pipeline reads it. Pure.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Head;
use super::tasks::Activation;

/// The fields of `config.json` that matter here; the others are left alone.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Config {
    #[serde(default)]
    model_type: Option<String>,
    #[serde(default)]
    architectures: Option<Vec<String>>,
    #[serde(default)]
    id2label: Option<BTreeMap<String, String>>,
    #[serde(default)]
    num_labels: Option<usize>,
    #[serde(default)]
    problem_type: Option<String>,
    #[serde(default)]
    max_position_embeddings: Option<usize>,
    #[serde(default)]
    hidden_size: Option<usize>,
    /// DistilBERT's word for it.
    #[serde(default)]
    dim: Option<usize>,
    #[serde(default)]
    pad_token_id: Option<u32>,
}

/// The field of `tokenizer_config.json` that matters here.
#[derive(Debug, Default, Deserialize)]
pub(super) struct TokenizerConfig {
    /// A float where transformers writes its "no limit" (1e30).
    #[serde(default)]
    model_max_length: Option<f64>,
}

/// Why a configuration does not describe a classifier that we can run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LabelsError {
    /// Indices with a hole, or no numbers.
    #[error("id2label must name the labels 0 to {last} without a hole; {missing} is missing", last = count - 1)]
    Hole {
        /// Entries there are.
        count: usize,
        /// The first index that is not there.
        missing: usize,
    },
    /// Results are keyed by label.
    #[error("id2label names the label {0:?} twice")]
    Twice(String),
    /// Nothing says how many labels there are.
    #[error("neither id2label nor num_labels is there, and the graph does not say how many labels it has")]
    Unknown,
    /// The graph and the configuration differ.
    #[error("config.json names {named} labels, the graph's output has {graph}")]
    Count {
        /// In `config.json`.
        named: usize,
        /// In the graph.
        graph: usize,
    },
    /// Not one that transformers has.
    #[error(
        "problem_type {0:?} is none of single_label_classification, multi_label_classification, regression"
    )]
    ProblemType(String),
    /// No limit anywhere.
    #[error(
        "neither max_position_embeddings (config.json) nor model_max_length (tokenizer_config.json) gives a longest sequence"
    )]
    MaxLength,
}

/// Model types whose position ids start at `pad_token_id + 1`.
const OFFSET_POSITIONS: [&str; 11] = [
    "roberta",
    "xlm-roberta",
    "xlm-roberta-xl",
    "roberta-prelayernorm",
    "camembert",
    "longformer",
    "mpnet",
    "xmod",
    "ibert",
    "data2vec-text",
    "luke",
];

/// Longest sequence, special tokens included, by the two files' bytes. One that is no JSON says
/// nothing.
pub(crate) fn max_length(config: &[u8], tokenizer_config: Option<&[u8]>) -> Result<usize, LabelsError> {
    let config: Config = serde_json::from_slice(config).unwrap_or_default();
    let limits = tokenizer_config.and_then(|json| serde_json::from_slice(json).ok()).unwrap_or_default();
    config.max_length(&limits)
}

impl Config {
    fn offset_positions(&self) -> bool {
        self.model_type.as_deref().is_some_and(|t| OFFSET_POSITIONS.contains(&t))
    }

    /// By the architecture's name; `None` where it says nothing.
    pub fn head(&self) -> Option<Head> {
        let name = self.architectures.as_ref()?.first()?;
        let heads = [
            ("ForSequenceClassification", Head::Classification),
            ("ForTokenClassification", Head::Tokens),
            ("ForQuestionAnswering", Head::Questions),
            ("Model", Head::None),
        ];
        heads.into_iter().find(|(end, _)| name.ends_with(end)).map(|(_, head)| head)
    }

    /// One whose labels would be its vocabulary.
    pub fn is_language_model(&self) -> bool {
        self.architectures.iter().flatten().any(|name| name.ends_with("LM"))
    }

    /// Are its labels those of tokens, as everybody names them?
    pub fn names_entities(&self) -> bool {
        let mut labels = self.id2label.iter().flat_map(BTreeMap::values);
        labels.any(|label| label == "O" || label.starts_with("B-") || label.starts_with("I-"))
    }

    /// Width of the hidden states.
    pub fn hidden(&self) -> Option<usize> {
        self.hidden_size.or(self.dim)
    }

    /// The id that fills a batch up: the configuration's, else what transformers takes for the type.
    pub fn pad_id(&self) -> u32 {
        self.pad_token_id.unwrap_or(u32::from(self.offset_positions()))
    }

    /// Labels in order of index. `graph`: the width of the graph's output, where that is fixed.
    pub fn labels(&self, graph: Option<usize>) -> Result<Vec<String>, LabelsError> {
        let labels = match &self.id2label {
            Some(map) if !map.is_empty() => named(map)?,
            _ => {
                let count = self.num_labels.or(graph).ok_or(LabelsError::Unknown)?;
                (0..count).map(|i| format!("LABEL_{i}")).collect()
            }
        };
        match graph {
            Some(graph) if graph != labels.len() => Err(LabelsError::Count { named: labels.len(), graph }),
            _ if labels.is_empty() => Err(LabelsError::Unknown),
            _ => Ok(labels),
        }
    }

    /// As transformers' `TextClassificationPipeline.postprocess` chooses.
    pub fn activation(&self, labels: usize) -> Result<Activation, LabelsError> {
        match self.problem_type.as_deref() {
            Some("regression") => Ok(Activation::None),
            Some("multi_label_classification") => Ok(Activation::Sigmoid),
            Some("single_label_classification") | None if labels == 1 => Ok(Activation::Sigmoid),
            Some("single_label_classification") | None => Ok(Activation::Softmax),
            Some(other) => Err(LabelsError::ProblemType(other.to_owned())),
        }
    }

    /// Longest sequence, special tokens included: the smaller of what the tokenizer and the position
    /// embeddings allow.
    pub fn max_length(&self, tokenizer: &TokenizerConfig) -> Result<usize, LabelsError> {
        let offset = if self.offset_positions() { self.pad_id() as usize + 1 } else { 0 };
        let positions = self.max_position_embeddings.map(|max| max.saturating_sub(offset));
        let stated =
            tokenizer.model_max_length.filter(|&max| (1.0..1e9).contains(&max)).map(|max| max as usize);
        match (positions.filter(|&max| max > 0), stated) {
            (Some(a), Some(b)) => Ok(a.min(b)),
            (Some(one), None) | (None, Some(one)) => Ok(one),
            (None, None) => Err(LabelsError::MaxLength),
        }
    }
}

fn named(map: &BTreeMap<String, String>) -> Result<Vec<String>, LabelsError> {
    let mut labels: Vec<String> = Vec::with_capacity(map.len());
    for index in 0..map.len() {
        let label =
            map.get(&index.to_string()).ok_or(LabelsError::Hole { count: map.len(), missing: index })?;
        if labels.contains(label) {
            return Err(LabelsError::Twice(label.clone()));
        }
        labels.push(label.clone());
    }
    Ok(labels)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn config(json: &str) -> Config {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn labels_come_in_order_of_index_not_of_text() {
        let map: Vec<String> = (0..12).map(|i| format!("\"{i}\": \"l{i}\"")).collect();
        let labels = config(&format!("{{\"id2label\": {{{}}}}}", map.join(","))).labels(Some(12)).unwrap();
        assert_eq!(labels[2], "l2");
        assert_eq!(labels[11], "l11");
    }

    #[test]
    fn labels_without_names_are_counted() {
        assert_eq!(config(r#"{"num_labels": 2}"#).labels(None).unwrap(), ["LABEL_0", "LABEL_1"]);
        assert_eq!(config("{}").labels(Some(3)).unwrap().len(), 3);
        assert_eq!(config("{}").labels(None), Err(LabelsError::Unknown));
    }

    #[test]
    fn broken_labels_are_refused() {
        let hole = config(r#"{"id2label": {"0": "a", "2": "b"}}"#).labels(None);
        assert_eq!(hole, Err(LabelsError::Hole { count: 2, missing: 1 }));
        let twice = config(r#"{"id2label": {"0": "a", "1": "a"}}"#).labels(None);
        assert_eq!(twice, Err(LabelsError::Twice("a".into())));
        let count = config(r#"{"id2label": {"0": "a", "1": "b"}}"#).labels(Some(3));
        assert_eq!(count, Err(LabelsError::Count { named: 2, graph: 3 }));
    }

    #[test]
    fn activation_is_the_pipelines() {
        let of = |json: &str, n| config(json).activation(n);
        assert_eq!(of("{}", 2), Ok(Activation::Softmax));
        assert_eq!(of("{}", 1), Ok(Activation::Sigmoid));
        assert_eq!(of(r#"{"problem_type": null}"#, 3), Ok(Activation::Softmax));
        assert_eq!(of(r#"{"problem_type": "multi_label_classification"}"#, 5), Ok(Activation::Sigmoid));
        assert_eq!(of(r#"{"problem_type": "regression"}"#, 1), Ok(Activation::None));
        assert!(of(r#"{"problem_type": "ranking"}"#, 2).is_err());
    }

    #[test]
    fn roberta_loses_the_positions_before_its_first() {
        let none = TokenizerConfig::default();
        let roberta =
            config(r#"{"model_type": "roberta", "max_position_embeddings": 514, "pad_token_id": 1}"#);
        assert_eq!(roberta.max_length(&none), Ok(512));
        let implied = config(r#"{"model_type": "xlm-roberta", "max_position_embeddings": 514}"#);
        assert_eq!((implied.pad_id(), implied.max_length(&none)), (1, Ok(512)));
        let bert = config(r#"{"model_type": "bert", "max_position_embeddings": 512}"#);
        assert_eq!((bert.pad_id(), bert.max_length(&none)), (0, Ok(512)));
    }

    #[test]
    fn an_endless_tokenizer_limit_does_not_count() {
        let endless: TokenizerConfig =
            serde_json::from_str(r#"{"model_max_length": 1000000000000000019884624838656}"#).unwrap();
        let short: TokenizerConfig = serde_json::from_str(r#"{"model_max_length": 128}"#).unwrap();
        let bert = config(r#"{"max_position_embeddings": 512}"#);
        assert_eq!(bert.max_length(&endless), Ok(512));
        assert_eq!(bert.max_length(&short), Ok(128));
        assert_eq!(config("{}").max_length(&endless), Err(LabelsError::MaxLength));
        assert_eq!(config("{}").max_length(&short), Ok(128));
    }
}
