//! Is the worker ready, and does it move? Written by the worker, read by the admin server and the metrics.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::pulse::{Beat, Pulse, Stuck};

/// Who has work and has not moved for so long is stuck, unless the settings say otherwise.
const STUCK_AFTER: Duration = Duration::from_secs(120);

/// Cheap to clone; all clones see the same state. Ready means: the model is warm and we are a
/// member of the group, with partitions, or without because it has more members than partitions: a
/// standby is ready to take over.
#[derive(Clone, Default)]
pub struct Health(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// Empty: not loaded yet.
    models: Vec<LoadedModel>,
    /// `None`: not a member.
    partitions: Option<usize>,
    /// Without partitions, because the group has more members than partitions.
    stands_by: bool,
    parts: Vec<Weak<Beat>>,
    /// `None`: [`STUCK_AFTER`].
    stuck_after: Option<Duration>,
}

/// The model as the receipts name it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LoadedModel {
    /// The package's name.
    #[serde(rename = "model")]
    pub name: String,
    /// The package's digest.
    pub digest: String,
    /// Of its arithmetic.
    pub precision: String,
    /// The execution provider that is really in use.
    pub provider: &'static str,
}

/// The state at one moment; serialized, it is the answer of `/ready`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Snapshot {
    /// Model warm and a member of the group.
    pub ready: bool,
    /// `None` while it is loading; of several the first.
    #[serde(flatten)]
    pub model: Option<LoadedModel>,
    /// The others, where a pipeline has several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<LoadedModel>,
    /// Partitions we own; `None` while we are not a member of the group.
    pub partitions: Option<usize>,
    /// What is missing; `None` when ready.
    pub why_not: Option<&'static str>,
}

impl Health {
    /// Nothing is warm, nobody has joined.
    pub fn new() -> Self {
        Self::default()
    }

    /// A model's sessions are warm; `provider` as in the receipts. Of several models it is said when all
    /// of them are.
    pub fn model_warm(&self, model: &str, digest: &str, precision: &str, provider: &'static str) {
        let warm = LoadedModel {
            name: model.to_owned(),
            digest: digest.to_owned(),
            precision: precision.to_owned(),
            provider,
        };
        let models = &mut self.lock().models;
        if !models.contains(&warm) {
            models.push(warm);
        }
    }

    /// We are a member of the group, with this many partitions. Of one without any it is to be told
    /// whether it is a standby ([`Health::stands_by`]); until then it is not ready.
    pub fn joined(&self, partitions: usize) {
        let mut state = self.lock();
        if partitions > 0 || state.partitions != Some(0) {
            state.stands_by = false;
        }
        state.partitions = Some(partitions);
    }

    /// Of a member without partitions: does it have none because there are more members than partitions?
    /// Else it is about to get some.
    pub fn stands_by(&self, stands_by: bool) {
        self.lock().stands_by = stands_by;
    }

    /// Who has work and has not moved for so long is stuck.
    pub fn stuck_after(&self, patience: Duration) {
        self.lock().stuck_after = Some(patience);
    }

    /// The pulse of one part of the worker, watched until its last clone is dropped.
    pub fn pulse(&self, name: impl Into<String>) -> Pulse {
        let pulse = Pulse::new(name.into());
        let mut state = self.lock();
        state.parts.retain(|part| part.strong_count() > 0);
        state.parts.push(pulse.beat());
        pulse
    }

    /// The parts that have work and do not move; none: the worker is alive.
    pub fn stuck(&self) -> Vec<Stuck> {
        let state = self.lock();
        let (now, patience) = (Instant::now(), state.stuck_after.unwrap_or(STUCK_AFTER));
        state.parts.iter().filter_map(|part| part.upgrade()?.stuck(now, patience)).collect()
    }

    /// We are not (any more) a member of the group, or are draining.
    pub fn left(&self) {
        self.lock().partitions = None;
    }

    /// The state now.
    pub fn snapshot(&self) -> Snapshot {
        let state = self.lock();
        let why_not = match (state.models.first(), state.partitions) {
            (None, _) => Some("the model is not loaded yet"),
            (_, None) => Some("not a member of the consumer group (starting, draining, or no broker)"),
            (_, Some(0)) if !state.stands_by => {
                Some("a member of the consumer group without partitions, and no standby: it waits for some")
            }
            _ => None,
        };
        Snapshot {
            ready: why_not.is_none(),
            model: state.models.first().cloned(),
            others: state.models.iter().skip(1).cloned().collect(),
            partitions: state.partitions,
            why_not,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn ready_needs_model_and_membership() {
        let health = Health::new();
        assert!(!health.snapshot().ready);
        health.joined(3);
        assert_eq!(health.snapshot().why_not, Some("the model is not loaded yet"));
        health.model_warm("sentiment", "sha256:ab", "fp32", "cpu");
        let snapshot = health.snapshot();
        assert!(snapshot.ready && snapshot.partitions == Some(3) && snapshot.why_not.is_none());
        health.joined(0);
        assert!(health.snapshot().why_not.is_some_and(|why| why.contains("without partitions")));
        health.stands_by(true);
        health.joined(0);
        assert!(health.snapshot().ready, "a standby is ready");
        health.joined(1);
        health.joined(0);
        assert!(!health.snapshot().ready, "it may be another matter this time");
        health.left();
        assert!(!health.snapshot().ready);
    }

    #[test]
    fn alive_is_a_worker_of_which_every_part_moves() {
        let health = Health::new();
        let (kafka, session) = (health.pulse("kafka"), health.pulse("session 1"));
        kafka.moves();
        assert_eq!(health.stuck(), []);
        health.stuck_after(Duration::ZERO);
        let what = || health.stuck().into_iter().map(|s| s.what).collect::<Vec<_>>();
        session.given();
        while what() != ["kafka", "session 1"] {
            std::thread::yield_now(); // the clock's next tick
        }
        session.rests();
        assert_eq!(what(), ["kafka"]);
        drop(kafka);
        assert_eq!(health.stuck(), [], "whoever has ended is not stuck");
    }
}
