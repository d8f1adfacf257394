//! Is the worker ready? Written by the worker, read by the admin server and the metrics.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;

/// Cheap to clone; all clones see the same state. Ready means: the model is warm and we are a
/// member of the group (with or without partitions: a standby is ready to take over).
#[derive(Clone, Default)]
pub struct Health(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    model: Option<LoadedModel>,
    /// `None`: not a member.
    partitions: Option<usize>,
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
    /// `None` while it is loading.
    #[serde(flatten)]
    pub model: Option<LoadedModel>,
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

    /// The model's sessions are warm; `provider` as in the receipts.
    pub fn model_warm(&self, model: &str, digest: &str, precision: &str, provider: &'static str) {
        self.lock().model = Some(LoadedModel {
            name: model.to_owned(),
            digest: digest.to_owned(),
            precision: precision.to_owned(),
            provider,
        });
    }

    /// We are a member of the group, with this many partitions (0: a standby).
    pub fn joined(&self, partitions: usize) {
        self.lock().partitions = Some(partitions);
    }

    /// We are not (any more) a member of the group, or are draining.
    pub fn left(&self) {
        self.lock().partitions = None;
    }

    /// The state now.
    pub fn snapshot(&self) -> Snapshot {
        let state = self.lock();
        let why_not = match (&state.model, state.partitions) {
            (None, _) => Some("the model is not loaded yet"),
            (_, None) => Some("not a member of the consumer group (starting, draining, or no broker)"),
            _ => None,
        };
        Snapshot {
            ready: why_not.is_none(),
            model: state.model.clone(),
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
        assert!(health.snapshot().ready, "a standby is ready");
        health.left();
        assert!(!health.snapshot().ready);
    }
}
