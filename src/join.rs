//! Documents waiting for their parts (the windows of a long text, several results). Pure. A document of one part
//! passes straight through.

use std::collections::HashMap;

use crate::batch::{Head, Work};
use crate::model::{InferError, Output};
use crate::record::{Ticket, Tracked};

/// What a model answered for one part.
pub type Answer = Result<Output, InferError>;

/// A document with the answers for all its parts, in order.
pub struct Joined {
    /// The document.
    pub head: Head,
    /// One a sequence.
    pub answers: Vec<Answer>,
}

/// The documents of which some parts are back.
#[derive(Default)]
pub struct Join(HashMap<Ticket, Waiting>);

struct Waiting {
    /// With the first part.
    head: Option<Tracked<Head>>,
    answers: Vec<Option<Answer>>,
    left: usize,
}

impl Join {
    /// A part is back. Gives the document when it was the last one missing. A part that came twice
    /// counts once.
    pub fn add(
        &mut self,
        work: Tracked<Work>,
        answer: Result<Output, InferError>,
    ) -> Option<Tracked<Joined>> {
        let Tracked { ticket, trace, stamps, item: Work { part, parts, head, .. } } = work;
        let head = head.map(|head| Tracked { ticket, trace, stamps, item: head });
        if parts == 1 {
            return head.map(|head| head.map(|head| Joined { head, answers: vec![answer] }));
        }
        let waiting = self.0.entry(ticket).or_insert_with(|| Waiting {
            head: None,
            answers: std::iter::repeat_with(|| None).take(parts).collect(),
            left: parts,
        });
        waiting.head = waiting.head.take().or(head);
        let place = waiting.answers.get_mut(part).filter(|place| place.is_none())?;
        *place = Some(answer);
        waiting.left -= 1;
        if waiting.left > 0 {
            return None;
        }
        let Waiting { head, answers, .. } = self.0.remove(&ticket)?;
        // From the first part into the model to the last one out of it.
        let mut head = head?;
        head.stamps.inferred = stamps.inferred;
        Some(head.map(|head| Joined { head, answers: answers.into_iter().flatten().collect() }))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;
    use crate::record::{Admission, Epoch, Offset, PartitionId, Record, Timestamp, Trace};
    use crate::text::{Document, Place, Tokens};

    fn head(n: usize) -> Head {
        let record = Record {
            topic: "t".into(),
            partition: 0,
            offset: Offset::new(n as i64),
            key: None,
            value: None,
            headers: Vec::new(),
            timestamp: Timestamp(None),
        };
        let document = Document {
            record,
            text: String::new(),
            second: None,
            sources: Vec::new(),
            text_bytes_seen: 0,
            place: Place::Outside,
        };
        Head { document, streams: Vec::new() }
    }

    proptest! {
        /// Whatever the order in which parts come back: each document once, when its last part is
        /// there, with its own answers in order.
        #[test]
        fn each_document_once_and_whole(sizes in prop::collection::vec(1usize..6, 1..20), seed in prop::collection::vec(any::<u32>(), 120)) {
            let mut parts: Vec<(u32, usize, usize)> = sizes
                .iter()
                .enumerate()
                .flat_map(|(document, n)| (0..*n).map(move |part| (document, part)))
                .zip(&seed)
                .map(|((document, part), random)| (*random, document, part))
                .collect();
            parts.sort_unstable();
            let mut join = Join::default();
            let mut left = sizes.clone();
            for (_, document, part) in parts {
                let ticket = Ticket {
                    partition: PartitionId(0),
                    epoch: Epoch(0),
                    admission: Admission(document as u64),
                };
                let work = Work {
                    part,
                    parts: sizes[document],
                    // With any one of them.
                    head: (part == document % sizes[document]).then(|| head(document)),
                    tokens: Tokens::new(Vec::new(), document * 10 + part),
                };
                let answer = Output { logits: vec![document as f32, part as f32] };
                let joined = join.add(Tracked::new(ticket, Trace::NONE, work), Ok(answer));
                left[document] -= 1;
                prop_assert_eq!(joined.is_some(), left[document] == 0);
                if let Some(joined) = joined {
                    prop_assert_eq!(joined.ticket, ticket);
                    prop_assert_eq!(joined.item.head.document.record.offset.raw(), document as i64);
                    prop_assert_eq!(joined.item.answers.len(), sizes[document]);
                    for (part, answer) in joined.item.answers.iter().enumerate() {
                        prop_assert_eq!(&answer.as_ref().unwrap().logits, &vec![document as f32, part as f32]);
                    }
                }
            }
            prop_assert!(join.0.is_empty(), "nothing is left behind");
        }
    }
}
