//! From a record's bytes to token ids: decoding (finding the text) and tokenizing. Pure, no I/O.

mod condition;
mod decode;
mod intake;
pub(crate) mod json;
mod mask;
mod reader;
mod tokenize;

pub use decode::{DecodeError, Decoded, Decoder, Document, Place};
pub use intake::Intake;
pub use mask::Masker;
pub use reader::Reader;
pub use tokenize::{Amount, TextTokenizer, TokenCount, TokenizeError, Tokens};

/// A document and the sequences that the model reads of it: one, or the windows of a long text.
#[derive(Debug)]
pub struct Reading {
    /// Where the result belongs.
    pub document: Document,
    /// At least one.
    pub sequences: Vec<Tokens>,
    /// How much of the text they are.
    pub amount: Amount,
}
