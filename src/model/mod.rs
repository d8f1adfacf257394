//! The model: a package on disk, its labels, and sessions of ONNX Runtime that run it.

use std::sync::Arc;

use crate::config::settings;
use crate::fate::Fate;
use crate::text::Tokens;

pub mod tasks;

/// A verified package: what the worker needs to know of it, and the digest that it signs with.
#[derive(Debug)]
pub struct Package {
    /// From the manifest, or the folder's name.
    pub name: String,
    /// `sha256:` and 64 hex digits, over the files that were loaded.
    pub digest: String,
    /// Of the arithmetic: `fp32`, `int8`, …
    pub precision: String,
    /// Longest sequence, special tokens included.
    pub max_length: usize,
    /// `id2label`, in order of index.
    pub labels: Vec<String>,
    /// How logits become scores.
    pub activation: tasks::Activation,
}

/// Raw answer of the head for one sequence: logits, `[labels]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Output {
    /// One per label.
    pub logits: Vec<f32>,
}

/// A model that can infer. One owner each: ONNX Runtime's `run` takes `&mut self`.
pub trait Infer: Send {
    /// Outputs in the order of `batch`. An error means that none of them was answered.
    fn infer(&mut self, batch: &[&Tokens]) -> Result<Vec<Output>, InferError>;
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
}

/// A failed inference or a model that cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum InferError {
    /// Placeholder.
    #[error("inference failed")]
    Run,
}

impl InferError {
    /// What to do about it.
    pub fn fate(&self) -> Fate {
        Fate::Poison
    }
}

/// Placeholder: load package.
pub fn load(_settings: &settings::Model) -> Result<Loaded, InferError> {
    todo!()
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
