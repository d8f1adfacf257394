//! The models of a pipeline with their sessions, loaded once and lent to one run after the other.

use std::sync::{Arc, Mutex, PoisonError};

use super::TuneError;
use crate::config::Settings;
use crate::model::{Infer, InferError, Loaded, Output, Package, Receipt, Stopper};
use crate::results::{self, ResultTask, Results};
use crate::text::{Stream, Tokens};

/// All that the stages need, kept from run to run.
pub(super) struct Bench {
    models: Vec<Kept>,
    streams: Vec<(usize, Stream)>,
    tasks: Vec<ResultTask>,
}

/// One of the models.
struct Kept {
    package: Arc<Package>,
    receipt: Receipt,
    sessions: Vec<Lent>,
}

impl Bench {
    pub(super) fn load(settings: &Settings) -> Result<Self, TuneError> {
        let Results { models, streams, tasks } = results::load(settings)?;
        let lent = |session: Box<dyn Infer>| Lent(Arc::new(Mutex::new(session)));
        let kept = |Loaded { package, sessions, receipt }| Kept {
            package,
            receipt,
            sessions: Vec::into_iter(sessions).map(lent).collect(),
        };
        Ok(Self { models: models.into_iter().map(kept).collect(), streams, tasks })
    }

    /// In the order of the settings.
    pub(super) fn results(&self) -> &[ResultTask] {
        &self.tasks
    }

    /// What is read of a text.
    pub(super) fn streams(&self) -> impl Iterator<Item = &Stream> {
        self.streams.iter().map(|(_, stream)| stream)
    }

    /// Models that run side by side, each with sessions of its own.
    pub(super) fn models(&self) -> usize {
        self.models.len()
    }

    /// Of all models together.
    pub(super) fn sessions(&self) -> usize {
        self.models.iter().map(|model| model.sessions.len()).sum()
    }

    /// For one run.
    pub(super) fn lend(&self) -> Results {
        let lend = |model: &Kept| Loaded {
            package: model.package.clone(),
            sessions: model.sessions.iter().map(|lent| Box::new(lent.clone()) as Box<dyn Infer>).collect(),
            receipt: model.receipt.clone(),
        };
        Results {
            models: self.models.iter().map(lend).collect(),
            streams: self.streams.clone(),
            tasks: self.tasks.clone(),
        }
    }
}

/// A session in the hands of one run: stages take their sessions for good, and loading them for every run
/// would take longer than the run. Nobody else has the lock.
#[derive(Clone)]
struct Lent(Arc<Mutex<Box<dyn Infer>>>);

impl Infer for Lent {
    fn infer(&mut self, batch: &[&Tokens]) -> Result<Vec<Output>, InferError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).infer(batch)
    }

    fn stopper(&self) -> Option<Stopper> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).stopper()
    }
}
