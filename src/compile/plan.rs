//! What is to be built: for which target, in which precision, and held against what.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use super::error::BuildError;

/// What is computed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// fp32.
    F32,
    /// Products in fp16: GPUs.
    F16,
    /// Products of bytes: the CPU.
    Int8,
}

/// What the graph is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The CPU, in this program.
    Cpu,
    /// CUDA.
    Cuda,
    /// TensorRT.
    TensorRt,
    /// Any runtime that knows ONNX's standard operators.
    Portable,
}

impl Precision {
    /// As manifests and receipts have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::F32 => "fp32",
            Self::F16 => "fp16",
            Self::Int8 => "int8",
        }
    }
}

impl Target {
    /// As the manifest has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
            Self::TensorRt => "tensorrt",
            Self::Portable => "portable",
        }
    }

    /// What it is fastest in without a calibration.
    fn precision(self) -> Precision {
        match self {
            Self::Cpu | Self::Portable => Precision::F32,
            Self::Cuda | Self::TensorRt => Precision::F16,
        }
    }
}

/// What to build.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The checkpoint's folder.
    pub checkpoint: PathBuf,
    /// The package's folder, which must not be there.
    pub output: PathBuf,
    /// In receipts; `None`: the folder's name.
    pub name: Option<String>,
    /// Of the package.
    pub version: Option<String>,
    /// What for.
    pub target: Target,
    /// `None`: what suits the target.
    pub precision: Option<Precision>,
    /// Matrices and tables are rounded to fp16, and stored so where the graph's layout can.
    pub half_weights: bool,
    /// What the graphs are compared on.
    pub texts: Texts,
    /// Real texts that int8 takes its scales from.
    pub calibrate: Option<Texts>,
    /// Labelled texts, and what stands in card and manifest as their name.
    pub evaluate: Option<(PathBuf, String)>,
    /// Points that the accuracy may be below the reference's.
    pub max_accuracy_loss: f64,
    /// ONNX Runtime's, as `model.library` in a pipeline.
    pub library: Option<PathBuf>,
    /// Sessions that evaluate side by side.
    pub sessions: NonZeroUsize,
}

/// Texts without labels.
#[derive(Debug, Clone)]
pub struct Texts {
    /// Where they came from, for the manifest.
    pub from: String,
    /// One each.
    pub texts: Vec<String>,
}

impl Plan {
    /// What goes together, before any work is done.
    pub(super) fn check(&self) -> Result<Precision, BuildError> {
        let precision = self.precision.unwrap_or_else(|| self.target.precision());
        let gpu = matches!(self.target, Target::Cuda | Target::TensorRt);
        match precision {
            Precision::Int8 if self.target != Target::Cpu => {
                return Err(BuildError::Request("int8 is for the CPU: leave --precision out, or --target"));
            }
            Precision::Int8 if self.calibrate.is_none() => {
                return Err(BuildError::Request(
                    "int8 takes its scales from real texts: give some hundreds, one a line, with --calibrate",
                ));
            }
            Precision::F16 if !gpu => {
                return Err(BuildError::Request(
                    "the CPU computes nothing in fp16: leave --precision out (--weights fp16 rounds the weights, and stores in half the space what can be)",
                ));
            }
            _ => {}
        }
        if self.output.symlink_metadata().is_ok() {
            return Err(BuildError::Exists(self.output.clone()));
        }
        Ok(precision)
    }
}
