//! A record to what the model reads of it, or straight to its outcome. Pure.

use super::{Amount, Decoded, Decoder, Masker, Reading, TextTokenizer, TokenizeError};
use crate::config::settings::WithoutText;
use crate::record::{Outcome, PassThrough, Record};

/// Decodes and tokenizes as one pipeline says. Cheap to clone.
#[derive(Clone)]
pub struct Reader {
    decoder: Decoder,
    masker: Masker,
    tokenizer: TextTokenizer,
    on_empty: WithoutText,
}

impl Reader {
    /// Of the pipeline's decoder and masks and the package's tokenizer.
    pub fn new(decoder: Decoder, masker: Masker, tokenizer: TextTokenizer, on_empty: WithoutText) -> Self {
        Self { decoder, masker, tokenizer, on_empty }
    }

    /// What the model has to read; or the outcome of a record that does not need it.
    #[allow(clippy::result_large_err, reason = "an outcome is not an error; it is moved once")]
    pub fn read(&self, record: Record) -> Result<Reading, Outcome> {
        let document = match self.decoder.decode(record) {
            Ok(Decoded::Document(document)) => document,
            Ok(Decoded::PassThrough(record, why)) => return Err(Outcome::PassThrough { record, why }),
            Err((record, error)) => return Err(Outcome::DeadLetter { record, letter: error.letter() }),
        };
        let (text, masked) = self.masker.apply(&document.text);
        match self.tokenizer.tokenize(&text) {
            Ok((sequences, amount)) => {
                let amount = Amount { masked, ..amount };
                Ok(Reading { document, sequences, amount })
            }
            // Not where the text goes on beyond what was looked at.
            Err(TokenizeError::NoTokens)
                if self.on_empty == WithoutText::PassThrough
                    && document.text.len() == document.text_bytes_seen =>
            {
                Err(Outcome::PassThrough { record: document.record, why: PassThrough::NoTokens })
            }
            Err(error) => Err(Outcome::DeadLetter { record: document.record, letter: error.letter() }),
        }
    }
}
