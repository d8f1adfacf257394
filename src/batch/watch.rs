//! Notices a model that does not answer. A run is timed from outside, by whoever looks now and then
//! (the owner of the edges, at every turn), because the session's own thread is in the run.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::model::{Infer, InferError, Output, Stopper};
use crate::telemetry::Pulse;
use crate::text::Tokens;

/// A model whose runs can be timed.
pub struct Watched {
    model: Box<dyn Infer>,
    run: Arc<Run>,
    pulse: Pulse,
}

/// The run of one session, seen from outside.
pub struct Run {
    began: Mutex<Option<Instant>>,
    stop: Option<Stopper>,
}

impl Watched {
    /// The model, and what to look at. `pulse`: of its session, which moves with each run.
    pub fn new(model: Box<dyn Infer>, pulse: Pulse) -> (Self, Arc<Run>) {
        let run = Arc::new(Run { began: Mutex::new(None), stop: model.stopper() });
        (Self { model, run: run.clone(), pulse }, run)
    }
}

impl Infer for Watched {
    fn infer(&mut self, batch: &[&Tokens]) -> Result<Vec<Output>, InferError> {
        self.pulse.moves();
        self.run.set(Some(Instant::now()));
        let answer = self.model.infer(batch);
        self.run.set(None);
        self.pulse.moves();
        answer
    }
}

impl Run {
    fn set(&self, began: Option<Instant>) {
        *self.began.lock().unwrap_or_else(PoisonError::into_inner) = began;
    }

    /// Ends the run if it takes longer than this, and every later one of this session: the model is
    /// out of order. `true`: it did. Whether the run really ends is up to the model.
    pub fn end_after(&self, patience: Duration) -> bool {
        let began = *self.began.lock().unwrap_or_else(PoisonError::into_inner);
        let overdue = began.is_some_and(|began| began.elapsed() > patience);
        if let (true, Some(stop)) = (overdue, &self.stop) {
            stop();
        }
        overdue
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::telemetry::Health;

    /// Runs until it is told to end.
    struct Hanging(Arc<AtomicBool>);

    impl Infer for Hanging {
        fn infer(&mut self, _: &[&Tokens]) -> Result<Vec<Output>, InferError> {
            while !self.0.load(Ordering::Acquire) {
                std::thread::yield_now();
            }
            Err(InferError::Run("terminated".into()))
        }

        fn stopper(&self) -> Option<Stopper> {
            let told = self.0.clone();
            Some(Box::new(move || told.store(true, Ordering::Release)))
        }
    }

    #[test]
    fn a_run_that_takes_too_long_is_ended_and_no_other() {
        let (mut model, run) =
            Watched::new(Box::new(Hanging(Arc::default())), Health::new().pulse("session"));
        assert!(!run.end_after(Duration::ZERO), "nothing runs");
        let session = std::thread::spawn(move || model.infer(&[]));
        while run.began.lock().unwrap().is_none() {
            std::thread::yield_now();
        }
        assert!(!run.end_after(Duration::from_secs(3600)), "it has time left");
        assert!(!session.is_finished());
        while !run.end_after(Duration::from_millis(1)) {
            std::thread::yield_now();
        }
        assert!(session.join().unwrap().is_err());
        assert!(!run.end_after(Duration::ZERO), "nothing runs any more");
    }
}
