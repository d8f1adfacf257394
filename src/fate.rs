//! What becomes of an error. Each room's error type answers this once, at the edge where the
//! error appears; nobody downstream guesses from a message.

/// What to do about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// This record will never succeed: dead letter.
    Poison,
    /// Try again, here, with a jittered back-off.
    Transient,
    /// Stop the worker, settle nothing, exit non-zero with a message that says what to do.
    Fatal,
}
