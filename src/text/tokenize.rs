//! Text to token ids, by Hugging Face's `tokenizers`. Pure.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tokenizers::{Encoding, PostProcessor, Tokenizer, TruncationDirection};

use crate::config::settings::{Combine, LongText, Windows};
use crate::fate::Fate;
use crate::model::Package;
use crate::record::{DeadLetter, Reason, Stage};

/// A package's tokenizer with its length limit. Cheap to clone, and to share between threads.
#[derive(Clone)]
pub struct TextTokenizer {
    tokenizer: Arc<Tokenizer>,
    /// Of the text alone: the limit less the special tokens.
    room: usize,
    /// Special tokens added to every sequence.
    added: usize,
    long_text: LongText,
}

/// One sequence as the model reads it, special tokens included. It is a single segment: its token
/// type ids are all zero and not stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokens {
    /// Token ids, `[length]`.
    pub ids: Vec<u32>,
    /// How many of them are text, not special tokens: what the sequence weighs among others.
    pub of_text: usize,
}

/// Tokens used of tokens seen, special tokens included in both (once, however many windows).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenCount {
    /// What the model reads.
    pub used: usize,
    /// What the whole text has.
    pub seen: usize,
}

/// How much of a text is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Amount {
    /// In tokens.
    pub tokens: TokenCount,
    /// Windows that the whole text has; 1 where it is not read in windows.
    pub windows: usize,
    /// Parts of the text that were replaced by a word before it was tokenized.
    pub masked: usize,
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
    /// Nothing is left of it: control characters, say.
    #[error("the tokenizer keeps nothing of the text")]
    NoTokens,
    /// `long_text: dead-letter`.
    #[error("the text has {seen} tokens, more than the {most} that the model reads")]
    TextTooLong {
        /// Special tokens included.
        seen: usize,
        /// The limit.
        most: usize,
    },
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
            Self::Refused(_) | Self::Panicked | Self::NoTokens | Self::TextTooLong { .. } => Fate::Poison,
            Self::Unreadable(_) | Self::TooLong { .. } | Self::TooShort { .. } => Fate::Fatal,
        }
    }
    /// For the dead letter. The tokenizer's own words are left out: they may quote the text.
    pub fn letter(&self) -> DeadLetter {
        let reason = match self {
            Self::NoTokens => Reason::NoTokens,
            Self::TextTooLong { .. } => Reason::TextTooLong,
            _ => Reason::TokenizeFailed,
        };
        DeadLetter { reason, message: self.to_string(), stage: Stage::Tokenize }
    }
}

impl TextTokenizer {
    /// The package's tokenizer, limited to `max_length` tokens a sequence, special tokens included.
    pub fn new(package: &Package, max_length: usize, long_text: LongText) -> Result<Self, TokenizeError> {
        if max_length > package.max_length {
            return Err(TokenizeError::TooLong { asked: max_length, most: package.max_length });
        }
        Self::from_json(&package.tokenizer, max_length, long_text)
    }

    /// The same of a `tokenizer.json` by itself.
    pub fn from_json(json: &[u8], max_length: usize, long_text: LongText) -> Result<Self, TokenizeError> {
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
        Ok(Self { tokenizer: Arc::new(tokenizer), room, added, long_text })
    }

    /// The sequences that the model reads of one text, in order, at least one; and how much of the
    /// text they are. Special tokens written in the text are text.
    pub fn tokenize(&self, text: &str) -> Result<(Vec<Tokens>, Amount), TokenizeError> {
        // One text that breaks the library must not take its neighbours with it. The tokenizer is
        // only read here; its cache guards itself.
        let whole = catch_unwind(AssertUnwindSafe(|| self.tokenizer.encode_fast(text, false)))
            .map_err(|_| TokenizeError::Panicked)?
            .map_err(TokenizeError::Refused)?;
        let length = whole.len();
        if length == 0 {
            return Err(TokenizeError::NoTokens);
        }
        let seen = length + self.added;
        if length > self.room && self.long_text == LongText::DeadLetter {
            return Err(TokenizeError::TextTooLong { seen, most: self.room + self.added });
        }
        let plan = self.plan(length);
        let windows = catch_unwind(AssertUnwindSafe(|| self.sequences(whole, &plan)))
            .map_err(|_| TokenizeError::Panicked)?
            .map_err(TokenizeError::Refused)?;
        let used = plan.covered + self.added;
        Ok((windows, Amount { tokens: TokenCount { used, seen }, windows: plan.windows, masked: 0 }))
    }

    /// Where a text of so many tokens is cut.
    fn plan(&self, length: usize) -> Plan {
        let room = self.room;
        let one = Plan { stride: 0, covered: length.min(room), windows: 1 };
        let LongText::Windows(Windows { stride, most, combine }) = self.long_text else { return one };
        if length <= room {
            return one;
        }
        // The configuration allows half a window; of a very short one the special tokens are most.
        let stride = stride.min(room - 1);
        let step = room - stride;
        let windows = 1 + (length - room).div_ceil(step);
        // Of the others nothing would be used.
        let read = if combine == Combine::First { 1 } else { windows.min(most.get()) };
        Plan { stride, covered: length.min(room + (read - 1) * step), windows }
    }

    fn sequences(&self, mut whole: Encoding, plan: &Plan) -> tokenizers::Result<Vec<Tokens>> {
        if whole.len() > plan.covered {
            whole.truncate(plan.covered, 0, TruncationDirection::Right);
            drop(whole.take_overflowing());
        }
        // Neighbours overlap by `stride`, as transformers has it.
        whole.truncate(self.room, plan.stride, TruncationDirection::Right);
        let others = whole.take_overflowing();
        std::iter::once(whole)
            .chain(others)
            .map(|window| {
                let of_text = window.len();
                let ids = self.tokenizer.post_process(window, None, true)?.get_ids().to_vec();
                Ok(Tokens { ids, of_text })
            })
            .collect()
    }
}

/// How a text is cut.
struct Plan {
    /// Tokens that neighbours share.
    stride: usize,
    /// Tokens of the text that are read.
    covered: usize,
    /// Windows that the whole of it has.
    windows: usize,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::num::NonZeroUsize;

    use proptest::prelude::*;

    use super::*;

    fn tokenizer(max_length: usize, long_text: LongText) -> TextTokenizer {
        let json = std::fs::read("tests/packages/tiny-squeezebert/tokenizer.json").unwrap();
        TextTokenizer::from_json(&json, max_length, long_text).unwrap()
    }

    fn windows(stride: usize, most: usize, combine: Combine) -> LongText {
        LongText::Windows(Windows { stride, most: NonZeroUsize::new(most).unwrap(), combine })
    }

    fn words(n: usize) -> String {
        (0..n).map(|i| ["good", "bad", "film", "a", "not"][i % 5]).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn what_is_not_kept_is_no_text() {
        let t = tokenizer(16, LongText::Truncate);
        for text in ["\u{200b}\u{200d}", "\0\u{1}", "\u{301}\u{302}"] {
            assert!(matches!(t.tokenize(text), Err(TokenizeError::NoTokens)), "{text:?}");
        }
    }

    #[test]
    fn too_long_is_refused_where_the_pipeline_says_so() {
        let t = tokenizer(12, LongText::DeadLetter);
        assert_eq!(t.tokenize(&words(10)).unwrap().1.tokens, TokenCount { used: 12, seen: 12 });
        let error = t.tokenize(&words(11)).unwrap_err();
        assert_eq!(error.letter().reason, Reason::TextTooLong);
        assert_eq!(error.to_string(), "the text has 13 tokens, more than the 12 that the model reads");
    }

    #[test]
    fn of_the_first_window_alone_the_rest_is_counted_and_not_read() {
        let t = tokenizer(12, windows(2, 99, Combine::First));
        let (sequences, amount) = t.tokenize(&words(30)).unwrap();
        assert_eq!((sequences.len(), amount.windows), (1, 4));
        assert_eq!(amount.tokens, TokenCount { used: 12, seen: 32 });
    }

    proptest! {
        /// Put together again, less what they share, the windows are the text.
        #[test]
        fn windows_are_the_text(n in 1usize..120, length in 4usize..30, stride in 0usize..15, most in 1usize..12) {
            let (whole, _) = tokenizer(1000, LongText::Truncate).tokenize(&words(n)).unwrap();
            let text = &whole[0].ids[1..=n];
            let t = tokenizer(length, windows(stride, most, Combine::Mean));
            let (room, stride) = (length - 2, stride.min(length - 3));
            let (sequences, amount) = t.tokenize(&words(n)).unwrap();
            let mut read: Vec<u32> = Vec::new();
            for (i, s) in sequences.iter().enumerate() {
                prop_assert!(s.ids.len() <= length);
                prop_assert_eq!((s.ids[0], s.ids[s.ids.len() - 1], s.of_text), (2, 3, s.ids.len() - 2));
                let own = &s.ids[1..=s.of_text];
                let shared = if i == 0 { 0 } else { stride };
                prop_assert!(own.len() > shared, "each window has something new");
                prop_assert_eq!(&read[read.len() - shared..], &own[..shared]);
                read.extend(&own[shared..]);
            }
            prop_assert_eq!(&read[..], &text[..read.len()]);
            prop_assert_eq!(amount.tokens, TokenCount { used: read.len() + 2, seen: n + 2 });
            prop_assert_eq!(sequences.len(), amount.windows.min(most));
            prop_assert_eq!(read.len() == n, amount.windows <= most);
            prop_assert_eq!(amount.windows == 1, n <= room);
        }
    }
}
