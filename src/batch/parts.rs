//! The sequences of one text, one by one. Most texts have one; a long one has a window after the
//! other, and a pipeline of several results has some for each. No more of them wait for a batch at a time
//! than fill one: so a long document leaves room for others between its own batches, and holds up its
//! own partition only.

use std::collections::{HashMap, VecDeque};

use crate::record::{DeadLetter, Ticket, Tracked};
use crate::text::{Amount, Document, Note, Reading, Tokens};

/// One sequence on its way through a model.
#[derive(Debug)]
pub struct Work {
    /// Which of its document's sequences, from 0.
    pub part: usize,
    /// And of how many.
    pub parts: usize,
    /// Travels with one of the parts.
    pub head: Option<Head>,
    /// What the model reads.
    pub tokens: Tokens,
}

/// The document that sequences belong to.
#[derive(Debug)]
pub struct Head {
    /// Where the results belong.
    pub document: Document,
    /// For each stream of the pipeline: what is known of its sequences, one after the other, or why it has
    /// none.
    pub streams: Vec<Result<StreamHead, DeadLetter>>,
}

/// What is known of one stream's sequences.
#[derive(Debug)]
pub struct StreamHead {
    /// How much of the text they are.
    pub amount: Amount,
    /// One each.
    pub notes: Vec<Note>,
}

/// Of one document, what one model has to read.
#[derive(Debug)]
pub struct Portion {
    /// With the first portion of a document.
    pub head: Option<Head>,
    /// Sequences of the whole document.
    pub parts: usize,
    /// Which of them these are.
    pub sequences: Vec<(usize, Tokens)>,
}

/// A document for each of the models that have something to read of it; `model_of` says for each stream
/// which model that is. `Err`: none has.
pub fn portions(reading: Reading, model_of: &[usize]) -> Result<Vec<(usize, Portion)>, Box<Head>> {
    let Reading { document, streams } = reading;
    let (mut heads, mut portions, mut parts) = (Vec::with_capacity(1), Vec::with_capacity(1), 0);
    for (stream, model) in streams.into_iter().zip(model_of) {
        let stream = stream.map(|sequences| {
            let place = portions.iter().position(|(of, _): &(usize, Portion)| of == model);
            let place = place.unwrap_or_else(|| {
                portions.push((*model, Portion { head: None, parts: 0, sequences: Vec::with_capacity(1) }));
                portions.len() - 1
            });
            if let Some((_, portion)) = portions.get_mut(place) {
                let first = parts;
                parts += sequences.tokens.len();
                portion.sequences.extend((first..).zip(sequences.tokens));
            }
            StreamHead { amount: sequences.amount, notes: sequences.notes }
        });
        heads.push(stream);
    }
    let head = Head { document, streams: heads };
    let Some((_, first)) = portions.first_mut() else { return Err(Box::new(head)) };
    first.head = Some(head);
    for (_, portion) in &mut portions {
        portion.parts = parts;
    }
    Ok(portions)
}

/// Later parts of long texts, held back.
#[derive(Default)]
pub(super) struct HeldBack(HashMap<Ticket, VecDeque<Tracked<Work>>>);

impl HeldBack {
    /// Splits a portion: the parts that may wait for a batch now, about `room` tokens of them and at
    /// least one; the rest is held back.
    pub fn split(&mut self, portion: Tracked<Portion>, room: usize) -> Vec<Tracked<Work>> {
        let Tracked { ticket, trace, stamps, item: Portion { mut head, parts, sequences } } = portion;
        let works = sequences.into_iter().map(|(part, tokens)| {
            let item = Work { part, parts, head: head.take(), tokens };
            Tracked { ticket, trace: trace.clone(), stamps, item }
        });
        let (mut now, mut rest, mut tokens) = (Vec::with_capacity(1), VecDeque::new(), 0);
        for work in works {
            tokens += work.item.tokens.ids.len();
            if now.is_empty() || tokens <= room {
                now.push(work);
            } else {
                rest.push_back(work);
            }
        }
        if !rest.is_empty() {
            self.0.insert(ticket, rest);
        }
        now
    }

    /// For each part of a long text in `batch`, its next one.
    pub fn next_of(&mut self, batch: &[Tracked<Work>]) -> Vec<Tracked<Work>> {
        if self.0.is_empty() {
            return Vec::new();
        }
        batch.iter().filter_map(|work| self.next(&work.ticket)).collect()
    }

    /// The next part of one text.
    pub fn next(&mut self, ticket: &Ticket) -> Option<Tracked<Work>> {
        let rest = self.0.get_mut(ticket)?;
        let next = rest.pop_front();
        if rest.is_empty() {
            self.0.remove(ticket);
        }
        next
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::record::{Offset, Reason, Record, Stage, Timestamp};
    use crate::text::{Place, Sequences, TokenCount};

    fn reading(streams: Vec<Result<Sequences, DeadLetter>>) -> Reading {
        let record = Record {
            topic: "t".into(),
            partition: 0,
            offset: Offset::new(0),
            key: None,
            value: None,
            headers: Vec::new(),
            timestamp: Timestamp(None),
        };
        let (text, second, place) = (String::new(), None, Place::Outside);
        let document = Document { record, text, second, sources: Vec::new(), text_bytes_seen: 0, place };
        Reading { document, streams }
    }

    /// So many, each of one token that is its number.
    fn sequences(ids: &[u32]) -> Result<Sequences, DeadLetter> {
        let tokens = TokenCount { used: ids.len(), seen: ids.len() };
        Ok(Sequences {
            tokens: ids.iter().map(|id| Tokens::new(vec![*id], 1)).collect(),
            notes: vec![Note::default(); ids.len()],
            amount: Amount { tokens, windows: 1, windows_read: 1, masked: 0 },
        })
    }

    fn failed() -> Result<Sequences, DeadLetter> {
        Err(DeadLetter { reason: Reason::NoTokens, message: String::new(), stage: Stage::Tokenize })
    }

    #[test]
    fn each_model_has_what_its_streams_read_and_one_has_the_document() {
        let streams = vec![sequences(&[10, 11]), failed(), sequences(&[12]), sequences(&[13])];
        let portions = portions(reading(streams), &[1, 0, 0, 1]).unwrap();
        let ids = |(model, portion): &(usize, Portion)| {
            let of = portion.sequences.iter().map(|(part, tokens)| (*part, tokens.ids[0]));
            (*model, portion.parts, of.collect::<Vec<_>>())
        };
        let expected = [(1, 4, vec![(0, 10), (1, 11), (3, 13)]), (0, 4, vec![(2, 12)])];
        assert_eq!(portions.iter().map(ids).collect::<Vec<_>>(), expected);
        let heads: Vec<_> = portions.iter().filter_map(|(_, portion)| portion.head.as_ref()).collect();
        assert_eq!(heads.len(), 1);
        let sound = heads[0].streams.iter().map(Result::is_ok);
        assert_eq!(sound.collect::<Vec<_>>(), [true, false, true, true]);
    }

    #[test]
    fn a_document_with_nothing_for_any_model_comes_back_with_its_reasons() {
        let head = portions(reading(vec![failed(), failed()]), &[0, 1]).unwrap_err();
        let reasons = head.streams.iter().map(|stream| stream.as_ref().unwrap_err().reason);
        assert_eq!(reasons.collect::<Vec<_>>(), [Reason::NoTokens; 2]);
    }
}
