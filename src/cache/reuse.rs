//! What the model need not do twice: answers that are kept, and sequences that are in it right now.
//! Pure; who asks is told what to do.

use std::collections::HashMap;

use quick_cache::unsync::Cache;
use quick_cache::{DefaultHashBuilder, Lifecycle, OptionsBuilder, Weighter};

use crate::model::{InferError, Output};

/// What makes two sequences one: the same answer comes of it, from whatever document it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    /// Which of the pipeline's models reads it.
    pub model: usize,
    /// Token ids, special tokens included.
    pub ids: Vec<u32>,
    /// Their segments; empty where there is one.
    pub types: Vec<u32>,
}

/// What is to be done with a sequence.
#[derive(Debug)]
pub enum Claim<W> {
    /// Nobody has its answer: run it, and say what it was ([`Reuse::answered`]).
    Run(W),
    /// Here is its answer.
    Kept(W, Output),
    /// The same one is in the model: it comes back with that one's answer.
    Joined,
}

/// Kept answers, bounded in bytes, and the waiters `W` of each sequence that runs.
pub struct Reuse<W> {
    kept: Cache<Key, Output, Bytes, DefaultHashBuilder, Evictions>,
    running: HashMap<Key, Vec<W>>,
    evicted: u64,
}

impl<W> Reuse<W> {
    /// Keeps answers of so many bytes together, their keys included.
    pub fn new(max_bytes: usize) -> Self {
        let mut options = OptionsBuilder::new();
        options.weight_capacity(max_bytes as u64);
        // Half as many of those that were evicted are remembered (their hashes, not themselves).
        options.estimated_items_capacity(max_bytes / (2 * OVERHEAD));
        // Without it, one answer could be as large as the whole and put all others out.
        options.hot_allocation(0.9);
        let options = options.build().unwrap_or_else(|_| unreachable!("both capacities are set"));
        let kept = Cache::with_options(options, Bytes, DefaultHashBuilder::default(), Evictions);
        Self { kept, running: HashMap::new(), evicted: 0 }
    }

    /// A sequence wants its answer. After [`Claim::Run`] the key is in the model until
    /// [`Reuse::answered`]: it belongs to nobody, so that whoever asked first may leave.
    pub fn claim(&mut self, key: &Key, waiter: W) -> Claim<W> {
        if let Some(output) = self.kept.get(key) {
            return Claim::Kept(waiter, output.clone());
        }
        if let Some(waiters) = self.running.get_mut(key) {
            waiters.push(waiter);
            return Claim::Joined;
        }
        self.running.insert(key.clone(), Vec::new());
        Claim::Run(waiter)
    }

    /// The model's answer for a key that ran. It is every waiter's, in the order in which they came, be
    /// it poison; only a sound one is kept.
    pub fn answered(&mut self, key: Key, answer: &Result<Output, InferError>) -> Vec<W> {
        let waiters = self.running.remove(&key).unwrap_or_default();
        if let Ok(output) = answer
            && output.is_finite()
        {
            self.kept.insert_with_lifecycle(key, output.clone(), &mut self.evicted);
        }
        waiters
    }

    /// Answers kept.
    pub fn entries(&self) -> usize {
        self.kept.len()
    }

    /// Their bytes.
    pub fn bytes(&self) -> u64 {
        self.kept.weight()
    }

    /// Answers that made room for others, since the start.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Sequences in the model.
    #[cfg(test)]
    pub fn running(&self) -> usize {
        self.running.len()
    }
}

/// Bytes of an entry beside its ids and logits: its place in the table at the worst fill, the traces of
/// evicted ones, and what the allocator keeps for two small blocks.
const OVERHEAD: usize = 288;

#[derive(Clone)]
struct Bytes;

impl Weighter<Key, Output> for Bytes {
    fn weight(&self, key: &Key, output: &Output) -> u64 {
        (OVERHEAD + size_of_val(&key.ids[..]) + size_of_val(&key.types[..]) + size_of_val(&output.logits[..]))
            as u64
    }
}

/// Counts them.
struct Evictions;

impl Lifecycle<Key, Output> for Evictions {
    type RequestState = u64;

    fn on_evict(&self, evicted: &mut u64, _: Key, _: Output) {
        *evicted += 1;
    }
}

#[cfg(test)]
#[path = "reuse_tests.rs"]
mod tests;
