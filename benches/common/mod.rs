//! What the benches share.

pub mod report;
pub mod subject;
