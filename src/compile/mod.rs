//! From a Hugging Face SqueezeBERT checkpoint to a graph that ONNX Runtime runs.
//!
//! | file | part |
//! |---|---|
//! | `checkpoint` | a folder, read: `config` is what it says of itself, `weights` the file of tensors |
//! | `graph` | builds ONNX models; `proto` is the messages that it writes |

mod checkpoint;
mod config;
mod error;
pub mod graph;
mod proto;
mod weights;

pub use checkpoint::{Checkpoint, Grouped, Norm};
pub use config::{Groups, Head, LAYER_NORM_EPS, SqueezeBertConfig};
pub use error::{CheckpointError, CompileError};
pub use weights::Tensor;
