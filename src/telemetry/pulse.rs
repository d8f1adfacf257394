//! Does every part of the worker still move? Each says when it does, and whether it has work; whoever
//! looks (the admin server) finds the one that has some and stands still.
//!
//! A part is never asked, because one that is stuck could not answer.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

/// One part's. Cheap to clone; all clones are of the same part. Dropped by all but the one who looks,
/// it is forgotten.
#[derive(Debug, Clone)]
pub struct Pulse(Arc<Beat>);

#[derive(Debug)]
pub(super) struct Beat {
    name: String,
    state: Mutex<(State, Instant)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It has work, and moved last at this time.
    Working,
    /// It has work, and waits for another part, which has a pulse of its own.
    Waiting,
    /// It has no work.
    Resting,
}

/// A part that has work and does not move.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Stuck {
    /// Which: `kafka`, `batcher`, `session 1`.
    pub what: String,
    /// For how long.
    pub seconds: f64,
}

impl Pulse {
    pub(super) fn new(name: String) -> Self {
        Self(Arc::new(Beat { name, state: Mutex::new((State::Resting, Instant::now())) }))
    }

    pub(super) fn beat(&self) -> std::sync::Weak<Beat> {
        Arc::downgrade(&self.0)
    }

    /// It is at work, and gets on.
    pub fn moves(&self) {
        *self.0.lock() = (State::Working, Instant::now());
    }

    /// It gets on as soon as another part does, or when a time that was set has come.
    pub fn waits(&self) {
        *self.0.lock() = (State::Waiting, Instant::now());
    }

    /// It has nothing to do.
    pub fn rests(&self) {
        *self.0.lock() = (State::Resting, Instant::now());
    }

    /// Somebody is about to give it work: if it had none, its time runs from now.
    pub fn given(&self) {
        let mut state = self.0.lock();
        if state.0 == State::Resting {
            *state = (State::Working, Instant::now());
        }
    }
}

impl Beat {
    fn lock(&self) -> MutexGuard<'_, (State, Instant)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn stuck(&self, now: Instant, patience: Duration) -> Option<Stuck> {
        let (state, since) = *self.lock();
        let still = now.saturating_duration_since(since);
        (state == State::Working && still > patience)
            .then(|| Stuck { what: self.name.clone(), seconds: still.as_secs_f64() })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn stuck_is_who_has_work_and_does_not_move() {
        let pulse = Pulse::new("batcher".to_owned());
        let beat = pulse.beat().upgrade().unwrap();
        let (patience, later) = (Duration::from_secs(5), Instant::now() + Duration::from_secs(60));
        let stuck = || beat.stuck(later, patience);
        assert_eq!(stuck(), None, "it has not begun");
        pulse.moves();
        let found = stuck().unwrap();
        assert!(found.what == "batcher" && (59.0..61.0).contains(&found.seconds), "{found:?}");
        assert_eq!(beat.stuck(Instant::now(), patience), None, "it has just moved");
        pulse.waits();
        assert_eq!(stuck(), None, "another one is to blame");
        pulse.given();
        assert_eq!(stuck(), None, "what it is given waits like the rest");
        pulse.rests();
        assert_eq!(stuck(), None);
        pulse.given();
        assert!(stuck().is_some(), "it does not take up what it was given");
    }
}
