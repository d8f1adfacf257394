//! Logs, metrics, and trace context in and out.

mod metrics;

pub use metrics::{Health, Metrics};
