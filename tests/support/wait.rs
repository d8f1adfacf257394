//! Waiting for conditions. Nothing in the tests sleeps for a guessed time and hopes.

use std::time::{Duration, Instant};

/// Far more than anything takes on a loaded machine; a test that fails waits this long once.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Asks until the answer is there. Panics after `patience`, with what was waited for.
#[track_caller]
pub fn until_some<T>(what: &str, patience: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < patience, "waited {patience:?} in vain for: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits for a condition.
#[track_caller]
pub fn until(what: &str, patience: Duration, mut ask: impl FnMut() -> bool) {
    until_some(what, patience, || ask().then_some(()));
}

/// Checks that something stays true for a while. The one thing that needs time: showing that
/// something does *not* happen.
#[track_caller]
pub fn stays(what: &str, time: Duration, mut ask: impl FnMut() -> bool) {
    let start = Instant::now();
    while start.elapsed() < time {
        assert!(ask(), "did not stay so ({:?} in): {what}", start.elapsed());
        std::thread::sleep(Duration::from_millis(50));
    }
}
