//! Every instrument of the worker, each named once.

use std::time::{Duration, Instant};

use crate::record::{Outcome, Record, Stamps, Timestamp};

/// Cheap to clone; all clones feed the same instruments.
#[derive(Clone, Default)]
pub struct Metrics {}

/// Is the worker ready, and is it alive? Cheap to clone; read by the admin server.
#[derive(Clone, Default)]
pub struct Health {}

#[allow(unused_variables)]
impl Metrics {
    /// A record was admitted.
    pub fn admitted(&self, record: &Record) {}
    /// A record reached its outcome (not yet delivered). Counts it by kind and reason, and
    /// observes the stage durations in its stamps.
    pub fn settled(&self, outcome: &Outcome, stamps: &Stamps) {}
    /// Its write is confirmed: publish and end-to-end seconds (from the record's timestamp).
    pub fn delivered(&self, admitted: Instant, settled: Instant, timestamp: Timestamp) {}
    /// A batch came back from the model.
    pub fn batch(&self, size: usize, real_tokens: usize, padded_tokens: usize, took: Duration) {}
    /// A failed batch was split in search of the culprit.
    pub fn batch_split(&self) {}
    /// A rebalance: `assigned`, `revoked` or `lost`, and of how many partitions.
    pub fn rebalance(&self, kind: &'static str, partitions: usize) {}
    /// A commit's outcome.
    pub fn commit(&self, ok: bool) {}
    /// Records skipped because retention had deleted them (`on_gap: earliest`).
    pub fn gap(&self, topic: &str, partition: i32, records: i64) {}
    /// Results dropped because their partition was taken away meanwhile.
    pub fn stale(&self) {}
    /// What is between admission and delivery.
    pub fn in_flight(&self, records: usize, bytes: usize) {}
    /// Of the owned partitions: how many are assigned and how many of them paused.
    pub fn assignment(&self, assigned: usize, paused: usize) {}
    /// Per owned partition: records behind the end, and age of the oldest unsettled one.
    pub fn partition(
        &self,
        topic: &str,
        partition: i32,
        lag: Option<i64>,
        oldest_unsettled: Option<Duration>,
    ) {
    }
    /// A partition that is no longer ours has no gauges.
    pub fn forget_partition(&self, topic: &str, partition: i32) {}
}

#[allow(unused_variables)]
impl Health {
    /// The model's sessions are warm; `provider` as in the receipts.
    pub fn model_warm(&self, model: &str, digest: &str, precision: &str, provider: &'static str) {}
    /// We are a member of the group, with this many partitions (0: a standby).
    pub fn joined(&self, partitions: usize) {}
    /// We are not (any more) a member of the group, or are draining.
    pub fn left(&self) {}
}
