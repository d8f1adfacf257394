//! A request to stop, seen by every thread that looks.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// How often somebody who waits for it looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Cheap to clone; once requested it stays so. The Kafka thread looks at it at every turn of its
/// loop, which is at most 50 ms.
#[derive(Clone, Debug, Default)]
pub struct Shutdown(Arc<OnceLock<Instant>>);

impl Shutdown {
    /// Nobody has asked yet.
    pub fn new() -> Self {
        Self::default()
    }
    /// Ask for a clean end: drain, commit, leave.
    pub fn request(&self) {
        self.0.get_or_init(Instant::now);
    }
    /// Was it asked for?
    pub fn is_requested(&self) -> bool {
        self.0.get().is_some()
    }
    /// Since when?
    pub fn requested_at(&self) -> Option<Instant> {
        self.0.get().copied()
    }
    /// Returns when it is.
    pub async fn requested(&self) {
        while !self.is_requested() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}
