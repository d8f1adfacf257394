//! The way in to the text workers: a line for each partition, taken in turn, so that a slow document
//! holds up its own partition only.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use crate::record::PartitionId;

/// Cheap to clone; all clones are one way in. Bounded by who admits: nothing waits to get in.
pub struct Intake<T>(Arc<Inner<T>>);

struct Inner<T> {
    lines: Mutex<Lines<T>>,
    more: Condvar,
}

struct Lines<T> {
    waiting: HashMap<PartitionId, VecDeque<T>>,
    /// Partitions with something waiting, each once.
    turns: VecDeque<PartitionId>,
    closed: bool,
}

impl<T> Clone for Intake<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Default for Intake<T> {
    fn default() -> Self {
        let lines = Lines { waiting: HashMap::new(), turns: VecDeque::new(), closed: false };
        Self(Arc::new(Inner { lines: Mutex::new(lines), more: Condvar::new() }))
    }
}

impl<T> Intake<T> {
    /// At the end of its partition's line. `false`: the way in is closed.
    pub fn push(&self, partition: PartitionId, item: T) -> bool {
        let mut lines = self.0.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.closed {
            return false;
        }
        let line = lines.waiting.entry(partition).or_default();
        line.push_back(item);
        if line.len() == 1 {
            lines.turns.push_back(partition);
        }
        drop(lines);
        self.0.more.notify_one();
        true
    }

    /// The head of the line whose turn it is; waits for one. `None`: closed, and nothing is left.
    pub fn pop(&self) -> Option<T> {
        let mut lines = self.0.lines.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(partition) = lines.turns.pop_front() {
                let line = lines.waiting.get_mut(&partition)?;
                let item = line.pop_front();
                if line.is_empty() {
                    lines.waiting.remove(&partition);
                } else {
                    lines.turns.push_back(partition);
                }
                return item;
            }
            if lines.closed {
                return None;
            }
            lines = self.0.more.wait(lines).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Nothing more comes.
    pub fn close(&self) {
        self.0.lines.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        self.0.more.notify_all();
    }

    /// Nothing more comes, and what waits is forgotten.
    pub fn abandon(&self) {
        let mut lines = self.0.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.waiting.clear();
        lines.turns.clear();
        drop(lines);
        self.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_take_turns_and_each_keeps_its_order() {
        let intake = Intake::default();
        for (partition, item) in [(0, "a1"), (0, "a2"), (0, "a3"), (1, "b1"), (2, "c1"), (1, "b2")] {
            assert!(intake.push(PartitionId(partition), item));
        }
        let first: Vec<_> = (0..4).filter_map(|_| intake.pop()).collect();
        assert_eq!(first, ["a1", "b1", "c1", "a2"]);
        intake.push(PartitionId(2), "c2");
        intake.close();
        assert!(!intake.push(PartitionId(0), "late"));
        let rest: Vec<_> = std::iter::from_fn(|| intake.pop()).collect();
        assert_eq!(rest, ["b2", "a3", "c2"]);
    }

    #[test]
    fn who_waits_is_woken() {
        let intake: Intake<u8> = Intake::default();
        let waiting = intake.clone();
        let worker = std::thread::spawn(move || std::iter::from_fn(|| waiting.pop()).collect::<Vec<_>>());
        assert!(intake.push(PartitionId(0), 1) && intake.push(PartitionId(0), 2));
        intake.close();
        assert_eq!(worker.join().ok(), Some(vec![1, 2]));
    }
}
