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

/// Cheap to clone; all clones are one cache.
#[derive(Clone)]
pub struct Cache {
    /// `None`: off.
    shared: Option<Arc<Mutex<Reuse<Tracked<Work>>>>>,
    package: Arc<str>,
    metrics: Metrics,
}

impl Cache {
    /// For the package that `receipt` speaks of. `max_bytes` of 0: every sequence is inferred. So it is
    /// where an answer depends on what the sequence was batched with: kept, an accident would become a
    /// rule.
    pub fn new(max_bytes: usize, receipt: &Receipt, metrics: &Metrics) -> Self {
        if max_bytes > 0 && !receipt.batch_invariant {
            tracing::warn!(
                model = receipt.model,
                "the cache is off: this package's results on this provider may depend on what a text is batched with",
            );
        }
        let on = max_bytes > 0 && receipt.batch_invariant;
        let shared = on.then(|| Arc::new(Mutex::new(Reuse::new(max_bytes))));
        Self { shared, package: receipt.digest.as_str().into(), metrics: metrics.clone() }
    }

    /// Always [`Claim::Run`].
    pub fn off() -> Self {
        Self { shared: None, package: "".into(), metrics: Metrics::default() }
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
        Key { package: self.package.clone(), ids, types }
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
