//! How good a package is on labelled texts: `squeezeflow model evaluate`, and the bar of `model build`.
//!
//! | file | part |
//! |---|---|
//! | `labelled` | a TSV of texts and labels, read and checked |
//! | `metrics` | predictions and labels to accuracy and F1 (pure) |
//! | `run` | a loaded package over the texts |
//! | `record` | what came out, into the manifest and the card; `card` edits the latter (pure) |

mod card;
mod labelled;
mod metrics;
mod record;
mod run;

pub use card::with_evaluation;
pub use labelled::{Example, LabelledError, Problem, read, texts};
pub use metrics::{Evaluation, LabelMetrics};
pub use record::{RecordError, record, recordable};
pub use run::{EvaluateError, run};
