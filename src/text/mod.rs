//! From a record's bytes to token ids: decoding (finding the text) and tokenizing. Pure, no I/O.

mod condition;
mod decode;
mod intake;
pub(crate) mod json;
mod mask;
mod reader;
mod tokenize;
mod tokens;

pub use decode::{DecodeError, Decoded, Decoder, Document, Place, Source};
pub use intake::Intake;
pub use mask::Masker;
pub use reader::{Reader, Reading, Stream};
pub use tokenize::{TextTokenizer, TokenizeError};
pub use tokens::{Amount, Beside, Note, Overlap, Plan, Sequences, Side, Span, TokenCount, Tokens};
