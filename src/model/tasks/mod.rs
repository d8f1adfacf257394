//! What a head's raw output means: one file a task. Pure.

mod classification;
mod windows;

pub use classification::{Activation, Prediction, classify};
pub use windows::classify_windows;
