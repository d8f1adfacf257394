//! The model: a package on disk, its labels, and sessions of ONNX Runtime that run it.
//!
//! | file | part |
//! |---|---|
//! | `package` | a folder, read and verified; `manifest`, `labels`, `sentence`, `onnx` (`proto`, `hashing`) are what it is read with |
//! | `runtime` | finds and loads the ONNX Runtime library |
//! | `providers` | what sessions run on: works, or is refused |
//! | `load` | package + provider → warm sessions |
//! | `merge/` | several graphs to one that computes what they have in common once |
//! | `session` | one session: running, checking; `feed`: sequences to tensors, padded or packed; `outputs`: tensors to what is kept |
//! | `heads` | what a head is, and what is kept of its answer |
//! | `probe` | any graph with all its outputs, for comparing graphs |
//! | `weights` | what all sessions of a packed graph share |
//! | `tasks/` | what raw outputs mean |

mod error;
mod feed;
mod hashing;
mod heads;
mod labels;
mod load;
mod manifest;
mod merge;
mod onnx;
mod outputs;
mod package;
mod probe;
mod proto;
mod providers;
mod runtime;
mod sentence;
mod session;
pub mod tasks;
mod weights;

use std::sync::Arc;

pub(crate) use hashing::{hash as hash_file, hash_bytes};

pub use error::{InferError, ModelError, PackageError};
pub use feed::Layout;
pub use heads::{Head, Pooling, Reads};
pub use labels::LabelsError;
pub(crate) use labels::max_length;
pub use load::{Opened, Together, load, on_cpu, open, warm_together};
pub use manifest::{Difference, Manifest};
pub use onnx::Port;
pub use package::{FileDigest, Package};
pub use probe::{Answer, Probe, ProbeError, Rewriting};
pub use providers::Attempt;
pub use runtime::RuntimeError;
pub use sentence::{Sentence, Stated};

use crate::text::Tokens;

/// Raw answer for one sequence: what each task [`Reads`] of it, one after the other. A classifier's are
/// logits, `[labels]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Output {
    /// See [`Reads`].
    pub logits: Vec<f32>,
}

impl Output {
    /// Neither NaN nor infinity.
    pub fn is_finite(&self) -> bool {
        self.logits.iter().all(|logit| logit.is_finite())
    }
}

/// Ends the run of a model from another thread, and all its later ones.
pub type Stopper = Box<dyn Fn() + Send + Sync>;

/// A model that can infer. One owner each: ONNX Runtime's `run` takes `&mut self`.
pub trait Infer: Send {
    /// Outputs in the order of `batch`. An error means that none of them was answered.
    fn infer(&mut self, batch: &[&Tokens]) -> Result<Vec<Output>, InferError>;

    /// `None`: its runs cannot be ended from outside.
    fn stopper(&self) -> Option<Stopper> {
        None
    }
}

/// What every result says of how it was made.
#[derive(Debug, Clone)]
pub struct Receipt {
    /// The package's name.
    pub model: String,
    /// The package's digest.
    pub digest: String,
    /// The package's precision.
    pub precision: String,
    /// The execution provider that is really in use.
    pub provider: &'static str,
    /// False: a result may depend on what the text was batched with.
    pub batch_invariant: bool,
}

/// A package with its warm sessions.
pub struct Loaded {
    /// The package.
    pub package: Arc<Package>,
    /// One per `model.sessions`, each warm.
    pub sessions: Vec<Box<dyn Infer>>,
    /// What results will say.
    pub receipt: Receipt,
}
