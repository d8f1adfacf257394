//! The sequences of one text, one by one. Most texts have one; a long one has a window after the
//! other, and no more of them wait for a batch at a time than fill one: so a long document leaves
//! room for others between its own batches, and holds up its own partition only.

use std::collections::{HashMap, VecDeque};

use crate::record::{Ticket, Tracked};
use crate::text::{Amount, Document, Reading, Tokens};

/// One sequence on its way through the model.
#[derive(Debug)]
pub struct Work {
    /// Which of its document's sequences, from 0.
    pub part: usize,
    /// And of how many.
    pub parts: usize,
    /// Travels with the first part.
    pub head: Option<Head>,
    /// What the model reads.
    pub tokens: Tokens,
}

/// The document that sequences belong to.
#[derive(Debug)]
pub struct Head {
    /// Where the result belongs.
    pub document: Document,
    /// How much of its text is read.
    pub amount: Amount,
}

/// Later parts of long texts, held back.
#[derive(Default)]
pub(super) struct HeldBack(HashMap<Ticket, VecDeque<Tracked<Work>>>);

impl HeldBack {
    /// Splits a reading: the parts that may wait for a batch now, about `room` tokens of them and at
    /// least one; the rest is held back.
    pub fn split(&mut self, reading: Tracked<Reading>, room: usize) -> Vec<Tracked<Work>> {
        let Tracked { ticket, trace, stamps, item: Reading { document, sequences, amount } } = reading;
        let parts = sequences.len();
        let mut head = Some(Head { document, amount });
        let works = sequences.into_iter().enumerate().map(|(part, tokens)| {
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
