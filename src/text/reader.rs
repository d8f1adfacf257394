//! A record to what the models read of it, or straight to its outcome. Pure.

use std::sync::Arc;

use tokenizers::Encoding;

use super::{Decoded, Decoder, Document, Masker, Plan, Sequences, TextTokenizer, TokenizeError};
use crate::config::settings::WithoutText;
use crate::record::{DeadLetter, Outcome, PassThrough, Record};

/// Decodes and tokenizes as one pipeline says. Cheap to clone.
#[derive(Clone)]
pub struct Reader {
    decoder: Decoder,
    masker: Masker,
    streams: Arc<[Stream]>,
    /// For each of the distinct tokenizers: a stream that has it, and does any want spans?
    encoders: Arc<[(usize, bool)]>,
    on_empty: WithoutText,
}

/// The sequences that some results have in common.
#[derive(Clone)]
pub struct Stream {
    /// Which package's, and how long they may be.
    pub tokenizer: TextTokenizer,
    /// What is read.
    pub plan: Plan,
    /// Does a task ask where tokens stand?
    pub with_spans: bool,
    /// Does a part of a text give no result?
    pub needs_all: bool,
    /// Is a record without this a dead letter?
    pub required: bool,
}

/// A document and what the models read of it.
#[derive(Debug)]
pub struct Reading {
    /// Where the results belong.
    pub document: Document,
    /// One for each stream: its sequences, or why there are none (never of a required one).
    pub streams: Vec<Result<Sequences, DeadLetter>>,
}

impl Reader {
    /// Of the pipeline's decoder and masks and its streams; at least one.
    pub fn new(decoder: Decoder, masker: Masker, streams: Vec<Stream>, on_empty: WithoutText) -> Self {
        let mut encoders: Vec<(usize, bool)> = Vec::new();
        for (place, stream) in streams.iter().enumerate() {
            let same = |(of, _): &&mut (usize, bool)| {
                streams.get(*of).is_some_and(|other| other.tokenizer.encodes_like(&stream.tokenizer))
            };
            match encoders.iter_mut().find(same) {
                Some((_, with_spans)) => *with_spans |= stream.with_spans,
                None => encoders.push((place, stream.with_spans)),
            }
        }
        Self { decoder, masker, streams: streams.into(), encoders: encoders.into(), on_empty }
    }

    /// What the models have to read; or the outcome of a record that does not need them.
    #[allow(clippy::result_large_err, reason = "an outcome is not an error; it is moved once")]
    pub fn read(&self, record: Record) -> Result<Reading, Outcome> {
        let document = match self.decoder.decode(record) {
            Ok(Decoded::Document(document)) => document,
            Ok(Decoded::PassThrough(record, why)) => return Err(Outcome::PassThrough { record, why }),
            Err((record, error)) => return Err(Outcome::DeadLetter { record, letter: error.letter() }),
        };
        let whole = document.text.len() == document.text_bytes_seen;
        let (text, mut masked) = self.masker.apply(&document.text);
        let second = document.second.as_deref().map(|second| self.masker.apply(second));
        masked += second.as_ref().map_or(0, |(_, parts)| *parts);
        let mut streams: Vec<Option<Result<Sequences, TokenizeError>>> =
            self.streams.iter().map(|_| None).collect();
        for (of, with_spans) in self.encoders.iter() {
            let Some(first) = self.streams.get(*of) else { continue };
            let alike = |stream: &&Stream| stream.tokenizer.encodes_like(&first.tokenizer);
            let alone = self.streams.iter().filter(alike).count() == 1;
            let mut encoded = first.tokenizer.encode(&text, *with_spans).map(Some);
            let second = second.as_ref().map(|(text, _)| first.tokenizer.encode(text, *with_spans));
            for (place, stream) in streams.iter_mut().zip(self.streams.iter()) {
                if !alike(&stream) {
                    continue;
                }
                let text = match &mut encoded {
                    Ok(encoded) if alone => encoded.take(),
                    Ok(encoded) => encoded.clone(),
                    Err(_) => None,
                };
                *place = text.map(|text| stream.sequences(text, second.as_ref(), whole));
            }
            if let Err(error) = encoded {
                for (place, stream) in streams.iter_mut().zip(self.streams.iter()) {
                    if alike(&stream) {
                        *place = Some(Err(error.clone()));
                    }
                }
            }
        }
        let mut read = Vec::with_capacity(streams.len());
        for (sequences, stream) in streams.into_iter().zip(self.streams.iter()) {
            match sequences.unwrap_or(Err(TokenizeError::NoTokens)) {
                Ok(mut sequences) => {
                    sequences.amount.masked = masked;
                    read.push(Ok(sequences));
                }
                Err(error) if !stream.required => read.push(Err(error.letter())),
                // Not where the text goes on beyond what was looked at.
                Err(TokenizeError::NoTokens) if self.on_empty == WithoutText::PassThrough && whole => {
                    let why = PassThrough::NoTokens;
                    return Err(Outcome::PassThrough { record: document.record, why });
                }
                Err(error) => {
                    return Err(Outcome::DeadLetter { record: document.record, letter: error.letter() });
                }
            }
        }
        Ok(Reading { document, streams: read })
    }
}

impl Stream {
    /// Are its sequences the same, for whoever reads them?
    pub fn reads_like(&self, other: &Self) -> bool {
        // Other texts beside it are the other one's own.
        let alone = matches!((&self.plan, &other.plan), (Plan::Text, Plan::Text));
        alone && self.tokenizer == other.tokenizer && self.needs_all == other.needs_all
    }

    /// `whole`: nothing was cut off the text before it was tokenized.
    fn sequences(
        &self,
        text: Encoding,
        second: Option<&Result<Encoding, TokenizeError>>,
        whole: bool,
    ) -> Result<Sequences, TokenizeError> {
        let second = match second {
            Some(Ok(second)) => Some(second),
            Some(Err(error)) => return Err(error.clone()),
            None => None,
        };
        let sequences = self.tokenizer.sequences(text, second, &self.plan, self.with_spans)?;
        let super::TokenCount { used, seen } = sequences.amount.tokens;
        match self.needs_all && (used < seen || !whole) {
            true => Err(TokenizeError::NotWhole { used, seen }),
            false => Ok(sequences),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::settings::LongText;
    use crate::config::{Overrides, load};
    use crate::record::{Offset, Timestamp};

    fn reader(input: &str) -> Reader {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pipeline.yaml");
        std::fs::write(&file, format!("input: {{topics: [t], {input}}}\nmodel: {{path: x}}\n")).unwrap();
        let settings = load(&file, &Overrides::default()).unwrap_or_else(|e| panic!("{e}")).settings;
        let json = std::fs::read("tests/packages/tiny-squeezebert/tokenizer.json").unwrap();
        let tokenizer = TextTokenizer::from_json(&json, 64, LongText::Truncate).unwrap();
        let stream =
            Stream { tokenizer, plan: Plan::Text, with_spans: false, needs_all: false, required: true };
        let decoder = Decoder::new(&settings.input, &settings.output);
        Reader::new(decoder, Masker::new(&settings.input.mask), vec![stream], settings.input.on_empty)
    }

    fn read(reader: &Reader, json: &str) -> Sequences {
        let record = Record {
            topic: "t".into(),
            partition: 0,
            offset: Offset::new(0),
            key: None,
            value: Some(json.into()),
            headers: Vec::new(),
            timestamp: Timestamp(None),
        };
        reader.read(record).unwrap_or_else(|e| panic!("{e:?}")).streams.swap_remove(0).unwrap()
    }

    /// Else two records that differ in a number of their second texts are two for the model, and the first's
    /// count is told as if it were all.
    #[test]
    fn both_texts_of_a_pair_are_masked_and_counted() {
        let masked = reader("text: /a, pair: /b, mask: [numbers]");
        let found = read(&masked, r#"{"a": "took 35 s", "b": "not 17 or 18"}"#);
        let same = read(&masked, r#"{"a": "took 99 s", "b": "not 5 or 6"}"#);
        let plain = read(&reader("text: /a, pair: /b"), r#"{"a": "took 0 s", "b": "not 0 or 0"}"#);
        assert_eq!((&found.tokens, &same.tokens), (&plain.tokens, &plain.tokens));
        assert_eq!((found.amount.masked, plain.amount.masked), (3, 0));
        assert!(found.tokens.iter().any(|tokens| tokens.types.contains(&1)), "a pair it is");
    }
}
