//! Logs, metrics, health, and trace context in.
//!
//! | file | what |
//! |---|---|
//! | `instruments` | every instrument, named once |
//! | `metrics` | when each is touched |
//! | `health` | ready or not, and why |
//! | `logs` | where log lines go, and in which shape |
//! | `trace` | W3C trace context from a record's headers |

mod health;
mod instruments;
pub mod logs;
mod metrics;
mod trace;

pub use health::{Health, LoadedModel, Snapshot};
pub use metrics::{Metrics, MetricsError};
pub use trace::extract;
