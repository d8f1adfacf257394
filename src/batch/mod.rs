//! Which texts go into the model together: a pure rule (`budget`), the task that applies it
//! (`batcher`), the parts of a long text (`parts`), and what happens to a batch that fails (`isolate`)
//! or does not come back (`watch`).

mod batcher;
mod budget;
mod isolate;
mod parts;
mod watch;

pub use batcher::{Batch, Batcher, Slot};
pub use budget::{Limits, Pending, WINDOW_BATCHES};
pub use isolate::infer_isolating;
pub use parts::{Head, Portion, StreamHead, Work, portions};
pub use watch::{Run, Watched};
