//! From a record's bytes to token ids: decoding (finding the text) and tokenizing. Pure, no I/O.

mod decode;
mod json;
mod tokenize;

pub use decode::{DecodeError, Decoded, Decoder, Document, Place};
pub use tokenize::{TextTokenizer, TokenCount, TokenizeError, Tokens};

use crate::record::Tracked;

/// One token sequence on its way to the model, with the document it came from.
#[derive(Debug)]
pub struct Work {
    /// Where the result belongs.
    pub document: Document,
    /// What the model reads.
    pub tokens: Tokens,
}

/// What the text workers hand to the batcher.
pub type TrackedWork = Tracked<Work>;
