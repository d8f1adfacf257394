//! The result cache, between tokenizing and the batcher: a sequence that was answered is not inferred
//! again, and one that is in the model right now is waited for.
//!
//! The batcher asks before a sequence joins its line ([`Cache::claim`]), so each window of a long text is
//! asked for by itself, when its turn comes. A session tells what came out of a batch
//! ([`Cache::answered`]) and takes those along who waited for it. What runs belongs to its key and not to
//! the record that came first: a revocation drops results later, by their epoch, and takes no answer from
//! anybody else. Poison is every waiter's; it is not kept. A failure that may pass is tried again in
//! place (`batch/isolate`), with its waiters waiting; one that does not pass stops the worker, and
//! nobody's record is settled.
//!
//! All models of a pipeline share one: `max_bytes` is what they keep together, and an answer makes room for another
//! model's as for its own.
//!
//! Nothing here outlives the process, and all its sessions run on one provider: so what a result says of
//! provider, precision and digest is as true of a kept answer as of a fresh one.

mod reuse;

use std::sync::{Arc, Mutex, PoisonError};

use crate::batch::{Batch, Work};
use crate::model::{InferError, Output, Receipt};
use crate::record::Tracked;
use crate::telemetry::{Metrics, Station};
use reuse::{Claim as Claimed, Key, Reuse};

/// Sequences and what the model answered.
pub type Answered = Vec<(Tracked<Work>, Result<Output, InferError>)>;

/// What becomes of a sequence.
#[derive(Debug)]
pub enum Claim {
    /// It goes into the model.
    Run(Tracked<Work>),
    /// It was answered before.
    Kept(Tracked<Work>, Output),
    /// It comes back with the one that is in the model.
    Joined,
}

/// One model's share in it. Cheap to clone.
#[derive(Clone)]
pub struct Cache {
    /// `None`: off.
    shared: Option<Arc<Mutex<Reuse<Tracked<Work>>>>>,
    model: usize,
    metrics: Metrics,
}

impl Cache {
    /// For each of the models that `receipts` speak of. `max_bytes` of 0: every sequence is inferred. So it is
    /// where an answer depends on what the sequence was batched with: kept, an accident would become a
    /// rule.
    pub fn of_models<'a>(
        max_bytes: usize,
        receipts: impl IntoIterator<Item = &'a Receipt>,
        metrics: &Metrics,
    ) -> Vec<Self> {
        let mut shared = None;
        let of = |(model, receipt): (usize, &Receipt)| {
            let mut on = None;
            if max_bytes > 0 && receipt.batch_invariant {
                let all = shared.get_or_insert_with(|| Arc::new(Mutex::new(Reuse::new(max_bytes))));
                on = Some(all.clone());
            } else if max_bytes > 0 {
                tracing::warn!(
                    model = receipt.model,
                    "the cache is off: this package's results on this provider may depend on what a text is batched with",
                );
            }
            Self { shared: on, model, metrics: metrics.clone() }
        };
        receipts.into_iter().enumerate().map(of).collect()
    }

    /// Always [`Claim::Run`].
    pub fn off() -> Self {
        Self { shared: None, model: 0, metrics: Metrics::default() }
    }

    /// A sequence wants to go into the model.
    pub fn claim(&self, mut work: Tracked<Work>) -> Claim {
        let Some(shared) = &self.shared else { return Claim::Run(work) };
        // Of a sequence that does not run nobody needs the ids any more.
        let key = self.key(&mut work);
        let documents = usize::from(work.item.head.is_some());
        let claimed = shared.lock().unwrap_or_else(PoisonError::into_inner).claim(&key, work);
        let (result, claim) = match claimed {
            Claimed::Run(mut work) => {
                (work.item.tokens.ids, work.item.tokens.types) = (key.ids, key.types);
                ("miss", Claim::Run(work))
            }
            Claimed::Kept(work, output) => {
                self.metrics.moved(documents, Some(Station::Queue), Some(Station::Enrich));
                ("hit", Claim::Kept(work, output))
            }
            Claimed::Joined => {
                self.metrics.moved(documents, Some(Station::Queue), Some(Station::Cache));
                ("joined", Claim::Joined)
            }
        };
        self.metrics.cache_request(result);
        claim
    }

    fn key(&self, work: &mut Tracked<Work>) -> Key {
        let tokens = &mut work.item.tokens;
        let (ids, types) = (std::mem::take(&mut tokens.ids), std::mem::take(&mut tokens.types));
        Key { model: self.model, ids, types }
    }

    /// What the model answered to a batch, and with it to everybody who waited.
    pub fn answered(&self, batch: Batch, answers: Vec<Result<Output, InferError>>) -> Answered {
        let ran = documents(batch.iter());
        self.metrics.moved(ran, Some(Station::Inference), Some(Station::Enrich));
        let Some(shared) = &self.shared else { return batch.into_iter().zip(answers).collect() };
        let mut all = Vec::with_capacity(batch.len());
        let mut reuse = shared.lock().unwrap_or_else(PoisonError::into_inner);
        let evicted = reuse.evicted();
        for (mut work, answer) in batch.into_iter().zip(answers) {
            let key = self.key(&mut work);
            let waiters = reuse.answered(key, &answer);
            all.extend(waiters.into_iter().map(|waiter| (waiter, answer.clone())));
            all.push((work, answer));
        }
        let (entries, bytes, evicted) = (reuse.entries(), reuse.bytes(), reuse.evicted() - evicted);
        drop(reuse);
        let waited = documents(all.iter().map(|(work, _)| work)) - ran;
        self.metrics.moved(waited, Some(Station::Cache), Some(Station::Enrich));
        self.metrics.cache(entries, bytes, evicted);
        all
    }
}

/// Sequences that have their document with them.
fn documents<'a>(works: impl Iterator<Item = &'a Tracked<Work>>) -> usize {
    works.filter(|work| work.item.head.is_some()).count()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::record::{Admission, Epoch, PartitionId, Ticket, Trace};
    use crate::telemetry::Health;
    use crate::text::Tokens;

    fn receipt(batch_invariant: bool) -> Receipt {
        Receipt {
            model: "m".to_owned(),
            // The same of all: one package may be read in several ways.
            digest: "sha256:ab".to_owned(),
            precision: "int8".to_owned(),
            provider: "cpu",
            batch_invariant,
        }
    }

    fn work(id: u32) -> Tracked<Work> {
        let ticket = Ticket { partition: PartitionId(0), epoch: Epoch(0), admission: Admission(0) };
        let tokens = Tokens::new(vec![id; 50], 50);
        Tracked::new(ticket, Trace::NONE, Work { part: 0, parts: 1, head: None, tokens })
    }

    fn runs(cache: &Cache, id: u32, answer: f32) {
        let Claim::Run(work) = cache.claim(work(id)) else { panic!("nobody has it") };
        cache.answered(vec![work], vec![Ok(Output { logits: vec![answer] })]);
    }

    #[test]
    fn models_share_the_bound_and_no_answer() {
        let (metrics, registry) = Metrics::new(&Health::new()).unwrap();
        let metric = |name: &str| {
            let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
            let value =
                text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
            let value: f64 = value.unwrap_or_else(|| panic!("{text}"));
            value
        };
        let receipts = [receipt(true), receipt(false), receipt(true)];
        let caches = Cache::of_models(20_000, &receipts, &metrics);
        runs(&caches[0], 7, 1.0);
        let bytes = metric("squeezeflow_cache_bytes");
        runs(&caches[2], 7, 2.0);
        for (cache, expected) in [(&caches[0], 1.0), (&caches[2], 2.0)] {
            match cache.claim(work(7)) {
                Claim::Kept(_, output) => assert_eq!(output.logits, [expected]),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(metric("squeezeflow_cache_entries"), 2.0, "of both");
        assert_eq!(metric("squeezeflow_cache_bytes"), 2.0 * bytes);
        for _ in 0..2 {
            runs(&caches[1], 7, 3.0);
        }
        assert_eq!(metric("squeezeflow_cache_entries"), 2.0, "what is not invariant is not kept");

        for id in 100..200 {
            runs(&caches[id as usize % 2 * 2], id, 0.0);
            assert!(metric("squeezeflow_cache_bytes") <= 20_000.0);
        }
        let (entries, evicted) =
            (metric("squeezeflow_cache_entries"), metric("squeezeflow_cache_evictions_total"));
        assert_eq!(entries + evicted, 102.0);
        assert!(entries > 20.0, "{entries}");
    }
}
