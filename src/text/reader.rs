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
                *place = text.map(|text| stream.sequences(text, second.as_ref()));
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
                Err(TokenizeError::NoTokens)
                    if self.on_empty == WithoutText::PassThrough && document.is_whole() =>
                {
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
        alone && self.tokenizer == other.tokenizer
    }

    fn sequences(
        &self,
        text: Encoding,
        second: Option<&Result<Encoding, TokenizeError>>,
    ) -> Result<Sequences, TokenizeError> {
        let second = match second {
            Some(Ok(second)) => Some(second),
            Some(Err(error)) => return Err(error.clone()),
            None => None,
        };
        self.tokenizer.sequences(text, second, &self.plan, self.with_spans)
    }
}

#[cfg(test)]
#[path = "reader_tests.rs"]
mod pipeline_tests;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::settings::{Format, Input, LongText, Output, OutputMode};
    use crate::record::{Offset, Reason, Timestamp};

    fn stream(package: &str, max_length: usize, required: bool) -> Stream {
        let json = std::fs::read(format!("tests/packages/{package}/tokenizer.json")).unwrap();
        let tokenizer = TextTokenizer::from_json(&json, max_length, LongText::DeadLetter).unwrap();
        Stream { tokenizer, plan: Plan::Text, with_spans: false, required }
    }

    fn reader(streams: Vec<Stream>, on_empty: WithoutText) -> Reader {
        let decoder = Decoder::new(&Input::new(&[], Format::Text), &Output::new(OutputMode::Envelope));
        Reader::new(decoder, Masker::new(&[]), streams, on_empty)
    }

    #[allow(clippy::result_large_err, reason = "as the reader's own")]
    fn read(reader: &Reader, text: &str) -> Result<Reading, Outcome> {
        reader.read(Record {
            topic: "t".into(),
            partition: 0,
            offset: Offset::new(0),
            key: None,
            value: Some(text.into()),
            headers: Vec::new(),
            timestamp: Timestamp(None),
        })
    }

    fn reasons(reading: &Reading) -> Vec<Option<Reason>> {
        reading.streams.iter().map(|stream| stream.as_ref().err().map(|letter| letter.reason)).collect()
    }

    const LONG: &str = "a good film a good film a good film";
    const NOTHING: &str = "\u{200b}\u{200d}";

    #[test]
    fn what_is_not_required_and_cannot_be_tokenized_leaves_the_others_standing() {
        let (short, long) = (stream("tiny-squeezebert", 6, false), stream("tiny-squeezebert", 64, true));
        let of = |streams| reader(streams, WithoutText::DeadLetter);
        let reading = read(&of(vec![short.clone(), long.clone()]), LONG).unwrap();
        assert_eq!(reasons(&reading), [Some(Reason::TextTooLong), None]);
        let reading = read(&of(vec![short.clone(), short.clone()]), LONG).unwrap();
        assert_eq!(reasons(&reading), [Some(Reason::TextTooLong); 2], "also where none stands");
        assert_eq!(reading.document.text, LONG);

        let required = Stream { required: true, ..short };
        for streams in [vec![required.clone(), long.clone()], vec![long, required]] {
            match read(&of(streams), LONG) {
                Err(Outcome::DeadLetter { letter, .. }) => assert_eq!(letter.reason, Reason::TextTooLong),
                other => panic!("{other:?}"),
            }
        }
    }

    /// Of what every tokenizer drops; one that is not required does not make it pass.
    #[test]
    fn a_text_of_which_nothing_is_kept_goes_by_the_required_results() {
        let (optional, required) =
            (stream("tiny-squeezebert", 64, false), stream("tiny-squeezebert", 64, true));
        let reading = read(&reader(vec![optional.clone()], WithoutText::PassThrough), NOTHING).unwrap();
        assert_eq!(reasons(&reading), [Some(Reason::NoTokens)]);
        let reader = reader(vec![optional, required], WithoutText::PassThrough);
        assert!(matches!(
            read(&reader, NOTHING),
            Err(Outcome::PassThrough { why: PassThrough::NoTokens, .. })
        ));
    }

    #[test]
    fn a_text_is_tokenized_once_for_each_tokenizer() {
        let spans = Stream { with_spans: true, ..stream("tiny-squeezebert", 32, true) };
        let streams = [
            stream("tiny-squeezebert", 64, true),
            stream("tiny-roberta", 64, true),
            spans,
            stream("tiny-roberta", 16, true),
        ];
        let reader = reader(streams.to_vec(), WithoutText::DeadLetter);
        assert_eq!(reader.encoders[..], [(0, true), (1, false)], "with spans, if any of them wants some");
        // And each has what it would have by itself.
        let reading = read(&reader, "a good film").unwrap();
        for (of, sequences) in streams.iter().zip(&reading.streams) {
            let (alone, _) = of.tokenizer.tokenize("a good film").unwrap();
            assert_eq!(sequences.as_ref().unwrap().tokens, alone);
            assert_eq!(sequences.as_ref().unwrap().notes[0].spans.is_empty(), !of.with_spans);
        }
    }
}
