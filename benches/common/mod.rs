//! What the benches share.

pub mod built;
pub mod report;
pub mod subject;
