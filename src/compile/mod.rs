//! From a Hugging Face SqueezeBERT checkpoint to a graph that ONNX Runtime runs.
//!
//! | file | part |
//! |---|---|
//! | `checkpoint` | a folder, read: `config` is what it says of itself, `weights` the file of tensors |
//! | `reference` | the graph as transformers writes it: what all others are held against |
//! | `portable` | a padded graph of standard operators, for any runtime |
//! | `graph` | builds ONNX models; `proto` is the messages that it writes |

mod checkpoint;
mod config;
mod error;
pub mod graph;
pub mod portable;
mod proto;
pub mod reference;
mod weights;

pub use checkpoint::{Checkpoint, Grouped, Norm};
pub use config::{Groups, Head, LAYER_NORM_EPS, SqueezeBertConfig};
pub use error::{CheckpointError, CompileError};
pub use weights::Tensor;
