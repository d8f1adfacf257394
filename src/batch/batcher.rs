//! The batcher: one tokio task between the text workers and the sessions.
//!
//! Sessions ask for work: each hands over a [`Slot`] when it is free. So a batch is formed at the
//! last moment, when somebody can run it, and everything that arrived meanwhile takes part in the
//! choice. While no session is free the task goes on collecting, up to a bound.

use std::time::Instant;

use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep_until;

use super::budget::{Limits, Pending};
use crate::text::TrackedWork;

/// Works that go into the model together, oldest first.
pub type Batch = Vec<TrackedWork>;

/// A free session's open hand.
pub type Slot = oneshot::Sender<Batch>;

/// The task's ends. [`Batcher::run`] returns when `work` is closed and everything is handed out,
/// or when all sessions are gone.
pub struct Batcher {
    /// Tokenized texts.
    pub work: mpsc::Receiver<TrackedWork>,
    /// Free sessions.
    pub slots: mpsc::Receiver<Slot>,
    /// The rule's numbers.
    pub limits: Limits,
    /// Sequences held here at most; beyond it the text workers wait.
    pub capacity: usize,
}

impl Batcher {
    /// Runs until the work ends.
    pub async fn run(mut self) {
        let mut pending = Pending::new(self.limits);
        let mut slot: Option<Slot> = None;
        let mut open = true;
        while open || !pending.is_empty() {
            let now = Instant::now();
            // At the end of the stream nothing more comes that would be worth waiting for.
            if (pending.is_due(now) || (!open && !pending.is_empty()))
                && let Some(free) = slot.take()
            {
                // A session that hung up is out of order; its error is on its way elsewhere.
                if let Err(back) = free.send(pending.take()) {
                    self.put_back(&mut pending, back);
                }
                continue;
            }
            let deadline = pending.deadline().unwrap_or(now);
            tokio::select! {
                biased;
                work = self.work.recv(), if open && pending.len() < self.capacity => match work {
                    Some(work) => self.put_back(&mut pending, vec![work]),
                    None => open = false,
                },
                free = self.slots.recv(), if slot.is_none() => match free {
                    Some(free) => slot = Some(free),
                    None => return,
                },
                () = sleep_until(deadline.into()), if slot.is_some() && !pending.is_empty() => {}
            }
        }
    }

    fn put_back(&self, pending: &mut Pending<TrackedWork>, batch: Batch) {
        for work in batch {
            let since = work.stamps.tokenized.unwrap_or_else(Instant::now);
            let length = work.item.tokens.ids.len();
            pending.push(work, length, since);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;
    use std::time::Duration;

    use opentelemetry::trace::SpanContext;

    use super::*;
    use crate::record::{Admission, Epoch, Offset, PartitionId, Record, Ticket, Timestamp, Tracked};
    use crate::text::{Document, Place, TokenCount, Tokens, Work};

    fn work(length: usize) -> TrackedWork {
        let record = Record {
            topic: Arc::from("t"),
            partition: 0,
            offset: Offset::new(0),
            key: None,
            value: None,
            headers: Vec::new(),
            timestamp: Timestamp(None),
        };
        let document = Document { record, text: String::new(), text_bytes_seen: 0, place: Place::Outside };
        let tokens = Tokens { ids: vec![0; length], count: TokenCount { used: length, seen: length } };
        let ticket = Ticket { partition: PartitionId(0), epoch: Epoch(0), admission: Admission(0) };
        let mut tracked = Tracked::new(ticket, SpanContext::NONE, Work { document, tokens });
        tracked.stamps.tokenized = Some(Instant::now());
        tracked
    }

    fn start(max_age: Duration) -> (mpsc::Sender<TrackedWork>, mpsc::Sender<Slot>) {
        let (work_in, work) = mpsc::channel(100);
        let (slots_in, slots) = mpsc::channel(4);
        let limits = Limits { max_tokens: 100, max_size: 4, max_age };
        tokio::spawn(Batcher { work, slots, limits, capacity: 100 }.run());
        (work_in, slots_in)
    }

    async fn batch(slots: &mpsc::Sender<Slot>) -> Vec<usize> {
        let (slot, next) = oneshot::channel();
        slots.send(slot).await.unwrap();
        next.await.unwrap().iter().map(|w| w.item.tokens.ids.len()).collect()
    }

    #[tokio::test]
    async fn a_lonely_text_leaves_at_its_age_limit() {
        let (work_in, slots) = start(Duration::from_millis(30));
        let sent = Instant::now();
        work_in.send(work(5)).await.unwrap();
        assert_eq!(batch(&slots).await, [5]);
        let waited = sent.elapsed();
        assert!(waited >= Duration::from_millis(30), "it had time to find company: {waited:?}");
        assert!(waited < Duration::from_millis(500), "a promised deadline: {waited:?}");
    }

    #[tokio::test]
    async fn while_no_session_is_free_it_collects_and_then_selects_by_length() {
        let (work_in, slots) = start(Duration::from_secs(600));
        for length in [10, 90, 11, 91, 12, 92, 9] {
            work_in.send(work(length)).await.unwrap();
        }
        assert_eq!(batch(&slots).await, [10, 11, 12, 9]);
        // Three are left: neither full nor old. The end of the stream releases them.
        drop(work_in);
        assert_eq!(batch(&slots).await, [90]);
        assert_eq!(batch(&slots).await, [91]);
        assert_eq!(batch(&slots).await, [92]);
    }
}
