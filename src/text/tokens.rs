//! What a text becomes for a model: plain data.

use std::sync::Arc;

use tokenizers::Encoding;

/// One sequence as the model reads it, special tokens included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokens {
    /// Token ids, `[length]`.
    pub ids: Vec<u32>,
    /// Segment of each token, `[length]`; empty where all are of the first.
    pub types: Vec<u32>,
    /// How many of them are text, not special tokens: what the sequence weighs among others.
    pub of_text: usize,
}

impl Tokens {
    /// Of one segment.
    pub fn new(ids: Vec<u32>, of_text: usize) -> Self {
        Self { ids, types: Vec::new(), of_text }
    }
}

/// What a model is to read of a text.
#[derive(Debug, Clone)]
pub enum Plan {
    /// The text; with the record's second text, where the pipeline names one, as a pair. If it is long, as
    /// `input.long_text` says.
    Text,
    /// Each of these with the text, one sequence or (where the text is long) several for each.
    Beside(Beside),
}

/// Texts that are the same for all records: hypotheses, questions.
#[derive(Debug, Clone)]
pub struct Beside {
    /// Without special tokens. Not empty.
    pub others: Arc<[Encoding]>,
    /// Which of the pair is the record's text.
    pub text: Side,
    /// Reads long texts always in windows, whatever the pipeline says.
    pub windows: Option<Overlap>,
}

/// Of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The first.
    First,
    /// The second.
    Second,
}

/// Windows with a task's own measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overlap {
    /// Longest sequence, special tokens and the other text included.
    pub max_length: usize,
    /// Tokens that neighbours share.
    pub stride: usize,
    /// Most windows of one text.
    pub most: usize,
}

/// The sequences of one text under one plan, in order: by the text beside it, then by window.
#[derive(Debug, Clone)]
pub struct Sequences {
    /// What the model reads; at least one.
    pub tokens: Vec<Tokens>,
    /// What is known of each, for whoever reads the answers.
    pub notes: Vec<Note>,
    /// How much of the text they are.
    pub amount: Amount,
}

/// What is known of one sequence.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Note {
    /// Its tokens, special ones included.
    pub length: usize,
    /// Its tokens of text: what it weighs among others.
    pub of_text: usize,
    /// Where its tokens of text begin, among all of the text.
    pub first: usize,
    /// Which text stands beside it, by its place in [`Beside::others`]; 0 where there is none.
    pub beside: usize,
    /// Where each token stands, `[length]`; empty where the task does not ask for it.
    pub spans: Vec<Span>,
}

/// Where a token stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The token.
    pub id: u32,
    /// Where it begins in the text it is of. Bytes.
    pub start: u32,
    /// Where it ends. Bytes.
    pub end: u32,
    /// Which word (of the tokenizer's pre-tokenizer) it is a part of.
    pub word: Option<u32>,
    /// Of the record's text: no special token, and none of a text beside it.
    pub is_text: bool,
}

/// Tokens used of tokens seen, special tokens included in both (once, however many windows); those of
/// texts beside it are not counted.
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
    /// Windows that are read.
    pub windows_read: usize,
    /// Parts of the text that were replaced by a word before it was tokenized.
    pub masked: usize,
}
