//! `squeezeflow test`: the cases of a pipeline, run with its model and without a broker.
//!
//! `run` sends the records through the real stages, all together; `compare` says how what was
//! `seen` differs from what was expected. With `--update`, `change` says what an expectation becomes,
//! `edit` puts that into the text of its file and touches nothing else, and `update` makes sure of
//! it and writes the file.

mod change;
mod compare;
mod edit;
mod run;
mod same;
mod scalar;
mod seen;
mod update;

pub use change::NotUpdated;
pub use compare::{Difference, Key, Verdict, judge};
pub use run::{RunError, run};
pub use seen::{Seen, Sent, shown};
pub use update::update;
