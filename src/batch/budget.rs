//! The batching rule. Pure: no clock of its own, no I/O.
//!
//! A batch costs what the model will compute. A padded one: its longest sequence times its size. The first
//! sequence in line always goes along; around it those nearest in length are chosen, so that little is
//! padded. A packed one: the tokens that are really there; so the oldest that fit go, whatever their length.
//! Age releases a batch that is not full, and no sequence is passed over by younger ones more than
//! [`MAX_PASSED_OVER`] times.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::model::Layout;

/// How often younger sequences may go before an older one for the sake of length.
pub const MAX_PASSED_OVER: u32 = 4;

/// How many batches' worth of the oldest sequences a batch is chosen from.
pub const WINDOW_BATCHES: usize = 8;

/// What bounds one batch.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Computed tokens.
    pub max_tokens: usize,
    /// Sequences.
    pub max_size: usize,
    /// How long the oldest may wait for company while a session is free.
    pub max_age: Duration,
    /// What counts as computed.
    pub layout: Layout,
}

/// Sequences waiting for a batch, oldest first.
#[derive(Debug)]
pub struct Pending<T> {
    limits: Limits,
    waiting: VecDeque<Waiting<T>>,
    tokens: usize,
}

#[derive(Debug)]
struct Waiting<T> {
    length: usize,
    since: Instant,
    passed_over: u32,
    item: T,
}

impl<T> Pending<T> {
    /// Nothing is waiting yet.
    pub fn new(limits: Limits) -> Self {
        Self { limits, waiting: VecDeque::new(), tokens: 0 }
    }

    /// A sequence of `length` tokens joins at the end.
    pub fn push(&mut self, item: T, length: usize, now: Instant) {
        self.tokens += length;
        self.waiting.push_back(Waiting { length, since: now, passed_over: 0, item });
    }

    /// Sequences waiting.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Is nothing waiting?
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// When the oldest reaches its age limit. A later window of a long text is older than its place.
    pub fn deadline(&self) -> Option<Instant> {
        self.waiting.iter().map(|w| w.since).min().map(|since| since + self.limits.max_age)
    }

    /// Should a free session be given a batch now?
    pub fn is_due(&self, now: Instant) -> bool {
        self.tokens >= self.limits.max_tokens
            || self.waiting.len() >= self.limits.max_size
            || self.deadline().is_some_and(|d| d <= now)
    }

    /// Takes the best batch there is, oldest first within it. Empty only if nothing is waiting.
    /// A sequence longer than the whole budget goes alone.
    pub fn take(&mut self) -> Vec<T> {
        let Some(anchor) = self.waiting.front() else { return Vec::new() };
        let near = anchor.length;
        // A sequence that was passed over too often lets nobody younger go before it again.
        let window = self
            .waiting
            .iter()
            .position(|w| w.passed_over >= MAX_PASSED_OVER)
            .map_or(self.waiting.len(), |i| i + 1)
            .min(self.limits.max_size * WINDOW_BATCHES);
        let mut candidates: Vec<(usize, usize)> =
            self.waiting.iter().take(window).map(|w| w.length).enumerate().skip(1).collect();
        if self.limits.layout == Layout::Padded {
            candidates.sort_by_key(|(index, length)| (length.abs_diff(near), *index));
        }

        let mut chosen = vec![0];
        let (mut longest, mut sum) = (near, near);
        for (index, length) in candidates {
            if chosen.len() >= self.limits.max_size {
                break;
            }
            let (longest_with, sum_with) = (longest.max(length), sum + length);
            let cost = match self.limits.layout {
                Layout::Padded => longest_with * (chosen.len() + 1),
                Layout::Packed => sum_with,
            };
            if cost <= self.limits.max_tokens {
                (longest, sum) = (longest_with, sum_with);
                chosen.push(index);
            }
        }
        chosen.sort_unstable();
        self.remove(&chosen)
    }

    /// Takes out the sequences at these places (ascending) and counts who was passed over.
    fn remove(&mut self, chosen: &[usize]) -> Vec<T> {
        let youngest = chosen.last().copied().unwrap_or(0);
        let mut batch = Vec::with_capacity(chosen.len());
        let mut kept = Vec::with_capacity(youngest + 1 - chosen.len());
        let mut next = chosen.iter().copied().peekable();
        for (index, mut waiting) in self.waiting.drain(..=youngest).enumerate() {
            if next.next_if_eq(&index).is_some() {
                self.tokens -= waiting.length;
                batch.push(waiting.item);
            } else {
                waiting.passed_over += 1;
                kept.push(waiting);
            }
        }
        for waiting in kept.into_iter().rev() {
            self.waiting.push_front(waiting);
        }
        batch
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn limits(max_tokens: usize, max_size: usize) -> Limits {
        Limits { max_tokens, max_size, max_age: Duration::from_millis(20), layout: Layout::Padded }
    }

    #[test]
    fn neighbours_in_length_go_together() {
        let mut p = Pending::new(limits(64, 4));
        let now = Instant::now();
        for (i, length) in [8, 60, 9, 61, 7, 10].into_iter().enumerate() {
            p.push(i, length, now);
        }
        assert!(p.is_due(now));
        assert_eq!(p.take(), [0, 2, 4, 5]);
        assert_eq!(p.take(), [1]);
        assert_eq!(p.take(), [3]);
        assert!(p.take().is_empty());
    }

    #[test]
    fn packed_ones_go_in_line_whatever_their_length() {
        let mut p = Pending::new(Limits { layout: Layout::Packed, ..limits(64, 10) });
        let now = Instant::now();
        for (i, length) in [8, 40, 9, 12, 7, 10].into_iter().enumerate() {
            p.push(i, length, now);
        }
        // 8 + 40 + 9 + 7 = 64 real tokens; padded it would be 160. The 12 would have been too many.
        assert_eq!(p.take(), [0, 1, 2, 4]);
        assert_eq!(p.take(), [3, 5]);
    }

    #[test]
    fn age_releases_what_is_not_full() {
        let mut p = Pending::new(limits(1000, 100));
        let now = Instant::now();
        p.push((), 5, now);
        assert!(!p.is_due(now + Duration::from_millis(19)));
        assert!(p.is_due(now + Duration::from_millis(20)));
    }

    #[test]
    fn longer_than_the_budget_goes_alone() {
        let mut p = Pending::new(limits(10, 100));
        let now = Instant::now();
        p.push('a', 500, now);
        p.push('b', 500, now);
        assert_eq!(p.take(), ['a']);
    }

    proptest! {
        #[test]
        fn every_batch_keeps_the_rules(
            lengths in prop::collection::vec(1usize..200, 1..300),
            max_tokens in 1usize..600,
            max_size in 1usize..20,
            burst in 1usize..40,
            packed: bool,
        ) {
            let layout = if packed { Layout::Packed } else { Layout::Padded };
            let mut p = Pending::new(Limits { layout, ..limits(max_tokens, max_size) });
            let now = Instant::now();
            let mut passed: HashMap<usize, u32> = HashMap::new();
            let mut waiting: Vec<usize> = Vec::new();
            let mut seen = 0;
            let mut arrivals = lengths.iter().copied().enumerate();
            loop {
                for (i, length) in arrivals.by_ref().take(burst) {
                    p.push(i, length, now);
                    waiting.push(i);
                }
                let batch = p.take();
                if batch.is_empty() { break; }
                prop_assert_eq!(batch[0], waiting[0], "the oldest always goes");
                prop_assert!(batch.is_sorted());
                let computed = layout.computed(batch.iter().map(|i| lengths[*i]));
                prop_assert!(batch.len() <= max_size);
                prop_assert!(batch.len() == 1 || computed <= max_tokens);
                seen += batch.len();
                let youngest = batch[batch.len() - 1];
                waiting.retain(|i| !batch.contains(i));
                for i in waiting.iter().filter(|i| **i < youngest) {
                    let n = passed.entry(*i).or_default();
                    *n += 1;
                    prop_assert!(*n <= MAX_PASSED_OVER, "passed over {} times", n);
                }
                prop_assert_eq!(p.tokens, waiting.iter().map(|i| lengths[*i]).sum::<usize>());
            }
            prop_assert_eq!(seen, lengths.len(), "each goes exactly once");
        }
    }
}
