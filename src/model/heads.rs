//! What a graph's head is, and what is kept of its answer. Pure.

use super::feed::Layout;
use super::labels::Config;
use super::onnx::Port;

/// What stands on top of the encoder, by the package's own word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Head {
    /// `logits`, `[batch, labels]`.
    Classification,
    /// `logits`, `[batch, tokens, labels]`.
    Tokens,
    /// `start_logits` and `end_logits`, `[batch, tokens]` each.
    Questions,
    /// `last_hidden_state`, `[batch, tokens, hidden]`.
    None,
}

impl Head {
    /// As shown to people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Classification => "sequence classification",
            Self::Tokens => "token classification",
            Self::Questions => "question answering",
            Self::None => "none (hidden states)",
        }
    }
}

/// What is kept of the graph's answer to one sequence: the numbers of an [`Output`](super::Output).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reads {
    /// `[labels]`.
    Logits {
        /// One number each.
        labels: usize,
    },
    /// `[tokens, labels]`, row by row, special tokens among them.
    TokenLogits {
        /// One number each.
        labels: usize,
    },
    /// `[2, tokens]`: the start logits, then the end logits.
    Spans,
    /// `[hidden]`: the hidden states of all tokens, special ones included, as one.
    Pooled {
        /// How.
        pooling: Pooling,
        /// Their width.
        hidden: usize,
    },
}

impl Reads {
    /// How many numbers that is for a sequence of so many tokens.
    pub fn len(self, tokens: usize) -> usize {
        match self {
            Self::Logits { labels } => labels,
            Self::TokenLogits { labels } => tokens * labels,
            Self::Spans => 2 * tokens,
            Self::Pooled { hidden, .. } => hidden,
        }
    }
}

/// How the hidden states of a sequence become one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooling {
    /// Their mean.
    Mean,
    /// The first token's.
    Cls,
    /// Each dimension's highest.
    Max,
}

/// What a graph may be for, where the configuration does not say: the likeliest, and the others. By the names that
/// transformers' exporters give its outputs, else by their ranks.
pub(super) fn possible(outputs: &[Port], layout: Layout, config: &Config) -> (Head, Vec<Head>) {
    let tokens = match layout {
        Layout::Padded => 2,
        Layout::Packed => 1,
    };
    let named = |name: &str| outputs.iter().find(|port| port.name == name);
    let of_rank = |rank: usize| outputs.iter().filter(|port| port.shape.len() == rank).count();
    let mut heads = Vec::new();
    if let Some(logits) = named("logits") {
        // Without a shape it may be either.
        let fits = |rank: usize| [0, rank].contains(&logits.shape.len());
        heads.extend(fits(2).then_some(Head::Classification));
        // A language model's are by token, too, and its labels would be its vocabulary.
        heads.extend((fits(tokens + 1) && !config.is_language_model()).then_some(Head::Tokens));
    }
    heads.extend(named("start_logits").and(named("end_logits")).map(|_| Head::Questions));
    heads.extend(named("last_hidden_state").map(|_| Head::None));
    if heads.is_empty() && named("logits").is_none() {
        heads.extend((of_rank(2) > 0).then_some(Head::Classification));
        heads.extend((of_rank(tokens) > 1).then_some(Head::Questions));
        heads.extend((of_rank(tokens + 1) > 0).then_some([Head::None, Head::Tokens]).into_iter().flatten());
    }
    if config.names_entities() {
        heads.sort_by_key(|head| *head != Head::Tokens);
    }
    let mut heads = heads.into_iter();
    (heads.next().unwrap_or(Head::Classification), heads.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_say_what_a_graph_may_be_for() {
        use Head::{Classification, None, Questions, Tokens};
        use Layout::{Packed, Padded};
        let config = |json: &str| serde_json::from_str(json).unwrap_or_else(|e| panic!("{e}"));
        let (silent, entities): (Config, Config) = (config("{}"), config(r#"{"id2label": {"0": "O"}}"#));
        let language = config(r#"{"architectures": ["BertForMaskedLM"]}"#);
        for (layout, config, outputs, expected) in [
            (Padded, &silent, &[("logits", 2)][..], &[Classification][..]),
            (Padded, &silent, &[("logits", 3)], &[Tokens]),
            (Padded, &silent, &[("logits", 0)], &[Classification, Tokens]),
            (Padded, &language, &[("logits", 3)], &[Classification]),
            (Padded, &language, &[("last_hidden_state", 3)], &[None]),
            (Packed, &silent, &[("logits", 2)], &[Classification, Tokens]),
            (Packed, &entities, &[("logits", 2)], &[Tokens, Classification]),
            (Padded, &silent, &[("start_logits", 2), ("end_logits", 2)], &[Questions]),
            (Packed, &silent, &[("start_logits", 1), ("end_logits", 1)], &[Questions]),
            (Padded, &silent, &[("last_hidden_state", 3), ("pooler_output", 2)], &[None]),
            (Padded, &silent, &[("last_hidden_state", 3), ("logits", 2)], &[Classification, None]),
            (Padded, &silent, &[("output_0", 2)], &[Classification]),
            (Padded, &silent, &[("output_0", 3)], &[None, Tokens]),
            (Padded, &entities, &[("output_0", 3)], &[Tokens, None]),
            (Padded, &silent, &[("output_0", 2), ("output_1", 2)], &[Classification, Questions]),
            (Packed, &silent, &[("output_0", 1), ("output_1", 1)], &[Questions]),
            (Packed, &silent, &[("output_0", 2)], &[Classification, None, Tokens]),
            (Padded, &silent, &[("output_0", 0)], &[Classification]),
        ] {
            let port = |(name, rank): &(&str, usize)| Port {
                name: (*name).to_owned(),
                element: 1,
                shape: vec![Option::None; *rank],
            };
            let outputs: Vec<Port> = outputs.iter().map(port).collect();
            let (head, others) = possible(&outputs, layout, config);
            assert_eq!([vec![head], others].concat(), expected, "{layout:?} {outputs:?}");
        }
    }
}
