//! What a graph's head is, and what is kept of its answer. Pure.

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
