//! What a head's raw output means: one file a task. Pure.

mod classification;

pub use classification::{Activation, Prediction, classify};
