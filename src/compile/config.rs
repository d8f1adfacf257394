//! A checkpoint's `config.json`, as transformers' `SqueezeBertConfig` reads it: what is left out has
//! the same default.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::error::ConfigError;

/// transformers gives `layer_norm_eps` to the embeddings only; the layers keep the default of its
/// `SqueezeBertLayerNorm`.
pub const LAYER_NORM_EPS: f32 = 1e-12;

/// A SqueezeBERT, in numbers. Checked: no width or count is 0, and all divisions come out even.
#[derive(Debug, Clone, PartialEq)]
pub struct SqueezeBertConfig {
    /// Entries of the word table.
    pub vocabulary: usize,
    /// Longest sequence.
    pub positions: usize,
    /// Entries of the token type table.
    pub types: usize,
    /// `hidden_size`, which is the embeddings' width too.
    pub hidden: usize,
    /// `intermediate_size`.
    pub intermediate: usize,
    /// Layers.
    pub layers: usize,
    /// Attention heads; each is `hidden / heads` wide.
    pub heads: usize,
    /// Groups of each convolution.
    pub groups: Groups,
    /// Of the embeddings' layer norm; those of the layers have [`LAYER_NORM_EPS`].
    pub embeddings_eps: f32,
    /// What stands on top.
    pub head: Head,
    /// Names of the head's outputs, in order of index; empty where the configuration says nothing.
    pub labels: Vec<String>,
}

/// Into how many blocks each 1×1 convolution falls: block i of its outputs sees block i of its
/// inputs only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Groups {
    /// Query.
    pub q: usize,
    /// Key.
    pub k: usize,
    /// Value.
    pub v: usize,
    /// After attention.
    pub post_attention: usize,
    /// `hidden` to `intermediate`.
    pub intermediate: usize,
    /// `intermediate` to `hidden`.
    pub output: usize,
}

/// What stands on top of the encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Head {
    /// Pooler, then `classifier`: logits `[batch, labels]`.
    SequenceClassification,
    /// `classifier` on every token: logits `[batch, sequence, labels]`.
    TokenClassification,
    /// `qa_outputs`: start and end logits, `[batch, sequence]` each.
    QuestionAnswering,
    /// Nothing: the last hidden state, `[batch, sequence, hidden]`.
    None,
}

impl SqueezeBertConfig {
    /// Width of an attention head.
    pub fn head_width(&self) -> usize {
        self.hidden / self.heads
    }

    /// Reads and checks `config.json`.
    pub(super) fn parse(json: &[u8]) -> Result<Result<Self, ConfigError>, serde_json::Error> {
        Ok(serde_json::from_slice::<Raw>(json)?.check())
    }
}

/// `config.json`; the defaults are transformers'.
#[derive(Debug, Deserialize)]
#[serde(default)]
struct Raw {
    model_type: Option<String>,
    architectures: Option<Vec<String>>,
    vocab_size: usize,
    hidden_size: usize,
    embedding_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    hidden_act: String,
    max_position_embeddings: usize,
    type_vocab_size: usize,
    layer_norm_eps: f32,
    q_groups: usize,
    k_groups: usize,
    v_groups: usize,
    post_attention_groups: usize,
    intermediate_groups: usize,
    output_groups: usize,
    id2label: Option<BTreeMap<String, String>>,
}

impl Default for Raw {
    fn default() -> Self {
        Self {
            model_type: None,
            architectures: None,
            vocab_size: 30522,
            hidden_size: 768,
            embedding_size: 768,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            intermediate_size: 3072,
            hidden_act: "gelu".into(),
            max_position_embeddings: 512,
            type_vocab_size: 2,
            layer_norm_eps: 1e-12,
            q_groups: 4,
            k_groups: 4,
            v_groups: 4,
            post_attention_groups: 1,
            intermediate_groups: 4,
            output_groups: 4,
            id2label: None,
        }
    }
}

impl Raw {
    fn check(self) -> Result<SqueezeBertConfig, ConfigError> {
        match self.model_type {
            Some(family) if family == "squeezebert" => {}
            other => return Err(ConfigError::ModelType(other.unwrap_or_default())),
        }
        if self.hidden_act != "gelu" {
            return Err(ConfigError::Activation(self.hidden_act));
        }
        if self.embedding_size != self.hidden_size {
            return Err(ConfigError::Widths { embedding: self.embedding_size, hidden: self.hidden_size });
        }
        if !(self.layer_norm_eps > 0.0 && self.layer_norm_eps.is_finite()) {
            return Err(ConfigError::Epsilon);
        }
        let sizes = [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("max_position_embeddings", self.max_position_embeddings),
            ("type_vocab_size", self.type_vocab_size),
        ];
        if let Some((key, _)) = sizes.into_iter().find(|(_, size)| *size == 0) {
            return Err(ConfigError::Zero(key));
        }
        let (hidden, inner) =
            (("hidden_size", self.hidden_size), ("intermediate_size", self.intermediate_size));
        let divisions = [
            (hidden, ("num_attention_heads", self.num_attention_heads)),
            (hidden, ("q_groups", self.q_groups)),
            (hidden, ("k_groups", self.k_groups)),
            (hidden, ("v_groups", self.v_groups)),
            (hidden, ("post_attention_groups", self.post_attention_groups)),
            (hidden, ("intermediate_groups", self.intermediate_groups)),
            (inner, ("intermediate_groups", self.intermediate_groups)),
            (hidden, ("output_groups", self.output_groups)),
            (inner, ("output_groups", self.output_groups)),
        ];
        for ((width, size), (parts, count)) in divisions {
            if count == 0 {
                return Err(ConfigError::Zero(parts));
            }
            if size % count != 0 {
                return Err(ConfigError::Indivisible { width, size, parts, count });
            }
        }
        let labels = self.id2label.as_ref().map_or(Ok(Vec::new()), labels)?;
        Ok(SqueezeBertConfig {
            head: head(self.architectures.as_deref())?,
            labels,
            vocabulary: self.vocab_size,
            positions: self.max_position_embeddings,
            types: self.type_vocab_size,
            hidden: self.hidden_size,
            intermediate: self.intermediate_size,
            layers: self.num_hidden_layers,
            heads: self.num_attention_heads,
            groups: Groups {
                q: self.q_groups,
                k: self.k_groups,
                v: self.v_groups,
                post_attention: self.post_attention_groups,
                intermediate: self.intermediate_groups,
                output: self.output_groups,
            },
            embeddings_eps: self.layer_norm_eps,
        })
    }
}

/// The first architecture decides; none at all means an encoder. A language model's head is left
/// off: what it gives to a stream is the encoder.
fn head(architectures: Option<&[String]>) -> Result<Head, ConfigError> {
    match architectures.and_then(<[String]>::first).map(String::as_str) {
        Some("SqueezeBertForSequenceClassification") => Ok(Head::SequenceClassification),
        Some("SqueezeBertForTokenClassification") => Ok(Head::TokenClassification),
        Some("SqueezeBertForQuestionAnswering") => Ok(Head::QuestionAnswering),
        Some("SqueezeBertModel" | "SqueezeBertForMaskedLM" | "SqueezeBertForPreTraining") | None => {
            Ok(Head::None)
        }
        Some(other) => Err(ConfigError::Head(other.to_owned())),
    }
}

fn labels(names: &BTreeMap<String, String>) -> Result<Vec<String>, ConfigError> {
    let name = |index: usize| names.get(&index.to_string()).cloned();
    let missing = |missing| ConfigError::Labels { count: names.len(), missing };
    (0..names.len()).map(|index| name(index).ok_or_else(|| missing(index))).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn parse(json: &str) -> Result<SqueezeBertConfig, ConfigError> {
        SqueezeBertConfig::parse(json.as_bytes()).unwrap()
    }

    fn with(more: &str) -> Result<SqueezeBertConfig, ConfigError> {
        parse(&format!(r#"{{"model_type": "squeezebert", {more}}}"#))
    }

    #[test]
    fn what_is_left_out_is_squeezebert_base() {
        let base = parse(r#"{"model_type": "squeezebert"}"#).unwrap();
        assert_eq!((base.hidden, base.intermediate, base.layers, base.heads), (768, 3072, 12, 12));
        let groups = Groups { q: 4, k: 4, v: 4, post_attention: 1, intermediate: 4, output: 4 };
        assert_eq!((base.groups, base.head, base.head_width()), (groups, Head::None, 64));
    }

    #[test]
    fn heads_follow_from_the_architecture() {
        let head = |name: &str| with(&format!(r#""architectures": ["SqueezeBert{name}"]"#)).map(|c| c.head);
        assert_eq!(head("ForSequenceClassification"), Ok(Head::SequenceClassification));
        assert_eq!(head("ForTokenClassification"), Ok(Head::TokenClassification));
        assert_eq!(head("ForQuestionAnswering"), Ok(Head::QuestionAnswering));
        assert_eq!(head("Model"), Ok(Head::None));
        assert_eq!(head("ForMaskedLM"), Ok(Head::None));
        let refused = head("ForMultipleChoice").unwrap_err();
        assert_eq!(refused, ConfigError::Head("SqueezeBertForMultipleChoice".into()));
    }

    #[test]
    fn what_cannot_be_built_is_named() {
        assert_eq!(parse(r#"{"model_type": "bert"}"#), Err(ConfigError::ModelType("bert".into())));
        assert_eq!(parse("{}"), Err(ConfigError::ModelType(String::new())));
        assert_eq!(with(r#""hidden_act": "relu""#), Err(ConfigError::Activation("relu".into())));
        assert_eq!(with(r#""num_hidden_layers": 0"#), Err(ConfigError::Zero("num_hidden_layers")));
        assert_eq!(with(r#""q_groups": 0"#), Err(ConfigError::Zero("q_groups")));
        assert_eq!(with(r#""layer_norm_eps": 0"#), Err(ConfigError::Epsilon));
        let odd = with(r#""num_attention_heads": 7"#).unwrap_err().to_string();
        assert_eq!(odd, "hidden_size (768) is not divisible by num_attention_heads (7)");
        let odd = with(r#""output_groups": 5"#).unwrap_err().to_string();
        assert_eq!(odd, "hidden_size (768) is not divisible by output_groups (5)");
        assert!(with(r#""embedding_size": 128"#).unwrap_err().to_string().contains("128"));
        let hole = with(r#""id2label": {"0": "a", "2": "b"}"#);
        assert_eq!(hole, Err(ConfigError::Labels { count: 2, missing: 1 }));
    }

    #[test]
    fn labels_come_in_order_of_index() {
        let map: Vec<String> = (0..11).map(|i| format!(r#""{i}": "l{i}""#)).collect();
        let labels = with(&format!(r#""id2label": {{{}}}"#, map.join(","))).unwrap().labels;
        assert_eq!((labels.len(), labels[2].as_str(), labels[10].as_str()), (11, "l2", "l10"));
    }
}
