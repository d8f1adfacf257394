//! From a Hugging Face SqueezeBERT checkpoint to a graph that ONNX Runtime runs.
//!
//! | file | part |
//! |---|---|
//! | `checkpoint` | a folder, read: `config` is what it says of itself, `weights` the file of tensors |
//! | `reference` | the graph as transformers writes it: what all others are held against |
//! | `portable` | a padded graph of standard operators, for any runtime |
//! | `packed` | a graph without padding for the CPU, with operators of our own; in int8 by `calibrate` and `quantise` |
//! | `build` | all of a `plan`: graph, `verify` on a `sample` of texts, evaluation, and the `package` that is written |
//! | `graph` | builds ONNX models; `proto` is the messages that it writes |

mod build;
pub mod calibrate;
mod checkpoint;
mod config;
mod error;
pub mod graph;
mod package;
pub mod packed;
mod plan;
pub mod portable;
mod proto;
mod quantise;
pub mod reference;
mod sample;
mod verify;
mod weights;

pub use build::{Built, Progress, build};
pub use calibrate::{Calibration, CalibrationError};
pub use checkpoint::{Checkpoint, Grouped, Norm};
pub use config::{Groups, Head, LAYER_NORM_EPS, SqueezeBertConfig};
pub use error::{BuildError, CheckpointError, CompileError, ConfigError};
pub(crate) use package::CALIBRATION;
pub use package::Manifest;
pub use plan::{Plan, Precision, Target, Texts};
pub use verify::Verification;
pub use weights::Tensor;
