//! The batcher: one tokio task between the text workers and the sessions.
//!
//! Sessions ask for work: each hands over a [`Slot`] when it is free. So a batch is formed at the
//! last moment, when somebody can run it, and everything that arrived meanwhile takes part in the
//! choice. While no session is free the task goes on collecting, up to a bound. A sequence joins the
//! line only if the cache has no answer for it and it is not in the model already.

use std::collections::VecDeque;
use std::time::Instant;

use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep_until;

use super::budget::{Limits, Pending};
use super::parts::{HeldBack, Portion, Work};
use crate::cache::{Answered, Cache, Claim};
use crate::record::Tracked;
use crate::telemetry::Pulse;

/// Sequences that go into the model together, oldest first.
pub type Batch = Vec<Tracked<Work>>;

/// A free session's open hand.
pub type Slot = oneshot::Sender<Batch>;

/// The task's ends. [`Batcher::run`] returns when `portions` is closed and everything is handed
/// out, or when all sessions are gone.
pub struct Batcher {
    /// Tokenized texts.
    pub portions: mpsc::Receiver<Tracked<Portion>>,
    /// Free sessions.
    pub slots: mpsc::Receiver<Slot>,
    /// Asked before a sequence joins the line.
    pub cache: Cache,
    /// Where a sequence goes that has its answer already.
    pub answered: mpsc::Sender<Answered>,
    /// The rule's numbers.
    pub limits: Limits,
    /// Sequences held here at most; beyond it the text workers wait.
    pub capacity: usize,
    /// That it moves.
    pub pulse: Pulse,
}

impl Batcher {
    /// Runs until the work ends.
    pub async fn run(mut self) {
        let mut line =
            Line { pending: Pending::new(self.limits), held_back: HeldBack::default(), cache: self.cache };
        let mut slot: Option<Slot> = None;
        let mut open = true;
        // Readings that had come when the session was free, and were not taken yet.
        let mut waiting = 0;
        while open || !line.pending.is_empty() {
            let now = Instant::now();
            self.pulse.moves();
            if slot.is_none() {
                slot = self.slots.try_recv().ok();
                waiting = self.portions.len();
            }
            // At the end of the stream nothing more comes that would be worth waiting for.
            let due = line.pending.is_due(now) || (!open && !line.pending.is_empty());
            // What has come takes part in the choice. But texts that the cache answers may come and come,
            // and a session does not wait for the end of them.
            let ready = due && (waiting == 0 || line.pending.len() >= self.capacity);
            let kept = if ready && let Some(free) = slot.take() {
                let batch = line.pending.take();
                let next = line.held_back.next_of(&batch);
                // A session that hung up is out of order; its error is on its way elsewhere.
                if let Err(back) = free.send(batch) {
                    back.into_iter().for_each(|work| line.wait(work));
                }
                line.join(next)
            } else {
                let deadline = line.pending.deadline().unwrap_or(now);
                match line.pending.is_empty() {
                    true => self.pulse.rests(),
                    // For a session, or for company.
                    false => self.pulse.waits(),
                }
                tokio::select! {
                    biased;
                    portion = self.portions.recv(), if open && line.pending.len() < self.capacity => match portion {
                        Some(portion) => {
                            waiting = waiting.saturating_sub(1);
                            let parts = line.held_back.split(portion, self.limits.max_tokens);
                            line.join(parts)
                        }
                        None => {
                            (open, waiting) = (false, 0);
                            Vec::new()
                        }
                    },
                    free = self.slots.recv(), if slot.is_none() => match free {
                        Some(free) => {
                            (slot, waiting) = (Some(free), self.portions.len());
                            Vec::new()
                        }
                        None => return,
                    },
                    () = sleep_until(deadline.into()), if slot.is_some() && !line.pending.is_empty() => Vec::new(),
                }
            };
            if kept.is_empty() {
                continue;
            }
            self.pulse.moves();
            if self.answered.send(kept).await.is_err() {
                return;
            }
        }
    }
}

/// Everything that waits to be inferred.
struct Line {
    pending: Pending<Tracked<Work>>,
    held_back: HeldBack,
    cache: Cache,
}

impl Line {
    /// At the end of the line, whatever their age: what was held back has let others go first. A part
    /// that need not wait makes room for its next one. Gives those that have their answers.
    fn join(&mut self, works: Vec<Tracked<Work>>) -> Answered {
        let mut kept = Vec::new();
        let mut works = VecDeque::from(works);
        while let Some(work) = works.pop_front() {
            let ticket = work.ticket;
            match self.cache.claim(work) {
                Claim::Run(work) => {
                    self.wait(work);
                    continue;
                }
                Claim::Kept(work, output) => kept.push((work, Ok(output))),
                Claim::Joined => {}
            }
            works.extend(self.held_back.next(&ticket));
        }
        kept
    }

    fn wait(&mut self, work: Tracked<Work>) {
        let since = work.stamps.tokenized.unwrap_or_else(Instant::now);
        let length = work.item.tokens.ids.len();
        self.pending.push(work, length, since);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::batch::Head;
    use crate::model::{Layout, Output, Receipt};
    use crate::record::{Admission, Epoch, Offset, PartitionId, Record, Ticket, Timestamp, Trace, Tracked};
    use crate::telemetry::{Health, Metrics};
    use crate::text::{Document, Place, Tokens};

    fn text(length: usize) -> Tracked<Portion> {
        windows(0, &[length])
    }

    fn windows(admission: u64, lengths: &[usize]) -> Tracked<Portion> {
        let record = Record {
            topic: Arc::from("t"),
            partition: 0,
            offset: Offset::new(0),
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
        let sequences = lengths.iter().map(|n| Tokens::new(vec![0; *n], *n)).enumerate().collect();
        let head = Some(Head { document, streams: Vec::new() });
        let ticket = Ticket { partition: PartitionId(0), epoch: Epoch(0), admission: Admission(admission) };
        let portion = Portion { head, parts: lengths.len(), sequences };
        let mut tracked = Tracked::new(ticket, Trace::NONE, portion);
        tracked.stamps.tokenized = Some(Instant::now());
        tracked
    }

    fn start(max_age: Duration) -> (mpsc::Sender<Tracked<Portion>>, mpsc::Sender<Slot>) {
        let (readings_in, readings) = mpsc::channel(100);
        let (slots_in, slots) = mpsc::channel(4);
        let limits = Limits { max_tokens: 100, max_size: 4, max_age, layout: Layout::Padded };
        let (answered, _) = mpsc::channel(1);
        let cache = Cache::off();
        let pulse = Health::new().pulse("batcher");
        tokio::spawn(
            Batcher { portions: readings, slots, cache, answered, limits, capacity: 100, pulse }.run(),
        );
        (readings_in, slots_in)
    }

    /// What knows the answer to a text of five tokens.
    fn knowing() -> Cache {
        let receipt = Receipt {
            model: String::new(),
            digest: "sha256:ab".to_owned(),
            precision: String::new(),
            provider: "cpu",
            batch_invariant: true,
        };
        let cache = Cache::of_models(1 << 20, [&receipt], &Metrics::default()).remove(0);
        let Claim::Run(known) = cache.claim(HeldBack::default().split(text(5), 100).remove(0)) else {
            panic!("nothing is known yet")
        };
        cache.answered(vec![known], vec![Ok(Output { logits: vec![1.0] })]);
        cache
    }

    /// Nobody takes what it has to hand on: that is a batcher with work that does not move. One that waits
    /// for a session, or for texts, is none.
    #[tokio::test]
    async fn stuck_is_a_batcher_that_cannot_hand_on_and_no_other() {
        let health = Health::new();
        health.stuck_after(Duration::from_millis(1));
        let (readings_in, readings) = mpsc::channel(100);
        let (slots_in, slots) = mpsc::channel(4);
        let (answered, mut kept) = mpsc::channel(1);
        let limits = Limits { max_tokens: 100, max_size: 4, max_age: Duration::ZERO, layout: Layout::Padded };
        let pulse = health.pulse("batcher");
        let given = pulse.clone();
        let cache = knowing();
        tokio::spawn(
            Batcher { portions: readings, slots, cache, answered, limits, capacity: 100, pulse }.run(),
        );
        let moves_again = async || {
            while !health.stuck().is_empty() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        // One that must be inferred, and no session.
        given.given();
        readings_in.send(text(7)).await.unwrap();
        while readings_in.capacity() < 100 {
            tokio::task::yield_now().await;
        }
        moves_again().await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(health.stuck(), [], "it waits for a session");

        for _ in 0..3 {
            given.given();
            readings_in.send(text(5)).await.unwrap();
        }
        while health.stuck().is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(health.stuck()[0].what, "batcher");
        for _ in 0..3 {
            kept.recv().await.unwrap();
        }
        moves_again().await;
        assert_eq!(parts(&slots_in).await.len(), 1, "and goes on");
    }

    /// However many texts come that the cache answers: a session gets the one that it does not.
    #[tokio::test]
    async fn texts_that_are_known_do_not_keep_a_session_from_others() {
        let cache = knowing();
        // More than the task takes in one turn (tokio has it yield after 128), so that it is never empty.
        let (readings_in, readings) = mpsc::channel(1_000);
        let (slots, slots_out) = mpsc::channel(4);
        let (answered, mut kept) = mpsc::channel(100);
        readings_in.send(text(7)).await.unwrap();
        tokio::spawn(async move { while readings_in.send(text(5)).await.is_ok() {} });
        tokio::spawn(async move { while kept.recv().await.is_some() {} });
        let limits = Limits { max_tokens: 100, max_size: 4, max_age: Duration::ZERO, layout: Layout::Padded };
        tokio::task::yield_now().await;
        let pulse = Health::new().pulse("batcher");
        let batcher =
            Batcher { portions: readings, slots: slots_out, cache, answered, limits, capacity: 100, pulse };
        tokio::spawn(batcher.run());
        assert_eq!(batch(&slots).await, [7]);
    }

    async fn batch(slots: &mpsc::Sender<Slot>) -> Vec<usize> {
        let (slot, next) = oneshot::channel();
        slots.send(slot).await.unwrap();
        next.await.unwrap().iter().map(|w| w.item.tokens.ids.len()).collect()
    }

    #[tokio::test]
    async fn a_lonely_text_leaves_at_its_age_limit() {
        let (readings_in, slots) = start(Duration::from_millis(30));
        let sent = Instant::now();
        readings_in.send(text(5)).await.unwrap();
        assert_eq!(batch(&slots).await, [5]);
        let waited = sent.elapsed();
        assert!(waited >= Duration::from_millis(30), "it had time to find company: {waited:?}");
        assert!(waited < Duration::from_millis(500), "a promised deadline: {waited:?}");
    }

    #[tokio::test]
    async fn while_no_session_is_free_it_collects_and_then_selects_by_length() {
        let (readings_in, slots) = start(Duration::from_secs(600));
        for length in [10, 90, 11, 91, 12, 92, 9] {
            readings_in.send(text(length)).await.unwrap();
        }
        assert_eq!(batch(&slots).await, [10, 11, 12, 9]);
        // Three are left: neither full nor old. The end of the stream releases them.
        drop(readings_in);
        assert_eq!(batch(&slots).await, [90]);
        assert_eq!(batch(&slots).await, [91]);
        assert_eq!(batch(&slots).await, [92]);
    }

    /// Places, as `(document, part)`.
    async fn parts(slots: &mpsc::Sender<Slot>) -> Vec<(u64, usize)> {
        let (slot, next) = oneshot::channel();
        slots.send(slot).await.unwrap();
        next.await.unwrap().iter().map(|w| (w.ticket.admission.0, w.item.part)).collect()
    }

    #[tokio::test]
    async fn a_long_text_lets_others_in_between_its_windows() {
        let (readings_in, slots) = start(Duration::ZERO);
        // Batches of 100 tokens: two windows of 50.
        readings_in.send(windows(1, &[50; 7])).await.unwrap();
        readings_in.send(windows(2, &[40])).await.unwrap();
        readings_in.send(windows(3, &[50; 3])).await.unwrap();
        drop(readings_in);
        assert_eq!(parts(&slots).await, [(1, 0), (1, 1)]);
        assert_eq!(parts(&slots).await, [(2, 0), (3, 0)]);
        let mut rest = Vec::new();
        for _ in 0..4 {
            rest.extend(parts(&slots).await);
        }
        rest.sort_unstable();
        assert_eq!(rest, [(1, 2), (1, 3), (1, 4), (1, 5), (1, 6), (3, 1), (3, 2)], "each once");
    }
}
