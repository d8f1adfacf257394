//! Text to token ids, by Hugging Face's `tokenizers`. Pure.

use crate::fate::Fate;
use crate::model::Package;
use crate::record::DeadLetter;

/// A package's tokenizer with its length limit. Cheap to share between threads.
#[derive(Clone)]
pub struct TextTokenizer {}

/// One sequence as the model reads it, special tokens included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokens {
    /// Token ids, `[length]`.
    pub ids: Vec<u32>,
    /// How much of the text they are.
    pub count: TokenCount,
}

/// Tokens used of tokens seen, special tokens included in both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenCount {
    /// What the model reads.
    pub used: usize,
    /// What the whole text has.
    pub seen: usize,
}

/// Why a text could not be tokenized.
#[derive(Debug, thiserror::Error)]
pub enum TokenizeError {
    /// The tokenizer refused it.
    #[error("the tokenizer refused the text")]
    Refused(#[source] tokenizers::Error),
}

impl TokenizeError {
    /// Poison: the same text fails again.
    pub fn fate(&self) -> Fate {
        Fate::Poison
    }
    /// For the dead letter.
    pub fn letter(&self) -> DeadLetter {
        todo!()
    }
}

impl TextTokenizer {
    /// The package's tokenizer, limited to `max_length` tokens.
    pub fn new(_package: &Package, _max_length: usize) -> Result<Self, TokenizeError> {
        todo!()
    }
    /// Ids of one text, truncated on the right to the limit. Special tokens written in the text are text.
    pub fn tokenize(&self, _text: &str) -> Result<Tokens, TokenizeError> {
        todo!()
    }
}
