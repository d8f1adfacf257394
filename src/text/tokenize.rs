//! Text to token ids, by Hugging Face's `tokenizers`. Pure.

use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tokenizers::{
    Decoder, Encoding, ModelWrapper, PostProcessor, PostProcessorWrapper, Tokenizer, TruncationDirection,
};

use super::tokens::{Amount, Beside, Note, Overlap, Plan, Sequences, Side, Span, TokenCount, Tokens};
use crate::config::settings::{Combine, LongText, Windows};
use crate::fate::Fate;
use crate::model::{Package, hash_bytes};
use crate::record::{DeadLetter, Reason, Stage};

/// A package's tokenizer with its length limit. Cheap to clone, and to share between threads.
#[derive(Clone)]
pub struct TextTokenizer {
    tokenizer: Arc<Tokenizer>,
    /// What adds special tokens and trims offsets: kept apart, for a text goes through it once, after it is cut.
    finisher: Option<Arc<PostProcessorWrapper>>,
    /// sha256 of what it was made of.
    digest: Arc<str>,
    /// Longest sequence, special tokens included.
    max_length: usize,
    /// Special tokens added to a sequence of one text, and of two.
    added: [usize; 2],
    long_text: LongText,
}

/// The same tokenizer with the same limits.
impl PartialEq for TextTokenizer {
    fn eq(&self, other: &Self) -> bool {
        self.encodes_like(other) && self.max_length == other.max_length && self.long_text == other.long_text
    }
}

/// Why a text could not be tokenized, or a package's tokenizer not be used.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TokenizeError {
    /// The tokenizer refused the text. Its own words are left out: they may quote it.
    #[error("the tokenizer refused the text")]
    Refused,
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
    /// A result of a part of it would be none.
    #[error("{used} of its {seen} tokens can be read, and only the whole of it gives a result")]
    NotWhole {
        /// Special tokens included.
        used: usize,
        /// Of what was looked at.
        seen: usize,
    },
    /// Not a tokenizer that the library knows.
    #[error("tokenizer.json is not a tokenizer that we can read: save it anew with a current transformers")]
    Unreadable(#[source] Arc<dyn std::error::Error + Send + Sync>),
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
            Self::Refused
            | Self::Panicked
            | Self::NoTokens
            | Self::TextTooLong { .. }
            | Self::NotWhole { .. } => Fate::Poison,
            Self::Unreadable(_) | Self::TooLong { .. } | Self::TooShort { .. } => Fate::Fatal,
        }
    }
    /// For the dead letter.
    pub fn letter(&self) -> DeadLetter {
        let reason = match self {
            Self::NoTokens => Reason::NoTokens,
            Self::TextTooLong { .. } | Self::NotWhole { .. } => Reason::TextTooLong,
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
        let mut tokenizer = Tokenizer::from_bytes(json).map_err(unreadable)?;
        // We cut ourselves, to know how much was seen; a batch is padded by its session.
        tokenizer.with_truncation(None).map_err(unreadable)?;
        tokenizer.with_padding(None);
        // "[SEP]" in a record is text, not structure.
        tokenizer.set_encode_special_tokens(true);
        let added =
            [false, true].map(|pair| tokenizer.get_post_processor().map_or(0, |p| p.added_tokens(pair)));
        if max_length <= added[0] {
            return Err(TokenizeError::TooShort { asked: max_length, added: added[0] });
        }
        let digest = hash_bytes(json).into();
        let finisher = tokenizer.get_post_processor().cloned().map(Arc::new);
        tokenizer.with_post_processor(None::<PostProcessorWrapper>);
        Ok(Self { tokenizer: Arc::new(tokenizer), finisher, digest, max_length, added, long_text })
    }

    /// Is it the same tokenizer, whatever the limits?
    pub fn encodes_like(&self, other: &Self) -> bool {
        self.digest == other.digest
    }

    /// With the tables of one of these, if they are the same.
    #[must_use]
    pub fn shared_with<'a>(self, mut others: impl Iterator<Item = &'a Self>) -> Self {
        match others.find(|other| other.encodes_like(&self)) {
            Some(other) => Self { tokenizer: other.tokenizer.clone(), ..self },
            None => self,
        }
    }

    /// Longest sequence, special tokens included.
    pub fn max_length(&self) -> usize {
        self.max_length
    }

    /// Tokens of a text that fit beside `other` into a sequence of at most `max_length`; 0 where none do.
    pub fn room_beside(&self, other: &Encoding, max_length: usize) -> usize {
        max_length.min(self.max_length).saturating_sub(self.added[1] + other.len())
    }

    /// The text of tokens, as the tokenizer's decoder writes it.
    pub fn decode(&self, ids: &[u32]) -> String {
        let decode = || self.tokenizer.decode(ids, true);
        catch_unwind(AssertUnwindSafe(decode)).ok().and_then(Result::ok).unwrap_or_default()
    }

    /// Tokens, written as the vocabulary writes them, to text, by the tokenizer's decoder.
    pub fn join(&self, tokens: Vec<String>) -> String {
        let Some(decoder) = self.tokenizer.get_decoder() else { return tokens.join(" ") };
        let decode = || decoder.decode(tokens);
        catch_unwind(AssertUnwindSafe(decode)).ok().and_then(Result::ok).unwrap_or_default()
    }

    /// What its model marks the tokens with that go on with a word (`##`), if it does.
    pub fn subword_prefix(&self) -> Option<&str> {
        let prefix = match self.tokenizer.get_model() {
            ModelWrapper::WordPiece(model) => Some(model.continuing_subword_prefix.as_str()),
            ModelWrapper::BPE(model) => model.continuing_subword_prefix.as_deref(),
            ModelWrapper::WordLevel(_) | ModelWrapper::Unigram(_) => None,
        };
        prefix.filter(|prefix| !prefix.is_empty())
    }

    /// The token of what the vocabulary does not know.
    pub fn unknown(&self) -> Option<u32> {
        let written = match self.tokenizer.get_model() {
            ModelWrapper::WordPiece(model) => Some(model.unk_token.as_str()),
            ModelWrapper::WordLevel(model) => Some(model.unk_token.as_str()),
            ModelWrapper::BPE(model) => model.unk_token.as_deref(),
            // Its own is out of reach; this is what every such tokenizer calls it.
            ModelWrapper::Unigram(_) => Some("<unk>"),
        };
        self.tokenizer.token_to_id(written?)
    }

    /// A token as the vocabulary writes it (`##ing`, `Ġthe`).
    pub fn token(&self, id: u32) -> Option<String> {
        self.tokenizer.id_to_token(id)
    }

    /// A text's tokens, without special tokens; where they stand, in bytes, only `with_spans`. Special
    /// tokens written in the text are text.
    pub fn encode(&self, text: &str, with_spans: bool) -> Result<Encoding, TokenizeError> {
        let encode = || match with_spans {
            true => self.tokenizer.encode(text, false),
            false => self.tokenizer.encode_fast(text, false),
        };
        // One text that breaks the library must not take its neighbours with it. The tokenizer is
        // only read here; its cache guards itself.
        let whole = catch_unwind(AssertUnwindSafe(encode))
            .map_err(|_| TokenizeError::Panicked)?
            .map_err(|_| TokenizeError::Refused)?;
        match whole.is_empty() {
            true => Err(TokenizeError::NoTokens),
            false => Ok(whole),
        }
    }

    /// The sequences that the model reads of one text, in order, at least one; and how much of the
    /// text they are.
    pub fn tokenize(&self, text: &str) -> Result<(Vec<Tokens>, Amount), TokenizeError> {
        let Sequences { tokens, amount, .. } =
            self.sequences(self.encode(text, false)?, None, &Plan::Text, false)?;
        Ok((tokens, amount))
    }

    /// The sequences of a text under a plan. `second` is the record's second text, for [`Plan::Text`].
    pub fn sequences(
        &self,
        text: Encoding,
        second: Option<&Encoding>,
        plan: &Plan,
        with_spans: bool,
    ) -> Result<Sequences, TokenizeError> {
        let cut = move || match (plan, second) {
            (Plan::Text, None) => self.alone(text, with_spans),
            (Plan::Text, Some(second)) => self.pair(text, second, with_spans),
            (Plan::Beside(beside), _) => self.beside(&text, beside, with_spans),
        };
        catch_unwind(AssertUnwindSafe(cut)).map_err(|_| TokenizeError::Panicked)?
    }

    fn alone(&self, text: Encoding, with_spans: bool) -> Result<Sequences, TokenizeError> {
        let [added, _] = self.added;
        let cut = Cut::of(text.len(), self.max_length.saturating_sub(added), self.long_text, added)?;
        let mut all = Sequences::new(cut.amount(text.len(), added));
        for (place, window) in cut.windows(text).enumerate() {
            let part = Part { of_text: window.len(), first: place * cut.step(), beside: 0 };
            let whole = self.finish(window, None)?;
            all.add(&whole, Side::First, part, with_spans);
        }
        Ok(all)
    }

    /// Two texts of one record. Too long together, the longer one is cut, until both are of one length:
    /// transformers' `longest_first`.
    fn pair(&self, text: Encoding, second: &Encoding, with_spans: bool) -> Result<Sequences, TokenizeError> {
        let [_, added] = self.added;
        let room = self.max_length.saturating_sub(added);
        let lengths = [text.len(), second.len()];
        let seen = lengths[0] + lengths[1] + added;
        if seen > self.max_length && self.long_text == LongText::DeadLetter {
            return Err(TokenizeError::TextTooLong { seen, most: self.max_length });
        }
        let kept = longest_first(lengths, room);
        let (first, second) = (beginning(text, kept[0]), beginning(second.clone(), kept[1]));
        let used = kept[0] + kept[1] + added;
        let tokens = TokenCount { used, seen };
        let mut all = Sequences::new(Amount { tokens, windows: 1, windows_read: 1, masked: 0 });
        let whole = self.finish(first, Some(second))?;
        let part = Part { of_text: kept[0] + kept[1], first: 0, beside: 0 };
        all.add(&whole, Side::First, part, with_spans);
        Ok(all)
    }

    fn beside(&self, text: &Encoding, beside: &Beside, with_spans: bool) -> Result<Sequences, TokenizeError> {
        let [_, added] = self.added;
        let (max_length, long_text) = match beside.windows {
            Some(Overlap { max_length, stride, most }) => {
                let most = NonZeroUsize::new(most).unwrap_or(NonZeroUsize::MIN);
                (max_length, LongText::Windows(Windows { stride, most, combine: Combine::Mean }))
            }
            None => (self.max_length, self.long_text),
        };
        let mut all: Option<Sequences> = None;
        for (place, other) in beside.others.iter().enumerate() {
            let room = self.room_beside(other, max_length);
            if room == 0 {
                return Err(TokenizeError::TooShort { asked: max_length, added: added + other.len() });
            }
            let cut = Cut::of(text.len(), room, long_text, added)?;
            let amount = cut.amount(text.len(), added);
            let all = all.get_or_insert_with(|| Sequences::new(amount));
            all.amount = least(all.amount, amount);
            for (window, number) in cut.windows(text.clone()).zip(0..) {
                let part = Part { of_text: window.len(), first: number * cut.step(), beside: place };
                let whole = match beside.text {
                    Side::First => self.finish(window, Some(other.clone()))?,
                    Side::Second => self.finish(other.clone(), Some(window))?,
                };
                all.add(&whole, beside.text, part, with_spans);
            }
        }
        all.ok_or(TokenizeError::NoTokens)
    }

    /// With special tokens and segments.
    fn finish(&self, first: Encoding, second: Option<Encoding>) -> Result<Encoding, TokenizeError> {
        match &self.finisher {
            Some(finisher) => finisher.process(first, second, true),
            None => self.tokenizer.post_process(first, second, true),
        }
        .map_err(|_| TokenizeError::Refused)
    }
}

impl Sequences {
    fn new(amount: Amount) -> Self {
        Self { tokens: Vec::with_capacity(1), notes: Vec::with_capacity(1), amount }
    }

    fn add(&mut self, whole: &Encoding, text: Side, part: Part, with_spans: bool) {
        let Part { of_text, first, beside } = part;
        let types = whole.get_type_ids();
        let types = if types.iter().all(|t| *t == 0) { Vec::new() } else { types.to_vec() };
        let spans = if with_spans { spans(whole, text) } else { Vec::new() };
        self.notes.push(Note { length: whole.len(), of_text, first, beside, spans });
        self.tokens.push(Tokens { ids: whole.get_ids().to_vec(), types, of_text });
    }
}

/// What is known of a sequence beside its tokens: see [`Note`].
#[derive(Clone, Copy)]
struct Part {
    of_text: usize,
    first: usize,
    beside: usize,
}

fn spans(whole: &Encoding, text: Side) -> Vec<Span> {
    let which = match text {
        Side::First => 0,
        Side::Second => 1,
    };
    let short = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let tokens = whole.get_ids().iter().zip(whole.get_offsets()).zip(whole.get_word_ids());
    let places = whole.get_sequence_ids().into_iter().zip(whole.get_special_tokens_mask());
    tokens
        .zip(places)
        .map(|(((id, (start, end)), word), (sequence, special))| Span {
            id: *id,
            start: short(*start),
            end: short(*end),
            word: *word,
            is_text: *special == 0 && sequence == Some(which),
        })
        .collect()
}

fn unreadable(error: tokenizers::Error) -> TokenizeError {
    TokenizeError::Unreadable(error.into())
}

/// The first tokens of a text.
fn beginning(mut whole: Encoding, kept: usize) -> Encoding {
    if whole.len() > kept {
        whole.truncate(kept, 0, TruncationDirection::Right);
        drop(whole.take_overflowing());
    }
    whole
}

/// What is left of two lengths that must not be more than `room` together.
fn longest_first([a, b]: [usize; 2], room: usize) -> [usize; 2] {
    if a + b <= room {
        return [a, b];
    }
    // Of an odd room the second text has the token more.
    let (short, half) = (a.min(b), room / 2);
    let short = short.min(half);
    match a <= b {
        true => [short, room - short],
        false => [room - short, short],
    }
}

/// Of several texts beside it, a text is read as far as with the one that leaves the least room.
fn least(a: Amount, b: Amount) -> Amount {
    let tokens = TokenCount { used: a.tokens.used.min(b.tokens.used), seen: a.tokens.seen };
    let (windows, windows_read) = (a.windows.max(b.windows), a.windows_read.max(b.windows_read));
    Amount { tokens, windows, windows_read, masked: a.masked }
}

/// How a text is cut.
struct Cut {
    /// Most tokens of one window.
    room: usize,
    /// Tokens that neighbours share.
    stride: usize,
    /// Tokens of the text that are read.
    covered: usize,
    /// Windows that the whole of it has.
    windows: usize,
    /// Windows that are read.
    read: usize,
}

impl Cut {
    /// Of a text of so many tokens; `added` are special tokens, for the message.
    fn of(length: usize, room: usize, long_text: LongText, added: usize) -> Result<Self, TokenizeError> {
        if length > room && long_text == LongText::DeadLetter {
            return Err(TokenizeError::TextTooLong { seen: length + added, most: room + added });
        }
        let one = Self { room, stride: 0, covered: length.min(room), windows: 1, read: 1 };
        let LongText::Windows(Windows { stride, most, combine }) = long_text else { return Ok(one) };
        if length <= room {
            return Ok(one);
        }
        // The configuration allows half a window; of a very short one the special tokens are most.
        let stride = stride.min(room - 1);
        let step = room - stride;
        let windows = 1 + (length - room).div_ceil(step);
        // Of the others nothing would be used.
        let read = if combine == Combine::First { 1 } else { windows.min(most.get()) };
        Ok(Self { room, stride, covered: length.min(room + (read - 1) * step), windows, read })
    }

    /// How far after its neighbour a window begins.
    fn step(&self) -> usize {
        self.room - self.stride
    }

    fn amount(&self, length: usize, added: usize) -> Amount {
        let tokens = TokenCount { used: self.covered + added, seen: length + added };
        Amount { tokens, windows: self.windows, windows_read: self.read, masked: 0 }
    }

    fn windows(&self, text: Encoding) -> impl Iterator<Item = Encoding> {
        let mut whole = beginning(text, self.covered);
        // Neighbours overlap by `stride`, as transformers has it.
        whole.truncate(self.room, self.stride, TruncationDirection::Right);
        let others = whole.take_overflowing();
        std::iter::once(whole).chain(others)
    }
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
