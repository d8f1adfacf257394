//! Text to token ids, by Hugging Face's `tokenizers`. Pure.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tokenizers::{PostProcessor, Tokenizer, TruncationDirection};

use crate::fate::Fate;
use crate::model::Package;
use crate::record::{DeadLetter, Reason, Stage};

/// A package's tokenizer with its length limit. Cheap to clone, and to share between threads.
#[derive(Clone)]
pub struct TextTokenizer {
    tokenizer: Arc<Tokenizer>,
    /// Of the text alone: the limit less the special tokens.
    room: usize,
    /// Special tokens added to every text.
    added: usize,
}

/// One sequence as the model reads it, special tokens included. It is a single segment: its token
/// type ids are all zero and not stored.
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

/// Why a text could not be tokenized, or a package's tokenizer not be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenizeError {
    /// The tokenizer refused the text.
    #[error("the tokenizer refused the text")]
    Refused(#[source] tokenizers::Error),
    /// The tokenizer's code failed on the text.
    #[error("the tokenizer broke down over the text")]
    Panicked,
    /// Not a tokenizer that the library knows.
    #[error("tokenizer.json is not a tokenizer that we can read: save it anew with a current transformers")]
    Unreadable(#[source] tokenizers::Error),
    /// More than the model takes.
    #[error(
        "a limit of {asked} tokens is more than the model takes ({most}): lower `model.max_length`, or leave it out"
    )]
    TooLong {
        /// The setting.
        asked: usize,
        /// The package's.
        most: usize,
    },
    /// No room for text.
    #[error(
        "a limit of {asked} tokens leaves no room for text beside {added} special tokens: raise `model.max_length`"
    )]
    TooShort {
        /// The setting.
        asked: usize,
        /// Special tokens.
        added: usize,
    },
}

impl TokenizeError {
    /// A text that failed fails again; a tokenizer that cannot be used is no text's fault.
    pub fn fate(&self) -> Fate {
        match self {
            Self::Refused(_) | Self::Panicked => Fate::Poison,
            Self::Unreadable(_) | Self::TooLong { .. } | Self::TooShort { .. } => Fate::Fatal,
        }
    }
    /// For the dead letter. The tokenizer's own words are left out: they may quote the text.
    pub fn letter(&self) -> DeadLetter {
        DeadLetter { reason: Reason::TokenizeFailed, message: self.to_string(), stage: Stage::Tokenize }
    }
}

impl TextTokenizer {
    /// The package's tokenizer, limited to `max_length` tokens, special tokens included.
    pub fn new(package: &Package, max_length: usize) -> Result<Self, TokenizeError> {
        if max_length > package.max_length {
            return Err(TokenizeError::TooLong { asked: max_length, most: package.max_length });
        }
        Self::from_json(&package.tokenizer, max_length)
    }

    fn from_json(json: &[u8], max_length: usize) -> Result<Self, TokenizeError> {
        let mut tokenizer = Tokenizer::from_bytes(json).map_err(TokenizeError::Unreadable)?;
        // We cut ourselves, to know how much was seen; a batch is padded by its session.
        tokenizer.with_truncation(None).map_err(TokenizeError::Unreadable)?;
        tokenizer.with_padding(None);
        // "[SEP]" in a record is text, not structure.
        tokenizer.set_encode_special_tokens(true);
        let added = tokenizer.get_post_processor().map_or(0, |p| p.added_tokens(false));
        let room = max_length
            .checked_sub(added)
            .filter(|&room| room > 0)
            .ok_or(TokenizeError::TooShort { asked: max_length, added })?;
        Ok(Self { tokenizer: Arc::new(tokenizer), room, added })
    }

    /// Ids of one text, truncated on the right to the limit. Special tokens written in the text are text.
    pub fn tokenize(&self, text: &str) -> Result<Tokens, TokenizeError> {
        // One text that breaks the library must not take its neighbours with it. The tokenizer is
        // only read here; its cache guards itself.
        catch_unwind(AssertUnwindSafe(|| self.encode(text)))
            .map_err(|_| TokenizeError::Panicked)?
            .map_err(TokenizeError::Refused)
    }

    fn encode(&self, text: &str) -> tokenizers::Result<Tokens> {
        let mut encoding = self.tokenizer.encode_fast(text, false)?;
        let seen = encoding.len() + self.added;
        if encoding.len() > self.room {
            encoding.truncate(self.room, 0, TruncationDirection::Right);
            drop(encoding.take_overflowing());
        }
        let ids = self.tokenizer.post_process(encoding, None, true)?.get_ids().to_vec();
        let used = ids.len();
        Ok(Tokens { ids, count: TokenCount { used, seen } })
    }
}
