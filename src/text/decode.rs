//! Finds the text in a record's value, and the place where the result will go. Pure.

use crate::config::settings::{Input, Output};
use crate::fate::Fate;
use crate::record::{DeadLetter, PassThrough, Record};

/// Reads values as one pipeline's `input:` and `output:` say.
#[derive(Debug, Clone)]
pub struct Decoder {}

/// A record with the text found in it.
#[derive(Debug)]
pub struct Document {
    /// Untouched.
    pub record: Record,
    /// What is tokenized.
    pub text: String,
    /// Bytes of the whole text, where `text` was cut at `max_text_bytes`; else its length.
    pub text_bytes_seen: usize,
    /// Where the result goes in the value.
    pub place: Place,
}

/// Where the result goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Into a value made anew, or into headers.
    Outside,
    /// TODO helper: byte positions for splicing.
    Splice,
}

/// How decoding ends when it does not fail.
#[derive(Debug)]
pub enum Decoded {
    /// There is a text.
    Document(Document),
    /// There is nothing to do for the model.
    PassThrough(Record, PassThrough),
}

/// Why no text was found. Every one is [`Fate::Poison`].
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Placeholder.
    #[error("the value is not JSON")]
    InvalidJson,
}

impl DecodeError {
    /// Always poison: the same bytes will never decode.
    pub fn fate(&self) -> Fate {
        Fate::Poison
    }
    /// For the dead letter.
    pub fn letter(&self) -> DeadLetter {
        todo!()
    }
}

impl Decoder {
    /// For one pipeline.
    pub fn new(_input: &Input, _output: &Output) -> Self {
        todo!()
    }
    /// Never panics, whatever the bytes. On an error the record comes back whole.
    pub fn decode(&self, _record: Record) -> Result<Decoded, (Record, DecodeError)> {
        todo!()
    }
}
